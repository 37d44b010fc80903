//! Which folder of the one side belongs to which of the other. Pure.

use std::collections::BTreeSet;

use crate::services::cms::config;
use crate::services::cms::ledger::{Known, Way};
use crate::services::cms::mailbox::{Folder, FolderPath};

/// A folder that is read, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub known: Option<Known>,
    pub from: Folder,
    pub to_path: FolderPath,
    /// As the written side shows it; `None`: it is to be made.
    pub to: Option<Folder>,
    /// The read side has renamed it: so is this folder on the written side.
    pub rename: Option<Folder>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub pairs: Vec<Pair>,
    /// No longer on the read side.
    pub gone: Vec<Known>,
    /// Left out, and why.
    pub skipped: Vec<(FolderPath, &'static str)>,
}

pub fn plan(from: &[Folder], to: &[Folder], known: &[Known], rules: &config::Folders, way: Way) -> Plan {
    let mut plan = Plan::default();
    let mut taken: BTreeSet<FolderPath> = BTreeSet::new();
    let wanted: Vec<&Folder> = from
        .iter()
        .filter(|f| {
            let why = match () {
                () if !f.selectable || super::claim::is_claim(&f.path) => return false,
                () if f.foreign && !rules.shared => "it belongs to somebody else (folders.shared)",
                () if way == Way::Forward && skipped(rules, &f.path) => "folders.skip",
                () => return true,
            };
            plan.skipped.push((f.path.clone(), why));
            false
        })
        .collect();
    let of_known = |f: &Folder| known.iter().find(|k| k.from_path == f.path);
    let absent: Vec<&Known> =
        known.iter().filter(|k| !from.iter().any(|f| f.path == k.from_path && f.selectable)).collect();
    let mut renamed: Vec<(i64, &Folder)> = Vec::new();
    for k in &absent {
        let fresh = wanted.iter().filter(|f| of_known(f).is_none() && !f.path.is_inbox());
        let mut same = fresh.filter(|f| same_folder(k, f));
        if let (Some(one), None) = (same.next(), same.next())
            && !absent.iter().any(|other| other.id != k.id && same_folder(other, one))
        {
            renamed.push((k.id, one));
        }
    }
    let find = |path: &FolderPath| to.iter().find(|t| t.path == *path && t.selectable);
    // Known folders first: their names are given.
    let mut ordered = wanted.clone();
    ordered.sort_by_key(|f| (of_known(f).is_none(), !f.path.is_inbox()));
    for folder in ordered {
        let before = of_known(folder).or_else(|| {
            let (id, _) = renamed.iter().find(|(_, f)| f.path == folder.path)?;
            known.iter().find(|k| k.id == *id)
        });
        let pair = match before {
            Some(k) if k.from_path == folder.path => Pair {
                known: Some(k.clone()),
                from: folder.clone(),
                to_path: k.to_path.clone(),
                to: find(&k.to_path).cloned(),
                rename: None,
            },
            Some(k) => {
                let to_path = free(mapped(folder, to, rules, way, &taken), &taken);
                match (find(&k.to_path), find(&to_path)) {
                    (Some(former), None) => Pair {
                        known: Some(k.clone()),
                        from: folder.clone(),
                        to_path,
                        to: None,
                        rename: Some(former.clone()),
                    },
                    (None, to) => {
                        Pair { known: Some(k.clone()), from: folder.clone(), to_path, to: to.cloned(), rename: None }
                    }
                    // Something else has the name: the folder keeps the one that it has.
                    (Some(former), Some(_)) => Pair {
                        known: Some(k.clone()),
                        from: folder.clone(),
                        to_path: k.to_path.clone(),
                        to: Some(former.clone()),
                        rename: None,
                    },
                }
            }
            None => {
                let to_path = free(mapped(folder, to, rules, way, &taken), &taken);
                Pair { known: None, from: folder.clone(), to: find(&to_path).cloned(), to_path, rename: None }
            }
        };
        taken.insert(pair.to_path.clone());
        plan.pairs.push(pair);
    }
    plan.gone = absent.into_iter().filter(|k| !renamed.iter().any(|(id, _)| *id == k.id)).cloned().collect();
    plan
}

/// A renamed folder keeps its identity (RFC 8474), or, where there is none, at least its UIDVALIDITY, and does not lose UIDs.
fn same_folder(known: &Known, folder: &Folder) -> bool {
    match (&known.from_identity, &folder.identity) {
        (Some(a), Some(b)) => a == b,
        _ => known
            .from_mark
            .as_ref()
            .zip(folder.mark.as_ref())
            .is_some_and(|(was, is)| was.count > 0 && is.count > 0 && is.continues(was)),
    }
}

fn skipped(rules: &config::Folders, path: &FolderPath) -> bool {
    let key = path.key();
    rules.skip.iter().any(|s| match s.strip_suffix("/*") {
        Some(above) => key.strip_prefix(above).is_some_and(|rest| rest.starts_with('/')),
        None => *s == key,
    })
}

