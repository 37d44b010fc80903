//! The layout of `cutover fmt`: 4 spaces, 100 columns, one node a line. Comments, order and single blank lines stay; a
//! block that the author broke stays broken, one that no longer fits is broken at its outermost braces. Works on tokens,
//! so that nothing is lost on the way; formatting twice changes nothing.

use super::scan::{Tok, Token, scan};
use super::syntax::parse;
use crate::model::{Diagnostic, SourceId, Sources};

const WIDTH: usize = 100;
const INDENT: usize = 4;

/// What stands on lines of its own between nodes.
#[derive(Debug)]
enum Line {
    Blank,
    Comment(String),
    Node(Node),
}

#[derive(Debug, Default)]
struct Node {
    /// Name, values, properties and comments between them.
    pieces: Vec<String>,
    children: Option<Block>,
    /// `// ..` behind it on the same line.
    comment: Option<String>,
}

#[derive(Debug, Default)]
struct Block {
    /// `// ..` behind the `{`.
    comment: Option<String>,
    lines: Vec<Line>,
    /// The author broke it into lines.
    broken: bool,
}

/// A file in the one layout, or what is wrong with its syntax.
pub(super) fn format(sources: &Sources, id: SourceId) -> Result<String, Vec<Diagnostic>> {
    parse(sources, id)?;
    let text = &sources.get(id).text;
    let (tokens, _) = scan(id, text);
    let mut f = Reader { text, tokens: &tokens, at: 0 };
    let block = f.block();
    let mut out = String::with_capacity(text.len());
    print(&block.lines, 0, &mut out);
    Ok(out)
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<Tok> {
        self.tokens.get(self.at).map(|t| t.tok)
    }

    fn next(&mut self) -> &'a str {
        let text = self.tokens.get(self.at).map_or("", |t| &self.text[t.start..t.end]);
        self.at += 1;
        text
    }

    /// Lines up to the closing brace or the end of the file. Recursion ends: the parser has capped the depth.
    fn block(&mut self) -> Block {
        let mut block = Block::default();
        let mut newlines = 0usize;
        // Until the first line break, a comment still belongs to the line of the `{`.
        let mut opening = self.at > 0;
        while let Some(tok) = self.peek() {
            match tok {
                Tok::Close => break,
                Tok::Newline => {
                    newlines += 1;
                    opening = false;
                    block.broken = true;
                    self.next();
                    if newlines == 2 && !matches!(block.lines.last(), None | Some(Line::Blank)) {
                        block.lines.push(Line::Blank);
                    }
                }
                Tok::Space => {
                    let space = self.next();
                    if let Some(c) = continued_comment(space) {
                        block.lines.push(Line::Comment(c));
                    }
                }
                Tok::Semicolon => {
                    self.next();
                }
                Tok::LineComment => {
                    let comment = self.next().trim_end().to_owned();
                    block.broken = true;
                    if opening {
                        block.comment = Some(comment);
                    } else if newlines == 0
                        && let Some(Line::Node(n)) = block.lines.last_mut()
                        && n.comment.is_none()
                    {
                        n.comment = Some(comment);
                    } else {
                        block.lines.push(Line::Comment(comment));
                        newlines = 0;
                    }
                }
                Tok::BlockComment => {
                    // Before a node on its line it belongs to the node, else it is a line.
                    let comment = self.next().to_owned();
                    block.lines.push(Line::Comment(comment));
                    newlines = 0;
                    opening = false;
                }
                _ => {
                    let mut node = self.node();
                    // Comments before the name stand on lines of their own.
                    let leading = node.pieces.iter().take_while(|p| p.starts_with("/*")).count();
                    block.lines.extend(node.pieces.drain(..leading).map(Line::Comment));
                    block.lines.push(Line::Node(node));
                    newlines = 0;
                    opening = false;
                }
            }
        }
        while matches!(block.lines.last(), Some(Line::Blank)) {
            block.lines.pop();
        }
        block
    }

    fn node(&mut self) -> Node {
        let mut node = Node::default();
        let mut prefix = String::new();
        loop {
            match self.peek() {
                None | Some(Tok::Newline | Tok::Semicolon | Tok::LineComment | Tok::Close) => break,
                Some(Tok::Space) => {
                    let space = self.next();
                    node.pieces.extend(continued_comment(space));
                }
                Some(Tok::BlockComment) => {
                    let comment = self.next().to_owned();
                    node.pieces.push(comment);
                }
                Some(Tok::Slashdash) => {
                    self.next();
                    prefix.push_str("/-");
                    self.blanks(&mut node);
                    if self.peek() == Some(Tok::Open) {
                        let slice = self.verbatim_block();
                        node.pieces.push(format!("{}{slice}", std::mem::take(&mut prefix)));
                    }
                }
                Some(Tok::Open) => {
                    self.next();
                    let block = self.block();
                    self.next();
                    if !block.lines.is_empty() || block.comment.is_some() {
                        node.children = Some(block);
                    }
                    // Behind the children stand at most comments and `/-{..}`.
                    self.after_children(&mut node);
                    return node;
                }
                Some(Tok::ParenOpen) => {
                    let ty = self.annotation(&mut node);
                    prefix.push_str(&ty);
                }
                Some(_) => {
                    let mut piece = joined(&std::mem::take(&mut prefix), self.next());
                    let mark = self.at;
                    self.blanks(&mut node);
                    if self.peek() == Some(Tok::Equals) {
                        self.next();
                        self.blanks(&mut node);
                        let ty = if self.peek() == Some(Tok::ParenOpen) {
                            self.annotation(&mut node)
                        } else {
                            String::new()
                        };
                        piece = format!("{piece}={}", joined(&ty, self.next()));
                    } else {
                        // The blanks belong to what follows; comments in them were taken as pieces already.
                        let taken = self.at;
                        self.at = mark;
                        let comments = self.comments_until(taken);
                        node.pieces.truncate(node.pieces.len() - comments);
                    }
                    node.pieces.push(piece);
                }
            }
        }
        node
    }

    /// Number of comments between here and a later token.
    fn comments_until(&self, end: usize) -> usize {
        self.tokens[self.at..end]
            .iter()
            .filter(|t| {
                t.tok == Tok::BlockComment
                    || t.tok == Tok::Space && continued_comment(&self.text[t.start..t.end]).is_some()
            })
            .count()
    }

    /// Skips blanks inside an entry; comments in them move before it. Behind `/-` lines may break too.
    fn blanks(&mut self, node: &mut Node) {
        loop {
            match self.peek() {
                Some(Tok::Space) => {
                    let space = self.next();
                    node.pieces.extend(continued_comment(space));
                }
                Some(Tok::BlockComment) => {
                    let comment = self.next().to_owned();
                    node.pieces.push(comment);
                }
                Some(Tok::Newline | Tok::LineComment) if self.follows_slashdash() => {
                    let text = self.next();
                    if text.starts_with("//") {
                        node.pieces.push(as_block_comment(text));
                    }
                }
                _ => return,
            }
        }
    }

    fn follows_slashdash(&self) -> bool {
        let before = self.tokens[..self.at].iter().rev();
        let mut solid =
            before.skip_while(|t| matches!(t.tok, Tok::Space | Tok::Newline | Tok::BlockComment | Tok::LineComment));
        solid.next().is_some_and(|t| t.tok == Tok::Slashdash)
    }

    /// `(type)` without the blanks in and behind it.
    fn annotation(&mut self, node: &mut Node) -> String {
        let mut out = String::new();
        while let Some(tok) = self.peek() {
            match tok {
                Tok::Space | Tok::BlockComment => self.blanks(node),
                Tok::ParenClose => {
                    out.push_str(self.next());
                    break;
                }
                _ => out.push_str(self.next()),
            }
        }
        self.blanks(node);
        out
    }

    /// A block behind `/-`, kept as it is written.
    fn verbatim_block(&mut self) -> String {
        let start = self.tokens.get(self.at).map_or(0, |t| t.start);
        let mut depth = 0usize;
        let mut end = start;
        while let Some(t) = self.tokens.get(self.at) {
            self.at += 1;
            end = t.end;
            match t.tok {
                Tok::Open => depth += 1,
                Tok::Close if depth <= 1 => break,
                Tok::Close => depth -= 1,
                _ => {}
            }
        }
        self.text[start..end].to_owned()
    }

    /// `/-{..}` behind the children goes before them: what is out has no place.
    fn after_children(&mut self, node: &mut Node) {
        loop {
            match self.peek() {
                Some(Tok::Space | Tok::BlockComment) => self.blanks(node),
                Some(Tok::Slashdash) => {
                    self.next();
                    self.blanks(node);
                    if self.peek() == Some(Tok::Open) {
                        let slice = self.verbatim_block();
                        node.pieces.push(format!("/-{slice}"));
                    }
                }
                _ => return,
            }
        }
    }
}

