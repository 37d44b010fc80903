//! Contacts between two private Radicales, and from files of the old side, by `cutover-cms` itself. What arrived is read in Radicale's
//! own store, which Python's vobject wrote.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::print_stderr)] // figures

use std::path::Path;
use std::time::{Duration, Instant};

use cutover::protocol::vcard::{Card, parse};

use super::support::mover::{Move, USER};
use super::support::radicale::{Meddler, Radicale};

const ITEMS: &str = "items = [\"messages\", \"flags\", \"folders\", \"subscriptions\", \"contacts\"]\n";

fn configure(m: &Move, source: &str, target: &str) {
    m.configure(m.old.imap, m.new.imap, &format!("[source.contacts]\n{source}\n[target.contacts]\n{target}\n"));
    let text = std::fs::read_to_string(m.path("cms.toml")).unwrap();
    std::fs::write(m.path("cms.toml"), text.replacen("[cms]\n", &format!("[cms]\n{ITEMS}"), 1)).unwrap();
}

fn carddav(port: u16) -> String {
    format!("kind = \"carddav\"\nurl = \"http://127.0.0.1:{port}/\"")
}

fn card(uid: &str, name: &str, more: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\n{more}END:VCARD\r\n")
}

/// Every contact of a user: address book's folder and canonical form.
fn held(radicale: &Radicale, book: &str) -> Vec<String> {
    let mut all: Vec<String> = radicale.cards(USER, book).iter().map(|(_, text)| read(text).canonical()).collect();
    all.sort();
    all
}

fn read(text: &str) -> Card {
    let (mut cards, bad) = parse(text.as_bytes());
    assert!(bad.is_empty() && cards.len() == 1, "{bad:?}\n{text}");
    cards.remove(0)
}

fn photo() -> String {
    use base64::Engine as _;
    let octets: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 251) as u8).collect();
    format!("PHOTO;ENCODING=b;TYPE=JPEG:{}\r\n", base64::engine::general_purpose::STANDARD.encode(octets))
}

/// Two address books, a group, a photograph, odd characters.
fn filled() -> Radicale {
    let old = Radicale::start(&[USER]);
    old.make_book(USER, "friends", "Friends &amp; Co");
    old.make_book(USER, "work", "work");
    old.put(
        USER,
        "friends/a.vcf",
        &card("a", "Ann", "TEL;TYPE=home,pref:+1\r\nNOTE:one\\ntwo\\, three\\; four\r\nBDAY:1970-01-02\r\n"),
    );
    old.put(USER, "friends/b.vcf", &card("b@x", "Bj\u{f6}rn \u{1f600}", &photo()));
    old.put(
        USER,
        "friends/g.vcf",
        &card("g", "All", "X-ADDRESSBOOKSERVER-KIND:group\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a\r\n"),
    );
    old.put(USER, "work/c.vcf", &card("c/d e", "Cid", "item1.EMAIL;TYPE=INTERNET:c@x.example\r\nitem1.X-ABLabel:desk\r\nCATEGORIES:x,y\r\nADR;TYPE=work:;;S\\, 1;T;;1;D\r\n"));
    old
}

