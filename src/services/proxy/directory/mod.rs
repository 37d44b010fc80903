//! Users in an LDAP directory (RFC 4511) or Active Directory: an object a user, an attribute that tells the side.
//!
//! ```text
//! ask ──▶ cache ──▶ who asks already? wait with them
//!           │            └─▶ one search, on a connection of the pool (its own thread) ──▶ cache
//!           └─ too old, and nobody can be asked: stale
//! ```
//!
//! "Could not be asked" is never "not there": a moved user would land on the old side.

mod ask;
mod query;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::config;
use super::meter::{Meter, Source};
use ask::{Fault, Servers};
pub use query::Answer;

/// Users that are remembered, also those who are not there: a million of them take some 150 MiB.
const REMEMBERED: usize = 1 << 20;

/// How long nobody tries again after no server could be asked: logins would wait for each timeout.
const PAUSE: Duration = Duration::from_secs(2);

/// Why nothing is known of a user. For the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The directory cannot be asked, and no answer is left.
    Unreachable(String),
    /// The answer cannot be: two entries are this user.
    Wrong(String),
}

#[derive(Clone)]
struct Remembered {
    answer: Option<Arc<Answer>>,
    at: Instant,
}

type Reply = Result<Option<Arc<Answer>>, Fault>;

pub struct Directory {
    config: config::Directory,
    cache: [Mutex<HashMap<String, Remembered>>; 16],
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<Reply>>>>,
    ask: mpsc::UnboundedSender<String>,
    pause: Mutex<Option<(Instant, String)>>,
    meter: Arc<Meter>,
}

impl Directory {
    /// Begins its thread; no server is asked yet.
    pub fn begin(config: &config::Directory, meter: Arc<Meter>) -> Result<Arc<Self>, String> {
        let servers = Arc::new(Servers::new(config.clone())?);
        // As many wait in it as there are users in `waiting`.
        let (ask, mut asked) = mpsc::unbounded_channel::<String>();
        let directory = Arc::new(Self {
            config: config.clone(),
            cache: std::array::from_fn(|_| Mutex::default()),
            waiting: Mutex::default(),
            ask,
            pause: Mutex::default(),
            meter,
        });
        let weak = Arc::downgrade(&directory);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("directory: {e}"))?;
        let run = async move {
            while let Some(user) = asked.recv().await {
                let (weak, servers) = (weak.clone(), servers.clone());
                tokio::spawn(async move {
                    let began = Instant::now();
                    let found = servers.ask(&user).await;
                    if let Some(directory) = weak.upgrade() {
                        directory.meter.directory_took(began.elapsed());
                        directory.answered(&user, found.map(|answer| answer.map(Arc::new)));
                    }
                });
            }
        };
        let thread = std::thread::Builder::new().name("directory".into());
        thread.spawn(move || runtime.block_on(run)).map_err(|e| format!("no thread for the directory: {e}"))?;
        Ok(directory)
    }

    pub fn config(&self) -> &config::Directory {
        &self.config
    }

    fn part(&self, user: &str) -> MutexGuard<'_, HashMap<String, Remembered>> {
        let n = user.bytes().fold(0usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(b))) % self.cache.len();
        self.cache[n].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the directory says of a user; nothing when it has no such entry.
    pub async fn ask(&self, user: &str) -> Result<Option<Arc<Answer>>, Unknown> {
        let remembered = self.part(user).get(user).cloned();
        if let Some(r) = &remembered
            && r.at.elapsed() < self.config.cache
        {
            self.meter.directory(Source::Cached);
            return Ok(r.answer.clone());
        }
        let fault = match self.paused() {
            Some(why) => Fault::Unreachable(why),
            None => match self.together(user).await {
                Ok(answer) => {
                    self.meter.directory(Source::Asked);
                    return Ok(answer);
                }
                Err(fault) => fault,
            },
        };
        match (fault, remembered) {
            (Fault::Wrong(why), _) => {
                self.meter.directory(Source::Wrong);
                Err(Unknown::Wrong(why))
            }
            (Fault::Unreachable(_), Some(r)) if r.at.elapsed() < self.config.stale => {
                self.meter.directory(Source::Stale);
                Ok(r.answer)
            }
            (Fault::Unreachable(why), _) => {
                self.meter.directory(Source::Failed);
                Err(Unknown::Unreachable(why))
            }
        }
    }

    /// Asks once for all who want to know at the same time.
    async fn together(&self, user: &str) -> Reply {
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
            let all = waiting.entry(user.to_owned()).or_default();
            all.push(tell);
            if all.len() == 1 && self.ask.send(user.to_owned()).is_err() {
                waiting.remove(user);
            }
        }
        told.await.unwrap_or_else(|_| Err(Fault::Unreachable("its thread has ended".into())))
    }

    fn answered(&self, user: &str, reply: Reply) {
        match &reply {
            Ok(answer) => {
                self.remember(user, answer.clone());
                *self.pause.lock().unwrap_or_else(|e| e.into_inner()) = None;
            }
            Err(Fault::Unreachable(why)) => {
                let mut pause = self.pause.lock().unwrap_or_else(|e| e.into_inner());
                if pause.as_ref().is_none_or(|(until, _)| *until < Instant::now()) {
                    tracing::error!("the directory cannot be asked: {why}");
                }
                *pause = Some((Instant::now() + PAUSE.min(self.config.timeout), why.clone()));
            }
            Err(Fault::Wrong(why)) => tracing::error!(user, "the directory's answer cannot be: {why}"),
        }
        let waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner()).remove(user);
        for tell in waiting.into_iter().flatten() {
            // Whoever is gone does not want to know any more.
            let _ = tell.send(reply.clone());
        }
    }

    fn paused(&self) -> Option<String> {
        let pause = self.pause.lock().unwrap_or_else(|e| e.into_inner());
        pause.as_ref().filter(|(until, _)| *until > Instant::now()).map(|(_, why)| why.clone())
    }

    fn remember(&self, user: &str, answer: Option<Arc<Answer>>) {
        let mut part = self.part(user);
        if part.len() >= REMEMBERED / self.cache.len() {
            let (stale, cache) = (self.config.stale, self.config.cache);
            part.retain(|_, r| r.at.elapsed() < stale.max(cache));
            if part.len() >= REMEMBERED / self.cache.len() {
                // Who is not there: somebody tries names.
                part.retain(|_, r| r.answer.is_some());
            }
            if part.len() >= REMEMBERED / self.cache.len() {
                part.clear();
            }
        }
        part.insert(user.to_owned(), Remembered { answer, at: Instant::now() });
    }

    /// Forgets what it knows of a user; whether it knew anything.
    pub fn flush(&self, user: &str) -> bool {
        self.part(user).remove(user).is_some()
    }

    /// Forgets everything; how much that was.
    pub fn flush_all(&self) -> usize {
        let parts = self.cache.iter().map(|p| std::mem::take(&mut *p.lock().unwrap_or_else(|e| e.into_inner())).len());
        parts.sum()
    }
}
