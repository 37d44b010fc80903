//! Roles of Exchange servers and the hosts that they run on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{directory_site, has_role, role_at, servers};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::version::{Exchange, Update, windows, windows_name, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "edge-shares-host",
        code: "L3001",
        severity: Severity::Error,
        about: "An Edge Transport server holds no other role: it stands outside the forest that the others need.",
        source: "Microsoft Learn: Install Edge Transport servers",
        check: edge_shares_host,
    },
    Rule {
        name: "edge-before-sp1",
        code: "L3002",
        severity: Severity::Error,
        about: "Exchange 2013 has an Edge Transport role from Service Pack 1 on.",
        source: "Microsoft Learn: Edge Transport servers (Exchange 2013)",
        check: edge_before_sp1,
    },
    Rule {
        name: "edge-in-forest",
        code: "L3003",
        severity: Severity::Warning,
        about: "An Edge server is no member of the internal forest: whoever breaks into the perimeter is then a member too.",
        source: "Microsoft Learn: Install Edge Transport servers",
        check: edge_in_forest,
    },
    Rule {
        name: "site-without-hub",
        code: "L3004",
        severity: Severity::Error,
        about: "Until Exchange 2010 each Active Directory site with mailboxes has a Hub Transport server: no other role moves its mail.",
        source: "Microsoft Learn: BridgeheadRoleNotPresentInSite (Exchange 2013 setup)",
        check: site_without_hub,
    },
    Rule {
        name: "site-without-cas",
        code: "L3005",
        severity: Severity::Warning,
        about: "Until Exchange 2010 each Active Directory site with mailboxes has a Client Access server: web, mobile and IMAP clients need it there.",
        source: "Microsoft Learn: ClientAccessRoleNotPresentInSite (Exchange 2013 setup)",
        check: site_without_cas,
    },
    Rule {
        name: "forest-level-too-low",
        code: "L3006",
        severity: Severity::Error,
        about: "The functional level of the forest is one that the version of Exchange supports: setup refuses a lower one.",
        source: "Microsoft Learn: Exchange Server supportability matrix",
        check: forest_level_too_low,
    },
    Rule {
        name: "windows-not-supported",
        code: "L3007",
        severity: Severity::Error,
        about: "Exchange runs on the Windows releases that its version supports, older and newer ones are refused.",
        source: "Microsoft Learn: Exchange Server supportability matrix",
        check: windows_not_supported,
    },
    Rule {
        name: "site-without-global-catalog",
        code: "L3008",
        severity: Severity::Warning,
        about: "From Exchange 2016 on each Active Directory site with a mailbox server has a writable global catalog.",
        source: "Microsoft Learn: Exchange Server system requirements",
        check: site_without_global_catalog,
    },
    Rule {
        name: "exchange-on-domain-controller",
        code: "L3009",
        severity: Severity::Warning,
        about: "Exchange does not share a host with a domain controller: rights and fail-over of both suffer.",
        source: "Microsoft Learn: Exchange Server system requirements",
        check: exchange_on_domain_controller,
    },
    Rule {
        name: "ipv6-without-ipv4",
        code: "L3010",
        severity: Severity::Error,
        about: "Exchange supports IPv6 only where the host has IPv4 too.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: ipv6_without_ipv4,
    },
    Rule {
        name: "link-local-address",
        code: "L3011",
        severity: Severity::Error,
        about: "An Exchange server has no automatic private address (169.254.0.0/16): clusters do not support it.",
        source: "Microsoft Learn: Plan for high availability and site resilience; RFC 3927",
        check: link_local_address,
    },
    Rule {
        name: "memory-outside-range",
        code: "L3012",
        severity: Severity::Warning,
        about: "From Exchange 2019 on a mailbox server has 128 GiB of memory or more, an Edge server 64, and none more than 256.",
        source: "Microsoft Learn: Exchange Server system requirements",
        check: memory_outside_range,
    },
    Rule {
        name: "too-many-cores",
        code: "L3013",
        severity: Severity::Warning,
        about: "Exchange 2016 is sized for at most 24 cores, 2019 for 48: more of them make it slower.",
        source: "Microsoft CSS-Exchange HealthChecker: Processor information",
        check: too_many_cores,
    },
    Rule {
        name: "exchange-2013-half",
        code: "L3014",
        severity: Severity::Error,
        about: "An organization with Exchange 2013 has both its roles, a Mailbox and a Client Access server: neither serves anybody alone.",
        source: "Microsoft Learn: Deploy a new installation of Exchange 2013 (one Mailbox and one Client Access server at least)",
        check: exchange_2013_half,
    },
];

