//! Every place where a name is written: where it is defined, referred to, or the target of an overlay.
//!
//! What a place stands for comes from the topologies, by span: they know ranges, interpolation, selectors and maps. What is in none of
//! them (values that an overlay replaced, targets of overlays, modules, parameters) is read off the text.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use smol_str::SmolStr;

use super::analysis::Analysis;
use super::uses::{Bindings, uses};
use crate::language::schema::{FieldDef, KindDef, schema};
use crate::language::types::Type;
use crate::language::{expand, glob};
use crate::model::Span;
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::tree::{Entry, Scalar, Tree};

/// A node in one of the topologies of an analysis. What no topology holds (modules, parameters, lets) is in the first.
pub(super) type Symbol = (usize, NodeId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Definition,
    Reference,
    /// The name behind `(patch)`, `(remove)`, `(replace)`, `(take)`.
    Target,
}

/// One written name, or a range of them.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    /// The value with its quotes; of `$name` the name alone.
    pub at: Span,
    /// As written, without quotes.
    pub text: String,
    /// From a raw string: neither a range nor interpolated.
    pub raw: bool,
    pub role: Role,
    /// A `$name` in another text.
    pub variable: bool,
    pub symbols: BTreeSet<Symbol>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By place.
    pub occurrences: Vec<Occurrence>,
    by_symbol: HashMap<Symbol, Vec<usize>>,
}

impl Index {
    pub fn of(analysis: &Analysis) -> Self {
        let trees = analysis.trees.as_deref().unwrap_or_default();
        let mut walk = Walk {
            known: analysis.topologies.iter().map(Known::of).collect(),
            bindings: Bindings::of(trees),
            analysis,
            out: Vec::new(),
        };
        for t in trees {
            walk.top(t, &Around::default());
        }
        let mut occurrences = walk.out;
        occurrences.sort_by_key(|o| (o.at, o.variable));
        let mut by_symbol: HashMap<Symbol, Vec<usize>> = HashMap::new();
        for (i, o) in occurrences.iter().enumerate() {
            for s in &o.symbols {
                by_symbol.entry(s.clone()).or_default().push(i);
            }
        }
        Self { occurrences, by_symbol }
    }

    /// What stands at a byte of a file; the innermost where `$name` stands in a name.
    pub fn at(&self, span: Span) -> Option<&Occurrence> {
        let hits = self.occurrences.iter().filter(|o| {
            o.at.source == span.source && o.at.offset <= span.offset && span.offset <= o.at.offset + o.at.len
        });
        hits.min_by_key(|o| (o.at.len, !o.variable))
    }

    /// Every place that stands for one of the symbols, each once.
    pub fn of_symbols<'i>(&'i self, symbols: &BTreeSet<Symbol>) -> Vec<&'i Occurrence> {
        let hits: BTreeSet<usize> = symbols.iter().filter_map(|s| self.by_symbol.get(s)).flatten().copied().collect();
        hits.into_iter().map(|i| &self.occurrences[i]).collect()
    }

    /// Where the symbols are defined.
    pub fn definitions<'i>(&'i self, symbols: &BTreeSet<Symbol>) -> Vec<&'i Occurrence> {
        self.of_symbols(symbols).into_iter().filter(|o| o.role == Role::Definition).collect()
    }
}

/// One topology, found by place and by name.
struct Known {
    definitions: HashMap<Span, Vec<NodeId>>,
    references: HashMap<Span, Vec<NodeId>>,
    ids: HashSet<NodeId>,
    /// Identities by kind and name without their key.
    plain: HashMap<(SmolStr, SmolStr), Vec<NodeId>>,
}

impl Known {
    fn of(topology: &Topology) -> Self {
        let mut known = Self {
            definitions: HashMap::new(),
            references: HashMap::new(),
            ids: HashSet::new(),
            plain: HashMap::new(),
        };
        topology.nodes.values().for_each(|n| known.add(n));
        known
    }

