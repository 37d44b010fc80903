//! The desired resources in the order of their addresses, and where to find one by its name.

use std::collections::HashMap;

use crate::model::address::{Address, HostName, Kind};
use crate::model::resource::Resource;
use crate::model::site::Site;

use super::error::PlanError;
use super::graph::Node;

/// Position of a host in the order of names.
pub type HostId = u32;

pub struct Index<'a> {
    /// Sorted by address; a resource's position is its node in the graph.
    pub resources: Vec<&'a Resource>,
    /// Host of each resource.
    pub host_of: Vec<HostId>,
    /// All hosts of the site, and those that only resources name, by name.
    pub hosts: Vec<&'a HostName>,
    pub site: &'a Site,
    by_name: HashMap<(HostId, Kind, &'a str), Node>,
}

impl<'a> Index<'a> {
    pub fn new(site: &'a Site) -> Result<Self, PlanError> {
        let mut resources: Vec<&Resource> = site.resources.iter().collect();
        // Already in order when lowering made the site; then this is one pass.
        resources.sort_by(|a, b| a.address.cmp(&b.address));
        let mut hosts: Vec<&HostName> = site.hosts.keys().collect();
        for r in &resources {
            if let Err(at) = hosts.binary_search(&&r.address.host) {
                hosts.insert(at, &r.address.host);
            }
        }
        let mut host_of = Vec::with_capacity(resources.len());
        let mut by_name = HashMap::with_capacity(resources.len());
        let mut host: HostId = 0;
        for (i, r) in resources.iter().enumerate() {
            while hosts.get(host as usize).is_some_and(|h| **h < r.address.host) {
                host += 1;
            }
            host_of.push(host);
            if let Some(first) = by_name.insert((host, r.address.kind, r.address.key.as_str()), i as Node) {
                return Err(PlanError::Duplicate {
                    address: r.address.clone(),
                    first: resources[first as usize].origin.clone(),
                    second: r.origin.clone(),
                });
            }
        }
        Ok(Self { resources, host_of, hosts, site, by_name })
    }

    pub fn host_id(&self, host: &HostName) -> Option<HostId> {
        self.hosts.binary_search(&host).ok().map(|i| i as HostId)
    }

    pub fn named(&self, host: HostId, kind: Kind, key: &str) -> Option<Node> {
        // The map's key borrows for 'a; a shorter borrow is fine for the question.
        self.by_name.get(&(host, kind, key)).copied()
    }

    pub fn find(&self, address: &Address) -> Option<Node> {
        self.named(self.host_id(&address.host)?, address.kind, &address.key)
    }

    /// Nodes of one host; they are contiguous.
    pub fn of_host(&self, host: HostId) -> std::ops::Range<usize> {
        self.host_of.partition_point(|h| *h < host)..self.host_of.partition_point(|h| *h <= host)
    }
}

/// The path of a resource that stands in the file system.
pub fn path_of(kind: Kind, key: &str, path: Option<&str>) -> Option<String> {
    match kind {
        Kind::File | Kind::Directory | Kind::Binary => Some(key.to_owned()),
        Kind::Unit | Kind::Timer => Some(format!("/etc/systemd/system/{key}")),
        Kind::Firewall => Some(format!("/etc/nftables.d/{key}.nft")),
        Kind::Line => Some(key.rsplit_once('#').map_or(key, |(path, _)| path).to_owned()),
        Kind::DnsZone => path.map(str::to_owned),
        Kind::Package
        | Kind::Group
        | Kind::User
        | Kind::Setting
        | Kind::Command
        | Kind::MailAccount
        | Kind::Service
        | Kind::RecordSet
        | Kind::Barrier
        | Kind::Wave => None,
    }
}

/// The folders that a path stands in, from the nearest up; never `/`.
pub fn folders(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.trim_end_matches('/').rsplit_once('/').map(|(p, _)| p), |p| {
        p.rsplit_once('/').map(|(p, _)| p)
    })
    .filter(|p| !p.is_empty())
}
