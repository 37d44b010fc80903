//! How quick the moves were that were made from here.

use std::collections::{BTreeMap, HashMap};

use super::super::failure::Failure;
use super::super::project::Project;
use super::diary::Diary;
use crate::journal::StateDir;
use crate::model::host::Reach;
use crate::people::wave::TOGETHER;
use crate::process::forecast::Pace;

/// Fewer groups than this say little about the slowest of a hundred.
const ENOUGH: usize = 20;

/// By migration; people who are in no cohort any more do not count.
pub fn measured(project: &Project, diary: &Diary) -> Result<BTreeMap<String, Pace>, Failure> {
    let groups = diary.groups()?;
    if groups.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut of: HashMap<&str, &str> = HashMap::new();
    for (name, chosen) in &project.made.people {
        let Some(migration) = migration(project, name) else { continue };
        of.extend(chosen.addresses().map(|a| (a, migration)));
    }
    let mut by: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (user, took) in &groups {
        if let Some(migration) = of.get(user.to_lowercase().as_str()) {
            by.entry(migration).or_default().push(*took);
        }
    }
    Ok(by.into_iter().filter_map(|(name, mut took)| Some((name.to_owned(), Pace::of(&mut took)?))).collect())
}

/// Lets plans reckon with it: whether a wave can end in its window.
pub fn keep(project: &mut Project, state: &StateDir) -> Result<(), Failure> {
    if !project.site.hosts.values().any(|h| h.cohort().is_some_and(|c| c.opening.is_some())) {
        return Ok(());
    }
    let paces = measured(project, &Diary::of(state))?;
    let mut sites = std::mem::take(&mut project.site.hosts);
    for access in sites.values_mut() {
        if let Reach::Cohort(cohort) = &mut access.reach {
            let pace = migration(project, &cohort.cohort).and_then(|m| paces.get(m));
            // Of groups of the usual size: of a wave that is held whole (freeze-source) it says nothing.
            let usual = cohort.together <= TOGETHER;
            cohort.measured_ms = pace.filter(|p| usual && p.measured >= ENOUGH).map(|p| p.slow_ms);
        }
    }
    project.site.hosts = sites;
    Ok(())
}

fn migration<'p>(project: &'p Project, cohort: &str) -> Option<&'p str> {
    project.topology.get("cohort", cohort)?.text("migration")
}
