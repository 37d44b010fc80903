//! Windows open when python-dateutil and the system's zone database say so too, and freezes and openings are decided rightly in nights
//! in which clocks change.

use std::process::{Command, Stdio};

use cutover::language::{self, Options};
use cutover::model::topology::Topology;
use cutover::process::calendar::{Calendar, Decision, Span, Wish};
use cutover::process::change;
use jiff::Timestamp;

use super::dice::Dice;

fn topology(text: &str) -> Topology {
    let files = [("t.kdl".to_owned(), text.as_bytes().to_vec())].into();
    let c = language::compile_files(&files, "t.kdl", &Options { allow_unset: true, ..Options::default() });
    assert!(!c.diagnostics.has_errors(), "{:?}\n{text}", c.diagnostics);
    c.topology
}

fn calendar(zone: &str, lines: &str) -> Calendar {
    let head = format!("organization acme domain=acme.example timezone=\"{zone}\"\n");
    Calendar::of(&topology(&format!("{head}calendar c {{\n{lines}\n}}\n"))).expect("zone")
}

fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Zoned>().expect(text).timestamp()
}

fn said(span: Span, zone: &str) -> String {
    let shown = |t: Timestamp| t.in_tz(zone).expect("zone").strftime("%a %m-%d %H:%M%:z").to_string();
    format!("{} .. {}", shown(span.from), shown(span.to))
}

fn openings(c: &Calendar, from: &str, to: &str) -> Vec<String> {
    let name = c.zone_name.clone();
    let day = |d: &str| at(&format!("{d}T00:00[{name}]"));
    c.windows[0].openings(Span { from: day(from), to: day(to) }).into_iter().map(|s| said(s, &name)).collect()
}

#[test]
fn a_window_in_a_night_that_skips_its_hour_opens_later_and_one_that_has_it_twice_at_the_first() {
    let c = calendar("Europe/Berlin", "window w every=day from=\"02:30\" for=\"2h\"");
    assert_eq!(
        openings(&c, "2026-03-28", "2026-03-31"),
        [
            "Sat 03-28 02:30+01:00 .. Sat 03-28 04:30+01:00",
            "Sun 03-29 03:30+02:00 .. Sun 03-29 05:30+02:00",
            "Mon 03-30 02:30+02:00 .. Mon 03-30 04:30+02:00",
        ]
    );
    assert_eq!(
        openings(&c, "2026-10-25", "2026-10-26"),
        // Two hours are two hours: the clocks show one of them twice.
        ["Sun 10-25 02:30+02:00 .. Sun 10-25 03:30+01:00"]
    );
}

#[test]
fn a_window_over_midnight_is_still_open_on_the_next_day() {
    let c = calendar("Asia/Tehran", "window w every=week from=\"22:00\" for=\"6h\" { on thu; }");
    let decided = |time: &str| c.decide(&Wish::default(), at(&format!("{time}[Asia/Tehran]")));
    let until = Some(at("2026-11-27T04:00[Asia/Tehran]"));
    assert_eq!(decided("2026-11-27T03:59"), Decision::Open { by: Some("w".into()), until });
    assert_eq!(
        decided("2026-11-27T04:00"),
        Decision::Shut { why: "window w is closed".into(), next: Some(at("2026-12-03T22:00[Asia/Tehran]")) }
    );
}

#[test]
fn fortnights_are_counted_from_the_first_and_the_31st_is_where_a_month_has_it() {
    let c = calendar("UTC", "window w every=fortnight from=\"20:00\" for=\"1h\" starting=\"2026-11-28\" { on sat; }");
    assert_eq!(
        openings(&c, "2026-11-01", "2026-12-31"),
        [
            "Sat 11-28 20:00+00:00 .. Sat 11-28 21:00+00:00",
            "Sat 12-12 20:00+00:00 .. Sat 12-12 21:00+00:00",
            "Sat 12-26 20:00+00:00 .. Sat 12-26 21:00+00:00",
        ]
    );
    let c = calendar("UTC", "window w every=month from=\"20:00\" for=\"1h\" starting=\"2026-08-31\"");
    let days: Vec<String> = openings(&c, "2026-08-01", "2027-02-01").iter().map(|s| s[..9].to_owned()).collect();
    assert_eq!(days, ["Mon 08-31", "Sat 10-31", "Thu 12-31", "Sun 01-31"]);
}

#[test]
fn a_freeze_lasts_whole_days_of_its_zone_and_types_pass_it() {
    let t = topology(
        "organization acme domain=acme.example timezone=\"Europe/Berlin\"
calendar c {
    window w every=day from=\"01:00\" for=\"4h\"
    freeze spring from=\"2026-03-28\" to=\"2026-03-29\" reason=\"quarter end\" { except security; }
}
change-type security severity=minor
change-type standard severity=minor
runbook r { steps roll; }
person ann
site one
platform open postfix=\"3.7\"
server mail-1 platform=open site=one { roles imap; }
change fix type=security severity=minor author=ann rollout=r rollback=r { affects mail-1; }
change more type=standard severity=minor author=ann rollout=r rollback=r { affects mail-1; }
",
    );
    let c = Calendar::of(&t).expect("zone");
    let night = at("2026-03-29T04:00[Europe/Berlin]");
    let decided = |name: &str| c.decide(&change::wish(&t, &c, t.get("change", name).expect(name)), night);
    assert!(matches!(decided("fix"), Decision::Open { .. }));
    let Decision::Shut { why, next } = decided("more") else { panic!("frozen") };
    assert_eq!(why, "freeze spring holds until the end of 2026-03-29: quarter end");
    assert_eq!(next, Some(at("2026-03-30T01:00[Europe/Berlin]")));
    // 47 hours: the two days have one less.
    let f = &c.freezes[0];
    assert_eq!(f.span.to.duration_since(f.span.from).as_hours(), 47);
}

