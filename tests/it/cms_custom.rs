//! Ends that are programs of others, by the example that the docs name, and LMTP deliveries that are read back by IMAP.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use cutover::services::cms::config::End;
use cutover::services::cms::mailbox::{Changes, Class, Flags, FolderPath};
use cutover::services::cms::source::Source;
use cutover::services::cms::target::{Appended, Target};

use crate::support::dovecot::{Dovecot, free_port};
use crate::support::ends::{access, assert_same, copy, corpus, end, message, target_end};

fn store(folder: &std::path::Path) -> End {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom-end/store.py");
    end(&format!("kind = \"custom\"\nprogram = [\"python3\", \"{program}\", \"{}\"]\n", folder.display()))
}

/// From Dovecot's files through the example's store and back: nothing is lost, altered or moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_goes_through_the_example_of_a_custom_end_and_back() {
    let server = Dovecot::start();
    let folder = tempfile::tempdir().unwrap();
    corpus(&["--count", "200", "--big", "2", &format!("imap://a:secret@127.0.0.1:{}", server.imap)]);
    let maildir = end(&format!("kind = \"maildir\"\npath = \"{}/home/{{user}}/Maildir\"\n", server.path().display()));
    let custom = store(folder.path());
    let mut one = Source::connect(&maildir, &access("a")).await.unwrap();
    let mut two = Target::connect(&custom, &access("x")).await.unwrap();
    assert_eq!(copy(&mut one, &mut two).await, []);
    two.close().await;
    let mut two = Source::connect(&custom, &access("x")).await.unwrap();
    let mut three = Target::connect(&maildir, &access("b")).await.unwrap();
    assert_eq!(copy(&mut two, &mut three).await, []);
    let url = |user: &str| format!("imap://{user}:secret@127.0.0.1:{}", server.imap);
    assert_same(&["--order", "--ignore", "special", &url("a"), &url("b")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_custom_end_says_is_understood_and_nothing_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let fault = Source::connect(&store(folder.path()), &access("nobody")).await.err().unwrap();
    assert_eq!(fault.class, Class::Login, "{fault}");
    let mut target = Target::connect(&store(folder.path()), &access("x")).await.unwrap();
    let made = target.create(&FolderPath::new(["a/b", "per%cent "]).unwrap(), None).await.unwrap();
    assert_eq!(made.path.names(), ["a/b", "per%cent "]);
    target.open(&made).await.unwrap();
    let Appended::Each(each) = target.append(&[message(b"a\r\n"), message(b"")]).await else { panic!() };
    let ids: Vec<_> = each.into_iter().map(|e| e.unwrap().unwrap()).collect();
    target.set_flags(&[(ids[0].clone(), Flags::of(["\\Seen", "work"]))]).await.unwrap();
    target.remove(&ids[1..]).await.unwrap();
    let Changes::Whole(seen) = target.arrived(Some(1)).await.unwrap() else { panic!() };
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].flags.to_string(), "\\Seen work");
    // Programs that end, chatter or lie.
    for (said, class) in [
        ("", Class::Unreachable),
        ("hello\\n", Class::Protocol),
        ("{}\\n", Class::Protocol),
        ("{\\\"ok\\\":false,\\\"class\\\":\\\"busy\\\",\\\"what\\\":\\\"later\\\",\\\"after\\\":7}\\n", Class::Busy),
    ] {
        let end = end(&format!("kind = \"custom\"\nprogram = [\"sh\", \"-c\", \"read line; printf '{said}'\"]\n"));
        let fault = Source::connect(&end, &access("x")).await.err().unwrap();
        assert_eq!(fault.class, class, "{said}: {fault}");
        assert!(!fault.what.contains("secret"));
        if class == Class::Busy {
            assert_eq!(fault.after, Some(std::time::Duration::from_secs(7)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_delivers_and_imap_reads_it_back() {
    let lmtp = free_port();
    let conf = format!(
        "protocols = imap lmtp\nservice lmtp {{\n inet_listener lmtp {{\n port = {lmtp}\n }}\n}}\nrecipient_delimiter = +\n"
    );
    let server = Dovecot::with(&conf);
    let folder = tempfile::tempdir().unwrap();
    corpus(&["--count", "150", "--folders", "none", &format!("maildir:{}/a", folder.path().display())]);
    let from = end(&format!("kind = \"maildir\"\npath = \"{}/{{user}}\"\n", folder.path().display()));
    let to = target_end(&format!(
        "kind = \"lmtp\"\nserver = \"127.0.0.1:{lmtp}\"\ntls = \"none\"\n[target.read]\nkind = \"imap\"\nserver = \"127.0.0.1:{}\"\ntls = \"none\"\n",
        server.imap
    ));
    let mut source = Source::connect(&from, &access("a")).await.unwrap();
    let mut target = Target::connect(&to, &access("b")).await.unwrap();
    assert!(!target.abilities().exact && !target.abilities().folders);
    assert_eq!(
        target.create(&FolderPath::new(["Sent"]).unwrap(), None).await.err().map(|f| f.class),
        Some(Class::Unsupported)
    );
    assert_eq!(copy(&mut source, &mut target).await, []);
    // All there, in order, with their flags, each below what a delivery puts in front.
    let texts = server.doveadm(&["fetch", "-u", "b", "flags", "mailbox", "INBOX", "all"]);
    let list = server.doveadm(&["search", "-u", "b", "mailbox", "INBOX", "all"]);
    assert_eq!(list.lines().count(), 150);
    let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!() };
    let flags: Vec<Flags> = texts
        .lines()
        .filter_map(|l| l.strip_prefix("flags: "))
        .map(|l| Flags::of(l.split(' ').filter(|w| !w.eq_ignore_ascii_case("\\Recent"))))
        .collect();
    assert_eq!(flags.len(), 150);
    assert!(seen.iter().zip(&flags).all(|(s, f)| s.flags.same(f)), "{texts}");
    let served = server.doveadm(&["fetch", "-u", "b", "body", "mailbox", "INBOX", "all"]).replace('\r', "");
    // Lines with dots, and a dot alone, came through.
    assert!(served.contains("\n.\n..\n.a\n\n.\nQUIT\n"), "dots");
    let mut nobody = access("b");
    nobody.login = "no>body".into();
    assert!(Target::connect(&to, &nobody).await.is_err_and(|f| f.class == Class::Login));
}
