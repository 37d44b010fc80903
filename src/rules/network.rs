//! Addresses, networks and who may reach whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::dns::shape::in_earnest;
use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::{Span, Spanned};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "address-outside-subnet",
        code: "L1201",
        severity: Severity::Warning,
        about: "A server's address lies in the subnet that it names.",
        source: "RFC 4632, section 3.1",
        check: address_outside_subnet,
    },
    Rule {
        name: "address-outside-site",
        code: "L1202",
        severity: Severity::Warning,
        about: "A server's address lies in a subnet of its site: hosts find their nearest partners by it.",
        source: "https://learn.microsoft.com/windows-server/identity/ad-ds/plan/understanding-active-directory-site-topology; RFC 4632, section 3.1",
        check: address_outside_site,
    },
    Rule {
        name: "duplicate-address",
        code: "L1203",
        severity: Severity::Error,
        about: "An address belongs to one host.",
        source: "RFC 5227, section 1",
        check: duplicate_address,
    },
    Rule {
        name: "subnets-overlap",
        code: "L1204",
        severity: Severity::Warning,
        about: "A network belongs to one site.",
        source: "RFC 4632, section 5.1",
        check: subnets_overlap,
    },
    Rule {
        name: "subnet-in-other-site",
        code: "L1205",
        severity: Severity::Warning,
        about: "The subnet of a server belongs to the server's site.",
        source: "https://learn.microsoft.com/windows-server/identity/ad-ds/plan/understanding-active-directory-site-topology",
        check: subnet_in_other_site,
    },
    Rule {
        name: "pair-in-one-site",
        code: "L1206",
        severity: Severity::Warning,
        about: "Where there are two datacenters, the members of a pair stand in both: a fire leaves one copy.",
        source: "NIST SP 800-34 revision 1, section 3.4.1",
        check: pair_in_one_site,
    },
    Rule {
        name: "any-to-any",
        code: "L1207",
        severity: Severity::Warning,
        about: "The firewall matrix names who may reach whom: all to all is no rule.",
        source: "NIST SP 800-41 revision 1, section 4.1",
        check: any_to_any,
    },
    Rule {
        name: "flow-without-tls",
        code: "L1208",
        severity: Severity::Warning,
        about: "Ports of protocols that carry passwords are opened with TLS.",
        source: "RFC 8314, section 3",
        check: flow_without_tls,
    },
    Rule {
        name: "link-to-itself",
        code: "L1209",
        severity: Severity::Warning,
        about: "A link joins two sites.",
        source: "https://learn.microsoft.com/windows-server/identity/ad-ds/plan/creating-a-site-link-design",
        check: link_to_itself,
    },
    Rule {
        name: "site-without-link",
        code: "L1210",
        severity: Severity::Warning,
        about: "Where the topology has links, every site with servers is at the end of one: else nothing is known of the way there.",
        source: "https://learn.microsoft.com/windows-server/identity/ad-ds/plan/creating-a-site-link-design",
        check: site_without_link,
    },
    Rule {
        name: "balancer-of-one",
        code: "L1211",
        severity: Severity::Warning,
        about: "A load balancer has two members or more: with one it only adds a part that fails.",
        source: "https://docs.haproxy.org/2.8/intro.html (what load balancing is)",
        check: balancer_of_one,
    },
    Rule {
        name: "balancer-without-health",
        code: "L1212",
        severity: Severity::Warning,
        about: "A load balancer asks whether its members live: else a dead one goes on getting its share.",
        source: "https://docs.haproxy.org/2.8/configuration.html (option httpchk, check)",
        check: balancer_without_health,
    },
    Rule {
        name: "documentation-address",
        code: "L1213",
        severity: Severity::Warning,
        about: "Addresses set aside for documents are routed by nobody: in production they were copied from an example.",
        source: "RFC 5737, section 3; RFC 3849, section 2",
        check: documentation_address,
    },
];

/// Addresses of a server with the field that they stand in.
fn addresses(server: &Node) -> impl Iterator<Item = (IpAddr, Span)> {
    ["ip", "ip6"].into_iter().filter_map(|f| Some((server.text(f)?.parse().ok()?, server.at(f))))
}

fn network(subnet: &Node) -> Option<IpNet> {
    subnet.text("cidr")?.parse().ok()
}

fn same_family(net: &IpNet, address: &IpAddr) -> bool {
    net.addr().is_ipv4() == address.is_ipv4()
}

fn address_outside_subnet(t: &Facts, out: &mut Findings) {
    for server in t.all("server") {
        let Some(subnet) = server.text("subnet").and_then(|s| t.get("subnet", s)) else { continue };
        let Some(net) = network(subnet) else { continue };
        for (address, span) in addresses(server).filter(|(a, _)| same_family(&net, a) && !net.contains(a)) {
            out.push(
                &server.id,
                format!("{address} of `{}` lies outside subnet `{}`", server.id.name, subnet.id.name),
                |d| {
                    d.label(span, format!("not in {net}"))
                        .label(subnet.at("cidr"), "the subnet")
                        .help("mend the address, or name the right subnet")
                },
            );
        }
    }
}

