//! A zone at Amazon Route 53. Never run against the live service: what is here follows its published interface, and its tests replay
//! exchanges in the shapes of that documentation.
//!
//! A batch of changes is made whole or not at all, and a `DELETE` has to name a set exactly as it stands: deleting the old set and
//! creating the new one in one batch is a compare and swap. Route 53 does the comparing.
//!
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>,
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html>,
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html>

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use roxmltree::{Document, Node};
use zeroize::Zeroizing;

use crate::model::dns::{RecordSet, SetChange, SetKey};
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess, ZoneService};
use crate::protocol::dns::Transferred;
use crate::protocol::dns::data::{Sets, add, canonical, canonical_name};
use crate::transport::SecretReader;
use crate::transport::refusal::error;

use super::channel::Refusal;
use super::http::{self, Http, Question, Said};
use super::signing::{Request, authorization, encoded};

/// Characters of values that one batch may have.
pub const ROOM: usize = 32_000;

/// Records that one batch may have.
const RECORDS: usize = 1_000;

const VERSION: &str = "/2013-04-01";
const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// The service is one for the whole world; its signatures name this region.
const REGION: &str = "us-east-1";

/// Before the data of a set that is no plain set of records: an alias of Amazon's, or one of several that share a name.
const SPECIAL: &str = "(Route 53) ";

pub struct Route53<'a> {
    http: Http<'a>,
    zone: &'a ZoneAccess,
    account: String,
    secret: Zeroizing<Vec<u8>>,
}

