//! Dovecot's lock of a list: a file `NAME.lock` that is made anew, holds what shall stand in NAME, and is renamed to it. Who finds one that is older
//! than two minutes may remove it (Dovecot's `uidlist` and `keywords` locks do the same).

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::files::local;
use crate::services::cms::mailbox::{Class, Fault};

/// After which Dovecot takes it for forgotten.
const STALE: Duration = Duration::from_secs(120);
/// How long one waits for a server that is at work.
const WAIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    lock: PathBuf,
    file: fs::File,
    done: bool,
}

impl Lock {
    /// `owner` owns the file. `left` says that whoever made an old lock is gone, so that it is not waited for.
    pub(super) fn take(path: PathBuf, owner: (u32, u32), left: bool) -> Result<Self, Fault> {
        let mut name = path.clone().into_os_string();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let until = Instant::now() + WAIT;
        if left {
            let _ = fs::remove_file(&lock);
        }
        loop {
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock) {
                Ok(file) => {
                    own(&lock, owner)?;
                    return Ok(Self { path, lock, file, done: false });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let age = fs::metadata(&lock)
                        .and_then(|m| m.modified())
                        .ok()
                        .and_then(|at| SystemTime::now().duration_since(at).ok());
                    if age.is_some_and(|age| age > STALE) {
                        let _ = fs::remove_file(&lock);
                    } else if Instant::now() > until {
                        return Err(Fault::new(Class::Busy, format!("{}: a server holds this lock", lock.display())));
                    } else {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                Err(e) => return Err(local(&lock, &e)),
            }
        }
    }

    /// Puts new octets in the place of the old, synced. The new file is younger by at least a second, because Dovecot reads keywords again only
    /// when the second has changed.
    pub(super) fn replace(mut self, octets: &[u8]) -> Result<(), Fault> {
        let former = fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        let next = former.map(|at| at + Duration::from_secs(1)).filter(|next| *next > SystemTime::now());
        let age = |file: &fs::File| next.map_or(Ok(()), |at| file.set_times(fs::FileTimes::new().set_modified(at)));
        let written = self.file.write_all(octets).and_then(|()| age(&self.file)).and_then(|()| self.file.sync_all());
        written.and_then(|()| fs::rename(&self.lock, &self.path)).map_err(|e| local(&self.path, &e))?;
        self.done = true;
        sync_directory(self.path.parent().unwrap_or(&self.path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// Gives a file to the mailbox's owner, where we may.
pub(super) fn own(path: &Path, owner: (u32, u32)) -> Result<(), Fault> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1)).map_err(|e| local(path, &e))?;
    }
    Ok(())
}

/// Makes renames in a directory last.
pub(super) fn sync_directory(path: &Path) -> Result<(), Fault> {
    fs::File::open(path).and_then(|d| d.sync_all()).map_err(|e| local(path, &e))
}

/// Puts a small file in the place of another, synced.
pub(super) fn write_whole(path: &Path, octets: &[u8], owner: (u32, u32)) -> Result<(), Fault> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(name);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(octets)?;
        file.sync_all()
    };
    write().map_err(|e| local(&aside, &e))?;
    own(&aside, owner)?;
    fs::rename(&aside, path).map_err(|e| local(path, &e))?;
    sync_directory(path.parent().unwrap_or(path))
}
