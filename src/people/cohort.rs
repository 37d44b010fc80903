//! The people of one cohort: what its `select` lines name, less what its `exclude` lines name.

use std::collections::{BTreeMap, BTreeSet};

use super::select::{Asked, Lists, Named, Read};
use crate::model::attr::Digest;
use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Span};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// In lower case.
    pub address: String,
    /// What chose them: `users`, or `users/pilot.csv, line 3`.
    pub by: String,
    /// Where the topology says so.
    pub span: Span,
    /// What they read, where a list of accounts says it.
    pub language: Option<String>,
}

/// Somebody whom `select` names and `exclude` takes out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub address: String,
    pub by: String,
    pub reason: Option<String>,
}

/// The people of a cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// By address.
    pub members: Vec<Member>,
    pub left_out: Vec<LeftOut>,
    /// Lines that name a `group` which no list knows: who is meant is not known.
    pub unasked: Vec<(&'static str, Span)>,
}

impl Chosen {
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.address.as_str())
    }

    /// What somebody of it reads, where that is known.
    pub fn language(&self, address: &str) -> Option<&str> {
        let at = self.members.binary_search_by(|m| m.address.as_str().cmp(address)).ok()?;
        self.members.get(at)?.language.as_deref()
    }

    /// Over the sorted addresses, a line each: the same for the same people, whatever named them.
    pub fn digest(&self) -> Digest {
        let lines: String = self.addresses().map(|a| format!("{a}\n")).collect();
        Digest::of(lines.as_bytes())
    }
}

/// The people of a cohort, or what is wrong with its lists.
fn members(asked: &Asked<'_>, cohort: &Node) -> Result<Chosen, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let lines = cohort.children("select").chain(cohort.children("exclude"));
    let unasked: Vec<(&'static str, Span)> = lines.filter_map(|line| asked.lacks(line)).collect();
    let mut chosen = selected(asked, cohort, &mut faults);
    if cohort.text("type") == Some("rest") && cohort.children("select").next().is_none() {
        chosen = rest(asked, cohort, &mut faults);
    }
    let mut left_out = Vec::new();
    for exclude in cohort.children("exclude") {
        for (address, (by, _)) in asked.named(exclude, &mut faults) {
            if chosen.remove(&address).is_some() {
                left_out.push(LeftOut { address, by, reason: exclude.text("reason").map(str::to_owned) });
            }
        }
    }
    left_out.sort_by(|a, b| a.address.cmp(&b.address));
    if !faults.is_empty() {
        return Err(faults);
    }
    let member = |(address, (by, span)): (String, (String, Span))| {
        let language = asked.language(&address).map(str::to_owned);
        Member { address, by, span, language }
    };
    let members = chosen.into_iter().map(member).collect();
    Ok(Chosen { members, left_out, unasked })
}

/// Whom the `select` lines of a cohort take, each up to its `limit`.
fn selected(asked: &Asked<'_>, cohort: &Node, faults: &mut Vec<Diagnostic>) -> Named {
    let mut chosen = Named::new();
    for select in cohort.children("select") {
        let mut named = asked.named(select, faults);
        if let Some(limit) = select.int("limit") {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            named = named.into_iter().filter(|(a, _)| !chosen.contains_key(a)).take(most).collect();
        }
        named.into_iter().for_each(|(address, by)| _ = chosen.entry(address).or_insert(by));
    }
    chosen
}

/// The people of a cohort whom the topology names itself, without those of its lists.
pub fn named_here(topology: &Topology, cohort: &Node) -> Chosen {
    members(&Asked::of(topology, &Lists::new(), None), cohort).unwrap_or_default()
}

/// The people of all cohorts, by the cohort's name; all that is wrong with their lists.
pub fn everybody(topology: &Topology, lists: &Lists, read: Read<'_>) -> (BTreeMap<String, Chosen>, Vec<Diagnostic>) {
    let (mut all, mut faults) = (BTreeMap::new(), Vec::new());
    let asked = Asked::of(topology, lists, Some(read));
    for cohort in topology.all("cohort") {
        match members(&asked, cohort) {
            Ok(chosen) => _ = all.insert(cohort.id.name.to_string(), chosen),
            Err(wrong) => faults.extend(wrong),
        }
    }
    (all, faults)
}

/// Cohorts that somebody is a member of. More than one is a mistake, as is none where the migration is to take everybody.
pub fn cohorts_of<'a>(all: &'a BTreeMap<String, Chosen>, address: &str) -> Vec<(&'a str, &'a Member)> {
    let mine = |chosen: &'a Chosen| {
        let found = chosen.members.binary_search_by(|m| m.address.as_str().cmp(&address.to_lowercase()));
        found.ok().and_then(|i| chosen.members.get(i))
    };
    all.iter().filter_map(|(name, chosen)| Some((name.as_str(), mine(chosen)?))).collect()
}

/// Everybody with an account on the new side whom no other cohort of the migration takes; whom one excludes it has taken out for a reason.
fn rest(asked: &Asked<'_>, cohort: &Node, faults: &mut Vec<Diagnostic>) -> Named {
    let migration = cohort.reference("migration");
    let mut others = BTreeSet::new();
    let cohorts = asked.topology.all("cohort");
    for other in cohorts.filter(|c| c.id != cohort.id && c.reference("migration") == migration) {
        others.extend(selected(asked, other, faults).into_keys());
    }
    let free = asked.accounts().filter(|(address, _)| !others.contains(address));
    free.map(|(address, span)| (address, ("everybody whom no other cohort names".to_owned(), span))).collect()
}
