//! `cutover-cms` between two private Dovecots, judged by the verifier. Failure modes that others have stand here by name.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::time::Duration;

use super::support::mover::{Move, USER, mail};

const DATE: &str = "05-Feb-2021 07:08:09 +0130";

fn filled(m: &Move, count: usize) {
    let mut source = m.source();
    source.ask("CREATE \"Work/a b\"");
    source.ask("SUBSCRIBE \"Work/a b\"");
    for n in 0..count {
        let folder = if n % 3 == 0 { "Work/a b" } else { "INBOX" };
        let flags = ["", "\\Seen", "\\Answered \\Flagged $MDNSent", "work"][n % 4];
        source.append(folder, flags, DATE, &mail(n));
    }
}

#[test]
fn a_mailbox_moves_and_what_changes_after_it_follows() {
    let m = Move::new();
    filled(&m, 60);
    assert!(m.once().contains("60 messages"));
    m.same();
    assert!(m.once().contains(" 0 messages"), "a second pass has nothing to do");
    let mut source = m.source();
    source.ask("SELECT INBOX");
    source.ask("UID STORE 1:5 +FLAGS (\\Flagged later)");
    source.ask("UID STORE 8:9 +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    source.ask("RENAME \"Work/a b\" \"Work/c\"");
    source.ask("UNSUBSCRIBE \"Work/a b\"");
    source.append("INBOX", "\\Seen", DATE, &mail(99));
    let said = m.once();
    assert!(
        said.contains("1 messages") && said.contains("5 flags, 2 removed"),
        "a renamed folder is not sent again: {said}"
    );
    m.same();
    assert!(m.run(&["final", USER]).ok().contains("final"));
    assert!(m.run(&["verify", "--how", "full"]).ok().contains("verify"));
    assert!(m.run(&["audit"]).ok().contains("whole"));
    let report = m.run(&["report", USER]).ok();
    assert!(report.contains("No exceptions."), "{report}");
}

/// Others take header fields for identity.
#[test]
fn failure_01_02_03_34_36_messages_are_told_apart_by_place_and_content_only() {
    let m = Move::new();
    let mut source = m.source();
    let body = |id: &str, text: &str| format!("From: x@acme.example\r\n{id}Subject: s\r\n\r\n{text}\r\n").into_bytes();
    let id = "Message-ID: <same@acme.example>\r\nReceived: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n";
    // No Message-ID; the same one with the same size and date and another body; exact copies with other flags.
    source.append("INBOX", "", DATE, &body("", "one"));
    source.append("INBOX", "", DATE, &body("", "two"));
    source.append("INBOX", "", DATE, &body(id, "one"));
    source.append("INBOX", "", DATE, &body(id, "two"));
    source.append("INBOX", "\\Seen", DATE, &body(id, "same"));
    source.append("INBOX", "\\Flagged", DATE, &body(id, "same"));
    assert!(m.once().contains("6 messages"));
    m.same();
    assert!(m.once().contains(" 0 messages"));
}

