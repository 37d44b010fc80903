//! The way back of a window: the former records in one compare and swap each, then a barrier, then what was published for the
//! new side. Until the new answers have run out both sides are led to, and both accept.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::barrier::{self, Barrier};
use crate::catalog::record_set;
use crate::model::attr::Digest;
use crate::model::cutover::{Entry, Schedule, Since, Stage, Wait};
use crate::model::dns::{RecordSet, ZoneSeen};
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::{Action, FieldChange, Outcome, Step, StepId, Undo};
use crate::model::{Address, HostName, Kind};

use super::super::undo::{UndoInput, taking_back};
use super::refusal::spoken;
use super::staged::waiting;

/// What became of one record set in the plan that is taken back.
#[derive(Clone)]
struct Moved<'a> {
    /// The first step that changed it: the ledger keeps what stood there before.
    first: &'a Step,
    last: &'a Step,
    /// The set that the last step left, as it is expected now.
    now: Option<String>,
}

impl Moved<'_> {
    /// How long caches may hold an answer that leads to the new side, in seconds: the TTL that it was served with last.
    fn cached(&self) -> u32 {
        let flipped = self.last.id != self.first.id || self.last.changes.iter().any(|c| c.field == "data");
        let served = record_set::of_attrs(&self.last.address.key, &self.last.attrs).map_or(0, |s| s.ttl);
        if flipped { served } else { 0 }
    }
}

/// The plan that takes a window back, as far as it was carried out.
pub fn rollback(input: &UndoInput, schedule: &Schedule) -> Plan {
    let mut notes = Vec::new();
    if schedule.takes_back {
        let text = format!(
            "apply {} took a window back; the way forward is its plan: cutover plan --window {}",
            input.apply, schedule.window
        );
        notes.push(PlanNote { address: None, text, blocks: true });
    }
    let moved = moved(input, &mut notes);
    let mut back = Schedule {
        entries: Vec::new(),
        waits: BTreeMap::new(),
        takes_back: true,
        planned: input.now,
        ..schedule.clone()
    };
    let mut steps: Vec<Step> = Vec::new();
    let lanes: BTreeSet<&HostName> = moved.keys().map(|a| &a.host).collect();
    for lane in lanes {
        Way { input, lane, moved: &moved, steps: &mut steps, back: &mut back }.add(schedule);
    }
    let text = format!("cutover rollback 1\n{}\n{}\n{}\n", input.apply, input.plan.intent, steps.len());
    let plan = taking_back(input, Digest::of(text.as_bytes()), moved.len(), steps, notes);
    Plan { schedule: Some(back), ..plan }
}

/// The way back of one zone.
struct Way<'a, 'b> {
    input: &'b UndoInput<'a>,
    lane: &'b HostName,
    moved: &'b BTreeMap<Address, Moved<'a>>,
    steps: &'b mut Vec<Step>,
    back: &'b mut Schedule,
}

