//! Which probes hosts make, from where, what their histogram tells apart, and who hears when all attempts fail, or none is made.

use std::time::Duration;

use super::prometheus::{Group, Labels, Rule, braces, duration, labels};
use super::scope::exporters;
use super::trial::{Series, Trial, firing, values};
use super::{BLIND, Gap, Watch, route, target};
use crate::model::topology::{Node, Topology};

/// Types of probes that `cutover-probe` makes.
const MADE: [&str; 8] = ["heartbeat", "smtp", "imap", "pop", "roundtrip", "dns", "tls", "submission"];

/// Seconds that are of interest whatever is promised.
const SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

const MINUTE: Duration = Duration::from_secs(60);

/// How long before its end a certificate is spoken of, and when somebody is woken: renewals run at a third of ninety days, and an
/// authority of people wants some days.
const ENDS: [(Duration, &str); 2] =
    [(Duration::from_secs(14 * 86_400), "warning"), (Duration::from_secs(3 * 86_400), "red")];

/// Whether some host of ours watches: then hosts make probes, too.
fn watches(topology: &Topology) -> bool {
    topology.all("server").any(|s| s.texts("roles").contains(&"monitor"))
}

/// Whether `cutover-probe` makes probes of this type.
pub fn makes(probe: &Node) -> bool {
    MADE.contains(&probe.text("type").unwrap_or_default())
}

/// The probes that a server makes: those that name it, or its site; and of those that name nobody, the ones that watch make all.
pub fn probing<'t>(topology: &'t Topology, server: &Node) -> Vec<&'t Node> {
    let here = |probe: &&Node| {
        if probe.refs("from").next().is_none() {
            return server.texts("roles").contains(&"monitor");
        }
        probe.refs("from").any(|(id, _)| *id == server.id || id.kind == "site" && server.text("site") == Some(&id.name))
    };
    let made = topology.all("probe").filter(|p| makes(p));
    let found: Vec<&Node> = made.filter(here).collect();
    // Asked last: it looks at all servers, of which most make none.
    if found.is_empty() || watches(topology) { found } else { Vec::new() }
}

/// Upper bounds of the histogram: those of every promise are among them, or it could not be reckoned from it.
pub fn bounds(topology: &Topology) -> Vec<f64> {
    let promised =
        ["sla", "probe"].into_iter().flat_map(|kind| topology.all(kind)).filter_map(|n| n.duration("within"));
    let mut all: Vec<f64> = promised.map(|d| d.as_secs_f64()).chain(SECONDS).filter(|b| *b > 0.0).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// Probes that nothing makes.
pub fn gaps(topology: &Topology) -> Vec<Gap> {
    let gap = |probe: &Node| {
        let why = unmade(topology, probe)?;
        Some(Gap { of: format!("probe {}", probe.id.name), why, approximate: false, span: probe.at("type") })
    };
    topology.all("probe").filter_map(gap).collect()
}

/// Why nothing makes a probe, as far as the topology says.
fn unmade(topology: &Topology, probe: &Node) -> Option<String> {
    let kind = probe.text("type").unwrap_or_default();
    let trip = kind == "roundtrip";
    if !makes(probe) {
        Some(format!("probes of type {kind} are not made yet"))
    } else if !watches(topology) {
        Some("no server has the role monitor: nothing makes it, its figures have to come from elsewhere".into())
    } else if trip && (probe.value("account").is_none() || probe.value("password").is_none()) {
        Some("a round trip wants `account` and `password`".into())
    } else if trip && !has_mailbox(topology, probe) {
        Some("its account is no `mail-account`, so that nobody knows where its mailbox is read".into())
    } else if makers(topology, probe).is_empty() {
        Some("`from` names no host that could make it: one of the topology, and none of Exchange".into())
    } else {
        None
    }
}

/// The servers that make a probe, by name.
fn makers<'t>(topology: &'t Topology, probe: &Node) -> Vec<&'t str> {
    let makes = |s: &&Node| probing(topology, s).iter().any(|p| p.id == probe.id) && exporters(topology, s).is_some();
    topology.all("server").filter(makes).map(|s| s.id.name.as_str()).collect()
}

