//! Sieve scripts in files: one file, or a folder as Dovecot, Cyrus or an export has it.
//!
//! | in the folder | what it is |
//! |---|---|
//! | `.dovecot.sieve`, a link into `sieve/` | Dovecot: which script works; scripts are `sieve/*.sieve` |
//! | `.dovecot.sieve`, a file | Dovecot: the script that works |
//! | `*.script`, and `defaultbc`, a link to `NAME.bc` | Cyrus: which script works |
//! | `*.sieve`, `*.siv` | others: one script works, several do not say which |

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Body, Left, Listing, Seen, Thing};
use crate::protocol::sieve::LARGEST;
use crate::services::cms::config::{End, Item};
use crate::services::cms::mailbox::{Access, Class, Fault};

#[derive(Debug)]
pub struct SieveFiles {
    path: PathBuf,
}

/// Name of a script that Dovecot has without one.
const MAIN: &str = "main";

fn failed(path: &Path, e: &std::io::Error) -> Fault {
    Fault::new(Class::Local, format!("{}: {e}", path.display()))
}

fn stem(path: &Path) -> String {
    path.file_stem().and_then(|n| n.to_str()).unwrap_or(MAIN).to_owned()
}

impl SieveFiles {
    pub fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        Ok(Self { path: end.path_of(&access.user).map_err(|e| Fault::new(Class::Local, e))? })
    }

    /// What is not there holds none; what cannot be read is a fault.
    pub fn list(&mut self) -> Result<Listing, Fault> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut active = None;
        match std::fs::metadata(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
            Err(e) => return Err(failed(&self.path, &e)),
            Ok(meta) if meta.is_file() => {
                files.insert(stem(&self.path), self.path.clone());
                active = Some(stem(&self.path));
            }
            Ok(_) => {
                scripts(&self.path, &mut files)?;
                let inner = self.path.join("sieve");
                if inner.is_dir() {
                    scripts(&inner, &mut files)?;
                }
                for (link, ending) in [(".dovecot.sieve", "sieve"), ("defaultbc", "bc")] {
                    let link = self.path.join(link);
                    match std::fs::read_link(&link) {
                        Ok(to) if to.extension().is_some_and(|e| e == ending) => active = Some(stem(&to)),
                        Err(e) if e.kind() == ErrorKind::InvalidInput => {
                            files.insert(MAIN.into(), link);
                            active = Some(MAIN.into());
                        }
                        _ => {}
                    }
                }
            }
        }
        if files.len() == 1 && active.is_none() && !self.path.join("sieve").is_dir() {
            active = files.keys().next().cloned();
        }
        let mut listing = Listing::default();
        for (name, path) in files {
            let size = std::fs::metadata(&path).map_err(|e| failed(&path, &e))?.len();
            if size > LARGEST as u64 {
                let what = format!("{}: a script of more than 1 MiB", path.display());
                listing.left.push(Left::new(Item::Rules, name, what));
                continue;
            }
            let octets = std::fs::read(&path).map_err(|e| failed(&path, &e))?;
            match String::from_utf8(octets) {
                Ok(text) => {
                    let body = Body::Script { text, active: active.as_ref() == Some(&name) };
                    listing.things.push(Seen::whole(Thing::new(Item::Rules, name, body)));
                }
                Err(_) => {
                    let what = format!("{}: the script is not UTF-8", path.display());
                    listing.left.push(Left::new(Item::Rules, name, what));
                }
            }
        }
        Ok(listing)
    }
}

fn scripts(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Fault> {
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !hidden && ["sieve", "siv", "script"].contains(&ending) && path.is_file() {
            files.insert(stem(&path), path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &Path) -> Vec<(String, bool)> {
        let listing = SieveFiles { path: path.to_owned() }.list().expect("listing");
        let active = |s: &Seen| matches!(&s.thing.as_ref().expect("thing").body, Body::Script { active: true, .. });
        listing.things.iter().map(|s| (s.id.clone(), active(s))).collect()
    }

    #[test]
    fn each_layout_says_which_script_works() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str| {
            std::fs::create_dir_all(at(name).parent().expect("parent")).expect("folder");
            std::fs::write(at(name), "keep;").expect("file");
        };
        let is = |name: &str, active| (name.to_owned(), active);
        assert!(list(&at("nobody")).is_empty());
        for name in [
            "d/sieve/a.sieve",
            "d/sieve/b.sieve",
            "f/.dovecot.sieve",
            "c/x.script",
            "c/y.script",
            "one.sieve",
            "e/o.siv",
        ] {
            write(name);
        }
        std::os::unix::fs::symlink("sieve/b.sieve", at("d/.dovecot.sieve")).expect("link");
        std::os::unix::fs::symlink("y.bc", at("c/defaultbc")).expect("link");
        assert_eq!(list(&at("d")), [is("a", false), is("b", true)]);
        assert_eq!(list(&at("f")), [is("main", true)]);
        assert_eq!(list(&at("c")), [is("x", false), is("y", true)]);
        assert_eq!(list(&at("one.sieve")), [is("one", true)]);
        assert_eq!(list(&at("e")), [is("o", true)]);
        std::fs::remove_file(at("d/.dovecot.sieve")).expect("switched off");
        assert_eq!(list(&at("d")), [is("a", false), is("b", false)]);
    }
}
