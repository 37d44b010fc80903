//! One call of a cmdlet, as the script takes it.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::Wish;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    pub kind: String,
    pub key: Vec<String>,
    pub cmdlet: String,
    /// Secrets are references in it: `{"$secret":"env:X"}`, `{"$user":"ann","$password":"env:X"}`.
    pub parameters: Map<String, Json>,
    pub changes: Vec<Change>,
}

/// What a call is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub parameter: String,
    /// `None` where the object was not there.
    pub from: Option<String>,
    pub to: String,
}

impl Call {
    pub(super) fn of(wish: &Wish, cmdlet: &str, parameters: Map<String, Json>, changes: Vec<Change>) -> Self {
        Self { kind: wish.kind.clone(), key: wish.key.clone(), cmdlet: cmdlet.to_owned(), parameters, changes }
    }
}
