//! How clients find the servers of a domain: SRV records (RFC 6186, RFC 8314) and autodiscover, from the `namespace` nodes that
//! `discovery` names.

use crate::model::topology::{Node, Topology};

use super::super::survey::refs;

/// A record to be: name, type, data as in a zone file.
pub type Made = (String, &'static str, String);

/// Service of a namespace, label of RFC 6186 and 8314, port, priority. TLS from the first octet goes before STARTTLS (RFC 8314,
/// section 5.1).
const SERVICES: &[(&str, &str, u16, u8)] = &[
    ("imap", "_imaps", 993, 0),
    ("imap", "_imap", 143, 10),
    ("pop", "_pop3s", 995, 20),
    ("pop", "_pop3", 110, 30),
    ("submission", "_submissions", 465, 0),
    ("submission", "_submission", 587, 10),
];

/// The records of one domain.
pub fn records(topology: &Topology, domain: &str, node: &Node) -> Vec<Made> {
    let mut out: Vec<Made> = Vec::new();
    for namespace in refs(node, "namespaces").filter_map(|id| topology.get("namespace", &id.name)) {
        let services = namespace.texts("services");
        let target = namespace.id.name.trim_end_matches('.');
        for (_, label, port, priority) in SERVICES.iter().filter(|(s, ..)| services.contains(s)) {
            out.push((format!("{label}._tcp.{domain}"), "SRV", format!("{priority} 1 {port} {target}.")));
        }
        if services.contains(&"autodiscover") {
            out.push((format!("_autodiscover._tcp.{domain}"), "SRV", format!("0 1 443 {target}.")));
            let name = format!("autodiscover.{domain}");
            if !name.eq_ignore_ascii_case(target) {
                out.push((name, "CNAME", format!("{target}.")));
            }
        }
    }
    out
}