impl<'a> Route53<'a> {
    pub async fn open(
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        service: &'a ZoneService,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        let (Some(key), Some(account)) = (&service.key, &service.account) else {
            let message = "its dns-provider needs account= (access key id) and key= (secret access key)";
            return Err(error(lane, HostErrorKind::Secret, message, None));
        };
        let secret = secrets.read(key).await.map_err(|m| error(lane, HostErrorKind::Secret, m, None))?;
        let secret = Zeroizing::new(secret.trim_ascii().to_vec());
        let http = Http::open(lane, service, HeaderMap::new(), secrets).await?;
        Ok(Self { http, zone, account: account.clone(), secret })
    }

    pub async fn look(&self) -> Result<Transferred, HostError> {
        let (_, sets, soa) = self.read().await?;
        let records = sets.values().map(|s| s.data.len()).sum::<usize>() + 1;
        let number = |at: usize| soa.1.split(' ').nth(at).and_then(|f| f.parse().ok()).unwrap_or(0);
        Ok(Transferred { serial: number(2), negative_ttl: soa.0.min(number(6)), refresh: number(3), sets, records })
    }

    /// All changes or none, and only from what the plan saw: Route 53 compares.
    pub async fn send(&self, changes: &[SetChange]) -> Result<(), Refusal> {
        let special = |s: &Option<RecordSet>| s.as_ref().is_some_and(|s| s.data.iter().any(|d| d.starts_with(SPECIAL)));
        if let Some(key) = changes.iter().filter(|c| special(&c.before) || special(&c.after)).find_map(SetChange::key) {
            return Err(Refusal::Denied(format!(
                "{key} is an alias or one of several sets of a routing policy of Route 53: take it away there first"
            )));
        }
        let id = self.id().await.map_err(Refusal::Lost)?;
        let mut actions = String::new();
        for change in changes {
            // What goes makes room for what comes.
            for (action, set) in [("DELETE", &change.before), ("CREATE", &change.after)] {
                if let Some(set) = set {
                    actions.push_str(&written(action, set));
                }
            }
        }
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\"><ChangeBatch><Changes>{actions}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        );
        let path = format!("{VERSION}/hostedzone/{id}/rrset/");
        let said = self.ask(Method::POST, &path, "", body.into_bytes()).await.map_err(Refusal::Lost)?;
        if said.status.is_success() {
            return Ok(());
        }
        let (code, message) = own_words(&said);
        let stale = ["do not match the current values", "but it was not found", "but it already exists"];
        Err(match (said.status.as_u16(), code.as_str()) {
            (_, "InvalidChangeBatch") if stale.iter().any(|s| message.contains(s)) => Refusal::Changed(message),
            (401 | 403, _) | (_, "NoSuchHostedZone") => Refusal::Never(self.trouble(&said).message),
            (400..=499, _) if code != "PriorRequestNotComplete" && !code.starts_with("Throttling") => {
                Refusal::Denied(format!("Route 53 answers {code}: {message}"))
            }
            _ => Refusal::Lost(self.trouble(&said)),
        })
    }

    /// Id, all sets but the SOA, and the SOA with its time to live.
    async fn read(&self) -> Result<(String, Sets, (u32, String)), HostError> {
        let id = self.id().await?;
        let path = format!("{VERSION}/hostedzone/{id}/rrset");
        let (mut sets, mut soa) = (Sets::new(), None);
        let mut query = "maxitems=300".to_owned();
        loop {
            let said = self.ok(&path, &query).await?;
            let text = String::from_utf8_lossy(&said.body);
            let document = self.document(&text)?;
            let root = document.root_element();
            for set in root.descendants().filter(|n| n.has_tag_name((NAMESPACE, "ResourceRecordSet"))) {
                let (Some(name), Some(kind)) = (child(set, "Name"), child(set, "Type")) else { continue };
                let name = canonical_name(&decimal(&name)).unwrap_or(name);
                let ttl = child(set, "TTL").and_then(|t| t.parse().ok()).unwrap_or(0);
                let key = SetKey { name, kind };
                for value in values(set) {
                    if key.kind == "SOA" {
                        soa.get_or_insert((ttl, value));
                        continue;
                    }
                    let data = canonical(&key.kind, &decimal(&value)).unwrap_or(value);
                    let data = match child(set, "SetIdentifier") {
                        Some(policy) => format!("{SPECIAL}{policy}: {data}"),
                        None => data,
                    };
                    add(&mut sets, key.clone(), ttl, data);
                }
                if let Some(alias) = set.children().find(|n| n.has_tag_name((NAMESPACE, "AliasTarget"))) {
                    let to = child(alias, "DNSName").unwrap_or_default();
                    add(&mut sets, key, ttl, format!("{SPECIAL}alias of {to}"));
                }
            }
            if child(root, "IsTruncated").as_deref() != Some("true") {
                break;
            }
            let next = |field: &str, name: &str| Some(format!("{name}={}", encoded(&child(root, field)?)));
            let parts = [
                next("NextRecordIdentifier", "identifier"),
                Some("maxitems=300".to_owned()),
                next("NextRecordName", "name"),
                next("NextRecordType", "type"),
            ];
            let further = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
            if further == query {
                let what = "gives the same page again and again".to_owned();
                return Err(self.http.error(HostErrorKind::Protocol, what, None));
            }
            query = further;
        }
        let none =
            || self.http.error(HostErrorKind::Protocol, format!("has zone {} without a SOA", self.zone.zone), None);
        Ok((id, sets, soa.ok_or_else(none)?))
    }

    /// Of the zone of this name that is for everybody, or for inside.
    async fn id(&self) -> Result<String, HostError> {
        let private = self.zone.view == "internal";
        let query = format!("dnsname={}&maxitems=100", encoded(&self.zone.zone));
        let said = self.ok(&format!("{VERSION}/hostedzonesbyname"), &query).await?;
        let text = String::from_utf8_lossy(&said.body);
        let document = self.document(&text)?;
        let zones = document.root_element().descendants().filter(|n| n.has_tag_name((NAMESPACE, "HostedZone")));
        let mut ids: Vec<String> = zones
            .filter(|z| {
                child(*z, "Name").is_some_and(|n| n.trim_end_matches('.').eq_ignore_ascii_case(&self.zone.zone))
            })
            .filter(|z| {
                let config = z.children().find(|n| n.has_tag_name((NAMESPACE, "Config")));
                (config.and_then(|c| child(c, "PrivateZone")).as_deref() == Some("true")) == private
            })
            .filter_map(|z| Some(child(z, "Id")?.trim_start_matches("/hostedzone/").to_owned()))
            .collect();
        let kind = if private { "private" } else { "public" };
        match (ids.pop(), ids.is_empty()) {
            (Some(id), true) => Ok(id),
            (Some(_), false) => {
                let what =
                    format!("has several {kind} zones {}; cutover cannot tell which one is meant", self.zone.zone);
                Err(self.http.error(HostErrorKind::Protocol, what, None))
            }
            (None, _) => {
                let what = format!("shows no {kind} zone {} to this account", self.zone.zone);
                let help =
                    "a zone with view=internal is looked for among the private ones, any other among the public ones";
                Err(self.http.error(HostErrorKind::Denied, what, Some(help)))
            }
        }
    }

    async fn ok(&self, path: &str, query: &str) -> Result<Said, HostError> {
        let said = self.ask(Method::GET, path, query, Vec::new()).await?;
        if said.status.is_success() { Ok(said) } else { Err(self.trouble(&said)) }
    }

    async fn ask(&self, method: Method, path: &str, query: &str, body: Vec<u8>) -> Result<Said, HostError> {
        let base = &self.http.service.url;
        let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
        let question = || {
            // Signed anew for each try: a signature is good for some minutes.
            let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let request = Request {
                method: method.as_str(),
                host,
                path,
                query,
                body: &body,
                time: &time,
                region: REGION,
                service: "route53",
            };
            let signed = authorization(&request, &self.account, &self.secret);
            let mut headers = http::key_header(self.http.lane, "authorization", signed.as_bytes(), &"of Route 53")?;
            let date = HeaderValue::from_str(&time)
                .map_err(|_| self.http.error(HostErrorKind::Protocol, "no time".into(), None))?;
            headers.insert(HeaderName::from_static("x-amz-date"), date);
            let url = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") };
            if method == Method::GET {
                return Ok(Question { headers, ..Question::get(url) });
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
            Ok(Question { headers, ..Question::with(method.clone(), url, body.clone()) })
        };
        self.http.ask(question, slow).await
    }

    fn document<'d>(&self, text: &'d str) -> Result<Document<'d>, HostError> {
        let unread = |e: roxmltree::Error| {
            self.http.error(HostErrorKind::Protocol, format!("sent what cannot be read: {e}"), None)
        };
        Document::parse(text).map_err(unread)
    }

    fn trouble(&self, said: &Said) -> HostError {
        let (code, message) = own_words(said);
        let (kind, help) = match (said.status.as_u16(), code.as_str()) {
            (_, "SignatureDoesNotMatch" | "InvalidClientTokenId" | "InvalidSignature") => (
                HostErrorKind::Denied,
                "compare account= (access key id) and key= (secret access key); is this machine's clock right?",
            ),
            (401 | 403, _) => (
                HostErrorKind::Denied,
                "the account needs route53:ListHostedZonesByName, ListResourceRecordSets and ChangeResourceRecordSets",
            ),
            (_, code) if code.starts_with("Throttling") => {
                (HostErrorKind::Timeout, "it is asked too often by others with this account; try again later")
            }
            _ => (HostErrorKind::Lost, "its status page says whether it is down"),
        };
        self.http.error(kind, format!("answers {} {code}: {message}", said.status.as_u16()), Some(help))
    }
}

