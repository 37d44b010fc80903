//! Connectors, domains and Edge subscriptions of Exchange.

use std::collections::{BTreeMap, BTreeSet};

use super::{directory_site, has_role, installed, servers};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::{format_bytes, format_duration, parse_duration};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "edge-subscribed-twice",
        code: "L3701",
        severity: Severity::Error,
        about: "An Edge server is subscribed to one Active Directory site only.",
        source: "Microsoft Learn: Edge subscriptions in Exchange Server",
        check: subscribed_twice,
    },
    Rule {
        name: "subscription-of-other-role",
        code: "L3702",
        severity: Severity::Error,
        about: "Only Edge servers are subscribed.",
        source: "Microsoft Learn: Edge subscriptions in Exchange Server",
        check: other_role,
    },
    Rule {
        name: "subscription-without-partner",
        code: "L3703",
        severity: Severity::Error,
        about: "The site that Edge servers are subscribed to has a server that talks to them: hub until 2010, mailbox from 2013 on.",
        source: "Microsoft Learn: Edge subscriptions in Exchange Server",
        check: without_partner,
    },
    Rule {
        name: "edge-ports-closed",
        code: "L3704",
        severity: Severity::Warning,
        about: "The firewall matrix lets the subscribed site reach its Edge servers on 25 and 50636, and them reach it on 25.",
        source: "Microsoft Learn: Edge subscriptions in Exchange Server",
        check: ports_closed,
    },
    Rule {
        name: "receive-connectors-clash",
        code: "L3705",
        severity: Severity::Error,
        about: "On one server two receive connectors differ in port or in the addresses that they take mail from.",
        source: "Microsoft Learn: Receive connectors in Exchange Server",
        check: receive_clash,
    },
    Rule {
        name: "address-space-form",
        code: "L3706",
        severity: Severity::Error,
        about: "An address space is *, a domain, or *. and a domain; *contoso.com is none.",
        source: "Microsoft PowerShell reference: New-SendConnector, AddressSpaces",
        check: address_space_form,
    },
    Rule {
        name: "no-way-out",
        code: "L3707",
        severity: Severity::Warning,
        about: "Some send connector takes mail for *: Exchange has none of its own, and mail to the internet stays in the queue.",
        source: "Microsoft Learn: Send connectors in Exchange Server",
        check: no_way_out,
    },
    Rule {
        name: "relay-domain-without-way",
        code: "L3708",
        severity: Severity::Error,
        about: "For an internal relay domain a send connector names that domain: mail for users who are not here must go somewhere.",
        source: "Microsoft Learn: Accepted domains in Exchange Server",
        check: relay_domain_without_way,
    },
    Rule {
        name: "size-limit-shrinks",
        code: "L3709",
        severity: Severity::Warning,
        about: "What is taken from the internet fits through the next hop: else it is accepted first and returned later.",
        source: "Microsoft Learn: Message size and recipient limits in Exchange Server",
        check: size_limit_shrinks,
    },
    Rule {
        name: "default-domain-twice",
        code: "L3710",
        severity: Severity::Error,
        about: "One accepted domain is the default one.",
        source: "Microsoft Learn: Accepted domains in Exchange Server",
        check: default_twice,
    },
    Rule {
        name: "transport-limits-low",
        code: "L3711",
        severity: Severity::Warning,
        about: "A server opens 40 connections to a domain or more and retries within 5 minutes: less makes queues.",
        source: "Microsoft CSS-Exchange HealthChecker: MaxPerDomainOutboundConnections, MessageRetryInterval",
        check: transport_limits_low,
    },
    Rule {
        name: "edge-connector-in-two-places",
        code: "L3712",
        severity: Severity::Error,
        about: "A send connector runs on subscribed Edge servers, or on others: to the subscribed ones it is copied from the organization, and cannot be changed there.",
        source: "Microsoft Learn: Edge subscriptions in Exchange Server (cmdlets for send connectors that a subscription disables)",
        check: edge_connector_in_two_places,
    },
];

