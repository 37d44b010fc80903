//! Contacts to and from Exchange Web Services, by `cutover-cms` itself. What stands there is read by exchangelib.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::PathBuf;

use super::cms_ews::{USER, Work, ews, ews_judged, imap};
use super::support::dovecot::Dovecot;
use super::support::exchange::Exchange;

const ITEMS: &str = "items = [\"messages\", \"contacts\"]\n";

/// With contacts among the items. `source` and `target` say where they are.
fn configured(work: &Work, from: &str, to: &str, more: &str) {
    work.configure(from, to, more);
    let text = std::fs::read_to_string(work.path("cms.toml")).unwrap();
    std::fs::write(work.path("cms.toml"), text.replacen("[cms]\n", &format!("[cms]\n{ITEMS}"), 1)).unwrap();
}

fn files(work: &Work, side: &str) -> String {
    format!("[{side}.contacts]\nkind = \"vcard\"\npath = \"{}/{{user}}\"\n", work.path("cards").display())
}

fn folder(work: &Work) -> PathBuf {
    let folder = work.path("cards").join(USER);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn card(uid: &str, name: &str, more: &str) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\n{}END:VCARD\r\n",
        more.replace('\n', "\r\n")
    )
}

/// Each contact as exchangelib sees it, as a line of JSON.
fn seen(server: &Exchange) -> Vec<String> {
    let (done, said) = server.judge(&["contacts", &ews_judged(server)]);
    assert!(done, "{said}");
    server.fits();
    said.lines().map(str::to_owned).collect()
}

/// All contacts of the files.
fn held(work: &Work) -> String {
    let mut all: Vec<String> = walk(&folder(work)).iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
    all.sort();
    all.concat()
}

fn walk(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).filter(|p| p.extension().is_some()).collect()
}

const ANN: &str = "EMAIL;TYPE=work:ann@x.example\nEMAIL:a2@x.example\nEMAIL:a3@x.example\nEMAIL:a4@x.example\nTEL;TYPE=cell:+1\nTEL;TYPE=work,fax:+2\nADR;TYPE=home:;;S 1\\, x;T;R;1;D\n\
                   ORG:Acme;Sales\nTITLE:Head\nBDAY:19700102\nNOTE:one\\ntwo\nCATEGORIES:x,y\nX-ODD:kept\nPHOTO:data:image/png;base64,AAAA\n";

