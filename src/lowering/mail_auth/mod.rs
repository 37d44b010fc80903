//! What `mail-auth` makes of a domain: its records, the policy file that a web server serves, and the keys that servers sign with.
//!
//! ```text
//! mail-auth ──┬─ spf ◀── addresses of its senders, and of systems that are still there (`legacy`)
//!             ├─ dkim ◀── public key of each selector; private keys go to its signers only
//!             ├─ mta-sts ◀── hosts that the domain's MX records name
//!             ├─ dane ◀── certificates of those hosts
//!             ├─ discovery ◀── namespaces that clients use
//!             └─ dmarc, tls-rpt
//! ```
//!
//! The records stand in the zone that holds the domain, in each of its views. Pure: public keys are read before and handed in.

mod clients;
mod dane;
mod delegation;
mod discovery;
mod exchangers;
mod keys;
pub mod reverse;
pub mod rotation;
mod senders;
pub mod spf;
pub mod succession;
mod texts;
mod zones;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::model::topology::{Node, NodeId};
use crate::model::{Diagnostic, Diagnostics, Span};

use super::Options;
use super::certificate::FOLDER;
use super::context::dns::quoted;
use super::survey::{Server, Survey, refs};

pub use keys::{KeyRequest, PublicKey, Selector, in_flight, requests};
use zones::Zones;

/// One record that `mail-auth` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Absolute, without the last dot, in lower case.
    pub name: String,
    pub kind: &'static str,
    /// As in a zone file.
    pub data: String,
}

/// The policy file of MTA-STS for one domain, and who serves it.
struct Policy<'t> {
    domain: &'t str,
    text: String,
    hosts: Vec<&'t str>,
    span: Span,
}

/// Everything that the `mail-auth` nodes of a topology ask for.
#[derive(Default)]
pub struct Composed<'t> {
    /// By the name of the zone's node: views are zones of their own.
    records: BTreeMap<&'t NodeId, Vec<Record>>,
    policies: Vec<Policy<'t>>,
    clients: Vec<clients::Clients<'t>>,
    keys: Vec<keys::Key<'t>>,
}

/// Composes all of it. With errors something is missing.
pub fn compose<'t>(survey: &Survey<'t>, made: &Options, diagnostics: &mut Diagnostics) -> Composed<'t> {
    let mut out = Composed::default();
    let topology = survey.topology;
    let zones = &Zones::new(topology);
    let policies = senders::Policies::new(survey, zones);
    for auth in topology.all("mail-auth") {
        let domain = auth.id.name.as_str();
        if zones.holding(&domain.to_ascii_lowercase()).is_empty() {
            diagnostics.push(
                Diagnostic::error("E1028", format!("no zone of the topology holds {domain}"))
                    .label(auth.span, "its records have no place")
                    .help(format!(
                        "write zone {domain} provider=.., with a dns-provider of type=manual where people enter records"
                    )),
            );
            continue;
        }
        for node in &auth.children {
            match node.id.kind.as_str() {
                "spf" => {
                    for (name, text) in policies.records(auth, node, diagnostics) {
                        out.text(zones, name, text, node, diagnostics);
                    }
                }
                "dkim" => {
                    let selectors = made.signing.get(node.id.name.as_str()).map_or(&[][..], Vec::as_slice);
                    for selector in selectors {
                        let (name, text) = selector.record(domain);
                        out.text(zones, &name, &text, node, diagnostics);
                    }
                    out.keys.push(keys::key(survey, auth, node, selectors, diagnostics));
                }
                "dmarc" => {
                    let text = texts::dmarc(node.text("policy").unwrap_or("none"), &node.texts("reports"));
                    out.text(zones, &format!("_dmarc.{domain}"), &text, node, diagnostics);
                }
                "tls-rpt" => {
                    let text = texts::tls_rpt(&node.texts("reports"));
                    out.text(zones, &format!("_smtp._tls.{domain}"), &text, node, diagnostics);
                }
                "dane" => out.dane(survey, zones, domain, &made.certificates),
                "discovery" => {
                    for (name, kind, data) in discovery::records(topology, domain, node) {
                        out.record(zones, &name, kind, data);
                    }
                    out.clients(survey, zones, auth, node, diagnostics);
                }
                "mta-sts" => out.mta_sts(survey, zones, auth, node, diagnostics),
                _ => {}
            }
        }
    }
    out.reverse(survey, zones);
    out.delegations(survey, zones);
    out
}

