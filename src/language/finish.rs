//! Draft nodes to the topology: references, maps, defaults, required fields, counts; then the checks of the whole.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::draft::{DraftField, DraftNode, DraftValue, Store};
use super::explain::value as show;
use super::module::GivenRef;
use super::remap::Maps;
use super::resolve::{Asked, Index, Resolver, child_ids};
use super::schema::{FieldDef, KindDef, schema};
use super::sink::Sink;
use super::suggest::counted;
use super::timescale::Scale;
use super::types::{Draft, Type};
use super::{moved, policy, versions};
use crate::model::fields::Fields;
use crate::model::topology::{Field, Layer, Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Span, Spanned};

/// More references than this in all come from selectors that multiply.
const MAX_REFS: usize = 10_000_000;

pub(super) struct Finish<'a> {
    sink: &'a mut Sink,
    store: Store,
    maps: Maps,
    scale: Option<Scale>,
    environment: Option<String>,
    refs: usize,
    /// Span of the kind of each node whose kind has a version limit, for messages about the kind.
    kinds: HashMap<NodeId, Span>,
    /// The last default made of each field of each kind: the nodes of one line share it.
    defaults: HashMap<(&'static str, &'static str), (Span, Arc<Field>)>,
    /// Fields that several nodes share, by their place in memory.
    shared: HashMap<*const DraftField, Finished>,
}

/// What a field became.
#[derive(Clone)]
struct Finished {
    /// Keeps its place in memory from being used again.
    _draft: Option<Arc<DraftField>>,
    field: Arc<Field>,
    /// Every value was resolved.
    whole: bool,
    /// References in it.
    refs: usize,
}

impl<'a> Finish<'a> {
    pub fn new(
        sink: &'a mut Sink,
        store: Store,
        maps: Maps,
        scale: Option<Scale>,
        environment: Option<String>,
    ) -> Self {
        Self {
            sink,
            store,
            maps,
            scale,
            environment,
            refs: 0,
            kinds: HashMap::new(),
            defaults: HashMap::new(),
            shared: HashMap::new(),
        }
    }

    pub fn run(mut self, given: &[GivenRef]) -> Topology {
        let index = Index::new(&self.store);
        let mut store = std::mem::take(&mut self.store);
        let unknown = self.check_given(given, &store, &index);
        store.ghosts.extend(unknown);
        let living: Vec<(SmolStr, usize)> = store.living().map(|(id, at)| (id.clone(), at)).collect();
        let mut nodes = Vec::with_capacity(living.len());
        for (id, at) in living {
            let kept;
            let draft = match store.get(at).is_some_and(|n| n.kind.name == "moved") {
                true => store.get(at),
                false => {
                    kept = store.finished(at);
                    kept.as_ref()
                }
            };
            if let Some(draft) = draft {
                let node = self.node(draft, id, &store, &index);
                nodes.push((node.id.clone(), node));
            }
        }
        let moved = moved::read(&store, &index, schema(), self.sink);
        drop((store, index));
        self.shared.clear();
        // Made at once, a map is filled; insertion in order would leave it half empty.
        let nodes = nodes.into_iter().collect();
        let mut topology = Topology { nodes, moved, environment: self.environment.clone(), ..Topology::default() };
        inherit(&mut topology);
        versions::check(&topology, &self.kinds, self.sink);
        policy::check(&topology, self.sink);
        self.maps.rename(&mut topology, self.sink);
        topology
    }

    /// References given to modules, at the place where they were given.
    /// Gives back the names that are unknown: the fields that use them say nothing new.
    fn check_given(&mut self, given: &[GivenRef], store: &Store, index: &Index) -> Vec<SmolStr> {
        let mut unknown = Vec::new();
        for g in given {
            let Draft::Name(text) = &g.value.draft else { continue };
            let asked = Asked { field: &g.param, ty: &g.ty, many: true, rest: false, kind: None, later: false };
            let mut r = Resolver { sink: self.sink, store, index, schema: schema() };
            if r.resolve(&asked, text, &g.value).is_none() {
                unknown.push(text.clone());
            }
        }
        unknown
    }

