//! What one scripted host holds. All of it survives a reboot but the script.

use std::collections::{BTreeMap, BTreeSet};

use super::Script;
use crate::catalog::{self, Compare};
use crate::model::attr::{Attr, Attrs, Digest};
use crate::model::observed::{Lease, Observation, Owned, Record};
use crate::model::resource::NotifyHow;
use crate::model::step::{Outcome, StepId};
use crate::model::{HostName, Kind};

/// What a host remembers of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    Started,
    Ended(Outcome),
}

/// The lease as stored: `beat` is when it was last renewed (Unix seconds).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LeaseFile {
    pub token: u64,
    pub holder: String,
    pub apply: String,
    pub since: i64,
    pub beat: i64,
}

/// The dead man's switch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Armed {
    pub apply: String,
    /// Unix milliseconds.
    pub until: i64,
    pub steps: Vec<StepId>,
}

/// One host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// By local name; what is not here is absent. Commands are always present and `satisfied` or not.
    pub resources: BTreeMap<String, Attrs>,
    pub owned: BTreeMap<String, Owned>,
    pub marks: BTreeMap<String, BTreeMap<StepId, Mark>>,
    pub pending: BTreeMap<String, NotifyHow>,
    /// How often each command ran.
    pub runs: BTreeMap<String, u32>,
    /// How often each service was reloaded or restarted.
    pub reloads: BTreeMap<String, u32>,
    pub boots: u32,
    /// A change of one of these closes the line for good, until it is put back (a firewall that locks us out).
    pub lethal: BTreeSet<String>,
    /// Unix milliseconds until which nobody reaches it.
    pub away_until: i64,
    pub(super) former: BTreeMap<(String, StepId), Option<Attrs>>,
    pub(super) names: BTreeMap<(String, StepId), String>,
    pub(super) ledger_before: BTreeMap<(String, StepId), Option<Owned>>,
    /// The entry of a former name that a step strikes out.
    pub(super) ledger_was: BTreeMap<(String, StepId), Owned>,
    /// The former name whose entry a restore brings back: undoing that strikes it again.
    pub(super) struck: BTreeMap<(String, StepId), String>,
    pub(super) lease: Option<LeaseFile>,
    pub(super) armed: Option<Armed>,
    pub(super) reverted: BTreeSet<String>,
    pub(super) script: Option<Script>,
    /// Largest token that has worked here.
    pub(super) worked: u64,
    /// Lethal resources that are changed at the moment.
    pub(super) locked_out: BTreeSet<String>,
}

/// Canonical text of a state.
pub(super) fn fingerprint(attrs: Option<&Attrs>) -> String {
    let Some(attrs) = attrs else { return "absent".into() };
    let mut out = String::from("present");
    for (name, value) in attrs {
        out.push_str(&format!(" {name}={}", full(value)));
    }
    out
}

fn full(value: &Attr) -> String {
    match value {
        Attr::Digest(d) => d.0.clone(),
        Attr::Content(c) => c.digest.as_ref().map_or_else(String::new, |d| d.0.clone()),
        other => other.to_string(),
    }
}

impl Host {
    /// Sets a resource as an administrator would.
    pub fn set(&mut self, local: &str, attrs: Attrs) {
        self.resources.insert(local.into(), attrs);
    }

    pub(super) fn look(&self, kind: Kind, local: &str) -> Option<Attrs> {
        match (self.resources.get(local), kind) {
            (None, Kind::Command) => Some(Attrs::from([("satisfied", Attr::Bool(false))])),
            (found, _) => found.cloned(),
        }
    }

    pub(super) fn record(&self, kind: Kind, local: &str) -> Record {
        let attrs = self.look(kind, local);
        Record {
            present: attrs.is_some(),
            fingerprint: fingerprint(attrs.as_ref()),
            attrs: attrs.unwrap_or_default(),
            text: None,
        }
    }

