//! Completion: what may stand at the cursor.

use gen_lsp_types as lsp;
use lsp::{CompletionItem, CompletionItemKind as Kind};

use super::candidates::{Candidate, names_here, values};
use super::outline::{Node, Outline, Word};
use super::place::{Meaning, Place, Spot, quoted};
use super::position::Text;
use super::uses::Bindings;
use super::view::View;
use crate::language::schema::{FieldDef, KindDef, schema};
use crate::language::types::Type;

/// More than this nobody reads; typing on asks again.
const MOST: usize = 300;

pub(super) const VERBS: [(&str, &str); 5] = [
    ("patch", "change fields of a node that exists; each field written replaces"),
    ("add", "a node that does not exist yet; before a field: append to the list"),
    ("remove", "take a node away; before a field: take values out of the list"),
    ("replace", "write a node that exists anew"),
    ("take", "keep the first of a range: (take)server \"mbx-[01:12]\" 2"),
];

pub(super) fn answer(view: &View, at: lsp::Position) -> lsp::CompletionList {
    let Some(text) = view.text() else { return lsp::CompletionList::default() };
    let offset = text.offset(at);
    let outline = Outline::of(text.as_str());
    let Some(place) = Place::find(&outline, offset) else { return lsp::CompletionList::default() };
    let ask = Ask { view, text: &text, outline: &outline, place: &place, offset };
    let (mut found, at) = ask.candidates();
    let typed = text.as_str().get(at.start..offset).unwrap_or_default().trim_start_matches('"').to_lowercase();
    // The editor filters; here only what cannot match is left out, so that the list stays short.
    if found.len() > MOST {
        found.retain(|c| c.label.to_lowercase().contains(&typed));
    }
    let is_incomplete = found.len() > MOST;
    let range = text.range(at);
    let items = found.into_iter().take(MOST).enumerate().map(|(i, c)| ask.item(i, c, range)).collect();
    lsp::CompletionList { is_incomplete, items, ..lsp::CompletionList::default() }
}

struct Ask<'a> {
    view: &'a View<'a>,
    text: &'a Text,
    outline: &'a Outline,
    place: &'a Place<'a>,
    offset: usize,
}

