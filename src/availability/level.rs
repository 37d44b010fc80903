//! Levels of availability, each held against what its part of the topology comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::chain::{Chain, Interval, Link, entangled, reckon};
use super::plant::{OF_SITE, Plant, STORES, Store, merged};
use super::{Forecast, Part};
use crate::model::topology::{Node, NodeId, Topology};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Also at the lower end.
    Holds,
    /// At the upper end only.
    ByLuck,
    /// Not even there.
    OutOfReach,
    /// No target says what would be enough.
    NoTarget,
    /// It is about nothing that could be reckoned.
    Unknown,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::ByLuck => "holds by luck only",
            Verdict::OutOfReach => "out of reach",
            Verdict::NoTarget => "no target",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// Name of the `sla`; none for the whole service, where nothing is promised.
    pub level: Option<String>,
    pub of: String,
    /// Shares of 1.
    pub target: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub verdict: Verdict,
    /// Seconds.
    pub window: u64,
    /// Seconds of the window that may be lost.
    pub budget: Option<f64>,
    /// Seconds that failures leave of it for maintenance, at the lower and at the upper end; none where planned outages do not count.
    pub maintenance: Option<(f64, f64)>,
    /// The costliest first.
    pub parts: Vec<Part>,
    /// Whose mail is served least, where that differs: where it lies, and their interval.
    pub worst: Option<(String, f64, f64)>,
    pub notes: Vec<String>,
}

/// What a level is about.
enum Scope<'t> {
    Service,
    Sites(BTreeSet<&'t str>),
    Servers(Vec<&'t Node>),
    Nothing(String),
}

pub fn is_availability(sla: &Node) -> bool {
    sla.text("type") == Some("availability")
}

pub fn forecast(topology: &Topology) -> Forecast {
    let plant = Plant::of(topology);
    let mut used = BTreeSet::new();
    let mut levels: Vec<Level> =
        topology.all("sla").filter(|s| is_availability(s)).map(|s| level(&plant, Some(s), &mut used)).collect();
    if levels.is_empty() {
        levels.push(level(&plant, None, &mut used));
    }
    Forecast { inputs: plant.inputs(&used), capacity: plant.capacities(), levels }
}

fn level<'t>(plant: &Plant<'t>, sla: Option<&'t Node>, used: &mut BTreeSet<&'t NodeId>) -> Level {
    let scope = sla.map_or(Scope::Service, |s| scope(plant, s));
    let mut out = Level {
        level: sla.map(|s| s.id.name.to_string()),
        of: said(&scope),
        target: sla.and_then(|s| s.percent("target")).map(|p| p.0 as f64 / 1e8),
        low: None,
        high: None,
        verdict: Verdict::Unknown,
        window: sla.and_then(|s| s.duration("window")).unwrap_or(MONTH).as_secs(),
        budget: None,
        maintenance: None,
        parts: Vec::new(),
        worst: None,
        notes: Vec::new(),
    };
    let window = out.window as f64;
    out.budget = out.target.map(|t| (1.0 - t) * window);
    let mut chains = match &scope {
        Scope::Service => of_stores(plant, &plant.stores.iter().collect::<Vec<_>>()),
        Scope::Sites(sites) => {
            of_stores(plant, &plant.stores.iter().filter(|s| !s.sites().is_disjoint(sites)).collect::<Vec<_>>())
        }
        Scope::Servers(servers) if sla.and_then(|s| s.text("measure")) == Some("per-server") => each(plant, servers),
        Scope::Servers(servers) => of_servers(plant, servers),
        Scope::Nothing(why) => {
            out.notes.push(why.clone());
            return out;
        }
    };
    if sla.and_then(|s| s.text("weighting")) == Some("mailboxes") && !weigh(plant, &mut chains) {
        out.notes
            .push("the stores count by their databases: no `traffic` says how many mailboxes each site has".into());
    }
    used.extend(chains.iter().flat_map(|c| &c.links).flat_map(|l| l.servers.iter().map(|s| &s.id)));
    let Some(found) = reckon(&chains, &plant.sites_down(), window) else {
        out.notes.push("no server holds mail: nothing could be served".into());
        return out;
    };
    let Interval { low, high } = found.all;
    // What is left over by rounding does not break a promise.
    let reaches = |v: f64| out.target.is_some_and(|t| v >= t - 1e-12);
    out.verdict = match (out.target, reaches(low), reaches(high)) {
        (None, ..) => Verdict::NoTarget,
        (_, true, _) => Verdict::Holds,
        (_, false, true) => Verdict::ByLuck,
        (_, false, false) => Verdict::OutOfReach,
    };
    if sla.and_then(|s| s.text("outages")) != Some("unplanned") {
        let left = |v: f64| out.budget.map(|b| (b - (1.0 - v) * window).max(0.0));
        out.maintenance = left(low).zip(left(high));
    }
    (out.low, out.high, out.parts) = (Some(low), Some(high), found.parts);
    out.worst = found.worst.map(|(name, i)| (name, i.low, i.high));
    out
}

