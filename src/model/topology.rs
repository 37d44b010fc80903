//! The checked topology: every node typed against the schema, references resolved, layers kept for `explain`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use super::attr::SecretRef;
use super::fields::Fields;
use super::source::{Span, Spanned};
use super::unit::Percent;

/// A typed value. Types that are text with a checked form (ip, cidr, fqdn, email, url, path, date …) stay text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(SmolStr),
    Int(i64),
    Bool(bool),
    Duration(Duration),
    /// Bytes.
    Size(u64),
    /// Bits per second.
    Rate(u64),
    Percent(Percent),
    Secret(SecretRef),
    /// A resolved reference or one hit of a selector.
    Ref(NodeId),
}

/// Kind and name of a node, unique in a topology. A child's name is `parent.child`, of a child without a name
/// `parent.kind`; further ones of the same name end in `#2`, `#3`. Where a field belongs to the identity, the name is
/// `NAME@VALUE`: `zone:acme.example@public`, `record:acme.example@public.mail@A`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    pub kind: SmolStr,
    pub name: SmolStr,
}

impl NodeId {
    pub fn new(kind: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

impl NodeId {
    /// The name without the key of the identity: `acme.example` of `acme.example@public`.
    pub fn plain(&self) -> &str {
        self.name.split_once('@').map_or(&self.name, |(n, _)| n)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Who set a field, in order of precedence from weak to strong.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// `default`, `base`, `module NAME`, `use MODULE INSTANCE`, `environment NAME`, `domain-map`, `address-map`.
    pub by: SmolStr,
    /// Where; `None` for a schema default.
    pub span: Option<Span>,
    /// The value as people read it; secrets as their reference.
    pub shown: SmolStr,
    /// What the value was made of: variables with each of their layers, parameters, the range that it is one element of.
    pub via: Option<Arc<[Layer]>>,
}

impl Layer {
    pub fn new(by: impl Into<SmolStr>, span: Option<Span>, shown: impl Into<SmolStr>) -> Self {
        Self { by: by.into(), span, shown: shown.into(), via: None }
    }
}

/// All values of one field (one, or many in order) and the layers that led to them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Field {
    pub values: Vec<Spanned<Value>>,
    pub layers: Vec<Layer>,
}

/// One node after expansion, overlays and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: NodeId,
    /// Span of the name where the node was defined.
    pub span: Span,
    pub fields: Fields<Field>,
    /// Child nodes in the order written (`record`, `setting`, `select` …).
    pub children: Vec<Node>,
}

impl Node {
    /// The name as written, without parent and key: `@` of `record:acme.example@public.@@MX`. Empty where a kind has none.
    /// Every named node also shows it as field `name`, typed: a reference for `approval kim`.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    pub fn value(&self, field: &str) -> Option<&Spanned<Value>> {
        self.fields.get(field)?.values.first()
    }

    pub fn values(&self, field: &str) -> impl Iterator<Item = &Spanned<Value>> {
        self.fields.get(field).into_iter().flat_map(|f| f.values.iter())
    }

    /// Text of a one-value field; the name for a reference.
    pub fn text(&self, field: &str) -> Option<&str> {
        match &self.value(field)?.value {
            Value::Text(t) => Some(t),
            Value::Ref(id) => Some(&id.name),
            _ => None,
        }
    }

    /// Texts of a many-value field; names for references.
    pub fn texts(&self, field: &str) -> Vec<&str> {
        self.values(field)
            .filter_map(|v| match &v.value {
                Value::Text(t) => Some(t.as_str()),
                Value::Ref(id) => Some(id.name.as_str()),
                _ => None,
            })
            .collect()
    }

    pub fn int(&self, field: &str) -> Option<i64> {
        match self.value(field)?.value {
            Value::Int(i) => Some(i),
            _ => None,
        }
    }

    /// Bool field; `false` when unset and without a default.
    pub fn flag(&self, field: &str) -> bool {
        matches!(self.value(field), Some(Spanned { value: Value::Bool(true), .. }))
    }

    pub fn duration(&self, field: &str) -> Option<Duration> {
        match self.value(field)?.value {
            Value::Duration(d) => Some(d),
            _ => None,
        }
    }