fn subscribed_twice(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<&NodeId, (&Node, Span)> = BTreeMap::new();
    for s in t.all("edge-subscription") {
        for (edge, at) in s.refs("edges") {
            match first.insert(edge, (s, at)) {
                Some((other, there)) if other.reference("site") != s.reference("site") => {
                    let message = format!(
                        "edge server `{}` is subscribed by `{}` and by `{}`",
                        edge.name, other.id.name, s.id.name
                    );
                    out.push(&s.id, message, |d| {
                        d.label(at, "a second site").label(there, "the first").help("leave it in one subscription")
                    });
                }
                _ => {}
            }
        }
    }
}

fn other_role(t: &Facts, out: &mut Findings) {
    for s in t.all("edge-subscription") {
        for (id, at) in s.refs("edges") {
            let Some(server) = t.nodes.get(id).filter(|n| !has_role(n, "edge") && installed(t, n).is_some()) else {
                continue;
            };
            out.push(&s.id, format!("`{}` subscribes `{}`, which is no edge server", s.id.name, id.name), |d| {
                d.label(at, "named here").label(server.at("roles"), "its roles").help("name servers with `roles edge`")
            });
        }
    }
}

fn without_partner(t: &Facts, out: &mut Findings) {
    let mut partners = BTreeSet::new();
    for i in servers(t) {
        let role = if i.version.year <= 2010 { "hub" } else { "mailbox" };
        if has_role(i.server, role)
            && let Some((name, _)) = directory_site(t, i.server)
        {
            partners.insert(name);
        }
    }
    for s in t.all("edge-subscription") {
        let Some(site) = t.target(s, "site") else { continue };
        if !partners.contains(site.text("directory-site").unwrap_or(&site.id.name)) {
            out.push(
                &s.id,
                format!("`{}` subscribes edge servers to `{}`, where nobody talks to them", s.id.name, site.id.name),
                |d| {
                    d.label(s.at("site"), "no hub server (2007, 2010) and no mailbox server (2013 on)")
                        .label(site.span, "this site")
                        .help("name a site with such servers")
                },
            );
        }
    }
}

/// True when a flow names the server, its site or its subnet.
fn covers(flow: &Node, field: &str, server: &Node) -> bool {
    let own = [Some(&server.id), server.reference("site"), server.reference("subnet")];
    flow.refs(field).any(|(id, _)| own.contains(&Some(id)))
}

fn ports_closed(t: &Facts, out: &mut Findings) {
    for s in t.all("edge-subscription") {
        let Some(site) = s.reference("site") else { continue };
        let partner = t
            .all("server")
            .find(|n| n.reference("site") == Some(site) && (has_role(n, "hub") || has_role(n, "mailbox")));
        let Some(partner) = partner else { continue };
        for (id, at) in s.refs("edges") {
            let Some(edge) = t.nodes.get(id) else { continue };
            let flows: Vec<&Node> =
                t.all("flow").filter(|f| f.refs("from").chain(f.refs("to")).any(|(n, _)| n == id)).collect();
            // Where the matrix says nothing of an edge server, it is not kept here.
            let Some(first) = flows.first() else { continue };
            let open = |from: &Node, to: &Node, port: i64| {
                flows.iter().any(|f| {
                    covers(f, "from", from)
                        && covers(f, "to", to)
                        && f.values("ports").any(|p| p.value == Value::Int(port))
                })
            };
            let mut closed = Vec::new();
            for (from, to, port) in [(partner, edge, 25), (partner, edge, 50_636), (edge, partner, 25)] {
                if !open(from, to, port) {
                    closed.push(format!("{port} from `{}` to `{}`", from.id.name, to.id.name));
                }
            }
            if !closed.is_empty() {
                out.push(
                    &s.id,
                    format!("`{}` needs ports that no flow opens: {}", s.id.name, closed.join(", ")),
                    |d| {
                        d.label(at, "subscribed here")
                            .label(first.span, "the matrix speaks of it here")
                            .help("add the missing `flow` nodes")
                    },
                );
            }
        }
    }
}

