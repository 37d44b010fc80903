//! The local lock: one apply at a time in one state folder. Leases on the hosts guard against other machines.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::StateDir;

/// Who holds a lock or a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub user: String,
    pub machine: String,
    pub pid: u32,
    /// Kernel boot id: the same pid after a reboot is another process.
    pub boot: String,
    /// Unix milliseconds.
    pub since: i64,
    pub apply: String,
}

impl Holder {
    /// This process, at `now` (Unix milliseconds).
    pub fn this_process(apply: &str, now: i64) -> Self {
        let read =
            |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).ok().filter(|t| !t.is_empty());
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            user: variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into()),
            machine: read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".into()),
            pid: std::process::id(),
            boot: read("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| "unknown".into()),
            since: now,
            apply: apply.to_owned(),
        }
    }

    /// As hosts keep it in their lease: `user@machine pid N boot ID`.
    pub fn name(&self) -> String {
        format!("{}@{} pid {} boot {}", self.user, self.machine, self.pid, self.boot)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `None`: the holder has not said who it is (it is just starting, or the file cannot be read).
    #[error("another apply is running: {}", held_by(.holder.as_deref()))]
    Held { holder: Option<Box<Holder>> },
    #[error("the lock {path} cannot be used: {why}")]
    Io { path: PathBuf, why: std::io::Error },
}

fn held_by(holder: Option<&Holder>) -> String {
    match holder {
        Some(h) => {
            let since = jiff::Timestamp::from_millisecond(h.since).map_or_else(|_| "?".into(), |t| format!("{t:.0}"));
            format!("{}@{} (pid {}) holds the lock since {since} for apply {}", h.user, h.machine, h.pid, h.apply)
        }
        None => "it holds the lock and has not written down who it is".into(),
    }
}

/// Held until dropped; the kernel lets it go when the process dies, however it dies.
#[derive(Debug)]
pub struct LocalLock {
    file: File,
    former: Option<Holder>,
    /// What the one before us left behind is taken over.
    settled: AtomicBool,
}

impl LocalLock {
    /// Takes the lock at once or says who has it.
    pub fn acquire(dir: &StateDir, holder: &Holder) -> Result<Self, LockError> {
        let fail = |why| LockError::Io { path: dir.lock(), why };
        dir.create().map_err(fail)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.lock())
            .map_err(fail)?;
        let mut text = String::new();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
                return Err(LockError::Held { holder });
            }
            Err(TryLockError::Error(why)) => return Err(fail(why)),
        }
        // Text that is left belongs to a holder that died: a living one wipes it when it lets go.
        file.read_to_string(&mut text).map_err(fail)?;
        let former = serde_json::from_str(&text).ok();
        let mut lock = Self { file, former, settled: AtomicBool::new(false) };
        lock.write(&serde_json::to_string(holder).unwrap_or_default()).map_err(fail)?;
        Ok(lock)
    }

    /// The holder before us on this machine, when it died with the lock: its leases can be taken over at once.
    pub fn dead_holder(&self) -> Option<&Holder> {
        self.former.as_ref()
    }

    /// The leases of a dead holder are ours now. Without this its name stays behind for whoever comes after us: who only looked has
    /// taken nothing over.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let dead = self.former.as_ref().filter(|_| !self.settled.load(Ordering::Relaxed));
        let text = dead.and_then(|d| serde_json::to_string(d).ok()).unwrap_or_default();
        let _ = self.write(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_learns_who_holds_it_and_since_when() {
        let root = tempfile::tempdir().expect("dir");
        let dir = StateDir::new(root.path(), "acme", None);
        let me = Holder::this_process("20261122-000000-aaaa", 1_795_000_000_000);
        let first = LocalLock::acquire(&dir, &me).expect("first");
        let text = LocalLock::acquire(&dir, &me).expect_err("held").to_string();
        assert!(text.contains(&format!("pid {}", me.pid)) && text.contains("20261122-000000-aaaa"), "{text}");
        assert!(text.contains("2026-11-"), "{text}");
        drop(first);
        let again = LocalLock::acquire(&dir, &me).expect("free again");
        assert_eq!(again.dead_holder(), None, "it was let go in order");
    }

    #[test]
    fn a_holder_that_died_is_known() {
        let root = tempfile::tempdir().expect("dir");
        let dir = StateDir::new(root.path(), "acme", None);
        let dead = Holder { pid: 1, ..Holder::this_process("a", 5) };
        dir.create().expect("folder");
        std::fs::write(dir.lock(), serde_json::to_string(&dead).expect("json")).expect("write");
        let lock = LocalLock::acquire(&dir, &Holder::this_process("b", 6)).expect("free");
        assert_eq!(lock.dead_holder(), Some(&dead));
        drop(lock);
        let lock = LocalLock::acquire(&dir, &Holder::this_process("c", 7)).expect("free");
        assert_eq!(lock.dead_holder(), Some(&dead), "the one before only looked");
        lock.settle();
        drop(lock);
        let lock = LocalLock::acquire(&dir, &Holder::this_process("d", 8)).expect("free");
        assert_eq!(lock.dead_holder(), None, "its leases are taken over");
    }

    #[test]
    fn a_torn_holder_is_no_obstacle() {
        let root = tempfile::tempdir().expect("dir");
        let dir = StateDir::new(root.path(), "acme", None);
        dir.create().expect("folder");
        std::fs::write(dir.lock(), "{\"user\":\"ro").expect("write");
        assert_eq!(LocalLock::acquire(&dir, &Holder::this_process("b", 6)).expect("free").dead_holder(), None);
    }
}
