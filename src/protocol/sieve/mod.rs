//! Sieve scripts (RFC 5228) as a tree: a reader with bounds, a writer. Knows the language, not the extensions: what a command means is
//! for who translates it.

mod parse;
mod write;

use std::ops::Range;

pub use parse::{Parsed, SieveError, parse};
pub use write::{quoted, write, write_test};

/// Octets of a script that is read.
pub const LARGEST: usize = 1 << 20;
/// Blocks and tests within each other.
pub const DEEPEST: u32 = 32;

/// Where something stands in the text. Two that differ in it only are the same.
#[derive(Debug, Clone, Default)]
pub struct At {
    /// From 1.
    pub line: u32,
    /// Octets of the text.
    pub span: Range<usize>,
}

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    pub at: At,
    /// Lines of the comments in front of it, without their marks.
    pub comments: Vec<String>,
    /// In small letters.
    pub name: String,
    pub arguments: Vec<Argument>,
    /// One, or those of a list.
    pub tests: Vec<Test>,
    /// Comments between the tests and the block: Roundcube keeps there what a switched-off rule tests.
    pub aside: Vec<String>,
    pub block: Option<Vec<Command>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Test {
    pub at: At,
    pub name: String,
    pub arguments: Vec<Argument>,
    pub tests: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// Without its colon, in small letters.
    Tag(String),
    /// K, M and G are worked out.
    Number(u64),
    /// LF at the ends of lines.
    Text(String),
    List(Vec<String>),
}

impl Argument {
    /// A text, or the texts of a list.
    pub fn texts(&self) -> Option<&[String]> {
        match self {
            Argument::Text(text) => Some(std::slice::from_ref(text)),
            Argument::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn tag(&self) -> Option<&str> {
        match self {
            Argument::Tag(tag) => Some(tag),
            _ => None,
        }
    }
}

/// The extensions that a script requires.
pub fn requires(commands: &[Command]) -> Vec<&str> {
    let all = commands.iter().filter(|c| c.name == "require").flat_map(|c| &c.arguments);
    all.filter_map(Argument::texts).flatten().map(String::as_str).collect()
}
