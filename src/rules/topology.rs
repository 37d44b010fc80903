//! Rules on servers and how they are reached.

use super::Finding;
use crate::model::Diagnostic;
use crate::model::topology::{Node, NodeId, Topology, Value};

/// The lease, the state folder and every report carry the organisation's name.
pub(super) fn no_organization(t: &Topology, out: &mut Vec<Finding>) {
    let Some(first) = t.nodes.values().next() else { return };
    if t.organization().is_none() && t.all("server").next().is_some() {
        let d = Diagnostic::warning("W0101", "the topology names no organization")
            .label(first.span, "organization NAME domain=.. is missing")
            .help("write `organization NAME domain=..`");
        out.push(Finding { on: first.id.clone(), diagnostic: d });
    }
}

/// Without an anchor the lease lies on the first host by name, and moves when a host is added before it.
pub(super) fn no_anchor(t: &Topology, out: &mut Vec<Finding>) {
    let Some(o) = t.organization() else { return };
    if o.value("anchor").is_none() && t.all("server").next().is_some() {
        let d = Diagnostic::warning("W0102", "the organization names no anchor")
            .label(o.span, "the lease goes to the first host by name")
            .help("write anchor=SERVER, a host that stays");
        out.push(Finding { on: o.id.clone(), diagnostic: d });
    }
}

/// True in an environment whose hosts the lab makes.
fn containers(t: &Topology) -> bool {
    t.environment().is_some_and(|e| e.text("runtime") == Some("containers"))
}

/// A host is reached by its address or its name in DNS.
pub(super) fn no_address(t: &Topology, out: &mut Vec<Finding>) {
    if containers(t) {
        return;
    }
    for s in t.all("server").filter(|s| !["ip", "ip6", "fqdn"].iter().any(|f| s.value(f).is_some())) {
        let d = Diagnostic::warning("W0103", format!("server `{}` has no address", s.id.name))
            .label(s.span, "neither ip, ip6 nor fqdn")
            .help("write ip=.. or fqdn=..; without it ssh is given the bare name");
        out.push(Finding { on: s.id.clone(), diagnostic: d });
    }
}

/// Without a connection, ssh uses the operator's own user and keys, which differ from one operator to the next.
pub(super) fn no_connection(t: &Topology, out: &mut Vec<Finding>) {
    for s in t.all("server").filter(|s| s.value("connection").is_none()) {
        let d = Diagnostic::warning("W0104", format!("server `{}` has no connection", s.id.name))
            .label(s.span, "nothing says how it is reached")
            .help("write connection=NAME");
        out.push(Finding { on: s.id.clone(), diagnostic: d });
    }
}

/// An unpinned key is trusted at first sight (RFC 4251, section 4.1). Lab hosts get theirs pinned by the lab.
pub(super) fn unpinned_host_key(t: &Topology, out: &mut Vec<Finding>) {
    if containers(t) {
        return;
    }
    let connections = t.all("connection").chain(t.all("server").flat_map(|s| s.children("connection")));
    for c in connections.filter(|c| c.value("host-key").is_none() && c.text("transport") != Some("local")) {
        // A connection of many hosts cannot hold one key: each host's known_hosts entry does.
        let users = t.all("server").filter(|s| refers(s, "connection", &c.id)).count();
        if users != 1 {
            continue;
        }
        let d = Diagnostic::warning("W0105", format!("connection `{}` pins no host key", c.id.name))
            .label(c.span, "trusted by known_hosts only")
            .help("write host-key=\"ssh-ed25519 ..\"");
        out.push(Finding { on: c.id.clone(), diagnostic: d });
    }
}

fn refers(node: &Node, field: &str, id: &NodeId) -> bool {
    node.values(field).any(|v| v.value == Value::Ref(id.clone()))
}