/// What stands before a value, and the value; `(GiB)2` becomes `"2GiB"`, the one form of a quantity.
fn joined(prefix: &str, value: &str) -> String {
    const UNITS: [&str; 21] = [
        "ms", "s", "m", "h", "d", "w", "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "bit/s", "kbit/s",
        "Mbit/s", "Gbit/s", "MiB/s", "%",
    ];
    let (out, annotation) = prefix.strip_prefix("/-").map_or(("", prefix), |rest| ("/-", rest));
    let unit = annotation.strip_prefix('(').and_then(|a| a.strip_suffix(')')).map(|a| a.trim_matches('"'));
    let number = value.replace('_', "");
    let decimal = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit());
    let good = match number.split_once('.') {
        Some((a, b)) => unit == Some("%") && decimal(a) && decimal(b),
        None => decimal(&number),
    };
    match unit.filter(|u| good && UNITS.contains(u)) {
        Some(unit) => format!("{out}\"{number}{unit}\""),
        None => format!("{prefix}{value}"),
    }
}

/// The comment of a `\ // ..` line continuation.
fn continued_comment(space: &str) -> Option<String> {
    let at = space.find("//")?;
    Some(as_block_comment(space[at..].trim_end()))
}

fn as_block_comment(line: &str) -> String {
    let text = line.trim_start_matches('/').trim().replace("*/", "* /").replace("/*", "/ *");
    format!("/* {text} */")
}

