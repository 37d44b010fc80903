//! What goes wrong between `plan`, `apply` and a real name server: each is told with what to do, changes nothing, and "could not ask"
//! is never "not there". Knot and BIND, each primary of a zone of its own; the host of BIND keeps the ledger.
#![allow(clippy::print_stderr)] // times are part of the result

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cutover::lab::Fault;
use cutover::model::dns::{RecordSet, SetChange};
use cutover::protocol::dns::data::Sets;
use cutover::protocol::dns::{Batch, transfer, update};

use crate::cli::{Run, Sandbox, finish};
use crate::lab_dns::{PATIENCE, SECRET, ZONE, key, run, world};
use crate::support::lab::Lab;
use crate::support::nameserver::set;

const WRONG: &str = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmch";

/// A topology with one zone, and the program in its folder.
struct Story<'l> {
    lab: &'l Lab,
    box_: Sandbox,
    /// Where the primary is asked.
    server: SocketAddr,
    zone: String,
    /// `tsig-name=.. key=..`, or nothing.
    key: String,
    secondaries: String,
    more: String,
    secret: &'static str,
}

impl<'l> Story<'l> {
    fn new(lab: &'l Lab, host: &str) -> Self {
        Self {
            lab,
            box_: Sandbox::new(),
            server: SocketAddr::new(lab.ip(host), 53),
            zone: ZONE.to_owned(),
            key: "tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\"".to_owned(),
            secondaries: String::new(),
            more: String::new(),
            secret: SECRET,
        }
    }

    fn wants(&self, records: &str) {
        let access = self.lab.access("bind");
        let Self { server, zone, key, secondaries, more, .. } = self;
        self.box_.write(
            "topology.kdl",
            &format!(
                "language 1\norganization acme domain={zone} anchor=keeper\nsite s\nplatform p bind=\"9.18\"\naccepted-domain {zone}\n\
                 server keeper platform=p site=s fqdn=ns.{zone} ip=\"{}\" {{\n    roles bastion\n    connection user=root key=(secret)\"file:{}\" host-key=\"{}\"\n}}\n\
                 dns-provider d type=rfc2136 endpoint=\"dns://{server}\" {key} {{ {secondaries} }}\n\
                 zone {zone} provider=d ttl=\"300s\" cutover-ttl=\"2s\" protect=#false {{\n{records}\n}}\n{more}",
                access.address,
                self.lab.key().display(),
                access.host_key.expect("pinned"),
            ),
        );
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.box_.command(args);
        command.env("DNS_KEY", self.secret);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = finish(self.command(args));
        assert!(!run.out.contains(SECRET) && !run.err.contains(SECRET), "the key is shown");
        run
    }

    /// `plan` and `apply` say this, and that the zone could not be asked; nobody takes it for empty.
    #[track_caller]
    fn cannot_ask(&self, what: &str, says: &[&str]) {
        for args in [&["plan", "--detailed-exitcode"][..], &["apply", "--yes"]] {
            let run = self.run(args).ends(1).says("could not ask").says(&format!("zone.{}", self.zone));
            for text in says {
                assert!(
                    run.out.contains(text) || run.err.contains(text),
                    "{what}: no `{text}` in\n{}\n{}",
                    run.out,
                    run.err
                );
            }
            assert!(!run.out.contains("to create") && !run.out.contains("Nothing to do"), "{what}: {}", run.out);
        }
    }

    fn sets(&self) -> Sets {
        run(transfer(self.server, &self.zone, Some(&key()), PATIENCE)).expect("zone").sets
    }
}

fn by_hand(server: SocketAddr, before: Option<RecordSet>, after: Option<RecordSet>) {
    let batch = Batch { changes: vec![SetChange { before, after }] };
    run(update(server, ZONE, &batch, Some(&key()), PATIENCE)).expect("taken");
}

/// In front of a server: passes so many connections on, each with so many octets of the answer, and closes all others.
struct Gate {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    octets: Arc<AtomicUsize>,
}

impl Gate {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gate = Self {
            address: listener.local_addr().expect("an address"),
            open: Arc::new(AtomicUsize::new(usize::MAX)),
            octets: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        let (open, octets) = (gate.open.clone(), gate.octets.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let left = open.load(Ordering::SeqCst);
                if left == 0 {
                    continue;
                }
                open.store(left - 1, Ordering::SeqCst);
                let octets = octets.load(Ordering::SeqCst);
                std::thread::spawn(move || pass(near, server, octets));
            }
        });
        gate
    }
}

fn pass(mut near: TcpStream, server: SocketAddr, octets: usize) -> Option<()> {
    let far = TcpStream::connect(server).ok()?;
    let (mut up, mut from) = (far.try_clone().ok()?, near.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut up);
    });
    let mut far = far.take(octets as u64);
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = far.read(&mut piece) {
        near.write_all(&piece[..n]).ok()?;
    }
    near.shutdown(std::net::Shutdown::Both).ok()
}

const OURS: &str = "record mail A \"192.0.2.10\"";

