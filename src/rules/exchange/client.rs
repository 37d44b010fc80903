//! What clients of Exchange find: names, certificates, versions of Outlook.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{has_role, installed, servers};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::format_duration;
use crate::model::version::{Exchange, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "autodiscover-missing",
        code: "L3801",
        severity: Severity::Warning,
        about: "Each domain of users has an autodiscover name or SRV record: Outlook and phones look for it first.",
        source: "Microsoft Learn: Autodiscover service in Exchange Server",
        check: autodiscover_missing,
    },
    Rule {
        name: "client-ttl-too-long",
        code: "L3802",
        severity: Severity::Warning,
        about: "Where mailboxes can move to another site, the names of clients have a TTL of 5 minutes at most.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: client_ttl_too_long,
    },
    Rule {
        name: "certificate-misses-url",
        code: "L3803",
        severity: Severity::Error,
        about: "The certificate of a namespace names the hosts of its URLs: Outlook refuses the others.",
        source: "Microsoft Learn: Digital certificates and encryption in Exchange Server",
        check: certificate_misses_url,
    },
    Rule {
        name: "wildcard-for-pop-imap",
        code: "L3804",
        severity: Severity::Error,
        about: "Exchange cannot bind a wildcard certificate to POP or IMAP by its name.",
        source: "Microsoft PowerShell reference: Enable-ExchangeCertificate",
        check: wildcard_for_pop_imap,
    },
    Rule {
        name: "virtual-directory-idle",
        code: "L3805",
        severity: Severity::Warning,
        about: "A virtual directory belongs to a service that its namespace offers: else its settings reach nobody.",
        source: "schemas/3-mailflow.kdl: namespace.services",
        check: virtual_directory_idle,
    },
    Rule {
        name: "outlook-not-supported",
        code: "L3806",
        severity: Severity::Error,
        about: "Clients that stay are of a version of Outlook that the Exchange supports: others cannot connect.",
        source: "Microsoft Learn: Exchange Server supportability matrix, clients",
        check: outlook_not_supported,
    },
];

fn autodiscover_missing(t: &Facts, out: &mut Findings) {
    let offered = t.all("namespace").find(|n| n.texts("services").contains(&"autodiscover"));
    let (Some(namespace), true) = (offered, servers(t).next().is_some()) else { return };
    for domain in t.all("accepted-domain").filter(|d| d.text("type") == Some("authoritative")) {
        let zones: Vec<&Node> = t.all("zone").filter(|z| z.name().eq_ignore_ascii_case(domain.name())).collect();
        let Some(zone) = zones.first() else { continue };
        let found = zones
            .iter()
            .flat_map(|z| z.children("record"))
            .any(|r| matches!(r.name(), "autodiscover" | "_autodiscover._tcp"));
        let own = namespace.name().eq_ignore_ascii_case(&format!("autodiscover.{}", domain.name()));
        let told = t.get("mail-auth", domain.name()).into_iter().flat_map(|m| m.children("discovery"));
        let composed = told.flat_map(|d| d.texts("namespaces")).any(|n| n == namespace.name());
        if !found && !own && !composed {
            out.push(&zone.id, format!("{} has no autodiscover record", domain.name()), |d| {
                d.label(zone.span, "clients of this domain find no settings")
                    .label(namespace.at("services"), "offered here")
                    .help(format!("add record autodiscover CNAME {}", namespace.name()))
            });
        }
    }
}

fn client_ttl_too_long(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    let spread = t
        .all("dag")
        .find(|d| t.targets(d, "members").filter_map(|s| s.reference("site")).collect::<BTreeSet<_>>().len() > 1);
    let Some(dag) = spread else { return };
    let names: BTreeSet<String> = t.all("namespace").map(|n| n.name().to_ascii_lowercase()).collect();
    for zone in t.all("zone") {
        for r in zone.children("record").filter(|r| matches!(r.text("type"), Some("A" | "AAAA" | "CNAME"))) {
            let host = if r.name() == "@" { zone.name().to_owned() } else { format!("{}.{}", r.name(), zone.name()) };
            let field = if r.value("ttl").is_some() { r } else { zone };
            let Some(ttl) = field.duration("ttl").filter(|ttl| *ttl > Duration::from_secs(300)) else { continue };
            if names.contains(&host.to_ascii_lowercase()) {
                out.push(&zone.id, format!("clients keep the address of {host} for {}", format_duration(ttl)), |d| {
                    d.label(if r.value("ttl").is_some() { r.at("ttl") } else { r.span }, "longer than 5m")
                        .label(dag.at("members"), "mailboxes may move to another site")
                        .help("write ttl=\"5m\" at the record")
                });
            }
        }
    }
}

