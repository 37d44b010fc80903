//! Why an apply did not begin or could not go on. What became of single steps stands in the report.

use crate::journal::JournalError;
use crate::model::HostName;
use crate::model::host::HostError;
use crate::model::observed::Lease;

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the plan does not hold together: {0}; make a new one")]
    BadPlan(String),
    /// Hosts that could not be asked, or notes that block.
    #[error("the plan cannot be applied: {0}")]
    Blocked(String),
    #[error("another apply holds {host}: {} (apply {}), since {}, last sign of life {} s ago", .lease.holder, .lease.apply, when(.lease.since), .lease.age)]
    Held { host: HostName, lease: Box<Lease> },
    /// Before anything was changed.
    #[error("{0}; nothing was changed")]
    Host(HostError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("no apply {0} is in the journal; `cutover history` lists them")]
    NoSuchApply(String),
    #[error("apply {0} came to its end; there is nothing to resume")]
    Finished(String),
}

fn when(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(|_| "?".into(), |t| t.to_string())
}
