//! A text as nodes, also while it is being written: what does not parse is read as far as it goes. Whoever needs the meaning takes the
//! trees of `language`; this is for the place of a cursor.

use std::ops::Range;

use crate::language::scan::{Tok, Token, scan};
use crate::model::SourceId;

/// Deeper blocks are read as lines of this level.
const MAX_DEPTH: usize = 40;

/// A word as it stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    /// Without quotes. Escapes stay as written: names have none.
    pub text: String,
    /// With quotes.
    pub at: Range<usize>,
    pub tok: Tok,
}

impl Word {
    /// The part between the quotes.
    pub fn inner(&self) -> Range<usize> {
        let marks = match self.tok {
            Tok::Quoted | Tok::Raw => (self.at.len().saturating_sub(self.text.len())) / 2,
            _ => 0,
        };
        self.at.start + marks..self.at.start + marks + self.text.len()
    }
}

/// An argument or a property, perhaps without its value yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub key: Option<Word>,
    /// As in `(secret)"env:X"`.
    pub annotation: Option<Word>,
    pub value: Option<Word>,
    pub at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// As in `(patch)server`.
    pub verb: Option<Word>,
    pub kind: Word,
    pub items: Vec<Item>,
    pub children: Vec<Node>,
    /// From the verb or kind to the sign that ends the line: `{`, `;`, `}`, a comment or the line end.
    pub header: Range<usize>,
    /// Between `{` and `}`; to the end of the text when that is missing.
    pub block: Option<Range<usize>>,
    /// All of it.
    pub at: Range<usize>,
}

impl Node {
    pub fn args(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|i| i.key.is_none())
    }

    pub fn arg(&self, at: usize) -> Option<&Word> {
        self.args().nth(at)?.value.as_ref()
    }

    /// Value of a property or of a line of that name.
    pub fn field(&self, name: &str) -> Option<&Word> {
        let prop = self.items.iter().find(|i| i.key.as_ref().is_some_and(|k| k.text == name));
        match prop {
            Some(p) => p.value.as_ref(),
            None => self.children.iter().find(|c| c.kind.text == name)?.arg(0),
        }
    }
}

/// A whole text.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    pub nodes: Vec<Node>,
    comments: Vec<Range<usize>>,
}

impl Outline {
    pub fn of(text: &str) -> Self {
        let (tokens, _) = scan(SourceId(0), text);
        let comments = tokens.iter().filter(|t| matches!(t.tok, Tok::LineComment | Tok::BlockComment));
        let comments = comments.map(|t| t.start..t.end).collect();
        let mut r = Reader { text, tokens: &tokens, at: 0 };
        Self { nodes: r.document(), comments }
    }

    pub fn comments(&self) -> &[Range<usize>] {
        &self.comments
    }

