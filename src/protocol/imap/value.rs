//! The words of a server's answer: atoms, strings, lists. Tolerant, because servers are sloppy: an unclosed list ends with the
//! answer, spaces may be missing or double, octets above 127 may stand anywhere. Nothing is refused but nesting without end.

/// A part of an answer as it came: text up to a literal, and the literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    Literal(Vec<u8>),
    /// A literal that went elsewhere while it came; its octets are not here.
    Streamed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nil,
    Atom(Vec<u8>),
    /// Quoted or a literal.
    Text(Vec<u8>),
    List(Vec<Value>),
    Streamed,
}

impl Value {
    /// The octets of an atom or a string.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Value::Atom(o) | Value::Text(o) => Some(o),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<String> {
        self.octets().map(|o| String::from_utf8_lossy(o).into_owned())
    }

    pub fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.octets()?).ok()?.parse().ok()
    }

    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(l) => Some(l),
            _ => None,
        }
    }

    pub fn is(&self, word: &str) -> bool {
        matches!(self, Value::Atom(a) if a.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// No answer that is asked for here is nested deeper.
const DEPTH: usize = 16;

/// A literal that a line announces at its end: where the announcement begins, and how many octets. `{5}`, `{5+}`, `~{5}`.
pub fn announced(line: &[u8]) -> Option<(usize, u64)> {
    let inner = line.strip_suffix(b"}")?;
    let brace = inner.iter().rposition(|b| *b == b'{')?;
    let number = &inner[brace + 1..];
    let number = number.strip_suffix(b"+").unwrap_or(number);
    if number.is_empty() || number.len() > 12 || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let octets = std::str::from_utf8(number).ok()?.parse().ok()?;
    let begins = if brace > 0 && line[brace - 1] == b'~' { brace - 1 } else { brace };
    Some((begins, octets))
}

/// All words of an answer, from `at` octets into its first piece.
pub fn values(pieces: &[Piece], at: usize) -> Vec<Value> {
    let mut open: Vec<Vec<Value>> = vec![Vec::new()];
    for (n, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => words(text.get(if n == 0 { at } else { 0 }..).unwrap_or_default(), &mut open),
            Piece::Literal(octets) => push(&mut open, Value::Text(octets.clone())),
            Piece::Streamed => push(&mut open, Value::Streamed),
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    open.pop().unwrap_or_default()
}

fn push(open: &mut [Vec<Value>], value: Value) {
    if let Some(last) = open.last_mut() {
        last.push(value);
    }
}

fn close(open: &mut Vec<Vec<Value>>) {
    if open.len() > 1
        && let Some(list) = open.pop()
    {
        push(open, Value::List(list));
    }
}

fn words(text: &[u8], open: &mut Vec<Vec<Value>>) {
    let mut at = 0;
    while let Some(first) = text.get(at) {
        match first {
            b' ' | b'\t' | b'\r' => at += 1,
            b'(' => {
                if open.len() < DEPTH {
                    open.push(Vec::new());
                }
                at += 1;
            }
            b')' => {
                close(open);
                at += 1;
            }
            b'"' => {
                let (value, used) = quoted(&text[at..]);
                push(open, Value::Text(value));
                at += used;
            }
            _ => {
                let n = atom(&text[at..]);
                let word = &text[at..at + n];
                let nil = word.eq_ignore_ascii_case(b"NIL");
                push(open, if nil { Value::Nil } else { Value::Atom(word.to_vec()) });
                at += n;
            }
        }
    }
}

/// How long an atom is. What stands in brackets belongs to it: `BODY[HEADER.FIELDS (A B)]<0>`.
fn atom(text: &[u8]) -> usize {
    let mut brackets = 0usize;
    for (n, octet) in text.iter().enumerate() {
        match octet {
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b' ' | b'(' | b')' | b'\t' | b'\r' if brackets == 0 => return n.max(1),
            _ => {}
        }
    }
    // A bracket that is not closed is a letter like others.
    if brackets > 0 {
        text.iter().position(|b| b" ()\t\r".contains(b)).unwrap_or(text.len()).max(1)
    } else {
        text.len()
    }
}

/// A quoted string and how much of the text it is. One without an end goes to the end; a backslash before another letter stands
/// for itself.
pub(super) fn quoted(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut at = 1;
    while let Some(octet) = text.get(at) {
        match (octet, text.get(at + 1)) {
            (b'"', _) => return (out, at + 1),
            (b'\\', Some(next @ (b'"' | b'\\'))) => {
                out.push(*next);
                at += 1;
            }
            _ => out.push(*octet),
        }
        at += 1;
    }
    (out, text.len())
}
