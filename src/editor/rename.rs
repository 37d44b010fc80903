//! Rename: every place where a name is written, in the base, in overlays and in ranges, and the `moved` line that keeps the identity of
//! what the hosts hold.
//!
//! Nothing is left half renamed. Where a place names the node by a range of its own, or puts the name together, that is said instead; and the
//! texts with the edits are read once more before they are handed out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use gen_lsp_types as lsp;

use super::analysis::Analysis;
use super::index::{Occurrence, Symbol};
use super::navigate::{occurrence, told};
use super::place::quoted;
use super::view::View;
use super::wire::Refusal;
use crate::language::schema::schema;
use crate::language::{expand, glob, survey};
use crate::model::topology::NodeId;
use crate::model::tree::Tree;
use crate::model::{Severity, Span};

pub(super) fn prepare(view: &View, at: lsp::Position) -> Result<lsp::PrepareRenamePlaceholder, Refusal> {
    let plan = Plan::of(view, at)?;
    let text = view.text().ok_or_else(|| Refusal::failed("this file is not open"))?;
    // Without the quotes, which stay.
    let o = plan.here;
    let (start, end) = (o.at.offset, o.at.offset + o.at.len);
    let inner = text
        .as_str()
        .get(start..end)
        .and_then(|t| t.find(&o.text))
        .map_or(start..end, |i| start + i..start + i + o.text.len());
    let (_, part) = split(&o.text, &plan);
    let skip = o.text.len() - part.len();
    Ok(lsp::PrepareRenamePlaceholder { range: text.range(inner.start + skip..inner.end), placeholder: part.to_owned() })
}

pub(super) fn answer(view: &View, at: lsp::Position, new: &str) -> Result<lsp::WorkspaceEdit, Refusal> {
    let plan = Plan::of(view, at)?;
    let new = new.trim().trim_matches('"');
    let edits = plan.edits(new)?;
    plan.tried(view, &edits, new)?;
    let mut changes: HashMap<lsp::Uri, Vec<lsp::TextEdit>> = HashMap::new();
    for (span, new_text) in edits {
        let path = plan.good.path(span.source);
        let range = plan.good.text(span.source).range(span.offset..span.offset + span.len);
        changes.entry(view.documents.uri(&path)).or_default().push(lsp::TextEdit { range, new_text });
    }
    Ok(lsp::WorkspaceEdit { changes: Some(changes), ..lsp::WorkspaceEdit::default() })
}

/// What a rename is about.
struct Plan<'a> {
    good: &'a Analysis,
    /// Under the cursor.
    here: &'a Occurrence,
    /// All that the definitions define.
    symbols: BTreeSet<Symbol>,
    /// The name as the definition has it: one, or a range.
    old: String,
    definitions: Vec<&'a Occurrence>,
}

impl<'a> Plan<'a> {
    fn of(view: &View<'a>, at: lsp::Position) -> Result<Self, Refusal> {
        let good = view
            .exact()
            .ok_or_else(|| Refusal::failed("a file does not parse; mend it first, so that no place is missed"))?;
        let here = occurrence(view, at)
            .filter(|o| !o.symbols.is_empty())
            .ok_or_else(|| Refusal::failed("there is no name of the topology here"))?;
        let own = here.symbols.clone();
        let definitions: Vec<&Occurrence> =
            good.index().definitions(&own).into_iter().filter(|d| !d.symbols.is_disjoint(&own)).collect();
        let Some(first) = definitions.first().copied() else {
            return Err(Refusal::failed(format!("{} is written nowhere by itself", told(&own))));
        };
        let place = |o: &Occurrence| good.sources.origin(o.at).to_string();
        if let Some(other) = definitions.iter().find(|d| d.text != first.text) {
            return Err(Refusal::failed(format!(
                "`{}` stands for nodes of several definitions ({} and {}); rename them there",
                here.text,
                place(first),
                place(other)
            )));
        }
        if first.text.contains('$') && !first.raw {
            return Err(Refusal::failed(format!(
                "{} gets its name from \"{}\" at {}; change it there by hand",
                told(&own),
                first.text,
                place(first)
            )));
        }
        let symbols: BTreeSet<Symbol> = definitions.iter().flat_map(|d| d.symbols.iter().cloned()).collect();
        let plan = Self { good, here, symbols, old: first.text.clone(), definitions };
        let ranged = !first.raw && expand(&first.text).is_some();
        let (_, part) = split(&here.text, &plan);
        if ranged && part != plan.old {
            return Err(Refusal::failed(format!(
                "`{part}` comes from the range \"{}\" at {} and cannot be renamed alone; rename the range there, or take the name out of it",
                plan.old,
                place(first)
            )));
        }
        if let Some((_, m)) = plan.symbols.iter().find(|(_, id)| id.kind == "module") {
            let file = format!("modules/{}/module.kdl", m.name);
            if good.sources.get(first.at.source).name == file {
                return Err(Refusal::failed(format!(
                    "module `{}` is found by its folder; rename {file} first",
                    m.name
                )));
            }
        }
        Ok(plan)
    }

