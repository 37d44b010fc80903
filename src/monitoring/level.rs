//! Service levels as error ratios over several windows, and alerts on how fast their error budgets burn.
//!
//! Pairs of a long and a short window: Google, The Site Reliability Workbook, chapter 5 (multiwindow, multi-burn-rate alerts). A factor
//! is the share of the budget that may go in the long window, over the part of the level's own window that this is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::prometheus::{Group, Labels, Rule, braces, duration, labels, quoted};
use super::scope::{Scopes, matcher};
use super::trial::{Series, Trial, firing, values};
use super::{Gap, Monitoring, Watch};
use crate::model::topology::{Node, Topology};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Share of the budget, long window, short window, whether somebody is woken.
const PAIRS: [(f64, Duration, Duration, bool); 4] = [
    (0.02, HOUR, Duration::from_secs(300), true),
    (0.05, Duration::from_secs(6 * 3600), Duration::from_secs(1800), true),
    (0.10, DAY, Duration::from_secs(2 * 3600), false),
    (0.10, Duration::from_secs(3 * 86_400), Duration::from_secs(6 * 3600), false),
];

pub struct Levels {
    pub group: Group,
    pub trials: Vec<Trial>,
}

/// What a level is measured by.
enum Measure {
    /// Attempts of probes: labels that select them, and the bound within which an attempt counts as good.
    Probes { selector: String, within: Option<Duration>, per_minute: f64, first: Labels },
    /// Whether hosts answer.
    Hosts(String),
}

impl Measure {
    /// Share of what went wrong over a window.
    fn ratio(&self, window: &str) -> String {
        match self {
            Self::Probes { selector, within, .. } => {
                let good = match within {
                    Some(w) => format!("cutover_probe_seconds_bucket{{{selector},le=\"{}\"}}", w.as_secs_f64()),
                    None => format!("cutover_probe_seconds_count{{{selector}}}"),
                };
                let attempts = format!("sum(rate(cutover_probe_attempts_total{{{selector}}}[{window}]))");
                // Where nothing was ever good there is no such series; where nothing was tried there is no share.
                format!("1 - (sum(rate({good}[{window}])) or 0 * {attempts}) / ({attempts} > 0)")
            }
            Self::Hosts(servers) => {
                format!("1 - avg(avg_over_time(up{{job=~\"node|windows\",{servers}}}[{window}]))")
            }
        }
    }
}

pub fn levels(topology: &Topology, scopes: &Scopes<'_>, out: &mut Monitoring) -> Levels {
    let group = Group { name: "levels".into(), interval: "1m".into(), rules: Vec::new() };
    let mut made = Levels { group, trials: Vec::new() };
    for sla in topology.all("sla") {
        let mut gap = |why: String, approximate: bool| {
            out.gaps.push(Gap { of: format!("sla {}", sla.id.name), why, approximate, span: sla.span });
        };
        let measure = match measure(sla, topology, scopes) {
            Ok(measure) => measure,
            Err(why) => {
                gap(why, false);
                continue;
            }
        };
        let Some(target) = sla.percent("target") else {
            gap("it has no target: there is no budget that could burn".into(), false);
            continue;
        };
        let budget = 1.0 - target.0 as f64 / 100_000_000.0;
        if budget <= 0.0 {
            gap("a target of 100% leaves no budget: the first failure breaks it".into(), false);
            continue;
        }
        if matches!(measure, Measure::Hosts(_)) {
            gap("it names no probe: what is measured is whether its hosts answer".into(), true);
        }
        if sla.text("outages") == Some("unplanned") {
            gap("outages that were planned count too: nothing tells Prometheus of them".into(), true);
        }
        if sla.text("weighting") == Some("mailboxes") {
            gap("each host counts the same, however many mailboxes it holds".into(), true);
        }
        level(sla, &measure, budget, &mut made, out);
    }
    made
}

