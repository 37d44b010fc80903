//! Scorecards from a real Prometheus with a past, and pages of them.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::fmt::Write as _;
use std::process::Command;

use cutover::cli::scores::{page, script, text};
use cutover::monitoring::scorecard::{Card, Colour, Period, Scorecard, Share, cards, percent, reckon};
use cutover::reporting::Paint;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::cli::Sandbox;
use super::moving_alerts::Prometheus;

/// A level, and its figure at a time; none where nobody measured.
type Course<'f> = (&'f str, &'f dyn Fn(i64) -> Option<f64>);

const TOPOLOGY: &str = "language 1\norganization acme domain=acme.example\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
    server a platform=open site=s ip=\"192.0.2.1\" { roles relay; }\ncertificate tls subject=a.acme.example issuer=internal { on a; }\nteam ops { smf service-level; }\n\
    sla \"[kept,broken,holes,nothing]\" type=availability target=\"99.9%\" { of server:a; }\n\
    sla spare type=availability formality=informal target=\"99%\" { of server:a; }\n\
    sla restores type=continuance within=\"1h\" { of server:a; }\n\
    scorecard week every=weekly { slas kept broken holes nothing spare restores; to ops; }\n\
    scorecard month every=monthly { slas kept; }\n";

fn card(name: &str) -> Card {
    let files = [("t.kdl".to_owned(), TOPOLOGY.as_bytes().to_vec())].into();
    let compiled = cutover::language::compile_files(&files, "t.kdl", &Default::default());
    cards(&compiled.topology).into_iter().find(|c| c.name == name).unwrap()
}

/// Two weeks of figures, one a minute: what went wrong of each level.
fn past(until: i64) -> String {
    let day = |t: i64| (until - t) / 86_400;
    let levels: [Course; 4] = [
        // The week before was worse.
        ("kept", &|t| Some(if day(t) < 7 { 0.0005 } else { 0.01 })),
        ("broken", &|t| Some(if day(t) == 2 { 0.5 } else { 0.0 })),
        ("holes", &|t| (day(t) != 3).then_some(0.0)),
        ("spare", &|t| Some(if day(t) == 0 { 0.05 } else { 0.0 })),
    ];
    let mut out = String::new();
    for (level, wrong) in levels {
        for t in (until - 14 * 86_400..=until).step_by(60) {
            if let Some(wrong) = wrong(t) {
                let _ = writeln!(out, "cutover:level:error_ratio{{sla=\"{level}\",window=\"5m\"}} {wrong} {t}");
            }
        }
    }
    out + "# EOF\n"
}

fn carded(until: Timestamp, said: &str) -> Scorecard {
    reckon(&card("week"), Period::Weekly, until, "acme", said).unwrap()
}

