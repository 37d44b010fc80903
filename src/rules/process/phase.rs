//! Phases: their order, their gates and their time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use super::{before, gates};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "deploy-without-pilot",
        code: "L5501",
        severity: Severity::Warning,
        about: "Before users are moved at large, a pilot has moved some.",
        source: "schemas/6-process.kdl: phase.step; Microsoft Operations Framework, Deploy (pilot before deployment)",
        check: without_pilot,
    },
    Rule {
        name: "phase-goes-backwards",
        code: "L5502",
        severity: Severity::Warning,
        about: "A phase does not come after one of a later step of the course.",
        source: "schemas/6-process.kdl: phase.step, phase.after",
        check: goes_backwards,
    },
    Rule {
        name: "phase-without-gate",
        code: "L5503",
        severity: Severity::Warning,
        about: "A phase that builds, tries out or deploys has a gate: else nobody decides that it is over.",
        source: "schemas/6-process.kdl: gate; Microsoft Operations Framework, management reviews",
        check: without_gate,
    },
    Rule {
        name: "phase-of-nothing",
        code: "L5504",
        severity: Severity::Warning,
        about: "A phase does something: it deploys, migrates, retires an old side, delivers, changes or asks at a gate.",
        source: "schemas/6-process.kdl: phase",
        check: of_nothing,
    },
    Rule {
        name: "phase-due-too-early",
        code: "L5505",
        severity: Severity::Error,
        about: "A phase is not due before those that it comes after.",
        source: "schemas/6-process.kdl: phase.due, phase.after",
        check: due_too_early,
    },
    Rule {
        name: "course-longer-than-project",
        code: "L5506",
        severity: Severity::Error,
        about: "The phases behind one another take no longer than the project may.",
        source: "schemas/6-process.kdl: phase.length, project.longest",
        check: longer_than_project,
    },
    Rule {
        name: "rest-taken-twice",
        code: "L5507",
        severity: Severity::Error,
        about: "One phase of an environment deploys the rest: two that write * would deploy the same.",
        source: "schemas/6-process.kdl: phase.deploys",
        check: rest_twice,
    },
    Rule {
        name: "phase-without-environment",
        code: "L5508",
        severity: Severity::Warning,
        about: "A phase that deploys or migrates names the environment in which it does.",
        source: "schemas/6-process.kdl: phase.environment",
        check: without_environment,
    },
];

const COURSE: [&str; 11] = [
    "envision",
    "inventory",
    "evaluate",
    "proof-of-concept",
    "design",
    "deployment-plan",
    "build",
    "pilot",
    "deploy",
    "operate",
    "manage",
];

fn place(phase: &Node) -> Option<usize> {
    let step = phase.text("step")?;
    COURSE.iter().position(|s| *s == step)
}

fn without_pilot(t: &Facts, out: &mut Findings) {
    for phase in t.all("phase").filter(|p| p.text("step") == Some("deploy") && p.value("migrates").is_some()) {
        let tried = before(t, phase).values().any(|p| p.text("step") == Some("pilot"));
        let pilots =
            phase.refs("migrates").filter_map(|(id, _)| t.nodes.get(id)).any(|c| c.text("type") == Some("pilot"));
        if !tried && !pilots {
            out.push(&phase.id, format!("phase `{}` moves users, and no pilot comes before it", phase.id.name), |d| {
                d.label(phase.at("migrates"), "moved at large")
                    .label(phase.at("step"), "a deployment")
                    .help("add a phase with step=pilot that migrates a small cohort, and write after=.. here")
            });
        }
    }
}

fn goes_backwards(t: &Facts, out: &mut Findings) {
    for phase in t.all("phase") {
        let Some(own) = place(phase) else { continue };
        for (id, at) in phase.refs("after") {
            let Some(other) = t.nodes.get(id).filter(|p| place(p).is_some_and(|o| o > own)) else { continue };
            let (a, b) = (phase.text("step").unwrap_or_default(), other.text("step").unwrap_or_default());
            out.push(&phase.id, format!("`{}` ({a}) comes after `{}` ({b})", phase.id.name, id.name), |d| {
                d.label(at, format!("{b} comes later in the course"))
                    .label(other.at("step"), b)
                    .help("turn the order round, or correct the step")
            });
        }
    }
}

fn without_gate(t: &Facts, out: &mut Findings) {
    let gates = gates(t);
    for phase in
        t.all("phase").filter(|p| matches!(p.text("step"), Some("proof-of-concept" | "build" | "pilot" | "deploy")))
    {
        if !gates.iter().any(|g| g.phase.is_some_and(|p| p.id == phase.id)) {
            out.push(&phase.id, format!("nobody decides that phase `{}` is over", phase.id.name), |d| {
                d.label(phase.span, "no gate").help("add gate NAME { evidence ..; approval ..; } to it")
            });
        }
    }
}