/// What measures a level; the error says why nothing does.
fn measure(sla: &Node, topology: &Topology, scopes: &Scopes<'_>) -> Result<Measure, String> {
    let kind = sla.text("type").unwrap_or_default();
    if !["delivery", "availability", "performance"].contains(&kind) {
        return Err(format!(
            "a level of type {kind} is not measured by figures: it is looked at in reports and audits"
        ));
    }
    let named = topology.target(sla, "probe").map(|p| vec![p]);
    let service = sla.texts("of").contains(&"service");
    let probes = match named {
        Some(probes) => probes,
        None if service || (kind == "delivery" && sla.value("of").is_none()) => {
            topology.all("probe").filter(|p| kind != "delivery" || p.text("type") == Some("roundtrip")).collect()
        }
        None => Vec::new(),
    };
    if let Some(first) = probes.first() {
        let names: Vec<String> = probes.iter().map(|p| p.id.name.replace('.', "\\\\.")).collect();
        let selector = match &names[..] {
            [one] => format!("probe={}", quoted(one)),
            _ => format!("probe=~\"{}\"", names.join("|")),
        };
        let attempts = |p: &&Node| {
            let every = p.duration("every").unwrap_or(MINUTE).as_secs_f64().max(1.0);
            60.0 / every * p.refs("to").count().max(1) as f64
        };
        let within =
            sla.duration("within").or_else(|| (kind == "performance").then(|| first.duration("within")).flatten());
        return Ok(Measure::Probes {
            selector,
            within,
            per_minute: probes.iter().map(attempts).sum(),
            first: labels([("probe", &first.id.name), ("target", "first")]),
        });
    }
    if kind != "availability" {
        return Err("it names no probe that would measure it".into());
    }
    let servers = scopes.select(sla, "of");
    if servers.is_empty() {
        return Err("it names neither a probe nor servers that could be asked".into());
    }
    Ok(Measure::Hosts(matcher(&servers)))
}

fn level(sla: &Node, measure: &Measure, budget: f64, made: &mut Levels, out: &mut Monitoring) {
    let name = sla.id.name.as_str();
    let window = sla.duration("window").unwrap_or(30 * DAY);
    let mut windows = BTreeSet::new();
    let mut alerts = Vec::new();
    let informal = sla.text("formality") == Some("informal");
    let owner = sla.text("owner").unwrap_or_default();
    let mut watched = Vec::new();
    for (share, long, short, page) in PAIRS {
        let factor = share * window.as_secs_f64() / long.as_secs_f64();
        let bound = factor * budget;
        let mut gap = |why: String, approximate: bool| {
            let of = format!("sla {name}, {}", duration(long));
            out.gaps.push(Gap { of, why, approximate, span: sla.at("target") });
        };
        if bound >= 1.0 {
            let why = format!("it can never fire: {} times the budget is more than everything", rounded(factor));
            gap(why, false);
            continue;
        }
        let mut page = page && !informal;
        if let Measure::Probes { per_minute, .. } = measure {
            let attempts = per_minute * long.as_secs_f64() / 60.0;
            if page && 1.0 / attempts > bound {
                let wanted = (1.0 / bound).ceil();
                gap(
                    format!(
                        "one failed attempt would wake somebody ({} attempts, {wanted} are wanted): it is a ticket",
                        rounded(attempts)
                    ),
                    true,
                );
                page = false;
            }
        }
        windows.extend([long, short]);
        let of = |w: Duration| braces(&labels([("sla", name), ("window", &duration(w))]));
        let series = |w: Duration| format!("cutover:level:error_ratio{} > {}", of(w), rounded(bound));
        let severity = if page { "red" } else { "warning" };
        let seen = labels([
            ("sla", name),
            ("window", &duration(long)),
            ("severity", severity),
            ("ticket", "incident"),
            ("team", owner),
            ("formality", sla.text("formality").unwrap_or("formal")),
        ]);
        let mut notes = Labels::new();
        notes.insert(
            "summary".into(),
            format!(
                "level {name} uses up its budget: {{{{ $value | humanizePercentage }}}} wrong in {}, {} times what it may",
                duration(long),
                rounded(factor)
            ),
        );
        let expr = format!("{} and ignoring (window) {}", series(long), series(short));
        alerts.push(Rule::alert("BudgetBurn", expr, Duration::ZERO, seen.clone(), notes));
        watched.push((long, page, seen));
        out.watches.push(Watch {
            monitor: "levels".into(),
            rule: name.to_owned(),
            alert: "BudgetBurn".into(),
            condition: format!(
                "{} x the budget of {} over {} and {}",
                rounded(factor),
                percent(budget),
                duration(long),
                duration(short)
            ),
            severity: severity.into(),
            team: (!owner.is_empty()).then(|| owner.to_owned()),
            servers: 0,
        });
    }
    let record = |w: Duration| {
        let all = labels([("sla", name), ("window", &duration(w))]);
        Rule::record("cutover:level:error_ratio", measure.ratio(&duration(w)), all)
    };
    let five = Duration::from_secs(300);
    windows.insert(five);
    made.group.rules.extend(windows.into_iter().map(record));
    let of = braces(&labels([("sla", name), ("window", "5m")]));
    let left = format!("1 - avg_over_time(cutover:level:error_ratio{of}[{}]) / {}", duration(window), rounded(budget));
    // The label of the window goes: what is left is of the level's own.
    let left = format!("max without (window) ({left})");
    made.group.rules.push(Rule::record("cutover:level:budget_left", left, labels([("sla", name)])));
    made.group.rules.extend(alerts);
    if let Measure::Probes { selector, .. } = measure {
        let mut own = labels([("sla", name), ("severity", "warning"), ("ticket", "incident"), ("team", owner)]);
        // That its one probe is not made is told of the probe.
        own.extend(sla.reference("probe").map(|p| ("probe".to_owned(), p.name.to_string())));
        let mut notes = Labels::new();
        notes.insert("summary".into(), format!("nothing measures level {name}: its probes make no attempts"));
        let expr = format!("absent(sum(rate(cutover_probe_attempts_total{{{selector}}}[15m])) > 0)");
        made.group.rules.push(Rule::alert("LevelBlind", expr, super::BLIND, own, notes));
    }
    if let Measure::Probes { within, per_minute, first, .. } = measure {
        made.trials.extend(trials(name, *within, *per_minute, first, &watched));
    }
}

