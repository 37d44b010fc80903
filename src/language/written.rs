//! How a node is written: which words are its name, its fields, its children. Strict: a word that is none is a mistake.

use super::schema::{FieldDef, KindDef, Schema};
use super::sink::Sink;
use super::suggest::{habit, nearest};
use super::types::Type;
use crate::model::tree::{Entry, Tree};
use crate::model::{Diagnostic, Span, Spanned};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Behind the name without a key.
    Positional,
    /// `field=value`
    Property,
    /// A child line: `field value ..`
    Line,
}

#[derive(Debug)]
pub(super) struct WrittenField<'t> {
    pub def: &'static FieldDef,
    pub form: Form,
    pub entries: Vec<&'t Entry>,
    pub span: Span,
    /// `(add)` or `(remove)` before a child line of an overlay.
    pub verb: Option<&'t Spanned<String>>,
}

#[derive(Debug)]
pub(super) struct Written<'t> {
    pub name: Option<&'t Entry>,
    pub fields: Vec<WrittenField<'t>>,
    pub children: Vec<(&'t Tree, &'static KindDef)>,
    /// Something in it was reported.
    pub tainted: bool,
}

/// Sorts the parts of a node. `overlay`: verbs may stand before its child lines and children.
/// `None` when even the name is missing; the mistake is reported.
pub(super) fn split<'t>(
    tree: &'t Tree,
    kind: &'static KindDef,
    schema: &'static Schema,
    sink: &mut Sink,
    overlay: bool,
) -> Option<Written<'t>> {
    let mut w = Written { name: None, fields: Vec::new(), children: Vec::new(), tainted: false };
    let mut args = tree.args().peekable();
    if kind.name_type.is_some() {
        w.name = args.next();
        if w.name.is_none() && !kind.name_optional {
            let what = if kind.name_type == Some(Type::Path) { "path" } else { "name" };
            let first = tree
                .entries
                .first()
                .and_then(|e| Some((e.name.as_ref()?.value.as_str(), super::text::shown(&e.value.value))));
            let help = match first {
                Some(("name", value)) => format!("write `{} {value}`, without name=", kind.name),
                Some((name, _)) if kind.field(name).is_none() => {
                    format!("write `{} {name} VALUE`, without `=`", kind.name)
                }
                _ => format!("write `{} {} ..`", kind.name, what.to_uppercase()),
            };
            sink.push(
                Diagnostic::error("E0106", format!("`{}` needs a {what}", kind.name))
                    .label(tree.name.span, format!("the {what} is missing"))
                    .help(help),
            );
            return None;
        }
        if let Some(a) = w.name.and_then(|e| e.annotation.as_ref()) {
            sink.push(
                Diagnostic::error("E0111", format!("`({})` does not belong before a name", a.value))
                    .label(a.span, "here")
                    .help("a verb stands before the kind: (patch)server mail-1"),
            );
            w.tainted = true;
        }
    }
    for def in kind.fields.iter().filter(|f| f.positional) {
        let entries: Vec<&Entry> = if def.many { args.by_ref().collect() } else { args.next().into_iter().collect() };
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let span = Span { len: last.span.offset + last.span.len - first.span.offset, ..first.span };
            w.fields.push(WrittenField { def, form: Form::Positional, entries, span, verb: None });
        }
    }
    if let Some(extra) = args.next() {
        extra_value(extra, tree, kind, &w, sink);
        w.tainted = true;
    }
    for e in tree.entries.iter() {
        let Some(name) = &e.name else { continue };
        match kind.field(&name.value) {
            Some(def) => add(
                &mut w,
                WrittenField { def, form: Form::Property, entries: vec![e], span: e.span, verb: None },
                kind,
                sink,
            ),
            None if kind.open && kind.name == "use" => {}
            None => {
                unknown_field(kind, &name.value, name.span, sink);
                w.tainted = true;
            }
        }
    }
    if kind.open {
        // Their children are nodes, but a field may still be written as a line.
        for c in &tree.children {
            if c.annotation.is_none() && schema.kind(&c.name.value).is_none_or(|k| !k.top_level()) {
                child(&mut w, c, kind, schema, sink, overlay);
            }
        }
    } else {
        for c in &tree.children {
            child(&mut w, c, kind, schema, sink, overlay);
        }
    }
    Some(w)
}