impl Way<'_, '_> {
    fn add(mut self, schedule: &Schedule) {
        let of = |stage: Stage| -> BTreeSet<StepId> {
            let entries = schedule.entries.iter().filter(|e| e.stage == stage);
            entries.flat_map(|e| e.steps.iter().copied()).collect()
        };
        let (published, pruned) = (of(Stage::Publish), of(Stage::Prune));
        let here = self.moved.iter().filter(|(a, _)| a.host == *self.lane);
        let (mut gone, mut swaps, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for (address, m) in here {
            let (made, cut) = (published.contains(&m.first.id), pruned.contains(&m.last.id));
            if cut {
                // What only the old side needed has to be there before anybody is led to it again.
                gone.push((address, Moved { first: m.last, ..m.clone() }));
            }
            if made {
                let now = if cut { self.done(m.first) } else { m.now.clone() };
                last.push((address, Moved { last: if cut { m.first } else { m.last }, now, ..m.clone() }));
            } else if !cut {
                swaps.push((address, m.clone()));
            }
        }
        // Mail first, then the addresses that it was led to.
        swaps.sort_by_key(|(a, _)| (!a.key.ends_with("/MX"), (*a).clone()));
        let published = last;

        let mut before = Vec::new();
        if !gone.is_empty() {
            let (ids, sets) = self.restores(&gone, &[]);
            let opened = self.barrier("rollback-publish", sets, ids.clone());
            let unseen = self.zone().map_or(0, |z| z.negative_ttl);
            let why = format!("caches may remember for {} that these names were not there", spoken(i64::from(unseen)));
            self.entry(Stage::Prune, "publish again what the window had pruned", unseen, why.clone(), &ids, opened);
            before.push((opened, Wait { since: vec![since(opened, unseen)], reason: why, ..Wait::default() }));
        }
        let mut last: Vec<StepId> = before.iter().map(|(id, _)| *id).collect();
        if !swaps.is_empty() {
            let (ids, sets) = self.restores(&swaps, &last);
            for (_, wait) in before.iter().filter(|_| swaps.iter().any(|(a, _)| a.key.ends_with("/MX"))) {
                self.back.waits.extend(ids.iter().map(|id| (*id, wait.clone())));
            }
            // What caches may hold of the new side: the TTL that it was served with last.
            let ttl = swaps.iter().map(|(_, m)| m.cached()).max().unwrap_or(0);
            let names = swaps.iter().filter_map(|(a, _)| record_set::set_key(&a.key)).map(|k| k.to_string());
            let what = match ttl {
                0 => format!("put {} back", names.collect::<Vec<_>>().join(", ")),
                _ => format!("swap {} back", names.collect::<Vec<_>>().join(", ")),
            };
            let opened = self.barrier("rollback", sets.clone(), ids.clone());
            last = vec![opened];
            let why = match ttl {
                0 => "no answer of the new side was ever served".to_owned(),
                _ => format!("the answers of the new side run out: their TTL of {}", spoken(i64::from(ttl))),
            };
            self.entry(Stage::FlipMx, &what, ttl, why.clone(), &ids, opened);
            if ttl > 0 {
                // It is over when nobody can hold an answer of the new side any more, and no sooner.
                let cleared = self.barrier("rollback-over", sets, vec![opened]);
                let wait = Wait { since: vec![since(opened, ttl)], reason: why, ..Wait::default() };
                self.back.waits.insert(cleared, wait);
                last = vec![cleared];
            }
        }
        // What was published for the new side goes when nobody can hold an answer that leads there.
        self.restores(&published, &last);
    }

    /// The steps that put these back, and what they put back.
    fn restores(&mut self, all: &[(&Address, Moved)], after: &[StepId]) -> (Vec<StepId>, Vec<RecordSet>) {
        let mut ids = Vec::new();
        for (_, m) in all {
            let id = self.steps.len() as StepId;
            self.steps.push(restore(self.input, m, id, after.to_vec()));
            ids.push(id);
        }
        (ids, all.iter().filter_map(|(_, m)| original(m.first)).collect())
    }

    fn barrier(&mut self, name: &str, sets: Vec<RecordSet>, after: Vec<StepId>) -> StepId {
        let id = self.steps.len() as StepId;
        let timeout = barriers(self.input, self.lane).map(|b| b.timeout).max().unwrap_or(600);
        let attrs = barrier::attrs(&Barrier { sets, servers: self.servers(), timeout, rolls_back: false });
        let first = after.first().and_then(|id| self.steps.get(*id as usize));
        let (owner, origin) = first.map(|s| (s.owner.clone(), s.origin.clone())).unwrap_or_default();
        let address = Address::new(self.lane, Kind::Barrier, format!("{}/{name}", self.back.window));
        self.steps.push(Step { id, attrs, after, owner, origin, ..waiting(address) });
        id
    }

    fn entry(&mut self, stage: Stage, what: &str, wait: u32, why: String, ids: &[StepId], barrier: StepId) {
        let begins = self.back.entries.iter().filter(|e| e.zone == self.lane.0).map(|e| e.ends).max();
        let begins = begins.unwrap_or(self.input.now);
        let lag = self.lag();
        let behind = self.back.entries.iter().filter(|e| e.zone == self.lane.0).count() as i64;
        let ends = begins + i64::from(wait);
        self.back.entries.push(Entry {
            zone: self.lane.0.clone(),
            stage,
            what: what.to_owned(),
            begins,
            ends,
            // When the slowest server takes as long as its SOA allows.
            latest: Some(ends + lag * (behind + 1)),
            why,
            steps: ids.iter().copied().chain([barrier]).collect(),
        });
    }

    /// What a step left.
    fn done(&self, step: &Step) -> Option<String> {
        match self.input.outcomes.get(&step.id) {
            Some(Outcome::Done { fingerprint }) => fingerprint.clone(),
            _ => None,
        }
    }

    fn zone(&self) -> Option<&ZoneSeen> {
        self.input.observed.hosts.get(self.lane)?.zone.as_ref()
    }

    fn servers(&self) -> Vec<String> {
        barriers(self.input, self.lane).next().map(|b| b.servers).unwrap_or_default()
    }

    /// L, in seconds.
    fn lag(&self) -> i64 {
        let known = self.input.plan.hosts.get(self.lane).and_then(|h| h.zone()).map_or(0, |z| z.servers.len());
        if known + self.servers().len() < 2 { 0 } else { self.zone().map_or(0, |z| i64::from(z.refresh)) }
    }
}

fn since(step: StepId, seconds: u32) -> Since {
    Since { step, seconds: u64::from(seconds) }
}

/// Record sets that the plan changed, with what shows now. Those that somebody else has changed since block the way back. Of a change whose
/// answer never came, as where `apply` was killed over it, the zone says whether it was made: a resume would go on with the window first.
fn moved<'a>(input: &UndoInput<'a>, notes: &mut Vec<PlanNote>) -> BTreeMap<Address, Moved<'a>> {
    let mut out: BTreeMap<Address, Moved<'a>> = BTreeMap::new();
    let seen = |address: &Address| {
        let observation = input.observed.hosts.get(&address.host)?;
        observation.records.get(&address.local()).map(|r| &r.fingerprint)
    };
    for step in input.plan.steps.iter().filter(|s| s.address.kind == Kind::RecordSet) {
        let now = match input.outcomes.get(&step.id) {
            Some(Outcome::Done { fingerprint }) => fingerprint.clone(),
            Some(Outcome::Unknown { .. }) => {
                let found = seen(&step.address);
                let former = out.get(&step.address).map_or(step.expect.as_ref(), |m| m.now.as_ref());
                if found != Some(&made(step)) {
                    if found.is_none() || found != former {
                        let text =
                            format!("whether it was changed is unknown: run `cutover resume {}` first", input.apply);
                        notes.push(PlanNote { address: Some(step.address.clone()), text, blocks: true });
                    }
                    continue;
                }
                found.cloned()
            }
            _ => continue,
        };
        let entry = out.entry(step.address.clone()).or_insert(Moved { first: step, last: step, now: None });
        entry.last = step;
        entry.now = now;
    }
    out.retain(|address, m| {
        match (&m.now, seen(address)) {
            // Back already, by a rollback that came only part of the way.
            (_, Some(found)) if m.first.expect.as_ref() == Some(found) => false,
            (Some(now), Some(found)) if now != found => {
                let text = format!("has changed since apply {}: {found} stands there and would be lost", input.apply);
                notes.push(PlanNote { address: Some(address.clone()), text, blocks: true });
                false
            }
            _ => true,
        }
    });
    out
}

