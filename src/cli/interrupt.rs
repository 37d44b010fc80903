//! Ctrl-C: the first lets running steps end and starts no new one, the second stops at once. The end of a change's window does what the
//! first one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::failure::Failure;
use super::output::Output;
use crate::execution::Wanted;

/// When the window of a change closes, and whether that is why a run stopped.
#[derive(Debug, Clone)]
pub struct Closing {
    at: Timestamp,
    came: Arc<AtomicBool>,
}

impl Closing {
    pub fn at(at: Timestamp) -> Self {
        Self { at, came: Arc::default() }
    }

    pub fn has_come(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// The clock on the wall is looked at again and again: it may be set, and the machine may sleep.
    async fn comes(&self) {
        loop {
            let left = self.at.duration_since(Timestamp::now());
            let Some(left) = Duration::try_from(left).ok().filter(|l| !l.is_zero()) else { return };
            tokio::time::sleep(left.min(Duration::from_secs(10))).await;
        }
    }
}

/// What makes a run end before its time.
enum End {
    Signal,
    Closed,
}

/// Listens for SIGINT and SIGTERM, and for the end of the window if there is one, until the process ends. Call inside a runtime.
pub fn listen(out: &Arc<Output>, closing: Option<Closing>) -> Result<watch::Receiver<Wanted>, Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("signals cannot be heard: {e}"));
    let (tell, wanted) = watch::channel(Wanted::Run);
    let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut term = signal(SignalKind::terminate()).map_err(fail)?;
    // A closed terminal stops nothing half-way: the apply drains as on Ctrl-C.
    let mut hup = signal(SignalKind::hangup()).map_err(fail)?;
    let out = Arc::clone(out);
    tokio::spawn(async move {
        for next in [Wanted::Drain, Wanted::Stop] {
            let closes = async {
                match closing.as_ref().filter(|_| next == Wanted::Drain) {
                    Some(closing) => closing.comes().await,
                    None => std::future::pending().await,
                }
            };
            let end = tokio::select! {
                _ = int.recv() => End::Signal, _ = term.recv() => End::Signal, _ = hup.recv() => End::Signal,
                () = closes => End::Closed,
            };
            out.note(match (next, end) {
                (Wanted::Drain, End::Closed) => {
                    "the window closes: running steps end, no new one starts (Ctrl-C: stop at once)"
                }
                (Wanted::Drain, End::Signal) => {
                    "stopping: running steps end, no new one starts (once more: stop at once)"
                }
                _ => "stopping at once; `cutover resume` asks the hosts what became of the steps on their way",
            });
            if let Some(closing) = closing.as_ref().filter(|c| next == Wanted::Drain && Timestamp::now() >= c.at) {
                closing.came.store(true, Ordering::Relaxed);
            }
            if tell.send(next).is_err() {
                return;
            }
        }
    });
    Ok(wanted)
}

/// What is wanted by others too: whoever has the sender may ask for an end as well.
pub fn merged(mut heard: watch::Receiver<Wanted>) -> (watch::Sender<Wanted>, watch::Receiver<Wanted>) {
    let (tell, wanted) = watch::channel(*heard.borrow());
    let forward = tell.clone();
    tokio::spawn(async move {
        while heard.changed().await.is_ok() {
            let now = *heard.borrow_and_update();
            forward.send_if_modified(|w| {
                let more = now > *w;
                *w = now.max(*w);
                more
            });
        }
    });
    (tell, wanted)
}
