//! Waits of an apply: never shorter than they are, never begun anew by a crash, heard by Ctrl-C.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover::catalog::barrier;
use cutover::execution::{Clock as _, Wanted};
use cutover::model::Kind;
use cutover::model::cutover::{Schedule, Since, Wait};
use cutover::model::event::What;
use cutover::model::plan::Plan;
use cutover::model::step::{Action, Outcome, Undo};
use cutover::providers::scripted::{Fault, World};

use crate::execution_world::{Bench, START};
use crate::planning_world::story;

const SECOND: i64 = 1_000;

/// A change, its barrier, and a change that waits 300 s from there, and at least until `opens`.
fn waiting(opens: i64, not_after: Option<i64>) -> (Bench, Plan) {
    let mut s = story();
    s.file("a/dns", "/etc/one", "1\n");
    s.file("a/dns", "/etc/two", "2\n").after("server.a/file:/etc/one");
    let mut world = World::default();
    world.host("a");
    let mut site = s.site;
    site.hosts.insert("a".into(), super::planning_world::access("a"));
    let bench = Bench::new(site, world);
    let mut plan = bench.plan();
    assert_eq!(plan.steps.len(), 2);
    let mut swap = plan.steps.pop().expect("a step");
    let mut wait = plan.steps[0].clone();
    wait.id = 1;
    wait.address.kind = Kind::DnsZone;
    wait.address.key = "served".into();
    (wait.action, wait.expect, wait.undo, wait.after) = (Action::Wait, None, Undo::Nothing, vec![0]);
    wait.attrs.clear();
    (swap.id, swap.after) = (2, vec![1]);
    plan.steps.extend([wait, swap]);
    let wait = Wait {
        not_before: Some(START / SECOND + opens),
        since: vec![Since { step: 1, seconds: 300 }],
        not_after: not_after.map(|at| START / SECOND + at),
        reason: "the old TTL runs out".into(),
    };
    plan.schedule = Some(Schedule {
        window: "night".into(),
        rollback: "back".into(),
        start: START / SECOND + opens,
        end: START / SECOND + 10_000,
        timezone: "UTC".into(),
        planned: START / SECOND,
        entries: vec![],
        waits: BTreeMap::from([(2, wait)]),
        takes_back: false,
        way_back: None,
    });
    (bench, plan)
}

/// Unix milliseconds at which a step began and ended, by all events so far.
fn began(bench: &Bench, step: u32) -> Option<i64> {
    bench.events.iter().find(|e| matches!(&e.what, What::StepStarted { step: s, .. } if *s == step)).map(|e| e.at)
}

fn ended(bench: &Bench, step: u32) -> Option<i64> {
    bench.events.iter().find(|e| matches!(&e.what, What::StepEnded { step: s, .. } if *s == step)).map(|e| e.at)
}

#[test]
fn a_step_begins_when_its_time_has_come_and_the_watcher_is_told() {
    for (opens, from_start) in [(0, false), (1_000, true)] {
        let (mut bench, plan) = waiting(opens, None);
        let report = bench.apply(&plan, "w");
        assert!(report.is_success(), "{report:?}");
        let (served, begun) = (ended(&bench, 1).expect("served"), began(&bench, 2).expect("begun"));
        let opened = if from_start { START + 1_000 * SECOND } else { (served / SECOND + 301) * SECOND };
        assert!((opened..opened + 2 * SECOND).contains(&begun), "{begun} beside {opened}");
        let told: Vec<_> = bench.events.iter().filter(|e| matches!(e.what, What::Waiting { step: 2, .. })).collect();
        assert!(told.len() > 3, "told at the beginning and every minute: {told:?}");
        // The moment stands in the outcome, so that a resume counts from it.
        let Some(Outcome::Done { fingerprint: Some(f) }) = report.outcomes.get(&1) else { panic!("{report:?}") };
        assert_eq!(barrier::moment(f), Some(served / SECOND + 1));
    }
}

