//! What rules ask again and again, gathered once. With 20,000 servers a rule must not look for its neighbours by going through
//! all nodes: it asks here.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;

use jiff::civil::Date;

use super::exchange::{self, Installed};
use super::records::{Records, within};
use crate::availability::{self, Level};
use crate::model::Span;
use crate::model::topology::{Node, NodeId, Topology, Value};

/// A topology with its indexes; stands for the topology in every rule.
pub struct Facts<'t> {
    topology: &'t Topology,
    /// The day of the run; rules have no clock.
    pub today: Date,
    roles: BTreeMap<&'t str, Vec<&'t Node>>,
    referrers: OnceCell<HashMap<&'t NodeId, Vec<Referrer<'t>>>>,
    exchange: OnceCell<Vec<Installed<'t>>>,
    records: OnceCell<Records<'t>>,
    names: OnceCell<HashMap<String, &'t Node>>,
    promised: OnceCell<Vec<Level>>,
}

/// A field that refers to a node.
#[derive(Debug, Clone, Copy)]
pub struct Referrer<'t> {
    /// The top-level node that the field stands in.
    pub top: &'t Node,
    /// The node itself: `top` or a child of it.
    pub node: &'t Node,
    pub field: &'t str,
    pub span: Span,
}

impl Deref for Facts<'_> {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        self.topology
    }
}

impl<'t> Facts<'t> {
    pub fn new(topology: &'t Topology, today: Date) -> Self {
        let mut roles: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        for server in topology.all("server") {
            for role in server.texts("roles") {
                roles.entry(role).or_default().push(server);
            }
        }
        Self {
            topology,
            today,
            roles,
            referrers: OnceCell::new(),
            exchange: OnceCell::new(),
            records: OnceCell::new(),
            names: OnceCell::new(),
            promised: OnceCell::new(),
        }
    }

    /// The topology itself, for values that outlive a borrow of these facts.
    pub fn topology(&self) -> &'t Topology {
        self.topology
    }

    /// The servers of a role, by name.
    pub fn with_role(&self, role: &str) -> &[&'t Node] {
        self.roles.get(role).map_or(&[], Vec::as_slice)
    }

    /// Every field that refers to this node, children's fields included, `name` fields too.
    pub fn referrers(&self, id: &NodeId) -> &[Referrer<'t>] {
        self.referrers.get_or_init(|| referrers(self.topology)).get(id).map_or(&[], Vec::as_slice)
    }

    /// The servers with Exchange, by name.
    pub(super) fn exchange(&self) -> &[Installed<'t>] {
        self.exchange.get_or_init(|| exchange::all(self.topology))
    }

    /// What levels of availability with a target come to.
    pub fn promised(&self) -> &[Level] {
        self.promised.get_or_init(|| availability::promised(self.topology))
    }

    /// The DNS records that the topology lists.
    pub fn records(&self) -> &Records<'t> {
        self.records.get_or_init(|| Records::new(self.topology))
    }

    /// The name of a server in DNS: its own, else its host name in the organization's domain. Lower case.
    pub fn fqdn(&self, server: &Node) -> String {
        let domain = || self.topology.organization().and_then(|o| o.text("domain")).unwrap_or("localdomain");
        server
            .text("fqdn")
            .map_or_else(|| format!("{}.{}", server.id.name, domain()), str::to_owned)
            .to_ascii_lowercase()
    }

    /// The server of this name in DNS.
    pub fn named(&self, fqdn: &str) -> Option<&'t Node> {
        let names = || self.topology.all("server").map(|s| (self.fqdn(s), s)).collect();
        self.names.get_or_init(names).get(fqdn).copied()
    }

    /// The zone that a name lies in, when its data lies on a server of ours: only then is a record that is not listed not there.
    pub fn held(&self, name: &str) -> Option<&'t Node> {
        let zones = self.topology.all("zone").filter(|z| within(name, z.name()));
        let deepest = zones.max_by_key(|z| z.name().len())?;
        let provider = deepest.text("provider").and_then(|p| self.topology.get("dns-provider", p));
        provider.filter(|p| p.value("host").is_some()).map(|_| deepest)
    }

    /// True where the organisation's real users are: the base, production and what is managed for others.
    pub fn real(&self) -> bool {
        !matches!(self.purpose(), Some("lab" | "test" | "pre-release"))
    }

    /// Purpose of the environment in force; `None` for the base alone.
    pub fn purpose(&self) -> Option<&'t str> {
        self.topology.environment().and_then(|e| e.text("purpose"))
    }

    /// True in an environment whose hosts the lab makes as containers.
    pub fn containers(&self) -> bool {
        self.topology.environment().is_some_and(|e| e.text("runtime") == Some("containers"))
    }
}

fn referrers(topology: &Topology) -> HashMap<&NodeId, Vec<Referrer<'_>>> {
    fn gather<'t>(top: &'t Node, node: &'t Node, all: &mut HashMap<&'t NodeId, Vec<Referrer<'t>>>) {
        for (field, f) in node.fields.iter() {
            for v in &f.values {
                if let Value::Ref(id) = &v.value {
                    all.entry(id).or_default().push(Referrer { top, node, field, span: v.span });
                }
            }
        }
        node.children.iter().for_each(|c| gather(top, c, all));
    }
    let mut all = HashMap::new();
    topology.nodes.values().for_each(|n| gather(n, n, &mut all));
    all
}
