//! Gates and the evidence that they ask for.

use super::{all_evidence, before, evidence, gates};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "gate-opens-itself",
        code: "L5101",
        severity: Severity::Error,
        about: "A gate asks for evidence or an approval: one that asks for nothing is always open.",
        source: "schemas/6-process.kdl: gate",
        check: opens_itself,
    },
    Rule {
        name: "gate-without-evidence",
        code: "L5102",
        severity: Severity::Warning,
        about: "Who approves the end of a pilot, a build or a deployment sees evidence: a signature alone says that somebody was asked.",
        source: "Microsoft Operations Framework, release readiness review; schemas/6-process.kdl: gate, evidence",
        check: without_evidence,
    },
    Rule {
        name: "gate-of-no-phase",
        code: "L5103",
        severity: Severity::Error,
        about: "A gate at top level names its phase: else it opens nothing.",
        source: "schemas/6-process.kdl: gate.phase",
        check: of_no_phase,
    },
    Rule {
        name: "protected-without-entry",
        code: "L5104",
        severity: Severity::Error,
        about: "The first phase of a protected environment has an entry gate.",
        source: "schemas/1-core.kdl: environment.protected",
        check: without_entry,
    },
    Rule {
        name: "evidence-of-nothing",
        code: "L5105",
        severity: Severity::Error,
        about: "Evidence says of what it is: a probe, a level, a test, a document.",
        source: "schemas/6-process.kdl: evidence.of",
        check: of_nothing,
    },
    Rule {
        name: "evidence-of-other-kind",
        code: "L5106",
        severity: Severity::Error,
        about: "Evidence is of nodes that can give it: probes give type=probe, levels type=sla.",
        source: "schemas/6-process.kdl: evidence.type, evidence.of",
        check: of_other_kind,
    },
    Rule {
        name: "restore-proof-too-old",
        code: "L5107",
        severity: Severity::Error,
        about: "Restores are tested at least as often as the evidence of them must be fresh.",
        source: "schemas/2-topology.kdl: backup.restore-test-every; schemas/6-process.kdl: evidence.max-age",
        check: restore_too_old,
    },
    Rule {
        name: "quadrant-of-other-review",
        code: "L5108",
        severity: Severity::Error,
        about: "The review of a quadrant is a gate of that quadrant.",
        source: "Microsoft Operations Framework, process model (quadrants and reviews)",
        check: other_review,
    },
];

fn opens_itself(t: &Facts, out: &mut Findings) {
    for g in gates(t) {
        if g.gate.children("approval").next().is_none() && evidence(t, g.gate).is_empty() {
            out.push(&g.top.id, format!("gate `{}` asks for nothing", g.gate.name()), |d| {
                d.label(g.gate.span, "always open").help("add an approval, or evidence of what must hold")
            });
        }
    }
}

fn without_evidence(t: &Facts, out: &mut Findings) {
    for g in gates(t).into_iter().filter(|g| g.gate.text("at") == Some("exit") && g.gate.value("every").is_none()) {
        let Some(phase) =
            g.phase.filter(|p| matches!(p.text("step"), Some("proof-of-concept" | "build" | "pilot" | "deploy")))
        else {
            continue;
        };
        let Some(approval) = g.gate.children("approval").next().filter(|_| evidence(t, g.gate).is_empty()) else {
            continue;
        };
        out.push(&g.top.id, format!("gate `{}` ends phase `{}` without evidence", g.gate.name(), phase.id.name), |d| {
            d.label(g.gate.span, "only signatures")
                .label(approval.span, "what do they see?")
                .help("add evidence NAME type=probe, test, sla or audit { of ..; }")
        });
    }
}

fn of_no_phase(t: &Facts, out: &mut Findings) {
    for g in t.all("gate").filter(|g| g.value("phase").is_none()) {
        out.push(&g.id, format!("gate `{}` belongs to no phase", g.id.name), |d| {
            d.label(g.span, "opens nothing").help("write phase=NAME, or put the gate into a phase")
        });
    }
}