    fn add(&mut self, node: &Node) {
        self.definitions.entry(node.span).or_default().push(node.id.clone());
        self.ids.insert(node.id.clone());
        if let Some((plain, _)) = node.id.name.rsplit_once('@') {
            self.plain.entry((node.id.kind.clone(), plain.into())).or_default().push(node.id.clone());
        }
        for v in node.fields.values().flat_map(|f| &f.values) {
            if let Value::Ref(id) = &v.value {
                let list = self.references.entry(v.span).or_default();
                if list.last() != Some(id) {
                    list.push(id.clone());
                }
            }
        }
        node.children.iter().for_each(|c| self.add(c));
    }

    fn named(&self, kind: &str, name: &str) -> Vec<NodeId> {
        let id = NodeId::new(kind, name);
        if self.ids.contains(&id) {
            return vec![id];
        }
        self.plain.get(&(id.kind, id.name)).cloned().unwrap_or_default()
    }
}

/// What stands around a node.
#[derive(Clone, Default)]
struct Around {
    /// The module whose names `$name` means; `None` for the root's.
    module: Option<String>,
    overlay: bool,
    /// Nodes that the parent stands for, to name its children.
    parents: BTreeSet<Symbol>,
}

struct Walk<'a> {
    known: Vec<Known>,
    bindings: Bindings,
    analysis: &'a Analysis,
    out: Vec<Occurrence>,
}

