//! Risks, notices, training, surveys, and what was weighed before.

use std::collections::BTreeMap;

use super::{all_evidence, before, evidence, gates};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "risk-without-owner",
        code: "L5601",
        severity: Severity::Warning,
        about: "Each risk has an owner, who sees to its mitigation.",
        source: "Microsoft Solutions Framework, Risk Management Discipline; schemas/6-process.kdl: risk.owner",
        check: without_owner,
    },
    Rule {
        name: "risk-accepted-by-nobody",
        code: "L5602",
        severity: Severity::Error,
        about: "A risk is accepted by somebody's approval.",
        source: "schemas/6-process.kdl: risk.status, approval",
        check: accepted_by_nobody,
    },
    Rule {
        name: "training-too-late",
        code: "L5603",
        severity: Severity::Warning,
        about: "People are trained before the deployment, so a gate before its end asks for it.",
        source: "schemas/6-process.kdl: training, evidence",
        check: training_too_late,
    },
    Rule {
        name: "training-of-no-gate",
        code: "L5604",
        severity: Severity::Warning,
        about: "Some gate asks for each training: else nobody sees whether it took place.",
        source: "schemas/6-process.kdl: training (a gate can require it)",
        check: training_of_no_gate,
    },
    Rule {
        name: "survey-never-read",
        code: "L5605",
        severity: Severity::Warning,
        about: "Some gate asks for each survey: else nobody reads what users say.",
        source: "schemas/6-process.kdl: survey",
        check: survey_never_read,
    },
    Rule {
        name: "survey-before-move",
        code: "L5606",
        severity: Severity::Error,
        about: "The gate that asks what a cohort found comes after its move.",
        source: "schemas/6-process.kdl: survey.of, phase.migrates",
        check: survey_before_move,
    },
    Rule {
        name: "application-fate-unknown",
        code: "L5607",
        severity: Severity::Warning,
        about: "It is known of each application whether it works after the move, or evidence will show it.",
        source: "schemas/6-process.kdl: application.after, application.evidence",
        check: fate_unknown,
    },
    Rule {
        name: "chosen-not-weighed",
        code: "L5608",
        severity: Severity::Error,
        about: "What an evaluation chose is one of its options.",
        source: "schemas/6-process.kdl: evaluation.chosen, evaluation.options",
        check: not_weighed,
    },
    Rule {
        name: "scenario-without-verdict",
        code: "L5609",
        severity: Severity::Warning,
        about: "A scenario has a program to run, or says what is expected: else nobody can tell whether it passed.",
        source: "schemas/6-process.kdl: scenario.run, scenario.expect",
        check: without_verdict,
    },
];

fn without_owner(t: &Facts, out: &mut Findings) {
    for r in t.all("risk").filter(|r| r.value("owner").is_none()) {
        out.push(&r.id, format!("nobody owns risk `{}`", r.id.name), |d| {
            d.label(r.span, "no owner")
                .label(r.at("mitigation"), "who does this?")
                .help("write owner=TEAM or owner=PERSON")
        });
    }
}

fn accepted_by_nobody(t: &Facts, out: &mut Findings) {
    for r in t.all("risk").filter(|r| r.text("status") == Some("accepted") && r.children("approval").next().is_none()) {
        out.push(&r.id, format!("risk `{}` is accepted by nobody", r.id.name), |d| {
            d.label(r.at("status"), "by whom?").help("add { approval PERSON; }, or write status=open")
        });
    }
}

/// The gates that ask for evidence of each node, with their phases.
fn asked<'t>(t: &Facts<'t>, id: &NodeId) -> Vec<(&'t Node, Option<&'t Node>, &'t Node)> {
    let mut all = Vec::new();
    for g in gates(t) {
        for e in evidence(t, g.gate) {
            if e.refs("of").any(|(of, _)| of == id) {
                all.push((g.gate, g.phase, e));
            }
        }
    }
    all
}

