//! Who is told what and when: grouping, inhibition and silences of the configuration that we make, by a simulator that is held against a
//! running Alertmanager; then thirty days of it.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cutover::monitoring::silence::{Silence, Standing};
use serde_json::{Value as Json, json};

use crate::cli::Sandbox;
use crate::support::dovecot::free_port;
use crate::support::wire::backend;

type Labels = BTreeMap<String, String>;

/// Times are in milliseconds.
#[derive(Debug, Clone)]
struct Alert {
    labels: Labels,
    from: u64,
    until: u64,
}

/// One message to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    at: u64,
    receiver: String,
    firing: BTreeSet<String>,
    resolved: BTreeSet<String>,
}

struct Matcher {
    name: String,
    /// What we write of regular expressions: names, one or another.
    values: Vec<String>,
    wanted: bool,
}

impl Matcher {
    fn of(text: &str) -> Self {
        let at = text.find(['=', '!']).unwrap();
        let (name, rest) = text.split_at(at);
        let operator: String = rest.chars().take_while(|c| "=!~".contains(*c)).collect();
        let value: String = serde_json::from_str(&rest[operator.len()..]).unwrap();
        let values = match operator.ends_with('~') {
            true => value.split('|').map(|v| v.replace('\\', "")).collect(),
            false => vec![value],
        };
        Self { name: name.to_owned(), values, wanted: !operator.starts_with('!') }
    }

    fn all(list: &Json) -> Vec<Self> {
        list.as_array().into_iter().flatten().map(|m| Self::of(m.as_str().unwrap())).collect()
    }
}

fn matches(matchers: &[Matcher], labels: &Labels) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    matchers.iter().all(|m| m.values.iter().any(|v| v == value(&m.name)) == m.wanted)
}

struct Route {
    receiver: String,
    matchers: Vec<Matcher>,
    by: Vec<String>,
    wait: u64,
    interval: u64,
    repeat: u64,
    below: Vec<Route>,
}

fn milliseconds(text: &str) -> u64 {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap();
    let unit = match &text[at..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => panic!("{other}"),
    };
    text[..at].parse::<u64>().unwrap() * unit
}

impl Route {
    fn of(json: &Json, above: Option<&Route>) -> Self {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let time =
            |name: &str, of: fn(&Route) -> u64| text(name).map_or_else(|| above.map(of).unwrap(), |t| milliseconds(&t));
        let by = json["group_by"].as_array().map(|l| l.iter().map(|v| v.as_str().unwrap().to_owned()).collect());
        let mut route = Self {
            receiver: text("receiver").unwrap(),
            matchers: Matcher::all(&json["matchers"]),
            by: by.unwrap_or_else(|| above.unwrap().by.clone()),
            wait: time("group_wait", |r| r.wait),
            interval: time("group_interval", |r| r.interval),
            repeat: time("repeat_interval", |r| r.repeat),
            below: Vec::new(),
        };
        let below = json["routes"].as_array().into_iter().flatten().map(|j| Self::of(j, Some(&route))).collect();
        route.below = below;
        route
    }

    fn takes(&self, labels: &Labels) -> &Self {
        self.below.iter().find(|r| matches(&r.matchers, labels)).map_or(self, |r| r.takes(labels))
    }
}

struct Inhibition {
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<String>,
}

/// Alertmanager as its configuration says (dispatch, inhibit and notify of 0.25).
struct Simulator {
    root: Route,
    inhibitions: Vec<Inhibition>,
}

#[derive(Default)]
struct Group {
    alerts: Vec<usize>,
    next: u64,
    told: Option<(u64, BTreeSet<String>, BTreeSet<String>)>,
}

fn name(labels: &Labels) -> String {
    let part = |name: &str| labels.get(name).cloned().unwrap_or_default();
    format!("{}/{}", part("alertname"), part("server"))
}

