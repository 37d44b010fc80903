//! `cutover-cms` to and from Exchange Web Services. No Exchange can run here: the server is one of the tests' own, held against Microsoft's schema in both
//! directions, and what arrived is judged by exchangelib, a client of EWS that is not ours.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::support::dovecot::Dovecot;
use super::support::exchange::Exchange;
use super::support::mover::{Said, mail};

pub const USER: &str = "ann@acme.example";
const DATE: &str = "05-Feb-2021 07:08:09 +0130";

/// A configuration and `cutover-cms` itself.
pub struct Work {
    folder: tempfile::TempDir,
}

pub fn imap(port: u16) -> String {
    format!("kind = \"imap\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\n")
}

pub fn ews(server: &Exchange, more: &str) -> String {
    format!("kind = \"ews\"\nurl = \"{}\"\n{more}", server.url())
}

fn imap_judged(port: u16) -> String {
    format!("imap://ann%40acme.example:secret@127.0.0.1:{port}")
}

pub fn ews_judged(server: &Exchange) -> String {
    format!("ews://ann%40acme.example:secret@127.0.0.1:{}", server.port)
}

impl Work {
    pub fn new(source: &str, target: &str, more: &str) -> Self {
        let work = Self { folder: tempfile::Builder::new().prefix("cms-ews-").tempdir().unwrap() };
        std::fs::write(work.path("password"), "secret\n").unwrap();
        work.configure(source, target, more);
        work
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configure(&self, source: &str, target: &str, more: &str) {
        let at = self.folder.path().display();
        let keys = format!("password = \"file:{at}/password\"\ntimeout = \"10s\"\n");
        let text = format!(
            "[cms]\nstate = \"{at}/state\"\ncontrol = \"{at}/control\"\n[source]\n{source}{keys}[target]\n{target}{keys}[[mailbox]]\nuser = \"{USER}\"\n{more}"
        );
        std::fs::write(self.path("cms.toml"), text).unwrap();
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-cms"));
        command.arg("--config").arg(self.path("cms.toml")).args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    pub fn once(&self) -> String {
        self.run(&["run", "--once"]).ok()
    }

    /// Runs until a pass is whole.
    pub fn through(&self) {
        for _ in 0..6 {
            if self.run(&["run", "--once"]).code == 0 {
                return;
            }
        }
        self.once();
    }

    pub fn killed(&self, after: Duration) {
        let mut child = self.command(&["run", "--once"]).spawn().unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        child.wait().unwrap();
    }
}

/// Parts, character sets and encodings that a server writes otherwise when it builds a message anew.
fn shaped(n: usize) -> Vec<u8> {
    let head = format!(
        "Received: from a by b; Fri, 05 Feb 2021 07:08:09 +0000\r\nFrom: =?iso-8859-1?Q?J=F6rg?= <j{n}@acme.example>\r\nTo: Ann <ann@acme.example>,\r\n bob@acme.example\r\n\
         Subject: =?utf-8?b?R3LDvMOfZQ==?= {n}\r\nMessage-ID: <shaped.{n}@acme.example>\r\nDate: Fri, 05 Feb 2021 06:00:{:02} +0100 (CET)\r\nMIME-Version: 1.0\r\n",
        n % 60
    );
    let tail = match n % 3 {
        0 => "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe, eine lange =\r\nZeile\r\n".to_owned(),
        1 => format!(
            "Content-Type: multipart/mixed; boundary=\"=_x y\"\r\n\r\nnobody reads this\r\n--=_x y\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n\
             Content-Type: text/plain\r\n\r\nplain {n}\r\n--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>plain <b>{n}</b></p>\r\n--inner--\r\n--=_x y\r\n\
             Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nAAECAwQFBgcICQoLDA0ODwA=\r\n--=_x y--\r\n"
        ),
        _ => format!("Content-Type: message/rfc822\r\n\r\nFrom: in@acme.example\r\nSubject: inner {n}\r\n\r\ninner text\r\n"),
    };
    [head, tail].concat().into_bytes()
}

fn filled(server: &Dovecot, count: usize) {
    let mut source = server.client(USER);
    source.ask("CREATE \"Work\"");
    source.ask("CREATE \"Work/B&APw-ro &- more\"");
    source.ask("CREATE Sent");
    source.ask("SUBSCRIBE Work");
    for n in 0..count {
        let folder = ["INBOX", "Work", "Work/B&APw-ro &- more", "Sent"][n % 4];
        let flags =
            ["", "\\Seen", "\\Answered \\Flagged $MDNSent", "work \\Seen $Forwarded", "\\Answered $Forwarded later"]
                [n % 5];
        let octets = if n % 2 == 0 { mail(n) } else { shaped(n) };
        source.append(folder, flags, DATE, &octets);
    }
}

#[test]
fn mail_moves_to_exchange_and_what_changes_after_it_follows() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    filled(&old, 60);
    // Larger than what is ever held in memory.
    let large = [mail(900).as_slice(), "Grüße aus der Datei\r\n".repeat(150_000).as_bytes()].concat();
    old.client(USER).append("INBOX", "\\Seen", DATE, &large);
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    assert!(work.once().contains("61 messages"));
    let (from, to) = (imap_judged(old.imap), ews_judged(&new));
    new.same(&[&from, &to]);
    assert!(work.once().contains(" 0 messages"), "a second pass has nothing to do");
    let mut source = old.client(USER);
    source.ask("SELECT INBOX");
    source.ask("UID STORE 1:3 +FLAGS (\\Flagged later)");
    source.ask("UID STORE 4 -FLAGS (\\Seen \\Answered)");
    source.ask("UID STORE 5:6 +FLAGS (\\Deleted)");
    source.ask("EXPUNGE");
    source.ask("RENAME Work Projects");
    source.append("INBOX", "\\Seen", DATE, &shaped(901));
    let said = work.once();
    assert!(said.contains("1 messages") && said.contains("2 removed"), "a renamed folder is not sent again: {said}");
    new.same(&[&from, &to]);
    // The final pass reads every message back and holds what it says against what was stored.
    assert!(work.run(&["final", USER]).ok().contains("final"));
    assert!(work.run(&["verify", "--how", "full"]).ok().contains("verify"));
    assert!(work.run(&["audit"]).ok().contains("whole"));
    let report = work.run(&["report", USER]).ok();
    assert!(report.contains("No exceptions."), "{report}");
    // And back: what the new side got goes to the old one.
    let (done, said) = new.judge(&["change", &to]);
    assert!(done, "{said}");
    let said = work.run(&["rollback", USER]).ok();
    assert!(said.contains("1 messages") && said.contains("1 removed"), "{said}");
    new.same(&["--ignore", "date", &from, &to]);
}

/// The server builds messages anew: what they say is compared, and a word that differs is found.
#[test]
fn failure_17_a_message_that_says_something_else_is_named() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    filled(&old, 12);
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    work.once();
    work.run(&["verify", "--how", "hash"]).ok();
    new.control("{\"alter\": 1}");
    let said = work.run(&["verify", "--how", "hash"]);
    assert_eq!(said.code, 1, "{}", said.text);
    let report = work.run(&["report", USER]).text;
    assert_eq!(report.matches("octets were changed").count(), 1, "{report}");
}

