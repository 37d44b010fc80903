//! TLS of the proxy: octets both ways in all four combinations, STARTTLS, ALPN, certificates that change, and a program that does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cutover::services::proxy::session::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::support::proxy::{Proxy, Recorder, Setting};
use crate::support::wire::{
    Encrypted, Octets, accepted, backend, certificate, client_config, dial, encrypt, imap, log_in, named, read_line,
    server_config, take_login,
};

const IMPLICIT: &str = "tls = \"implicit\"\n";
const PLAIN: &str = "tls = \"none\"\nplain-login = true\n";
/// Octets each way.
const MUCH: usize = 24 << 20;

fn setting(server: SocketAddr, listen: &str, back: &str, more: &str) -> Setting {
    let more = format!("{more}[limits]\nper-address = 0\nper-user = 0\n");
    Setting {
        old: vec![(Protocol::Imap, server)],
        new: vec![(Protocol::Imap, server)],
        listen: listen.into(),
        back: back.into(),
        more,
    }
}

/// Octets of chance, and cuts of chance: xorshift.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn send(line: &mut dyn Octets, mut chance: Chance) -> [u8; 32] {
    let mut sum = Sha256::new();
    let pool: Vec<u8> = (0..(1 << 18) / 8).flat_map(|_| chance.next().to_le_bytes()).collect();
    let mut left = MUCH;
    while left > 0 {
        let size = match chance.next() % 5 {
            0 => 1 + chance.next() as usize % 16,
            1 => 16_384,
            _ => 1 + chance.next() as usize % 200_000,
        };
        let from = chance.next() as usize % 50_000;
        let part = &pool[from..from + size.min(left).min(pool.len() - 50_000)];
        line.write_all(part).expect("sent");
        sum.update(part);
        left -= part.len();
    }
    line.flush().expect("sent");
    sum.finalize().into()
}

fn receive(line: &mut dyn Octets) -> [u8; 32] {
    let (mut sum, mut left, mut buffer) = (Sha256::new(), MUCH, vec![0; 100_000]);
    while left > 0 {
        let n = line.read(&mut buffer[..left.min(100_000)]).expect("octets");
        assert!(n > 0, "it ended {left} octets early");
        sum.update(&buffer[..n]);
        left -= n;
    }
    sum.finalize().into()
}

#[test]
fn octets_are_the_same_behind_it_plain_and_encrypted_on_each_side() {
    let dir = tempfile::tempdir().expect("a folder");
    certificate(dir.path(), "mail.acme.test");
    let config = server_config(dir.path());
    for (front, behind) in [(false, false), (false, true), (true, false), (true, true)] {
        let config = config.clone();
        let server = backend(move |s| {
            let mut line: Box<dyn Octets> = if behind { Box::new(accepted(s, config.clone())) } else { Box::new(s) };
            take_login(&mut line).expect("a login");
            let heard = receive(&mut line);
            line.write_all(&heard).expect("sent");
            let sent = send(&mut line, Chance(4711));
            line.write_all(&sent).expect("sent");
            line.flush().expect("sent");
            let _ = line.read(&mut [0]);
        });
        let back = if behind { "tls = \"implicit\"\nverify = \"none\"\n" } else { "tls = \"none\"\n" };
        let listen = if front { IMPLICIT } else { PLAIN };
        let proxy = Proxy::start(&setting(server, listen, back, &named(dir.path())));
        let stream = dial(proxy.at(Protocol::Imap));
        let mut line: Box<dyn Octets> = match front {
            true => Box::new(encrypt(stream, client_config(&["imap"])).expect("TLS")),
            false => Box::new(stream),
        };
        assert!(log_in(&mut line, "ann").expect("an answer").starts_with("a OK"));
        let sent = send(&mut line, Chance(42));
        let mut told = [0; 32];
        line.read_exact(&mut told).expect("a sum");
        assert_eq!(told, sent, "{front} {behind}");
        let heard = receive(&mut line);
        line.read_exact(&mut told).expect("a sum");
        assert_eq!(told, heard, "{front} {behind}");
        assert!(proxy.resident() < 60 << 20, "{}", proxy.resident());
    }
}