fn child<'t>(
    w: &mut Written<'t>,
    c: &'t Tree,
    kind: &'static KindDef,
    schema: &'static Schema,
    sink: &mut Sink,
    overlay: bool,
) {
    let name = c.name.value.as_str();
    let plain = c.children.is_empty() && c.entries.iter().all(|e| e.name.is_none());
    let is_child = kind.has_child(name);
    let verb = c.annotation.as_ref();
    match kind.field(name) {
        // `connection admin` is the field, `connection { user root }` the child.
        Some(def) if !is_child || plain && c.entries.len() == 1 => {
            if let Some(v) = verb
                && !(overlay && def.many && matches!(v.value.as_str(), "add" | "remove"))
            {
                let help = if overlay {
                    "(add) and (remove) work on lists; a field written without a verb is replaced"
                } else {
                    "verbs stand only in `environment` and `use`"
                };
                sink.push(
                    Diagnostic::error("E0402", format!("`({})` cannot stand before the field `{name}`", v.value))
                        .label(v.span, "here")
                        .help(help),
                );
                w.tainted = true;
                return;
            }
            if !plain {
                let at = c
                    .children
                    .first()
                    .map(|t| t.span)
                    .or_else(|| c.entries.iter().find(|e| e.name.is_some()).map(|e| e.span));
                sink.push(
                    Diagnostic::error("E0110", format!("`{name}` of `{}` is a field: it takes values only", kind.name))
                        .label(at.unwrap_or(c.span), "neither properties nor children here")
                        .help(format!("write `{name} VALUE`, and what follows on a line of its own")),
                );
                w.tainted = true;
                return;
            }
            let entries: Vec<&Entry> = c.entries.iter().collect();
            if entries.is_empty() {
                sink.push(
                    Diagnostic::error("E0106", format!("`{name}` has no value"))
                        .label(c.name.span, "a value is missing")
                        .help(format!("write `{name} VALUE`, or leave the line out")),
                );
                w.tainted = true;
                return;
            }
            if !def.many && entries.len() > 1 {
                one_value(def, kind, &entries, sink);
                w.tainted = true;
                return;
            }
            let start = c.name.span.offset;
            let end = entries.last().map_or(start, |e| e.span.offset + e.span.len);
            let span = Span { len: end - start, ..c.name.span };
            add(w, WrittenField { def, form: Form::Line, entries, span, verb }, kind, sink);
        }
        _ if is_child => {
            if let Some(v) = verb.filter(|v| !overlay && v.value != "final") {
                misplaced_verb(v, sink);
                w.tainted = true;
            }
            if let Some(k) = schema.kind(name) {
                w.children.push((c, k));
            }
        }
        _ => {
            w.tainted = true;
            match schema.kind(name) {
                Some(k) if !kind.words().any(|x| strsim::damerau_levenshtein(x, name) <= 1) => {
                    let place = if k.top_level() {
                        "at top level".to_owned()
                    } else {
                        format!("in {}", super::suggest::either(&k.parents))
                    };
                    sink.push(
                        Diagnostic::error("E0108", format!("`{name}` cannot stand in `{}`", kind.name))
                            .label(c.name.span, "not here")
                            .help(format!("it stands {place}; look for a `}}` that is missing above")),
                    );
                }
                _ => unknown_field(kind, name, c.name.span, sink),
            }
        }
    }
}

pub(super) fn misplaced_verb(v: &Spanned<String>, sink: &mut Sink) {
    sink.push(
        Diagnostic::error("E0402", format!("`({})` stands only in `environment` and `use`", v.value))
            .label(v.span, "no overlay here")
            .help("the base is written without verbs; only (final) may stand before a node of it"),
    );
}

fn add<'t>(w: &mut Written<'t>, f: WrittenField<'t>, kind: &KindDef, sink: &mut Sink) {
    let verb = f.verb.map(|v| v.value.as_str());
    if let Some(first) = w.fields.iter().find(|x| x.def.name == f.def.name && x.verb.map(|v| v.value.as_str()) == verb)
    {
        sink.push(
            Diagnostic::error("E0104", format!("`{}` of `{}` is set twice", f.def.name, kind.name))
                .label(f.span, "again here")
                .label(first.span, "set here")
                .help(if f.def.many { "write all values on one line" } else { "keep one of the two" }),
        );
        w.tainted = true;
        return;
    }
    w.fields.push(f);
}

fn unknown_field(kind: &KindDef, name: &str, span: Span, sink: &mut Sink) {
    let mut d =
        Diagnostic::error("E0102", format!("`{}` has no field `{name}`", kind.name)).label(span, "unknown field");
    let record = matches!(name, "A" | "AAAA" | "CNAME" | "MX" | "NS" | "TXT" | "SRV" | "PTR" | "CAA" | "TLSA");
    d = match (habit(name), nearest(name, kind.words())) {
        _ if record && kind.name == "zone" => d.help(match name {
            "MX" => "write record @ MX to=SERVER priority=10; `@` is the zone itself".to_owned(),
            "A" | "AAAA" => format!("write record NAME {name} to=SERVER, or an address in place of `to`"),
            _ => format!("write record NAME {name} VALUE; `@` is the zone itself"),
        }),
        (Some(h), _) => d.help(h),
        (None, Some(n)) => d.help(format!("did you mean `{n}`?")),
        _ => {
            let mut words: Vec<&str> = Vec::new();
            for w in kind.words() {
                if !words.contains(&w) {
                    words.push(w);
                }
            }
            if words.is_empty() { d.help("it has none at all") } else { d.help(format!("it has {}", words.join(", "))) }
        }
    };
    sink.push(d);
}

fn extra_value(extra: &Entry, tree: &Tree, kind: &KindDef, w: &Written, sink: &mut Sink) {
    let text = super::text::shown(&extra.value.value);
    let mut d = Diagnostic::error("E0103", format!("`{}` has one value too many", kind.name))
        .label(extra.span, "not expected here");
    d = if kind.name_type.is_none() {
        d.help(format!("`{}` has no name; its fields are written field=value", kind.name))
    } else if kind.field(&text).is_some() {
        d.help(format!("write `{text}=..`, or `{text} ..` on a line of its own inside {{ }}"))
    } else if w.name.is_some_and(|n| n.value.span.offset < extra.value.span.offset) {
        d.help(format!("`{} NAME` takes one name; everything else is written field=value", tree.name.value))
    } else {
        d
    };
    sink.push(d);
}

fn one_value(def: &FieldDef, kind: &KindDef, entries: &[&Entry], sink: &mut Sink) {
    if let Some(e) = entries.get(1) {
        let word = super::text::shown(&e.value.value);
        if e.value.span.len == word.len() && kind.words().any(|w| w == word) {
            return sink.push(super::decode::swallowed(&def.name, &word, e.value.span));
        }
        sink.push(
            Diagnostic::error(
                "E0109",
                format!("`{}` of `{}` takes one value, not {}", def.name, kind.name, entries.len()),
            )
            .label(e.span, "one too many")
            .help("a text with spaces stands in quotes"),
        );
    }
}
