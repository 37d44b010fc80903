//! Maildirs beside a real Dovecot: what it wrote is read whole, and what we write it serves with the same octets, flags, keywords, dates, folders,
//! subscriptions, order and POP3 UIDLs.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::print_stdout)] // what was compared is told

use std::process::Command;

use cutover::services::cms::mailbox::{Changes, Class, Fetched, Flags, FolderPath};
use cutover::services::cms::source::Source;
use cutover::services::cms::target::{Appended, Target};
use tokio::sync::mpsc;

use crate::support::dovecot::{Dovecot, free_port};
use crate::support::ends::{access, assert_same, copy, corpus, end, means};

struct Server {
    dovecot: Dovecot,
    pop3: u16,
}

impl Server {
    fn start(extra: &str) -> Self {
        let pop3 = free_port();
        let listener = format!(
            "protocols = imap pop3\nservice pop3-login {{\n chroot =\n service_count = 0\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n{extra}"
        );
        Self { dovecot: Dovecot::with(&listener), pop3 }
    }

    fn imap(&self, user: &str) -> String {
        format!("imap://{user}:secret@127.0.0.1:{}", self.dovecot.imap)
    }

    fn pop3(&self, user: &str) -> String {
        format!("pop3://{user}:secret@127.0.0.1:{}", self.pop3)
    }

    fn end(&self, words: &str) -> cutover::services::cms::config::End {
        end(&format!("kind = \"maildir\"\npath = \"{}/home/{{user}}/Maildir{words}\"\n", self.dovecot.path().display()))
    }

    async fn move_all(&self, from: &str, to: &str, words: &str) -> Vec<(String, String)> {
        let end = self.end(words);
        let mut source = Source::connect(&end, &access(from)).await.unwrap();
        let mut target = Target::connect(&end, &access(to)).await.unwrap();
        copy(&mut source, &mut target).await
    }
}

