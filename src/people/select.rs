//! Whom one `select` or `exclude` line names: by address, from a list beside the topology, by a filter over what a directory exported, by group
//! or by customer organisation. No directory is asked, so that a plan is the same everywhere and its lists stand in git.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::accounts::{Accounts, Group, address_of, is_group, is_person};
use super::list::is_address;
use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Span};
use crate::protocol::ldap_filter::Filter;
use crate::protocol::ldif::{self, Entry};

const BROKEN: &str = "E1042";

/// Reads a file that the topology names; the error is for people.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Names with what named them; all of them in lower case.
pub(super) type Named = BTreeMap<String, (String, Span)>;

/// What the lists of `accounts` nodes say, by the node's name.
pub(super) type Lists = BTreeMap<String, Accounts>;

/// Entries of people with their addresses, where they have a usable one; or all that is wrong with their list.
type Export = Result<Vec<(Option<String>, Entry)>, Vec<String>>;

/// What there is to say of lines beside whom they name.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub faults: Vec<Diagnostic>,
    /// By group.
    pub outsiders: BTreeMap<String, Vec<String>>,
    pub unaddressed: Vec<Unaddressed>,
}

/// Entries of an export that stand for people and have no usable address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unaddressed {
    pub path: String,
    /// Distinguished names.
    pub names: Vec<String>,
}

/// What people are looked for in.
pub(super) struct Asked<'a> {
    pub topology: &'a Topology,
    lists: &'a Lists,
    /// Nobody reads lists where the topology alone is looked at.
    read: Option<Read<'a>>,
    /// By path: many cohorts are chosen from one export.
    exports: RefCell<BTreeMap<String, Rc<Export>>>,
    languages: BTreeMap<&'a str, &'a str>,
    /// By address in lower case, aliases too.
    groups: BTreeMap<String, &'a Group>,
    /// People by their aliases.
    aliases: HashMap<&'a str, &'a str>,
    /// Addresses of everybody with an account.
    known: HashSet<String>,
}

impl<'a> Asked<'a> {
    pub fn of(topology: &'a Topology, lists: &'a Lists, read: Option<Read<'a>>) -> Self {
        let all = lists.values().flat_map(|l| &l.mailboxes);
        let languages = all.filter_map(|m| Some((m.address.as_str(), m.language.as_deref()?))).collect();
        let mut groups = BTreeMap::new();
        for group in lists.values().flat_map(|l| &l.groups) {
            for address in std::iter::once(&group.address).chain(&group.aliases) {
                groups.entry(address.to_lowercase()).or_insert(group);
            }
        }
        let all = lists.values().flat_map(|l| &l.mailboxes);
        let aliases = all.flat_map(|m| m.aliases.iter().map(|a| (a.as_str(), m.address.as_str()))).collect();
        let exports = RefCell::default();
        let mut asked = Self { topology, lists, read, exports, languages, groups, aliases, known: HashSet::new() };
        asked.known = asked.accounts().map(|(address, _)| address).collect();
        asked
    }

    /// What somebody reads, where a list of accounts says it.
    pub fn language(&self, address: &str) -> Option<&str> {
        self.languages.get(address).copied()
    }

    /// What one line names.
    pub fn named(&self, line: &Node, said: &mut Said) -> Named {
        let users = line.texts("users").into_iter();
        let mut named: Named = users.map(|u| (u.to_lowercase(), ("users".to_owned(), line.at("users")))).collect();
        self.of_tenant(line, &mut named);
        if let Some(read) = self.read {
            if let Some(path) = line.text("csv") {
                of_csv(path, line.at("csv"), read, &mut named, &mut said.faults);
            }
            if line.value("ldap").is_some() || line.value("ldif").is_some() {
                self.of_export(line, read, &mut named, said);
            }
        }
        // Last: what only a group names may be no person.
        let (by, at) = (by_group(line), line.at("group"));
        for member in self.group(line).into_iter().flatten() {
            named.entry(member).or_insert_with(|| (by.clone(), at));
        }
        named
    }

    /// Takes out, and says, whom only a group names and no source of accounts knows: a group may hold addresses of elsewhere, which have no
    /// mailbox that could be moved.
    pub fn without_outsiders(&self, line: &Node, named: &mut Named, said: &mut Said) {
        let Some(group) = line.text("group") else { return };
        let by = by_group(line);
        let outside = |address: &String, found: &(String, Span)| found.0 == by && !self.known.contains(address);
        let outsiders: Vec<String> = named.iter().filter(|(a, f)| outside(a, f)).map(|(a, _)| a.clone()).collect();
        if !outsiders.is_empty() {
            outsiders.iter().for_each(|address| _ = named.remove(address));
            said.outsiders.insert(group.to_lowercase(), outsiders);
        }
    }

    /// What the lists of `accounts` cannot name.
    pub fn unaddressed(&self) -> impl Iterator<Item = Unaddressed> {
        self.lists.values().filter(|l| !l.unaddressed.names.is_empty()).map(|l| l.unaddressed.clone())
    }

    /// What a line asks for and nothing here can answer: a group that no list knows, a filter without any export.
    pub fn lacks(&self, line: &Node) -> Option<(&'static str, Span)> {
        if line.value("group").is_some() && self.group(line).is_none() {
            return Some(("group", line.at("group")));
        }
        let nowhere = line.value("ldap").is_some() && self.exports_of(line).is_empty();
        nowhere.then(|| ("ldap", line.at("ldap")))
    }

