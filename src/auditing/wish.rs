//! What is to be asked of which host, and what the answer should be.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;

use crate::model::address::HostName;
use crate::model::audit::{Source, Waived, Weight};
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::unit::format_duration;
use crate::model::version;

use super::judge;

/// What a check expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Text(String),
    /// Programs write it yes, true, on or 1.
    Switch(bool),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(t) => t,
            Self::Switch(true) => "yes",
            Self::Switch(false) => "no",
        })
    }
}

impl Wanted {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Text(t) => Self::Text(t.to_string()),
            Value::Int(n) => Self::Text(n.to_string()),
            Value::Bool(b) => Self::Switch(*b),
            Value::Duration(d) => Self::Text(format_duration(*d)),
            Value::Size(n) | Value::Rate(n) => Self::Text(n.to_string()),
            Value::Percent(p) => Self::Text(p.to_string()),
            // Its value would stand in a report.
            Value::Secret(_) | Value::Ref(_) => return None,
        })
    }
}

/// One item of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub baseline: String,
    pub check: String,
    pub source: Source,
    pub key: String,
    pub wanted: Wanted,
    pub severity: Weight,
    pub waiver: Option<Waived>,
    /// Why it cannot be asked at all.
    pub unasked: Option<String>,
}

/// All of it, and what is written in a form that cannot be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub hosts: BTreeMap<HostName, Vec<Question>>,
    pub wrong: Vec<String>,
}

/// What all baselines want of the servers that have them, by the waivers of this day.
pub fn wish(topology: &Topology, day: Date) -> Wish {
    let mut out = Wish::default();
    let mut known: BTreeMap<&NodeId, Vec<Question>> = BTreeMap::new();
    for baseline in topology.all("baseline") {
        known.insert(&baseline.id, questions(baseline, &mut out.wrong));
    }
    let waivers = waivers(topology, day);
    for server in topology.all("server") {
        let mut asked = Vec::new();
        for baseline in topology.targets(server, "baselines") {
            // A template of other hardware says nothing of this one.
            if baseline.reference("hardware").is_some_and(|h| server.reference("hardware") != Some(h)) {
                continue;
            }
            for question in known.get(&baseline.id).into_iter().flatten() {
                let waiver = waivers.get(&(question.path(), server.id.name.to_string())).cloned();
                let unasked = question.unasked.clone().or_else(|| elsewhere(topology, server));
                asked.push(Question { waiver, unasked, ..question.clone() });
            }
        }
        if !asked.is_empty() {
            out.hosts.insert(HostName(server.id.name.to_string()), asked);
        }
    }
    out
}

impl Wish {
    /// Only these; hosts of which nothing is left go.
    pub fn keep(&mut self, meant: impl Fn(&HostName, &Question) -> bool) {
        for (host, questions) in &mut self.hosts {
            questions.retain(|q| meant(host, q));
        }
        self.hosts.retain(|_, questions| !questions.is_empty());
    }
}

impl Question {
    /// As a waiver names it.
    fn path(&self) -> String {
        format!("{}.{}", self.baseline, self.check)
    }
}

/// Hosts without a POSIX shell.
fn elsewhere(topology: &Topology, server: &Node) -> Option<String> {
    let exchange = topology.target(server, "platform").is_some_and(|p| version::of_platform(p, "exchange").is_some());
    let windows = exchange || server.text("os").is_some_and(|os| os.to_ascii_lowercase().contains("windows"));
    windows.then(|| "hosts with Windows are not audited yet".to_owned())
}

fn questions(baseline: &Node, wrong: &mut Vec<String>) -> Vec<Question> {
    let mut out = Vec::new();
    let name = baseline.id.name.as_str();
    for check in baseline.children("check") {
        let source = check.text("source").and_then(Source::parse).unwrap_or(Source::Setting);
        let Some(expect) = check.value("expect") else { continue };
        let Some(wanted) = Wanted::of(&expect.value) else {
            wrong.push(format!(
                "check {name}.{}: a secret is not compared, since reports show what is wanted",
                check.name()
            ));
            continue;
        };
        let key = check.text("key").unwrap_or_default().to_owned();
        if let Err(why) = judge::form(source, &key, &wanted) {
            wrong.push(format!("check {name}.{}: {why}", check.name()));
            continue;
        }
        out.push(Question {
            baseline: name.to_owned(),
            check: check.name().to_owned(),
            unasked: foreign(source),
            source,
            key,
            wanted,
            severity: Weight::parse(check.text("severity").unwrap_or_default()),
            waiver: None,
        });
    }
    for setting in baseline.children("setting") {
        let Some(wanted) = setting.value("value").and_then(|v| Wanted::of(&v.value)) else {
            wrong.push(format!("setting {} of {name}: a secret is not compared", setting.name()));
            continue;
        };
        let (product, key) = setting.name().split_once(':').unwrap_or((setting.name(), ""));
        let source = match product {
            "postfix" => Source::Postconf,
            "dovecot" => Source::Doveconf,
            "sysctl" => Source::Sysctl,
            _ => Source::Setting,
        };
        if let Err(why) = judge::form(source, key, &wanted) {
            wrong.push(format!("setting {} of {name}: {why}", setting.name()));
            continue;
        }
        let unasked = (source == Source::Setting).then(|| format!("settings of {product} are not asked"));
        out.push(Question {
            baseline: name.to_owned(),
            check: setting.name().to_owned(),
            source,
            key: key.to_owned(),
            wanted,
            severity: Weight::default(),
            waiver: None,
            unasked,
        });
    }
    out
}

/// Sources that a POSIX host does not have.
fn foreign(source: Source) -> Option<String> {
    match source {
        Source::Registry | Source::Wmi | Source::Metabase => {
            Some(format!("source={source} is of Windows, which is not audited yet"))
        }
        Source::Directory => Some("the directory is not asked by audits yet".to_owned()),
        _ => None,
    }
}

/// By check and server, the one that holds longest.
fn waivers(topology: &Topology, day: Date) -> BTreeMap<(String, String), Waived> {
    let mut out: BTreeMap<(String, String), Waived> = BTreeMap::new();
    for waiver in topology.all("waiver") {
        let Some(until) = waiver.text("until").and_then(|u| u.parse::<Date>().ok()) else { continue };
        let waived = Waived {
            name: waiver.id.name.to_string(),
            until,
            by: waiver.children("approval").map(|a| a.name().to_owned()).collect(),
            reason: waiver.text("reason").unwrap_or_default().to_owned(),
            ended: until < day,
        };
        for (check, _) in waiver.refs("of") {
            for (server, _) in waiver.refs("on") {
                let kept =
                    out.entry((check.name.to_string(), server.name.to_string())).or_insert_with(|| waived.clone());
                if kept.until < until {
                    *kept = waived.clone();
                }
            }
        }
    }
    out
}
