//! Clients that mean no good, over real sockets: octets that split lines, floods, other protocols, smuggled messages.

#![allow(clippy::print_stderr)] // times are part of the result

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cutover::services::proxy::session::Protocol;

use crate::support::proxy::{Proxy, Recorder, Setting, Talk};

const ALL: [Protocol; 3] = [Protocol::Imap, Protocol::Pop3, Protocol::Submission];

struct World {
    proxy: Proxy,
    old: Vec<(Protocol, Recorder)>,
}

impl World {
    fn new(sasl: bool, more: &str) -> Self {
        let old: Vec<_> = ALL.map(|p| (p, Recorder::start(p, sasl))).into();
        let new: Vec<_> = ALL.map(|p| (p, Recorder::start(p, sasl))).into();
        let addresses = |side: &[(Protocol, Recorder)]| side.iter().map(|(p, r)| (*p, r.address)).collect();
        let setting =
            Setting { old: addresses(&old), new: addresses(&new), more: more.to_owned(), ..Setting::default() };
        Self { proxy: Proxy::start(&setting), old }
    }

    fn heard(&self, protocol: Protocol) -> Vec<Vec<u8>> {
        self.old.iter().find(|(p, _)| *p == protocol).expect("a server").1.take()
    }
}

/// No limits of count: all these come from one address.
const WIDE: &str =
    "[limits]\nper-address = 0\nper-user = 0\nfailures-per-minute = 0\nfailure-delay = \"0s\"\nconnections = 0\n";

fn literal(octets: &[u8]) -> Vec<u8> {
    [format!("{{{}+}}\r\n", octets.len()).as_bytes(), octets].concat()
}

/// One login with these octets, in the form that can hold them; then a command that shows where the login ended.
fn attempt(world: &World, protocol: Protocol, user: &[u8], password: &[u8], acts_as: &[u8], name: &[u8]) -> bool {
    let mut talk = world.proxy.dial(protocol);
    let plain = STANDARD.encode([acts_as, b"\0", user, b"\0", password].concat());
    match protocol {
        Protocol::Imap => {
            talk.say(&[b"i ID (\"name\" ", literal(name).as_slice(), b")\r\n"].concat());
            if talk.until("i ").is_empty() {
                return false;
            }
            if acts_as.is_empty() {
                talk.say(&[b"a LOGIN ", literal(user).as_slice(), b" ", &literal(password), b"\r\n"].concat());
            } else {
                talk.say(format!("a AUTHENTICATE PLAIN {plain}\r\n").as_bytes());
            }
            let through = talk.until("a ").starts_with("a OK");
            let _ = talk.try_say(b"z MARK\r\n");
            through && talk.until("z ").starts_with("z OK")
        }
        Protocol::Pop3 => {
            talk.say(format!("AUTH PLAIN {plain}\r\n").as_bytes());
            let through = talk.line().starts_with("+OK");
            let _ = talk.try_say(b"MARK\r\n");
            through && talk.line().starts_with("+OK")
        }
        Protocol::Submission => {
            let _ = talk.try_say(&[b"EHLO ", name, b"\r\n"].concat());
            loop {
                match talk.line() {
                    line if line.starts_with("250 ") => break,
                    line if line.starts_with("250-") => {}
                    _ => return false,
                }
            }
            talk.say(format!("AUTH PLAIN {plain}\r\n").as_bytes());
            let through = talk.line().starts_with("235");
            let _ = talk.try_say(b"MARK\r\n");
            through && talk.line().starts_with("250")
        }
    }
}

/// Lines before the mark that a backend of one login may be sent.
fn fine(protocol: Protocol, line: &[u8]) -> bool {
    let begins = |words: &[&str]| words.iter().any(|w| line.starts_with(w.as_bytes()));
    match protocol {
        Protocol::Imap => begins(&["cutover2 CAPABILITY", "cutover3 ID ", "a AUTHENTICATE PLAIN ", "a LOGIN "]),
        Protocol::Pop3 => begins(&["CAPA", "AUTH PLAIN", "USER ", "PASS "]),
        Protocol::Submission => begins(&["EHLO ", "AUTH PLAIN "]),
    }
}

