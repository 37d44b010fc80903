//! Examples of the kinds, out of `schemas/examples.kdl`: the node as it is written there, a child within its parents.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::super::schema::{KindDef, schema};
use super::super::{format, parse};
use crate::model::Sources;
use crate::model::tree::Tree;

pub const EXAMPLES: &str = include_str!("../../../schemas/examples.kdl");

/// The first node of the kind, formatted.
pub fn of(k: &KindDef) -> Option<&'static str> {
    static FOUND: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    FOUND.get_or_init(all).get(&k.name).map(String::as_str)
}

fn all() -> BTreeMap<String, String> {
    let mut sources = Sources::default();
    let id = sources.add("schemas/examples.kdl", EXAMPLES);
    let mut out = BTreeMap::new();
    let trees = parse(&sources, id).unwrap_or_default();
    // A node of the top level shows more than one within a module.
    trees.iter().for_each(|t| keep(t, &[], &mut out));
    trees.iter().for_each(|t| walk(t, &mut Vec::new(), &mut out));
    out
}

fn keep(t: &Tree, above: &[String], out: &mut BTreeMap<String, String>) {
    if out.contains_key(&t.name.value) {
        return;
    }
    let text = EXAMPLES.get(t.span.offset..t.span.offset + t.span.len).unwrap_or_default();
    let whole = format!("{}{text}{}", above.concat(), "\n}".repeat(above.len()));
    let mut sources = Sources::default();
    let id = sources.add("example", whole);
    if let Ok(formatted) = format(&sources, id) {
        out.insert(t.name.value.clone(), formatted);
    }
}

/// The children: of them, those that are nodes and not fields on lines of their own.
fn walk(t: &Tree, above: &mut Vec<String>, out: &mut BTreeMap<String, String>) {
    if let Some(first) = t.children.first() {
        let head = EXAMPLES.get(t.span.offset..first.span.offset).unwrap_or_default();
        let head = head.rfind('{').map_or(head, |i| &head[..i]);
        above.push(format!("{head}{{\n"));
        let parent = schema().kind(&t.name.value);
        for c in t.children.iter().filter(|c| parent.is_some_and(|p| p.has_child(&c.name.value) || p.open)) {
            keep(c, above, out);
            walk(c, above, out);
        }
        above.pop();
    }
}
