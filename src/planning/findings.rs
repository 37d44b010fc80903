//! What each resource in scope needs, and which hosts could not be asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use crate::model::address::{Address, Kind};
use crate::model::attr::Attrs;
use crate::model::host::{HostError, HostErrorKind};
use crate::model::observed::{Observation, Owned, Record};
use crate::model::plan::PlanNote;
use crate::model::step::Action;

use super::cutover;
use super::diff::{self, Change};
use super::error::PlanError;
use super::graph::Node;
use super::index::{HostId, Index, folders, path_of};
use super::input::PlanInput;
use super::records::{self, Ruling};
use super::retire;
use super::scope::Scope;
use super::waves;

/// A resource with a step to do.
pub struct Changed<'a> {
    pub change: Change,
    pub record: &'a Record,
}

/// Something that we own and that the site no longer names.
pub struct Left<'a> {
    pub host: HostId,
    pub address: Address,
    pub owned: &'a Owned,
    pub record: &'a Record,
}

#[derive(Default)]
pub struct Findings<'a> {
    /// By node.
    pub changed: BTreeMap<Node, Changed<'a>>,
    /// By host, then by address.
    pub left: Vec<Left<'a>>,
    /// Answer of each host in scope, by host id.
    pub answers: Vec<Option<&'a Observation>>,
    pub failed: Vec<HostError>,
    pub notes: Vec<PlanNote>,
    /// Resources looked at.
    pub examined: usize,
    /// Resources that the ledger knows under the key of a former name, which stand in the same place.
    pub renamed: BTreeMap<Node, &'a Owned>,
    /// Services among `left`.
    lost_services: BTreeSet<(HostId, &'a str)>,
}

type Ledger<'a> = HashMap<(Kind, &'a str), &'a Owned>;

impl<'a> Findings<'a> {
    pub fn new(input: &PlanInput<'a>, index: &Index<'a>, scope: &Scope) -> Result<Self, PlanError> {
        let mut out = Self::default();
        let asked = scope.hosts(index, input.site);
        for (id, host) in index.hosts.iter().enumerate() {
            let answer = if asked[id] { out.answer(input, index, scope, id as HostId) } else { None };
            out.answers.push(answer);
            let Some(answer) = answer else { continue };
            let ledger: Ledger = answer.owned.iter().map(|o| ((o.kind, o.key.as_str()), o)).collect();
            if input.options.destroy {
                out.destroyed(index, scope, id as HostId, answer, &ledger);
            } else {
                out.renames(input, index, id as HostId, answer, &ledger);
                out.wanted(input, index, scope, id as HostId, answer, &ledger)?;
            }
            let left = out.left.len();
            out.left_behind(input, index, scope, id as HostId, answer);
            if host.is_zone() && !input.options.destroy {
                out.limits(input, index, id as HostId, answer, left);
            }
            if let Some(apply) = &answer.armed {
                out.note(None, format!("the dead man's switch of apply {apply} is armed on {host}"), false);
            }
        }
        out.notes.extend(waves::told(input, index, scope));
        out.notes.extend(retire::told(input.site, input.options));
        out.notes.sort_by(|a, b| (&a.address, &a.text).cmp(&(&b.address, &b.text)));
        Ok(out)
    }

    fn note(&mut self, address: Option<Address>, text: String, blocks: bool) {
        self.notes.push(PlanNote { address, text, blocks });
    }

    /// The plan takes this service away: nobody needs to tell it anything.
    pub fn loses_service(&self, host: HostId, service: &str) -> bool {
        self.lost_services.contains(&(host, service))
    }