#[test]
fn no_octet_of_a_login_becomes_a_command() {
    let mut passed = 0;
    for sasl in [true, false] {
        let world = World::new(sasl, WIDE);
        for protocol in ALL {
            for octet in 0..=255_u8 {
                let evil = [b"x", [octet].as_slice(), b"DELE 1", &[octet]].concat();
                let fields = [
                    (&evil[..], &b"pw"[..], &b""[..], &b"n"[..]),
                    (b"ann", &evil, b"", b"n"),
                    (b"ann", b"pw", &evil, b"n"),
                    (b"ann", b"pw", b"", &evil),
                ];
                for (n, (user, password, acts_as, name)) in fields.into_iter().enumerate() {
                    if n == 2 && !sasl || n == 3 && protocol == Protocol::Pop3 {
                        continue;
                    }
                    passed += usize::from(attempt(&world, protocol, user, password, acts_as, name));
                }
            }
            for connection in world.heard(protocol) {
                let text = String::from_utf8_lossy(&connection).into_owned();
                let mut logins = 0;
                // Between its quotes a line end cannot stand; in a literal it is data, which the sizes tell.
                for line in connection.split_inclusive(|b| *b == b'\n').filter(|_| sasl || protocol != Protocol::Imap) {
                    if line.starts_with(b"MARK") || line.starts_with(b"z MARK") {
                        break;
                    }
                    assert!(fine(protocol, line) && line.ends_with(b"\r\n"), "{protocol:?}: {text:?}");
                    logins +=
                        usize::from(line.starts_with(b"a ") || line.starts_with(b"AUTH") || line.starts_with(b"PASS"));
                }
                assert!(logins <= 1, "{protocol:?}: {text:?}");
                assert!(!connection.windows(6).any(|w| w == b"\nDELE "), "{protocol:?}: {text:?}");
            }
        }
        let wrong = world.proxy.file("audit.log") + &world.proxy.file("access.log") + &world.proxy.file("stderr");
        assert!(wrong.lines().count() > 1000, "there is a log");
        for line in world.proxy.file("audit.log").lines().chain(world.proxy.file("access.log").lines()) {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        }
    }
    // The test would prove nothing if every login were refused.
    assert!(passed > 2000, "{passed}");
}

