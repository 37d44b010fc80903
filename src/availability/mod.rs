//! How available a topology will be: predicted from its tiers, clusters and sites, before anything is built.
//!
//! ```text
//! reliability ──figures──▶ share of time that a server or site is down
//! server, pair, ccr, dag ──plant──▶ stores and tiers, each a block: k of n, votes, common causes
//! site ──outage──▶ which sites are gone at once
//! sla ──level──▶ blocks in a row, over all outages: an interval, held against the promise
//! ```
//!
//! The interval: at the lower end a share of failures is common to the servers of a role in a site (beta factor), at the upper end
//! none is. Where a server stands in several tiers, the lower end takes the product of the tiers, which is never more than the truth (they
//! fail together rather than apart; Barlow and Proschan, Statistical Theory of Reliability and Life Testing, 1975), and the upper end
//! the weakest of those tiers. Pure, and exact but for sites: of very many, those combinations are looked at that are likely.

mod block;
mod capacity;
mod chain;
mod figures;
mod level;
mod outage;
mod plant;
mod written;

use serde::Serialize;

pub use capacity::Capacity;
pub use figures::{COMMON, Input};
pub use level::{Level, Verdict};
pub use written::{percent, span};

use crate::model::topology::Topology;

/// One part of what users depend on, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `stores`, `sites`, or a role.
    pub part: String,
    /// `1 of 12`, `62 x 1 of 2, 2 of 3 votes`.
    pub of: String,
    /// Seconds of the level's window, as failures are common or independent.
    pub at_most: f64,
    pub at_least: f64,
}

/// All levels of availability.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Forecast {
    pub levels: Vec<Level>,
    /// Of tiers whose servers say what they carry.
    pub capacity: Vec<Capacity>,
    pub inputs: Vec<Input>,
}

/// What a topology will keep of what it promises; where it promises no availability, what the whole service comes to.
pub fn forecast(topology: &Topology) -> Forecast {
    level::forecast(topology)
}

/// What tiers carry whose servers say it, against what they have to.
pub fn capacities(topology: &Topology) -> Vec<Capacity> {
    let says = |h: &crate::model::topology::Node| h.value("mailboxes").is_some();
    if topology.all("hardware").any(says) { plant::Plant::of(topology).capacities() } else { Vec::new() }
}

/// As [`forecast`], of levels with a target only: for those who ask again and again.
pub fn promised(topology: &Topology) -> Vec<Level> {
    let promises = |s: &&crate::model::topology::Node| level::is_availability(s) && s.value("target").is_some();
    if topology.all("sla").any(|s| promises(&s)) { level::forecast(topology).levels } else { Vec::new() }
}