    /// Bytes of a size field.
    pub fn size(&self, field: &str) -> Option<u64> {
        match self.value(field)?.value {
            Value::Size(n) => Some(n),
            _ => None,
        }
    }

    /// Bits per second of a rate field.
    pub fn rate(&self, field: &str) -> Option<u64> {
        match self.value(field)?.value {
            Value::Rate(n) => Some(n),
            _ => None,
        }
    }

    pub fn percent(&self, field: &str) -> Option<Percent> {
        match self.value(field)?.value {
            Value::Percent(p) => Some(p),
            _ => None,
        }
    }

    /// The nodes that a field refers to, each with the place where it does.
    pub fn refs(&self, field: &str) -> impl Iterator<Item = (&NodeId, Span)> {
        self.values(field).filter_map(|v| match &v.value {
            Value::Ref(id) => Some((id, v.span)),
            _ => None,
        })
    }

    /// The node that a field refers to first.
    pub fn reference(&self, field: &str) -> Option<&NodeId> {
        self.refs(field).next().map(|(id, _)| id)
    }

    /// Where a field was written, or the node where it was not.
    pub fn at(&self, field: &str) -> Span {
        self.value(field).map_or(self.span, |v| v.span)
    }

    pub fn secret(&self, field: &str) -> Option<&SecretRef> {
        match &self.value(field)?.value {
            Value::Secret(s) => Some(s),
            _ => None,
        }
    }

    /// A child, or a child's child, by its identity.
    pub fn descendant(&self, id: &NodeId) -> Option<&Node> {
        self.children.iter().find_map(|c| if c.id == *id { Some(c) } else { c.descendant(id) })
    }

    pub fn children(&self, kind: &str) -> impl Iterator<Item = &Node> {
        self.children.iter().filter(move |c| c.id.kind == kind)
    }
}

/// The whole topology of one environment.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    pub nodes: BTreeMap<NodeId, Node>,
    /// The environment whose overlay was applied.
    pub environment: Option<String>,
    /// Former identities (`moved`) with the node that each is now.
    pub moved: BTreeMap<NodeId, NodeId>,
    /// Names that some text of the root interpolates (`$name`), in any environment: a variable that is not here is not used.
    pub mentioned: BTreeSet<String>,
}

impl Topology {
    pub fn get(&self, kind: &str, name: &str) -> Option<&Node> {
        self.nodes.get(&NodeId::new(kind, name))
    }

    /// The top-level node that a field of `node` refers to.
    pub fn target(&self, node: &Node, field: &str) -> Option<&Node> {
        self.nodes.get(node.reference(field)?)
    }

    /// The top-level nodes that a field of `node` refers to.
    pub fn targets<'a>(&'a self, node: &'a Node, field: &str) -> impl Iterator<Item = &'a Node> {
        node.refs(field).filter_map(|(id, _)| self.nodes.get(id))
    }

    /// All nodes of a kind, by name.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.range(NodeId::new(kind, "")..).map(|(_, n)| n).take_while(move |n| n.id.kind == kind)
    }

    /// A node by its identity, children included (`mailbox.storport`).
    pub fn find(&self, id: &NodeId) -> Option<&Node> {
        if let Some(n) = self.nodes.get(id) {
            return Some(n);
        }
        // A child's name starts with its parent's; which kind that is, the name does not say.
        let mut kinds: Vec<&str> = Vec::new();
        let mut next = self.nodes.keys().next();
        while let Some(k) = next {
            kinds.push(&k.kind);
            let after = NodeId::new(format!("{}\0", k.kind), "");
            next = self.nodes.range(after..).next().map(|(id, _)| id);
        }
        for (dot, _) in id.name.match_indices('.') {
            for kind in &kinds {
                let parent = self.get(kind, &id.name[..dot]);
                if let Some(hit) = parent.and_then(|p| p.descendant(id)) {
                    return Some(hit);
                }
            }
        }
        None
    }

    pub fn organization(&self) -> Option<&Node> {
        self.all("organization").next()
    }

    /// The node of the environment in force.
    pub fn environment(&self) -> Option<&Node> {
        self.get("environment", self.environment.as_deref()?)
    }
}
