//! Cutover windows against one another, the calendar and the end of the source.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZoneDatabase};

use super::{clock, times};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "windows-overlap",
        code: "L4301",
        severity: Severity::Warning,
        about: "Windows that overlap do not share the source, the proxy or the content service: they would slow down or undo one another.",
        source: "docs/architecture.md (one writer); schemas/5-migration.kdl: cutover-window",
        check: overlap,
    },
    Rule {
        name: "window-in-freeze",
        code: "L4302",
        severity: Severity::Error,
        about: "No window lies in a freeze, unless the freeze excepts the type of its change.",
        source: "schemas/4-operations.kdl: freeze",
        check: in_freeze,
    },
    Rule {
        name: "window-outside-change-window",
        code: "L4303",
        severity: Severity::Error,
        about: "A cutover window with a change lies within the recurring window of that change.",
        source: "schemas/4-operations.kdl: change.window; schemas/5-migration.kdl: cutover-window.change",
        check: outside_change_window,
    },
    Rule {
        name: "window-of-nobody",
        code: "L4304",
        severity: Severity::Warning,
        about: "Some cohort or held record waits for each window.",
        source: "schemas/5-migration.kdl: cohort.window; schemas/3-mailflow.kdl: record.held-until",
        check: of_nobody,
    },
    Rule {
        name: "window-in-clock-change",
        code: "L4305",
        severity: Severity::Error,
        about: "A window begins at a time that exists once: clocks that go forward skip an hour, clocks that go back repeat one.",
        source: "IANA time zone database; schemas/1-core.kdl: organization.timezone",
        check: in_clock_change,
    },
    Rule {
        name: "window-after-end-of-life",
        code: "L4306",
        severity: Severity::Error,
        about: "The last window lies before the end of life of the source.",
        source: "schemas/5-migration.kdl: legacy.end-of-life",
        check: after_end_of_life,
    },
    Rule {
        name: "way-back-after-end-of-life",
        code: "L4307",
        severity: Severity::Warning,
        about: "The source lives as long as the way back is promised.",
        source: "schemas/5-migration.kdl: legacy.end-of-life, rollback-point.valid-for",
        check: way_back_after_end_of_life,
    },
    Rule {
        name: "window-after-due",
        code: "L4308",
        severity: Severity::Warning,
        about: "The windows of a phase end by the day on which it is due.",
        source: "schemas/6-process.kdl: phase.due",
        check: after_due,
    },
];

/// What the cohorts of a window need of the world.
fn shared<'t>(t: &'t Facts, window: &Node) -> Vec<&'t NodeId> {
    let cohorts = t.referrers(&window.id).iter().filter(|r| r.field == "window" && r.top.id.kind == "cohort");
    let mut all: Vec<&NodeId> = cohorts
        .filter_map(|r| t.topology().target(r.top, "migration"))
        .flat_map(|m| ["from", "proxy", "cms"].into_iter().filter_map(|f| m.reference(f)))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn overlap(t: &Facts, out: &mut Findings) {
    let mut windows: Vec<(DateTime, DateTime, &Node)> =
        t.all("cutover-window").filter_map(|w| times(w).map(|(s, e)| (s, e, w))).collect();
    windows.sort_by(|a, b| (a.0, &a.2.id).cmp(&(b.0, &b.2.id)));
    for (i, (_, end, w)) in windows.iter().enumerate() {
        let own = shared(t, w);
        for (start, _, other) in windows[i + 1..].iter().take_while(|(start, _, _)| start < end) {
            let Some(both) = shared(t, other).into_iter().find(|id| own.contains(id)) else { continue };
            let message = format!(
                "`{}` begins at {}, while `{}` runs until {}",
                other.id.name,
                clock(*start),
                w.id.name,
                clock(*end)
            );
            out.push(&other.id, message, |d| {
                d.label(other.at("start"), format!("both use {} `{}`", both.kind, both.name))
                    .label(w.at("for"), "not over yet")
                    .help("let it begin later")
            });
        }
    }
}

