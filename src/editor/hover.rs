//! Hover: what a word means, and what its value is in each environment, with the layers as `cutover explain` shows them.

use std::fmt::Write as _;

use gen_lsp_types as lsp;

use super::analysis::Analysis;
use super::completion::VERBS;
use super::index::{Role, Symbol};
use super::navigate::occurrence;
use super::outline::{Node as Written, Outline, Word};
use super::place::{Meaning, Place, Spot, meaning};
use super::uses::{Bindings, uses};
use super::view::View;
use crate::language::schema::{FieldDef, KindDef, Limit};
use crate::language::{expand, shown};
use crate::model::topology::{Field, Node, NodeId};
use crate::model::tree::Scalar;

/// More nodes of one range are not compared.
const COMPARED: usize = 500;

/// Different values that one line shows.
const SHOWN: usize = 3;

pub(super) fn answer(view: &View, at: lsp::Position) -> Option<lsp::Hover> {
    let text = view.text()?;
    let offset = text.offset(at);
    let outline = Outline::of(text.as_str());
    let place = Place::find(&outline, offset)?;
    let mut range = place.at.clone();
    let told = if let Some((name, bytes)) = used(text.as_str(), &place, offset) {
        range = bytes;
        variable(view, &place, &name)?
    } else {
        match (&place.spot, place.meaning()) {
            (Spot::Verb { word }, _) => {
                let (verb, doc) = VERBS.iter().find(|(v, _)| *v == word.text)?;
                format!("`({verb})`: {doc}")
            }
            (Spot::Start { word: Some(_) }, Meaning::Kind(k)) => kind(k),
            (Spot::Start { word: Some(_) }, Meaning::Field(k, f)) => field(view, &place, k, f),
            (Spot::Arg { word: Some(w), .. } | Spot::Value { word: Some(w), .. }, _) => value(view, &place, w, at)?,
            (Spot::Key { .. }, _) => {
                let (k, f) = place.field()?;
                field(view, &place, k, f)
            }
            _ => return None,
        }
    };
    let contents = lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value: told.trim_end().to_owned() };
    Some(lsp::Hover { contents: contents.into(), range: Some(text.range(range)) })
}

/// The `$name` under the cursor.
fn used(text: &str, place: &Place, offset: usize) -> Option<(String, std::ops::Range<usize>)> {
    let word = place.value()?;
    let written = text.get(word.at.clone())?;
    if written.starts_with('#') {
        return None;
    }
    let hit =
        uses(written).find(|(_, at)| word.at.start + at.start <= offset + 1 && offset <= word.at.start + at.end)?;
    Some((hit.0.to_owned(), word.at.start + hit.1.start..word.at.start + hit.1.end))
}

fn variable(view: &View, place: &Place, name: &str) -> Option<String> {
    if name.chars().all(|c| c.is_ascii_digit()) {
        return Some(format!("`${name}`: the text of bracket {name} of the name's range"));
    }
    if name == "self" {
        return Some("`$self`: the name of this instance of the module".into());
    }
    let good = view.good()?;
    let trees = good.trees.as_deref()?;
    let module = place.module();
    let bindings = Bindings::of(trees);
    let (_, id) = bindings.symbol(module, name)?;
    let of = module.map_or(String::new(), |m| format!(" of module `{m}`"));
    let mut out = format!("{} `{name}`{of}", id.kind);
    if let Some(t) = bindings.ty(module, name) {
        let _ = write!(out, ": {}", t.noun());
    }
    out.push('\n');
    let scope = match module {
        Some(m) => {
            trees.iter().find(|t| t.name.value == "module" && first(t) == Some(m)).map(|t| t.children.as_slice())?
        }
        None => trees,
    };
    let tree = scope.iter().find(|t| t.name.value == id.kind && first(t) == Some(name))?;
    let doc = tree.prop("doc").and_then(|e| e.value.value.as_text());
    if let Some(doc) = doc {
        let _ = writeln!(out, "\n{doc}");
    }
    if id.kind != "variable" {
        return Some(out);
    }
    // The default, then what the environments set along their chains.
    let base = good.topologies.first()?;
    let default = base.get("variable", name).and_then(|v| v.value("default")).map(|v| shown(&v.value));
    let mut lines = vec![("base".to_owned(), default.clone())];
    for environment in good.topologies.iter().filter_map(|t| t.environment.as_deref()) {
        let mut next = Some(environment.to_owned());
        let mut found = None;
        let mut steps = 0;
        while let (Some(e), None, true) = (&next, &found, steps < 32) {
            let node = base.get("environment", e);
            let set = node.into_iter().flat_map(|n| n.children("set")).find(|s| s.text("name") == Some(name));
            found = set.and_then(|s| s.value("value")).map(|v| shown(&v.value));
            next = node.and_then(|n| n.text("extends")).map(str::to_owned);
            steps += 1;
        }
        lines.push((environment.to_owned(), found.or_else(|| default.clone())));
    }
    for (environment, value) in lines {
        let value = value.map_or("not set".to_owned(), |v| format!("`{v}`"));
        let _ = writeln!(out, "\n- {environment}: {value}");
    }
    Some(out)
}