#[test]
fn contacts_move_and_what_changes_follows_until_the_user_has_moved() {
    let (m, old, new) = (Move::new(), filled(), Radicale::start(&[USER]));
    configure(&m, &carddav(old.port), &carddav(new.port));
    m.once();
    let friends = new.store(USER);
    let made: Vec<String> =
        std::fs::read_dir(&friends).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let friends = made.iter().find(|n| *n != "work" && !n.starts_with('.')).unwrap().clone();
    let same = || {
        assert_eq!(held(&old, "friends"), held(&new, &friends));
        assert_eq!(held(&old, "work"), held(&new, "work"));
    };
    same();
    assert_eq!(held(&new, &friends).len(), 3);
    let props = std::fs::read_to_string(new.store(USER).join(&friends).join(".Radicale.props")).unwrap();
    assert!(props.contains("Friends & Co"), "{props}");
    // A pass without changes writes nothing.
    let before = new.cards(USER, "work");
    m.once();
    assert_eq!(before, new.cards(USER, "work"));
    // Changed, gone and new at the source; changed at the target by somebody: before the switch the source wins.
    old.put(USER, "friends/a.vcf", &card("a", "Ann Lee", ""));
    assert_eq!(old.ask(USER, "DELETE", "/ann/work/c.vcf", "", "").0, 200);
    old.put(USER, "work/n.vcf", &card("n", "New", ""));
    new.put(USER, &format!("{friends}/b_.vcf"), &card("own", "Own", ""));
    let (file, text) = new.cards(USER, &friends).into_iter().find(|(_, t)| t.contains("FN:All")).unwrap();
    new.put(USER, &format!("{friends}/{file}"), &text.replace("FN:All", "FN:Nobody"));
    m.once();
    assert_eq!(held(&old, "work"), held(&new, "work"));
    let mut mine = held(&new, &friends);
    mine.retain(|c| !c.contains("FN:Own"));
    assert_eq!(held(&old, "friends"), mine, "what somebody added over there stays");
    assert!(m.run(&["final", USER]).ok().contains("final"));
    // Now the new side is the user's.
    let (file, text) = new.cards(USER, &friends).into_iter().find(|(_, t)| t.contains("FN:All")).unwrap();
    new.put(USER, &format!("{friends}/{file}"), &text.replace("FN:All", "FN:Everybody"));
    old.put(USER, "friends/g.vcf", &card("g", "Stale", ""));
    m.once();
    assert!(held(&new, &friends).iter().any(|c| c.contains("FN:Everybody")));
    let said = m.run(&["rollback", USER]).ok();
    let back = held(&old, "friends");
    assert!(back.iter().any(|c| c.contains("FN:Everybody")) && back.iter().any(|c| c.contains("FN:Own")), "{said}");
    assert!(m.run(&["verify"]).ok().contains("verify"));
}

