//! The resolved topology of one environment for programs: after ranges, modules, overlays, maps and defaults. The schema is
//! `schemas/topology.schema.json`, generated from the types here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::source::{Origin, Sources, Spanned};
use crate::model::topology::{Node, NodeId, Topology, Value};

/// Edition of this document; a change that breaks readers raises it.
pub const FORMAT: u32 = 1;

/// A topology as `cutover export` prints it.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TopologyDocument {
    /// Edition of this document.
    pub format: u32,
    /// Name of the organisation.
    pub organization: Option<String>,
    /// The environment whose overlay is applied; null for the base.
    pub environment: Option<String>,
    /// Top-level nodes, by kind and name.
    pub nodes: Vec<NodeDocument>,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeDocument {
    /// Identity, as references give it: `server:mail-1`.
    pub id: String,
    pub kind: String,
    /// The name that is unique for the kind: a child's with its parent in front, `NAME@VALUE` where a field belongs to the identity.
    pub name: String,
    /// Set fields and defaults. A field that takes a list is an array, also with one value.
    pub fields: BTreeMap<String, FieldDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<NodeDocument>,
    /// Where the node was written, with `--spans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Where the value in force of each field was written, with `--spans`; a default has no place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<String, Origin>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum FieldDocument {
    One(ValueDocument),
    Many(Vec<ValueDocument>),
}

/// A value. Text, whole numbers and truth are plain; everything with a unit is an object that names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum ValueDocument {
    Bool(bool),
    Int(i64),
    Text(String),
    Unit(UnitDocument),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitDocument {
    /// A duration in milliseconds.
    Milliseconds(u64),
    /// A size in bytes.
    Bytes(u64),
    /// A rate in bits per second.
    BitsPerSecond(u64),
    /// An exact decimal percent without the sign, `99.99`.
    Percent(String),
    /// Identity of the node that is meant.
    Ref(String),
    /// Where the secret is, never what it is: `env:NAME`, `file:PATH`, `age:PATH`, `cmd:LINE`, `vault:PATH#KEY`.
    Secret(String),
}

/// Makes the document. `many` says of KIND and FIELD whether the field takes a list; with `spans`, places are named.
pub fn topology_document(
    topology: &Topology,
    sources: &Sources,
    many: &dyn Fn(&str, &str) -> bool,
    spans: bool,
) -> TopologyDocument {
    let maker = Maker { sources, many, spans };
    TopologyDocument {
        format: FORMAT,
        organization: topology.organization().map(|o| o.id.name.to_string()),
        environment: topology.environment.clone(),
        nodes: topology.nodes.values().map(|n| maker.node(n)).collect(),
    }
}

struct Maker<'a> {
    sources: &'a Sources,
    many: &'a dyn Fn(&str, &str) -> bool,
    spans: bool,
}

impl Maker<'_> {
    fn node(&self, n: &Node) -> NodeDocument {
        let mut fields = BTreeMap::new();
        let mut origins = BTreeMap::new();
        for (name, field) in n.fields.iter() {
            let mut values: Vec<ValueDocument> = field.values.iter().map(value).collect();
            let document = if (self.many)(&n.id.kind, name) || values.len() > 1 {
                FieldDocument::Many(values)
            } else if let Some(one) = values.pop() {
                FieldDocument::One(one)
            } else {
                continue;
            };
            fields.insert(name.to_owned(), document);
            if let Some(span) = field.layers.last().and_then(|l| l.span).filter(|_| self.spans) {
                origins.insert(name.to_owned(), self.sources.origin(span));
            }
        }
        NodeDocument {
            id: n.id.to_string(),
            kind: n.id.kind.to_string(),
            name: n.id.name.to_string(),
            fields,
            children: n.children.iter().map(|c| self.node(c)).collect(),
            origin: self.spans.then(|| self.sources.origin(n.span)),
            origins,
        }
    }
}

fn value(v: &Spanned<Value>) -> ValueDocument {
    ValueDocument::Unit(match &v.value {
        Value::Text(t) => return ValueDocument::Text(t.to_string()),
        Value::Int(i) => return ValueDocument::Int(*i),
        Value::Bool(b) => return ValueDocument::Bool(*b),
        Value::Duration(d) => UnitDocument::Milliseconds(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        Value::Size(n) => UnitDocument::Bytes(*n),
        Value::Rate(n) => UnitDocument::BitsPerSecond(*n),
        Value::Percent(p) => UnitDocument::Percent(p.to_string().trim_end_matches('%').to_owned()),
        Value::Secret(s) => UnitDocument::Secret(s.to_string()),
        Value::Ref(NodeId { kind, name }) => UnitDocument::Ref(format!("{kind}:{name}")),
    })
}
