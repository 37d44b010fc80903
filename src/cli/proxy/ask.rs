//! The client's end of the control socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::services::proxy::control::wire::{Answer, Changed, Request};

/// How long an answer may take that waits for nothing.
pub const SOON: Duration = Duration::from_secs(5);

/// Octets of an answer: that of every session of a large proxy.
const LONGEST: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub struct Socket {
    /// Control socket of the proxy that serves (`control` of its configuration)
    #[arg(long, value_name = "PATH", default_value = "/run/cutover-proxy/control.sock", global = true)]
    socket: PathBuf,
}

impl Socket {
    pub fn path(&self) -> &std::path::Path {
        &self.socket
    }

    /// Asks the proxy, and waits a little longer than `wait` for its answer.
    pub fn ask<T: DeserializeOwned>(&self, request: &Request, wait: Duration) -> Result<T, Vec<String>> {
        let failed = |e: std::io::Error| {
            let why = match e.kind() {
                std::io::ErrorKind::NotFound => "does the proxy run? it is not there".to_owned(),
                std::io::ErrorKind::PermissionDenied => "only root and the proxy's group may open it".to_owned(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                _ => e.to_string(),
            };
            vec![format!("{}: {why}", self.socket.display())]
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(wait + Duration::from_secs(60))).map_err(failed)?;
        let mut line = serde_json::to_vec(request).map_err(|e| vec![e.to_string()])?;
        line.push(b'\n');
        stream.write_all(&line).map_err(failed)?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut answer).map_err(failed)?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Done(done)) => Ok(done),
            Ok(Answer::Error(text)) => Err(vec![text]),
            Err(_) => Err(vec![format!("{}: no answer that this release understands", self.socket.display())]),
        }
    }
}

/// A wait as a request tells it.
pub fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Says what became of sessions that were to close; an error while any is left, so that nobody goes on too early.
pub fn closed(changed: &Changed) -> Result<(), Vec<String>> {
    match changed.remaining {
        0 => Ok(()),
        n => Err(vec![format!("{n} of {} sessions are still there; ask again with a longer --wait", changed.told)]),
    }
}
