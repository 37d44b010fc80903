//! The lowered topology: all desired resources of all hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::address::HostName;
use super::attr::{Body, Digest};
use super::cutover::Window;
use super::host::HostAccess;
use super::resource::Resource;

#[derive(Debug, Clone, Default)]
pub struct Site {
    pub organization: String,
    pub environment: Option<String>,
    /// Host that holds the organisation's lease; the first host by name when the topology names none.
    pub anchor: Option<HostName>,
    pub hosts: BTreeMap<HostName, HostAccess>,
    /// Sorted by address; addresses are unique.
    pub resources: Vec<Resource>,
    /// Former owners (`kind:name`) with what each is called now.
    pub moved: BTreeMap<String, String>,
    /// Cutover windows that record sets wait for.
    pub windows: Vec<Window>,
    /// People who left their list and whose mailboxes shall go; of the others they stay.
    pub gone: BTreeSet<String>,
    /// Contents by `Body::intent`.
    pub bodies: BTreeMap<Digest, Body>,
    /// Old sides that phases put out of use, by their hosts.
    pub retirements: BTreeMap<HostName, Retirement>,
}

/// What phases make of an old side: resources in the place of those of the same address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retirement {
    pub legacy: String,
    /// Phases that let it pass on what comes, and those that stop it.
    pub forwarding: BTreeSet<String>,
    pub stopping: BTreeSet<String>,
    pub forwards: Vec<Resource>,
    pub stops: Vec<Resource>,
}

impl Site {
    /// Resources of one host; they are contiguous.
    pub fn of_host(&self, host: &HostName) -> &[Resource] {
        let start = self.resources.partition_point(|r| r.address.host < *host);
        let end = self.resources.partition_point(|r| r.address.host <= *host);
        &self.resources[start..end]
    }
}
