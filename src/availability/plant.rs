//! What serves users, as blocks: where their mail lies (pairs, clusters, single servers), and the tiers that they pass on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::block::{Block, Unit};
use super::capacity::{self, Capacity, Load};
use super::figures::{Figures, Input, Known};
use crate::model::topology::{Node, NodeId, Topology};

/// Tiers on the way to a mailbox, in order. Where mail lies is no tier but a store.
const TIERS: [&str; 8] = ["dns", "directory", "proxy", "relay", "edge", "hub", "cas", "smtp"];
/// Each site with mailbox servers needs its own (Exchange 2007 and 2010: Planning for Client Access and Hub Transport servers).
pub const OF_SITE: [&str; 3] = ["hub", "cas", "um"];
/// Roles of servers that hold mail.
pub const STORES: [&str; 2] = ["mailbox", "imap"];
/// Who asks for a name, or brings a letter, asks the next host at once (RFC 1034, section 5.3.3; RFC 5321, section 5.1).
const AT_ONCE: [&str; 6] = ["dns", "directory", "relay", "edge", "hub", "smtp"];
const MINUTE: Duration = Duration::from_secs(60);

/// Where some mailboxes lie.
pub struct Store<'t> {
    pub name: String,
    /// Each of them can serve the mailboxes.
    pub serving: Vec<&'t Node>,
    /// These, the other members of their cluster, and its witness.
    pub depends: Vec<&'t Node>,
    /// How many mailboxes, against other stores.
    pub weight: f64,
    pub block: Block,
}

impl<'t> Store<'t> {
    pub fn sites(&self) -> BTreeSet<&'t str> {
        self.serving.iter().filter_map(|s| s.text("site")).collect()
    }

    /// Whether a tier says nothing more: every server of the store has its role, so whoever serves the mail serves the tier.
    pub fn contains(&self, tier: &Tier<'_>) -> bool {
        tier.block.needs <= self.block.needs
            && tier.roles.iter().any(|r| self.serving.iter().all(|s| s.texts("roles").contains(r)))
    }
}

/// A tier, as somebody whose mail lies at certain sites meets it: all roles that the same servers have.
pub struct Tier<'t> {
    pub roles: Vec<&'t str>,
    pub servers: Vec<&'t Node>,
    pub block: Block,
}

/// All that users depend on.
pub struct Plant<'t> {
    pub topology: &'t Topology,
    pub known: Known<'t>,
    /// By number.
    pub sites: Vec<&'t str>,
    figures: BTreeMap<&'t NodeId, (Figures, String)>,
    roles: BTreeMap<&'t str, Vec<&'t Node>>,
    pub stores: Vec<Store<'t>>,
    load: Load<'t>,
}

impl<'t> Plant<'t> {
    pub fn of(topology: &'t Topology) -> Self {
        let known = Known::of(topology);
        // The old system promises nothing.
        let old: BTreeSet<&NodeId> = topology.all("legacy").filter_map(|l| l.reference("server")).collect();
        let mut sites = BTreeSet::new();
        let mut figures = BTreeMap::new();
        let mut roles: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        for server in topology.all("server") {
            sites.extend(server.text("site"));
            figures.insert(&server.id, known.server(server));
            if !old.contains(&server.id) {
                server.texts("roles").into_iter().for_each(|r| roles.entry(r).or_default().push(server));
            }
        }
        let mut plant = Self {
            topology,
            known,
            sites: sites.into_iter().collect(),
            figures,
            roles,
            stores: Vec::new(),
            load: Load::of(topology),
        };
        plant.stores = plant.all_stores();
        plant
    }

    pub fn with_role(&self, role: &str) -> &[&'t Node] {
        self.roles.get(role).map_or(&[], Vec::as_slice)
    }

    pub fn site(&self, server: &Node) -> usize {
        self.sites.binary_search(&server.text("site").unwrap_or_default()).unwrap_or_default()
    }

    /// Share of time that each site is gone.
    pub fn sites_down(&self) -> Vec<f64> {
        self.sites.iter().map(|s| self.known.site(s).0.down()).collect()
    }

    fn figures(&self, server: &Node) -> Figures {
        self.figures.get(&server.id).map_or_else(|| self.known.server(server).0, |(f, _)| *f)
    }

    pub fn unit(&self, server: &Node, serves: bool, votes: bool) -> Unit {
        Unit { site: self.site(server), down: self.figures(server).down(), serves, votes }
    }

