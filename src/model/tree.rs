//! A parsed KDL document as plain data with spans. `language::syntax` makes it; nobody else sees the parser's types.

use super::source::{Span, Spanned};

/// A KDL value as written, before the schema types it.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Text(String),
    /// A raw string `#"..."#`: never interpolated, never expanded as a range.
    Raw(String),
    Int(i128),
    Float(f64),
    Bool(bool),
    Null,
}

impl Scalar {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Scalar::Text(s) | Scalar::Raw(s) => Some(s),
            _ => None,
        }
    }
}

/// An argument (`name` is `None`) or a property of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: Option<Spanned<String>>,
    /// Type annotation, as `secret` in `(secret)"env:X"`.
    pub annotation: Option<Spanned<String>>,
    pub value: Spanned<Scalar>,
    /// The whole entry: `name=(annotation)value`.
    pub span: Span,
}

/// One KDL node.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Type annotation of the node: an overlay verb such as `patch`.
    pub annotation: Option<Spanned<String>>,
    pub name: Spanned<String>,
    pub entries: Vec<Entry>,
    pub children: Vec<Tree>,
    pub span: Span,
}

impl Tree {
    pub fn args(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.name.is_none())
    }

    pub fn prop(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name.as_ref().is_some_and(|n| n.value == name))
    }
}
