//! What is wrong with who is in which cohort, as plans and commands say it: people in two cohorts are moved by neither, and whom lists cannot
//! name is counted. Names stand in answers of `cohort list` and in refusals, never in plans.

use super::failure::Failure;
use super::project::Project;
use super::session::Wish;
use crate::model::plan::{Plan, PlanNote};
use crate::people::{Chosen, Twice, few, twice};

/// Refuses to move cohorts that share somebody with another one.
pub fn alone<'n>(project: &Project, cohorts: impl IntoIterator<Item = &'n str>) -> Result<(), Failure> {
    let cohorts: Vec<&str> = cohorts.into_iter().collect();
    let shared = twice(&project.topology, &project.made.people);
    let shared: Vec<&Twice<'_>> = shared.iter().filter(|t| cohorts.iter().any(|c| t.concerns(c))).collect();
    if shared.is_empty() { Ok(()) } else { Err(refused(shared)) }
}

/// All of it in one answer.
pub fn refused<'a>(shared: impl IntoIterator<Item = &'a Twice<'a>>) -> Failure {
    let told: Vec<String> = shared.into_iter().map(Twice::told).collect();
    Failure::new(told.join("; ")).help("take each of them out of all cohorts but one: exclude { users ..; }")
}

/// Remarks of a whole plan, or of one of a phase.
pub fn tell(project: &Project, plan: &mut Plan, wish: &Wish) {
    if wish.destroy || wish.window.is_some() || !wish.targets.is_empty() {
        return;
    }
    let people = &project.made.people;
    let phase = wish.phase.as_deref().and_then(|name| project.topology.get("phase", name));
    let migrates: Vec<&str> = phase.into_iter().flat_map(|p| p.refs("migrates")).map(|(id, _)| &*id.name).collect();
    let mut said: Vec<String> = twice(&project.topology, people)
        .iter()
        .map(|t| {
            let [first, second] = t.cohorts;
            format!("{} people are in cohort {first} and in {second}: no phase moves either", t.addresses.len())
        })
        .collect();
    for (name, chosen) in people.iter().filter(|(name, _)| migrates.contains(&name.as_str())) {
        said.extend(counted(name, chosen));
    }
    for (name, list) in &project.made.accounts {
        let (n, path) = (list.unaddressed.names.len(), &list.unaddressed.path);
        if n > 0 {
            said.push(format!("accounts {name}: {n} entries of {path} have no usable address and get no mailbox"));
        }
    }
    if said.is_empty() {
        return;
    }
    said.push("`cutover cohort list` names them".to_owned());
    plan.notes.extend(said.into_iter().map(|text| PlanNote { address: None, text, blocks: false }));
}

fn counted(name: &str, chosen: &Chosen) -> Vec<String> {
    let of_groups = chosen.outsiders.iter().map(|(group, all)| {
        format!("cohort {name}: {} members of group {group} have no account and are not in it", all.len())
    });
    let of_lists = chosen.unaddressed.iter().map(|u| {
        format!("cohort {name}: {} entries of {} have no usable address and are not in it", u.names.len(), u.path)
    });
    of_groups.chain(of_lists).collect()
}

/// The same with names, for the list of cohorts: a line each. `sources`: where accounts stand.
pub fn lines(chosen: &Chosen, sources: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for u in &chosen.unasked {
        let missing = if u.field == "ldap" { "there is no export of a directory" } else { "no list knows it" };
        out.push(format!("and whom `{}` of cohort {} names ({}): {missing}", u.field, u.of, u.named));
    }
    let of_groups = chosen.outsiders.iter();
    out.extend(of_groups.map(|(group, all)| {
        format!("without {} of group {group}, not among the accounts of {sources}: {}", all.len(), few(all, ", "))
    }));
    let of_lists = chosen.unaddressed.iter();
    out.extend(of_lists.map(|u| {
        format!("without {} entries of {} that have no usable address: {}", u.names.len(), u.path, few(&u.names, "; "))
    }));
    out
}
