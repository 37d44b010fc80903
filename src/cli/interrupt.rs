//! Ctrl-C: the first lets running steps end and starts no new one, the second stops at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::failure::Failure;
use super::output::Output;
use crate::execution::Wanted;

/// Listens for SIGINT and SIGTERM until the process ends. Call inside a runtime.
pub fn listen(out: &Arc<Output>) -> Result<watch::Receiver<Wanted>, Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("signals cannot be heard: {e}"));
    let (tell, wanted) = watch::channel(Wanted::Run);
    let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut term = signal(SignalKind::terminate()).map_err(fail)?;
    // A closed terminal stops nothing half-way: the apply drains as on Ctrl-C.
    let mut hup = signal(SignalKind::hangup()).map_err(fail)?;
    let out = Arc::clone(out);
    tokio::spawn(async move {
        for next in [Wanted::Drain, Wanted::Stop] {
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
            out.note(match next {
                Wanted::Drain => "stopping: running steps end, no new one starts (once more: stop at once)",
                _ => "stopping at once; `cutover resume` asks the hosts what became of the steps on their way",
            });
            if tell.send(next).is_err() {
                return;
            }
        }
    });
    Ok(wanted)
}
