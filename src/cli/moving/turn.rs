//! One who moves people at a time: on this machine by the lock of the state folder, among all machines by the lease on the anchor, as an apply has it.

use std::future::Future;
use std::sync::Arc;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::secrets::{self, ForConnections};
use super::super::session;
use super::lock_as;
use crate::execution::lease::{Claim, keep, take_alone};
use crate::execution::{ApplyError, Clock as _, Settings, SystemClock};
use crate::journal::{Holder, LocalLock};
use crate::model::host::{HostAccess, HostErrorKind};
use crate::moving::transfer::Direction;
use crate::providers::agent::Agent as _;
use crate::providers::{self, ShellAgent};
use crate::transport::Network;

/// What a lease names where an apply has its id.
const NAME: &str = "by-hand";

pub struct Turn {
    agent: ShellAgent<Network>,
    organization: String,
    settings: Settings,
    /// The anchor with our token; none where it could not be asked and people go back all the same.
    held: Option<(HostAccess, u64)>,
    // Last, so that the lock goes after everything else.
    _lock: LocalLock,
}

impl Turn {
    /// Takes lock and lease, or says who has them. People may be brought back while the anchor is away: done twice it comes to the same end.
    pub async fn take(context: &Context, project: &Project, direction: Direction) -> Result<Self, Failure> {
        let holder = Holder::this_process(NAME, SystemClock.now());
        let lock = lock_as(&project.state(context), &holder)?;
        let resolver = Arc::new(secrets::resolver(&project.root, &project.topology));
        let readers = Arc::new(ForConnections { resolver, root: project.root.clone() });
        let network = Network::new(session::settings(context, project, true), project.site.hosts.clone(), readers as _);
        let agent = ShellAgent::new(network, providers::Settings::default());
        let organization = project.site.organization.clone();
        let settings = Settings::new("");
        let known_dead = lock.dead_holder().map(Holder::name);
        let claim = Claim { holder: holder.name(), apply: NAME.to_owned(), known_dead, lenient: false };
        let anchor = project.site.anchor.as_ref().and_then(|name| project.site.hosts.get(name));
        let mut held = None;
        if let Some(anchor) = anchor {
            match take_alone(&agent, &SystemClock, anchor, &organization, &settings, &claim).await {
                Ok(token) => held = Some((anchor.clone(), token)),
                Err(ApplyError::Host(e)) if direction == Direction::Old && e.kind != HostErrorKind::HostKey => {
                    context.out.note(format!(
                        "{e}; nobody knows whether somebody else works here. People go back all the same"
                    ));
                }
                Err(e) => return Err(e.into()),
            }
        }
        lock.settle();
        Ok(Self { agent, organization, settings, held, _lock: lock })
    }

    /// Does the work, renews the lease meanwhile, and gives it back however the work ended.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let Some((anchor, token)) = &self.held else { return work.await };
        let alone = [anchor];
        let done = tokio::select! {
            done = work => done,
            never = keep(&self.agent, &SystemClock, &self.settings, &self.organization, *token, &alone) => match never {},
        };
        if let Err(e) = self.agent.release(anchor, &self.organization, *token).await {
            tracing::debug!("the lease could not be given back: {e}");
        }
        done
    }

    /// Whoever has lost the lease begins nothing more.
    pub async fn still(&self) -> Result<(), Failure> {
        let Some((anchor, token)) = &self.held else { return Ok(()) };
        match self.agent.heartbeat(anchor, &self.organization, *token).await {
            Err(e) if e.kind == HostErrorKind::Fenced => Err(Failure::new(format!(
                "somebody else has taken over: {e}"
            ))
            .help("who was moved before that stays there; `cutover history` on their machine says what they do")),
            // It is renewed again soon, and whoever takes over meanwhile is heard of then.
            _ => Ok(()),
        }
    }
}
