//! Blocks in a row: what one user depends on, over all outages of sites; and the mean of all users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::Part;
use super::block::Block;
use super::outage::{Outage, outages};
use crate::model::topology::{Node, NodeId};

/// Combinations of outages times chains that are looked at before unlikely ones are left out.
const MOST: usize = 400_000;

/// One block by its name.
#[derive(Debug)]
pub struct Link<'t> {
    pub part: String,
    /// All that it depends on, witnesses with it.
    pub servers: Vec<&'t Node>,
    pub block: Block,
    /// Equal for blocks that come to the same.
    shape: u64,
}

impl<'t> Link<'t> {
    pub fn new(part: impl Into<String>, servers: Vec<&'t Node>, block: Block) -> Rc<Self> {
        let part = part.into();
        let mut units: Vec<String> = block.units.iter().map(|u| format!("{u:?}")).collect();
        units.sort_unstable();
        let Block { needs, votes, switchover, common, failover, .. } = &block;
        let mut hasher = DefaultHasher::new();
        format!("{part} {units:?} {needs} {votes} {switchover} {common} {failover}").hash(&mut hasher);
        Rc::new(Self { part, servers, shape: hasher.finish(), block })
    }
}

/// All that one kind of users passes.
#[derive(Debug)]
pub struct Chain<'t> {
    /// Where their mail lies.
    pub name: String,
    pub links: Vec<Rc<Link<'t>>>,
    /// Links that share servers, by index; each link stands in one of them.
    pub groups: Vec<Vec<usize>>,
    pub weight: f64,
}

/// Between these two, of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// What a mean of chains comes to.
#[derive(Debug, Clone)]
pub struct Reckoned {
    pub all: Interval,
    /// Shares of time as seconds of a window.
    pub parts: Vec<Part>,
    /// The chain with the least, where chains differ.
    pub worst: Option<(String, Interval)>,
}

/// Groups of links that share servers, by index.
pub fn entangled(links: &[Rc<Link<'_>>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(BTreeSet<&NodeId>, Vec<usize>)> = Vec::new();
    for (i, link) in links.iter().enumerate() {
        let mut servers: BTreeSet<&NodeId> = link.servers.iter().map(|s| &s.id).collect();
        let mut all = vec![i];
        let (apart, same): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(s, _)| s.is_disjoint(&servers));
        for (more, others) in same {
            servers.extend(more);
            all.extend(others);
        }
        groups = apart;
        groups.push((servers, all));
    }
    groups.into_iter().map(|(_, links)| links).collect()
}

impl Chain<'_> {
    fn sites(&self) -> BTreeSet<usize> {
        self.links.iter().flat_map(|l| l.block.sites()).collect()
    }

    /// What distinguishes a chain from others in figures.
    fn shape(&self) -> (Vec<u64>, &[Vec<usize>]) {
        (self.links.iter().map(|l| l.shape).collect(), &self.groups)
    }

    fn reckon(&self, all: &[Outage]) -> Interval {
        let groups = &self.groups;
        let mine: Vec<BTreeSet<usize>> = self.links.iter().map(|l| l.block.sites()).collect();
        let mut seen: Vec<HashMap<Vec<usize>, (f64, f64)>> = vec![HashMap::new(); self.links.len()];
        let (mut low, mut high, mut looked_at) = (0.0, 0.0, 0.0);
        for outage in all {
            let mut ups = Vec::with_capacity(self.links.len());
            for ((link, sites), seen) in self.links.iter().zip(&mine).zip(&mut seen) {
                let gone: Vec<usize> = outage.gone.iter().copied().filter(|s| sites.contains(s)).collect();
                let up = *seen
                    .entry(gone)
                    .or_insert_with_key(|gone| (link.block.up(gone, link.block.common), link.block.up(gone, 0.0)));
                ups.push(up);
            }
            low += outage.probability * ups.iter().map(|(l, h)| l.min(*h)).product::<f64>();
            let weakest =
                |g: &Vec<usize>| g.iter().filter_map(|i| ups.get(*i)).map(|(l, h)| l.max(*h)).fold(1.0, f64::min);
            high += outage.probability * groups.iter().map(weakest).product::<f64>();
            looked_at += outage.probability;
        }
        let all_waits: f64 = self.links.iter().map(|l| l.block.failover).sum();
        let longest =
            |g: &Vec<usize>| g.iter().filter_map(|i| self.links.get(*i)).map(|l| l.block.failover).fold(0.0, f64::max);
        let least_waits: f64 = groups.iter().map(longest).sum();
        // What was not looked at is lost at the lower end.
        high += (1.0f64 - looked_at).max(0.0);
        // Nobody waits for another server where none is up.
        Interval { low: (low - all_waits).max(0.0), high: (high * (1.0 - least_waits * high)).clamp(0.0, 1.0) }
    }
}

