//! The state key: masks digests of secret content, so that neither a plan nor a host's answer can be used to guess a weak secret.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::attr::Digest;

/// The key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read the state key {path}: {why}")]
    Read { path: PathBuf, why: std::io::Error },
    #[error("cannot write a new state key {path}: {why}")]
    Write { path: PathBuf, why: std::io::Error },
    #[error("{from} is not a state key: 64 hexadecimal digits are needed (32 random bytes)")]
    Malformed { from: String },
    #[error("no random numbers from the system: {0}")]
    Random(String),
}

/// 32 random bytes as 64 hex digits.
#[derive(Clone)]
pub struct StateKey(Zeroizing<String>);

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(..)")
    }
}

impl StateKey {
    /// From `given` (the variable `CUTOVER_STATE_KEY`), else from `dir/key`, which is made with mode 0600 at first use.
    pub fn load(dir: &Path, given: Option<String>) -> Result<Self, KeyError> {
        match given {
            Some(key) => Self::parse(Zeroizing::new(key), "CUTOVER_STATE_KEY"),
            None => Self::from_file(&dir.join("key")),
        }
    }

    fn from_file(path: &Path) -> Result<Self, KeyError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(Zeroizing::new(text), &path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Self::make(path),
            Err(why) => Err(KeyError::Read { path: path.to_owned(), why }),
        }
    }

    fn make(path: &Path) -> Result<Self, KeyError> {
        let mut random = Zeroizing::new([0u8; 32]);
        getrandom::fill(random.as_mut_slice()).map_err(|e| KeyError::Random(e.to_string()))?;
        let key = Zeroizing::new(random.iter().map(|b| format!("{b:02x}")).collect::<String>());
        let fail = |why| KeyError::Write { path: path.to_owned(), why };
        // Written aside and linked into place, so that two first uses at once end with one key and a killed one with none.
        let dir = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(fail)?;
        let aside = dir.join(format!("key.{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(fail)?;
        file.write_all(key.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .map_err(fail)?;
        let linked = std::fs::hard_link(&aside, path);
        std::fs::remove_file(&aside).map_err(fail)?;
        match linked {
            Ok(()) => Ok(Self(key)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(why) => Err(fail(why)),
        }
    }

    fn parse(text: Zeroizing<String>, from: &str) -> Result<Self, KeyError> {
        let key = text.trim();
        if key.len() == 64 && key.chars().all(|c| c.is_ascii_hexdigit()) {
            Ok(Self(Zeroizing::new(key.to_ascii_lowercase())))
        } else {
            Err(KeyError::Malformed { from: from.to_owned() })
        }
    }

    /// The 64 digits. They may travel to a host over stdin only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Names the key without giving it away: the first 12 digits of its hash.
    pub fn id(&self) -> String {
        Digest::of(format!("cutover state key {}", self.expose()).as_bytes()).short().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn made_once_with_mode_0600() {
        let dir = tempfile::tempdir().expect("dir");
        let first = StateKey::load(dir.path(), None).expect("made");
        let again = StateKey::load(dir.path(), None).expect("read");
        assert_eq!(first.expose(), again.expose());
        let mode = std::fs::metadata(dir.path().join("key")).expect("key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 1);
        assert_ne!(first.id(), StateKey::load(dir.path(), Some("ab".repeat(32))).expect("given").id());
    }

    #[test]
    fn a_damaged_key_is_refused_not_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("key"), "abc").expect("write");
        assert!(matches!(StateKey::load(dir.path(), None), Err(KeyError::Malformed { .. })));
        assert!(!format!("{:?}", StateKey::load(dir.path(), Some("cd".repeat(32)))).contains("cdcd"));
    }
}
