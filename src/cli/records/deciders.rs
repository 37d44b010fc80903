//! Who decides, as files have it: those that lie here now, and those of a commit.
//!
//! It is read from the base alone, without overlays and without `--set`: what an environment or a command line changes decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};
use std::sync::Arc;

use super::super::context::Context;
use super::git::Repository;
use super::signature::public;
use crate::language::{self, Options};
use crate::model::topology::Topology;
use crate::process::trust::Deciders;

fn base() -> Options {
    Options { environment: None, sets: Vec::new(), roles: None, allow_unset: true }
}

/// A key is written out, or lies beside the topology: only what git has can be looked up at a commit.
fn keys(
    topology: &Topology,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
    notes: &mut Vec<String>,
) -> BTreeMap<smol_str::SmolStr, BTreeSet<String>> {
    let mut out = BTreeMap::new();
    for person in topology.all("person") {
        let mut own = BTreeSet::new();
        for written in person.texts("signing-key") {
            let inside = Path::new(written).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
            let file = || read(written).and_then(|b| public(&String::from_utf8_lossy(&b))).filter(|_| inside);
            match public(written).or_else(file) {
                Some(key) => drop(own.insert(key)),
                None => notes.push(format!(
                    "the signing key of {} is neither a public SSH key nor a file beside the topology: {written}",
                    person.id.name
                )),
            }
        }
        out.insert(person.id.name.clone(), own);
    }
    out
}

/// Who decides by the files as they lie here.
pub fn now(context: &Context, notes: &mut Vec<String>) -> Deciders {
    let root = context.root();
    let topology = Arc::new(language::compile(&context.file(), &base()).topology);
    let keys = keys(&topology, &|path| std::fs::read(root.join(path)).ok(), notes);
    Deciders { topology, keys }
}

/// Who decided at commits; topologies that are the same are compiled once.
pub struct Past<'r> {
    repository: &'r Repository,
    main: String,
    known: HashMap<Vec<(String, String)>, Option<Arc<Deciders>>>,
}

impl<'r> Past<'r> {
    pub fn new(repository: &'r Repository, context: &Context) -> Self {
        let main = context.file().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Self { repository, main, known: HashMap::new() }
    }

    pub fn at(&mut self, commit: &str) -> Option<Arc<Deciders>> {
        let listing = self.repository.listing(commit)?;
        if let Some(known) = self.known.get(&listing) {
            return known.clone();
        }
        let found = self.repository.contents(&listing).map(|files| {
            let topology = Arc::new(language::compile_files(&files, &self.main, &base()).topology);
            let keys = keys(&topology, &|path| files.get(path.trim_start_matches("./")).cloned(), &mut Vec::new());
            Arc::new(Deciders { topology, keys })
        });
        self.known.insert(listing, found.clone());
        found
    }
}
