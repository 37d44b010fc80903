//! The forward schedule: what is planned when, and what of it cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::calendar::{Calendar, Span, cutovers};
use super::change;
use crate::model::cutover;
use crate::model::topology::{Node, Topology};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Freeze,
    CutoverWindow,
    Change,
    Window,
    Review,
    Due,
}

impl What {
    pub const ALL: [What; 6] = [What::Freeze, What::CutoverWindow, What::Change, What::Window, What::Review, What::Due];

    pub fn as_str(self) -> &'static str {
        match self {
            What::Freeze => "freeze",
            What::CutoverWindow => "cutover window",
            What::Change => "change",
            What::Window => "window",
            What::Review => "review",
            What::Due => "due",
        }
    }
}

/// One line of the schedule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Item {
    pub what: What,
    pub name: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// For people.
    pub about: String,
    /// Stays the same while the topology does, whoever asks and when.
    pub uid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Schedule {
    pub items: Vec<Item>,
    pub conflicts: Vec<String>,
    /// What has no day, and why.
    pub undated: Vec<String>,
}

fn item(what: What, name: &str, span: Span, about: String) -> Item {
    let kind = what.as_str().replace(' ', "-");
    let uid = match what {
        // One a day at most, so its begin tells it from its sisters.
        What::Window | What::Review => format!("{kind}-{name}-{}", span.from.as_second()),
        _ => format!("{kind}-{name}"),
    };
    Item { what, name: name.to_owned(), from: span.from, to: span.to, about, uid }
}

/// All that stands in the topology for `within`; `now` says which openings are still to come. `windows` knows the zones of a cutover window.
pub fn schedule(
    topology: &Topology,
    calendar: &Calendar,
    windows: &[cutover::Window],
    within: Span,
    now: Timestamp,
) -> Schedule {
    let mut out = Schedule::default();
    for w in &calendar.windows {
        let types: Vec<&str> = w.types.iter().map(String::as_str).collect();
        let about =
            if types.is_empty() { "any change".to_owned() } else { format!("changes of type {}", types.join(", ")) };
        let name = format!("{}.{}", w.calendar, w.name);
        out.items.extend(w.openings(within).into_iter().map(|s| item(What::Window, &name, s, about.clone())));
    }
    for f in calendar.freezes.iter().filter(|f| f.span.meets(within)) {
        let except: Vec<&str> = f.except.iter().map(String::as_str).collect();
        let mut about = f.reason.clone().unwrap_or_else(|| "no changes".to_owned());
        if !except.is_empty() {
            about += &format!(", except of type {}", except.join(", "));
        }
        out.items.push(item(What::Freeze, &format!("{}.{}", f.calendar, f.name), f.span, about));
    }
    let spans = cutovers(topology, &calendar.zone);
    for (name, span) in spans.iter().filter(|(_, s)| s.meets(within)) {
        let Some(node) = topology.get("cutover-window", name) else { continue };
        let people: Vec<&str> = cohorts(topology, name).map(|c| c.id.name.as_str()).collect();
        let about = match people.as_slice() {
            [] => node.texts("steps").join(", "),
            people => format!("moves {}", people.join(", ")),
        };
        out.items.push(item(What::CutoverWindow, name, *span, about));
    }
    openings(topology, calendar, within, now, &mut out);
    course(topology, calendar, within, &mut out);
    out.conflicts = conflicts(topology, calendar, windows, &spans);
    out.items.sort_by(|a, b| (a.from, a.what, &a.name).cmp(&(b.from, b.what, &b.name)));
    out
}

fn cohorts<'t>(topology: &'t Topology, window: &str) -> impl Iterator<Item = &'t Node> {
    topology.all("cohort").filter(move |c| c.text("window") == Some(window))
}

/// The next opening of each change.
fn openings(topology: &Topology, calendar: &Calendar, within: Span, now: Timestamp, out: &mut Schedule) {
    let ahead = Span { from: within.from.max(now), to: within.to };
    for c in topology.all("change") {
        let wish = change::wish(topology, calendar, c);
        let about = ["type", "urgency", "severity"].iter().filter_map(|f| c.text(f)).collect::<Vec<_>>().join(", ");
        match calendar.open(&wish, ahead).iter().find(|s| s.to > ahead.from) {
            Some(span) => out.items.push(item(What::Change, &c.id.name, *span, about)),
            None => out.undated.push(format!("change {} has no opening in this time", c.id.name)),
        }
    }
}