    fn node(&mut self, d: &DraftNode, id: SmolStr, store: &Store, index: &Index) -> Node {
        let kind = d.kind;
        let set = |f: &FieldDef| f.default.is_some() || d.fields.contains_key(&f.name);
        let mut node = Node {
            id: NodeId::new(kind.name.as_str(), id),
            span: d.span,
            fields: Fields::with_capacity(1 + kind.fields.iter().filter(|f| set(f)).count()),
            children: Vec::with_capacity(d.children.len()),
        };
        if !kind.limit.is_empty() {
            self.kinds.insert(node.id.clone(), d.kind_span);
        }
        let mut tainted = d.tainted;
        if let (Some(v), Some(ty)) = (&d.name_value, &kind.name_type) {
            let asked = Asked { field: &kind.name, ty, many: false, rest: false, kind: None, later: false };
            if let Some(values) = self.value(&asked, kind, v, store, index) {
                let layers = vec![Layer::new("name", Some(v.span), d.name.clone())];
                let mut field = Field { values, layers };
                self.mapped_layer(ty, kind, std::slice::from_ref(v), &mut field);
                node.fields.insert("name", field);
            }
        }
        for def in &kind.fields {
            match d.fields.shared(&def.name) {
                Some(f) => {
                    let Finished { field, whole, .. } = self.field(def, kind, f, store, index);
                    tainted |= !whole;
                    if whole && !tainted {
                        self.count(def, kind, &node.id, &field, f.span, shrinks(f.values.as_slice()));
                    }
                    node.fields.insert(&def.name, field);
                }
                None => {
                    if let Some(field) = self.default(kind, def, d.span) {
                        node.fields.insert(&def.name, field);
                    }
                }
            }
        }
        for (c, id) in d.children.iter().zip(child_ids(&node.id.name, &d.children)) {
            let child = self.node(c, id, store, index);
            // A connection written inside a server is the one that the server uses.
            if kind.field(&c.kind.name).is_some_and(|f| f.ty.kinds().is_some_and(|k| k.contains(&c.kind.name)))
                && !node.fields.contains_key(&c.kind.name)
            {
                let value = Spanned::new(Value::Ref(child.id.clone()), c.span);
                let layer = Layer::new("child", Some(c.span), child.id.name.clone());
                node.fields.insert(&c.kind.name, Field { values: vec![value], layers: vec![layer] });
            }
            node.children.push(child);
        }
        node.fields.shrink_to_fit();
        if !tainted {
            self.missing(kind, &node, d.span);
        }
        node
    }

    /// One written field. What several nodes share is resolved once; its references count for each of them.
    fn field(
        &mut self,
        def: &'static FieldDef,
        kind: &'static KindDef,
        f: &Arc<DraftField>,
        store: &Store,
        index: &Index,
    ) -> Finished {
        if let Some(known) = self.shared.get(&Arc::as_ptr(f)).filter(|k| self.refs + k.refs <= MAX_REFS) {
            self.refs += known.refs;
            return known.clone();
        }
        let before = self.refs;
        let mut field = Field { values: Vec::new(), layers: f.layers.clone() };
        let mut whole = true;
        for (at, v) in f.values.iter().enumerate() {
            match self.value(&Asked::of(def, kind, at), kind, v, store, index) {
                Some(values) if field.values.is_empty() => field.values = values,
                Some(values) => field.values.extend(values),
                None => {
                    whole = false;
                    // What follows a swallowed field belongs to it.
                    if self.sink.knows("E0105", v.span) {
                        break;
                    }
                }
            }
        }
        field.values.shrink_to_fit();
        self.mapped_layer(&def.ty, kind, f.values.as_slice(), &mut field);
        self.scaled(def, &mut field);
        let mut finished = Finished { _draft: None, field: Arc::new(field), whole, refs: self.refs - before };
        if Arc::strong_count(f) > 1 {
            finished._draft = Some(f.clone());
            self.shared.insert(Arc::as_ptr(f), finished.clone());
        }
        finished
    }