/// UIDVALIDITY changes: nothing is sent again and nothing removed; what has gone meanwhile goes.
#[test]
fn failure_06_15_a_renumbered_source_is_compared_by_content() {
    let m = Move::new();
    filled(&m, 90);
    m.once();
    let mut source = m.source();
    source.ask("SELECT INBOX");
    source.ask("UID STORE 3 +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    source.ask("LOGOUT");
    let maildir = m.old.maildir(USER);
    for entry in std::fs::read_dir(&maildir)
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("dovecot"))
    {
        if entry.path().is_file() && entry.file_name() != "dovecot-keywords" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let said = m.once();
    assert!(said.contains(" 0 messages") && said.contains("1 removed"), "{said}");
    m.same();
    assert!(m.audit().contains("renumbered"));
}

/// A target that was restored without some of its mail, or made anew.
#[test]
fn a_renumbered_target_gets_what_it_lacks() {
    let m = Move::new();
    filled(&m, 30);
    m.once();
    m.target().ask("DELETE \"Work/a b\"");
    m.once();
    m.same();
}

#[test]
fn failure_09_14_what_cannot_go_is_listed_and_the_rest_goes() {
    let m = Move::with("[limits]\nlargest = \"20KiB\"\n");
    filled(&m, 20);
    let mut source = m.source();
    source.append("INBOX", "", DATE, &[mail(1), vec![b'z'; 30_000], b"\r\n".to_vec()].concat());
    // An empty file: servers list it as a message, and refuse to take it.
    let cur = m.old.maildir(USER).join("cur/1700000000.M1P1.host,S=0,W=0:2,S");
    std::fs::write(&cur, "").unwrap();
    std::os::unix::fs::chown(&cur, Some(m.old.uid), Some(m.old.uid)).unwrap();
    let said = m.run(&["run", "--once"]);
    assert_eq!(said.code, 1, "a difference is never success: {}", said.text);
    assert!(said.text.contains("20 messages") && said.text.contains("2 exceptions"), "{}", said.text);
    let report = m.run(&["report", USER]);
    assert!(
        report.code == 1 && report.text.contains("too-large") && report.text.contains("malformed"),
        "{}",
        report.text
    );
    let differences = m.differences();
    assert_eq!(differences.matches("\"lost\",").count(), 2, "{differences}");
    // The user does not move so, unless that share may stay behind; both messages stay in the report.
    assert_eq!(m.run(&["final", USER]).code, 1);
    assert!(m.run(&["status", USER]).text.contains("delta"));
    m.configure(m.old.imap, m.new.imap, "[limits]\nlargest = \"20KiB\"\nmax-failed = \"10%\"\n");
    let said = m.run(&["final", USER]);
    assert!(
        said.code == 0 && said.text.contains("2 exceptions, as limits.max-failed and limits.personal allow"),
        "{}",
        said.text
    );
    assert!(m.run(&["status", USER]).text.contains("moved"));
    assert!(m.run(&["report", USER]).text.contains("too-large"));
}

/// A server that is not there for a while drops nothing.
#[test]
fn failure_11_what_passes_is_tried_again() {
    let m = Move::new();
    filled(&m, 20);
    m.configure(m.old.imap, 1, "");
    let said = m.run(&["verify"]);
    assert!(said.code == 1 && said.text.contains("unreachable"), "{}", said.text);
    m.configure(m.old.imap, m.new.imap, "");
    m.once();
    m.same();
}

#[test]
fn failure_16_a_second_mover_is_refused_while_the_first_lives() {
    let m = Move::new();
    filled(&m, 20);
    let mut first = m.command(&["run"]).spawn().unwrap();
    let refused = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let said = m.run(&["run", "--once"]);
        said.text.contains("another mover").then_some(said)
    });
    let ends = rustix::process::Pid::from_raw(first.id() as i32).unwrap();
    rustix::process::kill_process(ends, rustix::process::Signal::KILL).unwrap();
    first.wait().unwrap();
    // Whether the second met the first in a pass is chance; a dead one never stands in the way.
    assert!(refused.is_none_or(|r| r.code == 1));
    m.once();
    m.same();
}

#[test]
fn failure_12_19_20_what_is_on_the_target_already_stays_and_nothing_is_sent_twice() {
    let m = Move::new();
    filled(&m, 12);
    let mut target = m.target();
    target.ask("CREATE \"Work/a b\"");
    target.append("INBOX", "", DATE, &mail(7));
    target.append("Work/a b", "", DATE, b"Subject: new\r\n\r\nof the new side\r\n");
    m.once();
    m.once();
    assert_eq!(Move::count(&mut target, "INBOX"), 9);
    assert_eq!(Move::count(&mut target, "Work/a b"), 5);
}

/// A login that leads to an empty mailbox, a server that was set up anew: others remove everything on the other side.
#[test]
fn failure_21_an_emptied_source_takes_nothing_away_unasked() {
    let m = Move::new();
    filled(&m, 60);
    m.once();
    let mut source = m.source();
    source.ask("SELECT INBOX");
    source.ask("UID STORE 1:* +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    source.ask("DELETE \"Work/a b\"");
    let said = m.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("exceptions"), "{}", said.text);
    assert_eq!(Move::count(&mut m.target(), "INBOX"), 40);
    m.run(&["retry", USER, "--accept-removals"]).ok();
    m.once();
    assert_eq!(Move::count(&mut m.target(), "INBOX"), 0);
}

#[test]
fn failure_31_32_dates_and_mdn_marks_are_those_of_the_source() {
    let m = Move::new();
    filled(&m, 12);
    m.once();
    let dates = |mut client: super::support::dovecot::Client| {
        client.ask("SELECT INBOX");
        let said = client.ask("UID FETCH 1:* (INTERNALDATE FLAGS)");
        assert_eq!(said.matches("$MDNSent").count(), 2, "{said}");
        said.lines().filter_map(|l| l.split('"').nth(1).map(str::to_owned)).collect::<Vec<_>>()
    };
    let source = dates(m.source());
    assert!(source.len() == 8 && source[0].contains("Feb-2021"), "{source:?}");
    assert_eq!(source, dates(m.target()));
    m.same();
}

