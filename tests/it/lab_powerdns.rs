//! A zone of PowerDNS over its HTTP interface: the server from its role pack on a bare host, Knot as its secondary; records there and
//! back, others' records, an editor who is faster, kills, many records, and a window. `CUTOVER_RECORDS=10000` for the full form.
#![allow(clippy::print_stderr)] // times are part of the result

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cli::{Run, Sandbox, finish};
use crate::support::lab::Lab;

const KEY: &str = "an-api-key-that-nobody-sees";

struct World {
    lab: Lab,
    box_: Sandbox,
    key: &'static str,
    /// Instead of the server's own address.
    endpoint: Option<SocketAddr>,
}

impl World {
    fn new(name: &str) -> Option<Self> {
        let lab = Lab::new(name).host("ns").host("ns2").up()?;
        Some(Self { lab, box_: Sandbox::new(), key: KEY, endpoint: None })
    }

    fn api(&self) -> SocketAddr {
        SocketAddr::new(self.lab.ip("ns"), 8081)
    }

    /// Writes the topology with these records; `more` stands behind the zone.
    fn wants(&self, records: &str, more: &str) {
        let lab = &self.lab;
        let net = lab.ip("ns").to_string();
        let (net, _) = net.rsplit_once('.').expect("IPv4");
        let mut text = format!(
            "language 1\norganization acme domain=acme.test anchor=ns\nsite s\nsubnet lan cidr=\"{net}.0/24\" site=s\n\
             platform pdns powerdns=\"4.7\"\nplatform knot knot=\"3.2\"\naccepted-domain acme.test\n"
        );
        for (host, platform) in [("ns", "pdns"), ("ns2", "knot")] {
            let access = lab.access(host);
            text += &format!(
                "server {host} platform={platform} site=s ip=\"{}\" {{\n    roles dns\n    connection user=root key=(secret)\"file:{}\" \
                 host-key=\"{}\"\n}}\n",
                access.address,
                lab.key().display(),
                access.host_key.expect("pinned"),
            );
        }
        let endpoint = self.endpoint.map(|at| format!("endpoint=\"http://{at}\"")).unwrap_or_default();
        text += &format!(
            "dns-provider api type=powerdns host=ns {endpoint} key=(secret)\"env:POWERDNS_KEY\"\n\
             zone acme.test provider=api ttl=\"300s\" cutover-ttl=\"2s\" protect=#false {{\n    record \"@\" NS ns.acme.test ns2.acme.test\n    \
             record ns A to=server:ns\n    record ns2 A to=server:ns2\n{records}\n}}\n{more}"
        );
        self.box_.write("topology.kdl", &text);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.box_.command(args);
        command.env("POWERDNS_KEY", self.key);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = finish(self.command(args));
        assert!(!run.out.contains(self.key) && !run.err.contains(self.key), "the key is shown");
        run
    }

    /// Asks the interface past the program; the body of its answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let answer = asked(self.api(), method, path, body);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.contains(" 200 ") || head.contains(" 204 "), "{method} {path}: {answer}");
        body.to_owned()
    }

    /// By another hand.
    fn patch(&self, name: &str, kind: &str, contents: &[&str]) {
        self.ask("PATCH", ZONE, &body(name, kind, contents));
    }

    /// What the database has, serials and all that only the name servers say apart.
    fn rows(&self, which: &str) -> String {
        self.lab.sh(
            "ns",
            &format!(
                "sqlite3 /var/lib/powerdns/pdns.sqlite3 \"select name,type,content,ttl,prio,disabled from records where type <> 'SOA' and {which} \
                 order by name,type,content; select name,type,account,comment from comments order by name\""
            ),
        )
    }

    fn last(&self) -> String {
        let json = self.run(&["history", "--format", "json"]).ends(0).out;
        let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        list[0]["apply"].as_str().expect("an id").to_owned()
    }
}