fn scope<'t>(plant: &Plant<'t>, sla: &'t Node) -> Scope<'t> {
    let t = plant.topology;
    if sla.value("of").is_none() || sla.texts("of").contains(&"service") {
        return Scope::Service;
    }
    let mut servers: BTreeMap<&NodeId, &Node> = BTreeMap::new();
    let mut sites = BTreeSet::new();
    for node in t.targets(sla, "of") {
        match node.id.kind.as_str() {
            "server" => drop(servers.insert(&node.id, node)),
            "site" => drop(sites.insert(node.id.name.as_str())),
            "namespace" => {
                let target = t.target(node, "target").into_iter();
                let behind = target.flat_map(|x| match x.id.kind.as_str() {
                    "server" => vec![x],
                    _ => t.targets(x, "members").collect(),
                });
                servers.extend(behind.map(|s| (&s.id, s)));
            }
            _ => {}
        }
    }
    match (servers.is_empty(), sites.is_empty()) {
        (true, true) => Scope::Nothing("it is of people, not of servers: nothing of it fails by hours".into()),
        (true, false) => Scope::Sites(sites),
        (false, _) => Scope::Servers(servers.into_values().collect()),
    }
}

fn said(scope: &Scope<'_>) -> String {
    match scope {
        Scope::Service => "service".into(),
        Scope::Sites(sites) => format!("site {}", sites.iter().copied().collect::<Vec<_>>().join(", ")),
        Scope::Servers(servers) => match &servers[..] {
            [one] => one.id.name.to_string(),
            more => format!("{} servers", more.len()),
        },
        Scope::Nothing(_) => "people".into(),
    }
}

