//! The steps in their order, each with the steps that it waits for.
//!
//! Taking away: on a host what left the topology goes in the reverse of the stages (services stop before packages go). It waits
//! for nothing that is made, so it can close no cycle; what is made waits for it only where it must: a service that starts waits
//! for services that stop (they may hold its port), a package that comes waits for those that go (they may conflict), and a
//! reload waits for the files whose going it was asked to notice. Everything else goes last.

use std::collections::BTreeMap;

use crate::catalog;
use crate::model::address::Kind;
use crate::model::step::{Action, StepId};

use super::constraints::Constraints;
use super::error::PlanError;
use super::findings::Findings;
use super::graph::Node;
use super::index::{HostId, Index, folders};
use super::reduce::{Class, reduce};
use super::services::{Asker, Signal};

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Resource(Node),
    /// Position in `Findings::left`.
    Left(usize),
    /// Position among the signals.
    Signal(usize),
}

/// Steps in order: what each is about, and what it waits for.
pub fn order(
    index: &Index,
    mut constraints: Constraints,
    findings: &Findings,
    signals: &[Signal],
    destroy: bool,
) -> Result<Vec<(Item, Vec<StepId>)>, PlanError> {
    if destroy {
        constraints.graph.reverse();
    }
    let mut items: BTreeMap<Node, Item> = findings.changed.keys().map(|n| (*n, Item::Resource(*n))).collect();
    let left = add_left(&mut constraints, index, findings, &mut items);
    add_signals(&mut constraints, findings, signals, &left, &mut items, destroy);
    let ranks = ranks(index, &constraints, findings, signals, &items);
    let sorted = constraints.graph.order(&ranks).map_err(|cycles| {
        let named = |cycle: Vec<Node>| cycle.into_iter().map(|n| constraints.member(index, n)).collect();
        PlanError::Cycles(cycles.into_iter().map(named).collect())
    })?;
    // Steps of one group on one host may stand in for each other when many wait for many.
    let groups = constraints.groups.len() as Class;
    let class = |node: Node| match items.get(&node) {
        Some(Item::Resource(n)) => Some(constraints.group_of[*n as usize]),
        Some(Item::Left(i)) => Some(groups + findings.left[*i].host),
        Some(Item::Signal(i)) => Some(groups + (index.hosts.len() as Class) + signals[*i].host),
        None => None,
    };
    let after = reduce(&constraints.graph, &sorted, class);
    Ok(sorted.iter().filter_map(|n| items.get(n).copied()).zip(after).collect())
}

/// Changes by address, host by host; a reload as soon as it may; what goes comes last.
fn ranks(
    index: &Index,
    constraints: &Constraints,
    findings: &Findings,
    signals: &[Signal],
    items: &BTreeMap<Node, Item>,
) -> Vec<u64> {
    let mut ranks = vec![0; constraints.graph.len()];
    let rank = |host: HostId, class: u64, at: usize| ((u64::from(host) + 1) << 34) | (class << 32) | at as u64;
    for (node, host) in index.host_of.iter().enumerate() {
        ranks[node] = rank(*host, 0, node);
    }
    for (node, item) in items {
        match item {
            Item::Resource(_) => {}
            Item::Signal(i) => ranks[*node as usize] = rank(signals[*i].host, 1, *i),
            Item::Left(i) => ranks[*node as usize] = rank(findings.left[*i].host, 2, *i),
        }
    }
    ranks
}

/// Nodes of what left the topology, by position in `Findings::left`.
fn add_left(c: &mut Constraints, index: &Index, findings: &Findings, items: &mut BTreeMap<Node, Item>) -> Vec<Node> {
    let nodes: Vec<Node> = findings
        .left
        .iter()
        .enumerate()
        .map(|(i, _)| {
            let node = c.graph.add();
            items.insert(node, Item::Left(i));
            node
        })
        .collect();
    let mut start = 0;
    while let Some(first) = findings.left.get(start) {
        let end = start + findings.left[start..].partition_point(|l| l.host == first.host);
        let mut stages: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (i, left) in findings.left.iter().enumerate().take(end).skip(start) {
            stages.entry(catalog::spec(left.address.kind).stage).or_default().push(i);
        }
        records_apart(c, index, findings, first.host, start..end, &nodes);
        let mut last: Option<Node> = None;
        for (stage, members) in stages.iter().rev() {
            let barrier = c.graph.add();
            for i in members {
                if let Some(last) = last {
                    c.graph.require(last, nodes[*i]);
                }
                c.graph.require(nodes[*i], barrier);
            }
            if members.iter().any(|i| findings.left[*i].address.kind == Kind::Directory) {
                inner_folders_first(c, findings, members, &nodes);
            }
            hold_back(c, index, findings, (first.host, *stage), members, barrier);
            last = Some(barrier);
        }
        start = end;
    }
    nodes
}

