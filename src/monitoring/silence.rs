//! Alerts that are expected for a while: of which servers, from when to when. What stands in no silence counts against service levels as
//! ever: their alerts are of no server.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::scope::Scopes;
use crate::model::host::Reach;
use crate::model::plan::Plan;
use crate::model::topology::{Node, Topology};

/// Who made a silence is told by this in front of its comment.
const OURS: &str = "cutover: ";

/// Servers whose alerts nobody hears for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// `window night`, `servers gate, mail-1`.
    pub of: String,
    pub servers: BTreeSet<String>,
    /// Unix seconds.
    pub from: i64,
    pub until: i64,
}

/// A silence as Alertmanager has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub id: String,
    comment: String,
    ends_at: jiff::Timestamp,
    status: Status,
    matchers: Vec<Matcher>,
}

#[derive(Debug, Clone, Deserialize)]
struct Status {
    state: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Matcher {
    value: String,
}

/// The servers that a window touches: those of its cohorts.
pub fn servers(topology: &Topology, window: &Node) -> BTreeSet<String> {
    let scopes = Scopes::of(topology);
    let cohorts = topology.all("cohort").filter(|c| c.reference("window") == Some(&window.id));
    cohorts.flat_map(|c| of_cohort(topology, &scopes, c)).collect()
}

/// Of the old and the new side of a cohort, and the proxies and content services between them.
fn of_cohort(topology: &Topology, scopes: &Scopes<'_>, cohort: &Node) -> BTreeSet<String> {
    let mut out = scopes.select(cohort, "to");
    if let Some(migration) = topology.target(cohort, "migration") {
        for field in ["from", "to", "proxy", "cms"] {
            out.extend(scopes.select(migration, field));
        }
        // A platform holds no servers: they name it.
        let platform = migration.reference("to").filter(|id| id.kind == "platform");
        let built = |s: &&Node| platform.is_some() && s.reference("platform") == platform;
        out.extend(topology.all("server").filter(built).filter_map(|s| scopes.servers.get(s.id.name.as_str())));
    }
    out.into_iter().map(|s| s.name.to_owned()).collect()
}

/// What an apply makes expected, where it runs inside a window: of the hosts that its steps change and the people that they move, as long
/// as the first of its windows lasts. `closes`: when the window of its change does; times in Unix seconds.
pub fn of_apply(topology: &Topology, plan: &Plan, apply: &str, closes: Option<i64>, now: i64) -> Option<Silence> {
    let mut spans: Vec<(i64, i64)> = closes.map(|end| (now, end)).into_iter().collect();
    let mut touched = BTreeSet::new();
    let scopes = Scopes::of(topology);
    let places: BTreeSet<_> = plan.steps.iter().map(|s| &s.address.host).collect();
    for host in places.into_iter().filter_map(|name| plan.hosts.get(name)) {
        match &host.reach {
            Reach::Cohort(cohort) => {
                spans.extend(cohort.opening.as_ref().map(|o| (o.start, o.end)));
                let node = topology.get("cohort", &cohort.cohort);
                touched.extend(node.map(|c| of_cohort(topology, &scopes, c)).unwrap_or_default());
            }
            Reach::Ssh | Reach::Local => {
                touched.extend(scopes.servers.get(host.name.0.as_str()).map(|s| s.name.to_owned()));
            }
            Reach::Zone(_) => {}
        }
    }
    if let Some(schedule) = &plan.schedule {
        spans.push((schedule.start, schedule.end));
        touched
            .extend(topology.get("cutover-window", &schedule.window).map(|w| servers(topology, w)).unwrap_or_default());
    }
    let (from, until) = within(&spans, now)?;
    (!touched.is_empty()).then(|| Silence { of: format!("apply {apply}"), servers: touched, from, until })
}

/// From the first begin, not before now, to the first end of the windows that are not over: in none of them it is silent for longer.
fn within(spans: &[(i64, i64)], now: i64) -> Option<(i64, i64)> {
    let left = || spans.iter().filter(|(_, end)| *end > now);
    let from = left().map(|(start, _)| *start).min()?.max(now);
    let until = left().map(|(_, end)| *end).min()?;
    (from < until).then_some((from, until))
}

impl Silence {
    /// What Alertmanager is asked for (its API, version 2).
    pub fn body(&self, by: &str) -> Json {
        let time = |at: i64| jiff::Timestamp::from_second(at).unwrap_or_default().to_string();
        json!({
            "matchers": [{ "name": "server", "value": self.value(), "isRegex": true, "isEqual": true }],
            "startsAt": time(self.from),
            "endsAt": time(self.until),
            "createdBy": by,
            "comment": self.comment(),
        })
    }

