//! All that gates are decided by, gathered once: records, trust, authors, documents, and what each phase makes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::project::Project;
use super::deciders::{self, Past};
use super::git::{Author, Repository};
use super::intent::{self, Intent};
use super::store::Store;
use crate::model::Digest;
use crate::model::course::{evidence, gates};
use crate::model::topology::Topology;
use crate::process::board::{Course, is_rehearsal, place};
use crate::process::gate::{Authors, Known};
use crate::process::record::{Broken, RecordKind, Signed};
use crate::process::trust::{Deciders, Trust, walk};

pub struct Standing {
    pub root: PathBuf,
    pub organization: String,
    /// With the environment in force.
    pub topology: Topology,
    pub repository: Option<Repository>,
    pub now: Arc<Deciders>,
    pub trust: Option<Trust>,
    pub records: Vec<Signed>,
    pub broken: Vec<Broken>,
    /// Records that this history had and that are gone.
    pub removed: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    pub phases: BTreeMap<String, Intent>,
    intents: BTreeMap<String, Digest>,
    files: BTreeMap<String, Digest>,
    authors: Authors,
    at: Timestamp,
}

impl Standing {
    /// Whether anything here can be shut at all: without gates and records nobody pays for them.
    pub fn concerns(context: &Context, topology: &Topology) -> bool {
        !gates(topology).is_empty() || context.root().join("records").exists()
    }

    /// Gathers everything for these phases.
    pub fn open(context: &Context, topology: &Topology, phases: &BTreeSet<String>) -> Result<Self, Failure> {
        let root = context.root();
        let organization = topology.organization().map_or(String::new(), |o| o.id.name.to_string());
        let mut notes = Vec::new();
        let now = Arc::new(deciders::now(context, &mut notes));
        let Store { mut records, broken } = Store::read(&root, &organization);
        let repository = Repository::find(&root);
        let rehearsal = topology.environment().is_some_and(is_rehearsal);
        let (mut trust, mut removed, mut unproven) = (None, Vec::new(), 0);
        match &repository {
            None => notes.push(
                "the topology is in no git repository, or nothing is committed yet: no signature counts, since nobody can say whose keys were \
                 agreed to"
                    .to_owned(),
            ),
            Some(repository) => {
                removed = repository.removed_records()?;
                let places = repository.places()?;
                // Records of another history (a branch that was squashed) say what they say; only who decides is never taken from there.
                records.sort_by_key(|s| (places.get(&s.record.commit).copied(), s.record.when, s.file.clone()));
                let here = |s: &&Signed| {
                    s.record.kind == RecordKind::Revocation || places.contains_key(&s.record.commit)
                };
                let counted: Vec<&Signed> =
                    records.iter().filter(|s| rehearsal || !s.record.rehearsal).filter(here).collect();
                let mut past = Past::new(repository, context);
                trust = walk(&counted, &mut |commit| past.at(commit));
                unproven += usize::from(!repository.changed()?.is_empty());
            }
        }
        let mut standing = Self {
            root,
            organization,
            topology: topology.clone(),
            repository,
            now,
            trust,
            records,
            broken,
            removed,
            notes,
            phases: BTreeMap::new(),
            intents: BTreeMap::new(),
            files: BTreeMap::new(),
            authors: Authors { unproven, ..Authors::default() },
            at: Timestamp::now(),
        };
        standing.wishes(context, phases)?;
        standing.documents();
        standing.written()?;
        Ok(standing)
    }

    /// What each phase makes, where its records stand.
    fn wishes(&mut self, context: &Context, phases: &BTreeSet<String>) -> Result<(), Failure> {
        let mut projects: BTreeMap<Option<String>, Project> = BTreeMap::new();
        for name in phases {
            let Some(phase) = self.topology.get("phase", name) else { continue };
            let here = place(&self.topology, phase).environment;
            let environment = here.or(self.topology.environment.as_deref()).map(str::to_owned);
            if !projects.contains_key(&environment) {
                let project = intent::ready(Project::to_sign(context, environment.as_deref())?)?;
                projects.insert(environment.clone(), project);
            }
            let Some(project) = projects.get(&environment) else { continue };
            let intent = intent::of_phase(project, name)?;
            self.intents.insert(name.clone(), intent.digest.clone());
            self.phases.insert(name.clone(), intent);
        }
        Ok(())
    }

    /// Digests of the documents that gates ask for.
    fn documents(&mut self) {
        let all = gates(&self.now.topology);
        let asked = all.iter().flat_map(|g| evidence(&self.now.topology, g.gate)).filter_map(|e| e.text("file"));
        let left = self.now.topology.all("phase").flat_map(|p| p.texts("delivers"));
        let read = |path: &str| Some((path.to_owned(), Digest::of(&std::fs::read(self.root.join(path)).ok()?)));
        self.files = asked.chain(left).filter_map(read).collect();
    }

    /// Who has written what was not approved yet.
    fn written(&mut self) -> Result<(), Failure> {
        let Some(repository) = self.repository.as_ref().filter(|_| !gates(&self.now.topology).is_empty()) else {
            return Ok(());
        };
        let deciders = self.trust.as_ref().map_or(&self.now, |t| &t.deciders);
        // Since what was approved before the present wishes: else who signs first would make everybody an author of nothing.
        let former = self.records.iter().rev().find(|s| {
            s.record.kind == RecordKind::Approval
                && deciders.owns(&s.record.who, &s.key)
                && !self.intents.values().any(|i| *i == s.record.intent)
        });
        let failed = |e: std::io::Error| Failure::new(format!("no file for the allowed signers: {e}"));
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        for (person, key) in deciders.keys.iter().flat_map(|(p, keys)| keys.iter().map(move |k| (p, k))) {
            writeln!(file, "{person} namespaces=\"git\" {key}").map_err(failed)?;
        }
        for author in repository.authors(former.map(|s| s.record.commit.as_str()), file.path())? {
            match author {
                Author::Person(person) => drop(self.authors.persons.insert(person)),
                Author::Unproven => self.authors.unproven += 1,
            }
        }
        Ok(())
    }

    /// Asks the course something.
    pub fn course<R>(&self, ask: impl FnOnce(&Course) -> R) -> R {
        let known = Known {
            records: &self.records,
            broken: &self.broken,
            trust: self.trust.as_ref(),
            now: &self.now,
            files: &self.files,
            authors: &self.authors,
            at: self.at,
        };
        ask(&Course { topology: &self.topology, known: &known, intents: &self.intents })
    }

    /// Refuses where files differ from the last commit: what is signed must be what others can check out.
    pub fn committed(&self) -> Result<(), Failure> {
        let changed = self.repository.as_ref().map_or(Ok(Vec::new()), Repository::changed)?;
        let Some(first) = changed.first() else { return Ok(()) };
        let more = if changed.len() > 1 { format!(" and {} more", changed.len() - 1) } else { String::new() };
        Err(Failure::new(format!("{first}{more} differ from the last commit; nothing is signed"))
            .help("commit first: what you sign must be what others can check out"))
    }

    /// Whose keys count: as of the last approved commit, and where nobody has approved anything, those of now.
    pub fn deciders(&self) -> &Deciders {
        self.trust.as_ref().map_or(&self.now, |t| &t.deciders)
    }
}
