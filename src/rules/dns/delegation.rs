//! Name servers, and how long answers live.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::records::{Record, Target, within};
use super::super::{Facts, Findings, Rule};
use super::delivery::without_address;
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::format_duration;

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "ns-to-alias",
        code: "L0501",
        severity: Severity::Error,
        about: "An NS record names a host with addresses, never an alias.",
        source: "RFC 2181, section 10.3",
        check: ns_to_alias,
    },
    Rule {
        name: "ns-without-address",
        code: "L0502",
        severity: Severity::Error,
        about: "A name server whose name lies in its own zone has its address there: else the zone cannot be reached.",
        source: "RFC 1034, section 4.2.1",
        check: ns_without_address,
    },
    Rule {
        name: "unlisted-name-server",
        code: "L0503",
        severity: Severity::Warning,
        about: "All name servers of a zone are listed: one that no NS record names is asked by nobody.",
        source: "RFC 2182, section 5",
        check: unlisted_name_server,
    },
    Rule {
        name: "name-servers-in-one-site",
        code: "L0504",
        severity: Severity::Warning,
        about: "The name servers of a zone stand in several places: what cuts off one leaves the other.",
        source: "RFC 2182, section 3.1",
        check: name_servers_in_one_site,
    },
    Rule {
        name: "ttl-not-lowered",
        code: "L0505",
        severity: Severity::Warning,
        about: "The TTL of an MX record that a window changes is lowered before it: else senders go on using the old host for that long.",
        source: "RFC 1034, section 3.6",
        check: ttl_not_lowered,
    },
    Rule {
        name: "cutover-ttl-not-lower",
        code: "L0506",
        severity: Severity::Warning,
        about: "The TTL around a window is lower than the usual one: else lowering it changes nothing.",
        source: "RFC 1034, section 3.6",
        check: cutover_ttl_not_lower,
    },
    Rule {
        name: "unsigned-updates",
        code: "L0507",
        severity: Severity::Error,
        about: "Dynamic updates are signed: else whoever reaches the name server can move the domain.",
        source: "RFC 3007, section 1; RFC 2136, section 8",
        check: unsigned_updates,
    },
];

fn ns_to_alias(t: &Facts, out: &mut Findings) {
    for r in t.records().of("NS") {
        for target in r.targets(t) {
            let Some(alias) = t.records().at(&target.name).iter().find(|a| a.kind == "CNAME" && a.meets(r)) else {
                continue;
            };
            out.push(&r.zone.id, format!("the name server {} is an alias", target.name), |d| {
                d.label(target.span, "name server")
                    .label(alias.node.span, "is an alias")
                    .help("name the host that the alias leads to")
            });
        }
    }
}

fn ns_without_address(t: &Facts, out: &mut Findings) {
    for r in t.records().of("NS") {
        for target in
            r.targets(t).into_iter().filter(|x| within(&x.name, r.zone.name()) && without_address(t, r, &x.name))
        {
            out.push(&r.zone.id, format!("the name server {} has no address", target.name), |d| {
                d.label(target.span, format!("no A or AAAA record of it in {}", r.zone.name()))
                    .help("write record NAME A to=SERVER, and AAAA")
            });
        }
    }
}

/// The NS records at the apex of a zone whose data is on a server of ours, by zone.
fn listed<'f>(t: &'f Facts, zone: &Node) -> Vec<Target<'f>> {
    let own = t.records().at(zone.name()).iter().filter(|r| r.kind == "NS" && r.zone.id == zone.id);
    own.flat_map(|r| r.targets(t)).collect()
}