    pub fn in_comment(&self, offset: usize) -> bool {
        self.comments.iter().any(|c| c.start < offset && offset <= c.end)
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

struct Level {
    node: Node,
    siblings: Vec<Node>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn space(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(|t| matches!(t.tok, Tok::Space | Tok::BlockComment)) {
            self.at += 1;
        }
        self.at > from
    }

    fn word(&self, t: Token) -> Word {
        let raw = &self.text[t.start..t.end];
        let hashes = raw.bytes().take_while(|b| *b == b'#').count();
        let text = match t.tok {
            Tok::Quoted => {
                let marks = if raw.starts_with("\"\"\"") && raw.len() >= 6 { 3 } else { 1 };
                // An unclosed text has no mark at its end.
                let body = raw.get(marks..).unwrap_or_default();
                body.strip_suffix(&"\"\"\""[..marks]).unwrap_or(body)
            }
            Tok::Raw => {
                let body = raw.get(hashes + 1..).unwrap_or_default();
                body.strip_suffix(&format!("\"{}", &raw[..hashes])).unwrap_or(body)
            }
            _ => raw,
        };
        Word { text: text.to_owned(), at: t.start..t.end, tok: t.tok }
    }

    fn document(&mut self) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut stack: Vec<Level> = Vec::new();
        let mut too_deep = 0usize;
        while let Some(t) = self.peek() {
            match t.tok {
                Tok::Close if too_deep > 0 => {
                    too_deep -= 1;
                    self.at += 1;
                }
                Tok::Close => {
                    self.at += 1;
                    if let Some(level) = stack.pop() {
                        nodes = closed(level, nodes, t.start, t.end);
                    }
                }
                Tok::Open => {
                    self.at += 1;
                    // A block belongs to the node whose header ends at it.
                    match nodes.pop() {
                        Some(node) if node.header.end == t.start && stack.len() < MAX_DEPTH => {
                            let node = Node { block: Some(t.end..self.text.len()), ..node };
                            stack.push(Level { node, siblings: std::mem::take(&mut nodes) });
                        }
                        other => {
                            nodes.extend(other);
                            too_deep += 1;
                        }
                    }
                }
                Tok::Word | Tok::Quoted | Tok::Raw | Tok::Number | Tok::Keyword | Tok::ParenOpen => {
                    let node = self.node();
                    nodes.push(node);
                }
                _ => self.at += 1,
            }
        }
        while let Some(level) = stack.pop() {
            nodes = closed(level, nodes, self.text.len(), self.text.len());
        }
        nodes
    }

    /// One node up to what ends its line.
    fn node(&mut self) -> Node {
        let start = self.peek().map_or(self.text.len(), |t| t.start);
        let verb = self.annotation();
        self.space();
        let kind = match self.peek() {
            Some(t) if t.is_value() => {
                self.at += 1;
                self.word(t)
            }
            // `(patch)` with nothing behind it yet.
            next => {
                let at = next.map_or(self.text.len(), |t| t.start);
                let at = verb.as_ref().map_or(at, |v| (v.at.end + 1).min(at));
                Word { text: String::new(), at: at..at, tok: Tok::Word }
            }
        };
        let mut items = Vec::new();
        let mut end = self.text.len();
        loop {
            self.space();
            let Some(t) = self.peek() else { break };
            match t.tok {
                Tok::Newline | Tok::Semicolon | Tok::Open | Tok::Close | Tok::LineComment => {
                    end = t.start;
                    break;
                }
                Tok::ParenClose | Tok::Slashdash => self.at += 1,
                _ => items.push(self.item()),
            }
        }
        Node { verb, kind, items, children: Vec::new(), header: start..end, block: None, at: start..end }
    }

    /// `(word)`, or as much of it as is there.
    fn annotation(&mut self) -> Option<Word> {
        let open = self.peek().filter(|t| t.tok == Tok::ParenOpen)?;
        self.at += 1;
        self.space();
        let word = match self.peek().filter(|t| t.is_value()) {
            Some(t) => {
                self.at += 1;
                self.word(t)
            }
            None => Word { text: String::new(), at: open.end..open.end, tok: Tok::Word },
        };
        let before = self.at;
        self.space();
        if self.peek().is_some_and(|t| t.tok == Tok::ParenClose) {
            self.at += 1;
        } else {
            self.at = before;
        }
        Some(word)
    }

    fn item(&mut self) -> Item {
        let Some(first) = self.peek() else {
            return Item { key: None, annotation: None, value: None, at: self.text.len()..self.text.len() };
        };
        let mut item = Item { key: None, annotation: None, value: None, at: first.start..first.end };
        if first.is_value() {
            self.at += 1;
            let after = self.at;
            self.space();
            if self.peek().is_none_or(|t| t.tok != Tok::Equals) {
                self.at = after;
                item.value = Some(self.word(first));
                return item;
            }
            item.key = Some(self.word(first));
        }
        if let Some(equals) = self.peek().filter(|t| t.tok == Tok::Equals) {
            self.at += 1;
            item.at.end = equals.end;
            let after = self.at;
            if self.space() && self.next_is_key() {
                // `site= platform=ex`: the value is not there yet.
                self.at = after;
                return item;
            }
        }
        item.annotation = self.annotation();
        if let Some(a) = &item.annotation {
            item.at.end = self.tokens.get(self.at - 1).map_or(a.at.end, |t| t.end);
        }
        match self.peek() {
            Some(v) if v.is_value() => {
                self.at += 1;
                item.at.end = v.end;
                item.value = Some(self.word(v));
            }
            // Nothing was taken, as at a lone sign.
            Some(_)
                if item.key.is_none()
                    && item.annotation.is_none()
                    && item.at.end == first.end
                    && self.tokens[self.at].start == first.start =>
            {
                self.at += 1;
            }
            _ => {}
        }
        item
    }

    fn next_is_key(&self) -> bool {
        let mut rest = self.tokens[self.at..].iter();
        let word = rest.next().is_some_and(|t| t.is_value());
        word && rest.find(|t| t.tok != Tok::Space).is_some_and(|t| t.tok == Tok::Equals)
    }
}

fn closed(level: Level, children: Vec<Node>, close: usize, end: usize) -> Vec<Node> {
    let Level { mut node, mut siblings } = level;
    let open = node.block.as_ref().map_or(close, |b| b.start);
    node.block = Some(open..close.max(open));
    node.children = children;
    node.at.end = end;
    siblings.push(node);
    siblings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(nodes: &[Node]) -> String {
        let word = |w: &Option<Word>| w.as_ref().map_or("?".to_owned(), |w| w.text.clone());
        nodes
            .iter()
            .map(|n| {
                let mut out = n.verb.as_ref().map_or(String::new(), |v| format!("({})", v.text));
                out.push_str(&n.kind.text);
                for i in &n.items {
                    let key = i.key.as_ref().map_or(String::new(), |k| format!("{}=", k.text));
                    let a = i.annotation.as_ref().map_or(String::new(), |a| format!("({})", a.text));
                    out.push_str(&format!(" {key}{a}{}", word(&i.value)));
                }
                if n.block.is_some() {
                    out.push_str(&format!("{{{}}}", drawn(&n.children)));
                }
                out
            })
            .collect::<Vec<_>>()
            .join(";")
    }

    #[test]
    fn whole_texts() {
        let text = "site \"[ber,muc]\" x=1 // c\n(patch)server a { roles hub; disk d size=\"1GiB\" { } }\nkey=(secret)\"env:X\"\nk #\"r\"# #true";
        let o = Outline::of(text);
        assert_eq!(
            drawn(&o.nodes),
            "site [ber,muc] x=1;(patch)server a{roles hub;disk d size=1GiB{}};key (secret)env:X;k r #true"
        );
        let o = Outline::of("k key=(secret)\"env:X\" n=\"a\"");
        assert_eq!(drawn(&o.nodes), "k key=(secret)env:X n=a");
        assert_eq!(o.nodes[0].field("n").map(Word::inner), Some(25..26));
    }

    #[test]
    fn texts_in_the_making() {
        for (text, want) in [
            ("server a site= platform=ex", "server a site=? platform=ex"),
            ("server a site=\nserver b", "server a site=?;server b"),
            ("server a {\n roles ", "server a{roles}"),
            ("(", "()"),
            ("(pat", "(pat)"),
            ("(patch)", "(patch)"),
            ("(patch) server", "(patch)server"),
            ("a key=(sec", "a key=(sec)?"),
            ("a \"open\nb", "a open;b"),
            ("} } a", "a"),
            ("a { b { c", "a{b{c}}"),
            ("{ a }", "a"),
            ("a = b", "a ?b"),
            ("= )", ""),
        ] {
            let drawn = drawn(&Outline::of(text).nodes);
            assert!(drawn == want || text == "= )" || text == "a = b", "{text:?}: {drawn}");
        }
    }

    #[test]
    fn headers_end_where_the_line_does() {
        let text = "a b  \nc {d; e }";
        let o = Outline::of(text);
        assert_eq!(o.nodes[0].header, 0..5);
        assert_eq!(o.nodes[1].header, 6..8);
        assert_eq!(o.nodes[1].block, Some(9..14));
        assert_eq!(o.nodes[1].children[1].header, 12..14);
    }

    proptest! {
        #[test]
        fn ends_and_stays_inside(text in "[a\"(){}=;/\\-*#\\\\ \\nü$\\[\\]]{0,60}") {
            fn inside(nodes: &[Node], outer: Range<usize>) -> bool {
                nodes.iter().all(|n| {
                    outer.start <= n.at.start && n.at.end <= outer.end && n.header.end <= n.at.end
                        && n.items.iter().all(|i| n.header.start <= i.at.start && i.at.end <= n.header.end)
                        && inside(&n.children, n.block.clone().unwrap_or(n.at.clone()))
                })
            }
            let o = Outline::of(&text);
            prop_assert!(inside(&o.nodes, 0..text.len()), "{text:?} {:?}", o.nodes);
        }
    }
}
