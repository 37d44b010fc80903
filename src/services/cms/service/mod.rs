//! The service: workers that take passes from the queue, the proxy's jobs, the control socket, metrics.

mod control;
mod jobs;
mod metrics;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::audit::Event;
use super::config;
use super::ledger::{Passed, Phase};
use super::mailbox::{Class, Fault};
use super::mover::{Mover, Pass};
use super::queue::{Embedded, Queue, Task, Urgency};
use wire::PassDone;

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(300);

/// How long a pass that runs may go on after the service was told to end.
const GRACE: Duration = Duration::from_secs(20);

/// How often a mailbox that may not begin now is looked at again.
const LATER: Duration = Duration::from_secs(60);

/// Who waits for one pass of one user.
type Askers = Vec<oneshot::Sender<PassDone>>;

pub struct Service<Q: Queue = Embedded> {
    mover: Arc<Mover>,
    queue: Q,
    /// Who waits for a pass of a user.
    asked: Mutex<HashMap<(String, Pass), Askers>>,
    /// Tries in a row that failed.
    failures: Mutex<HashMap<String, u32>>,
    began: Instant,
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|e| e.into_inner())
}

/// How long a fault is waited out: what the server says, or twice as long each time, by class.
pub fn backoff(fault: &Fault, failures: u32) -> Duration {
    let first = match fault.class {
        Class::Busy => Duration::from_secs(10),
        Class::Local => Duration::from_secs(30),
        _ => Duration::from_secs(2),
    };
    fault.after.unwrap_or_else(|| first.saturating_mul(1 << failures.min(16)).min(LONGEST))
}

/// Whether a bulk pass may begin at this minute of the day.
pub fn open(hours: &[String], minute: u16) -> bool {
    let within =
        |(from, to): (u16, u16)| if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to };
    hours.is_empty() || hours.iter().filter_map(|h| config::hours(h)).any(within)
}

impl<Q: Queue> Service<Q> {
    /// Serves until `stop`; then passes that run may end.
    pub async fn run(mover: Arc<Mover>, queue: Q, stop: impl Future<Output = ()>) -> Result<(), Fault> {
        let service =
            Arc::new(Self { mover, queue, asked: Mutex::default(), failures: Mutex::default(), began: Instant::now() });
        let users: Vec<String> = service.mover.people.users().map(str::to_owned).collect();
        service.mover.ledger.add(users.clone()).await?;
        let known: HashMap<String, Phase> =
            service.mover.ledger.phases(None).await?.into_iter().map(|(user, phase, _)| (user, phase)).collect();
        for user in users {
            // What failed is tried again once: who starts the service anew has often just mended it.
            if !matches!(known.get(&user), Some(Phase::Moved | Phase::Back)) {
                service.put(&user, Pass::Delta, Urgency::Usual, Duration::ZERO);
            }
        }
        let mut beside = tokio::task::JoinSet::new();
        let control = control::bind(&service.mover.config.cms.control)?;
        beside.spawn(control::serve(service.clone(), control));
        if let Some(address) = service.mover.config.cms.metrics {
            let failed = |e: std::io::Error| Fault::new(Class::Local, format!("cms.metrics: {address}: {e}"));
            let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
            beside.spawn(metrics::serve(service.clone(), listener));
        }
        if let Some(folder) = service.mover.config.cms.queue.clone() {
            beside.spawn(jobs::watch(service.clone(), folder));
        }
        let (end, ended) = tokio::sync::watch::channel(false);
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..service.mover.config.cms.workers {
            let (service, mut ended) = (service.clone(), ended.clone());
            workers.spawn(async move {
                loop {
                    tokio::select! {
                        biased;
                        _ = ended.changed() => return,
                        task = service.queue.next() => service.work(task).await,
                    }
                }
            });
        }
        stop.await;
        let _ = end.send(true);
        let _ = tokio::time::timeout(GRACE, async { while workers.join_next().await.is_some() {} }).await;
        let _ = std::fs::remove_file(&service.mover.config.cms.control);
        Ok(())
    }

    fn put(&self, user: &str, pass: Pass, urgency: Urgency, wait: Duration) {
        self.queue.put(Task { user: user.to_owned(), pass, urgency, due: Instant::now() + wait });
    }

    /// A pass as soon as possible; the answer comes when it is over.
    fn ask(&self, user: &str, pass: Pass) -> oneshot::Receiver<PassDone> {
        let (say, said) = oneshot::channel();
        lock(&self.asked).entry((user.to_owned(), pass)).or_default().push(say);
        self.put(user, pass, Urgency::Asked, Duration::ZERO);
        said
    }

