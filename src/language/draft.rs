//! Nodes while they are being made: expanded and typed, references still names. Overlays work on these.

use std::collections::{BTreeMap, HashMap, HashSet};

use smol_str::{SmolStr, format_smolstr};

use super::schema::KindDef;
use super::types::Draft;
use crate::model::Span;
use crate::model::fields::Fields;
use crate::model::topology::{Layer, NodeId, Value};

#[derive(Debug, Clone)]
pub(super) struct DraftValue {
    pub draft: Draft,
    pub span: Span,
    /// From a raw string: maps do not touch it.
    pub raw: bool,
    /// One element of a range in a list: it goes when an overlay drops the node that it names.
    pub listed: bool,
}

#[derive(Debug, Clone)]
pub(super) struct DraftField {
    pub values: Vec<DraftValue>,
    pub layers: Vec<Layer>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(super) struct DraftNode {
    pub kind: &'static KindDef,
    /// The name as written; empty where the kind has none.
    pub name: SmolStr,
    /// The name, typed: a reference for `approval kim`.
    pub name_value: Option<DraftValue>,
    /// Span of the name, or of the kind where there is no name.
    pub span: Span,
    pub kind_span: Span,
    pub fields: Fields<DraftField>,
    pub children: Vec<DraftNode>,
    pub is_final: Option<Span>,
    /// A mistake in it is reported, so what is missing may be a consequence.
    pub tainted: bool,
}

impl DraftNode {
    /// The identity among its siblings: the name, with the key where the kind has one; the kind where it has no name.
    pub fn id(&self) -> SmolStr {
        let name = if self.name.is_empty() { self.kind.name.as_str().into() } else { self.name.clone() };
        match self.kind.key.as_deref().and_then(|k| self.key_text(k)) {
            Some(key) => format_smolstr!("{name}@{key}"),
            None => name,
        }
    }

    fn key_text(&self, key: &str) -> Option<SmolStr> {
        if let Some(v) = self.fields.get(key).and_then(|f| f.values.first()) {
            return match &v.draft {
                Draft::Value(Value::Text(t)) | Draft::Name(t) => Some(t.clone()),
                _ => None,
            };
        }
        self.kind.field(key)?.default.as_ref()?.as_text().map(SmolStr::from)
    }
}

/// All top-level nodes, found by kind and identity.
#[derive(Debug, Default, Clone)]
pub(super) struct Store {
    pub nodes: Vec<Option<DraftNode>>,
    ids: Vec<SmolStr>,
    index: HashMap<(&'static str, SmolStr), usize>,
    /// Nodes by kind and name without key, for kinds that have one.
    plain: HashMap<(&'static str, SmolStr), Vec<usize>>,
    by_kind: BTreeMap<&'static str, Vec<usize>>,
    /// Nodes that an overlay took away, and where it says so.
    pub dropped: HashMap<(&'static str, SmolStr), Span>,
    /// Servers by a role that a stand-in took from them: `role:cas` still means them.
    pub former_roles: BTreeMap<SmolStr, Vec<SmolStr>>,
    /// Names of nodes that could not be made; a reference to one is no second mistake.
    pub ghosts: HashSet<SmolStr>,
}

impl Store {
    /// Makes room for so many nodes more.
    pub fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve(nodes);
        self.ids.reserve(nodes);
        self.index.reserve(nodes);
    }

    /// Adds a node, or gives back where the first of its identity stands.
    pub fn insert(&mut self, node: DraftNode) -> Result<usize, Span> {
        let kind = node.kind.name.as_str();
        let mut id = node.id();
        if let Some(i) = self.index.get(&(kind, id.clone())) {
            if !node.kind.repeat {
                return Err(self.nodes[*i].as_ref().map_or(node.span, |n| n.span));
            }
            let base = id.clone();
            let mut n = self.by_kind.get(kind).map_or(0, Vec::len) + 1;
            while self.index.contains_key(&(kind, id.clone())) {
                id = format_smolstr!("{base}#{n}");
                n += 1;
            }
        }
        let at = self.nodes.len();
        if node.kind.key.is_some() {
            self.plain.entry((kind, node.name.clone())).or_default().push(at);
        }
        self.by_kind.entry(kind).or_default().push(at);
        self.dropped.remove(&(kind, id.clone()));
        self.ids.push(id.clone());
        self.index.insert((kind, id), at);
        self.nodes.push(Some(node));
        Ok(at)
    }

    pub fn get(&self, at: usize) -> Option<&DraftNode> {
        self.nodes.get(at)?.as_ref()
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut DraftNode> {
        self.nodes.get_mut(at)?.as_mut()
    }

    /// Nodes of this name: one, or all views of a keyed kind when the key is left out.
    pub fn find(&self, kind: &'static str, name: &str) -> Vec<usize> {
        let key = (kind, SmolStr::from(name));
        match self.index.get(&key) {
            Some(i) => vec![*i],
            None => self.plain.get(&key).cloned().unwrap_or_default(),
        }
        .into_iter()
        .filter(|i| self.nodes[*i].is_some())
        .collect()
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (usize, &DraftNode)> {
        let list = self.by_kind.get(kind).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|i| Some((*i, self.nodes[*i].as_ref()?)))
    }

    /// Identity of every living node with its place in the store, in the order in which they were made.
    pub fn living(&self) -> impl Iterator<Item = (&SmolStr, usize)> {
        self.ids.iter().enumerate().map(|(at, id)| (id, at)).filter(|(_, at)| self.nodes[*at].is_some())
    }

    /// An overlay took the node away.
    pub fn was_dropped(&self, id: &NodeId) -> bool {
        self.dropped.keys().any(|(k, n)| *k == id.kind && *n == id.name)
    }

    /// Takes a node out to make it the topology's, so that both forms of it never stand at once. References still find it.
    pub fn finished(&mut self, at: usize) -> Option<DraftNode> {
        self.nodes.get_mut(at)?.take()
    }

    pub fn remove(&mut self, at: usize, by: Span) -> Option<DraftNode> {
        let node = self.nodes.get_mut(at)?.take()?;
        let key = (node.kind.name.as_str(), node.id());
        self.index.remove(&key);
        if let Some(list) = self.plain.get_mut(&(key.0, node.name.clone())) {
            list.retain(|i| *i != at);
        }
        if node.kind.key.is_some() {
            self.dropped.insert((key.0, node.name.clone()), by);
        }
        self.dropped.insert(key, by);
        Some(node)
    }
}
