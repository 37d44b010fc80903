//! The lease of an apply: a token that grows, taken on the anchor first, then held on every host of the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::clock::Clock;
use super::error::ApplyError;
use super::settings::Settings;
use crate::model::HostName;
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::model::observed::Lease;
use crate::model::plan::Plan;
use crate::providers::agent::{Agent, LeaseAnswer, LeaseRequest};

/// Who wants the lease.
#[derive(Debug, Clone)]
pub struct Claim {
    /// `journal::Holder::name`.
    pub holder: String,
    pub apply: String,
    /// Name of a holder that is known to be dead: it held our local lock, which is ours now.
    pub known_dead: Option<String>,
    /// Go on without hosts that cannot be reached (a resume), instead of not beginning at all.
    pub lenient: bool,
}

/// A lease that was granted.
#[derive(Debug, Clone)]
pub struct Granted {
    pub token: u64,
    /// Hosts that hold it, with the name of the holder before.
    pub hosts: BTreeMap<HostName, Option<String>>,
    /// Hosts that could not be reached (`lenient` only).
    pub missing: Vec<HostError>,
}

/// The host that decides: the plan's anchor, else its first host by name.
pub fn anchor(plan: &Plan) -> Result<&HostAccess, ApplyError> {
    match &plan.anchor {
        Some(name) => {
            plan.hosts.get(name).ok_or_else(|| ApplyError::BadPlan(format!("its anchor {name} is not among its hosts")))
        }
        None => {
            plan.hosts.values().find(|h| h.is_machine()).ok_or_else(|| ApplyError::BadPlan("it has no hosts".into()))
        }
    }
}

/// Takes the lease everywhere or nowhere it matters: a newer holder anywhere refuses.
pub async fn take<A: Agent, C: Clock>(
    agent: &A,
    clock: &C,
    plan: &Plan,
    settings: &Settings,
    claim: &Claim,
) -> Result<Granted, ApplyError> {
    let anchor = anchor(plan)?;
    let mut hosts: BTreeMap<&HostName, &HostAccess> =
        plan.steps.iter().filter_map(|s| plan.hosts.get_key_value(&s.address.host)).collect();
    hosts.remove(&anchor.name);
    let mut raise = None;
    // A second round when a host remembers a larger token than the anchor (an anchor made anew): the anchor is raised to it.
    for _ in 0..3 {
        let (token, from) = on_anchor(agent, clock, anchor, &plan.organization, settings, claim, raise).await?;
        let hold = |access| async move {
            let request = request(&plan.organization, settings, claim, Some(token));
            (access, patiently(clock, settings, claim.lenient, || agent.acquire(access, &request)).await)
        };
        let mut answers = stream::iter(hosts.values().copied().map(hold)).buffer_unordered(settings.parallel.max(1));
        let mut granted = Granted { token, hosts: BTreeMap::from([(anchor.name.clone(), from)]), missing: Vec::new() };
        let mut larger = None;
        let alone = [anchor];
        let mut kept = Box::pin(keep(agent, clock, settings, &plan.organization, token, &alone));
        loop {
            let next = tokio::select! {
                biased;
                next = answers.next() => next,
                never = &mut kept => match never {},
            };
            let Some((access, answer)) = next else { break };
            match answer {
                Ok(LeaseAnswer::Granted { from, .. }) => {
                    granted.hosts.insert(access.name.clone(), from.map(|l| l.holder));
                }
                Ok(LeaseAnswer::Held(lease)) if is_dead(&lease, settings, claim) => {
                    larger = larger.max(Some(lease.token + 1));
                }
                Ok(LeaseAnswer::Held(lease)) => {
                    return Err(ApplyError::Held { host: access.name.clone(), lease: Box::new(lease) });
                }
                Err(error) if claim.lenient && error.kind != HostErrorKind::HostKey => granted.missing.push(error),
                Err(error) => return Err(ApplyError::Host(error)),
            }
        }
        match larger {
            None => return Ok(granted),
            larger => raise = larger,
        }
    }
    Err(ApplyError::BadPlan("the hosts do not agree on a lease".into()))
}

