//! What a person would have to write after a preflight, written to files: nothing on either side is changed.
//!
//! | file | what it is | who reads it |
//! |---|---|---|
//! | `exclude.csv` | who has nobody on the new side | `exclude { csv .. }` of a cohort |
//! | `quota.csv` | users whose quota is too small, with what it would have to be | a list of `accounts` |
//! | `rename.toml` | folders whose names a server refuses, with the names that the move gives them | `folders.rename-file` |

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Examined, Finding, Problem, Repair};
use crate::services::cms::mailbox::FolderPath;

/// Room that is added to what a mailbox needs: mail keeps coming until the user has moved.
const SPARE: u64 = 10;

/// The path without control characters; a name that is made of them alone becomes `_`.
pub(super) fn plain(path: &FolderPath) -> Option<String> {
    let names = path.names().iter().map(|name| {
        let kept: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let kept = kept.split_whitespace().collect::<Vec<_>>().join(" ");
        if kept.is_empty() { "_".to_owned() } else { kept }
    });
    FolderPath::new(names).map(|path| path.key())
}

/// Writes what there is to write, and says in each finding where. Gives the files.
pub fn write<'e>(folder: &Path, all: impl Iterator<Item = &'e mut Examined>) -> std::io::Result<Vec<PathBuf>> {
    let (mut gone, mut full, mut named) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut all: Vec<&mut Examined> = all.collect();
    for one in &all {
        for finding in &one.findings {
            match (&finding.problem, one.wanted, finding.folder.as_ref().zip(finding.rename.as_ref())) {
                (Problem::Orphan, ..) => gone.push(one.user.clone()),
                (Problem::Quota, Some(wanted), _) => {
                    full.push((one.user.clone(), wanted.saturating_add(wanted / SPARE)));
                }
                (_, _, Some((from, to))) => drop(named.insert(from.clone(), to.clone())),
                _ => {}
            }
        }
    }
    std::fs::create_dir_all(folder)?;
    let gone: String = gone.iter().map(|user| format!("{}\n", cell(user))).collect();
    let full: String = full.iter().map(|(user, octets)| format!("{},{octets}\n", cell(user))).collect();
    let named: String = named.iter().map(|(from, to)| format!("{} = {}\n", quoted(from), quoted(to))).collect();
    let orphan = |f: &Finding| f.problem == Problem::Orphan;
    let quota = |f: &Finding| f.problem == Problem::Quota;
    let name = |f: &Finding| f.rename.is_some();
    type Is<'f> = &'f dyn Fn(&Finding) -> bool;
    let kinds: [(&str, String, &str, Is<'_>); 3] = [
        ("exclude.csv", gone, "address\n", &orphan),
        ("quota.csv", full, "address,quota\n", &quota),
        ("rename.toml", named, "", &name),
    ];
    let mut files = Vec::new();
    for (file, lines, head, is) in kinds {
        if lines.is_empty() {
            continue;
        }
        let path = folder.join(file);
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        aside.write_all(format!("{head}{lines}").as_bytes())?;
        aside.as_file().sync_all()?;
        aside.persist(&path).map_err(|e| e.error)?;
        let found = all.iter_mut().flat_map(|one| &mut one.findings).filter(|f| is(f));
        found.for_each(|f| f.repair = Repair::Written(path.clone()));
        files.push(path);
    }
    Ok(files)
}

/// A cell of CSV.
fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_by_toml_as_they_were() {
        let path = FolderPath::new(["a\u{7}b\u{7f}", "c \"d\\"]).expect("path");
        let made = plain(&path).expect("plain");
        assert_eq!(made, "a b/c \"d\\");
        let text = format!("{} = {}\n", quoted(&path.key()), quoted(&made));
        let read: BTreeMap<String, String> = toml::from_str(&text).expect("toml");
        assert_eq!(read.get(&path.key()), Some(&made));
        assert_eq!(plain(&FolderPath::new(["\u{1}"]).expect("path")).as_deref(), Some("_"));
    }
}