fn edge_shares_host(t: &Facts, out: &mut Findings) {
    for i in servers(t).filter(|i| has_role(i.server, "edge")) {
        let Some(other) = ["mailbox", "cas", "hub", "um"].into_iter().find(|r| has_role(i.server, r)) else { continue };
        out.push(&i.server.id, format!("`{}` is edge and {other} server at once", i.server.id.name), |d| {
            d.label(role_at(i.server, other), "needs the forest")
                .label(role_at(i.server, "edge"), "stands outside it")
                .help("give the edge role a host of its own")
        });
    }
}

fn edge_before_sp1(t: &Facts, out: &mut Findings) {
    for i in servers(t).filter(|i| i.version.year == 2013 && has_role(i.server, "edge")) {
        if i.version.at_least(Update::cu(4)) == Some(false) {
            out.push(&i.server.id, format!("`{}` is an edge server of {}", i.server.id.name, i.version), |d| {
                d.label(role_at(i.server, "edge"), "not there before Service Pack 1")
                    .label(i.platform.at("update"), "the update")
                    .help("write update=sp1 or later, or keep the edge servers of the former version")
            });
        }
    }
}

fn edge_in_forest(t: &Facts, out: &mut Findings) {
    let mut inside: BTreeMap<&str, &Node> = BTreeMap::new();
    for i in servers(t).filter(|i| !has_role(i.server, "edge")) {
        if let Some(domain) = i.server.text("domain") {
            inside.entry(domain).or_insert(i.server);
        }
    }
    for directory in t.all("directory").filter(|d| d.text("type") == Some("ad")) {
        for domain in directory.texts("domains") {
            inside.entry(domain).or_insert(directory);
        }
    }
    for i in servers(t).filter(|i| has_role(i.server, "edge")) {
        let Some((domain, by)) = i.server.text("domain").and_then(|d| Some((d, inside.get(d)?))) else { continue };
        out.push(&i.server.id, format!("edge server `{}` is a member of {domain}", i.server.id.name), |d| {
            d.label(i.server.at("domain"), "the internal forest")
                .label(by.span, format!("`{}` belongs to it", by.id.name))
                .help("leave `domain` out (a workgroup), or use a forest of the perimeter")
        });
    }
}

/// Directory sites whose mailbox servers of 2007 or 2010 have no server of this role beside them.
fn sites_lacking<'t>(t: &'t Facts, role: &str) -> Vec<(&'t Node, &'t Node)> {
    let mut first: BTreeMap<&str, (&Node, &Node)> = BTreeMap::new();
    let mut served = BTreeSet::new();
    for i in servers(t).filter(|i| i.version.year <= 2010) {
        let Some((name, site)) = directory_site(t, i.server) else { continue };
        if has_role(i.server, role) {
            served.insert(name);
        }
        if has_role(i.server, "mailbox") {
            first.entry(name).or_insert((site, i.server));
        }
    }
    first.into_iter().filter(|(name, _)| !served.contains(name)).map(|(_, both)| both).collect()
}

fn site_without_hub(t: &Facts, out: &mut Findings) {
    for (site, server) in sites_lacking(t, "hub") {
        out.push(&site.id, format!("site `{}` has mailbox servers but no hub server", site.id.name), |d| {
            d.label(site.span, "no mail moves here")
                .label(server.span, "has mailboxes")
                .help("give one server of the site `roles hub`, better two")
        });
    }
}

fn site_without_cas(t: &Facts, out: &mut Findings) {
    for (site, server) in sites_lacking(t, "cas") {
        out.push(&site.id, format!("site `{}` has mailbox servers but no client access server", site.id.name), |d| {
            d.label(site.span, "web, mobile and IMAP clients find nothing here")
                .label(server.span, "has mailboxes")
                .help("give one server of the site `roles cas`")
        });
    }
}