fn change<'t>(t: &'t Facts, window: &'t Node) -> Option<&'t Node> {
    t.target(window, "change")
}

fn in_freeze(t: &Facts, out: &mut Findings) {
    for w in t.all("cutover-window") {
        let Some((start, end)) = times(w) else { continue };
        let ty = change(t, w).and_then(|c| c.reference("type"));
        for freeze in t.all("calendar").flat_map(|c| c.children("freeze")) {
            let day = |f: &str| freeze.text(f).and_then(|d| d.parse::<Date>().ok());
            let (Some(from), Some(to)) = (day("from"), day("to")) else { continue };
            let excepted = ty.is_some_and(|ty| freeze.refs("except").any(|(id, _)| id == ty));
            if end.date() >= from && start.date() <= to && !excepted {
                out.push(
                    &w.id,
                    format!("`{}` at {} lies in the freeze from {from} to {to}", w.id.name, clock(start)),
                    |d| {
                        d.label(w.at("start"), "no changes then")
                            .label(freeze.span, format!("freeze `{}`", freeze.name()))
                            .help("choose another night, or a change whose type the freeze excepts")
                    },
                );
            }
        }
    }
}

/// True when a recurring window holds this span of time; `None` where its days cannot be told.
fn holds(window: &Node, start: DateTime, end: DateTime) -> Option<bool> {
    let from: Time = window.text("from")?.parse().ok()?;
    let length = window.duration("for")?;
    let days = window.texts("on");
    let starting: Option<Date> = window.text("starting").and_then(|d| d.parse().ok());
    let every = window.text("every")?;
    // It may have begun on an earlier day.
    let back = i64::try_from(length.as_secs() / 86_400).ok()?.min(7) + 1;
    for n in 0..=back {
        let day = start.date().checked_sub(jiff::Span::new().days(n)).ok()?;
        let due = match every {
            "day" => true,
            "week" => days.contains(&short(day.weekday())),
            "fortnight" => {
                let since = (day - starting?).get_days();
                let in_week = since.rem_euclid(14) < 7;
                in_week
                    && if days.is_empty() { since.rem_euclid(14) == 0 } else { days.contains(&short(day.weekday())) }
            }
            _ => return None,
        };
        let opens = day.to_datetime(from);
        if due && starting.is_none_or(|s| day >= s) && opens <= start && end <= opens.checked_add(length).ok()? {
            return Some(true);
        }
    }
    Some(false)
}

