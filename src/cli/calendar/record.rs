//! Which apply belonged to which change, kept beside the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::super::lines::{LinesFile, author};
use crate::journal::StateDir;

/// Written before the first step is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub apply: String,
    /// RFC 3339.
    pub at: String,
    /// USER@MACHINE.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Why it belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_change: Option<String>,
    /// Why it does not wait for its window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<String>,
    /// The cutover window that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}

impl Entry {
    pub fn new(apply: &str) -> Self {
        Self {
            apply: apply.to_owned(),
            at: format!("{:.0}", jiff::Timestamp::now()),
            by: author(),
            change: None,
            no_change: None,
            emergency: None,
            window: None,
        }
    }

    /// As `history` says it.
    pub fn told(&self) -> Option<String> {
        let text = match (&self.change, &self.no_change) {
            (Some(change), _) => format!("change {change}"),
            (None, Some(why)) => format!("no change: {why}"),
            (None, None) => return self.emergency.as_ref().map(|why| format!("emergency: {why}")),
        };
        Some(self.emergency.as_ref().map_or(text.clone(), |why| format!("{text}, emergency: {why}")))
    }
}

pub fn file(state: &StateDir) -> LinesFile<Entry> {
    LinesFile::of(state, "changes.jsonl")
}

/// The last entry of each apply.
pub fn by_apply(state: &StateDir) -> Result<BTreeMap<String, Entry>, Failure> {
    Ok(file(state).read()?.into_iter().map(|e| (e.apply.clone(), e)).collect())
}