/// Both ways at the same time, which blocking TLS of a test cannot do.
#[test]
fn plain_octets_go_both_ways_at_once() {
    let echo = backend(|mut s| {
        take_login(&mut s).expect("a login");
        let mut out = s.try_clone().expect("a line");
        let _ = std::io::copy(&mut s, &mut out);
        let _ = out.shutdown(std::net::Shutdown::Write);
    });
    let proxy = Proxy::start(&setting(echo, PLAIN, "tls = \"none\"\n", ""));
    let mut line = dial(proxy.at(Protocol::Imap));
    log_in(&mut line, "ann").expect("an answer");
    let mut out = line.try_clone().expect("a line");
    let sender = std::thread::spawn(move || {
        let sum = send(&mut out, Chance(7));
        out.shutdown(std::net::Shutdown::Write).expect("ended");
        sum
    });
    let heard = receive(&mut line);
    assert_eq!(sender.join().expect("sent"), heard);
    assert_eq!(line.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn nothing_behind_starttls_is_taken_as_encrypted() {
    let dir = tempfile::tempdir().expect("a folder");
    certificate(dir.path(), "mail.acme.test");
    let starts = [
        (Protocol::Imap, "s STARTTLS\r\n", "x LOGIN bob injected\r\n"),
        (Protocol::Pop3, "STLS\r\n", "USER injected\r\nPASS injected\r\n"),
        (Protocol::Submission, "STARTTLS\r\n", "EHLO me\r\nAUTH PLAIN AGluamVjdGVkAHB3\r\n"),
    ];
    for (protocol, start, behind) in starts {
        let server = Recorder::start(protocol, true);
        let mut setting = setting(server.address, "plain-login = true\n", "tls = \"none\"\n", &named(dir.path()));
        setting.old = vec![(protocol, server.address)];
        setting.new = setting.old.clone();
        let proxy = Proxy::start(&setting);
        let all = [start, behind].concat();
        for cut in 0..=all.len() {
            let mut line = dial(proxy.at(protocol));
            read_line(&mut line).expect("a greeting");
            line.write_all(&all.as_bytes()[..cut]).expect("sent");
            std::thread::sleep(Duration::from_millis(3));
            let _ = line.write_all(&all.as_bytes()[cut..]);
            // Whatever is said, no plain word behind STARTTLS is answered, neither now nor once TLS stands.
            let mut said = Vec::new();
            line.set_read_timeout(Some(Duration::from_secs(5))).expect("an option");
            let _ = line.read_to_end(&mut said);
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(!said.contains("x OK") && !said.contains("235") && !said.contains("AUTH PLAIN"), "{cut}: {said:?}");
        }
        assert!(server.take().is_empty(), "{protocol:?} a login came through");
        // And without them it works.
        let mut line = dial(proxy.at(protocol));
        read_line(&mut line).expect("a greeting");
        line.write_all(start.as_bytes()).expect("sent");
        read_line(&mut line).expect("an answer");
        encrypt(line, client_config(&[])).expect("TLS");
    }
}

#[test]
fn a_server_that_speaks_behind_its_starttls_gets_no_password() {
    let dir = tempfile::tempdir().expect("a folder");
    certificate(dir.path(), "mail.acme.test");
    let config = server_config(dir.path());
    for injected in [false, true] {
        let config = config.clone();
        let server = backend(move |mut s| {
            let mut run = || -> std::io::Result<()> {
                s.write_all(b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] ready\r\n")?;
                let line = read_line(&mut s)?;
                let tag = line.split(' ').next().unwrap_or_default();
                let more = if injected { "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" } else { "" };
                s.write_all(format!("{tag} OK go\r\n{more}").as_bytes())?;
                let mut tls = accepted(s.try_clone()?, config.clone());
                let line = read_line(&mut tls)?;
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                tls.write_all(format!("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n{tag} OK\r\n").as_bytes())?;
                let line = read_line(&mut tls)?;
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                tls.write_all(format!("{tag} OK in\r\n").as_bytes())?;
                read_line(&mut tls).map(drop)
            };
            let _ = run();
        });
        let back = "tls = \"starttls\"\nverify = \"none\"\n";
        let proxy = Proxy::start(&setting(server, PLAIN, back, &named(dir.path())));
        let mut line = dial(proxy.at(Protocol::Imap));
        let answer = log_in(&mut line, "ann").expect("an answer");
        let wanted = if injected { "a NO [UNAVAILABLE]" } else { "a OK" };
        assert!(answer.starts_with(wanted), "{injected}: {answer}");
    }
}

#[test]
fn servers_are_known_by_name_or_by_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let der = certificate(dir.path(), "mail.acme.test");
    let config = server_config(dir.path());
    let server = backend(move |s| {
        let mut line = accepted(s, config.clone());
        let _ = take_login(&mut line).and_then(|()| read_line(&mut line));
    });
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let digest = |octets: &[u8]| Sha256::digest(octets).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let pin = digest(parsed.public_key().raw);
    let ca = format!("ca = \"{}/chain.pem\"\n", dir.path().display());
    for (back, fine) in [
        (format!("verify = \"pin\"\npins = [\"sha256:{pin}\"]\n"), true),
        (format!("verify = \"pin\"\npins = [\"sha256:{}\"]\n", digest(b"other")), false),
        (format!("{ca}tls-name = \"mail.acme.test\"\n"), true),
        (format!("{ca}tls-name = \"other.acme.test\"\n"), false),
        ("tls-name = \"mail.acme.test\"\n".to_owned(), false),
    ] {
        let back = format!("tls = \"implicit\"\n{back}");
        let proxy = Proxy::start(&setting(server, PLAIN, &back, &named(dir.path())));
        let answer = log_in(&mut dial(proxy.at(Protocol::Imap)), "ann").expect("an answer");
        assert_eq!(answer.starts_with("a OK"), fine, "{back}: {answer}");
    }
}

fn shown(line: &Encrypted) -> CertificateDer<'static> {
    line.conn.peer_certificates().expect("certificates")[0].clone()
}

