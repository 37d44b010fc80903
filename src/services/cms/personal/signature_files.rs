//! Signatures as files in a folder of the user: `NAME.txt` and `NAME.html`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::signature::Signature;
use super::{Body, Left, Listing, Seen, Thing};
use crate::services::cms::config::{End, Item};
use crate::services::cms::mailbox::{Access, Class, Fault};

/// Octets of one file.
const LARGEST: u64 = 1 << 20;

#[derive(Debug)]
pub struct SignatureFiles {
    folder: PathBuf,
}

impl SignatureFiles {
    pub fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let folder = end.path_of(&access.user).map_err(|e| Fault::new(Class::Local, e))?;
        Ok(Self { folder })
    }

    fn failed(path: &Path, e: &std::io::Error) -> Fault {
        Fault::new(Class::Local, format!("{}: {e}", path.display()))
    }

    /// A folder that is not there holds none; one that cannot be read is a fault.
    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let mut found: BTreeMap<String, Signature> = BTreeMap::new();
        let mut left = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
            Err(e) => return Err(Self::failed(&self.folder, &e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| Self::failed(&self.folder, &e))?.path();
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
            let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if !["txt", "html", "htm"].contains(&ending.as_str()) || name.is_empty() || name.starts_with('.') {
                continue;
            }
            let size = path.metadata().map_err(|e| Self::failed(&path, &e))?.len();
            if size > LARGEST {
                left.push(Left::new(Item::Signature, name, format!("{}: larger than 1 MiB", path.display())));
                continue;
            }
            let octets = std::fs::read(&path).map_err(|e| Self::failed(&path, &e))?;
            let Ok(text) = String::from_utf8(octets) else {
                left.push(Left::new(Item::Signature, name, format!("{} is not UTF-8", path.display())));
                continue;
            };
            let signature = found.entry(name).or_default();
            *(if ending == "txt" { &mut signature.text } else { &mut signature.html }) = Some(text);
        }
        let thing = |(name, s): (String, Signature)| Thing::new(Item::Signature, name, Body::Signature(s.canonical()));
        let things = found.into_iter().map(|one| Seen::whole(thing(one))).collect();
        Ok(Listing { things, left })
    }

    fn file(&self, name: &str, ending: &str) -> Result<PathBuf, Fault> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Fault::new(Class::Malformed, format!("`{name}` cannot be the name of a file")));
        }
        Ok(self.folder.join(format!("{name}.{ending}")))
    }

    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        Ok(things.iter().map(|(thing, _)| self.put_one(thing)).collect())
    }

    fn put_one(&self, thing: &Thing) -> Result<String, Fault> {
        let Body::Signature(signature) = &thing.body else {
            return Err(Fault::new(Class::Unsupported, "signature files hold signatures only"));
        };
        std::fs::create_dir_all(&self.folder).map_err(|e| Self::failed(&self.folder, &e))?;
        for (ending, text) in [("txt", &signature.text), ("html", &signature.html)] {
            let path = self.file(&thing.id, ending)?;
            let failed = |e: std::io::Error| Self::failed(&path, &e);
            match text {
                Some(text) => {
                    let aside = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
                    std::fs::write(aside.path(), format!("{text}\n")).map_err(failed)?;
                    aside.as_file().sync_all().map_err(failed)?;
                    aside.persist(&path).map_err(|e| failed(e.error))?;
                }
                None => gone(&path)?,
            }
        }
        Ok(thing.digest().to_string())
    }

    pub async fn remove(&mut self, name: &str) -> Result<(), Fault> {
        ["txt", "html"].into_iter().try_for_each(|ending| gone(&self.file(name, ending)?))
    }
}

fn gone(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(SignatureFiles::failed(path, &e)),
        _ => Ok(()),
    }
}
