//! What an apply is told apart from its plan.

use std::time::Duration;

/// How much is still wanted of a run; sent by whoever hears Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    Run,
    /// Batches on their way end, no new one starts.
    Drain,
    /// Everything stops; steps on their way are left as started, and a resume asks their hosts.
    Stop,
}

/// Limits and times of an apply.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hosts at work at the same time.
    pub parallel: usize,
    /// Steps sent to a host in one go, at most.
    pub batch_steps: usize,
    /// Content sent to a host in one go, in bytes; a single larger one goes alone.
    pub batch_bytes: usize,
    /// Seconds until a host puts risky steps back by itself.
    pub arm_seconds: u64,
    pub heartbeat: Duration,
    /// A holder without a heartbeat for this long is dead.
    pub dead_after: Duration,
    /// How long a lost host is tried before its steps are given up as unknown.
    pub reconnect: Duration,
    /// Times that a host may be lost without one step getting done in between.
    pub losses: u32,
    /// A wait that is longer than this ends the run; a resume goes on when it is over.
    pub longest_wait: Duration,
    /// Masks digests of sensitive content (`secret::StateKey`).
    pub state_key: String,
}

impl Settings {
    pub fn new(state_key: impl Into<String>) -> Self {
        Self {
            parallel: 32,
            batch_steps: 50,
            batch_bytes: 8 << 20,
            arm_seconds: 60,
            heartbeat: Duration::from_secs(10),
            dead_after: Duration::from_secs(30),
            reconnect: Duration::from_secs(180),
            losses: 5,
            longest_wait: Duration::from_secs(3_600),
            state_key: state_key.into(),
        }
    }
}
