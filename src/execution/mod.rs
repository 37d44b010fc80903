//! Carries out plans: observes hosts, sends steps, writes down what happens, and goes on after a crash. Decides nothing that the
//! plan does not show.
//!
//! ```text
//!                    ┌ scheduler (pure): what may go next
//! plan ──▶ dispatcher┤ prepare: contents, read right before they are sent
//!            │  ▲    └ judge (pure): what became of a step that was not answered
//!   Started  │  │ reports
//!   journal ◀┤  │
//!            ▼  │
//!          Agent::run (one batch a host) ──▶ host
//! ```
//!
//! * [`observe_all`]: all hosts side by side; failures are collected, never taken for absence.
//! * [`apply()`]: lease, journal, batches by the graph, closing report. An undo is a plan like any other.
//! * [`resume()`]: replays the journal, asks the hosts about steps in question, goes on to the same end.
//!
//! The caller holds [`crate::journal::LocalLock`], opens the [`crate::journal::Journal`], and gives an [`Agent`], a
//! [`crate::secret::Resolve`], a [`Clock`], a channel for events and a watch for Ctrl-C ([`Wanted`]).

mod clock;
mod dispatcher;
mod ending;
mod error;
mod judge;
mod keeping;
pub mod lease;
mod observe;
mod prepare;
mod report;
mod resume;
mod scheduler;
mod settings;
mod settle;
mod times;
mod triggers;
mod waiting;

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ApplyError;
pub use judge::{Evidence, Verdict, judge};
pub use observe::observe_all;
pub use report::{Report, Waits};
pub use resume::resume;
pub use scheduler::{BadPlan, Pick, Scheduler, Skipped};
pub use settings::{Settings, Wanted};
pub use times::Due;
pub use triggers::{Conditions, Fired, Guarded, Hold, Look, Seen, Watch, guarded};

use crate::journal::{Header, Holder, Journal, JournalError, Record};
use crate::model::event::{Event, What};
use crate::model::plan::{PLAN_VERSION, Plan};
use crate::model::step::{Action, StepId};
use crate::providers::agent::Agent;
use crate::secret::Resolve;
use dispatcher::Dispatcher;
use lease::{Claim, Granted};

/// What a run works with.
#[derive(Debug)]
pub struct Run<'a, A, R, C> {
    pub agent: &'a A,
    pub resolve: &'a R,
    pub clock: &'a C,
    pub journal: &'a Journal,
    pub settings: &'a Settings,
    pub events: mpsc::UnboundedSender<Event>,
    pub wanted: watch::Receiver<Wanted>,
}

/// Who runs it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub holder: Holder,
    /// The holder that died with our local lock, if one did ([`crate::journal::LocalLock::dead_holder`]).
    pub dead: Option<Holder>,
}

impl Identity {
    fn claim(&self, apply: &str, lenient: bool) -> Claim {
        Claim {
            holder: self.holder.name(),
            apply: apply.to_owned(),
            known_dead: self.dead.as_ref().map(Holder::name),
            lenient,
        }
    }
}

/// An id that sorts by time, `20261122-093015-7f3a91`; `entropy` tells two of one second apart.
pub fn new_apply_id(now: i64, entropy: u32) -> String {
    let time = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
    format!("{}-{:06x}", time.strftime("%Y%m%d-%H%M%S"), entropy & 0xff_ffff)
}

/// Applies a plan under the id `apply`. `undo_of` names the apply that this plan takes back.
///
/// Errors mean that it did not begin, or that the journal failed; what became of single steps stands in the report.
pub async fn apply<A: Agent, R: Resolve, C: Clock>(
    run: Run<'_, A, R, C>,
    plan: &Plan,
    apply: &str,
    identity: &Identity,
    undo_of: Option<String>,
) -> Result<Report, ApplyError> {
    check(plan)?;
    let scheduler = Scheduler::new(plan).map_err(|e| ApplyError::BadPlan(e.0))?;
    if plan.is_empty() {
        return Ok(Report { apply: apply.to_owned(), ..Report::default() });
    }
    let restores = restored_fingerprints(run.journal, plan)?;
    let granted = lease::take(run.agent, run.clock, plan, run.settings, &identity.claim(apply, false)).await?;
    let header = Header {
        apply: apply.to_owned(),
        at: run.clock.now(),
        organization: plan.organization.clone(),
        environment: plan.environment.clone(),
        phase: plan.phase.clone(),
        intent: plan.intent.clone(),
        steps: plan.steps.len() as u32,
        holder: identity.holder.name(),
        undo_of: undo_of.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let begun = begin(&run, header, plan, &granted).await;
    let dispatcher = Dispatcher::new(run, plan, apply, scheduler, granted, restores);
    if let Err(e) = begun {
        dispatcher.release().await;
        return Err(e.into());
    }
    dispatcher.tell(What::ApplyStarted {
        apply: apply.to_owned(),
        intent: plan.intent.clone(),
        steps: plan.steps.len() as u32,
        resumed: false,
        undo_of,
    });
    dispatcher.drive().await
}

async fn begin<A, R, C: Clock>(
    run: &Run<'_, A, R, C>,
    header: Header,
    plan: &Plan,
    granted: &Granted,
) -> Result<(), JournalError> {
    let apply = header.apply.clone();
    run.journal.begin(header, plan).await?;
    run.journal.append(&apply, run.clock.now(), leases(granted)).await
}

fn leases(granted: &Granted) -> Vec<Record> {
    let taken = |(host, from): (&crate::model::HostName, &Option<String>)| Record::LeaseTaken {
        host: host.clone(),
        token: granted.token,
        from: from.clone(),
    };
    granted.hosts.iter().map(taken).collect()
}

/// Refuses what must not be applied.
fn check(plan: &Plan) -> Result<(), ApplyError> {
    if plan.version != PLAN_VERSION {
        let text = format!("it has format {}, this program applies format {PLAN_VERSION}", plan.version);
        return Err(ApplyError::BadPlan(text));
    }
    if let Some(e) = plan.failed.first() {
        return Err(ApplyError::Blocked(format!("it was made without an answer of {e}")));
    }
    match plan.notes.iter().find(|n| n.blocks) {
        Some(note) => Err(ApplyError::Blocked(note.text.clone())),
        None => Ok(()),
    }
}

/// For restores: the fingerprint that each brings back, from the journal of the apply that is undone.
fn restored_fingerprints(journal: &Journal, plan: &Plan) -> Result<BTreeMap<StepId, String>, JournalError> {
    let mut out = BTreeMap::new();
    let mut former: BTreeMap<&str, Option<Plan>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|s| s.action == Action::Restore) {
        let Some((apply, of)) = &step.restores else { continue };
        if !former.contains_key(apply.as_str()) {
            former.insert(apply, journal.load(apply)?.map(|s| s.plan));
        }
        let expect =
            former[apply.as_str()].as_ref().and_then(|p| p.steps.get(*of as usize)).and_then(|s| s.expect.clone());
        out.extend(expect.map(|e| (step.id, e)));
    }
    Ok(out)
}