/// Phases with the day on which they are due, and reviews that come again from there.
fn course(topology: &Topology, calendar: &Calendar, within: Span, out: &mut Schedule) {
    let due = |phase: &Node| {
        let day: jiff::civil::Date = phase.text("due")?.parse().ok()?;
        Some(day.to_zoned(calendar.zone.clone()).ok()?.timestamp())
    };
    let hour = SignedDuration::from_hours(1);
    for phase in topology.all("phase") {
        if let Some(at) = due(phase) {
            let span = Span { from: at, to: at.checked_add(hour * 24).unwrap_or(at) };
            if span.meets(within) {
                out.items.push(item(What::Due, &phase.id.name, span, "phase is due".to_owned()));
            }
        }
    }
    let within_phases = topology.all("phase").flat_map(|p| p.children("gate").map(move |g| (g, Some(p))));
    let alone = topology.all("gate").map(|g| (g, topology.target(g, "phase")));
    for (gate, phase) in within_phases.chain(alone) {
        let Some(every) = gate.duration("every").filter(|e| *e >= Duration::from_secs(3_600)) else { continue };
        let Some(first) = phase.and_then(due) else {
            out.undated.push(format!(
                "gate {} is looked at again and again; its phase has no `due` to count from",
                gate.name()
            ));
            continue;
        };
        let Ok(step) = SignedDuration::try_from(every) else { continue };
        let behind = within.from.duration_since(first).as_secs().max(0) / step.as_secs().max(1);
        let mut at = first.checked_add(SignedDuration::from_secs(behind.saturating_mul(step.as_secs())));
        while let Ok(from) = at
            && from < within.to
        {
            let span = Span { from, to: from.checked_add(hour).unwrap_or(from) };
            if span.meets(within) && from > first {
                out.items.push(item(What::Review, gate.name(), span, "comes again".to_owned()));
            }
            at = from.checked_add(step);
        }
    }
}

/// What a cutover window takes hold of: its cohorts, what they move between, and the zones whose records wait for it.
fn touched(topology: &Topology, windows: &[cutover::Window], name: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for c in cohorts(topology, name) {
        out.insert(c.id.to_string());
        let ends = topology.target(c, "migration").into_iter();
        let ends = ends.flat_map(|m| ["from", "to", "proxy", "cms"].into_iter().filter_map(|f| m.reference(f)));
        out.extend(ends.chain(c.reference("to")).map(ToString::to_string));
    }
    let held = windows.iter().filter(|w| w.name == name).flat_map(|w| &w.holds);
    out.extend(held.map(|a| a.host.0.to_string()));
    out
}

/// Cutover windows that are open together and share something, stand in a freeze, or belong to no change.
pub fn conflicts(
    topology: &Topology,
    calendar: &Calendar,
    windows: &[cutover::Window],
    spans: &BTreeMap<String, Span>,
) -> Vec<String> {
    let mut out = Vec::new();
    let all: Vec<(&String, &Span)> = spans.iter().collect();
    for (i, (a, one)) in all.iter().enumerate() {
        for (b, other) in all.iter().skip(i + 1).filter(|(_, other)| one.meets(**other)) {
            let (mine, theirs) = (touched(topology, windows, a), touched(topology, windows, b));
            let both: Vec<&str> = mine.intersection(&theirs).map(String::as_str).collect();
            if !both.is_empty() {
                let when = one.from.max(other.from).to_zoned(calendar.zone.clone()).strftime("%Y-%m-%d %H:%M");
                out.push(format!(
                    "cutover windows {a} and {b} are open together from {when} and share {}",
                    both.join(", ")
                ));
            }
        }
    }
    for (name, span) in all {
        let change = topology.get("cutover-window", name).and_then(|n| topology.target(n, "change"));
        let kind = change.and_then(|c| c.text("type"));
        for f in calendar.freezes.iter().filter(|f| f.holds(kind) && f.span.meets(*span)) {
            out.push(format!("cutover window {name} stands in freeze {}.{}", f.calendar, f.name));
        }
        if change.is_none() && topology.all("change").next().is_some() {
            out.push(format!("cutover window {name} belongs to no change"));
        }
    }
    out
}
