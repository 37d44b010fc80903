//! Tests of rules for `promtool test rules`: each alert fires when it shall, not before, not without cause, and ends; and a figure
//! that is missing is told.
//!
//! The form: <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>. Alerts are looked at as the series
//! `ALERTS`, so that what people read of them (which holds the value) may change without the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::prometheus::{Labels, braces, duration, labels, yaml};
use super::reading::Feed;

/// One course of figures, and what is to be seen at moments of it.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    pub name: String,
    pub interval: String,
    pub input_series: Vec<Series>,
    pub promql_expr_test: Vec<Check>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Series {
    pub series: String,
    pub values: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub expr: String,
    pub eval_time: String,
    pub exp_samples: Vec<Sample>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    pub labels: String,
    pub value: f64,
}

/// A rule that compares one reading with a bound.
pub struct Subject {
    pub alert: String,
    /// All labels of the alert, those of the server included.
    pub labels: Labels,
    /// Labels of the server alone, as in a selector.
    pub host: String,
    pub feeds: Vec<Feed>,
    pub well: f64,
    pub ill: f64,
    pub held: Duration,
    /// It compares with the week before.
    pub history: bool,
}

#[derive(Serialize)]
struct File<'a> {
    rule_files: Vec<String>,
    evaluation_interval: String,
    tests: &'a [Trial],
}

/// The files of tests of a file of rules: of courses of hours, and of days, which are looked at less often; or as often as they say.
pub fn files(name: &str, trials: Vec<Trial>) -> Vec<(String, String)> {
    let mut parts: BTreeMap<String, Vec<Trial>> = BTreeMap::new();
    trials.into_iter().for_each(|t| parts.entry(t.interval.clone()).or_default().push(t));
    let path = |every: &str| match every {
        "1m" => format!("tests/{name}.yml"),
        "5m" => format!("tests/{name}@week.yml"),
        other => format!("tests/{name}@{other}.yml"),
    };
    parts.into_iter().map(|(every, trials)| (path(&every), file(&format!("{name}.yml"), &every, &trials))).collect()
}

fn file(rules: &str, every: &str, trials: &[Trial]) -> String {
    yaml(&File { rule_files: vec![format!("../rules/{rules}")], evaluation_interval: every.into(), tests: trials })
}

/// Whether an alert fires: the one sample that it then has, or none.
pub fn firing(alert: &str, all: &Labels, at: Duration, fires: bool) -> Check {
    let which: Labels = all
        .iter()
        .filter(|(k, _)| ["monitor", "rule", "sla", "window", "probe", "severity"].contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let state = labels([("alertname", alert), ("alertstate", "firing")]);
    let mut asked = which;
    asked.extend(state.clone());
    let mut seen = all.clone();
    seen.extend(state);
    let samples =
        if fires { vec![Sample { labels: format!("ALERTS{}", braces(&seen)), value: 1.0 }] } else { Vec::new() };
    Check { expr: format!("ALERTS{}", braces(&asked)), eval_time: duration(at), exp_samples: samples }
}

/// Values that go on for a number of steps each: `(per step value or growth, steps)`.
pub fn values(course: &[(f64, u64)], grows: bool) -> String {
    let mut last = 0.0;
    let mut out = Vec::new();
    for (value, steps) in course.iter().filter(|(_, n)| *n > 0) {
        let n = steps - 1;
        if grows {
            let start = last + value;
            last = start + value * n as f64;
            out.push(format!("{}+{}x{n}", plain(start), plain(*value)));
        } else {
            out.push(format!("{}+0x{n}", plain(*value)));
        }
    }
    out.join(" ")
}

/// As promtool reads it: no exponent.
fn plain(v: f64) -> String {
    let rounded = (v * 1e9).round() / 1e9;
    format!("{rounded}")
}

/// Well, ill, well again; then without the figure.
pub fn watch(subject: &Subject) -> Vec<Trial> {
    let minute = Duration::from_secs(60);
    let step = if subject.history { 5 * minute } else { minute };
    let day = 24 * 60 * minute;
    let before = if subject.history { 8 * day } else { 20 * minute };
    let during = subject.held + 15 * minute;
    let after = 30 * minute;
    let count = |d: Duration| d.as_secs().div_ceil(step.as_secs());
    let minutes = step.as_secs_f64() / 60.0;
    let course = |feed: &Feed| {
        let of = |v: f64| (v * feed.times + feed.plus) * if feed.grows { minutes } else { 1.0 };
        let parts =
            [(of(subject.well), count(before)), (of(subject.ill), count(during)), (of(subject.well), count(after))];
        Series { series: feed.series.clone(), values: values(&parts, feed.grows) }
    };
    let mut input: Vec<Series> = subject.feeds.iter().map(course).collect();
    let heartbeat = subject.feeds.iter().any(|f| f.series.starts_with("up{"));
    if !heartbeat {
        let parts = [(1.0, count(before + during + after))];
        input.push(Series { series: up(&subject.host), values: values(&parts, false) });
    }
    let check = |at: Duration, fires: bool| firing(&subject.alert, &subject.labels, at, fires);
    let mut checks = vec![check(before - step, false)];
    if subject.held >= 2 * step {
        checks.push(check(before + subject.held - step, false));
    }
    checks.push(check(before + subject.held + 10 * minute, true));
    checks.push(check(before + during + 15 * minute, false));
    let name = |what: &str| format!("{} {what}", subject.alert);
    let mut out = vec![Trial {
        name: name("fires, not early, and ends"),
        interval: duration(step),
        input_series: input,
        promql_expr_test: checks,
    }];
    if !heartbeat {
        let mut told = subject.labels.clone();
        told.extend(labels([("severity", "warning"), ("ticket", "incident")]));
        out.push(Trial {
            name: name("without its figure"),
            interval: duration(minute),
            input_series: vec![Series { series: up(&subject.host), values: values(&[(1.0, 40)], false) }],
            promql_expr_test: vec![
                firing("NoData", &told, 10 * minute, false),
                firing("NoData", &told, 20 * minute, true),
                check(30 * minute, false),
            ],
        });
    }
    out
}

fn up(host: &str) -> String {
    format!("up{{job=\"node\",{host}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_written_as_promtool_reads_them() {
        assert_eq!(values(&[(247.5, 20), (262.5, 3)], false), "247.5+0x19 262.5+0x2");
        assert_eq!(values(&[(60.0, 3), (1.0, 2)], true), "60+60x2 181+1x1");
        assert_eq!(values(&[(1.0, 0), (2.0, 1)], false), "2+0x0");
    }
}
