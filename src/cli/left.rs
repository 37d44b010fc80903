//! What an apply that did not come to its end has left to do.

use std::collections::BTreeMap;

use super::failure::Failure;
use crate::journal::{Saved, Status, replay};
use crate::model::cutover::{Entry, Stage};
use crate::model::plan::Plan;
use crate::model::step::StepId;

/// Whether a step concerns people who move.
pub fn moves(plan: &Plan, step: StepId) -> bool {
    plan.steps.get(step as usize).is_some_and(|s| s.address.host.is_cohort())
}

/// All that is left of a window waits for the end of its old side: nobody else has to wait for it.
pub fn left_to_prune(saved: &Saved) -> Result<bool, Failure> {
    left_to(saved, &[Stage::Prune])
}

/// All that is left of a window comes behind its swap, and waits for a time to live: people need not wait with it.
pub fn left_behind_swap(saved: &Saved) -> Result<bool, Failure> {
    left_to(saved, &[Stage::RaiseTtl, Stage::Prune])
}

fn left_to(saved: &Saved, stages: &[Stage]) -> Result<bool, Failure> {
    let Some(schedule) = saved.plan.schedule.as_ref().filter(|s| !s.takes_back) else { return Ok(false) };
    let standing = replay(saved)?;
    Ok(standing.resumable() && is_left(&schedule.entries, &standing.statuses, stages))
}

fn is_left(entries: &[Entry], statuses: &[Status], stages: &[Stage]) -> bool {
    let later = entries.iter().filter(|e| stages.contains(&e.stage));
    let later: BTreeMap<StepId, Stage> = later.flat_map(|e| e.steps.iter().map(|id| (*id, e.stage))).collect();
    let done = |(id, status): (usize, &Status)| match (status, later.get(&(id as StepId))) {
        (Status::Done, _) | (_, Some(Stage::Prune)) | (Status::Waiting, Some(_)) => true,
        // What was begun and has no end is asked about first.
        _ => false,
    };
    statuses.iter().enumerate().all(done)
}

/// All that is not done is people who are still to be moved: they need not be moved to be taken back.
pub fn left_to_waves(saved: &Saved) -> Result<bool, Failure> {
    let standing = replay(saved)?;
    let left = |(id, status): (usize, &Status)| *status == Status::Done || moves(&saved.plan, id as StepId);
    Ok(standing.statuses.iter().enumerate().all(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_behind_the_swap_lets_others_go_on() {
        let stages = [Stage::LowerTtl, Stage::FlipMx, Stage::Verify, Stage::RaiseTtl, Stage::Prune];
        let entry = |(n, stage): (usize, &Stage)| Entry {
            zone: "acme.example".into(),
            stage: *stage,
            what: String::new(),
            begins: 0,
            ends: 0,
            latest: None,
            why: String::new(),
            steps: vec![n as StepId],
        };
        let entries: Vec<Entry> = stages.iter().enumerate().map(entry).collect();
        let left = |done: usize, stages: &[Stage]| {
            let statuses: Vec<Status> = (0..5).map(|n| if n < done { Status::Done } else { Status::Waiting }).collect();
            is_left(&entries, &statuses, stages)
        };
        let tail = [Stage::RaiseTtl, Stage::Prune];
        assert_eq!([1, 2, 3, 4].map(|done| left(done, &tail)), [false, false, true, true]);
        assert_eq!([2, 3, 4].map(|done| left(done, &[Stage::Prune])), [false, false, true]);
        let unknown = [Status::Done, Status::Done, Status::Done, Status::Unknown, Status::Waiting];
        assert!(!is_left(&entries, &unknown, &tail), "it may be on its way");
    }
}
