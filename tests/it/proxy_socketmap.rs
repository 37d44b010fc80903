//! What the proxy tells Postfix: the mail of a recipient goes where the routes lead.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::gate::{Gate, Side};

const OLD: &str = "smtp:[192.0.2.20]:25";
const NEW: &str = "lmtp:unix:private/dovecot-lmtp";
const HELD: &str = "smtp:[127.0.0.1]:9";

fn ask(stream: &mut UnixStream, table: &str, key: &str) -> String {
    let request = format!("{table} {key}");
    stream.write_all(format!("{}:{request},", request.len()).as_bytes()).unwrap();
    answer(stream)
}

fn answer(stream: &mut UnixStream) -> String {
    let mut length = String::new();
    let mut octet = [0];
    while stream.read_exact(&mut octet).is_ok() && octet[0] != b':' {
        length.push(octet[0].into());
    }
    let mut text = vec![0; length.parse::<usize>().unwrap() + 1];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(text.pop(), Some(b','));
    String::from_utf8(text).unwrap()
}

/// Table, key, answer.
const ANSWERS: &[(&str, &str, Option<&str>)] = &[
    ("transport", "ann@acme.test", Some(NEW)),
    ("transport", "ANN@Acme.Test", Some(NEW)),
    ("transport", "ann+lists@acme.test", Some(NEW)),
    ("transport", "bob@acme.test", Some(OLD)),
    ("transport", "somebody@acme.test", Some(OLD)),
    ("transport", "cem@acme.test", Some(HELD)),
    ("verify", "cem@acme.test", Some(OLD)),
    ("transport", "cem+x@acme.test", Some(HELD)),
    // A user whose own name has a plus in it.
    ("transport", "dan+own@acme.test", Some(NEW)),
    ("transport", "dan@acme.test", Some(OLD)),
    // Blocked is who may not log in; mail goes on.
    ("transport", "eve@acme.test", Some(OLD)),
    ("transport", "ann@elsewhere.test", None),
    // Named in the table, whatever the domains are.
    ("transport", "guest@other.test", None),
    ("transport", "acme.test", None),
    ("transport", ".test", None),
    ("transport", "ann", None),
    ("transport", "*", None),
];

fn gate(folder: &std::path::Path) -> Gate {
    let (old, new) = (Side::start("old"), Side::start("new"));
    let at = folder.display();
    let map =
        format!("socketmap = {{ path = \"{at}/map\", old = \"{OLD}\", new = \"{NEW}\", domains = [\"acme.test\"] }}\n");
    let gate = Gate::start(folder, &old, &new, &map, "[rewrite]\nlower-case = true\n");
    gate.set(&["ann@acme.test", "dan+own@acme.test"], "new", false);
    gate.set(&["cem@acme.test"], "held", false);
    gate.set(&["eve@acme.test"], "blocked", false);
    gate
}

#[test]
fn mail_follows_the_routes() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(folder.path());
    let connect = || {
        let stream = UnixStream::connect(folder.path().join("map")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };
    let mut stream = connect();
    for (table, key, expected) in ANSWERS {
        let answer = ask(&mut stream, table, key);
        let expected = expected.map_or("NOTFOUND ".to_owned(), |e| format!("OK {e}"));
        assert_eq!(answer, expected, "{table} {key}");
    }
    // As soon as the change is acknowledged, on a connection that stays open.
    gate.set(&["cem@acme.test"], "new", false);
    assert_eq!(ask(&mut stream, "transport", "cem@acme.test"), format!("OK {NEW}"));
    assert!(ask(&mut stream, "aliases", "cem@acme.test").starts_with("PERM"));
    // In parts, two at once, and what is none.
    for octet in b"23:transport ann@acme.test,24:transport ann2@acme.test," {
        stream.write_all(&[*octet]).unwrap();
    }
    assert_eq!((answer(&mut stream), answer(&mut stream)), (format!("OK {NEW}"), format!("OK {OLD}")));
    for bad in [&b"x"[..], b"99999999:", b"5:abcdefg", b"-3:abc,"] {
        let mut stream = connect();
        stream.write_all(bad).unwrap();
        assert!(answer(&mut stream).starts_with("PERM"), "{}", bad.escape_ascii());
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
}

/// Postfix's own client, where it is installed.
#[test]
fn postfix_reads_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let _gate = gate(folder.path());
    std::fs::write(
        folder.path().join("main.cf"),
        "compatibility_level = 3.6\nmail_owner = daemon\nsetgid_group = mail\n",
    )
    .unwrap();
    for (table, key, expected) in ANSWERS {
        let map = format!("socketmap:unix:{}:{table}", folder.path().join("map").display());
        let run = std::process::Command::new("postmap").arg("-c").arg(folder.path()).args(["-q", key, &map]).output();
        let Ok(run) = run else { return };
        let said = String::from_utf8_lossy(&run.stdout);
        assert_eq!(
            Some(said.trim_end()).filter(|s| !s.is_empty()),
            *expected,
            "{table} {key}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