const ZONE: &str = "/api/v1/servers/localhost/zones/acme.test.";

fn body(name: &str, kind: &str, contents: &[&str]) -> String {
    let records: Vec<_> = contents.iter().map(|c| serde_json::json!({"content": c, "disabled": false})).collect();
    serde_json::json!({"rrsets": [{"name": name, "type": kind, "ttl": 300, "changetype": "REPLACE", "records": records}]})
        .to_string()
}

fn asked(at: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("PowerDNS");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Passes requests on; before each `PATCH`, somebody else is faster `times` times.
fn beside(to: SocketAddr, times: u32, theirs: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = listener.local_addr().expect("an address");
    let left = Arc::new(AtomicU32::new(times));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (left, theirs) = (left.clone(), theirs.clone());
            std::thread::spawn(move || pass(stream, to, &left, &theirs));
        }
    });
    here
}

fn pass(mut near: TcpStream, to: SocketAddr, left: &AtomicU32, theirs: &str) -> Option<()> {
    let mut request = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let n = near.read(&mut piece).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&piece[..n]);
        let Some(head) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if request.len() >= head + 4 + length {
            break;
        }
    }
    if request.starts_with(b"PATCH")
        && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
    {
        asked(to, "PATCH", ZONE, theirs);
    }
    let mut far = TcpStream::connect(to).ok()?;
    far.write_all(&request).ok()?;
    std::io::copy(&mut far, &mut near).ok()?;
    near.shutdown(std::net::Shutdown::Both).ok()
}

const MAIL: &str = "    record \"@\" MX mail.acme.test priority=10\n    record mail A \"192.0.2.10\"\n    record \"bücher\" TXT \"v=spf1 \\\"x\\\" -all\"\n    \
                    record \"_25._tcp.mail\" TLSA \"3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\"\n    \
                    record www CNAME mail.acme.test\n    record \"@\" CAA \"0 issue \\\"ca.example\\\"\"\n    \
                    record \"_imaps._tcp\" SRV \"0 1 993 mail.acme.test\"\n";

