//! A monitor's rules as recording rules and alerts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::prometheus::{Group, Labels, Rule, braces, camel, duration, labels};
use super::reading::{self, Feed, PER_SERVER, Reading, SERVERS};
use super::scope::{Family, Scopes, Watched, matcher};
use super::trial::{self, Subject, Trial};
use super::{BLIND, Gap, Monitoring, Watch};
use crate::model::counter;
use crate::model::topology::{Node, Topology, Value};
use crate::model::unit::Quantity;

/// What a monitor comes to.
pub struct Made {
    pub group: Group,
    pub trials: Vec<Trial>,
}

/// What a rule compares with.
enum Bound {
    Above(f64),
    Below(f64),
    /// As it is written, too.
    Equals(f64, String),
    /// Share of the usual level, 0 to 1.
    Drops(f64),
}

impl Bound {
    fn of(rule: &Node, unit: Quantity) -> Result<Self, String> {
        if let Some(v) = number(rule, "above") {
            return Ok(Self::Above(v));
        }
        if let Some(v) = number(rule, "below") {
            return Ok(Self::Below(v));
        }
        if let Some(p) = rule.percent("drops") {
            return Ok(Self::Drops(p.0 as f64 / 100_000_000.0));
        }
        match rule.value("equals").map(|v| &v.value) {
            Some(Value::Int(n)) => Ok(Self::Equals(*n as f64, n.to_string())),
            Some(Value::Bool(b)) => Ok(Self::Equals(f64::from(u8::from(*b)), b.to_string())),
            Some(Value::Text(t)) => match (t.as_str(), unit) {
                ("stopped" | "lost" | "down" | "failed", Quantity::State) => Ok(Self::Equals(0.0, t.to_string())),
                ("running" | "up" | "active", Quantity::State) => Ok(Self::Equals(1.0, t.to_string())),
                (other, _) => other.parse().map(|v| Self::Equals(v, t.to_string())).map_err(|_| {
                    format!("`equals={other}` is no number, and none of stopped, lost, running, up of a state")
                }),
            },
            _ => Err("it says no condition".into()),
        }
    }

    /// The condition on a series.
    fn condition(&self, series: &str) -> String {
        match self {
            Self::Above(v) => format!("{series} > {v}"),
            Self::Below(v) => format!("{series} < {v}"),
            Self::Equals(v, _) => format!("{series} == {v}"),
            // The usual level: the same hour a week before. Without a week of figures it says nothing.
            Self::Drops(share) => {
                format!("{series} < {} * avg_over_time({series}[1h] offset 1w)", tidy(1.0 - share))
            }
        }
    }

    fn spoken(&self) -> String {
        match self {
            Self::Above(v) => format!("above {v}"),
            Self::Below(v) => format!("below {v}"),
            Self::Equals(_, written) => written.clone(),
            Self::Drops(share) => format!("{} % below the same hour of the week before", tidy(share * 100.0)),
        }
    }

    /// A value that is still well, and one that is not.
    fn values(&self, unit: Quantity) -> (f64, f64) {
        match (self, unit) {
            (Self::Above(v), Quantity::Percent) => (v * 0.99, (v + 100.0) / 2.0),
            (Self::Above(v), _) => (v * 0.99, v.abs() * 1.05 + v - v.abs() + if *v == 0.0 { 1.0 } else { 0.0 }),
            (Self::Below(v), _) => (v * 1.01, v * 0.95),
            (Self::Equals(v, _), Quantity::State) => (1.0 - v, *v),
            (Self::Equals(v, _), _) => (v + 1.0, *v),
            (Self::Drops(share), _) => (1000.0, 1000.0 * (1.0 - share) * 0.95),
        }
    }
}

/// A number without the tail that binary fractions have.
fn tidy(v: f64) -> f64 {
    (v * 1e6).round() / 1e6
}

pub(super) fn number(node: &Node, field: &str) -> Option<f64> {
    match &node.value(field)?.value {
        Value::Int(n) => Some(*n as f64),
        Value::Text(t) => t.parse().ok(),
        _ => None,
    }
}

/// What all rules of a monitor share.
struct Run<'a, 't> {
    monitor: &'a Node,
    servers: Vec<&'a Watched<'t>>,
    topology: &'t Topology,
    escalation: Option<&'a Node>,
}

