//! KDL text to [`Tree`]s. The only file that names the kdl crate.
//!
//! Bounded in depth and size, never recursive, and every mistake has its true place: see [`super::scan`] for why the
//! structure is read here and only values go through the crate.

use kdl::{KdlEntry, KdlValue};

use super::scan::{MAX_ERRORS, Tok, Token, parse_int, scan};
use super::spelling::composed;
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, SourceId, Sources, Span, Spanned};

/// A topology has five levels at most; deeper text is a mistake or an attack.
pub const MAX_DEPTH: usize = 32;

/// Largest file read, in bytes. Twenty thousand servers written out one by one take about 3 MB.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Reads one loaded file. All mistakes of the file at once; on any mistake there is no tree.
pub fn parse(sources: &Sources, id: SourceId) -> Result<Vec<Tree>, Vec<Diagnostic>> {
    let file = sources.get(id);
    if file.text.len() > MAX_BYTES {
        return Err(vec![too_large(&file.name, file.text.len() as u64)]);
    }
    let (tokens, errors) = scan(id, &file.text);
    // A lexical mistake makes the structure guesswork: then only what the scanner found is told.
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut p = Parser { source: id, text: &file.text, tokens: &tokens, at: 0, errors: Vec::new() };
    let trees = p.document();
    if p.errors.is_empty() { Ok(trees) } else { Err(p.errors) }
}

pub(super) fn too_large(name: &str, bytes: u64) -> Diagnostic {
    Diagnostic::error("E0008", format!("`{name}` has {bytes} bytes; at most {MAX_BYTES} are read"))
        .help("split the file with `include`, or write repeated nodes as ranges: server \"mbx-[01:62]\"")
}

struct Parser<'a> {
    source: SourceId,
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    errors: Vec<Diagnostic>,
}

/// A node whose `{` is open.
struct Level {
    node: Tree,
    open: usize,
    /// The node stands behind `/-`.
    skip_node: bool,
    siblings: Vec<Tree>,
}