    pub(super) fn lease_now(&self, now: i64) -> Option<Lease> {
        let l = self.lease.as_ref().filter(|l| !l.holder.is_empty())?;
        Some(Lease {
            token: l.token,
            holder: l.holder.clone(),
            apply: l.apply.clone(),
            since: l.since,
            age: now / 1_000 - l.beat,
        })
    }

    pub(super) fn observe<'r>(
        &self,
        name: &HostName,
        now: i64,
        asked: impl Iterator<Item = (Kind, &'r str)>,
    ) -> Observation {
        let mut records: BTreeMap<String, Record> = asked
            .map(|(kind, key)| {
                let local = format!("{kind}:{key}");
                let record = self.record(kind, &local);
                (local, record)
            })
            .collect();
        for (local, owned) in &self.owned {
            if !records.contains_key(local) {
                records.insert(local.clone(), self.record(owned.kind, local));
            }
        }
        Observation {
            host: name.clone(),
            facts: Default::default(),
            records,
            owned: self.owned.values().cloned().collect(),
            pending: self.pending.clone(),
            lease: self.lease_now(now),
            armed: self.armed.as_ref().map(|a| a.apply.clone()),
            zone: None,
        }
    }

    /// The switch goes off: what risky steps changed is put back.
    pub(super) fn revert(&mut self) {
        let Some(armed) = self.armed.take() else { return };
        // A script at work starts no further step; the one at hand is over.
        self.script = None;
        self.reverted.insert(armed.apply.clone());
        for step in armed.steps.iter().rev() {
            let key = (armed.apply.clone(), *step);
            if let Some((local, before)) = self.former_of(&key) {
                match before {
                    Some(attrs) => self.resources.insert(local.clone(), attrs),
                    None => self.resources.remove(&local),
                };
                self.ledger_back(&key, &local);
                self.locked_out.remove(&local);
            }
            self.marks.entry(armed.apply.clone()).or_default().insert(*step, Mark::Ended(Outcome::Reverted));
        }
    }

    /// The ledger as it was before a step, the entry of a former name with it.
    pub(super) fn ledger_back(&mut self, key: &(String, StepId), local: &str) {
        match self.ledger_before.get(key).cloned().flatten() {
            Some(owned) => self.owned.insert(local.to_owned(), owned),
            None => self.owned.remove(local),
        };
        if let Some(was) = self.ledger_was.get(key) {
            self.owned.insert(format!("{}:{}", was.kind, was.key), was.clone());
        } else if let Some(struck) = self.struck.get(key) {
            self.owned.remove(struck);
        }
    }

    fn former_of(&self, key: &(String, StepId)) -> Option<(String, Option<Attrs>)> {
        let before = self.former.get(key)?.clone();
        let local = self.names.get(key)?.clone();
        Some((local, before))
    }

    /// The machine stops and starts.
    pub(super) fn reboot(&mut self, until: i64) {
        self.script = None;
        self.boots += 1;
        self.away_until = until;
        self.revert();
    }

    pub(super) fn tick_clock(&mut self, now: i64) {
        if self.armed.as_ref().is_some_and(|a| a.until <= now) {
            self.revert();
        }
    }
}

/// What a host shows after a step with these wanted attributes: inputs are not shown, content shows as its digest.
pub(super) fn shown(kind: Kind, wanted: &Attrs, content: Option<&[u8]>, state_key: &str) -> Attrs {
    let spec = catalog::spec(kind);
    wanted
        .iter()
        .filter(|(name, _)| spec.field(name).is_some_and(|f| f.compare != Compare::Input))
        .map(|(name, value)| {
            let value = match (value, content) {
                (Attr::Content(c), Some(bytes)) if c.sensitive => Attr::Digest(Digest::masked(state_key, bytes)),
                (Attr::Content(_), Some(bytes)) => Attr::Digest(Digest::of(bytes)),
                (other, _) => other.clone(),
            };
            (name, value)
        })
        .collect()
}