/// A folder is renamed with those below it, and one of those is renamed out of it.
#[test]
fn folders_that_are_renamed_with_their_parents_are_not_sent_again() {
    let m = Move::new();
    let mut source = m.source();
    for (n, folder) in ["A", "A/b", "A/b/c", "A/d"].iter().enumerate() {
        source.ask(&format!("CREATE \"{folder}\""));
        (0..3).for_each(|i| source.append(folder, "", DATE, &mail(n * 10 + i)));
    }
    m.once();
    source.ask("RENAME A/b/c Elsewhere");
    source.ask("RENAME A Z");
    source.ask("RENAME Z/d Z/e");
    let said = m.once();
    assert!(said.contains(" 0 messages"), "{said}");
    m.same();
}

/// After the final pass the new side is the user's; a rollback takes what they did there back.
#[test]
fn a_rollback_carries_back_what_the_new_side_got() {
    let m = Move::new();
    filled(&m, 30);
    m.run(&["final", USER]).ok();
    let mut target = m.target();
    target.append("INBOX", "\\Seen own", DATE, &mail(500));
    target.ask("SELECT INBOX");
    target.ask("UID STORE 2 +FLAGS (own2)");
    target.ask("UID STORE 4 +FLAGS (\\Deleted)");
    target.ask("EXPUNGE");
    // A straggler on the old side, and a flag there, after the switch: the mail follows, the new side's state wins.
    let mut source = m.source();
    source.append("INBOX", "", DATE, &mail(600));
    source.ask("SELECT INBOX");
    source.ask("UID STORE 2 +FLAGS (stale)");
    assert!(m.once().contains("1 messages"));
    let said = target.ask("UID FETCH 2 FLAGS");
    assert!(said.contains("own2") && !said.contains("stale"), "{said}");
    assert!(m.run(&["rollback", USER]).ok().contains("1 removed"));
    m.same();
}

/// Somebody worked on the old side after a last pass that ended too late. Until a last pass has seen that, it is written down, whatever dies.
#[test]
fn what_somebody_astray_has_deleted_does_not_come_back() {
    let m = Move::new();
    filled(&m, 12);
    m.run(&["final", USER]).ok();
    let astray = || {
        let said: serde_json::Value = serde_json::from_str(&m.run(&["status", "--json"]).ok()).unwrap();
        said[0]["astray"].as_bool().unwrap()
    };
    assert!(!astray());
    let mut source = m.source();
    source.ask("SELECT INBOX");
    source.ask("UID STORE 2 +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    assert_eq!(m.run(&["astray", "--json", USER]).ok().trim(), "1");
    for write in 1..60 {
        let crashed = m.command(&["final", USER]).env("CUTOVER_CMS_CRASH", write.to_string()).output().unwrap();
        if crashed.status.success() {
            assert!(write > 2, "it dies in the middle, too");
            break;
        }
        let said: serde_json::Value = serde_json::from_str(&m.run(&["status", "--json"]).ok()).unwrap();
        // Noted until the pass has come to its end, and not a moment less.
        assert!(said[0]["astray"] == true || said[0]["phase"] == "moved", "{write}: {said}");
    }
    assert!(!astray());
    m.run(&["rollback", USER]).ok();
    m.same();
    let mut source = m.source();
    assert!(source.ask("SELECT INBOX").contains("* 7 EXISTS"), "eight were there");
    assert_eq!(m.run(&["astray", "nobody"]).code, 1);
}

/// Real kills, some of each; the long form is `tests/soak/cms/kill`.
#[test]
fn failure_18_kills_lose_and_double_nothing() {
    soak("kill", &["--rounds", "2", "--messages", "40"]);
}

/// Real deaths at writes of the ledger, before and after each is durable.
#[test]
fn a_death_at_any_write_of_the_ledger_loses_and_doubles_nothing() {
    soak("kill", &["--writes", "--rounds", "1", "--messages", "30"]);
}

/// Answers that are lost while the server's session goes on; the long form is `tests/soak/cms/cut`.
#[test]
fn failure_04_05_lost_answers_and_zombies_double_nothing() {
    soak("cut", &["--cuts", "3", "--messages", "40"]);
}

fn soak(name: &str, words: &[&str]) {
    let script = format!("{}/tests/soak/cms/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new("python3")
        .arg(script)
        .args(words)
        .env("CUTOVER_CMS", env!("CARGO_BIN_EXE_cutover-cms"))
        .output()
        .unwrap();
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