impl<'a> Parser<'a> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span { source: self.source, offset: start, len: end.saturating_sub(start) }
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn slice(&self, t: Token) -> &'a str {
        &self.text[t.start..t.end]
    }

    fn error(&mut self, d: Diagnostic) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(d);
        }
    }

    /// Skips blanks inside a node; true when there were any.
    fn space(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(|t| matches!(t.tok, Tok::Space | Tok::BlockComment)) {
            self.at += 1;
        }
        self.at > from
    }

    /// Skips everything that may stand between nodes, and behind a `/-`.
    fn lines(&mut self) {
        while self
            .peek()
            .is_some_and(|t| matches!(t.tok, Tok::Space | Tok::BlockComment | Tok::LineComment | Tok::Newline))
        {
            self.at += 1;
        }
    }

    /// All nodes of the file; the stack of open nodes is a vector, so depth costs no call stack.
    fn document(&mut self) -> Vec<Tree> {
        let mut nodes: Vec<Tree> = Vec::new();
        let mut stack: Vec<Level> = Vec::new();
        loop {
            self.lines();
            let Some(t) = self.peek() else { break };
            match t.tok {
                Tok::Semicolon => self.at += 1,
                Tok::Close => {
                    self.at += 1;
                    match stack.pop() {
                        Some(mut level) => {
                            std::mem::swap(&mut nodes, &mut level.siblings);
                            level.node.children = level.siblings;
                            level.node.span.len = t.end - level.node.span.offset;
                            self.end_of_node(true);
                            if !level.skip_node {
                                nodes.push(level.node);
                            }
                        }
                        None => self.error(
                            Diagnostic::error("E0006", "this `}` closes nothing")
                                .label(self.span(t.start, t.end), "no `{` is open here")
                                .help("remove it, or look for a `}` that stands too early above"),
                        ),
                    }
                }
                _ => {
                    if let Some(level) = self.node() {
                        if level.open == usize::MAX {
                            if !level.skip_node {
                                nodes.push(level.node);
                            }
                        } else if stack.len() >= MAX_DEPTH {
                            self.error(
                                Diagnostic::error("E0009", format!("nodes are nested deeper than {MAX_DEPTH} levels"))
                                    .label(self.span(level.open, level.open + 1), "too deep")
                                    .help("a topology needs at most five levels; look for a `}` that is missing above"),
                            );
                            return Vec::new();
                        } else {
                            stack.push(Level { siblings: std::mem::take(&mut nodes), ..level });
                        }
                    }
                }
            }
            if self.errors.len() >= MAX_ERRORS {
                return Vec::new();
            }
        }
        if let Some(level) = stack.pop() {
            let name = level.node.name.value.clone();
            self.error(
                Diagnostic::error("E0006", format!("the `{{` of `{name}` is never closed"))
                    .label(self.span(level.open, level.open + 1), "opened here")
                    .help("write the missing `}`"),
            );
            return Vec::new();
        }
        nodes
    }

    /// One node up to its terminator or its `{`; `open` is `usize::MAX` when it has no children.
    fn node(&mut self) -> Option<Level> {
        let mut skip_node = false;
        while self.peek().is_some_and(|t| t.tok == Tok::Slashdash) {
            skip_node = true;
            self.at += 1;
            self.lines();
        }
        let start = self.peek().map_or(self.text.len(), |t| t.start);
        let annotation = self.annotation();
        self.space();
        let Some(t) = self.peek().filter(|t| t.is_string()) else {
            self.bad_node();
            return None;
        };
        self.at += 1;
        let name = Spanned::new(self.string(t), self.span(t.start, t.end));
        let mut node =
            Tree { annotation, name, entries: Vec::new(), children: Vec::new(), span: self.span(start, t.end) };
        loop {
            let spaced = self.space();
            let Some(t) = self.peek() else { break };
            match t.tok {
                Tok::Slashdash => {
                    if !self.skipped_block() {
                        self.at += 1;
                        self.lines();
                        self.entry();
                    }
                }
                Tok::Open => {
                    self.at += 1;
                    return Some(Level { node, open: t.start, skip_node, siblings: Vec::new() });
                }
                Tok::Newline | Tok::LineComment | Tok::Semicolon | Tok::Close => break,
                _ => {
                    if t.tok == Tok::Equals && (node.entries.is_empty() || !spaced) {
                        self.stray_equals(t, &node);
                        self.skip_line(false);
                        continue;
                    }
                    if !spaced {
                        self.error(
                            Diagnostic::error("E0006", "a space is missing here")
                                .label(self.span(t.start, t.end), "runs into what stands before it")
                                .help(
                                    "put a space between two values; a value that holds such a sign stands in quotes",
                                ),
                        );
                    }
                    if !spaced {
                        self.skip_line(false);
                        continue;
                    }
                    let (before, errors) = (self.at, self.errors.len());
                    if let Some(e) = self.entry() {
                        node.span.len = e.span.offset + e.span.len - node.span.offset;
                        node.entries.push(e);
                    }
                    if self.errors.len() > errors {
                        // One line with a mistake says it once.
                        self.skip_line(false);
                    } else if self.at == before {
                        self.at += 1;
                    }
                }
            }
        }
        self.end_of_node(false);
        Some(Level { node, open: usize::MAX, skip_node, siblings: Vec::new() })
    }

    fn end_of_node(&mut self, after_children: bool) {
        self.space();
        while after_children && self.skipped_block() {
            self.space();
        }
        let Some(t) = self.peek() else { return };
        match t.tok {
            Tok::Semicolon | Tok::Newline => self.at += 1,
            Tok::LineComment | Tok::Close => {}
            _ if after_children => {
                self.error(
                    Diagnostic::error("E0006", "a node ends with its `}`")
                        .label(self.span(t.start, t.end), "needs a `;` or a line break before it")
                        .help("values and properties stand before the `{`; the next node stands on a line of its own or behind `;`"),
                );
                self.skip_line(true);
            }
            _ => {}
        }
    }

    /// `platform = ex` on a line of its own, or `platform= site=dublin`.
    fn stray_equals(&mut self, t: Token, node: &Tree) {
        let at = self.span(t.start, t.end);
        let d = match node.entries.last() {
            Some(Entry { name: Some(name), value, .. }) => {
                let value = self.text.get(value.span.offset..value.span.offset + value.span.len).unwrap_or_default();
                Diagnostic::error("E0006", format!("`{}` has no value", name.value))
                    .label(name.span, "a value is missing")
                    .label(at, format!("`{value}` is a name of its own"))
                    .help(format!("write {}=VALUE", name.value))
            }
            Some(_) => {
                Diagnostic::error("E0006", "a value is no name").label(at, "not expected here").help("write name=value")
            }
            None => {
                let name = &node.name.value;
                Diagnostic::error("E0006", format!("`{name}` on a line of its own takes no `=`"))
                    .label(at, "not expected here")
                    .help(format!("write `{name} VALUE`; where it belongs to the line above, end that line with `\\`"))
            }
        };
        self.error(d);
    }

    /// `/-{..}` behind the children.
    fn skipped_block(&mut self) -> bool {
        let start = self.at;
        if self.peek().is_none_or(|t| t.tok != Tok::Slashdash) {
            return false;
        }
        self.at += 1;
        self.lines();
        if self.peek().is_none_or(|t| t.tok != Tok::Open) {
            self.at = start;
            return false;
        }
        let mut depth = 0usize;
        while let Some(t) = self.peek() {
            self.at += 1;
            match t.tok {
                Tok::Open => depth += 1,
                Tok::Close if depth <= 1 => return true,
                Tok::Close => depth -= 1,
                _ => {}
            }
        }
        let at = self.tokens.get(start).map_or(0, |t| t.start);
        self.error(
            Diagnostic::error("E0006", "the `{` behind this `/-` is never closed")
                .label(self.span(at, at + 2), "opened here")
                .help("write the missing `}`"),
        );
        true
    }

    fn bad_node(&mut self) {
        let Some(t) = self.peek() else {
            let end = self.text.len();
            let d = Diagnostic::error("E0006", "the file ends in the middle of a node")
                .label(self.span(end, end), "a kind is missing")
                .help("write the node that the `(..)` or `/-` before it belongs to");
            return self.error(d);
        };
        let shown: String = self.slice(t).chars().take(40).collect();
        let (message, help) = match t.tok {
            Tok::Open if self.at > 1 && self.text[..t.start].trim_end_matches([' ', '\t']).ends_with('\n') => (
                "this `{` stands alone".to_owned(),
                "a line break ends a node: put the `{` at the end of the line above".to_owned(),
            ),
            Tok::Open => (
                "children without a node".to_owned(),
                "write the kind before `{`; a `;` before `{` ends the node".to_owned(),
            ),
            Tok::Number | Tok::Keyword => (
                format!("`{shown}` cannot be a kind"),
                "a line starts with the kind of a node, as in: server mail-1".to_owned(),
            ),
            _ => (
                format!("`{shown}` cannot start a node"),
                "a line starts with the kind of a node, as in: server mail-1".to_owned(),
            ),
        };
        self.error(Diagnostic::error("E0006", message).label(self.span(t.start, t.end), "here").help(help));
        self.skip_line(true);
    }

    /// Goes on at the next line, behind a mistake. `blocks`: a block that starts here is skipped as a whole, else it is read.
    fn skip_line(&mut self, blocks: bool) {
        let mut depth = 0usize;
        while let Some(t) = self.peek() {
            match t.tok {
                Tok::Open if !blocks => return,
                Tok::Open => depth += 1,
                Tok::Close if depth == 0 => return,
                Tok::Close => depth -= 1,
                Tok::Newline | Tok::Semicolon if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn annotation(&mut self) -> Option<Spanned<String>> {
        let open = self.peek().filter(|t| t.tok == Tok::ParenOpen)?;
        self.at += 1;
        self.space();
        let word = self.peek().filter(|t| t.is_string());
        if let Some(w) = word {
            self.at += 1;
            let value = Spanned::new(self.string(w), self.span(w.start, w.end));
            self.space();
            if self.peek().is_some_and(|t| t.tok == Tok::ParenClose) {
                self.at += 1;
                return Some(value);
            }
        }
        self.error(
            Diagnostic::error("E0006", "this `(` needs one word and a `)`")
                .label(self.span(open.start, open.end), "here")
                .help("as in (patch)server or (secret)\"env:NAME\"; a value that holds brackets stands in quotes"),
        );
        None
    }

    fn entry(&mut self) -> Option<Entry> {
        let first = self.peek()?;
        if first.is_string() {
            self.at += 1;
            let after = self.at;
            self.space();
            if self.peek().is_some_and(|t| t.tok == Tok::Equals) {
                self.at += 1;
                self.space();
                let name = Spanned::new(self.string(first), self.span(first.start, first.end));
                return self.value(Some(name), first.start);
            }
            self.at = after;
            let value = Spanned::new(self.scalar(first), self.span(first.start, first.end));
            return Some(Entry { name: None, annotation: None, span: value.span, value });
        }
        self.value(None, first.start)
    }

    fn value(&mut self, name: Option<Spanned<String>>, start: usize) -> Option<Entry> {
        let annotation = self.annotation();
        self.space();
        let Some(t) = self.peek().filter(|t| t.is_value()) else {
            let (from, to) = self.peek().map_or((self.text.len(), self.text.len()), |t| (t.start, t.end));
            let d = match &name {
                Some(n) => Diagnostic::error("E0006", format!("`{}` has no value", n.value))
                    .label(self.span(start, from.max(n.span.offset + n.span.len)), "a value is missing")
                    .help(format!("write {}=VALUE without a break in between", n.value)),
                None => Diagnostic::error("E0006", "a value is expected here")
                    .label(self.span(from, to), "not a value")
                    .help("a value that holds such a sign stands in quotes"),
            };
            if self.peek().is_some_and(|t| matches!(t.tok, Tok::Equals | Tok::ParenClose)) {
                self.at += 1;
            }
            self.error(d);
            return None;
        };
        self.at += 1;
        let value = Spanned::new(self.scalar(t), self.span(t.start, t.end));
        Some(Entry { name, annotation, value, span: self.span(start, t.end) })
    }

    /// Text of a string token.
    fn string(&mut self, t: Token) -> String {
        match self.scalar(t) {
            Scalar::Text(s) | Scalar::Raw(s) => s,
            _ => String::new(),
        }
    }

    fn scalar(&mut self, t: Token) -> Scalar {
        let text = self.slice(t);
        match t.tok {
            // Two spellings of one name are one; a raw text stays as it is.
            Tok::Word => Scalar::Text(composed(text).into_owned()),
            Tok::Keyword => match text {
                "#true" => Scalar::Bool(true),
                "#false" => Scalar::Bool(false),
                "#inf" => Scalar::Float(f64::INFINITY),
                "#-inf" => Scalar::Float(f64::NEG_INFINITY),
                "#nan" => Scalar::Float(f64::NAN),
                _ => Scalar::Null,
            },
            Tok::Number => match parse_int(text) {
                Some(i) => Scalar::Int(i),
                None => Scalar::Float(text.replace('_', "").parse().unwrap_or(f64::NAN)),
            },
            Tok::Quoted if !text.contains('\\') && !text.starts_with("\"\"\"") => {
                Scalar::Text(composed(&text[1..text.len().max(2) - 1]).into_owned())
            }
            Tok::Quoted => Scalar::Text(composed(&self.decoded(t)).into_owned()),
            _ => Scalar::Raw(self.decoded(t)),
        }
    }

    /// Escapes, raw and multi-line strings, decoded by the kdl crate. The scanner has found them well formed.
    fn decoded(&mut self, t: Token) -> String {
        let text = self.slice(t);
        if text == "\"\"" || text == "\"\"\"\"\"\"" {
            return String::new();
        }
        match text.parse::<KdlEntry>().as_ref().map(KdlEntry::value) {
            Ok(KdlValue::String(s)) => s.clone(),
            _ => {
                let multi = text.trim_start_matches('#').starts_with("\"\"\"");
                let help = if multi {
                    "every line starts with the same blanks as the line of the closing \"\"\""
                } else {
                    "write `\\\\` for a backslash, or use a raw string: #\"..\"#"
                };
                let d = Diagnostic::error("E0002", "this text cannot be read")
                    .label(self.span(t.start, t.end), "here")
                    .help(help);
                self.error(d);
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
