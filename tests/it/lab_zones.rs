//! Zones from a bare host to records: Knot from its role pack as primary and as secondary, and BIND as somebody else's primary.
#![allow(clippy::print_stderr)] // times are part of the result

use std::time::{Duration, Instant};

use cutover::model::dns::{RecordSet, SetChange};
use cutover::protocol::dns::data::Sets;
use cutover::protocol::dns::{Batch, TsigKey, transfer, update};

use crate::cli::{Run, Sandbox, finish};
use crate::support::lab::Lab;
use crate::support::nameserver::set;

const SECRET: &str = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=";
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    lab: Lab,
    box_: Sandbox,
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(work)
}

fn key() -> TsigKey {
    TsigKey::new("cutover.acme.test", "hmac-sha256", SECRET).expect("key")
}

impl World {
    fn new(name: &str) -> Option<Self> {
        let lab = Lab::new(name).host("ns").host("ns2").host("bind").up()?;
        lab.sh("bind", &format!(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends bind9 >/dev/null 2>&1
mkdir -p /var/lib/bind && {{ echo '$TTL 300'; echo '@ SOA ns hostmaster 1 3600 600 86400 60'; echo '@ NS ns'; echo 'ns A {}'; }} > /var/lib/bind/other.test.zone
chown bind: /var/lib/bind/other.test.zone && cat > /etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; }};
key cutover.acme.test {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
zone other.test {{ type primary; file \"/var/lib/bind/other.test.zone\"; allow-transfer {{ key cutover.acme.test; }}; allow-update {{ key cutover.acme.test; }}; }};
END
systemctl restart named",
            lab.ip("bind")
        ));
        let box_ = Sandbox::new();
        Some(Self { lab, box_ })
    }

    /// Writes the topology with these records in the two zones.
    fn wants(&self, acme: &str, other: &str) {
        let lab = &self.lab;
        let mut text = String::from(
            "language 1\norganization acme domain=acme.test anchor=ns\nsite s\nplatform dns knot=\"3.2\"\naccepted-domain acme.test\n",
        );
        for host in ["ns", "ns2"] {
            let access = lab.access(host);
            text += &format!(
                "server {host} platform=dns site=s ip=\"{}\" ip6=\"{}\" {{\n    roles dns\n    connection user=root key=(secret)\"file:{}\" \
                 host-key=\"{}\"\n}}\n",
                access.address,
                lab.ip6(host).expect("IPv6"),
                lab.key().display(),
                access.host_key.expect("pinned"),
            );
        }
        text += &format!(
            "dns-provider knot type=rfc2136 host=ns tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\"\n\
             dns-provider bind type=rfc2136 endpoint=\"dns://{}\" tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\"\n\
             zone acme.test provider=knot ttl=\"300s\" protect=#false {{\n    record \"@\" NS ns.acme.test ns2.acme.test\n    \
             record ns A to=server:ns\n    record ns AAAA to=server:ns\n    record ns2 A to=server:ns2\n{acme}\n}}\n\
             zone other.test provider=bind ttl=\"300s\" protect=#false {{\n{other}\n}}\n",
            lab.ip("bind")
        );
        self.box_.write("topology.kdl", &text);
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.box_.command(args);
        command.env("DNS_KEY", SECRET);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = finish(self.command(args));
        assert!(!run.out.contains(SECRET) && !run.err.contains(SECRET), "the key is shown");
        run
    }

    fn sets(&self, host: &str, zone: &str) -> Sets {
        let server = std::net::SocketAddr::new(self.lab.ip(host), 53);
        block(transfer(server, zone, Some(&key()), PATIENCE)).expect("zone").sets
    }

    /// By another hand.
    fn foreign(&self, host: &str, zone: &str, before: Option<RecordSet>, after: Option<RecordSet>) {
        let server = std::net::SocketAddr::new(self.lab.ip(host), 53);
        let batch = Batch { changes: vec![SetChange { before, after }] };
        block(update(server, zone, &batch, Some(&key()), PATIENCE)).expect("taken");
    }

    fn last(&self) -> String {
        let json = self.run(&["history", "--format", "json"]).ends(0).out;
        let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        list[0]["apply"].as_str().expect("an id").to_owned()
    }
}

const MAIL: &str = "    record \"@\" MX mail.acme.test priority=10\n    record mail A \"192.0.2.10\"\n    record \"bücher\" TXT \"v=spf1 -all\"\n    \
                    record \"_25._tcp.mail\" TLSA \"3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n";
const OTHER: &str = "    record \"@\" MX mail.other.test priority=10\n    record mail A \"192.0.2.20\"\n    record sub NS ns.sub.other.test\n    \
                     record ns.sub A \"192.0.2.21\"\n    record www CNAME mail.other.test\n";

#[test]
fn from_bare_hosts_to_records_and_back() {
    let Some(world) = World::new("zones") else { return };
    world.wants(MAIL, OTHER);
    // The name server is still to be made: its host says that the zone was never begun there.
    world.run(&["plan", "--detailed-exitcode"]).ends(2).says("zone.acme.test/record-set:acme.test./MX");
    let began = Instant::now();
    world.run(&["apply", "--yes"]).ends(0);
    eprintln!("two name servers and two zones from bare hosts: {:.1} s", began.elapsed().as_secs_f64());
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.run(&["drift"]).ends(0);
    assert_eq!(world.sets("ns", "acme.test").len(), 8, "{:?}", world.sets("ns", "acme.test").keys());
    // The secondary follows.
    let until = Instant::now() + Duration::from_secs(30);
    while world.run(&["dns", "verify", "acme.test"]).code != 0 {
        let said = world.run(&["dns", "verify", "acme.test"]);
        assert!(Instant::now() < until, "the secondary does not follow: {said:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }

    // Others write too; what is theirs stays as it is, through a change and its undo.
    let theirs = set("intranet.acme.test", "TXT", 60, &["\"not ours\"", "\"a \\\"b\\\" ; | \\200\""]);
    let other = set("intranet.other.test", "A", 60, &["198.51.100.7"]);
    world.foreign("ns", "acme.test", None, Some(theirs));
    world.foreign("bind", "other.test", None, Some(other));
    let before = (world.sets("ns", "acme.test"), world.sets("bind", "other.test"));
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.wants(
        &MAIL.replace("priority=10", "priority=20").replace("192.0.2.10", "192.0.2.11 192.0.2.12"),
        &OTHER
            .replace("record www CNAME mail.other.test", "record www A \"192.0.2.22\"")
            .replace("192.0.2.20", "192.0.2.23"),
    );
    world.run(&["apply", "--yes"]).ends(0);
    let id = world.last();
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    assert_ne!(world.sets("bind", "other.test"), before.1);
    world.run(&["undo", &id, "--yes"]).ends(0);
    assert_eq!(
        (world.sets("ns", "acme.test"), world.sets("bind", "other.test")),
        before,
        "identical but for the serial"
    );

    // Somebody changes what is ours: drift; and what we did not make is not taken over.
    world.wants(MAIL, OTHER);
    let mail = set("mail.acme.test", "A", 300, &["192.0.2.10"]);
    world.foreign("ns", "acme.test", Some(mail.clone()), Some(set("mail.acme.test", "A", 300, &["198.51.100.1"])));
    world.run(&["drift"]).ends(2).says("zone.acme.test/record-set:mail.acme.test./A");
    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(world.sets("ns", "acme.test").get(&mail.key), Some(&mail));
    world.wants(&format!("{MAIL}    record intranet TXT \"ours\"\n"), OTHER);
    world.run(&["plan"]).ends(1).says("adopt=#true");

    // BIND refuses an MX that leads nowhere: that step fails alone, and nothing else suffers.
    world.wants(
        MAIL,
        &format!("{OTHER}    record dead MX nowhere.other.test priority=10\n    record alive A \"192.0.2.30\"\n"),
    );
    let failed = world.run(&["apply", "--yes"]).ends(1);
    assert!(failed.out.contains("REFUSED") || failed.err.contains("REFUSED"), "{failed:#?}");
    let now = world.sets("bind", "other.test");
    assert!(now.contains_key(&set("alive.other.test", "A", 300, &["192.0.2.30"]).key), "{:?}", now.keys());
    assert!(!now.keys().any(|k| k.name == "dead.other.test."));

    // Everything that cutover made goes, and nothing else.
    world.run(&["destroy", "--yes", "acme", "--target", "zone.other.test"]).ends(0);
    let left: Vec<String> = world.sets("bind", "other.test").keys().map(ToString::to_string).collect();
    assert_eq!(left, ["intranet.other.test. A", "ns.other.test. A", "other.test. NS"]);
}

#[test]
fn ten_thousand_records_come_change_and_survive_kills() {
    let Some(world) = World::new("manyrec") else { return };
    world.wants("", "");
    world.run(&["apply", "--yes"]).ends(0);
    let many = |ttl: u32| format!("    record \"h[1:10000]\" A \"192.0.2.9\" ttl=\"{ttl}s\"\n");
    world.wants(&many(300), "");
    let began = Instant::now();
    world.run(&["apply", "--yes"]).ends(0);
    eprintln!("10,000 records made, compile and plan included: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    eprintln!("their plan: {:.1} s", began.elapsed().as_secs_f64());

    world.wants(&many(600), "");
    world.run(&["plan"]).ends(1).says("--exceed updates");
    let mut kills = 0;
    for wait in [1500, 2500, 3500, 4500, 6000] {
        let mut command = world.command(&["apply", "--yes", "--exceed", "updates"]);
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("runs");
        std::thread::sleep(Duration::from_millis(wait));
        let over = child.try_wait().expect("asked").is_some();
        child.kill().expect("killed");
        child.wait().expect("gone");
        if over {
            break;
        }
        kills += 1;
    }
    eprintln!("killed {kills} times in the middle");
    world.run(&["apply", "--yes", "--exceed", "updates"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let sets = world.sets("ns", "acme.test");
    assert_eq!(sets.values().filter(|s| s.ttl == 600).count(), 10_000);
}
