//! The outline of a file, names of the workspace, and blocks to fold.

use gen_lsp_types as lsp;
use lsp::SymbolKind;
use serde_json::{Value, json};

use super::outline::{Node, Outline};
use super::place::{Meaning, meaning};
use super::position::Text;
use super::view::View;
use crate::language::schema::KindDef;

/// More names than this are not listed at once.
const MOST: usize = 500;

/// Nested symbols, or flat ones for an editor that takes no others.
pub(super) fn of_document(view: &View) -> Value {
    let Some(text) = view.text() else { return Value::Null };
    let outline = Outline::of(text.as_str());
    let nodes = nested(&outline.nodes, None, true, &text);
    if view.client.nested {
        return json!(nodes);
    }
    let mut flat = Vec::new();
    let uri = view.documents.uri(&view.path);
    flatten(&nodes, None, &uri, &mut flat);
    json!(flat)
}

fn nested(nodes: &[Node], parent: Option<&'static KindDef>, top: bool, text: &Text) -> Vec<lsp::DocumentSymbol> {
    let mut out = Vec::new();
    for n in nodes {
        let Meaning::Kind(kind) = meaning(n, parent, top) else { continue };
        let name = kind.name_type.as_ref().and_then(|_| n.arg(0)).filter(|w| !w.text.trim().is_empty());
        let verb = n.verb.as_ref().map_or(String::new(), |v| format!("({}) ", v.text));
        let selection = name.map_or(n.kind.at.clone(), |w| w.at.clone());
        let children = nested(&n.children, Some(kind), false, text);
        let title = format!("{verb}{}", name.map_or(kind.name.clone(), |w| w.text.clone()));
        let detail = name.map(|_| kind.name.clone());
        let (range, selection) = (text.range(n.at.clone()), text.range(selection));
        let children = (!children.is_empty()).then_some(children);
        let icon = symbol(&kind.name);
        out.push(lsp::DocumentSymbol::new(title, detail, icon, None, None, range, selection, children));
    }
    out
}

fn flatten(nodes: &[lsp::DocumentSymbol], container: Option<&str>, uri: &lsp::Uri, out: &mut Vec<Value>) {
    for n in nodes {
        out.push(json!({"name": n.name, "kind": n.kind, "containerName": container, "location": {"uri": uri, "range": n.selection_range}}));
        flatten(n.children.as_deref().unwrap_or_default(), Some(&n.name), uri, out);
    }
}

fn symbol(kind: &str) -> SymbolKind {
    match kind {
        "variable" | "param" | "set" => SymbolKind::Variable,
        "let" => SymbolKind::Constant,
        "module" | "use" => SymbolKind::Module,
        "environment" | "phase" => SymbolKind::Namespace,
        "include" => SymbolKind::File,
        "server" | "dag" | "ccr" | "pair" | "load-balancer" => SymbolKind::Class,
        "site" | "subnet" | "link" => SymbolKind::Package,
        "person" | "team" | "board" => SymbolKind::Interface,
        "record" | "setting" | "check" => SymbolKind::Field,
        "cutover-window" | "window" => SymbolKind::Event,
        _ => SymbolKind::Struct,
    }
}

/// Names of all roots that hold the query.
pub(super) fn of_workspace(view: &View, query: &str) -> Vec<Value> {
    let query = query.to_lowercase();
    let mut out = Vec::new();
    for analysis in view.roots.by_main.values().filter_map(|r| r.good.as_deref()) {
        for (i, topology) in analysis.topologies.iter().enumerate() {
            for n in topology.nodes.values() {
                // The base has nearly all; an environment adds what it alone has.
                let known = i > 0 && analysis.topologies.first().is_some_and(|b| b.nodes.contains_key(&n.id));
                if known || n.id.name == n.id.kind || !n.id.name.to_lowercase().contains(&query) {
                    continue;
                }
                let range = analysis.text(n.span.source).range(n.span.offset..n.span.offset + n.span.len);
                let uri = view.documents.uri(&analysis.path(n.span.source));
                let kind = symbol(&n.id.kind);
                out.push(json!({"name": n.id.plain(), "kind": kind, "containerName": n.id.kind, "location": {"uri": uri, "range": range}}));
                if out.len() >= MOST {
                    return out;
                }
            }
        }
    }
    out
}

/// Blocks of several lines, and runs of comment lines.
pub(super) fn folds(view: &View) -> Vec<lsp::FoldingRange> {
    let Some(text) = view.text() else { return Vec::new() };
    let outline = Outline::of(text.as_str());
    let mut out = Vec::new();
    blocks(&outline.nodes, &text, &mut out);
    let mut run: Option<(u32, u32)> = None;
    for c in outline.comments() {
        let (start, end) = (text.position(c.start).line, text.position(c.end).line);
        run = match run {
            Some((first, last)) if start == last + 1 => Some((first, end)),
            Some(done) => {
                comment(done, &mut out);
                Some((start, end))
            }
            None => Some((start, end)),
        };
    }
    run.into_iter().for_each(|r| comment(r, &mut out));
    out
}

fn comment((first, last): (u32, u32), out: &mut Vec<lsp::FoldingRange>) {
    if last > first {
        let kind = Some(lsp::FoldingRangeKind::Comment);
        out.push(lsp::FoldingRange { start_line: first, end_line: last, kind, ..lsp::FoldingRange::default() });
    }
}

fn blocks(nodes: &[Node], text: &Text, out: &mut Vec<lsp::FoldingRange>) {
    for n in nodes {
        let Some(block) = &n.block else { continue };
        let (start, end) = (text.position(block.start).line, text.position(block.end).line);
        // The line of the closing brace stays in sight.
        if end > start + 1 {
            out.push(lsp::FoldingRange { start_line: start, end_line: end - 1, ..lsp::FoldingRange::default() });
        }
        blocks(&n.children, text, out);
    }
}