#[test]
fn a_window_that_a_freeze_cuts_is_open_for_the_rest() {
    let c = calendar(
        "UTC",
        "window w every=week from=\"22:00\" for=\"6h\" { on sat; }\nfreeze f from=\"2026-11-29\" to=\"2026-11-29\"",
    );
    let decided = c.decide(&Wish::default(), at("2026-11-28T23:00[UTC]"));
    assert_eq!(decided, Decision::Open { by: Some("w".into()), until: Some(at("2026-11-29T00:00[UTC]")) });
    let Decision::Shut { next, .. } = c.decide(&Wish::default(), at("2026-11-29T01:00[UTC]")) else { panic!("frozen") };
    assert_eq!(next, Some(at("2026-12-05T22:00[UTC]")));
}

const JUDGE: &str = r#"
import json, sys
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo
from dateutil.rrule import rrulestr
names = dict(mon="MO", tue="TU", wed="WE", thu="TH", fri="FR", sat="SA", sun="SU")
out = []
for c in json.load(sys.stdin):
    start = date.fromisoformat(c["starting"])
    by = [names[d] for d in c["on"]]
    nth = (start.day - 1) // 7 + 1
    nth = -1 if nth == 5 else nth
    rule = {"day": "FREQ=DAILY", "week": "FREQ=WEEKLY", "fortnight": "FREQ=WEEKLY;INTERVAL=2", "month": "FREQ=MONTHLY"}[c["every"]]
    if by:
        rule += ";BYDAY=" + ",".join((str(nth) if c["every"] == "month" else "") + d for d in by)
    hour, minute = map(int, c["from"].split(":"))
    first = datetime(start.year, start.month, start.day, hour, minute)
    low, high = datetime.fromisoformat(c["low"]), datetime.fromisoformat(c["high"])
    zone = ZoneInfo(c["zone"])
    days = rrulestr(rule, dtstart=first).between(low - timedelta(days=3), high + timedelta(days=3), inc=True)
    begins = [int(d.replace(tzinfo=zone).timestamp()) for d in days]
    lo, hi = (int(x.replace(tzinfo=zone).timestamp()) for x in (low, high))
    out.append([b for b in begins if b < hi and b + c["for"] > lo])
json.dump(out, sys.stdout)
"#;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[test]
fn windows_open_when_python_dateutil_says() {
    let mut dice = Dice(7_545);
    let mut pick = |n: usize| dice.below(n);
    let zones = ["Europe/Berlin", "Asia/Tehran", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Santiago"];
    let (mut cases, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let every: &str = ["day", "week", "fortnight", "month"][pick(4)];
        let mut on: Vec<&str> = (0..pick(4)).map(|_| DAYS[pick(7)]).collect();
        on.sort_by_key(|d| DAYS.iter().position(|o| o == d));
        on.dedup();
        let starting = jiff::civil::date(2024, 1, 1) + jiff::Span::new().days(i64::try_from(pick(900)).expect("small"));
        let low = jiff::civil::date(2025, 6, 1) + jiff::Span::new().days(i64::try_from(pick(700)).expect("small"));
        let high = low + jiff::Span::new().days(1 + i64::try_from(pick(120)).expect("small"));
        let from = format!("{:02}:{:02}", pick(24), [0, 15, 30, 45][pick(4)]);
        let zone: &str = zones[pick(zones.len())];
        let hours = 1 + pick(20);
        cases.push(serde_json::json!({
            "every": every, "on": on, "starting": starting, "from": from, "zone": zone, "for": hours * 3600,
            "low": format!("{low}T00:00"), "high": format!("{high}T00:00"),
        }));
        let on = if on.is_empty() { String::new() } else { format!(" {{ on {}; }}", on.join(" ")) };
        texts.push((
            format!("window w every={every} from=\"{from}\" for=\"{hours}h\" starting=\"{starting}\"{on}"),
            zone,
            low,
            high,
        ));
    }
    let mut judge = Command::new("/usr/bin/python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    serde_json::to_writer(judge.stdin.take().expect("stdin"), &cases).expect("written");
    let done = judge.wait_with_output().expect("ends");
    assert!(done.status.success(), "python3 with python3-dateutil judges");
    let judged: Vec<Vec<i64>> = serde_json::from_slice(&done.stdout).expect("JSON");
    let mut seen = 0;
    for ((text, zone, low, high), theirs) in texts.iter().zip(judged) {
        let c = calendar(zone, text);
        let begin =
            |d: &jiff::civil::Date| d.to_datetime(jiff::civil::Time::midnight()).in_tz(zone).expect("zone").timestamp();
        let ours: Vec<i64> = c.windows[0]
            .openings(Span { from: begin(low), to: begin(high) })
            .iter()
            .map(|s| s.from.as_second())
            .collect();
        seen += ours.len();
        assert_eq!(ours, theirs, "{text} in {zone}, {low} to {high}");
    }
    assert!(seen > 2_000, "{seen} openings compared");
}
