//! A zone at Cloudflare. Never run against the live service: what is here follows its published interface, and its tests replay
//! exchanges in the shapes of that documentation.
//!
//! A batch is one transaction of Cloudflare's database; how it spreads to their servers is not (their own words). So a record that
//! changes keeps its id (`puts`) instead of going and coming again: the set is not without it at any instant. There are no
//! prerequisites. A record that somebody deleted fails the batch, since its id is gone; one that somebody edited in place or added
//! after our last look does not.
//!
//! <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list>,
//! <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/batch>,
//! <https://developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes>

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::model::dns::{RecordSet, SetChange, SetKey};
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess, ZoneService};
use crate::protocol::dns::Transferred;
use crate::protocol::dns::data::{Sets, add, canonical, canonical_name};
use crate::transport::SecretReader;
use crate::transport::refusal::error;

use super::channel::Refusal;
use super::http::{self, Http, Question, Said};

/// Records of one batch: as many as the smallest plan of theirs allows.
pub const ROOM: usize = 200;

/// Records of one page of answers.
const PAGE: usize = 1_000;

/// `ttl: 1` stands for "automatic", which is served as this.
const AUTOMATIC: u32 = 300;

/// Behind the data of a record that Cloudflare answers with addresses of its own.
const PROXIED: &str = " (proxied)";

pub struct Cloudflare<'a> {
    http: Http<'a>,
    zone: &'a str,
}