/// Record sets of a zone: a name has an alias or other records, never both, so what goes makes room first; and an address goes only
/// after what may have pointed at it was changed.
fn records_apart(
    c: &mut Constraints,
    index: &Index,
    findings: &Findings,
    host: HostId,
    left: std::ops::Range<usize>,
    nodes: &[Node],
) {
    if !index.hosts[host as usize].is_zone() {
        return;
    }
    fn of(key: &str) -> Option<(&str, &str)> {
        key.rsplit_once('/')
    }
    let mut going: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for i in left.clone() {
        if let Some((name, kind)) = of(&findings.left[i].address.key) {
            going.entry(name).or_default().push((i, kind));
        }
    }
    let here = index.of_host(host);
    let changed: Vec<Node> =
        findings.changed.range(here.start as Node..here.end as Node).map(|(node, _)| *node).collect();
    let barrier = c.graph.add();
    for node in changed {
        let Some((name, kind)) = of(&index.resources[node as usize].address.key) else { continue };
        let room: Vec<usize> = going
            .get(name)
            .into_iter()
            .flatten()
            .filter(|(_, other)| (*other == "CNAME") != (kind == "CNAME"))
            .map(|(i, _)| *i)
            .collect();
        room.iter().for_each(|i| c.graph.require(nodes[*i], node));
        if room.is_empty() && !matches!(kind, "A" | "AAAA") {
            c.graph.require(node, barrier);
        }
    }
    for i in left {
        if of(&findings.left[i].address.key).is_some_and(|(_, kind)| matches!(kind, "A" | "AAAA")) {
            c.graph.require(barrier, nodes[i]);
        }
    }
}

fn inner_folders_first(c: &mut Constraints, findings: &Findings, members: &[usize], nodes: &[Node]) {
    let by_path: BTreeMap<&str, usize> = members.iter().map(|i| (findings.left[*i].address.key.as_str(), *i)).collect();
    for i in members {
        if let Some(outer) = folders(&findings.left[*i].address.key).find_map(|f| by_path.get(f)) {
            c.graph.require(nodes[*i], nodes[*outer]);
        }
    }
}

/// What is made on the host and has to wait for this part of the going.
fn hold_back(
    c: &mut Constraints,
    index: &Index,
    findings: &Findings,
    (host, stage): (HostId, u8),
    members: &[usize],
    barrier: Node,
) {
    let packages = stage == catalog::spec(Kind::Package).stage;
    let services = members.iter().any(|i| matches!(findings.left[*i].address.kind, Kind::Service | Kind::Timer));
    if !packages && !services {
        return;
    }
    let waits: Vec<Node> = findings
        .changed
        .iter()
        .map(|(node, changed)| (*node, &changed.change, index.resources[*node as usize].address.kind))
        .filter(|(node, change, kind)| {
            let comes = *kind == Kind::Package && change.action == Action::Create;
            index.host_of[*node as usize] == host && (packages && comes || services && change.starts())
        })
        .map(|(node, _, _)| node)
        .collect();
    for node in waits {
        c.graph.require(barrier, node);
    }
}

fn add_signals(
    c: &mut Constraints,
    findings: &Findings,
    signals: &[Signal],
    left: &[Node],
    items: &mut BTreeMap<Node, Item>,
    destroy: bool,
) {
    // A service that starts waits for the files that go and that it would have been told about.
    for (i, l) in findings.left.iter().enumerate() {
        for notify in &l.owned.notifies {
            if let Some(node) = c.services.get(&(l.host, notify.service.as_str())).copied()
                && findings.changed.get(&node).is_some_and(|s| s.change.starts())
            {
                c.graph.require(left[i], node);
            }
        }
    }
    for (i, signal) in signals.iter().enumerate() {
        let node = c.graph.add();
        items.insert(node, Item::Signal(i));
        for asker in &signal.askers {
            match asker {
                Asker::Resource(n) => c.graph.require(*n, node),
                Asker::Left(i) => c.graph.require(left[*i], node),
            }
        }
        if let Some(service) = signal.node.filter(|_| !destroy) {
            // Who waits for the service waits until it has read what changed, unless that asks for the impossible.
            let behind: Vec<Node> = c.graph.behind(service).filter(|n| *n != node).collect();
            c.graph.require(service, node);
            for later in behind {
                c.graph.prefer(node, later);
            }
        }
    }
}
