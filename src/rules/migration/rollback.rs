//! The way back: rollback points and what triggers them.

use crate::model::diagnostic::Severity;
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "way-back-ends-in-window",
        code: "L5001",
        severity: Severity::Error,
        about: "A rollback point is valid for longer than the window that names it.",
        source: "schemas/5-migration.kdl: rollback-point.valid-for, cutover-window.for",
        check: ends_in_window,
    },
    Rule {
        name: "trigger-without-condition",
        code: "L5002",
        severity: Severity::Error,
        about: "A trigger has a condition: a probe, a rule of a monitor, or a share of failed users.",
        source: "schemas/5-migration.kdl: trigger",
        check: without_condition,
    },
    Rule {
        name: "trigger-outlasts-way-back",
        code: "L5003",
        severity: Severity::Error,
        about: "A trigger fires while there still is a way back.",
        source: "schemas/5-migration.kdl: trigger.for, rollback-point.valid-for",
        check: outlasts,
    },
    Rule {
        name: "way-back-of-nobody",
        code: "L5004",
        severity: Severity::Warning,
        about: "A rollback point has a trigger or an owner: else nobody decides to go back.",
        source: "schemas/5-migration.kdl: rollback-point.owner, trigger",
        check: of_nobody,
    },
    Rule {
        name: "trigger-of-two-conditions",
        code: "L5005",
        severity: Severity::Error,
        about: "A rule of a monitor is the only condition of its trigger: a probe or a share beside it would not be asked.",
        source: "schemas/5-migration.kdl: trigger.rule, trigger.probe, trigger.failed",
        check: of_two,
    },
];

fn ends_in_window(t: &Facts, out: &mut Findings) {
    for w in t.all("cutover-window") {
        let Some(point) = t.target(w, "rollback") else { continue };
        let (Some(valid), Some(length)) = (point.duration("valid-for"), w.duration("for")) else { continue };
        if valid < length {
            let message = format!(
                "the way back from `{}` is open for {}, the window lasts {}",
                w.id.name,
                format_duration(valid),
                format_duration(length)
            );
            out.push(&w.id, message, |d| {
                d.label(w.at("rollback"), "closed before the window ends")
                    .label(point.at("valid-for"), "too short")
                    .help("write valid-for=\"3d\" or more: users notice on the next working day")
            });
        }
    }
}

fn without_condition(t: &Facts, out: &mut Findings) {
    for point in t.all("rollback-point") {
        for trigger in
            point.children("trigger").filter(|c| ["probe", "rule", "failed"].into_iter().all(|f| c.value(f).is_none()))
        {
            out.push(&point.id, format!("trigger `{}` of `{}` never fires", trigger.name(), point.id.name), |d| {
                d.label(trigger.span, "no condition")
                    .help("write probe=NAME failed=\"10%\", rule=MONITOR.RULE, or failed=\"5%\"")
            });
        }
    }
}

fn of_two(t: &Facts, out: &mut Findings) {
    for point in t.all("rollback-point") {
        for trigger in point.children("trigger").filter(|c| c.value("rule").is_some()) {
            let Some(other) = ["probe", "failed"].into_iter().find(|f| trigger.value(f).is_some()) else { continue };
            let message = format!("trigger `{}` of `{}` has a rule and `{other}`", trigger.name(), point.id.name);
            out.push(&point.id, message, |d| {
                d.label(trigger.at("rule"), "asked of a monitor")
                    .label(trigger.at(other), "and this beside it")
                    .help("write two triggers: either of them is enough")
            });
        }
    }
}

fn outlasts(t: &Facts, out: &mut Findings) {
    for point in t.all("rollback-point") {
        let Some(valid) = point.duration("valid-for") else { continue };
        for trigger in point.children("trigger") {
            let Some(needs) = trigger.duration("for").filter(|f| *f >= valid) else { continue };
            let message = format!(
                "trigger `{}` fires after {}, the way back is open for {}",
                trigger.name(),
                format_duration(needs),
                format_duration(valid)
            );
            out.push(&point.id, message, |d| {
                d.label(trigger.at("for"), "too late")
                    .label(point.at("valid-for"), "closed by then")
                    .help("write a shorter `for`, as \"10m\"")
            });
        }
    }
}

fn of_nobody(t: &Facts, out: &mut Findings) {
    for point in
        t.all("rollback-point").filter(|p| p.children("trigger").next().is_none() && p.value("owner").is_none())
    {
        out.push(&point.id, format!("nobody and nothing decides to go back to `{}`", point.id.name), |d| {
            d.label(point.span, "no trigger and no owner").help("write owner=TEAM, or add a trigger")
        });
    }
}
