//! What stands at a cursor: which part of which node, and what the schema expects there.

use std::ops::Range;

use super::outline::{Item, Node, Outline, Word};
use crate::language::scan::Tok;
use crate::language::schema::{FieldDef, KindDef, schema};
use crate::language::types::Type;

/// The part of a node that the cursor is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spot<'o> {
    /// Where a node begins: its kind, or the word that becomes one.
    Start { word: Option<&'o Word> },
    /// Inside `(..)` before a kind.
    Verb { word: &'o Word },
    /// The argument with this number.
    Arg { index: usize, word: Option<&'o Word> },
    /// The key of a property.
    Key { word: &'o Word },
    /// Behind `key=`.
    Value { key: &'o Word, word: Option<&'o Word> },
}

#[derive(Debug, Clone)]
pub(super) struct Place<'o> {
    /// The nodes around, outermost first.
    pub parents: Vec<&'o Node>,
    /// The node whose line the cursor is on.
    pub node: Option<&'o Node>,
    pub spot: Spot<'o>,
    /// The bytes of the word there, quotes included; empty where there is none.
    pub at: Range<usize>,
}

/// What a node is, where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Kind(&'static KindDef),
    /// A line of a node of this kind.
    Field(&'static KindDef, &'static FieldDef),
    Unknown,
}

impl<'o> Place<'o> {
    /// The place of a byte; `None` inside a comment.
    pub fn find(outline: &'o Outline, offset: usize) -> Option<Self> {
        if outline.in_comment(offset) {
            return None;
        }
        let mut parents = Vec::new();
        let mut nodes = &outline.nodes;
        loop {
            if let Some(node) = nodes.iter().find(|n| n.header.start <= offset && offset <= n.header.end) {
                let (spot, at) = spot(node, offset);
                return Some(Self { parents, node: Some(node), spot, at });
            }
            match nodes.iter().find(|n| n.block.as_ref().is_some_and(|b| b.start <= offset && offset <= b.end)) {
                Some(node) => {
                    parents.push(node);
                    nodes = &node.children;
                }
                None => {
                    return Some(Self { parents, node: None, spot: Spot::Start { word: None }, at: offset..offset });
                }
            }
        }
    }

    /// The kind of the node around; `None` at top level and in what is unknown.
    pub fn parent(&self) -> Option<&'static KindDef> {
        kind_of(&self.parents)
    }

    /// In an `environment`, or in a `use`: where nodes have verbs.
    pub fn overlay(&self) -> bool {
        self.parents.iter().any(|p| matches!(p.kind.text.as_str(), "environment" | "use"))
    }

    /// The module around.
    pub fn module(&self) -> Option<&'o str> {
        let module = self.parents.iter().find(|p| p.kind.text == "module")?;
        module.arg(0).map(|w| w.text.as_str())
    }

    pub fn meaning(&self) -> Meaning {
        self.node.map_or(Meaning::Unknown, |n| meaning(n, self.parent(), self.parents.is_empty()))
    }

    /// The field that the value under the cursor belongs to.
    pub fn field(&self) -> Option<(&'static KindDef, &'static FieldDef)> {
        match (self.meaning(), &self.spot) {
            (Meaning::Field(k, f), Spot::Arg { .. }) => Some((k, f)),
            (Meaning::Kind(k), Spot::Value { key, .. } | Spot::Key { word: key }) => Some((k, k.field(&key.text)?)),
            (Meaning::Kind(k), Spot::Arg { index, .. }) => {
                let index = index.checked_sub(usize::from(k.name_type.is_some()))?;
                let positional: Vec<&FieldDef> = k.fields.iter().filter(|f| f.positional).collect();
                let def = positional.get(index).or(positional.last().filter(|f| f.many))?;
                Some((k, def))
            }
            _ => None,
        }
    }

    /// The kind whose name the cursor is on, with the type of that name.
    pub fn name(&self) -> Option<(&'static KindDef, &'static Type)> {
        match (self.meaning(), &self.spot) {
            (Meaning::Kind(k), Spot::Arg { index: 0, .. }) => Some((k, k.name_type.as_ref()?)),
            _ => None,
        }
    }

    /// The word under the cursor that is a value or a name.
    pub fn value(&self) -> Option<&'o Word> {
        match self.spot {
            Spot::Arg { word, .. } | Spot::Value { word, .. } => word,
            _ => None,
        }
    }
}

/// The kind of the innermost of nested nodes.
pub(super) fn kind_of(nodes: &[&Node]) -> Option<&'static KindDef> {
    let mut kind: Option<&'static KindDef> = None;
    for (i, n) in nodes.iter().enumerate() {
        kind = match meaning(n, kind, i == 0) {
            Meaning::Kind(k) => Some(k),
            _ => return None,
        };
    }
    kind
}

pub(super) fn meaning(node: &Node, parent: Option<&'static KindDef>, top: bool) -> Meaning {
    let word = node.kind.text.as_str();
    let Some(parent) = parent else {
        return match schema().kind(word).filter(|k| top && k.top_level()) {
            Some(k) => Meaning::Kind(k),
            None => Meaning::Unknown,
        };
    };
    // As the language decides: `connection admin` is the field, `connection { user root }` the child.
    let plain = node.block.is_none() && node.items.iter().all(|i| i.key.is_none()) && node.items.len() == 1;
    match (parent.field(word), parent.has_child(word)) {
        (Some(f), child) if !child || plain => Meaning::Field(parent, f),
        (_, true) => schema().kind(word).map_or(Meaning::Unknown, Meaning::Kind),
        _ if parent.open => schema().kind(word).filter(|k| k.top_level()).map_or(Meaning::Unknown, Meaning::Kind),
        _ => Meaning::Unknown,
    }
}

