//! Definition, references, and the places of one name in a file.

use std::collections::BTreeSet;

use gen_lsp_types as lsp;

use super::index::{Occurrence, Role, Symbol};
use super::outline::Outline;
use super::place::Place;
use super::view::View;
use crate::language::lexical;

/// The occurrence at a position of the text now.
pub(super) fn occurrence<'a>(view: &View<'a>, at: lsp::Position) -> Option<&'a Occurrence> {
    let span = view.there(view.text()?.offset(at))?;
    view.good()?.index().at(span)
}

pub(super) fn definition(view: &View, at: lsp::Position) -> Vec<lsp::Location> {
    if let Some(file) = included(view, at) {
        return vec![file];
    }
    let (Some(o), Some(good)) = (occurrence(view, at), view.good()) else { return Vec::new() };
    // What names a node and refers to another (`mail-auth acme.example`) leads to the other.
    let mut found = good.index().definitions(&o.symbols);
    if found.len() > 1 {
        found.retain(|d| d.at != o.at);
    }
    distinct(found.iter().filter_map(|d| view.location(d.at)))
}

pub(super) fn references(view: &View, at: lsp::Position, declaration: bool) -> Vec<lsp::Location> {
    let (Some(o), Some(good)) = (occurrence(view, at), view.good()) else { return Vec::new() };
    let found = good.index().of_symbols(&o.symbols).into_iter();
    distinct(found.filter(|x| declaration || x.role != Role::Definition).filter_map(|x| view.location(x.at)))
}

pub(super) fn highlights(view: &View, at: lsp::Position) -> Vec<lsp::DocumentHighlight> {
    let (Some(o), Some(good), Some(text)) = (occurrence(view, at), view.good(), view.text()) else { return Vec::new() };
    let mut out = Vec::new();
    for x in good.index().of_symbols(&o.symbols) {
        if let Some((path, bytes)) = view.here(x.at).filter(|(p, _)| *p == view.path) {
            debug_assert_eq!(path, view.path);
            let kind = if x.role == Role::Definition {
                lsp::DocumentHighlightKind::Write
            } else {
                lsp::DocumentHighlightKind::Read
            };
            out.push(lsp::DocumentHighlight { range: text.range(bytes), kind: Some(kind) });
        }
    }
    out.dedup();
    out
}

/// The file of an `include`, or of a module that lies in a file.
fn included(view: &View, at: lsp::Position) -> Option<lsp::Location> {
    let text = view.text()?;
    let outline = Outline::of(text.as_str());
    let place = Place::find(&outline, text.offset(at))?;
    let node = place.node?;
    let word = place.value()?;
    let folder = super::analysis::folder(&view.root?.latest.as_ref()?.root);
    let named = match (node.kind.text.as_str(), node.arg(0)) {
        ("include", Some(w)) if w == word => word.text.clone(),
        ("use", _) if node.field("from") == Some(word) => format!("{}/module.kdl", word.text.trim_end_matches('/')),
        _ => return None,
    };
    let path = lexical(&folder.join(named));
    (view.documents.get(&path).is_some() || path.is_file())
        .then(|| lsp::Location { uri: view.documents.uri(&path), range: lsp::Range::default() })
}

fn distinct(found: impl Iterator<Item = lsp::Location>) -> Vec<lsp::Location> {
    let mut out: Vec<lsp::Location> = Vec::new();
    for l in found {
        if !out.contains(&l) {
            out.push(l);
        }
    }
    out
}

/// The symbols in words, for messages: `server gw-1`.
pub(super) fn told(symbols: &BTreeSet<Symbol>) -> String {
    symbols.iter().next().map_or_else(String::new, |(_, id)| format!("{} `{}`", id.kind, id.plain()))
}