/// Each store with the tiers on the way to it.
fn of_stores<'t>(plant: &Plant<'t>, stores: &[&Store<'t>]) -> Vec<Chain<'t>> {
    let mut at: BTreeMap<BTreeSet<&str>, Vec<&Store<'t>>> = BTreeMap::new();
    stores.iter().for_each(|s| at.entry(s.sites()).or_default().push(s));
    let mut out = Vec::new();
    for (sites, stores) in at {
        let tiers: Vec<_> = plant.tiers(Some(&sites));
        out.extend(joined(tiers, &stores));
    }
    out
}

/// The tiers that a store does not contain, then the store.
fn joined<'t>(tiers: Vec<super::plant::Tier<'t>>, stores: &[&Store<'t>]) -> Vec<Chain<'t>> {
    let links: Vec<Rc<Link<'t>>> =
        tiers.iter().map(|t| Link::new(t.roles.join(", "), t.servers.clone(), t.block.clone())).collect();
    let together = entangled(&links);
    let one = |store: &&Store<'t>| {
        let kept: Vec<usize> = tiers.iter().enumerate().filter(|(_, t)| !store.contains(t)).map(|(i, _)| i).collect();
        let mut chain = Chain { name: store.name.clone(), links: Vec::new(), groups: Vec::new(), weight: store.weight };
        let roles: BTreeSet<&str> = store.depends.iter().flat_map(|s| s.texts("roles")).collect();
        let own = kept.len();
        let mut with_store = vec![own];
        for group in &together {
            let here: Vec<usize> = group.iter().filter_map(|i| kept.iter().position(|k| k == i)).collect();
            let shares = |i: &usize| {
                kept.get(*i).and_then(|k| tiers.get(*k)).is_some_and(|t| t.roles.iter().any(|r| roles.contains(r)))
            };
            match here.iter().any(shares) {
                true => with_store.extend(here),
                false if here.is_empty() => {}
                false => chain.groups.push(here),
            }
        }
        chain.groups.push(with_store);
        chain.links.extend(kept.iter().filter_map(|i| links.get(*i)).cloned());
        chain.links.push(Link::new("stores", store.depends.clone(), store.block.clone()));
        chain
    };
    stores.iter().map(one).collect()
}

/// These servers together, by what they are there for.
fn of_servers<'t>(plant: &Plant<'t>, servers: &[&'t Node]) -> Vec<Chain<'t>> {
    let of = |s: &&'t Node| s.texts("roles").into_iter().collect::<BTreeSet<_>>();
    let common = servers.iter().map(of).reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default();
    let roles = if common.is_empty() { servers.iter().flat_map(of).collect() } else { common };
    let mine = |role: &str| -> Vec<&'t Node> {
        servers.iter().copied().filter(|s| s.texts("roles").contains(&role)).collect()
    };
    let tiers = |sites: &BTreeSet<&str>| {
        let tiers = roles.iter().filter(|r| !STORES.contains(r));
        merged(tiers.map(|r| plant.tier(r, &plant.near(r, &mine(r), Some(sites)), Some(sites))).collect())
    };
    let ids: BTreeSet<&NodeId> = servers.iter().map(|s| &s.id).collect();
    let holds = roles.iter().any(|r| STORES.contains(r));
    let stores = plant.stores.iter().filter(|s| holds && s.serving.iter().any(|m| ids.contains(&m.id)));
    let mut at: BTreeMap<BTreeSet<&str>, Vec<&Store<'t>>> = BTreeMap::new();
    stores.for_each(|s| at.entry(s.sites()).or_default().push(s));
    if !at.is_empty() {
        return at.into_iter().flat_map(|(sites, stores)| joined(tiers(&sites), &stores)).collect();
    }
    // Users have the servers where their mail lies, where a role belongs to a site.
    let all: BTreeSet<&str> = servers.iter().filter_map(|s| s.text("site")).collect();
    let mut apart: BTreeMap<BTreeSet<&str>, f64> = BTreeMap::new();
    if roles.iter().any(|r| OF_SITE.contains(r)) {
        let here = plant.stores.iter().filter(|s| !s.sites().is_disjoint(&all));
        here.for_each(|s| *apart.entry(s.sites()).or_default() += s.weight);
    }
    if apart.is_empty() {
        apart.insert(all, 1.0);
    }
    let one = |(sites, weight): (BTreeSet<&str>, f64)| {
        let tiers = tiers(&sites);
        let links: Vec<_> = tiers.into_iter().map(|t| Link::new(t.roles.join(", "), t.servers, t.block)).collect();
        let name = sites.into_iter().collect::<Vec<_>>().join(", ");
        Chain { groups: entangled(&links), name, links, weight }
    };
    apart.into_iter().map(one).collect()
}

/// Each server alone.
fn each<'t>(plant: &Plant<'t>, servers: &[&'t Node]) -> Vec<Chain<'t>> {
    let one = |server: &&'t Node| {
        let block = plant.block(&[*server], 1, &[], Duration::ZERO);
        let links = vec![Link::new("servers", vec![*server], block)];
        Chain { name: server.id.name.to_string(), groups: vec![vec![0]], links, weight: 1.0 }
    };
    servers.iter().map(one).collect()
}

/// By the mailboxes of each site; false where a site has none that are known.
fn weigh(plant: &Plant<'_>, chains: &mut [Chain<'_>]) -> bool {
    let mut mailboxes: BTreeMap<&str, f64> = BTreeMap::new();
    for traffic in plant.topology.all("traffic") {
        let Some((site, n)) = traffic.text("site").zip(traffic.int("mailboxes")) else { continue };
        *mailboxes.entry(site).or_default() += n.max(0) as f64;
    }
    let site =
        |c: &Chain<'_>| c.links.last().and_then(|l| l.servers.first()).and_then(|s| s.text("site")).map(str::to_owned);
    let mut there: BTreeMap<String, f64> = BTreeMap::new();
    for chain in chains.iter() {
        *there.entry(site(chain).unwrap_or_default()).or_default() += chain.weight;
    }
    if there.keys().any(|s| !mailboxes.contains_key(s.as_str())) {
        return false;
    }
    for chain in chains {
        let Some(name) = site(chain) else { continue };
        let (all, of) = (mailboxes.get(name.as_str()), there.get(&name));
        chain.weight *= all.zip(of).map_or(1.0, |(a, o)| a / o.max(f64::MIN_POSITIVE));
    }
    true
}
