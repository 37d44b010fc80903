//! Values of a type, and names of nodes, for completion.

use std::collections::BTreeMap;

use gen_lsp_types::CompletionItemKind as Kind;

use super::index::names;
use super::outline::{Node, Outline, Word};
use super::view::View;
use crate::language::expand;
use crate::language::schema::{FieldDef, KindDef};
use crate::language::types::Type;
use crate::model::counter::COUNTERS;
use crate::rules;

/// Names of one range that are offered one by one.
const SPREAD: usize = 100;

/// One entry of a completion list.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub kind: Kind,
    pub label: String,
    pub detail: String,
    pub doc: String,
    /// What is written instead of the label.
    pub text: Option<String>,
    pub snippet: bool,
    /// Before the others.
    pub first: bool,
}

impl Candidate {
    pub fn new(kind: Kind, label: impl Into<String>) -> Self {
        Self {
            kind,
            label: label.into(),
            detail: String::new(),
            doc: String::new(),
            text: None,
            snippet: false,
            first: false,
        }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub fn doc(self, doc: impl Into<String>) -> Self {
        Self { doc: doc.into(), ..self }
    }

    pub fn written(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    pub fn snippet(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), snippet: true, ..self }
    }

    pub fn first(self) -> Self {
        Self { first: true, ..self }
    }
}

/// What a value of this type may be. Types without a list give an example of each unit, with the number that is typed.
pub(super) fn values(
    view: &View,
    outline: &Outline,
    ty: &Type,
    def: Option<&FieldDef>,
    word: Option<&Word>,
) -> Vec<Candidate> {
    let default = def.and_then(|d| d.default.as_ref()).map(super::hover::scalar);
    let one = |text: &str, kind: Kind| {
        let c = Candidate::new(kind, text);
        if default.as_deref() == Some(text) { c.detail("default").first() } else { c }
    };
    let digits: String = word.map(|w| w.text.chars().take_while(char::is_ascii_digit).collect()).unwrap_or_default();
    let units = |list: &[&str], sample: &str| {
        let number = if digits.is_empty() { sample } else { digits.as_str() };
        list.iter().map(|u| Candidate::new(Kind::Unit, format!("{number}{u}"))).collect::<Vec<_>>()
    };
    match ty {
        Type::Bool => ["#true", "#false"].map(|b| one(b, Kind::Value).written(b)).into(),
        Type::Enum(list) | Type::Open(list) => list.iter().map(|w| one(w, Kind::EnumMember)).collect(),
        Type::Ref(kinds) => of_kinds(view, outline, kinds, def.is_some_and(|d| d.many)),
        Type::Select(kinds) => {
            let mut out = of_kinds(view, outline, kinds, true);
            out.extend(words(view, kinds));
            out.push(Candidate::new(Kind::Operator, "*").detail("all of them"));
            if kinds.iter().any(|k| k == "service") {
                out.push(Candidate::new(Kind::EnumMember, "service").detail("the whole service"));
            }
            out
        }
        Type::Duration => units(&["s", "m", "h", "d", "w", "ms"], "1"),
        Type::Size => units(&["GiB", "MiB", "TiB", "KiB", "GB", "MB"], "1"),
        Type::Rate => units(&["Mbit/s", "Gbit/s", "kbit/s", "MiB/s"], "100"),
        Type::Percent => units(&["%"], "99"),
        Type::Offset => ["-14d", "-1d", "-1h", "+1h", "+1d"].map(|o| Candidate::new(Kind::Unit, o)).into(),
        Type::Secret => ["env:NAME", "file:PATH", "age:PATH", "cmd:LINE", "vault:PATH#KEY"]
            .map(|s| {
                let label = format!("(secret)\"{s}\"");
                Candidate::new(Kind::Reference, label.clone()).detail("reference to a secret").written(label)
            })
            .into(),
        Type::Counter => COUNTERS
            .iter()
            .map(|c| Candidate::new(Kind::EnumMember, c.name).detail(c.unit.to_string()).doc(c.about))
            .chain([Candidate::new(Kind::Operator, "custom:NAME").detail("a counter of your own")])
            .collect(),
        Type::Type => Type::names()
            .into_iter()
            .map(str::to_owned)
            .chain(["enum(a|b)", "ref(site)", "select(server)"].map(str::to_owned))
            .map(|n| Candidate::new(Kind::TypeParameter, n))
            .collect(),
        _ => default.iter().map(|d| one(d, Kind::Value)).collect(),
    }
}

