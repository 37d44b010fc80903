//! Events of an apply. One stream feeds the progress display, the JSON stream, the journal and the closing report.

use serde::{Deserialize, Serialize};

use super::address::{Address, HostName};
use super::attr::Digest;
use super::step::{Action, Outcome, StepId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// Unix milliseconds.
    pub at: i64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum What {
    ApplyStarted {
        apply: String,
        intent: Digest,
        steps: u32,
        resumed: bool,
        undo_of: Option<String>,
    },
    LeaseTaken {
        host: HostName,
        token: u64,
        from: Option<String>,
    },
    /// Written durably before the step is sent to its host.
    StepStarted {
        step: StepId,
        address: Address,
        action: Action,
    },
    StepEnded {
        step: StepId,
        address: Address,
        action: Action,
        outcome: Outcome,
        millis: u64,
    },
    /// A step waits for its time. Told when the wait begins, and again now and then.
    Waiting {
        step: StepId,
        address: Address,
        /// Unix seconds.
        until: i64,
        why: String,
    },
    /// What a running step has to say, such as which name server lags.
    Told {
        step: StepId,
        address: Address,
        text: String,
    },
    HostLost {
        host: HostName,
        why: String,
    },
    /// The dead man's switch of a host was armed or, over a new connection, disarmed.
    Armed {
        host: HostName,
        seconds: u64,
    },
    Disarmed {
        host: HostName,
    },
    /// Ctrl-C: running steps end, no new one starts.
    Draining,
    /// A trigger of a way back fired.
    Triggered {
        trigger: String,
        why: String,
        rolls_back: bool,
    },
    ApplyEnded {
        apply: String,
        done: u32,
        failed: u32,
        skipped: u32,
        unknown: u32,
    },
}
