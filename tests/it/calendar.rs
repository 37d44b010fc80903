//! Change control at the command line: what is refused before a host is asked, and the forward schedule.

use super::cli::{Run, Sandbox};

const HEAD: &str = "organization acme domain=acme.example timezone=\"Europe/Berlin\"
site one
platform open postfix=\"3.7\" dovecot=\"2.3\"
server mail-1 platform=open site=one ip=\"192.0.2.1\" { roles imap; }
server mail-2 platform=open site=one ip=\"192.0.2.2\" { roles imap; }
certificate tls subject=\"mail.acme.example\" issuer=internal { on \"mail-[1:2]\"; services imap; }
runbook r { steps roll; }
person ann
";

/// A window that is open all day on one day of the week, the day after tomorrow, so that it is shut now whatever the clock says.
fn shut() -> String {
    let day = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(3);
    format!("window w every=fortnight from=\"12:00\" for=\"2h\" starting=\"{day}\"")
}

fn folder(text: &str) -> Sandbox {
    let s = Sandbox::new();
    s.write("topology.kdl", &format!("{HEAD}{text}"));
    s
}

fn change(name: &str, more: &str) -> String {
    format!("change {name} {more} severity=minor author=ann rollout=r rollback=r {{ affects mail-1; }}\n")
}

fn apply(s: &Sandbox, more: &[&str]) -> Run {
    s.run(&[&["apply", "--yes"], more].concat())
}

#[test]
fn an_apply_outside_its_window_is_refused_with_the_next_opening_before_any_host_is_asked() {
    let s = folder(&format!("calendar c {{ {}; }}\n{}", shut(), change("roll", "")));
    let run = apply(&s, &["--change", "roll"]).ends(1);
    let told = &run.err;
    assert!(told.contains("change roll may not run now: window w is closed; opens "), "{told}");
    assert!(told.contains(" 12:00 CE") && told.contains(", in ") && told.contains("Nothing was changed"), "{told}");
    assert!(!s.path().join(".cutover/acme/default/changes.jsonl").exists());
}

#[test]
fn an_emergency_says_why_and_others_are_none() {
    let text = format!("calendar c {{ {}; }}\n{}{}", shut(), change("roll", ""), change("fire", "urgency=emergency"));
    let s = folder(&text);
    apply(&s, &["--change", "fire"]).ends(1).says("--emergency \"why it cannot wait\"");
    apply(&s, &["--change", "roll", "--emergency", "in a hurry"]).ends(1).says("change roll is no emergency");
    // It gets as far as the host, which is not there.
    apply(&s, &["--change", "fire", "--emergency", "the disk is full"]).ends(1).says("does not wait for a window");
}