impl Simulator {
    fn of(config: &Json) -> Self {
        let inhibition = |j: &Json| Inhibition {
            source: Matcher::all(&j["source_matchers"]),
            target: Matcher::all(&j["target_matchers"]),
            equal: j["equal"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
        };
        let all = config["inhibit_rules"].as_array().unwrap();
        Self { root: Route::of(&config["route"], None), inhibitions: all.iter().map(inhibition).collect() }
    }

    fn inhibited(&self, alert: &Alert, all: &[Alert], now: u64) -> bool {
        let same = |i: &Inhibition, other: &Alert| i.equal.iter().all(|l| alert.labels.get(l) == other.labels.get(l));
        self.inhibitions.iter().filter(|i| matches(&i.target, &alert.labels)).any(|i| {
            // What matches both sides is not silenced by its like.
            let both = matches(&i.source, &alert.labels);
            let stands = |a: &&Alert| a.from <= now && now < a.until && matches(&i.source, &a.labels);
            all.iter().filter(stands).any(|a| same(i, a) && !(both && matches(&i.target, &a.labels)))
        })
    }

    /// Silences by the pattern of a server, from when to when.
    fn run(&self, alerts: &[Alert], quiet: &[(Matcher, u64, u64)], end: u64, step: u64) -> Vec<Note> {
        let mut groups: BTreeMap<(usize, Vec<String>), (Group, &Route)> = BTreeMap::new();
        let mut order: Vec<usize> = (0..alerts.len()).collect();
        order.sort_by_key(|n| alerts[*n].from);
        let mut coming = order.into_iter().peekable();
        let mut notes = Vec::new();
        let mut now = 0;
        while now <= end {
            while let Some(n) = coming.next_if(|n| alerts[*n].from <= now) {
                let labels = &alerts[n].labels;
                let route = self.root.takes(labels);
                let by = route.by.iter().map(|l| labels.get(l).cloned().unwrap_or_default()).collect();
                let key = (std::ptr::from_ref(route).addr(), by);
                let fresh = || (Group { next: now + route.wait, ..Group::default() }, route);
                groups.entry(key).or_insert_with(fresh).0.alerts.push(n);
            }
            for (group, route) in groups.values_mut().filter(|(g, _)| g.next <= now) {
                group.next = now + route.interval;
                let muted = |a: &Alert| {
                    let silent = |(m, from, until): &(Matcher, u64, u64)| {
                        (*from..*until).contains(&now) && matches(std::slice::from_ref(m), &a.labels)
                    };
                    quiet.iter().any(silent) || self.inhibited(a, alerts, now)
                };
                let heard: Vec<&Alert> = group.alerts.iter().map(|n| &alerts[*n]).filter(|a| !muted(a)).collect();
                let of =
                    |over: bool| heard.iter().filter(|a| (a.until <= now) == over).map(|a| name(&a.labels)).collect();
                let (firing, resolved): (BTreeSet<String>, BTreeSet<String>) = (of(false), of(true));
                let tells = match &group.told {
                    None => !firing.is_empty(),
                    Some((_, before, _)) if !firing.is_subset(before) => true,
                    Some((_, before, _)) if firing.is_empty() => !before.is_empty(),
                    Some((_, _, over)) if !resolved.is_subset(over) => true,
                    Some((at, ..)) => now - at >= route.repeat,
                };
                if tells && !heard.is_empty() {
                    group.told = Some((now, firing.clone(), resolved.clone()));
                    notes.push(Note { at: now, receiver: route.receiver.clone(), firing, resolved });
                }
                group.alerts.retain(|n| alerts[*n].until > now);
            }
            groups.retain(|_, (g, _)| !g.alerts.is_empty());
            // Nothing stands: on to what comes next.
            let next = coming.peek().map_or(end + 1, |n| alerts[*n].from);
            now = if groups.is_empty() { next.max(now + step) } else { now + step };
        }
        notes
    }
}

const TOPOLOGY: &str = r#"language 1
organization acme domain=acme.example
site "[north,south]"
platform open postfix="3.7" dovecot="2.3"
platform watcher { product prometheus "2.42"; }
server "mail-[1:3]" platform=open site=north ip="192.0.2.[1:3]" { roles imap smtp; }
server watch platform=watcher site=south ip="192.0.2.20" { roles monitor; }
team desk email=desk@acme.example { smf service-monitoring; }
team night email=night@acme.example
escalation ladder { tier desk; }
runbook drain tested-by=desk { steps "look"; }
mail-account check@acme.example on=mail-1 password=(secret)"env:P"
monitor queues escalation=ladder { on "mail-*"; rule size counter=queue-size above=250 for="5m" severity=warning runbook=drain; }
monitor hosts escalation=ladder { on "mail-*"; rule beat counter=heartbeat equals=lost for="1m" severity=critical runbook=drain; }
probe trip type=roundtrip every="30s" within="90s" account=check@acme.example password=(secret)"env:P" { to "mail-*"; }
sla delivery type=delivery target="99%" within="90s" probe=trip owner=night
"#;

/// The configuration of Alertmanager, as many times faster as said.
fn configuration(scale: u32) -> Json {
    let s = Sandbox::new();
    let environment = format!("environment lab purpose=lab time-scale={scale}\n");
    s.write("topology.kdl", &(TOPOLOGY.to_owned() + &environment));
    s.run(&["monitoring", "write", "m", "--env", "lab"]).ends(0);
    serde_yaml::from_str(&s.read("m/alertmanager.yml")).unwrap()
}

fn labels(text: &str) -> Labels {
    text.split(' ').map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn alert(text: &str, from: u64, until: u64) -> Alert {
    Alert { labels: labels(text), from, until }
}

const QUEUE: &str =
    "alertname=QueuesSize monitor=queues rule=size counter=queue-size severity=warning team=desk site=north server=";
const BEAT: &str =
    "alertname=HostsBeat monitor=hosts rule=beat counter=heartbeat severity=critical team=desk site=north server=";
const PROBE: &str = "alertname=ProbeFails probe=trip counter=probe severity=red team=night site=north server=";

/// Alertmanager of this machine, whose receivers are one page of ours.
struct Running {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
    heard: Arc<Mutex<Vec<(Instant, Json)>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Head and body of a message of HTTP, which ends as its length says, or with the connection.
fn message(line: &mut TcpStream) -> (String, Vec<u8>) {
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = octets.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&octets[..at]).to_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if octets.len() >= at + 4 + length.unwrap_or(usize::MAX - at - 4) {
                return (head, octets.split_off(at + 4));
            }
        }
        match line.read(&mut buffer) {
            Ok(n) if n > 0 => octets.extend_from_slice(&buffer[..n]),
            _ => return (String::new(), octets),
        }
    }
}

