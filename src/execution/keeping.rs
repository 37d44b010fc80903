//! Keeps the lease of a run while it lasts, and lets it go at its end.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::clock::Clock;
use super::dispatcher::Dispatcher;
use crate::model::host::{HostError, HostErrorKind};
use crate::providers::agent::Agent;
use crate::secret::Resolve;

impl<A: Agent, R: Resolve, C: Clock> Dispatcher<'_, A, R, C> {
    /// Lets the leases go. One that cannot be let go dies by itself.
    pub(super) async fn release(&self) {
        if self.report.fenced.is_some() {
            return;
        }
        let (agent, plan, token) = (self.run.agent, self.plan, self.token);
        let each = |host| async move { agent.release(host, &plan.organization, token).await };
        let mut all = stream::iter(self.leased.clone()).map(each).buffer_unordered(self.run.settings.parallel.max(1));
        while let Some(result) = all.next().await {
            if let Err(e) = result {
                tracing::debug!("the lease could not be released: {e}");
            }
        }
    }

    pub(super) fn beat(&mut self) {
        if !self.beats.is_empty() {
            return;
        }
        for host in &self.leased {
            let (agent, host, plan, token) = (self.run.agent, *host, self.plan, self.token);
            self.beats.push(Box::pin(async move { agent.heartbeat(host, &plan.organization, token).await }));
        }
    }

    pub(super) fn beaten(&mut self, result: Result<(), HostError>) {
        // A heartbeat that did not arrive is no harm: the next one may, and the steps themselves check the token.
        if let Err(e) = result
            && e.kind == HostErrorKind::Fenced
        {
            self.fenced(e.to_string());
        }
    }

    pub(super) fn fenced(&mut self, why: String) {
        self.scheduler.stop();
        self.report.fenced.get_or_insert(why);
    }
}