    async fn work(&self, task: Task) {
        let Task { user, pass, urgency, .. } = task;
        let standing = self.mover.ledger.phases(Some(&user)).await.unwrap_or_default().pop();
        let paused = standing.as_ref().is_some_and(|s| s.2);
        let bulk = standing.as_ref().is_none_or(|s| matches!(s.1, Phase::Waiting | Phase::Bulk));
        let now = jiff::Zoned::now();
        let minute = now.hour() as u16 * 60 + now.minute() as u16;
        let closed = bulk && urgency == Urgency::Usual && !open(&self.mover.config.limits.hours, minute);
        if pass == Pass::Delta && (paused || closed) {
            self.queue.done(&user);
            if paused {
                // Whoever waits for it hears so: nothing comes until it is resumed.
                let askers = lock(&self.asked).remove(&(user.clone(), pass)).unwrap_or_default();
                let why = Fault::new(Class::Busy, "it is paused: cutover-cms resume, then again");
                said(askers, user.clone(), None, Some(why));
            }
            if closed && !paused {
                self.put(&user, pass, urgency, LATER);
            }
            return;
        }
        // Whoever asks from now on has another pass: this one may have looked past what they mean.
        let key = (user.clone(), pass);
        let mut askers = lock(&self.asked).remove(&key).unwrap_or_default();
        askers.retain(|say| !say.is_closed());
        if askers.is_empty() && pass != Pass::Delta {
            // Who asked for it has let the user in where they were.
            self.queue.done(&user);
            return;
        }
        let done = self.mover.pass(&user, pass).await;
        self.queue.done(&user);
        let (passed, fault) = match done {
            Ok((passed, fault)) => (Some(passed), fault),
            Err(fault) => (None, Some(fault)),
        };
        match &fault {
            Some(fault) => tracing::warn!("{user}: {}: {fault}", pass.as_str()),
            None => tracing::info!("{user}: {} done", pass.as_str()),
        }
        askers.retain(|say| !say.is_closed());
        let waits = !askers.is_empty();
        let tries = {
            let mut failures = lock(&self.failures);
            match &fault {
                Some(_) => {
                    let n = failures.entry(user.clone()).or_default();
                    *n += 1;
                    *n
                }
                None => {
                    failures.remove(&user);
                    0
                }
            }
        };
        // Who asked for a pass waits through a short fault, but not for ever.
        match &fault {
            Some(fault) if fault.class.passes() && waits && tries < 4 => {
                let wait = backoff(fault, tries.saturating_sub(1)).min(Duration::from_secs(5));
                lock(&self.asked).entry(key).or_default().append(&mut askers);
                self.put(&user, pass, urgency, wait);
                return;
            }
            // Who has moved is looked after by who asked.
            Some(fault) if fault.class.passes() && pass == Pass::Delta && (!waits || self.goes_on(&user).await) => {
                self.put(&user, pass, urgency, backoff(fault, tries.saturating_sub(1)).min(LONGEST));
            }
            None if pass == Pass::Delta && self.goes_on(&user).await => {
                self.put(&user, pass, Urgency::Usual, self.mover.config.cms.delta_every);
            }
            _ => {}
        }
        said(askers, user, passed, fault);
    }

    /// Nobody waits any more: what was asked for and has not begun is not begun.
    fn withdraw(&self, user: &str, pass: Pass) {
        let mut asked = lock(&self.asked);
        let key = (user.to_owned(), pass);
        let Some(askers) = asked.get_mut(&key) else { return };
        askers.retain(|say| !say.is_closed());
        if askers.is_empty() {
            asked.remove(&key);
            self.queue.forget(user, pass);
        }
    }

    async fn goes_on(&self, user: &str) -> bool {
        let standing = self.mover.ledger.phases(Some(user)).await.unwrap_or_default().pop();
        standing.is_some_and(|s| matches!(s.1, Phase::Waiting | Phase::Bulk | Phase::Delta))
    }

    fn told(&self, user: &str, command: &str, uid: Option<u32>) {
        if let Err(e) = self.mover.audit.tell(&Event::Command { user, command, uid }) {
            tracing::error!("{e}");
        }
    }
}

/// Tells everybody who waited for a pass what came of it.
fn said(askers: Askers, user: String, passed: Option<Passed>, fault: Option<Fault>) {
    let help = fault.as_ref().map(|f| f.class.help().to_owned());
    let done = PassDone { user, passed, help, fault: fault.map(|f| f.to_string()) };
    for say in askers {
        let _ = say.send(done.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Suggested Backoff Time: 299961 ms": what a server asks for is what it gets.
    #[test]
    fn failure_29_a_wait_that_the_server_names_is_kept() {
        let fault = Fault::new(Class::Busy, "Suggested Backoff Time: 299961 milliseconds");
        assert_eq!(backoff(&fault, 0), Duration::from_secs(10));
        assert_eq!(backoff(&fault, 3), Duration::from_secs(80));
        assert_eq!(backoff(&fault, 40), LONGEST);
        assert_eq!(backoff(&fault.after(Duration::from_millis(299_961)), 0), Duration::from_millis(299_961));
    }

    #[test]
    fn hours_go_over_midnight() {
        let night = ["20:00-06:00".to_owned()];
        assert!(open(&night, 20 * 60) && open(&night, 0) && open(&night, 359));
        assert!(!open(&night, 360) && !open(&night, 720) && open(&[], 720));
    }
}