/// The mean of all chains, and what each part of it costs in `window` seconds. `down` is the share of time that each site is gone.
pub fn reckon(chains: &[Chain<'_>], down: &[f64], window: f64) -> Option<Reckoned> {
    let mut kinds: BTreeMap<_, (&Chain<'_>, f64)> = BTreeMap::new();
    for chain in chains {
        kinds.entry(chain.shape()).or_insert((chain, 0.0)).1 += chain.weight;
    }
    let weight: f64 = kinds.values().map(|(_, w)| w).sum();
    if weight <= 0.0 {
        return None;
    }
    let mut all = Interval { low: 0.0, high: 0.0 };
    let mut worst: Option<(String, Interval)> = None;
    let mut parts: BTreeMap<&str, Cost> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (chain, of) in kinds.values() {
        let share = of / weight;
        // Sites that the chain has nothing at stand for it.
        let sites = chain.sites();
        let own: Vec<f64> = down.iter().enumerate().map(|(i, d)| if sites.contains(&i) { *d } else { 0.0 }).collect();
        let listed: Vec<Outage> =
            outages(&own, MOST / kinds.len()).into_iter().filter(|o| o.probability > 0.0).collect();
        let found = chain.reckon(&listed);
        let standing = chain.reckon(&[Outage { gone: Vec::new(), probability: 1.0 }]);
        all.low += share * found.low;
        all.high += share * found.high;
        if worst.as_ref().is_none_or(|(_, w)| found.low < w.low) {
            worst = Some((chain.name.clone(), found));
        }
        for link in &chain.links {
            let cost = parts.entry(&link.part).or_default();
            if cost.shapes.is_empty() {
                order.push(&link.part);
            }
            let lost = |common: f64| 1.0 - link.block.up(&[], common) + link.block.failover;
            let (one, other) = (lost(link.block.common), lost(0.0));
            cost.most += share * one.max(other);
            cost.least += share * one.min(other);
            cost.shapes.insert(written(&link.block));
        }
        let cost = parts.entry("sites").or_default();
        if cost.shapes.is_empty() {
            order.push("sites");
        }
        cost.most += share * (standing.low - found.low).max(0.0);
        cost.least += share * (standing.high - found.high).max(0.0);
        cost.sites.extend(sites);
        cost.shapes.insert(String::new());
    }
    let second = |v: f64| (v * window * 1000.0).round() / 1000.0;
    let mut listed: Vec<Part> = order
        .into_iter()
        .filter_map(|name| {
            let cost = parts.get(name)?;
            let of = match cost.sites.len() {
                0 => cost.shapes.iter().cloned().collect::<Vec<_>>().join(", "),
                n => format!("{n}"),
            };
            let (at_most, at_least) = (second(cost.most.max(cost.least)), second(cost.least.min(cost.most)));
            Some(Part { part: name.to_owned(), of, at_most, at_least })
        })
        .collect();
    listed.sort_by(|a, b| b.at_most.total_cmp(&a.at_most).then_with(|| a.part.cmp(&b.part)));
    Some(Reckoned { all, parts: listed, worst: worst.filter(|_| kinds.len() > 1) })
}

#[derive(Default)]
struct Cost {
    most: f64,
    least: f64,
    shapes: BTreeSet<String>,
    sites: BTreeSet<usize>,
}

/// `1 of 2`, `1 of 2 with 2 of 3 votes`.
fn written(block: &Block) -> String {
    let votes = block.units.iter().filter(|u| u.votes).count();
    let of = format!("{} of {}", block.needs, block.serving());
    if block.votes > 0 { format!("{of} with {} of {votes} votes", block.votes) } else { of }
}
