//! A root read and checked once, over the open texts: diagnostics, and what completion, hover and the rest ask.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::civil::Date;

use super::index::Index;
use super::position::Text;
use crate::language::{self, Options, Survey, lexical};
use crate::model::topology::Topology;
use crate::model::tree::Tree;
use crate::model::{Diagnostic, SourceId, Sources};
use crate::rules;

/// What to analyse: a root at one moment.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The root file.
    pub root: PathBuf,
    /// Counts the changes of the root; an answer of an older generation is out of date.
    pub generation: u64,
    pub open: BTreeMap<PathBuf, Arc<str>>,
    pub versions: BTreeMap<PathBuf, i32>,
    /// How to read it.
    pub options: Options,
    /// For rules with dates.
    pub today: Date,
}

/// The outcome.
#[derive(Debug)]
pub(super) struct Analysis {
    pub root: PathBuf,
    pub generation: u64,
    pub versions: BTreeMap<PathBuf, i32>,
    /// How it was read.
    pub options: Options,
    pub sources: Sources,
    /// Files that were read.
    files: BTreeMap<PathBuf, SourceId>,
    /// Files that were asked for, found or not: a change of one matters.
    pub asked: BTreeSet<PathBuf>,
    pub diagnostics: Vec<Diagnostic>,
    /// The nodes of all files; `None` when one could not be read or parsed.
    pub trees: Option<Vec<Tree>>,
    /// The base, then every environment. Empty without trees.
    pub topologies: Vec<Topology>,
    /// Texts that were open, not read.
    open: BTreeSet<PathBuf>,
    index: OnceLock<Index>,
}

impl Analysis {
    pub fn of(job: Job) -> Self {
        let Survey { mut sources, asked, trees, topologies, diagnostics } =
            language::survey(&job.root, &job.open, &job.options);
        let folder = folder(&job.root);
        let files: BTreeMap<PathBuf, SourceId> =
            sources.iter().map(|(id, f)| (lexical(&folder.join(&f.name)), id)).collect();
        let mut found = diagnostics;
        if !found.has_errors() {
            // As `check` does: the environments, or the base where there is none.
            for topology in topologies.iter().skip(usize::from(topologies.len() > 1)) {
                found.extend(rules::check(topology, job.today));
            }
        }
        let mut told = BTreeSet::new();
        let mut list = language::guard(&mut sources, found).sorted();
        list.retain(|d| told.insert((d.code, d.message.clone(), d.labels.first().map(|l| l.span))));
        Self {
            generation: job.generation,
            versions: job.versions,
            asked: asked.iter().map(|name| lexical(&folder.join(name))).collect(),
            open: files.keys().filter(|p| job.open.contains_key(*p)).cloned().collect(),
            root: job.root,
            options: job.options,
            sources,
            files,
            diagnostics: list,
            trees,
            topologies,
            index: OnceLock::new(),
        }
    }

    pub fn source(&self, path: &Path) -> Option<SourceId> {
        self.files.get(path).copied()
    }

    pub fn path(&self, id: SourceId) -> PathBuf {
        lexical(&folder(&self.root).join(&self.sources.get(id).name))
    }

    /// A file's text as it was analysed.
    pub fn text(&self, id: SourceId) -> Text {
        let text = Arc::clone(&self.sources.get(id).text);
        if self.open.contains(&self.path(id)) { Text::open(text) } else { Text::saved(text) }
    }

    /// What a topology is called in a hover.
    pub fn environment(&self, at: usize) -> &str {
        self.topologies.get(at).and_then(|t| t.environment.as_deref()).unwrap_or("base")
    }

    /// Where names are written; made when it is first asked for.
    pub fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self))
    }
}

/// The folder that paths in a root file are relative to.
pub(super) fn folder(root: &Path) -> PathBuf {
    root.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where the bytes of one text are in a later one: what stands before and behind the change keeps its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    before: usize,
    old: usize,
    new: usize,
    behind: usize,
}

impl Shift {
    pub fn between(old: &str, new: &str) -> Self {
        let (a, b) = (old.as_bytes(), new.as_bytes());
        let before = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let rest = a.len().min(b.len()) - before;
        let behind = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
        Self { before, old: a.len(), new: b.len(), behind }
    }

    /// A range of the old text in the new one; `None` where it was changed. What was put in just before or behind is not part of it.
    pub fn forth(&self, at: Range<usize>) -> Option<Range<usize>> {
        let start = self.behind(at.start).or_else(|| self.before(at.start))?;
        let end = self.before(at.end).or_else(|| self.behind(at.end))?;
        (start <= end).then_some(start..end)
    }

    fn before(&self, offset: usize) -> Option<usize> {
        (offset <= self.before).then_some(offset)
    }

    fn behind(&self, offset: usize) -> Option<usize> {
        (offset >= self.old - self.behind).then(|| offset + self.new - self.old)
    }

    /// A byte of the new text in the old one.
    pub fn back(&self, offset: usize) -> Option<usize> {
        if offset <= self.before {
            return Some(offset);
        }
        (offset >= self.new - self.behind).then(|| offset + self.old - self.new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_move_with_the_text() {
        let s = Shift::between("site a\nsite b\n", "site a\nsite xx\nsite b\n");
        assert_eq!(s.forth(5..6), Some(5..6));
        assert_eq!(s.forth(12..13), Some(20..21));
        assert_eq!(s.back(20), Some(12));
        assert_eq!(s.back(13), None);
        let same = Shift::between("abc", "abc");
        assert_eq!((same.forth(1..3), same.back(2)), (Some(1..3), Some(2)));
        let grown = Shift::between("aa", "aaa");
        assert_eq!(grown.forth(0..2), Some(0..2));
        assert_eq!(Shift::between("a b", "a x").forth(2..3), Some(2..3), "a changed word keeps its edges");
        assert_eq!(Shift::between("abcd", "").forth(1..3), None);
    }
}
