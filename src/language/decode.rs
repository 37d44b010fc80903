//! Trees to draft nodes: strict fields at every depth, ranges, interpolation, types.

use super::draft::{DraftField, DraftNode, DraftValue};
use super::range::{Pattern, RangeError};
use super::schema::{FieldDef, KindDef, Schema};
use super::sink::Sink;
use super::suggest::{counted, nearest};
use super::text::{Missing, Scope, fill, has_capture, shown};
use super::types::{Draft, Type, Wrong, article};
use super::written::{Form, Written, WrittenField, split};
use crate::model::topology::Layer;
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, Span};

/// A whole topology has at most this many nodes and values; beyond it somebody multiplied ranges by mistake.
const MAX_NODES: usize = 200_000;
const MAX_VALUES: usize = 2_000_000;

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
                Prepared::Same(values) => Some(layer(place.layer, f.span, values)),
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
                let mut d = Diagnostic::error(
                    wrong.code,
                    format!("the name of `{kind}` is {}, not `{}`", ty.noun(), node.name),
                )
                .label(e.span, format!("not {}", ty.noun()));
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
        let layer = layer_of_all.cloned().unwrap_or_else(|| layer(place.layer, f.span, &values));
        node.fields.insert(&f.def.name, DraftField { values, layers: vec![layer], span: f.span });
    }

    /// The values of one written field for one node. `None`: reported.
    pub fn values(&mut self, f: &WrittenField, kind: &'static KindDef, place: Place) -> Option<Vec<DraftValue>> {
        let mut out = Vec::with_capacity(f.entries.len());
        for (at, e) in f.entries.iter().enumerate() {
            let Scalar::Text(t) = &e.value.value else {
                out.push(self.read(f, kind, &e.value.value, e, false, false)?);
                continue;
            };
            let filled = self.fill(t, place, f.span_of(e))?;
            let derived = t.contains('$');
            if f.def.ty.expands() && e.annotation.is_none() {
                match self.pattern(&filled.text, f.span_of(e))? {
                    Some(p) if f.list() => {
                        for (text, _) in p.iter() {
                            let mut v = self.read(f, kind, &Scalar::Text(text), e, true, false)?;
                            v.listed = true;
                            out.push(v);
                        }
                        continue;
                    }
                    Some(p) => {
                        if !self.zip_fits(&p, f, kind, place) {
                            return None;
                        }
                        let i = if p.len() == 1 { 0 } else { place.zip.map_or(0, |z| z.index) };
                        out.push(self.read(f, kind, &Scalar::Text(p.nth(i).0), e, true, false)?);
                        continue;
                    }
                    None => {}
                }
            }
            if at > 0 && self.swallowed(f, kind, e, t) {
                return None;
            }
            let scalar = filled.whole.unwrap_or(Scalar::Text(filled.text));
            out.push(self.read(f, kind, &scalar, e, derived, filled.secret)?);
        }
        Some(out)
    }

    /// `roles mailbox baselines mbx`: a bare word that is no value here but the next field.
    fn swallowed(&mut self, f: &WrittenField, kind: &KindDef, e: &Entry, text: &str) -> bool {
        let bare = e.value.span.len == text.len();
        let list = match &f.def.ty {
            Type::Enum(l) | Type::Open(l) => l,
            _ => return false,
        };
        if !bare || list.iter().any(|w| w == text) || !kind.words().any(|w| w == text) {
            return false;
        }
        self.sink.push(swallowed(&f.def.name, text, e.value.span));
        true
    }

    fn zip_fits(&mut self, p: &Pattern, f: &WrittenField, kind: &KindDef, place: Place) -> bool {
        let count = place.zip.map_or(1, |z| z.count);
        if p.len() == 1 || p.len() == count {
            return true;
        }
        let values = counted(p.len(), "value");
        let message = format!("`{}` has {values} for {}", f.def.name, counted(count, &kind.name));
        let mut d = Diagnostic::error("E0303", message).label(f.span, values);
        if let Some(z) = place.zip {
            d = d.label(z.names, counted(count, "name"));
        }
        d = d.help(match (f.def.many, count) {
            (true, _) => format!(
                "a property is zipped with the names; write `{} ..` on a line of its own to give the whole list",
                f.def.name
            ),
            (false, 1) => {
                "in a field that takes one value a range is zipped with the names, and here is one name".to_owned()
            }
            (false, n) => format!("in a field that takes one value a range is zipped with the names, so both need {n}"),
        });
        self.sink.push(d);
        false
    }

    pub fn fill(&mut self, text: &str, place: Place, span: Span) -> Option<super::text::Filled> {
        match fill(text, place.scope, place.captures) {
            Ok(f) => Some(f),
            Err(Missing::Name(n)) if place.scope.broken.contains(&n) => None,
            Err(Missing::Name(n)) => {
                let known = place.scope.names.keys().map(String::as_str);
                let mut d = Diagnostic::error("E0511", format!("nothing is called `${n}` here"))
                    .label(span, "unknown variable");
                d = match (nearest(&n, known), &place.scope.module) {
                    (Some(near), _) => d.help(format!("did you mean `${near}`?")),
                    (None, Some(m)) => d.help(format!(
                        "module `{m}` sees its params and `$self`, not the root's variables; `$$` writes a `$`"
                    )),
                    (None, None) => d.help(
                        "declare `variable` or `let`; `$$` writes a `$`, and a raw string #\"..\"# is never touched",
                    ),
                };
                self.sink.push(d);
                None
            }
            Err(Missing::Capture(_)) => {
                let n = place.captures.len();
                let what = if n == 0 {
                    "the name has no range".to_owned()
                } else {
                    format!("the name has {}", counted(n, "bracket"))
                };
                self.sink.push(
                    Diagnostic::error("E0511", format!("`{text}` uses the text of a bracket, but {what}"))
                        .label(span, "no such bracket")
                        .help("$1 is the text of the first bracket of the node's name; `$$` writes a `$`"),
                );
                None
            }
        }
    }

    pub fn pattern(&mut self, text: &str, span: Span) -> Option<Option<Pattern>> {
        match Pattern::parse(text) {
            Ok(p) => Some(p),
            Err(e) => {
                self.sink.push(bad_range(&e, span));
                None
            }
        }
    }

    /// One typed value; limits of numbers are checked here. `None`: reported.
    fn read(
        &mut self,
        f: &WrittenField,
        kind: &KindDef,
        scalar: &Scalar,
        e: &Entry,
        derived: bool,
        secret: bool,
    ) -> Option<DraftValue> {
        let span = f.span_of(e);
        let annotation = e.annotation.as_ref().map(|a| a.value.as_str());
        let def = f.def;
        let mut ty = &def.ty;
        let mut unit = None;
        match annotation {
            None if *ty == Type::Secret && !secret => {
                self.sink.push(literal_secret(&def.name, span, e.value.span));
                return None;
            }
            Some("secret") if *ty == Type::Any => ty = &Type::Secret,
            Some("secret") if *ty == Type::Secret => {}
            Some(u) if matches!(ty, Type::Duration | Type::Size | Type::Rate | Type::Percent) => unit = Some(u),
            Some(a) => {
                let help = if a == "secret" {
                    format!("`{}` holds {} and no secret; what stands here is shown in plans", def.name, ty.noun())
                } else {
                    "before a value stands (secret), or a unit before a number, as in (GiB)2".to_owned()
                };
                let at = e.annotation.as_ref().map_or(span, |a| a.span);
                self.sink.push(
                    Diagnostic::error("E0111", format!("`({a})` does not belong before `{}`", def.name))
                        .label(at, "no such type here")
                        .help(help),
                );
                return None;
            }
            None => {}
        }
        match ty.read(scalar, unit, derived) {
            Ok(draft) => {
                self.in_limits(def, kind, &draft, span)?;
                self.known_role(def, kind, &draft, span)?;
                Some(DraftValue { draft, span, raw: matches!(scalar, Scalar::Raw(_)), listed: false })
            }
            Err(wrong) => {
                self.sink.push(wrong_value(def, kind, scalar, wrong, span, e.value.span));
                None
            }
        }
    }

    fn in_limits(&mut self, def: &FieldDef, kind: &KindDef, draft: &Draft, span: Span) -> Option<()> {
        let Draft::Value(crate::model::topology::Value::Int(n)) = draft else { return Some(()) };
        if def.many || def.min.is_none_or(|m| *n >= m) && def.max.is_none_or(|m| *n <= m) {
            return Some(());
        }
        let range = match (def.min, def.max) {
            (Some(a), Some(b)) => format!("{a} to {b}"),
            (Some(a), None) => format!("{a} or more"),
            (_, b) => format!("{} or less", b.unwrap_or_default()),
        };
        self.sink.push(
            Diagnostic::error("E0203", format!("`{}` of `{}` is {range}, not {n}", def.name, kind.name))
                .label(span, "out of limits"),
        );
        None
    }

    fn known_role(&mut self, def: &FieldDef, kind: &KindDef, draft: &Draft, span: Span) -> Option<()> {
        let (Type::Open(list), Draft::Value(crate::model::topology::Value::Text(t))) = (&def.ty, draft) else {
            return Some(());
        };
        if list.iter().any(|w| w == t) || self.roles.is_some_and(|r| r.contains(t)) {
            return Some(());
        }
        let known = list.iter().map(String::as_str).chain(self.roles.into_iter().flatten().map(String::as_str));
        let near = nearest(t, known);
        if self.roles.is_none() && near.is_none() {
            return Some(());
        }
        let help = match near {
            Some(n) => format!("did you mean `{n}`?"),
            None => format!("the roles are {}; a pack under modules/ may define more", list.join(", ")),
        };
        self.sink.push(
            Diagnostic::error("E0202", format!("`{t}` is no role that `{}` of `{}` can take", def.name, kind.name))
                .label(span, "unknown role")
                .help(help),
        );
        None
    }
}

