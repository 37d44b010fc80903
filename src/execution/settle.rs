//! Asks a host what became of steps that were begun and not answered: disarm, marks, then the state itself.

use std::collections::BTreeMap;

use super::clock::Clock;
use super::judge::{Evidence, Verdict, judge};
use super::lease::patiently;
use super::settings::Settings;
use crate::model::Kind;
use crate::model::host::{HostAccess, HostError};
use crate::model::observed::Observation;
use crate::model::plan::Plan;
use crate::model::resource::Resource;
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::providers::agent::{Agent, ObserveRequest};

/// What to ask.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    /// Written down as begun.
    pub begun: Vec<StepId>,
    /// Not written down as begun: asked in case the journal has lost its end.
    pub waiting: Vec<StepId>,
    /// Risky steps may be among them: the switch is asked first.
    pub armed: bool,
    pub resuming: bool,
}

/// What a host answered.
#[derive(Debug)]
pub(super) struct Settled {
    pub verdicts: Vec<(StepId, Verdict)>,
    /// Steps of `waiting` that the host remembers: the journal had lost them.
    pub regained: Vec<(StepId, Verdict)>,
}

/// What a host is asked with.
pub(super) struct Asker<'a, A, C> {
    pub agent: &'a A,
    pub clock: &'a C,
    pub settings: &'a Settings,
    pub plan: &'a Plan,
    pub apply: &'a str,
    /// Fingerprints that replace the plan's.
    pub expects: &'a BTreeMap<StepId, String>,
    /// For restores: the fingerprint that each brings back, where the journal knows it.
    pub restores: &'a BTreeMap<StepId, String>,
}

impl<A: Agent, C: Clock> Asker<'_, A, C> {
    /// Retries while the host does not answer, within `Settings::reconnect`.
    pub async fn settle(&self, host: &HostAccess, questions: &Questions) -> Result<Settled, HostError> {
        patiently(self.clock, self.settings, true, || self.once(host, questions)).await
    }

    async fn once(&self, host: &HostAccess, questions: &Questions) -> Result<Settled, HostError> {
        let organization = self.plan.organization.as_str();
        // First, while the host's own time still runs.
        let mut reverted = questions.armed && !self.agent.disarm(host, organization, self.apply).await?;
        // Returns when no script works there any more; only then does the state stand still.
        let marks = self.agent.outcomes(host, organization, self.apply).await?;
        // Once more: a script that was still at work may have armed it since.
        reverted |= questions.armed && !self.agent.disarm(host, organization, self.apply).await?;
        let regained: Vec<StepId> = questions
            .waiting
            .iter()
            .copied()
            .filter(|id| {
                use Outcome::{Done, Failed, Reverted, Stale, Unknown};
                let told = marks.get(id);
                matches!(told, Some(Done { .. } | Failed { .. } | Stale { .. } | Unknown { .. } | Reverted))
            })
            .collect();
        let steps = || questions.begun.iter().chain(&regained).filter_map(|id| self.plan.steps.get(*id as usize));
        let seen = match steps().any(|s| look(s, marks.get(&s.id))) {
            true => self.observe(host, steps()).await?,
            false => nothing(host),
        };
        let verdict = |id: &StepId| {
            let step = self.plan.steps.get(*id as usize)?;
            let pinned = self.expects.get(id).or(step.expect.as_ref());
            let evidence = Evidence {
                mark: marks.get(id),
                seen: &seen,
                pinned: pinned.map(String::as_str),
                restores: self.restores.get(id).map(String::as_str),
                reverted,
                resuming: questions.resuming,
            };
            Some((*id, judge(step, evidence)))
        };
        Ok(Settled {
            verdicts: questions.begun.iter().filter_map(verdict).collect(),
            regained: regained.iter().filter_map(verdict).collect(),
        })
    }

    async fn observe<'s>(
        &self,
        host: &HostAccess,
        steps: impl Iterator<Item = &'s Step>,
    ) -> Result<Observation, HostError> {
        // One resource may have several steps (a file and its restore): asked once.
        let resources: BTreeMap<_, Resource> = steps.map(|s| (s.address.local(), s.resource())).collect();
        let resources: Vec<Resource> = resources.into_values().collect();
        let request = ObserveRequest {
            organization: &self.plan.organization,
            state_key: &self.settings.state_key,
            resources: &resources,
        };
        self.agent.observe(host, request).await
    }
}

/// Whether the verdict on a step needs the state itself.
fn look(step: &Step, mark: Option<&Outcome>) -> bool {
    let asks_again = step.action == Action::Wait || step.address.kind == Kind::Wave;
    step.risky || (!asks_again && matches!(mark, Some(Outcome::Unknown { .. })))
}

fn nothing(host: &HostAccess) -> Observation {
    Observation {
        host: host.name.clone(),
        facts: Default::default(),
        records: BTreeMap::new(),
        owned: Vec::new(),
        pending: BTreeMap::new(),
        lease: None,
        armed: None,
        zone: None,
    }
}