#[test]
fn floods_before_a_login_are_cut_off_and_cost_little() {
    let world = World::new(true, WIDE);
    let before = world.proxy.resident();
    let mut held = Vec::new();
    for n in 0..150 {
        for (protocol, octets) in [
            (Protocol::Imap, &b"a LOGIN {2000000000}\r\n"[..]),
            (Protocol::Imap, b"a LOGIN {2000000000+}\r\n"),
            (Protocol::Imap, b"a LOGIN ann \""),
            (Protocol::Imap, b"a ID ("),
            (Protocol::Pop3, b"AUTH PLAIN "),
            (Protocol::Submission, b"EHLO "),
        ] {
            let mut talk = world.proxy.dial(protocol);
            let _ = talk.try_say(octets);
            // Some stand still with all that they may hold, some go on until they are cut off.
            let size = if n % 10 == 0 { 1 << 20 } else { 9000 };
            let _ = talk.try_say(&vec![b'x'; size]);
            held.push(talk);
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let grown = world.proxy.resident().saturating_sub(before);
    assert!(grown / held.len() as u64 <= 64 * 1024, "{grown} octets for {} connections", held.len());
    let mut talk = world.proxy.dial(Protocol::Imap);
    talk.say(b"a LOGIN ann pw\r\n");
    assert!(talk.until("a ").starts_with("a OK"));
}

#[test]
fn another_protocol_reaches_no_backend() {
    let world = World::new(true, WIDE);
    let request = b"POST / HTTP/1.1\r\nHost: mail.acme.test\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\na LOGIN ann pw\r\nUSER ann\r\nPASS pw\r\nEHLO x\r\nAUTH PLAIN AGFubgBwdw==\r\n";
    for protocol in ALL {
        for skip in [0, "POST / HTTP/1.1\r\n".len()] {
            let mut talk = world.proxy.dial(protocol);
            let _ = talk.try_say(&request[skip..]);
            let said = talk.rest();
            assert!(said.contains("another protocol") && said.lines().count() == 1, "{protocol:?}: {said}");
        }
    }
    for protocol in ALL {
        assert!(world.heard(protocol).is_empty(), "{protocol:?}");
    }
}

#[test]
fn a_message_is_not_smuggled_behind_another() {
    let world = World::new(true, WIDE);
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r"] {
        let mut talk = world.proxy.dial(Protocol::Submission);
        talk.say(b"EHLO client\r\n");
        talk.until("250 ");
        talk.say(format!("AUTH PLAIN {}\r\n", STANDARD.encode("\0ann\0pw")).as_bytes());
        assert!(talk.line().starts_with("235"));
        talk.say(b"MAIL FROM:<ann@acme.test>\r\nRCPT TO:<bob@acme.test>\r\nDATA\r\n");
        assert!(talk.until("354").starts_with("354"));
        let _ = talk.try_say(format!("Subject: x\r\n\r\nhello{end}MAIL FROM:<boss@acme.test>\r\nRCPT TO:<bob@acme.test>\r\nDATA\r\nsmuggled\r\n.\r\n").as_bytes());
        let said = talk.rest();
        assert!(said.contains("550 5.5.2"), "{end:?}: {said}");
    }
    for said in ["XCLIENT ADDR=192.0.2.1\r\n", "XFORWARD ADDR=192.0.2.1\r\n"] {
        let mut talk = world.proxy.dial(Protocol::Submission);
        talk.say(b"EHLO client\r\n");
        talk.until("250 ");
        talk.say(format!("AUTH PLAIN {}\r\n", STANDARD.encode("\0ann\0pw")).as_bytes());
        assert!(talk.line().starts_with("235"));
        let _ = talk.try_say(said.as_bytes());
        assert!(talk.rest().contains("550 5.5.2"), "{said}");
    }
    for connection in world.heard(Protocol::Submission) {
        let text = String::from_utf8_lossy(&connection).into_owned();
        assert!(!text.contains("smuggled") && !text.contains("XFORWARD") && !text.contains("192.0.2.1"), "{text}");
    }
}

/// Slow clients hold what they hold, and nobody waits for them; their time ends however busy they are. `CUTOVER_SLOW=5000` for the full form.
#[test]
fn dribblers_are_ended_and_nobody_waits_for_them() {
    let count = std::env::var("CUTOVER_SLOW").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let world = World::new(true, &format!("{WIDE}login-timeout = \"{}s\"\n", 4 + count / 500));
    let login = || {
        let began = Instant::now();
        let mut talk = world.proxy.dial(Protocol::Imap);
        talk.say(b"a LOGIN ann pw\r\n");
        assert!(talk.until("a ").starts_with("a OK"));
        began.elapsed()
    };
    let mut alone: Vec<Duration> = (0..200).map(|_| login()).collect();
    let before = world.proxy.resident();
    let began = Instant::now();
    let mut slow: Vec<Talk> = (0..count).map(|n| world.proxy.dial(ALL[n % 3])).collect();
    let opened = began.elapsed();
    let mut among = Vec::new();
    let mut grown = 0;
    while began.elapsed() < opened + Duration::from_secs(3) {
        for (n, talk) in slow.iter_mut().enumerate() {
            let _ = talk.try_say(b"A");
            if n % 10 == 0 {
                among.push(login());
            }
        }
        grown = grown.max(world.proxy.resident().saturating_sub(before));
    }
    for talk in &mut slow {
        // Closed: what is left to read ends.
        talk.rest();
    }
    let [alone, among] = [&mut alone, &mut among].map(|times| {
        times.sort();
        (times[times.len() / 2], times[times.len() * 99 / 100], times[times.len() - 1])
    });
    eprintln!(
        "{count} slow clients, {} octets each; a login (p50, p99, worst): alone {alone:?}, among them {among:?}",
        grown / count as u64
    );
    assert!(grown / count as u64 <= 64 * 1024, "{grown}");
    assert!(among.2 < Duration::from_secs(1), "{among:?}");
    assert!(began.elapsed() < opened + Duration::from_secs(20), "their time did not end: {:?}", began.elapsed());
}

/// Many users at once: each lands on their own side, as themselves, with their own password.
#[test]
fn nobody_becomes_somebody_else() {
    let old = Recorder::start(Protocol::Imap, true);
    let new = Recorder::start(Protocol::Imap, true);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("routes");
    let mut table = "cutover-routes 1 1 old\n".to_owned();
    for n in (0..100).filter(|n| n % 3 == 0) {
        table += &format!("new user{n}\n");
    }
    std::fs::write(&file, table + "end 34\n").expect("routes");
    let proxy = Proxy::start(&Setting {
        old: vec![(Protocol::Imap, old.address)],
        new: vec![(Protocol::Imap, new.address)],
        more: format!("{WIDE}[routes]\nsource = \"file\"\nfile = \"{}\"\n", file.display()),
        ..Setting::default()
    });
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || {
                for round in 0..40 {
                    let n = (worker * 37 + round * 11) % 100;
                    let mut talk = proxy.dial(Protocol::Imap);
                    talk.say(format!("t{n} LOGIN user{n} secret{n}\r\nt{n} MINE user{n}\r\n").as_bytes());
                    assert!(talk.until(&format!("t{n} ")).starts_with(&format!("t{n} OK")));
                    assert!(talk.until(&format!("t{n} ")).starts_with(&format!("t{n} OK")));
                }
            });
        }
    });
    let mut seen = 0;
    for (side, recorder) in [(false, old), (true, new)] {
        for connection in recorder.take() {
            let text = String::from_utf8_lossy(&connection).into_owned();
            let login = text.lines().find(|l| l.contains(" AUTHENTICATE PLAIN ")).expect("a login");
            let message = STANDARD.decode(login.rsplit(' ').next().expect("a word")).expect("Base64");
            let n: usize = text
                .lines()
                .last()
                .and_then(|l| l.split_once(" MINE user"))
                .expect("its own")
                .1
                .parse()
                .expect("a number");
            assert_eq!(message, format!("\0user{n}\0secret{n}").into_bytes(), "{text}");
            assert_eq!(side, n.is_multiple_of(3), "{text}");
            seen += 1;
        }
    }
    assert_eq!(seen, 320);
}
