//! Ctrl-C: the first lets running steps end and starts no new one, the second stops at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::output::Output;

/// How much is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    Run,
    /// Running steps end, no new one starts.
    Drain,
    /// Everything stops; steps on their way become unknown, and `resume` asks their hosts.
    Stop,
}

/// Listens for SIGINT and SIGTERM until the process ends. Call inside a runtime.
pub fn listen(out: &Arc<Output>) -> std::io::Result<watch::Receiver<Wanted>> {
    let (tell, wanted) = watch::channel(Wanted::Run);
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let out = Arc::clone(out);
    tokio::spawn(async move {
        for next in [Wanted::Drain, Wanted::Stop] {
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            out.note(match next {
                Wanted::Drain => "stopping: running steps end, no new one starts (once more: stop at once)",
                _ => "stopped at once; `cutover resume` asks the hosts what became of the steps on their way",
            });
            if tell.send(next).is_err() {
                return;
            }
        }
    });
    Ok(wanted)
}
