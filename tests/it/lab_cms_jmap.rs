//! JMAP as target and source against a real Cyrus, which its IMAP is asked about. With `CUTOVER_CYRUS=HOST` (JMAP on port 80, IMAP on 143; or
//! `HOST:HTTP:IMAP`) against one that is there already, whose users are `one` and `two` with the password `secret`.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::Path;

use cutover::services::cms::config::End;
use cutover::services::cms::mailbox::{Changes, Class, Flags, FolderPath, SpecialUse};
use cutover::services::cms::source::Source;
use cutover::services::cms::target::{Appended, Target};

use crate::support::cyrus::cyrus;
use crate::support::dovecot::Dovecot;
use crate::support::ends::{access, assert_same, copy, corpus, end, message, python};
use crate::support::lab::Lab;

const JMAP: &str = "set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends cyrus-caldav > /var/log/jmap-install.log 2>&1 || { tail /var/log/jmap-install.log; exit 1; }
printf 'httpmodules: jmap\\nconversations: 1\\nconversations_db: twoskip\\n' >> /etc/imapd.conf
sed -i '/httpmodules: caldav/d; /^duplicatesuppression/d' /etc/imapd.conf
printf 'duplicatesuppression: 0\nmunge8bit: no\n' >> /etc/imapd.conf
sed -i '0,/^[[:space:]]*imap[[:space:]]/s##  http cmd=\"httpd -U 30\" listen=\"80\" prefork=0 maxchild=50\\n&#' /etc/cyrus.conf
systemctl restart cyrus-imapd
for _ in $(seq 50); do curl -s -f --max-time 2 -u one:secret http://127.0.0.1/jmap/ > /dev/null && exit 0; sleep 0.2; done
journalctl -u cyrus-imapd --no-pager | tail -20; exit 1
";

#[test]
fn lab_cms_jmap_there_and_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Ok(there) = std::env::var("CUTOVER_CYRUS") {
        let mut parts = there.split(':');
        let (host, http, imap) = (parts.next().unwrap(), parts.next().unwrap_or("80"), parts.next().unwrap_or("143"));
        return runtime.block_on(all(&format!("http://{host}:{http}/jmap/"), &format!("{host}:{imap}")));
    }
    let Some(lab) = Lab::new("cmsjmap").host("cyrus").up() else { return };
    cyrus(&lab, "cyrus", &[("one", "secret"), ("two", "secret")]);
    lab.sh("cyrus", JMAP);
    let host = lab.ip("cyrus");
    runtime.block_on(all(&format!("http://{host}/jmap/"), &format!("{host}:143")));
}

async fn all(url: &str, imap: &str) {
    let folder = tempfile::tempdir().unwrap();
    let jmap = end(&format!("kind = \"jmap\"\nurl = \"{url}\"\n"));
    // A login by IMAP makes the mailboxes.
    for user in ["one", "two"] {
        assert!(python("tests/soak/cms/verify.py", &["--snapshot", &format!("imap://{user}:secret@{imap}")]).0);
    }
    there_and_back(&jmap, imap).await;
    names_are_taken_as_they_are(&jmap).await;
    equal_messages(&jmap).await;
    transient_errors(folder.path()).await;
}

