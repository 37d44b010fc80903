//! A zone of PowerDNS Authoritative, over its HTTP interface: read whole with `GET`, changed with `PATCH`, which PowerDNS carries out
//! in one transaction of its database.
//!
//! The interface has no prerequisites: nothing in a `PATCH` says what must stand there. So the zone is read and compared right before,
//! its serial is asked for again directly before the `PATCH`, and afterwards it has to be the one that follows. Another one means that
//! somebody else wrote in that instant, and the change is told as failed: what they wrote may be gone. Between the last look and the
//! `PATCH` there is a gap of one round trip that nothing here can close; DNS updates (type=rfc2136) have none.
//!
//! <https://doc.powerdns.com/authoritative/http-api/zone.html>,
//! <https://doc.powerdns.com/authoritative/domainmetadata.html> (SOA-EDIT-API)

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::dns::{SetChange, SetKey};
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess, ZoneService};
use crate::protocol::dns::data::{Sets, add, canonical, canonical_name};
use crate::protocol::dns::{Transferred, newer};
use crate::transport::SecretReader;
use crate::transport::refusal::error;

use super::channel::Refusal;
use super::http::{self, Http, Question, Said};

/// Octets of a message: half of what PowerDNS takes by default (`webserver-max-bodysize`, 2 MB).
pub const ROOM: usize = 1_000_000;

pub struct PowerDns<'a> {
    http: Http<'a>,
    zone: &'a str,
    url: String,
}

/// A zone as the interface gives it.
#[derive(Debug, Deserialize)]
struct Answer {
    /// `Native`, `Master`, `Slave`; newer versions say `Primary`, `Secondary`.
    #[serde(default)]
    kind: String,
    serial: u32,
    /// How the serial moves with each change; empty: it does not.
    #[serde(default)]
    soa_edit_api: String,
    #[serde(default)]
    rrsets: Vec<Rrset>,
}

#[derive(Debug, Deserialize)]
struct Rrset {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    records: Vec<Content>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Content {
    content: String,
    #[serde(default)]
    disabled: bool,
}

/// A zone as it was read.
struct Found {
    serial: u32,
    soa_edit_api: String,
    kind: String,
    sets: Sets,
    /// Records that are not served, by their set: they belong to whoever wrote them, and stay.
    disabled: BTreeMap<SetKey, Vec<Content>>,
    soa: Soa,
}

/// The SOA with its fields as they stand there.
struct Soa {
    ttl: u32,
    fields: Vec<String>,
}

impl Soa {
    fn read(set: &Rrset) -> Option<Self> {
        let fields: Vec<String> = set.records.first()?.content.split_whitespace().map(str::to_owned).collect();
        let numbers = fields.iter().skip(2).all(|f| f.parse::<u32>().is_ok());
        (fields.len() == 7 && numbers).then_some(Self { ttl: set.ttl, fields })
    }

    fn number(&self, at: usize) -> u32 {
        self.fields.get(at).and_then(|f| f.parse().ok()).unwrap_or(0)
    }

    fn with_serial(&self, serial: u32) -> String {
        let mut fields = self.fields.clone();
        fields[2] = serial.to_string();
        fields.join(" ")
    }
}

impl<'a> PowerDns<'a> {
    pub async fn open(
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        service: &'a ZoneService,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        let Some(key) = &service.key else {
            let message = "its dns-provider has no key=: PowerDNS answers nobody without its api-key";
            return Err(error(lane, HostErrorKind::Secret, message, None));
        };
        let value = secrets.read(key).await.map_err(|m| error(lane, HostErrorKind::Secret, m, None))?;
        let headers = http::key_header(lane, "x-api-key", value.trim_ascii(), key)?;
        let http = Http::open(lane, service, headers, secrets).await?;
        let url = format!("{}/api/v1/servers/localhost/zones/{}", service.url, id(&zone.zone));
        Ok(Self { http, zone: &zone.zone, url })
    }

    pub async fn look(&self) -> Result<Transferred, HostError> {
        let found = self.read().await?;
        Ok(Transferred {
            serial: found.serial,
            negative_ttl: found.soa.number(6).min(found.soa.ttl),
            refresh: found.soa.number(3),
            records: found.sets.values().map(|s| s.data.len()).sum::<usize>() + 1,
            sets: found.sets,
        })
    }

