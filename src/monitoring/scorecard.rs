//! Service levels of a period, held against what they promise: green, red, or not known.
//!
//! The figures are those that the rules of levels record (`cutover:level:error_ratio`, the share of five minutes that went wrong, one a minute). A
//! minute without a figure is missing. It counts for nobody: a level of which too much is missing is not known, whatever the rest says, unless what is
//! known to have gone wrong breaks it already.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Options, compose};
use crate::model::topology::{Node, Topology};
use crate::model::unit::Percent;

/// Seconds between two figures: the interval of the rules of levels.
const BEAT: f64 = 60.0;
/// Of a period so much may be missing before nobody knows: a restart of Prometheus, no outage of it.
const MISSING: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    Daily,
    Weekly,
    Monthly,
}

impl Period {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "daily" => Some(Self::Daily),
            "weekly" => Some(Self::Weekly),
            "monthly" => Some(Self::Monthly),
            _ => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    pub fn seconds(self) -> i64 {
        match self {
            Self::Daily => 86_400,
            Self::Weekly => 7 * 86_400,
            Self::Monthly => 30 * 86_400,
        }
    }

    /// Of a point of the trend.
    pub fn step(self) -> i64 {
        if self == Self::Daily { 3600 } else { 86_400 }
    }
}

/// A level as the topology promises it.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    pub level: String,
    pub kind: String,
    pub formality: String,
    /// Share that is to be good, from 0 to 1.
    pub target: Option<f64>,
    /// Why no figure tells it.
    pub unmeasured: Option<String>,
}

/// A scorecard of the topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    pub name: String,
    pub period: Period,
    pub to: Vec<String>,
    pub promises: Vec<Promise>,
}

pub fn cards(topology: &Topology) -> Vec<Card> {
    if topology.all("scorecard").next().is_none() {
        return Vec::new();
    }
    let gaps: BTreeMap<String, String> = compose(topology, &Options::default())
        .gaps
        .into_iter()
        .filter(|g| !g.approximate)
        .filter_map(|g| Some((g.of.strip_prefix("sla ")?.to_owned(), g.why)))
        .collect();
    let promise = |sla: &Node| Promise {
        level: sla.id.name.to_string(),
        kind: sla.text("type").unwrap_or_default().to_owned(),
        formality: sla.text("formality").unwrap_or("formal").to_owned(),
        target: sla.percent("target").map(|p: Percent| p.0 as f64 / 100_000_000.0),
        unmeasured: gaps.get(sla.id.name.as_str()).cloned(),
    };
    let card = |node: &Node| Card {
        name: node.id.name.to_string(),
        period: node.text("every").and_then(Period::parse).unwrap_or(Period::Weekly),
        to: node.texts("to").into_iter().map(str::to_owned).collect(),
        promises: topology.targets(node, "slas").map(promise).collect(),
    };
    topology.all("scorecard").map(card).collect()
}

/// What is asked of Prometheus: path and arguments, in this order. One answer of each holds all levels.
pub fn questions(period: Period, until: Timestamp) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let (all, step, end) = (period.seconds(), period.step(), until.as_second());
    // Both ends of a span count: a second less, or the figure between two spans would stand in both.
    let query = |f: &str, span: i64, offset: &str| {
        format!("{f}(cutover:level:error_ratio{{window=\"5m\"}}[{}s]{offset})", span - 1)
    };
    let now = |q: String| ("query", vec![("query", q), ("time", end.to_string())]);
    let course = |q: String| {
        let (start, end, step) = ((end - all + step).to_string(), end.to_string(), step.to_string());
        ("query_range", vec![("query", q), ("start", start), ("end", end), ("step", step)])
    };
    let before = format!(" offset {all}s");
    vec![
        now(query("avg_over_time", all, "")),
        now(query("count_over_time", all, "")),
        now(query("avg_over_time", all, &before)),
        now(query("count_over_time", all, &before)),
        course(query("avg_over_time", step, "")),
        course(query("count_over_time", step, "")),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    Green,
    Red,
    /// Too little is known of it, or nothing measures it.
    Unknown,
}

/// A span of time with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// What was good, of what is known; nothing where nothing is.
    pub good: Option<f64>,
    /// Share of the time of which nothing is known.
    pub missing: f64,
}

impl Share {
    fn of(wrong: Option<f64>, samples: Option<f64>, seconds: i64) -> Self {
        let expected = seconds as f64 / BEAT;
        let known = samples.map_or(0.0, |n| (n / expected).clamp(0.0, 1.0));
        let good = wrong.filter(|w| w.is_finite() && known > 0.0).map(|w| (1.0 - w).clamp(0.0, 1.0));
        Self { good, missing: if good.is_some() { 1.0 - known } else { 1.0 } }
    }