fn count(usual: &str) -> String {
    std::env::var("CUTOVER_UIDLS").unwrap_or_else(|_| usual.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dovecot_wrote_is_read_whole_and_what_we_write_dovecot_serves() {
    let server = Server::start("");
    corpus(&["--count", &count("400"), "--real", &server.imap("a")]);
    assert_eq!(server.move_all("a", "b", "").await, []);
    let said = assert_same(&[
        "--order",
        "--ignore",
        "special",
        "--uidl-source",
        &server.pop3("a"),
        "--uidl-target",
        &server.pop3("b"),
        &server.imap("a"),
        &server.imap("b"),
    ]);
    assert!(said.contains("\"differences\": {}"), "{said}");
    // Dovecot found nothing to complain about in what we wrote.
    let log = server.dovecot.log();
    assert!(!log.lines().any(|l| l.contains("imap(b)") && (l.contains("Error") || l.contains("Warning"))), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fs_layout_with_escaped_names_is_read_and_written() {
    let server = Server::start("mail_location = maildir:~/Maildir:LAYOUT=fs\nmail_plugins = listescape\n");
    corpus(&["--count", "200", &server.imap("a")]);
    assert_eq!(server.move_all("a", "b", ":LAYOUT=fs:LISTESCAPE").await, []);
    assert_same(&["--order", "--ignore", "special", &server.imap("a"), &server.imap("b")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn escaped_names_of_maildir_plus_plus_are_read_and_written() {
    let server = Server::start("mail_plugins = listescape\n");
    corpus(&["--count", "200", &server.imap("a")]);
    assert_eq!(server.move_all("a", "b", ":LISTESCAPE").await, []);
    let said = assert_same(&["--order", "--ignore", "special", &server.imap("a"), &server.imap("b")]);
    let names = server.dovecot.doveadm(&["mailbox", "list", "-u", "b"]);
    assert!(names.contains("v1.2.3"), "{names} {said}");
}

/// A POP3 server that came before named messages its own way: those names go along, though Dovecot would form others.
#[tokio::test(flavor = "multi_thread")]
async fn uidls_that_another_server_gave_are_kept_in_order() {
    let server = Server::start("");
    let folder = tempfile::tempdir().unwrap();
    let n: usize = count("600").parse().unwrap();
    corpus(&[
        "--count",
        &n.to_string(),
        "--folders",
        "none",
        &format!("maildir:{}/old/Maildir", folder.path().display()),
    ]);
    let old = folder.path().join("old/Maildir");
    // As Courier wrote it, its numbers running against the names of the files.
    let mut names: Vec<String> =
        std::fs::read_dir(old.join("cur")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.reverse();
    let base = |name: &String| name.split(":2,").next().unwrap().to_owned();
    let sizes: String = names.iter().enumerate().map(|(n, name)| format!("{} 1 {}:77\n", base(name), n + 5)).collect();
    std::fs::write(old.join("courierpop3dsizelist"), format!("/2 {} 77\n{sizes}", names.len() + 5)).unwrap();
    let numbers: String = names.iter().enumerate().map(|(n, name)| format!("{} {}\n", n + 5, base(name))).collect();
    std::fs::write(old.join("courierimapuiddb"), format!("1 77 {}\n{numbers}", names.len() + 5)).unwrap();
    let courier = end(&format!(
        "kind = \"maildir\"\nprofile = \"courier\"\npath = \"{}/{{user}}/Maildir\"\n",
        folder.path().display()
    ));
    let mut source = Source::connect(&courier, &access("old")).await.unwrap();
    let mut target = Target::connect(&server.end(""), &access("b")).await.unwrap();
    assert_eq!(copy(&mut source, &mut target).await, []);
    let (_, said) = crate::support::ends::python("tests/soak/cms/pop3_list.py", &[&server.pop3("b")]);
    let expected: String = (0..names.len()).map(|n| format!("UID{}-77\n", n + 5)).collect();
    assert_eq!(said, expected);
}

/// Killed after the files were written and before the list was: whoever opens the folder next finishes the whole batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_cut_is_finished_by_who_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let to = end(&format!("kind = \"maildir\"\npath = \"{}/{{user}}\"\n", folder.path().display()));
    let mut target = Target::connect(&to, &access("a")).await.unwrap();
    let inbox = target.create(&FolderPath::inbox(), None).await.unwrap();
    target.open(&inbox).await.unwrap();
    let root = folder.path().join("a");
    // What a kill leaves: the first of two is renamed, the journal is whole, the lock is there, its maker is gone.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let pid = gone.id();
    std::fs::write(root.join("cur/1.M1PxQ1,S=2,W=3:2,S"), "a\n").unwrap();
    std::fs::write(root.join("tmp/1.M1PxQ2"), "b\n").unwrap();
    std::fs::write(root.join(format!("tmp/1.M1P{pid}Q3.cutover")), "half").unwrap();
    std::fs::write(root.join("dovecot-uidlist.lock"), "").unwrap();
    let journal = "1.M1PxQ1\t1.M1PxQ1,S=2,W=3:2,S\tone\n1.M1PxQ2\t1.M1PxQ2,S=2,W=3:2,\ttwo\nend\n";
    std::fs::write(root.join(format!("cutover-append-{pid}-0")), journal).unwrap();
    let mark = target.open(&inbox).await.unwrap();
    assert_eq!((mark.count, mark.next), (2, Some(3)));
    let Changes::Whole(seen) = target.arrived(Some(1)).await.unwrap() else { panic!() };
    assert_eq!(seen.iter().map(|s| s.id.to_string()).collect::<Vec<_>>(), ["1", "2"]);
    let list = std::fs::read_to_string(root.join("dovecot-uidlist")).unwrap();
    assert!(list.contains("1 Pone :1.M1PxQ1") && list.contains("2 Ptwo :1.M1PxQ2"), "{list}");
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    assert!(!root.join(format!("cutover-append-{pid}-0")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_set_and_messages_removed_while_dovecot_renames_them() {
    let server = Server::start("");
    corpus(&["--count", "30", "--folders", "none", &server.imap("a")]);
    assert_eq!(server.move_all("a", "b", "").await, []);
    let mut target = Target::connect(&server.end(""), &access("b")).await.unwrap();
    let inbox = target.folders().await.unwrap().into_iter().find(|f| f.path.is_inbox()).unwrap();
    target.open(&inbox).await.unwrap();
    // Dovecot renames all files below us.
    let mut client = server.dovecot.client("b");
    client.ask("SELECT INBOX");
    client.ask("STORE 1:* FLAGS (\\Answered)");
    let flags = Flags::of(["\\Seen", "\\Flagged", "fresh-keyword", "$Forwarded"]);
    let ids: Vec<_> = (1..=30).map(cutover::services::cms::mailbox::Id::uid).collect();
    target.set_flags(&ids.iter().map(|id| (id.clone(), flags.clone())).collect::<Vec<_>>()).await.unwrap();
    client.ask("STORE 3:4 FLAGS (\\Draft)");
    target.remove(&ids[2..5]).await.unwrap();
    target.remove(&ids[2..5]).await.unwrap();
    client.ask("NOOP");
    let said = client.ask("UID SEARCH KEYWORD fresh-keyword SEEN FLAGGED UNANSWERED KEYWORD $Forwarded");
    let found = said.lines().find(|l| l.starts_with("* SEARCH")).unwrap().split(' ').skip(2).count();
    assert_eq!(found, 27, "{said}");
    // The source still names what is gone.
    let (to, mut from) = mpsc::channel(2);
    target.fetch(&ids[2..3], &means(), &to).await.unwrap();
    let Some(Fetched::Failed(_, fault)) = from.recv().await else { panic!() };
    assert_eq!(fault.class, Class::Vanished);
}

/// Who may put a link into a mailbox must not have us read what he cannot.
#[tokio::test(flavor = "multi_thread")]
async fn links_out_of_the_mailbox_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a");
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(root.join(part)).unwrap();
        std::fs::create_dir_all(folder.path().join("other").join(part)).unwrap();
    }
    std::fs::write(folder.path().join("secret"), "not yours").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join("cur/1.a:2,")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("other"), root.join(".Link")).unwrap();
    let from = end(&format!("kind = \"maildir\"\npath = \"{}/{{user}}\"\n", folder.path().display()));
    let mut source = Source::connect(&from, &access("a")).await.unwrap();
    let folders = source.folders().await.unwrap();
    let link = folders.iter().find(|f| f.path.key() == "Link").unwrap();
    assert_eq!(source.open(link).await.unwrap_err().class, Class::Permission);
    source.open(&folders[0]).await.unwrap();
    let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!() };
    let (to, mut read) = mpsc::channel(2);
    source.fetch(&[seen[0].id.clone()], &means(), &to).await.unwrap();
    assert!(matches!(read.recv().await, Some(Fetched::Failed(..))));
    assert!(Source::connect(&from, &access("../other")).await.is_err());
    assert!(Source::connect(&from, &access("nobody")).await.is_err_and(|f| f.class == Class::Login));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_ends_in_lf_alone_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let to = end(&format!("kind = \"maildir\"\npath = \"{}/{{user}}\"\n", folder.path().display()));
    let mut target = Target::connect(&to, &access("a")).await.unwrap();
    let inbox = target.create(&FolderPath::inbox(), None).await.unwrap();
    target.open(&inbox).await.unwrap();
    let messages: Vec<_> = [&b"a\r\n"[..], b"b\n"].into_iter().map(crate::support::ends::message).collect();
    let Appended::Refused { stored, culprit, fault } = target.append(&messages).await else { panic!() };
    assert_eq!((stored.len(), culprit, fault.class), (0, Some(1), Class::Malformed));
    assert_eq!(std::fs::read_dir(folder.path().join("a/tmp")).unwrap().count(), 0);
}

/// The files that Courier 1.0.16 left after three folders, five appends with keywords and a POP3 login.
#[tokio::test(flavor = "multi_thread")]
async fn what_courier_wrote_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a");
    for name in ["", ".Archive", ".Archive.2023", ".Entwürfe"] {
        ["cur", "new", "tmp"].iter().for_each(|part| std::fs::create_dir_all(root.join(name).join(part)).unwrap());
    }
    let names = [
        "1795373453.M980375P3726V0I0_0.vm,S=21",
        "1795373453.M980689P3726V0I0_1.vm,S=21",
        "1795373454.M15132P3726V0I0_2.vm,S=21",
    ];
    for (n, (name, flags)) in names.iter().zip(["", "S", ""]).enumerate() {
        std::fs::write(root.join(format!("cur/{name}:2,{flags}")), format!("Subject: {n}\n\nbody {n}\n.\n")).unwrap();
    }
    let words = root.join("courierimapkeywords");
    std::fs::create_dir(&words).unwrap();
    std::fs::write(words.join(":list"), format!("work\n$Forwarded\n\n{}:1 0\n", names[1])).unwrap();
    std::fs::write(words.join(format!(".5984579.{}", names[1])), "$Forwarded\nwork\n").unwrap();
    std::fs::write(words.join(names[2]), "later\nwork\n").unwrap();
    std::fs::write(root.join("courierimapsubscribed"), "INBOX.Archive.2023\nINBOX\nINBOX.Entwürfe\n").unwrap();
    std::fs::write(
        root.join("courierimapuiddb"),
        format!("1 1795373439 4\n1 {}\n2 {}\n3 {}\n", names[0], names[1], names[2]),
    )
    .unwrap();
    let sizes: String =
        names.iter().enumerate().map(|(n, name)| format!("{name}:2, 25 {}:1795373484:0\n", n + 1)).collect();
    std::fs::write(root.join("courierpop3dsizelist"), format!("/3 4 1795373484\n{sizes}")).unwrap();
    let from =
        end(&format!("kind = \"maildir\"\nprofile = \"courier\"\npath = \"{}/{{user}}\"\n", folder.path().display()));
    let mut source = Source::connect(&from, &access("a")).await.unwrap();
    let folders = source.folders().await.unwrap();
    let listed: Vec<_> = folders.iter().map(|f| (f.path.key(), f.subscribed)).collect();
    let expected = [("INBOX", true), ("Archive", false), ("Archive/2023", true), ("Entwürfe", true)];
    assert_eq!(listed, expected.map(|(name, on)| (name.to_owned(), on)));
    source.open(&folders[0]).await.unwrap();
    let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!() };
    let flags: Vec<String> = seen.iter().map(|s| s.flags.to_string()).collect();
    assert_eq!(flags, ["", "\\Seen $Forwarded work", "later work"]);
    let ids: Vec<_> = seen.into_iter().map(|s| s.id).collect();
    let (to, mut read) = mpsc::channel(4);
    source.fetch(&ids, &means(), &to).await.unwrap();
    drop(to);
    let mut uidls = Vec::new();
    while let Some(Fetched::Message(message)) = read.recv().await {
        uidls.push(message.uidl.unwrap());
    }
    assert_eq!(uidls, ["UID1-1795373484", "UID2-1795373484", "UID3-1795373484"]);
}