#[test]
fn mail_moves_from_exchange_octet_for_octet() {
    let (old, new) = (Exchange::start(), Dovecot::start());
    let (from, to) = (ews_judged(&old), imap_judged(new.imap));
    let (done, said) = old.judge(&["fill", &from, "--count", "40"]);
    assert!(done, "{said}");
    let work = Work::new(&ews(&old, ""), &imap(new.imap), "");
    assert!(work.once().contains("40 messages"));
    old.same(&["--exact", &from, &to]);
    assert!(work.once().contains(" 0 messages"));
    let (done, said) = old.judge(&["change", &from]);
    assert!(done, "{said}");
    let before = old.control("{}")["GetItem"].as_u64().unwrap();
    let said = work.once();
    assert!(said.contains("1 messages") && said.contains("1 removed"), "{said}");
    let after = old.control("{}")["GetItem"].as_u64().unwrap();
    assert!(after - before <= 4, "only what has changed is asked for: {before} {after}");
    old.same(&["--exact", &from, &to]);
    // A server that no longer knows how far we had come: nothing is sent again.
    old.control("{\"stale\": 4}");
    assert!(work.once().contains(" 0 messages"));
    old.same(&["--exact", &from, &to]);
    // What is no mail stays, and is named; a calendar keeps nobody from moving.
    old.item(USER, "{\"folder\": \"calendar\", \"class\": \"IPM.Appointment\", \"subject\": \"x\"}");
    let said = work.run(&["final", USER]);
    assert!(said.code == 0 && said.text.contains("1 exceptions, as"), "{}", said.text);
    let report = work.run(&["report", USER]).text;
    assert!(report.contains("Kalender") && report.contains("1 items that are no mail"), "{report}");
    old.item(USER, "{\"folder\": \"inbox\", \"class\": \"IPM.Appointment\", \"subject\": \"no mail\"}");
    let said = work.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("2 exceptions"), "{}", said.text);
    let report = work.run(&["report", USER]).text;
    assert!(report.contains("no mail but IPM.Appointment"), "{report}");
}