    /// All changes in one transaction, or none.
    pub async fn send(&self, changes: &[SetChange]) -> Result<(), Refusal> {
        let found = self.read().await.map_err(Refusal::Lost)?;
        if matches!(found.kind.as_str(), "Slave" | "Secondary" | "Consumer") {
            return Err(Refusal::Never(format!(
                "{} is a secondary of zone {}: changes belong on its primary",
                self.http.service.url, self.zone
            )));
        }
        if let Some(key) = changes.iter().find_map(|c| c.key().filter(|k| found.sets.get(*k) != c.before.as_ref())) {
            return Err(Refusal::Changed(format!("{key} has changed")));
        }
        let body = serde_json::to_vec(&self.patch(&found, changes)).unwrap_or_default();
        // The body of a large change takes its time to be made: the serial says whether anybody was faster.
        let now = self.serial().await.map_err(Refusal::Lost)?;
        if now != found.serial {
            return Err(Refusal::Changed(format!("zone {} went from serial {} to {now}", self.zone, found.serial)));
        }
        let patch = || Ok(Question::with(Method::PATCH, self.url.clone(), body.clone()));
        let said = self.http.ask(patch, slow).await.map_err(Refusal::Lost)?;
        if !said.status.is_success() {
            return Err(self.refused(&said));
        }
        let after = self.serial().await;
        if matches!(found.kind.as_str(), "Master" | "Primary" | "Producer") {
            self.notify().await;
        }
        match after {
            Ok(after) if follows(found.serial, after, &found.soa_edit_api) => Ok(()),
            Ok(after) => Err(Refusal::Raced(format!(
                "it is written, but somebody else wrote to zone {} in the same instant (serial {} became {after}): what they wrote to \
                 this set, if anything, is gone. Look at it, then go on with `cutover resume` or plan again",
                self.zone, found.serial
            ))),
            Err(e) => Err(Refusal::Lost(e)),
        }
    }

    fn patch(&self, found: &Found, changes: &[SetChange]) -> serde_json::Value {
        let mut rrsets = Vec::with_capacity(changes.len() + 1);
        for change in changes {
            let Some(key) = change.key() else { continue };
            let disabled = found.disabled.get(key).map(Vec::as_slice).unwrap_or_default();
            let served = change.after.iter().flat_map(|s| s.data.iter());
            let mut records: Vec<Content> = served.map(|d| Content { content: d.clone(), disabled: false }).collect();
            let ttl = change.after.as_ref().or(change.before.as_ref()).map_or(0, |s| s.ttl);
            records.extend(disabled.iter().cloned());
            rrsets.push(match records.is_empty() {
                true => json!({"name": key.name, "type": key.kind, "changetype": "DELETE"}),
                false => {
                    json!({"name": key.name, "type": key.kind, "ttl": ttl, "changetype": "REPLACE", "records": records})
                }
            });
        }
        // Secondaries follow a serial that moves; where PowerDNS does not move it, we do.
        if still(&found.soa_edit_api) {
            let soa = found.soa.with_serial(found.serial.wrapping_add(1));
            rrsets.push(json!({
                "name": format!("{}.", self.zone), "type": "SOA", "ttl": found.soa.ttl, "changetype": "REPLACE",
                "records": [{"content": soa, "disabled": false}],
            }));
        }
        json!({ "rrsets": rrsets })
    }

    async fn read(&self) -> Result<Found, HostError> {
        let answer = self.get(&self.url).await?;
        let mut found = Found {
            serial: answer.serial,
            soa_edit_api: answer.soa_edit_api,
            kind: answer.kind,
            sets: Sets::new(),
            disabled: BTreeMap::new(),
            soa: Soa { ttl: 0, fields: Vec::new() },
        };
        let mut soa = None;
        for set in answer.rrsets {
            if set.kind == "SOA" {
                soa = Soa::read(&set);
                continue;
            }
            let name = canonical_name(&set.name).unwrap_or_else(|_| set.name.to_lowercase());
            let key = SetKey { name, kind: set.kind };
            for record in set.records {
                if record.disabled {
                    found.disabled.entry(key.clone()).or_default().push(record);
                    continue;
                }
                // Types that only PowerDNS knows (ALIAS, LUA) are not ours; they are kept as they are written.
                let data = canonical(&key.kind, &record.content).unwrap_or(record.content);
                add(&mut found.sets, key.clone(), set.ttl, data);
            }
        }
        let none = || {
            let help = "make one: pdnsutil check-zone says what is missing";
            self.http.error(HostErrorKind::Protocol, format!("has zone {} without a SOA", self.zone), Some(help))
        };
        found.soa = soa.ok_or_else(none)?;
        Ok(found)
    }

    async fn serial(&self) -> Result<u32, HostError> {
        Ok(self.get(&format!("{}?rrsets=false", self.url)).await?.serial)
    }

    async fn get(&self, url: &str) -> Result<Answer, HostError> {
        let said = self.http.ask(|| Ok(Question::get(url.to_owned())), slow).await?;
        if !said.status.is_success() {
            return Err(self.trouble(&said));
        }
        let unread = |e: serde_json::Error| {
            self.http.error(HostErrorKind::Protocol, format!("did not answer with a zone: {e}"), None)
        };
        serde_json::from_slice(&said.body).map_err(unread)
    }

    /// Tells the secondaries; they would see the new serial at their refresh too.
    async fn notify(&self) {
        let put = || Ok(Question::with(Method::PUT, format!("{}/notify", self.url), Vec::new()));
        if let Err(e) = self.http.ask(put, slow).await {
            tracing::warn!("{}: NOTIFY was not asked for: {e}", self.zone);
        }
    }

