//! Locks for reading: fcntl and flock, as mail programs take them both ways, and a `.lock` of somebody else is waited for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock, flock};

use crate::services::cms::mailbox::{Class, Fault};

const WAIT: Duration = Duration::from_secs(20);
/// A `.lock` that is older was forgotten (mail programs agree on minutes; DMail and procmail take 17).
const STALE: Duration = Duration::from_secs(1200);

#[derive(Debug)]
pub(super) struct Shared<'a>(&'a File);

impl<'a> Shared<'a> {
    pub(super) fn take(file: &'a File, path: &Path) -> Result<Self, Fault> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let dot = PathBuf::from(name);
        let until = Instant::now() + WAIT;
        loop {
            let held = std::fs::metadata(&dot).and_then(|m| m.modified());
            let is_held = held.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < STALE));
            if !is_held
                && fcntl_lock(file, FlockOperation::NonBlockingLockShared).is_ok()
                && flock(file, FlockOperation::NonBlockingLockShared).is_ok()
            {
                return Ok(Self(file));
            }
            let _ = fcntl_lock(file, FlockOperation::Unlock);
            if Instant::now() > until {
                return Err(Fault::new(Class::Busy, format!("{}: somebody else holds its lock", path.display())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
        let _ = fcntl_lock(self.0, FlockOperation::Unlock);
    }
}
