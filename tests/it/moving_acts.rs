//! What a window does for its people beside the move: notices before the first wave, then the check, and nobody held at its end. Each step
//! waits until it is so, for as long as it may take; a resume asks again, and no notice goes out twice.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cutover::cli::moving::Desk;
use cutover::cli::notices::sending::Way;
use cutover::cli::notices::{Course, Post};
use cutover::cli::triggers::Probes;
use cutover::execution::Wanted;
use cutover::journal::StateDir;
use cutover::language;
use cutover::model::act::{Act, Doing, OnTimeout};
use cutover::model::host::{CohortAccess, Opening, Reach};
use cutover::model::step::Action;
use cutover::model::trigger::{Condition, Probe, Target, Transaction, Trigger, WayBack};
use cutover::moving::standing::State;
use cutover::people;
use cutover::secret::Resolver;
use cutover::services::cms::ledger::Phase;

use crate::moving_people::{Shared, names, sound, states, world};
use crate::moving_waves::{ALL, Bench, COHORT, compiled_with, shown};

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn act(what: Doing, timeout: u64, on_timeout: OnTimeout) -> Act {
    Act { what, timeout, on_timeout }
}

/// A bench whose cohort moves in an open window with these steps, and a way back with a probe of this port.
fn bench(shared: &Shared, desk: Desk, acts: Vec<Act>, port: Option<u16>) -> Bench {
    let mut b = Bench::furnished(COHORT, shared, desk);
    b.settings.longest_wait = Duration::from_secs(30);
    let target = |port| Target { name: "new".into(), address: "127.0.0.1".into(), port, host: None, sets: Vec::new() };
    let probe = |port| Probe {
        name: "new-side".into(),
        what: Transaction::Heartbeat,
        targets: vec![target(port)],
        every: 1,
        timeout: 2_000,
        within: None,
        account: None,
        password: None,
    };
    let when = |port| Condition::Probe { probe: Box::new(probe(port)), share: None };
    let trigger = |port| Trigger { name: "down".into(), when: when(port), holds: 600, rolls_back: false };
    let back = port.map(|port| WayBack {
        point: "before".into(),
        until: now() + 86_400,
        timezone: "UTC".into(),
        restores: vec!["routes".into(), "mailbox-delta".into()],
        triggers: vec![trigger(port)],
    });
    for host in b.site.hosts.values_mut() {
        if let Reach::Cohort(c) = &mut host.reach {
            c.opening = Some(Opening {
                window: "night".into(),
                start: now() - 60,
                end: now() + 3_600,
                timezone: "UTC".into(),
                flips: true,
                acts: acts.clone(),
                way_back: back.clone(),
            });
        }
    }
    b.options.now = now();
    b
}

fn all_acts() -> Vec<Act> {
    [Doing::Notify, Doing::Verify, Doing::Open].map(|what| act(what, 20, OnTimeout::Stop)).to_vec()
}

/// The notices of the cohort of the bench, taken by a program that writes a line for each.
fn post(dir: &Path, server: &str) -> Desk {
    let start = jiff::Timestamp::from_second(now() + 7_200).unwrap().strftime("%Y-%m-%dT%H:%M").to_string();
    let users = ALL.join(" ");
    let text = format!(
        "language 1\norganization acme domain=acme.example\nsite s\nplatform p postfix=\"3.7\" dovecot=\"2.3\"\nserver new platform=p site=s\n\
         legacy old product=dovecot host=old.acme.example\npair store {{ members new; }}\nmigration away strategy=pilot from=old to=store\n\
         rollback-point before valid-for=\"7d\" {{ restores routes; }}\n\
         cutover-window night start=\"{start}\" for=\"2h\" rollback=before {{ steps notify flip-routes verify; }}\n\
         communication invite template=\"invite.hbs\" {{ audience cohort; at \"-14d\" \"-1d\" \"+1h\"; }}\n\
         cohort pilot-1 migration=away type=pilot window=night {{ notices invite; select {{ users {users}; }} }}\n"
    );
    std::fs::write(
        dir.join("invite.hbs"),
        "Subject: You move, {{{{name}}}}\n\nOn {{{{begins}}}}.\n".replace("{{{{", "{{").replace("}}}}", "}}"),
    )
    .unwrap();
    let files = BTreeMap::from([("topology.kdl".to_owned(), text.into_bytes())]);
    let compiled = language::compile_files(&files, "topology.kdl", &language::Options::default());
    let (people, _) = people::everybody(&compiled.topology, &BTreeMap::new(), &|_| Err("no lists here".into()));
    let state = StateDir::below(&dir.join("state"), "acme", None);
    let Ok(course) = Course::with(dir, &compiled.topology, &people, &state) else { panic!("no course of notices") };
    Desk { post: Some(Post::with(course, Way::program(&serve(dir, server)))), ..Desk::default() }
}

