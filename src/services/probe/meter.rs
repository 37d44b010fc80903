//! What attempts came to, as Prometheus' text (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// Every way in which an attempt can end; each is told from the beginning, so that the first of its kind is seen as a rise.
pub const RESULTS: [&str; 5] = ["ok", "failed", "cannot-send", "not-arrived", "cannot-read"];

/// Attempts of one probe at one target.
#[derive(Default)]
struct Row {
    results: [u64; RESULTS.len()],
    /// Whatever they come to: of a letter that is under way nothing else is known yet.
    begun: u64,
    /// Unix seconds at which the certificate that was shown ends.
    ends: Option<i64>,
    /// The probe itself could not be made.
    unasked: u64,
    /// Of those that were done: how many within each bound, and all seconds.
    within: Vec<u64>,
    seconds: f64,
}

pub struct Meter {
    bounds: Vec<f64>,
    rows: Mutex<BTreeMap<(String, String), Row>>,
}

impl Meter {
    pub fn new(bounds: &[f64], all: impl Iterator<Item = (String, String)>) -> Self {
        let row = || Row { within: vec![0; bounds.len()], ..Row::default() };
        let rows = all.map(|key| (key, row())).collect();
        Self { bounds: bounds.to_vec(), rows: Mutex::new(rows) }
    }

    fn row(&self, probe: &str, target: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(row) = rows.get_mut(&(probe.to_owned(), target.to_owned())) {
            change(row);
        }
    }

    pub fn ended(&self, probe: &str, target: &str, result: &str, took: Duration) {
        self.row(probe, target, |row| {
            if let Some(at) = RESULTS.iter().position(|r| *r == result) {
                row.results[at] += 1;
            }
            if result == "ok" {
                row.seconds += took.as_secs_f64();
                for (count, bound) in row.within.iter_mut().zip(&self.bounds) {
                    *count += u64::from(took.as_secs_f64() <= *bound);
                }
            }
        });
    }

    pub fn begins(&self, probe: &str, target: &str) {
        self.row(probe, target, |row| row.begun += 1);
    }

    pub fn certificate(&self, probe: &str, target: &str, ends: i64) {
        self.row(probe, target, |row| row.ends = Some(ends));
    }

    pub fn unasked(&self, probe: &str, target: &str) {
        self.row(probe, target, |row| row.unasked += 1);
    }

    pub fn text(&self) -> String {
        let rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = String::new();
        let head = |name: &str, kind: &str, about: &str| format!("# HELP {name} {about}\n# TYPE {name} {kind}\n");
        let (mut begun, mut attempts, mut unasked, mut ends, mut seconds) = (
            head("cutover_probe_begun_total", "counter", "Attempts that were begun."),
            head("cutover_probe_attempts_total", "counter", "Attempts of a probe at a target, by how they ended."),
            head("cutover_probe_unasked_total", "counter", "Attempts that could not be made from here."),
            head(
                "cutover_probe_certificate_ends_seconds",
                "gauge",
                "When the certificate that was shown ends, as Unix time.",
            ),
            head("cutover_probe_seconds", "histogram", "Seconds of attempts that were done."),
        );
        for ((probe, target), row) in rows.iter() {
            let of = format!("probe=\"{}\",target=\"{}\"", escaped(probe), escaped(target));
            let _ = writeln!(begun, "cutover_probe_begun_total{{{of}}} {}", row.begun);
            if let Some(at) = row.ends {
                let _ = writeln!(ends, "cutover_probe_certificate_ends_seconds{{{of}}} {at}");
            }
            for (result, count) in RESULTS.iter().zip(&row.results) {
                let _ = writeln!(attempts, "cutover_probe_attempts_total{{{of},result=\"{result}\"}} {count}");
            }
            let _ = writeln!(unasked, "cutover_probe_unasked_total{{{of}}} {}", row.unasked);
            for (bound, count) in self.bounds.iter().zip(&row.within) {
                let _ = writeln!(seconds, "cutover_probe_seconds_bucket{{{of},le=\"{bound}\"}} {count}");
            }
            let done = row.results[0];
            let _ = writeln!(seconds, "cutover_probe_seconds_bucket{{{of},le=\"+Inf\"}} {done}");
            let _ = writeln!(seconds, "cutover_probe_seconds_sum{{{of}}} {}", row.seconds);
            let _ = writeln!(seconds, "cutover_probe_seconds_count{{{of}}} {done}");
        }
        [begun, attempts, unasked, ends, seconds].iter().for_each(|part| out.push_str(part));
        out
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_finds_its_own_bound_and_failures_are_told_from_the_beginning() {
        let meter = Meter::new(&[1.0, 90.0], [("trip".to_owned(), "mail-1".to_owned())].into_iter());
        assert!(meter.text().contains("{probe=\"trip\",target=\"mail-1\",result=\"not-arrived\"} 0\n"));
        for (result, seconds) in [("ok", 0.5), ("ok", 80.0), ("ok", 100.0), ("not-arrived", 180.0)] {
            meter.ended("trip", "mail-1", result, Duration::from_secs_f64(seconds));
        }
        meter.unasked("trip", "mail-1");
        let text = meter.text();
        for line in [
            "cutover_probe_attempts_total{probe=\"trip\",target=\"mail-1\",result=\"ok\"} 3\n",
            "cutover_probe_attempts_total{probe=\"trip\",target=\"mail-1\",result=\"not-arrived\"} 1\n",
            "cutover_probe_unasked_total{probe=\"trip\",target=\"mail-1\"} 1\n",
            "cutover_probe_seconds_bucket{probe=\"trip\",target=\"mail-1\",le=\"1\"} 1\n",
            "cutover_probe_seconds_bucket{probe=\"trip\",target=\"mail-1\",le=\"90\"} 2\n",
            "cutover_probe_seconds_bucket{probe=\"trip\",target=\"mail-1\",le=\"+Inf\"} 3\n",
            "cutover_probe_seconds_count{probe=\"trip\",target=\"mail-1\"} 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
