//! `cutover-cms preflight` against real Dovecots: what is found, what blocks, and that nothing is changed.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::process::{Command, Output};

use super::support::dovecot::{Client, Dovecot};

struct World {
    old: Dovecot,
    new: Dovecot,
    folder: tempfile::TempDir,
}

/// A quota, and nobody called `nobody`, on the new side.
const NEW: &str = "mail_plugins = quota\nprotocol imap {\n mail_plugins = quota imap_quota\n}\n\
                   plugin {\n quota = count:User quota\n quota_vsizes = yes\n quota_rule = *:storage=64K\n}\n";

impl World {
    fn begin() -> Self {
        Self { old: Dovecot::start(), new: Dovecot::with(NEW), folder: tempfile::tempdir().unwrap() }
    }

    fn run(&self, target: u16, users: &[&str], words: &[&str]) -> Output {
        let at = self.folder.path();
        std::fs::write(at.join("secret"), "secret\n").unwrap();
        let mut text = format!("[cms]\nstate = {:?}\ncontrol = {:?}\n", at.join("state"), at.join("control"));
        for (key, port) in [("source", self.old.imap), ("target", target)] {
            text += &format!(
                "[{key}]\nkind = \"imap\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\npassword = \"file:{}\"\n",
                at.join("secret").display()
            );
        }
        text += "[limits]\nlargest = \"100KB\"\n";
        users.iter().for_each(|user| text += &format!("[[mailbox]]\nuser = {user:?}\n"));
        std::fs::write(at.join("cms.toml"), text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_cutover-cms"))
            .args(["--config", at.join("cms.toml").to_str().unwrap(), "preflight"])
            .args(words)
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn fill(client: &mut Client, folder: &str, messages: &[&[u8]]) {
    if folder != "INBOX" {
        client.ask(&format!("CREATE \"{folder}\""));
    }
    messages.iter().for_each(|m| client.append(folder, "", "", m));
}

#[test]
fn a_deep_look_names_what_is_odd_and_what_blocks() {
    let world = World::begin();
    let mut ann = world.old.client("ann@acme.example");
    let large = [&b"A: b\r\n\r\n"[..], &[b'x'; 120_000]].concat();
    fill(&mut ann, "INBOX", &[b"A: 1\r\n\r\nsame\r\n", b"A: 1\r\n\r\nsame\r\n", b"Subject: \xe4\r\n\r\nx\r\n", &large]);
    fill(&mut ann, "DiscoveryHolds", &[b"A: 2\r\n\r\nheld\r\n"]);
    let long = [&b"A: b\r\n\r\n"[..], &[b'x'; 1200], b"\r\n"].concat();
    fill(&mut ann, "Archive", &[&long]);
    let many: Vec<Vec<u8>> =
        (0..25).map(|n| format!("Delivered-To: shop{n}@acme.example\r\n\r\norder\r\n").into_bytes()).collect();
    fill(&mut ann, "Orders", &many.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let state =
        |client: &mut Client| client.ask("STATUS INBOX (MESSAGES UNSEEN UIDNEXT)").lines().next().map(str::to_owned);
    let before = state(&mut ann);

    let output = world.run(world.new.imap, &["ann@acme.example"], &["--deep"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "ann@acme.example: blocked (31 messages read in 4 folders",
        "duplicate: INBOX message 2: the same octets as message 1",
        "encoding: INBOX message 3: octets above 127 in its header",
        "oversize: INBOX message 4: 117.1 KiB, the limit is 97.6 KiB",
        "hold: DiscoveryHolds: the name of a folder",
        "archive: Archive: an archive folder",
        "encoding: Archive message 1: a line of 1200 octets",
        "catch-all: mail for 25 other addresses lies here",
        "quota: 1",
    ] {
        assert!(text.contains(line), "`{line}` is missing in\n{text}");
    }
    // Nothing was marked as seen, and nothing came to the new side.
    assert_eq!(before, state(&mut ann));
    assert!(world.new.client("ann@acme.example").ask("STATUS INBOX (MESSAGES)").contains("MESSAGES 0"));

    // A mere listing blocks on the same, without reading; a choice of problems hides the others.
    let output = world.run(world.new.imap, &["ann@acme.example"], &["--find", "duplicate,encoding"]);
    assert!(output.status.success() && said(&output).contains("nothing found"), "{}", said(&output));
}

#[test]
fn who_is_fine_passes_and_who_cannot_be_asked_is_never_fine() {
    let world = World::begin();
    fill(&mut world.old.client("bob@acme.example"), "INBOX", &[b"A: 1\r\n\r\nx\r\n"]);
    let output = world.run(world.new.imap, &["bob@acme.example"], &["--deep"]);
    assert!(output.status.success() && said(&output).contains("bob@acme.example: nothing found"), "{}", said(&output));
    // Nobody answers there.
    let output = world.run(super::support::dovecot::free_port(), &["bob@acme.example"], &["--json"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("not-asked") && text.contains("unreachable"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}