    fn names(text: &str) -> Vec<String> {
        expand(text).map_or_else(|| vec![text.to_owned()], |x| x.iter().collect())
    }

    /// Every edit, by place.
    fn edits(&self, new: &str) -> Result<BTreeMap<Span, String>, Refusal> {
        let (before, after) = (Self::names(&self.old), Self::names(new));
        if new.is_empty() || before.len() != after.len() {
            let why = if new.is_empty() {
                "a name is not empty".to_owned()
            } else {
                format!(
                    "\"{}\" has {} names and \"{new}\" {}; a range is renamed to one of the same length",
                    self.old,
                    before.len(),
                    after.len()
                )
            };
            return Err(Refusal::failed(why));
        }
        if new == self.old {
            return Ok(BTreeMap::new());
        }
        let map: BTreeMap<&str, &str> =
            before.iter().map(String::as_str).zip(after.iter().map(String::as_str)).collect();
        let mut out = BTreeMap::new();
        for o in self.good.index().occurrences.iter() {
            let part = if !o.symbols.is_disjoint(&self.symbols) {
                self.renamed(o, new, &map)?
            } else if o.symbols.iter().any(|s| self.is_child(s)) && !o.variable {
                self.inside(o, &map)
            } else {
                None
            };
            if let Some(text) = part {
                out.insert(o.at, self.written(o, &text));
            }
        }
        if let Some((at, line)) = self.moved(new) {
            out.insert(at, line);
        }
        Ok(out)
    }

    /// The text of a place that names what is renamed; `None` where it stays.
    fn renamed(&self, o: &Occurrence, new: &str, map: &BTreeMap<&str, &str>) -> Result<Option<String>, Refusal> {
        let (head, part) = split(&o.text, self);
        let with = |text: &str| Some(format!("{head}{text}"));
        if part == self.old {
            return Ok(with(new));
        }
        if let Some(text) = map.get(part) {
            return Ok(with(text));
        }
        if o.raw {
            return Ok(None);
        }
        let at = self.good.sources.origin(o.at);
        // `$site` alone holds whatever it was given, and that place is renamed.
        let whole =
            super::uses::uses(part).next().is_some_and(|(n, _)| part == format!("${n}") || part == format!("${{{n}}}"));
        if whole {
            return Ok(None);
        }
        if part.contains('$') {
            // A name that another node got by the same text is no place of this one.
            return Err(Refusal::failed(format!(
                "\"{}\" at {at} puts the name together; rename by hand there",
                o.text
            )));
        }
        if let Some(x) = expand(part) {
            if !x.iter().any(|n| map.contains_key(n.as_str())) {
                return Ok(None);
            }
            return Err(Refusal::failed(format!(
                "\"{}\" at {at} names it by a range of its own; change that place first",
                o.text
            )));
        }
        if part.contains(['*', '?']) && map.iter().any(|(old, new)| glob(part, old) != glob(part, new)) {
            return Err(Refusal::failed(format!(
                "the pattern \"{}\" at {at} would no longer fit; change that place first",
                o.text
            )));
        }
        Ok(None)
    }

    /// `fsc.sunday` when `fsc` is renamed.
    fn inside(&self, o: &Occurrence, map: &BTreeMap<&str, &str>) -> Option<String> {
        let (kind, rest) = match o.text.split_once(':') {
            Some((k, rest)) if schema().is_kind(k) => (format!("{k}:"), rest),
            _ => (String::new(), o.text.as_str()),
        };
        map.iter().find_map(|(old, new)| {
            let tail = rest.strip_prefix(old)?;
            tail.starts_with(['.', '@']).then(|| format!("{kind}{new}{tail}"))
        })
    }