#[test]
fn what_goes_wrong_with_a_name_server_is_told_and_changes_nothing() {
    let Some(lab) = world("zfaults", 3_000) else { return };
    more_zones(&lab);
    for host in ["knot", "bind"] {
        let began = Instant::now();
        refusals(&lab, host);
        changes(&lab, host);
        names(&lab, host);
        eprintln!("{host}: {:.1} s", began.elapsed().as_secs_f64());
    }
    let story = Story::new(&lab, "knot");
    story.wants(OURS);
    lab.sh("knot", "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y faketime >/dev/null 2>&1");
    lab.fault(Fault::Skew { host: "knot".into(), service: "knot".into(), seconds: 7_200 });
    story.cannot_ask("clock", &["BADTIME", "ahead of ours", "NTP"]);
}

/// A zone that cannot be loaded, and a key that may update and not transfer.
fn more_zones(lab: &Lab) {
    lab.sh(
        "knot",
        &format!(
            "cat >> /etc/knot/knot.conf <<'END'
key:
  - id: writer.acme.test
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: writer
    key: writer.acme.test
    action: [update]
zone:
  - domain: broken.test
    storage: /var/lib/knot
    acl: [cutover]
  - domain: closed.test
    storage: /var/lib/knot
    file: closed.zone
    acl: [writer]
END
printf '@ 300 SOA ns hostmaster 1 3600 600 86400 60\\n@ 300 NS ns\\nns 300 A 192.0.2.1\\n' > /var/lib/knot/closed.zone
systemctl restart knot"
        ),
    );
    lab.sh("bind", &format!(
        "cat >> /etc/bind/named.conf <<'END'
key writer.acme.test {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
zone broken.test {{ type primary; file \"/var/lib/bind/none.zone\"; allow-transfer {{ key cutover.acme.test; }}; }};
zone closed.test {{ type primary; file \"/var/lib/bind/closed.zone\"; allow-transfer {{ none; }}; allow-update {{ key writer.acme.test; }}; }};
END
printf '@ 300 SOA ns hostmaster 1 3600 600 86400 60\\n@ 300 NS ns\\nns 300 A 192.0.2.1\\n' > /var/lib/bind/closed.zone
chown bind: /var/lib/bind/closed.zone; systemctl restart named"
    ));
    std::thread::sleep(Duration::from_secs(2));
}

fn refusals(lab: &Lab, host: &str) {
    let mut story = Story::new(lab, host);
    let good = story.key.clone();
    let before = story.sets();

    story.key = good.replace("cutover.acme", "other.acme");
    story.wants(OURS);
    story.cannot_ask(host, &["BADKEY", "tsig-name"]);
    story.key = good.clone();
    story.secret = WRONG;
    story.wants(OURS);
    story.cannot_ask(host, &["BADSIG", "secret"]);
    story.secret = SECRET;
    story.key = String::new();
    story.wants(OURS);
    story.cannot_ask(host, &["tsig-name= and key="]);
    story.key = good.clone();

    assert_eq!(story.sets(), before, "{host}");
    let gate = Gate::before(story.server);
    let direct = std::mem::replace(&mut story.server, gate.address);
    gate.octets.store(40_000, Ordering::SeqCst);
    story.wants(OURS);
    story.cannot_ask(host, &["not whole"]);
    gate.open.store(0, Ordering::SeqCst);
    story.cannot_ask(host, &["closed the connection after 0 records"]);
    story.server = direct;
    assert_eq!(story.sets(), before, "{host}");

    for (zone, says) in [("nowhere.test", &["answers", "primary"][..]), ("broken.test", &["SERVFAIL", "log"])] {
        zone.clone_into(&mut story.zone);
        story.wants(OURS);
        story.cannot_ask(&format!("{host} {zone}"), says);
    }
    story.zone = "closed.test".into();
    story.key = good.replace("cutover.acme", "writer.acme");
    story.wants(OURS);
    // Knot says of a key without the right what it says of a key that it has not.
    let says = if host == "knot" { ["BADKEY", "allow the key to read"] } else { ["answers", "allow AXFR"] };
    story.cannot_ask(&format!("{host}, no AXFR"), &says);
}

fn changes(lab: &Lab, host: &str) {
    let mut story = Story::new(lab, host);
    let before = story.sets();
    // Somebody else is faster than the apply of a saved plan.
    story.wants(OURS);
    story.run(&["plan", "--out", "p.cut"]).ends(0);
    let theirs = set("mail.acme.test", "A", 60, &["198.51.100.9"]);
    by_hand(story.server, None, Some(theirs.clone()));
    story.run(&["apply", "p.cut", "--yes"]).ends(1).says("mail.acme.test./A").says("stale; nothing was changed");
    // Nor does a new plan take it over without a word.
    let theirs_stay = story.run(&["apply", "--yes"]);
    assert!(theirs_stay.code == 1 && format!("{theirs_stay:?}").contains("198.51.100.9"), "{host}: {theirs_stay:#?}");
    assert_eq!(story.sets().get(&theirs.key), Some(&theirs), "{host}: what they wrote is lost");
    by_hand(story.server, Some(theirs), None);
    assert_eq!(story.sets(), before, "{host}");

    // A set that no message holds fails alone, and says so.
    let values: Vec<String> = (0..300).map(|n| format!("\"{}{n}\"", "x".repeat(230))).collect();
    story.wants(&format!("{OURS}\nrecord big TXT {}", values.join(" ")));
    story.run(&["apply", "--yes"]).ends(1).says("65,535");
    let sets = story.sets();
    assert!(sets.contains_key(&set("mail.acme.test", "A", 300, &["192.0.2.10"]).key), "{host}: the others go");
    assert!(!sets.keys().any(|k| k.name.starts_with("big.")), "{host}");

    // The primary dies after it was looked at and comes back: the change is made once, and nobody else's is lost.
    let gate = Gate::before(story.server);
    let direct = std::mem::replace(&mut story.server, gate.address);
    story.wants(&OURS.replace(".10\"", ".11\""));
    gate.open.store(2, Ordering::SeqCst);
    let mut command = story.command(&["apply", "--yes"]);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("runs");
    let until = Instant::now() + Duration::from_secs(20);
    while gate.open.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < until, "{host}: nobody asks");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    story.server = direct;
    assert!(story.sets().values().any(|s| s.data.contains("192.0.2.10")), "{host}: nothing was changed");
    gate.open.store(usize::MAX, Ordering::SeqCst);
    let out = child.wait_with_output().expect("ends");
    assert_eq!(
        out.status.code(),
        Some(0),
        "{host}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    story.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    story.wants("");
    story.run(&["apply", "--yes", "--exceed", "deletes"]).ends(0);
    assert_eq!(story.sets(), before, "{host}: the zone is what it was");
}

fn names(lab: &Lab, host: &str) {
    let story = Story::new(lab, host);
    let before = story.sets();
    story.wants(
        "record \"a\\\\.b\" TXT \"a dot in a label\"\nrecord \"sp\\\\032ace\" TXT \"a space\"\nrecord \"*\" A \"192.0.2.77\"\n\
         record \"_dmarc\" TXT \"v=DMARC1; p=none\"\nrecord \"b\u{fc}cher\" A \"192.0.2.78\"\nrecord \"b\u{fc}cher\" MX \"b\u{fc}cher.acme.test\" priority=10",
    );
    story.run(&["apply", "--yes"]).ends(0);
    story.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let names: Vec<String> = story.sets().keys().filter(|k| !before.contains_key(k)).map(ToString::to_string).collect();
    for name in [
        "a\\.b.acme.test. TXT",
        "sp\\032ace.acme.test. TXT",
        "*.acme.test. A",
        "_dmarc.acme.test. TXT",
        "xn--bcher-kva.acme.test. A",
    ] {
        assert!(names.iter().any(|n| n == name), "{host}: no {name} in {names:?}");
    }
    story.wants("");
    story.run(&["apply", "--yes", "--exceed", "deletes"]).ends(0);
    assert_eq!(story.sets(), before, "{host}");
}

/// Knot is told to be a secondary of BIND's zone, and has one of its own that never changes; then BIND itself is away.
#[test]
fn a_secondary_that_never_follows_keeps_the_window_shut() {
    let Some(lab) = world("zlag", 30) else { return };
    let lab = &lab;
    let mut story = Story::new(lab, "bind");
    let before = story.sets();
    let start = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30);
    story.secondaries = format!("secondaries \"{}\"", lab.ip("knot"));
    story.more = format!(
        "rollback-point back restores=dns valid-for=\"5d\"\n\
         cutover-window night start=\"{}\" for=\"3h\" rollback=back {{ steps lower-ttl flip-mx verify raise-ttl prune; step lower-ttl timeout=\"3s\" on-timeout=stop; }}\n",
        start.strftime("%Y-%m-%dT%H:%M:%S")
    );
    story.wants("record \"@\" MX new.acme.test priority=10 held-until=night");
    let shut = story.run(&["apply", "--window", "night", "--yes"]);
    assert!(shut.code != 0, "{shut:#?}");
    let said = format!("{}{}", shut.out, shut.err);
    assert!(said.contains("not every name server serves it") && said.contains(&lab.ip("knot").to_string()), "{said}");
    let lowered = set(ZONE, "MX", 2, &["10 old.acme.test."]);
    assert_eq!(story.sets().get(&lowered.key), Some(&lowered), "nothing behind the barrier is done");

    lab.sh("bind", "systemctl stop named");
    let away = story.run(&["plan", "--window", "night"]).ends(1);
    assert!(format!("{}{}", away.out, away.err).contains("could not ask"), "{away:#?}");
    lab.sh("bind", "systemctl start named");
    // It follows at last: the run goes on until it has to wait for the window.
    let knot = SocketAddr::new(lab.ip("knot"), 53);
    by_hand(knot, Some(set(ZONE, "MX", 300, &["10 old.acme.test."])), Some(lowered.clone()));
    story.run(&["resume"]).ends(3);
    assert_eq!(story.sets().get(&lowered.key), Some(&lowered));
    by_hand(knot, Some(lowered), Some(set(ZONE, "MX", 300, &["10 old.acme.test."])));
    story.run(&["rollback", "back", "--yes"]).ends(0);
    assert_eq!(story.sets(), before, "the zone is what it was");
}
