//! The part of a topology that one phase deploys.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::topology::{Node, NodeId, Topology, Value};

/// What the phase and the phases `after` which it comes deploy, and what these nodes refer to. `deploys "*"` is all that no
/// other phase of that environment names. `None` when there is no such phase.
pub fn deployed(topology: &Topology, phase: &str) -> Option<BTreeSet<NodeId>> {
    let environment = topology.get("phase", phase)?.text("environment");
    let mut seeds = BTreeSet::new();
    for name in before(topology, phase) {
        // What an earlier phase did in another environment is not here.
        if let Some(p) = topology.get("phase", &name).filter(|p| p.text("environment") == environment) {
            seeds.extend(own(topology, p));
        }
    }
    Some(closure(topology, seeds))
}

/// The phase itself and all that it comes after, however far back. Ends on cycles, which the checks report.
pub fn before(topology: &Topology, phase: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![phase.to_owned()];
    while let Some(name) = open.pop() {
        if let Some(p) = topology.get("phase", &name)
            && seen.insert(name)
        {
            open.extend(p.texts("after").into_iter().map(str::to_owned));
        }
    }
    seen
}

/// What one phase deploys by itself, in names or by `"*"`.
pub fn own(topology: &Topology, phase: &Node) -> BTreeSet<NodeId> {
    let mut out = named(phase);
    if !takes_rest(phase) {
        return out;
    }
    let environment = phase.text("environment");
    let claimed: BTreeSet<NodeId> = topology
        .all("phase")
        .filter(|p| p.id != phase.id && p.text("environment") == environment)
        .flat_map(named)
        .collect();
    let kinds: BTreeSet<&str> = deployable();
    out.extend(topology.nodes.keys().filter(|id| kinds.contains(id.kind.as_str()) && !claimed.contains(*id)).cloned());
    out
}

/// Nodes that the phase names itself.
pub fn named(phase: &Node) -> BTreeSet<NodeId> {
    phase
        .values("deploys")
        .filter_map(|v| match &v.value {
            Value::Ref(id) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

/// True for `deploys "*"`.
pub fn takes_rest(phase: &Node) -> bool {
    phase.values("deploys").any(|v| matches!(&v.value, Value::Text(t) if t == "*"))
}

/// Kinds that a phase can deploy, from the schema.
fn deployable() -> BTreeSet<&'static str> {
    let field = super::schema::schema().kind("phase").and_then(|k| k.field("deploys"));
    field.and_then(|f| f.ty.kinds()).unwrap_or_default().iter().map(String::as_str).collect()
}

/// Kinds of the process: what they name is said, not needed, so a slice does not grow through them. A seed is followed.
const PROCESS: [&str; 17] = [
    "phase",
    "gate",
    "evidence",
    "change",
    "risk",
    "cohort",
    "test-plan",
    "environment",
    "cutover-window",
    "rollback-point",
    "communication",
    "survey",
    "training",
    "application",
    "board",
    "project",
    "quadrant",
];

/// The nodes and all that they refer to, however far. A child counts as its top-level node.
pub fn closure(topology: &Topology, seeds: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    reached(topology, seeds).into_keys().collect()
}

/// As [`closure`], each node with the first seed, by name, that leads to it. One pass for all seeds.
pub fn reached(topology: &Topology, seeds: BTreeSet<NodeId>) -> BTreeMap<NodeId, NodeId> {
    let mut owner: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for node in topology.nodes.values().filter(|n| !n.children.is_empty()) {
        own_children(node, &node.id, &mut owner);
    }
    let mut out: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let mut open: Vec<(NodeId, NodeId)> = Vec::new();
    for seed in &seeds {
        open.push((seed.clone(), seed.clone()));
        while let Some((id, seed)) = open.pop() {
            let id = owner.get(&id).cloned().unwrap_or(id);
            if let Some(node) = topology.nodes.get(&id).filter(|_| !out.contains_key(&id)) {
                out.insert(id.clone(), seed.clone());
                if seeds.contains(&id) || !PROCESS.contains(&id.kind.as_str()) {
                    let mut next = Vec::new();
                    refs(node, &mut next);
                    open.extend(next.into_iter().map(|n| (n, seed.clone())));
                }
            }
        }
    }
    out
}

fn own_children(node: &Node, top: &NodeId, owner: &mut BTreeMap<NodeId, NodeId>) {
    for c in &node.children {
        owner.insert(c.id.clone(), top.clone());
        own_children(c, top, owner);
    }
}

/// Every reference in a node and its children.
pub fn refs(node: &Node, out: &mut Vec<NodeId>) {
    for field in node.fields.values() {
        out.extend(field.values.iter().filter_map(|v| match &v.value {
            Value::Ref(id) => Some(id.clone()),
            _ => None,
        }));
    }
    for c in &node.children {
        refs(c, out);
    }
}