fn child(node: Node<'_, '_>, name: &str) -> Option<String> {
    let found = node.children().find(|n| n.is_element() && n.tag_name().name() == name)?;
    Some(found.text().unwrap_or_default().trim().to_owned())
}

fn values(set: Node<'_, '_>) -> Vec<String> {
    let records = set.descendants().filter(|n| n.is_element() && n.tag_name().name() == "ResourceRecord");
    records.filter_map(|r| child(r, "Value")).collect()
}

/// Code and message of an error, whichever of its two shapes it has.
fn own_words(said: &Said) -> (String, String) {
    let text = String::from_utf8_lossy(&said.body);
    let Ok(document) = Document::parse(&text) else { return (String::new(), http::words(&text)) };
    let all = |name: &str| {
        let nodes = document.descendants().filter(move |n| n.is_element() && n.tag_name().name() == name);
        nodes.filter_map(|n| n.text()).map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; ")
    };
    let code = all("Code");
    // The older shape of this one error has messages and no code.
    let code = match document.root_element().tag_name().name() {
        "InvalidChangeBatch" if code.is_empty() => "InvalidChangeBatch".to_owned(),
        _ => code,
    };
    (code, http::words(&all("Message")))
}

/// `Throttling` and `PriorRequestNotComplete` come with status 400: both mean later.
fn slow(said: &Said) -> bool {
    if said.status.as_u16() == 429 || said.status.as_u16() == 503 {
        return true;
    }
    let code = || own_words(said).0;
    said.status.as_u16() == 400
        && matches!(code().as_str(), "Throttling" | "ThrottlingException" | "PriorRequestNotComplete")
}

