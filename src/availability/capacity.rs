//! Whether the servers of a tier carry all mailboxes, also when the largest of them or a site is lost (N+1).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::plant::OF_SITE;
use crate::model::topology::{Node, Topology};

/// Servers are planned up to this share of what they carry: a peak is higher than its hour, and a queue grows without bound near 1.
const FULL: f64 = 0.8;

/// A tier, or what a site has of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    pub role: String,
    /// Where a role serves the users of its own site only.
    pub site: Option<String>,
    pub servers: usize,
    /// Mailboxes that all of them carry, at 80%.
    pub carries: u64,
    pub mailboxes: u64,
    /// What is left without the largest server.
    pub without_largest: u64,
    pub largest: String,
    /// Sites without which the others do not carry all.
    pub not_without: Vec<String>,
}

impl Capacity {
    /// Whether all is carried without the largest server.
    pub fn has_spare(&self) -> bool {
        self.without_largest >= self.mailboxes
    }
}

/// How many mailboxes there are, in all and by site.
pub struct Load<'t> {
    all: Option<f64>,
    sites: BTreeMap<&'t str, f64>,
    /// Every figure belongs to a site.
    by_site: bool,
}

impl<'t> Load<'t> {
    /// What was counted (`traffic`), else what the source systems have.
    pub fn of(topology: &'t Topology) -> Self {
        let count = |n: &Node| n.int("mailboxes").filter(|m| *m > 0).map(|m| m as f64);
        let sum = |kind| topology.all(kind).filter_map(count).reduce(|a, b| a + b);
        let mut sites = BTreeMap::new();
        let mut by_site = true;
        for (n, traffic) in topology.all("traffic").filter_map(|t| Some((count(t)?, t))) {
            match traffic.text("site") {
                Some(site) => *sites.entry(site).or_default() += n,
                None => by_site = false,
            }
        }
        by_site &= !sites.is_empty();
        Self { all: sum("traffic").or_else(|| sum("legacy")), sites, by_site }
    }

    /// Mailboxes that a role has to serve, of users at these sites where it serves its own only.
    pub fn of_role(&self, role: &str, sites: Option<&BTreeSet<&str>>) -> Option<f64> {
        match sites.filter(|_| OF_SITE.contains(&role)) {
            Some(sites) if self.by_site => Some(sites.iter().filter_map(|s| self.sites.get(s)).sum()),
            // Nobody knows how they are spread.
            Some(_) => None,
            None => self.all,
        }
    }

    /// What the servers of a role carry, for each site where the role belongs to one.
    pub fn judged(&self, role: &str, servers: &[&'t Node], topology: &Topology) -> Vec<Capacity> {
        if !OF_SITE.contains(&role) {
            return self.judge(role, None, servers, topology).into_iter().collect();
        }
        let sites: BTreeSet<&str> = servers.iter().filter_map(|s| s.text("site")).collect();
        let of = |site: &&str| {
            let here: Vec<&Node> = servers.iter().copied().filter(|s| s.text("site") == Some(*site)).collect();
            self.judge(role, Some(*site), &here, topology)
        };
        sites.iter().filter_map(of).collect()
    }

    fn judge(&self, role: &str, site: Option<&str>, servers: &[&Node], topology: &Topology) -> Option<Capacity> {
        let sites = site.map(|s| BTreeSet::from([s]));
        let mailboxes = self.of_role(role, sites.as_ref())?;
        let each = servers.iter().map(|s| Some((carries(topology, s)?, *s))).collect::<Option<Vec<_>>>()?;
        let (most, largest) = each.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.id.cmp(&a.1.id)))?;
        let all: f64 = each.iter().map(|(c, _)| c).sum();
        let mut by_site: BTreeMap<&str, f64> = BTreeMap::new();
        each.iter().for_each(|(c, s)| *by_site.entry(s.text("site").unwrap_or_default()).or_default() += c);
        let lost = by_site.into_iter().filter(|(_, c)| site.is_none() && (all - c) * FULL < mailboxes);
        Some(Capacity {
            role: role.to_owned(),
            site: site.map(str::to_owned),
            servers: servers.len(),
            carries: (all * FULL) as u64,
            mailboxes: mailboxes as u64,
            without_largest: ((all - most) * FULL) as u64,
            largest: largest.id.name.to_string(),
            not_without: lost.map(|(s, _)| s.to_owned()).collect(),
        })
    }
}

/// Mailboxes that one server carries.
fn carries(topology: &Topology, server: &Node) -> Option<f64> {
    let hardware = topology.target(server, "hardware")?;
    hardware.int("mailboxes").filter(|n| *n > 0).map(|n| n as f64)
}

/// Any so many of these servers carry all mailboxes; none where one of them does not say what it carries.
pub fn needed(servers: &[&Node], topology: &Topology, mailboxes: f64) -> Option<usize> {
    let mut each = servers.iter().map(|s| carries(topology, s)).collect::<Option<Vec<_>>>()?;
    each.sort_by(f64::total_cmp);
    let mut sum = 0.0;
    // The smallest that could be left.
    let enough = each.iter().position(|c| {
        sum += c * FULL;
        sum >= mailboxes
    });
    Some(enough.map_or(servers.len(), |i| i + 1))
}