fn address_outside_site(t: &Facts, out: &mut Findings) {
    let mut sites: BTreeMap<&str, Vec<(&Node, IpNet)>> = BTreeMap::new();
    for subnet in t.all("subnet") {
        if let (Some(site), Some(net)) = (subnet.text("site"), network(subnet)) {
            sites.entry(site).or_default().push((subnet, net));
        }
    }
    for server in t.all("server").filter(|s| s.value("subnet").is_none()) {
        let Some(nets) = server.text("site").and_then(|s| sites.get(s)) else { continue };
        for (address, span) in addresses(server) {
            let mut own = nets.iter().filter(|(_, n)| same_family(n, &address)).peekable();
            let Some((first, _)) = own.peek().copied() else { continue };
            if !own.any(|(_, n)| n.contains(&address)) {
                let site = server.text("site").unwrap_or_default();
                out.push(
                    &server.id,
                    format!("{address} of `{}` is in no subnet of site {site}", server.id.name),
                    |d| {
                        d.label(span, "not there")
                            .label(first.at("cidr"), format!("a subnet of {site}"))
                            .help("mend the address or the site, or write subnet NAME cidr=.. for it")
                    },
                );
            }
        }
    }
}

fn duplicate_address(t: &Facts, out: &mut Findings) {
    let mut first: HashMap<IpAddr, (&NodeId, Span)> = HashMap::new();
    let mut all: Vec<(&Node, IpAddr, Span)> =
        t.all("server").flat_map(|s| addresses(s).map(move |(a, span)| (s, a, span))).collect();
    for kind in ["pair", "load-balancer"] {
        for node in t.all(kind) {
            let own = ["vip", "vip6"].into_iter().filter_map(|f| Some((node, node.text(f)?.parse().ok()?, node.at(f))));
            all.extend(own);
        }
    }
    for (node, address, span) in all {
        match first.get(&address) {
            // One address for a whole range: told once, with the range of addresses that was meant.
            Some((other, theirs)) if *theirs == span => {
                out.push(&node.id, format!("{other} and {} have the one address {address}", node.id), |d| {
                    d.label(span, "given to each of them")
                        .help(format!("write a range that is zipped with the names: {}", next_to(address)))
                });
            }
            Some((other, theirs)) => {
                out.push(&node.id, format!("{other} and {} have the address {address}", node.id), |d| {
                    d.label(span, "taken").label(*theirs, "already here").help("give one of them another address")
                });
            }
            None => drop(first.insert(address, (&node.id, span))),
        }
    }
}

/// `ip="192.0.2.[10:11]"`, an address and the one behind it.
fn next_to(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("ip=\"{a}.{b}.{c}.[{d}:{}]\"", u16::from(d) + 1)
        }
        IpAddr::V6(v6) => {
            format!("ip6=\"{}:[a:b]\"", v6.to_string().rsplit_once(':').map_or("2001:db8:", |(head, _)| head))
        }
    }
}

fn subnets_overlap(t: &Facts, out: &mut Findings) {
    let mut nets: Vec<(IpNet, &Node)> = t.all("subnet").filter_map(|s| Some((network(s)?, s))).collect();
    // In this order an enclosing network comes before what lies in it.
    nets.sort_by_key(|(n, s)| (n.network(), n.prefix_len(), s.id.clone()));
    let mut open: Vec<(IpNet, &Node)> = Vec::new();
    for (net, subnet) in nets {
        while open.last().is_some_and(|(o, _)| !o.contains(&net)) {
            open.pop();
        }
        if let Some((outer, other)) = open.last()
            && other.text("site") != subnet.text("site")
        {
            out.push(
                &subnet.id,
                format!("`{}` and `{}` share addresses and stand in two sites", other.id.name, subnet.id.name),
                |d| {
                    d.label(subnet.at("cidr"), "these")
                        .label(other.at("cidr"), format!("{outer} has them too"))
                        .help("cut the larger one, or put both into one site")
                },
            );
        }
        open.push((net, subnet));
    }
}

fn subnet_in_other_site(t: &Facts, out: &mut Findings) {
    for server in t.all("server") {
        let Some(subnet) = server.text("subnet").and_then(|s| t.get("subnet", s)) else { continue };
        let (here, there) = (server.text("site").unwrap_or_default(), subnet.text("site").unwrap_or_default());
        if here != there {
            out.push(&server.id, format!("`{}` stands in {here}, its subnet in {there}", server.id.name), |d| {
                d.label(server.at("subnet"), "this subnet")
                    .label(subnet.at("site"), "is of another site")
                    .help("mend one of the two")
            });
        }
    }
}

fn pair_in_one_site(t: &Facts, out: &mut Findings) {
    if t.all("site").filter(|s| s.flag("datacenter")).nth(1).is_none() {
        return;
    }
    // Shared disks and block replication need to be near.
    for pair in t.all("pair").filter(|p| p.text("method") == Some("dsync")) {
        let members: Vec<&Node> = pair.texts("members").into_iter().filter_map(|m| t.get("server", m)).collect();
        if let [a, b] = members.as_slice()
            && a.text("site") == b.text("site")
        {
            let site = a.text("site").unwrap_or_default();
            out.push(&pair.id, format!("both members of `{}` stand in {site}", pair.id.name), |d| {
                d.label(pair.span, "lost with its site")
                    .label(a.at("site"), "here")
                    .label(b.at("site"), "and here")
                    .help("put one member into another datacenter")
            });
        }
    }
}