#[test]
fn a_crash_in_a_wait_costs_no_second_wait_and_shortens_none() {
    let (before, ticks) = {
        let (mut bench, plan) = waiting(0, None);
        let before = bench.hosts.world().ticks;
        bench.apply(&plan, "w");
        (before, bench.hosts.world().ticks)
    };
    assert!(ticks > before + 30, "heartbeats of the wait are among the {ticks}");
    for kill in before + 1..ticks {
        for fault in [Fault::KillController, Fault::KillBoth] {
            let (mut bench, plan) = waiting(0, None);
            bench.hosts.world().faults.insert(kill, fault.clone());
            assert!(bench.try_apply(&plan, "w").is_none(), "killed at tick {kill}");
            let (killed, served) = (bench.clock.now(), ended(&bench, 1));
            bench.restart(Duration::from_secs(40), true, BTreeMap::new());
            // Nothing was begun when it was killed before the journal had the apply.
            let Some(Ok(report)) = bench.try_resume("w") else { continue };
            assert!(report.is_success(), "{kill}: {report:?}");
            // Done before the kill, and told to nobody but the host.
            let begun = began(&bench, 2).unwrap_or(killed);
            // Its end may have been told to nobody but the host: then the outcome says when.
            let Some(Outcome::Done { fingerprint: Some(f) }) = report.outcomes.get(&1) else { panic!("{report:?}") };
            let served = served.unwrap_or_else(|| barrier::moment(f).expect("a moment") * SECOND);
            assert!(begun >= (served / SECOND + 300) * SECOND, "tick {kill}: {} s after", (begun - served) / SECOND);
            // From the first barrier on the wait goes on while nobody is there; before it, it is counted from the resume.
            let late = if killed > served { served } else { killed + 40 * SECOND };
            assert!(begun <= late + 345 * SECOND, "tick {kill}: waited anew, {} s", (begun - late) / SECOND);
        }
    }
}

#[test]
fn a_long_wait_ends_the_run_and_a_resume_goes_on_when_it_is_over() {
    let (mut bench, plan) = waiting(5_000, None);
    let report = bench.apply(&plan, "w");
    let waits = report.waits.clone().expect("it says what it waits for");
    assert_eq!((waits.step, waits.until, report.left, report.done), (2, Some(START / SECOND + 5_000), 1, 2));
    assert!(bench.observe().hosts[&"a".into()].lease.is_none(), "the lease is free meanwhile");
    bench.restart(Duration::from_secs(10), true, BTreeMap::new());
    assert!(bench.resume("w").waits.is_some(), "still too early");
    bench.restart(Duration::from_secs(4_800), true, BTreeMap::new());
    assert!(bench.resume("w").is_success());
    assert!(began(&bench, 2).expect("begun") >= START + 5_000 * SECOND);
}

#[test]
fn what_cannot_end_in_time_is_not_begun() {
    let (mut bench, plan) = waiting(0, Some(200));
    let report = bench.apply(&plan, "w");
    assert!(bench.clock.now() < START + 100 * SECOND, "it is said at once, not after the wait");
    let Some(Outcome::Failed { output, .. }) = report.outcomes.get(&2) else { panic!("{report:?}") };
    assert!(output.contains("could not end in time") && output.contains("cutover undo"), "{output}");
    assert_eq!(began(&bench, 2), None);
}

#[test]
fn ctrl_c_ends_a_wait_and_leaves_it_to_resume() {
    let (mut bench, plan) = waiting(0, None);
    bench.wanted.send_replace(Wanted::Drain);
    let report = bench.apply(&plan, "w");
    assert!(report.interrupted && report.left > 0, "{report:?}");
    bench.wanted.send_replace(Wanted::Run);
    bench.restart(Duration::from_secs(1), true, BTreeMap::new());
    assert!(bench.resume("w").is_success());
}
