//! The steps of a window: their order, their time and what they need.

use std::time::Duration;

use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "steps-out-of-order",
        code: "L4401",
        severity: Severity::Error,
        about: "The steps of a window come in an order that can work: the last copy before the routes, the check before the doors open.",
        source: "schemas/5-migration.kdl: cutover-window.steps",
        check: out_of_order,
    },
    Rule {
        name: "window-without-check",
        code: "L4402",
        severity: Severity::Warning,
        about: "A window that sends users elsewhere verifies before it ends: else nobody sees that it should go back.",
        source: "schemas/5-migration.kdl: cutover-window.steps",
        check: without_check,
    },
    Rule {
        name: "frozen-never-opened",
        code: "L4403",
        severity: Severity::Error,
        about: "What a window freezes it opens again.",
        source: "schemas/5-migration.kdl: cutover-window.steps",
        check: never_opened,
    },
    Rule {
        name: "held-record-never-flips",
        code: "L4404",
        severity: Severity::Error,
        about: "A record that is held until a window changes in it: the window has the step flip-mx.",
        source: "schemas/3-mailflow.kdl: record.held-until",
        check: never_flips,
    },
    Rule {
        name: "lower-ttl-too-short",
        code: "L4405",
        severity: Severity::Error,
        about: "The step that lowers a TTL waits at least as long as the old TTL: until then caches hold the old record.",
        source: "RFC 1034, section 3.6; RFC 2308, section 5",
        check: lower_ttl_too_short,
    },
    Rule {
        name: "steps-longer-than-window",
        code: "L4406",
        severity: Severity::Error,
        about: "The time-outs of the steps of a window fit into it.",
        source: "schemas/5-migration.kdl: cutover-window.for, step.timeout",
        check: longer_than_window,
    },
    Rule {
        name: "timeout-of-no-step",
        code: "L4407",
        severity: Severity::Warning,
        about: "A time-out belongs to a step that the window has.",
        source: "schemas/5-migration.kdl: step",
        check: of_no_step,
    },
    Rule {
        name: "way-back-too-narrow",
        code: "L4408",
        severity: Severity::Error,
        about: "The rollback point of a window restores what its steps change: flip-mx needs dns, flip-routes needs routes.",
        source: "schemas/5-migration.kdl: rollback-point.restores",
        check: too_narrow,
    },
    Rule {
        name: "frozen-too-long",
        code: "L4409",
        severity: Severity::Error,
        about: "From freeze to opening, the steps of a window may take no longer than the downtime that the migration allows.",
        source: "schemas/5-migration.kdl: migration.downtime-max",
        check: frozen_too_long,
    },
    Rule {
        name: "notify-nobody",
        code: "L4410",
        severity: Severity::Warning,
        about: "The step notify has a notice to send: some cohort of the window names one.",
        source: "schemas/5-migration.kdl: cohort.notices",
        check: notify_nobody,
    },
    Rule {
        name: "dns-outlasts-window",
        code: "L4411",
        severity: Severity::Warning,
        about: "The lowered TTL of a record that a window changes is shorter than the window: else the change cannot be checked in it.",
        source: "RFC 1034, section 3.6",
        check: dns_outlasts,
    },
];

fn windows<'t>(t: &'t Facts) -> impl Iterator<Item = (&'t Node, Vec<(&'t str, Span)>)> {
    t.topology().all("cutover-window").map(|w| {
        let steps = w.values("steps").filter_map(|v| match &v.value {
            Value::Text(s) => Some((s.as_str(), v.span)),
            _ => None,
        });
        (w, steps.collect())
    })
}

fn at(steps: &[(&str, Span)], step: &str) -> Option<(usize, Span)> {
    steps.iter().position(|(s, _)| *s == step).and_then(|i| Some((i, steps.get(i)?.1)))
}

/// First, then, and why.
const ORDER: [(&str, &str, &str); 9] = [
    ("lower-ttl", "flip-mx", "caches would hold the old record for the old TTL"),
    ("lower-ttl", "raise-ttl", "it would be lowered after it was raised"),
    ("freeze-source", "final-delta", "what arrives behind the last copy would stay behind"),
    ("final-delta", "flip-routes", "users would meet a mailbox that lacks their last mail"),
    ("flip-routes", "verify", "nothing would check what users meet"),
    ("verify", "open", "users would be let in before the check"),
    ("flip-mx", "drain-source", "the old side would still be taking mail"),
    ("flip-mx", "raise-ttl", "the new record would have to be waited for again"),
    ("drain-source", "prune", "the old side would be gone with mail in its queue"),
];

