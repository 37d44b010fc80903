//! POP3 and mbox files as sources, beside a real Dovecot that serves the same mailbox.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeMap;

use cutover::services::cms::mailbox::{Changes, Class, Fetched};
use cutover::services::cms::source::Source;
use cutover::services::cms::target::Target;
use tokio::sync::mpsc;

use crate::support::dovecot::{Dovecot, free_port};
use crate::support::ends::{access, assert_same, copy, corpus, end, means};

fn start(extra: &str) -> (Dovecot, u16) {
    let pop3 = free_port();
    let conf = format!(
        "protocols = imap pop3\nservice pop3-login {{\n chroot =\n service_count = 0\n inet_listener pop3 {{\n port = {pop3}\n }}\n \
         inet_listener pop3s {{\n port = 0\n }}\n}}\n{extra}"
    );
    (Dovecot::with(&conf), pop3)
}

fn pop3(port: u16, more: &str) -> cutover::services::cms::config::End {
    end(&format!("kind = \"pop3\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\n{more}"))
}

async fn all(source: &mut Source) -> Vec<(String, String)> {
    let folders = source.folders().await.unwrap();
    source.open(&folders[0]).await.unwrap();
    let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!() };
    let ids: Vec<_> = seen.into_iter().map(|s| s.id).collect();
    let (to, mut from) = mpsc::channel(ids.len().max(1));
    source.fetch(&ids, &means(), &to).await.unwrap();
    drop(to);
    let mut found = Vec::new();
    while let Some(fetched) = from.recv().await {
        match fetched {
            Fetched::Message(m) => found.push((m.id.to_string(), m.digest.to_string())),
            Fetched::Failed(id, fault) => panic!("{id}: {fault}"),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop3_mailbox_is_read_whole_in_order_and_its_uidls_go_along() {
    let (server, port) = start("");
    let imap = |user: &str| format!("imap://{user}:secret@127.0.0.1:{}", server.imap);
    let pop = |user: &str| format!("pop3://{user}:secret@127.0.0.1:{port}");
    corpus(&["--count", "300", "--folders", "none", "--big", "3", &imap("a")]);
    let mut source = Source::connect(&pop3(port, ""), &access("a")).await.unwrap();
    let to = end(&format!("kind = \"maildir\"\npath = \"{}/home/{{user}}/Maildir\"\n", server.path().display()));
    let mut target = Target::connect(&to, &access("b")).await.unwrap();
    assert_eq!(copy(&mut source, &mut target).await, []);
    // POP3 itself ends a last line that has no end, so IMAP shows a few messages with two octets more; by POP3 all are the same, in order.
    let words = ["--ignore", "altered,lost,extra,flag,keyword,date,folder,subscription,special"];
    let (from, into, one, two) = (pop("a"), pop("b"), imap("a"), imap("b"));
    let said = assert_same(&[&words[..], &["--uidl-source", &from, "--uidl-target", &into, &one, &two]].concat());
    assert!(said.contains("\"source\": 301, \"target\": 301") && said.contains("\"uidls\": 301"), "{said}");
    // The same session sees what came since when the folder is opened again, and nothing was deleted.
    corpus(&["--count", "3", "--seed", "9", "--folders", "none", &imap("a")]);
    assert_eq!(all(&mut source).await.len(), 304);
    source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pop3_logins_are_told_apart_by_what_the_server_says() {
    let (server, port) = start("");
    corpus(&["--count", "2", "--folders", "none", &format!("imap://a:secret@127.0.0.1:{}", server.imap)]);
    let mut wrong = access("a");
    *wrong.password = "wrong".into();
    let fault = Source::connect(&pop3(port, ""), &wrong).await.err().unwrap();
    assert!(fault.class == Class::Login && !fault.what.contains("wrong"), "{fault}");
    let mut master = access("a");
    (master.master, *master.password) = (Some("master".into()), "master-secret".into());
    let by_authzid = pop3(port, "authzid = true\nmaster = \"master\"\n");
    assert_eq!(all(&mut Source::connect(&by_authzid, &master).await.unwrap()).await.len(), 2);
    master.login = "a*master".into();
    assert_eq!(all(&mut Source::connect(&pop3(port, ""), &master).await.unwrap()).await.len(), 2);
    let secure = format!("ca = \"{}\"\ntls-name = \"mail.test\"\n", server.certificate().display());
    let starttls = end(&format!("kind = \"pop3\"\nserver = \"127.0.0.1:{port}\"\ntls = \"starttls\"\n{secure}"));
    assert_eq!(all(&mut Source::connect(&starttls, &access("a")).await.unwrap()).await.len(), 2);
}

/// The server moved: every UIDL is another. All messages are listed under new names and none under an old one, so that the mover holds their contents
/// against each other; none is read as changed.
#[tokio::test(flavor = "multi_thread")]
async fn failure_33_all_uidls_change_with_the_server() {
    let (before, port) = start("");
    corpus(&["--count", "40", "--folders", "none", &format!("imap://a:secret@127.0.0.1:{}", before.imap)]);
    let first = all(&mut Source::connect(&pop3(port, ""), &access("a")).await.unwrap()).await;
    let (after, other) = start("pop3_uidl_format = %g\n");
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(before.path().join("home/a"))
        .arg(after.path().join("home"))
        .status()
        .unwrap();
    assert!(done.success());
    let second = all(&mut Source::connect(&pop3(other, ""), &access("a")).await.unwrap()).await;
    assert!(first.iter().all(|(id, _)| !second.iter().any(|(other, _)| other == id)));
    let digests = |list: &[(String, String)]| list.iter().map(|(_, digest)| digest.clone()).collect::<Vec<_>>();
    assert_eq!(digests(&first), digests(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mbox_that_dovecot_wrote_is_read_as_dovecot_serves_it() {
    let (server, _) =
        start("mail_location = mbox:~/mail:INBOX=~/inbox\nmbox_write_locks = fcntl\nmail_privileged_group =\n");
    let (plain, _) = start("");
    corpus(&["--count", "250", "--folders", "none", &format!("imap://a:secret@127.0.0.1:{}", server.imap)]);
    let from = end(&format!("kind = \"mbox\"\npath = \"{}/home/{{user}}/inbox\"\n", server.path().display()));
    let to = end(&format!("kind = \"maildir\"\npath = \"{}/home/{{user}}/Maildir\"\n", plain.path().display()));
    let mut source = Source::connect(&from, &access("a")).await.unwrap();
    let mut target = Target::connect(&to, &access("b")).await.unwrap();
    assert_eq!(copy(&mut source, &mut target).await, []);
    let (one, two) =
        (format!("imap://a:secret@127.0.0.1:{}", server.imap), format!("imap://b:secret@127.0.0.1:{}", plain.imap));
    assert_same(&["--order", "--ignore", "folder,subscription,special", &one, &two]);
}

/// A drop file as an SMTP server appends it. What mbox itself cannot hold is named here.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_file_is_read_message_for_message() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    corpus(&["--count", "400", "--folders", "none", &format!("mbox:{at}/alice")]);
    corpus(&["--count", "400", "--folders", "none", &format!("files:{at}/files")]);
    let mut source = Source::connect(
        &end(&format!("kind = \"mbox\"\nprofile = \"netwin\"\npath = \"{at}/{{user}}\"\n")),
        &access("alice"),
    )
    .await
    .unwrap();
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    let found = all(&mut source).await;
    found.iter().for_each(|(_, digest)| *held.entry(digest.clone()).or_default() += 1);
    let manifest = std::fs::read_to_string(folder.path().join("files/manifest.jsonl")).unwrap();
    let (mut count, mut altered) = (0, std::collections::BTreeSet::new());
    for line in manifest.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let octets = std::fs::read(folder.path().join("files").join(entry["file"].as_str().unwrap())).unwrap();
        let message = crate::support::ends::message(&with_crlf(&octets));
        count += 1;
        match held.get_mut(&message.digest.to_string()).filter(|n| **n > 0) {
            Some(n) => *n -= 1,
            None => {
                altered.insert(entry["shape"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found.len(), count);
    let cannot_be_held: Vec<&str> = altered.iter().map(String::as_str).collect();
    // CR CR LF, a last line without end, and header lines that are the store's own.
    let known = ["bare_cr", "binary", "broken_boundary", "html", "no_last_line_end", "one_octet", "store_headers"];
    assert_eq!(cannot_be_held, known);
}

fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, octet) in octets.iter().enumerate() {
        if *octet == b'\n' && (n == 0 || octets[n - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    out
}
