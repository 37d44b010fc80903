//! Mail data of one server: domains, accounts, and where mail goes next.

use serde_json::{Value as Json, json};

use super::super::survey::{Server, Store, Survey};
use super::super::template::secret_marker;
use super::{Shared, server_json};
use crate::monitoring::relays;

/// Port of LMTP over TCP between servers.
const LMTP: u16 = 24;

pub fn data(survey: &Survey<'_>, server: &Server<'_>, shared: &Shared<'_>) -> Json {
    let domains: Vec<Json> = survey
        .topology
        .all("accepted-domain")
        .map(|d| {
            json!({
                "name": d.id.name,
                "type": d.text("type").unwrap_or("authoritative"),
                "local": d.text("type").unwrap_or("authoritative") == "authoritative",
                "catch_all": d.text("catch-all"),
                "postmaster": d.text("postmaster"),
            })
        })
        .collect();
    let local: Vec<&Json> = domains.iter().filter(|d| d["local"] == true).collect();
    let relayed: Vec<&Json> = domains.iter().filter(|d| d["local"] == false).collect();
    let next = next_hops(survey, server);
    let hop_servers: Vec<Json> = next.servers.iter().map(|s| server_json(s, survey, shared)).collect();
    let trusted = trusted(survey, server);
    json!({
        "domains": domains,
        "local_domains": local,
        "relay_domains": relayed,
        "accounts": accounts(survey, server),
        "aliases": aliases(survey, server),
        // Holds mailboxes itself.
        "store": server.is_store(),
        "has_store": !next.servers.is_empty() || server.is_store(),
        // Nexthop of all accepted domains, in the form of Postfix's transport(5); empty: each account has its own, or none.
        "default_route": next.default,
        // Accounts whose nexthop differs from the default.
        "routes": next.routes.iter().map(|(a, n)| json!({"address": a, "nexthop": n})).collect::<Vec<_>>(),
        "next_hops": hop_servers,
        "gates": survey.with_role(&["edge"]).map(|s| server_json(s, survey, shared)).collect::<Vec<_>>(),
        "hubs": survey.with_role(&["hub"]).map(|s| server_json(s, survey, shared)).collect::<Vec<_>>(),
        "trusted": trusted,
        "masters": super::cms::masters(survey, server),
        "fronts": addresses(survey.with_role(&["cas"])),
        "routers": addresses(survey.with_role(&["hub", "smtp", "relay", "edge"])),
        "stores": survey.stores.iter().map(|s| json!({
            "name": s.id.name,
            "hosts": s.hosts.iter().filter_map(|h| survey.servers.get(h)).map(|h| server_json(h, survey, shared)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "proxied": proxied(survey, server),
    })
}

fn addresses<'a, 't: 'a>(servers: impl Iterator<Item = &'a Server<'t>>) -> Vec<&'a str> {
    servers.flat_map(|s| s.ip.into_iter().chain(s.ip6)).collect()
}

fn accounts(survey: &Survey<'_>, server: &Server<'_>) -> Vec<Json> {
    let found = survey.accounts_on(server.name).into_iter().map(|a| {
        let (local, domain) = a.address.split_once('@').unwrap_or((a.address, ""));
        json!({
            "address": a.address,
            "local": local,
            "domain": domain,
            "password": a.password.as_deref().map_or_else(String::new, secret_marker),
            "quota": a.quota.map_or_else(String::new, |q| q.to_string()),
            "owner": a.node.id.to_string(),
            "node": a.node.id.to_string(),
        })
    });
    found.collect()
}

/// Addresses that are no mailboxes: postmaster and abuse (RFC 5321 4.5.1, RFC 2142), and catch-alls, which in Postfix need the
/// real addresses named beside them. Then what the lists of people say: aliases, forwarders, groups.
fn aliases(survey: &Survey<'_>, server: &Server<'_>) -> Vec<Json> {
    let mut out = Vec::new();
    if server.legacy && !server.is_store() {
        return out;
    }
    for domain in survey.topology.all("accepted-domain") {
        let name = &domain.id.name;
        let exists = |address: &str| survey.addresses.contains(address);
        if let Some(to) = domain.text("postmaster") {
            for local in ["postmaster", "abuse"] {
                let address = format!("{local}@{name}");
                if !exists(&address) {
                    out.push(json!({"from": address, "to": to}));
                }
            }
        }
        if let Some(to) = domain.text("catch-all") {
            let own = survey.accounts.iter().filter(|a| a.address.split_once('@').is_some_and(|(_, d)| d == name));
            out.extend(own.map(|a| json!({"from": a.address, "to": a.address})));
            out.push(json!({"from": format!("@{name}"), "to": to}));
        }
    }
    for list in survey.lists.values() {
        for person in &list.mailboxes {
            out.extend(person.aliases.iter().map(|a| json!({"from": a, "to": person.address})));
            if !person.forward.is_empty() {
                // Beside a catch-all an address stands for itself already.
                out.retain(|o| o["from"] != json!(person.address));
                let own = person.keep_copy.then_some(person.address.as_str()).into_iter();
                let to: Vec<&str> = own.chain(person.forward.iter().map(String::as_str)).collect();
                out.push(json!({"from": person.address, "to": to.join(", ")}));
            }
        }
        for group in list.groups.iter().filter(|g| !g.members.is_empty()) {
            out.push(json!({"from": group.address, "to": group.members.join(", ")}));
            out.extend(group.aliases.iter().map(|a| json!({"from": a, "to": group.address})));
        }
    }
    out
}

struct NextHops<'a, 't> {
    default: String,
    routes: Vec<(&'a str, String)>,
    /// Servers that are named in them.
    servers: Vec<&'a Server<'t>>,
}

/// Where a mail router sends what it accepts. Gateways (relay, edge) hand on to the hubs where there are some, else to the
/// stores; hubs, and smtp servers without mailboxes, deliver to the stores.
fn next_hops<'a, 't>(survey: &'a Survey<'t>, server: &Server<'t>) -> NextHops<'a, 't> {
    let mut next = NextHops { default: String::new(), routes: Vec::new(), servers: Vec::new() };
    if server.legacy || !server.has_any(&["smtp", "hub", "relay", "edge"]) {
        return next;
    }
    let hubs: Vec<&Server<'_>> = survey.with_role(&["hub"]).filter(|h| h.name != server.name).collect();
    if server.has_any(&["relay", "edge"]) && !server.has("hub") && !hubs.is_empty() {
        next.default = nexthop(&hubs);
        next.servers = hubs;
        return next;
    }
    let hosts =
        |s: &'a Store<'t>| -> Vec<&'a Server<'t>> { s.hosts.iter().filter_map(|h| survey.servers.get(h)).collect() };
    let is_own = |s: &Store<'_>| s.hosts.contains(&server.name);
    let others: Vec<&Store<'_>> = survey.stores.iter().filter(|s| !is_own(s)).collect();
    let owns = survey.stores.iter().any(is_own);
    if let ([only], false) = (others.as_slice(), owns) {
        next.servers = hosts(only);
        next.default = nexthop(&next.servers);
        return next;
    }
    for store in others {
        let servers = hosts(store);
        let to = nexthop(&servers);
        let before = next.routes.len();
        next.routes.extend(survey.accounts_of(store).into_iter().map(|a| (a.address, to.clone())));
        if next.routes.len() > before {
            next.servers.extend(servers);
        }
    }
    next.routes.sort();
    next
}

/// The nexthop of all accepted domains; empty where each account has its own, or none.
pub(super) fn default_route(survey: &Survey<'_>, server: &Server<'_>) -> String {
    next_hops(survey, server).default
}

/// `smtp:[a]:25, [b]:25` for servers that take SMTP, else LMTP over TCP. Postfix tries them in order (transport(5), since 3.5).
fn nexthop(servers: &[&Server<'_>]) -> String {
    let smtp = servers.iter().all(|s| s.has_any(&["smtp", "hub"]));
    let port = if smtp { 25 } else { LMTP };
    let list: Vec<String> = servers.iter().map(|s| format!("{}:{port}", bracket(s.address()))).collect();
    format!("{}:{}", if smtp { "smtp" } else { "lmtp:inet" }, list.join(", "))
}

/// Postfix's literal: no MX lookup; IPv6 as `[ipv6:..]`.
pub(super) fn bracket(address: &str) -> String {
    if address.contains(':') { format!("[ipv6:{address}]") } else { format!("[{address}]") }
}

/// Addresses that may send through this server without logging in: the organisation's own servers behind it, and nobody else.
fn trusted(survey: &Survey<'_>, server: &Server<'_>) -> Vec<String> {
    let network = |a: &str| if a.contains(':') { format!("[{a}]/128") } else { format!("{a}/32") };
    trusted_addresses(survey, server).into_iter().map(network).collect()
}

/// The same as plain addresses.
pub fn trusted_addresses<'a>(survey: &'a Survey<'_>, server: &Server<'_>) -> Vec<&'a str> {
    let behind: &'static [&'static str] = if server.legacy {
        &[]
    } else if server.has_any(&["relay", "edge"]) {
        &["hub", "smtp", "mailbox"]
    } else if server.has("hub") {
        &["mailbox", "cas"]
    } else {
        &[]
    };
    let others = |roles: &'static [&'static str]| survey.with_role(roles).filter(|s| s.name != server.name);
    let mut out: Vec<&str> = addresses(others(behind));
    // Alerts go this way, to whoever is on call, who may be elsewhere.
    if relays(survey.topology).next().is_some_and(|s| s.id.name == server.name) {
        out.extend(addresses(others(&["monitor"])));
    }
    out.dedup();
    out
}

/// Which store host a client access server sends each account to; the first of a pair, so that one user's sessions meet.
fn proxied(survey: &Survey<'_>, server: &Server<'_>) -> Json {
    if !server.has("cas") {
        return json!({"default": null, "accounts": []});
    }
    let host_of = |s: &Store<'_>| s.hosts.first().and_then(|h| survey.servers.get(h)).map(|h| h.address().to_owned());
    let default = match survey.stores.as_slice() {
        [only] => host_of(only),
        _ => None,
    };
    let mut accounts: Vec<Json> = Vec::new();
    for store in &survey.stores {
        let Some(host) = host_of(store) else { continue };
        accounts.extend(survey.accounts_of(store).into_iter().map(|a| json!({"address": a.address, "host": host})));
    }
    json!({"default": default, "accounts": accounts})
}
