//! What is counted, as Prometheus' text (exposition format 0.0.4). No name of a user stands in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::route::Route;
use super::session::{Protocol, Refusal};

/// The last is none.
const SIDES: [&str; 3] = ["old", "new", "none"];
const RESULTS: [&str; 6] = ["in", "wrong", "later", "blocked", "limit", "lost"];

/// Seconds, as far as a directory that answers at all needs.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    In,
    Refused(Refusal),
    /// The client went away meanwhile.
    Lost,
}

/// Why a connection ended before a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Too many connections or failures.
    Limit,
    /// No login in time.
    Timeout,
    /// Not the protocol, or an attack on it.
    Protocol,
    /// A handshake of TLS that failed.
    Tls,
    /// No PROXY header where one must stand, or one of somebody else.
    Header,
    /// Too few file descriptors are left.
    Files,
    Drain,
}

const ENDS: [(Ended, &str); 7] = [
    (Ended::Limit, "limit"),
    (Ended::Timeout, "timeout"),
    (Ended::Protocol, "protocol"),
    (Ended::Tls, "tls"),
    (Ended::Header, "header"),
    (Ended::Files, "files"),
    (Ended::Drain, "drain"),
];

/// Where an answer about a user came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Asked now.
    Asked,
    Cached,
    /// Cached, and too old, but the directory cannot be asked.
    Stale,
    /// It cannot be asked.
    Failed,
    /// Two entries, or one that cannot be.
    Wrong,
}

const SOURCES: [(Source, &str); 5] = [
    (Source::Asked, "asked"),
    (Source::Cached, "cached"),
    (Source::Stale, "stale"),
    (Source::Failed, "failed"),
    (Source::Wrong, "wrong"),
];

type Count = AtomicU64;

#[derive(Default)]
pub struct Meter {
    logins: [[[Count; 6]; 3]; 3],
    sessions: [[AtomicI64; 2]; 3],
    octets: [[Count; 2]; 3],
    connections: [Count; 3],
    ended: [Count; 7],
    backend_failures: [[Count; 2]; 3],
    held: AtomicI64,
    directory: [Count; 5],
    latency: [Count; 11],
    latency_micros: Count,
    /// Octets of sealed passwords that lie in the spool.
    pub spool: Count,
    /// Passwords that found no room in it.
    pub spool_full: Count,
    /// Jobs for the content service that were written.
    pub jobs: Count,
    pub epoch: Count,
    /// Route files that were not taken.
    pub route_file_faults: Count,
    /// Lines of a log that were lost.
    pub lines_lost: Count,
    certificates: Mutex<BTreeMap<String, i64>>,
}

fn of(protocol: Protocol) -> usize {
    protocol as usize
}

fn side(route: Option<Route>) -> usize {
    match route {
        Some(Route::Old) => 0,
        Some(Route::New) => 1,
        _ => 2,
    }
}

fn add(count: &Count, n: u64) {
    count.fetch_add(n, Ordering::Relaxed);
}

/// A gauge that falls again when this is dropped.
pub struct Running {
    meter: Arc<Meter>,
    gauge: fn(&Meter, (usize, usize)) -> &AtomicI64,
    at: (usize, usize),
}

