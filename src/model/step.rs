//! One step of a plan, and what can become of it.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::attr::Attrs;
use super::resource::{Notify, Resource};
use super::source::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Create,
    Update,
    /// Delete, then create: an attribute cannot change in place.
    Replace,
    Delete,
    /// Run a command.
    Run,
    Reload,
    Restart,
    /// Undo: put back what the host kept from before another step.
    Restore,
    /// Nothing is changed: waits until every name server serves what it names.
    Wait,
    /// People go to the new side.
    Move,
}

impl Action {
    /// In the order that people are shown them.
    pub const ALL: [Action; 10] = [
        Action::Create,
        Action::Update,
        Action::Replace,
        Action::Delete,
        Action::Run,
        Action::Reload,
        Action::Restart,
        Action::Restore,
        Action::Wait,
        Action::Move,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Delete => "delete",
            Action::Run => "run",
            Action::Reload => "reload",
            Action::Restart => "restart",
            Action::Restore => "restore",
            Action::Wait => "wait",
            Action::Move => "move",
        }
    }
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// `undo` puts back what is kept on the host; the text says what.
    Restores(String),
    /// Nothing to put back (a reload).
    Nothing,
    /// Cannot be undone; the text says why.
    Irreversible(String),
}

/// One changed attribute, as people read it. `(sensitive)` stands for values that may not be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// This change forces the replacement.
    pub forces_replacement: bool,
}

/// Index of a step in its plan.
pub type StepId = u32;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Step {
    /// Equals its index in `Plan::steps`; steps stand in an order that respects `after`.
    pub id: StepId,
    pub address: Address,
    pub action: Action,
    /// Desired attributes (for a delete: what the ledger knows of it).
    pub attrs: Attrs,
    /// `Record::fingerprint` at plan time; the host refuses the step when it finds another. `None` only for reload and restart.
    pub expect: Option<String>,
    /// Steps that must be done first.
    pub after: Vec<StepId>,
    pub notifies: Vec<Notify>,
    /// Goes into the host's ledger with the step (`Owned::protect`).
    #[serde(default)]
    pub protect: bool,
    pub undo: Undo,
    /// Could cut us off from the host: the dead man's switch is armed first.
    pub risky: bool,
    /// `kind:name` of the topology node.
    pub owner: String,
    pub origin: Origin,
    pub changes: Vec<FieldChange>,
    /// Former text of the content, for the diff; never of sensitive content.
    pub before_text: Option<String>,
    /// Why it is done, in a few words (`package missing`, `asked for by file:/etc/postfix/main.cf`).
    pub reason: String,
    /// For `Restore`: apply id and step whose former state is put back.
    pub restores: Option<(String, StepId)>,
}

impl Step {
    /// The key under which the host's ledger held the same thing before a rename, which this step carries over. The host knows
    /// by itself what a restore brings back.
    pub fn former_key(&self) -> Option<&str> {
        let key = self.changes.iter().find(|c| c.field == "key").filter(|_| self.action != Action::Restore);
        key?.before.as_deref()
    }

    /// The resource that the step is about, so that it can be observed without the topology. Its place in an order is not kept.
    pub fn resource(&self) -> Resource {
        Resource {
            address: self.address.clone(),
            attrs: self.attrs.clone(),
            group: String::new(),
            stage: 0,
            after: Vec::new(),
            notifies: self.notifies.clone(),
            protect: self.protect,
            owner: self.owner.clone(),
            origin: self.origin.clone(),
        }
    }
}

/// What became of a step. Three outcomes matter: done, not done (everything else), unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// Done; the fingerprint after it, `None` for reload, restart and run.
    Done { fingerprint: Option<String> },
    /// The host found another state than the plan pinned; nothing was changed.
    Stale { found: String },
    /// Tried and failed; nothing half done is left (files) or the text says what is.
    Failed { code: i32, output: String },
    /// Not tried because a step before it was not done.
    Skipped { because: StepId },
    /// Not tried because a newer apply holds the lease.
    Fenced { token: u64 },
    /// Started, and no answer: observed again before anything else.
    Unknown { why: String },
    /// The dead man's switch put the former state back.
    Reverted,
}

impl Outcome {
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done { .. })
    }
}
