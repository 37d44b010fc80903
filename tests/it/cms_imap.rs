//! IMAP as source and target of the content service, on private Dovecots.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeMap;

use cutover::services::cms::config::{Config, End};
use cutover::services::cms::mailbox::{
    Access, Budget, Changes, Class, Content, Fault, Fetched, Flags, Folder, FolderPath, Id, Message, SpecialUse,
};
use cutover::services::cms::source::{Means, Source};
use cutover::services::cms::target::{Appended, Target};
use tokio::sync::mpsc;

use super::support::dovecot::Dovecot;

pub fn end(port: u16, more: &str) -> End {
    let text = format!(
        "[cms]\n[[mailbox]]\nuser = \"bob\"\n[source]\nkind = \"imap\"\nserver = \"127.0.0.1:{port}\"\n{}\ntimeout = \"10s\"\n{more}\n[target]\nkind = \"imap\"\nserver = \"x:1\"\n",
        if more.contains("tls =") { "" } else { "tls = \"none\"" }
    );
    Config::parse(&text).unwrap().source
}

pub fn access(user: &str) -> Access {
    Access { user: user.into(), login: user.into(), master: None, password: "secret".to_owned().into() }
}

pub fn means() -> Means {
    Means { budget: Budget::new(8 << 20), spool: std::env::temp_dir(), largest: 1 << 30 }
}

pub async fn source(port: u16, user: &str) -> Source {
    Source::connect(&end(port, ""), &access(user)).await.unwrap()
}

pub async fn target(port: u16, user: &str) -> Target {
    Target::connect(&end(port, ""), &access(user)).await.unwrap()
}

pub fn path(names: &[&str]) -> FolderPath {
    FolderPath::new(names.iter().copied()).unwrap()
}

pub fn folder<'f>(folders: &'f [Folder], names: &[&str]) -> &'f Folder {
    folders.iter().find(|f| f.path == path(names)).unwrap_or_else(|| panic!("{names:?} is not in {folders:?}"))
}

pub fn message(n: u32, octets: &[u8], flags: &str) -> Message {
    let mut spool =
        cutover::services::cms::mailbox::Spool::begin(octets.len() as u64, None, &std::env::temp_dir()).unwrap();
    spool.push(octets).unwrap();
    let (content, digest) = spool.end();
    let flags = Flags::of(flags.split(' ').filter(|w| !w.is_empty()));
    Message { id: Id::uid(n), flags, date: None, content, digest, uidl: None }
}

pub fn octets(content: &Content) -> Vec<u8> {
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut content.reader().unwrap(), &mut all).unwrap();
    all
}

/// All that a fetch brings.
pub async fn fetch(source: &mut Source, ids: &[Id], means: &Means) -> (Vec<Fetched>, Result<(), Fault>) {
    let (to, mut from) = mpsc::channel(4);
    let gather = async {
        let mut all = Vec::new();
        while let Some(fetched) = from.recv().await {
            all.push(fetched);
        }
        all
    };
    let run = async {
        let done = source.fetch(ids, means, &to).await;
        drop(to);
        done
    };
    tokio::join!(gather, run)
}