fn without_entry(t: &Facts, out: &mut Findings) {
    let gates = gates(t);
    for env in t.all("environment").filter(|e| e.flag("protected")) {
        for phase in t.all("phase").filter(|p| p.reference("environment") == Some(&env.id)) {
            let first = !before(t, phase).values().any(|p| p.reference("environment") == Some(&env.id));
            let acts = phase.value("deploys").is_some() || phase.value("migrates").is_some();
            let entry =
                gates.iter().any(|g| g.phase.is_some_and(|p| p.id == phase.id) && g.gate.text("at") == Some("entry"));
            if first && acts && !entry {
                out.push(
                    &phase.id,
                    format!(
                        "phase `{}` is the first in protected `{}` and has no entry gate",
                        phase.id.name, env.id.name
                    ),
                    |d| {
                        d.label(phase.at("environment"), "begins without a word")
                            .label(env.at("protected"), "protected")
                            .help("add gate go at=entry { approval ..; } to it")
                    },
                );
            }
        }
    }
}

/// Kinds that give a type of evidence.
fn givers(ty: &str) -> &'static [&'static str] {
    match ty {
        "test" => &["test-plan", "scenario"],
        "audit" => &["baseline"],
        "sla" => &["sla"],
        "probe" => &["probe"],
        "preflight" => &["preflight"],
        "restore" => &["backup", "rollback-point"],
        "training" => &["training"],
        "survey" => &["survey"],
        "risks-closed" => &["risk"],
        "change-closed" => &["change"],
        _ => &[],
    }
}

fn of_nothing(t: &Facts, out: &mut Findings) {
    for (top, e) in all_evidence(t) {
        let ty = e.text("type").unwrap_or_default();
        let (missing, help) = match ty {
            "document" => (e.value("file").is_none(), "write file=\"docs/NAME.md\"".to_owned()),
            "attest" => (e.value("by").is_none(), "write by=PERSON or by=TEAM".to_owned()),
            // All risks, all changes.
            "plan-clean" | "risks-closed" | "change-closed" => (false, String::new()),
            _ => (e.value("of").is_none(), format!("write {{ of NAME; }}, a {}", givers(ty).join(" or a "))),
        };
        if missing {
            out.push(&top.id, format!("evidence `{}` of type {ty} does not say of what", e.name()), |d| {
                d.label(e.at("type"), "never met").help(help.clone())
            });
        }
    }
}

fn of_other_kind(t: &Facts, out: &mut Findings) {
    for (top, e) in all_evidence(t) {
        let ty = e.text("type").unwrap_or_default();
        let givers = givers(ty);
        let wrong = e.refs("of").find(|(id, _)| !givers.is_empty() && !givers.contains(&id.kind.as_str()));
        let Some((id, at)) = wrong else { continue };
        out.push(&top.id, format!("evidence `{}` is of type {ty}, `{}` is a {}", e.name(), id.name, id.kind), |d| {
            d.label(at, "cannot give it")
                .label(e.at("type"), format!("given by a {}", givers.join(" or a ")))
                .help("change the type, or name another node")
        });
    }
}

fn restore_too_old(t: &Facts, out: &mut Findings) {
    for (top, e) in all_evidence(t).into_iter().filter(|(_, e)| e.text("type") == Some("restore")) {
        let Some(age) = e.duration("max-age") else { continue };
        let slow = t
            .targets(e, "of")
            .filter_map(|b| Some((b, b.duration("restore-test-every")?)))
            .find(|(_, every)| *every > age);
        let Some((backup, every)): Option<(&Node, _)> = slow else { continue };
        let message = format!(
            "evidence `{}` may be {} old, restores of `{}` are tested every {}",
            e.name(),
            format_duration(age),
            backup.id.name,
            format_duration(every)
        );
        out.push(&top.id, message, |d| {
            d.label(e.at("max-age"), "mostly too old")
                .label(backup.at("restore-test-every"), "too seldom")
                .help(format!("write restore-test-every=\"{}\" or less", format_duration(age)))
        });
    }
}

fn other_review(t: &Facts, out: &mut Findings) {
    let gates = gates(t);
    for q in t.all("quadrant") {
        let Some(review) = q.reference("review").and_then(|id| gates.iter().find(|g| g.gate.id == *id)) else {
            continue;
        };
        let Some(of) = review.gate.text("quadrant").filter(|of| *of != q.name()) else { continue };
        out.push(&q.id, format!("the review of quadrant {} is a gate of quadrant {of}", q.name()), |d| {
            d.label(q.at("review"), "another quadrant's")
                .label(review.gate.at("quadrant"), of)
                .help("name the gate of this quadrant")
        });
    }
}