async fn there_and_back(jmap: &End, imap: &str) {
    let server = Dovecot::start();
    let maildir = end(&format!("kind = \"maildir\"\npath = \"{}/home/{{user}}/Maildir\"\n", server.path().display()));
    let filled = format!("imap://x:secret@127.0.0.1:{}", server.imap);
    corpus(&["--count", "250", "--folders", "plain", "--big", "4", &filled]);
    // JMAP knows no \Deleted, and an email is its content here: what cannot be is taken out beforehand, and told below.
    server.doveadm(&["flags", "remove", "-u", "x", "\\Deleted", "mailbox", "*", "all"]);
    let mut source = Source::connect(&maildir, &access("x")).await.unwrap();
    let mut target = Target::connect(jmap, &access("one")).await.unwrap();
    let refused = copy(&mut source, &mut target).await;
    // The second of two equal messages of one folder, and what Cyrus does not take for a message.
    let is_known = |why: &str| why.contains("one of equal messages") || why.contains("invalidEmail");
    assert!(refused.len() < 20 && refused.iter().all(|(_, why)| is_known(why)), "{refused:#?}");
    let excepted: Vec<&String> = refused.iter().map(|(digest, _)| digest).collect();
    let list = server.path().join("excepted.json");
    std::fs::write(&list, serde_json::to_string(&excepted).unwrap()).unwrap();
    let (from, to) = (filled, format!("imap://one:secret@{imap}"));
    // Equal messages of two folders are one email, and share keywords and date; Cyrus adds $HasAttachment.
    let ignored = "flag,keyword,date,special";
    assert_same(&["--extra-folders", "--ignore", ignored, "--except", list.to_str().unwrap(), &from, &to]);
    // And back by JMAP: the same as Cyrus' IMAP shows.
    let mut source = Source::connect(jmap, &access("one")).await.unwrap();
    let mut target = Target::connect(&maildir, &access("y")).await.unwrap();
    assert_eq!(copy(&mut source, &mut target).await, []);
    let back = format!("imap://y:secret@127.0.0.1:{}", server.imap);
    assert_same(&["--ignore", "special", &to, &back]);
}

/// Failure 12: a folder that is there already takes the mail.
async fn names_are_taken_as_they_are(jmap: &End) {
    let mut target = Target::connect(jmap, &access("two")).await.unwrap();
    let path = FolderPath::new(["Projects", "2024", "Entwürfe & Co"]).unwrap();
    let first = target.create(&path, None).await.unwrap();
    let again = target.create(&path, None).await.unwrap();
    assert_eq!(first.raw, again.raw);
    assert_eq!(again.path, path);
    let moved = target.rename(&again, &FolderPath::new(["Other", "name"]).unwrap()).await.unwrap();
    assert_eq!(moved.raw, first.raw);
    target.subscribe(&moved, false).await.unwrap();
    let listed = target.folders().await.unwrap();
    assert!(listed.iter().any(|f| f.path == moved.path && !f.subscribed));
    target.delete(&moved).await.unwrap();
    target.delete(&moved).await.unwrap();
    let archive = target.create(&FolderPath::new(["Kept"]).unwrap(), Some(SpecialUse::Archive)).await.unwrap();
    assert_eq!(archive.special, Some(SpecialUse::Archive));
}

/// Failure 35: where the server knows messages by their content, an equal one is refused by name or kept, never dropped in silence.
async fn equal_messages(jmap: &End) {
    let mut target = Target::connect(jmap, &access("two")).await.unwrap();
    let one = target.create(&FolderPath::new(["Twins"]).unwrap(), None).await.unwrap();
    let other = target.create(&FolderPath::new(["Others"]).unwrap(), None).await.unwrap();
    let text = b"From: a@b\r\nSubject: twin\r\n\r\nsame\r\n";
    let mut stored = 0;
    for folder in [&one, &one, &other] {
        target.open(folder).await.unwrap();
        let Appended::Each(each) = target.append(&[message(text)]).await else { panic!() };
        match &each[0] {
            Ok(Some(_)) => stored += 1,
            Err(fault) => assert_eq!(fault.class, Class::Malformed, "{fault}"),
            Ok(None) => panic!(),
        }
    }
    let mut held = 0;
    for folder in [&one, &other] {
        target.open(folder).await.unwrap();
        let Changes::Whole(seen) = target.changes(None).await.unwrap() else { panic!() };
        held += seen.len();
        target.set_flags(&[(seen[0].id.clone(), Flags::of(["\\Seen", "work"]))]).await.unwrap();
        target.remove(&[seen[0].id.clone()]).await.unwrap();
        target.remove(&[seen[0].id.clone()]).await.unwrap();
        let Changes::Whole(left) = target.arrived(None).await.unwrap() else { panic!() };
        assert_eq!(left.len(), seen.len() - 1);
    }
    assert_eq!(held, stored);
}

/// Failure 11: a server that is unavailable for a moment refuses no message.
async fn transient_errors(_folder: &Path) {
    let gone = end("kind = \"jmap\"\nurl = \"http://127.0.0.1:1/jmap/\"\n");
    assert_eq!(Source::connect(&gone, &access("one")).await.err().map(|f| f.class), Some(Class::Unreachable));
}