#[test]
fn a_week_of_a_real_prometheus_is_green_red_or_not_known() {
    let now = Timestamp::now().as_second();
    let until = Timestamp::from_second(now - now.rem_euclid(60)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("past.om"), dir.path().join("data"));
    std::fs::write(&file, past(until.as_second())).unwrap();
    let made =
        Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).args([&file, &data]).output();
    let made = made.expect("promtool (apt-get install prometheus)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let prometheus = Prometheus::over(dir, "groups: []\n");
    let began = std::time::Instant::now();
    let ask = |period| Command::new("sh").arg("-c").arg(script(period, until, prometheus.port)).output().unwrap();
    let said = loop {
        let out = ask(Period::Weekly);
        if out.status.success() {
            break String::from_utf8(out.stdout).unwrap();
        }
        assert!(began.elapsed().as_secs() < 30, "{out:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let card = carded(until, &said);
    let row = |level: &str| card.levels.iter().find(|r| r.level == level).unwrap();
    let colours = ["kept", "broken", "holes", "nothing", "spare", "restores"].map(|l| row(l).colour);
    use Colour::{Green, Red, Unknown};
    assert_eq!(colours, [Green, Red, Unknown, Unknown, Green, Unknown], "{card:#?}");
    let kept = row("kept");
    assert!(
        (kept.now.good.unwrap() - 0.9995).abs() < 1e-6 && (kept.budget_used.unwrap() - 0.5).abs() < 1e-3,
        "{kept:?}"
    );
    assert!((kept.before.good.unwrap() - 0.99).abs() < 1e-4 && kept.now.missing < 1e-3 && kept.course.len() == 7);
    let broken = row("broken");
    assert!((broken.now.good.unwrap() - (1.0 - 0.5 / 7.0)).abs() < 1e-3, "{broken:?}");
    // The day that broke it is the one that the chart shows low.
    let low: Vec<usize> = (0..7).filter(|n| broken.course[*n].good.is_some_and(|g| g < 0.9)).collect();
    assert_eq!(low, [4]);
    let holes = row("holes");
    assert!((holes.now.missing - 1.0 / 7.0).abs() < 1e-3 && holes.now.good == Some(1.0), "{holes:?}");
    assert!(holes.course[3].good.is_none() && row("nothing").now.missing == 1.0);
    assert!(row("restores").why.as_deref().unwrap().contains("continuance"));
    // Half of a month is missing, and what is known breaks it already.
    let out = ask(Period::Monthly);
    let month =
        reckon(&self::card("month"), Period::Monthly, until, "acme", &String::from_utf8(out.stdout).unwrap()).unwrap();
    assert_eq!(
        (month.levels.len(), month.levels[0].colour),
        (1, Colour::Red),
        "ten times its budget in a week: {month:?}"
    );

    let cards = vec![card];
    let shown = text(&cards, &TimeZone::UTC, Paint::Plain);
    assert!(
        shown.contains("2 green, 1 red, 3 not known") && shown.contains("50% of its error budget used; better"),
        "{shown}"
    );
    assert!(shown.contains("14.285% of the time is missing"), "{shown}");
    let html = page(&cards, &TimeZone::UTC);
    assert_eq!((html.matches("<svg").count(), html.matches("</svg>").count()), (6, 6));
    assert!(html.contains("no figures") && !html.contains("<script") && !html.contains("http"), "{html}");

    // Kept as JSON it is shown again without anybody to ask.
    let sandbox = Sandbox::new();
    sandbox.write("week.json", &serde_json::to_string(&cards).unwrap());
    let again = sandbox.run(&["scorecard", "--from", "week.json"]).ends(0);
    assert_eq!(again.out.trim_end(), shown.trim_end());
    assert!(sandbox.run(&["scorecard", "--from", "week.json", "--format", "html"]).ends(0).out.contains("<svg"));
    sandbox.write("wrong.json", "{}");
    sandbox.run(&["scorecard", "--from", "wrong.json"]).ends(1).says("holds no scorecards");
}

#[test]
fn without_an_answer_there_is_no_card() {
    let until: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    let week = card("week");
    let card = |said: &str| reckon(&week, Period::Weekly, until, "acme", said).unwrap_err();
    assert!(card("").contains("0 of 6"));
    assert!(card(&"{\"status\":\"error\",\"error\":\"out of memory\"}\n".repeat(6)).contains("out of memory"));
    assert!(card(&"<html>\n".repeat(6)).contains("form"));
    let sandbox = Sandbox::new();
    sandbox.write("topology.kdl", TOPOLOGY);
    sandbox.run(&["scorecard", "other"]).ends(1).says("it has: month, week");
    sandbox.run(&["scorecard", "week"]).ends(1).says("no server has the role monitor");
}

fn share(good: f64, missing: f64) -> Share {
    Share { good: Some(good), missing }
}

#[test]
fn what_is_missing_is_never_green() {
    assert_eq!(share(1.0, 0.0).colour(0.999), Colour::Green);
    assert_eq!(share(0.999, 0.04).colour(0.999), Colour::Green, "just kept");
    assert_eq!(share(1.0, 0.06).colour(0.999), Colour::Unknown);
    assert_eq!(Share { good: None, missing: 1.0 }.colour(0.5), Colour::Unknown);
    // What is known breaks it already, whatever the rest was.
    assert_eq!(share(0.9, 0.5).colour(0.99), Colour::Red);
    assert_eq!(share(0.985, 0.9).colour(0.99), Colour::Unknown);
    assert_eq!(share(0.98, 0.0).colour(0.99), Colour::Red);
}

#[test]
fn a_share_is_not_rounded_up() {
    let cut = [0.999_899_9, 0.9999, 1.0, 0.0].map(percent);
    assert_eq!(cut, ["99.989%", "99.99%", "100%", "0%"]);
}

proptest! {
    #[test]
    fn green_is_only_what_is_known_to_be_good(good in 0.0..=1.0f64, missing in 0.0..=1.0f64, target in 0.5..0.9999f64) {
        match share(good, missing).colour(target) {
            Colour::Green => prop_assert!(missing <= 0.05 && good >= target - 1e-8),
            Colour::Red => prop_assert!(good < target),
            Colour::Unknown => prop_assert!(missing > 0.05),
        }
    }
}