/// A mail server of a few lines: what it takes stands in `taken`.
fn serve(dir: &Path, before: &str) -> String {
    let (path, taken) = (dir.join("server"), dir.join("taken"));
    let text = format!("#!/bin/sh\nset -e\n{before}\ngrep -i '^message-id:' >> {}\n", taken.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn taken(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("taken")).unwrap_or_default();
    let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
    all.sort();
    all
}

fn probes() -> Option<Probes> {
    Some(Probes { resolver: Arc::new(Resolver::fixed([("env:NONE", "none")])), ca: "/nowhere".into() })
}

fn access(text: &str) -> CohortAccess {
    let (site, errors) = compiled_with("window=night", &ALL, text);
    assert_eq!(errors, Vec::<String>::new());
    site.hosts.values().find_map(|h| h.cohort()).unwrap().clone()
}

#[test]
fn what_the_window_says_is_what_its_cohorts_are_moved_by() {
    let window = |steps: &str| {
        format!(
            "rollback-point before valid-for=\"7d\" {{ restores routes mailbox-delta; }}\n\
             cutover-window night start=\"2027-03-07T22:00\" for=\"2h\" rollback=before {{ {steps} }}\n"
        )
    };
    let c = access(&window(
        "steps notify freeze-source final-delta flip-routes verify open\nstep notify timeout=\"1m\"\nstep verify timeout=\"5m\"\n\
         step open timeout=\"2m\" on-timeout=continue\nstep final-delta timeout=\"30s\"\nstep flip-routes timeout=\"10s\"",
    ));
    let opening = c.opening.unwrap();
    assert!(opening.flips);
    assert_eq!(
        opening.acts,
        [
            act(Doing::Notify, 60, OnTimeout::Stop),
            act(Doing::Verify, 300, OnTimeout::Rollback),
            act(Doing::Open, 120, OnTimeout::Continue)
        ]
    );
    assert_eq!((c.longest_hold, c.together), (Some(40), 5), "all at once, and for no longer than its steps take");
    let c = access(&window("steps final-delta verify"));
    let opening = c.opening.unwrap();
    assert!(!opening.flips, "it moves nobody");
    assert_eq!(opening.acts, [act(Doing::Verify, 600, OnTimeout::Stop)]);
    assert_eq!((c.longest_hold, c.together), (None, 8));
    assert!(access(&window("")).opening.unwrap().flips, "a window that lists no steps moves as before");
}

/// All of the wave are held together; one mailbox does not get through in the time that logins may wait.
#[tokio::test]
async fn in_a_frozen_wave_one_slow_mailbox_stays_and_the_others_are_let_in_on_the_new_side() {
    for (may_fail, goes_on) in [(1, true), (0, false)] {
        let shared = world(&ALL, Phase::Delta);
        shared.0.lock().unwrap().stuck.insert("dana@acme.example".into());
        let mut b = Bench::new("wave-size=5", &shared);
        for host in b.site.hosts.values_mut() {
            if let Reach::Cohort(c) = &mut host.reach {
                (c.together, c.longest_hold, c.may_fail) = (ALL.len(), Some(2), may_fail);
            }
        }
        let began = std::time::Instant::now();
        let report = b.apply("a1").await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(report.is_success(), goes_on, "{report:?}");
        let now = states(&shared, &names(&ALL)).await;
        assert_eq!(now, [State::Moved, State::Moved, State::Moved, State::Ready, State::Moved]);
        assert_eq!(b.crews.stayed("pilot-1"), [("1".to_owned(), 1, 5)]);
        sound(&shared, "one is slow");
        shared.0.lock().unwrap().stuck.clear();
        assert!(b.apply("a2").await.is_success());
        assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
        assert!(shared.0.lock().unwrap().finals.values().all(|n| *n == 1), "each went once");
    }
}

/// A last pass that ends after its time leaves somebody astray on the old side: one of those who stayed, and no reason to take the night back.
#[tokio::test]
async fn whose_last_pass_ended_too_late_has_stayed_and_moves_with_the_next_apply() {
    let shared = world(&ALL, Phase::Delta);
    {
        let mut w = shared.0.lock().unwrap();
        w.stuck.insert("dana@acme.example".into());
        w.late = true;
    }
    let mut b = bench(&shared, Desk::default(), vec![act(Doing::Verify, 3, OnTimeout::Rollback)], None);
    for host in b.site.hosts.values_mut() {
        if let Reach::Cohort(c) = &mut host.reach {
            (c.longest_hold, c.may_fail) = (Some(2), 1);
        }
    }
    let report = b.apply("a1").await;
    assert!(report.is_success(), "{report:?}");
    assert_eq!(
        states(&shared, &names(&ALL)).await,
        [State::Moved, State::Moved, State::Moved, State::Astray, State::Moved]
    );
    shared.0.lock().unwrap().stuck.clear();
    assert!(b.apply("a2").await.is_success());
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
}

/// Told to end, it ends between two messages: none is in doubt, and the next run sends the others.
#[tokio::test]
async fn a_stop_ends_the_notices_between_two_messages() {
    let shared = world(&ALL, Phase::Delta);
    let dir = tempfile::tempdir().unwrap();
    let acts = vec![act(Doing::Notify, 30, OnTimeout::Stop)];
    let b = bench(&shared, post(dir.path(), "sleep 0.4"), acts, None);
    let plan = b.plan().await;
    let (report, ()) = tokio::join!(b.try_apply(&plan, "a1", None), async {
        while taken(dir.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        b.wanted.send(Wanted::Drain).unwrap();
    });
    let report = report.unwrap();
    assert!(report.interrupted && report.done == 0, "{report:?}");
    let some = taken(dir.path()).len();
    assert!((1..5).contains(&some), "{some} of 5 went out");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Ready; 5]);
    b.wanted.send(Wanted::Run).unwrap();
    let report = b.resume("a1").await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(taken(dir.path()).len(), 5, "none was in doubt");
}

