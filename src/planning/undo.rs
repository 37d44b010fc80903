//! Going back: a plan that puts back what the hosts kept from before an apply, in the reverse order.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::address::{Address, HostName, Kind};
use crate::model::attr::{Attr, Attrs, Digest};
use crate::model::observed::Observed;
use crate::model::plan::{PLAN_VERSION, Plan, PlanNote};
use crate::model::resource::NotifyHow;
use crate::model::source::Origin;
use crate::model::step::{Action, FieldChange, Outcome, Step, StepId, Undo};

use super::cutover;
use super::graph::{Graph, Node};
use super::reduce::reduce;
use super::waves;

#[derive(Debug, Clone, Copy)]
pub struct UndoInput<'a> {
    /// Id of the apply that is taken back.
    pub apply: &'a str,
    pub plan: &'a Plan,
    pub outcomes: &'a BTreeMap<StepId, Outcome>,
    /// What the hosts show now, when they were asked: steps on what has changed since are held back and block the plan.
    pub observed: &'a Observed,
    /// Unix seconds at which the plan is made; for the clock times of a window.
    pub now: i64,
}

/// The plan that undoes what was done of an apply. What cannot go back becomes a note.
pub fn undo(input: &UndoInput) -> Plan {
    let former = input.plan;
    if let Some(schedule) = &former.schedule {
        return cutover::rollback(input, schedule);
    }
    let mut notes = Vec::new();
    let restores: BTreeMap<StepId, Step> =
        former.steps.iter().filter_map(|s| Some((s.id, restore(input, s, &mut notes)?))).collect();
    let signals = signals(input, &restores);

    let mut graph = Graph::with_capacity(former.steps.len() + signals.len(), former.steps.len() * 4);
    for _ in &former.steps {
        graph.add();
    }
    for step in &former.steps {
        step.after.iter().for_each(|earlier| graph.require(*earlier, step.id));
    }
    graph.reverse();
    let count = former.steps.len();
    let mut ranks: Vec<u64> = (0..count).map(|i| (count - i) as u64).collect();
    let mut reloads: BTreeMap<Node, Step> = BTreeMap::new();
    for signal in signals {
        let node = graph.add();
        ranks.push(u64::MAX);
        signal.askers.iter().for_each(|asker| graph.require(*asker, node));
        reloads.insert(node, signal.step);
    }
    // The former order was one, and the new nodes wait only: no cycle can be in it.
    let order = graph.order(&ranks).unwrap_or_default();
    let class: BTreeMap<Node, u32> = classes(&restores, &reloads);
    let after = reduce(&graph, &order, |node| class.get(&node).copied());
    let steps: Vec<Step> = order
        .iter()
        .filter_map(|node| restores.get(node).or_else(|| reloads.get(node)).cloned())
        .zip(after)
        .enumerate()
        .map(|(id, (step, after))| Step { id: id as StepId, after, ..step })
        .collect();
    let intent = intent(input, &steps);
    taking_back(input, intent, restores.len(), steps, notes)
}

/// A plan that takes back the one of `input`, for the same part of the world.
pub(super) fn taking_back(
    input: &UndoInput,
    intent: Digest,
    examined: usize,
    steps: Vec<Step>,
    notes: Vec<PlanNote>,
) -> Plan {
    let former = input.plan;
    Plan {
        version: PLAN_VERSION,
        organization: former.organization.clone(),
        environment: former.environment.clone(),
        phase: former.phase.clone(),
        targets: Vec::new(),
        exceed: Vec::new(),
        intent,
        observation: former.observation.clone(),
        key_id: former.key_id.clone(),
        anchor: former.anchor.clone(),
        hosts: former.hosts.clone(),
        bodies: BTreeMap::new(),
        examined,
        failed: failed(input, &steps),
        steps,
        notes,
        schedule: None,
    }
}

/// The step that takes one back, or a note that says why not.
fn restore(input: &UndoInput, former: &Step, notes: &mut Vec<PlanNote>) -> Option<Step> {
    let mut note = |text: String, blocks: bool| {
        notes.push(PlanNote { address: Some(former.address.clone()), text, blocks });
    };
    if former.address.kind == Kind::Wave {
        return waves::was_begun(input, former).then(|| turned(input, former, None));
    }
    let fingerprint = match input.outcomes.get(&former.id)? {
        Outcome::Done { fingerprint } => fingerprint.clone(),
        Outcome::Unknown { .. } => {
            note(format!("whether it was changed is unknown: run `cutover resume {}` first", input.apply), true);
            return None;
        }
        Outcome::Stale { .. }
        | Outcome::Failed { .. }
        | Outcome::Skipped { .. }
        | Outcome::Fenced { .. }
        | Outcome::Reverted => return None,
    };
    match &former.undo {
        Undo::Nothing => return None,
        Undo::Irreversible(why) => {
            note(format!("stays as it is: {why}"), false);
            return None;
        }
        Undo::Restores(_) => {}
    }
    if let (Some(expect), Some(found)) = (&fingerprint, found(input, &former.address))
        && expect != found
    {
        // Put back already, by an undo that came only part of the way.
        if former.expect.as_ref() == Some(found) {
            return None;
        }
        note(format!("has changed since apply {}: what is there now would be lost", input.apply), true);
        return None;
    }
    Some(turned(input, former, fingerprint))
}