#[derive(Debug, Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Trouble>,
    result: Option<T>,
    result_info: Option<Pages>,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct Pages {
    #[serde(default)]
    total_pages: usize,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Record {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    proxied: bool,
    priority: Option<u32>,
    data: Option<Json>,
}

impl Record {
    /// As a zone file has it; what is not understood stays as it is written.
    fn text(&self) -> String {
        let content = self.content.trim_end_matches('.');
        let number = |field: &str| self.data.as_ref().and_then(|d| d.get(field)).and_then(Json::as_u64);
        let text = match self.kind.as_str() {
            "MX" => format!("{} {}", self.priority.unwrap_or(0), dotted(content)),
            "CNAME" | "NS" | "PTR" => dotted(content),
            "SRV" => match (
                number("priority"),
                number("weight"),
                number("port"),
                self.data.as_ref().and_then(|d| d.get("target")?.as_str()),
            ) {
                (Some(priority), Some(weight), Some(port), Some(target)) => {
                    format!("{priority} {weight} {port} {}", dotted(target))
                }
                _ => self.content.clone(),
            },
            "TXT" if !self.content.starts_with('"') => {
                format!("\"{}\"", self.content.replace('\\', "\\\\").replace('"', "\\\""))
            }
            _ => self.content.clone(),
        };
        let text = canonical(&self.kind, &text).unwrap_or(text);
        if self.proxied { text + PROXIED } else { text }
    }

    fn ttl(&self) -> u32 {
        if self.ttl == 1 { AUTOMATIC } else { self.ttl }
    }
}

/// With its last dot: names of Cloudflare have none.
fn dotted(name: &str) -> String {
    match name {
        "" | "." => ".".to_owned(),
        name => format!("{}.", name.trim_end_matches('.')),
    }
}

fn bare(name: &str) -> &str {
    match name.trim_end_matches('.') {
        "" => ".",
        name => name,
    }
}

/// One record as it is written.
fn body(key: &SetKey, ttl: u32, data: &str) -> Json {
    let (data, proxied) = data.strip_suffix(PROXIED).map_or((data, false), |data| (data, true));
    let words: Vec<&str> = data.split(' ').collect();
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let mut out = json!({"name": bare(&key.name), "type": key.kind, "ttl": if proxied { 1 } else { ttl }});
    let mut put = |field: &str, value: Json| out[field] = value;
    match (key.kind.as_str(), words.as_slice()) {
        ("MX", [priority, host]) => {
            put("priority", number(priority).into());
            put("content", bare(host).into());
        }
        ("SRV", [priority, weight, port, target]) => {
            put(
                "data",
                json!({"priority": number(priority), "weight": number(weight), "port": number(port), "target": bare(target)}),
            );
        }
        ("TLSA", [usage, selector, matching, bytes]) => put(
            "data",
            json!({"usage": number(usage), "selector": number(selector), "matching_type": number(matching), "certificate": bytes}),
        ),
        ("CAA", [flags, tag, value]) => {
            put("data", json!({"flags": number(flags), "tag": tag, "value": value.trim_matches('"')}));
        }
        ("CNAME" | "NS" | "PTR", [host]) => put("content", bare(host).into()),
        _ => put("content", data.into()),
    }
    if matches!(key.kind.as_str(), "A" | "AAAA" | "CNAME") {
        put("proxied", proxied.into());
    }
    out
}

/// The zone as it was read.
struct Found {
    id: String,
    sets: Sets,
    records: BTreeMap<SetKey, Vec<Record>>,
}

impl<'a> Cloudflare<'a> {
    pub async fn open(
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        service: &'a ZoneService,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        let Some(key) = &service.key else {
            let message = "its dns-provider has no key=: Cloudflare wants an API token that may edit the zone's DNS";
            return Err(error(lane, HostErrorKind::Secret, message, None));
        };
        let token = secrets.read(key).await.map_err(|m| error(lane, HostErrorKind::Secret, m, None))?;
        let bearer = zeroize::Zeroizing::new([b"Bearer ", token.trim_ascii()].concat());
        let headers = http::key_header(lane, "authorization", &bearer, key)?;
        Ok(Self { http: Http::open(lane, service, headers, secrets).await?, zone: &zone.zone })
    }

    /// It does not say its SOA: serial and times are zero.
    pub async fn look(&self) -> Result<Transferred, HostError> {
        let found = self.read().await?;
        let records = found.sets.values().map(|s| s.data.len()).sum();
        Ok(Transferred { serial: 0, negative_ttl: 0, refresh: 0, sets: found.sets, records })
    }

    pub async fn send(&self, changes: &[SetChange]) -> Result<(), Refusal> {
        let found = self.read().await.map_err(Refusal::Lost)?;
        if let Some(key) = changes.iter().find_map(|c| c.key().filter(|k| found.sets.get(*k) != c.before.as_ref())) {
            return Err(Refusal::Changed(format!("{key} has changed")));
        }
        let (mut deletes, mut puts, mut posts) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let Some(key) = change.key() else { continue };
            let known = found.records.get(key).map(Vec::as_slice).unwrap_or_default();
            let (stay, mut goes): (Vec<&Record>, Vec<&Record>) =
                known.iter().partition(|r| stays(r, change.after.as_ref()));
            let Some(after) = &change.after else {
                deletes.extend(goes.iter().map(|r| json!({"id": r.id})));
                continue;
            };
            let mut wanted: Vec<&String> =
                after.data.iter().filter(|d| !stay.iter().any(|r| r.text() == **d)).collect();
            // Only its time to live changes: the same record, not the first that goes.
            wanted.sort_by_key(|d| !goes.iter().any(|r| r.text() == **d));
            for data in wanted {
                let same = goes.iter().position(|r| r.text() == *data).or((!goes.is_empty()).then_some(0));
                let mut body = body(key, after.ttl, data);
                match same {
                    Some(at) => {
                        body["id"] = goes.remove(at).id.clone().into();
                        puts.push(body);
                    }
                    None => posts.push(body),
                }
            }
            deletes.extend(goes.iter().map(|r| json!({"id": r.id})));
        }
        let batch = json!({"deletes": deletes, "puts": puts, "posts": posts});
        let bytes = serde_json::to_vec(&batch).unwrap_or_default();
        let url = format!("{}/zones/{}/dns_records/batch", self.http.service.url, found.id);
        let said = self.http.ask(|| Ok(self.json(Method::POST, url.clone(), bytes.clone())), slow).await;
        let said = said.map_err(Refusal::Lost)?;
        let answer: Option<Envelope<Json>> = serde_json::from_slice(&said.body).ok();
        if said.status.is_success() && answer.as_ref().is_some_and(|a| a.success) {
            return Ok(());
        }
        Err(match said.status.as_u16() {
            401 | 403 => Refusal::Never(self.trouble(&said).message),
            // An id that is gone: somebody else was here.
            404 => Refusal::Changed(own_words(&said)),
            400..=499 => Refusal::Denied(format!("Cloudflare answers {}: {}", said.status, own_words(&said))),
            _ => Refusal::Lost(self.trouble(&said)),
        })
    }

    async fn read(&self) -> Result<Found, HostError> {
        let named: Envelope<Vec<Named>> =
            self.get(&format!("{}/zones?name={}", self.http.service.url, self.zone)).await?;
        let zone = named.result.into_iter().flatten().find(|z| z.name.eq_ignore_ascii_case(self.zone));
        let Some(zone) = zone else {
            let help = "the token may read other zones only, or the zone is not in this account";
            let what = format!("shows no zone {}", self.zone);
            return Err(self.http.error(HostErrorKind::Denied, what, Some(help)));
        };
        let mut found = Found { id: zone.id, sets: Sets::new(), records: BTreeMap::new() };
        for page in 1.. {
            let url = format!(
                "{}/zones/{}/dns_records?per_page={PAGE}&page={page}&order=name",
                self.http.service.url, found.id
            );
            let answer: Envelope<Vec<Record>> = self.get(&url).await?;
            for record in answer.result.into_iter().flatten() {
                let name = canonical_name(&record.name).unwrap_or_else(|_| dotted(&record.name.to_lowercase()));
                let key = SetKey { name, kind: record.kind.clone() };
                add(&mut found.sets, key.clone(), record.ttl(), record.text());
                found.records.entry(key).or_default().push(record);
            }
            let last = answer.result_info.map_or(1, |i| i.total_pages);
            if page >= last {
                break;
            }
        }
        Ok(found)
    }

    fn json(&self, method: Method, url: String, body: Vec<u8>) -> Question {
        let mut question = Question::with(method, url, body);
        let json = reqwest::header::HeaderValue::from_static("application/json");
        question.headers.insert(reqwest::header::CONTENT_TYPE, json);
        question
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<Envelope<T>, HostError> {
        let said = self.http.ask(|| Ok(Question::get(url.to_owned())), slow).await?;
        let unread = |e: serde_json::Error| {
            self.http.error(HostErrorKind::Protocol, format!("sent what cannot be read: {e}"), None)
        };
        if !said.status.is_success() {
            return Err(self.trouble(&said));
        }
        let answer: Envelope<T> = serde_json::from_slice(&said.body).map_err(unread)?;
        if answer.success { Ok(answer) } else { Err(self.trouble(&said)) }
    }

    fn trouble(&self, said: &Said) -> HostError {
        let (kind, help) = match said.status.as_u16() {
            400 | 401 | 403 => {
                (HostErrorKind::Denied, "the token of key= needs the permissions Zone Read and DNS Write for this zone")
            }
            429 => (HostErrorKind::Timeout, "it is asked too often by others with this account; try again later"),
            _ => (HostErrorKind::Lost, "its status page says whether it is down"),
        };
        self.http.error(kind, format!("answers {}: {}", said.status, own_words(said)), Some(help))
    }
}

