//! Zones as places of record sets: read whole, changed only from what the plan saw, in the way of whoever holds them: by messages of
//! DNS (AXFR, UPDATE with prerequisites), in a file, over the interface of a service, or by hand. What cutover owns there, and what
//! stood there before, is kept on the anchor host.
//!
//! ```text
//! run:  ledger + AXFR ──▶ stale? ──▶ claims into the ledger ──▶ UPDATE … ──▶ AXFR ──▶ outcomes into the ledger ──▶ reports
//! ```
//!
//! A claim is durable before the message is sent, so a set that was changed always has an owner. Serials are the server's.

mod barrier;
mod change;
mod channel;
mod cloudflare;
mod file;
mod http;
pub(super) mod ledger;
mod manual;
mod places;
mod powerdns;
mod route53;
mod seen;
mod signing;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::catalog::record_set::{self, fingerprint, of_attrs, set_key};
use crate::model::Kind;
use crate::model::dns::RecordSet;
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess};
use crate::model::observed::{Facts, Observation, Owned, Record};
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::transport::refusal::error;
use crate::transport::{SecretReader, Transport};

use super::agent::{Batch, ObserveRequest, StepReport};
use super::shell::ShellAgent;
use change::{Job, carry_out, skip};
use channel::Channel;
use ledger::{Entries, Former, Kept, Ledger, Taken};
pub use places::delegated;

/// Observes and changes zones.
pub struct ZoneAgent {
    secrets: Arc<dyn SecretReader>,
}

/// A step on its way, with what its end leaves in the ledger.
struct Planned {
    job: Job,
    former: Former,
    owned: Option<Owned>,
}

impl ZoneAgent {
    pub fn new(secrets: Arc<dyn SecretReader>) -> Self {
        Self { secrets }
    }

    pub async fn observe<T: Transport>(
        &self,
        shell: &ShellAgent<T>,
        lane: &HostAccess,
        zone: &ZoneAccess,
        request: ObserveRequest<'_>,
    ) -> Result<Observation, HostError> {
        let ledger = Ledger::new(shell, lane, &zone.ledger, request.organization);
        if zone.is_manual() {
            return manual::observe(&ledger, lane, zone, request).await;
        }
        let look = async {
            let channel = Channel::open(shell, lane, zone, request.organization, self.secrets.as_ref()).await?;
            channel.look().await
        };
        let (kept, seen) = tokio::join!(ledger.read(None), look);
        let (kept, seen) = (kept?, seen?);
        let sets = || request.resources.iter().filter(|r| r.address.kind == Kind::RecordSet);
        let wanted = sets().map(|r| r.address.key.as_str());
        let keys: BTreeSet<&str> = wanted.chain(kept.owned.keys().map(String::as_str)).collect();
        let mut records = BTreeMap::new();
        for key in keys {
            let at = set_key(key).ok_or_else(|| bad(lane, format!("`{key}` names no record set")))?;
            records.insert(format!("{}:{key}", Kind::RecordSet), record(seen.sets.get(&at)));
        }
        let facts = Facts { os: "zone".into(), hostname: lane.address.clone(), arch: String::new() };
        Ok(Observation {
            host: lane.name.clone(),
            facts,
            records,
            owned: kept.owned.into_values().collect(),
            pending: BTreeMap::new(),
            lease: None,
            armed: None,
            zone: Some(seen::of(&zone.zone, &seen, sets())),
        })
    }

    pub async fn run<T: Transport>(
        &self,
        shell: &ShellAgent<T>,
        lane: &HostAccess,
        zone: &ZoneAccess,
        batch: Batch,
        reports: UnboundedSender<StepReport>,
    ) -> Result<(), HostError> {
        let ledger = Ledger::new(shell, lane, &zone.ledger, &batch.organization);
        if let [only] = batch.steps.as_slice()
            && only.step.action == Action::Wait
        {
            return barrier::run(&ledger, lane, zone, &batch, &only.step, &reports).await;
        }
        let formers = self.formers(&ledger, &batch).await?;
        if zone.is_manual() {
            return manual::run(&ledger, lane, zone, &batch, &formers, &reports).await;
        }
        let channel = Channel::open(shell, lane, zone, &batch.organization, self.secrets.as_ref()).await?;
        let (kept, seen) = tokio::join!(ledger.read(Some(&batch.apply)), channel.look());
        let (kept, seen) = (kept?, seen?);
        let report = |id: StepId, outcome: Outcome| drop(reports.send(StepReport::Ended(id, outcome)));

        let mut planned: Vec<Planned> = Vec::with_capacity(batch.steps.len());
        for remote in &batch.steps {
            let mut p = plan(&remote.step, &seen.sets, &kept, &formers);
            p.job.waits = remote.after_in_batch.clone();
            planned.push(p);
        }
        let (mut jobs, rest): (Vec<Job>, Vec<(Former, Option<Owned>)>) =
            planned.into_iter().map(|p| (p.job, (p.former, p.owned))).unzip();
        skip(&mut jobs);

        // Claims: in the ledger before anything is sent, so that nothing of ours ever stands there without an owner.
        let mut claims = Entries::default();
        for (job, (former, owned)) in jobs.iter().zip(&rest).filter(|(j, _)| j.outcome.is_none()) {
            claims.begun(job.id, former);
            if owned.is_some() {
                claims.owned(&record_set::key(&job.key), owned.as_ref());
            }
        }
        let begun: Vec<bool> = jobs.iter().map(|j| j.outcome.is_none()).collect();
        if !claims.is_empty()
            && let Taken::Fenced(token) = ledger.begin(&batch.apply, batch.token, claims).await?
        {
            for job in &jobs {
                report(job.id, Outcome::Fenced { token });
            }
            return Ok(());
        }
        for (job, _) in jobs.iter().zip(&begun).filter(|(_, b)| **b) {
            drop(reports.send(StepReport::Started(job.id)));
        }
        let carried = carry_out(&channel, &zone.zone, &mut jobs).await;

        let mut ends = Entries::default();
        for ((job, (former, owned)), _) in jobs.iter().zip(&rest).zip(&begun).filter(|(_, b)| **b) {
            let Some(outcome) = &job.outcome else { continue };
            ends.ended(job.id, outcome);
            let key = record_set::key(&job.key);
            match outcome.is_done() {
                true if owned.is_none() => ends.owned(&key, None),
                true => {}
                false => ends.owned(&key, former.owned.as_ref()),
            }
        }
        if !ends.is_empty() {
            ledger.end(&batch.apply, ends).await?;
        }
        for job in jobs {
            if let Some(outcome) = job.outcome {
                report(job.id, outcome);
            }
        }
        carried
    }