/// The step the other way round.
fn turned(input: &UndoInput, former: &Step, expect: Option<String>) -> Step {
    let turned = |c: &FieldChange| FieldChange {
        field: c.field.clone(),
        before: c.after.clone(),
        after: c.before.clone(),
        forces_replacement: false,
    };
    Step {
        id: 0,
        address: former.address.clone(),
        action: Action::Restore,
        attrs: former.attrs.clone(),
        expect,
        after: Vec::new(),
        notifies: former.notifies.clone(),
        protect: former.protect,
        undo: former.undo.clone(),
        risky: former.risky,
        owner: former.owner.clone(),
        origin: former.origin.clone(),
        changes: former.changes.iter().map(turned).collect(),
        before_text: None,
        reason: match former.action {
            Action::Create => "was created".to_owned(),
            Action::Delete => "was deleted".to_owned(),
            Action::Run => "was run".to_owned(),
            Action::Replace => "was replaced".to_owned(),
            Action::Move => "people were moved".to_owned(),
            Action::Update | Action::Restore | Action::Reload | Action::Restart | Action::Wait => {
                "was changed".to_owned()
            }
        },
        restores: Some((input.apply.to_owned(), former.id)),
    }
}

fn found<'a>(input: &UndoInput<'a>, address: &Address) -> Option<&'a String> {
    Some(&input.observed.hosts.get(&address.host)?.records.get(&address.local())?.fingerprint)
}

struct Signal {
    step: Step,
    askers: Vec<StepId>,
}

/// A reload for each service that is told of a change back, unless its own step stops it.
fn signals(input: &UndoInput, restores: &BTreeMap<StepId, Step>) -> Vec<Signal> {
    let mut asked: BTreeMap<(&HostName, &str), (NotifyHow, Vec<StepId>)> = BTreeMap::new();
    for (id, step) in restores {
        for notify in
            step.notifies.iter().filter(|n| step.address.kind != Kind::Service || step.address.key != n.service)
        {
            let entry = asked.entry((&step.address.host, notify.service.as_str())).or_insert((notify.how, Vec::new()));
            entry.0 = entry.0.max(notify.how);
            entry.1.push(*id);
        }
    }
    asked
        .into_iter()
        .filter_map(|((host, service), (how, askers))| {
            let address = Address::new(host, Kind::Service, service);
            let own = restores.values().find(|s| s.address == address);
            if own.is_some_and(ends_stopped) || stopped(input, &address) && !own.is_some_and(ends_running) {
                return None;
            }
            let first = restores.get(askers.first()?)?;
            let more = askers.len() - 1;
            let by = format!("asked for by {}", first.address.local());
            let step = Step {
                id: 0,
                address,
                action: match how {
                    NotifyHow::Reload => Action::Reload,
                    NotifyHow::Restart => Action::Restart,
                },
                attrs: Attrs::new(),
                expect: None,
                after: Vec::new(),
                notifies: Vec::new(),
                protect: false,
                undo: Undo::Nothing,
                risky: askers.iter().filter_map(|a| restores.get(a)).any(|s| s.risky),
                owner: first.owner.clone(),
                origin: Origin::default(),
                changes: Vec::new(),
                before_text: None,
                reason: if more > 0 { format!("{by} and {more} more") } else { by },
                restores: None,
            };
            Some(Signal { step, askers })
        })
        .collect()
}

/// Going back leaves the service stopped, or takes it away.
fn ends_stopped(step: &Step) -> bool {
    step.changes.iter().any(|c| c.field == "running" && c.after.as_deref() != Some("true"))
}

fn ends_running(step: &Step) -> bool {
    step.changes.iter().any(|c| c.field == "running" && c.after.as_deref() == Some("true"))
}

fn stopped(input: &UndoInput, service: &Address) -> bool {
    let record = input.observed.hosts.get(&service.host).and_then(|o| o.records.get(&service.local()));
    record.is_some_and(|r| r.attrs.get("running").and_then(Attr::as_bool) != Some(true))
}

fn classes(restores: &BTreeMap<StepId, Step>, reloads: &BTreeMap<Node, Step>) -> BTreeMap<Node, u32> {
    let names: BTreeSet<&HostName> = restores.values().chain(reloads.values()).map(|s| &s.address.host).collect();
    let base = names.len() as u32;
    let hosts: BTreeMap<&HostName, u32> = names.into_iter().zip(0..).collect();
    let class = |step: &Step| hosts.get(&step.address.host).copied().unwrap_or(0);
    // Restores of one host may stand for each other; reloads are nobody's gate.
    let restored = restores.iter().map(|(n, s)| (*n, class(s)));
    restored.chain(reloads.iter().map(|(n, s)| (*n, base + class(s)))).collect()
}

/// Hosts that the steps need and that did not answer.
fn failed(input: &UndoInput, steps: &[Step]) -> Vec<crate::model::host::HostError> {
    let needed: BTreeSet<&HostName> = steps.iter().map(|s| &s.address.host).collect();
    input.observed.failed.iter().filter(|f| needed.contains(&f.host)).cloned().collect()
}

fn intent(input: &UndoInput, steps: &[Step]) -> Digest {
    let mut text = format!("cutover undo 1\n{}\n{}\n", input.apply, input.plan.intent);
    for step in steps {
        text.push_str(&format!("{} {:?}\n", step.address, step.restores));
    }
    Digest::of(text.as_bytes())
}