fn written(action: &str, set: &RecordSet) -> String {
    let values: String = set
        .data
        .iter()
        .map(|d| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(&octal(d))))
        .collect();
    format!(
        "<Change><Action>{action}</Action><ResourceRecordSet><Name>{}</Name><Type>{}</Type><TTL>{}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>",
        escaped(&octal(&set.key.name)),
        set.key.kind,
        set.ttl
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Route 53 writes octets as three octal digits, zone files (RFC 1035, section 5.1) as three decimal ones.
fn decimal(text: &str) -> String {
    recoded(text, 8, |octet| format!("\\{octet:03}"))
}

fn octal(text: &str) -> String {
    recoded(text, 10, |octet| format!("\\{octet:03o}"))
}

fn recoded(text: &str, radix: u32, write: impl Fn(u8) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        match behind.get(..3).and_then(|digits| u8::from_str_radix(digits, radix).ok()) {
            Some(octet) => {
                out.push_str(&write(octet));
                rest = &behind[3..];
            }
            None => {
                // An escaped sign: itself, and not the begin of another escape.
                out.push('\\');
                let sign = behind.chars().next();
                out.extend(sign);
                rest = sign.map_or("", |c| &behind[c.len_utf8()..]);
            }
        }
    }
    out + rest
}

/// About what a change takes of a batch: characters of its values, and at least the thousandth part of it for each record.
pub fn size(change: &SetChange) -> usize {
    let sets = change.before.iter().chain(&change.after);
    sets.flat_map(|s| s.data.iter()).map(|d| d.len().max(ROOM / RECORDS)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_recoded_there_and_back() {
        for (theirs, ours) in
            [("\\052.a.example.", "\\042.a.example."), ("\"caf\\303\\251 \\\"x\\\\\"", "\"caf\\195\\169 \\\"x\\\\\"")]
        {
            assert_eq!(decimal(theirs), ours);
            assert_eq!(octal(ours), theirs);
        }
        assert_eq!(canonical_name(&decimal("\\052.a.example.")).expect("a name"), "*.a.example.");
    }

    #[test]
    fn a_batch_is_full_with_a_thousand_records_or_many_long_ones() {
        let set = |data: Vec<String>| RecordSet {
            key: SetKey { name: "a.example.".into(), kind: "TXT".into() },
            ttl: 300,
            data: data.into_iter().collect(),
        };
        let change = |data| SetChange { before: None, after: Some(set(data)) };
        assert_eq!(size(&change((0..1_000).map(|n| n.to_string()).collect())), ROOM);
        assert_eq!(size(&change(vec!["x".repeat(200)])), 200);
    }
}
