//! Files of a root: reading, `include`, and the checks that come before any parsing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::secrecy;
use super::sink::Sink;
use super::syntax::{MAX_BYTES, parse, too_large};
use crate::model::tree::{Scalar, Tree};
use crate::model::{Diagnostic, Sources, Span};

/// Where files come from: a folder, memory, or a folder under what an editor holds open.
pub(super) enum Files<'a> {
    Folder(PathBuf),
    Memory(&'a BTreeMap<String, Vec<u8>>),
    /// Open texts by their path in the form of [`lexical`]; all others are read.
    Edited(PathBuf, &'a BTreeMap<PathBuf, Arc<str>>),
}

enum ReadError {
    Missing,
    Large(u64),
    Other(String),
}

impl Files<'_> {
    pub fn exists(&self, name: &str) -> bool {
        match self {
            Files::Memory(map) => map.contains_key(name),
            Files::Folder(root) => root.join(name).exists(),
            Files::Edited(root, open) => open.contains_key(&lexical(&root.join(name))) || root.join(name).exists(),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        match self {
            Files::Memory(map) => match map.get(name) {
                Some(bytes) if bytes.len() > MAX_BYTES => Err(ReadError::Large(bytes.len() as u64)),
                Some(bytes) => Ok(bytes.clone()),
                None => Err(ReadError::Missing),
            },
            Files::Edited(root, open) => match open.get(&lexical(&root.join(name))) {
                Some(text) if text.len() > MAX_BYTES => Err(ReadError::Large(text.len() as u64)),
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Files::Folder(root.clone()).read(name),
            },
            Files::Folder(root) => {
                let path = root.join(name);
                let fail = |e: std::io::Error| match e.kind() {
                    std::io::ErrorKind::NotFound => ReadError::Missing,
                    _ => ReadError::Other(e.to_string()),
                };
                let meta = std::fs::metadata(&path).map_err(fail)?;
                if !meta.is_file() {
                    return Err(ReadError::Other("it is not a file".into()));
                }
                if meta.len() > MAX_BYTES as u64 {
                    return Err(ReadError::Large(meta.len()));
                }
                let mut bytes = Vec::new();
                let file = std::fs::File::open(&path).map_err(fail)?;
                file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
                Ok(bytes)
            }
        }
    }
}

/// Files may include files this deep.
const MAX_INCLUDES: usize = 32;

pub(super) struct Loader<'a> {
    pub files: Files<'a>,
    pub sources: Sources,
    loaded: BTreeSet<String>,
    /// Module files: a check compiles once for each environment.
    modules: BTreeMap<String, Option<Vec<Tree>>>,
}

impl<'a> Loader<'a> {
    pub fn new(files: Files<'a>) -> Self {
        Self { files, sources: Sources::default(), loaded: BTreeSet::new(), modules: BTreeMap::new() }
    }

    /// The nodes of the root file with those of all that it includes, in order.
    pub fn root(&mut self, main: &str, sink: &mut Sink) -> Vec<Tree> {
        let mut out = Vec::new();
        self.include(main, None, false, &mut Vec::new(), &mut out, sink);
        out
    }

    fn include(
        &mut self,
        name: &str,
        asked: Option<Span>,
        optional: bool,
        stack: &mut Vec<String>,
        out: &mut Vec<Tree>,
        sink: &mut Sink,
    ) {
        let name = normal(name);
        if stack.contains(&name) || stack.len() >= MAX_INCLUDES {
            let chain = stack.iter().map(String::as_str).chain([name.as_str()]).collect::<Vec<_>>().join(" -> ");
            let d = if stack.contains(&name) {
                Diagnostic::error("E0011", format!("files include each other: {chain}"))
            } else {
                Diagnostic::error("E0011", format!("files include files deeper than {MAX_INCLUDES} levels: {chain}"))
            };
            return sink.push(
                at(d, asked, "included again here").help("remove one of the includes; order of files has no meaning"),
            );
        }
        if self.loaded.contains(&name) {
            let d = Diagnostic::error("E0012", format!("`{name}` is included twice"));
            return sink
                .push(at(d, asked, "again here").help("one include is enough: all files of a root see each other"));
        }
        let Some(trees) = self.file(&name, asked, optional, sink) else { return };
        stack.push(name);
        for t in trees {
            if t.name.value == "include"
                && let Some(path) = t.args().next().and_then(|e| e.value.value.as_text())
            {
                let optional = t.prop("optional").is_some_and(|e| e.value.value == Scalar::Bool(true));
                let (path, span) = (path.to_owned(), t.span);
                out.push(t.clone());
                self.include(&path, Some(span), optional, stack, out, sink);
            } else {
                out.push(t);
            }
        }
        stack.pop();
    }

    /// A module file, read once in a run. Missing is `None` without a report.
    pub fn module(&mut self, name: &str, asked: Span, optional: bool, sink: &mut Sink) -> Option<Vec<Tree>> {
        if !self.modules.contains_key(name) {
            let trees = self.file(name, Some(asked), optional, sink);
            self.modules.insert(name.to_owned(), trees);
        }
        self.modules.get(name).cloned().flatten()
    }

