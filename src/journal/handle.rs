//! The handle on a journal: a writer thread that commits in groups, or a store in place for simulations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::crash::Crash;
use super::folder::StateDir;
use super::lock::{Holder, LocalLock, LockError};
use super::memory::{MemoryDisk, MemoryStore};
use super::record::{Entry, Header, Saved};
use super::sqlite::SqliteStore;
use super::store::{Store, Summary, Write, plan_text};
use super::{JournalError, Record};
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::observed::{Observation, Observed};
use crate::model::plan::Plan;

/// How long records that nobody waits for may linger to share a commit. Losing them costs a question to the host, no more.
const LINGER: Duration = Duration::from_millis(20);

type Ask = Box<dyn FnOnce(&mut dyn Store) + Send>;
type Ack = oneshot::Sender<Result<(), JournalError>>;

enum Request {
    Write(Write, Option<Ack>),
    Ask(Ask),
}

enum Way {
    Thread(Sender<Request>),
    InPlace(Mutex<Box<dyn Store>>),
}

/// Cloneable; all clones share one writer.
#[derive(Clone)]
pub struct Journal {
    way: Arc<Way>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    /// Opens the state file of a folder. A damaged file is set aside as `state.db.damaged-<n>` and a fresh one begun; the notes say
    /// so and are for people. `lock`: ours when we hold it; a file that another apply may be writing is never moved.
    pub fn open(dir: &StateDir, lock: Option<&LocalLock>) -> Result<(Self, Vec<String>), JournalError> {
        let path = dir.state();
        dir.create().map_err(|e| JournalError::Open { path: path.clone(), why: e.to_string() })?;
        let (store, notes) = match SqliteStore::open(&path) {
            Ok(store) => {
                let note = store.was_empty().then(|| {
                    format!(
                        "{} was empty (cut, or its first use was interrupted); a fresh journal begins in it. What is owned, done and \
                         leased is known by the hosts.",
                        path.display()
                    )
                });
                (store, note.into_iter().collect())
            }
            Err(JournalError::Damaged(why)) => {
                let _guard = match lock {
                    Some(_) => None,
                    None => Some(LocalLock::acquire(dir, &Holder::this_process("(mending the journal)", 0)).map_err(
                        |e| match e {
                            LockError::Held { .. } => JournalError::Damaged(format!("{why}; and {e}")),
                            LockError::Io { .. } => JournalError::Open { path: path.clone(), why: e.to_string() },
                        },
                    )?),
                };
                let aside = set_aside(dir)?;
                let note = format!(
                    "{} was damaged ({why}); it was set aside as {} and a fresh one begun. History before now is in the damaged file \
                     only. What is owned, done and leased is known by the hosts: plan and apply as usual.",
                    path.display(),
                    aside.display()
                );
                (SqliteStore::open(&path)?, vec![note])
            }
            Err(other) => return Err(other),
        };
        Ok((Self::with_writer(store), notes))
    }