#[test]
fn mail_moves_from_exchange_to_exchange_as_the_users_by_one_account() {
    let (old, new) = (Exchange::start(), Exchange::version("2010"));
    let (from, to) = (ews_judged(&old), ews_judged(&new));
    let (done, said) = old.judge(&["fill", &from, "--count", "30"]);
    assert!(done, "{said}");
    // By impersonation on the one side, by the rights of an OAuth token's owner on the other.
    let source = ews(&old, "master = \"mover\"\nauthzid = true\n");
    let target = ews(&new, "master = \"mover\"\nlogin = \"{master}\"\ntoken = true\n");
    let work = Work::new(&source, &target, "");
    assert!(work.once().contains("30 messages"));
    new.same(&[&from, &to]);
    assert!(work.once().contains(" 0 messages"));
    work.run(&["final", USER]).ok();
    old.fits();
}

/// The answer is lost, and the server stores the messages after that.
#[test]
fn failure_04_05_answers_of_exchange_that_are_lost_double_nothing() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    filled(&old, 40);
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    new.control("{\"lose\": 2}");
    work.through();
    let (from, to) = (imap_judged(old.imap), ews_judged(&new));
    new.same(&[&from, &to]);
    let mut source = old.client(USER);
    (100..130).for_each(|n| source.append("INBOX", "", DATE, &shaped(n)));
    new.control("{\"lose\": 1, \"late\": 2.5}");
    work.through();
    new.control("{\"late\": 0, \"cut\": 3}");
    // A final pass waits for such copies and takes them away again.
    work.run(&["final", USER]).ok();
    new.same(&[&from, &to]);
}

#[test]
fn failure_18_kills_on_the_way_to_exchange_lose_and_double_nothing() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    filled(&old, 80);
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    for n in 0..8 {
        work.killed(Duration::from_millis(60 + 45 * n));
    }
    work.through();
    new.same(&[&imap_judged(old.imap), &ews_judged(&new)]);
    let (old, new) = (Exchange::start(), Dovecot::start());
    let (from, to) = (ews_judged(&old), imap_judged(new.imap));
    assert!(old.judge(&["fill", &from, "--count", "40"]).0);
    let work = Work::new(&ews(&old, ""), &imap(new.imap), "");
    old.control("{\"cut\": 2}");
    for n in 0..6 {
        work.killed(Duration::from_millis(60 + 50 * n));
    }
    work.through();
    old.same(&["--exact", &from, &to]);
}

#[test]
fn failure_11_14_28_29_what_exchange_refuses_is_understood() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    filled(&old, 12);
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    // Patience, as long as it asks for.
    new.control("{\"busy\": 1, \"backoff\": 300}");
    let said = work.run(&["run", "--once"]);
    assert!(said.code == 0 || said.text.contains("busy"), "{}", said.text);
    work.through();
    // One message is too large: the others go.
    new.control("{\"largest\": 20000}");
    old.client(USER).append("INBOX", "", DATE, &[mail(1), vec![b'z'; 900], b"\r\n".repeat(20_000)].concat());
    old.client(USER).append("INBOX", "", DATE, &mail(77));
    let said = work.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("1 messages") && said.text.contains("1 exceptions"), "{}", said.text);
    let report = work.run(&["report", USER]).text;
    assert!(report.contains("too-large") && report.contains("ErrorMessageSizeExceeded"), "{report}");
    // No room: the mailbox waits for a person.
    new.control("{\"quota\": 100, \"largest\": 1000000000}");
    old.client(USER).append("INBOX", "", DATE, &mail(78));
    let said = work.run(&["run", "--once"]);
    assert!(said.code == 1 && said.text.contains("quota"), "{}", said.text);
    new.control("{\"quota\": 1000000000}");
    work.run(&["retry", USER]).ok();
    work.through();
    new.same(&[&imap_judged(old.imap), &ews_judged(&new)]);
}

#[test]
fn failure_30_who_may_not_open_a_mailbox_is_told_why() {
    let (old, new) = (Dovecot::start(), Exchange::version("2007"));
    old.client(USER).append("INBOX", "\\Seen", DATE, &mail(1));
    for (more, users, class, words) in [
        ("master = \"other\"\nauthzid = true\n", "", "permission", "ms-Exch-EPI-May-Impersonate"),
        ("login = \"nobody\"\n", "", "login", "no mailbox with this primary SMTP address"),
        ("", "target-password = \"env:WRONG\"\n", "login", "401"),
        ("profile = \"exchange-2003\"\n", "", "unsupported", "no Exchange Web Services"),
    ] {
        let work = Work::new(&imap(old.imap), &ews(&new, more), "");
        let text = std::fs::read_to_string(work.path("cms.toml")).unwrap();
        std::fs::write(work.path("cms.toml"), format!("{text}{users}")).unwrap();
        let said = Said::of(&work.command(&["run", "--once"]).env("WRONG", "wrong").output().unwrap());
        assert!(said.code == 1 && said.text.contains(class) && said.text.contains(words), "{more}: {}", said.text);
        assert!(!said.text.contains("secret") && !said.text.contains("wrong"), "{}", said.text);
    }
    // Exchange 2007 says that it does not know a later schema, and is spoken to in its own.
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    assert!(work.once().contains("1 messages"));
    new.fits();
}
