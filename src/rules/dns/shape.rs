//! What a zone may hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::records::within;
use super::super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::Value;

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "cname-beside-other",
        code: "L0301",
        severity: Severity::Error,
        about: "A name with a CNAME has nothing else: servers refuse such a zone.",
        source: "RFC 1034, section 3.6.2",
        check: cname_beside_other,
    },
    Rule {
        name: "cname-at-apex",
        code: "L0302",
        severity: Severity::Error,
        about: "The apex of a zone has a SOA and NS records, so it can have no CNAME.",
        source: "RFC 1912, section 2.4",
        check: cname_at_apex,
    },
    Rule {
        name: "duplicate-record",
        code: "L0303",
        severity: Severity::Warning,
        about: "A record stands once: the second one says nothing.",
        source: "RFC 2181, section 5",
        check: duplicate_record,
    },
    Rule {
        name: "record-name-doubled",
        code: "L0304",
        severity: Severity::Warning,
        about: "Names of records are relative to their zone: one that ends in the zone's name has it twice.",
        source: "RFC 1035, section 5.1",
        check: record_name_doubled,
    },
    Rule {
        name: "malformed-address",
        code: "L0305",
        severity: Severity::Error,
        about: "An A record holds one IPv4 address, an AAAA record one IPv6 address.",
        source: "RFC 1035, section 3.4.1; RFC 3596, section 2.2",
        check: malformed_address,
    },
    Rule {
        name: "malformed-srv",
        code: "L0306",
        severity: Severity::Error,
        about: "An SRV record is priority, weight, port and target.",
        source: "RFC 2782",
        check: malformed_srv,
    },
    Rule {
        name: "malformed-caa",
        code: "L0307",
        severity: Severity::Error,
        about: "A CAA record is flags, tag and value: 0 issue \"ca.example\".",
        source: "RFC 8659, section 4.1",
        check: malformed_caa,
    },
    Rule {
        name: "malformed-tlsa",
        code: "L0308",
        severity: Severity::Error,
        about: "A TLSA record is usage, selector, matching type and a digest of the length of its type.",
        source: "RFC 6698, section 2.1",
        check: malformed_tlsa,
    },
    Rule {
        name: "srv-to-alias",
        code: "L0309",
        severity: Severity::Warning,
        about: "The target of an SRV record is a name with addresses, never an alias.",
        source: "RFC 2782",
        check: srv_to_alias,
    },
    Rule {
        name: "srv-without-implicit-tls",
        code: "L0310",
        severity: Severity::Warning,
        about: "Where clients are told of IMAP, POP3 or submission by SRV records, they are told of the port with TLS from the first byte too.",
        source: "RFC 8314, section 4.5.2",
        check: srv_without_implicit_tls,
    },
    Rule {
        name: "private-address-outside",
        code: "L0311",
        severity: Severity::Warning,
        about: "An address that only the own network routes has no place in a public zone.",
        source: "RFC 1918, section 5",
        check: private_address_outside,
    },
    Rule {
        name: "reserved-name",
        code: "L0312",
        severity: Severity::Warning,
        about: "Names set aside for examples and tests resolve for nobody in the real world.",
        source: "RFC 2606, section 2; RFC 6761, section 6",
        check: reserved_name,
    },
];

fn cname_beside_other(t: &Facts, out: &mut Findings) {
    for (owner, records) in t.records().owners() {
        for alias in records.iter().filter(|r| r.kind == "CNAME" && owner != r.zone.name()) {
            let Some(other) = records.iter().find(|o| o.kind != "CNAME" && o.zone.id == alias.zone.id) else {
                continue;
            };
            out.push(&alias.zone.id, format!("{owner} is an alias and has {} data too", other.kind), |d| {
                d.label(alias.node.span, "alias of another name")
                    .label(other.node.span, format!("{} at the same name", other.kind))
                    .help("take one of them away, or give the alias a name of its own")
            });
        }
    }
}