/// Servers that a list of servers, sites and subnets comes to.
fn reached<'f>(t: &'f Facts, node: &Node, field: &str, by_site: &BTreeMap<&str, Vec<&'f str>>) -> BTreeSet<&'f str> {
    let mut hosts = BTreeSet::new();
    for v in node.values(field) {
        let Value::Ref(id) = &v.value else { continue };
        match id.kind.as_str() {
            "server" => hosts.extend(t.topology().nodes.get_key_value(id).map(|(k, _)| k.name.as_str())),
            "site" => hosts.extend(by_site.get(id.name.as_str()).into_iter().flatten()),
            _ => {}
        }
    }
    hosts
}

fn any_to_any(t: &Facts, out: &mut Findings) {
    let mut by_site: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for s in t.topology().all("server") {
        by_site.entry(s.text("site").unwrap_or_default()).or_default().push(&s.id.name);
    }
    let count: usize = by_site.values().map(Vec::len).sum();
    for flow in t.all("flow").filter(|_| count > 1) {
        let all = |field| reached(t, flow, field, &by_site).len() == count;
        if all("from") && all("to") {
            out.push(&flow.id, format!("`{}` lets all {count} servers reach all", flow.id.name), |d| {
                d.label(flow.at("from"), "all of them")
                    .label(flow.at("to"), "all of them")
                    .help("name roles: from \"role:relay\", to \"role:imap\"")
            });
        }
    }
}

fn flow_without_tls(t: &Facts, out: &mut Findings) {
    for flow in t.all("flow").filter(|f| !f.flag("tls")) {
        let login = |v: &&Spanned<Value>| {
            matches!(v.value, Value::Int(21 | 23 | 80 | 110 | 143 | 389 | 587 | 993 | 995 | 465 | 636))
        };
        let Some(port) = flow.values("ports").find(login) else { continue };
        let Value::Int(number) = port.value else { continue };
        out.push(&flow.id, format!("`{}` opens port {number} without TLS", flow.id.name), |d| {
            d.label(flow.at("tls"), "readable on the way")
                .label(port.span, "carries passwords")
                .help("take tls=#false away, or name the ports apart that need it")
        });
    }
}

fn link_to_itself(t: &Facts, out: &mut Findings) {
    for link in t.all("link") {
        if let [a, b] = link.values("between").collect::<Vec<_>>().as_slice()
            && a.value == b.value
        {
            out.push(&link.id, format!("`{}` joins a site with itself", link.id.name), |d| {
                d.label(b.span, "the same site").help("name the other end")
            });
        }
    }
}

fn site_without_link(t: &Facts, out: &mut Findings) {
    let joined: BTreeSet<&str> = t.all("link").flat_map(|l| l.texts("between")).collect();
    if joined.is_empty() {
        return;
    }
    let used: BTreeSet<&str> = t.all("server").filter_map(|s| s.text("site")).collect();
    for site in used.into_iter().filter(|s| !joined.contains(s)).filter_map(|s| t.get("site", s)) {
        out.push(&site.id, format!("no link leads to site {}", site.id.name), |d| {
            d.label(site.span, "has servers")
                .help(format!("write link NAME bandwidth=.. {{ between {} OTHER; }}", site.id.name))
        });
    }
}

fn balancer_of_one(t: &Facts, out: &mut Findings) {
    for l in t.all("load-balancer").filter(|l| t.real() && l.values("members").count() == 1) {
        out.push(&l.id, format!("`{}` has one member", l.id.name), |d| {
            d.label(l.at("members"), "nothing to spread over")
                .help("name a second server, or point at the server itself")
        });
    }
}

fn balancer_without_health(t: &Facts, out: &mut Findings) {
    let asks = |l: &&Node| matches!(l.text("type"), Some("haproxy" | "hardware" | "dns"));
    for l in
        t.all("load-balancer").filter(asks).filter(|l| l.value("health").is_none() && l.values("members").count() > 1)
    {
        out.push(&l.id, format!("`{}` does not ask whether its members live", l.id.name), |d| {
            d.label(l.span, "no health").help("write health=PROBE")
        });
    }
}

fn documentation_address(t: &Facts, out: &mut Findings) {
    if !in_earnest(t) {
        return;
    }
    let reserved = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];
    let reserved: Vec<IpNet> = reserved.iter().filter_map(|n| n.parse().ok()).collect();
    for server in t.all("server") {
        for (address, span) in addresses(server) {
            let Some(net) = reserved.iter().find(|n| n.contains(&address)) else { continue };
            out.push(&server.id, format!("`{}` has the address {address} of {net}", server.id.name), |d| {
                d.label(span, "for documents only").help("write the real address")
            });
        }
    }
}
