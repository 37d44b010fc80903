//! A cutover window: what the topology says of it, and when each step of its plan may begin.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::step::StepId;
use super::trigger::WayBack;

/// Stages of moving a record set, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// What the new side needs: addresses and TLSA of the new hosts, SPF that allows both.
    Publish,
    /// The old data with a short time to live.
    LowerTtl,
    /// The new data in one compare and swap.
    FlipMx,
    /// Mail comes in on the new side, the old one accepts too.
    Verify,
    /// The time to live that the topology wants.
    RaiseTtl,
    /// What only the old side needed may go.
    Prune,
}

impl Stage {
    pub const ALL: [Stage; 6] =
        [Stage::Publish, Stage::LowerTtl, Stage::FlipMx, Stage::Verify, Stage::RaiseTtl, Stage::Prune];

    /// As `cutover-window.steps` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Publish => "publish",
            Stage::LowerTtl => "lower-ttl",
            Stage::FlipMx => "flip-mx",
            Stage::Verify => "verify",
            Stage::RaiseTtl => "raise-ttl",
            Stage::Prune => "prune",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A window with the record sets that wait for it. All times are Unix seconds; durations are seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub name: String,
    pub start: i64,
    pub end: i64,
    /// IANA name of the zone in which people are shown the times.
    pub timezone: String,
    pub stages: BTreeSet<Stage>,
    /// How long a stage may wait for its slowest name server, where the topology says so.
    pub timeouts: BTreeMap<Stage, u64>,
    /// Stages that take the window back when their slowest name server does not follow in time; the others stop there.
    pub rolls_back: BTreeSet<Stage>,
    /// The rollback point that it returns to.
    pub rollback: String,
    pub way_back: Option<WayBack>,
    /// Policies of MTA-STS of names in the zones of the topology.
    pub policies: Vec<StsPolicy>,
    /// How long the old side stays after the swap at least: senders retry for four to five days (RFC 5321, section 4.5.4.1).
    pub keep: u64,
    /// Record sets that keep their observed value until the swap.
    pub holds: BTreeSet<Address>,
    /// TTL ahead of the swap, by the host name of the zone's lane.
    pub short_ttls: BTreeMap<super::HostName, u32>,
}

impl Window {
    /// When nothing of the old side is needed any more (Unix seconds).
    pub fn over(&self) -> i64 {
        self.end.saturating_add(i64::try_from(self.keep).unwrap_or(i64::MAX))
    }
}

/// A policy of MTA-STS (RFC 8461) as the topology makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// Absolute, with its last dot.
    pub domain: String,
    /// The names of its `mx` lines, in lower case.
    pub hosts: BTreeSet<String>,
    /// How long senders keep it, in seconds.
    pub max_age: u64,
    /// The files that web servers give out.
    pub files: BTreeSet<Address>,
}

/// A moment of an earlier step that a later one is counted from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Since {
    /// A barrier: its moment is when the slowest name server was seen to serve what it asks for.
    pub step: StepId,
    /// That must have passed since.
    pub seconds: u64,
}

/// When a step may begin, beside the steps that it comes after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wait {
    /// Unix seconds.
    pub not_before: Option<i64>,
    pub since: Vec<Since>,
    /// Unix seconds: later it is not begun any more, since it could not end in time.
    pub not_after: Option<i64>,
    /// For people.
    pub reason: String,
}

/// One line of the timetable of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Entry {
    pub zone: String,
    pub stage: Stage,
    pub what: String,
    /// Unix seconds: the earliest begin, when every name server follows at once.
    pub begins: i64,
    /// Unix seconds: when its wait is over, counted from `begins`.
    pub ends: i64,
    /// Unix seconds: begun later, the window would not be kept.
    pub latest: Option<i64>,
    /// Why it takes this long.
    pub why: String,
    pub steps: Vec<StepId>,
}

/// The timetable of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Schedule {
    pub window: String,
    pub rollback: String,
    /// Unix seconds.
    pub start: i64,
    pub end: i64,
    pub timezone: String,
    /// Unix seconds at which the plan was made.
    pub planned: i64,
    pub entries: Vec<Entry>,
    /// Steps that wait for a time.
    pub waits: BTreeMap<StepId, Wait>,
    /// The plan that this one takes back went through its stages with these sets; empty for a cutover itself.
    #[serde(default)]
    pub takes_back: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
}

/// `2026-11-22 14:05 CET`, with seconds where they are not zero. A zone that is not known is shown as UTC.
pub fn clock(at: i64, timezone: &str) -> String {
    let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
    let Ok(time) = Timestamp::from_second(at) else { return at.to_string() };
    let format = if at % 60 == 0 { "%Y-%m-%d %H:%M %Z" } else { "%Y-%m-%d %H:%M:%S %Z" };
    time.to_zoned(zone).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_organization() {
        assert_eq!(clock(1_795_000_020, "Europe/Berlin"), "2026-11-18 12:07 CET");
        assert_eq!(clock(1_795_000_021, "UTC"), "2026-11-18 11:07:01 UTC");
        assert_eq!(clock(0, "Nowhere/None"), "1970-01-01 00:00 UTC");
    }
}
