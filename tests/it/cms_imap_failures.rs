//! What servers do wrong, before a real Dovecot whose answers a relay changes: nothing is lost by it, and each fault has its class.
//! The numbers are those of the list of failure modes.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cutover::services::cms::mailbox::{Changes, Class, Fault, Fetched, FolderPath, Id};
use cutover::services::cms::source::Source;
use cutover::services::cms::target::{Appended, Target};

use super::cms_imap::{access, end, fetch, folder, ids, means, message, octets, path, source, target};
use super::support::dovecot::Dovecot;
use super::support::relay::{From, Relay, Reply};

const BODY: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

/// Bob's INBOX with so many messages, and a relay before it.
fn mailbox(messages: usize, meddle: impl Fn(From, &str) -> Reply + Send + Sync + 'static) -> (Dovecot, Relay) {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("bob");
    for n in 1..=messages {
        client.append("INBOX", "", "", format!("Subject: {n}\r\n\r\nbody\r\n").as_bytes());
    }
    let relay = Relay::start(dovecot.imap, meddle);
    (dovecot, relay)
}

async fn opened(port: u16) -> Source {
    let mut from = source(port, "bob").await;
    let folders = from.folders().await.unwrap();
    from.open(folder(&folders, &["INBOX"])).await.unwrap();
    from
}

async fn writing(port: u16) -> Target {
    let mut to = target(port, "bob").await;
    let inbox = to.create(&FolderPath::inbox(), None).await.unwrap();
    to.open(&inbox).await.unwrap();
    to
}

fn messages(fetched: Vec<Fetched>) -> (Vec<u32>, Vec<(u32, Fault)>) {
    let (mut came, mut failed) = (Vec::new(), Vec::new());
    for fetched in fetched {
        match fetched {
            Fetched::Message(m) => {
                assert!(octets(&m.content).ends_with(b"body\r\n"));
                came.push(m.id.number().unwrap());
            }
            Fetched::Failed(id, fault) => failed.push((id.number().unwrap(), fault)),
        }
    }
    (came, failed)
}

fn uids(n: u32) -> Vec<Id> {
    (1..=n).map(Id::uid).collect()
}

#[tokio::test]
async fn failure_04_the_answer_of_an_append_is_lost() {
    let (dovecot, relay) =
        mailbox(
            1,
            |from, line| {
                if from == From::Server && line.contains("APPENDUID") { Reply::Cut } else { Reply::Pass }
            },
        );
    let mut to = writing(relay.port).await;
    let appended = to.append(&[message(1, BODY, ""), message(2, BODY, "\\Seen")]).await;
    assert!(matches!(&appended, Appended::Unknown(f) if f.class == Class::Unreachable), "{appended:?}");
    // The session says nothing more; another one finds both.
    assert_eq!(to.arrived(None).await.unwrap_err().class, Class::Unreachable);
    let mut to = writing(dovecot.imap).await;
    let Changes::Whole(arrived) = to.arrived(Some(2)).await.unwrap() else { panic!("no listing") };
    assert_eq!(arrived.iter().map(|s| s.flags.to_string()).collect::<Vec<_>>(), ["", "\\Seen"]);
}

#[tokio::test]
async fn failure_06_uidvalidity_changes_while_the_folder_is_open() {
    let (_dovecot, relay) = mailbox(3, |from, line| match from == From::Server && line.starts_with("* 2 FETCH") {
        true => Reply::Instead(format!("* OK [UIDVALIDITY 4711] renumbered\r\n{line}")),
        false => Reply::Pass,
    });
    let mut from = opened(relay.port).await;
    assert_eq!(from.changes(None).await.unwrap_err().class, Class::Renumbered);
}

