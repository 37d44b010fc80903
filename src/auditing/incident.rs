//! What is known of deviations over time: when one was first seen, when it ended, and which baselines are due again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::model::audit::{AuditReport, Item, Verdict, Weight};
use crate::model::topology::{Node, Topology};

use super::wish::Wish;

/// Which item of which host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub host: String,
    pub baseline: String,
    pub check: String,
}

impl Place {
    fn of(item: &Item) -> Self {
        Self { host: item.host.0.clone(), baseline: item.baseline.clone(), check: item.check.clone() }
    }
}

/// How a deviation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    Mended,
    Waived,
    /// Nothing asks for it any more.
    Dropped,
}

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// All hosts of a baseline were asked.
    Audited { at: Timestamp, baseline: String, checks: usize, deviates: usize },
    Opened {
        at: Timestamp,
        #[serde(flatten)]
        place: Place,
        severity: Weight,
        /// What is to be opened for it: `incident`, or nothing more than an alert.
        ticket: String,
        wanted: String,
        found: String,
    },
    Ended {
        at: Timestamp,
        #[serde(flatten)]
        place: Place,
        by: End,
    },
}

/// A deviation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub since: Timestamp,
    pub severity: Weight,
    pub ticket: String,
    pub wanted: String,
    pub found: String,
}

/// All of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub open: BTreeMap<Place, Incident>,
    audited: BTreeMap<String, Timestamp>,
}

impl Known {
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut out = Self::default();
        events.into_iter().for_each(|e| out.take(e));
        out
    }

    pub fn take(&mut self, event: Event) {
        match event {
            Event::Audited { at, baseline, .. } => drop(self.audited.insert(baseline, at)),
            Event::Opened { at, place, severity, ticket, wanted, found } => {
                self.open.insert(place, Incident { since: at, severity, ticket, wanted, found });
            }
            Event::Ended { place, .. } => drop(self.open.remove(&place)),
        }
    }

    /// Baselines whose last whole audit is older than their `audit-every`.
    pub fn due<'t>(&self, topology: &'t Topology, now: Timestamp) -> BTreeSet<&'t str> {
        let late = |b: &&Node| {
            let last = self.audited.get(b.id.name.as_str()).map(|at| now.as_second().saturating_sub(at.as_second()));
            let every = b.duration("audit-every").map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
            // A clock that was put back makes it due, not never.
            last.is_none_or(|past| past >= every || past < 0)
        };
        topology.all("baseline").filter(late).map(|b| b.id.name.as_str()).collect()
    }

    /// What an audit adds to the record. `wish` is everything that is wanted, however little of it was asked: what it does not hold any
    /// more has ended. What could not be asked stays as it was.
    pub fn news(&self, topology: &Topology, wish: &Wish, report: &AuditReport, at: Timestamp) -> Vec<Event> {
        let mut out = Vec::new();
        for item in &report.items {
            let place = Place::of(item);
            let known = self.open.get(&place);
            let found = item.found.clone().unwrap_or_default();
            match (item.verdict, known) {
                (Verdict::Deviates, known) => {
                    // One that deviates in another way is told again, as of its begin.
                    let since = known.map_or(at, |k| k.since);
                    let ticket = ticket(topology, &item.baseline);
                    let same = |k: &Incident| {
                        (&k.found, &k.wanted, k.severity, &k.ticket) == (&found, &item.wanted, item.severity, &ticket)
                    };
                    if !known.is_some_and(same) {
                        let (severity, wanted) = (item.severity, item.wanted.clone());
                        out.push(Event::Opened { at: since, place, severity, ticket, wanted, found });
                    }
                }
                (Verdict::AsWanted, Some(_)) => out.push(Event::Ended { at, place, by: End::Mended }),
                (Verdict::Waived, Some(_)) => out.push(Event::Ended { at, place, by: End::Waived }),
                _ => {}
            }
        }
        let wanted: BTreeSet<Place> = wish.places().collect();
        let gone = self.open.keys().filter(|p| !wanted.contains(p));
        out.extend(gone.map(|p| Event::Ended { at, place: p.clone(), by: End::Dropped }));
        out.extend(whole(wish, report, at));
        out
    }
}

impl Wish {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.hosts.iter().flat_map(|(host, questions)| {
            questions.iter().map(|q| Place {
                host: host.0.clone(),
                baseline: q.baseline.clone(),
                check: q.check.clone(),
            })
        })
    }
}

/// Baselines of which every item was in this audit, on hosts that answered.
fn whole(wish: &Wish, report: &AuditReport, at: Timestamp) -> Vec<Event> {
    let silent: BTreeSet<&str> = report.failed.iter().map(|f| f.host.0.as_str()).collect();
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    wish.places().for_each(|p| *wanted.entry(p.baseline).or_default() += 1);
    let all = wanted.into_iter().filter_map(|(baseline, checks)| {
        let asked: Vec<&Item> =
            report.items.iter().filter(|i| i.baseline == baseline && !silent.contains(i.host.0.as_str())).collect();
        let deviates = asked.iter().filter(|i| i.verdict == Verdict::Deviates).count();
        (asked.len() == checks).then_some(Event::Audited { at, baseline, checks, deviates })
    });
    all.collect()
}

/// As rules of monitors say it: `on-drift=alert` is told and opens nothing. `fix` is an incident, since nothing is mended by itself.
pub fn ticket(topology: &Topology, baseline: &str) -> String {
    let told = topology.get("baseline", baseline).and_then(|b| b.text("on-drift"));
    if told == Some("alert") { "none" } else { "incident" }.to_owned()
}

/// Alerts for Alertmanager (POST /api/v2/alerts): what is open, for twice as long as its baseline waits for its next audit, so that one which
/// nobody audits any more ends by itself; and what has just ended, as ended.
pub fn alerts(topology: &Topology, known: &Known, ended: &BTreeMap<Place, Incident>, now: Timestamp) -> Json {
    let one = |place: &Place, incident: &Incident, end: Timestamp| {
        let server = topology.get("server", &place.host);
        json!({
            "labels": {
                "alertname": "Deviation",
                "server": place.host,
                "site": server.and_then(|s| s.text("site")).unwrap_or_default(),
                "baseline": place.baseline,
                "check": place.check,
                "severity": incident.severity.word(),
                "ticket": incident.ticket,
            },
            "annotations": {
                "summary": format!(
                    "{} deviates from baseline {}: {} is {}, wanted {}",
                    place.host, place.baseline, place.check, shown(&incident.found), shown(&incident.wanted)
                ),
            },
            "startsAt": incident.since.to_string(),
            "endsAt": end.to_string(),
        })
    };
    let end = |place: &Place| {
        let every =
            topology.get("baseline", &place.baseline).and_then(|b| b.duration("audit-every")).unwrap_or_default();
        let span = jiff::SignedDuration::try_from(every.saturating_mul(2)).unwrap_or(jiff::SignedDuration::MAX);
        now.checked_add(span).unwrap_or(Timestamp::MAX)
    };
    let open = known.open.iter().map(|(p, i)| one(p, i, end(p)));
    open.chain(ended.iter().map(|(p, i)| one(p, i, now))).collect()
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}