    /// Required fields that nobody wrote, in one message.
    fn missing(&mut self, kind: &'static KindDef, node: &Node, span: Span) {
        let (mut names, mut helps) = (Vec::new(), Vec::new());
        for def in kind.fields.iter().filter(|f| f.required) {
            if !node.fields.contains_key(&def.name) {
                names.push(format!("`{}`", def.name));
                let help = match (def.positional, def.many) {
                    (true, _) => format!("it stands behind the name: {} NAME {}", kind.name, def.name.to_uppercase()),
                    (_, false) if def.ty == Type::Secret => {
                        format!("write {}=(secret)\"env:NAME\" or \"file:PATH\"", def.name)
                    }
                    (_, true) => format!("write {{ {} ..; }}, {}", def.name, takes(&def.ty)),
                    (_, false) => format!("write {}=.., {}", def.name, takes(&def.ty)),
                };
                helps.push(help);
            }
        }
        let list = match names.as_slice() {
            [] => return,
            [one] => one.clone(),
            [head @ .., last] => format!("{} and {last}", head.join(", ")),
        };
        let verb = if names.len() == 1 { "is" } else { "are" };
        self.sink.push(
            Diagnostic::error("E0107", format!("`{}` needs {list}", kind.name))
                .label(span, format!("{list} {verb} missing"))
                .help(helps.join("; ")),
        );
    }

    fn value(
        &mut self,
        asked: &Asked,
        kind: &'static KindDef,
        v: &DraftValue,
        store: &Store,
        index: &Index,
    ) -> Option<Vec<Spanned<Value>>> {
        match &v.draft {
            Draft::Name(text) => {
                let mut r = Resolver { sink: self.sink, store, index, schema: schema() };
                let hits = r.resolve(asked, text, v)?;
                self.refs += hits.len();
                if self.refs > MAX_REFS {
                    self.sink.push(
                        Diagnostic::error("E0307", format!("more than {MAX_REFS} references"))
                            .label(v.span, "reached here")
                            .help("selectors of many nodes over many nodes multiply"),
                    );
                    return None;
                }
                Some(hits.into_iter().map(|h| Spanned::new(h, v.span)).collect())
            }
            Draft::Value(Value::Text(t)) if !v.raw && !Maps::skips(kind) && !self.maps.is_empty() => {
                let text = self.maps.value(asked.ty, t).map_or(t.clone(), |m| m.text.into());
                Some(vec![Spanned::new(Value::Text(text), v.span)])
            }
            Draft::Value(value) => Some(vec![Spanned::new(value.clone(), v.span)]),
        }
    }

