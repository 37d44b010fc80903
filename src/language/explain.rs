//! `cutover explain`: where each value of a node comes from.

use super::suggest::nearest;
use crate::model::Sources;
use crate::model::topology::{Field, Layer, Node, NodeId, Topology, Value};
use crate::model::unit::format_duration;

/// A value as people write it. Secrets as their reference.
pub(super) fn value(v: &Value) -> String {
    match v {
        Value::Text(t) => t.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Bool(b) => format!("#{b}"),
        Value::Duration(d) => format_duration(*d),
        Value::Size(n) => size(*n),
        Value::Rate(n) => rate(*n),
        Value::Percent(p) => p.to_string(),
        Value::Secret(s) => format!("(secret){s}"),
        Value::Ref(id) => id.name.to_string(),
    }
}

fn size(n: u64) -> String {
    for (unit, one) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if n >= one && n.is_multiple_of(one) {
            return format!("{}{unit}", n / one);
        }
    }
    format!("{n}B")
}

fn rate(n: u64) -> String {
    for (unit, one) in [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000)] {
        if n >= one && n.is_multiple_of(one) {
            return format!("{}{unit}", n / one);
        }
    }
    format!("{n}bit/s")
}

/// `server.mail-1.memory` or `server.mail-1`; children as `zone.acme.example@public.mail@A`.
pub(super) fn explain(topology: &Topology, sources: &Sources, address: &str) -> Result<String, String> {
    let (kind, rest) =
        address.split_once(['.', ':']).ok_or("write KIND.NAME or KIND.NAME.FIELD, as in server.mail-1.memory")?;
    let mut found: Vec<(&Node, Option<&str>)> = Vec::new();
    for node in topology.all(kind) {
        walk(node, rest, &mut found);
    }
    // Children have a kind of their own too: `check.mailbox.storport`.
    if found.is_empty()
        && let Some(n) = topology.find(&NodeId::new(kind, rest))
    {
        found.push((n, None));
    }
    if found.is_empty() {
        return Err(missing(topology, kind, rest));
    }
    let mut out = String::new();
    for (node, field) in found {
        let title = format!("{}.{}", node.id.kind, node.id.name);
        match field {
            Some(f) => {
                if let Some(value) = node.fields.get(f) {
                    block(&mut out, &format!("{title}.{f}"), value, sources);
                }
            }
            None => {
                out.push_str(&format!("{title}  {}\n", sources.origin(node.span)));
                for (name, value) in node.fields.iter().filter(|(n, _)| *n != "name") {
                    block(&mut out, name, value, sources);
                }
                for c in &node.children {
                    child(&mut out, c, sources);
                }
            }
        }
    }
    Ok(out)
}

/// A child with its values; layers that only say where it stands are left to the child's own address.
fn child(out: &mut String, node: &Node, sources: &Sources) {
    out.push_str(&format!("child {}.{}  {}\n", node.id.kind, node.id.name, sources.origin(node.span)));
    for (name, field) in node.fields.iter().filter(|(n, f)| *n != "name" && f.layers.iter().any(|l| l.by != "default"))
    {
        out.push_str("    ");
        let mut text = String::new();
        block(&mut text, name, field, sources);
        out.push_str(text.trim_end().replace('\n', "\n    ").as_str());
        out.push('\n');
    }
    node.children.iter().for_each(|c| child(out, c, sources));
}

/// The node itself, its field, or the same of a child, when `rest` names it. A keyed node answers to its plain name.
fn walk<'t, 'r>(node: &'t Node, rest: &'r str, found: &mut Vec<(&'t Node, Option<&'r str>)>) {
    for name in [node.id.name.as_str(), node.id.plain()] {
        if rest == name {
            found.push((node, None));
            return;
        }
        if let Some(field) = rest.strip_prefix(name).and_then(|r| r.strip_prefix('.'))
            && node.fields.contains_key(field)
        {
            found.push((node, Some(field)));
            return;
        }
    }
    if rest.starts_with(node.id.plain()) {
        for c in &node.children {
            walk(c, rest, found);
        }
    }
}

fn block(out: &mut String, name: &str, field: &Field, sources: &Sources) {
    let values: Vec<String> = field.values.iter().map(|v| value(&v.value)).collect();
    out.push_str(&format!("{name} = {}\n", values.join(" ")));
    lines(out, &field.layers, "    ", sources);
}

/// A line for each layer, and below it what its value was made of.
fn lines(out: &mut String, layers: &[Layer], indent: &str, sources: &Sources) {
    let width = layers.iter().map(|l| l.by.chars().count()).max().unwrap_or(0);
    for l in layers {
        let at = match l.span {
            Some(s) => sources.origin(s).to_string(),
            None if l.by == "default" => "schema".to_owned(),
            None => "command line".to_owned(),
        };
        out.push_str(&format!("{indent}{:width$}  {}  {at}\n", l.by, l.shown));
        if let Some(via) = &l.via {
            lines(out, via, &format!("{indent}    "), sources);
        }
    }
}

fn missing(topology: &Topology, kind: &str, rest: &str) -> String {
    let names: Vec<&str> = topology.all(kind).map(|n| n.id.name.as_str()).collect();
    if names.is_empty() {
        let kinds: std::collections::BTreeSet<&str> = topology.nodes.keys().map(|id| id.kind.as_str()).collect();
        return match nearest(kind, kinds.iter().copied()) {
            Some(k) => format!("the topology has no {kind}; did you mean {k}.{rest}?"),
            None => format!("the topology has no {kind}"),
        };
    }
    for name in &names {
        if let Some(field) = rest.strip_prefix(name).and_then(|r| r.strip_prefix('.'))
            && let Some(n) = topology.get(kind, name)
        {
            let fields: Vec<&str> = n.fields.keys().collect();
            return match nearest(field, fields.iter().copied()) {
                Some(f) => format!("{kind} {name} has no {field}; did you mean {kind}.{name}.{f}?"),
                None => format!("{kind} {name} has no {field}; it has {}", fields.join(", ")),
            };
        }
    }
    let head = rest.split('.').next().unwrap_or(rest);
    match nearest(head, names.iter().copied()) {
        Some(n) => format!("no {kind} named {rest}; did you mean {kind}.{n}?"),
        None => format!("no {kind} named {rest}"),
    }
}
