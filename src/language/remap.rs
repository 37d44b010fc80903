//! `domain-map` and `address-map`: the same topology under other domains and networks, so that a lab cannot touch the real ones.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::decode::{Decoder, Place};
use super::schema::{KindDef, schema};
use super::text::Scope;
use super::types::Type;
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::tree::Tree;
use crate::model::{Diagnostic, Span};

/// The rewriting that is in force; empty for production.
#[derive(Debug, Default)]
pub(super) struct Maps {
    /// From, to; the longest suffix first.
    domains: Vec<(String, String, Span)>,
    /// From, to; the longest prefix first.
    networks: Vec<(IpNet, IpNet, Span)>,
}

/// A value that a map has rewritten.
pub(super) struct Mapped {
    pub text: String,
    pub by: &'static str,
    pub span: Span,
}

impl Maps {
    pub fn read(dec: &mut Decoder, chain: &[&Tree], scope: &Scope) -> Self {
        let mut domains: BTreeMap<String, (String, Span)> = BTreeMap::new();
        let mut networks: BTreeMap<IpNet, (IpNet, Span)> = BTreeMap::new();
        for env in chain {
            for t in &env.children {
                let is_domain = match t.name.value.as_str() {
                    "domain-map" => true,
                    "address-map" => false,
                    _ => continue,
                };
                let place = Place { scope, captures: &[], zip: None, layer: "" };
                let mut text = |e: Option<&crate::model::tree::Entry>| {
                    let e = e?;
                    dec.fill(e.value.value.as_text()?, place, e.span).map(|f| f.text)
                };
                let (Some(from), Some(to)) = (text(t.args().next()), text(super::scope::entry_of(t, "to"))) else {
                    continue;
                };
                if is_domain {
                    domains.insert(from.to_ascii_lowercase(), (to, t.span));
                } else if let (Ok(from), Ok(to)) = (from.parse::<IpNet>(), to.parse::<IpNet>()) {
                    let same_family = from.addr().is_ipv4() == to.addr().is_ipv4();
                    if !same_family || to.prefix_len() > from.prefix_len() {
                        dec.sink.push(
                            Diagnostic::error("E0411", format!("{from} does not fit into {to}"))
                                .label(t.span, "too small")
                                .help("the second network is of the same family and at least as large as the first"),
                        );
                        continue;
                    }
                    networks.insert(from, (to, t.span));
                }
            }
        }
        let mut domains: Vec<_> = domains.into_iter().map(|(f, (t, s))| (f, t, s)).collect();
        domains.sort_by_key(|(f, _, _)| std::cmp::Reverse(f.len()));
        let mut networks: Vec<_> = networks.into_iter().map(|(f, (t, s))| (f, t, s)).collect();
        networks.sort_by_key(|(f, _, _)| std::cmp::Reverse(f.prefix_len()));
        Self { domains, networks }
    }

    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.networks.is_empty()
    }

    /// Kinds that say what the maps and variables are; rewriting them would be circular.
    pub fn skips(kind: &KindDef) -> bool {
        matches!(
            kind.name.as_str(),
            "environment" | "set" | "domain-map" | "address-map" | "stand-in" | "map" | "variable" | "moved"
        )
    }

    /// The value under the maps; `None` when it stays.
    pub fn value(&self, ty: &Type, text: &str) -> Option<Mapped> {
        let domain = matches!(ty, Type::String | Type::Fqdn | Type::Hostname | Type::Email | Type::Url | Type::Any);
        let address = matches!(ty, Type::String | Type::Ip | Type::Cidr | Type::Url | Type::Any);
        if domain && let Some(m) = self.domain(text) {
            return Some(m);
        }
        if address { self.address(text) } else { None }
    }

    /// Replaces every mapped domain in a text, at label boundaries.
    pub fn domain(&self, text: &str) -> Option<Mapped> {
        let lower = text.to_ascii_lowercase();
        for (from, to, span) in &self.domains {
            let (mut out, mut at, mut hit) = (String::new(), 0, false);
            for (i, _) in lower.match_indices(from.as_str()) {
                if i < at {
                    continue;
                }
                let before = lower[..i].chars().next_back();
                let after = lower[i + from.len()..].chars().next();
                let label = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
                // `.acme.example` is below the domain; `acme.example.com` is another one.
                let next = lower[i + from.len()..].chars().nth(1);
                let ends = match after {
                    None => true,
                    Some('.') => !next.is_some_and(label),
                    Some(c) => !label(c),
                };
                if before.is_some_and(label) || !ends {
                    continue;
                }
                out.push_str(&text[at..i]);
                out.push_str(to);
                at = i + from.len();
                hit = true;
            }
            if hit {
                out.push_str(&text[at..]);
                return Some(Mapped { text: out, by: "domain-map", span: *span });
            }
        }
        None
    }

    fn address(&self, text: &str) -> Option<Mapped> {
        if self.networks.is_empty() {
            return None;
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            let (ip, span) = self.ip(ip)?;
            return Some(Mapped { text: ip.to_string(), by: "address-map", span });
        }
        if let Ok(net) = text.parse::<IpNet>() {
            let (ip, span) = self.network(net)?;
            return Some(Mapped { text: ip.to_string(), by: "address-map", span });
        }
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let host = &rest[..end];
        let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
            Some((h, p)) => (h, p),
            None => host.split_once(':').map_or((host, ""), |(h, _)| (h, &host[h.len()..])),
        };
        let (ip, span) = self.ip(host.parse().ok()?)?;
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Some(Mapped { text: format!("{scheme}://{host}{port}{}", &rest[end..]), by: "address-map", span })
    }

    fn ip(&self, ip: IpAddr) -> Option<(IpAddr, Span)> {
        let (from, to, span) = self.networks.iter().find(|(f, _, _)| f.contains(&ip))?;
        Some((moved(ip, from, to), *span))
    }

    /// A network inside a mapped one keeps its prefix length.
    fn network(&self, net: IpNet) -> Option<(IpNet, Span)> {
        let (from, to, span) = self.networks.iter().find(|(f, _, _)| f.contains(&net))?;
        let mapped = IpNet::new(moved(net.addr(), from, to), net.prefix_len()).ok()?;
        Some((mapped, *span))
    }

    /// Renames nodes whose name holds a mapped domain, and every reference to them.
    pub fn rename(&self, topology: &mut Topology) {
        if self.domains.is_empty() {
            return;
        }
        let mut names: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for node in topology.nodes.values() {
            self.collect(node, None, &mut names);
        }
        if names.is_empty() {
            return;
        }
        let nodes = std::mem::take(&mut topology.nodes);
        for (_, mut node) in nodes {
            apply(&mut node, &names);
            topology.nodes.insert(node.id.clone(), node);
        }
    }

    fn collect(&self, node: &Node, parent: Option<(&str, &str)>, names: &mut BTreeMap<NodeId, NodeId>) {
        let Some(kind) = schema().kind(&node.id.kind).filter(|k| !Self::skips(k)) else { return };
        let own = parent.map_or(node.id.name.as_str(), |(old, _)| {
            node.id.name.strip_prefix(old).and_then(|n| n.strip_prefix('.')).unwrap_or(&node.id.name)
        });
        let domain = match &kind.name_type {
            Some(Type::Fqdn | Type::Email | Type::String | Type::Hostname) => true,
            Some(Type::Ref(kinds)) => {
                kinds.iter().any(|k| schema().kind(k).is_some_and(|k| k.name_type == Some(Type::Fqdn)))
            }
            _ => false,
        };
        let own = if domain { self.domain(own).map_or(own.to_owned(), |m| m.text) } else { own.to_owned() };
        let name = parent.map_or(own.clone(), |(_, new)| format!("{new}.{own}"));
        for c in &node.children {
            self.collect(c, Some((&node.id.name, &name)), names);
        }
        if name != node.id.name {
            names.insert(node.id.clone(), NodeId::new(node.id.kind.clone(), name));
        }
    }
}