/// What a layer shows of its values: at most a line.
pub(super) fn layer(by: &str, span: Span, values: &[DraftValue]) -> Layer {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(|v| show(&v.draft)).collect();
    if values.len() > SHOWN {
        shown.push(format!(".. ({} in all)", values.len()));
    }
    Layer { by: by.to_owned(), span: Some(span), shown: shown.join(" ") }
}

pub(super) fn show(d: &Draft) -> String {
    match d {
        Draft::Name(n) => n.clone(),
        Draft::Value(v) => super::explain::value(v),
    }
}

pub(super) fn duplicate(kind: &str, name: &str, first: Span, again: Span) -> Diagnostic {
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

fn literal_secret(field: &str, span: Span, value: Span) -> Diagnostic {
    Diagnostic::error("E0701", format!("`{field}` must be a reference to a secret"))
        .label(span, "literal value in a file that goes to git")
        .masked(value, "")
        .help(format!(
            "write {field}=(secret)\"env:NAME\", \"file:..\", \"age:..\", \"vault:..\" or \"cmd:..\"; then remove the literal from git history and rotate it"
        ))
}

fn wrong_value(def: &FieldDef, kind: &KindDef, scalar: &Scalar, wrong: Wrong, span: Span, value: Span) -> Diagnostic {
    let (field, kind) = (&def.name, &kind.name);
    let mut d = match wrong.code {
        "E0701" => return literal_secret(field, span, value),
        "E0202" => Diagnostic::error("E0202", format!("`{field}` of `{kind}` cannot be `{}`", shown(scalar)))
            .label(span, "unknown word"),
        code => {
            let noun = match &def.ty {
                Type::Ref(_) | Type::Select(_) => format!("the name of {}", def.ty.noun()),
                t => t.noun(),
            };
            let what = match noun.split_once(' ') {
                Some((_, rest)) if noun.starts_with("a ") || noun.starts_with("an ") => article(rest),
                _ => noun,
            };
            Diagnostic::error(code, format!("`{field}` of `{kind}` takes {what}")).label(span, format!("not {what}"))
        }
    };
    d.help = wrong.help;
    d
}

impl<'t> WrittenField<'t> {
    /// True when a range expands to the whole list instead of being zipped with the names.
    pub fn list(&self) -> bool {
        self.def.many && !matches!(self.form, Form::Property)
    }

    /// The place to show for one of the values: the whole line when it is the only one.
    pub fn span_of(&self, e: &Entry) -> Span {
        if self.entries.len() == 1 { self.span } else { e.span }
    }
}
