//! Triggers of a way back in an apply that moves people: a share that does not arrive, and a probe of a real port. The automatic way back is cut
//! off at every order and at every record of the journal, and ends where everybody was before. Gates and content service are in memory.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cutover::cli::triggers::{Eyes, Probes};
use cutover::execution::{self, Fired, Report, SystemClock, Wanted, Watch};
use cutover::journal::replay;
use cutover::model::host::{Opening, Reach};
use cutover::model::plan::Plan;
use cutover::model::trigger::{Condition, Probe, Target, Transaction, Trigger, WayBack};
use cutover::moving::standing::State;
use cutover::secret::Resolver;
use cutover::services::cms::ledger::Phase;
use tokio::sync::watch;

use crate::moving_people::{Shared, mail_comes, names, sound, states, world};
use crate::moving_waves::{ALL, Bench};

const COHORT: &str = "canaries=1 canary-soak=\"0s\" wave-size=2";

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn trigger(when: Condition, rolls_back: bool) -> Trigger {
    Trigger { name: "lost".into(), when, holds: 0, rolls_back }
}

/// 20% of a wave.
fn failed(rolls_back: bool) -> Trigger {
    trigger(Condition::Failed { share: 20_000_000 }, rolls_back)
}

fn probe(port: u16, rolls_back: bool) -> Trigger {
    let target = Target { name: "new".into(), address: "127.0.0.1".into(), port, host: None, sets: Vec::new() };
    let probe = Probe {
        name: "new-side".into(),
        what: Transaction::Heartbeat,
        targets: vec![target],
        every: 1,
        timeout: 2_000,
        within: None,
        account: None,
        password: None,
    };
    trigger(Condition::Probe { probe: Box::new(probe), share: None }, rolls_back)
}

/// A bench whose cohort moves in a window with this way back; anybody may fail without the wave failing by itself.
fn bench(cohort: &str, shared: &Shared, triggers: Vec<Trigger>, until: i64) -> Bench {
    let mut b = Bench::new(cohort, shared);
    let restores = vec!["routes".to_owned(), "mailbox-delta".to_owned()];
    let back = WayBack { point: "before".into(), until, timezone: "UTC".into(), restores, triggers };
    for host in b.site.hosts.values_mut() {
        if let Reach::Cohort(c) = &mut host.reach {
            c.may_fail = 5;
            c.opening = Some(Opening {
                window: "night".into(),
                start: now() - 60,
                end: now() + 3_600,
                timezone: "UTC".into(),
                flips: true,
                acts: Vec::new(),
                way_back: Some(back.clone()),
            });
        }
    }
    b.options.now = now();
    b
}

/// An apply with its triggers, as the command line carries it out.
async fn go(b: &Bench, plan: &Plan, apply: &str) -> (Report, Option<Fired>) {
    let journal = b.journal();
    b.crews.count_since(None).unwrap();
    let eyes = Eyes {
        crews: Arc::clone(&b.crews),
        probes: Probes { resolver: Arc::new(Resolver::fixed([("env:NONE", "none")])), ca: "/nowhere".into() },
        alerts: Arc::default(),
    };
    let watch = Watch::of(plan, &eyes, &SystemClock, &journal, apply, false).unwrap();
    let (stop, wanted) = watch::channel(Wanted::Run);
    b.crews.heed(wanted.clone());
    let mut run = b.run(&journal);
    run.events = watch.hear(run.events);
    run.wanted = wanted;
    let identity = b.identity();
    let apply = execution::apply(run, plan, apply, &identity, None);
    let (report, fired) = watch.over(apply, &stop, &|_| {}).await.unwrap();
    let fired = match fired {
        None => watch.settle(&|_| {}).await.unwrap(),
        fired => fired,
    };
    b.crews.heed(b.wanted.subscribe());
    (report.unwrap(), fired)
}

/// What `cutover resume` does: an apply whose trigger fired is taken back, any other goes on.
async fn resumed(b: &Bench) -> Option<Report> {
    static N: AtomicUsize = AtomicUsize::new(0);
    let journal = b.journal();
    let last = journal.history().unwrap().pop().unwrap().header.apply;
    let standing = replay(&journal.load(&last).unwrap().unwrap()).unwrap();
    if standing.goes_back.is_some() {
        return Some(b.undo(&last, &format!("r{}", N.fetch_add(1, Ordering::SeqCst))).await);
    }
    match standing.resumable() {
        true => Some(b.resume(&last).await.unwrap()),
        false => None,
    }
}

async fn nobody_has_moved(shared: &Shared, at: &str) {
    let all = states(shared, &names(&ALL)).await;
    assert!(!all.contains(&State::Moved) && !all.contains(&State::Held), "{at}: {all:?}");
    sound(shared, at);
}

fn broken() -> Shared {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().broken.insert("bob@acme.example".into());
    shared
}

