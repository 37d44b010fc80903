//! The catalogue of codes: the page docs/errors.md, and one entry for `cutover explain CODE`.

use std::fmt::Write as _;

use crate::model::code::{Chapter, Code, Example};

/// The whole page in Markdown.
pub fn page<'c>(chapters: impl Iterator<Item = &'c Chapter>) -> String {
    let mut out = String::from(
        "# Errors and warnings\n\n\
         Every code that the program prints about a topology, with an input that brings it about. Made from the tables beside the\n\
         code; a test runs each example. `cutover explain E0301` prints one entry. Codes that start with L are lint rules: see\n\
         [rules](rules.md).\n",
    );
    for chapter in chapters {
        let _ = write!(out, "\n## {}\n", chapter.title);
        for c in chapter.codes {
            let _ = write!(out, "\n### {}: {}\n\n{}\n\n{}\n\n", c.code, c.title, c.means, c.mend);
            match c.example {
                Example::Text(text) => block(&mut out, text),
                Example::Files(files) => {
                    for (name, text) in files {
                        let _ = write!(out, "`{name}`:\n\n");
                        block(&mut out, text);
                    }
                }
                Example::Made(words, _) => {
                    let _ = writeln!(out, "Example: {words}.");
                }
                Example::Elsewhere(words) => {
                    let _ = writeln!(out, "Comes from: {words}.");
                }
            }
        }
    }
    // One blank line between two parts.
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    out.trim_end().to_owned() + "\n"
}

/// Not marked as KDL: every such block of a page must be right.
fn block(out: &mut String, text: &str) {
    let _ = write!(out, "```text\n{}\n```\n\n", text.trim_end());
}

/// One entry for a terminal.
pub fn entry(c: &Code) -> String {
    let mut out = format!("{}: {}\n\n{}\n\n{}\n", c.code, c.title, c.means, c.mend);
    let mut show = |name: Option<&str>, text: &str| {
        let _ = match name {
            Some(n) => write!(out, "\nExample, {n}:\n\n"),
            None => write!(out, "\nExample:\n\n"),
        };
        for line in text.trim_end().lines() {
            let _ = writeln!(out, "    {line}");
        }
    };
    match c.example {
        Example::Text(text) => show(None, text),
        Example::Files(files) => files.iter().for_each(|(name, text)| show(Some(name), text)),
        Example::Made(words, _) => {
            let _ = write!(out, "\nExample: {words}.\n");
        }
        Example::Elsewhere(words) => {
            let _ = write!(out, "\nComes from: {words}.\n");
        }
    }
    out
}