fn out_of_order(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t) {
        for (first, then, why) in ORDER {
            let (Some((i, early)), Some((j, late))) = (at(&steps, first), at(&steps, then)) else { continue };
            if j < i {
                out.push(&w.id, format!("`{then}` comes before `{first}` in `{}`", w.id.name), |d| {
                    d.label(late, "too early")
                        .label(early, "must come first")
                        .help(format!("put {first} before {then}: {why}"))
                });
            }
        }
    }
}

fn without_check(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t) {
        let flips = ["flip-routes", "flip-mx"].into_iter().find_map(|s| Some((s, at(&steps, s)?.1)));
        let (Some((flip, span)), None) = (flips, at(&steps, "verify")) else { continue };
        out.push(&w.id, format!("`{}` does {flip} and verifies nothing", w.id.name), |d| {
            d.label(span, "users go elsewhere")
                .help("add verify behind it; it runs the probes of the rollback point's triggers")
        });
    }
}

fn never_opened(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t) {
        let (Some((_, frozen)), None) = (at(&steps, "freeze-source"), at(&steps, "open")) else { continue };
        out.push(&w.id, format!("`{}` freezes the source and opens nothing", w.id.name), |d| {
            d.label(frozen, "users are locked out").help("add open as the last step for users")
        });
    }
}

/// The records that wait for a window, with their zones.
fn held<'t>(t: &'t Facts, window: &Node) -> Vec<(&'t Node, &'t Node)> {
    t.referrers(&window.id).iter().filter(|r| r.field == "held-until").map(|r| (r.top, r.node)).collect()
}

fn never_flips(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t).filter(|(_, steps)| !steps.is_empty()) {
        if at(&steps, "flip-mx").is_some() {
            continue;
        }
        let Some((zone, record)) = held(t, w).first().copied() else { continue };
        let message = format!(
            "record `{}` of {} is held until `{}`, which has no flip-mx",
            record.name(),
            zone.name(),
            w.id.name
        );
        out.push(&w.id, message, |d| {
            d.label(w.at("steps"), "never changes it")
                .label(record.at("held-until"), "waits for it")
                .help("add flip-mx to the steps, or name another window")
        });
    }
}

fn timeout(window: &Node, step: &str) -> Option<(Duration, Span)> {
    let s = window.children("step").find(|s| s.name() == step)?;
    Some((s.duration("timeout")?, s.at("timeout")))
}

fn lower_ttl_too_short(t: &Facts, out: &mut Findings) {
    for (w, _) in windows(t) {
        let Some((wait, span)) = timeout(w, "lower-ttl") else { continue };
        let held = held(t, w);
        let ttls = held.iter().filter_map(|(zone, r)| {
            let by = if r.value("ttl").is_some() { r } else { zone };
            Some((by.duration("ttl")?, zone, r, by))
        });
        let Some((ttl, zone, record, by)) = ttls.max_by_key(|(ttl, ..)| *ttl).filter(|(ttl, ..)| *ttl > wait) else {
            continue;
        };
        let message = format!(
            "lower-ttl of `{}` waits {}, record `{}` of {} has a TTL of {}",
            w.id.name,
            format_duration(wait),
            record.name(),
            zone.name(),
            format_duration(ttl)
        );
        out.push(&w.id, message, |d| {
            let from = if by.value("ttl").is_some_and(|v| v.span != by.span) { by.at("ttl") } else { record.span };
            d.label(span, "too short").label(from, "the old TTL").help(format!(
                "write step lower-ttl timeout=\"{}\" or more",
                format_duration(ttl + Duration::from_secs(600))
            ))
        });
    }
}

/// Steps that run before or after the window.
const OUTSIDE: [&str; 4] = ["notify", "lower-ttl", "raise-ttl", "prune"];

fn longer_than_window(t: &Facts, out: &mut Findings) {
    for (w, _) in windows(t) {
        let Some(length) = w.duration("for") else { continue };
        let inside: Vec<&Node> = w.children("step").filter(|s| !OUTSIDE.contains(&s.name())).collect();
        let times: Vec<Duration> = inside.iter().filter_map(|s| s.duration("timeout")).collect();
        let total: Duration = times.iter().sum();
        let Some(last) = inside.last().filter(|_| total > length) else { continue };
        let sum: Vec<String> = times.iter().map(|d| format_duration(*d)).collect();
        let message = format!(
            "the steps of `{}` may take {} = {}, it lasts {}",
            w.id.name,
            sum.join(" + "),
            format_duration(total),
            format_duration(length)
        );
        out.push(&w.id, message, |d| {
            d.label(w.at("for"), "shorter")
                .label(last.at("timeout"), "the last of them")
                .help("make the window longer or the time-outs shorter")
        });
    }
}