/// Lowest functional level of the forest for a release.
fn lowest_level(v: Exchange) -> Option<(u16, bool)> {
    let cu = v.update.map(|u| u.cumulative);
    match (v.year, cu) {
        (2010 | 2013, _) => Some((2003, false)),
        (2016, Some(0..=2)) => Some((2003, false)),
        (2016, Some(3..=6)) => Some((2008, false)),
        (2016, _) => Some((2008, true)),
        (2019.., _) => Some((2012, true)),
        _ => None,
    }
}

fn forest_level_too_low(t: &Facts, out: &mut Findings) {
    let named = t.organization().and_then(|o| t.target(o, "directory"));
    let mut forests = t.all("directory").filter(|d| d.text("type") == Some("ad"));
    let forest = match (named, forests.next(), forests.next()) {
        (Some(d), _, _) | (None, Some(d), None) => d,
        // Which of several forests holds Exchange, nothing says.
        _ => return,
    };
    let Some(level) = forest.text("forest-level").and_then(windows) else { return };
    let newest = servers(t).filter(|i| !has_role(i.server, "edge")).max_by_key(|i| i.version.year);
    let Some((i, needs)) = newest.and_then(|i| Some((i, lowest_level(i.version)?))) else { return };
    if level < needs {
        let (level, needs) = (windows_name(level), windows_name(needs));
        out.push(&forest.id, format!("forest level {level} is too low for {}", i.version), |d| {
            d.label(forest.at("forest-level"), format!("{needs} or higher is needed"))
                .label(i.platform.span, i.version.to_string())
                .help(format!("raise the forest to {needs} before setup, and write forest-level=\"{needs}\""))
        });
    }
}

/// Windows releases of a version; empty where the source says nothing.
fn systems(v: Exchange) -> &'static [(u16, bool)] {
    const OLD: (u16, bool) = (2008, false);
    const R2: (u16, bool) = (2008, true);
    const W12: (u16, bool) = (2012, false);
    const W12R2: (u16, bool) = (2012, true);
    match v.year {
        2010 => &[OLD, R2, W12, W12R2],
        2013 => &[R2, W12, W12R2],
        2016 if v.at_least(Update::cu(3)) == Some(false) => &[W12, W12R2],
        2016 => &[W12, W12R2, (2016, false)],
        2019.. => &[(2019, false), (2022, false), (2025, false)],
        _ => &[],
    }
}

fn windows_not_supported(t: &Facts, out: &mut Findings) {
    for i in servers(t) {
        let Some(os) = i.server.text("os").and_then(windows) else { continue };
        let supported = systems(i.version);
        if supported.is_empty() || supported.contains(&os) {
            continue;
        }
        let list: Vec<String> = supported.iter().map(|s| windows_name(*s)).collect();
        let message = format!(
            "{} does not run on Windows Server {}, the system of `{}`",
            i.version,
            windows_name(os),
            i.server.id.name
        );
        out.push(&i.server.id, message, |d| {
            d.label(i.server.at("os"), "not supported")
                .label(i.platform.span, i.version.to_string())
                .help(format!("it runs on Windows Server {}", list.join(", ")))
        });
    }
}

fn site_without_global_catalog(t: &Facts, out: &mut Findings) {
    let catalogs: BTreeSet<&str> =
        t.with_role("directory").iter().filter_map(|s| directory_site(t, s)).map(|(name, _)| name).collect();
    // A topology that names no directory server leaves them all out.
    if catalogs.is_empty() || !t.all("directory").any(|d| d.text("type") == Some("ad")) {
        return;
    }
    let mut told = BTreeSet::new();
    for i in servers(t).filter(|i| i.version.year >= 2016 && has_role(i.server, "mailbox")) {
        let Some((name, site)) = directory_site(t, i.server) else { continue };
        if !catalogs.contains(name) && told.insert(name) {
            out.push(&site.id, format!("site `{}` has a mailbox server but no directory server", site.id.name), |d| {
                d.label(site.span, "no writable global catalog")
                    .label(i.server.span, "needs one in its site")
                    .help("add a server with `roles directory`, or say which directory site serves this one: directory-site=..")
            });
        }
    }
}