    /// The host's answer, when it is there and whole.
    fn answer(
        &mut self,
        input: &PlanInput<'a>,
        index: &Index<'a>,
        scope: &Scope,
        host: HostId,
    ) -> Option<&'a Observation> {
        let name = index.hosts[host as usize];
        let fail = |kind, message: String, help: &str| HostError {
            host: name.clone(),
            kind,
            message,
            help: Some(help.to_owned()),
        };
        if let Some(error) = input.observed.failed.iter().find(|e| e.host == *name) {
            self.failed.push(error.clone());
            return None;
        }
        if !input.site.hosts.contains_key(name) {
            let message = "the topology does not say how to reach it".to_owned();
            self.failed.push(fail(HostErrorKind::Unreachable, message, "give the server an address"));
            return None;
        }
        let Some(answer) = input.observed.hosts.get(name) else {
            self.failed.push(fail(HostErrorKind::Unreachable, "was not asked".to_owned(), "plan again"));
            return None;
        };
        let mut local = String::new();
        let wanted = index.of_host(host).filter(|n| scope.holds(*n as Node)).map(|n| {
            let a = &index.resources[n].address;
            (a.kind, a.key.as_str())
        });
        let mut missing =
            wanted.chain(answer.owned.iter().map(|o| (o.kind, o.key.as_str()))).filter_map(|(kind, key)| {
                local.clear();
                let _ = write!(local, "{kind}:{key}");
                (!answer.records.contains_key(&local)).then(|| local.clone())
            });
        if let Some(first) = missing.next() {
            // Silence is not absence.
            let message = format!("its answer says nothing of {first} ({} more)", missing.count());
            self.failed.push(fail(HostErrorKind::Protocol, message, "plan again; if it stays, report it"));
            return None;
        }
        Some(answer)
    }

    /// Pairs what the ledger holds for a former name with what is wanted for the new one, when both are the same file.
    fn renames(
        &mut self,
        input: &PlanInput<'a>,
        index: &Index<'a>,
        host: HostId,
        answer: &'a Observation,
        ledger: &Ledger<'a>,
    ) {
        if input.site.moved.is_empty() {
            return;
        }
        let path = |kind, key: &str, attrs: &Attrs| path_of(kind, key, attrs.get("path").and_then(|a| a.as_text()));
        for owned in answer.owned.iter().filter(|o| index.named(host, o.kind, &o.key).is_none()) {
            let Some(owner) = input.site.moved.get(&owned.owner) else { continue };
            let Some(place) = path(owned.kind, &owned.key, &owned.attrs) else { continue };
            let hit = index.of_host(host).find(|n| {
                let r = index.resources[*n];
                r.address.kind == owned.kind
                    && r.owner == *owner
                    && !ledger.contains_key(&(r.address.kind, r.address.key.as_str()))
                    && path(r.address.kind, &r.address.key, &r.attrs).as_ref() == Some(&place)
            });
            if let Some(node) = hit {
                self.renamed.insert(node as Node, owned);
            }
        }
    }

    /// Compares what is wanted with what is there.
    fn wanted(
        &mut self,
        input: &PlanInput<'a>,
        index: &Index<'a>,
        scope: &Scope,
        host: HostId,
        answer: &'a Observation,
        ledger: &Ledger<'a>,
    ) -> Result<(), PlanError> {
        let mut local = String::new();
        for node in index.of_host(host).filter(|n| scope.holds(*n as Node)) {
            let r = index.resources[node];
            local.clear();
            let _ = write!(local, "{}:{}", r.address.kind, r.address.key);
            let Some(record) = answer.records.get(&local) else { continue };
            self.examined += 1;
            let owned = ledger.get(&(r.address.kind, r.address.key.as_str())).copied();
            let former = self.renamed.get(&(node as Node)).copied();
            let change = diff::compare(r, record, owned)?;
            let timing = change.as_ref().and_then(|_| waves::timing(input, r));
            for (text, blocks) in waves::note(record, change.is_some()).into_iter().chain(timing) {
                self.note(Some(r.address.clone()), text, blocks);
            }
            let held = || {
                let set = r.address.kind == Kind::RecordSet;
                let waits = set.then(|| cutover::holds(input.site, r, &record.attrs, input.options.now)).flatten();
                waits.or_else(|| cutover::narrows(input, r))
            };
            if change.is_some()
                && let Some(text) = held()
            {
                self.note(Some(r.address.clone()), text, false);
                continue;
            }
            let change = match former {
                Some(former) => Some(diff::renamed(change, former, r)),
                None => change,
            };
            let change = match r.address.kind {
                Kind::RecordSet => match records::rule(r, record, owned, change) {
                    Ruling::Go(change) => change,
                    Ruling::Told(change, text) => {
                        self.note(Some(r.address.clone()), text, false);
                        Some(change)
                    }
                    Ruling::Blocked(text) => {
                        self.note(Some(r.address.clone()), text, true);
                        continue;
                    }
                },
                _ => change,
            };
            let Some(change) = change else { continue };
            if change.action == Action::Replace && (r.protect || owned.is_some_and(|o| o.protect)) {
                let text = format!("is protected, and {}: a replacement would delete it", change.reason);
                self.note(Some(r.address.clone()), text, true);
                continue;
            }
            if record.present
                && owned.is_none()
                && former.is_none()
                && path_of(r.address.kind, &r.address.key, Some("")).is_some()
            {
                let text =
                    "was not written by cutover: it is taken over, and what stood there is kept for undo".to_owned();
                self.note(Some(r.address.clone()), text, false);
            }
            self.changed.insert(node as Node, Changed { change, record });
        }
        Ok(())
    }

    /// Refuses what changes or deletes much of a zone without a word. `left`: where its own part of the left begins.
    fn limits(&mut self, input: &PlanInput<'a>, index: &Index<'a>, host: HostId, answer: &Observation, left: usize) {
        let nodes = index.of_host(host);
        let changed = self.changed.range(nodes.start as Node..nodes.end as Node);
        let updates = changed.filter(|(_, c)| c.change.action == Action::Update && !c.change.fields.is_empty()).count();
        let deletes = self.left[left..].iter().filter(|l| l.record.present).count();
        let name = &index.hosts[host as usize].0;
        for text in records::limits(name, answer.owned.len(), updates, deletes, &input.options.exceed) {
            self.note(None, text, true);
        }
    }

    /// Everything that we own of what the site names.
    fn destroyed(
        &mut self,
        index: &Index<'a>,
        scope: &Scope,
        host: HostId,
        answer: &'a Observation,
        ledger: &Ledger<'a>,
    ) {
        for node in index.of_host(host).filter(|n| scope.holds(*n as Node)) {
            let r = index.resources[node];
            self.examined += 1;
            let Some(owned) = ledger.get(&(r.address.kind, r.address.key.as_str())) else { continue };
            let Some(record) = answer.records.get(&r.address.local()) else { continue };
            // Whether a zone is protected stands at the zone, not at each record that was written while it was.
            if r.protect || (owned.protect && r.address.kind != Kind::RecordSet) {
                self.note(Some(r.address.clone()), "is protected: take `protect` away first".to_owned(), true);
                continue;
            }
            if r.address.kind == Kind::RecordSet
                && let Some(text) = records::keeps(owned, record)
            {
                self.note(Some(r.address.clone()), text, false);
                continue;
            }
            let change = Change {
                action: Action::Delete,
                fields: diff::vanishing(&r.address, record),
                reason: if record.present { "destroy" } else { "already gone; cutover forgets it" }.to_owned(),
            };
            self.changed.insert(node as Node, Changed { change, record });
        }
    }

    /// What the ledger holds and the site does not name any more.
    fn left_behind(
        &mut self,
        input: &PlanInput<'a>,
        index: &Index<'a>,
        scope: &Scope,
        host: HostId,
        answer: &'a Observation,
    ) {
        let start = self.left.len();
        let name = index.hosts[host as usize];
        let mut paths: Option<(BTreeSet<String>, BTreeSet<String>)> = None;
        for owned in &answer.owned {
            if index.named(host, owned.kind, &owned.key).is_some() {
                continue;
            }
            let address = Address::new(name, owned.kind, owned.key.clone());
            // What it was made for may have another name now.
            let owner = input.site.moved.get(&owned.owner).unwrap_or(&owned.owner);
            if !scope.holds_left(&address, owner) || self.renamed.values().any(|o| std::ptr::eq(*o, owned)) {
                continue;
            }
            let Some(record) = answer.records.get(&address.local()) else { continue };
            self.examined += 1;
            if owned.kind == Kind::RecordSet
                && let Some(text) = records::keeps(owned, record)
                    .or_else(|| cutover::keeps(input.site, &address, input.options.now).filter(|_| record.present))
            {
                self.note(Some(address), text, false);
                continue;
            }
            // A protected zone loses records as any other does; what may not go is the zone.
            let zone = input.site.hosts.get(name).and_then(|h| h.zone());
            let edited = owned.kind == Kind::RecordSet && zone.is_some_and(|z| !z.departed);
            if owned.protect && record.present && !edited {
                let text = "is protected, and the topology no longer names it: name it again, or apply once without \
                            `protect`";
                self.note(Some(address), text.to_owned(), true);
                continue;
            }
            // A list that is cut short, or a query that found less, must not cost anybody a mailbox.
            if owned.kind == Kind::MailAccount
                && owner.starts_with("accounts:")
                && record.present
                && !input.site.gone.contains(&owned.key)
            {
                let text = format!(
                    "stays: no list names it any more. If the mailbox shall go, write gone {} at its accounts",
                    owned.key
                );
                self.note(Some(address), text, false);
                continue;
            }
            let path = path_of(owned.kind, &owned.key, owned.attrs.get("path").and_then(|a| a.as_text()));
            if record.present
                && let Some(path) = path
            {
                let (wanted, parents) = paths.get_or_insert_with(|| desired_paths(index, host));
                if owned.kind != Kind::Line && wanted.contains(&path) {
                    let text = format!("stays: {path} is wanted in another form");
                    self.note(Some(address), text, false);
                    continue;
                }
                if owned.kind == Kind::Directory && parents.contains(&path) {
                    self.note(Some(address), "stays: something wanted stands in it".to_owned(), false);
                    continue;
                }
            }
            if owned.kind == Kind::Service {
                self.lost_services.insert((host, &owned.key));
            }
            self.left.push(Left { host, address, owned, record });
        }
        self.left[start..].sort_by(|a, b| a.address.cmp(&b.address));
    }
}

/// Paths that the site wants on a host, and the folders that they stand in.
fn desired_paths(index: &Index, host: HostId) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut paths = BTreeSet::new();
    let mut parents = BTreeSet::new();
    for node in index.of_host(host) {
        let r = index.resources[node];
        let text = r.attrs.get("path").and_then(|a| a.as_text());
        let Some(path) = path_of(r.address.kind, &r.address.key, text) else { continue };
        parents.extend(folders(&path).map(str::to_owned));
        paths.insert(path);
    }
    (paths, parents)
}
