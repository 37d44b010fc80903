//! The firewall of a server that asks for one: what its roles listen on, SSH, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::catalog;
use crate::model::resource::Resource;
use crate::model::{Address, Attr, Body, HostName, Kind, Sources, Span};

use super::expand::Wanted;
use super::pack::ListenFrom;

/// The rules as a resource of the server.
pub fn wanted(server: &str, rules: String, asked: Span, sources: &Sources) -> Wanted {
    let resource = Resource {
        address: Address::new(&HostName::from(server), Kind::Firewall, "cutover"),
        attrs: [("loaded".to_owned(), Attr::Bool(true))].into(),
        group: format!("server.{server}/firewall"),
        stage: catalog::spec(Kind::Firewall).stage,
        after: Vec::new(),
        notifies: Vec::new(),
        protect: false,
        owner: format!("server:{server}"),
        origin: sources.origin(asked),
    };
    let bodies = vec![("content".to_owned(), Body::text(rules))];
    Wanted { resource, bodies, role: "firewall".to_owned(), pack: None, asked }
}

/// A port that a role of the server listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub port: u16,
    pub udp: bool,
    pub name: String,
    pub own_servers_only: bool,
}

impl Port {
    pub fn new(port: u16, udp: bool, name: &str, from: ListenFrom) -> Self {
        Self { port, udp, name: name.to_owned(), own_servers_only: from == ListenFrom::Servers }
    }
}

/// nftables rules of table `inet cutover`. SSH stays open to everyone: it is how this file is changed.
pub fn rules(ports: &BTreeSet<Port>, ssh_port: u16, own4: &[&str], own6: &[&str]) -> String {
    let mut out = String::from("# Made by cutover from what the roles of this server listen on.\n");
    out.push_str("table inet cutover {\n");
    let _ = writeln!(out, "    chain input {{\n        type filter hook input priority 0; policy drop;");
    out.push_str("        ct state established,related accept\n        ct state invalid drop\n        iif lo accept\n");
    // RFC 4890: without ICMPv6 there is no IPv6; ICMP errors carry path MTU.
    out.push_str("        meta l4proto { icmp, ipv6-icmp } accept\n");
    let _ = writeln!(out, "        tcp dport {ssh_port} accept comment \"ssh\"");
    for p in ports {
        let proto = if p.udp { "udp" } else { "tcp" };
        if p.own_servers_only {
            for (family, list) in [("ip", own4), ("ip6", own6)] {
                if !list.is_empty() {
                    let set = list.join(", ");
                    let _ = writeln!(
                        out,
                        "        {family} saddr {{ {set} }} {proto} dport {} accept comment \"{}\"",
                        p.port, p.name
                    );
                }
            }
        } else {
            let _ = writeln!(out, "        {proto} dport {} accept comment \"{}\"", p.port, p.name);
        }
    }
    out.push_str("    }\n}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_listeners_and_ssh_only() {
        let ports = BTreeSet::from([
            Port::new(25, false, "smtp", ListenFrom::Any),
            Port::new(24, false, "lmtp", ListenFrom::Servers),
            Port::new(53, true, "dns", ListenFrom::Any),
        ]);
        let text = rules(&ports, 2222, &["192.0.2.1", "192.0.2.2"], &[]);
        for line in [
            "policy drop;",
            "tcp dport 2222 accept comment \"ssh\"",
            "tcp dport 25 accept comment \"smtp\"",
            "ip saddr { 192.0.2.1, 192.0.2.2 } tcp dport 24 accept comment \"lmtp\"",
            "udp dport 53 accept comment \"dns\"",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("ip6 saddr"), "{text}");
    }
}
