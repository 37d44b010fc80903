//! Requests for change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "change-without-way-back",
        code: "L5301",
        severity: Severity::Error,
        about: "A change says how it is undone, or why it cannot be.",
        source: "schemas/4-operations.kdl: change.rollback, change.no-rollback; Microsoft Operations Framework, Change Management",
        check: without_way_back,
    },
    Rule {
        name: "no-way-back-below-major",
        code: "L5302",
        severity: Severity::Error,
        about: "A change that cannot be undone is a major one.",
        source: "schemas/4-operations.kdl: change.no-rollback",
        check: below_major,
    },
    Rule {
        name: "emergency-too-slow",
        code: "L5303",
        severity: Severity::Error,
        about: "An emergency is done within 24 hours.",
        source: "schemas/4-operations.kdl: change.urgency",
        check: too_slow,
    },
    Rule {
        name: "emergency-waits",
        code: "L5304",
        severity: Severity::Warning,
        about: "An emergency does not wait for a window that opens once a week.",
        source: "schemas/4-operations.kdl: change.urgency, change.window",
        check: waits,
    },
    Rule {
        name: "turnaround-before-window",
        code: "L5305",
        severity: Severity::Warning,
        about: "The turnaround of a change is longer than the wait for its next window.",
        source: "schemas/4-operations.kdl: change.turnaround, change.window",
        check: before_window,
    },
    Rule {
        name: "change-without-approval",
        code: "L5306",
        severity: Severity::Warning,
        about: "Minor and major changes are approved: only automatic ones are approved ahead.",
        source: "Microsoft Operations Framework, Change Management",
        check: without_approval,
    },
    Rule {
        name: "change-in-window-of-others",
        code: "L5307",
        severity: Severity::Error,
        about: "A change runs in a window that is open to its type.",
        source: "schemas/4-operations.kdl: window.types",
        check: of_others,
    },
    Rule {
        name: "change-type-unused",
        code: "L5308",
        severity: Severity::Advice,
        about: "Each change type is the type of some change, window or exception.",
        source: "schemas/4-operations.kdl: change-type",
        check: unused,
    },
    Rule {
        name: "emergency-unreviewed",
        code: "L5309",
        severity: Severity::Advice,
        about: "What was decided in a hurry is looked at afterwards: by an incident policy, or by evidence that the change is closed.",
        source: "Microsoft Operations Framework, Change Management (emergency changes, review)",
        check: unreviewed,
    },
];

fn without_way_back(t: &Facts, out: &mut Findings) {
    for c in t.all("change").filter(|c| c.value("rollback").is_none() && c.value("no-rollback").is_none()) {
        out.push(&c.id, format!("change `{}` does not say how it is undone", c.id.name), |d| {
            d.label(c.span, "no way back")
                .help("write rollback=RUNBOOK, or no-rollback=\"why there is none\" at severity=major")
        });
    }
}

fn below_major(t: &Facts, out: &mut Findings) {
    for c in t.all("change").filter(|c| c.value("no-rollback").is_some() && c.text("severity") != Some("major")) {
        let severity = c.text("severity").unwrap_or_default();
        out.push(&c.id, format!("change `{}` has no way back and is called {severity}", c.id.name), |d| {
            d.label(c.at("severity"), "too low")
                .label(c.at("no-rollback"), "cannot be undone")
                .help("write severity=major, or a rollback")
        });
    }
}

fn emergencies<'t>(t: &'t Facts) -> impl Iterator<Item = &'t Node> {
    t.topology().all("change").filter(|c| c.text("urgency") == Some("emergency"))
}

fn too_slow(t: &Facts, out: &mut Findings) {
    for c in emergencies(t) {
        let Some(takes) = c.duration("turnaround").filter(|d| *d > Duration::from_secs(86_400)) else { continue };
        out.push(&c.id, format!("emergency `{}` may take {}", c.id.name, format_duration(takes)), |d| {
            d.label(c.at("turnaround"), "more than 24h")
                .label(c.at("urgency"), "24h or less")
                .help("write turnaround=\"24h\" or less, or urgency=high")
        });
    }
}

