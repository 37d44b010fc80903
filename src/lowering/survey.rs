//! The topology as packs need it: servers with their roles, stores, accounts, domains. Everything that several parts ask for once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Diagnostics, SecretRef, Span};
use crate::people::{Accounts, Password};

/// One server of the topology.
#[derive(Debug)]
pub struct Server<'t> {
    pub node: &'t Node,
    pub name: &'t str,
    pub fqdn: Cow<'t, str>,
    pub ip: Option<&'t str>,
    pub ip6: Option<&'t str>,
    /// Roles in the order written.
    pub roles: Vec<(&'t str, Span)>,
    pub platform: &'t str,
    /// Product to version, as the platform says.
    pub products: Arc<BTreeMap<String, String>>,
    /// It stands for a source system (`legacy .. server=`): nothing of the new side is routed to it.
    pub legacy: bool,
}

impl Server<'_> {
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|(r, _)| *r == role)
    }

    pub fn has_any(&self, roles: &[&str]) -> bool {
        roles.iter().any(|r| self.has(r))
    }

    /// Holds mailboxes.
    pub fn is_store(&self) -> bool {
        self.has_any(&["imap", "mailbox"])
    }

    /// How other servers reach it: address, else address of IPv6, else the name.
    pub fn address(&self) -> &str {
        self.ip.or(self.ip6).unwrap_or(&self.fqdn)
    }
}

/// A place that holds mailboxes: a pair or a single server.
#[derive(Debug)]
pub struct Store<'t> {
    pub id: NodeId,
    /// Names of its servers, in the order of the pair.
    pub hosts: Vec<&'t str>,
}

/// A `mail-account` node, or a person of an `accounts` node.
#[derive(Debug)]
pub struct Account<'t> {
    pub node: &'t Node,
    pub address: &'t str,
    /// Each store that it lives in: the node that `on` names.
    pub on: Vec<NodeId>,
    pub password: Option<Cow<'t, SecretRef>>,
    /// Bytes.
    pub quota: Option<u64>,
}

pub struct Survey<'t> {
    pub topology: &'t Topology,
    pub servers: BTreeMap<&'t str, Server<'t>>,
    pub stores: Vec<Store<'t>>,
    pub accounts: Vec<Account<'t>>,
    /// What the lists of `accounts` nodes say, by the node's name.
    pub lists: &'t BTreeMap<String, Accounts>,
    /// Accounts by the node that holds them, as places in `accounts`: asked for once for each server and route.
    held: BTreeMap<NodeId, Vec<usize>>,
    pairs: BTreeMap<&'t str, &'t Node>,
    /// Servers of the new side by role: each server asks for several, which must not cost a walk over all of them.
    by_role: BTreeMap<&'t str, Vec<&'t str>>,
    /// Addresses of all accounts.
    pub addresses: BTreeSet<&'t str>,
    pub organization: &'t str,
    pub domain: &'t str,
}

/// The name of a child without its parent: `gate.postfix:x` is `postfix:x`.
pub fn leaf<'a>(parent: &Node, child: &'a Node) -> &'a str {
    child.id.name.strip_prefix(parent.id.name.as_str()).and_then(|n| n.strip_prefix('.')).unwrap_or(&child.id.name)
}

/// The nodes that a field refers to.
pub fn refs<'a>(node: &'a Node, field: &'a str) -> impl Iterator<Item = &'a NodeId> {
    node.refs(field).map(|(id, _)| id)
}

/// A topology without lists, or of which they do not matter.
pub static NO_LISTS: BTreeMap<String, Accounts> = BTreeMap::new();

/// The secret with which somebody of a list logs in, where it is made here.
pub fn secret_of_person(address: &str) -> String {
    format!("account-{address}")
}

/// `secrets` are those of [`secret_of_person`]; whose is not there has none.
pub fn survey<'t>(
    topology: &'t Topology,
    lists: &'t BTreeMap<String, Accounts>,
    secrets: &BTreeMap<String, SecretRef>,
    diagnostics: &mut Diagnostics,
) -> Survey<'t> {
    let organization = topology.organization();
    if organization.is_none() {
        diagnostics.push(
            Diagnostic::error("E1008", "the topology names no organisation")
                .help("write organization NAME domain=example.org"),
        );
    }
    let domain = organization.and_then(|o| o.text("domain")).unwrap_or("localdomain");
    let legacy: BTreeSet<&str> = topology.all("legacy").filter_map(|l| l.text("server")).collect();
    let platforms: BTreeMap<&str, Arc<BTreeMap<String, String>>> =
        topology.all("platform").map(|p| (p.id.name.as_str(), Arc::new(products(p)))).collect();
    let servers: BTreeMap<&str, Server<'t>> =
        topology.all("server").map(|node| (node.id.name.as_str(), server(&platforms, node, domain, &legacy))).collect();
    let stores = stores(topology, &servers);
    let mut accounts: Vec<Account<'_>> = topology.all("mail-account").map(account).collect();
    for node in topology.all("accounts") {
        let list = lists.get(node.id.name.as_str()).into_iter().flat_map(|l| &l.mailboxes);
        accounts.extend(list.map(|person| Account {
            node,
            address: &person.address,
            on: refs(node, "on").cloned().collect(),
            password: match person.password {
                Password::Import => node.secret("hashes").map(|of| imported_hash(&person.address, of)).map(Cow::Owned),
                Password::Reset => secrets.get(&secret_of_person(&person.address)).cloned().map(Cow::Owned),
            },
            quota: person.quota,
        }));
    }
    let mut held: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (i, account) in accounts.iter().enumerate() {
        for on in &account.on {
            held.entry(on.clone()).or_default().push(i);
        }
    }
    let mut pairs = BTreeMap::new();
    for pair in topology.all("pair") {
        for member in refs(pair, "members") {
            pairs.entry(member.name.as_str()).or_insert(pair);
        }
    }
    let mut by_role: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for s in servers.values().filter(|s| !s.legacy) {
        s.roles.iter().for_each(|(role, _)| by_role.entry(*role).or_default().push(s.name));
    }
    let addresses = accounts.iter().map(|a| a.address).collect();
    Survey {
        addresses,
        lists,
        topology,
        by_role,
        servers,
        stores,
        accounts,
        held,
        pairs,
        organization: organization.map_or("organization", |o| o.id.name.as_str()),
        domain,
    }
}

