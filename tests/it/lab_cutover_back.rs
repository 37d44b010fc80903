//! The way back of a window from each of its stages, on Knot and on BIND: the zone is what it was, byte for byte but for its serial,
//! in a transfer and in the file that the server writes. And a secondary that never follows: the window is taken back by itself.
//! `CUTOVER_CUTOVERS=2` for the long form: every stage on each server, that many times.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab_cutover::{install, number, program};
use crate::support::lab::Lab;

const SECRET: &str = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=";
/// Five days are ten seconds.
const SCALE: i64 = 43_200;

/// Behind what the program is killed, and the window is taken back.
const STAGES: [&str; 6] = ["publish", "lower-ttl", "flip-mx", "verify", "raise-ttl", "prune"];

/// A zone with its primary and secondary, and a folder of its own for the program.
struct Zone<'l> {
    lab: &'l Lab,
    name: &'static str,
    primary: &'static str,
    secondary: &'static str,
    root: PathBuf,
}

fn world() -> Option<Lab> {
    let lab = Lab::new("mxback").host("knot").host("bind").up()?;
    install(&lab, &[("knot", "knot knot-dnsutils"), ("bind", "bind9 bind9-dnsutils")]);
    let (knot, bind) = (lab.ip("knot"), lab.ip("bind"));
    let text = |name: &str, primary: std::net::IpAddr, secondary: std::net::IpAddr| {
        format!(
            "$TTL 300
@ 60 SOA ns.{name}. hostmaster.{name}. 1 5 5 86400 1
@ NS ns
@ NS ns2
ns A {primary}
ns2 A {secondary}
@ 2 MX 10 old
@ 2 TXT \"v=spf1 ip4:192.0.2.1 -all\"
old 2 A 192.0.2.1
intranet TXT \"not ours\"
*.Wild 77 CNAME old
"
        )
    };
    lab.sh(
        "knot",
        &format!(
            "cat > /var/lib/knot/k.test.zone <<'END'\n{}END\nchown knot: /var/lib/knot/k.test.zone",
            text("k.test", knot, bind)
        ),
    );
    lab.sh(
        "bind",
        &format!(
            "mkdir -p /var/lib/bind; cat > /var/lib/bind/b.test <<'END'\n{}END\nchown bind: /var/lib/bind/b.test",
            text("b.test", bind, knot)
        ),
    );
    lab.sh(
        "knot",
        &format!(
            "cat > /etc/knot/knot.conf <<'END'
server:
    listen: [ 0.0.0.0@53 ]
key:
  - id: cutover.acme.test
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: bind
    address: {bind}
acl:
  - id: cutover
    key: cutover.acme.test
    action: [transfer, update]
  - id: bind
    address: {bind}
    action: [transfer, notify]
zone:
  - domain: k.test
    storage: /var/lib/knot
    file: k.test.zone
    notify: bind
    acl: [cutover, bind]
  - domain: b.test
    storage: /var/lib/knot
    master: bind
    acl: [bind]
END
systemctl restart knot"
        ),
    );
    lab.sh(
        "bind",
        &format!(
            "cat > /etc/bind/named.conf <<'END'
key cutover.acme.test {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
include \"/etc/bind/rndc.conf.key\";
controls {{ inet 127.0.0.1 allow {{ localhost; }} keys {{ rndc-key; }}; }};
options {{ directory \"/var/cache/bind\"; recursion no; listen-on {{ any; }}; listen-on-v6 {{ any; }}; notify explicit; }};
zone b.test {{ type primary; file \"/var/lib/bind/b.test\"; allow-update {{ key cutover.acme.test; }}; allow-transfer {{ key cutover.acme.test; {knot}; }}; also-notify {{ {knot}; }}; }};
zone k.test {{ type secondary; primaries {{ {knot}; }}; masterfile-format text; file \"/var/cache/bind/k.test\"; }};
END
rndc-confgen -a -c /etc/bind/rndc.conf.key >/dev/null 2>&1; cp /etc/bind/rndc.conf.key /etc/bind/rndc.key; chown bind: /etc/bind/rndc.*key
systemctl restart named"
        ),
    );
    Some(lab)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64
}

impl<'l> Zone<'l> {
    fn new(lab: &'l Lab, name: &'static str, primary: &'static str, secondary: &'static str) -> Self {
        let root = lab.root().join(name);
        std::fs::create_dir_all(&root).expect("a folder");
        std::fs::copy(lab.key(), root.join("key")).expect("its key");
        Self { lab, name, primary, secondary, root }
    }

    fn topology(&self, records: &str, rest: &str) {
        let (lab, name) = (self.lab, self.name);
        let (primary, secondary) = (lab.ip(self.primary), lab.ip(self.secondary));
        let text = format!(
            "language 1\norganization {org} domain={name} anchor=dns\nplatform p knot=\"3.2\"\nsite s\n\
             connection root user=root key=(secret)\"file:key\" host-key=\"{}\"\nenvironment lab purpose=lab time-scale={SCALE} {{ }}\n\
             server dns platform=p site=s fqdn=ns.{name} ip=\"{primary}\" connection=root {{ roles bastion; }}\n\
             dns-provider d type=rfc2136 endpoint=\"dns://{primary}\" tsig-name=cutover.acme.test key=(secret)\"env:DNS_KEY\" {{ secondaries \"{secondary}\"; }}\n\
             accepted-domain {name}\nzone {name} provider=d ttl=\"2s\" cutover-ttl=\"1s\" {{\n{records}}}\n{rest}",
            lab.access(self.primary).host_key.expect("a key"),
            org = self.primary,
        );
        std::fs::write(self.root.join("topology.kdl"), text).expect("topology");
    }

    fn before(&self) {
        self.topology("record old A \"192.0.2.1\"\nrecord \"@\" TXT \"v=spf1 ip4:192.0.2.1 -all\"\n", "");
    }

    /// `step`: a time-out of the window.
    fn window(&self, lead: i64, lasts: i64, step: &str) {
        let start = jiff::Timestamp::from_second(now() + lead).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
        let rest = format!(
            "rollback-point back restores=dns valid-for=\"100d\"\ncutover-window night start=\"{start}\" for=\"{}s\" rollback=back {{\n\
             steps lower-ttl flip-mx verify raise-ttl prune\n{step}}}\n",
            lasts * SCALE
        );
        let records = match step {
            "" => {
                "record \"@\" MX new priority=10 held-until=night\nrecord new A \"192.0.2.2\"\nrecord \"@\" TXT \"v=spf1 ip4:192.0.2.2 -all\"\n"
            }
            // Nothing to publish: the first that a lagging server does not follow is the TTL.
            _ => {
                "record \"@\" MX intranet priority=10 held-until=night\nrecord old A \"192.0.2.1\"\nrecord intranet A \"192.0.2.9\"\nrecord \"@\" TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
            }
        };
        self.topology(
            &records
                .replace("MX new", &format!("MX new.{}", self.name))
                .replace("MX intranet", &format!("MX intranet.{}", self.name)),
            &rest,
        );
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--root").arg(&self.root).args(args).args(["--env", "lab"]).env("DNS_KEY", SECRET);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let out = self.command(args).output().expect("runs");
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    }

    /// Applies the window and kills the program when a stage is done on all servers.
    fn up_to(&self, stage: &str) {
        let mut child = self
            .command(&["apply", "--window", "night", "--short-lead", "--yes", "--json", "--wait", "10m"])
            .spawn()
            .expect("runs");
        let last = match stage {
            // Its own wait is over, and nothing more is done.
            "verify" => "barrier:night/flip-mx",
            other => &format!("barrier:night/{other}"),
        };
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut all = String::new();
        for line in lines {
            let ended = line.contains("\"step-ended\"") && line.contains(last);
            all.push_str(&line);
            all.push('\n');
            if ended {
                break;
            }
        }
        if stage == "verify" {
            std::thread::sleep(Duration::from_millis(2_500));
        }
        child.kill().expect("killed");
        let mut errors = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        child.wait().expect("ends");
        assert!(all.contains(last), "{stage}: {all}\n{errors}");
    }

    /// The zone as it is transferred, and as its server writes it, with the serial out of sight.
    fn shown(&self) -> (String, String) {
        let name = self.name;
        let key = format!("hmac-sha256:cutover.acme.test:{SECRET}");
        let axfr = self.lab.sh("bind", &format!(
            "dig +noall +answer +onesoa @{} {name} AXFR -y {key} | sed -E 's/(SOA\\s+\\S+ \\S+) [0-9]+/\\1 SERIAL/' | sort",
            self.lab.ip(self.primary)
        ));
        let file = match self.primary {
            "knot" => self.lab.sh("knot", &format!("knotc -b -f zone-flush {name} >/dev/null; grep -v '^;;' /var/lib/knot/{name}.zone | sed -E 's/(SOA\\s+\\S+ \\S+) [0-9]+/\\1 SERIAL/'")),
            _ => self.lab.sh("bind", &format!("rndc sync {name}; sleep 0.2; sed -E 's/^\\s+[0-9]+\\s+; serial/SERIAL/' /var/lib/bind/{name}")),
        };
        assert!(axfr.contains("SERIAL") && file.contains("SERIAL"), "{axfr}\n{file}");
        (axfr, file)
    }

    /// Makes the server write the zone in its own form.
    fn settle(&self) {
        let key = format!("hmac-sha256:cutover.acme.test:{SECRET}");
        let (name, at) = (self.name, self.lab.ip(self.primary));
        for word in ["add probe.NAME 1 A 192.0.2.7", "delete probe.NAME A"] {
            let word = word.replace("NAME", name);
            self.lab.sh(
                "bind",
                &format!("printf 'server {at}\\nzone {name}\\nupdate {word}\\nsend\\n' | nsupdate -y {key}"),
            );
        }
    }
}

/// There to a stage, and back.
fn there_and_back(zone: &Zone, stage: &str) {
    let before = zone.shown();
    zone.window(8, 12, "");
    zone.up_to(stage);
    assert_ne!(zone.shown().0, before.0, "{stage} of {} did nothing", zone.name);
    let shown = zone.run(&["rollback", "back", "--plan"]);
    assert!(shown.1.contains("L + t") || stage == "publish", "{}", shown.1);
    let began = Instant::now();
    let (code, said) = zone.run(&["rollback", "back", "--yes", "--wait", "10m"]);
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{stage} of {}: {said}", zone.name);
    let after = zone.shown();
    assert_eq!(after.0, before.0, "{stage} of {}: the transfer", zone.name);
    assert_eq!(after.1, before.1, "{stage} of {}: the file", zone.name);
    eprintln!("{} on {}: back from {stage} in {:.1} s", zone.name, zone.primary, took.as_secs_f64());
    zone.before();
    let (code, said) = zone.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(code, Some(0), "the old side is ours as before: {said}");
}

#[test]
fn a_zone_comes_back_byte_for_byte_from_every_stage_on_knot_and_bind() {
    let Some(lab) = world() else { return };
    let rounds = number("CUTOVER_CUTOVERS", 1);
    let zones = [Zone::new(&lab, "k.test", "knot", "bind"), Zone::new(&lab, "b.test", "bind", "knot")];
    std::thread::scope(|s| {
        for (i, zone) in zones.iter().enumerate() {
            s.spawn(move || {
                zone.settle();
                zone.before();
                let (code, said) = zone.run(&["apply", "--yes"]);
                assert_eq!(code, Some(0), "{said}");
                for _ in 0..rounds {
                    for stage in STAGES {
                        // A sample: some of the stages on one server, others on the other.
                        let sample = [["flip-mx", "prune"], ["lower-ttl", "verify"]][i];
                        if rounds > 1 || sample.contains(&stage) {
                            there_and_back(zone, stage);
                        }
                    }
                }
            });
        }
    });

    // BIND stands still: it has the zone as a file of its own, and hears of nothing.
    let zone = &zones[0];
    lab.sh("bind", "sleep 1; rndc sync k.test; cp /var/cache/bind/k.test /var/cache/bind/k.old; sed -i 's/type secondary; primaries.*/type primary; file \"\\/var\\/cache\\/bind\\/k.old\"; };/' /etc/bind/named.conf; systemctl restart named");
    zone.lab.sh(
        "bind",
        "for i in 1 2 3 4 5 6 7 8 9; do dig +short @127.0.0.1 k.test MX | grep -q old && break; sleep 0.3; done",
    );
    zone.lab
        .sh("knot", "knotc zone-begin k.test; knotc zone-set k.test intranet 2 A 192.0.2.9; knotc zone-commit k.test");
    lab.sh("bind", "echo 'intranet.k.test. 2 IN A 192.0.2.9' >> /var/cache/bind/k.old; rndc reload k.test");
    std::thread::sleep(Duration::from_millis(500));
    let before = zone.shown();
    zone.window(30, 10, &format!("step lower-ttl timeout=\"{}s\"\n", 4 * SCALE));
    let (code, said) = zone.run(&["apply", "--window", "night", "--short-lead", "--yes", "--wait", "10m"]);
    assert_eq!(code, Some(1), "{said}");
    let bind = lab.ip("bind").to_string();
    assert!(
        said.contains("on-timeout=rollback") && said.contains(&bind) && said.contains("the window is taken back"),
        "{said}"
    );
    assert_eq!(zone.shown(), before, "{said}");
    assert!(Path::new(&zone.root).exists());
    eprintln!(
        "a secondary that never follows: {}",
        said.lines().find(|l| l.contains("on-timeout=rollback")).unwrap_or_default()
    );
}
