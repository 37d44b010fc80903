//! The order of evaluation: files, variables, `use` and ranges, patches, overlays, references, maps, defaults, limits.

use std::collections::{BTreeMap, BTreeSet};

use super::Options;
use super::decode::{Decoder, Place, duplicate};
use super::draft::Store;
use super::finish::Finish;
use super::load::Loader;
use super::module::{GivenRef, UsePatch};
use super::remap::Maps;
use super::schema::schema;
use super::scope;
use super::sink::Sink;
use super::suggest::{habit, nearest, otherwise};
use super::text::Scope;
use super::timescale::Scale;
use super::written::misplaced_verb;
use crate::model::Diagnostic;
use crate::model::topology::Topology;
use crate::model::tree::{Scalar, Tree};

/// The edition of the language that this program reads.
const EDITION: i128 = 1;

pub(super) struct Build<'a, 'f> {
    pub loader: &'a mut Loader<'f>,
    pub dec: Decoder<'a>,
    pub store: Store,
    /// Modules by name; `None` for one that could not be read.
    pub modules: BTreeMap<String, Option<Tree>>,
    pub patches: Vec<UsePatch>,
    pub given: Vec<GivenRef>,
}

/// Compiles parsed trees for one environment. On mistakes the topology is what could be made.
pub(super) fn run(loader: &mut Loader, trees: &[Tree], options: &Options, sink: &mut Sink) -> Topology {
    let dec = Decoder { schema: schema(), sink, roles: options.roles.as_ref(), nodes: 0, values: 0 };
    let mut build = Build {
        loader,
        dec,
        store: Store::default(),
        modules: BTreeMap::new(),
        patches: Vec::new(),
        given: Vec::new(),
    };
    build.edition(trees);
    let environments = build.environments(trees);
    let Some(chain) = build.chain(&environments, options.environment.as_deref()) else { return Topology::default() };
    let scope = scope::root(&mut build.dec, trees, &chain, options);
    build.inline_modules(trees);
    build.base(trees, &scope);
    build.use_patches();
    build.overlays(&chain, &scope);
    let maps = Maps::read(&mut build.dec, &chain, &scope);
    build.stand_ins(&chain, &scope);
    let scale = Scale::read(&mut build.dec, &chain, &scope);
    let Build { dec, store, given, .. } = build;
    let mut topology = Finish::new(dec.sink, store, maps, scale, options.environment.clone()).run(&given);
    trees.iter().for_each(|t| mentions(t, &mut topology.mentioned));
    topology
}

fn mentions(tree: &Tree, names: &mut BTreeSet<String>) {
    for entry in &tree.entries {
        if let Some(text) = entry.value.value.as_text().filter(|t| t.contains('$')) {
            names.extend(super::text::names(text).map(str::to_owned));
        }
    }
    tree.children.iter().for_each(|c| mentions(c, names));
}

impl Build<'_, '_> {
    fn edition(&mut self, trees: &[Tree]) {
        for t in trees.iter().filter(|t| t.name.value == "language") {
            if let Some(e) = t.args().next()
                && let Scalar::Int(n) = e.value.value
                && n != EDITION
            {
                self.dec.sink.push(
                    Diagnostic::error("E0014", format!("language {n} is not known here"))
                        .label(e.span, format!("this program reads language {EDITION}"))
                        .help("use a newer cutover, or write `language 1`"),
                );
            }
        }
    }

