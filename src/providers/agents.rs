//! One agent for every place: machines are asked by scripts, zones by DNS.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::model::host::{HostAccess, HostError};
use crate::model::observed::Observation;
use crate::model::step::{Outcome, StepId};
use crate::transport::{SecretReader, Transport};

use super::agent::{Agent, Batch, LeaseAnswer, LeaseRequest, ObserveRequest, StepReport};
use super::shell::ShellAgent;
use super::zone::ZoneAgent;

/// Dispatches on how a place is reached.
pub struct Agents<T> {
    shell: ShellAgent<T>,
    zones: ZoneAgent,
}

impl<T: Transport> Agents<T> {
    /// `secrets` reads the keys of zones.
    pub fn new(shell: ShellAgent<T>, secrets: Arc<dyn SecretReader>) -> Self {
        Self { shell, zones: ZoneAgent::new(secrets) }
    }
}

impl<T: Transport> Agent for Agents<T> {
    async fn observe(&self, host: &HostAccess, request: ObserveRequest<'_>) -> Result<Observation, HostError> {
        match host.zone() {
            Some(zone) => self.zones.observe(&self.shell, host, zone, request).await,
            None => self.shell.observe(host, request).await,
        }
    }

    /// A zone has no lease of its own: each batch is checked against that of the host that keeps its ledger.
    async fn acquire(&self, host: &HostAccess, request: &LeaseRequest) -> Result<LeaseAnswer, HostError> {
        match (host.zone(), request.token) {
            (Some(_), Some(token)) => Ok(LeaseAnswer::Granted { token, from: None }),
            (Some(zone), None) => self.shell.acquire(&zone.ledger, request).await,
            (None, _) => self.shell.acquire(host, request).await,
        }
    }

    async fn heartbeat(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        if host.zone().is_some() {
            return Ok(());
        }
        self.shell.heartbeat(host, organization, token).await
    }

    async fn release(&self, host: &HostAccess, organization: &str, token: u64) -> Result<(), HostError> {
        if host.zone().is_some() {
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
        match host.zone() {
            Some(zone) => self.zones.outcomes(&self.shell, host, zone, organization, apply).await,
            None => self.shell.outcomes(host, organization, apply).await,
        }
    }

    async fn disarm(&self, host: &HostAccess, organization: &str, apply: &str) -> Result<bool, HostError> {
        match host.zone() {
            // Nothing in a zone can cut us off.
            Some(_) => Ok(true),
            None => self.shell.disarm(host, organization, apply).await,
        }
    }
}
