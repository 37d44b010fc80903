//! Formatting, as `cutover fmt` does it.

use gen_lsp_types as lsp;

use super::view::View;
use crate::language;
use crate::model::Sources;

/// The edit that brings the text into the one layout: from the first line that differs to the last. `None` for a text with mistakes of
/// syntax, which the diagnostics tell of.
pub(super) fn answer(view: &View) -> Option<Vec<lsp::TextEdit>> {
    let text = view.text()?;
    let mut sources = Sources::default();
    let id = sources.add(view.path.to_string_lossy(), text.shared());
    let mut new = language::format(&sources, id).ok()?;
    let old = text.as_str();
    // The layout has line feeds; a text that is written with the other line end keeps it.
    if old.contains("\r\n") {
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if old.starts_with('\u{feff}') && !new.starts_with('\u{feff}') {
        new.insert(0, '\u{feff}');
    }
    if new == old {
        return Some(Vec::new());
    }
    let same = |(a, b): &(&str, &str)| a == b;
    let lines = |t: &'_ str| t.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (lines(old), lines(&new));
    let pairs = a.iter().map(String::as_str).zip(b.iter().map(String::as_str));
    let first = pairs.take_while(same).count();
    let rest = a.len().min(b.len()) - first;
    let back = a.iter().rev().map(String::as_str).zip(b.iter().rev().map(String::as_str));
    let last = back.take(rest).take_while(same).count();
    let bytes = |l: &[String]| l.iter().map(String::len).sum::<usize>();
    let start = bytes(&a[..first]);
    let end = start + bytes(&a[first..a.len() - last]);
    Some(vec![lsp::TextEdit { range: text.range(start..end), new_text: b[first..b.len() - last].concat() }])
}