pub fn monitor(monitor: &Node, scopes: &Scopes<'_>, topology: &Topology, out: &mut Monitoring) -> Made {
    let name = monitor.id.name.as_str();
    let every = monitor.duration("every").unwrap_or(Duration::from_secs(60));
    let group = Group { name: name.to_owned(), interval: duration(every), rules: Vec::new() };
    let servers = scopes.select(monitor, "on");
    let mut made = Made { group, trials: Vec::new() };
    if servers.is_empty() {
        let why = "it is on no server that Prometheus could ask".to_owned();
        out.gaps.push(Gap { of: name.to_owned(), why, approximate: false, span: monitor.at("on") });
        return made;
    }
    let run = Run { monitor, servers, topology, escalation: topology.target(monitor, "escalation") };
    for rule in monitor.children("rule") {
        match run.rule(rule, &mut made, out) {
            Ok(watch) => out.watches.push(watch),
            Err(why) => out.gaps.push(Gap { of: run.label(rule), why, approximate: false, span: rule.at("counter") }),
        }
    }
    if !made.group.rules.is_empty() {
        made.group.rules.push(run.missing());
    }
    made
}

impl Run<'_, '_> {
    fn label(&self, rule: &Node) -> String {
        format!("{}.{}", self.monitor.id.name, rule.name())
    }

    /// The labels of everything that a rule makes.
    fn labels(&self, rule: &Node, counter: &str) -> Labels {
        let severity = rule.text("severity").unwrap_or("warning");
        let mut out = labels([
            ("monitor", &self.monitor.id.name),
            ("rule", rule.name()),
            ("counter", counter),
            ("severity", severity),
            ("ticket", rule.text("ticket").unwrap_or("incident")),
        ]);
        if let Some(escalation) = self.escalation {
            out.insert("escalation".into(), escalation.id.name.to_string());
            if let Some(tier) = escalation.children("tier").next() {
                out.extend(labels([("tier", "1"), ("team", tier.name())]));
            }
        }
        out
    }

    /// The reading of all servers: of one family, or of both, one after the other.
    fn reading(
        &self,
        rule: &Node,
        watched: &counter::Watched<'_>,
        out: &mut Monitoring,
    ) -> Result<(String, Reading, Vec<&Watched<'_>>), String> {
        let mut found: Vec<(String, Reading, &Watched)> = Vec::new();
        let mut whys = Vec::new();
        let mut read: Vec<&Watched> = Vec::new();
        // Services differ by roles: hosts of the same roles are asked in one go.
        let mut parts: BTreeMap<(Family, Vec<&str>), Vec<&Watched>> = BTreeMap::new();
        let by_roles = matches!(watched, counter::Watched::Known(c) if ["service-state", "imap-sessions", "pop-sessions"].contains(&c.name));
        for &server in &self.servers {
            let roles = if by_roles { server.roles.clone() } else { Vec::new() };
            parts.entry((server.family, roles)).or_default().push(server);
        }
        for ((family, roles), servers) in &parts {
            match reading::of(watched, *family, roles) {
                Ok(reading) => {
                    let expr = reading.expr.replace(SERVERS, &matcher(servers));
                    found.push((expr, reading, servers[0]));
                    read.extend(servers);
                }
                Err(why) => whys.push((why, servers.len(), servers[0].name)),
            }
        }
        if found.is_empty() {
            return Err(whys.first().map_or("nothing is watched", |(why, ..)| why).to_owned());
        }
        for (why, count, first) in whys {
            let why = format!("{why}: not watched on {first}{}", more(count - 1));
            out.gaps.push(Gap { of: self.label(rule), why, approximate: true, span: rule.at("counter") });
        }
        for why in found.iter().filter_map(|(_, r, _)| r.nearly) {
            out.gaps.push(Gap { of: self.label(rule), why: why.into(), approximate: true, span: rule.at("counter") });
        }
        let expr = found.iter().map(|(e, ..)| e.as_str()).collect::<Vec<_>>().join("\n  or ");
        let (_, reading, first) = found.swap_remove(0);
        // The first is the one that the tests of the rule feed.
        read.sort_by_key(|s| (s.name != first.name, s.name));
        Ok((expr, reading, read))
    }

