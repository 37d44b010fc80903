//! Our diagnostics as the protocol's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gen_lsp_types as lsp;

use super::analysis::Analysis;
use super::documents::Documents;
use super::position::Text;
use crate::model::{Diagnostic, Diagnostics, Severity, Span};

/// Diagnostics of one file, ours beside the protocol's, so that a code action finds them again.
pub(super) type Found = Vec<(lsp::Diagnostic, Diagnostic)>;

/// All diagnostics of an analysis by file; one without a place stands at the start of the root file.
pub(super) fn of(analysis: &Analysis, documents: &Documents, related: bool) -> BTreeMap<PathBuf, Found> {
    let mut texts: BTreeMap<u32, (PathBuf, Text)> = BTreeMap::new();
    for (id, _) in analysis.sources.iter() {
        texts.insert(id.0, (analysis.path(id), analysis.text(id)));
    }
    let place = |span: Span| {
        let (path, text) = texts.get(&span.source.0)?;
        Some((path.as_path(), text.range(span.offset..span.offset + span.len)))
    };
    let mut out: BTreeMap<PathBuf, Found> = BTreeMap::new();
    for d in &analysis.diagnostics {
        let first = d.labels.first().and_then(|l| place(l.span));
        let (path, range) = first.unwrap_or((&analysis.root, lsp::Range::default()));
        let others = d.labels.iter().skip(1).filter(|l| !l.text.is_empty()).filter_map(|l| {
            let (path, range) = place(l.span)?;
            Some(lsp::DiagnosticRelatedInformation {
                location: lsp::Location { uri: documents.uri(path), range },
                message: l.text.clone(),
            })
        });
        let others: Vec<_> = if related { others.collect() } else { Vec::new() };
        out.entry(path.to_owned()).or_default().push((one(d, range, others), d.clone()));
    }
    out
}

/// Mistakes of syntax of a text that belongs to no root.
pub(super) fn alone(path: &Path, text: &Text) -> Found {
    let mut sources = crate::model::Sources::default();
    let id = sources.add(path.to_string_lossy(), text.shared());
    let Err(mistakes) = crate::language::parse(&sources, id) else { return Vec::new() };
    let mut found = Diagnostics::default();
    mistakes.into_iter().for_each(|d| found.push(d));
    let found = crate::language::guard(&mut sources, found).sorted();
    let range = |d: &Diagnostic| {
        d.labels.first().map_or(lsp::Range::default(), |l| text.range(l.span.offset..l.span.offset + l.span.len))
    };
    found.into_iter().map(|d| (one(&d, range(&d), Vec::new()), d)).collect()
}

fn one(d: &Diagnostic, range: lsp::Range, related: Vec<lsp::DiagnosticRelatedInformation>) -> lsp::Diagnostic {
    let mut message = d.message.clone();
    // The first label says what the place has to do with it; "here" says nothing.
    if let Some(l) = d.labels.first().filter(|l| !l.text.is_empty() && l.text != "here") {
        message.push_str(": ");
        message.push_str(&l.text);
    }
    if let Some(help) = &d.help {
        message.push('\n');
        message.push_str(help);
    }
    lsp::Diagnostic {
        range,
        severity: Some(match d.severity {
            Severity::Error => lsp::DiagnosticSeverity::Error,
            Severity::Warning => lsp::DiagnosticSeverity::Warning,
            Severity::Advice => lsp::DiagnosticSeverity::Information,
        }),
        code: Some(lsp::Code::String(d.code.to_owned())),
        source: Some("cutover".into()),
        message: lsp::Message::String(message),
        related_information: (!related.is_empty()).then_some(related),
        ..lsp::Diagnostic::default()
    }
}
