//! What execution asks of a host, whatever stands behind it: a real host over SSH, this machine, or a scripted one.
//!
//! ```text
//! execution ──observe/run──▶ Agent ──script──▶ sh on the host
//!           ◀──Observation, StepReport──       ◀──lines──
//! ```
//!
//! On the host everything of ours lives under `/var/lib/cutover/<organization>/` (mode 0700): `owned/` (ledger of resources),
//! `marks/<apply>/` (started and completed steps), `former/<apply>/` (what stood there before), `pending/` (asked-for reloads),
//! `lease`, `armed`.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use crate::model::host::{HostAccess, HostError};
use crate::model::observed::{Lease, Observation};
use crate::model::resource::Resource;
use crate::model::step::{Outcome, Step, StepId};

/// What to look at on one host. One script, one session, one answer.
#[derive(Debug, Clone, Copy)]
pub struct ObserveRequest<'a> {
    pub organization: &'a str,
    /// Masks digests of sensitive content, see `Digest::masked`.
    pub state_key: &'a str,
    /// The desired resources of this host. Owned ones beyond these are observed as well.
    pub resources: &'a [Resource],
}

/// One step with what it needs in memory.
#[derive(Debug, Clone)]
pub struct RemoteStep {
    pub step: Step,
    /// Resolved content, secrets included; wiped on drop. Reaches the host by stdin only.
    pub content: Option<Zeroizing<Vec<u8>>>,
    /// Members of `step.after` that are in the same batch; others are done already.
    pub after_in_batch: Vec<StepId>,
}

/// Steps of one host that go in one execution, in order. A step whose predecessor in the batch is not done is skipped.
#[derive(Debug, Clone)]
pub struct Batch {
    pub organization: String,
    pub apply: String,
    /// Fencing token, checked on the host before each step.
    pub token: u64,
    pub state_key: String,
    pub steps: Vec<RemoteStep>,
    /// The plan's other steps of this host that are not done yet and not in this batch, in order. A step of ours may change what
    /// a later one pinned: a package brings a service, a user and a configuration file that were absent at plan time. The host
    /// checks those pins before such a step and moves the ones that held along with it, so that only a foreign change is stale.
    pub later: Vec<Step>,
    /// Arm the dead man's switch before the first risky step: seconds until the host reverts by itself.
    pub arm_seconds: Option<u64>,
    /// How long steps that people carry out are waited for.
    pub patience: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepReport {
    Armed,
    Started(StepId),
    /// Something that a watcher should know of a step that still runs.
    Told(StepId, String),
    Ended(StepId, Outcome),
    /// Not done yet by those who must do it, and nothing is lost: it waits for a resume. The text says what it waits for.
    Later(StepId, String),
}

#[derive(Debug, Clone)]
pub struct LeaseRequest {
    pub organization: String,
    /// `user@machine pid N boot ID`.
    pub holder: String,
    pub apply: String,
    /// `None`: take the next token (on the anchor). `Some`: hold this one (on the other hosts); refused when a larger one is there.
    pub token: Option<u64>,
    /// A holder without a heartbeat for this long is dead (seconds by the host's clock).
    pub dead_after: i64,
    /// This holder is known to be dead (same machine, its process gone): take over at once.
    pub known_dead: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAnswer {
    Granted { token: u64, from: Option<Lease> },
    Held(Lease),
}

/// A host that can be asked and changed.
pub trait Agent: Send + Sync + 'static {
    fn observe(
        &self,
        host: &HostAccess,
        request: ObserveRequest<'_>,
    ) -> impl Future<Output = Result<Observation, HostError>> + Send;

    fn acquire(
        &self,
        host: &HostAccess,
        request: &LeaseRequest,
    ) -> impl Future<Output = Result<LeaseAnswer, HostError>> + Send;

    /// Renews the lease; `Err(Fenced)` when a larger token is there.
    fn heartbeat(
        &self,
        host: &HostAccess,
        organization: &str,
        token: u64,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    fn release(
        &self,
        host: &HostAccess,
        organization: &str,
        token: u64,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Runs a batch; reports stream in while it runs. Waits for a batch script that is still at work there. A step that runs a
    /// second time (it was begun and not ended) keeps the former content that its first run put by. `Err` says that the connection or the script broke: steps without an
    /// `Ended` report are unknown.
    fn run(
        &self,
        host: &HostAccess,
        batch: Batch,
        reports: UnboundedSender<StepReport>,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// What the host itself remembers of an apply: its completion marks. A step that is started without an end is `Unknown`.
    /// Waits until no batch script runs there any more, whatever its token: after a cut line the script of this very apply may
    /// still be at work. An error when it does not end in time.
    fn outcomes(
        &self,
        host: &HostAccess,
        organization: &str,
        apply: &str,
    ) -> impl Future<Output = Result<BTreeMap<StepId, Outcome>, HostError>> + Send;

    /// Disarms the dead man's switch over a new connection (no ControlMaster) after a working probe. `Ok(false)`: too late,
    /// the host has reverted. `Ok(true)` when this apply has armed nothing there.
    fn disarm(
        &self,
        host: &HostAccess,
        organization: &str,
        apply: &str,
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
}
