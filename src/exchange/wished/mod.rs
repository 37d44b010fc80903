//! What a topology wants of Exchange, as wishes: its accepted domains, connectors, groups, databases and client access names, each by the kinds of
//! the dialect. What it says and no object of Exchange has is told, and so is what stands on releases without a dialect.

mod access;
mod mailflow;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::exchange::Release;
use crate::exchange::diff::Wish;
use crate::model::topology::{Node, NodeId, Topology};

/// A wish, and the node that it comes from.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub node: NodeId,
    pub release: Release,
    pub wish: Wish,
}

/// Something that the topology says and that becomes no wish.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{node}: {why}")]
pub struct Left {
    pub node: NodeId,
    pub why: String,
}

/// All wishes of a topology.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    pub wanted: Vec<Wanted>,
    pub left: BTreeSet<Left>,
    /// Servers of the organisation by their release; none of them is an edge server.
    pub servers: BTreeMap<String, Release>,
}

/// What a topology wants of Exchange.
pub fn wanted(topology: &Topology) -> Whole {
    let mut hand = Hand { topology, out: Whole::default(), edges: BTreeSet::new() };
    hand.servers();
    if hand.out.servers.is_empty() {
        return hand.out;
    }
    mailflow::domains(&mut hand);
    mailflow::connectors(&mut hand);
    store::groups(&mut hand);
    store::databases(&mut hand);
    access::names(&mut hand);
    hand.out
}

/// The wishes on their way.
struct Hand<'t> {
    topology: &'t Topology,
    out: Whole,
    edges: BTreeSet<String>,
}

impl<'t> Hand<'t> {
    fn servers(&mut self) {
        for node in self.topology.all("server") {
            let product = self.topology.target(node, "platform").and_then(|p| p.text("exchange"));
            let Some(version) = product else { continue };
            match Release::parse(version) {
                // An edge server is configured for itself, or by its subscription.
                Some(_) if node.texts("roles").contains(&"edge") => {
                    self.edges.insert(node.id.name.to_string());
                }
                Some(release) => {
                    self.out.servers.insert(node.id.name.to_string(), release);
                }
                None => self.leave(node, format!("there is no dialect of Exchange {version}")),
            }
        }
    }

    /// The release whose shell speaks for the organisation: the newest.
    fn newest(&self) -> Option<Release> {
        self.out.servers.values().max().copied()
    }

    fn leave(&mut self, node: &Node, why: impl Into<String>) {
        self.out.left.insert(Left { node: node.id.clone(), why: why.into() });
    }

    fn wish(&mut self, node: &Node, release: Release, kind: &str, key: &[&str], properties: Map<String, Json>) {
        let key = key.iter().map(|k| (*k).to_owned()).collect();
        let wish = Wish { kind: kind.to_owned(), key, properties: properties.into_iter().collect(), absent: false };
        self.out.wanted.push(Wanted { node: node.id.clone(), release, wish });
    }

    /// The members of a field that are servers of the organisation, each with its release. Edge servers are told.
    fn members(&mut self, node: &Node, field: &str) -> Vec<(&'t str, Release)> {
        let mut out = Vec::new();
        let topology = self.topology;
        for server in node.refs(field).filter_map(|(id, _)| topology.nodes.get(id)) {
            let name = server.id.name.as_str();
            if let Some(release) = self.out.servers.get(name) {
                out.push((name, *release));
            } else if self.edges.contains(name) {
                self.leave(node, format!("{name} is an edge server, which the organisation does not configure"));
            }
        }
        out
    }
}

/// Parameters, without those that nobody spoke of.
fn parameters<const N: usize>(pairs: [(&str, Option<Json>); N]) -> Map<String, Json> {
    pairs.into_iter().filter_map(|(name, json)| Some((name.to_owned(), json?))).collect()
}

/// Octets, as text so that nothing rounds them.
fn octets(size: Option<u64>) -> Option<Json> {
    size.map(|n| n.to_string().into())
}

fn fqdn(node: &Node) -> &str {
    node.text("fqdn").unwrap_or(&node.id.name)
}
