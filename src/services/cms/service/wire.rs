//! What is said over the control socket: one JSON object a line, a request and its answer.

use serde::{Deserialize, Serialize};

use super::super::config::Verify;
use super::super::ledger::{Passed, Summary};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status {},
    /// No pass of these begins any more; one that runs ends. All when none is named.
    Pause {
        users: Vec<String>,
    },
    Resume {
        users: Vec<String>,
    },
    /// Exceptions and what stopped a mailbox are tried again at once; with `removals` also removals that were held back.
    Retry {
        users: Vec<String>,
        removals: bool,
        /// Another mover's mailboxes are taken over.
        #[serde(default)]
        takes: bool,
    },
    /// These work on the old side, though their mailboxes count as moved: a last pass comes before anything goes back. `off`: they do not.
    Astray {
        users: Vec<String>,
        #[serde(default)]
        off: bool,
    },
    /// A pass now; the answer comes when it is over, or after so many milliseconds.
    Final {
        users: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<u64>,
    },
    /// What has come to the old side since the switch.
    Late {
        users: Vec<String>,
    },
    Rollback {
        users: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<u64>,
    },
    Verify {
        users: Vec<String>,
        how: Option<Verify>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Status(Box<Status>),
    /// Mailboxes that it concerned.
    Done(usize),
    Passes(Vec<PassDone>),
    Error(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Passes that wait, and that run.
    pub waiting: usize,
    pub moving: i64,
    /// Seconds until the first pass of all is over at the present pace; nothing when that is not known.
    pub left_seconds: Option<u64>,
    pub mailboxes: Vec<Summary>,
}

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassDone {
    pub user: String,
    pub passed: Option<Passed>,
    /// What stopped it, and what a person can do.
    pub fault: Option<String>,
    pub help: Option<String>,
}

impl PassDone {
    pub fn failed(user: &str, why: &str) -> Self {
        Self { user: user.to_owned(), passed: None, fault: Some(why.to_owned()), help: None }
    }
}