impl Running {
    fn start(config: &Json) -> Self {
        let heard: Arc<Mutex<Vec<(Instant, Json)>>> = Arc::default();
        let kept = heard.clone();
        let page = backend(move |mut line| {
            let (_, body) = message(&mut line);
            if let Ok(json) = serde_json::from_slice(&body) {
                kept.lock().unwrap().push((Instant::now(), json));
            }
            let _ = line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        });
        let mut config = config.clone();
        for receiver in config["receivers"].as_array_mut().unwrap() {
            let name = receiver["name"].clone();
            *receiver = json!({ "name": name, "webhook_configs": [{ "url": format!("http://{page}/"), "send_resolved": true }] });
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("alertmanager.yml"), config.to_string()).unwrap();
        let port = free_port();
        let child = Command::new("prometheus-alertmanager")
            .args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, port, _dir: dir, heard };
        let began = Instant::now();
        while running.try_ask("GET", "/-/ready", None).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "Alertmanager does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        running
    }

    fn try_ask(&self, method: &str, path: &str, body: Option<&Json>) -> Option<Vec<u8>> {
        let mut line = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).ok()?;
        let body = body.map(Json::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        line.write_all((head + &body).as_bytes()).ok()?;
        let (head, body) = message(&mut line);
        head.starts_with("http/1.1 200").then_some(body)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> Vec<u8> {
        self.try_ask(method, path, body).unwrap_or_else(|| panic!("{method} {path} is refused"))
    }

    fn post(&self, labels: &Labels, over: bool) {
        let now = jiff::Timestamp::now();
        let end = if over { now } else { now + jiff::SignedDuration::from_hours(1) };
        let start = now - jiff::SignedDuration::from_secs(if over { 1 } else { 0 });
        let alert = json!([{ "labels": labels, "startsAt": start.to_string(), "endsAt": end.to_string() }]);
        self.ask("POST", "/api/v2/alerts", Some(&alert));
    }
}

