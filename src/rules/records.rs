//! The DNS records that the topology lists, by the absolute name that they stand at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Facts;
use crate::model::Span;
use crate::model::topology::{Node, Topology, Value};

/// One `record` node. It may hold several values, each a record of its own.
#[derive(Debug)]
pub struct Record<'t> {
    pub zone: &'t Node,
    pub node: &'t Node,
    /// Lower case, without the last dot.
    pub owner: String,
    pub kind: &'t str,
}

/// What an MX, NS, CNAME, PTR or SRV record points at.
#[derive(Debug)]
pub struct Target<'t> {
    /// Absolute, lower case, without the last dot; empty for the null MX.
    pub name: String,
    pub span: Span,
    /// The server that `to` names.
    pub server: Option<&'t Node>,
}

impl<'t> Record<'t> {
    /// The values as written.
    pub fn texts(&self) -> impl Iterator<Item = (&'t str, Span)> + use<'t> {
        self.node.values("values").filter_map(|v| match &v.value {
            Value::Text(t) => Some((t.as_str(), v.span)),
            _ => None,
        })
    }

    /// Every name that it points at. Priorities before the name are left out.
    pub fn targets(&self, facts: &Facts<'t>) -> Vec<Target<'t>> {
        let mut out: Vec<Target<'t>> = self
            .texts()
            .map(|(t, span)| Target { name: absolute(t.rsplit(' ').next().unwrap_or(t)), span, server: None })
            .collect();
        for v in self.node.values("to") {
            let Value::Ref(id) = &v.value else { continue };
            let to = match id.kind.as_str() {
                "legacy" => facts.topology().get("legacy", &id.name).and_then(|l| l.text("server")),
                "server" => Some(id.name.as_str()),
                _ => None,
            };
            let server = to.and_then(|name| facts.topology().get("server", name));
            if let Some(s) = server {
                out.push(Target { name: facts.fqdn(s), span: v.span, server });
            } else if id.kind == "namespace" {
                out.push(Target { name: absolute(&id.name), span: v.span, server: None });
            }
        }
        out
    }

    /// The addresses of an A or AAAA record.
    pub fn addresses(&self, facts: &Facts<'t>) -> Vec<(IpAddr, Span)> {
        let field = match self.kind {
            "A" => "ip",
            "AAAA" => "ip6",
            _ => return Vec::new(),
        };
        let written = self.texts().filter_map(|(t, span)| Some((t.parse().ok()?, span)));
        let named =
            self.targets(facts).into_iter().filter_map(|t| Some((t.server?.text(field)?.parse().ok()?, t.span)));
        written.chain(named).collect()
    }

    /// True when both records can be seen by the same asker.
    pub fn meets(&self, other: &Self) -> bool {
        let view = |r: &Self| r.zone.text("view").unwrap_or("both").to_owned();
        let (a, b) = (view(self), view(other));
        a == b || a == "both" || b == "both"
    }
}

/// All records, by owner.
#[derive(Debug, Default)]
pub struct Records<'t> {
    owners: BTreeMap<String, Vec<Record<'t>>>,
}

impl<'t> Records<'t> {
    pub fn new(topology: &'t Topology) -> Self {
        let mut owners: BTreeMap<String, Vec<Record<'t>>> = BTreeMap::new();
        for zone in topology.all("zone") {
            for node in zone.children("record") {
                let owner = owner(zone.name(), node.name());
                let record = Record { zone, node, owner: owner.clone(), kind: node.text("type").unwrap_or_default() };
                owners.entry(owner).or_default().push(record);
            }
        }
        Self { owners }
    }

    pub fn all(&self) -> impl Iterator<Item = &Record<'t>> {
        self.owners.values().flatten()
    }

    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Record<'t>> {
        self.all().filter(move |r| r.kind == kind)
    }

    /// The records of one name, in all zones and views.
    pub fn at(&self, owner: &str) -> &[Record<'t>] {
        self.owners.get(owner).map_or(&[], Vec::as_slice)
    }

    pub fn owners(&self) -> impl Iterator<Item = (&str, &[Record<'t>])> {
        self.owners.iter().map(|(o, list)| (o.as_str(), list.as_slice()))
    }

    /// TXT values at a name that begin with a tag such as `v=spf1`.
    pub fn tagged(&self, owner: &str, tag: &str) -> Vec<(&Record<'t>, &'t str, Span)> {
        let txt = self.at(owner).iter().filter(|r| r.kind == "TXT");
        txt.flat_map(|r| r.texts().map(move |(t, span)| (r, t, span))).filter(|(_, t, _)| starts(t, tag)).collect()
    }
}

/// Tags are compared without case and end at a space or a semicolon.
pub fn starts(text: &str, tag: &str) -> bool {
    text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag))
        && text.get(tag.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ';']))
}

fn absolute(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn owner(zone: &str, name: &str) -> String {
    match name {
        "@" | "" => absolute(zone),
        n if n.ends_with('.') => absolute(n),
        n => absolute(&format!("{n}.{zone}")),
    }
}

/// True when `name` is `zone` or lies below it.
pub fn within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