/// Names of nodes of these kinds, known and being written; ranges too where a list may hold them.
fn of_kinds(view: &View, outline: &Outline, kinds: &[String], ranges: bool) -> Vec<Candidate> {
    let mut found: BTreeMap<String, String> = view.good().map_or_else(BTreeMap::new, |g| names(g, kinds));
    let mut patterns = Vec::new();
    for n in outline.nodes.iter().filter(|n| kinds.contains(&n.kind.text)) {
        let Some(name) = n.arg(0).filter(|w| !w.text.contains('$')) else { continue };
        match expand(&name.text) {
            Some(x) => {
                patterns.push((name.text.clone(), x.count()));
                for n in x.iter().take(SPREAD) {
                    found.entry(n).or_default();
                }
            }
            None => {
                found.entry(name.text.clone()).or_default();
            }
        }
    }
    let several = kinds.len() > 1;
    let mut out: Vec<Candidate> = Vec::new();
    if ranges {
        let list = patterns.into_iter().map(|(p, n)| Candidate::new(Kind::Reference, p).detail(format!("{n} names")));
        out.extend(list);
    }
    out.extend(found.into_iter().filter(|(n, _)| !n.is_empty()).map(|(name, from)| {
        let what = if several { String::new() } else { kinds.join("") };
        Candidate::new(Kind::Reference, name).detail(format!("{what} {from}").trim().to_owned())
    }));
    out
}

/// `role:hub` and `label:x` of the servers there are.
fn words(view: &View, kinds: &[String]) -> Vec<Candidate> {
    if !kinds.iter().any(|k| k == "server") {
        return Vec::new();
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for server in view.good().into_iter().filter_map(|g| g.topologies.first()).flat_map(|t| t.all("server")) {
        for (field, word) in [("roles", "role"), ("labels", "label")] {
            for text in server.texts(field) {
                *found.entry(format!("{word}:{text}")).or_default() += 1;
            }
        }
    }
    found.into_iter().map(|(w, n)| Candidate::new(Kind::Operator, w).detail(format!("{n} servers"))).collect()
}

/// Names that an overlay can mean at this place: nodes of the base, or children of the node around.
pub(super) fn names_here(view: &View, outline: &Outline, kind: &KindDef, parents: &[&Node]) -> Vec<Candidate> {
    let kinds = [kind.name.clone()];
    let parent = parents.last().filter(|p| !matches!(p.kind.text.as_str(), "environment" | "use"));
    let Some(parent) = parent.and_then(|p| p.arg(0)) else { return of_kinds(view, outline, &kinds, true) };
    let found = view.good().map_or_else(BTreeMap::new, |g| names(g, &kinds));
    let first = expand(&parent.text).map_or_else(|| parent.text.clone(), |x| x.nth(0));
    let own = |name: &String| {
        let (head, tail) = name.rsplit_once('.')?;
        (head.split('@').next() == Some(first.as_str())).then(|| tail.to_owned())
    };
    found.keys().filter_map(own).map(|n| Candidate::new(Kind::Reference, n).detail(kind.name.as_str())).collect()
}

pub(super) fn rules() -> Vec<Candidate> {
    rules::all().map(|r| Candidate::new(Kind::Event, r.name).detail(r.code).doc(r.about)).collect()
}

/// KDL files below the root's folder that are not read yet.
pub(super) fn files(view: &View) -> Vec<Candidate> {
    let Some(latest) = view.root.and_then(|r| r.latest.as_ref()) else { return Vec::new() };
    let folder = super::analysis::folder(&latest.root);
    let mut found = Vec::new();
    let mut open = vec![(folder.clone(), 0)];
    while let Some((dir, depth)) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            match entry.file_type() {
                Ok(t) if t.is_dir() && depth < 3 && name != "modules" && name != "target" => {
                    open.push((path, depth + 1))
                }
                Ok(t)
                    if t.is_file()
                        && path.extension().is_some_and(|e| e == "kdl")
                        && latest.source(&path).is_none() =>
                {
                    found.extend(path.strip_prefix(&folder).map(|p| p.to_string_lossy().into_owned()));
                }
                _ => {}
            }
        }
    }
    found.sort();
    found.into_iter().map(|f| Candidate::new(Kind::File, f.clone()).written(format!("\"{f}\""))).collect()
}

/// Modules in `modules/NAME/module.kdl`.
pub(super) fn module_folders(view: &View) -> Vec<String> {
    let Some(latest) = view.root.and_then(|r| r.latest.as_ref()) else { return Vec::new() };
    let dir = super::analysis::folder(&latest.root).join("modules");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|e| e.path().join("module.kdl").is_file())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}
