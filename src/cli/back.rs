//! The plan that takes an apply back, for `undo`, for `rollback`, and for a window that does it by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::session::Session;
use crate::execution::{Clock as _, SystemClock};
use crate::journal::{Saved, replay};
use crate::model::plan::Plan;
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::model::step::{Action, Outcome, StepId};
use crate::planning::{self, UndoInput};

/// The plan that takes an apply back, from what its hosts show now.
pub async fn way_back(session: &Session, saved: &Saved) -> Result<Plan, Failure> {
    let standing = replay(saved)?;
    let outcomes: BTreeMap<StepId, Outcome> =
        standing.outcomes.into_iter().enumerate().filter_map(|(id, outcome)| Some((id as StepId, outcome?))).collect();
    let observed = session.observe_site(&site_of(&saved.plan)).await;
    Ok(planning::undo(&UndoInput {
        apply: &saved.header.apply,
        plan: &saved.plan,
        outcomes: &outcomes,
        observed: &observed,
        now: SystemClock.now().div_euclid(1_000),
    }))
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
        moved: BTreeMap::new(),
        windows: Vec::new(),
        gone: BTreeSet::new(),
    }
}
