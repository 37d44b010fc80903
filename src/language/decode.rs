//! Trees to draft nodes: strict fields at every depth, ranges, interpolation, types.

use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::draft::{DraftField, DraftNode, DraftValue};
use super::range::{Pattern, RangeError};
use super::schema::{KindDef, Schema};
use super::sink::Sink;
use super::suggest::counted;
use super::text::{Scope, has_capture, shown};
use super::types::Draft;
use super::written::{Written, WrittenField, split};
use crate::model::fields::Fields;
use crate::model::topology::{Layer, Value};
use crate::model::tree::{Entry, Scalar, Tree};
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
    Same(Arc<DraftField>),
    Zipped(Pattern),
    /// Uses `$1`: made anew for each name.
    Each,
    Broken,
}

/// A child line of a node, and what it stands for.
struct Child<'t> {
    tree: &'t Tree,
    kind: &'static KindDef,
    /// It does not hang on which of several parents it stands in.
    same: bool,
    made: Option<Made>,
}

struct Made {
    drafts: Vec<DraftNode>,
    nodes: usize,
    values: usize,
}

impl<'t> Child<'t> {
    fn of(tree: &'t Tree, kind: &'static KindDef, parents: usize, place: Place) -> Self {
        Self { tree, kind, same: parents > 1 && same_everywhere(tree, place.scope), made: None }
    }
}

/// No text takes the text of a bracket or holds a range, which may be zipped with the names of the parents.
fn same_everywhere(tree: &Tree, scope: &Scope) -> bool {
    let ranged = |name: &str| scope.names.get(name).is_some_and(|b| shown(&b.scalar).contains('['));
    let differs = |e: &Entry| matches!(&e.value.value, Scalar::Text(t) if t.contains('[') || has_capture(t) || super::text::names(t).any(ranged));
    !tree.entries.iter().any(differs) && tree.children.iter().all(|c| same_everywhere(c, scope))
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
        let mut prepared: Vec<(&WrittenField, Prepared, Said)> = Vec::new();
        let mut tainted = w.tainted;
        for f in &w.fields {
            let said = Said::of(f, place);
            let p = self.prepare(f, kind, Place { zip: first_zip, ..place }, &said);
            tainted |= matches!(p, Prepared::Broken);
            prepared.push((f, p, said));
        }
        let mut children: Vec<Child> = w.children.iter().map(|(t, k)| Child::of(t, k, count, place)).collect();
        let mut out = Vec::with_capacity(count.min(MAX_NODES));
        for i in 0..count {
            let (name, captures) = names.as_ref().map_or((String::new(), None), |n| n.nth(i));
            let name = SmolStr::from(name);
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
                fields: Fields::with_capacity(prepared.len()),
                children: Vec::new(),
                is_final: tree.annotation.as_ref().map(|a| a.span),
                tainted,
                name,
            };
            node.tainted |= !self.name_value(&mut node, &w);
            for (f, p, said) in &prepared {
                self.fill_field(&mut node, f, p, said, here);
            }
            for c in &mut children {
                let made = self.children(c, here);
                node.tainted |= made.is_empty();
                node.children.extend(made);
            }
            node.children.shrink_to_fit();
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

    /// The children of one parent that a tree stands for. Where all parents have the same, the first one's are shared.
    fn children(&mut self, c: &mut Child, place: Place) -> Vec<DraftNode> {
        if let Some(made) = c.made.as_ref().filter(|m| self.nodes + m.nodes <= MAX_NODES) {
            self.nodes += made.nodes;
            self.values += made.values;
            return made.drafts.clone();
        }
        let (nodes, values) = (self.nodes, self.values);
        let drafts = self.nodes(c.tree, c.kind, place);
        if c.same {
            let made = Made { drafts: drafts.clone(), nodes: self.nodes - nodes, values: self.values - values };
            c.made = Some(made);
        }
        drafts
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
        let scalar = if numeric { e.value.value.clone() } else { Scalar::Text(node.name.to_string()) };
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
                    _ => {
                        let name = &node.name;
                        // The whole of it stands in the excerpt.
                        let head: String = name.chars().take(LONGEST).collect();
                        let dots = if head.len() < name.len() { "…" } else { "" };
                        format!("the name of `{kind}` is {}, not `{head}{dots}`", ty.noun())
                    }
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
        let mut seen: std::collections::HashMap<(&str, SmolStr), Span> = Default::default();
        for c in node.children.iter().filter(|c| !c.kind.repeat) {
            if let Some(first) = seen.insert((&c.kind.name, c.id()), c.span) {
                self.sink.push(duplicate(&c.kind.name, &c.id(), first, c.span));
            }
        }
    }

    fn prepare(&mut self, f: &WrittenField, kind: &'static KindDef, place: Place, said: &Said) -> Prepared {
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
            Some(values) => Prepared::Same(Arc::new(said.field(f, values))),
            None => Prepared::Broken,
        }
    }

    fn fill_field(&mut self, node: &mut DraftNode, f: &WrittenField, p: &Prepared, said: &Said, place: Place) {
        let field = match p {
            Prepared::Broken => None,
            Prepared::Same(field) => Some(field.clone()),
            Prepared::Zipped(pattern) => {
                let i = if pattern.len() == 1 { 0 } else { place.zip.map_or(0, |z| z.index) };
                let scalar = Scalar::Text(pattern.nth(i).0);
                self.read(f, node.kind, &scalar, f.entries[0], true, false).map(|v| Arc::new(said.field(f, vec![v])))
            }
            Prepared::Each => self.values(f, node.kind, place).map(|values| Arc::new(said.field(f, values))),
        };
        let Some(field) = field else {
            node.tainted = true;
            return;
        };
        self.values += field.values.len();
        node.fields.insert(&f.def.name, field);
    }
}

/// Who says a field and what it was made of: the same for all names of a range.
struct Said {
    by: SmolStr,
    via: Option<Arc<[Layer]>>,
}

impl Said {
    fn of(f: &WrittenField, place: Place) -> Self {
        Self { by: place.layer.into(), via: via(f, place) }
    }

    /// What a layer shows of its values: at most a line.
    fn layer(&self, f: &WrittenField, values: &[DraftValue]) -> Layer {
        let shown = shown_values(values);
        let shown = match f.verb.map(|v| v.value.as_str()) {
            Some(verb @ ("add" | "remove")) => format_smolstr!("({verb}) {shown}"),
            _ => shown,
        };
        Layer { by: self.by.clone(), span: Some(f.span), shown, via: self.via.clone() }
    }

    fn field(&self, f: &WrittenField, values: Vec<DraftValue>) -> DraftField {
        let layers = vec![self.layer(f, &values)];
        DraftField { values, layers, span: f.span }
    }
}

/// The layer that an overlay adds to a field.
pub(super) fn layer(place: Place, f: &WrittenField, values: &[DraftValue]) -> Layer {
    Said::of(f, place).layer(f, values)
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

/// Characters of a name that a message repeats.
const LONGEST: usize = 200;

fn shown_values(values: &[DraftValue]) -> SmolStr {
    const SHOWN: usize = 8;
    if let [DraftValue { draft: Draft::Name(t) | Draft::Value(Value::Text(t)), .. }] = values {
        return t.clone();
    }
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(|v| show(&v.draft)).collect();
    if values.len() > SHOWN {
        shown.push(format!(".. ({} in all)", values.len()));
    }
    shown.join(" ").into()
}

pub(super) fn show(d: &Draft) -> String {
    match d {
        Draft::Name(n) => n.to_string(),
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