    /// Servers of which `needs` have to be up; `of` are the nodes that may say how soon one takes over and what is common.
    pub fn block(&self, servers: &[&'t Node], needs: usize, of: &[&NodeId], failover: Duration) -> Block {
        let each: Vec<&NodeId> =
            servers.iter().flat_map(|s| [Some(&s.id), s.reference("hardware")]).flatten().collect();
        let takes = self.known.failover(of.iter().copied(), failover);
        let mut block = Block {
            units: servers.iter().map(|s| self.unit(s, true, false)).collect(),
            needs,
            votes: 0,
            switchover: false,
            common: self.known.common(of.iter().copied().chain(each)),
            failover: 0.0,
        };
        // Whoever is served by the one that fails waits; with nobody to take over it is down, which is reckoned already.
        if servers.len() > needs {
            let all: f64 = servers.iter().map(|s| self.figures(s).lost(takes)).sum();
            block.failover = all / servers.len() as f64 + self.moving(servers, |_| takes);
        }
        block
    }

    /// Share of time that users wait for servers in another site, where these stand in several.
    fn moving(&self, servers: &[&Node], takes: impl Fn(&str) -> Duration) -> f64 {
        let sites: BTreeSet<&str> = servers.iter().filter_map(|s| s.text("site")).collect();
        if sites.len() < 2 {
            return 0.0;
        }
        sites.iter().map(|s| self.known.site(s).0.lost(takes(s))).sum::<f64>() / sites.len() as f64
    }

    fn all_stores(&self) -> Vec<Store<'t>> {
        let mut out = Vec::new();
        let mut held: BTreeSet<&NodeId> = BTreeSet::new();
        let mut on: BTreeMap<&NodeId, Vec<&Node>> = BTreeMap::new();
        for database in self.topology.all("database") {
            on.entry(database.reference("on").unwrap_or(&database.id)).or_default().push(database);
        }
        for kind in ["dag", "ccr", "pair"] {
            for group in self.topology.all(kind) {
                let members: Vec<&Node> =
                    self.topology.targets(group, if kind == "ccr" { "nodes" } else { "members" }).collect();
                held.extend(members.iter().map(|m| &m.id));
                let mut copies: BTreeMap<Vec<&NodeId>, (Vec<&Node>, f64)> = BTreeMap::new();
                for database in on.get(&group.id).into_iter().flatten() {
                    let serving = self.copies(database, &members);
                    let ids = serving.iter().map(|s| &s.id).collect();
                    copies.entry(ids).or_insert((serving, 0.0)).1 += 1.0;
                }
                if copies.is_empty() {
                    copies.insert(Vec::new(), (members.clone(), 1.0));
                }
                for (serving, weight) in copies.into_values() {
                    let (block, witness) = self.cluster(group, &members, &serving);
                    let depends = members.iter().copied().chain(witness).collect();
                    out.push(Store { name: group.id.name.to_string(), serving, depends, weight, block });
                }
            }
        }
        let alone = STORES.iter().flat_map(|r| self.with_role(r)).filter(|s| !held.contains(&s.id));
        let alone: BTreeMap<&NodeId, &Node> = alone.map(|s| (&s.id, *s)).collect();
        for server in alone.into_values() {
            let weight = on.get(&server.id).map_or(1.0, |d| d.len() as f64);
            let block = self.block(&[server], 1, &[], Duration::ZERO);
            let (serving, depends) = (vec![server], vec![server]);
            out.push(Store { name: server.id.name.to_string(), serving, depends, weight, block });
        }
        out
    }