/// Where the configuration sends a folder.
pub fn in_rules(rules: &config::Folders, way: Way, path: &FolderPath) -> Option<FolderPath> {
    let key = path.key();
    let said = match way {
        Way::Forward => rules.rename.get(&key),
        Way::Back => rules.rename.iter().find(|(_, new)| **new == key).map(|(old, _)| old),
    };
    said.and_then(|p| FolderPath::of_key(p))
}

fn mapped(
    folder: &Folder,
    to: &[Folder],
    rules: &config::Folders,
    way: Way,
    taken: &BTreeSet<FolderPath>,
) -> FolderPath {
    if let Some(path) = in_rules(rules, way, &folder.path) {
        return path;
    }
    let exact = to.iter().any(|t| t.path == folder.path);
    let special = folder.special.filter(|_| !folder.path.is_inbox());
    match to.iter().find(|t| special.is_some() && t.special == special && t.selectable && !t.foreign) {
        Some(same_use) if !exact && !taken.contains(&same_use.path) => same_use.path.clone(),
        _ => folder.path.clone(),
    }
}

/// No two folders go into one: the second gets a name of its own.
pub fn free(path: FolderPath, taken: &BTreeSet<FolderPath>) -> FolderPath {
    if !taken.contains(&path) {
        return path;
    }
    let numbered = (2..).filter_map(|n| {
        let mut names = path.names().to_vec();
        names.last_mut()?.push_str(&format!(" ({n})"));
        FolderPath::new(names)
    });
    numbered.into_iter().find(|p| !taken.contains(p)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::cms::mailbox::{Mark, SpecialUse};

    fn folder(path: &str, special: Option<SpecialUse>, validity: u64) -> Folder {
        Folder {
            path: FolderPath::of_key(path).expect("path"),
            raw: path.into(),
            special,
            subscribed: true,
            selectable: true,
            foreign: false,
            identity: None,
            mark: Some(Mark { validity, next: Some(5), modseq: Some(9), count: 4, state: None }),
        }
    }

    fn known(id: i64, path: &str, validity: u64) -> Known {
        let path = FolderPath::of_key(path).expect("path");
        let mark = Some(Mark { validity, next: Some(5), modseq: Some(9), count: 4, state: None });
        Known {
            id,
            from_path: path.clone(),
            from_identity: None,
            from_mark: mark.clone(),
            to_path: path,
            to_mark: mark,
            subscribed: true,
        }
    }

    fn said(plan: &Plan) -> Vec<String> {
        let one = |p: &Pair| {
            let how = match (&p.to, &p.rename) {
                (_, Some(former)) => format!(" (was {})", former.path),
                (None, None) => " (new)".into(),
                _ => String::new(),
            };
            format!("{} -> {}{how}", p.from.path, p.to_path)
        };
        plan.pairs.iter().map(one).collect()
    }

    #[test]
    fn special_use_finds_its_folder_and_rules_come_first() {
        let from = [
            folder("INBOX", None, 1),
            folder("Sent Items", Some(SpecialUse::Sent), 2),
            folder("Old", None, 3),
            folder("Spam/x", None, 4),
        ];
        let to = [folder("INBOX", None, 1), folder("Sent", Some(SpecialUse::Sent), 2)];
        let rules = config::Folders {
            skip: vec!["Spam/*".into()],
            rename: [("Old".into(), "Archive/Old".into())].into(),
            shared: false,
            rename_file: None,
        };
        let plan = plan(&from, &to, &[], &rules, Way::Forward);
        assert_eq!(said(&plan), ["INBOX -> INBOX", "Sent Items -> Sent", "Old -> Archive/Old (new)"]);
        assert_eq!(plan.skipped.len(), 1);
    }

    #[test]
    fn two_folders_that_are_mapped_to_one_stay_apart() {
        let from = [folder("Trash", None, 1), folder("Bin", None, 2), folder("x ", None, 3)];
        let rules = config::Folders { rename: [("Bin".into(), "Trash".into())].into(), ..config::Folders::default() };
        let plan = plan(&from, &[], &[], &rules, Way::Forward);
        assert_eq!(said(&plan), ["Trash -> Trash (new)", "Bin -> Trash (2) (new)", "x  -> x  (new)"]);
    }

    #[test]
    fn a_folder_that_was_renamed_is_renamed_and_not_sent_again() {
        let from = [folder("INBOX", None, 1), folder("B", None, 7)];
        let to = [folder("INBOX", None, 1), folder("A", None, 70)];
        let of = plan(&from, &to, &[known(1, "INBOX", 1), known(2, "A", 7)], &config::Folders::default(), Way::Forward);
        assert_eq!(said(&of), ["INBOX -> INBOX", "B -> B (was A)"]);
        assert!(of.gone.is_empty());
        let from = [folder("INBOX", None, 1), folder("B", None, 8)];
        let of = plan(&from, &to, &[known(1, "INBOX", 1), known(2, "A", 7)], &config::Folders::default(), Way::Forward);
        assert_eq!((said(&of)[1].as_str(), of.gone.len()), ("B -> B (new)", 1));
    }
}