/// Lists of accounts beside the topology may hold it: what they say is not known here.
fn has_mailbox(topology: &Topology, probe: &Node) -> bool {
    let own = probe.text("account").unwrap_or_default();
    topology.all("accounts").next().is_some() || topology.all("mail-account").any(|a| a.id.name == own)
}

/// Alerts of all probes, with tests of them.
pub struct Made {
    pub group: Group,
    pub trials: Vec<Trial>,
    pub watches: Vec<Watch>,
}

/// One alert a probe: attempts were begun and none was done, for so long that one failed attempt is never it. And of certificates, that
/// they end soon.
pub fn alerts(topology: &Topology) -> Made {
    let group = Group { name: "probes".into(), interval: "30s".into(), rules: Vec::new() };
    let mut made = Made { group, trials: Vec::new(), watches: Vec::new() };
    if !watches(topology) {
        return made;
    }
    let asked = target::interval(topology);
    made.group.interval = duration(asked);
    for probe in topology.all("probe").filter(|p| unmade(topology, p).is_none()) {
        let name = probe.id.name.as_str();
        let levels = || topology.all("sla").filter(|s| s.reference("probe") == Some(&probe.id));
        let wakes = levels().next().is_none() || levels().any(|s| s.text("formality") != Some("informal"));
        let team = levels().find_map(|s| s.text("owner")).map(str::to_owned);
        let team = team.or_else(|| route::watching(topology).map(|t| t.id.name.to_string())).unwrap_or_default();
        let severity = if wakes { "red" } else { "warning" };
        let window = window(probe, asked);
        let every = probe.duration("every").unwrap_or(MINUTE);
        let of = braces(&labels([("probe", name)]));
        let over = |metric: &str, more: &str| {
            let of = of.replace('}', more);
            format!("sum by (probe, target) (increase(cutover_probe_{metric}_total{of}[{}]))", duration(window))
        };
        let ok = over("attempts", ",result=\"ok\"}");
        // Extrapolated to the ends of the window, so that two attempts may be a little less.
        let expr = format!("{} - {} > 1.5 and {ok} == 0", over("begun", "}"), over("unasked", "}"));
        let own = labels([("severity", severity), ("ticket", "incident"), ("team", &team), ("counter", "probe")]);
        let mut notes = Labels::new();
        let about = format!(
            "probe {{{{ $labels.probe }}}} fails at {{{{ $labels.target }}}}: none was done in {}",
            duration(window)
        );
        notes.insert("summary".into(), about);
        made.group.rules.push(Rule::alert("ProbeFails", of_host(&expr), Duration::ZERO, own.clone(), notes));
        made.watches.push(watch(name, "ProbeFails", format!("none is done in {}", duration(window)), severity, &team));
        let mut seen = own;
        seen.extend(labels([("probe", name), ("target", "first"), ("server", "first")]));
        made.trials.push(fails(name, every, window, &seen));
        made.blind(probe, window, &makers(topology, probe), &team);
        if probe.text("type") == Some("tls") {
            for (before, severity) in ENDS {
                let left = format!("max by (probe, target) (cutover_probe_certificate_ends_seconds{of}) - time()");
                let expr = format!("{left} < {}", before.as_secs());
                let own = labels([
                    ("severity", severity),
                    ("ticket", "incident"),
                    ("team", &team),
                    ("counter", "certificate"),
                ]);
                let mut notes = Labels::new();
                notes.insert(
                    "summary".into(),
                    "the certificate of {{ $labels.target }} ends in {{ $value | humanizeDuration }}".into(),
                );
                made.group.rules.push(Rule::alert(
                    "CertificateEnds",
                    of_host(&expr),
                    Duration::ZERO,
                    own.clone(),
                    notes,
                ));
                made.watches.push(watch(
                    name,
                    "CertificateEnds",
                    format!("in less than {}", duration(before)),
                    severity,
                    &team,
                ));
                let mut seen = own;
                seen.extend(labels([("probe", name), ("target", "first"), ("server", "first")]));
                made.trials.push(ends(name, before, severity, &seen));
            }
        }
    }
    made
}