#[test]
fn from_a_bare_host_to_records_and_back() {
    let Some(mut world) = World::new("pdns") else { return };
    let began = Instant::now();
    world.wants(MAIL, "");
    world.run(&["plan", "--detailed-exitcode"]).ends(2).says("zone.acme.test/record-set:acme.test./MX");
    world.run(&["apply", "--yes"]).ends(0);
    eprintln!("PowerDNS, Knot as secondary and a zone from bare hosts: {:.1} s", began.elapsed().as_secs_f64());
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.run(&["drift"]).ends(0);
    follows(&world);

    // Others write too: a set of theirs with a record that is not served and a comment, and a record beside ours.
    world.ask("PATCH", ZONE, r#"{"rrsets":[{"name":"their.acme.test.","type":"TXT","ttl":77,"changetype":"REPLACE","records":[{"content":"\"not  ours \\200 ;\" \"cut\"","disabled":false},{"content":"\"off\"","disabled":true}],"comments":[{"content":"a phone rings","account":"kim"}]}]}"#);
    world.ask("PATCH", ZONE, r#"{"rrsets":[{"name":"mail.acme.test.","type":"A","ttl":300,"changetype":"REPLACE","records":[{"content":"192.0.2.10","disabled":false},{"content":"192.0.2.66","disabled":true}],"comments":[{"content":"the gate","account":"kim"}]}]}"#);
    let (before, theirs) = (world.rows("1"), world.rows("name = 'their.acme.test'"));
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let changed = MAIL
        .replace("priority=10", "priority=20")
        .replace("\"192.0.2.10\"", "\"192.0.2.11\" \"192.0.2.12\"")
        .replace("record www CNAME mail.acme.test", "record www A \"192.0.2.22\"");
    world.wants(&changed, "");
    world.run(&["apply", "--yes"]).ends(0);
    let id = world.last();
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    assert_ne!(world.rows("1"), before);
    assert_eq!(world.rows("name = 'their.acme.test'"), theirs, "foreign records stay as they are");
    assert!(
        world.rows("name = 'mail.acme.test'").contains("192.0.2.66|300|0|1"),
        "a record that is off stays, beside ours"
    );
    world.run(&["undo", &id, "--yes"]).ends(0);
    assert_eq!(world.rows("1"), before, "identical but for the serial");

    // Changed between plan and apply: refused, and nothing is written.
    world.wants(&changed, "");
    world.run(&["plan", "--out", "plan.cut"]).ends(0);
    world.patch("acme.test.", "MX", &["5 theirs.acme.test."]);
    let now = world.rows("1");
    world.run(&["apply", "--yes", "plan.cut"]).ends(1).says("changed");
    assert_eq!(world.rows("1"), now);
    world.run(&["drift"]).ends(2).says("zone.acme.test/record-set:acme.test./MX");
    world.run(&["apply", "--yes"]).ends(0);
    // What is not ours is not taken over.
    world.wants(&format!("{changed}    record their TXT \"ours\"\n"), "");
    world.run(&["plan"]).ends(1).says("adopt=#true");

    in_the_same_instant(&mut world, &changed);
    refusals(&mut world, &changed);
    window(&world, &changed);

    world.wants(&changed, "");
    // What somebody else has changed is not taken away: ours is put back first.
    world.run(&["apply", "--yes"]).ends(0);
    world.run(&["destroy", "--yes", "acme", "--target", "zone.acme.test"]).ends(0);
    let left = world.rows("1");
    assert!(left.contains("their.acme.test|TXT") && !left.contains("|MX|"), "{left}");
}

/// The secondary serves what the primary does.
fn follows(world: &World) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let said = world.run(&["dns", "verify", "acme.test"]);
        if said.code == 0 {
            return;
        }
        assert!(Instant::now() < until, "the secondary does not follow: {said:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Somebody writes between our last look and our change: what is overwritten then is told.
fn in_the_same_instant(world: &mut World, records: &str) {
    let theirs = body("acme.test.", "MX", &["7 faster.acme.test."]);
    world.endpoint = Some(beside(world.api(), 1, theirs));
    world.wants(&records.replace("priority=20", "priority=30"), "");
    world.run(&["apply", "--yes"]).ends(1).says("in the same instant");
    world.endpoint = None;
    world.wants(&records.replace("priority=20", "priority=30"), "");
    assert!(world.rows("type = 'MX'").contains("mail.acme.test|300|30|0"), "ours came last");
    world.run(&["apply", "--yes"]).ends(0);
    world.wants(records, "");
    world.run(&["apply", "--yes"]).ends(0);
}

fn refusals(world: &mut World, records: &str) {
    // What PowerDNS does not take fails alone, in its own words; what came with it is done.
    world.wants(&format!("{records}    record mail CNAME www.acme.test\n    record alive A \"192.0.2.30\"\n"), "");
    let failed = world.run(&["apply", "--yes"]).ends(1);
    assert!(format!("{failed:?}").contains("onflicts with pre-existing"), "{failed:#?}");
    assert!(world.rows("1").contains("alive.acme.test"));
    world.wants(records, "");
    world.run(&["apply", "--yes"]).ends(0);
    // Who could not be asked is never without records.
    world.key = "another-key-that-is-wrong";
    world.run(&["plan"]).ends(1).says("401").says("api-key");
    world.key = KEY;
    world.lab.sh("ns", "systemctl stop pdns");
    world.run(&["plan"]).ends(1).says("cannot be reached");
    world.lab.sh("ns", "systemctl start pdns");
    let text = world.box_.read("topology.kdl");
    world.box_.write(
        "topology.kdl",
        &format!("{text}dns-provider other type=powerdns endpoint=\"http://{}\" key=(secret)\"env:POWERDNS_KEY\"\nzone other.test provider=other {{ record a A \"192.0.2.1\"; }}\n", world.api()),
    );
    world.run(&["plan"]).ends(1).says("404").says("has no zone other.test");
    world.box_.write(
        "topology.kdl",
        &text.replace("type=powerdns host=ns", &format!("type=powerdns host=ns endpoint=\"https://{}\"", world.api())),
    );
    world.run(&["plan"]).ends(1).says("(TLS)");
    world.wants(records, "");
}

/// The MX moves in a window whose barriers ask PowerDNS and its secondary, the program is killed on the way, and back.
fn window(world: &World, records: &str) {
    let before = world.rows("1");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64;
    let start = jiff::Timestamp::from_second(now + 12).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
    let records = records.replace(
        "record \"@\" MX mail.acme.test priority=20",
        "record \"@\" MX new.acme.test priority=20 held-until=night ttl=\"3s\"",
    );
    world.patch("new.acme.test.", "A", &["192.0.2.99"]);
    // The old answers have a TTL that a test can wait for.
    world.ask("PATCH", ZONE, &body("acme.test.", "MX", &["20 mail.acme.test."]).replace("300", "3"));
    world.ask("PATCH", ZONE, &body("mail.acme.test.", "A", &["192.0.2.11", "192.0.2.12"]).replace("300", "3"));
    let tlsa = "3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    world.ask("PATCH", ZONE, &body("_25._tcp.mail.acme.test.", "TLSA", &[tlsa]).replace("300", "3"));
    let records = records.replace("\"192.0.2.12\"", "\"192.0.2.12\" ttl=\"3s\"");
    world.wants(
        &records,
        &format!(
            "rollback-point back restores=dns valid-for=\"1d\"\n\
             cutover-window night start=\"{start}\" for=\"600s\" rollback=back {{ steps lower-ttl flip-mx verify raise-ttl prune; }}\n"
        ),
    );
    let apply = ["apply", "--window", "night", "--short-lead", "--yes", "--wait", "1m"];
    let mut child = world
        .command(&apply)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("runs");
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until && !world.rows("type = 'MX'").contains("|2|") {}
    child.kill().expect("killed");
    child.wait().expect("gone");
    world.run(&["resume", "--wait", "1m"]).ends(3).says("waits until");
    assert!(world.rows("type = 'MX'").contains("new.acme.test|2|20|0"), "{}", world.rows("type = 'MX'"));
    world.run(&["rollback", "back", "--yes"]).ends(0);
    let after = world.rows("type = 'MX'");
    assert!(after.contains("mail.acme.test|3|20|0"), "{after}");
    world.patch("new.acme.test.", "A", &[]);
    let mx = |rows: &str| {
        rows.lines()
            .filter(|l| !l.contains("|MX|") && !l.contains("mail.acme.test|A|") && !l.contains("|TLSA|"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(mx(&world.rows("1")), mx(&before), "the zone is what it was");
}

#[test]
fn many_records_come_change_and_survive_kills() {
    let Some(world) = World::new("pdnsmany") else { return };
    world.wants("", "");
    world.run(&["apply", "--yes"]).ends(0);
    let records: usize = std::env::var("CUTOVER_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let many = |ttl: u32| format!("    record \"h[1:{records}]\" A \"192.0.2.9\" ttl=\"{ttl}s\"\n");
    world.wants(&many(300), "");
    let began = Instant::now();
    world.run(&["apply", "--yes"]).ends(0);
    eprintln!("{records} records made, compile and plan included: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    eprintln!("their plan: {:.1} s", began.elapsed().as_secs_f64());
    world.wants(&many(600), "");
    world.run(&["plan"]).ends(1).says("--exceed updates");
    let mut kills = 0;
    for wait in [1500, 3000] {
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
    assert_eq!(world.rows("ttl = 600").lines().count(), records);
}
