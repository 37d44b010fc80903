//! Inbox rules and out-of-office to and from Exchange Web Services, by `cutover-cms` itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use super::cms_ews::{USER, Work, ews, ews_judged, imap};
use super::cms_rules::with_sieve;
use super::support::dovecot::Dovecot;
use super::support::exchange::Exchange;

fn configured(work: &Work, from: &str, to: &str, more: &str) {
    work.configure(from, to, more);
    let text = std::fs::read_to_string(work.path("cms.toml")).unwrap();
    let items = "items = [\"messages\", \"folders\", \"rules\", \"out-of-office\"]\n";
    std::fs::write(work.path("cms.toml"), text.replacen("[cms]\n", &format!("[cms]\n{items}"), 1)).unwrap();
}

/// The user's Sieve files at the source.
fn from_files(work: &Work) -> String {
    let folder = work.path("sieve").join(USER);
    std::fs::create_dir_all(&folder).unwrap();
    format!("[source.rules]\nkind = \"sieve\"\npath = \"{}/{{user}}\"\n", work.path("sieve").display())
}

fn script(work: &Work, text: &str) {
    let head = "require [\"fileinto\", \"vacation\", \"copy\", \"imap4flags\"];\n";
    std::fs::write(work.path("sieve").join(USER).join(".dovecot.sieve"), format!("{head}{text}")).unwrap();
}

fn names(server: &Exchange) -> Vec<String> {
    server.fits();
    server.rules(USER, "").into_keys().collect()
}

/// As exchangelib reads it.
fn away(server: &Exchange) -> String {
    let (done, said) = server.judge(&["away", &ews_judged(server)]);
    assert!(done, "{said}");
    said
}

const MAIN: &str = "# rule:[Work]\nif header :contains \"subject\" \"work & play\" { fileinto \"Work/In\"; stop; }\n\
    # rule:[List]\nif allof (header :contains [\"to\", \"cc\"] \"list@\", not header :contains \"from\" \"boss@\") { addflag \"\\\\Seen\"; fileinto :copy \"Lists\"; }\n\
    # rule:[Exact]\nif header :is \"subject\" \"exactly\" { discard; }\n\
    vacation :days 3 :subject \"Weg\" \"Grüße,\n  bin weg <heute>\";\n";

#[test]
fn rules_and_out_of_office_move_to_exchange_and_follow_until_the_switch() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    let more = format!("{}[folders.rename]\n\"Work/In\" = \"Projects/Arrived\"\n", from_files(&work));
    configured(&work, &imap(old.imap), &ews(&new, ""), &more);
    old.client(USER).ask("CREATE \"Work/In\"");
    script(&work, MAIN);
    let said = work.once();
    assert!(said.contains("2 things beside mail"), "{said}");
    let there = new.rules(USER, "");
    assert_eq!(there.keys().collect::<Vec<_>>(), ["List", "Work"]);
    for part in ["work &amp; play", "MoveToFolder", "StopProcessingRules"] {
        assert!(there["Work"].contains(part), "{part}: {}", there["Work"]);
    }
    for part in ["<t:Exceptions>", "boss@", "MarkAsRead", "CopyToFolder"] {
        assert!(there["List"].contains(part), "{part}: {}", there["List"]);
    }
    let told = away(&new);
    assert!(told.contains("\"state\": \"Enabled\"") && told.contains("bin weg &lt;heute&gt;"), "{told}");
    let report = work.run(&["report", USER]).text;
    for part in ["rules:rules:Exact", "a text that is exactly `exactly`", "not with `Weg`", "not every 3 days"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let writes = || {
        let counts = new.control("{}");
        (counts["UpdateInboxRules"].clone(), counts["SetUserOofSettingsRequest"].clone())
    };
    let before = writes();
    assert!(!work.once().contains("things beside mail"));
    assert_eq!(writes(), before, "nothing changed");
    // Changed at the source, touched over there.
    script(&work, &MAIN.replace("bin weg", "bin lange weg").replace("rule:[List]", "rule:[Lists]"));
    assert!(new.judge(&["leave", &ews_judged(&new), "touched"]).0);
    work.once();
    assert_eq!(names(&new), ["Lists", "Work"]);
    assert!(away(&new).contains("bin lange weg"), "before the switch the source counts");
    work.run(&["final", USER]).ok();
    assert!(work.run(&["verify", USER]).ok().contains("verify"));
    // The user's now.
    assert!(new.judge(&["leave", &ews_judged(&new), "mine"]).0);
    script(&work, "# rule:[Other]\nif header :contains \"subject\" \"x\" { discard; }\nvacation \"old\";\n");
    work.once();
    assert!(away(&new).contains("mine"));
    assert_eq!(names(&new), ["Other"], "rules that the user has left alone still follow");
}

const RULES: &str = "<Rule><DisplayName>From Bob</DisplayName><Priority>1</Priority><IsEnabled>true</IsEnabled><Conditions><FromAddresses><Address><EmailAddress>bob@acme.example</EmailAddress></Address></FromAddresses></Conditions>\
    <Actions><MoveToFolder><FolderId Id=\"sentitems\"/></MoveToFolder><StopProcessingRules>true</StopProcessingRules></Actions></Rule>\
    <Rule><DisplayName>Files</DisplayName><Priority>2</Priority><IsEnabled>true</IsEnabled><Conditions><HasAttachments>true</HasAttachments></Conditions><Actions><Delete>true</Delete></Actions></Rule>\
    <Rule><DisplayName>Off</DisplayName><Priority>3</Priority><IsEnabled>false</IsEnabled><Conditions><ContainsSubjectStrings><String>off</String></ContainsSubjectStrings></Conditions>\
    <Actions><PermanentDelete>true</PermanentDelete></Actions></Rule>";

