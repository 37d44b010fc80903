//! The folder `.cutover/<organization>/<environment>/`: one state file and one lock each. Not in git.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where the state of one organisation and environment lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// `root` is the folder of the topology; nothing is made yet.
    pub fn new(root: &Path, organization: &str, environment: Option<&str>) -> Self {
        Self::below(&root.join(".cutover"), organization, environment)
    }

    /// Below another state folder than `.cutover` beside the topology.
    pub fn below(base: &Path, organization: &str, environment: Option<&str>) -> Self {
        Self { path: base.join(safe(organization)).join(environment.map_or("default".into(), safe)) }
    }

    /// Makes the folder with mode 0700, and a `.gitignore` beside it so that state never gets into git.
    pub fn create(&self) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let ignore = self.path.parent().and_then(Path::parent).map(|p| p.join(".gitignore"));
        match ignore {
            Some(file) if !file.exists() => std::fs::write(file, "*\n"),
            _ => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn state(&self) -> PathBuf {
        self.path.join("state.db")
    }

    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The first free name `state.db.damaged-<n>`.
    pub(super) fn damaged(&self) -> PathBuf {
        let name = |n: u32| self.path.join(format!("state.db.damaged-{n}"));
        (1..).map(name).find(|p| !p.exists()).unwrap_or_else(|| name(0))
    }
}

/// A file name from any name: other characters than letters, digits, `.`, `_` and `-` as `%XX`, and never `.` or `..`.
fn safe(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || (b == b'.' && i > 0) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    if out.is_empty() { "%".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        let dir = StateDir::new(Path::new("/r"), "../x y", Some(".."));
        assert_eq!(dir.path(), Path::new("/r/.cutover/%2E.%2Fx%20y/%2E."));
        assert_eq!(
            StateDir::new(Path::new("/r"), "acme.example", None).state(),
            Path::new("/r/.cutover/acme.example/default/state.db")
        );
    }
}
