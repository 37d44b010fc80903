//! `cutover-probe` against a real Dovecot and servers of mail that do as they are told: how far a letter came is told apart.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::dovecot::{Dovecot, free_port};
use crate::support::wire::{backend, read_line};
use serde_json::{Value as Json, json};

/// Takes letters; `deliver` has their octets.
fn takes(deliver: impl Fn(Vec<u8>) + Send + Sync + 'static) -> SocketAddr {
    backend(move |mut line: TcpStream| {
        let say = |line: &mut TcpStream, text: &str| line.write_all(format!("{text}\r\n").as_bytes()).is_ok();
        if !say(&mut line, "220 mail.test ESMTP") {
            return;
        }
        while let Ok(said) = read_line(&mut line) {
            match said.split([' ', '\r']).next().unwrap_or_default() {
                "EHLO" => say(&mut line, "250-mail.test\r\n250 8BITMIME"),
                "RCPT" if said.contains("nobody@") => say(&mut line, "550 5.1.1 no such user"),
                "MAIL" | "RCPT" => say(&mut line, "250 2.1.0 well"),
                "DATA" => {
                    say(&mut line, "354 go on");
                    let mut letter = String::new();
                    while let Ok(part) = read_line(&mut line) {
                        if part.trim_end() == "." {
                            break;
                        }
                        letter += &part;
                    }
                    deliver(letter.into_bytes());
                    say(&mut line, "250 2.0.0 taken")
                }
                _ => return,
            };
        }
    })
}

/// Puts letters where Dovecot finds them, as a server of mail does.
fn delivers(dovecot: &Dovecot) -> SocketAddr {
    let (inbox, uid) = (dovecot.maildir("ann"), dovecot.uid);
    drop(dovecot.client("ann").ask("SELECT INBOX"));
    let count = AtomicU64::new(0);
    takes(move |letter| {
        let name = format!("{}.M1.probe", count.fetch_add(1, Ordering::Relaxed));
        let (tmp, new) = (inbox.join("tmp").join(&name), inbox.join("new").join(&name));
        std::fs::write(&tmp, letter).unwrap();
        std::os::unix::fs::chown(&tmp, Some(uid), None).unwrap();
        std::fs::rename(tmp, new).unwrap();
    })
}

/// Without the waits by which Dovecot slows down whoever had a wrong password: all probes come from one address here.
const PATIENT: &str =
    "auth_failure_delay = 0\nservice anvil {\n unix_listener anvil-auth-penalty {\n mode = 0\n }\n}\n";