impl Ask<'_> {
    /// What may stand there, and the bytes that it replaces.
    fn candidates(&self) -> (Vec<Candidate>, std::ops::Range<usize>) {
        if let Some(found) = self.variables() {
            return found;
        }
        let found = match &self.place.spot {
            Spot::Verb { .. } => VERBS.iter().map(|(v, doc)| Candidate::new(Kind::Keyword, *v).doc(*doc)).collect(),
            Spot::Start { .. } => self.starts(),
            Spot::Arg { index, .. } => self.argument(*index),
            Spot::Key { .. } => self.keys(),
            Spot::Value { key, word } => self.value(&key.text, *word),
        };
        (found, self.replaced())
    }

    /// The bytes that a candidate replaces: the word under the cursor. Of a text that is not closed yet, and so reaches to the end of the
    /// line, only what stands before the cursor.
    fn replaced(&self) -> std::ops::Range<usize> {
        let at = self.place.at.clone();
        let written = self.text.as_str().get(at.clone()).unwrap_or_default();
        let open = written.starts_with('"') && (written.len() < 2 || !written.ends_with('"'));
        if written.contains(['\n', '\r']) {
            self.offset..self.offset
        } else if open {
            at.start..self.offset.max(at.start)
        } else {
            at
        }
    }

    /// Behind a `$`: the names that are bound here.
    fn variables(&self) -> Option<(Vec<Candidate>, std::ops::Range<usize>)> {
        let word = self.place.value()?;
        let written = self.text.as_str().get(word.at.start..self.offset)?;
        let dollar = written.rfind('$')?;
        let name = written[dollar + 1..].strip_prefix('{').unwrap_or(&written[dollar + 1..]);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(fits) || written.starts_with('#') || written[..dollar].ends_with('$') {
            return None;
        }
        let mut found = Vec::new();
        let bindings = self.bindings();
        let module = self.place.module();
        for (name, kind, ty) in bindings.all(module) {
            let ty = ty.map_or(kind.to_owned(), |t| format!("{kind}, {}", t.noun()));
            found.push(Candidate::new(Kind::Variable, name).detail(ty));
        }
        let instance = self.place.parents.iter().any(|p| p.kind.text == "use");
        if module.is_some() || instance {
            found.push(Candidate::new(Kind::Variable, "self").detail("name of the instance"));
        }
        let name = self.place.node.or(self.place.parents.last().copied()).and_then(|n| n.arg(0));
        let brackets = name.map_or(0, |w| w.text.matches('[').count());
        for i in 1..=brackets {
            found.push(Candidate::new(Kind::Variable, i.to_string()).detail("text of a bracket of the name"));
        }
        let end = self.offset + self.text.as_str()[self.offset..].find(|c| !fits(c)).unwrap_or(0);
        let end = end.min(word.inner().end.max(self.offset));
        Some((found, self.offset - name_len(written, dollar)..end))
    }

    /// The bindings of the last good trees, with those that are being written.
    fn bindings(&self) -> Bindings {
        let mut out = self.view.good().and_then(|g| g.trees.as_deref()).map_or_else(Bindings::default, Bindings::of);
        out.add_written(&self.outline.nodes);
        out
    }

    /// Where a node begins.
    fn starts(&self) -> Vec<Candidate> {
        let verb = self.place.node.and_then(|n| n.verb.as_ref());
        let Some(parent) = self.place.parent() else {
            if !self.place.parents.is_empty() {
                return Vec::new();
            }
            return schema().kinds.iter().filter(|k| k.top_level()).map(|k| self.kind(k)).collect();
        };
        let around = self.place.parents.last();
        let mut found: Vec<Candidate> = Vec::new();
        if verb.is_none() || !parent.open {
            found.extend(parent.fields.iter().filter(|f| !self.is_set(around, f)).map(|f| self.line(f)));
            found.extend(parent.children.iter().filter_map(|c| schema().kind(c)).map(|k| self.kind(k)));
        }
        if parent.open {
            let overlay = parent.name != "module";
            if overlay && verb.is_none() {
                found.extend(VERBS.iter().map(|(v, doc)| {
                    Candidate::new(Kind::Keyword, format!("({v})")).doc(*doc).written(format!("({v})"))
                }));
            }
            if !overlay || verb.is_some() {
                let stands = |k: &&KindDef| {
                    k.top_level() && !matches!(k.name.as_str(), "language" | "include" | "organization" | "variable")
                };
                found.extend(
                    schema()
                        .kinds
                        .iter()
                        .filter(stands)
                        .filter(|k| verb.is_none() || !k.open && k.name != "let")
                        .map(|k| self.kind(k)),
                );
            }
        } else if self.place.overlay() && verb.is_none() {
            found.extend(
                ["add", "remove"].map(|v| Candidate::new(Kind::Keyword, format!("({v})")).written(format!("({v})"))),
            );
        }
        found
    }

    fn is_set(&self, node: Option<&&Node>, field: &FieldDef) -> bool {
        field.positional
            || node.is_some_and(|n| {
                let written = self.place.node.map(|n| n.at.start);
                n.items.iter().any(|i| i.key.as_ref().is_some_and(|k| k.text == field.name))
                    || n.children.iter().any(|c| c.kind.text == field.name && Some(c.at.start) != written)
            })
    }

    /// A kind; with snippets, its required fields too.
    fn kind(&self, k: &KindDef) -> Candidate {
        let mut c = Candidate::new(Kind::Class, k.name.as_str()).doc(k.doc.as_str());
        if let Some(t) = &k.name_type {
            c = c.detail(format!("{} NAME, {}", k.name, t.noun()));
        }
        let fresh = self.place.node.is_none_or(|n| n.items.is_empty() && n.verb.is_none());
        if !self.view.client.snippets || !fresh {
            return c;
        }
        let mut out = k.name.clone();
        let mut stop = 0;
        let mut next = || {
            stop += 1;
            stop
        };
        if k.name_type.is_some() && !k.name_optional {
            out.push_str(&format!(" ${{{}:name}}", next()));
        }
        for f in k.fields.iter().filter(|f| f.positional && f.required) {
            out.push_str(&format!(" ${{{}:{}}}", next(), f.name));
        }
        for f in k.fields.iter().filter(|f| f.required && !f.positional && !f.many) {
            out.push_str(&format!(" {}=${{{}}}", f.name, next()));
        }
        let lists: Vec<&FieldDef> = k.fields.iter().filter(|f| f.required && !f.positional && f.many).collect();
        if !lists.is_empty() {
            let lines: String = lists.iter().map(|f| format!(" {} ${{{}}};", f.name, next())).collect();
            out.push_str(&format!(" {{{lines} }}"));
        }
        if stop > 0 { c.snippet(out) } else { c }
    }

    fn line(&self, f: &FieldDef) -> Candidate {
        Candidate::new(Kind::Field, f.name.as_str())
            .detail(described(f))
            .doc(f.doc.as_str())
            .written(format!("{} ", f.name))
    }

    fn argument(&self, index: usize) -> Vec<Candidate> {
        let word = self.place.value();
        let mut found = Vec::new();
        match self.place.meaning() {
            Meaning::Field(_, f) => {
                let taken: Vec<&str> = self
                    .place
                    .node
                    .into_iter()
                    .flat_map(Node::args)
                    .filter_map(|i| i.value.as_ref())
                    .map(|w| w.text.as_str())
                    .collect();
                let typed = word.map(|w| w.text.as_str());
                let mut list = self.of_type(&f.ty, Some(f), word);
                list.retain(|c| !f.many || Some(c.label.as_str()) == typed || !taken.contains(&c.label.as_str()));
                return list;
            }
            Meaning::Kind(k) => {
                let node = self.place.node;
                let verb = node.and_then(|n| n.verb.as_ref()).map(|v| v.text.as_str());
                if let Some((_, ty)) = self.place.name() {
                    found = match (k.name.as_str(), ty) {
                        ("include", _) => super::candidates::files(self.view),
                        ("allow", _) => super::candidates::rules(),
                        ("use", _) => self.modules(),
                        (_, Type::Ref(_) | Type::Select(_) | Type::Enum(_)) => self.of_type(ty, None, word),
                        _ if self.place.overlay() && !matches!(verb, Some("add")) => {
                            names_here(self.view, self.outline, k, &self.place.parents)
                        }
                        _ => Vec::new(),
                    };
                    return found;
                }
                if let Some((_, f)) = self.place.field() {
                    found = if k.name == "set" { self.set_value(word) } else { self.of_type(&f.ty, Some(f), word) };
                    if index <= usize::from(k.name_type.is_some()) && f.required {
                        return found;
                    }
                }
                if word.is_none_or(|w| w.tok == crate::language::scan::Tok::Word) {
                    found.extend(self.keys());
                }
            }
            Meaning::Unknown => {}
        }
        found
    }

    /// The value of `set NAME`, by the type of the variable.
    fn set_value(&self, word: Option<&Word>) -> Vec<Candidate> {
        let name = self.place.node.and_then(|n| n.arg(0)).map(|w| w.text.clone()).unwrap_or_default();
        let bindings = self.bindings();
        bindings.ty(None, &name).map_or_else(Vec::new, |t| self.of_type(t, None, word))
    }

    /// Fields that may follow as `key=value`.
    fn keys(&self) -> Vec<Candidate> {
        let Meaning::Kind(k) = self.place.meaning() else { return Vec::new() };
        let node = self.place.node;
        let here = match &self.place.spot {
            Spot::Key { word } => Some(word.at.start),
            _ => None,
        };
        let set = |name: &str| {
            node.is_some_and(|n| {
                n.items.iter().filter_map(|i| i.key.as_ref()).any(|w| w.text == name && Some(w.at.start) != here)
                    || n.children.iter().any(|c| c.kind.text == name)
            })
        };
        let open = |f: &&FieldDef| !f.positional && !set(&f.name);
        let with_equals = here.is_none();
        let mut found: Vec<Candidate> = k
            .fields
            .iter()
            .filter(open)
            .map(|f| {
                let c = Candidate::new(Kind::Field, f.name.as_str()).detail(described(f)).doc(f.doc.as_str());
                let c = if f.required { c.first() } else { c };
                if with_equals { c.written(format!("{}=", f.name)) } else { c }
            })
            .collect();
        if k.name == "use" {
            let module = node.and_then(|n| n.arg(0)).map(|w| w.text.clone()).unwrap_or_default();
            let bindings = self.bindings();
            for (name, _, ty) in bindings.all(Some(&module)).filter(|(n, kind, _)| *kind == "param" && !set(n)) {
                let c = Candidate::new(Kind::Field, name).detail(ty.map_or(String::new(), |t| t.noun())).first();
                found.push(if with_equals { c.written(format!("{name}=")) } else { c });
            }
        }
        found
    }

    fn value(&self, key: &str, word: Option<&Word>) -> Vec<Candidate> {
        if let Some((_, f)) = self.place.field() {
            return self.of_type(&f.ty, Some(f), word);
        }
        let node = self.place.node.filter(|n| n.kind.text == "use");
        let module = node.and_then(|n| n.arg(0)).map(|w| w.text.clone()).unwrap_or_default();
        let bindings = self.bindings();
        bindings.ty(Some(&module), key).map_or_else(Vec::new, |t| self.of_type(t, None, word))
    }

    fn of_type(&self, ty: &Type, def: Option<&FieldDef>, word: Option<&Word>) -> Vec<Candidate> {
        let mut found = values(self.view, self.outline, ty, def, word);
        let bindings = self.bindings();
        for (name, kind, bound) in bindings.all(self.place.module()) {
            if bound.is_some_and(|b| b == ty) {
                found.push(Candidate::new(Kind::Variable, format!("${name}")).detail(kind).written(format!("${name}")));
            }
        }
        found
    }

    fn modules(&self) -> Vec<Candidate> {
        let trees = self.view.good().and_then(|g| g.trees.as_deref()).unwrap_or_default();
        let declared = trees.iter().filter(|t| t.name.value == "module").filter_map(|t| t.args().next());
        let mut names: Vec<String> = declared.filter_map(|e| e.value.value.as_text()).map(str::to_owned).collect();
        names.extend(
            self.outline
                .nodes
                .iter()
                .filter(|n| n.kind.text == "module")
                .filter_map(|n| n.arg(0))
                .map(|w| w.text.clone()),
        );
        names.extend(super::candidates::module_folders(self.view));
        names.sort();
        names.dedup();
        names.into_iter().map(|n| Candidate::new(Kind::Module, n)).collect()
    }

    fn item(&self, number: usize, c: Candidate, range: lsp::Range) -> CompletionItem {
        let inside = self
            .place
            .value()
            .is_some_and(|w| w.at.start < self.offset && self.text.as_str()[w.at.start..].starts_with('"'));
        let variable = c.kind == Kind::Variable && !c.label.starts_with('$');
        let new_text = match c.text {
            Some(t) if inside && !variable => format!("\"{}\"", t.trim_matches('"')),
            Some(t) => t,
            None if variable => c.label.clone(),
            None if inside => format!("\"{}\"", c.label),
            None => quoted(&c.label),
        };
        let sort = if c.first { 0 } else { 1 };
        CompletionItem {
            label: c.label.clone(),
            kind: Some(c.kind),
            detail: (!c.detail.is_empty()).then_some(c.detail),
            documentation: (!c.doc.is_empty()).then_some(lsp::Documentation::String(c.doc)),
            sort_text: Some(format!("{sort}{number:04}")),
            // The editor compares with the text that is replaced, quotes included.
            filter_text: Some(if new_text.starts_with('"') { format!("\"{}\"", c.label) } else { c.label }),
            insert_text_format: c.snippet.then_some(lsp::InsertTextFormat::Snippet),
            text_edit: Some(lsp::TextEdit { range, new_text }.into()),
            ..CompletionItem::default()
        }
    }
}

/// Bytes of the name behind the `$` up to the cursor.
fn name_len(written: &str, dollar: usize) -> usize {
    let after = &written[dollar + 1..];
    after.strip_prefix('{').unwrap_or(after).len()
}

/// `duration, required`, `one of a, b; default a`.
pub(super) fn described(f: &FieldDef) -> String {
    let mut out = f.ty.noun();
    if f.many {
        out = format!("list: {out}");
    }
    if f.required {
        out.push_str(", required");
    }
    if let Some(d) = &f.default {
        out.push_str(&format!("; default {}", super::hover::scalar(d)));
    }
    out
}
