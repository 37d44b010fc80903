//! Tokens of a KDL 2 text, comments included: what the parser and the formatter both start from.
//!
//! Why not the kdl crate's parser for the structure: it recurses once per nesting level, per `/-`, per star in a block
//! comment and per error, and overflows the stack on hostile files, which aborts the process; its error spans start in
//! the wrong place; and it drops comments when it formats. Here nothing recurses, and every mistake is found where it
//! stands. Values (escapes, multi-line strings) are still decoded by the crate, see `syntax`. Grammar: KDL 2.0.0,
//! <https://kdl.dev/spec/>.

use super::spelling::unseen;
use crate::model::glyph::{is_direction, is_hidden};
use crate::model::{Diagnostic, SourceId, Span};
use habits::{FOREIGN_QUOTES, comma};
pub(super) use number::parse_int;
use number::{escape_len, is_number, starts_like_number};

mod habits;
mod number;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tok {
    /// Spaces, tabs and `\` line continuations.
    Space,
    Newline,
    Semicolon,
    /// `// ...` up to, not with, the line end.
    LineComment,
    BlockComment,
    /// `/-`
    Slashdash,
    Open,
    Close,
    ParenOpen,
    ParenClose,
    Equals,
    /// A bare word that is an identifier string.
    Word,
    Number,
    /// `#true`, `#false`, `#null`, `#inf`, `#-inf`, `#nan`.
    Keyword,
    /// `"..."` or `"""..."""`.
    Quoted,
    /// `#"..."#`.
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub tok: Tok,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn is_value(self) -> bool {
        matches!(self.tok, Tok::Word | Tok::Number | Tok::Keyword | Tok::Quoted | Tok::Raw)
    }

    pub fn is_string(self) -> bool {
        matches!(self.tok, Tok::Word | Tok::Quoted | Tok::Raw)
    }
}

/// More syntax errors than this in one file tell nobody anything new.
pub(super) const MAX_ERRORS: usize = 20;

/// The tokens, and every lexical mistake. Mistakes leave a token where one was meant, so that an editor can go on.
pub fn scan(source: SourceId, text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut s = Scanner::new(source, text, false);
    while s.at < text.len() && s.errors.len() < MAX_ERRORS {
        s.token();
    }
    (s.tokens, s.errors)
}

/// The tokens of the whole text, however many mistakes there are.
pub(super) fn scan_all(source: SourceId, text: &str) -> Vec<Token> {
    let mut s = Scanner::new(source, text, true);
    while s.at < text.len() {
        s.token();
        s.errors.clear();
    }
    s.tokens
}

pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}')
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Code points that KDL forbids anywhere: controls and direction marks, which can hide what a line says. U+061C is our own: it is
/// a direction mark too, younger than the list.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{feff}') || is_direction(c)
}

/// Ends a word: whitespace and the signs that have a meaning of their own.
fn ends_word(c: char) -> bool {
    is_newline(c) || is_space(c) || matches!(c, '{' | '}' | ';' | '=' | ')' | '"')
}

struct Scanner<'a> {
    source: SourceId,
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    errors: Vec<Diagnostic>,
    /// Looks for secrets: nothing is skipped for the sake of fewer messages.
    searching: bool,
}

impl<'a> Scanner<'a> {
    /// At the beginning of a text, behind its byte order mark.
    fn new(source: SourceId, text: &'a str, searching: bool) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self { source, text, at, tokens: Vec::with_capacity(text.len() / 5), errors: Vec::new(), searching }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { source: self.source, offset: start, len: end - start }
    }

    /// One line says a broken structure once: what follows on it is guesswork. Words that only lack quotes are mistakes of their own.
    fn error(&mut self, d: Diagnostic) {
        let structural = |d: &Diagnostic| matches!(d.code, "E0002" | "E0006");
        let start = |d: &Diagnostic| d.labels.first().map_or(0, |l| l.span.offset);
        if let Some(last) = self.errors.last() {
            let same_line = !self.text[start(last)..start(&d).max(start(last))].contains('\n');
            if same_line && (structural(last) || structural(&d)) {
                return;
            }
        }
        self.errors.push(d);
    }

