//! The people of one cohort: what its `select` lines name, less what its `exclude` lines name.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use crate::model::attr::Digest;
use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Span};

const BROKEN: &str = "E1042";

/// Reads a file that the topology names; the error is for people.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// In lower case.
    pub address: String,
    /// What chose them: `users`, or `users/pilot.csv, line 3`.
    pub by: String,
    /// Where the topology says so.
    pub span: Span,
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
    /// Lines that name people by what nobody is asked about yet (`ldap`, `tenant`, `group`): who is meant is not known.
    pub unasked: Vec<(&'static str, Span)>,
}

impl Chosen {
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.address.as_str())
    }

    /// Over the sorted addresses, a line each: the same for the same people, whatever named them.
    pub fn digest(&self) -> Digest {
        let lines: String = self.addresses().map(|a| format!("{a}\n")).collect();
        Digest::of(lines.as_bytes())
    }
}

/// Names with what named them; all of them in lower case.
type Named = BTreeMap<String, (String, Span)>;

/// What the lists of `accounts` nodes say, by the node's name.
type Lists = BTreeMap<String, Accounts>;

/// The people of a cohort, or what is wrong with its lists.
pub fn members(topology: &Topology, lists: &Lists, cohort: &Node, read: Read<'_>) -> Result<Chosen, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let mut chosen = Named::new();
    let lines = cohort.children("select").chain(cohort.children("exclude"));
    let unasked: Vec<(&'static str, Span)> = lines
        .flat_map(|line| {
            let known = |field: &str| field == "group" && group(lists, line).is_some();
            let fields = ["ldap", "tenant", "group"].into_iter();
            let fields = fields.filter(|field| line.value(field).is_some() && !known(field));
            fields.map(|field| (field, line.at(field))).collect::<Vec<_>>()
        })
        .collect();
    for select in cohort.children("select") {
        let mut named = named(lists, select, read, &mut faults);
        if let Some(limit) = select.int("limit") {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            named = named.into_iter().filter(|(a, _)| !chosen.contains_key(a)).take(most).collect();
        }
        named.into_iter().for_each(|(address, by)| _ = chosen.entry(address).or_insert(by));
    }
    if cohort.text("type") == Some("rest") && cohort.children("select").next().is_none() {
        chosen = rest(topology, lists, cohort, read, &mut faults);
    }
    let mut left_out = Vec::new();
    for exclude in cohort.children("exclude") {
        for (address, (by, _)) in named(lists, exclude, read, &mut faults) {
            if chosen.remove(&address).is_some() {
                left_out.push(LeftOut { address, by, reason: exclude.text("reason").map(str::to_owned) });
            }
        }
    }
    left_out.sort_by(|a, b| a.address.cmp(&b.address));
    if !faults.is_empty() {
        return Err(faults);
    }
    let members = chosen.into_iter().map(|(address, (by, span))| Member { address, by, span }).collect();
    Ok(Chosen { members, left_out, unasked })
}

/// The people of a cohort whom the topology names itself, without those of its lists.
pub fn named_here(topology: &Topology, cohort: &Node) -> Chosen {
    members(topology, &Lists::new(), cohort, &|_| Ok("mail\n".to_owned())).unwrap_or_default()
}

/// The people of all cohorts, by the cohort's name; all that is wrong with their lists.
pub fn everybody(topology: &Topology, lists: &Lists, read: Read<'_>) -> (BTreeMap<String, Chosen>, Vec<Diagnostic>) {
    let (mut all, mut faults) = (BTreeMap::new(), Vec::new());
    for cohort in topology.all("cohort") {
        match members(topology, lists, cohort, read) {
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

/// What one line names.
fn named(lists: &Lists, line: &Node, read: Read<'_>, faults: &mut Vec<Diagnostic>) -> Named {
    let mut named: Named =
        line.texts("users").into_iter().map(|u| (u.to_lowercase(), ("users".to_owned(), line.at("users")))).collect();
    let at = line.at("group");
    for member in group(lists, line).into_iter().flatten() {
        named.entry(member).or_insert_with(|| (format!("group {}", line.text("group").unwrap_or_default()), at));
    }
    if let Some(path) = line.text("csv") {
        let at = line.at("csv");
        match read(path).map_err(|why| vec![(0, why)]).and_then(|text| super::list::rows(&text)) {
            Ok(rows) => {
                let mut seen: BTreeMap<String, u64> = BTreeMap::new();
                for row in rows {
                    if let Some(first) = seen.insert(row.address.clone(), row.line) {
                        let text = format!("{path}: {} stands on line {first} and on line {}", row.address, row.line);
                        faults.push(Diagnostic::error(BROKEN, text).label(at, "in this list").help("take one out"));
                    }
                    named.entry(row.address).or_insert((format!("{path}, line {}", row.line), at));
                }
            }
            Err(wrong) => faults.extend(wrong.into_iter().map(|(line, why)| {
                let place = if line > 0 { format!("{path}, line {line}: ") } else { format!("{path}: ") };
                let d = Diagnostic::error(BROKEN, format!("{place}{why}"));
                d.label(at, "this list").help("a CSV with a header and a column `mail`, or an address a line")
            })),
        }
    }
    named
}

/// The people of the group that a line names, where a list knows it. Members that are groups themselves are followed.
fn group(lists: &Lists, line: &Node) -> Option<BTreeSet<String>> {
    let find = |name: &str| lists.values().flat_map(|l| &l.groups).find(|g| g.address.eq_ignore_ascii_case(name));
    let first = find(line.text("group")?)?;
    let (mut people, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![first]);
    while let Some(group) = open.pop() {
        if !seen.insert(&group.address) {
            continue;
        }
        for member in &group.members {
            match find(member) {
                Some(inner) => open.push(inner),
                None => _ = people.insert(member.clone()),
            }
        }
    }
    Some(people)
}

/// Everybody with an account on the new side whom no other cohort of the migration names.
fn rest(topology: &Topology, lists: &Lists, cohort: &Node, read: Read<'_>, faults: &mut Vec<Diagnostic>) -> Named {
    let migration = cohort.reference("migration");
    let mut others = BTreeSet::new();
    for other in topology.all("cohort").filter(|c| c.id != cohort.id && c.reference("migration") == migration) {
        other.children("select").for_each(|s| others.extend(named(lists, s, read, faults).into_keys()));
    }
    let accounts = topology.all("mail-account").map(|a| (a.id.name.to_lowercase(), a.span));
    let listed = topology.all("accounts").flat_map(|node| {
        let list = lists.get(node.id.name.as_str()).into_iter().flat_map(|l| &l.mailboxes);
        list.map(|m| (m.address.clone(), node.span))
    });
    let accounts = accounts.chain(listed);
    let free = accounts.filter(|(address, _)| !others.contains(address));
    free.map(|(address, span)| (address, ("everybody whom no other cohort names".to_owned(), span))).collect()
}
