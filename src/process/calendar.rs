//! The forward schedule of change: when windows are open, when everything is frozen, and whether a change may run now.
//!
//! A window opens at an hour that the clocks of its zone show and stays open for a length of real time. In a night that skips the
//! hour it opens when the clocks have gone forward, and in one that has it twice it opens at the first (RFC 5545, section 3.3.5).

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::recurrence::{Every, Recurrence, weekday};
use crate::model::topology::{Node, NodeId, Topology};

/// How far ahead an opening is looked for.
const HORIZON_DAYS: i64 = 730;

/// From a moment up to, not including, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Span {
    pub fn has(self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    pub fn meets(self, other: Span) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// A recurring window.
#[derive(Debug, Clone)]
pub struct Window {
    pub id: NodeId,
    pub calendar: String,
    pub name: String,
    pub zone: TimeZone,
    pub days: Recurrence,
    pub from: Time,
    pub length: SignedDuration,
    /// Change types that it is open to; none: to all.
    pub types: BTreeSet<String>,
}

impl Window {
    fn opens(&self, day: Date) -> Option<Span> {
        let from = day.to_datetime(self.from).to_zoned(self.zone.clone()).ok()?.timestamp();
        Some(Span { from, to: from.checked_add(self.length).ok()? })
    }

    /// Each time that it is open at some moment of `within`, in order.
    pub fn openings(&self, within: Span) -> Vec<Span> {
        let day = |at: Timestamp| at.to_zoned(self.zone.clone()).date();
        // One that opened before may be open still; a day more for clocks that were changed in between.
        let before = within.from.checked_sub(self.length).ok().and_then(|at| day(at).yesterday().ok());
        let Some(first) = before else { return Vec::new() };
        self.days
            .days(first, day(within.to))
            .into_iter()
            .filter_map(|d| self.opens(d))
            .filter(|s| s.meets(within))
            .collect()
    }

    pub fn open_to(&self, kind: Option<&str>) -> bool {
        self.types.is_empty() || kind.is_some_and(|k| self.types.contains(k))
    }
}

/// Days without changes.
#[derive(Debug, Clone)]
pub struct Freeze {
    pub calendar: String,
    pub name: String,
    pub zone: TimeZone,
    /// From the begin of its first day to the end of its last.
    pub span: Span,
    /// Change types that it does not hold.
    pub except: BTreeSet<String>,
    pub reason: Option<String>,
}

impl Freeze {
    pub fn holds(&self, kind: Option<&str>) -> bool {
        !kind.is_some_and(|k| self.except.contains(k))
    }
}

/// All calendars of a topology.
#[derive(Debug, Clone)]
pub struct Calendar {
    pub windows: Vec<Window>,
    pub freezes: Vec<Freeze>,
    /// The organisation's.
    pub zone: TimeZone,
    pub zone_name: String,
}

/// What a change may run in.
#[derive(Debug, Clone, Default)]
pub struct Wish<'a> {
    pub kind: Option<&'a str>,
    /// The window that it or its type names.
    pub window: Option<&'a NodeId>,
    /// Cutover windows that name it.
    pub cutovers: Vec<(String, Span)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Until when; `None`: nothing closes it in sight.
    Open {
        by: Option<String>,
        until: Option<Timestamp>,
    },
    Shut {
        why: String,
        next: Option<Timestamp>,
    },
}

/// The zone of an IANA name. An hour of a zone that nobody knows is no hour.
fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| format!("no timezone is called `{name}`"))
}

fn own_zone(topology: &Topology) -> &str {
    topology.organization().and_then(|o| o.text("timezone")).unwrap_or("UTC")
}

fn names(node: &Node, field: &str) -> BTreeSet<String> {
    node.texts(field).into_iter().map(str::to_owned).collect()
}

fn window(calendar: &Node, node: &Node, zone: &TimeZone) -> Option<Window> {
    let days = Recurrence {
        every: Every::parse(node.text("every")?)?,
        on: node.texts("on").into_iter().filter_map(weekday).collect(),
        starting: node.text("starting").and_then(|d| d.parse().ok()),
    };
    Some(Window {
        id: node.id.clone(),
        calendar: calendar.id.name.to_string(),
        name: node.name().to_owned(),
        zone: zone.clone(),
        days,
        from: node.text("from")?.parse().ok()?,
        length: SignedDuration::try_from(node.duration("for")?).ok()?,
        types: names(node, "types"),
    })
}

fn freeze(calendar: &Node, node: &Node, zone: &TimeZone) -> Option<Freeze> {
    let day = |field: &str| node.text(field)?.parse::<Date>().ok();
    let begin = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
    Some(Freeze {
        calendar: calendar.id.name.to_string(),
        name: node.name().to_owned(),
        zone: zone.clone(),
        span: Span { from: begin(day("from")?)?, to: begin(day("to")?.tomorrow().ok()?)? },
        except: names(node, "except"),
        reason: node.text("reason").map(str::to_owned),
    })
}