fn unlisted_name_server(t: &Facts, out: &mut Findings) {
    for zone in t.all("zone").filter(|z| z.text("view") != Some("internal")) {
        let provider = zone.text("provider").and_then(|p| t.get("dns-provider", p));
        let Some(provider) = provider.filter(|p| p.value("host").is_some()) else { continue };
        let more = t.with_role("dns").len() > 1 || provider.value("secondaries").is_some();
        if let [only] = listed(t, zone).as_slice()
            && more
        {
            out.push(&zone.id, format!("{} lists one name server and has more", zone.name()), |d| {
                d.label(only.span, format!("only {} is asked", only.name))
                    .label(provider.at("secondaries"), "there are others")
                    .help("write a record \"@\" NS for each of them")
            });
        }
    }
}

fn name_servers_in_one_site(t: &Facts, out: &mut Findings) {
    if t.all("site").nth(1).is_none() {
        return;
    }
    for zone in t.all("zone").filter(|z| z.text("view") != Some("internal")) {
        let listed = listed(t, zone);
        let sites: BTreeSet<Option<&str>> =
            listed.iter().map(|x| x.server.or_else(|| t.named(&x.name)).and_then(|s| s.text("site"))).collect();
        if let ([first, second, ..], Some(Some(site)), 1) = (listed.as_slice(), sites.first(), sites.len()) {
            out.push(
                &zone.id,
                format!("the {} name servers of {} all stand in {site}", listed.len(), zone.name()),
                |d| {
                    d.label(first.span, "here")
                        .label(second.span, "and here too")
                        .help("put one into another site, or let a provider hold a secondary")
                },
            );
        }
    }
}

/// Records that a window changes, with the window.
fn held_records<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, &'f Node)> {
    t.records().all().filter_map(|r| Some((r, t.get("cutover-window", r.node.text("held-until")?)?)))
}

/// The TTL of a record and where it is set.
fn ttl(r: &Record) -> (Duration, Span) {
    let own = r.node.duration("ttl").map(|ttl| (ttl, r.node.value("ttl")));
    let (ttl, at) = own.unwrap_or_else(|| (r.zone.duration("ttl").unwrap_or_default(), r.zone.value("ttl")));
    (ttl, at.map_or(r.zone.span, |v| v.span))
}

fn ttl_not_lowered(t: &Facts, out: &mut Findings) {
    for (r, window) in held_records(t) {
        let steps = window.texts("steps");
        let (ttl, at) = ttl(r);
        let usual = r.zone.duration("cutover-ttl").unwrap_or_default();
        if steps.contains(&"flip-mx") && !steps.contains(&"lower-ttl") && ttl > usual {
            let message = format!(
                "{} {} keeps its TTL of {} in window `{}`",
                r.owner,
                r.kind,
                format_duration(ttl),
                window.id.name
            );
            out.push(&r.zone.id, message, |d| {
                d.label(r.node.span, "changes in the window")
                    .label(at, "its TTL")
                    .label(window.at("steps"), "no lower-ttl")
                    .help("add lower-ttl (it runs before the window) and raise-ttl to the steps")
            });
        }
    }
}

fn cutover_ttl_not_lower(t: &Facts, out: &mut Findings) {
    for (r, _) in held_records(t) {
        let (ttl, at) = ttl(r);
        let Some(low) = r.zone.duration("cutover-ttl").filter(|low| *low >= ttl) else { continue };
        let message = format!(
            "the TTL of {} {} is {}, around the window {}",
            r.owner,
            r.kind,
            format_duration(ttl),
            format_duration(low)
        );
        out.push(&r.zone.id, message, |d| {
            d.label(r.zone.at("cutover-ttl"), "not lower")
                .label(at, "than this")
                .help("write a cutover-ttl of a few minutes, as in \"5m\"")
        });
    }
}

fn unsigned_updates(t: &Facts, out: &mut Findings) {
    for p in t.all("dns-provider").filter(|p| p.text("type") == Some("rfc2136") && p.value("key").is_none()) {
        out.push(&p.id, format!("`{}` changes zones without a signature", p.id.name), |d| {
            d.label(p.span, "no TSIG key").help("write tsig-name=NAME key=(secret)\"file:..\"")
        });
    }
}
