//! Notices: rendered strictly, read back by Python's email package in Persian and German, and never sent twice, whenever the program
//! is killed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::cli::{Run, Sandbox};

/// A window that begins so many hours from now.
fn topology(locale: &str, hours: i64) -> String {
    let start =
        (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M").to_string();
    format!(
        "organization acme domain=acme.example display=\"Acme Größe\" locale={locale}
site one
platform open postfix=\"3.7\" dovecot=\"2.3\"
server mail-1 platform=open site=one {{ roles imap; }}
server mail-2 platform=open site=one {{ roles imap; }}
certificate tls subject=\"mail.acme.example\" issuer=internal {{ on \"mail-[1:2]\"; services imap; }}
team desk email=help@acme.example {{ smf service-desk; }}
legacy old product=imap host=old.acme.example
pair store {{ members mail-1 mail-2; }}
migration m strategy=phased from=old to=store
rollback-point keep valid-for=\"7d\" {{ restores dns; }}
communication invite template=\"notices/invite.hbs\" owner=desk {{ audience cohort helpdesk; at \"-14d\" \"-1d\" \"+1h\"; }}
cutover-window night-1 start=\"{start}\" for=\"6h\" rollback=keep {{ steps notify verify; }}
cohort first migration=m type=pilot to=store window=night-1 {{ select {{ users ann@acme.example bo@acme.example; }}; notices invite; }}
"
    )
}

const PERSIAN: &str = "Subject: انتقال صندوق پستی {{address}}

سلام،

صندوق {{address}} در {{begins}} منتقل می‌شود.
";
const GERMAN: &str = "Subject: Umzug Ihres Postfachs – Übersicht für {{name}}

Grüß Gott,

Ihr Postfach {{address}} zieht um: {{begins}} bis {{ends}}.
";

fn folder(locale: &str, hours: i64) -> Sandbox {
    let s = Sandbox::new();
    s.write("topology.kdl", &topology(locale, hours));
    s.write("notices/invite.hbs", "Subject: Your mailbox {{address}} moves\n\nIt moves on {{begins}}.\n");
    s.write("notices/invite.fa.hbs", PERSIAN);
    s.write("notices/invite.de.hbs", GERMAN);
    s
}

const READER: &str = r#"
import email, email.policy, glob, json, sys
out = []
for name in sorted(glob.glob(sys.argv[1] + "/*.eml")):
    m = email.message_from_bytes(open(name, "rb").read(), policy=email.policy.default)
    assert not m.defects and all(not p.defects for p in m.walk()), (name, m.defects)
    text, html = (m.get_body((kind,)).get_content() for kind in ("plain", "html"))
    out.append({"to": m["to"].addresses[0].addr_spec, "from": str(m["from"]), "subject": str(m["subject"]), "auto": str(m["auto-submitted"]),
                "id": str(m["message-id"]), "text": text, "html": html, "raw": open(name, "rb").read().isascii()})
json.dump(out, sys.stdout)
"#;

fn read_back(s: &Sandbox, dir: &str) -> Vec<serde_json::Value> {
    let done = Command::new("/usr/bin/python3")
        .args(["-c", READER, dir])
        .current_dir(s.path())
        .output()
        .expect("python3 runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn persian_and_german_are_read_back_as_they_were_meant() {
    let s = folder("fa", 12);
    s.run(&["notices", "write", "out"]).ends(0).says("3 messages in out; nothing was sent");
    let all = read_back(&s, "out");
    let ann = all.iter().find(|m| m["to"] == "ann@acme.example").expect("to ann");
    assert_eq!(ann["subject"], "انتقال صندوق پستی \u{2068}ann@acme.example\u{2069}");
    assert!(ann["text"].as_str().is_some_and(|t| t.contains("صندوق \u{2068}ann@acme.example\u{2069} در")), "{ann}");
    assert!(
        ann["html"].as_str().is_some_and(|t| t.contains("<html lang=\"fa\" dir=\"rtl\">") && t.contains("منتقل می‌شود")),
        "{ann}"
    );
    assert_eq!((&ann["auto"], &ann["raw"]), (&"auto-generated".into(), &true.into()));
    assert!(ann["from"].as_str().is_some_and(|f| f.contains("Acme Größe") && f.contains("help@acme.example")), "{ann}");
    let first: Vec<_> = all.iter().map(|m| m["id"].clone()).collect();
    s.run(&["notices", "write", "again"]).ends(0);
    assert_eq!(read_back(&s, "again").iter().map(|m| m["id"].clone()).collect::<Vec<_>>(), first, "identities stay");

    let s = folder("de", 12);
    s.run(&["notices", "write", "out"]).ends(0);
    let all = read_back(&s, "out");
    let bo = all.iter().find(|m| m["to"] == "bo@acme.example").expect("to bo");
    assert_eq!(bo["subject"], "Umzug Ihres Postfachs – Übersicht für bo");
    assert!(bo["text"].as_str().is_some_and(|t| t.contains("Grüß Gott,") && t.contains("zieht um: ")), "{bo}");
    assert!(bo["html"].as_str().is_some_and(|t| t.contains("dir=\"ltr\"") && !t.contains('\u{2068}')), "{bo}");
}

/// In the reader's own language where a list says it and a template is there; else in that of the organisation, never in a mixture.
#[test]
fn whoever_reads_another_language_is_told_in_it() {
    let s = folder("fa", 12);
    let list = "accounts staff on=store csv=\"staff.csv\"\n";
    s.write("topology.kdl", &(topology("fa", 12) + list));
    s.write("staff.csv", "mail,language\nann@acme.example,\"de-AT, en;q=0.5\"\nbo@acme.example,sv\n");
    s.run(&["notices", "write", "out"]).ends(0).says("3 messages in out");
    let all = read_back(&s, "out");
    let of = |to: &str| all.iter().find(|m| m["to"] == to).expect("a message");
    let ann = of("ann@acme.example");
    assert_eq!(ann["subject"], "Umzug Ihres Postfachs – Übersicht für ann");
    assert!(ann["html"].as_str().is_some_and(|t| t.contains("lang=\"de\" dir=\"ltr\"")), "{ann}");
    let bo = of("bo@acme.example");
    assert!(bo["html"].as_str().is_some_and(|t| t.contains("lang=\"fa\" dir=\"rtl\"")), "{bo}");
    assert!(bo["subject"].as_str().is_some_and(|t| t.starts_with("انتقال")), "{bo}");
}

#[test]
fn an_unknown_name_in_a_template_is_shown_where_it_stands_and_nothing_is_sent() {
    let s = folder("en", 12);
    s.write("notices/invite.hbs", "Subject: Hello {{adress}}\n\ntext\n");
    s.run(&["notices", "send", "--through", "false"])
        .ends(1)
        .says("no variable `adress`")
        .says("did you mean `address`?")
        .says("invite.hbs:1");
    s.write("notices/invite.hbs", "no subject here\n");
    s.run(&["notices", "write", "out"]).ends(1).says("has no subject");
    std::fs::remove_file(s.path().join("notices/invite.hbs")).expect("removed");
    s.run(&["notices", "write", "out"]).ends(1).says("cannot be read");
    assert!(!s.path().join("out").exists());
}

/// A mail server of a few lines: what it takes stands in `taken`, a line a message. With `die`, it kills the program that feeds it.
fn server(s: &Sandbox, before: &str, after: &str) {
    s.write("server", &format!("#!/bin/sh\nset -e\n{before}\ngrep -i '^message-id:' >> taken\n{after}\n"));
    let path = s.path().join("server");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
}

fn send(s: &Sandbox, more: &[&str]) -> Run {
    s.run(&[&["notices", "send", "--per-minute", "60000", "--through", "./server"], more].concat())
}

fn taken(s: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(s.path().join("taken")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_due_is_sent_once() {
    let s = folder("en", 12);
    server(&s, "", "");
    s.run(&["notices", "list"]).ends(0).says("due").says("overtaken").says("waits");
    send(&s, &[]).ends(0).says("3 sent, 0 refused, 0 in doubt");
    send(&s, &[]).ends(0).says("no notice is due now");
    let mut all = taken(&s);
    assert_eq!(all.len(), 3);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn what_a_server_refuses_may_be_tried_again() {
    let s = folder("en", 12);
    server(&s, "echo full >&2; exit 75", "");
    send(&s, &[]).ends(1).says("ended with 75: full").says("0 sent, 3 refused");
    server(&s, "", "");
    send(&s, &[]).ends(0).says("3 sent");
}

#[test]
fn a_notice_for_a_window_that_is_over_is_not_sent() {
    let s = folder("en", -30);
    server(&s, "", "");
    // The one that comes after the window is still told.
    send(&s, &[]).ends(0).says("6 notices are not sent: what they announce is over").says("3 sent");
}

/// Killed before and after the server takes the second message: it is in doubt, told, and not sent again by itself.
#[test]
fn a_killed_run_never_sends_twice() {
    let before = "if [ -s taken ]; then kill -9 $PPID; exit 1; fi";
    let after = "if [ $(wc -l < taken) = 2 ]; then kill -9 $PPID; exit 1; fi";
    for (before, after, reached) in [(before, "", 1), ("", after, 2)] {
        let s = folder("en", 12);
        server(&s, before, after);
        let mut command = s.command(&["notices", "send", "--per-minute", "60000", "--through", "./server"]);
        let died = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runs");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&died), Some(9));
        assert_eq!(taken(&s).len(), reached);
        server(&s, "", "");
        send(&s, &[]).ends(1).says("it is not sent again").says("1 sent, 0 refused, 1 in doubt");
        assert_eq!(taken(&s).len(), reached + 1);
        send(&s, &[]).ends(1).says("0 sent, 0 refused, 1 in doubt");
        send(&s, &["--again"]).ends(0).says("1 sent");
        send(&s, &[]).ends(0).says("no notice is due now");
    }
}

/// A torn last line of the journal is what had not begun; what comes after it is whole.
#[test]
fn a_torn_journal_is_gone_on_with() {
    let s = folder("en", 12);
    server(&s, "", "");
    send(&s, &[]).ends(0);
    let path = walk(s.path(), "notices.jsonl");
    let text = std::fs::read_to_string(&path).expect("journal");
    let lines = text.lines().count();
    assert_eq!(lines, 6, "begin and end of three");
    // Cut within the last line: the end of the third is gone, so it is in doubt.
    std::fs::write(&path, &text[..text.len() - 20]).expect("cut");
    send(&s, &[]).ends(1).says("1 in doubt");
    send(&s, &["--again"]).ends(0).says("1 sent");
    send(&s, &[]).ends(0).says("no notice is due now");
}

fn walk(dir: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut open = vec![dir.to_owned()];
    while let Some(d) = open.pop() {
        for entry in std::fs::read_dir(d).expect("folder").map(|e| e.expect("entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.ends_with(name) {
                return entry;
            }
        }
    }
    panic!("no {name}");
}
