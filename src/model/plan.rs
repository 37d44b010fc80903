//! A plan: steps in a stable order, bound by digests to the intent and to what was observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::address::{Address, HostName};
use super::attr::{Body, Digest};
use super::cutover::Schedule;
use super::host::{HostAccess, HostError};
use super::step::Step;

pub const PLAN_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// Format version of this document.
    pub version: u32,
    pub organization: String,
    pub environment: Option<String>,
    pub phase: Option<String>,
    /// `--target` words, as given.
    pub targets: Vec<String>,
    /// `--exceed` words, as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceed: Vec<String>,
    /// Over resolved topology, environment, phase, steps' desired content: what people sign. Drift does not change it.
    pub intent: Digest,
    /// Over the fingerprints of everything observed: binds a saved plan to the world.
    pub observation: Digest,
    /// Identifies the state key that masks digests of secrets (first digits of its hash).
    pub key_id: String,
    pub anchor: Option<HostName>,
    pub hosts: BTreeMap<HostName, HostAccess>,
    pub steps: Vec<Step>,
    /// Bodies that the steps need.
    pub bodies: BTreeMap<Digest, Body>,
    /// Resources looked at, changed or not.
    pub examined: usize,
    /// Hosts that could not be asked; such a plan cannot be applied.
    pub failed: Vec<HostError>,
    /// Things that a reader should know (protected resources that would have to go, takeovers).
    pub notes: Vec<PlanNote>,
    /// The timetable of a cutover window; most plans have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanNote {
    pub address: Option<Address>,
    pub text: String,
    /// The plan must not be applied.
    pub blocks: bool,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn blocked(&self) -> bool {
        !self.failed.is_empty() || self.notes.iter().any(|n| n.blocks)
    }
}
