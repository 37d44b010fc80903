//! Which mailbox is next. A trait, because a fleet of hosts will share one queue; the embedded one is for a host alone. What a queue loses
//! with its process is not lost: the ledger knows how far each mailbox has come, and the service fills the queue from it.

mod embedded;

use std::time::Instant;

pub use embedded::Embedded;

use super::mover::Pass;

/// Who comes first, whatever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits for it: `final`, `rollback`, `verify`, `retry`.
    Asked,
    /// The user works on the old side now.
    LoggedIn,
    Usual,
}

/// One pass of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub user: String,
    pub pass: Pass,
    pub urgency: Urgency,
    /// Not before.
    pub due: Instant,
}

/// Rules of every queue: of a mailbox at most one task is out at a time; of what waits for it, what is asked for counts before what is
/// usual; among equals who waits longest is next.
pub trait Queue: Send + Sync + 'static {
    /// Puts a task in, beside others of the mailbox unless it is the same pass: then the earlier and more urgent of both stays.
    fn put(&self, task: Task);

    /// Takes the next task that is due; waits for one. Its mailbox is out until [`Queue::done`].
    fn next(&self) -> impl Future<Output = Task> + Send;

    fn done(&self, user: &str);

    /// Takes out a pass that nobody has begun; one that runs goes on.
    fn forget(&self, user: &str, pass: Pass);

    /// Tasks that wait.
    fn waiting(&self) -> usize;
}
