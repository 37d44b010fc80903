//! What people write out of the habit of other languages, told once and by its name.

use super::word::word_len;
use super::{Scanner, Tok, is_newline};
use crate::model::{Diagnostic, Span};

/// Quotes that KDL does not know, each with those that may close it.
pub(super) const FOREIGN_QUOTES: [(char, &[char]); 9] = [
    ('\'', &['\'']),
    ('`', &['`', '\'']),
    ('‘', &['’', '‘']),
    ('“', &['”', '“']),
    ('”', &['”']),
    ('„', &['“', '”']),
    ('«', &['»']),
    ('»', &['«', '»']),
    ('‹', &['›']),
];

impl Scanner<'_> {
    /// Where a text ends that was begun on the line before: when the next line has a quote too many.
    pub(super) fn continued(&self, reached: usize) -> usize {
        let rest = &self.rest()[reached.min(self.rest().len())..];
        let next = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or_default();
        let line = &next[..next.find(is_newline).unwrap_or(next.len())];
        match line.find('"').filter(|_| !self.searching) {
            Some(i) if line.matches('"').count() % 2 == 1 => reached + (rest.len() - next.len()) + i + 1,
            _ => 0,
        }
    }

    /// `r#".."#`: KDL 1.
    pub(super) fn old_raw(&mut self) {
        let rest = self.rest();
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        let close = format!("\"{}", "#".repeat(hashes));
        let line = rest.find(is_newline).unwrap_or(rest.len());
        let body = 2 + hashes;
        let end = rest[body..line].find(&close).map_or(line, |i| body + i + close.len());
        let (at, inner) = (self.at, rest[body..end].trim_end_matches(['"', '#']).to_owned());
        self.error(
            Diagnostic::error("E0002", "this is a raw text of KDL 1")
                .label(self.span(at, at + end), "starts with `r`")
                .help(format!("write #\"{inner}\"#")),
        );
        self.push(Tok::Raw, end);
    }

    /// A text between quotes of print or of another language.
    pub(super) fn foreign_quote(&mut self, open: char) {
        let rest = self.rest();
        let from = open.len_utf8();
        let close = FOREIGN_QUOTES.iter().find(|(o, _)| *o == open).map_or(&[][..], |(_, c)| *c);
        let line = rest.find(is_newline).unwrap_or(rest.len());
        // Up to the other quote of the line, else a word.
        let end = rest[from..line].find(close).map(|i| from + i);
        let word = word_len(&rest[from..]) + from;
        let (inner, len) = match end {
            Some(e) => (&rest[from..e], e + rest[e..].chars().next().map_or(0, char::len_utf8)),
            None => (&rest[from..word], word),
        };
        let d = Diagnostic::error("E0004", format!("`{open}` is no quote of KDL"))
            .label(self.span(self.at, self.at + len), "not a text")
            .help(format!("texts stand between straight double quotes: \"{inner}\""));
        self.error(d);
        self.push(Tok::Word, len);
    }

    pub(super) fn at_line_start(&self) -> bool {
        self.tokens.iter().rev().find(|t| t.tok != Tok::Space).is_none_or(|t| t.tok == Tok::Newline)
    }

    /// `# comment`
    pub(super) fn foreign_comment(&mut self) {
        let len = self.rest().find(is_newline).unwrap_or(self.rest().len());
        let d = Diagnostic::error("E0005", "`#` starts no comment")
            .label(self.span(self.at, self.at + 1), "here")
            .help("a comment starts with //");
        self.error(d);
        self.push(Tok::LineComment, len);
    }

    /// `{{ name }}`
    pub(super) fn template(&mut self) {
        let rest = self.rest();
        let line = rest.find(is_newline).unwrap_or(rest.len());
        let Some(end) = rest[..line].find("}}").map(|i| i + 2) else { return self.push(Tok::Open, 1) };
        let name = rest[2..end - 2].trim();
        let d = Diagnostic::error("E0003", format!("`{}` is no text", &rest[..end]))
            .label(self.span(self.at, self.at + end), "a template of another language")
            .help(format!("a variable is written ${name}, in a longer text \"${{{name}}}\""));
        self.error(d);
        self.push(Tok::Word, end);
    }

    /// A whole line of something else: marks of a merge, a fence of Markdown, a section of an INI file. The first of a file is told.
    pub(super) fn foreign_line(&mut self) -> bool {
        let rest = self.rest();
        let len = rest.find(is_newline).unwrap_or(rest.len());
        let line = rest[..len].trim_end();
        let merge = ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|m| line.starts_with(m));
        let section = line.starts_with('[') && line.ends_with(']') && !line.contains([':', ',', '"']);
        let (message, help) = if merge {
            (
                "a merge was left unfinished here",
                "decide what stays, and take out the lines <<<<<<<, ======= and >>>>>>>".to_owned(),
            )
        } else if line.starts_with("```") {
            ("a fence of Markdown is no KDL", "take out the lines with ```".to_owned())
        } else if section {
            let name = line.trim_matches(['[', ']']);
            ("a topology has no sections", format!("a node and what belongs to it is written {name} NAME {{ .. }}"))
        } else {
            return false;
        };
        let d =
            Diagnostic::error("E0006", message).label(self.span(self.at, self.at + line.len()), "not KDL").help(help);
        if self.errors.iter().all(|e| e.message != d.message) {
            self.errors.push(d);
        }
        self.push(Tok::LineComment, len);
        true
    }

    /// `[dublin, tehran]`: a list in brackets, as a whole.
    pub(super) fn list(&mut self) -> bool {
        let rest = self.rest();
        let line = rest.find(is_newline).unwrap_or(rest.len());
        let Some(end) = rest[..line].find(']').map(|i| i + 1) else { return false };
        let inner = &rest[1..end - 1];
        if !inner.contains([' ', '"', '\'']) {
            return false;
        }
        let values: Vec<&str> = inner.split([',', ' ']).filter(|v| !v.is_empty()).collect();
        let d = Diagnostic::error("E0006", "a list stands without brackets and commas")
            .label(self.span(self.at, self.at + end), "not KDL")
            .help(format!("write the values one behind the other: {}", values.join(" ")));
        self.error(d);
        self.push(Tok::Word, end);
        true
    }
}

pub(super) fn comma(span: Span, before: &str) -> Diagnostic {
    Diagnostic::error("E0006", "between two values stands a space, no comma")
        .label(span, "not KDL")
        .help(format!("write {before} without the comma"))
}
