//! What an apply that did not come to its end has left to do.

use std::collections::BTreeSet;

use super::failure::Failure;
use crate::journal::{Saved, Status, replay};
use crate::model::cutover::Stage;
use crate::model::plan::Plan;
use crate::model::step::StepId;

/// Whether a step concerns people who move.
pub fn moves(plan: &Plan, step: StepId) -> bool {
    plan.steps.get(step as usize).is_some_and(|s| s.address.host.is_cohort())
}

/// All that is left of a window waits for the end of its old side: nobody else has to wait for it.
pub fn left_to_prune(saved: &Saved) -> Result<bool, Failure> {
    let Some(schedule) = saved.plan.schedule.as_ref().filter(|s| !s.takes_back) else { return Ok(false) };
    let prunes: BTreeSet<StepId> =
        schedule.entries.iter().filter(|e| e.stage == Stage::Prune).flat_map(|e| e.steps.iter().copied()).collect();
    let standing = replay(saved)?;
    let done = |(id, status): (usize, &Status)| *status == Status::Done || prunes.contains(&(id as StepId));
    Ok(standing.resumable() && standing.statuses.iter().enumerate().all(done))
}

/// All that is not done is people who are still to be moved: they need not be moved to be taken back.
pub fn left_to_waves(saved: &Saved) -> Result<bool, Failure> {
    let standing = replay(saved)?;
    let left = |(id, status): (usize, &Status)| *status == Status::Done || moves(&saved.plan, id as StepId);
    Ok(standing.statuses.iter().enumerate().all(left))
}