impl Running {
    fn begin(meter: &Arc<Meter>, gauge: fn(&Meter, (usize, usize)) -> &AtomicI64, at: (usize, usize)) -> Self {
        gauge(meter, at).fetch_add(1, Ordering::Relaxed);
        Self { meter: meter.clone(), gauge, at }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.gauge)(&self.meter, self.at).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meter {
    pub fn connected(&self, protocol: Protocol) {
        add(&self.connections[of(protocol)], 1);
    }

    /// A connection ended without a login, and not by its client.
    pub fn ended(&self, why: Ended) {
        add(&self.ended[why as usize], 1);
    }

    pub fn login(&self, protocol: Protocol, route: Option<Route>, outcome: Outcome) {
        let result = match outcome {
            Outcome::In => 0,
            Outcome::Refused(Refusal::Wrong) => 1,
            Outcome::Refused(Refusal::Later) => 2,
            Outcome::Refused(Refusal::Blocked) => 3,
            Outcome::Refused(Refusal::Limit) => 4,
            Outcome::Lost => 5,
        };
        add(&self.logins[of(protocol)][side(route)][result], 1);
    }

    /// A session is passed through, until the guard is dropped.
    pub fn session(self: &Arc<Self>, protocol: Protocol, route: Route) -> Running {
        Running::begin(self, |m, (p, s)| &m.sessions[p][s], (of(protocol), usize::from(route == Route::New)))
    }

    /// A login waits for the release of its user, until the guard is dropped.
    pub fn held(self: &Arc<Self>) -> Running {
        Running::begin(self, |m, _| &m.held, (0, 0))
    }

    /// Octets that a session has passed on: of the client, and to it.
    pub fn octets(&self, protocol: Protocol, up: u64, down: u64) {
        add(&self.octets[of(protocol)][0], up);
        add(&self.octets[of(protocol)][1], down);
    }

    /// A backend did not answer, or not as one.
    pub fn backend_failed(&self, protocol: Protocol, route: Route) {
        add(&self.backend_failures[of(protocol)][usize::from(route == Route::New)], 1);
    }

    pub fn directory(&self, source: Source) {
        add(&self.directory[source as usize], 1);
    }

    /// How long the directory took for one answer, or for none.
    pub fn directory_took(&self, time: Duration) {
        let bucket = BUCKETS.iter().position(|b| time.as_secs_f64() <= *b).unwrap_or(BUCKETS.len());
        add(&self.latency[bucket], 1);
        add(&self.latency_micros, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// The certificates that are shown now, and when each expires, in seconds since 1970.
    pub fn certificates(&self, expiry: impl IntoIterator<Item = (String, i64)>) {
        *self.certificates.lock().unwrap_or_else(|e| e.into_inner()) = expiry.into_iter().collect();
    }

    pub fn text(&self) -> String {
        let mut out = Text(String::with_capacity(8 * 1024));
        let get = |count: &Count| count.load(Ordering::Relaxed);
        out.head("connections_total", "counter", "Connections of clients.");
        for (p, n) in Protocol::ALL.iter().zip(&self.connections) {
            out.line("connections_total", &[("protocol", p.as_str())], get(n));
        }
        out.head("connections_ended_total", "counter", "Connections that were ended before a login.");
        for ((_, why), n) in ENDS.iter().zip(&self.ended) {
            out.line("connections_ended_total", &[("reason", why)], get(n));
        }
        out.head("logins_total", "counter", "Logins by protocol, side and result.");
        for (p, sides) in Protocol::ALL.iter().zip(&self.logins) {
            for (side, results) in SIDES.iter().zip(sides) {
                for (result, n) in RESULTS.iter().zip(results) {
                    let labels = [("protocol", p.as_str()), ("side", side), ("result", result)];
                    out.line("logins_total", &labels, get(n));
                }
            }
        }
        out.head("sessions", "gauge", "Sessions that are passed through.");
        for (p, sides) in Protocol::ALL.iter().zip(&self.sessions) {
            for (side, n) in SIDES.iter().zip(sides) {
                out.line("sessions", &[("protocol", p.as_str()), ("side", side)], n.load(Ordering::Relaxed));
            }
        }
        out.head("octets_total", "counter", "Octets passed through: up is from the client.");
        for (p, ways) in Protocol::ALL.iter().zip(&self.octets) {
            for (way, n) in ["up", "down"].iter().zip(ways) {
                out.line("octets_total", &[("protocol", p.as_str()), ("direction", way)], get(n));
            }
        }
        out.head("backend_failures_total", "counter", "Backends that did not answer, or not as a mail server.");
        for (p, sides) in Protocol::ALL.iter().zip(&self.backend_failures) {
            for (side, n) in SIDES.iter().zip(sides) {
                out.line("backend_failures_total", &[("protocol", p.as_str()), ("side", side)], get(n));
            }
        }
        out.head("held_logins", "gauge", "Logins that wait for the release of their user.");
        out.line("held_logins", &[], self.held.load(Ordering::Relaxed));
        out.head("directory_answers_total", "counter", "Answers about users by where they came from.");
        for ((_, source), n) in SOURCES.iter().zip(&self.directory) {
            out.line("directory_answers_total", &[("source", source)], get(n));
        }
        out.head("directory_seconds", "histogram", "How long the directory took.");
        let mut sum = 0;
        for (n, count) in self.latency.iter().enumerate() {
            sum += get(count);
            let bound = BUCKETS.get(n).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            out.line("directory_seconds_bucket", &[("le", &bound)], sum);
        }
        out.line("directory_seconds_sum", &[], get(&self.latency_micros) as f64 / 1e6);
        out.line("directory_seconds_count", &[], sum);
        for (name, kind, about, count) in [
            ("password_spool_octets", "gauge", "Octets of sealed passwords in the spool.", &self.spool),
            ("password_spool_full_total", "counter", "Passwords that found no room in the spool.", &self.spool_full),
            ("cms_jobs_total", "counter", "Jobs written for the content service.", &self.jobs),
            ("route_epoch", "gauge", "Epoch of the routes in force.", &self.epoch),
            ("route_file_faults_total", "counter", "Route files that were not taken.", &self.route_file_faults),
            ("log_lines_lost_total", "counter", "Lines that a log could not take.", &self.lines_lost),
        ] {
            out.head(name, kind, about);
            out.line(name, &[], get(count));
        }
        out.head("certificate_expiry_timestamp_seconds", "gauge", "When a certificate expires.");
        for (name, expiry) in self.certificates.lock().unwrap_or_else(|e| e.into_inner()).iter() {
            out.line("certificate_expiry_timestamp_seconds", &[("name", name)], expiry);
        }
        out.0
    }
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        let _ = write!(self.0, "# HELP cutover_proxy_{name} {about}\n# TYPE cutover_proxy_{name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "cutover_proxy_{name}");
        for (n, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if n == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stand_in_the_order_of_their_kinds() {
        assert!(ENDS.iter().enumerate().all(|(n, (e, _))| *e as usize == n));
        assert!(SOURCES.iter().enumerate().all(|(n, (s, _))| *s as usize == n));
        assert!(Protocol::ALL.iter().enumerate().all(|(n, p)| of(*p) == n));
    }

    #[test]
    fn the_text_tells_what_was_counted() {
        let meter = Arc::new(Meter::default());
        meter.login(Protocol::Imap, Some(Route::New), Outcome::In);
        meter.login(Protocol::Pop3, None, Outcome::Refused(Refusal::Blocked));
        let running = meter.session(Protocol::Submission, Route::Old);
        let held = meter.held();
        meter.directory_took(Duration::from_millis(3));
        meter.directory_took(Duration::from_secs(60));
        meter.certificates([("mail\"\n.test".to_owned(), 17)]);
        let text = meter.text();
        for line in [
            "cutover_proxy_logins_total{protocol=\"imap\",side=\"new\",result=\"in\"} 1",
            "cutover_proxy_logins_total{protocol=\"pop3\",side=\"none\",result=\"blocked\"} 1",
            "cutover_proxy_sessions{protocol=\"submission\",side=\"old\"} 1",
            "cutover_proxy_held_logins 1",
            "cutover_proxy_directory_seconds_bucket{le=\"0.001\"} 0",
            "cutover_proxy_directory_seconds_bucket{le=\"0.005\"} 1",
            "cutover_proxy_directory_seconds_bucket{le=\"+Inf\"} 2",
            "cutover_proxy_directory_seconds_sum 60.003",
            "cutover_proxy_certificate_expiry_timestamp_seconds{name=\"mail\\\"\\n.test\"} 17",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        drop((running, held));
        assert!(meter.text().contains("cutover_proxy_held_logins 0\n"));
    }
}
