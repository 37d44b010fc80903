//! The people of one cohort: what its `select` lines name, less what its `exclude` lines name.

use std::collections::{BTreeMap, HashMap};

use super::select::{Asked, Lists, Named, Read, Said, Unaddressed};
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
    /// Lines that nothing here can answer: who is meant is not known.
    pub unasked: Vec<Unasked>,
    /// Members of groups who have no account in any source, by the group: nobody of them is in the cohort.
    pub outsiders: BTreeMap<String, Vec<String>>,
    /// Entries of exports that stand for people and can name nobody.
    pub unaddressed: Vec<Unaddressed>,
}

/// A line of a cohort that names a `group` which no list knows, or a filter without any export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    pub field: &'static str,
    /// The group or the filter.
    pub named: String,
    /// The cohort whose line it is: who is left for the rest is not known either.
    pub of: String,
    pub span: Span,
}

/// People who are in two cohorts of one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twice<'a> {
    pub cohorts: [&'a str; 2],
    pub addresses: Vec<&'a str>,
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
    let rest = cohort.text("type") == Some("rest");
    let mut said = Said::default();
    let mut unasked = lacking(asked, cohort, &["select", "exclude"]);
    let mut chosen = match rest && cohort.children("select").next().is_none() {
        true => everybody_known(asked, &mut said),
        false => selected(asked, cohort, &mut said),
    };
    if rest {
        for other in others(asked.topology, cohort) {
            unasked.extend(lacking(asked, other, &["select"]));
            // What is wrong with their lists is told of them.
            let taken = selected(asked, other, &mut Said::default());
            chosen.retain(|address, _| !taken.contains_key(address));
        }
    }
    let mut left_out = Vec::new();
    for exclude in cohort.children("exclude") {
        for (address, (by, _)) in asked.named(exclude, &mut said) {
            if chosen.remove(&address).is_some() {
                left_out.push(LeftOut { address, by, reason: exclude.text("reason").map(str::to_owned) });
            }
        }
    }
    left_out.sort_by(|a, b| a.address.cmp(&b.address));
    if !said.faults.is_empty() {
        return Err(said.faults);
    }
    let member = |(address, (by, span)): (String, (String, Span))| {
        let language = asked.language(&address).map(str::to_owned);
        Member { address, by, span, language }
    };
    let members = chosen.into_iter().map(member).collect();
    let Said { outsiders, unaddressed, .. } = said;
    Ok(Chosen { members, left_out, unasked, outsiders, unaddressed })
}

/// The other cohorts of the same migration.
fn others<'t>(topology: &'t Topology, cohort: &Node) -> impl Iterator<Item = &'t Node> {
    let (id, migration) = (cohort.id.clone(), cohort.reference("migration").cloned());
    topology.all("cohort").filter(move |c| c.id != id && c.reference("migration") == migration.as_ref())
}

/// The lines of a cohort that nothing here can answer.
fn lacking(asked: &Asked<'_>, cohort: &Node, kinds: &[&str]) -> Vec<Unasked> {
    let lines = kinds.iter().flat_map(|kind| cohort.children(kind));
    let of = |line: &Node| {
        let (field, span) = asked.lacks(line)?;
        let named = line.text(field).unwrap_or_default().to_owned();
        Some(Unasked { field, named, of: cohort.id.name.to_string(), span })
    };
    lines.filter_map(of).collect()
}

/// Whom the `select` lines of a cohort take, each up to its `limit`.
fn selected(asked: &Asked<'_>, cohort: &Node, said: &mut Said) -> Named {
    let mut chosen = Named::new();
    for select in cohort.children("select") {
        let mut named = asked.named(select, said);
        asked.without_outsiders(select, &mut named, said);
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

/// Everybody with an account on the new side: of them a cohort of the rest has those whom no other takes. Whom another one excludes it has taken
/// out for a reason.
fn everybody_known(asked: &Asked<'_>, said: &mut Said) -> Named {
    said.unaddressed.extend(asked.unaddressed());
    let by = || "everybody whom no other cohort names".to_owned();
    asked.accounts().map(|(address, span)| (address, (by(), span))).collect()
}

/// Whoever is in two cohorts of one migration: they would be moved twice, and the second move meets no mailbox any more.
pub fn twice<'a>(topology: &'a Topology, all: &'a BTreeMap<String, Chosen>) -> Vec<Twice<'a>> {
    let mut first: HashMap<(&str, &str), &str> = HashMap::new();
    let mut pairs: BTreeMap<[&str; 2], Vec<&str>> = BTreeMap::new();
    for cohort in topology.all("cohort") {
        let migration = cohort.text("migration").unwrap_or_default();
        let Some((name, chosen)) = all.get_key_value(cohort.id.name.as_str()) else { continue };
        for address in chosen.addresses() {
            match first.get(&(migration, address)) {
                Some(other) => pairs.entry([other, name]).or_default().push(address),
                None => drop(first.insert((migration, address), name)),
            }
        }
    }
    pairs.into_iter().map(|(cohorts, addresses)| Twice { cohorts, addresses }).collect()
}

impl Twice<'_> {
    pub fn concerns(&self, cohort: &str) -> bool {
        self.cohorts.contains(&cohort)
    }

    /// For people, with a few of them.
    pub fn told(&self) -> String {
        let [first, second] = self.cohorts;
        let few = few(&self.addresses, ", ");
        let are = if self.addresses.len() == 1 { "is" } else { "are" };
        format!("{few} {are} in cohort {first} and in {second}")
    }
}

/// The first three, and how many more there are.
pub fn few(all: &[impl AsRef<str>], between: &str) -> String {
    let first: Vec<&str> = all.iter().take(3).map(AsRef::as_ref).collect();
    let more = all.len() - first.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(between))
}