#[test]
fn the_simulator_tells_what_a_running_alertmanager_tells() {
    let config = configuration(30);
    let simulator = Simulator::of(&config);
    let of = |text: &str, server: &str| format!("{text}{server}");
    let never = 60_000;
    let alerts = [
        alert(&of(QUEUE, "mail-1"), 1_000, 14_000),
        // The host is lost: its queue is a consequence, and heard when the host is back.
        alert(&of(BEAT, "mail-2"), 1_000, 24_000),
        alert(&of(QUEUE, "mail-2").replace("QueuesSize", "QueuesRest").replace("rule=size", "rule=rest"), 2_000, never),
        // Of the same group as the first one.
        alert(&of(QUEUE, "mail-3"), 4_000, never),
        // Silent.
        alert(&of(PROBE, "mail-1"), 17_000, never),
        alert(&of(PROBE, "mail-3").replace("probe=trip", "probe=other").replace("ProbeFails", "Other"), 18_000, never),
    ];
    let end = 37_000;
    let quiet = [(Matcher::of("server=~\"mail-1\""), 16_000, never)];
    let expected = simulator.run(&alerts, &quiet, end, 100);
    assert!(expected.len() >= 6, "{expected:#?}");

    let running = Running::start(&config);
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (n, a) in alerts.iter().enumerate() {
        events.push((a.from, n, false));
        events.push((a.until, n, true));
    }
    events.push((16_000, usize::MAX, false));
    events.sort_unstable();
    let began = Instant::now();
    for (at, n, over) in events.into_iter().filter(|(at, ..)| *at < end) {
        std::thread::sleep(Duration::from_millis(at).saturating_sub(began.elapsed()));
        if n < alerts.len() {
            running.post(&alerts[n].labels, over);
            continue;
        }
        // As the command makes it.
        let now = jiff::Timestamp::now().as_second();
        let silence =
            Silence { of: "window night".into(), servers: ["mail-1".to_owned()].into(), from: now, until: now + 3_600 };
        running.ask("POST", "/api/v2/silences", Some(&silence.body("ann@desk")));
        let standing: Vec<Standing> = serde_json::from_slice(&running.ask("GET", "/api/v2/silences", None)).unwrap();
        assert!(silence.among(&standing).0.is_some() && silence.among(&standing).1.is_empty(), "{standing:?}");
        let shorter = Silence { until: now + 60, ..silence };
        let (kept, gone) = shorter.among(&standing);
        assert!(kept.is_none() && gone.len() == 1, "{standing:?}");
    }
    std::thread::sleep(Duration::from_millis(end).saturating_sub(began.elapsed()));
    let heard = running.heard.lock().unwrap();
    let mut seen: Vec<Note> = heard
        .iter()
        .map(|(at, json)| {
            let of = |state: &str| {
                let all = json["alerts"].as_array().unwrap().iter().filter(|a| a["status"] == state);
                all.map(|a| name(&serde_json::from_value(a["labels"].clone()).unwrap())).collect()
            };
            Note {
                at: u64::try_from(at.duration_since(began).as_millis()).unwrap(),
                receiver: json["receiver"].as_str().unwrap().to_owned(),
                firing: of("firing"),
                resolved: of("resolved"),
            }
        })
        .collect();
    let told = format!("expected {expected:#?}\nheard {seen:#?}");
    for note in &expected {
        let same = |s: &Note| Note { at: note.at, ..s.clone() } == *note && s.at.abs_diff(note.at) < 4_000;
        let at = seen.iter().position(same).unwrap_or_else(|| panic!("not heard: {note:?}\n{told}"));
        seen.remove(at);
    }
    assert!(seen.is_empty(), "heard beside: {seen:#?}\n{told}");
}

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// When the alert of a probe stands, by its window of a minute and a half: Prometheus asks and looks each 30 seconds.
fn stands(fails: impl Fn(u64) -> bool, end: u64) -> Vec<(u64, u64)> {
    let every = 30 * SECOND;
    let (mut begun, mut ok) = (0u64, 0u64);
    // What was counted at the last looks: three lie in the window.
    let mut looks: Vec<(u64, u64)> = Vec::new();
    let mut out: Vec<(u64, u64)> = Vec::new();
    let mut since = None;
    for turn in 0..end / every {
        let at = turn * every + 7 * SECOND;
        begun += 1;
        ok += u64::from(!fails(at));
        looks.push((begun, ok));
        let Some(first) = looks.len().checked_sub(3).map(|n| looks[n]) else { continue };
        // Asked 11 seconds later than tried, looked at by the rule another 12 after that.
        let now = at + 23 * SECOND;
        let fires = begun - first.0 >= 2 && ok == first.1;
        match (fires, since) {
            (true, None) => since = Some(now),
            (false, Some(from)) => {
                out.push((from, now));
                since = None;
            }
            _ => {}
        }
    }
    out.extend(since.map(|from| (from, u64::MAX)));
    out
}

