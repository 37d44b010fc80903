//! The two digests that bind a plan: to what is wanted (people sign it), and to what was seen.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::model::attr::{Attr, Digest};
use crate::model::observed::Observation;
use crate::model::resource::Dependency;

use super::index::Index;
use super::input::PlanInput;
use super::scope::Scope;

/// Feeds fields with their lengths, so that no two inputs read alike.
struct Hasher(Sha256);

impl Hasher {
    fn new(what: &str) -> Self {
        let mut out = Self(Sha256::new());
        out.text(what);
        out
    }

    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.0.update([u8::from(text.is_some())]);
        self.text(text.unwrap_or_default());
    }

    fn count(&mut self, n: usize) {
        self.0.update((n as u64).to_le_bytes());
    }

    fn json(&mut self, value: &impl Serialize) {
        // Plain data with text keys always has a JSON form.
        self.text(&serde_json::to_string(value).unwrap_or_default());
    }

    fn attr(&mut self, attr: &Attr) {
        match attr {
            // A masked digest depends on the operator's key; the reference of the secret does not.
            Attr::Content(c) if c.sensitive => self.text(&format!("content {}", c.id)),
            // A local file is named by its path; its bytes are in the digest.
            Attr::Content(c) => {
                self.text(&format!("content {} {}", c.id, c.digest.as_ref().map_or("", |d| d.0.as_str())))
            }
            Attr::Text(t) => {
                self.text("text");
                self.text(t);
            }
            Attr::Bool(_) | Attr::Int(_) | Attr::List(_) | Attr::Digest(_) => self.json(attr),
        }
    }

    fn end(self) -> Digest {
        Digest(self.0.finalize().iter().fold(String::with_capacity(64), |mut out, b| {
            use std::fmt::Write as _;
            let _ = write!(out, "{b:02x}");
            out
        }))
    }
}

/// Over everything that is wanted in scope: environment, phase, targets, hosts, resources, contents. What hosts answered has no
/// part in it, and where a line stands in a file neither.
pub fn intent(input: &PlanInput, index: &Index, scope: &Scope) -> Digest {
    let site = input.site;
    let mut h = Hasher::new("cutover intent 1");
    h.text(&site.organization);
    h.maybe(site.environment.as_deref());
    h.maybe(input.options.phase.as_ref().map(|p| p.name.as_str()));
    let mut targets: Vec<&String> = input.options.targets.iter().collect();
    targets.sort();
    h.json(&targets);
    h.json(&input.options.destroy);
    h.maybe(site.anchor.as_ref().map(|a| a.0.as_str()));
    if !site.moved.is_empty() {
        h.json(&site.moved);
    }
    let hosts = scope.hosts(index, site);
    for (host, _) in index.hosts.iter().zip(hosts).filter(|(_, asked)| *asked) {
        h.text(&host.0);
        h.json(&site.hosts.get(*host));
    }
    let nodes = 0..index.resources.len();
    for r in nodes.filter(|n| scope.holds(*n as u32)).map(|n| index.resources[n]) {
        h.text(&r.address.host.0);
        h.text(r.address.kind.as_str());
        h.text(&r.address.key);
        h.text(&r.group);
        h.count(usize::from(r.stage) << 1 | usize::from(r.protect));
        h.text(&r.owner);
        h.count(r.attrs.len());
        for (name, attr) in &r.attrs {
            h.text(name);
            h.attr(attr);
        }
        h.count(r.after.len());
        for dependency in &r.after {
            match dependency {
                Dependency::Resource(address) => h.text(&address.to_string()),
                Dependency::Group(group) => h.text(group),
            }
        }
        h.count(r.notifies.len());
        r.notifies.iter().for_each(|n| h.json(n));
    }
    h.end()
}

/// Over all that the hosts in scope showed: fingerprints, what is owned, what is pending; and who could not be asked.
pub fn observation(index: &Index, answers: &[Option<&Observation>]) -> Digest {
    let mut h = Hasher::new("cutover observation 1");
    for (host, answer) in index.hosts.iter().zip(answers) {
        h.text(&host.0);
        let Some(answer) = answer else {
            h.count(0);
            continue;
        };
        h.count(answer.records.len() + 1);
        for (name, record) in &answer.records {
            h.text(name);
            h.text(&record.fingerprint);
        }
        let mut owned: Vec<_> = answer.owned.iter().map(|o| (o.kind, o.key.as_str())).collect();
        owned.sort_unstable();
        h.count(owned.len());
        for (kind, key) in owned {
            h.text(kind.as_str());
            h.text(key);
        }
        h.json(&answer.pending);
    }
    h.end()
}
