//! Going back on scripted hosts: an undo is a plan like any other, and dies and resumes like any other.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover::execution::ApplyError;
use cutover::journal::replay;
use cutover::model::plan::Plan;
use cutover::model::step::Undo;
use cutover::planning::{UndoInput, undo};
use cutover::providers::scripted::Fault;

use crate::execution_crash::{Dice, scenario};
use crate::execution_world::Bench;

/// Resources of all hosts, without commands, which do not go back, and without reloads that a stopped service is still asked for.
fn resources(b: &Bench) -> String {
    let state = b.state();
    let lines = state.lines().filter(|l| !l.contains(" ran ") && !l.contains("command:") && !l.contains(" pending "));
    lines.collect::<Vec<_>>().join("\n")
}

fn way_back(b: &Bench, apply: &str) -> Plan {
    let saved = b.journal().load(apply).expect("reads").expect("is there");
    let standing = replay(&saved).expect("legal");
    let outcomes = standing.outcomes.into_iter().enumerate().filter_map(|(i, o)| Some((i as u32, o?))).collect();
    let observed = b.observe();
    undo(&UndoInput { apply, plan: &saved.plan, outcomes: &outcomes, observed: &observed, now: 0 })
}

#[test]
fn do_then_undo_is_as_if_nothing_had_happened() {
    for seed in 0..60 {
        let (s, world) = scenario(seed);
        let mut b = Bench::new(s.site, world);
        let before = resources(&b);
        let plan = b.plan();
        if plan.is_empty() {
            continue;
        }
        assert!(b.apply(&plan, "a1").is_success());
        let back = way_back(&b, "a1");
        assert!(!back.blocked(), "{:?}", back.notes);
        let restores = plan.steps.iter().any(|s| matches!(s.undo, Undo::Restores(_)));
        assert_ne!(restores, back.is_empty());
        let report = b.apply(&back, "u1");
        assert!(report.is_success() || back.is_empty(), "seed {seed}: {report:?}");
        assert_eq!(resources(&b), before, "seed {seed}");
    }
}

#[test]
fn an_undo_that_is_killed_goes_on() {
    let every = std::env::var("CUTOVER_UNDO_CRASHES").ok().and_then(|v| v.parse().ok()).unwrap_or(300u64);
    for n in 0..every {
        let mut dice = Dice(n ^ 0x0d0);
        let (s, mut world) = scenario(n / 10);
        world.ghost = dice.below(8) as u32;
        let mut b = Bench::new(s.site, world);
        let before = resources(&b);
        let plan = b.plan();
        if plan.is_empty() {
            continue;
        }
        assert!(b.apply(&plan, "a1").is_success());
        let back = way_back(&b, "a1");
        if back.is_empty() {
            continue;
        }
        let when = 1 + dice.below(back.steps.len() * 12) as u64;
        let fault = match dice.below(3) {
            0 => Fault::KillController,
            1 => Fault::KillBoth,
            _ => Fault::Reboot { seconds: 30 },
        };
        b.hosts.world().restart(BTreeMap::from([(when, fault)]));
        let mut last = b.try_apply(&back, "u1");
        let mut again = 0;
        while !matches!(&last, Some(Ok(report)) if report.is_success()) {
            again += 1;
            assert!(again < 5, "case {n}: {last:?}");
            b.restart(Duration::from_secs(100), dice.one_in(2), BTreeMap::new());
            let before_that = format!("{last:?}");
            last = match (&last, b.journal().load("u1").expect("reads")) {
                // The dead man's switch went off at a reboot: that is an end, and the rest of the way is a new undo.
                (Some(Ok(report)), _) if report.left == 0 && report.unknown == 0 => {
                    let rest = way_back(&b, "a1");
                    assert!(!rest.blocked(), "case {n}: {:?}", rest.notes);
                    b.try_apply(&rest, &format!("u{again}9"))
                }
                (_, Some(_)) => b.try_resume("u1"),
                (_, None) => b.try_apply(&back, "u1"),
            };
            // Killed behind its last record: nothing was left to do.
            if matches!(last, Some(Err(ApplyError::Finished(_)))) {
                break;
            }
            assert!(!matches!(last, Some(Err(_))), "case {n}: {last:?} after {before_that}");
        }
        b.restart(Duration::from_secs(100), true, BTreeMap::new());
        assert_eq!(resources(&b), before, "case {n}");
    }
}

/// A rename carries the ledger's entry over; its undo brings the former entry back, and the undo of that the new one.
#[test]
fn an_undone_rename_has_its_former_entry_in_the_ledger() {
    let (s, world) = scenario(0);
    let mut b = Bench::new(s.site, world);
    let names = |b: &Bench| -> Vec<String> {
        let state = b.state();
        let lines = state.lines().filter(|l| l.contains(" owns dns-zone:"));
        lines.map(|l| l.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&b), ["dns-zone:acme.example@public"]);
    let plan = b.plan();
    assert!(plan.steps.iter().any(|s| s.reason.starts_with("renamed from")), "{plan:#?}");
    assert!(b.apply(&plan, "a1").is_success());
    assert_eq!(names(&b), ["dns-zone:acme.example"]);
    assert!(b.plan().is_empty());
    let back = way_back(&b, "a1");
    assert!(b.apply(&back, "u1").is_success());
    assert_eq!(names(&b), ["dns-zone:acme.example@public"]);
    let forth = way_back(&b, "u1");
    assert!(b.apply(&forth, "u2").is_success());
    assert_eq!(names(&b), ["dns-zone:acme.example"]);
}