fn of_nothing(t: &Facts, out: &mut Findings) {
    let gates = gates(t);
    for phase in t.all("phase") {
        let acts = ["deploys", "migrates", "forwards", "retires", "delivers", "changes"]
            .into_iter()
            .any(|f| phase.value(f).is_some());
        if !acts && !gates.iter().any(|g| g.phase.is_some_and(|p| p.id == phase.id)) {
            out.push(&phase.id, format!("phase `{}` does nothing", phase.id.name), |d| {
                d.label(phase.span, "neither work nor gate")
                    .help("say what it deploys, migrates or delivers, or take it out")
            });
        }
    }
}

fn due(phase: &Node) -> Option<Date> {
    phase.text("due")?.parse().ok()
}

fn due_too_early(t: &Facts, out: &mut Findings) {
    for phase in t.all("phase") {
        let Some(own) = due(phase) else { continue };
        let earlier = before(t, phase);
        let late =
            earlier.values().filter_map(|p| Some((p, due(p)?))).max_by_key(|(_, d)| *d).filter(|(_, d)| *d > own);
        let Some((other, day)) = late else { continue };
        out.push(
            &phase.id,
            format!("`{}` is due on {own}, `{}` before it on {day}", phase.id.name, other.id.name),
            |d| {
                d.label(phase.at("due"), "too early")
                    .label(other.at("due"), "comes before")
                    .help("move one of the two days")
            },
        );
    }
}

fn longer_than_project(t: &Facts, out: &mut Findings) {
    let Some((project, longest)) = t.all("project").find_map(|p| Some((p, p.duration("longest")?))) else { return };
    // The longest way to each phase; a circle ends it.
    fn way<'t>(
        t: &'t Facts,
        p: &'t Node,
        known: &mut BTreeMap<&'t NodeId, Option<(Duration, Vec<&'t Node>)>>,
    ) -> (Duration, Vec<&'t Node>) {
        match known.get(&p.id) {
            Some(Some(done)) => return done.clone(),
            Some(None) => return (Duration::ZERO, Vec::new()),
            None => {}
        }
        known.insert(&p.id, None);
        let ways: Vec<_> = t.targets(p, "after").map(|q| way(t, q, known)).collect();
        let (mut time, mut phases) = ways.into_iter().max_by_key(|(d, _)| *d).unwrap_or_default();
        if let Some(length) = p.duration("length") {
            time += length;
            phases.push(p);
        }
        known.insert(&p.id, Some((time, phases.clone())));
        (time, phases)
    }
    let mut known = BTreeMap::new();
    let ways: Vec<_> = t.all("phase").map(|p| way(t, p, &mut known)).collect();
    let Some((total, phases)) = ways.into_iter().max_by_key(|(d, _)| *d).filter(|(d, _)| *d > longest) else { return };
    let sum: Vec<String> = phases.iter().filter_map(|p| p.duration("length")).map(weeks).collect();
    let Some(last) = phases.last() else { return };
    out.push(
        &project.id,
        format!("the phases take {} = {}, the project has {}", sum.join(" + "), weeks(total), weeks(longest)),
        |d| {
            d.label(project.at("longest"), "shorter")
                .label(last.at("length"), format!("up to `{}`", last.id.name))
                .help("shorten phases, let some run side by side, or plan longer")
        },
    );
}

/// Weeks where they are whole.
fn weeks(d: Duration) -> String {
    let days = d.as_secs() / 86_400;
    if days > 0 && days.is_multiple_of(7) && d.as_secs().is_multiple_of(86_400) {
        format!("{}w", days / 7)
    } else {
        format_duration(d)
    }
}

fn rest_twice(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<Option<&NodeId>, &Node> = BTreeMap::new();
    for phase in t.all("phase") {
        let rest = phase.values("deploys").find(|v| matches!(&v.value, Value::Text(w) if w == "*"));
        let Some(rest) = rest else { continue };
        if let Some(other) = first.insert(phase.reference("environment"), phase) {
            out.push(
                &phase.id,
                format!("phases `{}` and `{}` both deploy the rest", other.id.name, phase.id.name),
                |d| {
                    d.label(rest.span, "again")
                        .label(other.at("deploys"), "already")
                        .help("name in one of them what it deploys")
                },
            );
        }
    }
}

fn without_environment(t: &Facts, out: &mut Findings) {
    if t.all("environment").next().is_none() {
        return;
    }
    for phase in t.all("phase").filter(|p| p.value("environment").is_none()) {
        let Some(field) = ["deploys", "migrates"].into_iter().find(|f| phase.value(f).is_some()) else { continue };
        out.push(&phase.id, format!("phase `{}` {field} something and does not say where", phase.id.name), |d| {
            d.label(phase.at(field), "in which environment?").help("write environment=NAME")
        });
    }
}
