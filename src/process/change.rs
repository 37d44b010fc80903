//! To which request for change an apply belongs, and what that change may run in.

use std::collections::BTreeSet;

use super::calendar::{Calendar, Wish, cutovers};
use crate::model::topology::{Node, NodeId, Topology};

/// The change of an apply.
#[derive(Debug, Clone, Copy)]
pub enum Which<'t> {
    One(&'t Node),
    /// Nothing says which of these.
    Several,
    None,
}

/// The changes that a cutover window or a phase names itself.
fn named<'t>(topology: &'t Topology, phase: Option<&str>, window: Option<&str>) -> Vec<&'t Node> {
    if let Some(node) = window.and_then(|w| topology.get("cutover-window", w)) {
        return topology.target(node, "change").into_iter().collect();
    }
    phase.and_then(|p| topology.get("phase", p)).map(|p| topology.targets(p, "changes").collect()).unwrap_or_default()
}

/// What can be said before it is known what the plan touches.
pub fn early<'t>(topology: &'t Topology, phase: Option<&str>, window: Option<&str>) -> Option<&'t Node> {
    match named(topology, phase, window).as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// The change of a plan: the one that its window or phase names; else the only one that covers all that the plan touches. With
/// [`Which::Several`] come their names.
pub fn which<'t>(
    topology: &'t Topology,
    phase: Option<&str>,
    window: Option<&str>,
    covers: impl Fn(&Node) -> bool,
) -> (Which<'t>, Vec<String>) {
    let mut pool = named(topology, phase, window);
    if let [one] = pool.as_slice() {
        return (Which::One(one), Vec::new());
    }
    if pool.is_empty() {
        pool = topology.all("change").collect();
    }
    pool.retain(|c| covers(c));
    match pool.as_slice() {
        [] => (Which::None, Vec::new()),
        [one] => (Which::One(one), Vec::new()),
        several => (Which::Several, several.iter().map(|c| c.id.name.to_string()).collect()),
    }
}

/// What a change may run in: the window that it names, else the one of its type, and cutover windows that name it.
pub fn wish<'t>(topology: &'t Topology, calendar: &Calendar, change: &'t Node) -> Wish<'t> {
    let by_type = topology.target(change, "type").and_then(|t| t.reference("window"));
    let mine = |name: &String| {
        let node = topology.get("cutover-window", name);
        node.and_then(|n| n.reference("change")).is_some_and(|id| *id == change.id)
    };
    Wish {
        kind: change.text("type"),
        window: change.reference("window").or(by_type),
        cutovers: cutovers(topology, &calendar.zone).into_iter().filter(|(name, _)| mine(name)).collect(),
    }
}

/// What a change affects: the nodes that it names, what the phases among them deploy, and all that these refer to. The language knows
/// the last two.
pub fn covered(
    topology: &Topology,
    change: &Node,
    deployed: impl Fn(&Topology, &str) -> Option<BTreeSet<NodeId>>,
    closure: impl Fn(&Topology, BTreeSet<NodeId>) -> BTreeSet<NodeId>,
) -> BTreeSet<NodeId> {
    let (phases, others): (Vec<&NodeId>, Vec<&NodeId>) =
        change.refs("affects").map(|(id, _)| id).partition(|id| id.kind == "phase");
    let mut all = closure(topology, others.into_iter().cloned().collect());
    all.extend(phases.into_iter().filter_map(|p| deployed(topology, &p.name)).flatten());
    all
}

/// Rehearsals are not held: a lab is used when people work.
pub fn holds(topology: &Topology) -> bool {
    !matches!(topology.environment().and_then(|e| e.text("purpose")), Some("lab" | "test"))
}

/// Whether this topology has change control at all.
pub fn controlled(topology: &Topology) -> bool {
    topology.all("calendar").next().is_some() || topology.all("change").next().is_some()
}