pub fn ids(changes: &Changes) -> Vec<Id> {
    match changes {
        Changes::Whole(seen) => seen.iter().map(|s| s.id.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mailbox_is_read_as_it_is_and_written_as_it_was() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("bob");
    client.ask("CREATE \"Entw&APw-rfe/2024\"");
    client.ask("CREATE per%cent");
    client.ask("CREATE Sent");
    client.ask("SUBSCRIBE Sent");
    let large = [b"Subject: large\r\n\r\n".as_slice(), &b"0123456789abcdef\r\n".repeat(90_000)].concat();
    client.append("INBOX", "\\Seen $Forwarded Work", " 1-Jul-2020 10:00:00 +0530", b"Subject: one\r\n\r\nbody\r\n");
    client.append("INBOX", "", "17-Jul-1996 02:44:25 -0730", "Subject: zwölf\r\n\r\n\x01 8-bit ü\r\n".as_bytes());
    client.append("INBOX", "\\Flagged", "", &large);
    client.append("Entw&APw-rfe/2024", "\\Draft", "", b"no header at all");

    let mut from = source(dovecot.imap, "bob").await;
    let mut to = target(dovecot.imap, "eve").await;
    let folders = from.folders().await.unwrap();
    assert_eq!(folders.len(), 4, "{folders:?}");
    assert_eq!(folder(&folders, &["Sent"]).special, Some(SpecialUse::Sent));
    assert!(folder(&folders, &["Sent"]).subscribed && !folder(&folders, &["per%cent"]).subscribed);
    assert_eq!(folder(&folders, &["INBOX"]).mark.as_ref().unwrap().count, 3);

    for folder in &folders {
        let made = to.create(&folder.path, folder.special).await.unwrap();
        assert_eq!(made.path, folder.path);
        to.subscribe(&made, folder.subscribed).await.unwrap();
        if !folder.selectable {
            continue;
        }
        let mark = from.open(folder).await.unwrap();
        assert_eq!(folder.mark.as_ref(), Some(&mark), "LIST-STATUS and EXAMINE say the same");
        to.open(&made).await.unwrap();
        let listed = from.changes(None).await.unwrap();
        let (fetched, done) = fetch(&mut from, &ids(&listed), &means()).await;
        done.unwrap();
        let messages: Vec<Message> = fetched
            .into_iter()
            .map(|f| match f {
                Fetched::Message(m) => *m,
                Fetched::Failed(id, fault) => panic!("{id}: {fault}"),
            })
            .collect();
        match to.append(&messages).await {
            Appended::Stored(ids) => assert!(ids.len() == messages.len() && ids.iter().all(Option::is_some), "{ids:?}"),
            other => panic!("{other:?}"),
        }
    }
    let all = |user: &str| {
        let mut client = dovecot.client(user);
        let mut all = BTreeMap::new();
        for name in ["INBOX", "Entw&APw-rfe/2024", "per%cent", "Sent"] {
            client.ask(&format!("EXAMINE \"{name}\""));
            let text = client.ask("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
            let text = text.lines().filter(|l| !l.starts_with('t')).collect::<Vec<_>>().join("\n");
            all.insert(name, (text.replace(" \\Recent", "").replace("\\Recent", ""), client.ask("LSUB \"\" *")));
        }
        all
    };
    for (name, (was, _)) in all("bob") {
        let (is, subscribed) = &all("eve")[name];
        assert_eq!(*is, was, "{name}");
        assert_eq!(subscribed.matches("* LSUB").count(), 1, "one is subscribed: {subscribed}");
    }
    // A source marks nothing as seen.
    assert_eq!(client.ask("STATUS INBOX (UNSEEN)").matches("UNSEEN 2").count(), 1);
    from.close().await;
    to.close().await;
}

#[tokio::test]
async fn changes_since_a_mark_are_told_in_one_answer() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("bob");
    for n in 0..20 {
        client.append("INBOX", "", "", format!("Subject: {n}\r\n\r\n").as_bytes());
    }
    let mut from = source(dovecot.imap, "bob").await;
    let folders = from.folders().await.unwrap();
    let mark = from.open(&folders[0]).await.unwrap();
    assert_eq!(ids(&from.changes(None).await.unwrap()).len(), 20);
    let none = from.changes(Some(&mark)).await.unwrap();
    assert_eq!(none, Changes::Since { changed: vec![], vanished: vec![] });
    client.ask("SELECT INBOX");
    client.ask("STORE 3 +FLAGS (\\Seen Work)");
    client.ask("STORE 5:6 +FLAGS (\\Deleted)");
    client.ask("EXPUNGE");
    client.append("INBOX", "\\Answered", "", b"Subject: new\r\n\r\n");
    let now = from.open(&folders[0]).await.unwrap();
    assert_ne!(now, mark);
    let Changes::Since { changed, vanished } = from.changes(Some(&mark)).await.unwrap() else { panic!("not a delta") };
    assert_eq!(vanished, [Id::uid(5), Id::uid(6)]);
    assert_eq!(
        changed.iter().map(|s| (s.id.number().unwrap(), s.flags.to_string())).collect::<Vec<_>>(),
        [(3, "\\Seen Work".to_owned()), (21, "\\Answered".to_owned())]
    );
    assert_eq!(changed[1].size, Some(16));
}

#[tokio::test]
async fn a_target_sets_flags_removes_and_finds_what_arrived() {
    let dovecot = Dovecot::start();
    let mut to = target(dovecot.imap, "bob").await;
    assert!(to.abilities().whole_batches && to.abilities().removes);
    let inbox = to.create(&FolderPath::inbox(), None).await.unwrap();
    let mark = to.open(&inbox).await.unwrap();
    let some: Vec<Message> =
        (1..=10).map(|n| message(n, format!("Subject: {n}\r\n\r\n").as_bytes(), "\\Seen")).collect();
    let Appended::Stored(stored) = to.append(&some).await else { panic!("refused") };
    let stored: Vec<Id> = stored.into_iter().flatten().collect();
    assert_eq!(stored.len(), 10);
    let Changes::Whole(arrived) = to.arrived(mark.next).await.unwrap() else { panic!("no listing") };
    assert_eq!(arrived.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), stored);
    assert_eq!(to.arrived(Some(1000)).await.unwrap(), Changes::Whole(vec![]));
    let flags = Flags::of(["\\Flagged", "Work", "$MDNSent"]);
    to.set_flags(&[(stored[0].clone(), flags.clone()), (stored[4].clone(), Flags::default())]).await.unwrap();
    to.remove(&[stored[1].clone(), stored[9].clone(), Id::uid(4711)]).await.unwrap();
    let Changes::Whole(left) = to.changes(None).await.unwrap() else { panic!("no listing") };
    assert_eq!(left.len(), 8);
    assert!(left[0].flags.same(&flags) && left[3].flags.is_empty(), "{left:?}");
    // Folders: renamed, deleted, found under the name that there is.
    let made = to.create(&path(&["A", "b.c", "d/e"]), None).await.unwrap();
    assert_eq!(
        made.path,
        path(&["A", "b\u{2024}c", "d\u{2215}e"]),
        "a delimiter in a name gets a letter that looks like it"
    );
    let renamed = to.rename(&made, &path(&["B", "x"])).await.unwrap();
    assert_eq!(renamed.path, path(&["B", "x"]));
    to.delete(&renamed).await.unwrap();
    to.delete(&renamed).await.unwrap();
    let sent = to.create(&path(&["Sent"]), Some(SpecialUse::Sent)).await.unwrap();
    assert_eq!(sent.special, Some(SpecialUse::Sent));
}

#[tokio::test]
async fn logins_by_name_master_and_authorization_identity_and_none_without_the_right_password() {
    let dovecot = Dovecot::start();
    dovecot.client("bob").append("INBOX", "", "", b"Subject: bob's\r\n\r\n");
    let master = |more: &str, login: &str| {
        let end = end(dovecot.imap, more);
        let access = Access {
            user: "bob".into(),
            login: login.into(),
            master: end.master.clone(),
            password: "master-secret".to_owned().into(),
        };
        (end, access)
    };
    for (end, access) in [master("", "bob*master"), master("master = \"master\"\nauthzid = true", "bob")] {
        let mut from = Source::connect(&end, &access).await.unwrap();
        assert_eq!(from.folders().await.unwrap()[0].mark.as_ref().unwrap().count, 1);
        from.close().await;
    }
    let (end, mut wrong) = master("", "bob");
    wrong.password = "canary-4711".to_owned().into();
    let fault = Source::connect(&end, &wrong).await.unwrap_err();
    assert_eq!(fault.class, Class::Login, "{fault}");
    assert!(!format!("{fault} {fault:?} {wrong:?}").contains("canary"));
}

#[tokio::test]
async fn tls_at_once_or_by_starttls_with_a_name_a_key_or_none_and_compressed() {
    let dovecot = Dovecot::with("protocol imap {\n mail_plugins = imap_zlib\n}");
    dovecot.client("bob").append("INBOX", "", "", &b"Subject: x\r\n\r\nsqueeze me ".repeat(5000));
    let ca = dovecot.certificate().display().to_string();
    let der = rustls::pki_types::pem::PemObject::from_pem_file(dovecot.certificate());
    let der: rustls::pki_types::CertificateDer<'static> = der.unwrap();
    let (_, parsed) =
        <x509_parser::prelude::X509Certificate<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(&der).unwrap();
    let pin: String =
        <sha2::Sha256 as sha2::Digest>::digest(parsed.public_key().raw).iter().map(|b| format!("{b:02x}")).collect();
    let named = format!("ca = \"{ca}\"\ntls-name = \"mail.test\"");
    let pinned = format!("verify = \"pin\"\npins = [\"sha256:{pin}\"]");
    for (port, more) in [
        (dovecot.imaps, format!("tls = \"implicit\"\n{named}")),
        (dovecot.imap, format!("tls = \"starttls\"\n{named}")),
        (dovecot.imaps, format!("tls = \"implicit\"\n{pinned}\ncompress = true")),
        (dovecot.imap, "tls = \"starttls\"\nverify = \"none\"\ncompress = true".to_owned()),
        (dovecot.imap, "compress = true".to_owned()),
    ] {
        let mut from =
            Source::connect(&end(port, &more), &access("bob")).await.unwrap_or_else(|e| panic!("{more}: {e}"));
        let folders = from.folders().await.unwrap();
        from.open(&folders[0]).await.unwrap();
        let (fetched, done) = fetch(&mut from, &[Id::uid(1)], &means()).await;
        done.unwrap();
        let Fetched::Message(message) = &fetched[0] else { panic!("{fetched:?}") };
        assert_eq!(octets(&message.content), b"Subject: x\r\n\r\nsqueeze me ".repeat(5000), "{more}");
        #[allow(unreachable_patterns)]
        let received = match &from {
            Source::Imap(session) => session.counts().received,
            _ => panic!("no IMAP"),
        };
        assert_eq!(received < 60_000, more.contains("compress"), "{more}: {received}");
        from.close().await;
    }
    for (port, more) in [
        (dovecot.imaps, format!("tls = \"implicit\"\nca = \"{ca}\"")),
        (dovecot.imap, format!("tls = \"starttls\"\nverify = \"pin\"\npins = [\"sha256:{}\"]", "00".repeat(32))),
    ] {
        let fault = Source::connect(&end(port, &more), &access("bob")).await.unwrap_err();
        assert_eq!(fault.class, Class::Unreachable, "{fault}");
        assert!(fault.what.contains("certificate"), "{fault}");
    }
}