impl Calendar {
    pub fn of(topology: &Topology) -> Result<Self, String> {
        let zone_name = own_zone(topology).to_owned();
        let own = zone(&zone_name)?;
        let mut all = Self { windows: Vec::new(), freezes: Vec::new(), zone: own.clone(), zone_name };
        for c in topology.all("calendar") {
            let at = c.text("timezone").map_or_else(|| Ok(own.clone()), zone)?;
            all.windows.extend(c.children("window").filter_map(|w| window(c, w, &at)));
            all.freezes.extend(c.children("freeze").filter_map(|f| freeze(c, f, &at)));
        }
        Ok(all)
    }

    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.freezes.is_empty()
    }

    /// The windows that a wish may use: those that it names, else all that are open to its type.
    fn usable(&self, wish: &Wish<'_>) -> Vec<&Window> {
        match wish.window {
            Some(id) => self.windows.iter().filter(|w| w.id == *id).collect(),
            None if !wish.cutovers.is_empty() => Vec::new(),
            None => self.windows.iter().filter(|w| w.open_to(wish.kind)).collect(),
        }
    }

    /// Whether windows have a say at all: where there is none, only freezes have.
    fn by_window(&self, wish: &Wish<'_>) -> bool {
        !self.windows.is_empty() || !wish.cutovers.is_empty()
    }

    /// When a wish may run at some moment of `within`: its windows without freezes, those that touch made one.
    pub fn open(&self, wish: &Wish<'_>, within: Span) -> Vec<Span> {
        let mut spans: Vec<Span> = self.usable(wish).iter().flat_map(|w| w.openings(within)).collect();
        spans.extend(wish.cutovers.iter().map(|(_, s)| *s).filter(|s| s.meets(within)));
        if !self.by_window(wish) {
            spans.push(within);
        }
        without(joined(spans), self.freezes.iter().filter(|f| f.holds(wish.kind)).map(|f| f.span))
    }

    /// The freeze that holds a wish at a moment.
    pub fn frozen(&self, kind: Option<&str>, at: Timestamp) -> Option<&Freeze> {
        self.freezes.iter().find(|f| f.holds(kind) && f.span.has(at))
    }

    /// Whether a wish may run now.
    pub fn decide(&self, wish: &Wish<'_>, now: Timestamp) -> Decision {
        let Ok(end) = now.checked_add((HORIZON_DAYS * 24).hours()) else {
            return Decision::Shut { why: "the clock of this machine is at the end of time".to_owned(), next: None };
        };
        let open = self.open(wish, Span { from: now, to: end });
        if let Some(span) = open.iter().find(|s| s.has(now)) {
            let by = self.usable(wish).into_iter().find(|w| w.openings(*span).iter().any(|s| s.has(now)));
            let by = by.map(|w| w.name.clone());
            let cutover = || wish.cutovers.iter().find(|(_, s)| s.has(now)).map(|(n, _)| n.clone());
            return Decision::Open { by: by.or_else(cutover), until: (span.to < end).then_some(span.to) };
        }
        let why = match self.frozen(wish.kind, now) {
            Some(f) => {
                let reason = f.reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
                let last = f
                    .span
                    .to
                    .to_zoned(f.zone.clone())
                    .date()
                    .yesterday()
                    .map_or_else(|_| String::new(), |d| d.to_string());
                format!("freeze {} holds until the end of {last}{reason}", f.name)
            }
            None => self.closed(wish),
        };
        Decision::Shut { why, next: open.iter().map(|s| s.from).find(|from| *from > now) }
    }

    fn closed(&self, wish: &Wish<'_>) -> String {
        let mut names: Vec<&str> = self.usable(wish).iter().map(|w| w.name.as_str()).collect();
        names.extend(wish.cutovers.iter().map(|(n, _)| n.as_str()));
        match (names.as_slice(), wish.kind) {
            ([], Some(kind)) => format!("no window is open to changes of type {kind}"),
            ([], None) => "no window is open to changes without a type".to_owned(),
            ([one], _) => format!("window {one} is closed"),
            (several, _) => format!("the windows {} are closed", several.join(", ")),
        }
    }
}

fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort();
    let mut out: Vec<Span> = Vec::new();
    for s in spans {
        match out.last_mut().filter(|last| s.from <= last.to) {
            Some(last) => last.to = last.to.max(s.to),
            None => out.push(s),
        }
    }
    out
}

fn without(mut spans: Vec<Span>, holes: impl Iterator<Item = Span>) -> Vec<Span> {
    for hole in holes {
        let cut = |s: Span| {
            let parts = [Span { from: s.from, to: s.to.min(hole.from) }, Span { from: s.from.max(hole.to), to: s.to }];
            let kept: Vec<Span> = if s.meets(hole) { parts.to_vec() } else { vec![s] };
            kept.into_iter().filter(|p| p.from < p.to)
        };
        spans = spans.into_iter().flat_map(cut).collect();
    }
    spans
}

/// Cutover windows as spans, by name. Their starts are times of the organisation's zone.
pub fn cutovers(topology: &Topology, zone: &TimeZone) -> BTreeMap<String, Span> {
    let span = |node: &Node| {
        let start: jiff::civil::DateTime = node.text("start")?.parse().ok()?;
        let from = start.to_zoned(zone.clone()).ok()?.timestamp();
        Some(Span { from, to: from.checked_add(SignedDuration::try_from(node.duration("for")?).ok()?).ok()? })
    };
    topology.all("cutover-window").filter_map(|n| Some((n.id.name.to_string(), span(n)?))).collect()
}