/// A kill at any time: what was stored and is not in the ledger is met again, not stored twice. `CUTOVER_CONTACTS` says how many; Radicale
/// looks through the whole address book at each new contact.
#[test]
fn a_kill_between_a_put_and_its_record_doubles_nothing() {
    let (m, new) = (Move::new(), Radicale::start(&[USER]));
    let all: usize = std::env::var("CUTOVER_CONTACTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let one = |n| card(&format!("uid {n}"), &format!("Name {n}"), "EMAIL:x@x.example\r\nNOTE:a\\, b\r\n");
    std::fs::write(m.path("ann.vcf"), (0..all).map(one).collect::<String>()).unwrap();
    let file = format!("kind = \"vcard\"\npath = \"{}/{{user}}.vcf\"", m.path("").display());
    configure(&m, &file, &carddav(new.port));
    // The server calls the same address book otherwise.
    new.make_book(USER, "contacts", "contacts");
    let count = || new.cards(USER, "contacts").len();
    let mut killed = 0;
    for pause in [0, 137, 311] {
        let mut child = m.command(&["run", "--once"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while count() < killed + 20 && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(7));
        }
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        killed = count();
    }
    assert!((20..all).contains(&killed), "a kill must come in between: {killed}");
    let began = Instant::now();
    m.once();
    eprintln!("{} of {all} contacts in {:.1} s", all - killed, began.elapsed().as_secs_f64());
    assert_eq!(count(), all);
    let began = Instant::now();
    m.once();
    eprintln!("a pass over {all} unchanged contacts: {:.2} s", began.elapsed().as_secs_f64());
    assert!(m.run(&["final", USER]).ok().contains("final"));
    assert!(m.run(&["report", USER]).ok().contains("No exceptions."));
}

/// A full store, a race with somebody else, a server that asks for patience: each is said, and passes.
#[test]
fn failure_04_28_29_refusals_of_the_target_are_named_and_tried_again() {
    let (m, old, new) = (Move::new(), filled(), Radicale::start(&[USER]));
    // Answers of PUT by turns.
    let turn = std::sync::Mutex::new(0);
    let meddler = Meddler::start(new.port, move |_, method, _| {
        let mut turn = turn.lock().unwrap();
        *turn += usize::from(method == "PUT");
        match (method, *turn) {
            ("PUT", 1) => Some("HTTP/1.1 507 Insufficient Storage".into()),
            ("PUT", 2) => Some("HTTP/1.1 412 Precondition Failed".into()),
            ("PUT", 3) => Some("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1".into()),
            // The answer is lost, and the contact is there.
            ("PUT", 5) => Some("after ".into()),
            _ => None,
        }
    });
    configure(&m, &carddav(old.port), &carddav(meddler.port));
    let said = m.run(&["run", "--once"]);
    let report = m.run(&["report", USER]).text;
    assert!(report.contains("507"), "{}\n{report}", said.text);
    for _ in 0..3 {
        m.run(&["run", "--once"]);
    }
    m.once();
    assert_eq!(held(&old, "work"), held(&new, "work"));
    assert!(m.run(&["report", USER]).ok().contains("No exceptions."));
}

fn example(m: &Move, name: &str, octets: &[u8]) -> String {
    std::fs::write(m.path(name), octets).unwrap();
    m.path(name).display().to_string()
}

/// Exports of old products: CSV and LDIF to a server that an administrator opens for every user, whose home nobody has made yet.
#[test]
fn exports_of_old_products_move_to_a_server_by_its_administrator() {
    let (m, new) = (Move::new(), Radicale::start(&[USER]));
    let target = format!("kind = \"carddav\"\nurl = \"http://127.0.0.1:{}/{{user}}/\"\nlogin = \"admin\"", new.port);
    let csv = example(&m, "ann.csv", b"\"First Name\",\"Last Name\",\"E-mail Address\",\"Birthday\",\"Web Page\"\r\nAnn,Lee,ann@x.example,3/4/1970,\"http://x.example/a,b\"\r\n\"Bob, Jr.\",Ray,bob@x.example,,\r\n");
    configure(&m, &format!("kind = \"csv\"\npath = \"{}\"", csv.replace("ann.csv", "{user}.csv")), &target);
    m.once();
    let all = held(&new, "Contacts");
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|c| c.contains("URL:http://x.example/a,b")), "{all:?}");
    let report = m.run(&["report", USER]).ok();
    assert!(report.contains("told apart"), "{report}");
    // The same people by LDIF, with a list.
    let ldif = example(&m, "ann.ldif", b"dn: cn=Zoe,mail=z@x.example\nobjectclass: mozillaAbPersonAlpha\ncn: Zoe\nmail: z@x.example\n\ndn: cn=All\nobjectclass: groupOfNames\ncn: All\nmember: cn=Zoe,mail=z@x.example\n\ndn: cn=gone\nchangetype: delete\n");
    let m2 = Move::new();
    configure(&m2, &format!("kind = \"ldif\"\npath = \"{ldif}\""), &target);
    m2.run(&["run", "--once"]);
    assert_eq!(held(&new, "Contacts").len(), 4);
    assert!(m2.run(&["report", USER]).text.contains("change of a directory"));
}

/// To files, judged by Python's vobject.
#[test]
fn contacts_move_to_files_that_others_read() {
    let (m, old) = (Move::new(), filled());
    let target = format!("kind = \"vcard\"\npath = \"{}/out/{{user}}\"", m.path("").display());
    configure(&m, &carddav(old.port), &target);
    m.once();
    let script = "import sys,glob,vobject\nn=0\nfor f in glob.glob(sys.argv[1]+'/**/*.vcf',recursive=True):\n for c in vobject.readComponents(open(f,newline='').read()):\n  assert c.fn.value and c.uid.value; n+=1\nprint(n)";
    let judged =
        std::process::Command::new("/usr/bin/python3").args(["-c", script]).arg(m.path("out")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&judged.stdout).trim(), "4", "{}", String::from_utf8_lossy(&judged.stderr));
    let mut written = Vec::new();
    collect(&m.path("out"), &mut written);
    let mut there: Vec<String> = [held(&old, "friends"), held(&old, "work")].concat();
    there.sort();
    written.sort();
    assert_eq!(there, written);
    assert_eq!(old.ask(USER, "DELETE", "/ann/friends/a.vcf", "", "").0, 200);
    m.once();
    let mut rest = Vec::new();
    collect(&m.path("out"), &mut rest);
    assert_eq!(rest.len(), 3);
    assert!(m.run(&["final", USER]).ok().contains("final"));
}

fn collect(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), into);
        } else if entry.path().extension().is_some_and(|e| e == "vcf") {
            into.push(read(&std::fs::read_to_string(entry.path()).unwrap()).canonical());
        }
    }
}
