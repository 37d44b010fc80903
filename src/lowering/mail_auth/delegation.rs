//! A zone of the topology that lies in another zone of it: the parent names the child's servers, and has the addresses of those whose
//! names lie in the child (glue; RFC 1034, section 4.2.1). Without them nobody finds the child.

use std::net::IpAddr;

use crate::model::Diagnostics;
use crate::model::topology::Node;

use super::super::context::dns::{absolute, name_of, provider, values, view};
use super::super::survey::Survey;
use super::Composed;
use super::zones::Zones;

impl<'t> Composed<'t> {
    /// For each zone whose parent is here too. NS records of the child that the parent writes out hold instead.
    pub(super) fn delegations(&mut self, survey: &Survey<'t>, zones: &Zones<'t>) {
        for child in survey.topology.all("zone") {
            let name = name_of(child).to_ascii_lowercase();
            let Some((_, above)) = name.split_once('.') else { continue };
            let meets = |p: &&&'t Node| view(p) == view(child) || view(p) == "both" || view(child) == "both";
            for &parent in zones.holding(above).iter().filter(meets) {
                let here = zones.written(parent, &name);
                if here.iter().any(|r| matches!(r.text("type"), Some("NS" | "CNAME"))) {
                    continue;
                }
                for ns in servers(survey, zones, child, &name) {
                    let glue = glue(survey, zones, child, &ns);
                    self.put(parent, &name, "NS", ns.clone());
                    let bare = ns.trim_end_matches('.').to_ascii_lowercase();
                    let below = bare.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                    let written =
                        zones.written(parent, &bare).iter().any(|r| matches!(r.text("type"), Some("A" | "AAAA")));
                    for ip in glue.into_iter().filter(|_| below && !written) {
                        self.put(parent, &bare, if ip.is_ipv4() { "A" } else { "AAAA" }, ip.to_string());
                    }
                }
            }
        }
    }

    fn put(&mut self, zone: &'t Node, name: &str, kind: &'static str, data: String) {
        let record = super::Record { name: name.to_owned(), kind, data };
        let made = self.records.entry(&zone.id).or_default();
        if !made.contains(&record) {
            made.push(record);
        }
    }
}

/// The name servers of a zone: its NS records, else the server of the topology that holds it.
fn servers(survey: &Survey<'_>, zones: &Zones<'_>, zone: &Node, name: &str) -> Vec<String> {
    let mut out = Vec::new();
    for record in zones.written(zone, name).iter().filter(|r| r.text("type") == Some("NS")) {
        // What is wrong with a record is said where its zone is made.
        values(survey, zone, name_of(zone), record, &mut out, &mut Diagnostics::default());
    }
    if out.is_empty() {
        let host = provider(survey.topology, zone).and_then(|p| p.text("host"));
        out.extend(host.and_then(|h| survey.servers.get(h)).map(|s| absolute(&s.fqdn)));
    }
    out
}

/// Addresses of a name server, as its zone has them, else as the topology knows the server.
fn glue(survey: &Survey<'_>, zones: &Zones<'_>, zone: &Node, ns: &str) -> Vec<IpAddr> {
    let bare = ns.trim_end_matches('.').to_ascii_lowercase();
    let mut data = Vec::new();
    for record in zones.written(zone, &bare).iter().filter(|r| matches!(r.text("type"), Some("A" | "AAAA"))) {
        values(survey, zone, name_of(zone), record, &mut data, &mut Diagnostics::default());
    }
    if data.is_empty() {
        let server = survey.servers.values().find(|s| s.fqdn.eq_ignore_ascii_case(&bare));
        data.extend(server.iter().flat_map(|s| [s.ip, s.ip6]).flatten().map(str::to_owned));
    }
    data.iter().filter_map(|d| d.parse().ok()).collect()
}