    /// Environments by name. Nodes in them need a verb, also in those that are not in force.
    fn environments<'t>(&mut self, trees: &'t [Tree]) -> BTreeMap<String, &'t Tree> {
        let mut out = BTreeMap::new();
        for t in trees.iter().filter(|t| t.name.value == "environment") {
            if let Some(name) = t.args().next().and_then(|e| e.value.value.as_text()) {
                out.entry(name.to_owned()).or_insert(t);
            }
            for c in &t.children {
                let rooted = matches!(c.name.value.as_str(), "include" | "language" | "module" | "environment" | "let");
                if rooted && c.annotation.is_none() {
                    self.dec.sink.push(
                        Diagnostic::error("E0108", format!("`{}` cannot stand in an environment", c.name.value))
                            .label(c.name.span, "not here")
                            .help("it stands at top level of the root"),
                    );
                } else if c.annotation.is_none() && self.dec.schema.kind(&c.name.value).is_some_and(|k| k.top_level()) {
                    self.dec.sink.push(super::overlay::no_verb(c));
                }
            }
        }
        out
    }

    /// The environments in force, the root of `extends` first. `None`: reported.
    fn chain<'t>(&mut self, all: &BTreeMap<String, &'t Tree>, wanted: Option<&str>) -> Option<Vec<&'t Tree>> {
        let mut chain: Vec<&'t Tree> = Vec::new();
        let mut next = wanted.map(|w| (w.to_owned(), None));
        while let Some((name, asked)) = next {
            let Some(tree) = all.get(&name) else {
                // Where a file asks for it, the reference is resolved too: one mistake, one message.
                let code = if asked.is_some() { "E0301" } else { "E0407" };
                let mut d = Diagnostic::error(code, format!("no environment named `{name}`"));
                if let Some(span) = asked {
                    d = d.label(span, "no such name");
                }
                self.dec.sink.push(match nearest(&name, all.keys().map(String::as_str)) {
                    Some(n) => d.help(format!("did you mean `{n}`?")),
                    None if all.is_empty() => d.help("the topology declares none: environment NAME purpose=.."),
                    None => {
                        d.help(format!("there are {}", all.keys().map(String::as_str).collect::<Vec<_>>().join(", ")))
                    }
                });
                return None;
            };
            if let Some(start) = chain.iter().position(|t| std::ptr::eq(*t, *tree)) {
                // Named by its first environment in the file, so that a check of all reports the circle once.
                let mut circle = chain.split_off(start);
                circle.sort_by_key(|t| t.span);
                let text =
                    |t: &&Tree| t.args().next().and_then(|e| e.value.value.as_text()).unwrap_or_default().to_owned();
                let names: Vec<String> = circle.iter().map(text).collect();
                let at = circle
                    .first()
                    .map_or(tree.name.span, |t| scope::entry_of(t, "extends").map_or(t.name.span, |e| e.span));
                let d = Diagnostic::error("E0408", format!("environments extend each other: {}", names.join(", ")))
                    .label(at, "goes in a circle");
                self.dec.sink.push(d.help("one environment of the circle must extend none of the others"));
                return None;
            }
            chain.push(tree);
            let extends = scope::entry_of(tree, "extends");
            next = extends.and_then(|e| Some((e.value.value.as_text()?.to_owned(), Some(e.span))));
        }
        chain.reverse();
        Some(chain)
    }

    fn inline_modules(&mut self, trees: &[Tree]) {
        let mut spans = BTreeMap::new();
        for t in trees.iter().filter(|t| t.name.value == "module") {
            let Some(e) = t.args().next() else {
                self.check_module(t);
                continue;
            };
            let name = e.value.value.as_text().unwrap_or_default().to_owned();
            if let Some(first) = spans.insert(name.clone(), e.span) {
                self.dec.sink.push(duplicate("module", &name, first, e.span));
                continue;
            }
            self.check_module(t);
            self.modules.insert(name, Some(t.clone()));
        }
    }

    fn base(&mut self, trees: &[Tree], scope: &Scope) {
        for t in trees {
            match t.name.value.as_str() {
                "module" => {}
                "use" => self.instantiate(t, scope, &[], &mut Vec::new()),
                _ => self.expand(t, scope, &[]),
            }
        }
    }

    /// One top-level node of the base or of a module.
    pub fn expand(&mut self, tree: &Tree, scope: &Scope, captures: &[String]) {
        let word = tree.name.value.as_str();
        if let Some(v) = tree.annotation.as_ref().filter(|a| a.value != "final") {
            misplaced_verb(v, self.dec.sink);
            return self.ghost(tree);
        }
        let Some(kind) = self.dec.schema.kind(word) else {
            let kinds = self.dec.schema.kinds.iter().filter(|k| k.top_level()).map(|k| k.name.as_str());
            let d =
                Diagnostic::error("E0101", format!("there is no kind `{word}`")).label(tree.name.span, "unknown kind");
            self.dec.sink.push(match (habit(word), nearest(word, kinds)) {
                (Some(h), _) => d.help(h),
                (None, Some(n)) => d.help(format!("did you mean `{n}`?")),
                _ if otherwise(word).is_some() => d.help(format!("write {}", otherwise(word).unwrap_or_default())),
                _ => d.help("a line starts with a kind, as in: server mail-1 platform=.. site=.."),
            });
            return self.ghost(tree);
        };
        if !kind.top_level() {
            self.dec.sink.push(
                Diagnostic::error("E0108", format!("`{word}` cannot stand at top level"))
                    .label(tree.name.span, "not here")
                    .help(format!(
                        "it stands in {}; look for a `}}` that closes too early above",
                        super::suggest::either(&kind.parents)
                    )),
            );
            return self.ghost(tree);
        }
        let place = Place { scope, captures, zip: None, layer: &scope.layer };
        let nodes = self.dec.nodes(tree, kind, place);
        if word == "include" {
            return;
        }
        if nodes.is_empty() {
            self.ghost(tree);
        }
        if matches!(word, "language" | "let") {
            return;
        }
        self.store.reserve(nodes.len());
        for node in nodes {
            if kind.name == "organization"
                && let Some((_, first)) = self.store.of_kind("organization").next()
            {
                let d = Diagnostic::error("E0304", "a root describes one organization")
                    .label(node.span, "a second one")
                    .label(first.span, "the first")
                    .help("hosted customers are `tenant`; shared parts are modules");
                self.dec.sink.push(d);
                continue;
            }
            let (name, span) = (node.id(), node.span);
            if let Err(first) = self.store.insert(node) {
                self.dec.sink.push(duplicate(word, &name, first, span));
            }
        }
    }

    /// Remembers the name of a node that could not be made.
    fn ghost(&mut self, tree: &Tree) {
        let name = tree.args().next().and_then(|e| e.value.value.as_text());
        if let Some(name) = name {
            match super::range::Pattern::parse(name) {
                Ok(Some(p)) if p.len() <= 1000 => self.store.ghosts.extend(p.iter().map(|(t, _)| t.into())),
                _ => {
                    self.store.ghosts.insert(name.into());
                }
            }
        }
    }
}
