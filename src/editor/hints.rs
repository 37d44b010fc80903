//! Hints in the text: how many nodes a range or a selector stands for.

use std::collections::BTreeSet;

use gen_lsp_types as lsp;

use super::index::{Occurrence, Role};
use super::outline::{Node, Outline};
use super::place::{Meaning, meaning};
use super::view::View;
use crate::language::expand;
use crate::language::schema::KindDef;
use crate::language::types::Type;
use crate::model::Span;

pub(super) fn answer(view: &View, range: lsp::Range) -> Vec<lsp::InlayHint> {
    let Some(text) = view.text() else { return Vec::new() };
    let wanted = text.bytes(range);
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    if let Some(good) = view.good()
        && let Some(source) = good.source(&view.path)
    {
        let all = Span { source, offset: 0, len: usize::MAX };
        for o in good.index().occurrences.iter().filter(|o| o.at.source == all.source && !o.variable) {
            let Some(label) = counted(o) else { continue };
            if let Some((_, bytes)) = view.here(o.at)
                && told.insert(bytes.end)
            {
                out.push((bytes.end, label));
            }
        }
    }
    // Lists of values that are no names: how many.
    values(&Outline::of(text.as_str()).nodes, None, true, &mut told, &mut out);
    out.retain(|(at, _)| wanted.start <= *at && *at <= wanted.end);
    out.sort();
    out.into_iter()
        .map(|(at, label)| lsp::InlayHint {
            position: text.position(at),
            label: lsp::Label::String(label),
            kind: None,
            text_edits: None,
            tooltip: None,
            padding_left: Some(true),
            padding_right: None,
            data: None,
        })
        .collect()
}

/// `-> 76 servers` for a range, a pattern or a word that stands for several nodes, or that is put together.
fn counted(o: &Occurrence) -> Option<String> {
    let several = expand(&o.text).is_some() || o.text.contains('*') || o.text.contains(':') && !o.text.contains('.');
    if o.raw || !several && !o.text.contains('$') {
        return None;
    }
    // Of the base where it has them; each environment may have others.
    let first = o.symbols.first()?.0;
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for (_, id) in o.symbols.iter().filter(|(t, _)| *t == first) {
        match kinds.iter_mut().find(|(k, _)| *k == id.kind) {
            Some((_, n)) => *n += 1,
            None => kinds.push((&id.kind, 1)),
        }
    }
    if o.role != Role::Reference || kinds.len() > 1 {
        kinds.truncate(2);
    }
    if kinds.iter().map(|(_, n)| n).sum::<usize>() < 2 {
        return None;
    }
    let words: Vec<String> = kinds.iter().map(|(k, n)| format!("{n} {}", plural(k, *n))).collect();
    Some(format!("-> {}", words.join(", ")))
}

pub(super) fn plural(word: &str, n: usize) -> String {
    match word {
        _ if n == 1 => word.to_owned(),
        w if w.ends_with('y') && !w.ends_with("ay") => format!("{}ies", &w[..w.len() - 1]),
        w if w.ends_with(['s', 'x']) => format!("{w}es"),
        w => format!("{w}s"),
    }
}

fn values(
    nodes: &[Node],
    parent: Option<&'static KindDef>,
    top: bool,
    told: &mut BTreeSet<usize>,
    out: &mut Vec<(usize, String)>,
) {
    for n in nodes {
        let meaning = meaning(n, parent, top);
        let (kind, line) = match meaning {
            Meaning::Kind(k) => (Some(k), None),
            Meaning::Field(_, f) => (None, Some(f)),
            Meaning::Unknown => (None, None),
        };
        for item in &n.items {
            let Some(w) = &item.value else { continue };
            let def = match &item.key {
                Some(key) => kind.and_then(|k| k.field(&key.text)),
                None => line,
            };
            let ranged = def.is_some_and(|d| d.ty.expands() && !matches!(d.ty, Type::Type));
            let raw = w.tok == crate::language::scan::Tok::Raw;
            if ranged
                && !raw
                && let Some(x) = expand(&w.text).filter(|x| x.count() > 1)
                && told.insert(w.at.end)
            {
                out.push((w.at.end, format!("-> {}", x.count())));
            }
        }
        if kind.is_some() {
            values(&n.children, kind, false, told, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_named_so() {
        let words = [("server", "servers"), ("directory", "directories"), ("gateway", "gateways"), ("dns", "dnses")];
        for (one, many) in words {
            assert_eq!((plural(one, 1).as_str(), plural(one, 2).as_str()), (one, many));
        }
    }
}
