//! Writing: the mailbox itself, its folders, subscriptions.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::files::local;
use super::layout::Shape;
use super::lock::{Lock, own, sync_directory, write_whole};
use super::{Maildir, blocking, subscriptions};
use crate::services::cms::config::Profile;
use crate::services::cms::mailbox::{Class, Fault, Folder, FolderPath, SpecialUse};

impl Maildir {
    /// Makes the mailbox, owned like the nearest directory above that is there.
    pub(super) fn make_root(&mut self) -> Result<(), Fault> {
        let above = self.root.ancestors().skip(1).find(|p| p.is_dir());
        let Some(above) = above.filter(|p| p.parent().is_some()) else {
            let what = format!("{}: nothing above it is there; check target.path", self.root.display());
            return Err(Fault::new(Class::Login, what));
        };
        if !self.root.is_dir() {
            let found = fs::metadata(above).map_err(|e| local(above, &e))?;
            self.owner = (found.uid(), found.gid());
            let missing = self.root.strip_prefix(above).unwrap_or(&self.root).components();
            let mut path = above.to_path_buf();
            for part in missing {
                path.push(part);
                self.make_directory(&path)?;
            }
        }
        self.make_parts(&self.root)
    }

    pub(super) fn make_directory(&self, path: &Path) -> Result<(), Fault> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => own(path, self.owner),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(local(path, &e)),
        }
    }

    fn make_parts(&self, directory: &Path) -> Result<(), Fault> {
        ["cur", "new", "tmp"].iter().try_for_each(|part| self.make_directory(&directory.join(part)))
    }

    /// As for a [`crate::services::cms::target::Target`]. Special use is the server's configuration and is not written.
    pub async fn create(&mut self, path: &FolderPath, _special: Option<SpecialUse>) -> Result<Folder, Fault> {
        blocking(|| {
            let relative = self.layout.directory(path)?;
            let mut directory = self.root.clone();
            for part in relative.components() {
                directory.push(part);
                self.make_directory(&directory)?;
            }
            self.make_parts(&directory)?;
            if self.layout.shape == Shape::Plus && !path.is_inbox() {
                write_whole(&directory.join("maildirfolder"), b"", self.owner)?;
            }
            sync_directory(directory.parent().unwrap_or(&self.root))?;
            self.folder(path.clone(), &relative)
        })
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        blocking(|| {
            if folder.path.is_inbox() {
                return Err(Fault::new(Class::Unsupported, "the inbox cannot be renamed"));
            }
            let from = self.directory(folder)?;
            let relative = self.layout.directory(to)?;
            let target = self.root.join(&relative);
            if target.exists() {
                return Err(Fault::new(Class::Malformed, format!("{to} is there already")));
            }
            let mut moves = vec![(from.clone(), target.clone())];
            if self.layout.shape == Shape::Plus {
                let below = [&folder.raw[..], b"."].concat();
                for directory in self.layout.directories(&self.root)? {
                    if let Some(rest) = directory.as_os_str().as_bytes().strip_prefix(&below[..]) {
                        let mut name = target.clone().into_os_string();
                        name.push(".");
                        name.push(std::ffi::OsStr::from_bytes(rest));
                        moves.push((self.root.join(&directory), PathBuf::from(name)));
                    }
                }
            } else if let Some(parent) = relative.parent() {
                let mut directory = self.root.clone();
                for part in parent.components() {
                    directory.push(part);
                    self.make_directory(&directory)?;
                }
            }
            moves.iter().try_for_each(|(a, b)| fs::rename(a, b).map_err(|e| local(a, &e)))?;
            sync_directory(&self.root)?;
            self.opened = None;
            self.folder(to.clone(), &relative)
        })
    }

    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        blocking(|| {
            if folder.path.is_inbox() {
                return Err(Fault::new(Class::Unsupported, "the inbox cannot be deleted"));
            }
            let directory = self.directory(folder)?;
            self.opened = None;
            if self.layout.shape == Shape::Plus {
                return fs::remove_dir_all(&directory).map_err(|e| local(&directory, &e));
            }
            // Folders below stay.
            for entry in fs::read_dir(&directory).map_err(|e| local(&directory, &e))?.flatten() {
                let path = entry.path();
                let done = match entry.file_type() {
                    Ok(t) if t.is_dir() && super::layout::is_part(entry.file_name().as_bytes()) => {
                        fs::remove_dir_all(&path)
                    }
                    Ok(t) if t.is_file() => fs::remove_file(&path),
                    _ => Ok(()),
                };
                done.map_err(|e| local(&path, &e))?;
            }
            let _ = fs::remove_dir(&directory);
            Ok(())
        })
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        blocking(|| {
            let mut paths: BTreeSet<FolderPath> = subscriptions::read(&self.root, &self.layout)?;
            let changed = if on { paths.insert(folder.path.clone()) } else { paths.remove(&folder.path) };
            if !changed {
                return Ok(());
            }
            if self.profile == Profile::Courier {
                let octets = subscriptions::written_for_courier(&paths, &self.layout)?;
                return write_whole(&self.root.join(subscriptions::COURIER), &octets, self.owner);
            }
            let octets = subscriptions::written(&paths, &self.layout)?;
            Lock::take(self.root.join(subscriptions::DOVECOT), self.owner, false)?.replace(&octets)
        })
    }
}
