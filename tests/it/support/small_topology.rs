//! A small reading of KDL into a topology, by the schema, without ranges, variables and overlays.
#![allow(clippy::unwrap_used)] // a test may end so

use std::collections::BTreeMap;

use cutover::language::schema::{KindDef, schema};
use cutover::language::types::Type;
use cutover::model::topology::{Field, Node, NodeId, Topology, Value};
use cutover::model::tree::{Entry, Scalar, Tree};
use cutover::model::unit::{parse_duration, parse_size};
use cutover::model::{SecretRef, Sources, Spanned};

pub fn topology(sources: &mut Sources, text: &str) -> Topology {
    let id = sources.add("topology.kdl", text);
    let trees = cutover::language::parse(sources, id).unwrap_or_else(|e| panic!("{e:?}"));
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for t in &trees {
        let name = t.args().next().and_then(|e| e.value.value.as_text()).unwrap_or_default();
        names.entry(t.name.value.clone()).or_default().push(name.to_owned());
    }
    let nodes = trees.iter().map(|t| node(t, None, &names)).map(|n| (n.id.clone(), n)).collect();
    let environment = names.get("environment").and_then(|e| e.first().cloned());
    Topology { nodes, environment }
}

fn node(tree: &Tree, parent: Option<&str>, names: &BTreeMap<String, Vec<String>>) -> Node {
    let kind = schema().kind(&tree.name.value).unwrap_or_else(|| panic!("kind {}", tree.name.value));
    let mut args = tree.args();
    let own = args.next().and_then(|e| e.value.value.as_text()).unwrap_or_default().to_owned();
    let name = parent.map_or(own.clone(), |p| format!("{p}.{own}"));
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    let mut put = |field: &str, e: &Entry| {
        let value = Spanned::new(value(kind, field, e, names), e.value.span);
        fields.entry(field.to_owned()).or_default().values.push(value);
    };
    let positional: Vec<&str> = kind.fields.iter().filter(|f| f.positional).map(|f| f.name.as_str()).collect();
    for (i, e) in args.enumerate() {
        put(positional[i.min(positional.len() - 1)], e);
    }
    for e in tree.entries.iter().filter(|e| e.name.is_some()) {
        put(&e.name.as_ref().unwrap().value, e);
    }
    let mut children = Vec::new();
    for child in &tree.children {
        if kind.field(&child.name.value).is_some() {
            child.args().for_each(|e| put(&child.name.value, e));
        } else {
            children.push(node(child, Some(&name), names));
        }
    }
    Node { id: NodeId::new(&tree.name.value, name), span: tree.name.span, fields, children }
}

fn value(kind: &KindDef, field: &str, e: &Entry, names: &BTreeMap<String, Vec<String>>) -> Value {
    let ty = &kind.field(field).unwrap_or_else(|| panic!("{}.{field}", kind.name)).ty;
    let text = match &e.value.value {
        Scalar::Int(i) => return Value::Int(*i as i64),
        Scalar::Bool(b) => return Value::Bool(*b),
        Scalar::Text(t) | Scalar::Raw(t) => t.clone(),
        other => panic!("{other:?}"),
    };
    match ty {
        Type::Duration => Value::Duration(parse_duration(&text).unwrap()),
        Type::Size => Value::Size(parse_size(&text).unwrap()),
        Type::Secret => Value::Secret(SecretRef(text)),
        Type::Ref(kinds) | Type::Select(kinds) => {
            let (want, name) = text.split_once(':').map_or((None, text.as_str()), |(k, n)| (Some(k), n));
            let holds = |k: &&String| {
                want.is_none_or(|w| w == k.as_str()) && names.get(*k).is_some_and(|n| n.iter().any(|n| n == name))
            };
            let found = kinds.iter().find(holds).unwrap_or_else(|| panic!("no {name} for {field}"));
            Value::Ref(NodeId::new(found, name))
        }
        _ => Value::Text(text),
    }
}