    /// Shows in the layers which maps have rewritten values.
    fn mapped_layer(&mut self, ty: &Type, kind: &KindDef, values: &[DraftValue], field: &mut Field) {
        if self.maps.is_empty() || Maps::skips(kind) {
            return;
        }
        let mut by: Vec<(&'static str, Span)> = Vec::new();
        for v in values.iter().filter(|v| !v.raw) {
            let Draft::Value(Value::Text(t)) = &v.draft else { continue };
            for (b, span) in self.maps.value(ty, t).map(|m| m.by).unwrap_or_default() {
                if by.iter().all(|(known, _)| *known != b) {
                    by.push((b, span));
                }
            }
        }
        for (by, span) in by {
            let shown: Vec<String> = field.values.iter().take(8).map(|v| show(&v.value)).collect();
            field.layers.push(Layer::new(by, Some(span), shown.join(" ")));
        }
    }

    fn scaled(&self, def: &FieldDef, field: &mut Field) {
        if let Some(scale) = &self.scale {
            scale.apply(def, field);
        }
    }

    fn default(&mut self, kind: &'static KindDef, def: &'static FieldDef, span: Span) -> Option<Arc<Field>> {
        let scalar = def.default.as_ref()?;
        let key = (kind.name.as_str(), def.name.as_str());
        let field = match self.defaults.get(&key) {
            Some((at, field)) if *at == span => return Some(field.clone()),
            Some((_, field)) => {
                let mut field = Field::clone(field);
                field.values.iter_mut().for_each(|v| v.span = span);
                field
            }
            None => {
                let Ok(Draft::Value(value)) = def.ty.read(scalar, None, false) else { return None };
                let layer = Layer::new("default", None, show(&value));
                let mut field = Field { values: vec![Spanned::new(value, span)], layers: vec![layer] };
                self.scaled(def, &mut field);
                field
            }
        };
        let field = Arc::new(field);
        self.defaults.insert(key, (span, field.clone()));
        Some(field)
    }

    fn count(&mut self, def: &FieldDef, kind: &KindDef, id: &NodeId, field: &Field, span: Span, shrunk: bool) {
        if !def.many || def.min.is_none() && def.max.is_none() {
            return;
        }
        let n = field.values.len();
        let low = def.min.is_some_and(|m| (n as i64) < m);
        let high = def.max.is_some_and(|m| (n as i64) > m);
        if low || high {
            let range = match (def.min, def.max) {
                (Some(a), Some(b)) if a == b => counted(usize::try_from(a).unwrap_or(0), "name"),
                (Some(a), Some(b)) => format!("{a} to {b} names"),
                (Some(a), None) => format!("{a} names or more"),
                (_, b) => format!("at most {} names", b.unwrap_or_default()),
            };
            let d = Diagnostic::error(
                "E0204",
                format!("`{}` of {} `{}` takes {range}, not {n}", def.name, kind.name, id.name),
            )
            .label(span, counted(n, "name"));
            self.sink.push(if low && shrunk {
                d.help("an overlay has taken some away; patch this node in the same overlay")
            } else {
                d.help(format!("name {} of them", if low { "more" } else { "fewer" }))
            });
        }
    }
}

/// What an environment does not say it takes from the one that it extends.
fn inherit(topology: &mut Topology) {
    let ids: Vec<NodeId> = topology.all("environment").map(|e| e.id.clone()).collect();
    let written =
        |n: &Node, field: &str| n.fields.get(field).is_some_and(|f| f.layers.iter().any(|l| l.span.is_some()));
    let parent = |n: &Node| topology.get("environment", n.text("extends")?);
    let mut found: Vec<(NodeId, &'static str, Field)> = Vec::new();
    for node in ids.iter().filter_map(|id| topology.nodes.get(id)) {
        for def in node.fields.keys().filter(|f| *f != "name" && *f != "extends" && !written(node, f)) {
            let mut up = parent(node);
            // A circle is reported elsewhere.
            for _ in 0..ids.len() {
                let Some(p) = up else { break };
                if let Some(f) = p.fields.get(def).filter(|_| written(p, def)) {
                    let shown = f.layers.last().map_or(SmolStr::default(), |l| l.shown.clone());
                    let span = f.layers.last().and_then(|l| l.span);
                    let by = format!("environment {}", p.id.name);
                    let field = Field { layers: vec![Layer::new(by, span, shown)], ..f.clone() };
                    found.push((node.id.clone(), def, field));
                    break;
                }
                up = parent(p);
            }
        }
    }
    for (id, name, field) in found {
        if let Some(n) = topology.nodes.get_mut(&id) {
            n.fields.insert(name, field);
        }
    }
}

fn shrinks(values: &[DraftValue]) -> bool {
    values.iter().any(|v| v.listed)
}

fn takes(ty: &Type) -> String {
    match ty {
        Type::Ref(_) => format!("the name of {}", ty.noun()),
        Type::Select(_) => format!("which names {}", ty.noun()),
        Type::Enum(_) => format!("which is {}", ty.noun()),
        Type::Open(list) => format!("which is {}", super::suggest::either(list)),
        _ => ty.noun(),
    }
}