    /// Opens a state file for reading history; a damaged one is an error and stays where it is.
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        if !path.exists() {
            return Err(JournalError::Open {
                path: path.to_owned(),
                why: "there is none: nothing was applied yet".into(),
            });
        }
        Ok(Self::with_writer(SqliteStore::open(path)?))
    }

    /// Opens the state file of a folder for the answers of hosts alone: fast, however much was applied. A file that is damaged where
    /// they stand is an error and stays where it is; whoever writes an apply next finds and mends the rest.
    pub fn for_answers(dir: &StateDir) -> Result<Self, JournalError> {
        let path = dir.state();
        dir.create().map_err(|e| JournalError::Open { path: path.clone(), why: e.to_string() })?;
        Ok(Self::with_writer(SqliteStore::open_beside(&path)?))
    }

    /// A journal on a [`MemoryDisk`]; each write goes through at once, in the caller's thread.
    pub fn in_memory(disk: &MemoryDisk) -> Result<(Self, Vec<String>), JournalError> {
        let (store, notes) = MemoryStore::open(disk)?;
        Ok((Self::in_place(store), notes))
    }

    /// Any store, written in the caller's thread.
    pub fn in_place(store: impl Store) -> Self {
        Self { way: Arc::new(Way::InPlace(Mutex::new(Box::new(store)))) }
    }

    /// Any store behind a writer thread that commits what arrives together as one transaction.
    pub fn with_writer(store: impl Store) -> Self {
        let (send, receive) = channel();
        // Ends when the last handle is dropped; what was posted is written first.
        std::thread::spawn(move || writer(store, &receive));
        Self { way: Arc::new(Way::Thread(send)) }
    }

    /// Begins an apply: header and whole plan, durable when this returns.
    pub async fn begin(&self, header: Header, plan: &Plan) -> Result<(), JournalError> {
        let plan = plan_text(plan)?;
        self.durable(Write::Begin { header: Box::new(header), plan }).await
    }

    /// Appends records; durable when this returns.
    pub async fn append(&self, apply: &str, at: i64, records: Vec<Record>) -> Result<(), JournalError> {
        let entries = records.into_iter().map(|record| Entry { at, record }).collect();
        self.durable(Write::Append { apply: apply.into(), entries }).await
    }

    /// Appends a record without waiting. It is durable before anything that is appended later.
    pub fn post(&self, apply: &str, at: i64, record: Record) -> Result<(), JournalError> {
        self.send(Write::Append { apply: apply.into(), entries: vec![Entry { at, record }] }, None)
    }

    async fn durable(&self, write: Write) -> Result<(), JournalError> {
        let (ack, done) = oneshot::channel();
        self.send(write, Some(ack))?;
        done.await.map_err(|_| JournalError::Stopped)?
    }

    fn send(&self, write: Write, ack: Option<Ack>) -> Result<(), JournalError> {
        match &*self.way {
            Way::Thread(send) => send.send(Request::Write(write, ack)).map_err(|_| JournalError::Stopped),
            Way::InPlace(store) => {
                let result = store.lock().unwrap_or_else(PoisonError::into_inner).write(vec![write]);
                match ack {
                    Some(ack) => {
                        let _ = ack.send(result);
                        Ok(())
                    }
                    None => result,
                }
            }
        }
    }

    /// Asks the store; blocks for the few milliseconds that it takes.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        match &*self.way {
            Way::Thread(send) => {
                let (answer, heard) = channel();
                let ask: Ask = Box::new(move |store| {
                    let _ = answer.send(question(store));
                });
                send.send(Request::Ask(ask)).map_err(|_| JournalError::Stopped)?;
                heard.recv().map_err(|_| JournalError::Stopped)?
            }
            Way::InPlace(store) => question(&mut **store.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Header, plan and records of one apply.
    pub fn load(&self, apply: &str) -> Result<Option<Saved>, JournalError> {
        let apply = apply.to_owned();
        self.ask(move |s| s.load(&apply))
    }

    /// All applies, oldest first.
    pub fn history(&self) -> Result<Vec<Summary>, JournalError> {
        self.ask(|s| s.list())
    }

    /// The last apply, when it did not come to its end.
    pub fn unfinished(&self) -> Result<Option<Summary>, JournalError> {
        let last = self.history()?.pop();
        Ok(last.filter(|s| !s.finished()))
    }

    /// Remembers the last answers of hosts and how they are reached.
    pub fn remember(
        &self,
        at: i64,
        observed: Observed,
        hosts: &BTreeMap<HostName, HostAccess>,
    ) -> Result<(), JournalError> {
        for o in observed.hosts.into_values() {
            self.send(Write::Observation { at, body: Box::new(o) }, None)?;
        }
        self.send(Write::Hosts(hosts.clone()), None)
    }

    /// The last answer of a host and when it came (Unix milliseconds).
    pub fn last_observation(&self, host: &HostName) -> Result<Option<(i64, Observation)>, JournalError> {
        let host = host.clone();
        self.ask(move |s| s.observation(&host))
    }

    /// Hosts of the organisation as last seen in its topology, also those that the topology no longer names.
    pub fn known_hosts(&self) -> Result<BTreeMap<HostName, HostAccess>, JournalError> {
        self.ask(|s| s.hosts())
    }
}

fn set_aside(dir: &StateDir) -> Result<std::path::PathBuf, JournalError> {
    let aside = dir.damaged();
    let path = dir.state();
    let fail = |why: std::io::Error| JournalError::Open {
        path: path.clone(),
        why: format!("it is damaged and cannot be set aside: {why}"),
    };
    std::fs::rename(&path, &aside).map_err(fail)?;
    for tail in ["-wal", "-shm"] {
        let with = |p: &Path| std::path::PathBuf::from(format!("{}{tail}", p.display()));
        match std::fs::rename(with(&path), with(&aside)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
            _ => {}
        }
    }
    Ok(aside)
}

/// The writer: takes what is there, commits it as one transaction, then tells those who wait.
fn writer(mut store: impl Store, requests: &Receiver<Request>) {
    // After a failed commit nothing more is taken: a later record must not be durable without an earlier one.
    let mut broken: Option<JournalError> = None;
    let mut crash = Crash::from_environment();
    while let Ok(first) = requests.recv() {
        let mut group = Vec::new();
        let mut asks = Vec::new();
        let mut urgent = take(first, &mut group, &mut asks);
        let until = Instant::now() + LINGER;
        loop {
            let next = if urgent {
                requests.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            } else {
                requests.recv_timeout(until.saturating_duration_since(Instant::now()))
            };
            match next {
                Ok(request) => urgent |= take(request, &mut group, &mut asks),
                Err(_) => break,
            }
        }
        let (writes, acks): (Vec<Write>, Vec<Option<Ack>>) = group.into_iter().unzip();
        if broken.is_none() && !writes.is_empty() {
            crash.before_commit();
            broken = store.write(writes).err();
            crash.after_commit();
        }
        let result = broken.clone().map_or(Ok(()), Err);
        for ack in acks.into_iter().flatten() {
            let _ = ack.send(result.clone());
        }
        asks.into_iter().for_each(|ask| ask(&mut store));
    }
}

/// True when somebody waits for it.
fn take(request: Request, group: &mut Vec<(Write, Option<Ack>)>, asks: &mut Vec<Ask>) -> bool {
    match request {
        Request::Write(write, ack) => {
            let waits = ack.is_some();
            group.push((write, ack));
            waits
        }
        Request::Ask(ask) => {
            asks.push(ask);
            true
        }
    }
}
