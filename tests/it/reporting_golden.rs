//! What people read, held byte for byte.

use cutover::model::address::Kind;
use cutover::model::attr::{Attr, Body, SecretRef, Segment};
use cutover::model::event::{Event, What};
use cutover::model::plan::Plan;
use cutover::model::step::{Outcome, StepId};
use cutover::reporting::graph::{GraphView, dot, mermaid, svg};
use cutover::reporting::*;

use super::planning_world::{Story, World, story};

/// Two hosts with every kind of thing to say: creation, change, secret, risk, removal, command, reload, takeover.
fn rich() -> (Story, World, Plan) {
    let mut s = story();
    s.add("mail-1/smtp", Kind::Package, "postfix");
    s.add("mail-1/smtp", Kind::Package, "exim4");
    s.file(
        "mail-1/smtp",
        "/etc/postfix/main.cf",
        "myhostname = mail-1\nmynetworks = 127.0.0.0/8\nmessage_size_limit = 1\n",
    )
    .reloads("postfix");
    s.secret_file("mail-1/smtp", "/etc/postfix/sasl", "env:RELAY_PASSWORD").set("mode", "0600").reloads("postfix");
    s.file("mail-1/smtp", "/etc/old.conf", "old\n").reloads("postfix");
    s.service("mail-1/smtp", "postfix");
    let mut world = World::default();
    world.apply(&s.plan(&world));
    s.remove("server.mail-1/file:/etc/postfix/main.cf");
    s.remove("server.mail-1/file:/etc/old.conf");
    s.remove("server.mail-1/package:exim4");
    s.remove("server.mail-1/file:/etc/postfix/sasl");
    let changed = "myhostname = mail-1\nmynetworks = 127.0.0.0/8 [::1]/128\nmessage_size_limit = 1\n# <b>`x`</b> @all";
    s.file("mail-1/smtp", "/etc/postfix/main.cf", changed).set("mode", "0640").reloads("postfix");
    s.secret_file("mail-1/smtp", "/etc/postfix/sasl", "env:OTHER").set("mode", "0600").reloads("postfix");
    let both = Body { segments: vec![Segment::Secret(SecretRef("env:A".into()))] };
    s.body("gate/edge", Kind::MailAccount, "a@example.org", both).set("password", Attr::text("{CRYPT}x"));
    s.body("gate/edge", Kind::Firewall, "mail", Body::text("tcp dport 25 accept\n")).after("server.mail-1/smtp");
    s.add("gate/edge", Kind::Command, "maps").set("run", "postmap /etc/postfix/maps").set("creates", "/etc/maps.db");
    s.file("gate/edge", "/etc/motd", "hello\n");
    world.foreign("server.gate/file:/etc/motd", &[("mode", "0644")]);
    world.texts.insert("server.gate/file:/etc/motd".parse().expect("address"), "\x1b[31mwelcome\n".into());
    let plan = s.plan(&world);
    (s, world, plan)
}

#[test]
fn plan_as_text() {
    let (_, _, plan) = rich();
    insta::assert_snapshot!(plan_text(&plan, &TextOptions::default()));
}

#[test]
fn plan_as_markdown() {
    let (_, _, plan) = rich();
    insta::assert_snapshot!(plan_markdown(&plan));
}

#[test]
fn plan_as_json_reads_back() {
    let (_, _, plan) = rich();
    let text = plan_json(&plan).expect("json");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("plan"), plan);
    insta::assert_snapshot!(text);
}

#[test]
fn plan_as_graph() {
    let (_, _, plan) = rich();
    let view = GraphView::of_plan(&plan);
    insta::assert_snapshot!("graph_dot", dot(&view));
    insta::assert_snapshot!("graph_mermaid", mermaid(&view));
    insta::assert_snapshot!("graph_svg", svg(&view));
}

#[test]
fn colours_only_where_asked_for() {
    let (_, _, plan) = rich();
    let plain = plan_text(&plan, &TextOptions::default());
    let colour = plan_text(&plan, &TextOptions { paint: Paint::Colour, ..TextOptions::default() });
    assert!(!plain.contains('\x1b'));
    assert_eq!(anstream::adapter::strip_str(&colour).to_string(), plain);
    assert!(colour.contains("\x1b["));
}

