//! The scheduler alone: random graphs, random fates.

use std::collections::{BTreeMap, BTreeSet};

use cutover::execution::Scheduler;
use cutover::journal::Status;
use cutover::model::plan::Plan;
use cutover::model::step::{Outcome, StepId};
use proptest::prelude::*;

use crate::planning_world::{World, story};

/// A plan of `n` steps on three hosts with these edges (later from earlier) and risks.
fn plan(n: usize, edges: &[(usize, usize)], risky: &[bool]) -> Plan {
    let mut s = story();
    for i in 0..n {
        s.file(&format!("{}/x", ["a", "b", "c"][i % 3]), &format!("/etc/{i:04}"), "x");
    }
    let mut plan = s.plan(&World::default());
    for (i, step) in plan.steps.iter_mut().enumerate() {
        step.after = edges.iter().filter(|(_, later)| *later == i).map(|(early, _)| *early as StepId).collect();
        step.risky = risky[i % risky.len()];
    }
    plan
}

fn graphs() -> impl Strategy<Value = (Plan, Vec<u8>, usize, usize)> {
    (2usize..40).prop_flat_map(|n| {
        let edge = (0..n - 1).prop_flat_map(move |a| (Just(a), a + 1..n));
        let edges = proptest::collection::vec(edge, 0..n * 2);
        let risks = proptest::collection::vec(proptest::bool::weighted(0.2), 1..7);
        let fates = proptest::collection::vec(0u8..10, n);
        (edges, risks, fates, 1usize..4, 1usize..8)
            .prop_map(move |(edges, risks, fates, hosts, steps)| (plan(n, &edges, &risks), fates, hosts, steps))
    })
}

fn done() -> Outcome {
    Outcome::Done { fingerprint: None }
}

proptest! {
    #[test]
    fn every_step_ends_once_and_never_too_early((plan, fates, hosts, most) in graphs()) {
        let mut s = Scheduler::new(&plan).expect("holds together");
        let mut ended: BTreeMap<StepId, Outcome> = BTreeMap::new();
        let mut resets: BTreeSet<StepId> = BTreeSet::new();
        let mut on_way = Vec::new();
        loop {
            while let Some(pick) = s.pick(hosts, most) {
                prop_assert!(pick.steps.len() <= most && !pick.steps.is_empty());
                prop_assert!(pick.steps.is_sorted());
                prop_assert!(pick.steps.iter().all(|id| s.host_of(*id) == pick.host));
                prop_assert!(pick.steps.iter().all(|id| plan.steps[*id as usize].risky == pick.risky));
                for id in &pick.steps {
                    for before in &plan.steps[*id as usize].after {
                        let earlier = pick.steps.iter().take_while(|x| *x != id).any(|x| x == before);
                        prop_assert!(earlier || ended.get(before).is_some_and(Outcome::is_done), "{id} before {before}");
                    }
                }
                prop_assert!(on_way.iter().all(|p: &cutover::execution::Pick| p.host != pick.host), "one batch a host");
                on_way.push(pick);
                prop_assert!(on_way.len() <= hosts);
            }
            let Some(pick) = on_way.pop() else { break };
            for id in &pick.steps {
                s.start(*id).expect("waits");
            }
            let mut fell = BTreeSet::new();
            for id in &pick.steps {
                let blocked = plan.steps[*id as usize].after.iter().find(|b| fell.contains(*b));
                let outcome = match (blocked, fates[*id as usize]) {
                    (Some(because), _) => Outcome::Skipped { because: *because },
                    (None, 0) => Outcome::Failed { code: 1, output: String::new() },
                    (None, 1) => Outcome::Unknown { why: String::new() },
                    // Once not done, then done: the host was lost and asked.
                    (None, 2) if resets.insert(*id) => {
                        fell.insert(*id);
                        for (skipped, o) in s.reset(*id).expect("started") {
                            prop_assert!(ended.insert(skipped, o).is_none());
                        }
                        continue;
                    }
                    _ => done(),
                };
                if let (Outcome::Skipped { because }, true) = (&outcome, blocked.is_some_and(|b| resets.contains(b) && s.status(*b) == Status::Waiting)) {
                    // Its predecessor in the batch was lost with it: it is asked about and may run later.
                    let _ = because;
                    fell.insert(*id);
                    resets.insert(*id);
                    for (skipped, o) in s.reset(*id).expect("started") {
                        prop_assert!(ended.insert(skipped, o).is_none());
                    }
                    continue;
                }
                if !outcome.is_done() {
                    fell.insert(*id);
                }
                let skipped = s.end(*id, &outcome).expect("legal");
                prop_assert!(ended.insert(*id, outcome).is_none(), "{id} ended twice");
                for (id, o) in skipped {
                    prop_assert!(ended.insert(id, o).is_none(), "{id} ended twice");
                }
            }
            s.release(pick.host);
        }
        for step in &plan.steps {
            let outcome = ended.get(&step.id);
            prop_assert!(outcome.is_some(), "step {} never ended", step.id);
            // Only what stands on something that is not done is left out.
            let stands = step.after.iter().all(|b| ended[b].is_done());
            let skipped = matches!(outcome, Some(Outcome::Skipped { .. }));
            prop_assert_eq!(skipped, !stands, "step {}", step.id);
        }
    }
}

#[test]
fn plans_that_do_not_hold_together_are_refused() {
    let good = plan(4, &[(0, 2)], &[false]);
    assert!(Scheduler::new(&good).is_ok());
    let mut forward = good.clone();
    forward.steps[1].after = vec![3];
    assert!(Scheduler::new(&forward).expect_err("a cycle").to_string().contains("step 1 waits for step 3"));
    let mut stranger = good.clone();
    stranger.hosts.clear();
    assert!(Scheduler::new(&stranger).is_err());
    let mut ids = good;
    ids.steps.swap(0, 1);
    assert!(Scheduler::new(&ids).is_err());
}

#[test]
fn hosts_take_turns_within_the_limit() {
    let plan = plan(9, &[], &[false]);
    let mut s = Scheduler::new(&plan).expect("holds together");
    let first = s.pick(2, 1).expect("one");
    let second = s.pick(2, 1).expect("two");
    assert_ne!(first.host, second.host);
    assert_eq!(s.pick(2, 1), None, "two hosts at most");
    s.release(first.host);
    let third = s.pick(2, 1).expect("three");
    assert!(third.host != first.host && third.host != second.host, "the third host comes before the first again");
}