/// The hash that a passwd-file has of somebody; the resolver knows the form.
fn imported_hash(address: &str, of: &SecretRef) -> SecretRef {
    SecretRef(format!("imported-hash:{address}={of}"))
}

fn server<'t>(
    platforms: &BTreeMap<&str, Arc<BTreeMap<String, String>>>,
    node: &'t Node,
    domain: &str,
    legacy: &BTreeSet<&str>,
) -> Server<'t> {
    let name = node.id.name.as_str();
    let roles = node.values("roles").filter_map(|v| match &v.value {
        Value::Text(t) => Some((t.as_str(), v.span)),
        _ => None,
    });
    let platform = node.text("platform").unwrap_or_default();
    Server {
        node,
        name,
        fqdn: node.text("fqdn").map_or_else(|| format!("{name}.{domain}").into(), Cow::Borrowed),
        ip: node.text("ip"),
        ip6: node.text("ip6"),
        roles: roles.collect(),
        platform,
        products: platforms.get(platform).cloned().unwrap_or_default(),
        legacy: legacy.contains(name),
    }
}

/// Products of a platform: its own fields, and `product NAME VERSION` children.
fn products(platform: &Node) -> BTreeMap<String, String> {
    let own = platform.fields.keys().filter(|f| !matches!(*f, "update" | "packages"));
    let own = own.filter_map(|f| Some((f.to_owned(), platform.text(f)?.to_owned())));
    let more = platform.children("product");
    let more = more.filter_map(|c| Some((leaf(platform, c).to_owned(), c.text("version")?.to_owned())));
    own.chain(more).collect()
}

fn stores<'t>(topology: &'t Topology, servers: &BTreeMap<&'t str, Server<'t>>) -> Vec<Store<'t>> {
    let mut stores = Vec::new();
    let mut paired = BTreeSet::new();
    for pair in topology.all("pair") {
        let hosts: Vec<&str> = refs(pair, "members").map(|id| id.name.as_str()).collect();
        paired.extend(hosts.iter().copied());
        stores.push(Store { id: pair.id.clone(), hosts });
    }
    for server in servers.values() {
        if server.is_store() && !server.legacy && !paired.contains(server.name) {
            stores.push(Store { id: server.node.id.clone(), hosts: vec![server.name] });
        }
    }
    stores
}

fn account(node: &Node) -> Account<'_> {
    Account {
        node,
        address: &node.id.name,
        on: refs(node, "on").cloned().collect(),
        password: node.secret("password").map(Cow::Borrowed),
        quota: match node.value("quota").map(|v| &v.value) {
            Some(Value::Size(bytes)) => Some(*bytes),
            _ => None,
        },
    }
}

impl<'t> Survey<'t> {
    /// The pair that a server is a member of.
    pub fn pair_of(&self, server: &str) -> Option<&'t Node> {
        self.pairs.get(server).copied()
    }

    /// Servers behind a node that accounts or records name.
    pub fn hosts_of(&self, id: &NodeId) -> Vec<&'t str> {
        match id.kind.as_str() {
            "server" => self.servers.get(id.name.as_str()).map(|s| s.name).into_iter().collect(),
            _ => self.stores.iter().find(|s| s.id == *id).map(|s| s.hosts.clone()).unwrap_or_default(),
        }
    }

    /// Accounts that live on a server: its own, and those of its pair.
    pub fn accounts_on(&self, server: &str) -> Vec<&Account<'t>> {
        let pair = self.pair_of(server).map(|p| p.id.clone());
        self.held_by(pair.into_iter().chain([NodeId::new("server", server)]))
    }

    /// Accounts of a store, whether they name it or one of its servers.
    pub fn accounts_of(&self, store: &Store<'t>) -> Vec<&Account<'t>> {
        let servers = store.hosts.iter().map(|h| NodeId::new("server", *h));
        self.held_by(servers.chain([store.id.clone()]))
    }

    fn held_by(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<&Account<'t>> {
        let places: BTreeSet<usize> = nodes.filter_map(|id| self.held.get(&id)).flatten().copied().collect();
        places.into_iter().map(|i| &self.accounts[i]).collect()
    }

    /// Servers of the new side with one of these roles, by name.
    pub fn with_role<'s>(&'s self, roles: &'s [&'s str]) -> impl Iterator<Item = &'s Server<'t>> {
        let names: BTreeSet<&str> = roles.iter().filter_map(|r| self.by_role.get(r)).flatten().copied().collect();
        names.into_iter().filter_map(|n| self.servers.get(n))
    }
}
