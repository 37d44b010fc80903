//! The proxy on two gates, between an old Dovecot and a new pair, as its role pack deploys it: real mail programs come through it, users
//! move while others work, gates die, and no password is left anywhere.
#![allow(clippy::print_stderr)] // the table of clients is the result

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use cutover::lab::Fault;

use crate::cli::{Run, Sandbox};
use crate::lab_auth::{server, until};
use crate::support::lab::Lab;

const CLIENTS: &str = include_str!("support/clients.sh");
const TRAFFIC: &str = include_str!("support/traffic.py");

/// Users of the lab beside `olga`, who stays on the old side, and `nina`, who is moved first. `CUTOVER_PROXY_USERS` is for soaks.
fn others() -> usize {
    std::env::var("CUTOVER_PROXY_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

pub struct World {
    pub lab: Lab,
    box_: Sandbox,
    passwords: BTreeMap<String, String>,
}

impl World {
    /// Two gates, old side, new pair, and a host with mail programs; applied.
    pub fn new(name: &str, others: usize) -> Option<Self> {
        let lab = Lab::new(name)
            .host("old")
            .host("mail-1")
            .host("mail-2")
            .host("gate-1")
            .host("gate-2")
            .host("client")
            .up()?;
        let names = (1..=others).map(|n| format!("u{n}")).chain(["olga", "nina"].map(str::to_owned));
        // No word of these stands in any program, so a search that finds one has found a password.
        let passwords = names.map(|n| (n.clone(), format!("Zq7-{n}-canary-{}", std::process::id()))).collect();
        let world = Self { lab, box_: Sandbox::new(), passwords };
        world.box_.write("topology.kdl", &world.topology());
        std::thread::scope(|s| {
            s.spawn(|| world.mail_programs());
            world.run(&["apply", "--yes"]).ends(0);
        });
        world.lab.sh("gate-1", "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends tcpdump >/tmp/install.log 2>&1 || { tail /tmp/install.log; exit 1; }");
        // Users come by one name, which leads to both gates.
        let hosts: String = world.hosts();
        world.lab.sh("client", &format!("printf '{hosts}' >> /etc/hosts"));
        let ca = world.lab.sh("gate-1", "cat /etc/ssl/cutover/ca.pem");
        world.lab.sh("client", &format!("cat > /usr/local/share/ca-certificates/cutover.crt <<'X'\n{ca}\nX\nupdate-ca-certificates >/dev/null 2>&1"));
        for (file, text) in [("clients.sh", CLIENTS), ("traffic.py", TRAFFIC)] {
            world.lab.sh("client", &format!("cat > /root/{file} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"));
        }
        Some(world)
    }

    fn hosts(&self) -> String {
        let one = |(host, name): (&str, &str)| format!("{} {name}\\n", self.lab.ip(host));
        [
            ("old", "old.acme.test"),
            ("mail-1", "mail-1.acme.test"),
            ("mail-2", "mail-2.acme.test"),
            ("gate-1", "mail.acme.test"),
            ("gate-2", "mail.acme.test"),
            ("gate-1", "gate-1.acme.test"),
            ("gate-2", "gate-2.acme.test"),
        ]
        .map(one)
        .concat()
    }

    fn mail_programs(&self) {
        self.lab.sh(
            "client",
            "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq -y --no-install-recommends curl isync fetchmail swaks \
             libnet-ssleay-perl libio-socket-ssl-perl mutt offlineimap3 python3 ca-certificates >/tmp/install.log 2>&1 || { tail /tmp/install.log; exit 1; }",
        );
        for gate in ["gate-1", "gate-2"] {
            let hosts = self.hosts();
            self.lab.sh(gate, &format!("printf '{hosts}' >> /etc/hosts"));
        }
    }

    fn topology(&self) -> String {
        let subnet = self.lab.ip("old").to_string();
        let subnet = subnet.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).expect("an address");
        let accounts: String = self
            .passwords
            .keys()
            .map(|n| format!("mail-account {n}@acme.test password=(secret)\"env:P_{n}\" {{ on store old; }}\n"))
            .collect();
        let servers: String = [
            ("old", "imap smtp"),
            ("mail-1", "imap smtp"),
            ("mail-2", "imap smtp"),
            ("gate-1", "relay proxy"),
            ("gate-2", "relay proxy"),
        ]
        .map(|(host, roles)| server(&self.lab, host, "open", roles))
        .concat();
        format!(
            "language 1\norganization acme domain=acme.test anchor=gate-1\nsite s\nsubnet lab cidr=\"{subnet}\" site=s\n\
platform open postfix=\"3.7\" dovecot=\"2.3\"\n{servers}pair store {{ members \"mail-[1:2]\"; }}\n\
accepted-domain acme.test default=#true postmaster=olga@acme.test\n{accounts}\
certificate tls subject=mail.acme.test issuer=internal {{ names \"[gate-1,gate-2,mail-1,mail-2,old].acme.test\"; on \"gate-[1:2]\" \"mail-[1:2]\" old; }}\n\
legacy former product=dovecot server=old {{ services imap pop3 smtp; }}\n\
proxy front old=former new=store {{ on \"gate-[1:2]\"; listen imap imaps pop3 pop3s submission submissions; limits per-address=1000; }}\n"
        )
    }

    pub fn run(&self, args: &[&str]) -> Run {
        let mut command = self.box_.command(args);
        for (name, password) in &self.passwords {
            command.env(format!("P_{name}"), password);
        }
        crate::cli::finish(command)
    }

    pub fn routes(&self, args: &[&str]) -> Run {
        self.run(&[&["routes"], args].concat())
    }

    fn password(&self, name: &str) -> &str {
        &self.passwords[name]
    }

    /// Where the messages of a user lie on a host that have this text.
    fn lies(&self, host: &str, name: &str, text: &str) -> bool {
        self.lab.try_sh(host, &format!("grep -rqsF '{text}' /var/vmail/acme.test/{name}")).status.success()
    }

    /// A letter from outside, by port 25 of a gate.
    fn letter(&self, gate: &str, to: &str, text: &str) -> bool {
        let line = format!(
            "swaks --server {gate}.acme.test -p 25 --ehlo client.elsewhere.example -f someone@elsewhere.example -t {to}@acme.test --header 'Subject: {text}' --body '{text}' --timeout 60"
        );
        self.lab.try_sh("client", &line).status.success()
    }

    /// Logs in once and says on which side: only the old one has a folder of that name.
    fn side(&self, host: &str, name: &str) -> String {
        let program = format!(
            "import imaplib,ssl;c=imaplib.IMAP4_SSL('{host}',ssl_context=ssl.create_default_context(),timeout=30);c.login('{name}@acme.test','{}');print('old' if b'of-the-old-side' in b' '.join(c.list()[1]) else 'new')",
            self.password(name)
        );
        let out = self.lab.try_sh("client", &format!("python3 -c \"{program}\""));
        match out.status.success() {
            true => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
            false => String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().to_owned(),
        }
    }

    /// The same letter in the mailboxes of both sides, and a folder that tells them apart.
    fn furnish(&self) {
        let names: Vec<&str> = self.passwords.keys().map(String::as_str).collect();
        let names = names.join(" ");
        for host in ["old", "mail-1"] {
            let folder = if host == "old" { "doveadm mailbox create -u $n@acme.test of-the-old-side;" } else { "" };
            self.lab.sh(host, &format!("for n in {names}; do {folder} printf 'From: x@elsewhere.example\\nTo: %s@acme.test\\nSubject: canary\\nMessage-ID: <%s@x>\\nDate: Mon, 23 Nov 2026 10:00:00 +0000\\n\\ncanary-body\\n' $n $n | sendmail -f x@elsewhere.example $n@acme.test; done"));
        }
        for host in ["old", "mail-1", "mail-2"] {
            until(
                &self.lab,
                host,
                &format!("for n in {names}; do grep -rqs canary-body /var/vmail/acme.test/$n || exit 1; done"),
            );
        }
    }

    /// Every mail program against one host; lines `PROGRAM PROTOCOL TLS RESULT`.
    fn clients(&self, host: &str, name: &str) -> BTreeMap<String, String> {
        let password = self.password(name);
        let out = self
            .lab
            .try_sh("client", &format!("sh /root/clients.sh {host} {name}@acme.test '{password}' /tmp/{host}-{name}"));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        eprint!("{}", String::from_utf8_lossy(&out.stderr));
        text.lines().filter_map(|l| l.rsplit_once(' ')).map(|(what, how)| (what.to_owned(), how.to_owned())).collect()
    }

    /// Users at work for so many seconds, while something is done; what they met.
    fn at_work<T>(&self, seconds: u32, users: &[String], act: impl FnOnce() -> T) -> (serde_json::Value, T) {
        let list: String = users
            .iter()
            .map(|u| {
                format!(
                    "{}{}@acme.test {}\n",
                    if u.starts_with('!') { "!" } else { "" },
                    u.trim_start_matches('!'),
                    self.password(u.trim_start_matches('!'))
                )
            })
            .collect();
        self.lab.sh("client", &format!("cat > /root/users <<'X'\n{list}X"));
        std::thread::scope(|s| {
            let work = s.spawn(|| {
                self.lab.sh("client", &format!("python3 /root/traffic.py mail.acme.test {seconds} /root/users"))
            });
            std::thread::sleep(Duration::from_secs(3));
            let acted = act();
            let report = work.join().expect("traffic");
            (serde_json::from_str(&report).expect("JSON"), acted)
        })
    }
}

/// Errors of all users in a report, each with its user.
fn errors(report: &serde_json::Value) -> Vec<String> {
    let users = report.as_object().expect("users").iter();
    users.flat_map(|(u, r)| r["errors"].as_array().expect("list").iter().map(move |e| format!("{u}: {e}"))).collect()
}

#[test]
fn users_move_one_by_one_and_nobody_else_notices() {
    let Some(world) = World::new("proxy", others()) else { return };
    world.furnish();
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    hardened(&world);

    // Everybody is on the old side, until their route says otherwise, on both gates at once.
    assert_eq!(world.side("gate-1.acme.test", "nina"), "old");
    world.routes(&["set", "nina@acme.test", "--to", "new"]).ends(0).says("on gate-1, gate-2");
    for gate in ["gate-1.acme.test", "gate-2.acme.test"] {
        assert_eq!(world.side(gate, "nina"), "new", "{gate}");
        assert_eq!(world.side(gate, "olga"), "old", "{gate}");
    }
    world.routes(&["set", "NINA@acme.test", "--to", "new"]).ends(0);
    world.routes(&["show"]).ends(0).says("new      nina@acme.test").says("1 routes on gate-1, gate-2");

    wire(&world);
    port_25(&world);
    held_mail(&world);
    matrix(&world);
}

/// Run by `tests/soak/proxy/users`.
#[test]
#[ignore = "minutes: 200 users at work, a gate that dies"]
fn nobody_is_disturbed_by_moves_and_dying_gates() {
    let Some(world) = World::new("proxysoak", others()) else { return };
    world.furnish();
    world.routes(&["set", "nina@acme.test", "u1@acme.test", "u4@acme.test", "--to", "new"]).ends(0);
    a_move_amid_traffic(&world);
    a_gate_dies(&world);
    no_password_is_left(&world);
    held_mail(&world);
}

/// `systemd-analyze security`: a score of 10 is a service without any protection.
fn hardened(world: &World) {
    let said = world.lab.sh("gate-1", "systemd-analyze security cutover-proxy --no-pager | tail -1");
    eprintln!("{said}");
    let score: f64 =
        said.split(": ").nth(1).and_then(|t| t.split(' ').next()).and_then(|n| n.parse().ok()).expect("a score");
    assert!(score < 2.0, "{said}");
    let owner = world.lab.sh("gate-1", "stat -c %U /proc/$(systemctl show -P MainPID cutover-proxy)/task");
    assert_eq!(owner, "cutover-proxy");
}

/// What crosses the line is not readable: neither in front nor behind. The capture is looked at for something that must be in it.
fn wire(world: &World) {
    let gate = "gate-1.acme.test";
    world.lab.sh(
        "gate-1",
        "systemd-run -q --unit=wire tcpdump -i any -Z root -U -w /tmp/wire.pcap 'tcp and not port 22'; sleep 1",
    );
    for (name, tls) in [("olga", "imaps"), ("nina", "imap"), ("olga", "pop3"), ("nina", "pop3s")] {
        let password = world.password(name);
        world.lab.sh("client", &format!("printf 'user = \"{name}@acme.test:{password}\"\\n' | curl -sS --ssl-reqd -K - {tls}://{gate}/ >/dev/null"));
    }
    world.lab.sh("gate-1", "sleep 1; systemctl stop wire; grep -qi starttls /tmp/wire.pcap");
    for (name, password) in &world.passwords {
        let plain = format!("\\0{name}@acme.test\\0{password}");
        let line = format!("printf '{plain}' | base64 -w0 | cut -c1-40");
        let coded = world.lab.sh("gate-1", &line);
        let found = world.lab.try_sh("gate-1", &format!("grep -acF -e '{password}' -e '{coded}' /tmp/wire.pcap"));
        assert!(!found.status.success(), "the password of {name} is readable on the wire");
    }
}

/// Mail programs that nobody here wrote, against each side, by TLS from the first octet and by STARTTLS, past the proxy and through it.
fn matrix(world: &World) {
    let runs = [
        ("old", "olga", "old.acme.test"),
        ("old", "olga", "gate-1.acme.test"),
        ("new", "nina", "mail-1.acme.test"),
        ("new", "nina", "gate-2.acme.test"),
    ];
    let results: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> = runs.iter().map(|(_, name, host)| s.spawn(|| world.clients(host, name))).collect();
        threads.into_iter().map(|t| t.join().expect("clients")).collect()
    });
    let mut bad = Vec::new();
    eprintln!(
        "| client | protocol | TLS | old direct | old by proxy | new direct | new by proxy |\n|---|---|---|---|---|---|---|"
    );
    for what in results[0].keys() {
        let row: Vec<&str> = results.iter().map(|r| r.get(what).map_or("-", String::as_str)).collect();
        eprintln!("| {} | {} |", what.replace(' ', " | "), row.join(" | "));
        if row.iter().any(|r| *r != "ok") {
            bad.push(format!("{what}: {row:?}"));
        }
    }
    assert!(results[0].len() >= 26, "{:?}", results[0]);
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Mail from outside follows the same routes as logins.
fn port_25(world: &World) {
    assert!(world.letter("gate-1", "olga", "letter-to-olga") && world.letter("gate-2", "nina", "letter-to-nina"));
    until(&world.lab, "old", "grep -rqs letter-to-olga /var/vmail/acme.test/olga");
    until(&world.lab, "mail-1", "grep -rqs letter-to-nina /var/vmail/acme.test/nina");
    assert!(!world.lies("mail-1", "olga", "letter-to-olga") && !world.lies("old", "nina", "letter-to-nina"));
    // The same recipient again, with the change between: nothing is remembered of the former route.
    assert!(world.letter("gate-1", "u4", "letter-before"));
    until(&world.lab, "old", "grep -rqs letter-before /var/vmail/acme.test/u4");
    world.routes(&["set", "u4@acme.test", "--to", "new"]).ends(0);
    assert!(world.letter("gate-1", "u4", "letter-after"));
    until(&world.lab, "mail-1", "grep -rqs letter-after /var/vmail/acme.test/u4");
    assert!(!world.lies("old", "u4", "letter-after"));
    // Somebody who is on neither side is refused while the sender is connected.
    assert!(!world.letter("gate-1", "nobody", "letter-to-nobody"));
}

