//! What a plan must not do to signed mail and to certificates that senders know by TLSA. The topology alone cannot say it: it takes
//! what the name servers serve, since when, and which keys hosts have signed with.
//!
//! ```text
//! a server signs with another key     its record is served everywhere, and N has passed       else refused: --exceed signing
//! a key's record goes                 nobody has signed with it for as long as mail may wait   else refused: --exceed signing
//! a host shows another certificate    its TLSA is served everywhere, and two TTLs have passed  else refused: --exceed tlsa
//! ```
//!
//! When something was first seen is kept in the state folder. Where that is lost, a wait begins anew; it never ends too early, but for
//! one: a key that nobody signs with any more, and that was never seen to sign, may go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::authority::{digest, replace};
use super::rotation::now;
use super::served::{Lags, Servers};
use super::session::{Session, Wish};
use crate::lowering::certificate::FOLDER;
use crate::model::cutover::clock;
use crate::model::dns::WantedRecord;
use crate::model::observed::Observed;
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::Action;
use crate::model::{Address, HostName, Kind};

/// Words of `--exceed`.
const SIGNING: &str = "signing";
const TLSA: &str = "tlsa";

/// What was seen, in Unix seconds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    /// `NAME TYPE DATA`: since when every name server serves it.
    served: BTreeMap<String, i64>,
    /// `SELECTOR DOMAIN`: when a host last had the key to sign with.
    signed: BTreeMap<String, i64>,
}

impl Seen {
    fn load(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("mail-auth.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn save(&self, folder: &Path) {
        let kept = std::fs::create_dir_all(folder).map_err(|e| e.to_string()).and_then(|()| {
            let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
            replace(&folder.join("mail-auth.json"), text.as_bytes())
        });
        if let Err(e) = kept {
            tracing::warn!("what was seen of keys and TLSA records was not kept: {e}");
        }
    }

    /// Since when a record is served everywhere, asked now; with the seconds that caches may not know it.
    async fn ask(&mut self, servers: &Servers, record: &Record) -> Result<(i64, i64), Lags> {
        let key = format!("{} {} {}", record.name, record.kind, record.data);
        match servers.serve(&record.name, record.kind, &record.data).await {
            Ok(served) => {
                let since = *self.served.entry(key).or_insert_with(now);
                Ok((since, i64::try_from(served.unknown).unwrap_or(i64::MAX)))
            }
            Err(lags) => {
                self.served.remove(&key);
                Err(lags)
            }
        }
    }
}

/// A record that something waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    name: String,
    kind: &'static str,
    data: String,
}

/// `SELECTOR` and `DOMAIN` of a file that a server signs with: packs name it by both, in a folder of such keys. Selectors have no dot.
fn signing_key(kind: Kind, key: &str) -> Option<(&str, &str)> {
    let (folder, name) = key.rsplit_once('/').filter(|_| kind == Kind::File)?;
    if !matches!(folder.rsplit('/').next(), Some("dkimkeys" | "dkim")) {
        return None;
    }
    name.strip_suffix(".pem").or_else(|| name.strip_suffix(".key"))?.split_once('.')
}

/// Keys that hosts have now, as their ledgers say: host, selector, domain.
fn on_hosts(observed: &Observed) -> Vec<(&HostName, &str, &str)> {
    let keys = observed.hosts.iter().flat_map(|(host, o)| o.owned.iter().map(move |owned| (host, owned)));
    keys.filter_map(|(host, o)| signing_key(o.kind, &o.key).map(|(s, d)| (host, s, d))).collect()
}

/// Looks at a plan, and blocks it where it would break a promise.
pub async fn look(session: &Session, observed: &Observed, plan: &mut Plan, wish: &Wish) {
    if wish.destroy || session.project.topology.all("mail-auth").next().is_none() {
        return;
    }
    let folder = session.state.path();
    let mut seen = Seen::load(folder);
    let timezone = session.project.topology.organization().and_then(|o| o.text("timezone")).unwrap_or("UTC");
    let mut look = Look { session, observed, wish, timezone, seen: &mut seen, refused: Vec::new() };
    look.note_signers();
    look.watch().await;
    look.moves(plan).await;
    look.removals();
    look.certificates(plan).await;
    let refused = look.refused;
    plan.notes.extend(refused.into_iter().map(|text| PlanNote { address: None, text, blocks: true }));
    if seen != Seen::load(folder) {
        seen.save(folder);
    }
}