/// Time between two openings of a recurring window, less the time that it is open.
fn longest_wait(window: &Node) -> Option<Duration> {
    let days = match window.text("every")? {
        "day" => 1,
        "week" => 7,
        "fortnight" => 14,
        _ => 28,
    };
    let weekly = days >= 7;
    let per_week = u64::try_from(window.values("on").count()).ok().filter(|n| weekly && *n > 0).unwrap_or(1);
    // With several days a week the wait depends on which; the even share is the least that is certain.
    Some(Duration::from_secs(days * 86_400 / per_week).saturating_sub(window.duration("for")?))
}

fn recurring<'t>(t: &'t Facts) -> BTreeMap<&'t NodeId, &'t Node> {
    t.topology().all("calendar").flat_map(|c| c.children("window")).map(|w| (&w.id, w)).collect()
}

fn waits(t: &Facts, out: &mut Findings) {
    let windows = recurring(t);
    for c in emergencies(t) {
        let Some(window) = c.reference("window").and_then(|id| windows.get(id)) else { continue };
        let Some(wait) = longest_wait(window).filter(|w| *w > Duration::from_secs(86_400)) else { continue };
        out.push(
            &c.id,
            format!("emergency `{}` waits for a window, up to {}", c.id.name, format_duration(wait)),
            |d| {
                d.label(c.at("window"), "24h are over by then")
                    .label(window.span, "opens too seldom")
                    .help("leave the window out: an emergency runs when it is approved; or write urgency=high")
            },
        );
    }
}

fn before_window(t: &Facts, out: &mut Findings) {
    let windows = recurring(t);
    for c in t.all("change").filter(|c| c.text("urgency") != Some("emergency")) {
        let Some(window) = c.reference("window").and_then(|id| windows.get(id)) else { continue };
        let (Some(turn), Some(wait)) = (c.duration("turnaround"), longest_wait(window)) else { continue };
        if turn < wait {
            let message = format!(
                "change `{}` is due in {}, its window may be {} away",
                c.id.name,
                format_duration(turn),
                format_duration(wait)
            );
            out.push(&c.id, message, |d| {
                d.label(c.at("turnaround"), "too short")
                    .label(window.span, "opens too seldom")
                    .help("write a longer turnaround, or name a window that opens more often")
            });
        }
    }
}

fn without_approval(t: &Facts, out: &mut Findings) {
    for c in t
        .all("change")
        .filter(|c| matches!(c.text("severity"), Some("minor" | "major")) && c.children("approval").next().is_none())
    {
        let severity = c.text("severity").unwrap_or_default();
        out.push(&c.id, format!("nobody approves {severity} change `{}`", c.id.name), |d| {
            d.label(c.at("severity"), "needs an approval")
                .help("add approval BOARD, or write severity=automatic for what is approved ahead")
        });
    }
}

fn of_others(t: &Facts, out: &mut Findings) {
    let windows = recurring(t);
    for c in t.all("change") {
        let Some(window) = c.reference("window").and_then(|id| windows.get(id)).filter(|w| w.value("types").is_some())
        else {
            continue;
        };
        let ty = c.reference("type");
        if !window.refs("types").any(|(id, _)| Some(id) == ty) {
            let of = ty.map_or("of no type".to_owned(), |ty| format!("of type {}", ty.name));
            out.push(&c.id, format!("change `{}` is {of}, its window is for others", c.id.name), |d| {
                d.label(c.at("window"), "not open to it")
                    .label(window.at("types"), "open to these")
                    .help("name another window, or add the type to `types`")
            });
        }
    }
}

fn unused(t: &Facts, out: &mut Findings) {
    for ty in t.all("change-type").filter(|ty| t.referrers(&ty.id).is_empty()) {
        out.push(&ty.id, format!("no change is of type `{}`", ty.id.name), |d| {
            d.label(ty.span, "never used").help("write type=.. at a change, or take it out")
        });
    }
}

fn unreviewed(t: &Facts, out: &mut Findings) {
    if t.all("incident-policy").next().is_some() {
        return;
    }
    let closed: BTreeSet<&NodeId> = super::all_evidence(t)
        .into_iter()
        .filter(|(_, e)| e.text("type") == Some("change-closed"))
        .flat_map(|(_, e)| e.refs("of"))
        .map(|(id, _)| id)
        .collect();
    for c in emergencies(t).filter(|c| !closed.contains(&c.id)) {
        out.push(&c.id, format!("nobody looks at emergency `{}` afterwards", c.id.name), |d| {
            d.label(c.at("urgency"), "decided in a hurry")
                .help("declare an `incident-policy`, or ask a gate for evidence type=change-closed of it")
        });
    }
}
