//! What every reader of a pack's KDL needs: a name, texts, properties, and the mistakes about them.

use super::suggest::did_you_mean;
use super::tree::Tree;
use super::{Diagnostic, Diagnostics, Span, Spanned};

/// The one name of a node.
pub fn one_name(node: &Tree, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let mut args = node.args();
    let first = args.next();
    if let Some(more) = args.next() {
        diagnostics.push(
            Diagnostic::error("E1003", format!("`{}` takes one name", node.name.value))
                .label(more.span, "one too many"),
        );
    }
    match first.and_then(|e| Some((e, e.value.value.as_text()?))) {
        Some((e, name)) => Some(Spanned::new(name.to_owned(), e.value.span)),
        None => {
            diagnostics.push(
                Diagnostic::error("E1002", format!("`{}` has no name", node.name.value))
                    .label(node.name.span, "a name is missing"),
            );
            None
        }
    }
}

/// Arguments that are texts.
pub fn texts(node: &Tree) -> Vec<Spanned<String>> {
    let args = node.args().filter_map(|e| Some(Spanned::new(e.value.value.as_text()?.to_owned(), e.value.span)));
    args.collect()
}

/// A property that is text.
pub fn text_prop(node: &Tree, name: &str, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let entry = node.prop(name)?;
    match entry.value.value.as_text() {
        Some(t) => Some(Spanned::new(t.to_owned(), entry.value.span)),
        None => {
            diagnostics
                .push(Diagnostic::error("E1003", format!("`{name}` takes text")).label(entry.value.span, "not text"));
            None
        }
    }
}

/// Says which properties of a node are none of the known ones.
pub fn only_props(node: &Tree, known: &[&str], diagnostics: &mut Diagnostics) {
    for entry in &node.entries {
        if let Some(name) = &entry.name
            && !known.contains(&name.value.as_str())
        {
            diagnostics.push(unknown(&format!("word of `{}`", node.name.value), &name.value, name.span, known));
        }
    }
}

pub fn unknown(what: &str, word: &str, span: Span, known: &[&str]) -> Diagnostic {
    let d = Diagnostic::error("E1001", format!("no {what} `{word}`")).label(span, "unknown");
    match did_you_mean(word, known.iter().copied()) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => d.help("nothing stands here"),
        None => d.help(format!("known: {}", known.join(", "))),
    }
}

pub fn twice(what: &str, name: &Spanned<String>, first: Span) -> Diagnostic {
    Diagnostic::error("E1004", format!("{what} `{}` is defined twice", name.value))
        .label(name.span, "again here")
        .label(first, "first definition")
}
