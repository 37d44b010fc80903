//! XML as EWS sends it, read piece by piece: text of an element comes as it arrives, so that a message inside is never whole in memory.
//!
//! Read is the part of XML 1.0 that SOAP 1.1 allows (section 3: neither a document type declaration nor processing instructions), so that no entity but
//! the five of XML itself exists and none can grow. A tag, a depth and what a tree holds are bounded. Prefixes of names are left off: the elements that are
//! asked for differ by their local names.

use super::{Class, Fault};

/// Octets of one tag with its attributes.
const TAG: usize = 64 << 10;
/// Elements inside each other. Exchange's own answers have about twelve.
const DEPTH: usize = 64;
/// Octets of text that are handed on at a time, at most.
const PIECE: usize = 32 << 10;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// An element begins: its local name and its attributes.
    Start(String, Vec<(String, String)>),
    /// Some of the text of the element that is open.
    Text(Vec<u8>),
    End,
    /// The outermost element has ended.
    Over,
}

/// Takes octets in and gives events out.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    held: Vec<u8>,
    at: usize,
    open: Vec<String>,
    /// An element without content ends right after it began.
    ends: bool,
    begun: bool,
}

fn bad(what: &str) -> Fault {
    Fault::new(Class::Protocol, format!("ews: an answer that is no XML: {what}"))
}

impl Scanner {
    pub fn feed(&mut self, octets: &[u8]) {
        if self.at > 0 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        self.held.extend_from_slice(octets);
    }

    /// `None`: more octets are needed.
    pub fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.ends {
                self.ends = false;
                self.open.pop();
                return Ok(Some(Event::End));
            }
            if self.begun && self.open.is_empty() {
                return Ok(Some(Event::Over));
            }
            let rest = &self.held[self.at..];
            let Some(first) = rest.first() else { return Ok(None) };
            if *first != b'<' {
                match self.text()? {
                    // Between elements outside of the outermost one there is white space only, and the mark of UTF-8.
                    Some(text) if self.open.is_empty() => {
                        if text.iter().any(|b| !b.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(b)) {
                            return Err(bad("text outside of its elements"));
                        }
                    }
                    Some(text) => return Ok(Some(Event::Text(text))),
                    None => return Ok(None),
                }
                continue;
            }
            if let Some(done) = self.special()? {
                match done {
                    Special::Skipped => continue,
                    Special::Text(text) if self.open.is_empty() && !text.is_empty() => {
                        return Err(bad("text outside of its elements"));
                    }
                    Special::Text(text) => return Ok(Some(Event::Text(text))),
                    Special::More => return Ok(None),
                }
            }
            let Some(tag) = self.tag()? else { return Ok(None) };
            return self.element(&tag).map(Some);
        }
    }

    fn text(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let rest = &self.held[self.at..];
        if rest[0] == b'&' {
            let Some(end) = rest.iter().take(16).position(|b| *b == b';') else {
                return if rest.len() < 16 { Ok(None) } else { Err(bad("an entity without end")) };
            };
            let text = entity(&rest[1..end])?;
            self.at += end + 1;
            return Ok(Some(text));
        }
        let length = rest.iter().take(PIECE).position(|b| matches!(b, b'<' | b'&')).unwrap_or(rest.len().min(PIECE));
        let text = rest[..length].to_vec();
        self.at += length;
        Ok(Some(text))
    }

    /// What begins with `<` and is no tag.
    fn special(&mut self) -> Result<Option<Special>, Fault> {
        const COMMENT: &[u8] = b"<!--";
        const CDATA: &[u8] = b"<![CDATA[";
        let rest = &self.held[self.at..];
        if rest.len() > 1 && rest[1] != b'!' && rest[1] != b'?' {
            return Ok(None);
        }
        let short = |of: &[u8]| rest.len() < of.len() && of.starts_with(rest);
        if rest.len() < 2 || short(COMMENT) || short(CDATA) {
            return Ok(Some(Special::More));
        }
        let until = |from: usize, end: &[u8]| {
            rest[from..].windows(end.len()).position(|w| w == end).map(|n| (from + n, from + n + end.len()))
        };
        let (found, text) = if rest.starts_with(COMMENT) {
            (until(COMMENT.len(), b"-->"), None)
        } else if rest.starts_with(CDATA) {
            (until(CDATA.len(), b"]]>"), Some(CDATA.len()))
        } else if rest[1] == b'?' && !self.begun {
            // The XML declaration.
            (until(2, b"?>"), None)
        } else {
            return Err(bad("a document type or a processing instruction, which SOAP does not have"));
        };
        match found {
            Some((end, after)) => {
                let text = text.map(|from| rest[from..end].to_vec());
                self.at += after;
                Ok(Some(text.map_or(Special::Skipped, Special::Text)))
            }
            None if rest.len() > TAG => Err(bad("a comment or a section without end")),
            None => Ok(Some(Special::More)),
        }
    }

    /// All between `<` and `>`; a `>` inside of quotes is none.
    fn tag(&mut self) -> Result<Option<String>, Fault> {
        let rest = &self.held[self.at..];
        let mut quote = None;
        for (n, b) in rest.iter().enumerate().skip(1) {
            match (quote, b) {
                (Some(q), b) if q == *b => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(*b),
                (None, b'>') => {
                    let text = String::from_utf8(rest[1..n].to_vec()).map_err(|_| bad("a tag that is no UTF-8"))?;
                    self.at += n + 1;
                    return Ok(Some(text));
                }
                (None, b'<') => return Err(bad("a tag inside of a tag")),
                _ => {}
            }
            if n > TAG {
                return Err(bad("a tag without end"));
            }
        }
        Ok(None)
    }

    fn element(&mut self, tag: &str) -> Result<Event, Fault> {
        if let Some(name) = tag.strip_prefix('/') {
            return match self.open.pop() {
                Some(open) if open == name.trim_end() => Ok(Event::End),
                _ => Err(bad("an element that ends without having begun")),
            };
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |t| (t, true));
        let (name, mut rest) = tag.split_at(tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(tag.len()));
        if name.is_empty() || self.open.len() >= DEPTH {
            return Err(bad("a tag without name, or too many inside each other"));
        }
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                break;
            }
            let (key, after) = rest.split_once('=').ok_or_else(|| bad("an attribute without value"))?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|q| matches!(q, '"' | '\''));
            let quote = quote.ok_or_else(|| bad("an attribute without quotes"))?;
            let (value, after) = after[1..].split_once(quote).ok_or_else(|| bad("an attribute without end"))?;
            attributes.push((local(key.trim()).to_owned(), unescaped(value)?));
            rest = after;
        }
        self.begun = true;
        self.open.push(name.to_owned());
        self.ends = empty;
        Ok(Event::Start(local(name).to_owned(), attributes))
    }
}