impl Walk<'_> {
    /// A node where top-level kinds stand: in a file, a module, an overlay.
    fn top(&mut self, tree: &Tree, around: &Around) {
        let Some(kind) = schema().kind(&tree.name.value) else { return };
        match kind.name.as_str() {
            "module" => self.module(tree),
            "let" | "param" | "variable" => self.declaration(tree, kind, around),
            "use" => self.instance(tree, kind, around),
            _ => self.node(tree, kind, around),
        }
    }

    fn module(&mut self, tree: &Tree) {
        let Some(name) = tree.args().next() else { return };
        let text = name.value.value.as_text().unwrap_or_default().to_owned();
        self.push(name, Role::Definition, [(0, NodeId::new("module", text.clone()))].into());
        let inside = Around { module: Some(text), ..Around::default() };
        for c in &tree.children {
            self.top(c, &inside);
        }
    }

    fn declaration(&mut self, tree: &Tree, kind: &'static KindDef, around: &Around) {
        let Some(name) = tree.args().next() else { return };
        let text = name.value.value.as_text().unwrap_or_default();
        let symbols = self.binding(text, around);
        self.push(name, Role::Definition, symbols);
        for e in tree.entries.iter().skip(1) {
            self.texts(e, around);
        }
        for c in tree.children.iter().filter(|c| kind.field(&c.name.value).is_some()) {
            c.entries.iter().for_each(|e| self.texts(e, around));
        }
    }

    fn instance(&mut self, tree: &Tree, kind: &'static KindDef, around: &Around) {
        let mut args = tree.args();
        let module = args.next();
        let name = module.and_then(|e| e.value.value.as_text()).unwrap_or_default().to_owned();
        if let Some(e) = module {
            self.push(e, Role::Reference, [(0, NodeId::new("module", name.clone()))].into());
        }
        args.for_each(|e| self.texts(e, around));
        for e in tree.entries.iter().filter(|e| e.name.is_some()) {
            let Some(key) = &e.name else { continue };
            self.texts(e, around);
            if kind.field(&key.value).is_some() {
                continue;
            }
            let symbols = self.bindings.symbol(Some(&name), &key.value);
            if let Some(s) = symbols {
                self.out.push(Occurrence {
                    at: key.span,
                    text: key.value.clone(),
                    raw: false,
                    role: Role::Reference,
                    variable: true,
                    symbols: [s].into(),
                });
            }
            if let Some(kinds) = self.bindings.ty(Some(&name), &key.value).and_then(|t| t.kinds().map(<[_]>::to_vec)) {
                let symbols = self.read(e, &kinds, &BTreeSet::new());
                self.push(e, Role::Reference, symbols);
            }
        }
        let inside = Around { overlay: true, ..around.clone() };
        for c in tree.children.iter().filter(|c| c.annotation.is_some()) {
            self.top(c, &inside);
        }
    }

    fn node(&mut self, tree: &Tree, kind: &'static KindDef, around: &Around) {
        let own = self.name(tree, kind, around);
        let inside = Around { parents: own, ..around.clone() };
        let mut args = tree.args().skip(usize::from(kind.name_type.is_some()));
        for def in kind.fields.iter().filter(|f| f.positional) {
            let entries: Vec<&Entry> =
                if def.many { args.by_ref().collect() } else { args.next().into_iter().collect() };
            if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                let whole = Span { len: last.span.offset + last.span.len - first.span.offset, ..first.span };
                self.field(def, &entries, whole, around);
            }
        }
        for e in tree.entries.iter() {
            if let Some(def) = e.name.as_ref().and_then(|n| kind.field(&n.value)) {
                self.field(def, &[e], e.span, around);
            }
        }
        for c in &tree.children {
            let plain = c.children.is_empty() && c.entries.iter().all(|e| e.name.is_none());
            let is_child = kind.has_child(&c.name.value);
            match kind.field(&c.name.value) {
                Some(def) if !is_child || plain && c.entries.len() == 1 => {
                    let entries: Vec<&Entry> = c.entries.iter().collect();
                    let end = entries.last().map_or(c.name.span.offset, |e| e.span.offset + e.span.len);
                    let whole = Span { len: end - c.name.span.offset, ..c.name.span };
                    self.field(def, &entries, whole, around);
                }
                _ if is_child => {
                    if let Some(k) = schema().kind(&c.name.value) {
                        let overlay = around.overlay || kind.open;
                        self.node(c, k, &Around { overlay, ..inside.clone() });
                    }
                }
                _ if kind.open => {
                    self.top(c, &Around { overlay: true, parents: BTreeSet::new(), ..around.clone() });
                }
                _ => {}
            }
        }
    }

    /// The name of a node: its definition, the target of an overlay, or a reference that names it. Gives back what it stands for.
    fn name(&mut self, tree: &Tree, kind: &'static KindDef, around: &Around) -> BTreeSet<Symbol> {
        if kind.name_type.is_none() {
            // Named after its kind: `spf` of a `mail-auth`.
            let ids = |t: &Known| t.definitions.get(&tree.name.span).cloned().unwrap_or_default();
            return self
                .known
                .iter()
                .enumerate()
                .flat_map(|(i, t)| ids(t).into_iter().map(move |id| (i, id)))
                .collect();
        }
        let Some(e) = tree.args().next() else { return BTreeSet::new() };
        let verb = tree.annotation.as_ref().map(|a| a.value.as_str());
        let in_overlay = around.overlay && !matches!(verb, Some("add"));
        let target = in_overlay && (verb.is_some() || !around.parents.is_empty());
        let mut symbols: BTreeSet<Symbol> = BTreeSet::new();
        if target {
            symbols = self.read(e, std::slice::from_ref(&kind.name), &around.parents);
        }
        // `(replace)` defines anew what it names.
        for (i, t) in self.known.iter().enumerate() {
            symbols.extend(t.definitions.get(&e.span).into_iter().flatten().map(|id| (i, id.clone())));
        }
        let own = symbols.clone();
        let refers = kind.name_type.as_ref().and_then(Type::kinds);
        if let Some(kinds) = refers {
            let mut found: BTreeSet<Symbol> = BTreeSet::new();
            for (i, t) in self.known.iter().enumerate() {
                found.extend(t.references.get(&e.span).into_iter().flatten().map(|id| (i, id.clone())));
            }
            if found.is_empty() {
                found = self.read(e, kinds, &BTreeSet::new());
            }
            symbols.extend(found);
        }
        let role = match (target, refers.is_some()) {
            (true, _) => Role::Target,
            (_, true) => Role::Reference,
            _ => Role::Definition,
        };
        self.push(e, role, symbols);
        self.texts(e, around);
        own
    }

    fn field(&mut self, def: &FieldDef, entries: &[&Entry], whole: Span, around: &Around) {
        for e in entries {
            self.texts(e, around);
            let Some(kinds) = def.ty.kinds() else { continue };
            let place = if entries.len() == 1 { whole } else { e.span };
            let mut symbols: BTreeSet<Symbol> = BTreeSet::new();
            for (i, t) in self.known.iter().enumerate() {
                symbols.extend(t.references.get(&place).into_iter().flatten().map(|id| (i, id.clone())));
            }
            if symbols.is_empty() {
                symbols = self.read(e, kinds, &BTreeSet::new());
            }
            self.push(e, Role::Reference, symbols);
        }
    }

    /// What a text names, read off as it stands. `parents`: for the names of children, which the text leaves out.
    fn read(&self, e: &Entry, kinds: &[String], parents: &BTreeSet<Symbol>) -> BTreeSet<Symbol> {
        let text = e.value.value.as_text().unwrap_or_default();
        let raw = matches!(e.value.value, Scalar::Raw(_));
        if text.contains('$') && !raw {
            return BTreeSet::new();
        }
        let (kinds, text) = match text.split_once(':') {
            Some((k, rest)) if kinds.iter().any(|x| x == k) => (vec![k.to_owned()], rest),
            _ => (kinds.to_vec(), text),
        };
        let names: Vec<String> = match expand(text).filter(|x| !raw && x.count() <= 10_000) {
            Some(x) => x.iter().collect(),
            None => vec![text.to_owned()],
        };
        let mut out = BTreeSet::new();
        for (i, known) in self.known.iter().enumerate() {
            for kind in &kinds {
                if !raw && text.contains('*') {
                    let topology = &self.analysis.topologies[i];
                    out.extend(topology.all(kind).filter(|n| glob(text, n.id.plain())).map(|n| (i, n.id.clone())));
                    continue;
                }
                for name in &names {
                    let full: Vec<String> = if parents.is_empty() {
                        vec![name.clone()]
                    } else {
                        let here = parents.iter().filter(|(t, _)| *t == i);
                        here.map(|(_, p)| format!("{}.{name}", p.name)).collect()
                    };
                    out.extend(full.iter().flat_map(|n| known.named(kind, n)).map(|id| (i, id)));
                }
            }
        }
        out
    }

    /// What a variable, let or parameter is: a node of every topology, or ours alone.
    fn binding(&self, name: &str, around: &Around) -> BTreeSet<Symbol> {
        let Some(symbol) = self.bindings.symbol(around.module.as_deref(), name) else { return BTreeSet::new() };
        if symbol.1.kind != "variable" {
            return [symbol].into();
        }
        let known = self.known.iter().enumerate();
        known.filter(|(_, t)| t.ids.contains(&symbol.1)).map(|(i, _)| (i, symbol.1.clone())).collect()
    }

    /// `$name` in a text.
    fn texts(&mut self, e: &Entry, around: &Around) {
        if !matches!(e.value.value, Scalar::Text(_)) {
            return;
        }
        let span = e.value.span;
        let file = self.analysis.sources.get(span.source);
        let Some(written) = file.text.get(span.offset..span.offset + span.len) else { return };
        let found: Vec<_> = uses(written).collect();
        for (name, at) in found {
            let symbols = self.binding(name, around);
            if symbols.is_empty() {
                continue;
            }
            self.out.push(Occurrence {
                at: Span { offset: span.offset + at.start, len: at.len(), ..span },
                text: name.to_owned(),
                raw: false,
                role: Role::Reference,
                variable: true,
                symbols,
            });
        }
    }

    fn push(&mut self, e: &Entry, role: Role, symbols: BTreeSet<Symbol>) {
        let raw = matches!(e.value.value, Scalar::Raw(_));
        let Some(text) = e.value.value.as_text() else { return };
        self.out.push(Occurrence { at: e.value.span, text: text.to_owned(), raw, role, variable: false, symbols });
    }
}

/// Names of the nodes of some kinds, by what completion shows: the name, its kind, where it comes from.
pub(super) fn names(analysis: &Analysis, kinds: &[String]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    fn add(node: &Node, kinds: &[String], from: &str, out: &mut BTreeMap<String, String>) {
        if kinds.iter().any(|k| node.id.kind == *k) && !node.id.name.is_empty() {
            out.entry(node.id.plain().to_owned()).or_insert_with(|| from.to_owned());
        }
        node.children.iter().for_each(|c| add(c, kinds, from, out));
    }
    for (i, topology) in analysis.topologies.iter().enumerate() {
        let from = if i == 0 { String::new() } else { format!("in {}", analysis.environment(i)) };
        topology.nodes.values().for_each(|n| add(n, kinds, &from, &mut out));
    }
    out
}