/// All attempts fail for longer than the shortest long window; and one attempt alone fails.
fn trials(
    name: &str,
    within: Option<Duration>,
    per_minute: f64,
    first: &Labels,
    watched: &[(Duration, bool, Labels)],
) -> Vec<Trial> {
    let Some((long, ..)) = watched.first() else { return Vec::new() };
    let (before, during, after) = (2 * HOUR, *long + 10 * MINUTE, HOUR);
    let minutes = |d: Duration| d.as_secs() / 60;
    let good = |course: &[(f64, u64)]| {
        let mut all = first.clone();
        if let Some(w) = within {
            all.insert("le".into(), w.as_secs_f64().to_string());
        }
        let metric = if within.is_some() { "cutover_probe_seconds_bucket" } else { "cutover_probe_seconds_count" };
        Series { series: format!("{metric}{}", braces(&all)), values: values(course, true) }
    };
    let attempts = |steps: u64| Series {
        series: format!("cutover_probe_attempts_total{}", braces(first)),
        values: values(&[(per_minute, steps)], true),
    };
    let fires =
        |(_, _, seen): &(Duration, bool, Labels), at: Duration, fires: bool| firing("BudgetBurn", seen, at, fires);
    let all = minutes(before + during + after);
    let course = [(per_minute, minutes(before)), (0.0, minutes(during)), (per_minute, minutes(after))];
    let mut out = vec![Trial {
        name: format!("{name}: all fails"),
        interval: "1m".into(),
        input_series: vec![attempts(all), good(&course)],
        promql_expr_test: vec![
            fires(&watched[0], before - MINUTE, false),
            fires(&watched[0], before + during - MINUTE, true),
            fires(&watched[0], before + during + 30 * MINUTE, false),
        ],
    }];
    let pages: Vec<_> = watched.iter().filter(|(_, page, _)| *page).collect();
    if !pages.is_empty() {
        let hours = |d: Duration| 2 * minutes(d);
        let before = pages.iter().map(|(long, ..)| hours(*long)).max().unwrap_or(120);
        let course = [(per_minute, before), (per_minute - 1.0, 1), (per_minute, 60)];
        let at = |n: u64| Duration::from_secs(60 * (before + n));
        out.push(Trial {
            name: format!("{name}: one attempt fails"),
            interval: "1m".into(),
            input_series: vec![attempts(before + 61), good(&course)],
            promql_expr_test: pages.iter().flat_map(|w| [2, 4, 20].map(|n| fires(w, at(n), false))).collect(),
        });
    }
    out
}

fn rounded(v: f64) -> f64 {
    (v * 1e9).round() / 1e9
}

fn percent(v: f64) -> String {
    format!("{}%", (v * 1e8).round() / 1e6)
}
