//! A window against real servers: Knot as primary, BIND as secondary, a Postfix that posts every 200 ms through an unbound cache, and
//! two Postfix hosts between which the MX moves, there and back. The program is killed at points of its journal and goes on.
//! `CUTOVER_CUTOVERS=40` for the long form: that many windows, killed ten times each way, with name servers that stop on the way;
//! `CUTOVER_MESSAGES=100000` posts so many beside, `CUTOVER_MINUTES=35` begins no window later, `CUTOVER_KILL_SEED=N` begins elsewhere.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::lab::Lab;

const ZONE: &str = "acme.test";
const SECRET: &str = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=";
/// Five days are 15 seconds.
const SCALE: i64 = 28_800;

pub fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

pub fn install(lab: &Lab, hosts: &[(&str, &str)]) {
    std::thread::scope(|s| {
        for (host, packages) in hosts {
            s.spawn(move || {
                lab.sh(host, &format!(
                    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {packages} >/dev/null 2>&1"
                ))
            });
        }
    });
}

fn world() -> Option<Lab> {
    let lab = Lab::new("mxmove").host("knot").host("bind").host("old").host("new").host("sender").up()?;
    install(
        &lab,
        &[("knot", "knot"), ("bind", "bind9"), ("old", "postfix"), ("new", "postfix"), ("sender", "postfix unbound")],
    );
    let ip = |host: &str| lab.ip(host).to_string();
    let (knot, bind, old) = (ip("knot"), ip("bind"), ip("old"));
    lab.sh(
        "knot",
        &format!(
            "cat > /var/lib/knot/{ZONE}.zone <<'END'
$TTL 300
@ 60 SOA ns.{ZONE}. hostmaster.{ZONE}. 1 5 5 86400 3
@ NS ns
@ NS ns2
ns A {knot}
ns2 A {bind}
@ 6 MX 10 old
@ 5 TXT \"v=spf1 ip4:{old} -all\"
old 5 A {old}
intranet TXT \"not ours\"
END
chown knot: /var/lib/knot/{ZONE}.zone && cat > /etc/knot/knot.conf <<'END'
server:
    listen: [ 0.0.0.0@53, \"::@53\" ]
key:
  - id: cutover.acme.test
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: second
    address: {bind}
acl:
  - id: cutover
    key: cutover.acme.test
    action: [transfer, update]
  - id: second
    address: {bind}
    action: transfer
zone:
  - domain: {ZONE}
    storage: /var/lib/knot
    file: {ZONE}.zone
    notify: second
    acl: [cutover, second]
END
systemctl restart knot"
        ),
    );
    lab.sh(
        "bind",
        &format!(
            "cat > /etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; listen-on-v6 {{ any; }}; }};
zone {ZONE} {{ type secondary; primaries {{ {knot}; }}; file \"/var/cache/bind/{ZONE}\"; }};
END
systemctl restart named"
        ),
    );
    for host in ["old", "new"] {
        lab.sh(host, &format!(
            "postconf -e maillog_file=/var/log/postfix.log mydestination={ZONE} local_recipient_maps= local_transport=discard: inet_interfaces=all \
             smtpd_client_connection_rate_limit=0 && systemctl restart postfix"
        ));
    }
    lab.sh("sender", &format!(
        "cat > /etc/unbound/unbound.conf.d/lab.conf <<'END'
server:
    interface: 127.0.0.1
    local-zone: \"test.\" nodefault
    domain-insecure: \"{ZONE}\"
stub-zone:
    name: \"{ZONE}\"
    stub-addr: {knot}
    stub-addr: {bind}
END
rm -f /etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf
systemctl reset-failed unbound; systemctl restart unbound && echo nameserver 127.0.0.1 > /etc/resolv.conf
postconf -e maillog_file=/var/log/postfix.log mydestination= inet_interfaces=loopback-only inet_protocols=ipv4 myhostname=sender.test relayhost= \
 smtp_connection_cache_on_demand=no minimal_backoff_time=2s maximal_backoff_time=4s queue_run_delay=2s smtp_host_lookup=dns
systemctl restart postfix"
    ));
    let served = (0..100).any(|_| {
        let up = lab.try_sh(
            "sender",
            &format!("unbound-host -C /dev/null -t MX {ZONE} 127.0.0.1 >/dev/null 2>&1; getent ahostsv4 old.{ZONE}"),
        );
        let bind = lab.try_sh("bind", &format!("test -s /var/cache/bind/{ZONE}"));
        up.status.success() && bind.status.success() || {
            std::thread::sleep(Duration::from_millis(200));
            false
        }
    });
    assert!(served, "the zone is not served to the sender");
    Some(lab)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64
}

/// Writes the topology. `records`: what stands in the zone; `rest`: what stands after it.
fn topology(lab: &Lab, records: &str, rest: &str) {
    let access = lab.access("knot");
    let text = format!(
        "language 1\norganization o domain={ZONE} anchor=knot\nplatform p knot=\"3.2\"\nsite s\n\
         connection root user=root key=(secret)\"file:key\" host-key=\"{}\"\n\
         environment lab purpose=lab time-scale={SCALE} {{ }}\n\
         server knot platform=p site=s fqdn=ns.{ZONE} ip=\"{}\" connection=root {{ roles bastion; }}\n\
         dns-provider d type=rfc2136 endpoint=\"dns://{}\" tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\" {{ secondaries \"{}\"; }}\n\
         accepted-domain {ZONE}\n\
         zone {ZONE} provider=d ttl=\"30s\" cutover-ttl=\"2s\" {{\n{records}}}\n{rest}",
        access.host_key.expect("a key"),
        lab.ip("knot"),
        lab.ip("knot"),
        lab.ip("bind"),
    );
    std::fs::write(lab.root().join("topology.kdl"), text).expect("topology");
}

/// The old side, which is ours.
fn before(lab: &Lab) {
    let old = lab.ip("old");
    topology(
        lab,
        &format!("record old A \"{old}\" ttl=\"5s\"\nrecord \"@\" TXT \"v=spf1 ip4:{old} -all\" ttl=\"5s\"\n"),
        "",
    );
}

/// The new side, its window `lead` seconds from now.
fn window(lab: &Lab, lead: i64, lasts: i64) {
    let start = jiff::Timestamp::from_second(now() + lead).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
    let new = lab.ip("new");
    let records = format!(
        "record \"@\" MX new.{ZONE} priority=10 ttl=\"6s\" held-until=night\nrecord new A \"{new}\" ttl=\"5s\"\n\
         record \"@\" TXT \"v=spf1 ip4:{new} -all\" ttl=\"5s\"\n"
    );
    let rest = format!(
        "rollback-point back restores=dns valid-for=\"100d\"\n\
         cutover-window night start=\"{start}\" for=\"{}s\" rollback=back {{ steps lower-ttl flip-mx verify raise-ttl prune; }}\n",
        lasts * SCALE
    );
    topology(lab, &records, &rest);
}

/// The program; `CUTOVER_PROGRAM` names a copy, so that a long run does not meet the next build.
pub fn program() -> String {
    std::env::var("CUTOVER_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cutover").to_owned())
}

fn cutover(lab: &Lab, args: &[&str]) -> Child {
    Command::new(program())
        .arg("--root")
        .arg(lab.root())
        .args(args)
        .args(["--env", "lab"])
        .env("DNS_KEY", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs")
}

/// Numbers that the seed gives (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What became of one way, there or back.
#[derive(Default)]
struct Course {
    kills: u32,
    /// Points of the journal behind which the program was killed.
    points: BTreeSet<String>,
    /// Until when each step waited, as each run said it.
    waits: BTreeMap<u64, BTreeSet<i64>>,
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    let stdout = child.stdout.take().expect("a pipe");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// Runs, is killed `kills` times behind events that the dice choose, goes on each time, and ends well.
fn with_kills(lab: &Lab, first: &[&str], kills: u32, patient: bool, dice: &mut Dice) -> Course {
    let mut course = Course::default();
    let resume = ["resume", "--wait", "10m", "--json"];
    let (mut args, mut begun, mut failures) = (first, false, 0);
    // A swap that could not end in the window any more is not begun: there is a time for kills before it, and then one after it.
    let (began, mut swapped) = (Instant::now(), first[0] != "apply");
    loop {
        let mut child = cutover(lab, args);
        let events = lines(&mut child);
        // Of what its steps tell, and now and then of what comes before them.
        let (mut left, all) = (1 + dice.below(3), dice.below(10) == 0);
        if course.kills >= kills || !(swapped || began.elapsed() < Duration::from_secs(35)) {
            left = u64::MAX;
        }
        let mut said = Vec::new();
        let mut killed = false;
        while let Ok(line) = events.recv_timeout(Duration::from_secs(180)) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            said.push(line);
            let what = event["event"].as_str().unwrap_or_default().to_owned();
            if let (Some(step), Some(until)) = (event["step"].as_u64(), event["until"].as_i64()) {
                course.waits.entry(step).or_default().insert(until);
            }
            begun |= what == "apply-started";
            swapped |= what == "step-ended" && event["address"].as_str().is_some_and(|a| a.ends_with("night/flip-mx"));
            if all || event["step"].is_u64() {
                left -= 1;
            }
            if left == 0 {
                std::thread::sleep(Duration::from_millis(dice.below(500)));
                killed = child.try_wait().expect("asked").is_none();
                if killed {
                    child.kill().expect("killed");
                    course.kills += 1;
                    let place = event["address"].as_str().map(|a| a.rsplit(':').next().unwrap_or(a).to_owned());
                    course.points.insert(format!(
                        "{what} {} {}",
                        event["action"].as_str().unwrap_or(""),
                        place.unwrap_or_default()
                    ));
                }
                left = u64::MAX;
            }
        }
        let out = child.wait_with_output().expect("ends");
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        if !killed {
            if out.status.code() == Some(0) && (begun || !said.is_empty()) {
                return course;
            }
            failures += 1;
            assert!(patient && failures < 8, "{args:?}: {:?}: {}\n{errors}", out.status.code(), said.join("\n"));
            std::thread::sleep(Duration::from_secs(1));
        }
        args = if begun { &resume } else { first };
    }
}

/// The zone as its primary has it, without the SOA.
fn zone(lab: &Lab) -> String {
    lab.sh("knot", &format!("knotc zone-read {ZONE} | grep -v ' SOA ' | sort"))
}

fn landed(lab: &Lab, host: &str) -> u32 {
    lab.sh(host, "grep -c 'to=<.*status=sent' /var/log/postfix.log || true").parse().unwrap_or(0)
}

/// For some seconds a host takes no mail, and none is missed there.
fn nobody_asks(lab: &Lab, host: &str) {
    // What was resolved before is delivered now.
    std::thread::sleep(Duration::from_millis(1_500));
    let there = landed(lab, host);
    lab.sh(host, "systemctl stop postfix");
    std::thread::sleep(Duration::from_secs(4));
    lab.sh(host, "systemctl start postfix");
    assert_eq!(landed(lab, host), there, "mail went to {host} after its answers had run out");
}

/// Posts until told to stop: one message every 200 ms; and `bulk` more, many at once.
fn post(lab: &Lab, bulk: u64) {
    lab.sh(
        "sender",
        &format!(
            "cat > /root/post <<'END'
i=0
while [ ! -e /root/stop ]; do
    i=$((i+1)); echo $i > /root/posted
    printf 'Subject: %d\\n\\nx\\n' $i | sendmail -f a@sender.test u$i@{ZONE}
    sleep 0.2
done
touch /root/over
END
cat > /root/bulk <<'END'
i=0
while [ ! -e /root/stop ] && [ $((i * 20)) -lt {bulk} ]; do
    i=$((i+1))
    smtp-source -N -s 2 -m 20 -l 400 -f b@sender.test -t b$i@{ZONE} 127.0.0.1:25 || echo $i >> /root/bulk-failed
    echo $((i * 20)) > /root/bulk-posted
    sleep 0.2
done
touch /root/bulk-over
END
echo 0 > /root/bulk-posted
systemd-run --quiet --unit=poster sh /root/post; systemd-run --quiet --unit=bulk sh /root/bulk"
        ),
    );
}

#[test]
fn mail_lands_while_its_mx_moves_there_and_back_and_the_program_is_killed() {
    let Some(lab) = world() else { return };
    let (rounds, bulk) = (number("CUTOVER_CUTOVERS", 1), number("CUTOVER_MESSAGES", 0));
    let (long, minutes) = (rounds > 1, number("CUTOVER_MINUTES", 600));
    let mut dice = Dice(number("CUTOVER_KILL_SEED", 1));
    before(&lab);
    assert_eq!(cutover(&lab, &["apply", "--yes"]).wait_with_output().expect("ends").status.code(), Some(0));
    let origin = zone(&lab);
    post(&lab, bulk);
    let began = Instant::now();
    let (mut moves, mut kills) = (0, 0);
    let mut points: BTreeSet<String> = BTreeSet::new();
    let mut waits = 0;
    for round in 0..rounds {
        if began.elapsed() > Duration::from_secs(minutes * 60) {
            break;
        }
        let (there, back) = if long { (10, 6) } else { (5, 2) };
        // A swap that could not end in the window any more is not begun: who is killed often needs a longer one.
        window(&lab, 13, if long { 60 } else { 16 });
        let faulty = long && round % 3 == 2;
        let course = std::thread::scope(|s| {
            if faulty {
                // The primary or the secondary is away for some seconds, at any stage.
                let (lab, after, host) =
                    (&lab, dice.below(30), if round % 2 == 0 { ("knot", "knot") } else { ("bind", "named") });
                s.spawn(move || {
                    std::thread::sleep(Duration::from_secs(after));
                    lab.sh(host.0, &format!("systemctl stop {0}; sleep 3; systemctl start {0}", host.1));
                });
            }
            let apply = ["apply", "--window", "night", "--short-lead", "--yes", "--json", "--wait", "10m"];
            with_kills(&lab, &apply, there, faulty, &mut dice)
        });
        let served = zone(&lab);
        let history = cutover(&lab, &["history"]).wait_with_output().expect("ends").stdout;
        let history = String::from_utf8_lossy(&history).into_owned();
        assert!(
            served.contains("6 MX 10 new.acme.test.") && !served.contains("old.acme.test. "),
            "{served}\n{history}\n{:?}",
            course.points
        );
        assert!(served.contains(&format!("v=spf1 ip4:{} -all", lab.ip("new"))), "{served}");
        nobody_asks(&lab, "old");
        let way_back =
            with_kills(&lab, &["rollback", "back", "--yes", "--json", "--wait", "10m"], back, false, &mut dice);
        // It ended when the answers of the new side had run out, so nothing more is waited for here.
        assert_eq!(zone(&lab), origin, "the zone is what it was, its serial apart");
        nobody_asks(&lab, "new");
        for course in [course, way_back] {
            moves += 1;
            kills += course.kills;
            points.extend(course.points);
            for (step, until) in &course.waits {
                waits += 1;
                assert_eq!(until.len(), 1, "the wait of step {step} ends when it was to end first: {until:?}");
            }
        }
        eprintln!(
            "round {}: {moves} moves, {kills} kills behind {} points of the journal, {:.0} min",
            round + 1,
            points.len(),
            began.elapsed().as_secs_f64() / 60.0
        );
    }
    lab.sh("sender", "touch /root/stop; while [ ! -e /root/over ] || [ ! -e /root/bulk-over ]; do sleep 0.1; done");
    assert!(!lab.try_sh("sender", "test -e /root/bulk-failed").status.success(), "the sender took all that was posted");
    let posted = |file: &str| -> u64 { lab.sh("sender", &format!("cat /root/{file}")).parse().expect("a number") };
    let posted = posted("posted") + posted("bulk-posted");
    let empty = (0..600).any(|_| {
        let queue = lab.sh("sender", "postqueue -j | wc -l");
        queue == "0" || {
            std::thread::sleep(Duration::from_millis(200));
            false
        }
    });
    assert!(empty, "mail is left in the queue: {}", lab.sh("sender", "postqueue -p | tail -20"));
    let unique = |host: &str| {
        lab.sh(host, "grep -o 'to=<[a-z0-9]*@.*status=sent' /var/log/postfix.log | grep -o '[a-z0-9]*@' | sort -u")
    };
    let (old, new) = (unique("old"), unique("new"));
    let all: BTreeSet<&str> = old.lines().chain(new.lines()).collect();
    let log = |what: &str| lab.sh("sender", &format!("grep -c 'to=<.*status={what}' /var/log/postfix.log || true"));
    let (bounced, deferred) = (log("bounced"), log("deferred"));
    eprintln!(
        "{moves} moves, {kills} kills behind {} points of the journal, {waits} waits that ended when they were to end; {posted} messages: {} \
         landed on the old host, {} on the new one, {} lost, {bounced} bounced, {deferred} deferred",
        points.len(),
        old.lines().count(),
        new.lines().count(),
        posted - all.len() as u64
    );
    for point in &points {
        eprintln!("  killed behind {point}");
    }
    assert_eq!(all.len() as u64, posted, "every message landed");
    assert_eq!((bounced.as_str(), deferred.as_str()), ("0", "0"), "none bounced, none had to be tried twice");
    if long && kills > 200 {
        for stage in
            ["publish", "lower-ttl", "flip-mx", "raise-ttl", "prune", "rollback-publish", "rollback", "rollback-over"]
        {
            for what in ["step-started", "step-ended"] {
                let point = format!("{what} wait night/{stage}");
                assert!(points.contains(&point), "never killed behind {point}");
            }
        }
        assert!(points.iter().any(|p| p.starts_with("waiting")), "never killed in a wait");
    }
}