impl Made {
    /// Who makes it makes no attempt, or cannot: then none of its figures says anything, and no other rule fires.
    fn blind(&mut self, probe: &Node, window: Duration, makers: &[&str], team: &str) {
        let name = probe.id.name.as_str();
        // A letter that never comes has its end after twice as long as it may take.
        let window = window.max(3 * probe.duration("within").unwrap_or_default());
        let over = |metric: &str| {
            format!(
                "increase(cutover_probe_{metric}_total{}[{}])",
                braces(&labels([("probe", name)])),
                duration(window)
            )
        };
        let count = makers.len();
        let none = format!("{count} - (count(sum by (server) ({}) > 0) or vector(0)) > 0", over("begun"));
        let one = "server, site, probe, target";
        let cannot = format!(
            "sum by ({one}) ({}) > 0 unless on ({one}) sum by ({one}) ({}) > 0",
            over("unasked"),
            over("attempts")
        );
        let own = [("severity", "warning"), ("ticket", "incident"), ("team", team), ("counter", "probe")];
        let of = labels([own[0], own[1], own[2], own[3], ("probe", name)]);
        let about = |text: String| Labels::from([("summary".to_owned(), text)]);
        let all = about(format!("{{{{ $value }}}} of {count} hosts that make probe {name} begin no attempt"));
        self.group.rules.push(Rule::alert("ProbeBlind", none, BLIND, of.clone(), all));
        let each = about(format!("{{{{ $labels.server }}}} cannot make probe {name} at {{{{ $labels.target }}}}"));
        self.group.rules.push(Rule::alert("ProbeBlind", cannot, BLIND, labels(own), each));
        self.watches.push(watch(name, "ProbeBlind", format!("not made for {}", duration(BLIND)), "warning", team));
        self.trials.extend(unseen(name, probe.duration("every").unwrap_or(MINUTE), window, makers, &of));
    }
}

/// All hosts begin no attempt for long, and one of them cannot make any; before and after they do.
fn unseen(name: &str, every: Duration, window: Duration, makers: &[&str], seen: &Labels) -> [Trial; 2] {
    let step = every.max(Duration::from_secs(1));
    let steps = |d: Duration| d.as_secs().div_ceil(step.as_secs());
    let (before, during) = (steps(window) * 4, steps(window) + steps(BLIND) + 4);
    let at = |n: u64| step * u32::try_from(n).unwrap_or(u32::MAX);
    let series = |server: &str, metric: &str, more: &[(&str, &str)], course: &[(f64, u64)]| {
        let mut of = labels([("probe", name), ("target", "first"), ("server", server), ("site", "here")]);
        of.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Series { series: format!("cutover_probe_{metric}_total{}", braces(&of)), values: values(course, true) }
    };
    let (good, all) = ([("result", "ok")], before + during + before);
    let stands = [(1.0, before), (0.0, during), (1.0, before)];
    let fails = [(0.0, before), (1.0, during), (0.0, before)];
    let trial = |what: &str, input_series: Vec<Series>, seen: &Labels| Trial {
        name: format!("{name}: {what}"),
        interval: duration(step),
        input_series,
        promql_expr_test: vec![
            firing("ProbeBlind", seen, at(before), false),
            firing("ProbeBlind", seen, at(before + during - 1), true),
            firing("ProbeBlind", seen, at(all - 1), false),
        ],
    };
    let dead = makers.iter().enumerate().map(|(n, server)| {
        // The first does nothing, the others go on.
        let course = if n == 0 { stands.to_vec() } else { vec![(1.0, all)] };
        series(server, "begun", &[], &course)
    });
    let first = makers.first().copied().unwrap_or_default();
    let mut cannot: Vec<Series> = makers.iter().map(|s| series(s, "begun", &[], &[(1.0, all)])).collect();
    cannot.push(series(first, "unasked", &[], &fails));
    cannot.push(series(first, "attempts", &good, &stands));
    let mut of_one = seen.clone();
    of_one.extend(labels([("target", "first"), ("server", first), ("site", "here")]));
    [trial("one host makes no attempt", dead.collect(), seen), trial("one host cannot make any", cannot, &of_one)]
}