    /// What stood before the steps that restores put back, by apply and step.
    async fn formers<T: Transport>(
        &self,
        ledger: &Ledger<'_, T>,
        batch: &Batch,
    ) -> Result<BTreeMap<(String, StepId), Former>, HostError> {
        let applies: BTreeSet<&String> =
            batch.steps.iter().filter_map(|r| r.step.restores.as_ref()).map(|(apply, _)| apply).collect();
        let mut out = BTreeMap::new();
        for apply in applies {
            let kept = ledger.read(Some(apply)).await?;
            out.extend(kept.formers.into_iter().map(|(id, former)| ((apply.clone(), id), former)));
        }
        Ok(out)
    }

    pub async fn outcomes<T: Transport>(
        &self,
        shell: &ShellAgent<T>,
        lane: &HostAccess,
        zone: &ZoneAccess,
        organization: &str,
        apply: &str,
    ) -> Result<BTreeMap<StepId, Outcome>, HostError> {
        let kept = Ledger::new(shell, lane, &zone.ledger, organization).read(Some(apply)).await?;
        if zone.is_manual() {
            return Ok(kept.outcomes);
        }
        // Whoever asks goes on from here: while the name server is away it is waited for, not tried again and again.
        Channel::open(shell, lane, zone, organization, self.secrets.as_ref()).await?.look().await?;
        Ok(kept.outcomes)
    }
}

fn bad(lane: &HostAccess, message: String) -> HostError {
    error(lane, HostErrorKind::Protocol, message, None)
}

fn record(set: Option<&RecordSet>) -> Record {
    let attrs = set.map(record_set::attrs).unwrap_or_default();
    Record { present: set.is_some(), attrs, fingerprint: fingerprint(set), text: None }
}

/// What a step does, from what the zone shows now. With an outcome when nothing is to be done.
fn plan(
    step: &Step,
    seen: &crate::protocol::dns::data::Sets,
    kept: &Kept,
    formers: &BTreeMap<(String, StepId), Former>,
) -> Planned {
    let at = set_key(&step.address.key)
        .unwrap_or_else(|| crate::model::dns::SetKey { name: step.address.key.clone(), kind: String::new() });
    let found = seen.get(&at).cloned();
    let here = kept.owned.get(&step.address.key).cloned();
    let failed = |text: String| Some(Outcome::Failed { code: 1, output: text });
    let mut outcome = None;
    let (after, owned) = match step.action {
        Action::Create | Action::Update | Action::Replace => {
            let set = of_attrs(&step.address.key, &step.attrs);
            if set.as_ref().is_none_or(|s| s.data.is_empty()) {
                outcome = failed("the step names no records".into());
            }
            (set, Some(entry(step)))
        }
        Action::Delete => {
            if here.is_none() {
                outcome = failed(format!("{} is not in the ledger of what cutover made; it is left alone", at));
            }
            (None, None)
        }
        Action::Restore => match step.restores.as_ref().and_then(|r| formers.get(r)) {
            Some(former) => (former.set.clone(), former.owned.clone()),
            None => {
                outcome = failed("nothing is kept from before this step".into());
                (None, None)
            }
        },
        Action::Run | Action::Reload | Action::Restart | Action::Wait | Action::Move => {
            outcome = failed(format!("a record set knows no {}", step.action.as_str()));
            (None, None)
        }
    };
    let now = fingerprint(found.as_ref());
    // What stands there already as it is wanted is nobody's loss.
    if outcome.is_none() && step.expect.as_ref().is_some_and(|e| *e != now) && found != after {
        outcome = Some(Outcome::Stale { found: now });
    }
    // A step that is tried again keeps what its first attempt found.
    let former =
        kept.formers.get(&step.id).cloned().unwrap_or_else(|| Former { set: found.clone(), owned: here, people: None });
    Planned { job: Job { id: step.id, key: at, before: found, after, waits: Vec::new(), outcome }, former, owned }
}

/// What the ledger says of a set that a step writes.
fn entry(step: &Step) -> Owned {
    let attrs = step.attrs.iter().filter(|(name, _)| *name != "adopt").map(|(n, a)| (n, a.clone())).collect();
    Owned {
        kind: step.address.kind,
        key: step.address.key.clone(),
        owner: step.owner.clone(),
        attrs,
        notifies: Vec::new(),
        protect: step.protect,
    }
}
