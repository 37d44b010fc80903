//! Where the mail of a domain goes: MX records and the names of hosts that send.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::records::{Record, within};
use super::super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "mx-to-alias",
        code: "L0401",
        severity: Severity::Error,
        about: "An MX record names a host with addresses, never an alias: senders may drop the mail.",
        source: "RFC 2181, section 10.3; RFC 5321, section 5.1",
        check: mx_to_alias,
    },
    Rule {
        name: "mx-to-address",
        code: "L0402",
        severity: Severity::Error,
        about: "An MX record holds a host name: an address there is read as a name that does not exist.",
        source: "RFC 1035, section 3.3.9; RFC 5321, section 5.1",
        check: mx_to_address,
    },
    Rule {
        name: "mx-without-address",
        code: "L0403",
        severity: Severity::Warning,
        about: "The host that an MX record names has an address: else nobody can deliver.",
        source: "RFC 5321, section 5.1",
        check: mx_without_address,
    },
    Rule {
        name: "null-mx-not-alone",
        code: "L0404",
        severity: Severity::Error,
        about: "A null MX says that the domain takes no mail: it stands alone.",
        source: "RFC 7505, section 3",
        check: null_mx_not_alone,
    },
    Rule {
        name: "null-mx-of-accepted-domain",
        code: "L0405",
        severity: Severity::Warning,
        about: "A domain that takes mail has no null MX.",
        source: "RFC 7505, section 3",
        check: null_mx_of_accepted_domain,
    },
    Rule {
        name: "domain-without-mx",
        code: "L0406",
        severity: Severity::Warning,
        about: "A domain that takes mail says by an MX record where: else senders try the address of its web site.",
        source: "RFC 5321, section 5.1",
        check: domain_without_mx,
    },
    Rule {
        name: "mx-of-unknown-domain",
        code: "L0407",
        severity: Severity::Warning,
        about: "Where an MX record brings mail to a server of ours, the domain is accepted there: else it is refused as relaying.",
        source: "RFC 5321, section 3.6.2",
        check: mx_of_unknown_domain,
    },
    Rule {
        name: "domain-without-authentication",
        code: "L0408",
        severity: Severity::Warning,
        about: "A domain says who may send for it, by SPF at least: large receivers refuse mail of the others.",
        source: "https://support.google.com/a/answer/81126 (requirements for all senders); RFC 7208, section 3",
        check: domain_without_authentication,
    },
    Rule {
        name: "reverse-missing",
        code: "L0409",
        severity: Severity::Warning,
        about: "A host that sends mail has a PTR record where we keep the reverse zone: many receivers refuse it otherwise.",
        source: "RFC 1912, section 2.1",
        check: reverse_missing,
    },
    Rule {
        name: "reverse-not-forward",
        code: "L0410",
        severity: Severity::Warning,
        about: "The name that a PTR record gives leads back to the same address: receivers check both ways.",
        source: "RFC 1912, section 2.1; RFC 8601, section 3",
        check: reverse_not_forward,
    },
];

fn mx_to_alias(t: &Facts, out: &mut Findings) {
    for r in t.records().of("MX") {
        for target in r.targets(t) {
            let Some(alias) = t.records().at(&target.name).iter().find(|a| a.kind == "CNAME" && a.meets(r)) else {
                continue;
            };
            out.push(&r.zone.id, format!("the MX of {} names the alias {}", r.owner, target.name), |d| {
                d.label(target.span, "MX host")
                    .label(alias.node.span, "is an alias")
                    .help("name the host that the alias leads to")
            });
        }
    }
}

fn mx_to_address(t: &Facts, out: &mut Findings) {
    for r in t.records().of("MX") {
        for target in r.targets(t).into_iter().filter(|x| x.name.parse::<IpAddr>().is_ok()) {
            out.push(&r.zone.id, format!("the MX of {} is an address", r.owner), |d| {
                d.label(target.span, "not a name")
                    .help("give the address a name by an A or AAAA record, and write that name")
            });
        }
    }
}

/// No record of an address at a name that lies in a zone whose data is all ours.
pub(super) fn without_address(t: &Facts, r: &Record, name: &str) -> bool {
    t.held(name).is_some()
        && !t.records().at(name).iter().any(|a| matches!(a.kind, "A" | "AAAA" | "CNAME") && a.meets(r))
}

fn mx_without_address(t: &Facts, out: &mut Findings) {
    for r in t.records().of("MX") {
        for target in r.targets(t).into_iter().filter(|x| without_address(t, r, &x.name)) {
            out.push(&r.zone.id, format!("the MX host {} has no address", target.name), |d| {
                d.label(
                    target.span,
                    format!("no A or AAAA record of it in {}", t.held(&target.name).map_or("", |z| z.name())),
                )
                .help("write record NAME A to=SERVER, and AAAA")
            });
        }
    }
}

fn null_mx<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, Span)> {
    t.records().of("MX").filter_map(|r| Some((r, r.targets(t).into_iter().find(|x| x.name.is_empty())?.span)))
}

