//! How an apply ended.

use std::collections::BTreeMap;

use crate::journal::Status;
use crate::model::HostName;
use crate::model::step::{Outcome, StepId};

/// What a run ended before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    pub step: StepId,
    /// Unix seconds; `None`: until people have done it.
    pub until: Option<i64>,
    pub why: String,
}

/// Closing report. `left` steps were never begun or wait for a host that is away; `cutover resume` goes on with them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub apply: String,
    /// What became of each step that has an end.
    pub outcomes: BTreeMap<StepId, Outcome>,
    pub done: u32,
    /// Failed, stale or reverted.
    pub failed: u32,
    pub skipped: u32,
    pub unknown: u32,
    pub left: u32,
    /// Ctrl-C, drained or stopped at once.
    pub interrupted: bool,
    /// A newer apply has taken the lease; the text says where it showed.
    pub fenced: Option<String>,
    /// Hosts that were given up, and why.
    pub lost: BTreeMap<HostName, String>,
    /// Barriers that a name server kept shut, with those that lag.
    pub shut: BTreeMap<StepId, String>,
    /// All that is left waits for a time that is further away than [`super::Settings::longest_wait`], or for people.
    pub waits: Option<Waits>,
    /// Steps whose records the journal had lost and the hosts gave back.
    pub regained: u32,
}

impl Report {
    /// Every step is done.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.skipped == 0 && self.unknown == 0 && self.left == 0 && self.fenced.is_none()
    }

    pub(super) fn count(&mut self, statuses: &[Status]) {
        for status in statuses {
            match status {
                Status::Done => self.done += 1,
                Status::Failed | Status::Stale | Status::Reverted => self.failed += 1,
                Status::Skipped | Status::Fenced => self.skipped += 1,
                Status::Unknown => self.unknown += 1,
                Status::Waiting | Status::Started => self.left += 1,
            }
        }
    }
}