    fn comment(&self) -> String {
        format!("{OURS}{}", self.of)
    }

    /// Alertmanager sets anchors around it.
    fn value(&self) -> String {
        let names: Vec<String> = self.servers.iter().map(|s| s.replace('.', "\\.")).collect();
        names.join("|")
    }

    /// Of what stands: the one that is as this one wants it, and those of the same thing that are not.
    pub fn among<'s>(&self, standing: &'s [Standing]) -> (Option<&'s Standing>, Vec<&'s Standing>) {
        let same = |s: &&Standing| {
            s.ends_at.as_second() == self.until && s.matchers.len() == 1 && s.matchers[0].value == self.value()
        };
        let own: Vec<&Standing> =
            standing.iter().filter(|s| s.comment == self.comment() && s.status.state != "expired").collect();
        let kept = own.iter().copied().find(same);
        (kept, own.into_iter().filter(|s| kept.is_none_or(|k| k.id != s.id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(id: &str, of: &str, until: &str, value: &str, state: &str) -> Standing {
        serde_json::from_value(json!({
            "id": id, "comment": format!("cutover: {of}"), "endsAt": until, "status": { "state": state },
            "matchers": [{ "name": "server", "value": value, "isRegex": true, "isEqual": true }],
        }))
        .unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_silence_ends_with_the_first_window_and_begins_in_none_that_is_over() {
        assert_eq!(within(&[], 100), None);
        assert_eq!(within(&[(0, 100)], 100), None);
        assert_eq!(within(&[(0, 101)], 100), Some((100, 101)));
        // Not yet open: from its begin.
        assert_eq!(within(&[(200, 300)], 100), Some((200, 300)));
        assert_eq!(within(&[(100, 250), (200, 300), (0, 50)], 100), Some((100, 250)));
        assert_eq!(within(&[(200, 300), (400, 500)], 100), Some((200, 300)));
        assert_eq!(within(&[(200, i64::MAX), (150, 160)], 100), Some((150, 160)));
    }

    #[test]
    fn one_that_stands_is_kept_and_one_that_was_otherwise_goes() {
        let until: jiff::Timestamp = "2026-11-29T04:00:00Z".parse().unwrap_or_default();
        let servers = ["gate", "mail.eu"].map(str::to_owned).into();
        let silence = Silence { of: "window night".into(), servers, from: 0, until: until.as_second() };
        assert_eq!(silence.body("ann@desk")["matchers"][0]["value"], "gate|mail\\.eu");
        assert_eq!(silence.body("ann@desk")["endsAt"], "2026-11-29T04:00:00Z");
        let all = [
            standing("a", "window night", "2026-11-29T04:00:00.000Z", "gate", "active"),
            standing("b", "window night", "2026-11-29T04:00:00.000Z", "gate|mail\\.eu", "expired"),
            standing("c", "window night", "2026-11-29T04:00:00.000Z", "gate|mail\\.eu", "pending"),
            standing("d", "window day", "2026-11-29T04:00:00.000Z", "gate|mail\\.eu", "active"),
        ];
        let (kept, gone) = silence.among(&all);
        assert_eq!(kept.map(|s| s.id.as_str()), Some("c"));
        assert_eq!(gone.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }
}
