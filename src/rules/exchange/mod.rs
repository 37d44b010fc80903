//! Microsoft Exchange on premises, 2007 to SE.

pub(super) mod ccr;
pub(super) mod client;
pub(super) mod coexistence;
pub(super) mod copies;
pub(super) mod dag;
pub(super) mod database;
pub(super) mod mailflow;
pub(super) mod moves;
pub(super) mod roles;
pub(super) mod um;
pub(super) mod witness;

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;
use crate::model::Span;
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::version::Exchange;

/// A server with Exchange.
#[derive(Clone, Copy)]
pub(super) struct Installed<'t> {
    server: &'t Node,
    platform: &'t Node,
    version: Exchange,
}

/// Every server with Exchange, by name. A platform that the environment replaces by another is not there.
pub(super) fn all(t: &Topology) -> Vec<Installed<'_>> {
    let replaced: BTreeSet<&NodeId> =
        t.environment().into_iter().flat_map(|e| e.children("stand-in")).filter_map(|s| s.reference("name")).collect();
    let mut platforms: BTreeMap<&NodeId, Option<(&Node, Exchange)>> = BTreeMap::new();
    let of = |server| {
        let id = Node::reference(server, "platform")?;
        let known = platforms.entry(id).or_insert_with(|| {
            let platform = t.nodes.get(id).filter(|_| !replaced.contains(id))?;
            Some((platform, Exchange::of_platform(platform)?))
        });
        known.map(|(platform, version)| Installed { server, platform, version })
    };
    t.all("server").filter_map(of).collect()
}

/// Exchange on a server; `None` for servers of other products.
fn installed<'t>(t: &Facts<'t>, server: &Node) -> Option<Installed<'t>> {
    let all = t.exchange();
    all.binary_search_by(|i| i.server.id.cmp(&server.id)).ok().and_then(|at| all.get(at)).copied()
}

fn servers<'f, 't>(t: &'f Facts<'t>) -> impl Iterator<Item = Installed<'t>> + use<'f, 't> {
    t.exchange().iter().copied()
}

fn has_role(server: &Node, role: &str) -> bool {
    server.values("roles").any(|v| matches!(&v.value, Value::Text(t) if t == role))
}

/// Where a role of a server is written.
fn role_at(server: &Node, role: &str) -> Span {
    let written = server.values("roles").find(|v| matches!(&v.value, Value::Text(t) if t == role));
    written.map_or(server.span, |v| v.span)
}

/// Active Directory site of a server: the directory site of its site, or the site itself.
fn directory_site<'t>(t: &'t Topology, server: &'t Node) -> Option<(&'t str, &'t Node)> {
    let site = t.target(server, "site")?;
    Some((site.text("directory-site").unwrap_or(&site.id.name), site))
}

/// Field that holds the servers of a cluster.
fn cluster_field(cluster: &NodeId) -> &'static str {
    if cluster.kind == "ccr" { "nodes" } else { "members" }
}