fn receive_clash(t: &Facts, out: &mut Findings) {
    let mut taken: BTreeMap<(&NodeId, i64, &str), &Node> = BTreeMap::new();
    for c in t.all("connector").filter(|c| c.text("direction") == Some("receive")) {
        let port = c.int("port").unwrap_or(25);
        let allow = c.texts("allow");
        let ranges = if allow.is_empty() { vec!["0.0.0.0/0"] } else { allow };
        let mut clash = None;
        for (server, _) in
            c.refs("servers").filter(|(id, _)| t.nodes.get(*id).is_some_and(|s| installed(t, s).is_some()))
        {
            for range in &ranges {
                if let Some(other) = taken.insert((server, port, range), c).filter(|o| o.id != c.id) {
                    clash.get_or_insert((server, *range, other));
                }
            }
        }
        let Some((server, range, other)) = clash else { continue };
        let message =
            format!("`{}` and `{}` both take {range} on port {port} of `{}`", other.id.name, c.id.name, server.name);
        out.push(&c.id, message, |d| {
            d.label(c.at("allow"), "the second")
                .label(other.at("allow"), "the first")
                .help("give one of them another port or a smaller network")
        });
    }
}

fn address_space_form(t: &Facts, out: &mut Findings) {
    for c in t.all("connector").filter(|c| c.text("direction") == Some("send")) {
        for v in c.values("domains") {
            let Value::Text(space) = &v.value else { continue };
            let body = space.strip_prefix("smtp:").unwrap_or(space);
            let Some(rest) = body.strip_prefix('*').filter(|r| !r.is_empty() && !r.starts_with('.')) else { continue };
            out.push(&c.id, format!("`{space}` is no address space"), |d| {
                d.label(v.span, "a star stands alone or before a dot")
                    .help(format!("write \"*.{rest}\" for its subdomains and \"{rest}\" for itself"))
            });
        }
    }
}

/// Send connectors on Exchange, with their address spaces.
fn send_connectors<'t>(t: &'t Facts) -> Vec<&'t Node> {
    t.all("connector").filter(|c| c.text("direction") == Some("send")).collect()
}

fn no_way_out(t: &Facts, out: &mut Findings) {
    let transport = servers(t).find(|i| has_role(i.server, if i.version.year <= 2010 { "hub" } else { "mailbox" }));
    let Some(i) = transport else { return };
    let send = send_connectors(t);
    let out_of =
        |c: &&Node| c.texts("domains").iter().any(|d| matches!(d.strip_prefix("smtp:").unwrap_or(d), "*" | "--"));
    if send.iter().any(out_of) || t.all("edge-subscription").next().is_some() {
        return;
    }
    out.push(&i.platform.id, "no send connector takes mail for the internet", |d| {
        let d = d.label(i.platform.span, "Exchange has no such connector of its own");
        let d = match send.first() {
            Some(c) => d.label(c.span, "takes mail for some domains only"),
            None => d,
        };
        d.help("write connector internet direction=send type=internet { servers ..; domains \"*\"; }, or subscribe an edge server")
    });
}

fn relay_domain_without_way(t: &Facts, out: &mut Findings) {
    let Some(i) = servers(t).next() else { return };
    for domain in t.all("accepted-domain").filter(|d| d.text("type") == Some("internal-relay")) {
        let name = domain.name();
        let matches = |space: &str| {
            let space = space.strip_prefix("smtp:").unwrap_or(space);
            space.eq_ignore_ascii_case(name)
                || space.strip_prefix("*.").is_some_and(|parent| {
                    name.to_ascii_lowercase().ends_with(&format!(".{}", parent.to_ascii_lowercase()))
                })
        };
        if !send_connectors(t).iter().any(|c| c.texts("domains").iter().any(|s| matches(s))) {
            out.push(&domain.id, format!("no send connector takes mail for the relay domain {name}"), |d| {
                d.label(domain.span, "part of its users are elsewhere")
                    .label(i.platform.span, "Exchange asks DNS, and finds itself")
                    .help(format!("write connector NAME direction=send type=relay {{ servers ..; domains {name}; smart-hosts ..; }}"))
            });
        }
    }
}

