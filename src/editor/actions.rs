//! Quick fixes: what a diagnostic's help says to write, done.

use std::collections::{BTreeMap, HashMap};

use gen_lsp_types as lsp;

use super::position::Text;
use super::view::View;
use crate::model::Diagnostic;
use crate::reporting::diagnostics;

pub(super) fn answer(view: &View, range: lsp::Range) -> Vec<lsp::CodeAction> {
    let (Some(text), Some((_, found))) = (view.text(), view.published.get(&view.path)) else { return Vec::new() };
    let touches = |r: &lsp::Range| r.start <= range.end && range.start <= r.end;
    let mut out = Vec::new();
    for (shown, d) in found.iter().filter(|(shown, _)| touches(&shown.range)) {
        if d.labels.first().is_some_and(|l| l.mask) {
            continue;
        }
        let mut edits: Vec<(String, lsp::TextEdit)> = mended(&text, shown.range, d).into_iter().collect();
        edits.extend(allowed(&text, d));
        for (i, (title, edit)) in edits.into_iter().enumerate() {
            let changes: BTreeMap<lsp::Uri, Vec<lsp::TextEdit>> = BTreeMap::new();
            let mut changes: HashMap<lsp::Uri, Vec<lsp::TextEdit>> = changes.into_iter().collect();
            changes.insert(view.documents.uri(&view.path), vec![edit]);
            out.push(lsp::CodeAction {
                title,
                kind: Some(lsp::CodeActionKind::QuickFix),
                diagnostics: Some(vec![shown.clone()]),
                is_preferred: (i == 0 && d.lint.is_none()).then_some(true),
                edit: Some(lsp::WorkspaceEdit { changes: Some(changes), ..lsp::WorkspaceEdit::default() }),
                ..lsp::CodeAction::default()
            });
        }
    }
    out
}

/// The replacement that the help names.
fn mended(text: &Text, range: lsp::Range, d: &Diagnostic) -> Option<(String, lsp::TextEdit)> {
    let bytes = text.bytes(range);
    let under = text.as_str().get(bytes.clone())?;
    let help = d.help.as_deref()?;
    let (wrong, right) = if let Some(rest) = help.split("did you mean ").nth(1) {
        let right = match rest.strip_prefix('`') {
            Some(r) => r.split('`').next()?,
            // `(patch)` stands without marks.
            None => rest.split(['?', ' ']).next()?,
        };
        (misspelt(d, under, right)?, super::place::quoted(right.trim_start_matches('$')))
    } else if let Some(rest) = help.split("write ").nth(1).filter(|_| matches!(d.code, "E0001" | "E0003" | "E0004")) {
        // What stands there, in quotes: the message says so, the quotes are put here.
        rest.find('"')?;
        return Some(written(text.range(bytes), super::place::quoted(under)));
    } else if d.code == "E0005" {
        let right = help.strip_prefix("write ")?.split([',', ' ']).next()?;
        return Some(written(text.range(bytes), right.to_owned()));
    } else if d.code == "E0401" {
        let at = bytes.start..bytes.start;
        return Some((
            "Write (patch) before it".into(),
            lsp::TextEdit { range: text.range(at), new_text: "(patch)".into() },
        ));
    } else {
        return None;
    };
    let at = bytes.start + under.find(&wrong)?;
    let mut at = at..at + wrong.len();
    let mut new_text = right;
    let (before, behind) = (text.as_str()[..at.start].chars().next_back(), text.as_str()[at.end..].chars().next());
    if before == Some('"') && behind == Some('"') {
        if new_text.starts_with('"') {
            at = at.start - 1..at.end + 1;
        }
    } else if before == Some('(') && behind == Some(')') {
        new_text = new_text.trim_matches(['(', ')', '"']).to_owned();
    } else if new_text.starts_with("\"(") {
        new_text = new_text.trim_matches('"').to_owned();
    } else if under.contains(['[', '$']) && new_text.starts_with('"') {
        // Inside a longer text the quotes are there already.
        new_text = new_text.trim_matches('"').to_owned();
    }
    Some(written(text.range(at), new_text))
}

fn written(range: lsp::Range, new_text: String) -> (String, lsp::TextEdit) {
    (format!("Write {new_text}"), lsp::TextEdit { range, new_text })
}

/// The word of the message that stands under the mark, and that the suggestion is near to.
fn misspelt(d: &Diagnostic, under: &str, right: &str) -> Option<String> {
    let words = d.message.split('`').skip(1).step_by(2);
    let bare = |w: &str| w.trim_matches(['$', '(', ')']).to_owned();
    let mut found: Vec<String> = words.map(bare).filter(|w| !w.is_empty() && under.contains(w.as_str())).collect();
    // `role:hbu` is suggested whole.
    if let Some((kind, _)) = right.split_once(':') {
        for w in &mut found {
            let whole = format!("{kind}:{w}");
            if under.contains(&whole) {
                *w = whole;
            }
        }
    }
    let right = right.trim_start_matches('$');
    found.into_iter().min_by_key(|w| strsim::damerau_levenshtein(w, right))
}

/// The line that silences a lint rule, at the end of the text: the reason is the user's to give.
fn allowed(text: &Text, d: &Diagnostic) -> Option<(String, lsp::TextEdit)> {
    let lint = d.lint.as_ref().filter(|l| l.environment.is_none())?;
    let line = diagnostics::allows(std::iter::once(d)).into_iter().next()?;
    let end = text.as_str().len();
    let before = if text.as_str().ends_with('\n') || end == 0 { "" } else { "\n" };
    let edit = lsp::TextEdit { range: text.range(end..end), new_text: format!("{before}{line}\n") };
    Some((format!("Allow {} here, with a reason", lint.rule), edit))
}
