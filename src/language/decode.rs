//! Trees to draft nodes: strict fields at every depth, ranges, interpolation, types.

use std::sync::Arc;

use super::draft::{DraftField, DraftNode, DraftValue};
use super::range::{Pattern, RangeError};
use super::schema::{KindDef, Schema};
use super::sink::Sink;
use super::suggest::counted;
use super::text::{Scope, has_capture, shown};
use super::types::Draft;
use super::written::{Written, WrittenField, split};
use crate::model::topology::Layer;
use crate::model::tree::{Scalar, Tree};
use crate::model::{Diagnostic, Span};

/// A whole topology has at most this many nodes and values; beyond it somebody multiplied ranges by mistake.
const MAX_NODES: usize = 300_000;
const MAX_VALUES: usize = 3_000_000;

pub(super) struct Decoder<'a> {
    pub schema: &'static Schema,
    pub sink: &'a mut Sink,
    /// Roles that packs define; `None` when nobody knows.
    pub roles: Option<&'a std::collections::BTreeSet<String>>,
    pub nodes: usize,
    pub values: usize,
}

/// Where a node stands: what its texts can use and which element of a range it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub scope: &'a Scope,
    pub captures: &'a [String],
    pub zip: Option<Zip>,
    pub layer: &'a str,
}

/// Which element of how many names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zip {
    pub index: usize,
    pub count: usize,
    pub names: Span,
}

/// The values of a field, made once for all names of a range where they do not differ.
enum Prepared {
    Same(Vec<DraftValue>),
    Zipped(Pattern),
    /// Uses `$1`: made anew for each name.
    Each,
    Broken,
}

/// A name after interpolation: one, or a range.
pub(super) enum Names {
    One(String),
    Many(Pattern),
}

impl Names {
    pub fn len(&self) -> usize {
        match self {
            Names::One(_) => 1,
            Names::Many(p) => p.len(),
        }
    }

    pub fn nth(&self, i: usize) -> (String, Option<Vec<String>>) {
        match self {
            Names::One(n) => (n.clone(), None),
            Names::Many(p) => {
                let (n, c) = p.nth(i);
                (n, Some(c))
            }
        }
    }
}

impl<'a> Decoder<'a> {
    /// All nodes that a tree stands for. Empty when the name cannot be read; the mistake is reported.
    pub fn nodes(&mut self, tree: &Tree, kind: &'static KindDef, place: Place) -> Vec<DraftNode> {
        let Some(w) = split(tree, kind, self.schema, self.sink, false) else { return Vec::new() };
        let Some((names, name_span)) = self.names(&w, tree, kind, place) else { return Vec::new() };
        let count = names.as_ref().map_or(1, Names::len);
        self.nodes += count;
        if self.nodes > MAX_NODES {
            self.sink.push(
                Diagnostic::error("E0307", format!("more than {MAX_NODES} nodes"))
                    .label(name_span, format!("{} more here", counted(count, "node")))
                    .help("ranges multiply: in one name, along children, and with each use of a module"),
            );
            return Vec::new();
        }
        let ranged = matches!(names, Some(Names::Many(_)));
        let first_zip = if ranged { Some(Zip { index: 0, count, names: name_span }) } else { place.zip };
        let mut prepared: Vec<(&WrittenField, Prepared, Option<Layer>)> = Vec::new();
        let mut tainted = w.tainted;
        for f in &w.fields {
            let p = self.prepare(f, kind, Place { zip: first_zip, ..place });
            tainted |= matches!(p, Prepared::Broken);
            let layer = match &p {
                Prepared::Same(values) => Some(layer(place, f, values)),
                _ => None,
            };
            prepared.push((f, p, layer));
        }
        let mut out = Vec::with_capacity(count.min(MAX_NODES));
        for i in 0..count {
            let (name, captures) = names.as_ref().map_or((String::new(), None), |n| n.nth(i));
            let here = Place {
                captures: captures.as_deref().unwrap_or(place.captures),
                zip: if ranged { Some(Zip { index: i, count, names: name_span }) } else { place.zip },
                ..place
            };
            let mut node = DraftNode {
                kind,
                name_value: None,
                span: name_span,
                kind_span: tree.name.span,
                fields: Default::default(),
                children: Vec::new(),
                is_final: tree.annotation.as_ref().map(|a| a.span),
                tainted,
                name,
            };
            node.tainted |= !self.name_value(&mut node, &w);
            for (f, p, layer) in &prepared {
                self.fill_field(&mut node, f, p, layer.as_ref(), here);
            }
            for (t, k) in &w.children {
                let made = self.nodes(t, k, here);
                node.tainted |= made.is_empty();
                node.children.extend(made);
            }
            self.same_children(&node);
            out.push(node);
            if self.values > MAX_VALUES {
                self.sink.push(
                    Diagnostic::error("E0307", format!("more than {MAX_VALUES} values"))
                        .label(name_span, "reached here")
                        .help("ranges in lists multiply with ranges in names"),
                );
                return Vec::new();
            }
        }
        out
    }

