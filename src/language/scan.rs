//! Tokens of a KDL 2 text, comments included: what the parser and the formatter both start from.
//!
//! Why not the kdl crate's parser for the structure: it recurses once per nesting level, per `/-`, per star in a block
//! comment and per error, and overflows the stack on hostile files, which aborts the process; its error spans start in
//! the wrong place; and it drops comments when it formats. Here nothing recurses, and every mistake is found where it
//! stands. Values (escapes, multi-line strings) are still decoded by the crate, see `syntax`. Grammar: KDL 2.0.0,
//! <https://kdl.dev/spec/>.

use crate::model::glyph::{is_direction, is_hidden};
use crate::model::{Diagnostic, SourceId, Span};
use habits::FOREIGN_QUOTES;
pub(super) use number::parse_int;

mod habits;
mod number;
mod quoted;
mod word;

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
