//! Failure modes of the list that are about whole moves, against real servers; a relay does what other servers would.
//!
//! Where the others stand: 1-3, 34, 36 `cms_move`; 4 `cms_imap_failures` and `cms_move`; 5 `cms_move` and `tests/soak/cms/cut`; 6, 15
//! `cms_move`, `cms_imap_failures`, `mover::rules`; 9, 14, 16, 18-21, 31, 32 `cms_move`; 10, 13, 22-30 `cms_imap_failures`; 33 `cms_pop3`.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::mover::{Move, USER, mail};
use super::support::relay::{From, Relay, Reply};

const DATE: &str = "05-Feb-2021 07:08:09 +0130";

/// dsync drops such a folder and ends with 0. Each of these names is also a pattern that others fit.
#[test]
fn failure_07_names_that_are_patterns_are_names() {
    let m = Move::new();
    let mut source = m.source();
    for (n, folder) in ["per%cent", "perXcent", "100%", "100%/50% off", "100 more", "%"].iter().enumerate() {
        source.ask(&format!("CREATE \"{folder}\""));
        source.ask(&format!("SUBSCRIBE \"{folder}\""));
        (0..=n).for_each(|i| source.append(folder, "", DATE, &mail(n * 10 + i)));
    }
    m.run(&["final", USER]).ok();
    m.same();
    let mut target = m.target();
    assert_eq!((Move::count(&mut target, "per%cent"), Move::count(&mut target, "100%/50% off")), (1, 4));
    // And what happens to them afterwards.
    source.ask("RENAME \"100%\" \"99%\"");
    source.ask("DELETE perXcent");
    source.append("per%cent", "\\Seen", DATE, &mail(99));
    m.run(&["final", USER]).ok();
    source.ask("UNSUBSCRIBE perXcent");
    source.ask("UNSUBSCRIBE \"100%\"");
    source.ask("UNSUBSCRIBE \"100%/50% off\"");
    m.run(&["final", USER]).ok();
    m.same();
}

/// mbsync writes a header of its own into each message, drops keywords, and passes over messages without a body.
#[test]
fn failure_08_nothing_is_written_into_messages_and_keywords_and_bare_headers_go_along() {
    let m = Move::new();
    let mut source = m.source();
    source.append("INBOX", "work $Forwarded $label1 Junk", DATE, b"Subject: header only\r\n\r\n");
    source.append("INBOX", "one two three", DATE, b"Subject: not even an empty line\r\n");
    source.append("INBOX", "$MDNSent", DATE, b"X-TUID: abcdefghijkl\r\nSubject: of another tool\r\n\r\nx\r\n");
    source.append("INBOX", "", DATE, b"\r\nno header\r\n");
    source.append("INBOX", "", DATE, b"\r\n");
    for n in 0..40 {
        source.append("INBOX", &format!("keyword{n} Other-{}", n % 7), DATE, &mail(n));
    }
    m.run(&["final", USER]).ok();
    m.same();
    m.run(&["verify", "--how", "full"]).ok();
}

/// A server that says for a while that it cannot: no message is dropped for it, nor is one sent twice.
#[test]
fn failure_11_a_server_that_is_busy_at_any_command_drops_no_message() {
    let m = Move::new();
    let mut source = m.source();
    source.ask("CREATE Box");
    for n in 0..60 {
        source.append(if n % 2 == 0 { "INBOX" } else { "Box" }, ["", "\\Seen"][n % 2], DATE, &mail(n));
    }
    let busy = |side: u16, words: &'static [&'static str]| {
        let left: Vec<AtomicUsize> = words.iter().map(|_| AtomicUsize::new(2)).collect();
        Relay::start(side, move |from, line| {
            let hit = |n: &usize| {
                line.contains(words[*n])
                    && left[*n].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |l| l.checked_sub(1)).is_ok()
            };
            match from == From::Client && (0..words.len()).any(|n| hit(&n)) {
                // A literal that is not waited for goes with its command.
                true => Reply::Answer("{tag} NO [UNAVAILABLE] a server behind this one is away".into()),
                false => Reply::Pass,
            }
        })
    };
    let old = busy(m.old.imap, &["EXAMINE", "UID FETCH 1:", "BODY.PEEK", "LIST \"\""]);
    let new = busy(m.new.imap, &["CREATE", "SELECT", "STORE", "SUBSCRIBE", "LIST \"\""]);
    m.configure(old.port, new.port, "");
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(m.run(&["run", "--once"]).code);
    }
    assert_eq!(codes.last(), Some(&0), "{codes:?}");
    m.run(&["final", USER]).ok();
    m.same();
    // And when it is the answer of the append itself: stored, and called away.
    let lies = AtomicUsize::new(0);
    let late = Relay::start(m.new.imap, move |from, line| {
        match from == From::Server && line.contains("APPENDUID") && lies.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Reply::Instead("{tag} NO [UNAVAILABLE] try again".into()),
            false => Reply::Pass,
        }
    });
    source.append("Box", "", DATE, &mail(100));
    m.configure(m.old.imap, late.port, "");
    m.run(&["run", "--once"]);
    m.run(&["final", USER]);
    let differences = m.differences();
    // A server that says NO and stores has lied: its copy is a second one, which `final` names.
    assert!(!differences.contains("\"lost\""), "{differences}");
}