    fn refused(&self, said: &Said) -> Refusal {
        match said.status.as_u16() {
            // Too long: a part of it may be taken.
            409 | 413 | 422 => Refusal::Denied(format!("PowerDNS answers {}: {}", said.status, own_words(said))),
            // Nothing was committed, or it was and the answer is about something else: the zone itself says.
            500..=599 => Refusal::Lost(self.trouble(said)),
            _ => Refusal::Never(self.trouble(said).message),
        }
    }

    fn trouble(&self, said: &Said) -> HostError {
        let (kind, help) = match said.status.as_u16() {
            401 => (
                HostErrorKind::Denied,
                "compare key= with api-key in its configuration, and webserver-allow-from with this machine's address",
            ),
            403 => {
                (HostErrorKind::Denied, "webserver-allow-from in its configuration must name this machine's address")
            }
            404 => {
                let what = format!("has no zone {} (404), or its API is off", self.zone);
                let help = "make the zone there: pdnsutil create-zone ZONE; and set api=yes";
                return self.http.error(HostErrorKind::Denied, what, Some(help));
            }
            300..=399 => (HostErrorKind::Protocol, "it redirects: give the address that it points to in endpoint="),
            _ => (HostErrorKind::Lost, "its own log says why"),
        };
        self.http.error(kind, format!("answers {}: {}", said.status, own_words(said)), Some(help))
    }
}

fn slow(said: &Said) -> bool {
    matches!(said.status.as_u16(), 429 | 503)
}

/// `{"error": "…"}`, else the text itself.
fn own_words(said: &Said) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(&said.body).ok();
    let error = json.as_ref().and_then(|j| j.get("error")?.as_str());
    http::words(error.unwrap_or(&String::from_utf8_lossy(&said.body)))
}

/// The name of a zone as its id in a URL: what is no letter, digit, dot, hyphen or underscore is written `=2F`.
fn id(zone: &str) -> String {
    let mut out = String::new();
    for b in zone.trim_end_matches('.').bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(char::from(b)),
            _ => out.push_str(&format!("={b:02X}")),
        }
    }
    out + "."
}

/// PowerDNS leaves the serial where it is.
fn still(soa_edit_api: &str) -> bool {
    matches!(soa_edit_api.to_ascii_uppercase().as_str(), "" | "OFF")
}

/// Whether one change and no other lies between two serials. Where the serial is a clock that cannot be told, and is not denied.
fn follows(before: u32, after: u32, soa_edit_api: &str) -> bool {
    let next = after == before.wrapping_add(1);
    match soa_edit_api.to_ascii_uppercase().as_str() {
        "DEFAULT" => {
            next || (after % 100 == 1 && before / 100 < after / 100 && newer(after, before) && recent(after / 100))
        }
        "" | "OFF" | "INCREASE" => next,
        _ => true,
    }
}

/// `20261122`: yesterday, today or tomorrow, wherever the server's day begins.
fn recent(day: u32) -> bool {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let days = [today.yesterday().ok(), Some(today), today.tomorrow().ok()];
    days.into_iter().flatten().any(|d| d.strftime("%Y%m%d").to_string() == day.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_powerdns_calls_its_zones() {
        assert_eq!(id("acme.example"), "acme.example.");
        assert_eq!(id("0/25.2.0.192.in-addr.arpa"), "0=2F25.2.0.192.in-addr.arpa.");
    }

    #[test]
    fn the_serial_says_whether_we_were_alone() {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let first: u32 = format!("{}01", today.strftime("%Y%m%d")).parse().expect("a serial");
        assert!(follows(first, first + 1, "DEFAULT") && !follows(first, first + 2, "DEFAULT"));
        assert!(follows(1, first, "DEFAULT"), "the first change of the day");
        assert!(!follows(1, first + 1, "DEFAULT"), "the second one of it");
        assert!(!follows(first, first, "DEFAULT"), "nothing was written");
        assert!(!follows(1, 2_001_010_101, "DEFAULT"), "of another day");
        assert!(follows(7, 8, "INCREASE") && !follows(7, 9, "INCREASE") && !follows(7, first, "INCREASE"));
        assert!(follows(u32::MAX, 0, "") && !follows(7, 7, ""));
        assert!(follows(7, 1_795_342_984, "EPOCH"), "a clock says nothing");
    }

    #[test]
    fn a_soa_is_seven_fields() {
        let set = |content: &str| Rrset {
            name: "acme.example.".into(),
            kind: "SOA".into(),
            ttl: 300,
            records: vec![Content { content: content.into(), disabled: false }],
        };
        let soa = Soa::read(&set("ns.acme.example. hostmaster.acme.example. 7 3600 600 86400 60")).expect("a SOA");
        assert_eq!((soa.number(2), soa.number(3), soa.number(6)), (7, 3600, 60));
        assert_eq!(soa.with_serial(8), "ns.acme.example. hostmaster.acme.example. 8 3600 600 86400 60");
        assert!(Soa::read(&set("ns.acme.example. hostmaster.acme.example. 7")).is_none());
        assert!(Soa::read(&set("a b c d e f g")).is_none());
    }
}
