//! What a plan is made from.

use std::collections::BTreeSet;

use crate::model::observed::Observed;
use crate::model::site::Site;

/// Everything that a plan depends on. The same input gives the same plan, byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// Sealed: each content knows the digest that the host must show.
    pub site: &'a Site,
    pub observed: &'a Observed,
    pub options: &'a PlanOptions,
    /// First digits of the hash of the state key that masks digests of secrets.
    pub key_id: &'a str,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// `--target` words: an address, a role (`server.mail-1/imap`, `imap@mail-1`), a host (`mail-1`, `server.mail-1`), an owner
    /// (`server:mail-1`), `kind:key`, or any of these with `*`. What a target waits for comes with it.
    pub targets: Vec<String>,
    /// `--phase`: only what these owners asked for.
    pub phase: Option<PhaseSlice>,
    /// Take away everything that we own, in the reverse order.
    pub destroy: bool,
    /// `--window`: the stages of this cutover window, with what they need published before.
    pub window: Option<String>,
    /// `--short-lead`: the swap may come later than the window's start.
    pub short_lead: bool,
    /// Unix seconds at which the plan is made. 0 where no window is looked at.
    pub now: i64,
    /// Limits of a zone that the plan may exceed: `updates`, `deletes`.
    pub exceed: Vec<String>,
}

/// The part of the topology that a phase covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhaseSlice {
    pub name: String,
    /// Owners (`kind:name` of topology nodes) whose resources belong to it.
    pub owners: BTreeSet<String>,
    /// Cohorts that it moves, by their names. Nothing else moves anybody.
    pub migrates: BTreeSet<String>,
    /// The phase itself and all that it comes after.
    pub passed: BTreeSet<String>,
}
