//! `$name`: where it stands in a text, and what it is bound to.

use std::collections::BTreeMap;
use std::ops::Range;

use super::index::Symbol;
use super::outline::Node;
use crate::language::types::Type;
use crate::model::topology::NodeId;
use crate::model::tree::Tree;

/// Every `$name` and `${name}` of a text as written, with the bytes of the name.
pub(super) fn uses(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let dollar = at + text[at..].find('$')?;
            let after = &text[dollar + 1..];
            if after.starts_with('$') {
                at = dollar + 2;
                continue;
            }
            let start = dollar + 1 + usize::from(after.starts_with('{'));
            let len =
                text[start..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len() - start);
            at = start + len;
            if len > 0 {
                return Some((&text[start..start + len], start..start + len));
            }
        }
    })
}

/// Where a name is bound: a module (`None`: the root), and the name.
type Place = (Option<String>, String);

/// The variables and lets of the root, and the parameters and lets of each module.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// Kind of the declaration and declared type.
    names: BTreeMap<Place, (&'static str, Option<Type>)>,
}

impl Bindings {
    pub fn of(trees: &[Tree]) -> Self {
        let mut out = Self::default();
        for t in trees {
            out.add(None, t);
            if t.name.value == "module" {
                let name = t.args().next().and_then(|e| e.value.value.as_text()).map(str::to_owned);
                t.children.iter().for_each(|c| out.add(name.clone(), c));
            }
        }
        out
    }

    /// Adds what a text in the making declares.
    pub fn add_written(&mut self, nodes: &[Node]) {
        for n in nodes {
            self.add_node(None, n);
            if n.kind.text == "module" {
                let name = n.arg(0).map(|w| w.text.clone());
                n.children.iter().for_each(|c| self.add_node(name.clone(), c));
            }
        }
    }

    fn add_node(&mut self, module: Option<String>, n: &Node) {
        let Some(kind) = declares(&n.kind.text, &module) else { return };
        let Some(name) = n.arg(0) else { return };
        let ty = n.field("type").and_then(|w| Type::parse(&w.text));
        self.names.entry((module, name.text.clone())).or_insert((kind, ty));
    }

    fn add(&mut self, module: Option<String>, t: &Tree) {
        let Some(kind) = declares(&t.name.value, &module) else { return };
        let Some(name) = t.args().next().and_then(|e| e.value.value.as_text()) else { return };
        let line = || t.children.iter().find(|c| c.name.value == "type")?.args().next();
        let ty = t.prop("type").or_else(line).and_then(|e| e.value.value.as_text()).and_then(Type::parse);
        self.names.entry((module, name.to_owned())).or_insert((kind, ty));
    }

    /// What a name means in a module or in the root.
    pub fn symbol(&self, module: Option<&str>, name: &str) -> Option<Symbol> {
        let (kind, _) = self.names.get(&(module.map(str::to_owned), name.to_owned()))?;
        let id = match module {
            Some(m) => NodeId::new(*kind, format!("{m}.{name}")),
            None => NodeId::new(*kind, name),
        };
        Some((0, id))
    }

    pub fn ty(&self, module: Option<&str>, name: &str) -> Option<&Type> {
        self.names.get(&(module.map(str::to_owned), name.to_owned()))?.1.as_ref()
    }

    /// All names of a module or of the root, with their kind and type.
    pub fn all<'b>(
        &'b self,
        module: Option<&'b str>,
    ) -> impl Iterator<Item = (&'b str, &'static str, Option<&'b Type>)> {
        self.names
            .iter()
            .filter(move |((m, _), _)| m.as_deref() == module)
            .map(|((_, n), (k, t))| (n.as_str(), *k, t.as_ref()))
    }
}

fn declares(word: &str, module: &Option<String>) -> Option<&'static str> {
    match (word, module) {
        ("variable", None) => Some("variable"),
        ("let", _) => Some("let"),
        ("param", Some(_)) => Some("param"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_found_with_their_place() {
        let found: Vec<(&str, usize)> = uses("10.${net}.$x-$$no $ ${a").map(|(n, at)| (n, at.start)).collect();
        assert_eq!(found, [("net", 5), ("x", 11), ("a", 22)]);
    }
}
