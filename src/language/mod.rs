//! KDL files to a checked [`Topology`](crate::model::topology::Topology).
//!
//! Entry points: [`compile`] (files to topology), [`check`] (all environments of a root), [`parse`] (one file to trees),
//! [`format`](format()) (the layout of `cutover fmt`), [`explain`](explain()) (where a value comes from) and [`slice::deployed`] (what a
//! phase deploys).

mod claim;
mod codes;
mod compile;
mod decode;
mod domain;
mod draft;
mod explain;
mod finish;
mod format;
mod load;
mod module;
mod moved;
mod overlay;
mod patch;
mod policy;
mod range;
pub mod reference;
mod remap;
mod resolve;
pub mod scan;
pub mod schema;
mod scope;
mod secrecy;
mod sink;
pub mod slice;
mod spelling;
mod standin;
mod suggest;
mod survey;
pub mod syntax;
mod text;
mod timescale;
pub mod types;
mod value;
mod versions;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use load::Files;

use crate::model::topology::{Topology, Value};
use crate::model::tree::Tree;
use crate::model::{Diagnostic, Diagnostics, SourceId, Sources};

pub use codes::CHAPTERS;
pub use load::lexical;
pub use overlay::glob;
pub use secrecy::guard;
pub use survey::{Expansion, Survey, expand, survey};
pub use syntax::parse;

/// What to compile for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The environment whose overlay is applied; `None` for the base alone.
    pub environment: Option<String>,
    /// `--set NAME=VALUE`.
    pub sets: Vec<(String, String)>,
    /// Roles that packs define beside those of the schema. `None`: unknown, so only near misses are refused.
    pub roles: Option<BTreeSet<String>>,
    /// Variables without a value get a sample of their type instead of an error: for checks without the values of a run.
    pub allow_unset: bool,
}

/// The outcome. On errors the topology is what could be made, and must not be used for anything but display.
#[derive(Debug, Default)]
pub struct Compiled {
    pub sources: Sources,
    pub topology: Topology,
    pub diagnostics: Diagnostics,
    /// The environments that the root declares, by name; those that rename domains (`domain-map`) behind the others.
    pub environments: Vec<String>,
}

/// Compiles the root at `root`: a file, or a folder with a `topology.kdl`. All paths in the files are relative to its folder.
pub fn compile(root: &Path, options: &Options) -> Compiled {
    let (folder, main) = load::split(root);
    run(Files::Folder(folder), &main, options, false)
}

/// As [`compile`], from files in memory; `main` is the name of the root file.
pub fn compile_files(files: &BTreeMap<String, Vec<u8>>, main: &str, options: &Options) -> Compiled {
    run(Files::Memory(files), main, options, false)
}

/// Checks every environment, or the base where there is none, each mistake once. The topology is the one of
/// `options.environment`.
pub fn check(root: &Path, options: &Options) -> Compiled {
    let (folder, main) = load::split(root);
    run(Files::Folder(folder), &main, options, true)
}

/// As [`check`], from files in memory.
pub fn check_files(files: &BTreeMap<String, Vec<u8>>, main: &str, options: &Options) -> Compiled {
    run(Files::Memory(files), main, options, true)
}

fn run(files: Files, main: &str, options: &Options, all: bool) -> Compiled {
    let mut loader = load::Loader::new(files);
    let mut sink = sink::Sink::default();
    let trees = loader.root(main, &mut sink);
    let mut topology = Topology::default();
    let declared = trees.iter().filter(|t| t.name.value == "environment");
    let renames = |t: &Tree| t.children.iter().any(|c| c.name.value == "domain-map");
    let environments: BTreeMap<String, bool> =
        declared.filter_map(|t| Some((t.args().next()?.value.value.as_text()?.to_owned(), renames(t)))).collect();
    // With a file unread, every name of it would be reported missing.
    if !sink.has_errors() {
        let mut others: Vec<Option<String>> = Vec::new();
        if all {
            others.extend(environments.keys().cloned().map(Some).filter(|e| *e != options.environment));
        }
        if !all || options.environment.is_some() || others.is_empty() {
            topology = compile::run(&mut loader, &trees, options, &mut sink);
        }
        for environment in others {
            let options = Options { environment, ..options.clone() };
            compile::run(&mut loader, &trees, &options, &mut sink);
        }
    }
    let mut sources = loader.sources;
    let diagnostics = guard(&mut sources, sink.finish());
    let (maps, plain): (Vec<_>, Vec<_>) = environments.into_iter().partition(|(_, renames)| *renames);
    let environments = plain.into_iter().chain(maps).map(|(name, _)| name).collect();
    Compiled { sources, topology, diagnostics, environments }
}

/// A value as people write it. Secrets as their reference.
pub fn shown(value: &Value) -> String {
    explain::value(value)
}

/// A file in the one layout; comments, order and single blank lines stay.
pub fn format(sources: &Sources, id: SourceId) -> Result<String, Vec<Diagnostic>> {
    format::format(sources, id)
}

/// Where each value of `server.mail-1.memory`, or of a whole node `server.mail-1`, comes from. The error says what there is instead.
pub fn explain(topology: &Topology, sources: &Sources, address: &str) -> Result<String, String> {
    explain::explain(topology, sources, address)
}