    /// The name of a node or of the targets of an overlay, with its span. `None`: reported.
    pub fn names(
        &mut self,
        w: &Written,
        tree: &Tree,
        kind: &'static KindDef,
        place: Place,
    ) -> Option<(Option<Names>, Span)> {
        let Some(e) = w.name else {
            return Some((None, tree.name.span));
        };
        let span = e.span;
        let scalar = &e.value.value;
        let text = match scalar {
            Scalar::Text(t) => self.fill(t, place, span)?.text,
            Scalar::Raw(t) => return Some((Some(Names::One(t.clone())), span)),
            other => return Some((Some(Names::One(shown(other))), span)),
        };
        let pattern = self.pattern(&text, span)?;
        match pattern {
            None => Some((Some(Names::One(text)), span)),
            Some(p) if kind.single && p.len() > 1 => {
                self.sink.push(
                    Diagnostic::error("E0306", format!("the name of `{}` is never a range", kind.name))
                        .label(span, format!("{} names", p.len()))
                        .help("write one node for each name"),
                );
                None
            }
            Some(p) => Some((Some(Names::Many(p)), span)),
        }
    }

    fn name_value(&mut self, node: &mut DraftNode, w: &Written) -> bool {
        let (Some(ty), Some(e)) = (&node.kind.name_type, w.name) else { return true };
        let numeric = matches!(e.value.value, Scalar::Int(_));
        let scalar = if numeric { e.value.value.clone() } else { Scalar::Text(node.name.clone()) };
        let raw = matches!(e.value.value, Scalar::Raw(_));
        match ty.read(&scalar, None, !raw) {
            Ok(draft) => {
                node.name_value = Some(DraftValue { draft, span: e.span, raw, listed: false });
                true
            }
            Err(wrong) => {
                let kind = &node.kind.name;
                let message = match wrong.code {
                    "E0015" => format!("the name of `{kind}` holds a character that is not seen"),
                    _ => format!("the name of `{kind}` is {}, not `{}`", ty.noun(), node.name),
                };
                let mut d = Diagnostic::error(wrong.code, message).label(e.span, format!("not {}", ty.noun()));
                d.help = wrong.help;
                self.sink.push(d);
                false
            }
        }
    }

    /// Two children of one identity under one parent.
    fn same_children(&mut self, node: &DraftNode) {
        if node.children.len() < 2 {
            return;
        }
        let mut seen: std::collections::HashMap<(&str, String), Span> = Default::default();
        for c in node.children.iter().filter(|c| !c.kind.repeat) {
            if let Some(first) = seen.insert((&c.kind.name, c.id()), c.span) {
                self.sink.push(duplicate(&c.kind.name, &c.id(), first, c.span));
            }
        }
    }

    fn prepare(&mut self, f: &WrittenField, kind: &'static KindDef, place: Place) -> Prepared {
        if f.entries.iter().any(|e| matches!(&e.value.value, Scalar::Text(t) if has_capture(t))) {
            return Prepared::Each;
        }
        if !f.list()
            && let [e] = f.entries.as_slice()
            && let Scalar::Text(t) = &e.value.value
            && f.def.ty.expands()
        {
            let Some(filled) = self.fill(t, place, f.span) else { return Prepared::Broken };
            match self.pattern(&filled.text, f.span) {
                None => return Prepared::Broken,
                Some(Some(p)) => {
                    return if self.zip_fits(&p, f, kind, place) { Prepared::Zipped(p) } else { Prepared::Broken };
                }
                Some(None) => {}
            }
        }
        match self.values(f, kind, place) {
            Some(v) => Prepared::Same(v),
            None => Prepared::Broken,
        }
    }