/// While a user is held no mail of theirs is delivered; it comes when they are let in again.
fn held_mail(world: &World) {
    // While the final delta runs mail waits, and comes when the user is let in again. An extension belongs to its user.
    world.routes(&["hold", "u1@acme.test"]).ends(0).says("u1@acme.test: held on gate-1, gate-2");
    assert!(
        world.letter("gate-1", "u1", "letter-while-held") && world.letter("gate-2", "u1+list", "letter-with-extension")
    );
    std::thread::sleep(Duration::from_secs(3));
    for host in ["old", "mail-1"] {
        assert!(!world.lies(host, "u1", "letter-while-held"), "delivered on {host} while held");
    }
    assert!(world.lab.sh("gate-1", "postqueue -p").contains("u1@acme.test"));
    world.routes(&["release", "u1@acme.test", "--to", "new"]).ends(0);
    until(&world.lab, "mail-1", "grep -rqs letter-while-held /var/vmail/acme.test/u1");
    until(&world.lab, "mail-1", "grep -rqs letter-with-extension /var/vmail/acme.test/u1");
    assert!(!world.lies("old", "u1", "letter-while-held") && !world.lies("old", "u1", "letter-with-extension"));
}

/// One user moves while all others work.
fn a_move_amid_traffic(world: &World) {
    let users: Vec<String> = (2..=others()).map(|n| if n == 2 { "!u2".into() } else { format!("u{n}") }).collect();
    let (report, took) = world.at_work(if users.len() > 50 { 60 } else { 12 }, &users, || {
        let began = Instant::now();
        world.routes(&["set", "u2@acme.test", "--to", "new", "--close"]).ends(0);
        began.elapsed()
    });
    assert_eq!(errors(&report), Vec::<String>::new());
    let moved = &report["u2@acme.test"];
    let asked: u64 = report.as_object().expect("users").values().filter_map(|r| r["asked"].as_u64()).sum();
    eprintln!(
        "moved amid {asked} commands of {} users in {} ms; the moved one met {}",
        users.len(),
        took.as_millis(),
        moved["ended"]
    );
    assert!(moved["logins"].as_u64() >= Some(2), "{moved}");
    assert_eq!(world.side("mail.acme.test", "u2"), "new");
}