#[test]
fn contacts_move_to_exchange_change_switch_and_come_back() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    configured(&work, &imap(old.imap), &ews(&new, ""), &files(&work, "source"));
    let at = folder(&work);
    std::fs::create_dir_all(at.join("Verein")).unwrap();
    let write = |name: &str, text: String| std::fs::write(at.join(name), text).unwrap();
    write("ann.vcf", card("ann", "Ann", ANN));
    write("b.vcf", card("b@x", "Bj\u{f6}rn \u{1f600} <&>", "TEL:1\nBDAY:--0102\n"));
    write("g.vcf", card("g", "All", "KIND:group\nMEMBER:urn:uuid:ann\n"));
    write("Verein/c.vcf", card("c/d e", "Cid", "URL:https://c.example/\nIMPP:xmpp:c@x.example\n"));
    let said = work.once();
    assert!(said.contains("3 things beside mail"), "{said}");
    let there = seen(&new);
    assert_eq!(there.len(), 3, "{there:?}");
    for part in [
        "\"birthday\": \"1970-01-02\"",
        "\"EmailAddress3\": \"a3@x.example\"",
        "\"MobilePhone\": \"+1\"",
        "\"BusinessFax\": \"+2\"",
        "\"Home\": \"S 1, x / T / R / 1 / D\"",
        "\"company_name\": \"Acme\"",
        "\"department\": \"Sales\"",
        "\"body\": \"one\\ntwo\"",
        "\"categories\": [\"x\", \"y\"]",
        "\"book\": \"Verein\"",
        "\"display_name\": \"Bj\u{f6}rn \u{1f600} <&>\"",
    ] {
        assert!(there.iter().any(|c| c.contains(part)), "{part}: {there:?}");
    }
    let report = work.run(&["report", USER]).text;
    for part in [
        "EMAIL a4@x.example",
        "PHOTO is not carried",
        "a group of contacts is not made there",
        "X-ODD kept",
        "BDAY --0102",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    // A pass without changes reads nothing again and writes nothing.
    let counts = || new.control("{}");
    let before = counts();
    assert!(!work.once().contains("things beside mail"));
    for operation in ["GetItem", "CreateItem", "UpdateItem", "DeleteItem"] {
        assert_eq!(counts()[operation], before[operation], "{operation}");
    }
    assert!(work.run(&["report", USER]).text.contains("PHOTO is not carried"), "it is still so");
    // Changed, gone and new at the source; touched over there: before the switch the source counts.
    write("ann.vcf", card("ann", "Ann Lee", "TEL;TYPE=home:+3\nX-ODD:kept\n"));
    std::fs::remove_file(at.join("b.vcf")).unwrap();
    write("n.vcf", card("n", "New", ""));
    assert!(new.judge(&["touch", &ews_judged(&new), "Cid"]).0);
    let said = work.once();
    assert!(said.contains("4 things beside mail"), "{said}");
    let there = seen(&new);
    assert_eq!(there.len(), 3, "{there:?}");
    assert!(
        there.iter().any(|c| c.contains("Ann Lee") && c.contains("+3") && !c.contains("ann@x.example")),
        "{there:?}"
    );
    assert!(!there.iter().any(|c| c.contains("Touched") || c.contains("rn ")), "{there:?}");
    work.run(&["final", USER]).ok();
    assert!(work.run(&["verify", "--how", "full"]).ok().contains("verify"));
    // The user's now: what they change stays, and what no field shows goes back with it.
    assert!(new.judge(&["edit", &ews_judged(&new), "Ann Lee"]).0);
    write("ann.vcf", card("ann", "Ann Stale", ""));
    work.once();
    assert!(seen(&new).iter().any(|c| c.contains("+99") && c.contains("Ann Lee")));
    write("ann.vcf", card("ann", "Ann Lee", "TEL;TYPE=home:+3\nX-ODD:kept\n"));
    work.run(&["rollback", USER]).ok();
    let back = held(&work);
    for part in ["+99", "of the new side", "X-ODD:kept", "FN:Own", "UID:c/d e", "KIND:group"] {
        assert!(back.contains(part), "{part}: {back}");
    }
    assert!(!back.contains("+3") && back.matches("UID:ann").count() == 1, "{back}");
    assert!(work.run(&["audit"]).ok().contains("whole"));
}

/// Answers that are lost, requests that are done after the connection is gone, a kill at each write of the ledger.
#[test]
fn failure_04_05_18_contacts_on_the_way_to_exchange_are_neither_lost_nor_doubled() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    configured(&work, &imap(old.imap), &ews(&new, ""), &files(&work, "source"));
    let at = folder(&work);
    let write = |n: usize, more: &str| {
        std::fs::write(at.join(format!("{n}.vcf")), card(&format!("u {n}"), &format!("Name {n}"), more)).unwrap()
    };
    (0..60).for_each(|n| write(n, "NOTE:first\n"));
    let each_once = |count: usize| {
        let there = seen(&new);
        let mut names: Vec<&str> =
            there.iter().map(|c| c.split("\"display_name\": \"").nth(1).unwrap().split('"').next().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), there.len()), (count, count));
    };
    new.control("{\"lose\": 2}");
    work.once();
    each_once(60);
    // Stored only after it was asked for again: the copy goes as soon as it is seen.
    (60..90).for_each(|n| write(n, ""));
    new.control("{\"lose\": 1, \"late\": 1.5}");
    work.run(&["run", "--once"]);
    new.control("{\"late\": 0}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    work.run(&["run", "--once"]);
    each_once(90);
    let mut died = 0;
    for n in 1..40i64 {
        let id = 200 + n as usize;
        write(id, "");
        write(1, &format!("NOTE:{n}\n"));
        let crash = if n % 3 == 0 { -(n / 3) } else { n / 3 };
        let crashed = work.command(&["run", "--once"]).env("CUTOVER_CMS_CRASH", crash.to_string()).output().unwrap();
        died += u32::from(!crashed.status.success());
        if crashed.status.success() && crash.abs() > 3 {
            work.once();
            each_once(90 + n as usize);
            break;
        }
    }
    assert!(died >= 4, "{died} points were met");
    work.run(&["final", USER]).ok();
    work.run(&["verify", USER]).ok();
}