    /// Servers that can serve a database at once: a copy that replays late is no such one.
    fn copies(&self, database: &'t Node, members: &[&'t Node]) -> Vec<&'t Node> {
        let active = self.topology.target(database, "active");
        let lagged: BTreeSet<&NodeId> = database.refs("lagged").map(|(id, _)| id).collect();
        let late = database.duration("replay-lag").is_some_and(|l| !l.is_zero());
        let mut copies: Vec<&Node> = self.topology.targets(database, "copies").collect();
        if copies.is_empty() {
            copies = active.map_or_else(|| members.to_vec(), |a| vec![a]);
        }
        let first = active.or(copies.first().copied()).map(|s| &s.id);
        let prompt = |s: &&Node| !late || Some(&s.id) == first || (!lagged.is_empty() && !lagged.contains(&s.id));
        let mut prompt: Vec<&Node> = copies.into_iter().filter(prompt).collect();
        prompt.sort_by_key(|s| &s.id);
        prompt
    }

    /// A pair or cluster: one copy has to serve, and where members vote, most of the votes have to be there.
    fn cluster(&self, group: &'t Node, members: &[&'t Node], serving: &[&'t Node]) -> (Block, Option<&'t Node>) {
        let pair = group.id.kind == "pair";
        // About 30 s for a database (Exchange Team, DAG), about two minutes for a CCR node; a minute for a pair is ours.
        let assumed = match group.id.kind.as_str() {
            "dag" => MINUTE / 2,
            "ccr" => 2 * MINUTE,
            _ => MINUTE,
        };
        let mut block = self.block(serving, 1, &[&group.id], assumed);
        let mut voting = None;
        if !pair && members.len() > 1 {
            let serves = |m: &Node| serving.iter().any(|s| s.id == m.id);
            block.units = members.iter().map(|m| self.unit(m, serves(m), true)).collect();
            let witness = self.topology.target(group, "witness").and_then(|w| self.topology.target(w, "host"));
            // An odd number needs no witness (node majority).
            voting = witness.filter(|_| members.len().is_multiple_of(2));
            block.units.extend(voting.map(|w| self.unit(w, false, true)));
            block.votes = block.units.len() / 2 + 1;
            block.switchover = group.value("alternate-witness").is_some();
        }
        // A switch of the whole site takes longer than one of a server.
        let takes = self.known.failover([&group.id], assumed);
        block.failover += self.moving(serving, |site| self.known.switchover(site).saturating_sub(takes));
        (block, voting)
    }

    /// The tiers that somebody passes whose mail lies at these sites; all of them where no site is given.
    pub fn tiers(&self, sites: Option<&BTreeSet<&str>>) -> Vec<Tier<'t>> {
        let roles = TIERS.into_iter().filter(|r| !self.with_role(r).is_empty());
        merged(roles.map(|role| self.tier(role, &self.near(role, self.with_role(role), sites), sites)).collect())
    }

    /// Of these servers those that users of certain sites reach.
    pub fn near(&self, role: &str, all: &[&'t Node], sites: Option<&BTreeSet<&str>>) -> Vec<&'t Node> {
        let Some(sites) = sites.filter(|_| OF_SITE.contains(&role)) else { return all.to_vec() };
        let here = |s: &&&Node| s.text("site").is_some_and(|name| sites.contains(name));
        let near: Vec<&Node> = all.iter().filter(here).copied().collect();
        if near.is_empty() { all.to_vec() } else { near }
    }

    /// These servers in a role, for users whose mail lies at these sites.
    pub fn tier(&self, role: &'t str, servers: &[&'t Node], sites: Option<&BTreeSet<&str>>) -> Tier<'t> {
        let has = |b: &&Node| servers.first().is_some_and(|first| b.refs("members").any(|(id, _)| *id == first.id));
        let balancer = self.topology.all("load-balancer").find(has);
        let probe = balancer.and_then(|b| self.topology.target(b, "health"));
        let seen = probe.and_then(|p| Some(p.duration("every")? + p.duration("timeout")?));
        let assumed = if AT_ONCE.contains(&role) { Duration::ZERO } else { seen.unwrap_or(MINUTE) };
        let of: Vec<&NodeId> = balancer.iter().map(|b| &b.id).collect();
        let load = self.load.of_role(role, sites);
        let needs = load.and_then(|n| capacity::needed(servers, self.topology, n)).unwrap_or(1);
        let block = self.block(servers, needs.min(servers.len()), &of, assumed);
        Tier { roles: vec![role], servers: servers.to_vec(), block }
    }

    /// What tiers carry, and what they have to.
    pub fn capacities(&self) -> Vec<Capacity> {
        let known = TIERS.into_iter().filter(|r| !self.with_role(r).is_empty());
        known.flat_map(|role| self.load.judged(role, self.with_role(role), self.topology)).collect()
    }

    /// What was reckoned with, of these servers and sites.
    pub fn inputs(&self, servers: &BTreeSet<&NodeId>) -> Vec<Input> {
        let mut counts: BTreeMap<(&str, Figures, String), usize> = BTreeMap::new();
        let mut sites = BTreeSet::new();
        for id in servers {
            let Some((figures, source)) = self.figures.get(*id) else { continue };
            *counts.entry(("servers", *figures, source.clone())).or_default() += 1;
            sites.extend(self.topology.nodes.get(*id).and_then(|s| s.text("site")));
        }
        for site in sites {
            let (figures, source) = self.known.site(site);
            *counts.entry(("sites", figures, source)).or_default() += 1;
        }
        let one = |((of, f, source), count): ((&str, Figures, String), usize)| {
            let of = if count == 1 { of.trim_end_matches('s') } else { of }.to_owned();
            Input { of, count, mtbf: f.mtbf.as_secs(), mttr: f.mttr.as_secs(), source }
        };
        counts.into_iter().map(one).collect()
    }
}

/// Tiers of the same servers are one: they are there together, and gone together.
pub fn merged(tiers: Vec<Tier<'_>>) -> Vec<Tier<'_>> {
    let mut out: Vec<Tier<'_>> = Vec::new();
    for tier in tiers {
        let same = |t: &&mut Tier<'_>| t.servers.iter().map(|s| &s.id).eq(tier.servers.iter().map(|s| &s.id));
        match out.iter_mut().find(same) {
            Some(first) => {
                first.roles.extend(tier.roles);
                first.block.needs = first.block.needs.max(tier.block.needs);
                first.block.failover = first.block.failover.max(tier.block.failover);
            }
            None => out.push(tier),
        }
    }
    out
}
