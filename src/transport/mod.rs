//! How a host is reached: over SSH or, for this machine, directly. Carries scripts; knows nothing of what they do.
//!
//! ```text
//! providers ──script, stdin──▶ Transport ──ssh (one kept session a host) or sh──▶ sh on the host
//!           ◀──lines, exit───
//! ```
//!
//! A script goes by standard input only, so nothing of it stands in a process list. It is read whole before the first line
//! of it runs: a connection that breaks while the script is on its way runs nothing.

pub mod boot;
mod folder;
pub mod local;
pub mod network;
pub mod quote;
pub mod refusal;
mod session;
pub mod ssh;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::attr::SecretRef;
use crate::model::host::{HostAccess, HostError};

pub use network::{Network, Settings};

/// Which connection carries a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The host's kept session, opened when there is none.
    Kept,
    /// A new connection that shares nothing with the kept one: proves that the host can still be reached.
    Fresh,
}

/// Who reads a script on the far side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Far {
    /// A POSIX shell, which is told where the script ends.
    #[default]
    Shell,
    /// This command line, the same for all its scripts: it reads the body from standard input as it is and sees to it itself that what is cut
    /// off does not run. The login's own rights are all that it has.
    Program(String),
}

/// What is sent to a host.
pub struct Script {
    /// POSIX sh, or what the program takes; holds secrets, so it is wiped on drop.
    pub body: Zeroizing<String>,
    /// Bytes that the script reads from its standard input (an upload).
    pub payload: Option<Zeroizing<Vec<u8>>>,
    pub link: Link,
    /// After this the answer is no longer waited for; what the script did is then unknown.
    pub limit: Duration,
    pub far: Far,
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// `None`: ended by a signal, or the connection broke.
    pub code: Option<i32>,
    /// The end of standard error, at most 8 KiB.
    pub stderr: String,
}

/// Reaches hosts.
pub trait Transport: Send + Sync + 'static {
    /// Runs a script as the user that changes the host (root, after `become`). Each line of standard output is handed over
    /// without its newline, as it comes.
    fn exec(
        &self,
        host: &HostAccess,
        script: Script,
        on_line: impl FnMut(&str) + Send,
    ) -> impl Future<Output = Result<Exit, HostError>> + Send;
}

/// A value that is being read.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Zeroizing<Vec<u8>>, String>> + Send + 'a>>;

/// Reads the few secrets that a connection needs: private keys and passwords of sudo.
pub trait SecretReader: Send + Sync + 'static {
    /// The value. An error text names the reference, never a value.
    fn read<'a>(&'a self, secret: &'a SecretRef) -> Reading<'a>;

    /// Where the value already lies in a file that ssh can be pointed to (`file:` references).
    fn path(&self, secret: &SecretRef) -> Option<PathBuf>;
}

/// `file:` references relative to a folder, and nothing else; for tests and the lab.
pub struct FileSecrets {
    pub root: PathBuf,
}

impl SecretReader for FileSecrets {
    fn read<'a>(&'a self, secret: &'a SecretRef) -> Reading<'a> {
        Box::pin(async move {
            let path = self.path(secret).ok_or_else(|| format!("secret {secret} is not a file"))?;
            let read = tokio::fs::read(&path).await;
            read.map(Zeroizing::new).map_err(|e| format!("secret {secret}: {}: {e}", path.display()))
        })
    }

    fn path(&self, secret: &SecretRef) -> Option<PathBuf> {
        match secret.parts() {
            ("file", rest) => Some(self.root.join(rest)),
            _ => None,
        }
    }
}
