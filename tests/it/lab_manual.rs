//! A zone that people enter: two real Knot servers, and the test plays the person. What is to be entered is said, nothing counts before
//! every server serves it, and a resume goes on whenever it is asked.

use std::process::Stdio;
use std::time::Duration;

use crate::cli::{Run, Sandbox};
use crate::support::lab::Lab;

const ZONE: &str = "acme.test";

struct World {
    lab: Lab,
    box_: Sandbox,
}

impl World {
    fn new() -> Option<Self> {
        let lab = Lab::new("byhand").host("ns").host("ns2").up()?;
        let (ns, ns2) = (lab.ip("ns"), lab.ip("ns2"));
        let configure = |host: &str, more: &str| {
            lab.sh(
                host,
                &format!(
                    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends knot >/dev/null 2>&1
cat >/etc/knot/knot.conf <<'END'
server:
    listen: 0.0.0.0@53
remote:
  - id: ns
    address: {ns}
  - id: ns2
    address: {ns2}
acl:
  - id: all
    address: [{ns}, {ns2}]
    action: [transfer, notify]
zone:
  - domain: {ZONE}
    storage: /var/lib/knot
    file: {ZONE}.zone
    acl: all
{more}
END"
                ),
            );
        };
        std::thread::scope(|s| {
            s.spawn(|| configure("ns", "    notify: ns2\n    zonefile-load: difference-no-serial\n    zonefile-sync: -1\n    journal-content: all"));
            s.spawn(|| configure("ns2", "    master: ns"));
        });
        let world = Self { lab, box_: Sandbox::new() };
        world.enters("@ MX 10 old\nold A 192.0.2.1\n@ TXT \"v=spf1 mx -all\"\nwww CNAME old", true);
        world.lab.sh("ns2", "systemctl restart knot");
        Some(world)
    }

    /// By hand, into the file of the primary.
    fn enters(&self, records: &str, restart: bool) {
        let load = if restart { "systemctl restart knot" } else { "knotc -b zone-reload acme.test" };
        self.lab.sh(
            "ns",
            &format!(
                "cat >/var/lib/knot/{ZONE}.zone <<'END'
$TTL 300
@ SOA ns hostmaster 1 3600 1 86400 60
@ NS ns
@ NS ns2
ns A {}
ns2 A {}
{records}
END
chown knot: /var/lib/knot/{ZONE}.zone && {load}",
                self.lab.ip("ns"),
                self.lab.ip("ns2")
            ),
        );
    }

    fn wants(&self, records: &str) {
        let access = self.lab.access("ns");
        self.box_.write(
            "topology.kdl",
            &format!(
                "language 1\norganization acme domain={ZONE} anchor=a\nsite s\nplatform p postfix=\"3.7\"\naccepted-domain {ZONE}\n\
                 server a platform=p site=s ip=\"{}\" {{\n    roles bastion\n    connection user=root key=(secret)\"file:{}\" host-key=\"{}\"\n}}\n\
                 dns-provider registrar type=manual {{ secondaries \"{}\" \"{}\"; }}\n\
                 zone {ZONE} provider=registrar ttl=\"5m\" protect=#false {{\n{records}\n}}\n",
                access.address,
                self.lab.key().display(),
                access.host_key.expect("pinned"),
                self.lab.ip("ns"),
                self.lab.ip("ns2"),
            ),
        );
    }

    fn run(&self, args: &[&str]) -> Run {
        self.box_.run(args)
    }
}

const WANTED: &str = "    record \"@\" MX new.acme.test priority=10 adopt=#true\n    record new A \"192.0.2.2\"\n    \
                      record www A \"192.0.2.3\"\n    record \"_imaps._tcp\" SRV \"0 1 993 new.acme.test\"";
const OLD: &str = "@ TXT \"v=spf1 mx -all\"\nold A 192.0.2.1\n";