#[test]
fn in_thirty_days_one_failed_probe_pages_nobody_and_an_outage_pages_once_within_three_minutes() {
    let simulator = Simulator::of(&configuration(1));
    // Each day one attempt fails, at another time of the day; on the 17th all fail for twenty minutes.
    let alone = |at: u64| at % DAY / (30 * SECOND) == (at / DAY * 97 + 11) % 2_880;
    assert!(stands(alone, 30 * DAY).is_empty());
    for second in [0, 1, 9, 17, 23, 29] {
        let from = 17 * DAY + 3 * 3_600 * SECOND + second * SECOND;
        let outage = |at: u64| (from..from + 1_200 * SECOND).contains(&at);
        let found = stands(|at| alone(at) || outage(at), 30 * DAY);
        assert_eq!(found.len(), 1, "{found:?}");
        let alerts = [alert(&format!("{PROBE}mail-1"), found[0].0, found[0].1)];
        let notes = simulator.run(&alerts, &[], 30 * DAY, SECOND);
        let paged = &notes[0];
        assert!(paged.receiver == "night" && paged.at - from <= 180 * SECOND, "{} ms", paged.at - from);
        assert_eq!(notes.iter().filter(|n| !n.firing.is_empty()).count(), 1, "{notes:?}");
        assert_eq!(notes.len(), 2, "its end is told: {notes:?}");
    }
}

#[test]
fn a_lost_site_is_one_page_whatever_else_it_brings() {
    let simulator = Simulator::of(&configuration(1));
    let lost = "alertname=SiteLost severity=critical ticket=problem team=desk site=north";
    let (from, until) = (60 * SECOND, 3_600 * SECOND);
    let mut alerts = vec![alert(lost, from, until)];
    for server in ["mail-1", "mail-2", "mail-3"] {
        for text in [QUEUE, BEAT, PROBE] {
            alerts.push(alert(&format!("{text}{server}"), from + 5 * SECOND, until));
        }
    }
    let notes = simulator.run(&alerts, &[], 2 * 3_600 * SECOND, SECOND);
    let pages: Vec<&Note> = notes.iter().filter(|n| !n.firing.is_empty()).collect();
    assert!(pages.iter().all(|n| n.firing.iter().all(|f| f.starts_with("SiteLost"))), "{pages:?}");
    assert_eq!(pages[0].at, from + 10 * SECOND);
}