fn print(lines: &[Line], depth: usize, out: &mut String) {
    let indent = " ".repeat(depth * INDENT);
    for line in lines {
        match line {
            Line::Blank => out.push('\n'),
            Line::Comment(c) => {
                out.push_str(&indent);
                out.push_str(c);
                out.push('\n');
            }
            Line::Node(n) => print_node(n, depth, &indent, out),
        }
    }
}

fn print_node(n: &Node, depth: usize, indent: &str, out: &mut String) {
    let trailing = n.comment.as_ref().map(|c| format!(" {c}")).unwrap_or_default();
    let head = n.pieces.join(" ");
    let Some(block) = &n.children else {
        out.push_str(&format!("{indent}{head}{trailing}\n"));
        return;
    };
    if !block.broken
        && let Some(inner) = inline(&block.lines)
    {
        let line = format!("{indent}{head} {{ {inner} }}");
        if line.chars().count() <= WIDTH && !line.contains('\n') {
            out.push_str(&line);
            out.push_str(&trailing);
            out.push('\n');
            return;
        }
    }
    let opening = block.comment.as_ref().map(|c| format!(" {c}")).unwrap_or_default();
    out.push_str(&format!("{indent}{head} {{{opening}\n"));
    print(&block.lines, depth + 1, out);
    out.push_str(&format!("{indent}}}{trailing}\n"));
}

