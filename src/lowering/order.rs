//! What waits for what: parent folders, owners, resources that several roles share; and a check that every name exists.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::resource::Dependency;
use crate::model::{Address, Attr, Diagnostic, Diagnostics, HostName, Kind};

use super::merge::Merged;
use crate::model::suggest::did_you_mean;

pub fn order(merged: &mut Merged, diagnostics: &mut Diagnostics) {
    shared_with_other_groups(merged);
    let known: BTreeSet<Address> = merged.entries.keys().cloned().collect();
    let mut groups: BTreeSet<String> = BTreeSet::new();
    for entry in merged.entries.values() {
        groups.insert(entry.resource.group.clone());
        groups.extend(entry.also.iter().cloned());
    }
    for (address, entry) in &mut merged.entries {
        let mut more: Vec<Address> = Vec::new();
        if is_path(address.kind) {
            more.extend(parent(address, &known));
        }
        for (field, kinds) in [
            ("owner", &[Kind::User][..]),
            ("group", &[Kind::Group, Kind::User]),
            ("user", &[Kind::User]),
            ("uid", &[Kind::User]),
        ] {
            if let Some(Attr::Text(name)) = entry.resource.attrs.get(field) {
                for kind in kinds {
                    more.push(Address::new(&address.host, *kind, name.clone()));
                }
            }
        }
        if let Some(Attr::List(list)) = entry.resource.attrs.get("groups") {
            more.extend(list.iter().map(|g| Address::new(&address.host, Kind::Group, g.clone())));
        }
        more.retain(|a| a != address && known.contains(a));
        entry.resource.after.extend(more.into_iter().map(Dependency::Resource));

        for after in &entry.resource.after {
            let (name, exists) = match after {
                Dependency::Resource(a) => (a.to_string(), known.contains(a)),
                Dependency::Group(g) => (g.clone(), groups.contains(g)),
            };
            if !exists {
                let all: Vec<String> = known.iter().map(Address::to_string).chain(groups.iter().cloned()).collect();
                let d = Diagnostic::error("E1017", format!("{address} waits for {name}, which nothing asks for"));
                diagnostics.push(match did_you_mean(&name, all.iter().map(String::as_str)) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help("an `after` of the pack names it"),
                });
            }
        }
        for notify in &entry.resource.notifies {
            if !known.contains(&Address::new(&address.host, Kind::Service, notify.service.clone())) {
                diagnostics.push(
                    Diagnostic::error(
                        "E1017",
                        format!(
                            "{address} asks to reload service {}, which no role of the server declares",
                            notify.service
                        ),
                    )
                    .help(format!("add `service {} enabled=#true running=#true` to the role", notify.service)),
                );
            }
        }
    }
}

/// A resource belongs to the group that asked first. In the others, everything of a later stage waits for it.
fn shared_with_other_groups(merged: &mut Merged) {
    let mut shared: BTreeMap<(HostName, String), Vec<(u8, Address)>> = BTreeMap::new();
    for (address, entry) in &merged.entries {
        for group in &entry.also {
            let list = shared.entry((address.host.clone(), group.clone())).or_default();
            list.push((entry.resource.stage, address.clone()));
        }
    }
    if shared.is_empty() {
        return;
    }
    for (address, entry) in &mut merged.entries {
        let groups = std::iter::once(&entry.resource.group).chain(&entry.also);
        let mut more = Vec::new();
        for group in groups {
            let list = shared.get(&(address.host.clone(), group.clone()));
            let earlier = list.into_iter().flatten().filter(|(stage, a)| *stage < entry.resource.stage && a != address);
            more.extend(earlier.map(|(_, a)| Dependency::Resource(a.clone())));
        }
        entry.resource.after.extend(more);
    }
}

fn is_path(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory | Kind::Binary | Kind::Line)
}

/// The nearest folder above it that is a resource too.
fn parent(address: &Address, known: &BTreeSet<Address>) -> Option<Address> {
    let mut path = address.key.as_str();
    while let Some((above, _)) = path.rsplit_once('/') {
        let candidate = Address::new(&address.host, Kind::Directory, above);
        if known.contains(&candidate) {
            return Some(candidate);
        }
        path = above;
    }
    None
}
