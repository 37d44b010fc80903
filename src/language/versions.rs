//! Version limits: kinds, fields and values that a product knows only from or to a version.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use super::schema::{Limit, schema};
use super::sink::Sink;
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::version::{compare, of_platform};
use crate::model::{Diagnostic, Span};

/// Checks every limit against the platforms of the servers concerned. `kinds`: the span of the kind, of nodes whose kind has a limit.
pub(super) fn check(topology: &Topology, kinds: &HashMap<NodeId, Span>, sink: &mut Sink) {
    for node in topology.nodes.values() {
        one(topology, node, kinds, sink);
    }
}

fn one(topology: &Topology, node: &Node, kinds: &HashMap<NodeId, Span>, sink: &mut Sink) {
    let Some(kind) = schema().kind(&node.id.kind) else { return };
    let fields: Vec<_> = kind.fields.iter().filter(|f| !f.limit.is_empty() && written(node, &f.name)).collect();
    let values: Vec<_> = schema().limits.iter().filter(|l| l.kind == node.id.kind).collect();
    if kind.limit.is_empty() && fields.is_empty() && values.is_empty() {
        return;
    }
    let at = kinds.get(&node.id).copied().unwrap_or(node.span);
    let servers = servers(topology, node);
    for server in &servers {
        let Some(platform) = server.value("platform").and_then(|v| match &v.value {
            Value::Ref(id) => topology.nodes.get(id),
            _ => None,
        }) else {
            continue;
        };
        let what = format!("`{}`", kind.name);
        broken(&kind.limit, &what, server, platform, at, kind.instead.as_deref(), sink);
        for f in &fields {
            let span = node.fields.get(&f.name).and_then(|x| x.layers.last()?.span).unwrap_or(at);
            broken(&f.limit, &format!("`{}` of `{}`", f.name, kind.name), server, platform, span, None, sink);
        }
        for l in &values {
            for v in node.values(&l.field).filter(|v| matches!(&v.value, Value::Text(t) if *t == l.value)) {
                let what = format!("`{} {}` of `{}`", l.field, l.value, kind.name);
                broken(&l.limit, &what, server, platform, v.span, None, sink);
            }
        }
    }
}

fn written(node: &Node, field: &str) -> bool {
    node.fields.get(field).is_some_and(|f| f.layers.iter().any(|l| l.span.is_some()))
}

fn broken(limit: &Limit, what: &str, server: &Node, platform: &Node, at: Span, instead: Option<&str>, sink: &mut Sink) {
    let since = limit.since.as_ref().map(|l| (l, "starts", Ordering::Less));
    let until = limit.until.as_ref().map(|l| (l, "ends", Ordering::Greater));
    for ((product, version), verb, bad) in [since, until].into_iter().flatten() {
        let Some(has) = of_platform(platform, product) else { continue };
        if compare(has, version) != bad || sink.knows("E0601", at) {
            continue;
        }
        let d = Diagnostic::error(
            "E0601",
            format!("{what} {verb} with {product} {version}, but `{}` runs {product} {has}", server.id.name),
        )
        .label(at, "not available there")
        .label(platform.span, format!("{product} {has}"));
        sink.push(match instead {
            Some(i) => d.help(format!("on {product} {has} use {i}")),
            None => d.help(format!("name servers of another platform, or leave it out on {product} {has}")),
        });
    }
}

/// The servers that a node is about: itself, those that it names, and the members of what it names.
fn servers<'t>(topology: &'t Topology, node: &'t Node) -> Vec<&'t Node> {
    if node.id.kind == "server" {
        return vec![node];
    }
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    let mut open: Vec<&Node> = vec![node];
    let mut out = Vec::new();
    while let Some(n) = open.pop() {
        for v in n.fields.values().flat_map(|f| &f.values) {
            let Value::Ref(id) = &v.value else { continue };
            let Some(target) = topology.nodes.get(id).filter(|_| seen.insert(id)) else { continue };
            match id.kind.as_str() {
                "server" => out.push(target),
                "dag" | "ccr" | "pair" | "load-balancer" => open.push(target),
                _ => {}
            }
        }
    }
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out
}
