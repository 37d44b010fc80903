//! The mover: passes of a mailbox from the side that is read to the side that is written.
//!
//! ```text
//! pass ─ lease ─ folders of both sides ─ names::plan ─▶ folders to work off ─▶ lanes (a session of each side each)
//! lane ─ open both ─ doubts ─ renumbering ─ rules::orders ─▶ append (fetch ∥ batch ∥ ledger) ─ flags ─ removals ─ mark
//! ```
//!
//! A rollback is the same with the sides exchanged ([`Way::Back`]).

mod claim;
mod doubt;
mod folder;
mod lane;
mod names;
mod pace;
mod pass;
mod personal;
mod renumber;
mod rules;
mod shape;
mod shared;
mod store;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::audit::Audit;
use super::config::{Config, Verify};
use super::ledger::{Ledger, Passed, Way};
use super::mailbox::Budget;
use super::meter::Meter;
use super::people::{Passwords, People};
use super::source::Means;

pub use pace::Pace;
pub use rules::{Orders, orders};

/// What a mover is asked to do with a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// All of it the first time, what has changed later.
    Delta,
    /// The source is frozen: the last delta, late copies of lost appends, and a verification. After it the new side is the user's.
    Final,
    /// What the new side has that the old one has not goes back.
    Rollback,
    Verify(Verify),
}

impl Pass {
    pub fn as_str(self) -> &'static str {
        match self {
            Pass::Delta => "delta",
            Pass::Final => "final",
            Pass::Rollback => "rollback",
            Pass::Verify(_) => "verify",
        }
    }

    pub fn way(self, last: Way) -> Way {
        match self {
            Pass::Delta | Pass::Final => Way::Forward,
            Pass::Rollback => Way::Back,
            Pass::Verify(_) => last,
        }
    }
}

/// What all passes share.
pub struct Mover {
    pub config: Config,
    pub people: People,
    pub passwords: Passwords,
    pub ledger: Ledger,
    pub audit: Audit,
    pub meter: Meter,
    pub pace: Pace,
    means: Means,
    /// Sessions at the source and at the target of the configuration.
    sessions: [Arc<Semaphore>; 2],
}

impl Mover {
    pub fn new(
        config: Config,
        people: People,
        passwords: Passwords,
        ledger: Ledger,
    ) -> Result<Self, super::mailbox::Fault> {
        let spool = config.cms.state.join("spool");
        let failed = |e: std::io::Error| {
            super::mailbox::Fault::new(super::mailbox::Class::Local, format!("{}: {e}", spool.display()))
        };
        std::fs::create_dir_all(&spool).map_err(failed)?;
        let means = Means { budget: Budget::new(config.cms.memory), spool, largest: config.limits.largest };
        let sessions = [&config.source, &config.target].map(|end| Arc::new(Semaphore::new(end.sessions)));
        let (audit, pace) = (Audit::open(&config.cms.state)?, Pace::of(&config.limits));
        Ok(Self { config, people, passwords, ledger, audit, meter: Meter::default(), pace, means, sessions })
    }
}

/// What a pass has done so far. Lanes add to it side by side.
#[derive(Debug, Default)]
struct Tally {
    unchanged: AtomicU64,
    folders: AtomicU64,
    appended: AtomicU64,
    octets: AtomicU64,
    flags: AtomicU64,
    removed: AtomicU64,
    doubts: AtomicU64,
    found: AtomicU64,
    surplus: AtomicU64,
    /// Beside mail.
    things: AtomicU64,
}

fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(n as u64, Ordering::Relaxed);
}

impl Tally {
    fn passed(&self, pass: &str, seconds: f64) -> Passed {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Passed {
            pass: pass.to_owned(),
            seconds,
            folders: of(&self.folders),
            unchanged: of(&self.unchanged),
            appended: of(&self.appended),
            octets: of(&self.octets),
            flags: of(&self.flags),
            removed: of(&self.removed),
            doubts: of(&self.doubts),
            found: of(&self.found),
            surplus: of(&self.surplus),
            things: of(&self.things),
            exceptions: 0,
            borne: false,
            fault: None,
        }
    }
}