/// Takes the lease on the anchor alone, for work that is no plan; a plan that begins meanwhile is refused there.
pub async fn take_alone<A: Agent, C: Clock>(
    agent: &A,
    clock: &C,
    anchor: &HostAccess,
    organization: &str,
    settings: &Settings,
    claim: &Claim,
) -> Result<u64, ApplyError> {
    on_anchor(agent, clock, anchor, organization, settings, claim, None).await.map(|(token, _)| token)
}

fn request(organization: &str, settings: &Settings, claim: &Claim, token: Option<u64>) -> LeaseRequest {
    LeaseRequest {
        organization: organization.to_owned(),
        holder: claim.holder.clone(),
        apply: claim.apply.clone(),
        token,
        dead_after: settings.dead_after.as_secs() as i64,
        known_dead: claim.known_dead.clone(),
    }
}

fn is_dead(lease: &Lease, settings: &Settings, claim: &Claim) -> bool {
    lease.age >= settings.dead_after.as_secs() as i64
        || lease.holder == claim.holder
        || claim.known_dead.as_ref() == Some(&lease.holder)
}

/// Takes the anchor. A holder that might be dead is watched until it moves (refused, it lives) or its time is up (taken over).
async fn on_anchor<A: Agent, C: Clock>(
    agent: &A,
    clock: &C,
    anchor: &HostAccess,
    organization: &str,
    settings: &Settings,
    claim: &Claim,
    raise: Option<u64>,
) -> Result<(u64, Option<String>), ApplyError> {
    let request = request(organization, settings, claim, raise);
    let mut watched: Option<(Lease, i64)> = None;
    loop {
        let answer = patiently(clock, settings, claim.lenient, || agent.acquire(anchor, &request)).await;
        let lease = match answer.map_err(ApplyError::Host)? {
            LeaseAnswer::Granted { token, from } => return Ok((token, from.map(|l| l.holder))),
            LeaseAnswer::Held(lease) => lease,
        };
        let now = clock.now();
        if let Some((before, at)) = &watched {
            let passed = (now - at) / 1_000;
            // One second of slack for the rounding of both clocks.
            let renewed = lease.age + 1 < before.age + passed;
            if renewed || lease.token != before.token || passed > settings.dead_after.as_secs() as i64 * 2 {
                return Err(ApplyError::Held { host: anchor.name.clone(), lease: Box::new(lease) });
            }
        }
        watched.get_or_insert((lease, now));
        clock.sleep(Duration::from_secs(3)).await;
    }
}

/// Renews the lease on these hosts until it is dropped; for the time before the run itself does it.
pub async fn keep<A: Agent, C: Clock>(
    agent: &A,
    clock: &C,
    settings: &Settings,
    organization: &str,
    token: u64,
    hosts: &[&HostAccess],
) -> std::convert::Infallible {
    loop {
        clock.sleep(settings.heartbeat).await;
        let beat = |host: &HostAccess| {
            let host = host.clone();
            async move { agent.heartbeat(&host, organization, token).await }
        };
        let mut beats = stream::iter(hosts.iter().copied().map(beat)).buffer_unordered(settings.parallel.max(1));
        while let Some(result) = beats.next().await {
            if let Err(e) = result {
                // Whoever took over is noticed by the first step.
                tracing::debug!("the lease could not be renewed: {e}");
            }
        }
    }
}

/// Asks until there is an answer, within the time that a lost host is waited for; at once where `lenient` is off, because the
/// transport has retried the connection already.
pub(super) async fn patiently<T, C: Clock, F: Future<Output = Result<T, HostError>>>(
    clock: &C,
    settings: &Settings,
    lenient: bool,
    mut ask: impl FnMut() -> F,
) -> Result<T, HostError> {
    let until = clock.now() + i64::try_from(settings.reconnect.as_millis()).unwrap_or(i64::MAX);
    let mut pause = Duration::from_secs(1);
    loop {
        match ask().await {
            // Waiting mends neither of these.
            Err(e) if !lenient || matches!(e.kind, HostErrorKind::HostKey | HostErrorKind::Fenced) => return Err(e),
            Err(e) if clock.now() >= until => return Err(e),
            Err(_) => clock.sleep(pause).await,
            Ok(answer) => return Ok(answer),
        }
        pause = (pause * 2).min(Duration::from_secs(15));
    }
}
