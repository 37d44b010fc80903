//! The life of one step. All legal transitions stand in one pure match; the live run and every replay use it.
//!
//! ```text
//!            Start            End
//!  Waiting ────────▶ Started ─────▶ Done | Failed | Stale | Skipped | Fenced | Reverted
//!     ▲  │              │  └──────▶ Unknown ──End──▶ (as above)
//!     │  └─End(not sent)┼──▶ Failed | Skipped | Fenced
//!     └──── Reset ──────┴── (the host was asked: not done)
//!     └──── Reopen ── Skipped | Fenced (a resume looks at them anew)
//! ```

use serde::{Deserialize, Serialize};

use crate::model::step::Outcome;

/// Where a step stands, as the journal tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not begun, or asked and found not done.
    Waiting,
    /// Written down, perhaps sent; no answer yet. After a crash: to be asked.
    Started,
    /// Asked in vain, or the host shows neither the former nor the wanted state.
    Unknown,
    Done,
    Failed,
    Stale,
    Skipped,
    Fenced,
    Reverted,
}

impl Status {
    /// The status that an outcome leads to.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done { .. } => Status::Done,
            Outcome::Stale { .. } => Status::Stale,
            Outcome::Failed { .. } => Status::Failed,
            Outcome::Skipped { .. } => Status::Skipped,
            Outcome::Fenced { .. } => Status::Fenced,
            Outcome::Unknown { .. } => Status::Unknown,
            Outcome::Reverted => Status::Reverted,
        }
    }

    /// What a resume has to do something about.
    pub fn is_open(self) -> bool {
        matches!(self, Status::Waiting | Status::Started | Status::Unknown | Status::Skipped | Status::Fenced)
    }
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change<'a> {
    /// Written down before it is sent.
    Start,
    End(&'a Outcome),
    /// The host was asked and it is not done: it may run again.
    Reset,
    /// A resume begins.
    Reopen,
}

/// A journal or a host told of something that cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a step that is {from:?} cannot {change}")]
pub struct IllegalTransition {
    pub from: Status,
    pub change: String,
}

/// The one table of transitions.
pub fn next_status(from: Status, change: Change<'_>) -> Result<Status, IllegalTransition> {
    use Change::{End, Reopen, Reset, Start};
    use Status::{Fenced, Skipped, Started, Unknown, Waiting};
    match (from, change) {
        (Waiting, Start) => Ok(Started),
        // Not sent: its content could not be read, a step before it was not done, or a newer apply holds the lease.
        (Waiting, End(o @ (Outcome::Failed { .. } | Outcome::Skipped { .. } | Outcome::Fenced { .. }))) => {
            Ok(Status::of(o))
        }
        (Started | Unknown, End(o)) => Ok(Status::of(o)),
        (Started | Unknown, Reset) => Ok(Waiting),
        (Skipped | Fenced, Reopen) => Ok(Waiting),
        (other, Reopen) => Ok(other),
        (from, change) => Err(IllegalTransition {
            from,
            change: match change {
                Start => "start".into(),
                End(o) => format!("end as {:?}", Status::of(o)),
                Reset => "be found not done".into(),
                Reopen => "be reopened".into(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 9] = [
        Status::Waiting,
        Status::Started,
        Status::Unknown,
        Status::Done,
        Status::Failed,
        Status::Stale,
        Status::Skipped,
        Status::Fenced,
        Status::Reverted,
    ];

    #[test]
    fn what_is_done_stays_done() {
        let done = Outcome::Done { fingerprint: None };
        for change in [Change::Start, Change::End(&done), Change::Reset] {
            assert!(next_status(Status::Done, change).is_err(), "{change:?}");
        }
        assert_eq!(next_status(Status::Done, Change::Reopen), Ok(Status::Done));
    }

    #[test]
    fn only_a_waiting_step_starts() {
        for from in ALL {
            assert_eq!(next_status(from, Change::Start).is_ok(), from == Status::Waiting, "{from:?}");
        }
    }

    #[test]
    fn nothing_is_done_without_a_start() {
        let done = Outcome::Done { fingerprint: None };
        for from in ALL {
            let legal = matches!(from, Status::Started | Status::Unknown);
            assert_eq!(next_status(from, Change::End(&done)).is_ok(), legal, "{from:?}");
        }
    }

    #[test]
    fn an_unknown_step_runs_again_only_after_it_was_asked() {
        assert!(next_status(Status::Unknown, Change::Start).is_err());
        assert_eq!(next_status(Status::Unknown, Change::Reset), Ok(Status::Waiting));
    }
}
