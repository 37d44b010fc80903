//! Texts in quotes: `"..."`, `"""..."""` and `#"..."#`.

use super::habits::comma;
use super::number::escape_len;
use super::word::word_len;
use super::{MAX_ERRORS, Scanner, Tok, ends_word, forbidden, is_forbidden, is_newline};
use crate::model::Diagnostic;

impl Scanner<'_> {
    pub(super) fn quoted(&mut self) {
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
    pub(super) fn skip_string(&mut self, from: usize, multi: bool) {
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

    pub(super) fn close_string(&mut self, tok: Tok, closed: Option<usize>, reached: usize, quote: &str) {
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
    pub(super) fn after_value(&mut self) {
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

    pub(super) fn hash(&mut self) {
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
}