fn size_limit_shrinks(t: &Facts, out: &mut Findings) {
    let inner = t
        .all("connector")
        .filter(|c| matches!(c.text("type"), Some("site" | "relay")) && c.text("direction") == Some("send"));
    let inner: Vec<(&Node, u64)> = inner.filter_map(|c| Some((c, c.size("max-size")?))).collect();
    for c in t.all("connector").filter(|c| c.text("type") == Some("internet") && c.text("direction") == Some("receive"))
    {
        let Some(size) = c.size("max-size") else { continue };
        let own: BTreeSet<_> = c.refs("servers").map(|(id, _)| id).collect();
        let next = inner
            .iter()
            .filter(|(n, s)| *s < size && n.refs("servers").any(|(id, _)| own.contains(id)))
            .min_by_key(|(_, s)| *s);
        let Some((next, smaller)) = next else { continue };
        let mib = |n: u64| n >> 20;
        let (takes, passes) = (format_bytes(size), format_bytes(*smaller));
        let message = format!("`{}` takes {takes}, `{}` passes on {passes}", c.id.name, next.id.name);
        out.push(&c.id, message, |d| {
            d.label(c.at("max-size"), "accepted")
                .label(next.at("max-size"), "returned")
                .help(format!("write max-size=\"{}MiB\" here, so that the sender's server keeps it", mib(*smaller)))
        });
    }
}

fn default_twice(t: &Facts, out: &mut Findings) {
    let mut defaults = t.all("accepted-domain").filter(|d| d.flag("default"));
    let Some(first) = defaults.next() else { return };
    for second in defaults {
        out.push(&second.id, format!("{} and {} are both the default domain", first.name(), second.name()), |d| {
            d.label(second.at("default"), "again")
                .label(first.at("default"), "already")
                .help("leave default=#true at one of them")
        });
    }
}

fn transport_limits_low(t: &Facts, out: &mut Findings) {
    for owner in t.all("server").chain(t.all("baseline")).chain(t.all("connector")) {
        for s in owner.children("setting") {
            let Some((product, key)) = s.name().split_once(':').filter(|(p, _)| *p == "exchange") else { continue };
            let (low, wanted) = match key.to_ascii_lowercase().as_str() {
                "maxperdomainoutboundconnections" => {
                    let n = s.int("value").or_else(|| s.text("value")?.parse().ok());
                    (n.is_some_and(|n| n < 40), "40 or more".to_owned())
                }
                "messageretryinterval" => {
                    let d = s.text("value").and_then(|v| parse_duration(v).or_else(|| clock(v)));
                    let five = std::time::Duration::from_secs(300);
                    (d.is_some_and(|d| d > five), format!("{} or less", format_duration(five)))
                }
                _ => continue,
            };
            if low {
                out.push(&owner.id, format!("{product} {key} of `{}` makes queues", owner.id.name), |d| {
                    d.label(s.at("value"), format!("{wanted} is advised")).help("leave it at the default, or raise it")
                });
            }
        }
    }
}

/// `00:05:00`.
fn clock(text: &str) -> Option<std::time::Duration> {
    let mut seconds = 0;
    for part in text.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok()?;
    }
    Some(std::time::Duration::from_secs(seconds))
}

fn edge_connector_in_two_places(t: &Facts, out: &mut Findings) {
    let subscribed: BTreeMap<&NodeId, &Node> =
        t.all("edge-subscription").flat_map(|s| s.refs("edges").map(move |(id, _)| (id, s))).collect();
    for c in t.all("connector").filter(|c| c.text("direction") == Some("send")) {
        let by = c.refs("servers").find_map(|(id, at)| Some((id, at, subscribed.get(id)?)));
        let other = c.refs("servers").find(|(id, _)| {
            !subscribed.contains_key(id) && t.nodes.get(*id).is_some_and(|s| installed(t, s).is_some())
        });
        let (Some((edge, _, subscription)), Some((other, at))) = (by, other) else { continue };
        let message = format!(
            "`{}` sends from `{}`, which is subscribed, and from `{}`, which is not",
            c.id.name, edge.name, other.name
        );
        out.push(&c.id, message, |d| {
            d.label(at, "kept on its own")
                .label(subscription.span, format!("copies connectors to `{}`", edge.name))
                .help("write two connectors, one for the subscribed Edge servers and one for the others")
        });
    }
}
