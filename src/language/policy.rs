//! Rules that the language itself holds: separation of duties, order of phases.

use std::collections::{BTreeMap, BTreeSet};

use super::sink::Sink;
use super::slice;
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Span};

pub(super) fn check(topology: &Topology, sink: &mut Sink) {
    for change in topology.all("change") {
        approvers(change, sink);
        duties(topology, change, sink);
    }
    // Where a name is wrong, what a phase deploys is not known.
    if !sink.has_errors() {
        for phase in topology.all("phase") {
            order(topology, phase, sink);
        }
    }
}

fn reference(node: &Node, field: &str) -> Option<(NodeId, Span)> {
    let v = node.value(field)?;
    match &v.value {
        Value::Ref(id) => Some((id.clone(), v.span)),
        _ => None,
    }
}

/// Who wrote or tested a change does not approve it.
fn approvers(change: &Node, sink: &mut Sink) {
    for approval in change.children("approval") {
        let Some((approver, at)) = reference(approval, "name") else { continue };
        for duty in ["author", "tester"] {
            let Some((who, span)) = reference(change, duty) else { continue };
            let alone = approval.int("count").unwrap_or(1) < 2 || who.kind == "person";
            if who == approver && alone && approval.texts("not").contains(&duty) {
                let help = if who.kind == "person" {
                    "name another person, a team or a board"
                } else {
                    "name another team, or keep one team with count=2 so that a second person signs"
                };
                sink.push(
                    Diagnostic::error(
                        "E0801",
                        format!("`{}` is the {duty} of this change and cannot approve it", who.name),
                    )
                    .label(at, "approver")
                    .label(span, duty)
                    .help(help),
                );
            }
        }
    }
}

/// `separation`: one person may not be author and tester of one change.
fn duties(topology: &Topology, change: &Node, sink: &mut Sink) {
    let (Some((author, a)), Some((tester, t))) = (reference(change, "author"), reference(change, "tester")) else {
        return;
    };
    let forbids = |s: &Node| ["author", "tester"].iter().all(|d| s.texts("of").contains(d));
    if author == tester
        && author.kind == "person"
        && let Some(rule) = topology.all("separation").find(|s| forbids(s))
    {
        sink.push(
            Diagnostic::error("E0801", format!("`{}` is author and tester of this change", author.name))
                .label(t, "tester")
                .label(a, "author")
                .label(rule.span, "kept apart here")
                .help("name another tester"),
        );
    }
}

/// What a phase needs must not be claimed by a phase that comes later.
fn order(topology: &Topology, phase: &Node, sink: &mut Sink) {
    let before = slice::before(topology, &phase.id.name);
    let environment = phase.text("environment");
    let mut done: BTreeSet<NodeId> = BTreeSet::new();
    for p in before.iter().filter_map(|p| topology.get("phase", p)) {
        done.extend(slice::own(topology, p));
    }
    let later: Vec<&Node> = topology
        .all("phase")
        .filter(|p| !before.contains(p.id.name.as_str()) && (p.text("environment") == environment))
        .collect();
    if later.is_empty() {
        return;
    }
    for (field, verb) in [("migrates", "migrates"), ("deploys", "deploys")] {
        let seeds: BTreeMap<NodeId, Span> = phase
            .values(field)
            .filter_map(|v| match &v.value {
                Value::Ref(id) => Some((id.clone(), v.span)),
                _ => None,
            })
            .collect();
        if seeds.is_empty() {
            continue;
        }
        let needs = slice::reached(topology, seeds.keys().cloned().collect());
        for q in &later {
            for claim in q.values("deploys") {
                let Value::Ref(id) = &claim.value else { continue };
                let Some(seed) = needs.get(id).filter(|s| *s != id && !done.contains(id)) else { continue };
                sink.push(
                    Diagnostic::error(
                        "E0901",
                        format!(
                            "phase `{}` {verb} `{}`, which needs {} `{}`, deployed later in `{}`",
                            phase.id.name, seed.name, id.kind, id.name, q.id.name
                        ),
                    )
                    .label(seeds.get(seed).copied().unwrap_or(phase.span), "needs it here")
                    .label(claim.span, "deployed only here")
                    .help(format!("deploy `{}` in `{}` or earlier", id.name, phase.id.name)),
                );
            }
        }
    }
}