    /// The exports in which a filter looks: its own, or those of all `accounts`.
    fn exports_of<'n>(&self, line: &'n Node) -> Vec<&'n str>
    where
        'a: 'n,
    {
        match line.text("ldif") {
            Some(path) => vec![path],
            None => self.topology.all("accounts").filter_map(|a| a.text("ldif")).collect(),
        }
    }

    /// Everybody with an account, in the topology or in its lists.
    pub fn accounts(&self) -> impl Iterator<Item = (String, Span)> {
        let accounts = self.topology.all("mail-account").map(|a| (a.id.name.to_lowercase(), a.span));
        accounts.chain(self.topology.all("accounts").flat_map(|node| {
            let list = self.lists.get(node.id.name.as_str()).into_iter().flat_map(|l| &l.mailboxes);
            list.map(|m| (m.address.clone(), node.span))
        }))
    }

    /// The people of the group that a line names, where a list knows it. Members that are groups themselves are followed.
    fn group(&self, line: &Node) -> Option<BTreeSet<String>> {
        let find = |name: &str| self.groups.get(&name.to_lowercase()).copied();
        let first = find(line.text("group")?)?;
        let (mut people, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![first]);
        while let Some(group) = open.pop() {
            if !seen.insert(&group.address) {
                continue;
            }
            for member in &group.members {
                match find(member) {
                    Some(inner) => open.push(inner),
                    None => {
                        _ = people.insert(self.aliases.get(member.as_str()).map_or(member.clone(), |a| (*a).to_owned()))
                    }
                }
            }
        }
        Some(people)
    }

    /// Everybody with an account in a domain of the customer organisation that a line names.
    fn of_tenant(&self, line: &Node, named: &mut Named) {
        let Some(tenant) = line.reference("tenant").and_then(|id| self.topology.get("tenant", &id.name)) else {
            return;
        };
        let domains: BTreeSet<String> = tenant.refs("domains").map(|(id, _)| id.name.to_lowercase()).collect();
        let at = line.at("tenant");
        let theirs = |a: &str| a.rsplit_once('@').is_some_and(|(_, domain)| domains.contains(domain));
        for (address, _) in self.accounts().filter(|(a, _)| theirs(a)) {
            named.entry(address).or_insert_with(|| (format!("tenant {}", tenant.id.name), at));
        }
    }

    /// Whom the filter of a line names, of its own export or of those of all `accounts`; without a filter everybody in it.
    fn of_export(&self, line: &Node, read: Read<'_>, named: &mut Named, said: &mut Said) {
        let at = line.at(if line.value("ldap").is_some() { "ldap" } else { "ldif" });
        let Said { faults, unaddressed, .. } = said;
        let mut say = |text: String, help: &str| {
            faults.push(Diagnostic::error(BROKEN, text).label(at, "this line").help(help));
        };
        let filter = match line.text("ldap").map(Filter::parse).transpose() {
            Ok(filter) => filter,
            Err(why) => {
                let text = format!("the filter `{}` cannot be asked: {why}", line.text("ldap").unwrap_or_default());
                return say(text, "a filter of RFC 4515, as in (&(objectClass=person)(department=Sales))");
            }
        };
        for path in self.exports_of(line) {
            match &*self.export(path, read) {
                Ok(entries) => {
                    let mut nameless = Unaddressed { path: path.to_owned(), names: Vec::new() };
                    let chosen = entries.iter().filter(|(_, e)| filter.as_ref().is_none_or(|f| f.matches(e)));
                    for (address, entry) in chosen {
                        let by = || (format!("{path}, line {}", entry.line), at);
                        match address {
                            Some(address) => _ = named.entry(address.clone()).or_insert_with(by),
                            None => nameless.names.push(entry.dn.clone()),
                        }
                    }
                    if !nameless.names.is_empty() && !unaddressed.contains(&nameless) {
                        unaddressed.push(nameless);
                    }
                }
                // Those of `accounts` say it themselves.
                Err(wrong) if line.text("ldif") == Some(path) => {
                    wrong.iter().for_each(|text| say(text.clone(), "LDIF content records (RFC 2849)"));
                }
                Err(_) => {}
            }
        }
    }

    fn export(&self, path: &str, read: Read<'_>) -> Rc<Export> {
        let mut exports = self.exports.borrow_mut();
        Rc::clone(exports.entry(path.to_owned()).or_insert_with(|| Rc::new(exported(path, read))))
    }
}

fn exported(path: &str, read: Read<'_>) -> Export {
    let text = read(path).map_err(|why| vec![format!("{path}: {why}")])?;
    let (entries, bad) = ldif::parse(text.as_bytes());
    if !bad.is_empty() {
        return Err(bad.into_iter().map(|b| format!("{path}, line {}: {}", b.line, b.what)).collect());
    }
    let people = entries.into_iter().filter(|e| !is_group(e));
    let with = people.map(|e| (address_of(&e).filter(|a| is_address(a)), e));
    Ok(with.filter(|(address, e)| address.is_some() || is_person(e)).collect())
}

fn by_group(line: &Node) -> String {
    format!("group {}", line.text("group").unwrap_or_default())
}

fn of_csv(path: &str, at: Span, read: Read<'_>, named: &mut Named, faults: &mut Vec<Diagnostic>) {
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