    fn rule(&self, rule: &Node, made: &mut Made, out: &mut Monitoring) -> Result<Watch, String> {
        let text = rule.text("counter").unwrap_or_default();
        let watched = counter::find(text).ok_or_else(|| format!("no counter `{text}`"))?;
        let (name, about, unit) = match &watched {
            counter::Watched::Known(c) => (c.name, c.about, c.unit),
            counter::Watched::Custom(own) => (*own, text, Quantity::Count),
        };
        let bound = Bound::of(rule, unit)?;
        let (expr, reading, read) = self.reading(rule, &watched, out)?;
        let Some(first) = read.first() else { return Err("nothing is watched".into()) };
        let own = labels([("monitor", &self.monitor.id.name), ("rule", rule.name())]);
        let series = format!("cutover:watched{}", braces(&own));
        let held = rule.duration("for").unwrap_or_default();
        let labels = self.labels(rule, name);
        let alert = camel(&[&self.monitor.id.name, rule.name()]);
        let condition = bound.condition(&series);
        let spoken = match held.is_zero() {
            true => bound.spoken(),
            false => format!("{} for {}", bound.spoken(), duration(held)),
        };
        let mut notes = Labels::new();
        notes.insert(
            "summary".into(),
            format!("{{{{ $labels.server }}}}: {about} {{{{ $value | humanize }}}}, {spoken}"),
        );
        if let Some(near) = reading.nearly {
            notes.insert("note".into(), near.to_owned());
        }
        if let Some(book) = self.topology.target(rule, "runbook") {
            notes.insert("runbook".into(), book.text("file").unwrap_or(&book.id.name).to_owned());
            let steps = book.texts("steps").join("; ");
            if !steps.is_empty() {
                notes.insert("steps".into(), steps.replace('\n', " "));
            }
        }
        made.group.rules.push(Rule::record("cutover:watched", expr, own.clone()));
        made.group.rules.push(Rule::alert(&alert, condition, held, labels.clone(), notes));
        made.group.rules.push(self.blind(rule, &read, &series, &labels));
        if !reading.feeds.is_empty() {
            let (well, ill) = bound.values(unit);
            let host = format!("server=\"{}\",site=\"{}\"", first.name, first.site);
            let feeds = reading.feeds.into_iter().map(|f| Feed { series: f.series.replace("SERVER", &host), ..f });
            let mut seen = labels.clone();
            seen.extend(super::prometheus::labels([("server", first.name), ("site", first.site)]));
            let history = matches!(bound, Bound::Drops(_));
            let feeds = feeds.collect();
            let subject = Subject { alert: alert.clone(), labels: seen, host, feeds, well, ill, held, history };
            made.trials.extend(trial::watch(&subject));
        }
        Ok(Watch {
            monitor: self.monitor.id.name.to_string(),
            rule: rule.name().to_owned(),
            alert,
            condition: format!("{text} {spoken}"),
            severity: rule.text("severity").unwrap_or("warning").to_owned(),
            team: labels.get("team").cloned(),
            servers: read.len(),
        })
    }

    /// Servers that answer and do not tell the figure: a rule without figures never speaks.
    fn blind(&self, rule: &Node, read: &[&Watched<'_>], series: &str, labels: &Labels) -> Rule {
        let mut labels = labels.clone();
        labels.insert("severity".into(), "warning".into());
        labels.insert("ticket".into(), "incident".into());
        let asked = matcher(read);
        let expr = format!("(group {PER_SERVER} (up{{{asked}}} == 1)) unless on (server, site) {series}");
        let mut notes = Labels::new();
        let about = format!("{{{{ $labels.server }}}} does not tell what rule {} watches", rule.name());
        notes.insert("summary".into(), about);
        Rule::alert("NoData", expr, BLIND, labels, notes)
    }

    /// Servers that Prometheus does not ask at all.
    fn missing(&self) -> Rule {
        let asked = matcher(&self.servers);
        let wanted = self.servers.len();
        let expr = format!("{wanted} - (count(group by (server) (up{{{asked}}})) or vector(0)) > 0");
        let mut all = labels([("monitor", &self.monitor.id.name), ("severity", "warning"), ("ticket", "incident")]);
        if let Some(tier) = self.escalation.and_then(|e| e.children("tier").next()) {
            all.insert("team".into(), tier.name().to_owned());
        }
        let mut notes = Labels::new();
        let about = format!("{{{{ $value }}}} of {wanted} servers of {} are not asked", self.monitor.id.name);
        notes.insert("summary".into(), about);
        Rule::alert("NotAsked", expr, BLIND, all, notes)
    }
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}