fn of_no_step(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t).filter(|(_, steps)| !steps.is_empty()) {
        for s in w.children("step").filter(|s| at(&steps, s.name()).is_none()) {
            out.push(
                &w.id,
                format!("`{}` has a time-out for {}, a step that it does not have", w.id.name, s.name()),
                |d| {
                    d.label(s.span, "never runs")
                        .label(w.at("steps"), "the steps")
                        .help(format!("add {} to `steps`, or take the time-out out", s.name()))
                },
            );
        }
    }
}

fn too_narrow(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t) {
        let Some(point) = t.target(w, "rollback") else { continue };
        let restores = point.texts("restores");
        // A snapshot of the whole brings back the rest too.
        for (step, needs) in [("flip-mx", "dns"), ("flip-routes", "routes")] {
            let Some((_, span)) = at(&steps, step).filter(|_| !restores.contains(&needs)) else { continue };
            out.push(&w.id, format!("`{}` does {step}, `{}` restores no {needs}", w.id.name, point.id.name), |d| {
                d.label(span, "cannot be undone")
                    .label(point.at("restores"), "what is restored")
                    .help(format!("add {needs} to `restores`"))
            });
        }
    }
}

fn frozen_too_long(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let (Some(w), Some(m)) = (t.target(c, "window"), t.target(c, "migration")) else { continue };
        let Some(most) = m.duration("downtime-max") else { continue };
        let steps = w.texts("steps");
        let Some(from) = steps.iter().position(|s| *s == "freeze-source") else { continue };
        let to = steps.iter().position(|s| *s == "open").unwrap_or(steps.len());
        let frozen = steps.get(from..to).unwrap_or_default();
        let times: Vec<(&str, Duration, Span)> =
            frozen.iter().filter_map(|s| timeout(w, s).map(|(d, at)| (*s, d, at))).collect();
        let total: Duration = times.iter().map(|(_, d, _)| *d).sum();
        let Some((_, _, span)) = times.iter().max_by_key(|(_, d, _)| *d).filter(|_| total > most) else { continue };
        let sum: Vec<String> = times.iter().map(|(s, d, _)| format!("{s} {}", format_duration(*d))).collect();
        let message = format!(
            "users of `{}` may wait {} ({}), {} is allowed",
            c.id.name,
            format_duration(total),
            sum.join(" + "),
            format_duration(most)
        );
        out.push(&w.id, message, |d| {
            d.label(*span, "the longest of them").label(m.at("downtime-max"), "allowed").help("shorten the time-outs, or leave freeze-source out: the proxy can hold mail back for one user at a time")
        });
    }
}

fn notify_nobody(t: &Facts, out: &mut Findings) {
    for (w, steps) in windows(t) {
        let Some((_, span)) = at(&steps, "notify") else { continue };
        let mut cohorts =
            t.referrers(&w.id).iter().filter(|r| r.field == "window" && r.top.id.kind == "cohort").peekable();
        let Some(first) = cohorts.peek().map(|r| r.top) else { continue };
        if cohorts.all(|r| r.top.value("notices").is_none()) {
            out.push(&w.id, format!("`{}` notifies, but no cohort in it has a notice", w.id.name), |d| {
                d.label(span, "nothing to send")
                    .label(first.span, "no notices")
                    .help("write notices NAME at the cohort, or leave notify out")
            });
        }
    }
}

fn dns_outlasts(t: &Facts, out: &mut Findings) {
    for (w, _) in windows(t) {
        let Some(length) = w.duration("for") else { continue };
        for (zone, record) in held(t, w) {
            let Some(ttl) = zone.duration("cutover-ttl").filter(|ttl| *ttl >= length) else { continue };
            let message = format!(
                "caches keep {} for {}, `{}` lasts {}",
                zone.name(),
                format_duration(ttl),
                w.id.name,
                format_duration(length)
            );
            out.push(&zone.id, message, |d| {
                d.label(zone.at("cutover-ttl"), "as long as the window, or longer")
                    .label(record.at("held-until"), "changes in it")
                    .help("write cutover-ttl=\"5m\"")
            });
            break;
        }
    }
}