/// The proxy of one gate is killed, then the whole gate: users come back, to the same routes.
fn a_gate_dies(world: &World) {
    world.lab.sh("gate-1", "systemctl kill -s KILL cutover-proxy");
    until(&world.lab, "gate-1", "systemctl is-active -q cutover-proxy && test -S /run/cutover-proxy/control.sock");
    for (name, side) in [("nina", "new"), ("u1", "new"), ("olga", "old")] {
        assert_eq!(world.side("gate-1.acme.test", name), side, "{name} after SIGKILL");
    }
    world.routes(&["show"]).ends(0).says("4 routes on gate-1, gate-2");

    world.lab.fault(Fault::Kill { host: "gate-1".into() });
    for (name, side) in [("nina", "new"), ("u1", "new"), ("olga", "old")] {
        assert_eq!(world.side("mail.acme.test", name), side, "{name} with one gate");
    }
    // No gate may be left behind in silence.
    world
        .routes(&["set", "u3@acme.test", "--to", "new"])
        .ends(1)
        .says("gate-1 cannot be asked; nothing was changed")
        .says("--without gate-1");
    assert_eq!(world.side("mail.acme.test", "u3"), "old");
    world.routes(&["set", "u3@acme.test", "--to", "new", "--without", "gate-1"]).ends(0).says("on gate-2");
    world.lab.heal();
    world.lab.sh("gate-1", &format!("grep -q old.acme.test /etc/hosts || printf '{}' >> /etc/hosts", world.hosts()));
    until(&world.lab, "gate-1", "systemctl is-active -q cutover-proxy && test -S /run/cutover-proxy/control.sock");
    // The gate that was away says so, and gets the routes of the other.
    let mut shown = world.routes(&["show"]);
    for _ in 0..20 {
        if shown.code != 1 {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        shown = world.routes(&["show"]);
    }
    shown.ends(2).says("u3@acme.test: none on gate-1, new on gate-2");
    world.routes(&["sync", "--from", "gate-2"]).ends(0);
    world.routes(&["show"]).ends(0).says("5 routes on gate-1, gate-2");
    assert_eq!(world.side("gate-1.acme.test", "u3"), "new");
}

/// Every log, state folder, socket folder, spool and core of the gates. The search finds what was put there to be found.
fn no_password_is_left(world: &World) {
    for gate in ["gate-1", "gate-2"] {
        world.lab.sh(gate, "echo Zq7-control > /tmp/found-by-the-search; journalctl --no-pager -o export > /tmp/journal 2>/dev/null; journalctl --sync --flush 2>/dev/null || true");
        let found = world
            .lab
            .sh(gate, "grep -rlsaF Zq7- /var /run /tmp /etc /root 2>/dev/null | grep -v '^/var/lib/cutover/' || true");
        assert_eq!(found, "/tmp/found-by-the-search", "{gate}");
        assert_eq!(
            world.lab.sh(gate, "find /var/lib/systemd/coredump /core* -type f 2>/dev/null || true"),
            "",
            "{gate}"
        );
        assert!(world.lab.sh(gate, "wc -c < /tmp/journal").parse::<u64>().expect("octets") > 10_000);
    }
}

/// Not a test of the proxy: that the program which is shipped is the one beside `cutover`.
#[test]
fn the_program_stands_beside_cutover() {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_cutover")).parent().expect("a folder");
    assert_eq!(folder.join("cutover-proxy"), std::path::Path::new(env!("CARGO_BIN_EXE_cutover-proxy")));
    assert!(Command::new(env!("CARGO_BIN_EXE_cutover-proxy")).arg("version").status().expect("runs").success());
}