fn training_too_late(t: &Facts, out: &mut Findings) {
    for training in t.all("training") {
        let asked = asked(t, &training.id);
        let late = |(gate, phase, _): &(&Node, Option<&Node>, &Node)| {
            phase.is_some_and(|p| match p.text("step") {
                Some("operate" | "manage") => true,
                Some("deploy") => gate.text("at") == Some("exit"),
                _ => false,
            })
        };
        let Some((gate, Some(phase), e)) = asked.first().copied().filter(|_| asked.iter().all(late)) else { continue };
        out.push(
            &training.id,
            format!("training `{}` is asked for only when phase `{}` is over", training.id.name, phase.id.name),
            |d| {
                d.label(e.at("of"), "too late")
                    .label(gate.span, "this gate")
                    .label(phase.at("step"), "users have moved by then")
                    .help("ask for it at the gate of an earlier phase, or at the entry")
            },
        );
    }
}

/// Whether any evidence, in a gate or named elsewhere, is of this node.
fn shown(t: &Facts) -> std::collections::BTreeSet<NodeId> {
    all_evidence(t).into_iter().flat_map(|(_, e)| e.refs("of")).map(|(id, _)| id.clone()).collect()
}

fn training_of_no_gate(t: &Facts, out: &mut Findings) {
    let shown = shown(t);
    for training in t.all("training").filter(|n| !shown.contains(&n.id)) {
        out.push(&training.id, format!("no gate asks for training `{}`", training.id.name), |d| {
            d.label(training.span, "nobody sees whether it took place")
                .help("add evidence NAME type=training { of ..; } to a gate")
        });
    }
}

fn survey_never_read(t: &Facts, out: &mut Findings) {
    let shown = shown(t);
    for survey in t.all("survey").filter(|n| !shown.contains(&n.id)) {
        out.push(&survey.id, format!("no gate asks for survey `{}`", survey.id.name), |d| {
            d.label(survey.span, "nobody reads the answers").help("add evidence NAME type=survey { of ..; } to a gate")
        });
    }
}

fn survey_before_move(t: &Facts, out: &mut Findings) {
    for survey in t.all("survey") {
        for (_, phase, e) in asked(t, &survey.id) {
            let Some(phase) = phase else { continue };
            let mut known: BTreeMap<&NodeId, &Node> = before(t, phase);
            known.insert(&phase.id, phase);
            let moved = |cohort: &NodeId| known.values().any(|p| p.refs("migrates").any(|(id, _)| id == cohort));
            let somewhere = |cohort: &NodeId| t.all("phase").any(|p| p.refs("migrates").any(|(id, _)| id == cohort));
            let Some((cohort, at)) = survey.refs("of").find(|(c, _)| !moved(c) && somewhere(c)) else { continue };
            out.push(
                &survey.id,
                format!("phase `{}` asks what `{}` found, which has not moved by then", phase.id.name, cohort.name),
                |d| {
                    d.label(at, "moves later")
                        .label(e.at("of"), "asked here")
                        .help("ask at the gate of the phase that migrates it, or of a later one")
                },
            );
        }
    }
}

fn fate_unknown(t: &Facts, out: &mut Findings) {
    let written = |a: &&Node| a.text("after") == Some("unknown") && a.value("evidence").is_none();
    for a in t.all("application").filter(written) {
        out.push(&a.id, format!("nobody knows whether `{}` works after the move", a.id.name), |d| {
            d.label(a.span, "unknown")
                .help("write after=works, change or retire; or evidence=NAME of a test that will show it")
        });
    }
}

fn not_weighed(t: &Facts, out: &mut Findings) {
    for e in t.all("evaluation") {
        let Some(chosen) = e.text("chosen").filter(|c| !e.texts("options").contains(c)) else { continue };
        out.push(&e.id, format!("`{}` chose {chosen}, which it did not weigh", e.id.name), |d| {
            d.label(e.at("chosen"), "not an option")
                .label(e.at("options"), "the options")
                .help("add it to `options`, or correct the name")
        });
    }
}

fn without_verdict(t: &Facts, out: &mut Findings) {
    for plan in t.all("test-plan") {
        for s in plan.children("scenario").filter(|s| s.value("run").is_none() && s.value("expect").is_none()) {
            out.push(&plan.id, format!("nobody can tell whether scenario `{}` passed", s.name()), |d| {
                d.label(s.span, "neither `run` nor `expect`").help("write run=\"tests/NAME.kdl\" or expect=\"..\"")
            });
        }
    }
}