fn short(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

fn outside_change_window(t: &Facts, out: &mut Findings) {
    let recurring: BTreeMap<&NodeId, &Node> =
        t.all("calendar").flat_map(|c| c.children("window")).map(|w| (&w.id, w)).collect();
    for w in t.all("cutover-window") {
        let (Some(change), Some((start, end))) = (change(t, w), times(w)) else { continue };
        let Some(named) = change.reference("window").and_then(|id| recurring.get(id)) else { continue };
        if holds(named, start, end) == Some(false) {
            let message = format!(
                "`{}` runs from {} to {}, outside the window of its change",
                w.id.name,
                clock(start),
                clock(end)
            );
            out.push(&w.id, message, |d| {
                d.label(w.at("start"), "outside")
                    .label(named.span, format!("window of `{}`", change.id.name))
                    .help("move one of them, or name another change")
            });
        }
    }
}

fn of_nobody(t: &Facts, out: &mut Findings) {
    for w in t.all("cutover-window") {
        let used = t.referrers(&w.id).iter().any(|r| matches!(r.field, "window" | "held-until"));
        if !used {
            out.push(&w.id, format!("no cohort moves in `{}`", w.id.name), |d| {
                d.label(w.span, "nothing happens in it")
                    .help(format!("write window={} at a cohort, or take it out", w.id.name))
            });
        }
    }
}

fn in_clock_change(t: &Facts, out: &mut Findings) {
    let Some(o) = t.organization() else { return };
    let Some(zone) = o.text("timezone").and_then(|z| TimeZoneDatabase::bundled().get(z).ok()) else { return };
    for w in t.all("cutover-window") {
        let Some((start, _)) = times(w) else { continue };
        let what = match zone.to_ambiguous_timestamp(start).offset() {
            AmbiguousOffset::Gap { .. } => "does not exist",
            AmbiguousOffset::Fold { .. } => "exists twice",
            AmbiguousOffset::Unambiguous { .. } => continue,
        };
        let name = o.text("timezone").unwrap_or_default();
        out.push(&w.id, format!("{} {what} in {name}", clock(start)), |d| {
            d.label(w.at("start"), "clocks change then")
                .label(o.at("timezone"), "in this time zone")
                .help("let the window begin an hour earlier or two later")
        });
    }
}

/// Windows, with the source whose users move in them and its last day.
fn with_end<'t>(t: &'t Facts) -> Vec<(&'t Node, DateTime, &'t Node, Date)> {
    let mut all = Vec::new();
    for c in t.all("cohort") {
        let (Some(w), Some(m)) = (t.target(c, "window"), t.target(c, "migration")) else { continue };
        let (Some((_, end)), Some(from)) = (times(w), t.target(m, "from")) else { continue };
        let Some(last) = from.text("end-of-life").and_then(|d| d.parse().ok()) else { continue };
        if !all.iter().any(|(seen, _, f, _): &(&Node, DateTime, &Node, Date)| seen.id == w.id && f.id == from.id) {
            all.push((w, end, from, last));
        }
    }
    all
}

fn after_end_of_life(t: &Facts, out: &mut Findings) {
    for (w, end, from, last) in with_end(t).into_iter().filter(|(_, end, _, last)| end.date() > *last) {
        out.push(&w.id, format!("`{}` ends at {}, `{}` on {last}", w.id.name, clock(end), from.id.name), |d| {
            d.label(w.at("start"), "too late")
                .label(from.at("end-of-life"), "the source ends")
                .help("move the window before that day")
        });
    }
}

fn way_back_after_end_of_life(t: &Facts, out: &mut Findings) {
    for (w, end, from, last) in with_end(t).into_iter().filter(|(_, end, _, last)| end.date() <= *last) {
        let Some(point) = t.target(w, "rollback") else { continue };
        let Some(valid) = point.duration("valid-for") else { continue };
        let Some(until) = end.checked_add(valid).ok().filter(|u| u.date() > last) else { continue };
        let message = format!(
            "the way back from `{}` is promised until {}, `{}` ends on {last}",
            w.id.name,
            until.date(),
            from.id.name
        );
        out.push(&w.id, message, |d| {
            d.label(w.at("rollback"), format!("{} after the window", format_duration(valid)))
                .label(from.at("end-of-life"), "nothing to go back to")
                .help("move the window, or keep the source longer")
        });
    }
}

fn after_due(t: &Facts, out: &mut Findings) {
    for phase in t.all("phase") {
        let Some(due) = phase.text("due").and_then(|d| d.parse::<Date>().ok()) else { continue };
        for (id, at) in phase.refs("migrates") {
            let Some(w) = t.nodes.get(id).and_then(|c| t.target(c, "window")) else { continue };
            let Some((_, end)) = times(w).filter(|(_, end)| end.date() > due) else { continue };
            out.push(
                &phase.id,
                format!("phase `{}` is due on {due}, `{}` moves until {}", phase.id.name, id.name, clock(end)),
                |d| {
                    d.label(phase.at("due"), "over by then")
                        .label(at, "moves in it")
                        .label(w.at("start"), format!("window `{}`", w.id.name))
                        .help("move the window or the day")
                },
            );
        }
    }
}
