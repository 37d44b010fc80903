//! Which root a file belongs to, and what is known of each root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::analysis::Analysis;
use super::outline::Outline;

/// Where a workspace is searched for roots, folders below folders.
const SEARCHED: usize = 4;

/// A root file is looked for in this many folders above a file.
const ABOVE: usize = 16;

const MAIN: &str = "topology.kdl";

/// Keystrokes follow each other faster than this.
const QUIET: Duration = Duration::from_millis(15);

/// Who types without a pause sees diagnostics all the same.
const LONGEST: Duration = Duration::from_millis(60);

#[derive(Debug, Default)]
pub(super) struct Root {
    /// Counts changes.
    pub generation: u64,
    /// When the change to analyse came first and last.
    changed: Option<(Instant, Instant)>,
    pub latest: Option<Arc<Analysis>>,
    /// The latest with trees: it serves while a file does not parse.
    pub good: Option<Arc<Analysis>>,
}

impl Root {
    /// Something in it is different.
    pub fn touch(&mut self, now: Instant) {
        self.generation += 1;
        self.changed = Some((self.changed.map_or(now, |(first, _)| first), now));
    }

    /// As [`Root::touch`], to be analysed at once.
    pub fn touch_now(&mut self, now: Instant) {
        self.generation += 1;
        let long_ago = now.checked_sub(LONGEST).unwrap_or(now);
        self.changed = Some((long_ago, long_ago));
    }

    /// When it is to be analysed; `None` when nothing changed.
    pub fn due(&self) -> Option<Instant> {
        self.changed.map(|(first, last)| (last + QUIET).min(first + LONGEST))
    }

    pub fn started(&mut self) {
        self.changed = None;
    }

    /// True when the latest analysis is of the texts as they are.
    pub fn current(&self) -> bool {
        self.latest.as_ref().is_some_and(|a| a.generation == self.generation)
    }
}

/// All roots by their root file.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub by_main: BTreeMap<PathBuf, Root>,
}

impl Roots {
    /// The roots that a file matters to.
    pub fn of<'r>(&'r self, path: &'r Path) -> impl Iterator<Item = &'r PathBuf> {
        let asks = |root: &Root| root.latest.as_ref().is_some_and(|a| a.asked.contains(path));
        self.by_main.iter().filter(move |(main, root)| main.as_path() == path || asks(root)).map(|(main, _)| main)
    }

    /// The one that answers questions about a file: the root that reads it, else the nearest one above.
    pub fn home(&self, path: &Path) -> Option<&PathBuf> {
        let reads = |root: &Root| root.latest.as_ref().is_some_and(|a| a.source(path).is_some());
        self.by_main
            .iter()
            .find(|(main, root)| main.as_path() == path || reads(root))
            .or_else(|| {
                let above = self.by_main.iter().filter(|(main, _)| main.parent().is_some_and(|f| path.starts_with(f)));
                above.max_by_key(|(main, _)| main.components().count())
            })
            .map(|(main, _)| main)
    }
}

/// True for a text that is a root by itself: its first node says the edition of the language.
pub(super) fn is_root(text: &str) -> bool {
    Outline::of(text).nodes.first().is_some_and(|n| n.kind.text == "language")
}

/// The root file in the folders above a file.
pub(super) fn above(path: &Path, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    path.ancestors().skip(1).take(ABOVE).map(|f| f.join(MAIN)).find(|p| p != path && p.is_absolute() && exists(p))
}

/// The roots of a workspace folder.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(t) if t.is_dir() && depth < SEARCHED && searched(&name) => open.push((entry.path(), depth + 1)),
                Ok(t) if t.is_file() && name == MAIN => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn searched(name: &str) -> bool {
    !name.starts_with('.') && name != "target" && name != "node_modules"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_waits_but_not_for_ever() {
        let mut root = Root::default();
        let start = Instant::now();
        assert_eq!(root.due(), None);
        for ms in [0, 10, 20, 30, 40, 50] {
            root.touch(start + Duration::from_millis(ms));
        }
        assert_eq!(root.due(), Some(start + LONGEST));
        root.started();
        root.touch(start);
        assert_eq!(root.due(), Some(start + QUIET));
        assert!(!root.current());
    }

    #[test]
    fn a_root_says_so() {
        assert!(is_root("// c\nlanguage 1\n"));
        assert!(!is_root("site a\nlanguage 1"));
    }

    #[test]
    fn roots_are_found_above_and_below() {
        let dir = tempfile::tempdir().expect("folder");
        for f in ["a/topology.kdl", "a/b/x.kdl", ".hidden/topology.kdl", "c/d/topology.kdl"] {
            let path = dir.path().join(f);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, "language 1\n").expect("file");
        }
        assert_eq!(below(dir.path()), [dir.path().join("a/topology.kdl"), dir.path().join("c/d/topology.kdl")]);
        assert_eq!(above(&dir.path().join("a/b/x.kdl"), Path::exists), Some(dir.path().join("a/topology.kdl")));
    }
}
