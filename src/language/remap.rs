//! `domain-map` and `address-map`: the same topology under other domains and networks, so that a lab cannot touch the real ones.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::decode::{Decoder, Place};
use super::schema::{KindDef, schema};
use super::sink::Sink;
use super::text::Scope;
use super::types::Type;
use crate::model::fields::Rewrite;
use crate::model::topology::{Field, Node, NodeId, Topology, Value};
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
    /// Which maps, and where they stand.
    pub by: Vec<(&'static str, Span)>,
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
        let domain =
            matches!(ty, Type::String | Type::Fqdn | Type::Host | Type::Hostname | Type::Email | Type::Url | Type::Any);
        let address = matches!(ty, Type::String | Type::Host | Type::Ip | Type::Cidr | Type::Url | Type::Any);
        let named = if domain { self.domain(text) } else { None };
        let placed = if address { self.address(named.as_ref().map_or(text, |m| &m.text)) } else { None };
        match (named, placed) {
            (Some(mut a), Some(b)) => {
                a.by.extend(b.by);
                Some(Mapped { text: b.text, by: a.by })
            }
            (a, b) => a.or(b),
        }
    }

    /// Replaces every mapped domain in a text, at label boundaries. All at once: what one map wrote no other one touches.
    pub fn domain(&self, text: &str) -> Option<Mapped> {
        let lower = text.to_ascii_lowercase();
        if !self.domains.iter().any(|(from, _, _)| lower.contains(from.as_str())) {
            return None;
        }
        let (mut out, mut at, mut span) = (String::new(), 0, None);
        let mut i = 0;
        while i < lower.len() {
            match self.domains.iter().find(|(from, _, _)| stands_at(&lower, i, from)) {
                Some((from, to, by)) => {
                    out.push_str(&text[at..i]);
                    out.push_str(to);
                    i += from.len();
                    at = i;
                    span.get_or_insert(*by);
                }
                None => i += lower[i..].chars().next().map_or(1, char::len_utf8),
            }
        }
        out.push_str(&text[at..]);
        span.map(|span| Mapped { text: out, by: vec![("domain-map", span)] })
    }

    /// An address, a network, the host of a URL, or any of these among other words: `v=spf1 ip4:192.0.2.1 -all`.
    fn address(&self, text: &str) -> Option<Mapped> {
        if self.networks.is_empty() || !text.contains(['.', ':']) {
            return None;
        }
        let mut span = None;
        let words: Vec<String> = text
            .split(' ')
            .map(|word| match self.address_word(word) {
                Some((new, by)) => {
                    span.get_or_insert(by);
                    new
                }
                None => word.to_owned(),
            })
            .collect();
        span.map(|span| Mapped { text: words.join(" "), by: vec![("address-map", span)] })
    }

    fn address_word(&self, word: &str) -> Option<(String, Span)> {
        // Mechanisms of RFC 7208 5.6; lists end their items with a comma.
        let body = word.trim_end_matches([',', ';']);
        let tail = &word[body.len()..];
        let start =
            ["ip4:", "ip6:"].iter().find_map(|m| body.find(m).map(|i| i + m.len())).filter(|i| *i <= 5).unwrap_or(0);
        let (head, core) = body.split_at(start);
        let done = |text: String, span| Some((format!("{head}{text}{tail}"), span));
        if let Ok(ip) = core.parse::<IpAddr>() {
            let (ip, span) = self.ip(ip)?;
            return done(ip.to_string(), span);
        }
        if let Ok(net) = core.parse::<IpNet>() {
            let (net, span) = self.network(net)?;
            return done(net.to_string(), span);
        }
        let (scheme, rest) = core.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let host = &rest[..end];
        let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
            Some((h, p)) => (h, p),
            None => host.split_once(':').map_or((host, ""), |(h, _)| (h, &host[h.len()..])),
        };
        let (ip, span) = self.ip(host.parse().ok()?)?;
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        done(format!("{scheme}://{host}{port}{}", &rest[end..]), span)
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

    /// Renames nodes whose name holds a mapped domain, and every reference to them. Two that would get one name are a mistake.
    pub fn rename(&self, topology: &mut Topology, sink: &mut Sink) {
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
        self.collisions(topology, &names, sink);
        for (from, to) in std::mem::take(&mut topology.moved) {
            let from = NodeId { name: self.domain(&from.name).map_or(from.name, |m| m.text.into()), ..from };
            topology.moved.insert(from, names.get(&to).cloned().unwrap_or(to));
        }
        let nodes = std::mem::take(&mut topology.nodes);
        let mut rewrite = Rewrite::new(|f: &Field| renamed(f, &names));
        for (_, mut node) in nodes {
            apply(&mut node, &names, &mut rewrite);
            topology.nodes.insert(node.id.clone(), node);
        }
    }

    fn collisions(&self, topology: &Topology, names: &BTreeMap<NodeId, NodeId>, sink: &mut Sink) {
        let mut taken: BTreeMap<&NodeId, &Node> =
            topology.nodes.values().filter(|n| !names.contains_key(&n.id)).map(|n| (&n.id, n)).collect();
        for node in topology.nodes.values() {
            let Some(new) = names.get(&node.id) else { continue };
            if let Some(first) = taken.insert(new, node) {
                let d = Diagnostic::error("E0412", format!("two of {} would be called `{}`", node.id.kind, new.name))
                    .label(node.span, format!("`{}`", node.id.plain()))
                    .label(first.span, format!("`{}`", first.id.plain()));
                let map = self.domains.iter().find(|(from, _, _)| node.id.name.contains(from.as_str()));
                let d = map.map_or(d.clone(), |(_, _, span)| d.label(*span, "mapped here"));
                sink.push(d.help("map each domain to one of its own, or (remove) one of the two in this environment"));
            }
        }
    }

    fn collect(&self, node: &Node, parent: Option<(&str, &str)>, names: &mut BTreeMap<NodeId, NodeId>) {
        let Some(kind) = schema().kind(&node.id.kind).filter(|k| !Self::skips(k)) else { return };
        let own = parent.map_or(node.id.name.as_str(), |(old, _)| {
            node.id.name.strip_prefix(old).and_then(|n| n.strip_prefix('.')).unwrap_or(&node.id.name)
        });
        let domain = match &kind.name_type {
            Some(Type::Fqdn | Type::Host | Type::Email | Type::String | Type::Hostname) => true,
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

fn apply(
    node: &mut Node,
    names: &BTreeMap<NodeId, NodeId>,
    rewrite: &mut Rewrite<Field, impl FnMut(&Field) -> Option<Field>>,
) {
    if let Some(id) = names.get(&node.id) {
        node.id = id.clone();
    }
    rewrite.apply(&mut node.fields);
    node.children.iter_mut().for_each(|c| apply(c, names, rewrite));
}

/// The field with new names in its references; `None` where it has none of the old ones.
fn renamed(field: &Field, names: &BTreeMap<NodeId, NodeId>) -> Option<Field> {
    let new = |v: &Value| match v {
        Value::Ref(id) => names.get(id),
        _ => None,
    };
    if !field.values.iter().any(|v| new(&v.value).is_some()) {
        return None;
    }
    let mut field = field.clone();
    for v in &mut field.values {
        if let Some(id) = new(&v.value) {
            v.value = Value::Ref(id.clone());
        }
    }
    Some(field)
}

/// `.acme.example` is below the domain; `acme.example.com` is another one.
fn stands_at(lower: &str, at: usize, domain: &str) -> bool {
    if !lower[at..].starts_with(domain) {
        return false;
    }
    let label = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut after = lower[at + domain.len()..].chars();
    let ends = match after.next() {
        None => true,
        Some('.') => !after.next().is_some_and(label),
        Some(c) => !label(c),
    };
    ends && !lower[..at].chars().next_back().is_some_and(label)
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
            domains: vec![
                ("acme.example".into(), "acme.test".into(), span),
                ("old.example".into(), "acme.example".into(), span),
            ],
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
        assert_eq!(text("a:old.example include:acme.example").as_deref(), Some("a:acme.example include:acme.test"));
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
        assert_eq!(
            text(&Type::String, "v=spf1 ip4:192.0.2.0/25 ip6:2001:db8:7::1 a -all").as_deref(),
            Some("v=spf1 ip4:10.89.7.0/25 ip6:fd00:89:7::1 a -all")
        );
        assert_eq!(text(&Type::Ip, "198.51.100.1"), None);
    }
}
