//! Diagnostics for programs. No excerpt of a file enters, and messages were cleaned where secrets stand, so no secret can.

use serde::Serialize;
use serde_json::{Value, json};

use super::diagnostics::{allow, severity};
use crate::model::glyph::tame;
use crate::model::{Diagnostics, Sources, Span};

/// What `check --format json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DiagnosticsDocument {
    /// Errors first, then by place.
    pub diagnostics: Vec<DiagnosticEntry>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DiagnosticEntry {
    /// `E0301`; `cutover explain E0301` says what it means.
    pub code: String,
    /// `error`, `warning` or `advice`.
    pub severity: String,
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// `None` where no file holds the mistake.
    pub place: Option<Place>,
    /// File, line and column of the place once more, for short scripts.
    pub file: Option<String>,
    pub line: Option<u32>,
    pub column: Option<u32>,
    /// The place and those that explain it, the place first.
    pub labels: Vec<LabelEntry>,
    /// Name of the lint rule, for codes that start with L.
    pub rule: Option<String>,
    /// The line that silences the rule here.
    pub allow: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct LabelEntry {
    pub text: String,
    pub place: Place,
}

/// A range of a file, in three ways of counting.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Place {
    /// Relative to the folder of the root file.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub end_line: u32,
    /// Behind the last character.
    pub end_column: u32,
    /// In bytes from the start of the file.
    pub offset: usize,
    /// In bytes.
    pub length: usize,
    pub utf16: Utf16,
}

/// From 0, in units of UTF-16, as the Language Server Protocol counts.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Utf16 {
    pub line: u32,
    pub character: u32,
    pub end_line: u32,
    pub end_character: u32,
}

fn place(sources: &Sources, span: Span) -> Place {
    let end = Span { offset: span.offset + span.len, len: 0, ..span };
    let (from, to) = (sources.origin(span), sources.origin(end));
    let ((line, character), (end_line, end_character)) = (sources.utf16(span), sources.utf16(end));
    Place {
        file: tame(&from.file).into_owned(),
        line: from.line,
        column: from.column,
        end_line: to.line,
        end_column: to.column,
        offset: span.offset,
        length: span.len,
        utf16: Utf16 { line, character, end_line, end_character },
    }
}

/// The document as a value; `schemas/diagnostics.schema.json` describes it.
pub fn json(sources: &Sources, diagnostics: &Diagnostics) -> Value {
    let list = diagnostics.clone().sorted();
    let entries = list.iter().map(|d| {
        let at = d.labels.first().map(|l| place(sources, l.span));
        let named = d.labels.iter().filter(|l| !l.text.is_empty());
        DiagnosticEntry {
            code: d.code.to_owned(),
            severity: severity(d.severity).to_owned(),
            message: tame(&d.message).into_owned(),
            help: d.help.as_deref().map(|h| tame(h).into_owned()),
            file: at.as_ref().map(|p| p.file.clone()),
            line: at.as_ref().map(|p| p.line),
            column: at.as_ref().map(|p| p.column),
            place: at,
            labels: named
                .map(|l| LabelEntry { text: tame(&l.text).into_owned(), place: place(sources, l.span) })
                .collect(),
            rule: d.lint.as_ref().map(|l| l.rule.to_owned()),
            allow: d.lint.as_ref().map(|l| allow(l.environment.as_deref(), l.rule, &l.on)),
        }
    });
    json!(DiagnosticsDocument { diagnostics: entries.collect() })
}