/// An apply, a resume or an undo came to its end: keys that hosts had at its begin may have signed until now, and what it has published
/// is served from now on.
pub async fn after(session: &Session, observed: Option<&Observed>) {
    let folder = session.state.path();
    let mut seen = Seen::load(folder);
    match observed {
        Some(observed) => {
            for (_, selector, domain) in on_hosts(observed) {
                seen.signed.insert(format!("{selector} {domain}"), now());
            }
        }
        None => seen.signed.values_mut().for_each(|t| *t = now()),
    }
    let none = Observed::default();
    let wish = Wish::default();
    let observed = observed.unwrap_or(&none);
    Look { session, observed, wish: &wish, timezone: "UTC", seen: &mut seen, refused: Vec::new() }.watch().await;
    if seen != Seen::load(folder) {
        seen.save(folder);
    }
}

struct Look<'a> {
    session: &'a Session,
    observed: &'a Observed,
    wish: &'a Wish,
    timezone: &'a str,
    seen: &'a mut Seen,
    refused: Vec<String>,
}

impl Look<'_> {
    fn said(&self, word: &str) -> bool {
        self.wish.exceed.iter().any(|e| e == word)
    }

    fn note_signers(&mut self) {
        for (_, selector, domain) in on_hosts(self.observed) {
            self.seen.signed.insert(format!("{selector} {domain}"), now());
        }
    }

    fn servers(&self) -> Servers {
        Servers::of(&self.session.project.topology)
    }

    /// Every record that the zones shall have.
    fn wanted(&self) -> Vec<WantedRecord> {
        let project = &self.session.project;
        let (zones, _) = crate::lowering::zone::zones(&project.topology, &project.made);
        zones.into_iter().flat_map(|z| z.records).collect()
    }

    /// Asks for what will be needed later, so that its wait has begun by then: keys that nobody signs with yet, and the TLSA records of
    /// certificates that come next.
    async fn watch(&mut self) {
        let made = &self.session.project.made;
        let mut watched: BTreeSet<Record> = BTreeSet::new();
        let requests = crate::lowering::needs(&self.session.project.topology).signing;
        // Those that cutover changes itself are looked after elsewhere.
        for request in requests.iter().filter(|r| !r.automatic() && !r.signs) {
            for selector in made.signing.get(&request.node).into_iter().flatten() {
                let (name, _) = selector.record(&request.domain);
                watched.insert(Record { name, kind: "TXT", data: selector.data() });
            }
        }
        let coming = made.certificates.values().filter(|c| c.keys.len() > 1).flat_map(|c| c.keys.iter());
        let coming: BTreeSet<&String> = coming.collect();
        if !coming.is_empty() {
            let shown = |r: &&WantedRecord| coming.iter().any(|d| r.kind == "TLSA" && r.data.ends_with(d.as_str()));
            watched.extend(self.wanted().iter().filter(shown).map(tlsa));
        }
        if watched.is_empty() {
            return;
        }
        let servers = self.servers();
        for record in watched {
            // Who lags is said when it is in the way.
            drop(self.seen.ask(&servers, &record).await);
        }
    }

    /// Servers that go on to another key.
    async fn moves(&mut self, plan: &Plan) {
        if self.said(SIGNING) {
            return;
        }
        let on_hosts = on_hosts(self.observed);
        let mut new: BTreeSet<(&str, &str)> = BTreeSet::new();
        for step in plan.steps.iter().filter(|s| s.action == Action::Create) {
            let Some((selector, domain)) = signing_key(step.address.kind, &step.address.key) else {
                continue;
            };
            let goes = |old: &str| {
                plan.steps.iter().any(|s| {
                    s.action == Action::Delete
                        && s.address.host == step.address.host
                        && signing_key(s.address.kind, &s.address.key) == Some((old, domain))
                })
            };
            // A first key, or one more beside the others, takes nothing away from anybody.
            if on_hosts.iter().any(|(h, old, d)| **h == step.address.host && *d == domain && goes(old)) {
                new.insert((selector, domain));
            }
        }
        if new.is_empty() {
            return;
        }
        let servers = self.servers();
        for (selector, domain) in new {
            let made = self.session.project.made.signing.values().flatten();
            let name = format!("{selector}._domainkey.{domain}").to_ascii_lowercase();
            let Some(found) = made.into_iter().find(|s| s.signs && s.record(domain).0 == name) else { continue };
            let record = Record { name: name.clone(), kind: "TXT", data: found.data() };
            let said = match self.seen.ask(&servers, &record).await {
                Err(lags) => format!(
                    "not every name server serves it: {}. Publish it first, with no signers or with those that have signed so far",
                    lags.why
                ),
                Ok((since, unknown)) if since.saturating_add(unknown) > now() => {
                    // One that cutover changes itself has its own, longer memory.
                    if self.session.project.courses.iter().any(|c| c.moves_to(selector, domain)) {
                        continue;
                    }
                    format!(
                        "every name server was seen to serve it since {}, and caches may not know it before {}",
                        clock(since, self.timezone),
                        clock(since.saturating_add(unknown), self.timezone)
                    )
                }
                Ok(_) => continue,
            };
            self.refused.push(format!(
                "servers would sign for {domain} with {selector}, whose record receivers cannot all find: {said}. If that is meant, add \
                 --exceed {SIGNING}"
            ));
        }
    }

    /// Records of keys that go while mail may still wait that they signed.
    fn removals(&mut self) {
        let topology = &self.session.project.topology;
        let in_flight = crate::lowering::mail_auth::in_flight(topology);
        let in_flight = i64::try_from(in_flight.as_secs()).unwrap_or(i64::MAX);
        let requests = crate::lowering::needs(topology).signing;
        let made = &self.session.project.made.signing;
        let of = |r: &crate::lowering::mail_auth::KeyRequest| {
            let made = made.get(&r.node).into_iter().flatten();
            made.map(|s| s.record(&r.domain).0).collect::<Vec<_>>()
        };
        let mut wanted: BTreeSet<String> = requests.iter().flat_map(of).collect();
        // Large zones are looked through only where their written records could matter.
        let mut all_wanted = false;
        let held = |domain: &str| {
            let under = |z: &str| domain.strip_suffix(z).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            topology.all("zone").any(|z| under(z.id.plain()))
        };
        let mut kept = BTreeMap::new();
        for (key, last) in std::mem::take(&mut self.seen.signed) {
            let until = last.saturating_add(in_flight);
            // A domain that has left the topology is not looked after any more.
            let Some((selector, domain)) = key.split_once(' ').filter(|(_, d)| until > now() && held(d)) else {
                continue;
            };
            let name = format!("{selector}._domainkey.{domain}").to_ascii_lowercase();
            if !wanted.contains(&name) && !all_wanted {
                let written = self.wanted().into_iter().filter(|r| matches!(r.kind.as_str(), "TXT" | "CNAME"));
                wanted.extend(written.map(|r| r.name.trim_end_matches('.').to_ascii_lowercase()));
                all_wanted = true;
            }
            if !wanted.contains(&name) && !self.said(SIGNING) {
                self.refused.push(format!(
                    "the record of DKIM key {selector} of {domain} would go, and mail that it signed may wait in queues until {}: keep its dkim \
                     node, without signers, until then. If that is meant, add --exceed {SIGNING}",
                    clock(until, self.timezone)
                ));
            }
            kept.insert(key, last);
        }
        self.seen.signed = kept;
    }

    /// Hosts that show another certificate to senders who know them by TLSA.
    async fn certificates(&mut self, plan: &Plan) {
        if self.said(TLSA)
            || !self.session.project.topology.all("mail-auth").any(|m| m.children("dane").next().is_some())
        {
            return;
        }
        let mut records: Option<Vec<Record>> = None;
        let mut told: BTreeSet<String> = BTreeSet::new();
        for (name, issued) in &self.session.project.made.certificates {
            let Some(own) = issued.keys.first() else { continue };
            let path = format!("{FOLDER}/{name}.pem");
            let changed = |s: &&crate::model::step::Step| {
                s.address.kind == Kind::File
                    && s.address.key == path
                    && matches!(s.action, Action::Create | Action::Update | Action::Replace)
            };
            let hosts: Vec<Address> = plan.steps.iter().filter(changed).map(|s| s.address.clone()).collect();
            if hosts.is_empty() {
                continue;
            }
            let records = records
                .get_or_insert_with(|| self.wanted().iter().filter(|r| r.kind == "TLSA").map(tlsa).collect::<Vec<_>>());
            let mine: Vec<Record> = records.iter().filter(|r| r.data.ends_with(own.as_str())).cloned().collect();
            let all: Vec<Record> = records.clone();
            for address in hosts {
                let shown = self.observed.hosts.get(&address.host).and_then(|o| o.records.get(&address.local()));
                let shown = shown.and_then(|r| digest(r.text.as_deref()?).ok()).and_then(|d| d.into_iter().next());
                if shown.as_ref() == Some(own) {
                    continue;
                }
                for record in &mine {
                    if told.insert(format!("{name} {}", record.name)) {
                        self.certificate(name, record, &all, shown.as_deref()).await;
                    }
                }
            }
        }
    }

    async fn certificate(&mut self, name: &str, record: &Record, all: &[Record], shown: Option<&str>) {
        let servers = self.servers();
        let help = format!("If that is meant, add --exceed {TLSA}");
        match self.seen.ask(&servers, record).await {
            // Nobody knows this host by TLSA.
            Err(lags) if !lags.other && shown.is_none_or(|_| lags.why.ends_with("without it")) => return,
            Err(lags) => self.refused.push(format!(
                "certificate {name} would be exchanged for one whose TLSA record senders cannot find: {}. Leave chain as it is, name the new \
                 one as next=, and apply. {help}",
                lags.why
            )),
            Ok((since, ttl)) => {
                let from = since.saturating_add(ttl.saturating_mul(2));
                if from > now() {
                    self.refused.push(format!(
                        "certificate {name} would be exchanged before senders know its TLSA record: every name server was seen to serve it \
                         since {}, and two times to live have passed at {}; plan again then (RFC 7671, section 8.1). {help}",
                        clock(since, self.timezone),
                        clock(from, self.timezone)
                    ));
                }
            }
        }
        let Some(shown) = shown else { return };
        if !all.iter().any(|r| r.name == record.name && r.data.ends_with(shown)) {
            self.refused.push(format!(
                "the TLSA record of the certificate that {name} shows now would go before the new one is in its place: name the old chain as \
                 next= until the exchange is done. {help}"
            ));
        }
    }
}

fn tlsa(record: &WantedRecord) -> Record {
    Record { name: record.name.trim_end_matches('.').to_ascii_lowercase(), kind: "TLSA", data: record.data.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_hosts_sign_with_are_known_by_their_files() {
        let of = |key| signing_key(Kind::File, key);
        assert_eq!(of("/etc/dkimkeys/r1.acme.example.pem"), Some(("r1", "acme.example")));
        assert_eq!(of("/var/lib/rspamd/dkim/r1-2.acme.example.key"), Some(("r1-2", "acme.example")));
        assert_eq!(of("/etc/ssl/cutover/r1.acme.example.pem"), None);
        assert_eq!(of("/etc/dkimkeys/README.PrivateKeys"), None);
        assert_eq!(signing_key(Kind::Directory, "/etc/dkimkeys/r1.acme.example.pem"), None);
    }
}