impl<'t> Composed<'t> {
    /// Records for the zone of this node.
    pub fn of_zone(&self, zone: &Node) -> &[Record] {
        self.records.get(&zone.id).map_or(&[], Vec::as_slice)
    }

    /// Each domain with its MTA-STS policy, where it says anything.
    pub fn sts(&self) -> impl Iterator<Item = (&str, &str)> {
        let says = |p: &&Policy| !p.text.lines().any(|l| l == "mode: none");
        self.policies.iter().filter(says).map(|p| (p.domain, p.text.as_str()))
    }

    /// A TXT record, in each view of its zone. One that is written out for the same purpose is a mistake: only one of two texts can
    /// hold, and which, nobody would see. A CNAME at its place hands the name to somebody else, who then publishes it.
    fn text(&mut self, zones: &Zones<'t>, name: &str, text: &str, by: &Node, diagnostics: &mut Diagnostics) {
        let name = name.to_ascii_lowercase();
        let tag = text.split([' ', ';']).next().unwrap_or_default();
        for &zone in zones.holding(&name) {
            let here = zones.written(zone, &name);
            if here.iter().any(|r| r.text("type") == Some("CNAME")) {
                continue;
            }
            let same = |r: &&&Node| {
                r.text("type") == Some("TXT")
                    && r.texts("values").iter().any(|v| v.get(..tag.len()).is_some_and(|v| v.eq_ignore_ascii_case(tag)))
            };
            if let Some(other) = here.iter().find(same) {
                diagnostics.push(
                    Diagnostic::error("E1024", format!("{name} has two records of {tag}"))
                        .label(other.span, "written here")
                        .label(by.span, "made from this")
                        .help("keep one: take the record away, or what it is made from"),
                );
                continue;
            }
            let record = Record { name: name.clone(), kind: "TXT", data: quoted(text) };
            self.records.entry(&zone.id).or_default().push(record);
        }
    }

    /// A record of another type, in each view of its zone. What is written out at its place holds instead; TLSA records stand beside
    /// each other, as two certificates do while one replaces the other.
    fn record(&mut self, zones: &Zones<'t>, name: &str, kind: &'static str, data: String) {
        let name = name.to_ascii_lowercase();
        for &zone in zones.holding(&name) {
            let here = zones.written(zone, &name);
            let taken = match kind {
                "CNAME" => !here.is_empty(),
                "TLSA" => {
                    here.iter().any(|r| r.text("type") == Some("CNAME") || r.texts("values").contains(&data.as_str()))
                }
                _ => here.iter().any(|r| r.text("type") == Some(kind) || r.text("type") == Some("CNAME")),
            };
            let record = Record { name: name.clone(), kind, data: data.clone() };
            let made = self.records.entry(&zone.id).or_default();
            if !taken && !made.contains(&record) {
                made.push(record);
            }
        }
    }

    /// Address records of a name, where none is written out in that view.
    fn addresses(&mut self, zones: &Zones<'t>, name: &str, ip: &[std::net::IpAddr]) {
        let name = name.to_ascii_lowercase();
        for &zone in zones.holding(&name) {
            let own = |r: &Node| matches!(r.text("type"), Some("A" | "AAAA" | "CNAME"));
            if zones.written(zone, &name).iter().any(|r| own(r)) {
                continue;
            }
            let records = ip.iter().map(|a| Record {
                name: name.clone(),
                kind: if a.is_ipv4() { "A" } else { "AAAA" },
                data: a.to_string(),
            });
            self.records.entry(&zone.id).or_default().extend(records);
        }
    }