    fn push(&mut self, tok: Tok, len: usize) {
        self.tokens.push(Token { tok, start: self.at, end: self.at + len });
        self.at += len;
    }

    fn token(&mut self) {
        let Some(c) = self.rest().chars().next() else { return };
        match c {
            '{' if self.rest().starts_with("{{") => self.template(),
            '{' => self.push(Tok::Open, 1),
            '}' => self.push(Tok::Close, 1),
            '(' => self.push(Tok::ParenOpen, 1),
            ')' => self.push(Tok::ParenClose, 1),
            ';' => self.push(Tok::Semicolon, 1),
            '=' if self.rest().starts_with("=======") && self.at_line_start() && self.foreign_line() => {}
            '=' => self.push(Tok::Equals, 1),
            '\r' if self.rest().starts_with("\r\n") => self.push(Tok::Newline, 2),
            c if is_newline(c) => self.push(Tok::Newline, c.len_utf8()),
            c if is_space(c) => {
                let len = self.rest().find(|c| !is_space(c)).unwrap_or(self.rest().len());
                self.push(Tok::Space, len);
            }
            '\\' => self.continuation(),
            '/' if self.rest().starts_with("//") => {
                let len = self.rest().find(is_newline).unwrap_or(self.rest().len());
                self.comment(len);
                self.push(Tok::LineComment, len);
            }
            '/' if self.rest().starts_with("/*") => self.block_comment(),
            '/' if self.rest().starts_with("/-") => self.push(Tok::Slashdash, 2),
            '"' => self.quoted(),
            '#' if self.rest()[1..].starts_with(is_space) => self.foreign_comment(),
            '#' => self.hash(),
            '<' | '>' | '`' | '[' if self.at_line_start() && self.foreign_line() => {}
            '[' if self.list() => {}
            'r' if self.rest()[1..].trim_start_matches('#').starts_with('"') => self.old_raw(),
            c if FOREIGN_QUOTES.iter().any(|(open, _)| *open == c) => self.foreign_quote(c),
            _ => self.word(),
        }
    }

    /// `\`, spaces, an optional comment, then the line end: reads as a space.
    fn continuation(&mut self) {
        let after = self.rest()[1..].trim_start_matches(is_space);
        let comment = if after.starts_with("//") { after.find(is_newline).unwrap_or(after.len()) } else { 0 };
        let tail = &after[comment..];
        let newline = match tail.chars().next() {
            None => 0,
            Some('\r') if tail.starts_with("\r\n") => 2,
            Some(c) if is_newline(c) => c.len_utf8(),
            Some(_) => {
                let at = self.at;
                self.error(
                    Diagnostic::error("E0006", "`\\` continues a line and must stand at its end")
                        .label(self.span(at, at + 1), "something follows on this line")
                        .help("put text that holds a backslash into a raw string: #\"..\"#"),
                );
                self.at += 1;
                return;
            }
        };
        let len = self.rest().len() - tail.len() + newline;
        self.push(Tok::Space, len);
    }

    /// What hides in a comment can make code of it, to the eye of who reads.
    fn comment(&mut self, len: usize) {
        let bad = self.rest()[..len].char_indices().find(|(_, c)| is_forbidden(*c));
        if let Some((i, c)) = bad {
            let d = forbidden(c, self.span(self.at + i, self.at + i + c.len_utf8()));
            self.error(d);
        }
    }

    fn block_comment(&mut self) {
        let bytes = self.rest().as_bytes();
        let (mut depth, mut i) = (0usize, 0usize);
        while i + 1 < bytes.len() {
            match (bytes[i], bytes[i + 1]) {
                (b'/', b'*') => {
                    depth += 1;
                    i += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    i += 2;
                    if depth == 0 {
                        self.comment(i);
                        return self.push(Tok::BlockComment, i);
                    }
                }
                _ => i += 1,
            }
        }
        let at = self.at;
        self.error(
            Diagnostic::error("E0006", "this comment is never closed")
                .label(self.span(at, at + 2), "opened here")
                .help("close it with `*/`; block comments nest"),
        );
        self.at = self.text.len();
    }

