//! What a window does for the people who move in it, beside the move itself: steps before the first wave of a cohort, and after its last.

use serde::{Deserialize, Serialize};

use super::address::Address;

/// What is done, by its name in `cutover-window.steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// The notices of the cohort that are due have gone out.
    Notify,
    /// No mail waits in the queue of the old side.
    DrainSource,
    /// Whoever was to move has, and the probes of the way back pass.
    Verify,
    /// Nobody is held.
    Open,
}

impl Doing {
    /// In the order in which they follow one another.
    pub const ALL: [Doing; 4] = [Doing::Notify, Doing::DrainSource, Doing::Verify, Doing::Open];

    pub fn as_str(self) -> &'static str {
        match self {
            Doing::Notify => "notify",
            Doing::DrainSource => "drain-source",
            Doing::Verify => "verify",
            Doing::Open => "open",
        }
    }

    /// What a barrier in the place of a cohort is for.
    pub fn of(address: &Address) -> Option<Self> {
        let (_, word) = address.key.rsplit_once('/')?;
        Self::ALL.into_iter().find(|d| address.host.is_cohort() && d.as_str() == word)
    }

    /// For a plan: until when the step waits.
    pub fn until(self) -> &'static str {
        match self {
            Doing::Notify => "until the notices that are due have gone out",
            Doing::DrainSource => "until no mail waits in the queue of the old side",
            Doing::Verify => "until all who were to move work on the new side and its probes pass",
            Doing::Open => "until nobody is held any more",
        }
    }
}

/// What happens when a step takes longer than it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimeout {
    /// What the way back of the window restores is taken back.
    Rollback,
    /// The run ends, and a resume asks again.
    #[default]
    Stop,
    /// It is said, and what comes next goes on.
    Continue,
}

impl OnTimeout {
    pub fn as_str(self) -> &'static str {
        match self {
            OnTimeout::Rollback => "rollback",
            OnTimeout::Stop => "stop",
            OnTimeout::Continue => "continue",
        }
    }

    pub fn parse(word: &str) -> Self {
        match word {
            "rollback" => OnTimeout::Rollback,
            "continue" => OnTimeout::Continue,
            _ => OnTimeout::Stop,
        }
    }
}

/// One of them as a window has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Act {
    pub what: Doing,
    /// Seconds.
    pub timeout: u64,
    pub on_timeout: OnTimeout,
}