fn spot(node: &Node, offset: usize) -> (Spot<'_>, Range<usize>) {
    let inside = |r: &Range<usize>| r.start <= offset && offset <= r.end;
    if let Some(v) = node.verb.as_ref().filter(|v| offset <= v.at.end) {
        return (Spot::Verb { word: v }, v.at.clone());
    }
    if offset <= node.kind.at.end {
        let at = node.kind.at.clone();
        return (Spot::Start { word: Some(&node.kind) }, at);
    }
    let mut index = 0;
    for item in &node.items {
        if inside(&item.at) {
            return of_item(item, index, offset);
        }
        if item.at.start > offset {
            break;
        }
        index += usize::from(item.key.is_none());
    }
    (Spot::Arg { index, word: None }, offset..offset)
}

fn of_item(item: &Item, index: usize, offset: usize) -> (Spot<'_>, Range<usize>) {
    // Behind the annotation or the `=`, where nothing is written yet.
    let nothing = item.at.end.max(offset)..item.at.end.max(offset);
    match &item.key {
        Some(key) if offset <= key.at.end => (Spot::Key { word: key }, key.at.clone()),
        Some(key) => {
            let at = item.value.as_ref().map_or(nothing, |v| v.at.clone());
            (Spot::Value { key, word: item.value.as_ref() }, at)
        }
        None => {
            let at = item.value.as_ref().map_or(nothing, |v| v.at.clone());
            (Spot::Arg { index, word: item.value.as_ref() }, at)
        }
    }
}

/// True for a text that stands in a file without quotes.
pub(super) fn bare(text: &str) -> bool {
    let (tokens, errors) = crate::language::scan::scan(crate::model::SourceId(0), text);
    errors.is_empty() && matches!(tokens.as_slice(), [t] if t.tok == Tok::Word && t.end == text.len())
}

/// A text as a file holds it: bare where that is possible.
pub(super) fn quoted(text: &str) -> String {
    if bare(text) { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cursor is the `|`.
    fn at(text: &str) -> String {
        let offset = text.find('|').expect("a cursor");
        let text = text.replacen('|', "", 1);
        let outline = Outline::of(&text);
        let Some(p) = Place::find(&outline, offset) else { return "comment".into() };
        let word = |w: &Option<&Word>| w.map_or("-".to_owned(), |w| w.text.clone());
        let spot = match &p.spot {
            Spot::Start { word: w } => format!("start {}", word(w)),
            Spot::Verb { word } => format!("verb {}", word.text),
            Spot::Arg { index, word: w } => format!("arg {index} {}", word(w)),
            Spot::Key { word } => format!("key {}", word.text),
            Spot::Value { key, word: w } => format!("value {} {}", key.text, word(w)),
        };
        let parents: Vec<&str> = p.parents.iter().map(|n| n.kind.text.as_str()).collect();
        let field = p.field().map_or(String::new(), |(k, f)| format!(" {}.{}", k.name, f.name));
        format!("{}: {spot}{field}", parents.join("/"))
    }

    #[test]
    fn each_part_of_a_node() {
        for (text, want) in [
            ("|", ": start -"),
            ("ser|", ": start ser"),
            ("server |", ": arg 0 -"),
            ("server a|", ": arg 0 a"),
            ("server a |", ": arg 1 -"),
            ("server a pla|", ": arg 1 pla"),
            ("server a plat|form=ex", ": key platform server.platform"),
            ("server a platform=|", ": value platform - server.platform"),
            ("server a platform=e|x", ": value platform ex server.platform"),
            ("server a platform=\"e|", ": value platform e server.platform"),
            ("server a {|}", "server: start -"),
            ("server a {\n    |\n}", "server: start -"),
            ("server a { roles |}", "server: arg 0 - server.roles"),
            ("server a { roles hub |; }", "server: arg 1 - server.roles"),
            ("server a { roles hub; |}", "server: start -"),
            ("environment lab { (|", "environment: verb "),
            ("environment lab { (pat|ch)server a }", "environment: verb patch"),
            ("environment lab { (patch)|", "environment: start "),
            ("environment lab { (patch)server m|", "environment: arg 0 m"),
            ("environment lab { (patch)server m { (remove)roles h| } }", "environment/server: arg 0 h server.roles"),
            ("zone a.example { record mail A |", "zone: arg 2 - record.values"),
            ("site a // co|mment", "comment"),
            ("server a connection=(secret)|", ": value connection - server.connection"),
        ] {
            assert_eq!(at(text), want, "{text}");
        }
    }

    #[test]
    fn words_are_quoted_where_they_must_be() {
        for (text, want) in [
            ("a-1", "a-1"),
            ("90s", "\"90s\""),
            ("[1:2]", "\"[1:2]\""),
            ("a\"b", "\"a\\\"b\""),
            ("تهران", "تهران"),
            ("true", "\"true\""),
        ] {
            assert_eq!(quoted(text), want);
        }
    }
}