/// Host of a URL.
fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let end = rest.find(['/', ':', '?']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|h| !h.is_empty())
}

/// True when a certificate's name stands for the host; a star stands for one label (RFC 6125, section 6.4.3).
fn names(certificate: &Node, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    certificate.texts("names").into_iter().chain(certificate.text("subject")).any(|n| {
        let n = n.to_ascii_lowercase();
        n == host
            || n.strip_prefix("*.").is_some_and(|zone| host.split_once('.').is_some_and(|(_, parent)| parent == zone))
    })
}

fn certificate_misses_url(t: &Facts, out: &mut Findings) {
    for n in t.all("namespace") {
        let Some(certificate) = t.target(n, "certificate") else { continue };
        for directory in n.children("virtual-directory") {
            for side in ["internal", "external"] {
                let Some(host) = directory.text(side).and_then(host).filter(|h| !h.eq_ignore_ascii_case(n.name()))
                else {
                    continue;
                };
                if !names(certificate, host) {
                    out.push(&n.id, format!("certificate `{}` does not name {host}", certificate.id.name), |d| {
                        d.label(directory.at(side), "clients are sent here")
                            .label(certificate.span, "its names end elsewhere")
                            .help(format!("add {host} to `names`"))
                    });
                }
            }
        }
    }
}

fn wildcard_for_pop_imap(t: &Facts, out: &mut Findings) {
    for c in t.all("certificate") {
        let services = c.texts("services");
        let Some(service) = ["imap", "pop"].into_iter().find(|s| services.contains(s)) else { continue };
        let star = c
            .values("names")
            .chain(c.value("subject"))
            .find(|v| matches!(&v.value, crate::model::topology::Value::Text(n) if n.starts_with("*.")));
        let plain = c.text("subject").is_some_and(|s| !s.starts_with("*."));
        let (Some(star), Some(server)) = (star, t.targets(c, "on").find(|s| installed(t, s).is_some())) else {
            continue;
        };
        if !plain {
            out.push(
                &c.id,
                format!("wildcard certificate `{}` cannot serve {service} on `{}`", c.id.name, server.id.name),
                |d| {
                    d.label(star.span, "a wildcard")
                        .label(c.at("services"), "bound by name")
                        .help("use a certificate whose subject is the host that POP and IMAP clients connect to")
                },
            );
        }
    }
}

fn virtual_directory_idle(t: &Facts, out: &mut Findings) {
    for n in t.all("namespace") {
        let services = n.texts("services");
        for directory in n.children("virtual-directory") {
            if directory.name() != "powershell" && !services.contains(&directory.name()) {
                out.push(&n.id, format!("{} does not offer {}", n.name(), directory.name()), |d| {
                    d.label(directory.span, "set up here")
                        .label(n.at("services"), "not offered here")
                        .help(format!("add {} to `services`, or take the virtual directory out", directory.name()))
                });
            }
        }
    }
}

/// Oldest Outlook of a version of Exchange.
fn oldest_outlook(year: u16) -> Option<u16> {
    match year {
        2010 | 2013 => Some(2007),
        2016 => Some(2010),
        Exchange::SE | 2019 => Some(2013),
        _ => None,
    }
}

fn outlook_not_supported(t: &Facts, out: &mut Findings) {
    let Some(i) = servers(t)
        .filter(|i| has_role(i.server, "mailbox") || has_role(i.server, "cas"))
        .max_by_key(|i| i.version.year)
    else {
        return;
    };
    let Some(oldest) = oldest_outlook(i.version.year) else { return };
    for c in t.all("client").filter(|c| c.text("type") == Some("outlook")) {
        let field = match c.text("action") {
            Some("keep" | "reconfigure") => "version",
            Some("upgrade") => "standard",
            _ => continue,
        };
        let Some(year) = c.text(field).and_then(year_of).filter(|y| *y < oldest) else { continue };
        let exchange = year_name(i.version.year);
        out.push(&c.id, format!("Outlook {year} cannot connect to Exchange {exchange}"), |d| {
            d.label(c.at(field), if field == "version" { "stays" } else { "planned" })
                .label(i.platform.span, format!("Exchange {exchange}"))
                .help(format!("plan Outlook {oldest} or later: action=upgrade standard=\"{oldest}\""))
        });
    }
}

/// The year in `2010 SP1`.
fn year_of(text: &str) -> Option<u16> {
    text.split(|c: char| !c.is_ascii_digit()).find_map(|w| w.parse().ok().filter(|y| (1997..2100).contains(y)))
}
