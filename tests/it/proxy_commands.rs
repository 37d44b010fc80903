//! The commands of `cutover-proxy`, as an operator types them.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::gate::{Client, Gate, IMAP, POP3, Side};

/// Exit code, standard output, standard error.
fn run(gate: &Gate, words: &str, input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-proxy"));
    command.args(words.split(' ')).arg("--socket").arg(gate.folder.join("control"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn out(gate: &Gate, words: &str) -> String {
    let (code, out, err) = run(gate, words, "");
    assert_eq!(code, 0, "{words}: {err}");
    out
}

#[test]
fn an_operator_moves_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Side::start("old"), Side::start("new"));
    let mut gate = Gate::start(folder.path(), &old, &new, "", "");
    let mut ann = Client::login(&gate, IMAP, "ann", "x").unwrap();
    let mut bob = Client::login(&gate, POP3, "bob", "x").unwrap();
    assert!(out(&gate, "sessions").lines().count() == 2);
    assert!(out(&gate, "sessions --user ann").contains("old   imap       plain ann from 127.0.0.1:"));
    assert_eq!(out(&gate, "hold ann --close"), "epoch 1: 1 users, 1 sessions closed\n");
    assert!(ann.ended() && bob.side() == Some("old"));
    assert_eq!(out(&gate, "route show ann bob"), "held     ann (table)\nold      bob (default)\n");
    assert_eq!(out(&gate, "release ann --to new"), "epoch 2: 1 users\n");
    assert_eq!(Client::login(&gate, IMAP, "ann", "x").unwrap().side(), Some("new"));
    // Many at once, in one epoch, and only on the table that was looked at.
    let users: String = (0..5000).map(|n| format!("user{n}\n")).collect();
    let (code, said, _) = run(&gate, "route set - cem --to new --expect-epoch 2", &users);
    assert_eq!((code, said.as_str()), (0, "epoch 3: 5001 users\n"));
    let (code, _, said) = run(&gate, "route set dan --to new --expect-epoch 2", "");
    assert!(code == 1 && said.contains("the epoch is 3, not 2"), "{said}");
    assert_eq!(out(&gate, "route unset cem"), "epoch 4: 1 users\n");
    assert_eq!(out(&gate, "route show").lines().count(), 5001);
    let shown: serde_json::Value = serde_json::from_str(&out(&gate, "route show cem --json")).unwrap();
    assert_eq!((&shown["epoch"], &shown["routes"][0]["by"]), (&4.into(), &"default".into()));
    assert_eq!(out(&gate, "kick bob"), "1 sessions closed\n");
    assert!(bob.ended());
    assert!(out(&gate, "status").contains("epoch 4, 5001 routes, default old"));
    for (words, why) in [
        ("flush ann", "there is no directory"),
        ("purge --moved", "no passwords are captured here"),
        ("purge", "required"),
        ("route set --to new", "required"),
        ("release ann --to held", "invalid value"),
    ] {
        let (code, _, said) = run(&gate, words, "");
        assert!(code != 0 && said.contains(why), "{words}: {said}");
    }
    assert_eq!(out(&gate, "proven --json").trim(), "[]");
    assert!(out(&gate, "drain").contains("draining"));
    assert!(gate.ends(std::time::Duration::from_secs(5)));
    let (code, _, said) = run(&gate, "status", "");
    assert!(code == 1 && said.contains("does the proxy run?"), "{said}");
}
