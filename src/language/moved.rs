//! `moved from=.. to=..`: what a node was called before, so that a plan changes it instead of destroying one and making another.

use std::collections::BTreeMap;

use super::draft::{DraftNode, Store};
use super::range::Pattern;
use super::resolve::Index;
use super::schema::Schema;
use super::sink::Sink;
use super::suggest::nearest;
use super::types::Draft;
use crate::model::topology::{NodeId, Value};
use crate::model::{Diagnostic, Span};

/// One rename: both names and where they stand.
struct Rename {
    from: NodeId,
    to: NodeId,
    from_span: Span,
    to_span: Span,
}

/// Former identities with what each is now, chains resolved. A former name that is still there is a mistake, and so is one that
/// leads nowhere.
pub(super) fn read(store: &Store, index: &Index, schema: &'static Schema, sink: &mut Sink) -> BTreeMap<NodeId, NodeId> {
    let mut renames: BTreeMap<NodeId, Rename> = BTreeMap::new();
    for (_, node) in store.of_kind("moved") {
        for r in pairs(node, schema, sink) {
            if let Some(first) = renames.get(&r.from) {
                sink.push(
                    Diagnostic::error("E0417", format!("{} `{}` moved twice", r.from.kind, r.from.name))
                        .label(r.from_span, "again here")
                        .label(first.from_span, "moved here")
                        .help("one name became one other; keep one of the two, or chain them: a to b, b to c"),
                );
                continue;
            }
            renames.insert(r.from.clone(), r);
        }
    }
    let mut out = BTreeMap::new();
    let mut taken: BTreeMap<NodeId, Span> = BTreeMap::new();
    for r in renames.values() {
        if let Some(at) = index.place(&r.from) {
            sink.push(
                Diagnostic::error("E0416", format!("{} `{}` moved away and is still there", r.from.kind, r.from.name))
                    .label(r.from_span, "moved away")
                    .label(at, "still defined here")
                    .help(format!("rename it to `{}`, or take the `moved` away", r.to.name)),
            );
            continue;
        }
        let mut last = r;
        // No chain is longer than all renames.
        for _ in 0..renames.len() {
            match renames.get(&last.to) {
                Some(next) => last = next,
                None => break,
            }
        }
        if renames.contains_key(&last.to) {
            sink.push(
                Diagnostic::error("E0417", format!("{} `{}` moves in a circle", r.from.kind, r.from.name))
                    .label(r.from_span, "leads back to itself")
                    .help("the last name of a chain is the one that the topology has now"),
            );
            continue;
        }
        if index.place(&last.to).is_none() {
            if !store.was_dropped(&last.to) && !store.ghosts.contains(&last.to.name) {
                sink.push(unknown(last, index));
            }
            continue;
        }
        // In a chain the earlier names lead to the same node by way of one another.
        if std::ptr::eq(last, r)
            && let Some(first) = taken.insert(r.to.clone(), r.to_span)
        {
            sink.push(
                Diagnostic::error("E0417", format!("two nodes moved to {} `{}`", r.to.kind, r.to.name))
                    .label(r.to_span, "again here")
                    .label(first, "moved here")
                    .help("one node has one past; keep the one whose hosts it runs on"),
            );
            continue;
        }
        out.insert(r.from.clone(), last.to.clone());
    }
    out
}

fn pairs(node: &DraftNode, schema: &'static Schema, sink: &mut Sink) -> Vec<Rename> {
    let side = |field: &str| {
        let f = node.fields.get(field)?;
        let v = f.values.first()?;
        match &v.draft {
            Draft::Value(Value::Text(t)) => Some((t.to_string(), f.span)),
            _ => None,
        }
    };
    let (Some((from, from_span)), Some((to, to_span))) = (side("from"), side("to")) else { return Vec::new() };
    let mut names = |text: &str, span: Span| -> Option<(String, Vec<String>)> {
        let Some((kind, rest)) = text.split_once(':').filter(|(k, r)| schema.is_kind(k) && !r.is_empty()) else {
            let d = Diagnostic::error("E0415", format!("`{text}` is not KIND:NAME")).label(span, "which kind?");
            let kind = text.split_once(':').map_or("", |(k, _)| k);
            let near = nearest(kind, schema.kinds.iter().map(|k| k.name.as_str()));
            sink.push(match near.filter(|_| !kind.is_empty()) {
                Some(k) => d.help(format!("did you mean `{k}:..`?")),
                None => d.help("as in moved from=\"server:mbx-[1:3]\" to=\"server:mail-[1:3]\""),
            });
            return None;
        };
        let list = match Pattern::parse(rest) {
            Ok(Some(p)) => p.iter().map(|(t, _)| t).collect(),
            Ok(None) => vec![rest.to_owned()],
            Err(e) => {
                sink.push(super::decode::bad_range(&e, span));
                return None;
            }
        };
        Some((kind.to_owned(), list))
    };
    let (Some((old, froms)), Some((new, tos))) = (names(&from, from_span), names(&to, to_span)) else {
        return Vec::new();
    };
    if old != new || froms.len() != tos.len() {
        let message = match old == new {
            false => format!("a {old} cannot become a {new}"),
            true => format!("{} names move to {}", froms.len(), tos.len()),
        };
        sink.push(
            Diagnostic::error("E0415", message)
                .label(to_span, "moved to this")
                .label(from_span, "from this")
                .help("both sides are of one kind, and their ranges are zipped"),
        );
        return Vec::new();
    }
    let rename = |(from, to)| Rename {
        from: NodeId::new(old.as_str(), from),
        to: NodeId::new(new.as_str(), to),
        from_span,
        to_span,
    };
    froms.into_iter().zip(tos).map(rename).collect()
}

fn unknown(r: &Rename, index: &Index) -> Diagnostic {
    let d =
        Diagnostic::error("E0301", format!("no {} named `{}`", r.to.kind, r.to.name)).label(r.to_span, "no such name");
    match nearest(&r.to.name, index.names(&r.to.kind).map(|n| n.as_str())) {
        Some(n) => d.help(format!("did you mean `{n}`?")),
        None => d.help("`to` is what the node is called now"),
    }
}
