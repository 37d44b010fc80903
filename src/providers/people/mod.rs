//! The people of a cohort as a place of waves: looked at before a plan, moved by its steps, taken back by an undo. How gates and content
//! service are asked is the caller's ([`People`]); what a wave set out to do, and how it ended, stands on the host that keeps the ledger.
//!
//! ```text
//! run:  who goes ──▶ claim in the ledger, under the lease ──▶ copied? ──▶ group ─ lease ─ group … ──▶ watched ──▶ end in the ledger
//! ```
//!
//! Where somebody stands is asked each time and never remembered: whoever is there already is left alone, so a step that was cut off is
//! simply begun again.

mod act;
mod lane;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Digest;
use crate::model::act::Doing;
use crate::model::host::CohortAccess;

pub use lane::Lane;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    New,
    Old,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Side::New => Side::Old,
            Side::Old => Side::New,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Side::New => "new",
            Side::Old => "old",
        }
    }
}

/// Whether somebody who is not on the new side could go there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Yes,
    /// The mailbox is being copied.
    Soon,
    /// A person has to mend something first.
    No,
}

/// Where somebody stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    pub user: String,
    /// The side on which they work; neither while they are held, or where a gate differs from another.
    pub side: Option<Side>,
    /// In one word, as `cohort status` has it.
    pub state: &'static str,
    pub fit: Fit,
    /// Since when their mailbox is where it is (Unix seconds).
    pub since: i64,
}

/// What became of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    pub user: String,
    pub arrived: bool,
    /// Why not.
    pub why: Option<String>,
    pub held_ms: Option<u64>,
    pub messages: u64,
}

/// A wave as the cohort's lists have it today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub digest: Digest,
    pub users: Vec<String>,
}

/// An answer, or why there is none: then nothing was changed.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Whoever has the gates and the content service of cohorts within reach.
pub trait People: Send + Sync {
    /// The waves of a cohort, in their order.
    fn waves(&self, cohort: &str) -> Result<Vec<Listed>, String>;

    /// Where these stand, each of them, asked once however many they are.
    fn look<'a>(&'a self, cohort: &'a str, users: &'a [String]) -> Asked<'a, Vec<Stands>>;

    /// Brings people who are held together to a side. Whoever is there already has arrived.
    fn bring<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        users: &'a [String],
        to: Side,
        tell: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<Came>>;

    /// Does what a step of the cohort's window still lacks, for no longer than this, and says what that is: nothing when it is so.
    fn act<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        what: Doing,
        within: Duration,
        tell: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<String>>;

    /// The run is to end: no further group is begun.
    fn stopping(&self) -> bool {
        false
    }
}

/// Where nobody can be moved from.
pub struct Nobody;

impl People for Nobody {
    fn waves(&self, cohort: &str) -> Result<Vec<Listed>, String> {
        Err(format!("the gates and the content service of cohort {cohort} are not within reach from here"))
    }

    fn look<'a>(&'a self, cohort: &'a str, _: &'a [String]) -> Asked<'a, Vec<Stands>> {
        let answer = self.waves(cohort).map(|_| Vec::new());
        Box::pin(async { answer })
    }

    fn bring<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        _: &'a [String],
        _: Side,
        _: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<Came>> {
        let answer = self.waves(&cohort.cohort).map(|_| Vec::new());
        Box::pin(async { answer })
    }

    fn act<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        _: Doing,
        _: Duration,
        _: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<String>> {
        let answer = self.waves(&cohort.cohort).map(|_| Vec::new());
        Box::pin(async { answer })
    }
}
