//! Zones that live in files which others wrote: BIND with a static and with a dynamic zone, and Knot. Only the lines of our sets
//! change; the servers' own programs check the file before they load it.

use std::time::Duration;

use cutover::model::dns::SetKey;
use cutover::protocol::dns::{Answer, Link, ask};

use crate::cli::{Run, Sandbox};
use crate::support::lab::Lab;

const FILE: &str = "\
; by hand since 1998, in Latin-1: caf\\351
$ORIGIN test.
$TTL 1h
acme\tIN SOA ns.acme hostmaster.acme (
\t\t2026010103 ; serial
\t\t1h 10m 4w 5m )
\tNS ns.acme
\tMX 10 old.acme ; the old gate
\tTXT \"v=spf1 mx -all\"
$ORIGIN acme.test.
ns A 192.0.2.53
old 300 A 192.0.2.1 ; do not touch: phones
ldap SRV ( 0 1
  389 old ; a comment with )
  )
   TXT \"; no comment\"
";

const PATH: &str = "/etc/zones/db.acme";

struct World {
    lab: Lab,
    box_: Sandbox,
    host: &'static str,
}

impl World {
    fn new(name: &str, host: &'static str) -> Option<Self> {
        let lab = Lab::new(name).host(host).up()?;
        lab.sh(host, &format!(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {} >/dev/null 2>&1",
            if host == "bind" { "bind9 bind9-utils bind9-dnsutils" } else { "knot knot-dnssecutils" }
        ));
        lab.sh(
            host,
            &format!(
                "mkdir -p /etc/zones && printf '{}' >{PATH} && chown -R {user}: /etc/zones && chmod 640 {PATH}",
                FILE.replace('\'', "'\\''").replace("\\\"", "\""),
                user = if host == "bind" { "bind" } else { "knot" },
            ),
        );
        let box_ = Sandbox::new();
        let world = Self { lab, box_, host };
        world.topology("10 new.acme.test", "");
        Some(world)
    }

    /// An MX and the address of its host.
    fn topology(&self, mx: &str, more: &str) {
        let access = self.lab.access(self.host);
        self.box_.write("topology.kdl", &format!(
            "language 1\norganization flow domain=acme.test anchor=a\nsite s\nplatform p postfix=\"3.7\"\naccepted-domain acme.test default=#true\n\
             server a platform=p site=s ip=\"{}\" {{\n    roles bastion\n    connection user=root key=(secret)\"file:{}\" host-key=\"{}\"\n}}\n\
             dns-provider files type=zone-file host=a path=\"{PATH}\"\n\
             zone acme.test provider=files ttl=\"5m\" {{\n    record \"@\" MX \"{mx}\" adopt=#true\n    record new A \"192.0.2.9\"\n{more}}}\n",
            access.address,
            self.lab.key().display(),
            access.host_key.expect("pinned"),
        ));
    }

    fn run(&self, args: &[&str]) -> Run {
        self.box_.run(args)
    }

    fn file(&self) -> String {
        self.lab.sh(self.host, &format!("base64 -w0 {PATH}"))
    }

    fn text(&self) -> String {
        self.lab.sh(self.host, &format!("iconv -f LATIN1 -t UTF-8 {PATH}"))
    }