fn apply(node: &mut Node, names: &BTreeMap<NodeId, NodeId>) {
    if let Some(id) = names.get(&node.id) {
        node.id = id.clone();
    }
    for f in node.fields.values_mut() {
        for v in &mut f.values {
            if let Value::Ref(id) = &mut v.value
                && let Some(new) = names.get(id)
            {
                *id = new.clone();
            }
        }
    }
    node.children.iter_mut().for_each(|c| apply(c, names));
}

fn moved(ip: IpAddr, from: &IpNet, to: &IpNet) -> IpAddr {
    match (ip, to.network()) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => {
            let host = u32::from(ip) & u32::MAX.checked_shr(u32::from(from.prefix_len())).unwrap_or(0);
            IpAddr::V4((u32::from(base) | host).into())
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) => {
            let host = u128::from(ip) & u128::MAX.checked_shr(u32::from(from.prefix_len())).unwrap_or(0);
            IpAddr::V6((u128::from(base) | host).into())
        }
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceId;

    fn maps() -> Maps {
        let span = Span { source: SourceId(0), offset: 0, len: 0 };
        let net = |t: &str| t.parse().expect(t);
        Maps {
            domains: vec![("acme.example".into(), "acme.test".into(), span)],
            networks: vec![
                (net("192.0.2.0/24"), net("10.89.7.0/24"), span),
                (net("2001:db8:7::/64"), net("fd00:89:7::/64"), span),
            ],
        }
    }

    #[test]
    fn domains_change_at_label_boundaries() {
        let m = maps();
        let text = |t: &str| m.value(&Type::String, t).map(|m| m.text);
        assert_eq!(text("mail.acme.example").as_deref(), Some("mail.acme.test"));
        assert_eq!(text("ann@acme.example").as_deref(), Some("ann@acme.test"));
        assert_eq!(text("acme.example.").as_deref(), Some("acme.test."));
        assert_eq!(
            text("v=spf1 a:x.acme.example include:acme.example -all").as_deref(),
            Some("v=spf1 a:x.acme.test include:acme.test -all")
        );
        assert_eq!(
            m.value(&Type::Url, "https://mail.acme.example/owa").map(|m| m.text).as_deref(),
            Some("https://mail.acme.test/owa")
        );
        assert_eq!(text("notacme.example"), None);
        assert_eq!(text("acme.example.com"), None);
        assert_eq!(m.value(&Type::Text, "acme.example").map(|m| m.text), None);
    }

    #[test]
    fn addresses_keep_their_host_part() {
        let m = maps();
        let text = |ty: &Type, t: &str| m.value(ty, t).map(|m| m.text);
        assert_eq!(text(&Type::Ip, "192.0.2.53").as_deref(), Some("10.89.7.53"));
        assert_eq!(text(&Type::Ip, "2001:db8:7::53").as_deref(), Some("fd00:89:7::53"));
        assert_eq!(text(&Type::Cidr, "192.0.2.128/25").as_deref(), Some("10.89.7.128/25"));
        assert_eq!(text(&Type::Url, "dns://192.0.2.53:5353/x").as_deref(), Some("dns://10.89.7.53:5353/x"));
        assert_eq!(text(&Type::Url, "dns://[2001:db8:7::53]:53").as_deref(), Some("dns://[fd00:89:7::53]:53"));
        assert_eq!(text(&Type::Ip, "198.51.100.1"), None);
    }
}