fn null_mx_not_alone(t: &Facts, out: &mut Findings) {
    for (r, span) in null_mx(t) {
        let others = t.records().at(&r.owner).iter().filter(|o| o.kind == "MX" && o.meets(r));
        let Some(other) = others.flat_map(|o| o.targets(t)).find(|x| !x.name.is_empty()) else { continue };
        out.push(&r.zone.id, format!("{} takes no mail, and takes it at {}", r.owner, other.name), |d| {
            d.label(span, "null MX").label(other.span, "another MX").help("take one of them away")
        });
    }
}

fn null_mx_of_accepted_domain(t: &Facts, out: &mut Findings) {
    for (r, span) in null_mx(t) {
        let Some(domain) = t.get("accepted-domain", &r.owner) else { continue };
        out.push(&r.zone.id, format!("{} is accepted and says that it takes no mail", r.owner), |d| {
            d.label(span, "null MX")
                .label(domain.span, "accepted here")
                .help("write the MX hosts, or no longer accept the domain")
        });
    }
}

fn domain_without_mx(t: &Facts, out: &mut Findings) {
    for domain in t.all("accepted-domain") {
        let Some(zone) = t.held(domain.name()).filter(|z| z.text("view") != Some("internal")) else { continue };
        if t.records().at(domain.name()).iter().any(|r| r.kind == "MX") {
            continue;
        }
        out.push(&domain.id, format!("{} takes mail and has no MX record", domain.name()), |d| {
            d.label(domain.span, "accepted here")
                .label(zone.span, "no MX in its zone")
                .help("write record \"@\" MX to=SERVER priority=10")
        });
    }
}

fn mx_of_unknown_domain(t: &Facts, out: &mut Findings) {
    for r in t.records().of("MX").filter(|r| t.get("accepted-domain", &r.owner).is_none()) {
        // `*.acme.example` takes the names below.
        if t.all("accepted-domain").any(|d| d.name().strip_prefix("*.").is_some_and(|base| within(&r.owner, base))) {
            continue;
        }
        let ours = r.targets(t).into_iter().find_map(|x| x.server.or_else(|| t.named(&x.name)).map(|s| (s, x.span)));
        let Some((server, span)) = ours else { continue };
        out.push(
            &r.zone.id,
            format!("mail for {} comes to `{}`, which does not accept it", r.owner, server.id.name),
            |d| d.label(span, "MX host").help(format!("write accepted-domain {}, or take the record away", r.owner)),
        );
    }
}

fn domain_without_authentication(t: &Facts, out: &mut Findings) {
    for domain in t.all("accepted-domain") {
        let name = domain.name();
        let listed = t.records().at(name).iter().find(|r| r.kind == "MX" && r.zone.text("view") != Some("internal"));
        let Some(mx) = listed.filter(|_| t.get("mail-auth", name).is_none()) else { continue };
        if t.records().tagged(name, "v=spf1").is_empty() {
            out.push(&domain.id, format!("{name} does not say who may send for it"), |d| {
                d.label(domain.span, "no mail-auth of this domain").label(mx.node.span, "no SPF record beside its MX").help(format!(
                    "write mail-auth {name} {{ spf {{ allow SERVER; }}; dkim NAME key=..; dmarc {{ reports ADDRESS; }}; }}"
                ))
            });
        }
    }
}

/// The name of an address in the reverse tree (RFC 1035 3.5, RFC 3596 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(a) => {
            let digits: Vec<String> =
                a.octets().iter().rev().flat_map(|o| [format!("{:x}", o & 15), format!("{:x}", o >> 4)]).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

fn reverse_missing(t: &Facts, out: &mut Findings) {
    // Servers that a domain allows to send get theirs without being told.
    let composed: BTreeSet<&str> =
        t.all("mail-auth").flat_map(|m| m.children("spf")).flat_map(|s| s.texts("allow")).collect();
    let senders = t.with_role("relay").iter().chain(t.with_role("edge"));
    for server in senders.filter(|s| !composed.contains(s.id.name.as_str())) {
        for field in ["ip", "ip6"] {
            let Some(address) = server.text(field).and_then(|a| a.parse::<IpAddr>().ok()) else { continue };
            let name = reverse(address);
            let Some(zone) = t.all("zone").find(|z| name != z.name() && within(&name, z.name())) else { continue };
            if !t.records().at(&name).iter().any(|r| r.kind == "PTR") {
                out.push(&server.id, format!("the address {address} of `{}` has no name", server.id.name), |d| {
                    d.label(server.at(field), "sends mail from here")
                        .label(zone.span, "no PTR record in this zone")
                        .help(format!(
                            "write record {:?} PTR to={}",
                            name.strip_suffix(zone.name()).unwrap_or_default().trim_end_matches('.'),
                            server.id.name
                        ))
                });
            }
        }
    }
}

fn reverse_not_forward(t: &Facts, out: &mut Findings) {
    for r in t.records().of("PTR") {
        for target in r.targets(t) {
            let forward = t.records().at(&target.name).iter().filter(|a| matches!(a.kind, "A" | "AAAA"));
            let found: Vec<_> = forward.flat_map(|a| a.addresses(t)).collect();
            let Some((other, span)) = found.first() else { continue };
            if !found.iter().any(|(a, _)| reverse(*a) == r.owner) {
                out.push(&r.zone.id, format!("{} leads to {}, and that to {other}", r.owner, target.name), |d| {
                    d.label(target.span, "this name").label(*span, "has another address").help("make both say the same")
                });
            }
        }
    }
}