    fn quoted(&mut self) {
        let start = self.at;
        let multi = self.rest().starts_with("\"\"\"") && self.rest()[3..].starts_with(is_newline);
        let mut i = if multi { 3 } else { 1 };
        let rest = self.rest();
        if !multi && rest.starts_with("\"\"\"") && !rest.starts_with("\"\"\"\"") {
            let line = rest.find(is_newline).unwrap_or(rest.len());
            if let Some(end) = rest[3..line].find("\"\"\"").map(|e| 3 + e + 3) {
                let d = Diagnostic::error("E0002", "\"\"\" stands around a text of several lines")
                    .label(self.span(start, start + end), "one line")
                    .help(format!("write \"{}\", or put each \"\"\" on a line of its own", &rest[3..end - 3]));
                self.error(d);
                return self.push(Tok::Quoted, end);
            }
        }
        let mut closed = None;
        while let Some(c) = rest[i..].chars().next() {
            if c == '\\' {
                match escape_len(&rest[i..]) {
                    Some(n) => i += n,
                    None => {
                        let whole = rest[i..].find('}').filter(|e| rest[i..].starts_with("\\u{") && *e <= 12);
                        let n = whole.map_or(1 + rest[i + 1..].chars().next().map_or(0, char::len_utf8), |e| e + 1);
                        let bad = &rest[i..i + n];
                        let d = Diagnostic::error("E0002", format!("`{bad}` is no escape"))
                            .label(self.span(start + i, start + i + n), "unknown escape")
                            .help("write `\\\\` for a backslash, or use a raw string: #\"..\"#");
                        i += n;
                        self.error(d);
                        if self.errors.len() >= MAX_ERRORS {
                            self.at = self.text.len();
                            return;
                        }
                        return self.skip_string(i, multi);
                    }
                }
                continue;
            }
            if multi && rest[i..].starts_with("\"\"\"") {
                closed = Some(i + 3);
                break;
            }
            if !multi && c == '"' {
                closed = Some(i + 1);
                break;
            }
            if !multi && is_newline(c) {
                break;
            }
            if is_forbidden(c) {
                self.error(forbidden(c, self.span(start + i, start + i + c.len_utf8())));
                return self.skip_string(i + c.len_utf8(), multi);
            }
            i += c.len_utf8();
        }
        self.close_string(Tok::Quoted, closed, i, if multi { "\"\"\"" } else { "\"" });
    }

    /// Goes on behind a string that holds a mistake, so that it is reported once.
    fn skip_string(&mut self, from: usize, multi: bool) {
        let rest = self.rest();
        let end = if multi {
            rest[from..].find("\"\"\"").map(|i| from + i + 3)
        } else {
            let line = rest[from..].find(is_newline).map_or(rest.len(), |i| from + i);
            rest[from..line].find('"').map(|i| from + i + 1).or(Some(line))
        };
        let len = end.unwrap_or(rest.len());
        self.push(Tok::Quoted, len);
    }

    fn close_string(&mut self, tok: Tok, closed: Option<usize>, reached: usize, quote: &str) {
        let at = self.at;
        match closed {
            Some(end) => {
                self.push(tok, end);
                self.after_value();
            }
            None => {
                self.error(
                    Diagnostic::error("E0002", "this text is never closed")
                        .label(self.span(at, at + quote.len().max(1)), "opened here")
                        .help(format!("close it with `{quote}`; a text of several lines stands between \"\"\" on lines of their own")),
                );
                self.push(tok, reached.max(self.continued(reached)));
            }
        }
    }