#[tokio::test]
async fn a_window_without_flip_routes_moves_nobody() {
    let shared = world(&ALL, Phase::Delta);
    let mut b = bench(&shared, Desk::default(), Vec::new(), None);
    for host in b.site.hosts.values_mut() {
        if let Reach::Cohort(c) = &mut host.reach {
            c.opening.as_mut().unwrap().flips = false;
        }
    }
    let plan = b.plan().await;
    assert!(
        plan.blocked() && plan.notes.iter().any(|n| n.text.contains("has no step flip-routes")),
        "{:?}",
        plan.notes
    );
}

#[tokio::test]
async fn people_are_told_then_moved_then_looked_after() {
    let shared = world(&ALL, Phase::Delta);
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = Desk { probes: probes(), ..post(dir.path(), "") };
    let b = bench(&shared, desk, all_acts(), Some(listener.local_addr().unwrap().port()));
    let mut plan = b.plan().await;
    b.crews.tell(&mut plan);
    assert!(plan.notes.iter().any(|n| n.text.contains("5 notices to and about cohort pilot-1 go out first")));
    assert_eq!(
        shown(&plan),
        [
            "wait cohort.pilot-1/barrier:night/notify",
            "move cohort.pilot-1/wave:canaries",
            "move cohort.pilot-1/wave:1",
            "move cohort.pilot-1/wave:2",
            "wait cohort.pilot-1/barrier:night/verify",
            "wait cohort.pilot-1/barrier:night/open"
        ]
    );
    for (id, step) in plan.steps.iter().enumerate() {
        assert_eq!(step.id as usize, id);
        assert!(id == 0 || step.after.contains(&(id as u32 - 1)), "{id}: {:?}", step.after);
    }
    let report = b.try_apply(&plan, "a1", None).await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(taken(dir.path()).len(), 5);
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
    // Back: what only waited has nothing to take back.
    let back = b.undo_plan("a1").await;
    assert!(!back.blocked() && back.steps.iter().all(|s| s.action == Action::Restore), "{:?}", shown(&back));
}

