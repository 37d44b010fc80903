//! One agent for every place: machines are asked by scripts, zones by DNS, cohorts by those who move people.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::model::host::{HostAccess, HostError};
use crate::model::observed::Observation;
use crate::model::step::{Outcome, StepId};
use crate::transport::{SecretReader, Transport};

use super::agent::{Agent, Batch, LeaseAnswer, LeaseRequest, ObserveRequest, StepReport};
use super::people::{Lane, Nobody, People};
use super::shell::ShellAgent;
use super::zone::ZoneAgent;

/// Dispatches on how a place is reached.
pub struct Agents<T> {
    shell: ShellAgent<T>,
    zones: ZoneAgent,
    people: Arc<dyn People>,
}

impl<T: Transport> Agents<T> {
    /// `secrets` reads the keys of zones.
    pub fn new(shell: ShellAgent<T>, secrets: Arc<dyn SecretReader>) -> Self {
        Self { shell, zones: ZoneAgent::new(secrets), people: Arc::new(Nobody) }
    }

    /// With gates and content services within reach.
    pub fn with_people(self, people: Arc<dyn People>) -> Self {
        Self { people, ..self }
    }

    fn lane<'a>(&'a self, host: &'a HostAccess, organization: &'a str) -> Option<Lane<'a, T>> {
        let cohort = host.cohort()?;
        Some(Lane::new(&self.shell, self.people.as_ref(), host, cohort, organization))
    }
}

impl<T: Transport> Agent for Agents<T> {
    async fn observe(&self, host: &HostAccess, request: ObserveRequest<'_>) -> Result<Observation, HostError> {
        if let Some(lane) = self.lane(host, request.organization) {
            return lane.observe(request).await;
        }
        match host.zone() {
            Some(zone) => self.zones.observe(&self.shell, host, zone, request).await,
            None => self.shell.observe(host, request).await,
        }
    }

    /// A zone or a cohort has no lease of its own: each batch is checked against that of the host that keeps its ledger.
    async fn acquire(&self, host: &HostAccess, request: &LeaseRequest) -> Result<LeaseAnswer, HostError> {
        let keeper = host.zone().map(|z| &z.ledger).or(host.cohort().map(|c| &c.ledger));
        match (keeper, request.token) {
            (Some(_), Some(token)) => Ok(LeaseAnswer::Granted { token, from: None }),
            (Some(keeper), None) => self.shell.acquire(keeper, request).await,
            (None, _) => self.shell.acquire(host, request).await,
        }
    }

    async fn heartbeat(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        if !host.is_machine() {
            return Ok(());
        }
        self.shell.heartbeat(host, organization, token).await
    }

    async fn release(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        if !host.is_machine() {
            return Ok(());
        }
        self.shell.release(host, organization, token).await
    }

    async fn run(
        &self,
        host: &HostAccess,
        batch: Batch,
        reports: UnboundedSender<StepReport>,
    ) -> Result<(), HostError> {
        if let Some(lane) = self.lane(host, &batch.organization) {
            return lane.run(&batch, &reports).await;
        }
        match host.zone() {
            Some(zone) => self.zones.run(&self.shell, host, zone, batch, reports).await,
            None => self.shell.run(host, batch, reports).await,
        }
    }

    async fn outcomes(
        &self,
        host: &HostAccess,
        organization: &str,
        apply: &str,
    ) -> Result<BTreeMap<StepId, Outcome>, HostError> {
        if let Some(lane) = self.lane(host, organization) {
            return lane.outcomes(apply).await;
        }
        match host.zone() {
            Some(zone) => self.zones.outcomes(&self.shell, host, zone, organization, apply).await,
            None => self.shell.outcomes(host, organization, apply).await,
        }
    }

    async fn disarm(&self, host: &HostAccess, organization: &str, apply: &str) -> Result<bool, HostError> {
        match host.is_machine() {
            // Nothing in a zone can cut us off, nor anybody who moves.
            false => Ok(true),
            true => self.shell.disarm(host, organization, apply).await,
        }
    }
}