    /// A string must be followed by a space or a sign, else two values run together.
    fn after_value(&mut self) {
        let Some(c) = self.rest().chars().next() else { return };
        if ends_word(c) && c != '"' || self.rest().starts_with("//") || self.rest().starts_with("/*") || c == '\\' {
            return;
        }
        let at = self.at;
        let start = self.tokens.last().map_or(at, |t| t.start);
        let len = self.rest().find(|c| ends_word(c) && c != '"').unwrap_or(self.rest().len());
        let value = &self.text[start..at];
        self.error(match c {
            ',' => comma(self.span(at, at + 1), value),
            ':' => Diagnostic::error("E0006", "a name and its value stand without a `:` between them")
                .label(self.span(at, at + 1), "not KDL")
                .help(format!(
                    "write {} VALUE on a line of its own, or {}=VALUE",
                    value.trim_matches('"'),
                    value.trim_matches('"')
                )),
            '(' => Diagnostic::error("E0006", "a type stands before its value")
                .label(self.span(at, at + len), "not behind it")
                .help(format!("as in (secret){value}")),
            _ => Diagnostic::error("E0006", "a space is missing between two values")
                .label(self.span(start, at + len), "two values in one")
                .help("quotes go around the whole value; between two values stands a space"),
        });
        self.at += len;
    }

    fn hash(&mut self) {
        let rest = self.rest();
        let hashes = rest.bytes().take_while(|b| *b == b'#').count();
        if !rest[hashes..].starts_with('"') {
            let len = word_len(rest);
            let word = &rest[..len];
            if matches!(word, "#true" | "#false" | "#null" | "#inf" | "#-inf" | "#nan") {
                return self.push(Tok::Keyword, len);
            }
            let near = word.trim_start_matches('#').to_ascii_lowercase();
            let help = match near.as_str() {
                "yes" | "on" | "enabled" => "write #true".to_owned(),
                "no" | "off" | "disabled" => "write #false".to_owned(),
                "true" | "false" | "null" => format!("write #{near}"),
                _ => format!("`#` starts #true, #false or a raw text; write \"{word}\""),
            };
            let d = Diagnostic::error("E0005", format!("`{word}` is no word of KDL"))
                .label(self.span(self.at, self.at + len), "here")
                .help(help);
            self.error(d);
            return self.push(Tok::Keyword, len.max(1));
        }
        let multi = rest[hashes..].starts_with("\"\"\"") && rest[hashes + 3..].starts_with(is_newline);
        let quotes = if multi { "\"\"\"" } else { "\"" };
        let close = format!("{quotes}{}", &rest[..hashes]);
        let body = hashes + quotes.len();
        let end = rest[body..].find(&close).map(|i| body + i + close.len());
        let line = rest[body..].find(is_newline).map_or(rest.len(), |i| body + i);
        let closed = end.filter(|e| multi || *e <= line);
        let bad = rest[..closed.unwrap_or(line)].char_indices().find(|(_, c)| is_forbidden(*c));
        if let Some((i, c)) = bad {
            let d = forbidden(c, self.span(self.at + i, self.at + i + c.len_utf8()));
            self.error(d);
        }
        self.close_string(Tok::Raw, closed, if multi { rest.len() } else { line }, &close);
    }