#[test]
fn a_certificate_changes_and_sessions_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = certificate(dir.path(), "mail.acme.test");
    let server = backend(imap);
    let proxy = Proxy::start(&setting(server, IMPLICIT, "tls = \"none\"\n", &named(dir.path())));
    let open = || {
        let mut line = encrypt(dial(proxy.at(Protocol::Imap)), client_config(&["imap"])).expect("TLS");
        log_in(&mut line, "ann").expect("an answer");
        line
    };
    let mut lines: Vec<Encrypted> = (0..50).map(|_| open()).collect();
    assert_eq!(shown(&lines[0]), first);
    let hangup = || kill_process(Pid::from_raw(proxy.pid() as i32).expect("a process"), Signal::HUP).expect("told");

    std::fs::write(dir.path().join("key.pem"), "no key").expect("a file");
    hangup();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(shown(&open()), first, "a bad one is not taken");
    assert!(proxy.file("stderr").contains("the configuration stays as it was"), "{}", proxy.file("stderr"));

    let second = certificate(dir.path(), "mail.acme.test");
    hangup();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(shown(&open()), second);
    for line in &mut lines {
        line.write_all(b"n NOOP\r\n").expect("sent");
        assert_eq!(read_line(line).expect("an answer"), "n OK done\r\n");
    }
    // Of another protocol: refused (ALPACA).
    assert!(encrypt(dial(proxy.at(Protocol::Imap)), client_config(&["http/1.1"])).is_err());
}

#[test]
fn another_program_takes_over_and_nobody_is_dropped_or_refused() {
    let server = backend(imap);
    let proxy = Proxy::start(&setting(server, PLAIN, "tls = \"none\"\n", ""));
    let at = proxy.at(Protocol::Imap);
    let mut lines: Vec<TcpStream> = (0..500)
        .map(|n| {
            let mut line = dial(at);
            assert!(log_in(&mut line, &format!("u{n}@acme.test")).expect("an answer").starts_with("a OK"));
            line
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|n| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut logins = 0;
                while !stop.load(Ordering::SeqCst) {
                    let mut line = dial(at);
                    let answer = log_in(&mut line, &format!("busy{n}")).expect("an answer");
                    assert!(answer.starts_with("a OK"), "{answer}");
                    logins += 1;
                }
                logins
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_cutover-proxy"))
        .args(["upgrade", "--socket"])
        .arg(proxy.dir().join("control.sock"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said} {} {}", String::from_utf8_lossy(&out.stderr), proxy.file("stderr"));
    let heir: i32 = said.split_whitespace().nth(1).and_then(|w| w.parse().ok()).expect("a process");
    let _end = Ends(heir);
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::SeqCst);
    let logins: usize = busy.into_iter().map(|b| b.join().expect("no login was refused")).sum();
    assert!(logins > 20, "{logins}");
    for line in &mut lines {
        line.write_all(b"n NOOP\r\n").expect("sent");
        assert_eq!(read_line(line).expect("an answer"), "n OK done\r\n");
    }
    // A route that the next process changes reaches the sessions of the former one.
    let set = std::process::Command::new(env!("CARGO_BIN_EXE_cutover-proxy"))
        .args(["route", "set", "u7@acme.test", "--to", "new", "--close", "--socket"])
        .arg(proxy.dir().join("control.sock"))
        .output()
        .expect("it runs");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    lines[7].set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
    assert_eq!(lines[7].read(&mut [0]).expect("the end"), 0);
    // The former process ends with its last session.
    drop(lines);
    let gone = || std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).map_or(true, |s| s.contains(") Z "));
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while !gone() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(), "{}", proxy.file("stderr"));
    let mut line = dial(at);
    assert!(log_in(&mut line, "last").expect("an answer").starts_with("a OK"));
}

/// Ends a process that this test has made.
struct Ends(i32);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