#[test]
fn a_change_of_a_type_that_a_freeze_excepts_is_not_held_by_it() {
    let today = jiff::Zoned::now().date();
    let (from, to) = (today.yesterday().expect("day"), today + jiff::Span::new().days(3));
    let text = format!(
        "change-type standard severity=minor\nchange-type security severity=minor
calendar c {{ freeze f from=\"{from}\" to=\"{to}\" reason=\"year end\" {{ except security; }}; }}\n{}{}",
        change("roll", "type=standard"),
        change("patch", "type=security"),
    );
    let s = folder(&text);
    apply(&s, &["--change", "roll"])
        .ends(1)
        .says("change roll may not run now: freeze f holds until the end of")
        .says("year end");
    apply(&s, &["--change", "patch"]).ends(1).says("could not ask");
}

#[test]
fn a_change_that_is_not_there_is_named_with_those_that_are() {
    let s = folder(&change("roll", ""));
    apply(&s, &["--change", "rol"]).ends(1).says("the topology has no change `rol`").says("it has: roll");
    let s = folder("");
    apply(&s, &["--change", "rol"]).ends(1).says("the topology has no change `rol`");
}

#[test]
fn a_zone_that_nobody_knows_opens_nothing() {
    let s = folder(&format!("calendar c timezone=\"Mars/Olympus\" {{ {}; }}\n{}", shut(), change("roll", "")));
    apply(&s, &["--change", "roll"]).ends(1).says("no timezone is called `Mars/Olympus`");
    s.run(&["calendar"]).ends(1).says("no timezone is called `Mars/Olympus`");
}

const PLAN: &str = "calendar c {
    window sunday every=week from=\"01:00\" for=\"6h\" { on sun; }
    freeze year-end from=\"2026-12-15\" to=\"2027-01-05\" reason=\"books are closed\"
}
legacy old product=imap host=old.acme.example
pair store { members mail-1 mail-2; }
migration m strategy=phased from=old to=store
rollback-point keep valid-for=\"7d\" { restores dns; }
cutover-window night-1 start=\"2026-12-04T21:00\" for=\"6h\" rollback=keep { steps notify verify; }
cutover-window night-2 start=\"2026-12-05T02:00\" for=\"6h\" rollback=keep { steps notify verify; }
cutover-window night-3 start=\"2026-12-20T21:00\" for=\"6h\" rollback=keep change=roll { steps notify verify; }
cohort first migration=m type=pilot to=store window=night-1 { select { users a@acme.example; }; }
cohort second migration=m type=wave to=store window=night-2 { select { users b@acme.example; }; }
phase pilot step=pilot due=\"2026-12-01\" { gate weekly every=\"14d\" review=operations; migrates first; }
";

#[test]
fn the_forward_schedule_says_what_is_when_and_what_cannot_be() {
    let s = folder(&format!("{PLAN}{}", change("roll", "")));
    let run = s.run(&["calendar", "--from", "2026-11-27", "--to", "2026-12-21"]).ends(0);
    for line in [
        "Sun 2026-11-29 01:00 CET       6h  window          c.sunday ",
        "Fri 2026-12-04 21:00 CET       6h  cutover window  night-1   moves first",
        "Tue 2026-12-15 00:00 CET      22d  freeze          c.year-end",
        "Tue 2026-12-15 00:00 CET       1h  review          weekly",
        "Tue 2026-12-01 00:00 CET       1d  due             pilot",
        "cutover windows night-1 and night-2 are open together from 2026-12-05 02:00 and share legacy:old, ",
        "cutover window night-3 stands in freeze c.year-end",
        "cutover window night-1 belongs to no change",
    ] {
        let same = |l: &str| {
            l.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains(&line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        assert!(run.out.lines().any(same), "`{line}`:\n{}", run.out);
    }
    s.run(&["calendar", "--from", "2026-12-21", "--to", "2026-12-20"]).ends(1).says("comes before");
    let json = s.run(&["calendar", "--from", "2026-11-27", "--to", "2026-12-21", "--format", "json"]).ends(0);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["items"][0]["what"], "window");
    assert_eq!(json["conflicts"].as_array().map(Vec::len), Some(4));
}

const READER: &str = r#"
import json, sys
from icalendar import Calendar
c = Calendar.from_ical(open(sys.argv[1], "rb").read())
out = []
for e in c.walk("VEVENT"):
    begin, end = e.decoded("dtstart"), e.decoded("dtend")
    assert begin.utcoffset().total_seconds() == 0 and end > begin and "dtstamp" in e, e
    out.append([str(e["uid"]), begin.isoformat(), str(e["summary"]), str(e.get("description", ""))])
json.dump([str(c["version"]), out], sys.stdout)
"#;

/// python3-icalendar reads what was written: times in UTC, identities that stay, texts with the marks of the format in them.
#[test]
fn calendar_programs_read_the_file() {
    let text = PLAN
        .replace("the books", "books, ledgers; \\\"all\\\"")
        .replace("books are closed", "books; ledgers, and so on are closed for a long time to come");
    let s = folder(&format!("{text}{}", change("roll", "")));
    let days = ["calendar", "--from", "2026-11-27", "--to", "2026-12-21"];
    let read = |name: &str| {
        s.run(&[&days[..], &["--ics", name]].concat()).ends(0).says(&format!("wrote {name}"));
        let done =
            std::process::Command::new("/usr/bin/python3").args(["-c", READER, name]).current_dir(s.path()).output();
        let done = done.expect("python3 runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice::<serde_json::Value>(&done.stdout).expect("JSON")
    };
    let (first, second) = (read("a.ics"), read("b.ics"));
    assert_eq!(first, second, "the same file again");
    assert_eq!(first[0], "2.0");
    let events = first[1].as_array().expect("events");
    let find =
        |summary: &str| events.iter().find(|e| e[2] == summary).unwrap_or_else(|| panic!("{summary}: {events:#?}"));
    assert_eq!(find("cutover window night-1")[1], "2026-12-04T20:00:00+00:00");
    assert_eq!(find("freeze c.year-end")[3], "books; ledgers, and so on are closed for a long time to come");
    assert_eq!(find("freeze c.year-end")[0], "freeze-c.year-end@acme.example");
    let mut ids: Vec<_> = events.iter().map(|e| e[0].as_str().expect("uid")).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "each has its own identity");
}

#[test]
fn the_page_stands_alone_and_holds_no_script() {
    let s = folder(&format!("{}{}", PLAN.replace("books are closed", "<script>alert(1)</script>"), change("roll", "")));
    s.run(&["calendar", "--from", "2026-11-27", "--to", "2026-12-21", "--html", "c.html"]).ends(0);
    let page = s.read("c.html");
    for part in
        ["prefers-color-scheme:dark", "cutover window night-1", "&lt;script&gt;alert(1)", "Cannot be", "class=\"bar\""]
    {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for foreign in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}\n{page}");
    }
}
