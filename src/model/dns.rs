//! DNS records as cutover compares them: by name and type, in one spelling.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Name and type of a record set. The name is absolute, in lower case and A-labels, with its last dot: `mail.acme.example.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetKey {
    pub name: String,
    /// As in `MX`.
    pub kind: String,
}

impl std::fmt::Display for SetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// All records of one name and type: they have one time to live (RFC 2181, section 5.2) and no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    pub key: SetKey,
    /// Seconds.
    pub ttl: u32,
    /// Each record's data in the canonical spelling of `protocol::dns::data`.
    pub data: BTreeSet<String>,
}

/// What becomes of one record set: from nothing, to nothing, or from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    pub before: Option<RecordSet>,
    pub after: Option<RecordSet>,
}

impl SetChange {
    /// `None` for a change of nothing to nothing.
    pub fn key(&self) -> Option<&SetKey> {
        self.after.as_ref().or(self.before.as_ref()).map(|s| &s.key)
    }
}