fn cname_at_apex(t: &Facts, out: &mut Findings) {
    for r in t.records().of("CNAME").filter(|r| r.owner == r.zone.name()) {
        out.push(&r.zone.id, format!("the apex of {} is an alias", r.zone.name()), |d| {
            d.label(r.node.span, "stands beside SOA and NS")
                .help("write A and AAAA records with the addresses of the target")
        });
    }
}

fn duplicate_record(t: &Facts, out: &mut Findings) {
    for (owner, records) in t.records().owners() {
        let mut seen = BTreeMap::new();
        for r in records {
            let literal = r.texts().map(|(text, span)| (text.to_owned(), span));
            let named = r.node.values("to").filter_map(|v| match &v.value {
                Value::Ref(id) => Some((id.to_string(), v.span)),
                _ => None,
            });
            for (data, span) in literal.chain(named) {
                let Some(first) = seen.insert((&r.zone.id, r.kind, data.clone()), span) else { continue };
                out.push(&r.zone.id, format!("{owner} {} {data} stands twice", r.kind), |d| {
                    d.label(span, "again here").label(first, "the first").help("take one away")
                });
            }
        }
    }
}

fn record_name_doubled(t: &Facts, out: &mut Findings) {
    for r in t.records().all() {
        let (zone, name) = (r.zone.name(), r.node.name());
        if name != "@" && !name.ends_with('.') && within(name, zone) {
            let short = name.strip_suffix(zone).unwrap_or_default().trim_end_matches('.');
            let short = if short.is_empty() { "\"@\"" } else { short };
            out.push(&r.zone.id, format!("this record stands at {}", r.owner), |d| {
                d.label(r.node.span, format!("relative to {zone}")).help(format!("write record {short} {} ..", r.kind))
            });
        }
    }
}

fn malformed_address(t: &Facts, out: &mut Findings) {
    for r in t.records().all() {
        let (fits, family): (fn(&str) -> bool, _) = match r.kind {
            "A" => (|text| text.parse::<Ipv4Addr>().is_ok(), "IPv4"),
            "AAAA" => (|text| text.parse::<Ipv6Addr>().is_ok(), "IPv6"),
            _ => continue,
        };
        for (text, span) in r.texts().filter(|(text, _)| !fits(text)) {
            out.push(&r.zone.id, format!("`{text}` is no {family} address"), |d| {
                d.label(span, format!("in an {} record", r.kind)).help(match text.parse::<IpAddr>() {
                    Ok(IpAddr::V4(_)) => "write it in an A record",
                    Ok(IpAddr::V6(_)) => "write it in an AAAA record",
                    Err(_) => "write an address, or `to` with a server; a name belongs in a CNAME record",
                })
            });
        }
    }
}

fn malformed(t: &Facts, out: &mut Findings, kind: &str, form: &str, fits: fn(&str) -> bool) {
    for r in t.records().of(kind) {
        for (text, span) in r.texts().filter(|(text, _)| !fits(text)) {
            out.push(&r.zone.id, format!("`{text}` is no {kind} record"), |d| {
                d.label(span, "not of that form").help(format!("write {form}"))
            });
        }
    }
}

fn malformed_srv(t: &Facts, out: &mut Findings) {
    malformed(t, out, "SRV", "\"PRIORITY WEIGHT PORT TARGET\", as in \"0 1 993 mail.acme.example\"", |text| {
        let words: Vec<&str> = text.split_whitespace().collect();
        matches!(words.as_slice(), [a, b, c, _] if [a, b, c].iter().all(|n| n.parse::<u16>().is_ok()))
    });
}

fn malformed_caa(t: &Facts, out: &mut Findings) {
    malformed(t, out, "CAA", "\"FLAGS TAG VALUE\", as in #\"0 issue \"ca.example\"\"#", |text| {
        let mut words = text.split_whitespace();
        words.next().is_some_and(|w| w.parse::<u8>().is_ok())
            && words.next().is_some_and(|w| w.chars().all(|c| c.is_ascii_alphanumeric()))
            && words.next().is_some()
    });
}

