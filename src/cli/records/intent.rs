//! What people sign: everything that a phase makes and whom it moves, by one digest that anybody gets who has the same commit. No host is asked,
//! no secret is read and no certificate is made for it, so a board needs nothing but the repository.

use std::collections::BTreeSet;

use super::super::failure::Failure;
use super::super::phase;
use super::super::project::Project;
use crate::language::slice;
use crate::model::attr::{Attr, Digest, Segment};
use crate::model::topology::NodeId;
use crate::planning::{self, PlanOptions};
use crate::process::trust::told;

/// Kinds whose nodes are told as such. Servers, zones and the like are told by the resources that they come to, which is closer to what will be.
const TOLD: [&str; 8] =
    ["cohort", "migration", "cutover-window", "rollback-point", "runbook", "communication", "change", "preflight"];

/// Fields that say when, not what.
const WHEN: [&str; 2] = ["due", "length"];

/// A phase as it is signed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Intent {
    pub digest: Digest,
    pub hosts: usize,
    pub resources: usize,
    /// Each cohort with its people, counted, and the digest of the list.
    pub cohorts: Vec<(String, usize, Digest)>,
}

/// Local files are part of what is signed; programs of ours are not: they are those of this version.
fn with_local_files(project: &mut Project) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    let mut digests = std::collections::BTreeMap::new();
    for (id, body) in &project.site.bodies {
        let mut text = String::new();
        for segment in &body.segments {
            let Segment::LocalFile(path) = segment else { continue };
            match std::fs::read(project.root.join(path)) {
                Ok(bytes) => text.push_str(&format!("{path} {}\n", Digest::of(&bytes))),
                Err(e) => {
                    let why = format!("{path} cannot be read: {e}");
                    failed.get_or_insert(Failure::new(why).help("what cannot be read cannot be signed"));
                }
            }
        }
        if !text.is_empty() {
            digests.insert(id.clone(), Digest::of(text.as_bytes()));
        }
    }
    for attr in project.site.resources.iter_mut().flat_map(|r| r.attrs.values_mut()) {
        if let Attr::Content(content) = attr {
            content.digest = digests.get(&content.id).cloned();
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A project made for signing ([`Project::to_sign`]), readied for [`of_phase`].
pub fn ready(mut project: Project) -> Result<Project, Failure> {
    with_local_files(&mut project)?;
    Ok(project)
}

/// What a phase makes. `paper`: a phase of no environment makes nothing on hosts.
pub fn of_phase(project: &Project, name: &str) -> Result<Intent, Failure> {
    let topology = &project.topology;
    let slice = phase::slice(topology, name)?;
    let node = topology.get("phase", name);
    let paper = node.is_some_and(|p| p.value("environment").is_none());
    let mut text = format!("cutover approval 1\n{}\n", topology.organization().map_or("", |o| o.id.name.as_str()));
    let mut intent = Intent { digest: Digest(String::new()), hosts: 0, resources: 0, cohorts: Vec::new() };
    if let Some(node) = node {
        told(node, &WHEN, &mut text);
    }
    for gate in crate::model::course::gates(topology).iter().filter(|g| g.phase.is_some_and(|p| p.id.name == name)) {
        told(gate.gate, &[], &mut text);
    }
    let moved: BTreeSet<NodeId> =
        node.into_iter().flat_map(|p| p.refs("migrates").chain(p.refs("changes"))).map(|(id, _)| id.clone()).collect();
    let cohorts: Vec<NodeId> = moved.iter().filter(|id| id.kind == "cohort").cloned().collect();
    for id in slice::closure(topology, moved).iter().filter(|id| TOLD.contains(&id.kind.as_str())) {
        if let Some(n) = topology.nodes.get(id) {
            told(n, &[], &mut text);
        }
    }
    for id in cohorts {
        if let Some(chosen) = project.made.people.get(id.name.as_str()) {
            text.push_str(&format!("people of {id} {}\n", chosen.digest()));
            intent.cohorts.push((id.name.to_string(), chosen.members.len(), chosen.digest()));
        }
    }
    if !paper {
        let owned: Vec<_> = project.site.resources.iter().filter(|r| slice.owners.contains(&r.owner)).collect();
        intent.resources = owned.len();
        intent.hosts = owned.iter().map(|r| &r.address.host).collect::<BTreeSet<_>>().len();
        let options = PlanOptions { phase: Some(slice), ..PlanOptions::default() };
        text.push_str(&format!("makes {}\n", planning::intent(&project.site, &options)?));
    }
    intent.digest = Digest::of(text.as_bytes());
    Ok(intent)
}