#[test]
fn rules_and_out_of_office_come_from_exchange_and_go_back() {
    let (old, (new, port)) = (Exchange::start(), with_sieve(""));
    old.rules(USER, RULES);
    assert!(old.judge(&["leave", &ews_judged(&old), "bin im Urlaub"]).0);
    let work = Work::new(&ews(&old, ""), &imap(new.imap), "");
    let part = format!("[target.rules]\nkind = \"managesieve\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\n");
    configured(&work, &ews(&old, ""), &imap(new.imap), &part);
    work.once();
    let report = work.run(&["report", USER]).text;
    let said = new.doveadm(&["sieve", "get", "-u", USER, "cutover"]);
    for part in [
        "rule:[From Bob]",
        "bob@acme.example",
        "fileinto \"Gesendete Elemente\"",
        "rule:[Off]",
        "bin im Urlaub\nGr\u{fc}\u{df}e",
        "2090-01-01",
    ] {
        assert!(said.replace('\r', "").contains(part), "{part}: {said}\n{report}");
    }
    assert!(report.contains("rules:rules:Files") && report.contains("HasAttachments"), "{report}");
    assert!(report.contains("no contacts are to get no answer"), "{report}");
    assert!(!work.once().contains("things beside mail"));
    work.run(&["final", USER]).ok();
    // What the user changes on the new side goes back.
    let file = work.path("mine");
    std::fs::write(&file, "require \"vacation\";\r\n# rule:[Mine]\r\nif header :contains \"subject\" \"mine\" { discard; }\r\nvacation \"back soon\";\r\n").unwrap();
    let mut put = std::process::Command::new("doveadm");
    put.arg("-c").arg(new.path().join("conf")).args(["sieve", "put", "-u", USER, "cutover"]);
    assert!(put.stdin(std::fs::File::open(&file).unwrap()).output().unwrap().status.success());
    work.run(&["rollback", USER]).ok();
    assert_eq!(names(&old), ["Files", "Mine"], "a rule that nobody could read is not touched");
    assert!(away(&old).contains("back soon"));
}

/// A kill at each write of the ledger, and answers that are lost.
#[test]
fn failure_04_05_18_rules_of_exchange_are_there_once_whatever_happens() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    let more = from_files(&work);
    configured(&work, &imap(old.imap), &ews(&new, ""), &more);
    let mut died = 0;
    for n in 1..30i64 {
        script(
            &work,
            &format!(
                "# rule:[r {n}]\nif header :contains \"subject\" \"{n}\" {{ discard; }}\nvacation \"away {n}\";\n"
            ),
        );
        if n % 4 == 0 {
            new.control("{\"lose\": 2}");
        }
        let crash = if n % 3 == 0 { -(n / 3) } else { n / 3 };
        let crashed = work.command(&["run", "--once"]).env("CUTOVER_CMS_CRASH", crash.to_string()).output().unwrap();
        new.control("{\"lose\": 0}");
        work.once();
        assert_eq!(names(&new), [format!("r {n}")]);
        died += u32::from(!crashed.status.success());
        if crashed.status.success() && crash.abs() > 3 {
            break;
        }
    }
    assert!(died >= 4, "{died} points were met");
    // Done only after it was done again.
    script(&work, "# rule:[late]\nif header :contains \"subject\" \"late\" { discard; }\n");
    new.control("{\"lose\": 1, \"late\": 1.0}");
    work.run(&["run", "--once"]);
    new.control("{\"late\": 0}");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    work.once();
    assert_eq!(new.rules(USER, "").len(), 1);
    work.run(&["final", USER]).ok();
    work.run(&["verify", USER]).ok();
}

#[test]
fn what_exchange_refuses_of_rules_is_named_and_the_rest_goes() {
    let (old, new) = (Dovecot::start(), Exchange::start());
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    let more = from_files(&work);
    configured(&work, &imap(old.imap), &ews(&new, ""), &more);
    script(
        &work,
        "# rule:[good]\nif header :contains \"subject\" \"a\" { discard; }\n# rule:[bad one]\nif header :contains \"subject\" \"b\" { discard; }\n",
    );
    new.control("{\"refuse\": \"bad\"}");
    work.once();
    assert_eq!(names(&new), ["good"]);
    let report = work.run(&["report", USER]).text;
    assert!(
        report.contains("rules:rules:bad one") && report.contains("Exchange refuses it: DisplayName UnexpectedError"),
        "{report}"
    );
    // Rules of Outlook's own would be lost.
    new.control("{\"refuse\": \"\", \"outlook\": 1}");
    script(&work, "# rule:[new]\nif header :contains \"subject\" \"a\" { discard; }\n");
    work.once();
    assert_eq!(names(&new), ["good"]);
    assert!(work.run(&["report", USER]).text.contains("Outlook keeps rules of its own"));
    // 2007 has an out-of-office, and no rules.
    let new = Exchange::version("2007");
    let work = Work::new(&imap(old.imap), &ews(&new, ""), "");
    let more = from_files(&work);
    configured(&work, &imap(old.imap), &ews(&new, ""), &more);
    script(&work, "# rule:[new]\nif header :contains \"subject\" \"a\" { discard; }\nvacation \"off\";\n");
    work.once();
    assert!(away(&new).contains("off"));
    let report = work.run(&["report", USER]).text;
    assert!(report.contains("Exchange 2007 lets nobody read or write inbox rules"), "{report}");
    new.fits();
}
