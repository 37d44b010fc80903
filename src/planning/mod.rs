//! From what is wanted and what was found to the steps between them. Pure: no clock, no socket, no disk.
//!
//! ```text
//! Site ──Index──▶ Constraints (who waits for whom) ──Scope──▶ Findings (what differs) ──▶ signals (reloads)
//!                       └───────────────────────────▶ order ──▶ steps ──▶ Plan
//! ```

mod acts;
mod constraints;
pub mod cutover;
mod diff;
mod digests;
mod error;
mod findings;
mod graph;
mod index;
mod input;
mod order;
mod records;
mod reduce;
mod retire;
mod risk;
mod scope;
mod services;
mod stale;
mod steps;
mod undo;
mod waves;

use crate::model::attr::Digest;
use crate::model::observed::Observed;
use crate::model::plan::{PLAN_VERSION, Plan};
use crate::model::site::Site;

pub use error::{CycleMember, PlanError};
pub use input::{PhaseSlice, PlanInput, PlanOptions};
pub use records::WORDS as EXCEED_WORDS;
pub use scope::hosts_to_ask;
pub use stale::{Difference, differences};
pub use undo::{UndoInput, undo};

use constraints::Constraints;
use findings::Findings;
use index::Index;
use scope::Scope;

/// Answers for places that cannot be asked because what would answer is still to be made, where the hosts themselves say so.
pub fn unborn(site: &Site, observed: &mut Observed) {
    records::unborn(site, observed);
    waves::unborn(site, observed);
}

/// What a plan with these options would be signed for, before any host is asked.
pub fn intent(site: &Site, options: &PlanOptions) -> Result<Digest, PlanError> {
    let site = &*retire::site(site, options);
    let index = Index::new(site)?;
    let constraints = Constraints::new(&index)?;
    let scope = Scope::new(&index, &constraints, options)?;
    let observed = Observed::default();
    Ok(digests::intent(&PlanInput { site, observed: &observed, options, key_id: "" }, &index, &scope))
}

/// The plan. Steps stand in a stable order; hosts that could not be asked are named and block it.
pub fn plan(input: &PlanInput) -> Result<Plan, PlanError> {
    if let Some(window) = &input.options.window {
        return cutover::staged(input, window);
    }
    let site = retire::site(input.site, input.options);
    let input = &PlanInput { site: &site, ..*input };
    let index = Index::new(input.site)?;
    let constraints = Constraints::new(&index)?;
    let scope = Scope::new(&index, &constraints, input.options)?;
    let findings = Findings::new(input, &index, &scope)?;
    let destroy = input.options.destroy;
    let signals = services::signals(&index, &constraints, &scope, &findings);
    let ordered = order::order(&index, constraints, &findings, &signals, destroy)?;
    let steps = acts::beside(input.site, steps::steps(input.site, &index, &findings, &signals, ordered));
    Ok(Plan {
        version: PLAN_VERSION,
        organization: input.site.organization.clone(),
        environment: input.site.environment.clone(),
        phase: input.options.phase.as_ref().map(|p| p.name.clone()),
        targets: input.options.targets.clone(),
        exceed: input.options.exceed.clone(),
        intent: digests::intent(input, &index, &scope),
        observation: digests::observation(&index, &findings.answers),
        key_id: input.key_id.to_owned(),
        anchor: input.site.anchor.clone(),
        hosts: input.site.hosts.clone(),
        bodies: steps::bodies(input.site, &steps),
        steps,
        examined: findings.examined,
        failed: findings.failed,
        notes: findings.notes,
        schedule: None,
    })
}
