//! Where a journal is kept. Each call that writes is one durable transaction: all of it or nothing.

use std::collections::BTreeMap;

use super::JournalError;
use super::record::{Entry, Header, Record, Saved};
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::observed::Observation;
use crate::model::plan::Plan;

/// One thing to write. Several in one call are one transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// Header and the plan's text, see [`plan_text`].
    Begin {
        header: Box<Header>,
        plan: String,
    },
    Append {
        apply: String,
        entries: Vec<Entry>,
    },
    /// The last answer of a host, a cache only.
    Observation {
        at: i64,
        body: Box<Observation>,
    },
    /// How the hosts of the organisation are reached.
    Hosts(BTreeMap<HostName, HostAccess>),
}

/// A plan as the journal keeps it: its JSON.
pub fn plan_text(plan: &Plan) -> Result<String, JournalError> {
    serde_json::to_string(plan).map_err(|e| JournalError::Encode(e.to_string()))
}

/// A line of `history`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub header: Header,
    /// The last record, when there is one; `Finished` on a whole apply.
    pub last: Option<Entry>,
    pub records: u64,
}

impl Summary {
    /// It came to its end.
    pub fn finished(&self) -> bool {
        matches!(self.last, Some(Entry { record: Record::Finished { .. }, .. }))
    }
}

/// A durable store of headers and records.
pub trait Store: Send + 'static {
    fn write(&mut self, batch: Vec<Write>) -> Result<(), JournalError>;

    /// One apply, checked record by record.
    fn load(&mut self, apply: &str) -> Result<Option<Saved>, JournalError>;

    /// All applies, oldest first.
    fn list(&mut self) -> Result<Vec<Summary>, JournalError>;

    fn observation(&mut self, host: &HostName) -> Result<Option<(i64, Observation)>, JournalError>;

    fn hosts(&mut self) -> Result<BTreeMap<HostName, HostAccess>, JournalError>;
}