    fn word(&mut self) {
        let rest = self.rest();
        let start = self.at;
        let len = word_len(rest);
        if rest[..len].ends_with('$') && rest[len..].starts_with('{') {
            return self.interpolation(len);
        }
        // A range or a call of a bare word runs on over what would end a word: `mbx-[01, 02]` stays two words.
        let word = &rest[..len];
        let bad = word.char_indices().find(|(_, c)| {
            matches!(c, '[' | ']' | '/' | '\\' | '(' | '#' | '＝' | '：' | '；' | '｛' | '｝' | '（' | '）' | '，')
                || is_forbidden(*c)
        });
        if len > 1 && word.ends_with(',') {
            self.error(comma(self.span(start + len - 1, start + len), &word[..len - 1]));
            return self.push(Tok::Word, len);
        }
        let digit = starts_like_number(word);
        let bad = unseen(word).or(bad);
        if let Some((i, c)) = bad {
            let d = if is_forbidden(c) || is_hidden(c) {
                forbidden(c, self.span(start + i, start + i + c.len_utf8()))
            } else if c == '(' && i > 0 && word[..i].chars().all(|c| c.is_alphanumeric() || c == '-') && !digit {
                Diagnostic::error("E0006", format!("`{}` runs into a `(`", &word[..i]))
                    .label(self.span(start, start + len), "a type stands before the value")
                    .help(format!("write ({})\"..\", or put the whole value in quotes: \"{word}\"", &word[..i]))
            } else {
                let why = match c {
                    '＝' | '：' | '；' | '｛' | '｝' | '（' | '）' | '，' => {
                        "this sign of full width is not the one of KDL: = : ; { } ( ) are ASCII"
                    }
                    '[' | ']' => "a range stands in quotes",
                    _ if digit => "a word that starts with a digit is a number",
                    _ => "a bare word cannot hold this sign",
                };
                Diagnostic::error("E0004", format!("`{word}` needs quotes"))
                    .label(self.span(start, start + len), format!("`{c}` in a bare word"))
                    .help(format!("{why}; write \"{word}\""))
            };
            self.error(d);
            return self.push(Tok::Word, len);
        }
        if digit {
            if !is_number(word) {
                let d = Diagnostic::error("E0001", format!("`{word}` needs quotes"))
                    .label(self.span(start, start + len), "here")
                    .help(format!("KDL reads a bare word that starts with a digit as a number; write \"{word}\""));
                self.error(d);
            }
            return self.push(Tok::Number, len);
        }
        if matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            let d = Diagnostic::error("E0005", format!("`{word}` needs a `#`"))
                .label(self.span(start, start + len), "here")
                .help(format!("write #{word}, or \"{word}\" if it is a text"));
            self.error(d);
            return self.push(Tok::Keyword, len);
        }
        self.push(Tok::Word, len);
        if self.rest().starts_with('"') {
            self.tokens.pop();
            self.at = start;
            self.glued(len);
        }
    }

    /// `name"text"`: a word that runs into a quote.
    fn glued(&mut self, len: usize) {
        let (start, rest) = (self.at, self.rest());
        let line = rest[len + 1..].find(is_newline).map_or(rest.len(), |i| len + 1 + i);
        let end = rest[len + 1..line].find('"').map_or(line, |i| len + 2 + i);
        let d = Diagnostic::error("E0006", "a space is missing between two values")
            .label(self.span(start, start + end), "two values in one")
            .help("quotes go around the whole value; between two values stands a space");
        self.error(d);
        self.push(Tok::Quoted, end);
    }

    /// A bare `$` before `{`: the braces would start children.
    fn interpolation(&mut self, dollar: usize) {
        let rest = self.rest();
        let stop = |c: char| is_newline(c) || is_space(c) || matches!(c, ';' | '"');
        let line = rest[dollar..].find(stop).map_or(rest.len(), |i| dollar + i);
        // Take as many balanced `{..}` as the word has, no closing brace of an outer node.
        let (mut depth, mut end) = (0i32, line);
        for (i, c) in rest[dollar..line].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                end = dollar + i;
                break;
            }
        }
        let (at, word) = (self.at, rest[..end].to_owned());
        self.error(
            Diagnostic::error("E0003", format!("`{word}` needs quotes"))
                .label(self.span(at, at + end), "here")
                .help(format!("a bare `{{` starts children; write \"{word}\"")),
        );
        self.push(Tok::Word, end);
    }
}

/// Bytes up to the end of the bare word at the start of `rest`. A comment ends it; the `//` of a bare URL does not, so
/// that the whole URL is reported.
fn word_len(rest: &str) -> usize {
    let len = rest.find(ends_word).unwrap_or(rest.len());
    let word = &rest[..len];
    let comment = [word.find("//"), word.find("/*")].into_iter().flatten().min();
    match comment {
        Some(i) if i > 0 && !word[..i].ends_with(':') => i,
        _ => len,
    }
}

fn forbidden(c: char, span: Span) -> Diagnostic {
    let (label, help) = if is_direction(c) {
        (
            "turns the order of what is shown",
            format!(
                "direction marks let a line say another thing to a person than to a program; remove it. Letters of Persian, Arabic or Hebrew need none; to keep one in a text, write \\u{{{:x}}}",
                c as u32
            ),
        )
    } else if is_hidden(c) {
        ("nothing is drawn here", "two names that look alike would be two names; remove it".to_owned())
    } else {
        ("control character", "it can hide what a line says; remove it".to_owned())
    };
    Diagnostic::error("E0015", format!("the character U+{:04X} may not stand here", c as u32))
        .label(span, label)
        .help(help)
}