fn malformed_tlsa(t: &Facts, out: &mut Findings) {
    malformed(
        t,
        out,
        "TLSA",
        "\"USAGE SELECTOR TYPE DIGEST\", as in \"3 1 1\" and the 64 hexadecimal digits of a SHA-256",
        |text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let [usage, selector, matching, digest @ ..] = words.as_slice() else { return false };
            let digest = digest.concat();
            let length = match *matching {
                "0" => digest.len() % 2 == 0 && !digest.is_empty(),
                "1" => digest.len() == 64,
                "2" => digest.len() == 128,
                _ => false,
            };
            matches!(*usage, "0" | "1" | "2" | "3")
                && matches!(*selector, "0" | "1")
                && length
                && digest.bytes().all(|b| b.is_ascii_hexdigit())
        },
    );
}

fn srv_to_alias(t: &Facts, out: &mut Findings) {
    for r in t.records().of("SRV") {
        for target in r.targets(t) {
            let Some(alias) = t.records().at(&target.name).iter().find(|a| a.kind == "CNAME" && a.meets(r)) else {
                continue;
            };
            out.push(&r.zone.id, format!("{} points at the alias {}", r.owner, target.name), |d| {
                d.label(target.span, "this target").label(alias.node.span, "is an alias").help("name the host itself")
            });
        }
    }
}

fn srv_without_implicit_tls(t: &Facts, out: &mut Findings) {
    for (plain, safe) in
        [("_imap._tcp.", "_imaps._tcp"), ("_pop3._tcp.", "_pop3s._tcp"), ("_submission._tcp.", "_submissions._tcp")]
    {
        for r in t.records().of("SRV") {
            let Some(domain) = r.owner.strip_prefix(plain) else { continue };
            if t.records().at(&format!("{safe}.{domain}")).iter().any(|s| s.kind == "SRV" && s.meets(r)) {
                continue;
            }
            out.push(
                &r.zone.id,
                format!("{domain} tells of {plain} alone", plain = plain.trim_end_matches('.')),
                |d| d.label(r.node.span, "begins without TLS").help(format!("write record {safe} SRV \"..\" too")),
            );
        }
    }
}

fn private_address_outside(t: &Facts, out: &mut Findings) {
    if !matches!(t.purpose(), Some("production" | "managed")) {
        return;
    }
    for r in t.records().all().filter(|r| r.zone.text("view") == Some("public")) {
        for (address, span) in r.addresses(t).into_iter().filter(|(a, _)| private(*a)) {
            out.push(&r.zone.id, format!("{} has the private address {address} in a public zone", r.owner), |d| {
                d.label(span, "routed by nobody outside")
                    .help("write the public address here; the private one belongs in view=internal")
            });
        }
    }
}

/// RFC 1918 and RFC 4193.
fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_private(),
        IpAddr::V6(a) => a.is_unique_local(),
    }
}

/// RFC 2606 and RFC 6761.
fn reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["test", "example", "invalid", "localhost", "example.com", "example.net", "example.org"]
        .iter()
        .any(|r| within(&name, r))
}

/// Production of an organisation with a real name. Where its own name is reserved, the whole topology is an example.
pub(in crate::rules) fn in_earnest(t: &Facts) -> bool {
    let real = t.organization().and_then(|o| o.text("domain")).is_some_and(|d| !reserved(d));
    real && t.purpose() == Some("production")
}

fn reserved_name(t: &Facts, out: &mut Findings) {
    if !in_earnest(t) {
        return;
    }
    let named = ["accepted-domain", "zone", "namespace"].into_iter().flat_map(|k| t.all(k).map(|n| (n, n.name())));
    let hosts = t.all("server").filter_map(|s| Some((s, s.text("fqdn")?)));
    for (node, name) in named.chain(hosts).filter(|(_, name)| reserved(name)) {
        out.push(&node.id, format!("{name} is a name for examples and tests"), |d| {
            d.label(node.span, "in production").help("write the real name, or move it to an environment for tests")
        });
    }
}