    fn is_child(&self, (t, id): &Symbol) -> bool {
        let Some(kind) = schema().kind(&id.kind) else { return false };
        self.symbols.iter().any(|(x, parent)| {
            x == t
                && kind.parents.iter().any(|p| parent.kind == *p)
                && id.name.strip_prefix(parent.name.as_str()).is_some_and(|r| r.starts_with('.'))
        })
    }

    /// The text as it goes into the file: quoted as before, or where it must be.
    fn written(&self, o: &Occurrence, text: &str) -> String {
        if o.variable {
            return text.to_owned();
        }
        let file = self.good.sources.get(o.at.source);
        let before = file.text.get(o.at.offset..o.at.offset + o.at.len).unwrap_or_default();
        let bare = quoted(text);
        if before.starts_with('"') && !bare.starts_with('"') { format!("\"{text}\"") } else { bare }
    }

    /// `moved` before the definition, for nodes whose identity the hosts or the stores know.
    fn moved(&self, new: &str) -> Option<(Span, String)> {
        let id =
            self.symbols.iter().map(|(_, id)| id).find(|id| schema().kind(&id.kind).is_some_and(keeps_identity))?;
        let tree = self.good.trees.as_deref()?.iter().find(|t| self.defines(t, id))?;
        let file = self.good.sources.get(tree.span.source);
        let line = file.text[..tree.span.offset].rfind(['\n', '\r']).map_or(0, |i| i + 1);
        let indent = file.text.get(line..tree.span.offset)?;
        if !indent.trim_start_matches('\u{feff}').trim().is_empty() {
            return None;
        }
        let text = format!("moved from=\"{}:{}\" to=\"{}:{new}\"\n", id.kind, self.old, id.kind);
        Some((Span { offset: line + indent.len(), len: 0, ..tree.span }, text))
    }

    fn defines(&self, t: &Tree, id: &NodeId) -> bool {
        let Some(name) = t.args().next() else { return false };
        t.name.value == id.kind && self.definitions.iter().any(|d| d.at == name.value.span)
    }

    /// Reads the renamed texts: a rename that makes a mistake is refused with it.
    fn tried(&self, view: &View, edits: &BTreeMap<Span, String>, new: &str) -> Result<(), Refusal> {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        // From the end, so that what stands before keeps its place.
        for (span, text) in edits.iter().rev() {
            let path = self.good.path(span.source);
            let whole = texts.entry(path).or_insert_with(|| self.good.sources.get(span.source).text.to_string());
            whole.replace_range(span.offset..span.offset + span.len, text);
        }
        let mut open: BTreeMap<PathBuf, Arc<str>> = view.documents.snapshot();
        open.extend(texts.into_iter().map(|(p, t)| (p, t.into())));
        let tried = survey(&self.good.root, &open, &self.good.options);
        let is_error = |d: &&crate::model::Diagnostic| d.severity == Severity::Error;
        let before: Vec<_> = self.good.diagnostics.iter().filter(is_error).collect();
        if tried.diagnostics.iter().filter(is_error).count() > before.len() {
            let fresh =
                tried.diagnostics.iter().filter(is_error).find(|d| !before.iter().any(|b| b.message == d.message));
            let why = fresh.map_or("it would make a mistake".to_owned(), |d| d.message.clone());
            return Err(Refusal::failed(format!("`{new}` cannot be its name: {why}")));
        }
        Ok(())
    }
}

fn keeps_identity(kind: &crate::language::schema::KindDef) -> bool {
    kind.top_level() && kind.field("protect").is_some()
}

/// A text as what stands before the name (`server:`, `fsc.`) and the name.
fn split<'t>(text: &'t str, plan: &Plan) -> (&'t str, &'t str) {
    let mut head = 0;
    if let Some((kind, rest)) = text.split_once(':')
        && schema().is_kind(kind)
        && !rest.is_empty()
        && !plan.definitions.iter().any(|d| d.text == text)
    {
        head = kind.len() + 1;
    }
    // A child is written with its parent.
    let rest = &text[head..];
    if rest != plan.old
        && let Some(parent) = rest.strip_suffix(&plan.old)
        && parent.ends_with('.')
        && plan.symbols.iter().any(|(_, id)| schema().kind(&id.kind).is_some_and(|k| !k.top_level()))
    {
        head += parent.len();
    }
    text.split_at(head)
}
