//! The proxy by hand, with one file and no deployer, in front of a Cyrus: a server that says things in its own way.
#![allow(clippy::print_stderr)] // the table of clients is the result

use std::process::Command;

use crate::lab_auth::until;
use crate::support::cyrus::cyrus;
use crate::support::lab::Lab;

const CLIENTS: &str = include_str!("support/clients.sh");

const CONFIG: &str = r#"
[proxy]
name = "gate.acme.test"
state = "/root/state"
control = "/root/control.sock"
[[listen]]
protocol = "imap"
address = "[::]:143"
[[listen]]
protocol = "imap"
address = "[::]:993"
tls = "implicit"
[[listen]]
protocol = "pop3"
address = "[::]:110"
[[listen]]
protocol = "pop3"
address = "[::]:995"
tls = "implicit"
[[certificate]]
chain = "/root/gate.pem"
key = "/root/gate.key"
[side.old.imap]
servers = ["cyrus.acme.test:993"]
tls = "implicit"
ca = "/root/cyrus.pem"
[side.old.pop3]
servers = ["cyrus.acme.test:110"]
tls = "starttls"
ca = "/root/cyrus.pem"
[side.new.imap]
servers = ["cyrus.acme.test:143"]
ca = "/root/cyrus.pem"
[side.new.pop3]
servers = ["cyrus.acme.test:995"]
tls = "implicit"
ca = "/root/cyrus.pem"
"#;

#[test]
fn mail_programs_reach_a_cyrus_through_the_proxy() {
    let Some(lab) = Lab::new("pxcyrus").host("cyrus").host("gate").up() else { return };
    // One each, as Cyrus lets nobody else into a mailbox that somebody reads by POP3.
    let users = [("olga", "Zq7-olga-cyrus"), ("nina", "Zq7-nina-cyrus"), ("pia", "Zq7-pia-cyrus")];
    let certificate = std::thread::scope(|s| {
        let made = s.spawn(|| cyrus(&lab, "cyrus", &users));
        lab.sh(
            "gate",
            "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq -y --no-install-recommends curl isync fetchmail mutt \
             offlineimap3 python3 openssl ca-certificates >/tmp/install.log 2>&1 || { tail /tmp/install.log; exit 1; }",
        );
        made.join().expect("cyrus")
    });
    let program = cutover::lab::Engine::find().expect("an engine").kind.program();
    let to = format!("{}:/usr/local/bin/cutover-proxy", lab.container("gate"));
    let copied = Command::new(program).args(["cp", env!("CARGO_BIN_EXE_cutover-proxy"), &to]).status();
    assert!(copied.expect("the engine runs").success());
    for (file, text) in [("proxy.toml", CONFIG), ("clients.sh", CLIENTS), ("cyrus.pem", &certificate)] {
        lab.sh("gate", &format!("cat > /root/{file} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"));
    }
    let (gate, far) = (lab.ip("gate"), lab.ip("cyrus"));
    lab.sh(
        "gate",
        &format!(
            "printf '{gate} gate.acme.test\\n{far} cyrus.acme.test\\n' >> /etc/hosts; cd /root; \
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=gate -addext subjectAltName=DNS:gate.acme.test -keyout gate.key -out gate.pem 2>/dev/null; \
             cp gate.pem /usr/local/share/ca-certificates/gate.crt; cp cyrus.pem /usr/local/share/ca-certificates/cyrus.crt; update-ca-certificates >/dev/null 2>&1; \
             install -d -m 0700 state; cutover-proxy check proxy.toml; systemd-run -q --unit=proxy cutover-proxy serve --config /root/proxy.toml"
        ),
    );
    until(&lab, "gate", "test -S /root/control.sock");
    lab.sh("gate", "cutover-proxy route set nina --to new --socket /root/control.sock");
    for (name, password) in users {
        lab.sh("gate", &format!("python3 -c \"import imaplib,ssl;c=imaplib.IMAP4_SSL('gate.acme.test',ssl_context=ssl.create_default_context());c.login('{name}','{password}');print(c.append('INBOX',None,None,b'From: x@y.example\\r\\nTo: {name}@acme.test\\r\\nSubject: canary\\r\\nDate: Mon, 23 Nov 2026 10:00:00 +0000\\r\\nMessage-ID: <1@y>\\r\\n\\r\\ncanary-body\\r\\n'));c.logout()\""));
    }
    let run = |host: &str, (name, password): (&str, &str)| {
        let out = lab.try_sh("gate", &format!("sh /root/clients.sh {host} {name} '{password}' /tmp/{host}-{name}"));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        // Submission is not Cyrus's.
        text.lines().filter(|l| !l.contains(" smtp ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let results: Vec<Vec<String>> = std::thread::scope(|s| {
        let runs = [("cyrus.acme.test", users[0]), ("gate.acme.test", users[2]), ("gate.acme.test", users[1])];
        let threads: Vec<_> = runs.map(|(host, user)| s.spawn(move || run(host, user))).into_iter().collect();
        threads.into_iter().map(|t| t.join().expect("clients")).collect()
    });
    eprintln!(
        "direct:\n{}\nby the proxy, old:\n{}\nby the proxy, new:\n{}",
        results[0].join("\n"),
        results[1].join("\n"),
        results[2].join("\n")
    );
    assert!(results[0].len() >= 16, "{results:?}");
    for (way, lines) in ["direct", "old", "new"].into_iter().zip(&results) {
        let bad: Vec<&String> = lines.iter().filter(|l| !l.ends_with(" ok")).collect();
        assert!(bad.is_empty(), "{way}: {bad:?}");
    }
}
