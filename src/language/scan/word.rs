//! Bare words: names, numbers, and what should have stood in quotes.

use super::habits::comma;
use super::number::{is_number, starts_like_number};
use super::{Scanner, Tok, ends_word, forbidden, is_forbidden, is_newline, is_space};
use crate::language::spelling::unseen;
use crate::model::Diagnostic;
use crate::model::glyph::is_hidden;

impl Scanner<'_> {
    pub(super) fn word(&mut self) {
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
    pub(super) fn glued(&mut self, len: usize) {
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
    pub(super) fn interpolation(&mut self, dollar: usize) {
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
pub(super) fn word_len(rest: &str) -> usize {
    let len = rest.find(ends_word).unwrap_or(rest.len());
    let word = &rest[..len];
    let comment = [word.find("//"), word.find("/*")].into_iter().flatten().min();
    match comment {
        Some(i) if i > 0 && !word[..i].ends_with(':') => i,
        _ => len,
    }
}
