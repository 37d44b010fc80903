//! Calendars: recurring windows and freezes.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "calendar-empty",
        code: "L5401",
        severity: Severity::Warning,
        about: "A calendar has a window or a freeze.",
        source: "schemas/4-operations.kdl: calendar",
        check: empty,
    },
    Rule {
        name: "freeze-backwards",
        code: "L5402",
        severity: Severity::Error,
        about: "A freeze ends on the day on which it begins, or later.",
        source: "schemas/4-operations.kdl: freeze",
        check: backwards,
    },
    Rule {
        name: "window-without-day",
        code: "L5403",
        severity: Severity::Error,
        about: "A weekly window names its days, one of every second week the week in which it starts.",
        source: "schemas/4-operations.kdl: window.on, window.starting",
        check: without_day,
    },
    Rule {
        name: "window-longer-than-period",
        code: "L5404",
        severity: Severity::Error,
        about: "A recurring window closes before it opens again.",
        source: "schemas/4-operations.kdl: window.every, window.for",
        check: longer_than_period,
    },
    Rule {
        name: "window-starts-on-other-day",
        code: "L5405",
        severity: Severity::Error,
        about: "The first day of a recurring window is one of its days.",
        source: "schemas/4-operations.kdl: window.starting, window.on",
        check: other_day,
    },
    Rule {
        name: "recurring-window-in-clock-change",
        code: "L5406",
        severity: Severity::Warning,
        about: "A recurring window opens at an hour that each of its days has: where clocks go forward, one night a year skips an hour.",
        source: "IANA time zone database; schemas/4-operations.kdl: calendar.timezone",
        check: clock_change,
    },
];

fn windows<'t>(t: &'t Facts) -> impl Iterator<Item = (&'t Node, &'t Node)> {
    t.topology().all("calendar").flat_map(|c| c.children("window").map(move |w| (c, w)))
}

fn empty(t: &Facts, out: &mut Findings) {
    for c in t.all("calendar").filter(|c| c.children.is_empty()) {
        out.push(&c.id, format!("calendar `{}` has neither window nor freeze", c.id.name), |d| {
            d.label(c.span, "says nothing").help("add window NAME every=week from=\"20:00\" for=\"4h\" { on sat; }")
        });
    }
}

fn date(node: &Node, field: &str) -> Option<Date> {
    node.text(field)?.parse().ok()
}

fn backwards(t: &Facts, out: &mut Findings) {
    for c in t.all("calendar") {
        for f in c.children("freeze") {
            let (Some(from), Some(to)) = (date(f, "from"), date(f, "to")) else { continue };
            if to < from {
                out.push(&c.id, format!("freeze `{}` ends on {to}, before it begins on {from}", f.name()), |d| {
                    d.label(f.at("to"), "earlier").label(f.at("from"), "later").help("swap the two days")
                });
            }
        }
    }
}

fn without_day(t: &Facts, out: &mut Findings) {
    for (c, w) in windows(t) {
        let (missing, help) = match w.text("every") {
            Some("week") if w.value("on").is_none() => ("day", "write { on sat; }"),
            Some("fortnight") if w.value("starting").is_none() => {
                ("week", "write starting=\"YYYY-MM-DD\", a day on which it opens")
            }
            _ => continue,
        };
        out.push(&c.id, format!("window `{}` does not say on which {missing} it opens", w.name()), |d| {
            d.label(w.at("every"), format!("which {missing}?")).help(help)
        });
    }
}

fn longer_than_period(t: &Facts, out: &mut Findings) {
    for (c, w) in windows(t) {
        let days: u64 = match w.text("every") {
            Some("day") => 1,
            Some("week") => 7,
            Some("fortnight") => 14,
            Some("month") => 28,
            _ => continue,
        };
        let Some(length) = w.duration("for").filter(|l| *l > Duration::from_secs(days * 86_400)) else { continue };
        out.push(
            &c.id,
            format!("window `{}` lasts {} and opens every {days}d", w.name(), format_duration(length)),
            |d| {
                d.label(w.at("for"), "still open when it opens again")
                    .label(w.at("every"), "the period")
                    .help("write a shorter `for`")
            },
        );
    }
}

fn word(day: Weekday) -> &'static str {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    DAYS.get(usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)).copied().unwrap_or("mon")
}

fn other_day(t: &Facts, out: &mut Findings) {
    for (c, w) in windows(t).filter(|(_, w)| w.value("on").is_some()) {
        let Some(first) = date(w, "starting") else { continue };
        let day = word(first.weekday());
        if !w.texts("on").contains(&day) {
            out.push(
                &c.id,
                format!("window `{}` starts on {first}, a {day}, and opens on {}", w.name(), w.texts("on").join(", ")),
                |d| {
                    d.label(w.at("starting"), day)
                        .label(w.at("on"), "its days")
                        .help("write the date of one of its days")
                },
            );
        }
    }
}

/// The days of two years on which clocks go forward.
fn forward(zone: &TimeZone, year: i16) -> Vec<(Date, Time, Time)> {
    let Some(start) = Date::new(year, 1, 1).ok().and_then(|d| d.to_zoned(zone.clone()).ok()) else { return Vec::new() };
    let end = year.saturating_add(2);
    let mut all = Vec::new();
    for change in zone.following(start.timestamp()).take_while(|c| zone.to_datetime(c.timestamp()).year() < end) {
        let Ok(before) = change.timestamp().checked_sub(jiff::SignedDuration::from_secs(1)) else { continue };
        let (last, next) = (zone.to_datetime(before), zone.to_datetime(change.timestamp()));
        let opens = last.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(last);
        if matches!(zone.to_ambiguous_timestamp(opens).offset(), AmbiguousOffset::Gap { .. })
            && opens.date() == next.date()
        {
            all.push((next.date(), opens.time(), next.time()));
        }
    }
    all
}

fn clock_change(t: &Facts, out: &mut Findings) {
    for c in t.all("calendar") {
        let by = if c.value("timezone").is_some() { Some(c) } else { t.organization() };
        let Some((by, name)) = by.and_then(|n| Some((n, n.text("timezone")?))) else { continue };
        let Ok(zone) = TimeZoneDatabase::bundled().get(name) else { continue };
        let changes = forward(&zone, t.today.year());
        for w in c.children("window") {
            let Some(from) = w.text("from").and_then(|f| f.parse::<Time>().ok()) else { continue };
            let days = w.texts("on");
            let hit = changes.iter().find(|(day, a, b)| {
                (days.is_empty() || days.contains(&word(day.weekday()))) && (*a..*b).contains(&from)
            });
            let Some((day, ..)) = hit else { continue };
            out.push(
                &c.id,
                format!(
                    "window `{}` opens at {}, which {day} does not have in {name}",
                    w.name(),
                    from.strftime("%H:%M")
                ),
                |d| {
                    d.label(w.at("from"), "skipped that night")
                        .label(by.at("timezone"), "clocks go forward")
                        .help("let it open an hour earlier or later")
                },
            );
        }
    }
}