#[test]
fn what_people_enter_counts_when_every_server_serves_it() {
    let Some(world) = World::new() else { return };
    world.wants(WANTED);
    let plan = world.run(&["plan", "--detailed-exitcode"]);
    assert!(plan.code == 2 || plan.code == 1, "{plan:#?}");
    world.wants(&WANTED.replace("    record www A \"192.0.2.3\"\n", ""));
    world
        .run(&["plan", "--detailed-exitcode"])
        .ends(2)
        .says("10 old.acme.test. -> 10 new.acme.test.")
        .says("zone.acme.test/record-set:new.acme.test./A");
    // Nobody has entered anything: it says what, waits, and ends with 3; and says so again.
    let first = world.run(&["apply", "--yes", "--wait", "2s"]).ends(3);
    for line in [
        "enter: name @, type MX, TTL 300, priority 10, mail server new.acme.test",
        "remove: name @, type MX, priority 10, mail server old.acme.test",
        "zone file: acme.test. 300 IN MX 10 new.acme.test.",
        "enter: name new, type A, TTL 300, value 192.0.2.2",
        "enter: name _imaps._tcp, type SRV, TTL 300, priority 0, weight 1, port 993, target new.acme.test",
        "cutover resume",
    ] {
        assert!(first.err.contains(line) || first.out.contains(line), "`{line}` is not said: {first:#?}");
    }
    world.run(&["resume", "--wait", "1s"]).ends(3).says("still serves 10 old.acme.test.");

    // A typing error is not what was asked for, and no reason to give up.
    world.enters(&format!("{OLD}@ MX 10 nwe\n@ MX 10 old\n"), false);
    world.run(&["resume", "--wait", "2s"]).ends(3).says("nwe.acme.test.");

    // All entered, and one server does not say so.
    world.lab.sh("ns2", "systemctl stop knot");
    let new = format!("{OLD}@ MX 10 new\nnew A 192.0.2.2\n_imaps._tcp SRV 0 1 993 new\n");
    world.enters(&new, false);
    world.run(&["resume", "--wait", "2s"]).ends(3).says(&world.lab.ip("ns2").to_string()).says("could not be asked");
    world.lab.sh("ns2", "systemctl start knot");
    world.run(&["resume", "--wait", "40s"]).ends(0);
    world.wants(&WANTED.replace("    record www A \"192.0.2.3\"\n", ""));
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.run(&["drift"]).ends(0);
    world.run(&["resume"]).ends(0).says("nothing to resume");

    // Entered while it waits.
    let shorter =
        WANTED.replace("    record www A \"192.0.2.3\"\n", "").replace("\"192.0.2.2\"", "\"192.0.2.2\" ttl=\"1m\"");
    world.wants(&shorter);
    let mut command = world.box_.command(&["apply", "--yes", "--wait", "60s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    std::thread::sleep(Duration::from_secs(3));
    let short = new.replace("new A 192", "new 60 A 192");
    world.enters(&short, false);
    let out = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("set the TTL of: name new, type A, TTL 60"), "{said}");

    // Killed while it waits; the state is asked for, and the rest goes on.
    world.wants(&shorter.replace("priority=10", "priority=30"));
    let mut child =
        world.box_.command(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    std::thread::sleep(Duration::from_secs(3));
    child.kill().expect("killed");
    child.wait().expect("gone");
    world.enters(&short.replace("MX 10", "MX 30"), false);
    world.run(&["resume", "--wait", "40s"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");

    // Back, by hand too.
    let json = world.run(&["history", "--format", "json"]).ends(0).out;
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let id = list[0]["apply"].as_str().expect("an id").to_owned();
    let mut command = world.box_.command(&["undo", &id, "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    std::thread::sleep(Duration::from_secs(3));
    world.enters(&short, false);
    let out = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("enter: name @, type MX, TTL 300, priority 10, mail server new.acme.test"), "{said}");

    // No server that answers is no zone without records.
    world.lab.sh("ns", "systemctl stop knot");
    world.lab.sh("ns2", "systemctl stop knot");
    world.run(&["plan"]).ends(1).says("no name server says anything of it");
}