fn watch(name: &str, alert: &str, condition: String, severity: &str, team: &str) -> Watch {
    let (monitor, rule) = ("probes".to_owned(), name.to_owned());
    let team = (!team.is_empty()).then(|| team.to_owned());
    Watch { monitor, rule, alert: alert.to_owned(), condition, severity: severity.to_owned(), team, servers: 0 }
}

/// A target that is a host has its labels, so that a lost host or site silences what is its consequence.
fn of_host(expr: &str) -> String {
    let of = format!("label_replace({expr}, \"server\", \"$1\", \"target\", \"([^:@]+).*\")");
    let sites = "* on (server) group_left (site) group by (server, site) (up{job=~\"node|windows\"})";
    format!("{of} {sites}\n  or on (probe, target) {of}")
}

/// Two attempts at least, so that one that fails has a neighbour that was done; never less than three looks of Prometheus; and for as long
/// as an attempt may take. A minute and a half where that is enough: then a full outage is told within three minutes.
fn window(probe: &Node, asked: Duration) -> Duration {
    let every = probe.duration("every").unwrap_or(MINUTE);
    let long = (20 * every).clamp(Duration::from_secs(30), Duration::from_secs(90));
    let within = probe.duration("within").unwrap_or_default();
    // One that nobody answers takes its whole patience; TLS asks for the certificate after it.
    let patience = 2 * probe.duration("timeout").unwrap_or(Duration::from_secs(10));
    let all = [long, every.max(patience) * 5 / 2, 3 * asked, within];
    Duration::from_secs(all.iter().max().map_or(90, |d| d.as_secs()))
}

/// All attempts fail for longer than the window; one alone fails; they cannot be made, which says nothing of the target.
fn fails(name: &str, every: Duration, window: Duration, seen: &Labels) -> Trial {
    let step = every.max(Duration::from_secs(1));
    let steps = |d: Duration| d.as_secs().div_ceil(step.as_secs());
    let (before, during) = (steps(window) * 4, steps(window) * 2 + 4);
    let series = |metric: &str, more: &[(&str, &str)], course: &[(f64, u64)]| {
        let mut of = labels([("probe", name), ("target", "first")]);
        of.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Series { series: format!("cutover_probe_{metric}_total{}", braces(&of)), values: values(course, true) }
    };
    // Well, one that fails, well, all fail, well.
    let all = before + 1 + before + during + before;
    let ok = [(1.0, before), (0.0, 1), (1.0, before), (0.0, during), (1.0, before)];
    let at = |n: u64| step * u32::try_from(n).unwrap_or(u32::MAX);
    let check = |n: u64, fires: bool| firing("ProbeFails", seen, at(n), fires);
    Trial {
        name: format!("{name}: one attempt fails, then all"),
        interval: duration(step),
        input_series: vec![
            series("begun", &[], &[(1.0, all)]),
            series("unasked", &[], &[(0.0, all)]),
            series("attempts", &[("result", "ok")], &ok),
        ],
        promql_expr_test: vec![
            check(before, false),
            check(before + 1, false),
            check(before + 2, false),
            check(2 * before + steps(window) + 3, true),
            check(2 * before + during + before - 1, false),
        ],
    }
}

fn ends(name: &str, before: Duration, severity: &str, seen: &Labels) -> Trial {
    let of = braces(&labels([("probe", name), ("target", "first"), ("server", "first")]));
    let at = (before + 60 * MINUTE).as_secs();
    Trial {
        name: format!("{name}: a certificate ends, {severity}"),
        interval: "1m".into(),
        input_series: vec![Series {
            series: format!("cutover_probe_certificate_ends_seconds{of}"),
            values: values(&[(at as f64, 120)], false),
        }],
        promql_expr_test: vec![
            firing("CertificateEnds", seen, 50 * MINUTE, false),
            firing("CertificateEnds", seen, 70 * MINUTE, true),
        ],
    }
}