struct Probes {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Drop for Probes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn target(at: SocketAddr, host: &str) -> Json {
    json!({ "name": "mail.test", "address": at.ip().to_string(), "port": at.port(), "host": host })
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn probe(name: &str, what: &str, account: &str, targets: Vec<Json>) -> Json {
    json!({
        "name": name, "what": what, "targets": targets, "every": 1, "timeout": 3000, "within": 1000,
        "account": account, "password": null,
    })
}

impl Probes {
    /// Each probe with the file of its password and where its mailbox is read.
    fn start(ca: PathBuf, probes: &[(Json, Option<&str>, Option<Json>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let kept = |(probe, password, read): &(Json, Option<&str>, Option<Json>)| {
            let file = password.map(|text| {
                let path = folder.path().join(format!("{}.password", probe["name"].as_str().unwrap()));
                std::fs::write(&path, format!("{text}\n")).unwrap();
                path
            });
            json!({ "probe": probe, "password": file, "read": read })
        };
        let config = json!({
            "listen": local(port), "from": "watch", "ca": ca, "bounds": [0.5, 1.0, 90.0],
            "probes": probes.iter().map(kept).collect::<Vec<_>>(),
        });
        let file = folder.path().join("probes.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cutover-probe"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, child, port }
    }

    fn page(&self) -> String {
        let get = || -> std::io::Result<String> {
            let mut line = TcpStream::connect(local(self.port))?;
            line.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
            std::io::read_to_string(line)
        };
        get().unwrap_or_default()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until a line of the page has this value at least.
    fn until(&self, series: &str, least: f64) {
        let began = Instant::now();
        loop {
            let page = self.page();
            let value = page.lines().find_map(|l| l.strip_prefix(series)?.trim().parse::<f64>().ok());
            if value.is_some_and(|v| v >= least) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "never {series} {least}:\n{page}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn attempts(probe: &str, target: &str, result: &str) -> String {
    format!("cutover_probe_attempts_total{{probe=\"{probe}\",target=\"{target}\",result=\"{result}\"}}")
}

#[test]
fn a_letter_that_arrived_one_that_did_not_one_that_was_refused_and_one_that_cannot_be_read_differ() {
    let dovecot = Dovecot::with(PATIENT);
    let (good, lost) = (delivers(&dovecot), takes(drop));
    let store = Some(target(local(dovecot.imaps), "store"));
    let gone = Some(target(local(free_port()), "store"));
    let whole = probe("trip", "roundtrip", "ann", vec![target(good, "good"), target(lost, "lost")]);
    let probes = Probes::start(
        dovecot.certificate(),
        &[
            (whole, Some("secret"), store.clone()),
            (
                probe("nobody", "roundtrip", "nobody@mail.test", vec![target(good, "good")]),
                Some("secret"),
                store.clone(),
            ),
            (probe("unread", "roundtrip", "ann", vec![target(good, "good")]), Some("secret"), gone),
            (probe("denied", "roundtrip", "ann", vec![target(good, "good")]), Some("canary-wrong"), store.clone()),
            (probe("closed", "roundtrip", "ann", vec![target(local(free_port()), "good")]), Some("secret"), store),
        ],
    );
    probes.until(&attempts("trip", "good", "ok"), 2.0);
    probes.until(&attempts("trip", "lost", "not-arrived"), 1.0);
    probes.until(&attempts("nobody", "good", "cannot-send"), 1.0);
    probes.until(&attempts("unread", "good", "cannot-read"), 1.0);
    probes.until(&attempts("denied", "good", "cannot-read"), 1.0);
    probes.until(&attempts("closed", "good", "cannot-send"), 1.0);
    // Within its bound, and no outcome stands in for another one.
    probes.until("cutover_probe_seconds_bucket{probe=\"trip\",target=\"good\",le=\"1\"}", 2.0);
    let page = probes.page();
    for (probe, target, result) in [
        ("trip", "good", "not-arrived"),
        ("trip", "lost", "ok"),
        ("trip", "lost", "cannot-read"),
        ("nobody", "good", "not-arrived"),
        ("unread", "good", "not-arrived"),
        ("closed", "good", "cannot-read"),
    ] {
        assert!(
            page.contains(&format!("{} 0\n", attempts(probe, target, result))),
            "{probe} {target} {result}\n{page}"
        );
    }
    assert!(!probes.log().contains("canary-wrong") && !page.contains("canary-wrong"));
    // Of letters that were found nothing is left. Those that nobody reads are left: they wait for the mailbox to be read again.
    drop(probes);
    let mut client = dovecot.client("ann");
    client.ask("SELECT INBOX");
    let left = client.ask("UID SEARCH HEADER X-Cutover-Probe \"watch/trip/good/\"");
    let left = left.lines().find_map(|l| l.strip_prefix("* SEARCH")).unwrap_or_default();
    assert!(left.split_whitespace().count() <= 1, "{left}");
}

#[test]
fn what_cannot_be_asked_from_here_says_nothing_of_the_server() {
    let dovecot = Dovecot::with(PATIENT);
    let store = local(dovecot.imaps);
    let probes = Probes::start(
        dovecot.certificate(),
        &[
            (probe("login", "imap", "ann", vec![target(store, "store")]), Some("secret"), None),
            (probe("wrong", "imap", "ann", vec![target(store, "store")]), Some("other"), None),
        ],
    );
    probes.until(&attempts("login", "store", "ok"), 1.0);
    probes.until(&attempts("wrong", "store", "failed"), 1.0);
    std::fs::remove_file(probes.folder.path().join("login.password")).unwrap();
    probes.until("cutover_probe_unasked_total{probe=\"login\",target=\"store\"}", 1.0);
    let page = probes.page();
    assert!(page.contains(&format!("{} 0\n", attempts("login", "store", "failed"))), "{page}");
    // A password that is changed is taken without a word.
    std::fs::write(probes.folder.path().join("login.password"), "other\n").unwrap();
    probes.until(&attempts("login", "store", "failed"), 1.0);
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.json");
    let kept = json!({ "probe": probe("trip", "roundtrip", "ann", Vec::new()), "password": null, "read": null });
    let config = json!({ "listen": "127.0.0.1:1", "from": "x", "ca": null, "bounds": [2.0, 1.0], "probes": [kept] });
    std::fs::write(&file, config.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cutover-probe")).arg("check").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for fault in ["they do not rise", "wants `account`, `password` and `read`", "it has no targets"] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
}
