//! The plan that takes an apply back, for `undo`, for `rollback`, and for a window that does it by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::session::Session;
use crate::execution::{Clock as _, SystemClock};
use crate::journal::{Saved, Status, replay};
use crate::model::plan::Plan;
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::model::trigger::WayBack;
use crate::model::{HostName, Kind};
use crate::planning::{self, UndoInput};

/// The plan that takes an apply back, from what its hosts show now. `point`: only what this rollback point of the plan restores.
pub async fn way_back(session: &Session, saved: &Saved, point: Option<&str>) -> Result<Plan, Failure> {
    let standing = replay(saved)?;
    let mut outcomes: BTreeMap<StepId, Outcome> =
        standing.outcomes.into_iter().enumerate().filter_map(|(id, outcome)| Some((id as StepId, outcome?))).collect();
    // Cut off before it was answered, whatever a former run said of it: what the zone shows decides (`planning`).
    for step in saved.plan.steps.iter().filter(|s| s.address.kind == Kind::RecordSet) {
        if standing.statuses.get(step.id as usize) == Some(&Status::Started) {
            outcomes.insert(step.id, Outcome::Unknown { why: "no answer came".to_owned() });
        }
    }
    if let Some(back) = point.and_then(|p| of_point(&saved.plan, p)) {
        for step in saved.plan.steps.iter().filter(|s| !parts(s).iter().any(|p| back.restores.iter().any(|r| r == p))) {
            outcomes.insert(step.id, Outcome::Skipped { because: step.id });
        }
    }
    let observed = session.observe_site(&site_of(&saved.plan)).await;
    Ok(planning::undo(&UndoInput {
        apply: &saved.header.apply,
        plan: &saved.plan,
        outcomes: &outcomes,
        observed: &observed,
        now: SystemClock.now().div_euclid(1_000),
    }))
}

/// The parts of a rollback point that a step is one of.
pub fn parts(step: &Step) -> &'static [&'static str] {
    match step.address.kind {
        // A route back without the mail that has come since would lose it.
        Kind::Wave => &["routes", "mailbox-delta"],
        Kind::RecordSet | Kind::Barrier => &["dns"],
        _ => &["config"],
    }
}

/// A rollback point as the plan has it: of its window, or of that of a cohort whose waves it has.
pub fn of_point<'p>(plan: &'p Plan, point: &str) -> Option<&'p WayBack> {
    let of_window = plan.schedule.as_ref().and_then(|s| s.way_back.as_ref());
    let moves = |lane: &HostName| plan.steps.iter().any(|s| s.address.host == *lane && s.action == Action::Move);
    let lanes = plan.hosts.iter().filter(|(lane, _)| moves(lane)).filter_map(|(_, h)| h.cohort());
    let of_cohorts = lanes.filter_map(|c| c.opening.as_ref()?.way_back.as_ref());
    of_window.into_iter().chain(of_cohorts).find(|b| b.point == point)
}

/// The hosts and resources that a plan is about, so that they can be asked when the topology no longer names them.
fn site_of(plan: &Plan) -> Site {
    let mut resources: BTreeMap<_, Resource> = BTreeMap::new();
    for step in plan.steps.iter().filter(|s| !matches!(s.action, Action::Reload | Action::Restart | Action::Wait)) {
        resources.entry(step.address.clone()).or_insert_with(|| step.resource());
    }
    let touched: BTreeSet<_> = plan.steps.iter().map(|s| &s.address.host).collect();
    Site {
        organization: plan.organization.clone(),
        environment: plan.environment.clone(),
        anchor: plan.anchor.clone(),
        hosts: plan
            .hosts
            .iter()
            .filter(|(name, _)| touched.contains(name))
            .map(|(n, h)| (n.clone(), h.clone()))
            .collect(),
        resources: resources.into_values().collect(),
        bodies: plan.bodies.clone(),
        ..Site::default()
    }
}
