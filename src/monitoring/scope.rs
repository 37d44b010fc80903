//! Which servers a monitor or a level speaks of, and what their exporters are.

use std::collections::{BTreeMap, BTreeSet};

use super::probe::probing;
use crate::model::topology::{Node, NodeId, Topology};

/// What the exporters of a host speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// node_exporter, postfix_exporter, Dovecot's own metrics.
    Open,
    /// windows_exporter with the collectors of Exchange.
    Exchange,
}

/// What tells Prometheus figures of an open host beside node_exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exporters {
    /// postfix_exporter.
    pub postfix: bool,
    /// Dovecot's own metrics.
    pub dovecot: bool,
}

/// The exporters of a server; none of these on Exchange.
pub fn exporters(topology: &Topology, server: &Node) -> Option<Exporters> {
    let platform = topology.target(server, "platform");
    let runs = |product: &str| {
        platform.is_some_and(|p| {
            let named = |c: &Node| c.id.name.rsplit_once('.').map_or(&*c.id.name, |(_, name)| name) == product;
            p.value(product).is_some() || p.children("product").any(named)
        })
    };
    if runs("exchange") {
        return None;
    }
    let roles = server.texts("roles");
    let has = |wanted: &[&str]| roles.iter().any(|r| wanted.contains(r));
    Some(Exporters {
        postfix: runs("postfix") && has(&["smtp", "relay", "hub", "edge"]),
        dovecot: runs("dovecot") && has(&["imap", "mailbox"]),
    })
}

#[derive(Debug)]
pub struct Watched<'t> {
    pub name: &'t str,
    pub site: &'t str,
    /// How Prometheus reaches it.
    pub address: String,
    pub family: Family,
    pub roles: Vec<&'t str>,
    pub exporters: Option<Exporters>,
    /// It makes probes.
    pub probes: bool,
    /// `ADDRESS:PORT` of the metrics of the proxy or the content service on it, with its job.
    pub services: Vec<(&'static str, String)>,
}

/// All servers, by name.
pub struct Scopes<'t> {
    pub servers: BTreeMap<&'t str, Watched<'t>>,
    topology: &'t Topology,
}

impl<'t> Scopes<'t> {
    pub fn of(topology: &'t Topology) -> Self {
        let domain = topology.organization().and_then(|o| o.text("domain")).unwrap_or("localdomain");
        let mut servers: BTreeMap<&str, Watched> = topology
            .all("server")
            .map(|s| {
                let exporters = exporters(topology, s);
                let name = s.id.name.as_str();
                let address = s.text("ip").or_else(|| s.text("ip6").or_else(|| s.text("fqdn"))).map(bracketed);
                let watched = Watched {
                    name,
                    site: s.text("site").unwrap_or_default(),
                    address: address.unwrap_or_else(|| format!("{name}.{domain}")),
                    family: if exporters.is_none() { Family::Exchange } else { Family::Open },
                    exporters,
                    probes: !probing(topology, s).is_empty(),
                    roles: s.texts("roles"),
                    services: Vec::new(),
                };
                (name, watched)
            })
            .collect();
        for (kind, job) in [("proxy", "cutover-proxy"), ("cms", "cutover-cms")] {
            for node in topology.all(kind) {
                let Some((_, port)) = node.text("metrics").and_then(|m| m.rsplit_once(':')) else { continue };
                for (id, _) in node.refs("on") {
                    if let Some(server) = servers.get_mut(id.name.as_str()) {
                        let at = format!("{}:{port}", server.address);
                        server.services.push((job, at));
                    }
                }
            }
        }
        Self { servers, topology }
    }

    /// The servers that a field selects: themselves, those that a service is on, those that hold a database or a pair, those of a
    /// site or a namespace.
    pub fn select(&self, node: &Node, field: &str) -> Vec<&Watched<'t>> {
        let mut names = BTreeSet::new();
        for (id, _) in node.refs(field) {
            self.add(id, &mut names, 0);
        }
        names.iter().filter_map(|n| self.servers.get(n.as_str())).collect()
    }

    /// `deep` bounds how far references are followed: a target of a target of a target.
    fn add(&self, id: &NodeId, names: &mut BTreeSet<String>, deep: usize) {
        if self.servers.contains_key(id.name.as_str()) && id.kind == "server" {
            names.insert(id.name.to_string());
            return;
        }
        if deep == 4 {
            return;
        }
        if id.kind == "site" {
            names.extend(self.servers.values().filter(|s| s.site == id.name).map(|s| s.name.to_owned()));
        }
        let Some(node) = self.topology.nodes.get(id) else { return };
        for field in ["on", "members", "copies", "server", "target"] {
            for (next, _) in node.refs(field) {
                self.add(next, names, deep + 1);
            }
        }
    }
}

/// An address as it stands before a port.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// `server=~"a|b"`: names are host names, so that nothing of them acts in a regular expression but the dot, which is escaped.
pub fn matcher(servers: &[&Watched<'_>]) -> String {
    let names: Vec<String> = servers.iter().map(|s| s.name.replace('.', "\\\\.")).collect();
    match &names[..] {
        [one] if !one.contains('\\') => format!("server=\"{one}\""),
        _ => format!("server=~\"{}\"", names.join("|")),
    }
}
