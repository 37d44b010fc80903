//! The way back of a window: the former records in one compare and swap each, then a barrier, then what was published for the
//! new side. Until the new answers have run out both sides are led to, and both accept.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::barrier::{self, Barrier};
use crate::catalog::record_set;
use crate::model::attr::Digest;
use crate::model::cutover::{Entry, Schedule, Since, Stage, Wait};
use crate::model::dns::RecordSet;
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::{Action, FieldChange, Outcome, Step, StepId, Undo};
use crate::model::{Address, HostName, Kind};

use super::super::undo::{UndoInput, taking_back};
use super::staged::waiting;

/// What became of one record set in the plan that is taken back.
struct Moved<'a> {
    /// The first step that changed it: the ledger keeps what stood there before.
    first: &'a Step,
    last: &'a Step,
    /// The set that the last step left, as it is expected now.
    now: Option<String>,
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
    let published: BTreeSet<StepId> =
        schedule.entries.iter().filter(|e| e.stage == Stage::Publish).flat_map(|e| e.steps.iter().copied()).collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut back = Schedule { entries: Vec::new(), waits: BTreeMap::new(), takes_back: true, ..schedule.clone() };
    let lanes: BTreeSet<&HostName> = moved.keys().map(|a| &a.host).collect();
    for lane in lanes {
        let here = |published_too: bool| {
            let published = &published;
            moved.iter().filter(move |(a, m)| a.host == *lane && published.contains(&m.first.id) == published_too)
        };
        // Mail first, then the addresses that it was led to.
        let mut swaps: Vec<_> = here(false).collect();
        swaps.sort_by_key(|(a, _)| (!a.key.ends_with("/MX"), (*a).clone()));
        let mut ids: Vec<StepId> = Vec::new();
        let (mut sets, mut ttl) = (Vec::new(), 0);
        for (_, m) in swaps {
            let id = steps.len() as StepId;
            steps.push(restore(input, m, id, Vec::new()));
            ids.push(id);
            // What caches may hold of the new side: the TTL that it was served with last.
            let flipped = m.last.id != m.first.id || m.last.changes.iter().any(|c| c.field == "data");
            let served = record_set::of_attrs(&m.last.address.key, &m.last.attrs).map_or(0, |s| s.ttl);
            ttl = ttl.max(if flipped { served } else { 0 });
            sets.extend(original(m.first));
        }
        if ids.is_empty() {
            steps.extend(take_away(input, here(true), steps.len(), &[]));
            continue;
        }
        let id = steps.len() as StepId;
        let key = format!("{}/rollback", schedule.window);
        let timeout = longest_timeout(input, lane);
        let attrs = barrier::attrs(&Barrier { sets, servers: servers(input, lane), timeout });
        let Step { owner, origin, .. } = steps[ids[0] as usize].clone();
        let address = Address::new(lane, Kind::Barrier, key);
        steps.push(Step { id, attrs, after: ids.clone(), owner, origin, ..waiting(address) });
        ids.push(id);
        let why = format!("the answers of the new side run out: their TTL of {ttl} s");
        back.entries.push(Entry {
            zone: lane.0.clone(),
            stage: Stage::FlipMx,
            what: "swap back".into(),
            begins: 0,
            ends: i64::from(ttl),
            latest: None,
            why: why.clone(),
            steps: ids,
        });
        let gone = take_away(input, here(true), steps.len(), &[id]);
        let wait = Wait { since: vec![Since { step: id, seconds: u64::from(ttl) }], reason: why, ..Wait::default() };
        back.waits.extend(gone.iter().map(|s| (s.id, wait.clone())));
        steps.extend(gone);
    }
    let text = format!("cutover rollback 1\n{}\n{}\n{}\n", input.apply, input.plan.intent, steps.len());
    let plan = taking_back(input, Digest::of(text.as_bytes()), moved.len(), steps, notes);
    Plan { schedule: Some(back), ..plan }
}

/// Record sets that the plan changed, with what shows now. Those that somebody else has changed since block the way back.
fn moved<'a>(input: &UndoInput<'a>, notes: &mut Vec<PlanNote>) -> BTreeMap<Address, Moved<'a>> {
    let mut out: BTreeMap<Address, Moved<'a>> = BTreeMap::new();
    for step in input.plan.steps.iter().filter(|s| s.address.kind == Kind::RecordSet) {
        let note = |text: String| PlanNote { address: Some(step.address.clone()), text, blocks: true };
        match input.outcomes.get(&step.id) {
            Some(Outcome::Done { fingerprint }) => {
                let entry = out.entry(step.address.clone()).or_insert(Moved { first: step, last: step, now: None });
                entry.last = step;
                entry.now.clone_from(fingerprint);
            }
            Some(Outcome::Unknown { .. }) => {
                notes.push(note(format!(
                    "whether it was changed is unknown: run `cutover resume {}` first",
                    input.apply
                )));
            }
            _ => {}
        }
    }
    out.retain(|address, m| {
        let seen = input.observed.hosts.get(&address.host).and_then(|o| o.records.get(&address.local()));
        match (&m.now, seen.map(|r| &r.fingerprint)) {
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

/// What was published for the new side goes when nobody can hold an answer that leads there.
fn take_away<'m>(
    input: &UndoInput,
    published: impl Iterator<Item = (&'m Address, &'m Moved<'m>)>,
    from: usize,
    after: &[StepId],
) -> Vec<Step> {
    published.enumerate().map(|(i, (_, m))| restore(input, m, (from + i) as StepId, after.to_vec())).collect()
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

fn servers(input: &UndoInput, lane: &HostName) -> Vec<String> {
    barriers(input, lane).next().map(|b| b.servers).unwrap_or_default()
}

fn longest_timeout(input: &UndoInput, lane: &HostName) -> u64 {
    barriers(input, lane).map(|b| b.timeout).max().unwrap_or(600)
}
