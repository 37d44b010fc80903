//! `cutover-cms preflight` against real Dovecots: what is found, what blocks, and that nothing is changed.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::os::unix::fs::PermissionsExt;
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
        // Who has gone is not let in over there.
        std::fs::write(at.join("wrong"), "wrong\n").unwrap();
        if users.last().is_some_and(|u| u.starts_with("gone")) {
            text += &format!("target-password = \"file:{}\"\n", at.join("wrong").display());
        }
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
        "duplicate: INBOX message 2: the same octets as message 1 (repair: on the way)",
        "encoding: INBOX message 3: octets above 127 in its header",
        "oversize: INBOX message 4: 117.1 KiB, the limit is 97.6 KiB",
        "hold: DiscoveryHolds: the name of a folder in which a legal hold keeps mail (repair: a person)",
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

/// A folder whose name the new side refuses, a mailbox without room, somebody who is not there: what a person would write is written.
#[test]
fn what_can_be_written_is_written_and_the_move_reads_it() {
    let world = World::begin();
    fill(&mut world.old.client("ann@acme.example"), "INBOX", &[b"A: 1\r\n\r\nx\r\n"]);
    let odd = world.old.maildir("ann@acme.example").join(".a&AAc-b");
    // The server's own user writes there.
    let open = |path: &std::path::Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    for part in ["cur", "new", "tmp", ""] {
        std::fs::create_dir_all(odd.join(part)).unwrap();
        open(&odd.join(part));
    }
    std::fs::write(odd.join("cur/1.M1P1.x:2,S"), "A: 2\n\nodd\n").unwrap();
    open(&odd.join("cur/1.M1P1.x:2,S"));
    fill(&mut world.old.client("big@acme.example"), "INBOX", &[&[&b"A: b\r\n\r\n"[..], &[b'x'; 70_000]].concat()]);
    fill(&mut world.old.client("gone@acme.example"), "INBOX", &[b"A: 1\r\n\r\nx\r\n"]);
    let users = ["ann@acme.example", "big@acme.example", "gone@acme.example"];
    let plan = world.folder.path().join("plan");
    let output = world.run(world.new.imap, &users, &["--repair", plan.to_str().unwrap()]);
    let text = said(&output);
    for (file, content) in [
        ("exclude.csv", "address\ngone@acme.example\n"),
        ("quota.csv", "address,quota\nbig@acme.example,77008\n"),
        ("rename.toml", "\"a\\u0007b\" = \"a b\"\n"),
    ] {
        let written = std::fs::read_to_string(plan.join(file)).unwrap_or_default();
        assert_eq!(written, content, "{file}: {text}");
        assert!(text.contains(&format!("(repair: written to {}/{file})", plan.display())), "{file}: {text}");
    }
    let output = world.run(world.new.imap, &users, &["--json"]);
    assert!(said(&output).contains("a person: raise the user's quota on the new side"), "{}", said(&output));
    // Read by the move.
    let config = world.folder.path().join("cms.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[folders]\nrename-file = \"{}/rename.toml\"\n", plan.display())).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cutover-cms"))
        .args(["--config", config.to_str().unwrap(), "run", "--once", "ann@acme.example"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(world.new.client("ann@acme.example").ask("STATUS \"a b\" (MESSAGES)").contains("MESSAGES 1"));
}
