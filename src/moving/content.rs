//! The content service as the move sees it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use crate::services::cms::ledger::Summary;
use crate::services::cms::service::wire::PassDone;

/// A pass that a move asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// What is left goes to the new side, and is verified; the source is held.
    Final,
    /// What has still come to the old side goes over, of people who are on the new one.
    Late,
    /// What came to the new side goes back to the old one.
    Rollback,
}

impl Carry {
    /// The command of `cutover-cms`.
    pub fn as_str(self) -> &'static str {
        match self {
            Carry::Final => "final",
            Carry::Late => "late",
            Carry::Rollback => "rollback",
        }
    }
}

pub trait Content: Sync {
    /// How these mailboxes stand; who is not among the service's mailboxes is not in the answer.
    fn look(&self, users: &[String]) -> impl Future<Output = Result<BTreeMap<String, Summary>, String>> + Send;

    /// Writes down there who works on the old side though the mailbox counts as moved, or that they do not: before they are held, since held
    /// people look all the same to whoever goes on after a death.
    fn astray(&self, users: &[String], on: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// A pass of each, answered within this time: whose pass was not over by then is said to have failed. An error says that there was no
    /// answer: what became of the passes is unknown.
    fn carry(
        &self,
        users: &[String],
        what: Carry,
        within: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<PassDone>, String>> + Send;
}