fn first(t: &crate::model::tree::Tree) -> Option<&str> {
    t.args().next()?.value.value.as_text()
}

fn kind(k: &KindDef) -> String {
    let mut out = format!("**{}**", k.name);
    if let Some(t) = &k.name_type {
        let _ = write!(out, " NAME ({})", t.noun());
    }
    let _ = writeln!(out, "\n\n{}", k.doc);
    limit(&k.limit, &mut out);
    let required: Vec<&str> = k.fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
    let others: Vec<&str> = k.fields.iter().filter(|f| !f.required).map(|f| f.name.as_str()).collect();
    for (title, list) in
        [("needs", required), ("takes", others), ("holds", k.children.iter().map(String::as_str).collect())]
    {
        if !list.is_empty() {
            let _ = writeln!(out, "\n{title} {}", list.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", "));
        }
    }
    out
}

fn limit(l: &Limit, out: &mut String) {
    for (word, side) in [("since", &l.since), ("until", &l.until)] {
        if let Some((product, version)) = side {
            let _ = writeln!(out, "\n{word} {product} {version}");
        }
    }
}

/// A scalar of the schema as a file would hold it.
pub(super) fn scalar(s: &Scalar) -> String {
    match s {
        Scalar::Text(t) | Scalar::Raw(t) => t.clone(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(f) => f.to_string(),
        Scalar::Bool(b) => format!("#{b}"),
        Scalar::Null => "#null".into(),
    }
}

fn field(view: &View, place: &Place, k: &KindDef, f: &FieldDef) -> String {
    let mut out = format!("**{}** of `{}`: {}", f.name, k.name, super::completion::described(f));
    match (f.min, f.max) {
        (Some(a), Some(b)) => drop(write!(out, "; {a} to {b}")),
        (Some(a), None) => drop(write!(out, "; {a} or more")),
        (None, Some(b)) => drop(write!(out, "; {b} or less")),
        (None, None) => {}
    }
    out.push('\n');
    if !f.doc.is_empty() {
        let _ = writeln!(out, "\n{}", f.doc);
    }
    limit(&f.limit, &mut out);
    // A line belongs to the node around it, a property to its own.
    let owner = match place.meaning() {
        Meaning::Field(..) => place.parents.last().copied(),
        _ => place.node,
    };
    if let (Some(good), Some(owner)) = (view.good(), owner) {
        out.push_str(&layers(good, &symbols(view, owner, k), &f.name));
    }
    out
}

/// What a written node stands for.
fn symbols(view: &View, node: &Written, k: &KindDef) -> Vec<Symbol> {
    let Some(good) = view.good() else { return Vec::new() };
    let at = node.arg(0).filter(|_| k.name_type.is_some()).map_or(node.kind.at.start, |w| w.at.start);
    let Some(span) = view.there(at) else { return Vec::new() };
    if k.name_type.is_some() {
        let hit = good.index().at(span);
        // A stand-in makes another kind of it; a name that refers to another node stands for both.
        let refers = k.name_type.as_ref().is_some_and(|t| t.kinds().is_some());
        let symbols = hit.into_iter().flat_map(|o| &o.symbols);
        return symbols.filter(|(_, id)| !refers || id.kind == k.name).cloned().collect();
    }
    fn walk(node: &Node, at: (crate::model::SourceId, usize), out: &mut Vec<NodeId>) {
        if (node.span.source, node.span.offset) == at {
            out.push(node.id.clone());
        }
        node.children.iter().for_each(|c| walk(c, at, out));
    }
    let mut out = Vec::new();
    for (i, t) in good.topologies.iter().enumerate() {
        let mut found = Vec::new();
        t.nodes.values().for_each(|n| walk(n, (span.source, span.offset), &mut found));
        out.extend(found.into_iter().filter(|id| id.kind == k.name).map(|id| (i, id)));
    }
    out
}

/// The value of a field in each environment, with what set it.
fn layers(good: &Analysis, symbols: &[Symbol], field: &str) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (i, topology) in good.topologies.iter().enumerate() {
        let own = symbols.iter().filter(|(t, _)| *t == i).take(COMPARED);
        let nodes: Vec<&Node> = own.filter_map(|(_, id)| topology.find(id)).collect();
        if nodes.is_empty() {
            continue;
        }
        let mut seen: Vec<String> = Vec::new();
        for n in &nodes {
            let text = n.fields.get(field).map_or("not set".to_owned(), |f| drawn(good, f));
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        let more = seen.len().saturating_sub(SHOWN);
        seen.truncate(SHOWN);
        if more > 0 {
            seen.push(format!("and {more} more"));
        }
        lines.push((good.environment(i).to_owned(), seen.join("; ")));
    }
    if lines.len() > 1 && lines.len() == good.topologies.len() && lines.iter().all(|(_, l)| *l == lines[0].1) {
        lines = vec![("everywhere".to_owned(), lines.swap_remove(0).1)];
    }
    lines.iter().fold(String::new(), |mut out, (environment, line)| {
        let _ = writeln!(out, "\n- {environment}: {line}");
        out
    })
}

fn drawn(good: &Analysis, f: &Field) -> String {
    let mut values: Vec<String> = f.values.iter().take(8).map(|v| shown(&v.value)).collect();
    if f.values.len() > 8 {
        values.push(format!(".. ({} in all)", f.values.len()));
    }
    let by: Vec<String> = f
        .layers
        .iter()
        .rev()
        .map(|l| match l.span {
            Some(s) => {
                let at = good.sources.origin(s);
                format!("{} ({}:{})", l.by, at.file, at.line)
            }
            None => l.by.to_string(),
        })
        .collect();
    format!("`{}` from {}", values.join(" "), by.join(", over "))
}

fn value(view: &View, place: &Place, w: &Word, at: lsp::Position) -> Option<String> {
    let mut out = String::new();
    let o = occurrence(view, at).filter(|o| !o.variable);
    if let Some(o) = o
        && !o.symbols.is_empty()
    {
        let good = view.good()?;
        let ids: Vec<&NodeId> = {
            let mut ids: Vec<&NodeId> = Vec::new();
            for (_, id) in &o.symbols {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            ids
        };
        let names: Vec<&str> = ids.iter().map(|id| id.plain()).collect();
        match ids.as_slice() {
            [one] => {
                let _ = writeln!(out, "{} `{}`", one.kind, one.plain());
            }
            _ => {
                let _ = writeln!(out, "{} names: {}", names.len(), listed(&names));
            }
        }
        if o.role != Role::Definition {
            for d in good.index().definitions(&o.symbols).into_iter().take(SHOWN) {
                let _ = writeln!(out, "\ndefined in {}", good.sources.origin(d.at));
            }
        }
        let defined = good.index().definitions(&o.symbols);
        let there = |i: usize| defined.iter().any(|d| d.symbols.iter().any(|(t, _)| *t == i));
        let everywhere = |id: &NodeId| matches!(id.kind.as_str(), "module" | "let" | "param");
        let missing: Vec<&str> =
            (0..good.topologies.len()).filter(|i| !there(*i)).map(|i| good.environment(i)).collect();
        if !missing.is_empty() && !defined.is_empty() && !ids.iter().any(|id| everywhere(id)) {
            let _ = writeln!(out, "\nnot in {}", missing.join(", "));
        }
        if o.role == Role::Definition
            && let Meaning::Kind(k) = meaning(place.node?, place.parent(), place.parents.is_empty())
        {
            let _ = writeln!(out, "\n{}", k.doc);
        }
    } else if let Some(x) = expand(&w.text).filter(|_| w.tok == crate::language::scan::Tok::Quoted) {
        let some: Vec<String> = x.iter().take(8).collect();
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let more = if x.count() > some.len() { " .." } else { "" };
        let _ = writeln!(out, "{} values: {}{more}", x.count(), some.join(" "));
    }
    if let Some((k, f)) = place.field() {
        if !out.is_empty() {
            out.push_str("\n---\n\n");
        }
        out.push_str(&field(view, place, k, f));
    }
    (!out.is_empty()).then_some(out)
}

fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., last] if names.len() > 8 => format!("{} .. {last}", first[..5].join(" ")),
        _ => names.join(" "),
    }
}
