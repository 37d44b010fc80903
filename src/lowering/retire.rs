//! Old sides that a phase puts out of use, where the old side is a server of the topology: what that phase wants of resources that are there.
//!
//! ```text
//! forwards: its Postfix passes on all that comes to the gates     retires: its services stop and start no more, Postfix last
//! ```
//!
//! Nothing is deleted: mailboxes, accounts and configuration stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Server, Survey, refs};
use crate::model::attr::{Attr, Body, Content, Digest};
use crate::model::resource::{Dependency, Resource};
use crate::model::site::Retirement;
use crate::model::topology::{Node, Topology};
use crate::model::{HostName, Kind};

/// Of Postfix (transport(5)): where mail goes next.
const TRANSPORT: &str = "/etc/postfix/transport";
const MAIN: &str = "/etc/postfix/main.cf";
/// The store that answers questions of quota may be stopped by then; whoever delivers asks again.
const UNASKED: &str = "\n# What comes is passed on, also while nobody here knows of quotas.\nsmtpd_policy_service_default_action = DUNNO\n";

/// Those of a topology by the host that the old side is, with the contents that they need.
pub fn retirements(
    survey: &Survey<'_>,
    resources: &[Resource],
    bodies: &mut BTreeMap<Digest, Body>,
) -> BTreeMap<HostName, Retirement> {
    let topology = survey.topology;
    let mut out = BTreeMap::new();
    for legacy in topology.all("legacy") {
        let (forwarding, stopping) = (phases(topology, legacy, "forwards"), phases(topology, legacy, "retires"));
        let Some(server) = legacy.text("server").and_then(|s| survey.servers.get(s)) else { continue };
        if forwarding.is_empty() && stopping.is_empty() {
            continue;
        }
        let host = HostName::from(server.name);
        let here: Vec<&Resource> = resources.iter().filter(|r| r.address.host == host).collect();
        let forwards = match nexthop(survey, legacy) {
            Some(next) => forwards(topology, &here, &next, bodies),
            None => Vec::new(),
        };
        let legacy = legacy.id.name.to_string();
        out.insert(host, Retirement { legacy, forwarding, stopping, forwards, stops: stops(&here) });
    }
    out
}

/// Phases of this environment that name a legacy in this field.
fn phases(topology: &Topology, legacy: &Node, field: &str) -> BTreeSet<String> {
    let here = |p: &&Node| p.text("environment").is_none_or(|e| topology.environment.as_deref() == Some(e));
    let names = |p: &&Node| refs(p, field).any(|id| *id == legacy.id);
    topology.all("phase").filter(here).filter(names).map(|p| p.id.name.to_string()).collect()
}

/// Who takes the mail of the old side: its proxies' gates that relay, else the servers of the new side that take mail.
fn nexthop(survey: &Survey<'_>, legacy: &Node) -> Option<String> {
    let topology = survey.topology;
    let from_here = |n: &&Node, field: &str| refs(n, field).any(|id| *id == legacy.id);
    let gates = topology.all("proxy").filter(|p| from_here(p, "old")).flat_map(|p| refs(p, "on"));
    let mut all: Vec<&Server<'_>> = gates.filter_map(|id| survey.servers.get(id.name.as_str())).collect();
    all.retain(|s| s.has_any(&["relay", "hub", "edge"]));
    if all.is_empty() {
        let to = topology.all("migration").filter(|m| from_here(m, "from")).flat_map(|m| refs(m, "to"));
        all = to.flat_map(|id| survey.hosts_of(id)).filter_map(|name| survey.servers.get(name)).collect();
        all.retain(|s| s.has_any(&["smtp", "hub"]) && !s.legacy);
    }
    let mut seen = BTreeSet::new();
    let hosts = all.into_iter().map(Server::address).filter(|a| seen.insert((*a).to_owned()));
    let hosts: Vec<String> = hosts.map(|a| format!("[{}{a}]:25", if a.contains(':') { "ipv6:" } else { "" })).collect();
    (!hosts.is_empty()).then(|| format!("smtp:{}", hosts.join(", ")))
}

fn forwards(topology: &Topology, here: &[&Resource], next: &str, bodies: &mut BTreeMap<Digest, Body>) -> Vec<Resource> {
    let domains: Vec<String> = topology.all("accepted-domain").map(|d| format!("{} {next}\n", d.id.name)).collect();
    let table =
        format!("# Made by cutover: this was the old side, and what still comes is passed on.\n{}", domains.concat());
    let mut out = Vec::new();
    for r in here.iter().filter(|r| r.address.kind == Kind::File) {
        match r.address.key.as_str() {
            TRANSPORT => out.push(with(r, Body::text(table.clone()), bodies)),
            MAIN => {
                let Some(Attr::Content(content)) = r.attrs.get("content") else { continue };
                let Some(mut body) = bodies.get(&content.id).cloned() else { continue };
                body.segments.extend(Body::text(UNASKED).segments);
                out.push(with(r, body, bodies));
            }
            _ => {}
        }
    }
    out
}

/// The same file with another content.
fn with(r: &Resource, body: Body, bodies: &mut BTreeMap<Digest, Body>) -> Resource {
    let id = body.intent();
    let content = Content { id: id.clone(), digest: None, sensitive: body.sensitive() };
    bodies.insert(id, body);
    let mut r = r.clone();
    r.attrs.insert("content".to_owned(), Attr::Content(content));
    r
}

/// All services but ours: a gate may stand on the same machine.
fn stops(here: &[&Resource]) -> Vec<Resource> {
    let services = here.iter().filter(|r| r.address.kind == Kind::Service && !r.address.key.starts_with("cutover-"));
    let mut all: Vec<Resource> = services
        .map(|r| {
            let mut r = (*r).clone();
            r.attrs.insert("enabled".to_owned(), Attr::Bool(false));
            r.attrs.insert("running".to_owned(), Attr::Bool(false));
            (r.after, r.notifies) = (Vec::new(), Vec::new());
            r
        })
        .collect();
    let others: Vec<Dependency> =
        all.iter().filter(|r| r.address.key != "postfix").map(|r| Dependency::Resource(r.address.clone())).collect();
    all.iter_mut().filter(|r| r.address.key == "postfix").for_each(|r| r.after.clone_from(&others));
    all
}