/// A folder that somebody else makes at the same moment gets its mail.
#[test]
fn failure_12_a_folder_that_another_has_just_made_gets_its_mail() {
    let m = Move::new();
    let mut source = m.source();
    for folder in ["Box", "Box/in", "Other"] {
        source.ask(&format!("CREATE {folder}"));
        (0..7).for_each(|n| source.append(folder, "", DATE, &mail(n)));
    }
    let port = m.new.imap;
    let relay = Relay::start(port, move |from, line| {
        if from == From::Client && line.contains("CREATE \"") {
            // Before this one arrives, another session has made it.
            let name = line.split('"').nth(1).unwrap();
            let mut other = super::support::dovecot::Client::open(port, USER);
            other.ask(&format!("CREATE \"{name}\""));
        }
        Reply::Pass
    });
    m.configure(m.old.imap, relay.port, "");
    m.run(&["final", USER]).ok();
    m.configure(m.old.imap, m.new.imap, "");
    source.ask("SUBSCRIBE Box");
    m.run(&["final", USER]).ok();
    m.same();
}

/// Exchange gives messages new Message-IDs, Domino writes their headers anew: who knows messages by header sends all of them again, each
/// time. Here the target rewrites each message that it stores.
#[test]
fn failure_17_a_server_that_rewrites_messages_gets_each_once_and_that_is_told() {
    let rewrite = |message: Vec<u8>| {
        let text = String::from_utf8(message).unwrap();
        let text: String = text.split_inclusive('\n').filter(|l| !l.starts_with("Message-ID")).collect();
        format!("Message-ID: <rewritten@exchange.example>\r\nX-Rewritten: yes\r\n{text}").into_bytes()
    };
    let m = Move::new();
    let mut source = m.source();
    (0..50).for_each(|n| source.append("INBOX", ["", "\\Seen"][n % 2], DATE, &mail(n)));
    let relay = Relay::rewriting(m.new.imap, |_, _| Reply::Pass, rewrite);
    m.configure(m.old.imap, relay.port, "");
    assert!(m.once().contains("50 messages"));
    assert!(m.once().contains(" 0 messages"));
    source.append("INBOX", "", DATE, &mail(50));
    source.ask("SELECT INBOX");
    source.ask("UID STORE 7 +FLAGS (\\Flagged)");
    source.ask("UID STORE 9 +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    let said = m.once();
    assert!(said.contains(" 1 messages") && said.contains("1 flags, 1 removed"), "{said}");
    assert_eq!(Move::count(&mut m.target(), "INBOX"), 50);
    // The source is renumbered: what is compared is what was read, not what the target made of it.
    source.ask("LOGOUT");
    for entry in std::fs::read_dir(m.old.maildir(USER)).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && name.starts_with("dovecot") && name != "dovecot-keywords" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let said = m.once();
    assert!(said.contains(" 0 messages"), "{said}");
    assert_eq!(Move::count(&mut m.target(), "INBOX"), 50, "{said} {}", m.audit());
    // It says octets are kept, and they are not: no move that is called done.
    let said = m.run(&["final", USER]);
    assert!(said.code == 1 && said.text.contains("50 exceptions"), "{}", said.text);
    assert!(m.run(&["report", USER]).text.contains("its octets were changed on the new side"));
    assert_eq!(m.differences().matches("\"altered\",").count(), 50);
}

/// A server that drops what it thinks it has already, and says OK (Cyrus with duplicate suppression).
#[test]
fn failure_35_a_message_that_is_dropped_as_a_duplicate_is_no_success() {
    let m = Move::new();
    let mut source = m.source();
    let twin = mail(7);
    source.append("INBOX", "", DATE, &mail(1));
    source.append("INBOX", "\\Seen", DATE, &twin);
    source.append("INBOX", "\\Flagged", DATE, &twin);
    for told in [true, false] {
        // One append at a time; the second of two messages of the same size is swallowed.
        let seen: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let relay = Relay::start(m.new.imap, move |from, line| match from {
            From::Server if line.contains("MULTIAPPEND") => Reply::Instead(line.replace(" MULTIAPPEND", "")),
            From::Server if !told && line.contains("UIDPLUS") => Reply::Instead(line.replace(" UIDPLUS", "")),
            From::Server if !told && line.contains("APPENDUID") => Reply::Instead("{tag} OK done".into()),
            From::Client if line.contains(" APPEND \"INBOX\"") => {
                let size = line.rsplit('{').next().unwrap().to_owned();
                let mut seen = seen.lock().unwrap();
                if seen.contains(&size) {
                    return Reply::Answer("{tag} OK [APPENDUID 1 1] suppressed".into());
                }
                seen.push(size);
                Reply::Pass
            }
            _ => Reply::Pass,
        });
        let user = m.path(if told { "state" } else { "state-2" });
        if !told {
            let mut target = m.target();
            target.ask("SELECT INBOX");
            target.ask("STORE 1:* +FLAGS (\\Deleted)");
            target.ask("EXPUNGE");
            for line in target.ask("LIST \"\" Cutover-Move-*").lines().filter(|l| l.starts_with("* ")) {
                target.ask(&format!("DELETE {}", line.rsplit(' ').next().unwrap().trim()));
            }
            std::fs::rename(m.path("state"), user).unwrap();
        }
        m.configure(m.old.imap, relay.port, "");
        m.run(&["run", "--once"]);
        let last = m.run(&["final", USER]);
        let count = Move::count(&mut m.target(), "INBOX");
        assert!(last.code == 1 && count == 2, "{count} of 3 are there: {}", last.text);
        let report = m.run(&["report", USER]).text;
        assert!(report.contains("INBOX") && report.contains("protocol"), "{report}");
    }
}