    fn asked(&self, name: &str, kind: &str) -> Answer {
        let key = SetKey { name: name.into(), kind: kind.into() };
        let at = std::net::SocketAddr::new(self.lab.ip(self.host), 53);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let mut last = None;
        for _ in 0..50 {
            match runtime.block_on(ask(at, &key, Link::Tcp, Duration::from_secs(2))) {
                Ok(answer) if answer.code == "NOERROR" || answer.code == "NXDOMAIN" => return answer,
                other => last = Some(other),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{} does not answer: {last:?}", self.host)
    }

    fn serves(&self, name: &str, kind: &str) -> Vec<String> {
        self.asked(name, kind).set.map(|s| s.data.into_iter().collect()).unwrap_or_default()
    }

    /// Plan, apply, nothing more; foreign lines as they were; a stale plan refused; undo.
    fn story(&self, former: &str) {
        let plan = self.run(&["plan", "--detailed-exitcode"]).ends(2);
        plan.says("zone.acme.test/record-set:acme.test./MX").says("zone.acme.test/record-set:new.acme.test./A");
        assert_eq!(self.text(), former, "a plan changes nothing");
        self.run(&["plan", "--out", "plan.cut"]).ends(0);
        self.run(&["apply", "--yes"]).ends(0);
        assert_eq!(self.serves("acme.test.", "MX"), ["10 new.acme.test."]);
        assert_eq!(self.serves("new.acme.test.", "A"), ["192.0.2.9"]);
        self.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
        let text = self.text();
        for line in former.lines().filter(|l| !l.contains("MX") && !l.contains("; serial") && !l.contains("v=spf1")) {
            assert!(text.contains(line), "{line} is gone from {text}");
        }
        assert_eq!(self.lab.sh(self.host, &format!("stat -c '%a %U' {PATH}")).split(' ').next(), Some("640"));
        assert!(
            self.lab.sh(self.host, "ls /etc/zones").lines().all(|l| !l.contains("cutover")),
            "nothing is left beside it"
        );

        self.run(&["apply", "--yes", "plan.cut"]).ends(1).says("changed");

        // Somebody changes our record by hand and loads it: drift, then mended.
        self.lab.sh(
            self.host,
            &format!("sed -i 's/MX 10 new/MX 30 new/; s/[0-9]\\{{10\\}} ; serial/2036010101 ; serial/' {PATH}"),
        );
        let unloaded = self.run(&["drift"]);
        unloaded.ends(1).says("was not loaded");
        self.load();
        self.run(&["drift"]).ends(2).says("acme.test./MX");
        self.run(&["apply", "--yes"]).ends(0);
        assert_eq!(self.serves("acme.test.", "MX"), ["10 new.acme.test."]);

        // What the server's own program does not take changes nothing.
        let before = self.file();
        self.topology("10 new.acme.test", "    record old CNAME new.acme.test adopt=#true\n");
        self.run(&["apply", "--yes"]).ends(1).says("old.acme.test");
        assert_eq!(self.file(), before, "a file that is refused is not there");
        self.topology("10 new.acme.test", "");

        let history = self.run(&["history", "--format", "json"]).ends(0).out;
        let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
        let first =
            history.as_array().expect("list").last().expect("an apply")["apply"].as_str().expect("id").to_owned();
        self.run(&["undo", &first, "--yes"]).ends(0);
        assert_eq!(self.serves("acme.test.", "MX"), ["10 old.acme.test."]);
        assert_eq!(self.serves("new.acme.test.", "A"), Vec::<String>::new());
        assert_eq!(self.serves("ldap.acme.test.", "TXT"), ["\"; no comment\""]);
    }

    fn load(&self) {
        let line = match self.host {
            "bind" => "rndc reload acme.test",
            _ => "knotc -b zone-reload acme.test",
        };
        self.lab.sh(self.host, line);
    }
}

fn latin() -> String {
    FILE.replace("\\351", "é").replace("\\\"", "\"").trim_end().to_owned()
}

#[test]
fn a_static_zone_of_bind() {
    let Some(world) = World::new("zfbind", "bind") else { return };
    world.lab.sh(
        "bind",
        &format!(
            "cat >/etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; }};
zone acme.test {{ type primary; file \"{PATH}\"; }};
END
systemctl restart named"
        ),
    );
    world.asked("acme.test.", "SOA");
    world.story(&latin());
}

#[test]
fn a_dynamic_zone_of_bind_is_frozen_and_thawed() {
    let Some(world) = World::new("zfdyn", "bind") else { return };
    world.lab.sh(
        "bind",
        &format!(
            "cat >/etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; }};
zone acme.test {{ type primary; file \"{PATH}\"; allow-update {{ 127.0.0.1; }}; }};
END
systemctl restart named"
        ),
    );
    world.asked("acme.test.", "SOA");
    let update = |line: &str| {
        world.lab.sh("bind", &format!("printf 'server 127.0.0.1\\nzone acme.test\\n{line}\\nsend\\n' | nsupdate"));
    };
    // What stands in the server's journal only belongs to the zone as well.
    update("update add phone.acme.test 60 A 192.0.2.77");
    world.run(&["plan", "--detailed-exitcode"]).ends(2);
    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(world.serves("acme.test.", "MX"), ["10 new.acme.test."]);
    assert_eq!(world.serves("phone.acme.test.", "A"), ["192.0.2.77"]);
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
    // It was thawed: the next update is taken, and survives the next apply.
    update("update add phone2.acme.test 60 A 192.0.2.78");
    world.topology("20 new.acme.test", "");
    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(world.serves("acme.test.", "MX"), ["20 new.acme.test."]);
    assert_eq!(world.serves("phone2.acme.test.", "A"), ["192.0.2.78"]);
}

#[test]
fn a_zone_of_knot() {
    let Some(world) = World::new("zfknot", "knot") else { return };
    world.lab.sh(
        "knot",
        &format!(
            "cat >/etc/knot/knot.conf <<'END'
server:
    listen: 0.0.0.0@53
zone:
  - domain: acme.test
    file: {PATH}
END
systemctl restart knot"
        ),
    );
    world.asked("acme.test.", "SOA");
    world.story(&latin());
}
