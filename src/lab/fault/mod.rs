//! What a lab can do to its hosts, each with its way back.

use serde::{Deserialize, Serialize};

/// A fault in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// `f1`, `f2` …: what `heal` takes.
    pub id: String,
}