    /// One file, parsed. Reports what is wrong with it; `None` then, and when an optional one is missing.
    fn file(&mut self, name: &str, asked: Option<Span>, optional: bool, sink: &mut Sink) -> Option<Vec<Tree>> {
        self.loaded.insert(name.to_owned());
        let bytes = match self.files.read(name) {
            Ok(b) => b,
            Err(ReadError::Missing) if optional => return None,
            Err(e) => {
                let d = match e {
                    ReadError::Missing => {
                        Diagnostic::error("E0013", format!("there is no file `{name}`")).help(if name.contains('*') {
                            "`include` takes one path and no pattern"
                        } else {
                            "paths are relative to the folder of the root file"
                        })
                    }
                    ReadError::Large(n) => too_large(name, n),
                    ReadError::Other(why) => Diagnostic::error("E0013", format!("`{name}` cannot be read: {why}")),
                };
                sink.push(at(d, asked, "asked for here"));
                return None;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(t) => t,
            Err(e) => {
                let good = e.utf8_error().valid_up_to();
                let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
                let wide = e.as_bytes().starts_with(b"\xff\xfe") || e.as_bytes().starts_with(b"\xfe\xff");
                let d = Diagnostic::error("E0007", format!("`{name}` is not UTF-8: line {line}, byte {good}"))
                    .help(if wide { "it looks like UTF-16: save the file as UTF-8" } else { "save the file as UTF-8" });
                sink.push(at(d, asked, "asked for here"));
                return None;
            }
        };
        // The mark of the byte order says nothing in UTF-8, and would shift the columns of the first line.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let id = self.sources.add(name, text);
        match parse(&self.sources, id) {
            Ok(trees) => Some(trees),
            Err(errors) => {
                secrecy::mask(&mut self.sources, id, &BTreeSet::new());
                errors.into_iter().for_each(|d| sink.push(guarded(&mut self.sources, d)));
                None
            }
        }
    }

    /// Every file that was asked for, found or not.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(String::as_str)
    }

    /// The nodes of the module files that were read.
    pub fn module_trees(&self) -> impl Iterator<Item = &Tree> {
        self.modules.values().flatten().flatten()
    }
}

/// A path without `.` and `..`, by its words alone: the file need not exist.
pub fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// A mistake of syntax quotes what it found. Where a secret stands, neither its words nor its excerpt may.
fn guarded(sources: &mut Sources, d: Diagnostic) -> Diagnostic {
    let overlaps = |a: Span, b: Span| a.offset < b.offset + b.len.max(1) && b.offset < a.offset + a.len.max(1);
    let Some(at) = d.labels.first().map(|l| l.span) else { return d };
    if !sources.masks(at.source).any(|m| overlaps(m, at)) {
        return d;
    }
    sources.mask(at);
    Diagnostic::error(d.code, "a secret is written out here, and not as KDL reads values")
        .masked(at, "literal value in a file that goes to git")
        .help("write (secret)\"env:NAME\", \"file:..\", \"age:..\", \"vault:..\" or \"cmd:..\"; then remove the literal from git history and rotate it")
}

fn at(d: Diagnostic, place: Option<Span>, text: &str) -> Diagnostic {
    match place {
        Some(s) => d.label(s, text),
        None => d,
    }
}

/// `a/./b/../c` as `a/c`, so that one file has one name.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|p| *p != ".." && !p.is_empty()) => {
                parts.pop();
            }
            p => parts.push(p),
        }
    }
    parts.join("/")
}

/// Splits the path of a root into its folder and the name of its main file.
pub(super) fn split(root: &Path) -> (PathBuf, String) {
    if root.is_dir() {
        return (root.to_owned(), "topology.kdl".into());
    }
    let folder = root.parent().map(Path::to_owned).unwrap_or_default();
    let name = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    (folder, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_name() {
        assert_eq!(normal("./a//b/../c.kdl"), "a/c.kdl");
        assert_eq!(normal("../x.kdl"), "../x.kdl");
        assert_eq!(normal("/a/../b"), "/b");
    }

    #[test]
    fn no_syntax_error_quotes_a_secret() {
        for secret in [
            "hun[ter2",
            "9hunter2",
            "hun(ter2",
            "\"hun\"ter2",
            "hun\"ter2\"",
            "\"hun\\qter2\"",
            "#hunter2",
            "\"hunter2",
        ] {
            let text = format!("legacy a admin={secret}\nlegacy b {{\n password {secret}\n}}\n");
            let files = BTreeMap::from([("t.kdl".to_owned(), text.into_bytes())]);
            let mut loader = Loader::new(Files::Memory(&files));
            let mut sink = Sink::default();
            loader.root("t.kdl", &mut sink);
            let found = sink.finish();
            assert!(found.has_errors(), "{secret}");
            for d in found.iter() {
                let said =
                    format!("{} {:?} {:?}", d.message, d.help, d.labels.iter().map(|l| &l.text).collect::<Vec<_>>());
                assert!(!said.contains("hun") && !said.contains("ter2"), "{secret}: {said}");
            }
            // Excerpts show the text without what is masked.
            let (id, file) = loader.sources.iter().next().expect("a file");
            let mut shown = file.text.as_bytes().to_vec();
            for m in loader.sources.masks(id) {
                shown[m.offset..m.offset + m.len].fill(b'*');
            }
            let shown = String::from_utf8_lossy(&shown);
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
        }
    }
}