#[test]
fn nothing_to_do_and_no_plan() {
    let mut s = story();
    s.file("a/x", "/etc/x", "x\n");
    let mut world = World::default();
    world.apply(&s.plan(&world));
    insta::assert_snapshot!(plan_text(&s.plan(&world), &TextOptions::default()), @"Nothing to do: 1 resource as the topology wants it.");
    world.down.push("a".into());
    insta::assert_snapshot!(plan_text(&s.plan(&world), &TextOptions::default()), @r"
    failed: could not ask a: connection refused
      is sshd running there?

    No plan: see above.
    ");
}

fn at(ms: i64, what: What) -> Event {
    Event { at: 1_795_000_000_000 + ms, what }
}

/// An apply of the rich plan in which things go wrong.
fn events(plan: &Plan) -> Vec<Event> {
    let mut out = vec![
        at(
            0,
            What::ApplyStarted {
                apply: "20261122-093015-7f3a".into(),
                intent: plan.intent.clone(),
                steps: plan.steps.len() as u32,
                resumed: false,
                undo_of: None,
            },
        ),
        at(1, What::LeaseTaken { host: "mail-1".into(), token: 8, from: Some("ann@desk pid 7 boot x".into()) }),
    ];
    let mut ms = 10;
    let mut end = |step: StepId, outcome: Outcome, millis: u64| {
        let s = &plan.steps[step as usize];
        let (address, action) = (s.address.clone(), s.action);
        ms += 10;
        let begun = at(ms, What::StepStarted { step, address: address.clone(), action });
        ms += millis as i64;
        let mut both = vec![begun, at(ms, What::StepEnded { step, address, action, outcome, millis })];
        if millis == 0 {
            both.remove(0);
        }
        both
    };
    let done = || Outcome::Done { fingerprint: Some("f".into()) };
    let failure = "postfix: \x1b[1mfatal\x1b[0m: bad parameter\npostfix: stopped\n";
    out.extend(end(0, done(), 40));
    out.extend(end(1, Outcome::Failed { code: 78, output: failure.into() }, 1_700));
    out.push(at(1_900, What::Armed { host: "gate".into(), seconds: 60 }));
    out.extend(end(2, Outcome::Stale { found: "content=abc".into() }, 30));
    out.extend(end(3, Outcome::Unknown { why: "the connection broke".into() }, 30));
    out.push(at(2_000, What::HostLost { host: "gate".into(), why: "connection reset".into() }));
    out.push(at(2_100, What::Draining));
    out.extend(end(4, Outcome::Skipped { because: 1 }, 0));
    out.extend(end(5, Outcome::Skipped { because: 4 }, 0));
    out.push(at(
        2_200,
        What::ApplyEnded { apply: "20261122-093015-7f3a".into(), done: 1, failed: 2, skipped: 2, unknown: 1 },
    ));
    out
}

#[test]
fn apply_as_lines() {
    let (_, _, plan) = rich();
    let mut lines = Lines::new(&plan, Paint::Plain);
    let said: Vec<String> = events(&plan).iter().filter_map(|e| lines.event(e)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn apply_as_json_lines_read_back() {
    let (_, _, plan) = rich();
    let events = events(&plan);
    let said: Vec<String> = events.iter().filter_map(|e| JsonLines.event(e)).collect();
    let read: Vec<Event> = said.iter().map(|l| serde_json::from_str(l).expect("event")).collect();
    assert_eq!(read, events);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn apply_closes_with_what_to_do() {
    let (_, _, plan) = rich();
    let report = Tally::of(&events(&plan)).report(&plan);
    assert!(!report.clean());
    insta::assert_snapshot!("closing", closing_text(&report, Paint::Plain));
    insta::assert_json_snapshot!("closing_json", report);
    insta::assert_snapshot!("show", show_text(&plan, &Tally::of(&events(&plan)), Paint::Plain));
}

#[test]
fn a_clean_apply_is_one_line() {
    let (_, mut world, plan) = rich();
    let outcomes = world.apply(&plan);
    let events = plan.steps.iter().map(|s| {
        let (address, action) = (s.address.clone(), s.action);
        at(s.id.into(), What::StepEnded { step: s.id, address, action, outcome: outcomes[&s.id].clone(), millis: 5 })
    });
    let report = Tally::of(&events.collect::<Vec<_>>()).report(&plan);
    assert!(report.clean());
    assert_eq!(closing_text(&report, Paint::Plain).lines().count(), 1);
}

/// Bars are drawn only where the target says; here nowhere, but every event is taken.
#[test]
fn progress_takes_every_event() {
    let (_, _, plan) = rich();
    let mut progress = Progress::new(&plan, Paint::Plain, indicatif::ProgressDrawTarget::hidden());
    for e in events(&plan) {
        assert_eq!(progress.event(&e), None);
    }
    progress.finish();
}

#[test]
fn drift_is_what_others_changed_of_ours() {
    let mut s = story();
    s.file("a/x", "/etc/a", "one\ntwo\n");
    s.file("a/x", "/etc/b", "b\n");
    s.file("a/x", "/etc/gone", "g\n");
    let mut world = World::default();
    let plan = s.plan(&world);
    world.apply(&plan);
    let applied = plan.steps.iter().map(|s| (s.address.clone(), world.record(&s.address).fingerprint)).collect();
    // Somebody edits one file and removes another; the topology changes a third and adds a fourth.
    let path = "server.a/file:/etc/a";
    world.tamper(path, "content", Attr::Digest(cutover::model::attr::Digest::of(b"x")));
    world.tamper(path, "mode", "0666");
    world.texts.insert(path.parse().expect("address"), "one\nthree\n".into());
    world.state.remove(&"server.a/file:/etc/gone".parse().expect("address"));
    s.remove("server.a/file:/etc/b");
    s.file("a/x", "/etc/b", "new wish\n");
    s.file("a/x", "/etc/d", "new\n");
    let plan = s.plan(&world);
    let report = drift(&plan, &world.observe(&s.site), &applied);
    assert!(report.drifted());
    insta::assert_snapshot!("drift", drift_text(&report, Paint::Plain));
    insta::assert_json_snapshot!("drift_json", report);
}

#[test]
fn history_is_a_table() {
    let entry = |apply: &str, at, ended| HistoryEntry {
        apply: apply.into(),
        at,
        holder: "ann@desk".into(),
        steps: 12,
        ended,
        ..HistoryEntry::default()
    };
    let good = Ended { done: 12, ..Ended::default() };
    let bad = Ended { done: 3, failed: 1, skipped: 8, unknown: 0 };
    let mut entries = vec![entry("a-1", 1_000, Some(good)), entry("a-2", 2_000, Some(bad)), entry("a-3", 3_000, None)];
    entries[2].undo_of = Some("a-2".into());
    insta::assert_snapshot!(history_text(&entries, |at| format!("t+{}s", at / 1_000), Paint::Plain), @r"
    apply  when  by        steps  outcome
    a-3    t+3s  ann@desk  12     not ended (undo of a-2)
    a-2    t+2s  ann@desk  12     3 done, 1 failed, 8 skipped, 0 unknown
    a-1    t+1s  ann@desk  12     done
    ");
}

/// A plan far too large for a comment is cut with a word, at the limit and not over it.
#[test]
fn markdown_never_exceeds_a_comment() {
    let mut s = story();
    for host in 0..150 {
        for n in 0..20 {
            let text = "ä long line of configuration that is different\n".repeat(n * 3);
            s.file(&format!("host-{host:03}/x"), &format!("/etc/app/{n}.conf"), &text);
        }
    }
    let plan = s.plan(&World::default());
    let text = plan_markdown(&plan);
    assert!(text.chars().count() <= 65_536, "{}", text.chars().count());
    assert!(text.chars().count() > 60_000, "the room is used");
    assert!(text.contains("**Left out**"));
    assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    assert!(text.contains("| 50 more hosts | 1000 |"));
}

/// 400 steps on 8 hosts; also written out to be looked at, when asked for.
#[test]
fn a_large_graph_is_drawn_fast() {
    let mut s = story();
    for h in 0..8 {
        let host = format!("mail-{h}");
        for role in ["smtp", "imap"] {
            let group = format!("{host}/{role}");
            for n in 0..3 {
                s.add(&group, Kind::Package, &format!("{role}-{n}"));
            }
            s.add(&group, Kind::User, &format!("{role}-user"));
            for n in 0..4 {
                s.add(&group, Kind::Directory, &format!("/etc/{role}/{n}"));
            }
            for n in 0..14 {
                s.file(&group, &format!("/etc/{role}/{}/{n}.conf", n % 4), "x\n")
                    .set("owner", &*format!("{role}-user"));
            }
            s.service(&group, role);
            s.service(&group, &format!("{role}-log"));
        }
        if h > 0 {
            let before = format!("server.mail-{}/imap", h - 1);
            s.file(&format!("{host}/smtp"), "/etc/smtp/next", "x\n").after(&before);
        }
    }
    let plan = s.plan(&World::default());
    assert!(plan.steps.len() >= 390, "{}", plan.steps.len());
    let view = GraphView::of_plan(&plan);
    let begun = std::time::Instant::now();
    let text = svg(&view);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert_eq!(text, svg(&GraphView::of_plan(&plan)));
    if let Ok(path) = std::env::var("CUTOVER_SVG") {
        std::fs::write(path, text).expect("written");
    }
}

/// A window with all of its stages: a lead of two days, two hours of window, five days of the old side.
fn a_schedule() -> cutover::model::cutover::Schedule {
    use cutover::model::cutover::{Entry, Schedule, Stage};
    let start = 1_804_543_200;
    let (hour, day) = (3_600, 86_400);
    let entry = |stage, what: &str, begins: i64, wait: i64, latest: Option<i64>, why: &str| Entry {
        zone: "acme.example.".into(),
        stage,
        what: what.into(),
        begins,
        ends: begins + wait,
        latest,
        why: why.into(),
        steps: vec![1],
    };
    let planned = start - 2 * day;
    Schedule {
        window: "night".into(),
        rollback: "before-night".into(),
        start,
        end: start + 2 * hour,
        timezone: "Europe/Dublin".into(),
        planned,
        entries: vec![
            entry(
                Stage::Publish,
                "publish new.acme.example. A, new.acme.example. AAAA, _25._tcp.new.acme.example. TLSA, acme.example. TXT, and more than fits",
                planned,
                hour,
                Some(start - hour),
                "TLSA <twice>",
            ),
            entry(Stage::LowerTtl, "TTL of acme.example. MX to 5m", planned, day, Some(start - day), "T"),
            entry(Stage::FlipMx, "swap acme.example. MX", start, 600, Some(start + 2 * hour - 600), "2t"),
            entry(
                Stage::Verify,
                "observe: both sides accept, `cutover undo` goes back within the short TTL",
                start + 600,
                2 * hour - 600,
                None,
                "w",
            ),
            entry(Stage::RaiseTtl, "TTL of acme.example. MX as the topology wants it", start + 2 * hour, 0, None, "r"),
            entry(
                Stage::Prune,
                "the old side keeps accepting until then; then old.acme.example. A go",
                start,
                5 * day,
                None,
                "p",
            ),
        ],
        waits: Default::default(),
        takes_back: false,
        way_back: None,
    }
}

#[test]
fn timetable_as_svg() {
    insta::assert_snapshot!(schedule_svg(&a_schedule()));
}

#[test]
fn way_back_as_svg_and_text() {
    let mut schedule = a_schedule();
    schedule.takes_back = true;
    schedule.planned = schedule.start;
    schedule.entries.retain(|e| e.stage == cutover::model::cutover::Stage::FlipMx);
    let svg = schedule_svg(&schedule);
    assert!(svg.contains("swap back") && !svg.contains("window begins"), "{svg}");
}
