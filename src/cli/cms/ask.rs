//! The client's end of the control socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::services::cms::service::wire::{Answer, Request};

/// Asks the service that runs; `None` when none does. Waits as long as a pass needs.
pub fn ask(socket: &Path, request: &Request) -> Result<Option<Answer>, Vec<String>> {
    let failed = |e: &dyn std::fmt::Display| vec![format!("{}: {e}", socket.display())];
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(failed(&"only root and the service's group may open it"));
        }
        Err(e) => return Err(failed(&e)),
    };
    let mut line = serde_json::to_vec(request).map_err(|e| failed(&e))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(|e| failed(&e))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(|e| failed(&e))?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Error(text)) => Err(vec![text]),
        Ok(answer) => Ok(Some(answer)),
        Err(_) => Err(failed(&"no answer that this release understands; was the service stopped?")),
    }
}
