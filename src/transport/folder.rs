//! The folder of one SSH session: configuration, pinned keys, the master's socket. It goes with the session; what a killed program
//! left behind goes with the next one that starts.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

const PREFIX: &str = "cut-";
/// Longer than any login may take, jump hosts and retries included, so that no folder is taken from under one.
const ABANDONED: Duration = Duration::from_secs(30 * 60);

/// Where the folders lie. A socket's path may have 107 bytes, and ssh appends 17 while it makes it, so a deep TMPDIR will not do.
fn base() -> PathBuf {
    let base = std::env::temp_dir();
    if base.as_os_str().len() > 50 { PathBuf::from("/tmp") } else { base }
}

/// A new folder that only we can read.
pub(super) fn make() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(base())
}

/// The file of the key of one hop.
pub(super) fn key(dir: &Path, hop: usize) -> PathBuf {
    dir.join(format!("key{hop}"))
}

/// Removes the keys: ssh reads them while it logs in, and needs them no more.
pub(super) fn forget_keys(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("key") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the folders of sessions that a killed program left: ours by owner, mode and configuration, old, and without a master.
pub fn sweep() {
    // Our own process tells who we are without a call outside the standard library.
    let Ok(me) = std::fs::metadata("/proc/self") else { return };
    let Ok(entries) = std::fs::read_dir(base()) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        if abandoned(&path, me.uid()) {
            tracing::debug!(folder = %path.display(), "removing the folder of a session whose program was killed");
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn abandoned(path: &Path, me: u32) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return false };
    let ours = meta.is_dir() && meta.uid() == me && meta.permissions().mode() & 0o777 == 0o700;
    let old = meta.modified().ok().and_then(|t| t.elapsed().ok()).is_some_and(|age| age > ABANDONED);
    ours && old
        && std::fs::read_to_string(path.join("config")).is_ok_and(|c| c.contains("Host cutover-"))
        && UnixStream::connect(path.join("master")).is_err()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    use super::*;

    fn folder(config: &str, age: Duration) -> TempDir {
        let dir = make().expect("a folder");
        std::fs::write(dir.path().join("config"), config).expect("written");
        let then = SystemTime::now() - age;
        std::fs::File::open(dir.path()).and_then(|d| d.set_modified(then)).expect("time set");
        dir
    }

    #[test]
    fn only_what_is_ours_old_and_without_a_master_is_swept() {
        let me = std::fs::metadata("/proc/self").expect("proc").uid();
        let config = "Host cutover-mail-1\n";
        let old = ABANDONED + Duration::from_secs(60);
        assert!(abandoned(folder(config, old).path(), me));
        assert!(!abandoned(folder(config, Duration::ZERO).path(), me), "may be at its login");
        assert!(!abandoned(folder("Host other\n", old).path(), me), "somebody else's folder");
        assert!(!abandoned(folder(config, old).path(), me + 1), "somebody else's owner");
        let kept = folder(config, Duration::ZERO);
        let listener = UnixListener::bind(kept.path().join("master")).expect("socket");
        std::fs::File::open(kept.path()).and_then(|d| d.set_modified(SystemTime::now() - old)).expect("time set");
        assert!(!abandoned(kept.path(), me), "its master lives");
        drop(listener);
        assert!(abandoned(kept.path(), me));
    }

    #[test]
    fn keys_of_every_hop_are_forgotten() {
        let dir = make().expect("a folder");
        // The nearest hop's key may be a file of the user's, which is not in the folder.
        for hop in 1..3 {
            std::fs::write(key(dir.path(), hop), "secret").expect("written");
        }
        forget_keys(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), 0);
    }
}
