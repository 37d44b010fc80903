//! Who sends for a domain: the servers that it names, and systems that are still there while it moves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::topology::{Node, NodeId, Topology};
use crate::model::{Diagnostic, Diagnostics};

use super::super::survey::{Survey, refs};
use super::spf::{LOOKUPS, Others, Policy, Text, lookups};
use super::zones::Zones;

/// The addresses that the internet sees of a server: those that its name has in a zone that the world sees, else its own.
pub fn addresses(survey: &Survey<'_>, zones: &Zones<'_>, server: &str) -> Vec<IpAddr> {
    let Some(server) = survey.servers.get(server) else { return Vec::new() };
    let name = server.fqdn.to_ascii_lowercase();
    let outside = zones.holding(&name).iter().filter(|z| z.text("view") != Some("internal"));
    let records: Vec<&Node> = outside.flat_map(|z| zones.written(z, &name)).copied().collect();
    let mut out = Vec::new();
    for (kind, field, own) in [("A", "ip", server.ip), ("AAAA", "ip6", server.ip6)] {
        let here = || records.iter().filter(|r| r.text("type") == Some(kind));
        let mut found: Vec<IpAddr> = here().flat_map(|r| r.texts("values")).filter_map(|v| v.parse().ok()).collect();
        let named =
            here().flat_map(|r| refs(r, "to")).filter_map(|id| survey.topology.get(&id.kind, &id.name)?.text(field));
        found.extend(named.filter_map(|a| a.parse::<IpAddr>().ok()));
        if found.is_empty() {
            found.extend(own.and_then(|a| a.parse::<IpAddr>().ok()));
        }
        out.extend(found);
    }
    out
}

/// Systems that still take and send mail of the organisation: each `legacy` with SMTP. Its removal from the topology is the end of
/// it, and of what stands for it in policies.
pub fn legacies(topology: &Topology) -> impl Iterator<Item = &Node> {
    topology.all("legacy").filter(|l| {
        let services = l.texts("services");
        services.is_empty() || services.contains(&"smtp") || services.contains(&"store-and-forward")
    })
}

/// The SPF policies of a topology, each with its texts.
pub struct Policies<'s, 't> {
    survey: &'s Survey<'t>,
    zones: &'s Zones<'t>,
    /// By the `spf` node.
    made: BTreeMap<&'t NodeId, Vec<Text>>,
    /// Texts of SPF by name: those that are made, and those that are written out.
    known: BTreeMap<String, String>,
}

impl<'s, 't> Policies<'s, 't> {
    pub fn new(survey: &'s Survey<'t>, zones: &'s Zones<'t>) -> Self {
        let (mut made, mut known) = (BTreeMap::new(), BTreeMap::new());
        for (name, record) in zones.all() {
            let texts = record.texts("values");
            if let Some(text) = texts.into_iter().find(|t| t.get(..6).is_some_and(|h| h.eq_ignore_ascii_case("v=spf1")))
            {
                known.insert(name.to_owned(), text.to_owned());
            }
        }
        for auth in survey.topology.all("mail-auth") {
            for spf in auth.children("spf") {
                let texts = policy(survey, zones, spf).records(&auth.id.name.to_ascii_lowercase());
                known.extend(texts.iter().cloned());
                made.insert(&spf.id, texts);
            }
        }
        Self { survey, zones, made, known }
    }

    /// The records of one domain.
    pub fn records(&self, auth: &Node, spf: &Node, diagnostics: &mut Diagnostics) -> &[Text] {
        let domain = auth.id.name.to_ascii_lowercase();
        for (id, span) in spf.refs("allow").filter(|(id, _)| id.kind == "server") {
            if addresses(self.survey, self.zones, &id.name).is_empty() {
                diagnostics.push(
                    Diagnostic::error("E1027", format!("server {} may send for {domain} and has no address", id.name))
                        .label(span, "named here")
                        .help("give the server an ip or ip6: SPF lists addresses"),
                );
            }
        }
        let records = self.made.get(&spf.id).map_or(&[][..], Vec::as_slice);
        let count = records
            .first()
            .map_or(0, |(_, text)| lookups(text, &|name| self.known.get(&name.to_ascii_lowercase()).cloned()));
        if count > LOOKUPS {
            diagnostics.push(
                Diagnostic::error("E1026", format!("the SPF record of {domain} would need {count} lookups"))
                    .label(spf.span, format!("{LOOKUPS} are allowed: behind them every check ends in an error"))
                    .help("take includes away, or allow fewer servers (RFC 7208, section 4.6.4)"),
            );
        }
        records
    }
}

fn policy(survey: &Survey<'_>, zones: &Zones<'_>, spf: &Node) -> Policy {
    let mut addresses: Vec<IpAddr> = refs(spf, "allow")
        .filter(|id| id.kind == "server")
        .flat_map(|id| self::addresses(survey, zones, &id.name))
        .collect();
    let mut hosts = Vec::new();
    let union = spf.value("legacy").is_none() || spf.flag("legacy");
    for legacy in legacies(survey.topology).filter(|_| union) {
        match (legacy.text("server"), legacy.text("host")) {
            (Some(server), _) => addresses.extend(self::addresses(survey, zones, server)),
            (None, Some(host)) => match host.parse::<IpAddr>() {
                Ok(ip) => addresses.push(ip),
                Err(_) => hosts.push(host.trim_end_matches('.').to_ascii_lowercase()),
            },
            (None, None) => {}
        }
    }
    hosts.sort();
    hosts.dedup();
    let mut includes: Vec<String> = Vec::new();
    for include in spf.texts("include") {
        let include = include.trim_end_matches('.').to_ascii_lowercase();
        if !includes.contains(&include) {
            includes.push(include);
        }
    }
    let others = match spf.text("all") {
        Some("fail") => Others::Fail,
        Some("neutral") => Others::Neutral,
        _ => Others::Softfail,
    };
    Policy { addresses, hosts, includes, others }
}