#[tokio::test]
async fn a_share_that_does_not_arrive_takes_the_apply_back_and_a_second_attempt_goes_through() {
    let shared = broken();
    let b = bench(COHORT, &shared, vec![failed(true)], now() + 3_600);
    let plan = b.plan().await;
    assert!(
        plan.notes.iter().any(|n| n.text.contains("when 20% of a wave do not arrive, what was done is taken back"))
    );
    let (_, fired) = go(&b, &plan, "a1").await;
    let fired = fired.unwrap();
    assert_eq!((fired.point.as_str(), fired.trigger.as_str(), fired.rolls_back), ("before", "lost", true));
    assert!(fired.why.contains("1 of 2 people of wave 1 did not arrive"), "{fired:?}");
    assert!(states(&shared, &names(&ALL)).await.contains(&State::Moved), "somebody had moved by then");
    mail_comes(&shared);
    shared.0.lock().unwrap().broken.clear();
    assert!(resumed(&b).await.unwrap().is_success());
    nobody_has_moved(&shared, "taken back").await;
    assert!(shared.0.lock().unwrap().only.values().all(|(_, new)| *new == 0), "mail stayed on the new side");
    assert_eq!(resumed(&b).await, None, "there is nothing left to do");
    let (report, fired) = go(&b, &b.plan().await, "a3").await;
    assert!(report.is_success() && fired.is_none(), "{report:?} {fired:?}");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
    sound(&shared, "second attempt");
}

#[tokio::test]
async fn a_probe_that_fails_while_canaries_are_watched_stops_and_a_resume_goes_on() {
    for rolls_back in [false, true] {
        let shared = world(&ALL, Phase::Delta);
        shared.0.lock().unwrap().mailboxes.get_mut("ann@acme.example").unwrap().changed = (now() + 1) * 1_000;
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        let mut b = bench(
            "canaries=1 canary-soak=\"6s\" wave-size=4",
            &shared,
            vec![probe(address.port(), rolls_back)],
            now() + 3_600,
        );
        b.settings.longest_wait = Duration::from_secs(60);
        let plan = b.plan().await;
        let ((report, fired), ()) = tokio::join!(go(&b, &plan, "a1"), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(port);
        });
        let fired = fired.unwrap();
        assert!(fired.why.contains("probe new-side: heartbeat of new"), "{fired:?}");
        assert!(!report.is_success() && report.failed == 0, "{report:?}");
        assert_eq!(states(&shared, &names(&ALL)).await[0], State::Moved, "the canary had moved");
        let _port = TcpListener::bind(address).unwrap();
        assert!(resumed(&b).await.unwrap().is_success());
        match rolls_back {
            true => nobody_has_moved(&shared, "by a probe").await,
            false => assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]),
        }
        sound(&shared, "a probe");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_or_is_over_fires_nothing() {
    let unasked = || trigger(Condition::Unasked { what: "nobody evaluates it".into() }, true);
    for (triggers, until) in [(vec![failed(true)], now() - 1), (vec![unasked()], now() + 3_600)] {
        let shared = broken();
        let b = bench(COHORT, &shared, triggers, until);
        let (_, fired) = go(&b, &b.plan().await, "a1").await;
        assert_eq!(fired, None);
        let moved = states(&shared, &names(&ALL)).await.into_iter().filter(|s| *s == State::Moved).count();
        assert_eq!(moved, 4);
    }
}

/// The operator is killed before each order of the way back.
#[tokio::test]
async fn an_automatic_way_back_killed_at_any_order_ends_where_everybody_was() {
    let mut at = 0;
    loop {
        let shared = broken();
        let b = bench("canaries=1 canary-soak=\"0s\" wave-size=4", &shared, vec![failed(true)], now() + 3_600);
        let (_, fired) = go(&b, &b.plan().await, "a1").await;
        assert!(fired.is_some_and(|f| f.rolls_back));
        mail_comes(&shared);
        {
            let mut w = shared.0.lock().unwrap();
            w.broken.clear();
            (w.orders, w.killed) = (0, Some(at));
        }
        let whole = tokio::select! {
            report = resumed(&b) => report,
            () = shared.1.notified() => None,
        };
        shared.0.lock().unwrap().killed = None;
        sound(&shared, &format!("killed at {at}"));
        if whole.is_some() {
            assert!(at > 5, "{at}");
            break;
        }
        b.disk.revive();
        assert!(resumed(&b).await.unwrap().is_success(), "killed at {at}");
        nobody_has_moved(&shared, &format!("killed at {at}")).await;
        at += 1;
    }
}

/// The journal ends at any of its records from the trigger on.
#[tokio::test]
async fn an_automatic_way_back_with_a_torn_journal_ends_where_everybody_was() {
    let shared = broken();
    let b = bench(COHORT, &shared, vec![failed(true)], now() + 3_600);
    let (_, fired) = go(&b, &b.plan().await, "a1").await;
    assert!(fired.is_some());
    shared.0.lock().unwrap().broken.clear();
    assert!(resumed(&b).await.unwrap().is_success());
    let (ends, mut seen) = (b.disk.frame_ends(), 0);
    for end in ends.iter().rev() {
        b.disk.truncate(*end);
        let journal = b.journal();
        let first = replay(&journal.load("a1").unwrap().unwrap()).unwrap();
        if first.goes_back.is_none() {
            break;
        }
        seen += 1;
        if let Some(report) = resumed(&b).await {
            assert!(report.is_success(), "{end}: {report:?}");
        }
        nobody_has_moved(&shared, &format!("cut at {end}")).await;
        b.disk.truncate(*end);
    }
    assert!(seen > 5, "{seen} records of {}", ends.len());
}