/// A record that needs no change.
fn stays(record: &Record, after: Option<&RecordSet>) -> bool {
    after.is_some_and(|a| a.ttl == record.ttl() && a.data.contains(&record.text()))
}

fn slow(said: &Said) -> bool {
    said.status.as_u16() == 429
}

fn own_words(said: &Said) -> String {
    let answer: Option<Envelope<Json>> = serde_json::from_slice(&said.body).ok();
    let errors: Vec<String> =
        answer.into_iter().flat_map(|a| a.errors).map(|e| format!("{} ({})", e.message, e.code)).collect();
    match errors.is_empty() {
        true => http::words(&String::from_utf8_lossy(&said.body)),
        false => http::words(&errors.join("; ")),
    }
}

/// Records that a change touches.
pub fn size(change: &SetChange) -> usize {
    let of = |set: &Option<RecordSet>| set.as_ref().map_or(0, |s| s.data.len());
    of(&change.before) + of(&change.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        serde_json::from_str(text).expect("a record")
    }

    #[test]
    fn records_are_read_as_a_zone_file_has_them_and_written_back() {
        for (text, wanted) in [
            (
                r#"{"id":"1","name":"a.example","type":"MX","content":"mail.a.example","priority":10,"ttl":300}"#,
                "10 mail.a.example.",
            ),
            (r#"{"id":"1","name":"a.example","type":"MX","content":".","priority":0,"ttl":300}"#, "0 ."),
            (r#"{"id":"1","name":"a.example","type":"TXT","content":"v=spf1 -all","ttl":300}"#, "\"v=spf1 -all\""),
            (
                r#"{"id":"1","name":"a.example","type":"TXT","content":"\"v=spf1 \" \"-all\"","ttl":300}"#,
                "\"v=spf1 -all\"",
            ),
            (
                r#"{"id":"1","name":"_imaps._tcp.a.example","type":"SRV","content":"1 993 mail.a.example","priority":0,"ttl":300,"data":{"priority":0,"weight":1,"port":993,"target":"mail.a.example"}}"#,
                "0 1 993 mail.a.example.",
            ),
            (
                r#"{"id":"1","name":"a.example","type":"CAA","content":"0 issue \"ca.example\"","ttl":300}"#,
                "0 issue \"ca.example\"",
            ),
            (
                r#"{"id":"1","name":"w.a.example","type":"CNAME","content":"Mail.a.example","ttl":300}"#,
                "mail.a.example.",
            ),
            (
                r#"{"id":"1","name":"a.example","type":"A","content":"192.0.2.1","ttl":1,"proxied":true}"#,
                "192.0.2.1 (proxied)",
            ),
        ] {
            let record = record(text);
            assert_eq!(record.text(), wanted);
            let key = SetKey { name: format!("{}.", record.name), kind: record.kind.clone() };
            let mut written = body(&key, record.ttl(), &record.text());
            written["id"] = "1".into();
            let again: Record = serde_json::from_value(written.clone()).expect("a record");
            let content = again.content.is_empty() && again.data.is_some();
            assert!(content || again.text() == record.text(), "{written}");
        }
        assert_eq!(record(r#"{"id":"1","name":"a","type":"A","content":"192.0.2.1","ttl":1}"#).ttl(), 300);
    }
}