#[test]
fn contacts_come_from_exchange_and_go_to_another_one() {
    let (old, new) = (Exchange::start(), Exchange::version("2007"));
    assert!(old.judge(&["meet", &ews_judged(&old)]).0);
    old.item(USER, "{\"folder\": \"contacts\", \"class\": \"IPM.DistList\", \"subject\": \"Everybody\"}");
    old.item(USER, "{\"folder\": \"contacts\", \"class\": \"IPM.Contact\", \"subject\": \"\", \"attachments\": 1}");
    let work = Work::new(&ews(&old, ""), &ews(&new, ""), "");
    configured(&work, &ews(&old, ""), &ews(&new, ""), "");
    let said = work.once();
    assert!(said.contains("4 things beside mail"), "{said}");
    let report = work.run(&["report", USER]).text;
    for part in ["Everybody: ", "a list of contacts is not carried", "1 attachments (a photograph is one)"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains("items that are no mail (ipf.contact)"), "{report}");
    let named = |server: &Exchange| {
        seen(server).into_iter().filter(|c| c.contains("J\u{f6}rg") || c.contains("Bob")).collect::<Vec<_>>()
    };
    assert_eq!(named(&old), named(&new));
    assert_eq!(named(&new).len(), 2);
    let before = old.control("{}")["GetItem"].as_u64().unwrap();
    assert!(!work.once().contains("things beside mail"));
    assert_eq!(old.control("{}")["GetItem"].as_u64().unwrap(), before, "what has not changed is not read");
    work.run(&["final", USER]).ok();
    // And to files.
    let work = Work::new(&ews(&old, ""), &ews(&new, ""), "");
    configured(&work, &ews(&old, ""), &ews(&new, ""), &files(&work, "target"));
    folder(&work);
    work.once();
    let cards = held(&work);
    for part in [
        "N:Gro\u{df};J\u{f6}rg",
        "TEL;TYPE=cell:+1",
        "TEL;TYPE=fax,home:+2",
        "BDAY:19700102",
        "NOTE:Notiz\\nzwei",
        "ADR;TYPE=work:;;S 1;T;R;1;D",
    ] {
        assert!(cards.replace("\r\n ", "").contains(part), "{part}: {cards}");
    }
    old.fits();
    new.fits();
}

#[test]
fn what_exchange_alters_or_refuses_of_contacts_is_named_once() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    configured(&work, &imap(old.imap), &ews(&new, ""), &files(&work, "source"));
    let at = folder(&work);
    std::fs::write(at.join("a.vcf"), card("a", "Ann", "ROLE:Smith\n")).unwrap();
    std::fs::write(at.join("l.vcf"), card("l", "Long", &format!("NOTE:{}\n", "x".repeat(40_000)))).unwrap();
    new.control("{\"drop\": \"Profession\"}");
    work.once();
    let report = work.run(&["report", USER]).text;
    assert!(report.contains("left out or changed: Profession Smith") && report.contains("a contact of 41"), "{report}");
    let before = new.control("{}")["UpdateItem"].as_u64();
    work.once();
    assert_eq!(new.control("{}")["UpdateItem"].as_u64(), before, "it is not written again");
    std::fs::remove_file(at.join("l.vcf")).unwrap();
    std::fs::write(at.join("b.vcf"), card("b", "Bob", "")).unwrap();
    new.control("{\"quota\": 100}");
    work.once();
    assert!(work.run(&["report", USER]).text.contains("ErrorQuotaExceeded"));
    new.control("{\"quota\": 1000000000}");
    work.once();
    assert_eq!(seen(&new).len(), 2);
    work.run(&["final", USER]).ok();
}