#[tokio::test]
async fn failure_09_an_empty_message_is_the_culprit_and_none_of_its_batch_is_stored() {
    let dovecot = Dovecot::start();
    let mut to = writing(dovecot.imap).await;
    match to.append(&[message(1, BODY, ""), message(2, b"", ""), message(3, BODY, "")]).await {
        Appended::Refused { stored, culprit: Some(1), fault } => {
            assert!(stored.is_empty() && fault.class == Class::Malformed, "{fault}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(to.arrived(None).await.unwrap(), Changes::Whole(vec![]));
}

#[tokio::test]
async fn failure_10_a_size_that_is_missing_or_wrong_loses_nothing() {
    let (_dovecot, relay) = mailbox(2, |from, line| match from == From::Server {
        true if line.contains("* 1 FETCH") => Reply::Instead(line.replace("RFC822.SIZE 20", "RFC822.SIZE NIL")),
        true if line.contains("* 2 FETCH") => Reply::Instead(line.replace("RFC822.SIZE 20", "RFC822.SIZE 3")),
        _ => Reply::Pass,
    });
    let mut from = opened(relay.port).await;
    let Changes::Whole(seen) = from.changes(None).await.unwrap() else { panic!("no listing") };
    assert_eq!(seen.iter().map(|s| s.size).collect::<Vec<_>>(), [None, Some(3)]);
    let (fetched, done) = fetch(&mut from, &uids(2), &means()).await;
    done.unwrap();
    assert_eq!(messages(fetched), (vec![1, 2], vec![]));
}

#[tokio::test]
async fn failure_11_and_13_a_content_that_is_not_sent_is_not_an_expunged_message() {
    // UID 2 has no content, for UID 3 the server says NO and sends nothing of what was asked for behind it.
    let (dovecot, relay) = mailbox(6, |from, line| match from {
        From::Server if line.starts_with("* 2 FETCH") && line.contains("BODY[]") => {
            Reply::Instead(format!("{}BODY[] NIL", line.split("BODY[]").next().unwrap()))
        }
        From::Client if line.contains("UID FETCH 1:6 (UID FLAGS") => Reply::Instead(line.replace("1:6", "1:2")),
        From::Client if line.contains("UID FETCH 3 (UID FLAGS") => {
            Reply::Answer("{tag} NO [UNAVAILABLE] the store is away".into())
        }
        _ => Reply::Pass,
    });
    dovecot.client("bob").ask("SELECT INBOX");
    let mut from = opened(relay.port).await;
    let mut other = dovecot.client("bob");
    other.ask("SELECT INBOX");
    other.ask("STORE 5 +FLAGS (\\Deleted)");
    other.ask("EXPUNGE");
    let (fetched, done) = fetch(&mut from, &uids(6), &means()).await;
    done.unwrap();
    let (came, failed) = messages(fetched);
    assert_eq!(came, [1, 4, 6]);
    let classes: Vec<(u32, Class)> = failed.iter().map(|(uid, f)| (*uid, f.class)).collect();
    assert_eq!(classes, [(5, Class::Vanished), (2, Class::Busy), (3, Class::Busy)], "{failed:?}");
}

#[tokio::test]
async fn failure_13_a_listing_that_is_incomplete_is_an_error_and_not_a_listing() {
    for lie in ["drop", "no flags", "no"] {
        let (_dovecot, relay) = mailbox(3, move |from, line| match (from, lie) {
            (From::Server, "drop") if line.starts_with("* 2 FETCH") => Reply::Instead(String::new()),
            (From::Server, "no flags") if line.starts_with("* 2 FETCH") => {
                Reply::Instead(line.replace("FLAGS ()", "X 1"))
            }
            (From::Server, "no") if line.contains("OK Fetch completed") => {
                Reply::Instead("{tag} NO some failed".into())
            }
            (From::Server, "no flags") if line.contains("* 2 FETCH") => Reply::Pass,
            _ => Reply::Pass,
        });
        let mut from = opened(relay.port).await;
        let listed = from.changes(None).await;
        // Dovecot says \Recent of new messages.
        if lie == "no flags" && listed.is_ok() {
            continue;
        }
        assert_eq!(listed.unwrap_err().class, Class::Busy, "{lie}");
    }
}

#[tokio::test]
async fn failure_12_a_folder_that_is_there_already_is_used() {
    let hidden = AtomicUsize::new(0);
    let (dovecot, relay) = mailbox(0, move |from, line| {
        // The first look does not show it, as when another session makes it in between.
        if from == From::Server
            && line.starts_with("* LIST")
            && line.ends_with("Box")
            && hidden.fetch_add(1, Ordering::SeqCst) == 0
        {
            return Reply::Instead(String::new());
        }
        Reply::Pass
    });
    dovecot.client("bob").ask("CREATE Box");
    let mut to = target(relay.port, "bob").await;
    let made = to.create(&path(&["Box"]), None).await.unwrap();
    assert!(relay.said().iter().any(|l| l.contains("CREATE")));
    to.open(&made).await.unwrap();
    assert!(matches!(to.append(&[message(1, BODY, "")]).await, Appended::Stored(_)));
}

#[tokio::test]
async fn failure_22_ids_of_an_append_are_believed_only_when_they_can_be_true() {
    for lie in ["swapped", "missing", "too few"] {
        let (_dovecot, relay) = mailbox(0, move |from, line| {
            let Some((before, rest)) = line.split_once("[APPENDUID ").filter(|_| from == From::Server) else {
                return Reply::Pass;
            };
            let (ids, after) = rest.split_once(']').unwrap();
            let (validity, uids) = ids.split_once(' ').unwrap();
            Reply::Instead(match lie {
                "swapped" => format!("{before}[APPENDUID {uids} {validity}]{after}"),
                "missing" => format!("{before}{after}"),
                _ => format!("{before}[APPENDUID {validity} 1]{after}"),
            })
        });
        let mut to = writing(relay.port).await;
        let Appended::Stored(ids) = to.append(&[message(1, BODY, ""), message(2, BODY, "")]).await else {
            panic!("{lie}")
        };
        assert_eq!(ids, [None, None], "{lie}");
        let Changes::Whole(arrived) = to.arrived(Some(1)).await.unwrap() else { panic!("no listing") };
        assert_eq!(arrived.len(), 2, "{lie}");
    }
}

#[tokio::test]
async fn failure_23_marks_of_a_server_that_keeps_no_uids_are_never_equal() {
    let (_dovecot, relay) =
        mailbox(1, |from, line| match from == From::Server && line.starts_with("* OK [UIDVALIDITY") {
            true => Reply::Instead(format!("* NO [UIDNOTSTICKY] not kept\r\n{line}")),
            false => Reply::Pass,
        });
    let mut from = opened(relay.port).await;
    let folders = from.folders().await.unwrap();
    let (one, two) = (from.open(&folders[0]).await.unwrap(), from.open(&folders[0]).await.unwrap());
    assert_ne!(one.validity, two.validity);
    assert!(matches!(from.changes(Some(&one)).await.unwrap(), Changes::Whole(all) if all.len() == 1));
}

#[tokio::test]
async fn failure_24_an_append_names_its_flags_and_no_utf8_literal() {
    let (_dovecot, relay) = mailbox(0, |_, _| Reply::Pass);
    let mut to = writing(relay.port).await;
    let large = b"Subject: x\r\n\r\n0123456789\r\n".repeat(10_000);
    assert!(matches!(to.append(&[message(1, &large, ""), message(2, BODY, "\\Seen")]).await, Appended::Stored(_)));
    let said = relay.said();
    let appends: Vec<&String> = said.iter().filter(|l| l.contains(" APPEND ") || l.starts_with(" (")).collect();
    assert_eq!(appends.len(), 2, "{appends:?}");
    assert!(appends[0].contains("\"INBOX\" () {") && appends[1].starts_with(" (\\Seen) {"), "{appends:?}");
}

#[tokio::test]
async fn failure_25_folders_are_read_from_sloppy_listings_and_by_servers_that_refuse_what_they_offer() {
    let (dovecot, relay) = mailbox(1, |from, line| match from {
        From::Client if line.contains("SPECIAL-USE") || line.contains("RETURN (SUBSCRIBED STATUS") => {
            Reply::Answer("{tag} BAD Unknown option".into())
        }
        From::Server if line.starts_with("* LIST") && line.contains("Sent Items") => {
            Reply::Instead("* LIST (\\HasNoChildren) \"/\" Sent Items".into())
        }
        From::Server if line.starts_with("* LIST") => {
            Reply::Instead(line.replace("\"2024\"", "2024").replace("\"/\" ", "\"/\"  "))
        }
        _ => Reply::Pass,
    });
    let mut client = dovecot.client("bob");
    for name in ["2024", "\"Sent Items\"", "\"&\"", "Trash"] {
        client.ask(&format!("CREATE {}", name.replace("\"&\"", "\"A &- B\"")));
    }
    client.ask("SUBSCRIBE 2024");
    let mut from = source(relay.port, "bob").await;
    let folders = from.folders().await.unwrap();
    for names in ["INBOX", "2024", "Sent Items", "A & B", "Trash"] {
        let folder = folder(&folders, &[names]);
        assert_eq!(folder.subscribed, names == "2024");
        from.open(folder).await.unwrap();
    }
}

#[tokio::test]
async fn failure_26_a_server_that_folds_names_gives_the_folder_that_there_is() {
    let (dovecot, relay) = mailbox(0, |from, line| match from {
        From::Client if line.contains("CREATE \"end \"") => Reply::Instead(line.replace("end ", "end")),
        From::Client if line.contains("CREATE \"trash\"") => Reply::Answer("{tag} NO [ALREADYEXISTS] it exists".into()),
        _ => Reply::Pass,
    });
    dovecot.client("bob").ask("CREATE Trash");
    let mut to = target(relay.port, "bob").await;
    assert_eq!(to.create(&path(&["end "]), None).await.unwrap().path, path(&["end"]));
    assert_eq!(
        to.create(&path(&["trash"]), None).await.unwrap().path,
        path(&["Trash"]),
        "the mover sees that both are one"
    );
    let mut to = Target::connect(&end(relay.port, "profile = \"exchange\""), &access("bob")).await.unwrap();
    let fault = to.create(&path(&["Files", "x"]), None).await.unwrap_err();
    assert!(fault.class == Class::Permission && fault.what.contains("Files"), "{fault}");
}

#[tokio::test]
async fn failure_27_long_lines_8_bit_headers_and_nul_come_through_or_are_told() {
    let dovecot = Dovecot::start();
    let mut to = writing(dovecot.imap).await;
    let line = [b"Subject: long\r\n\r\n".as_slice(), &[b'x'; 70_000], b"\r\n"].concat();
    let odd = [
        line,
        b"Subject: gr\xfc\xdfe \xf0\x9f\x98\x80\r\n\r\n\xff\xfe\r\n".to_vec(),
        b"Subject: nul\r\n\r\na\0b\r\n".to_vec(),
    ];
    let batch: Vec<_> = odd.iter().enumerate().map(|(n, o)| message(n as u32 + 1, o, "")).collect();
    let appended = to.append(&batch).await;
    let mut from = source(dovecot.imap, "bob").await;
    let folders = from.folders().await.unwrap();
    from.open(&folders[0]).await.unwrap();
    match appended {
        Appended::Stored(_) => {
            let (fetched, done) = fetch(&mut from, &uids(3), &means()).await;
            done.unwrap();
            for (n, fetched) in fetched.into_iter().enumerate() {
                let Fetched::Message(m) = fetched else { panic!("{fetched:?}") };
                // Dovecot stores a NUL and shows 0x80 for it, because a literal of BODY[] may hold none.
                let shown: Vec<u8> = odd[n].iter().map(|b| if *b == 0 { 0x80 } else { *b }).collect();
                assert!(octets(&m.content) == shown, "message {n}");
            }
            let folders = ["new", "cur"].map(|f| std::fs::read_dir(dovecot.maildir("bob").join(f)).unwrap());
            let kept = folders.into_iter().flatten().map(|f| std::fs::read(f.unwrap().path()).unwrap());
            assert_eq!(kept.filter(|octets| octets.contains(&0)).count(), 1);
        }
        other => panic!("{other:?}"),
    }
    // Servers that take none of it say so in texts.
    for (text, class) in [
        ("NO Message contains NUL characters", Class::Malformed),
        ("NO Message contains bare newlines", Class::Malformed),
        ("NO [TOOBIG] Maximum message size exceeded", Class::TooLarge),
        ("BAD APPEND: header has 8-bit characters, line too long", Class::Malformed),
        ("NO whatever it means", Class::Malformed),
    ] {
        let relay =
            Relay::start(dovecot.imap, move |from, line| match from == From::Server && line.contains("APPENDUID") {
                true => Reply::Instead(format!("{{tag}} {text}")),
                false => Reply::Pass,
            });
        let mut to = writing(relay.port).await;
        match to.append(&batch[..1]).await {
            Appended::Refused { culprit: Some(0), fault, .. } => assert_eq!(fault.class, class, "{fault}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn failure_28_and_29_what_exchange_means_and_how_long_it_asks_to_wait() {
    for (text, class, wait) in [
        ("NO Server Unavailable. 15", Class::Quota, None),
        ("BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", Class::Busy, Some(299_961)),
        ("NO [OVERQUOTA] full", Class::Quota, None),
    ] {
        let (_dovecot, relay) =
            mailbox(0, move |from, line| match from == From::Server && line.contains("APPENDUID") {
                true => Reply::Instead(format!("{{tag}} {text}")),
                false => Reply::Pass,
            });
        let mut to = Target::connect(&end(relay.port, "profile = \"exchange\""), &access("bob")).await.unwrap();
        assert!(!to.abilities().exact, "it builds messages anew");
        let inbox = to.create(&FolderPath::inbox(), None).await.unwrap();
        to.open(&inbox).await.unwrap();
        match to.append(&[message(1, BODY, ""), message(2, BODY, "")]).await {
            Appended::Refused { culprit: None, fault, .. } => {
                assert_eq!((fault.class, fault.after), (class, wait.map(Duration::from_millis)), "{fault}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn failure_30_a_login_that_succeeds_and_finds_no_mailbox_is_a_failed_login() {
    let (_dovecot, relay) = mailbox(1, |from, line| match from {
        From::Client if line.contains("LIST") || line.contains("STATUS") => {
            Reply::Answer("{tag} BAD User is authenticated but not connected.".into())
        }
        _ => Reply::Pass,
    });
    let fault = Source::connect(&end(relay.port, ""), &access("bob")).await.unwrap_err();
    assert_eq!(fault.class, Class::Login, "{fault}");
    // One that is merely busy is not.
    let relay = Relay::start(_dovecot.imap, |from, line| match from == From::Client && line.contains("STATUS") {
        true => Reply::Answer("{tag} NO [UNAVAILABLE] later".into()),
        false => Reply::Pass,
    });
    let fault = Source::connect(&end(relay.port, ""), &access("bob")).await.unwrap_err();
    assert_eq!(fault.class, Class::Busy, "{fault}");
}

#[tokio::test]
async fn without_multiappend_single_appends_stand_alone_and_each_has_its_answer() {
    let nth = AtomicUsize::new(0);
    let (dovecot, relay) = mailbox(0, move |from, line| match from {
        From::Server if line.contains("MULTIAPPEND") => Reply::Instead(line.replace(" MULTIAPPEND", "")),
        From::Server if line.contains("APPENDUID") && nth.fetch_add(1, Ordering::SeqCst) == 1 => {
            Reply::Instead("{tag} NO Message contains NUL characters".into())
        }
        _ => Reply::Pass,
    });
    let mut to = writing(relay.port).await;
    assert!(to.abilities().batch > 1 && !to.abilities().whole_batches);
    let batch: Vec<_> = (1..=4).map(|n| message(n, BODY, "")).collect();
    let Appended::Each(each) = to.append(&batch).await else { panic!("not each") };
    assert_eq!(each.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(each[1].as_ref().unwrap_err().class, Class::Malformed);
    // And with literals that have to be waited for, also in a MULTIAPPEND.
    for without in ["LITERAL+", "LITERAL+ MULTIAPPEND"] {
        let relay =
            Relay::start(dovecot.imap, move |from, line| match from == From::Server && line.contains("LITERAL+") {
                true => {
                    Reply::Instead(without.split(' ').fold(line.to_owned(), |l, w| l.replace(&format!(" {w}"), "")))
                }
                false => Reply::Pass,
            });
        let mut to = writing(relay.port).await;
        let batch = if to.abilities().whole_batches { &batch[..] } else { &batch[..1] };
        match to.append(batch).await {
            Appended::Stored(ids) => assert!(ids.len() == batch.len() && ids.iter().all(Option::is_some)),
            other => panic!("{without}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_or_falls_silent_is_told_from_one_that_refuses() {
    let (dovecot, relay) = mailbox(5, |from, line| match from == From::Server && line.starts_with("* 3 FETCH") {
        true => Reply::Instead("* BYE Too many connections, try again later".into()),
        false => Reply::Pass,
    });
    let mut from = opened(relay.port).await;
    let (fetched, done) = fetch(&mut from, &uids(5), &means()).await;
    assert_eq!(messages(fetched), (vec![1, 2], vec![]), "what was whole is handed on");
    assert_eq!(done.unwrap_err().class, Class::Busy);
    assert_eq!(from.folders().await.unwrap_err().class, Class::Unreachable);

    let relay = Relay::start(dovecot.imap, |from, line| match from == From::Server && line.starts_with("* 3 FETCH") {
        true => Reply::Wait(Duration::from_secs(8)),
        false => Reply::Pass,
    });
    let mut patient = end(relay.port, "");
    patient.timeout = Duration::from_secs(1);
    let mut from = Source::connect(&patient, &access("bob")).await.unwrap();
    let folders = from.folders().await.unwrap();
    from.open(&folders[0]).await.unwrap();
    let began = Instant::now();
    let fault = from.changes(None).await.unwrap_err();
    assert!(fault.class == Class::Unreachable && began.elapsed() < Duration::from_secs(5), "{fault}");
    // Nobody listens any more.
    let (to, taken) = tokio::sync::mpsc::channel(1);
    drop(taken);
    let mut from = opened(dovecot.imap).await;
    assert_eq!(from.fetch(&uids(5), &means(), &to).await.unwrap_err().class, Class::Local);
    assert!(matches!(ids(&opened(dovecot.imap).await.changes(None).await.unwrap()).len(), 5));
}

#[tokio::test]
async fn plain_text_slipped_in_before_tls_ends_the_connection() {
    let (_dovecot, relay) = mailbox(1, |from, line| match from == From::Server && line.contains("Begin TLS") {
        true => Reply::Instead(format!("{line}\r\n* OK [CAPABILITY IMAP4rev1] all is well")),
        false => Reply::Pass,
    });
    let fault =
        Source::connect(&end(relay.port, "tls = \"starttls\"\nverify = \"none\""), &access("bob")).await.unwrap_err();
    assert!(fault.class == Class::Protocol && fault.what.contains("before TLS"), "{fault}");
}
