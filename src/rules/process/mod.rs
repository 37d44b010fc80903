//! How the work is decided and looked after: gates, changes, calendars, phases, people, operations.

pub(super) mod calendar;
pub(super) mod change;
pub(super) mod gate;
pub(super) mod operations;
pub(super) mod people;
pub(super) mod phase;
pub(super) mod signer;

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;
use crate::model::topology::{Node, NodeId, Topology};

/// Persons by the team, board or person that an approval names.
struct Signers<'t> {
    of_team: BTreeMap<&'t NodeId, Vec<&'t Node>>,
    children: BTreeMap<&'t NodeId, Vec<&'t NodeId>>,
}

impl<'t> Signers<'t> {
    fn of(t: &Facts<'t>) -> Self {
        let t = t.topology();
        let mut of_team: BTreeMap<&NodeId, Vec<&Node>> = BTreeMap::new();
        for person in t.all("person") {
            for (team, _) in person.refs("teams") {
                of_team.entry(team).or_default().push(person);
            }
        }
        let mut children: BTreeMap<&NodeId, Vec<&NodeId>> = BTreeMap::new();
        for team in t.all("team") {
            if let Some(parent) = team.reference("parent") {
                children.entry(parent).or_default().push(&team.id);
            }
        }
        Self { of_team, children }
    }

    /// The persons behind a name, members of teams and of their parts included.
    fn persons(&self, t: &Facts<'t>, id: &NodeId) -> BTreeMap<&'t NodeId, &'t Node> {
        let t = t.topology();
        let Some(start) = t.nodes.get(id) else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            if !seen.insert(&node.id) {
                continue;
            }
            match node.id.kind.as_str() {
                "person" => drop(all.insert(&node.id, node)),
                "board" => open.extend(t.targets(node, "members")),
                _ => {
                    all.extend(self.of_team.get(&node.id).into_iter().flatten().map(|p| (&p.id, *p)));
                    open.extend(self.children.get(&node.id).into_iter().flatten().filter_map(|c| t.nodes.get(*c)));
                }
            }
        }
        all
    }
}

/// A gate, with the phase that it belongs to.
struct Gate<'t> {
    /// The node that an `allow` names: the phase, or the gate itself.
    top: &'t Node,
    gate: &'t Node,
    phase: Option<&'t Node>,
}

/// Every gate, those inside phases and those at top level.
fn gates<'t>(t: &Facts<'t>) -> Vec<Gate<'t>> {
    let t = t.topology();
    let inside = t.all("phase").flat_map(|p| p.children("gate").map(move |g| Gate { top: p, gate: g, phase: Some(p) }));
    let top = t.all("gate").map(|g| Gate { top: g, gate: g, phase: t.target(g, "phase") });
    inside.chain(top).collect()
}

/// Evidence that a gate asks for: its own, and what it requires by name.
fn evidence<'t>(t: &Facts<'t>, gate: &'t Node) -> Vec<&'t Node> {
    gate.children("evidence").chain(t.topology().targets(gate, "requires")).collect()
}

/// All evidence, with the top-level node that it stands in.
fn all_evidence<'t>(t: &Facts<'t>) -> Vec<(&'t Node, &'t Node)> {
    let own = t.topology().all("evidence").map(|e| (e, e));
    own.chain(gates(t).into_iter().flat_map(|g| g.gate.children("evidence").map(move |e| (g.top, e)))).collect()
}

/// Everything that comes before a phase, however far, itself left out.
fn before<'t>(t: &'t Topology, phase: &'t Node) -> BTreeMap<&'t NodeId, &'t Node> {
    let mut all = BTreeMap::new();
    let mut open: Vec<&Node> = t.targets(phase, "after").collect();
    while let Some(p) = open.pop() {
        if p.id != phase.id && all.insert(&p.id, p).is_none() {
            open.extend(t.targets(p, "after"));
        }
    }
    all
}