    fn fill_field(
        &mut self,
        node: &mut DraftNode,
        f: &WrittenField,
        p: &Prepared,
        layer_of_all: Option<&Layer>,
        place: Place,
    ) {
        let values = match p {
            Prepared::Broken => None,
            Prepared::Same(v) => Some(v.clone()),
            Prepared::Zipped(pattern) => {
                let i = if pattern.len() == 1 { 0 } else { place.zip.map_or(0, |z| z.index) };
                let scalar = Scalar::Text(pattern.nth(i).0);
                self.read(f, node.kind, &scalar, f.entries[0], true, false).map(|v| vec![v])
            }
            Prepared::Each => self.values(f, node.kind, place),
        };
        let Some(values) = values else {
            node.tainted = true;
            return;
        };
        self.values += values.len();
        let layer = layer_of_all.cloned().unwrap_or_else(|| layer(place, f, &values));
        node.fields.insert(&f.def.name, DraftField { values, layers: vec![layer], span: f.span });
    }
}

/// What a layer shows of its values: at most a line.
pub(super) fn layer(place: Place, f: &WrittenField, values: &[DraftValue]) -> Layer {
    let via = via(f, place);
    let shown = shown_values(values);
    let shown = match f.verb.map(|v| v.value.as_str()) {
        Some(verb @ ("add" | "remove")) => format!("({verb}) {shown}"),
        _ => shown,
    };
    Layer { by: place.layer.to_owned(), span: Some(f.span), shown, via }
}

/// Variables, parameters and ranges that the values of a field were made of.
fn via(f: &WrittenField, place: Place) -> Option<Arc<[Layer]>> {
    let mut out: Vec<Layer> = Vec::new();
    for e in &f.entries {
        let Scalar::Text(t) = &e.value.value else { continue };
        for name in super::text::names(t) {
            for l in place.scope.names.get(name).map_or(&[][..], |b| &b.layers) {
                if !out.contains(l) {
                    out.push(l.clone());
                }
            }
        }
        if t.contains('[') && f.def.ty.expands() && matches!(Pattern::parse(t), Ok(Some(_))) {
            let by = if f.list() { "range" } else { "zipped from" };
            out.push(Layer::new(by, Some(e.value.span), t.as_str()));
        }
    }
    (!out.is_empty()).then(|| out.into())
}

fn shown_values(values: &[DraftValue]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(|v| show(&v.draft)).collect();
    if values.len() > SHOWN {
        shown.push(format!(".. ({} in all)", values.len()));
    }
    shown.join(" ")
}

pub(super) fn show(d: &Draft) -> String {
    match d {
        Draft::Name(n) => n.clone(),
        Draft::Value(v) => super::explain::value(v),
    }
}

pub(super) fn duplicate(kind: &str, name: &str, first: Span, again: Span) -> Diagnostic {
    if first == again {
        return Diagnostic::error("E0304", format!("{kind} `{name}` is made twice"))
            .label(again, "made by each use of the module")
            .help("put `$self`, the name of the instance, into the name");
    }
    Diagnostic::error("E0304", format!("{kind} `{name}` is defined twice"))
        .label(again, "again here")
        .label(first, "first definition")
        .help("one layer, one definition: change one name, or move the difference into an `environment` overlay")
}

pub(super) fn swallowed(field: &str, word: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0105", format!("`{field}` swallowed the field `{word}`"))
        .label(span, format!("read as a value of `{field}`"))
        .help(format!("end `{field}` with `;` or a line break before `{word}`"))
}

pub(super) fn bad_range(e: &RangeError, span: Span) -> Diagnostic {
    match e {
        RangeError::Bad { bracket, why } => Diagnostic::error("E0306", format!("`{bracket}` is no range: {why}"))
            .label(span, "here")
            .help("as in [1:9], [01:62], [1:9:2], [a:f] or [red,dub]; a raw string #\"..\"# keeps its brackets"),
        RangeError::TooMany => {
            Diagnostic::error("E0307", format!("this range has more than {} names", super::range::MAX_ITEMS))
                .label(span, "too many")
                .help("ranges in one name multiply; split it, or check the bounds")
        }
    }
}