enum Special {
    Skipped,
    Text(Vec<u8>),
    More,
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn entity(name: &[u8]) -> Result<Vec<u8>, Fault> {
    let one = match name {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"quot" => '"',
        b"apos" => '\'',
        _ => {
            let text = std::str::from_utf8(name).ok().and_then(|n| n.strip_prefix('#'));
            let text = text.ok_or_else(|| bad("an entity that XML does not have"))?;
            let number = match text.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => text.parse(),
            };
            // Exchange writes control characters of names so, which XML 1.0 has no way to carry.
            number.ok().and_then(char::from_u32).ok_or_else(|| bad("a number that is no character"))?
        }
    };
    Ok(one.to_string().into_bytes())
}

fn unescaped(value: &str) -> Result<String, Fault> {
    let mut parts = value.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').ok_or_else(|| bad("an entity without end"))?;
        text.push_str(&String::from_utf8_lossy(&entity(name.as_bytes())?));
        text.push_str(after);
    }
    Ok(text)
}

/// For a text or an attribute. A character that XML 1.0 cannot carry (section 2.2) becomes U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c if u32::from(c) < 0x20 || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// An element with all that is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }

    /// Text of the first child of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.as_str())
    }

    /// The first element of this name, at any depth.
    pub fn find(&self, name: &str) -> Option<&Node> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|c| c.find(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], step: usize) -> Result<Vec<Event>, Fault> {
        let (mut scanner, mut events, mut pieces): (_, Vec<Event>, _) =
            (Scanner::default(), Vec::new(), text.chunks(step));
        loop {
            match (scanner.next()?, events.last_mut()) {
                (None, _) => match pieces.next() {
                    Some(piece) => scanner.feed(piece),
                    None => return Err(bad("cut")),
                },
                (Some(Event::Over), _) => return Ok(events),
                (Some(Event::Text(more)), Some(Event::Text(held))) => held.extend(more),
                (Some(event), _) => events.push(event),
            }
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_events() {
        let text = b"\xEF\xBB\xBF<?xml version='1.0'?>\r\n<s:A x='1 &gt; 0' y=\"a>b\"><!-- <x> --><b/>a&amp;b&#x41;<![CDATA[<c>&amp;]]></s:A>";
        let whole = all(text, text.len()).expect("events");
        assert_eq!(
            whole,
            [
                Event::Start("A".into(), vec![("x".into(), "1 > 0".into()), ("y".into(), "a>b".into())]),
                Event::Start("b".into(), vec![]),
                Event::End,
                Event::Text(b"a&bA<c>&amp;".to_vec()),
                Event::End,
            ]
        );
        for step in 1..40 {
            assert_eq!(all(text, step).as_ref(), Ok(&whole), "{step}");
        }
    }

    /// What a hostile server may send: each is refused, and nothing grows with it.
    #[test]
    fn hostile_answers_are_refused() {
        let deep = "<a>".repeat(1000);
        let tag = format!("<a {}>", "x".repeat(200 << 10));
        let attribute = format!("<a x=\"{}", "x".repeat(200 << 10));
        let comment = format!("<a><!--{}", "x".repeat(200 << 10));
        for text in [
            "<!DOCTYPE a [<!ENTITY b \"cccc\"><!ENTITY d \"&b;&b;\">]><a>&d;</a>",
            "<a>&lol9;</a>",
            "<a>&#x110000;</a>",
            "<a>&nothing without end",
            "<a></b>",
            "<a><b></a>",
            "<a x=1/>",
            "<a x='1/>",
            "text",
            "<a><?php ?></a>",
            deep.as_str(),
            tag.as_str(),
            attribute.as_str(),
            comment.as_str(),
            "",
            "<a>cut",
        ] {
            let refused = all(text.as_bytes(), 4096).expect_err(&text[..text.len().min(40)]);
            assert_eq!(refused.class, Class::Protocol);
        }
    }

    #[test]
    fn what_is_escaped_comes_back() {
        let text = "a<b>&\"c'\r\n\t\u{1}ü";
        let xml = format!("<a x=\"{}\"/>", escaped(text));
        let Event::Start(_, attributes) = &all(xml.as_bytes(), 7).expect("events")[0] else { panic!() };
        assert_eq!(attributes[0].1, text.replace('\u{1}', "\u{FFFD}"));
    }
}
