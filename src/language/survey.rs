//! A root as an editor needs it: its trees and the topology of every environment at once, over texts that are not saved yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::{Files, Loader, lexical, split};
use super::sink::Sink;
use super::{Options, compile, guard, range};
use crate::model::topology::Topology;
use crate::model::tree::Tree;
use crate::model::{Diagnostics, Sources};

/// All that one reading of a root gives.
#[derive(Debug, Default)]
pub struct Survey {
    pub sources: Sources,
    /// Every file that was asked for, found or not, relative to the root's folder.
    pub asked: BTreeSet<String>,
    /// The nodes of all files, those of modules at the end. `None` when a file could not be read or parsed.
    pub trees: Option<Vec<Tree>>,
    /// The base, then each environment in the order written, or the one of the options alone. Empty without trees.
    pub topologies: Vec<Topology>,
    /// As [`super::check`] finds them.
    pub diagnostics: Diagnostics,
}

/// Reads the root at `root` (a file, or a folder with a `topology.kdl`) with the texts of `open` in place of the files of those
/// paths, which are in the form of [`lexical`].
pub fn survey(root: &Path, open: &BTreeMap<PathBuf, Arc<str>>, options: &Options) -> Survey {
    let (folder, main) = if open.contains_key(&lexical(root)) {
        (
            root.parent().map(Path::to_owned).unwrap_or_default(),
            root.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        )
    } else {
        split(root)
    };
    let mut loader = Loader::new(Files::Edited(folder, open));
    let mut sink = Sink::default();
    let mut trees = loader.root(&main, &mut sink);
    let mut topologies = Vec::new();
    let readable = !sink.has_errors();
    if readable {
        let environments: Vec<String> = trees
            .iter()
            .filter(|t| t.name.value == "environment")
            .filter_map(|t| Some(t.args().next()?.value.value.as_text()?.to_owned()))
            .collect();
        // The one that is asked for where the root has it: an editor may hold several roots open.
        let asked = options.environment.as_ref().filter(|e| environments.contains(e));
        let environments = asked.map_or_else(|| environments.clone(), |e| vec![e.clone()]);
        let base = Options { environment: None, ..options.clone() };
        if environments.is_empty() {
            topologies.push(compile::run(&mut loader, &trees, &base, &mut sink));
        } else {
            // What is wrong with the base shows in the environments; what they mend is no mistake.
            topologies.push(compile::run(&mut loader, &trees, &base, &mut Sink::default()));
        }
        for environment in environments {
            let options = Options { environment: Some(environment), ..options.clone() };
            topologies.push(compile::run(&mut loader, &trees, &options, &mut sink));
        }
        trees.extend(loader.module_trees().cloned());
    }
    let asked = loader.asked().map(str::to_owned).collect();
    let mut sources = loader.sources;
    let diagnostics = guard(&mut sources, sink.finish());
    Survey { asked, sources, trees: readable.then_some(trees), topologies, diagnostics }
}

/// The texts that a range stands for, computed when they are asked for.
#[derive(Debug, Clone)]
pub struct Expansion(range::Pattern);

/// The texts of `mbx-[01:62]`; `None` when there is no range in it, or a wrong one.
pub fn expand(text: &str) -> Option<Expansion> {
    range::Pattern::parse(text).ok().flatten().map(Expansion)
}

impl Expansion {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn nth(&self, index: usize) -> String {
        self.0.nth(index).0
    }

    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count()).map(|i| self.nth(i))
    }
}