    /// The decision.
    pub fn colour(self, target: f64) -> Colour {
        let budget = 1.0 - target;
        // Shares are sums of many: the last digits are noise.
        let over = |wrong: f64| wrong > budget + 1e-9;
        match self.good {
            Some(good) if over((1.0 - good) * (1.0 - self.missing)) => Colour::Red,
            Some(good) if self.missing <= MISSING => {
                if over(1.0 - good) {
                    Colour::Red
                } else {
                    Colour::Green
                }
            }
            _ => Colour::Unknown,
        }
    }
}

/// A level of a scorecard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub level: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub formality: String,
    pub target: Option<f64>,
    pub colour: Colour,
    pub now: Share,
    /// The same span before.
    pub before: Share,
    /// Share of the error budget of the period that is used up; more than 1 breaks the level.
    pub budget_used: Option<f64>,
    /// Points of the trend, the oldest first.
    pub course: Vec<Share>,
    /// Why it is not known.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scorecard {
    pub name: String,
    pub organization: String,
    pub period: Period,
    pub from: Timestamp,
    pub until: Timestamp,
    pub to: Vec<String>,
    pub levels: Vec<Row>,
}

/// Answers of Prometheus by level.
struct Answers(Vec<Value>);

impl Answers {
    fn of<'a>(&'a self, n: usize, level: &str) -> Option<&'a Value> {
        let all = self.0.get(n)?["result"].as_array()?;
        all.iter().find(|r| r["metric"]["sla"] == level)
    }

    fn value(&self, n: usize, level: &str) -> Option<f64> {
        self.of(n, level)?["value"][1].as_str()?.parse().ok()
    }

    fn values(&self, n: usize, level: &str) -> BTreeMap<i64, f64> {
        let points = self.of(n, level).and_then(|r| r["values"].as_array()).map(Vec::as_slice).unwrap_or_default();
        let point = |p: &Value| Some((p[0].as_f64()? as i64, p[1].as_str()?.parse().ok()?));
        points.iter().filter_map(point).collect()
    }
}

/// The data of one answer of Prometheus' HTTP API, or why there is none.
pub fn answer(line: &str) -> Result<Value, String> {
    let whole: Value = serde_json::from_str(line).map_err(|_| "Prometheus answers in a form that is not known here")?;
    match whole["status"] == "success" {
        true => Ok(whole["data"].clone()),
        false => Err(format!("Prometheus says: {}", whole["error"].as_str().unwrap_or("nothing"))),
    }
}

/// A card from what Prometheus said, an answer a line in the order of [`questions`].
pub fn reckon(
    card: &Card,
    period: Period,
    until: Timestamp,
    organization: &str,
    said: &str,
) -> Result<Scorecard, String> {
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    let wanted = questions(period, until).len();
    if lines.len() != wanted {
        return Err(format!("Prometheus gave {} of {wanted} answers", lines.len()));
    }
    let answers = Answers(lines.into_iter().map(answer).collect::<Result<_, _>>()?);
    let (all, step, end) = (period.seconds(), period.step(), until.as_second());
    let row = |p: &Promise| {
        let name = p.level.as_str();
        let now = Share::of(answers.value(0, name), answers.value(1, name), all);
        let before = Share::of(answers.value(2, name), answers.value(3, name), all);
        let (wrong, samples) = (answers.values(4, name), answers.values(5, name));
        let points = (1..=all / step).map(|n| end - all + n * step);
        let course = points.map(|t| Share::of(wrong.get(&t).copied(), samples.get(&t).copied(), step)).collect();
        let colour = match (&p.unmeasured, p.target) {
            (None, Some(target)) => now.colour(target),
            _ => Colour::Unknown,
        };
        let why = match (&p.unmeasured, colour) {
            (Some(why), _) => Some(why.clone()),
            (None, Colour::Unknown) if p.target.is_none() => Some("it has no target".to_owned()),
            (None, Colour::Unknown) if now.good.is_none() => Some("Prometheus has no figures of this time".to_owned()),
            (None, Colour::Unknown) => Some(format!("figures of {} of the time are missing", percent(now.missing))),
            _ => None,
        };
        let budget_used = p.target.zip(now.good).filter(|(t, _)| *t < 1.0).map(|(t, good)| (1.0 - good) / (1.0 - t));
        let (level, kind, formality) = (p.level.clone(), p.kind.clone(), p.formality.clone());
        Row { level, kind, formality, target: p.target, colour, now, before, budget_used, course, why }
    };
    Ok(Scorecard {
        name: card.name.clone(),
        organization: organization.to_owned(),
        period,
        from: until.checked_sub(SignedDuration::from_secs(all)).map_err(|e| e.to_string())?,
        until,
        to: card.to.clone(),
        levels: card.promises.iter().map(row).collect(),
    })
}

/// `99.987%`: never rounded up to a target that was missed.
pub fn percent(share: f64) -> String {
    let cut = (share * 1e5 + 1e-6).floor() / 1e3;
    format!("{cut}%")
}