/// What a step leaves.
fn made(step: &Step) -> String {
    let set = (step.action != Action::Delete).then(|| record_set::of_attrs(&step.address.key, &step.attrs)).flatten();
    record_set::fingerprint(set.as_ref())
}

fn restore(input: &UndoInput, m: &Moved, id: StepId, after: Vec<StepId>) -> Step {
    let changes = |s: &Step| s.changes.clone();
    let mut fields: BTreeMap<String, FieldChange> = BTreeMap::new();
    for c in changes(m.last) {
        fields.insert(c.field.clone(), FieldChange { before: c.after.clone(), after: c.before.clone(), ..c });
    }
    // From what shows now to what was there at first.
    for c in changes(m.first) {
        let now = fields.get(&c.field).and_then(|f| f.before.clone()).or(c.after.clone());
        fields.insert(c.field.clone(), FieldChange { before: now, after: c.before.clone(), ..c });
    }
    Step {
        id,
        action: Action::Restore,
        expect: m.now.clone(),
        after,
        undo: Undo::Restores("the records that are taken back".into()),
        changes: fields.into_values().filter(|c| c.before != c.after).collect(),
        reason: "as before the window".into(),
        restores: Some((input.apply.to_owned(), m.first.id)),
        before_text: None,
        ..m.last.clone()
    }
}

/// The set as it stood before the window, from what the first step says of it.
fn original(first: &Step) -> Option<RecordSet> {
    let after = record_set::of_attrs(&first.address.key, &first.attrs)?;
    if first.action == Action::Create {
        return None;
    }
    let before = |field: &str| first.changes.iter().find(|c| c.field == field).and_then(|c| c.before.clone());
    Some(RecordSet {
        ttl: before("ttl").and_then(|t| t.parse().ok()).unwrap_or(after.ttl),
        data: before("data").map_or(after.data, |d| d.split(" | ").map(str::to_owned).collect()),
        key: after.key,
    })
}

fn barriers<'a>(input: &UndoInput<'a>, lane: &HostName) -> impl Iterator<Item = Barrier> + use<'a> {
    let lane = lane.clone();
    let here = move |s: &&Step| s.address.kind == Kind::Barrier && s.address.host == lane;
    input.plan.steps.iter().filter(here).filter_map(|s| barrier::of_attrs(&s.attrs))
}