    fn mta_sts(
        &mut self,
        survey: &Survey<'t>,
        zones: &Zones<'t>,
        auth: &'t Node,
        node: &'t Node,
        diagnostics: &mut Diagnostics,
    ) {
        let domain = auth.id.name.as_str();
        let exchangers = exchangers::of(survey, zones, domain);
        let mode = node.text("mode").unwrap_or("testing");
        if exchangers.is_empty() && mode != "none" {
            diagnostics.push(
                Diagnostic::error("E1025", format!("the MTA-STS policy of {domain} would name no host"))
                    .label(node.span, "names the hosts that the MX records name")
                    .help(format!("write record \"@\" MX HOST in the zone of {domain}")),
            );
            return;
        }
        let age = node.duration("max-age").unwrap_or(std::time::Duration::from_secs(7 * 86_400));
        let text = texts::sts_policy(mode, &exchangers, age);
        let Some(host) = refs(node, "host").next() else { return };
        self.text(zones, &format!("_mta-sts.{domain}"), &texts::sts_record(&text), node, diagnostics);
        let balancer = survey.topology.get("load-balancer", &host.name).filter(|_| host.kind == "load-balancer");
        let names: Vec<&'t str> = match balancer {
            Some(b) => refs(b, "members").filter_map(|m| survey.servers.get(m.name.as_str())).map(|s| s.name).collect(),
            None => survey.servers.get(host.name.as_str()).map(|s| s.name).into_iter().collect(),
        };
        let shared: Vec<std::net::IpAddr> = balancer
            .into_iter()
            .flat_map(|b| [b.text("vip"), b.text("vip6")])
            .flatten()
            .filter_map(|a| a.parse().ok())
            .collect();
        let ip = match shared.is_empty() {
            true => names.iter().flat_map(|n| senders::addresses(survey, zones, n)).collect(),
            false => shared,
        };
        self.addresses(zones, &format!("mta-sts.{domain}"), &ip);
        for name in &names {
            if survey.servers.get(name).is_some_and(|s| !s.has("mta-sts")) {
                diagnostics.push(
                    Diagnostic::warning(
                        "W1004",
                        format!("server {name} does not serve the MTA-STS policy of {domain}"),
                    )
                    .label(node.span, "served there")
                    .help(format!(
                        "give it the role mta-sts and a platform with nginx: server {name} {{ roles mta-sts; }}"
                    )),
                );
            }
        }
        self.policies.push(Policy { domain, text, hosts: names, span: node.span });
    }

    /// The policies that a server serves, as templates have them. Each needs a certificate of its own name on this server.
    pub fn policies(&self, survey: &Survey<'_>, server: &Server<'_>, diagnostics: &mut Diagnostics) -> Json {
        if !server.has("mta-sts") {
            return json!([]);
        }
        let here = self.policies.iter().filter(|p| p.hosts.contains(&server.name));
        here.filter_map(|p| {
            let name = format!("mta-sts.{}", p.domain);
            let fits = |c: &&Node| {
                let own = refs(c, "on").any(|s| s.name == server.name);
                let services = c.texts("services");
                own && (services.is_empty() || services.contains(&"https"))
                    && c.texts("names").into_iter().chain(c.text("subject")).any(|n| covers(n, &name))
            };
            let Some(certificate) = survey.topology.all("certificate").find(fits) else {
                diagnostics.push(
                    Diagnostic::error("E1019", format!("server {} has no certificate for {name}", server.name))
                        .label(p.span, "senders fetch the policy by HTTPS from this name (RFC 8461, section 3.3)")
                        .help(format!(
                            "write certificate NAME subject={name} issuer=.. {{ on {}; services https; }}",
                            server.name
                        )),
                );
                return None;
            };
            Some(json!({
                "domain": p.domain,
                "name": name,
                "text": p.text,
                "certificate": format!("{FOLDER}/{}.pem", certificate.id.name),
                "key": format!("{FOLDER}/{}.key", certificate.id.name),
            }))
        })
        .collect()
    }

    /// The keys that a server signs with, as templates have them. `inside`: addresses whose mail it signs, beside its own.
    pub fn signing(&self, server: &Server<'_>, inside: Vec<&str>) -> Json {
        keys::signing(&self.keys, server, &inside)
    }
}

/// A name of a certificate is this one, or a wildcard for it (RFC 6125, section 6.4.3).
fn covers(pattern: &str, name: &str) -> bool {
    let under = |p: &str| name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(p));
    pattern.eq_ignore_ascii_case(name) || pattern.strip_prefix("*.").is_some_and(under)
}