/// The block on one line, each node with its `;`. `None` when a comment or a broken block is in it.
fn inline(lines: &[Line]) -> Option<String> {
    let mut parts = Vec::new();
    for line in lines {
        let Line::Node(n) = line else { return None };
        if n.comment.is_some() {
            return None;
        }
        let head = n.pieces.join(" ");
        match &n.children {
            None => parts.push(format!("{head};")),
            Some(b) if !b.broken => parts.push(format!("{head} {{ {} }};", inline(&b.lines)?)),
            Some(_) => return None,
        }
    }
    Some(parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fmt(text: &str) -> Option<String> {
        let mut sources = Sources::default();
        let id = sources.add("t", text);
        format(&sources, id).ok()
    }

    #[test]
    fn lays_out() {
        let text = "// top\n\n\n\nserver   a  x = 1   {roles imap;\n  // why\n  ip \"1\" // here\n\n}\nb;c { d; e { f; }; } // end\n\n\n";
        let wanted = "// top\n\nserver a x=1 {\n    roles imap\n    // why\n    ip \"1\" // here\n}\nb\nc { d; e { f; }; } // end\n";
        assert_eq!(fmt(text).as_deref(), Some(wanted));
    }

    #[test]
    fn quantities_have_one_form() {
        let text = "disk d size=(GiB)2 { a (s)90 (\"Mbit/s\")1_000 (%)99.9; b /-(h)1 (secret)\"env:X\" (GiB)\"2\" (s)1.5 (x)1; }";
        let wanted = "disk d size=\"2GiB\" { a \"90s\" \"1000Mbit/s\" \"99.9%\"; b /-\"1h\" (secret)\"env:X\" (GiB)\"2\" (s)1.5 (x)1; }\n";
        assert_eq!(fmt(text).as_deref(), Some(wanted));
        assert_eq!(fmt("(patch)server (s)1").as_deref(), Some("(patch)server \"1s\"\n"));
    }

    #[test]
    fn breaks_what_does_not_fit_at_the_outermost_braces() {
        let child = "child \"a text that takes some room in this line\"; ";
        let text = format!("node {{ {child}inner {{ {child}}}; {child}}}\n");
        let out = fmt(&text).expect("valid");
        assert_eq!(out.lines().count(), 5, "{out}");
        assert!(out.contains("    inner { child \"a text"), "{out}");
    }

    #[test]
    fn odd_places_of_comments_and_slashdash() {
        for text in [
            "a /* x */ b /* y */ = /* z */ 1",
            "a \\ // why\n  b",
            "/- a 1\nb /-2 3 /-{ c; }",
            "a { /* only */ }",
            "a { // open\n b\n}",
            "a (t) \"x\" y=(t) 2",
            "a { b; } /- { c; }",
            "a \"\"\"\n  x\n  \"\"\" b",
        ] {
            let once = fmt(text).expect(text);
            assert_eq!(fmt(&once).as_deref(), Some(once.as_str()), "{text:?}");
        }
        assert_eq!(fmt("a \\ // why\n  b").as_deref(), Some("a /* why */ b\n"));
    }

    /// Trees without spans and layout.
    fn meaning(text: &str) -> Option<String> {
        let mut sources = Sources::default();
        let id = sources.add("t", text);
        let trees = parse(&sources, id).ok()?;
        fn walk(t: &crate::model::tree::Tree, out: &mut String) {
            *out += &format!("({:?}){:?}", t.annotation.as_ref().map(|a| &a.value), t.name.value);
            for e in &t.entries {
                *out += &format!(
                    " {:?} {:?} {:?}",
                    e.name.as_ref().map(|n| &n.value),
                    e.annotation.as_ref().map(|a| &a.value),
                    e.value.value
                );
            }
            *out += "{";
            t.children.iter().for_each(|c| walk(c, out));
            *out += "}";
        }
        let mut out = String::new();
        trees.iter().for_each(|t| walk(t, &mut out));
        Some(out)
    }

    fn comments(text: &str) -> Vec<String> {
        let (tokens, _) = scan(SourceId(0), text);
        let letters = |t: &str| t.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let mut out: Vec<String> = tokens
            .iter()
            .filter(|t| {
                matches!(t.tok, Tok::LineComment | Tok::BlockComment)
                    || t.tok == Tok::Space && text[t.start..t.end].contains("//")
            })
            .map(|t| letters(&text[t.start..t.end]))
            .collect();
        out.sort();
        out
    }

    proptest! {
        #[test]
        fn keeps_meaning_and_comments_and_is_stable(parts in prop::collection::vec(
            prop::sample::select(vec!["a", "b-1", " ", " ", "\n", "\n\n\n", ";", " {", "}", "=", "(t)", "\"x y\"", "#\"r\"#", "12", "#true", "// c1\n", "/* c2 */",
                "/-", " \\\n", " \\ // c3\n", "\"\"\"\n  l\n  \"\"\"", " long-word-to-fill-the-line"]), 0..40)) {
            let text: String = parts.concat();
            if let Some(before) = meaning(&text) {
                let once = fmt(&text).unwrap_or_default();
                let twice = fmt(&once);
                prop_assert_eq!(meaning(&once), Some(before), "{:?} -> {:?}", text, once);
                prop_assert_eq!(comments(&text), comments(&once), "{:?} -> {:?}", text, once);
                prop_assert_eq!(twice, Some(once.clone()), "{:?} -> {:?}", text, once);
            }
        }
    }
}