fn exchange_on_domain_controller(t: &Facts, out: &mut Findings) {
    let clustered: BTreeSet<_> = t
        .all("dag")
        .flat_map(|d| d.refs("members"))
        .chain(t.all("ccr").flat_map(|c| c.refs("nodes")))
        .map(|(id, _)| id)
        .collect();
    for i in servers(t).filter(|i| has_role(i.server, "directory") && !clustered.contains(&i.server.id)) {
        out.push(&i.server.id, format!("`{}` is domain controller and Exchange server", i.server.id.name), |d| {
            d.label(role_at(i.server, "directory"), "a directory server")
                .label(i.platform.span, "with Exchange on it")
                .help("give Exchange a member server of its own")
        });
    }
}

fn ipv6_without_ipv4(t: &Facts, out: &mut Findings) {
    for i in servers(t).filter(|i| i.server.value("ip6").is_some() && i.server.value("ip").is_none()) {
        out.push(&i.server.id, format!("`{}` has IPv6 only", i.server.id.name), |d| {
            d.label(i.server.at("ip6"), "no IPv4 beside it").help("add ip=..; both stay enabled")
        });
    }
}

fn link_local_address(t: &Facts, out: &mut Findings) {
    for i in servers(t) {
        let local = |ip: &str| matches!(ip.parse(), Ok(IpAddr::V4(v4)) if v4.is_link_local());
        if let Some(ip) = i.server.text("ip").filter(|ip| local(ip)) {
            out.push(&i.server.id, format!("`{}` has the automatic private address {ip}", i.server.id.name), |d| {
                d.label(i.server.at("ip"), "from 169.254.0.0/16")
                    .help("write the address that the host has in its subnet")
            });
        }
    }
}

/// The server or its hardware profile, whichever says this.
fn sized<'t>(t: &'t Facts, server: &'t Node, field: &str) -> Option<&'t Node> {
    if server.value(field).is_some() {
        Some(server)
    } else {
        t.target(server, "hardware").filter(|h| h.value(field).is_some())
    }
}

fn memory_outside_range(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    const GIB: u64 = 1 << 30;
    for i in servers(t).filter(|i| i.version.year >= 2019) {
        let Some((by, bytes)) = sized(t, i.server, "memory").and_then(|n| Some((n, n.size("memory")?))) else {
            continue;
        };
        let least = if has_role(i.server, "edge") { 64 } else { 128 };
        if bytes < least * GIB || bytes > 256 * GIB {
            let message =
                format!("`{}` has {} GiB of memory, {} wants {least} to 256", i.server.id.name, bytes / GIB, i.version);
            out.push(&i.server.id, message, |d| {
                let d = d.label(by.at("memory"), "outside the range");
                if by.id == i.server.id { d } else { d.label(i.server.span, "this server") }
                    .help(format!("write memory=\"{least}GiB\" or more"))
            });
        }
    }
}

fn too_many_cores(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    for i in servers(t) {
        let most = match i.version.year {
            2016 => 24,
            2019.. => 48,
            _ => continue,
        };
        let Some((by, cores)) = sized(t, i.server, "cpu").and_then(|n| Some((n, n.int("cpu")?))) else { continue };
        if cores > most {
            let year = year_name(i.version.year);
            let message =
                format!("`{}` has {cores} cores, Exchange {year} is sized for {most} at most", i.server.id.name);
            out.push(&i.server.id, message, |d| {
                let d = d.label(by.at("cpu"), "too many");
                if by.id == i.server.id { d } else { d.label(i.server.span, "this server") }
                    .help("use more and smaller servers")
            });
        }
    }
}

fn exchange_2013_half(t: &Facts, out: &mut Findings) {
    // Client access services of 2016 and later serve mailboxes of 2013 too.
    if servers(t).any(|i| i.version.year > 2013 && has_role(i.server, "mailbox")) {
        return;
    }
    let of = |role| servers(t).find(|i| i.version.year == 2013 && has_role(i.server, role));
    let (there, lacks) = match (of("mailbox"), of("cas")) {
        (Some(i), None) => (i, "cas"),
        (None, Some(i)) => (i, "mailbox"),
        _ => return,
    };
    let message = format!("`{}` runs Exchange 2013 and no server of 2013 has the role {lacks}", there.server.id.name);
    out.push(&there.server.id, message, |d| {
        d.label(there.server.at("roles"), "one half of it")
            .label(there.platform.span, "Exchange 2013")
            .help(format!("write `roles mailbox cas` here, or give another server `roles {lacks}`"))
    });
}