#[tokio::test]
async fn who_cannot_be_told_is_not_moved_until_they_are() {
    let shared = world(&ALL, Phase::Delta);
    let dir = tempfile::tempdir().unwrap();
    let acts = vec![act(Doing::Notify, 6, OnTimeout::Stop), act(Doing::Verify, 10, OnTimeout::Stop)];
    let b = bench(&shared, post(dir.path(), "echo full >&2; exit 75"), acts, None);
    let plan = b.plan().await;
    let report = b.try_apply(&plan, "a1", None).await.unwrap();
    let why = report.shut.values().next().cloned().unwrap_or_default();
    assert!(why.contains("notify is not done after 6 s: 5 notices were not taken"), "{report:?}");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Ready; 5]);
    serve(dir.path(), "");
    let report = b.resume("a1").await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((taken(dir.path()).len(), states(&shared, &names(&ALL)).await), (5, vec![State::Moved; 5]));
}

#[tokio::test]
async fn a_check_that_does_not_pass_in_time_ends_the_run_and_a_resume_asks_again() {
    for (on_timeout, goes_on) in [(OnTimeout::Stop, false), (OnTimeout::Rollback, false), (OnTimeout::Continue, true)] {
        let shared = world(&ALL, Phase::Delta);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let desk = Desk { probes: probes(), ..Desk::default() };
        let b = bench(&shared, desk, vec![act(Doing::Verify, 1, on_timeout)], Some(port));
        let plan = b.plan().await;
        let report = b.try_apply(&plan, "a1", None).await.unwrap();
        assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5], "it is looked at after the move");
        assert_eq!(report.is_success(), goes_on, "{on_timeout:?}: {report:?}");
        let Some((id, why)) = report.shut.iter().next() else { continue };
        assert!(why.contains("verify is not done after 1 s: probe new-side: heartbeat of new"), "{why}");
        let asked = cutover::catalog::barrier::of_attrs(&plan.steps[*id as usize].attrs).unwrap();
        assert_eq!(asked.rolls_back, on_timeout == OnTimeout::Rollback);
        let _open = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        assert!(b.resume("a1").await.unwrap().is_success());
    }
}

/// Dropped at any moment, also while a message is on its way: each message is taken once at most, and what is in doubt keeps nobody waiting.
#[tokio::test]
async fn a_run_that_is_cut_off_tells_nobody_twice() {
    for cut in [50, 150, 250, 400, 700] {
        let shared = world(&ALL, Phase::Delta);
        let dir = tempfile::tempdir().unwrap();
        let b = bench(&shared, post(dir.path(), "sleep 0.1"), vec![act(Doing::Notify, 30, OnTimeout::Stop)], None);
        let plan = b.plan().await;
        let whole = tokio::time::timeout(Duration::from_millis(cut), b.try_apply(&plan, "a1", None)).await;
        if whole.is_err() {
            b.disk.revive();
            let report = b.resume("a1").await;
            let report = match report {
                Ok(report) => report,
                // Cut before its begin was written: it is begun anew.
                Err(_) => b.try_apply(&plan, "a2", None).await.unwrap(),
            };
            assert!(report.is_success(), "cut at {cut}: {report:?}");
        }
        let all = taken(dir.path());
        let mut once = all.clone();
        once.dedup();
        assert_eq!(all, once, "cut at {cut}");
        assert!(all.len() >= 4, "cut at {cut}: at most one is in doubt: {all:?}");
        assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5], "cut at {cut}");
        sound(&shared, &format!("cut at {cut}"));
    }
}
