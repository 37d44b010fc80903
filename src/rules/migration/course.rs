//! When cohorts move and whom is told.

use std::collections::{BTreeMap, BTreeSet};

use super::{clock, cohorts, times};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "after-circle",
        code: "L4201",
        severity: Severity::Error,
        about: "Nodes that come after one another do not go in a circle: none of them would ever begin.",
        source: "schemas/5-migration.kdl: cohort.after; schemas/6-process.kdl: phase.after",
        check: circle,
    },
    Rule {
        name: "cohort-before-its-turn",
        code: "L4202",
        severity: Severity::Error,
        about: "The window of a cohort begins when those that it comes after are over.",
        source: "schemas/5-migration.kdl: cohort.after, cohort.window",
        check: before_its_turn,
    },
    Rule {
        name: "cohort-without-window",
        code: "L4203",
        severity: Severity::Warning,
        about: "A cohort has a window: without one nothing says when its users are away, and no way back is planned.",
        source: "schemas/5-migration.kdl: cohort.window",
        check: without_window,
    },
    Rule {
        name: "cohort-in-no-phase",
        code: "L4204",
        severity: Severity::Warning,
        about: "Some phase migrates each cohort: apply works phase by phase, the others never move.",
        source: "schemas/6-process.kdl: phase.migrates",
        check: in_no_phase,
    },
    Rule {
        name: "cohort-moved-twice",
        code: "L4205",
        severity: Severity::Error,
        about: "One phase of an environment migrates a cohort.",
        source: "schemas/6-process.kdl: phase.migrates",
        check: moved_twice,
    },
    Rule {
        name: "cohort-not-told",
        code: "L4206",
        severity: Severity::Warning,
        about: "Where some cohorts get notices, all of them do.",
        source: "schemas/5-migration.kdl: cohort.notices",
        check: not_told,
    },
    Rule {
        name: "told-too-late",
        code: "L4207",
        severity: Severity::Warning,
        about: "Users are told before they move, not only after.",
        source: "schemas/6-process.kdl: communication.at",
        check: told_too_late,
    },
];

fn circle(t: &Facts, out: &mut Findings) {
    for kind in ["cohort", "phase"] {
        // 1 open, 2 done: a node met while it is open closes a circle.
        let mut state: BTreeMap<&NodeId, u8> = BTreeMap::new();
        for start in t.all(kind) {
            let mut path: Vec<(&Node, Vec<(&NodeId, Span)>)> = Vec::new();
            if state.insert(&start.id, 1).is_some_and(|s| s == 2) {
                state.insert(&start.id, 2);
                continue;
            }
            path.push((start, start.refs("after").collect()));
            while let Some((node, open)) = path.last_mut() {
                let Some((next, at)) = open.pop() else {
                    state.insert(&node.id, 2);
                    path.pop();
                    continue;
                };
                let node = *node;
                match (state.get(next), t.nodes.get(next)) {
                    (Some(1), Some(first)) => {
                        let from = path.iter().position(|(n, _)| n.id == *next).unwrap_or(0);
                        let names: Vec<&str> = path[from..].iter().map(|(n, _)| n.id.name.as_str()).collect();
                        out.push(
                            &node.id,
                            format!("{kind}s come after one another in a circle: {}", names.join(", ")),
                            |d| {
                                d.label(at, "closes the circle")
                                    .label(first.span, "comes after it")
                                    .help("one of them must come after none of the others")
                            },
                        );
                    }
                    (None, Some(n)) => {
                        state.insert(next, 1);
                        path.push((n, n.refs("after").collect()));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn before_its_turn(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let Some(window) = t.target(c, "window") else { continue };
        let Some((start, _)) = times(window) else { continue };
        for (id, at) in c.refs("after") {
            let Some(other) = t.nodes.get(id).and_then(|o| t.target(o, "window")) else { continue };
            let Some((_, end)) = times(other).filter(|(_, end)| *end > start) else { continue };
            let message = format!(
                "`{}` moves at {}, after `{}`, whose window ends at {}",
                c.id.name,
                clock(start),
                id.name,
                clock(end)
            );
            out.push(&c.id, message, |d| {
                d.label(c.at("window"), format!("`{}` begins too early", window.id.name))
                    .label(at, "after this one")
                    .label(other.at("start"), format!("`{}`", other.id.name))
                    .help("name a later window")
            });
        }
    }
}

fn without_window(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort").filter(|c| c.value("window").is_none()) {
        out.push(&c.id, format!("cohort `{}` has no window", c.id.name), |d| {
            d.label(c.span, "when does it move?")
                .help("declare `cutover-window NAME start=.. for=.. rollback=..` and write window=NAME")
        });
    }
}

fn in_no_phase(t: &Facts, out: &mut Findings) {
    let migrated: BTreeSet<&NodeId> = t.all("phase").flat_map(|p| p.refs("migrates")).map(|(id, _)| id).collect();
    let Some(phase) = t.all("phase").next() else { return };
    for c in t.all("cohort").filter(|c| !migrated.contains(&c.id)) {
        out.push(&c.id, format!("no phase migrates cohort `{}`", c.id.name), |d| {
            d.label(c.span, "never moves")
                .label(phase.span, "this and the other phases leave it out")
                .help(format!("add {} to `migrates` of a phase", c.id.name))
        });
    }
}

fn moved_twice(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<(&NodeId, Option<&str>), (&Node, Span)> = BTreeMap::new();
    for phase in t.all("phase") {
        for (cohort, at) in phase.refs("migrates") {
            if let Some((other, there)) = first.insert((cohort, phase.text("environment")), (phase, at)) {
                out.push(
                    &phase.id,
                    format!("phases `{}` and `{}` both migrate `{}`", other.id.name, phase.id.name, cohort.name),
                    |d| d.label(at, "again").label(there, "already").help("leave it in one of them"),
                );
            }
        }
    }
}

fn not_told(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let told = cohorts(t, &m.id).find(|c| c.value("notices").is_some());
        let Some(told) = told else { continue };
        for c in cohorts(t, &m.id).filter(|c| c.value("notices").is_none()) {
            out.push(&c.id, format!("nobody tells cohort `{}`, though `{}` is told", c.id.name, told.id.name), |d| {
                d.label(c.span, "no notices").label(told.at("notices"), "has some").help("write notices .. here too")
            });
        }
    }
}

fn told_too_late(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let notices: Vec<&Node> = t.targets(c, "notices").filter(|n| n.value("at").is_some()).collect();
        let Some(first) = notices.first() else { continue };
        if notices.iter().flat_map(|n| n.texts("at")).all(|at| at.starts_with('+'))
            && notices.len() == c.refs("notices").count()
        {
            out.push(&c.id, format!("cohort `{}` is told only after it has moved", c.id.name), |d| {
                d.label(c.at("notices"), "all later")
                    .label(first.at("at"), "after the window")
                    .help("add a communication with at \"-14d\" \"-1d\"")
            });
        }
    }
}
