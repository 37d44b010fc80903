//! The course of a project as the topology has it: phases in their order, gates with the evidence that they ask for, and the persons behind a
//! name that signs. Rules judge it, and gates are decided by it.

use std::collections::{BTreeMap, BTreeSet};

use super::topology::{Node, NodeId, Topology};

/// Persons by the team, board or person that an approval names.
pub struct Signers<'t> {
    topology: &'t Topology,
    of_team: BTreeMap<&'t NodeId, Vec<&'t Node>>,
    children: BTreeMap<&'t NodeId, Vec<&'t NodeId>>,
}

impl<'t> Signers<'t> {
    pub fn of(t: &'t Topology) -> Self {
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
        Self { topology: t, of_team, children }
    }

    /// The persons behind a name, members of teams and of their parts included.
    pub fn persons(&self, id: &NodeId) -> BTreeMap<&'t NodeId, &'t Node> {
        let t = self.topology;
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
#[derive(Debug, Clone, Copy)]
pub struct Gate<'t> {
    /// The top-level node: the phase, or the gate itself.
    pub top: &'t Node,
    pub gate: &'t Node,
    pub phase: Option<&'t Node>,
}

impl Gate<'_> {
    /// It closes its own phase, and not what comes after it.
    pub fn is_entry(&self) -> bool {
        self.gate.text("at") == Some("entry")
    }
}

/// Every gate, those inside phases and those at top level.
pub fn gates(t: &Topology) -> Vec<Gate<'_>> {
    let inside = t.all("phase").flat_map(|p| p.children("gate").map(move |g| Gate { top: p, gate: g, phase: Some(p) }));
    let top = t.all("gate").map(|g| Gate { top: g, gate: g, phase: t.target(g, "phase") });
    inside.chain(top).collect()
}

/// Evidence that a gate asks for: its own, and what it requires by name.
pub fn evidence<'t>(t: &'t Topology, gate: &'t Node) -> Vec<&'t Node> {
    gate.children("evidence").chain(t.targets(gate, "requires")).collect()
}

/// Everything that comes before a phase, however far, itself left out.
pub fn before<'t>(t: &'t Topology, phase: &'t Node) -> BTreeMap<&'t NodeId, &'t Node> {
    let mut all = BTreeMap::new();
    let mut open: Vec<&Node> = t.targets(phase, "after").collect();
    while let Some(p) = open.pop() {
        if p.id != phase.id && all.insert(&p.id, p).is_none() {
            open.extend(t.targets(p, "after"));
        }
    }
    all
}
