//! What the service remembers: one SQLite file in the state folder (write-ahead log, `synchronous=FULL`), so that what is acknowledged
//! here survives a kill and a power cut.
//!
//! One thread owns the file. Requests that wait at the same time share one transaction and so one wait for the disk; each stands in a
//! savepoint of its own, so that one that fails takes nothing else with it. Several processes may open the same file; who moves a mailbox
//! is decided by its [`lease`](Held).

mod astray;
mod claims;
mod exceptions;
mod folders;
mod intents;
mod lease;
mod mailboxes;
mod messages;
mod schema;
mod things;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

pub use claims::Takeover;
pub use exceptions::Exception;
pub use folders::Known;
pub use intents::{Intent, IntentState, Item};
pub use lease::{Held, LEASE, Owner};
pub use mailboxes::{Passed, Phase, Summary};
pub use messages::{Row, Stored};
pub use things::{Carried, CarriedThing};

use super::mailbox::{Class, Fault};

/// Requests that share a transaction.
const TOGETHER: usize = 64;

/// How long another process's transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which way a pass goes. The columns of the ledger are named by sides, not by roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the old side to the new one.
    Forward,
    /// A rollback.
    Back,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Forward => "forward",
            Way::Back => "back",
        }
    }

    pub fn from(self) -> &'static str {
        match self {
            Way::Forward => "old",
            Way::Back => "new",
        }
    }

    pub fn to(self) -> &'static str {
        match self {
            Way::Forward => "new",
            Way::Back => "old",
        }
    }
}

/// For tests: the process dies at the write of this number, before or after it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    pub write: u64,
    pub durable: bool,
}

type Work = Box<dyn FnOnce(&Connection) -> Result<Settle, Fault> + Send>;
/// Says the outcome to who asked, once it is durable (or why it is not).
type Settle = Box<dyn FnOnce(Result<(), Fault>) + Send>;

struct Job {
    work: Work,
    failed: Box<dyn FnOnce(Fault) + Send>,
}

#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::UnboundedSender<Job>,
    pub(super) owner: Arc<Owner>,
}

pub(super) fn failed(e: &rusqlite::Error) -> Fault {
    Fault::new(Class::Local, format!("the ledger: {e}"))
}

impl Ledger {
    /// Opens or makes the ledger in the state folder.
    pub fn open(state: &Path, crash: Option<Crash>) -> Result<Self, Fault> {
        let at = |e: &dyn std::fmt::Display| Fault::new(Class::Local, format!("{}: {e}", state.display()));
        std::fs::create_dir_all(state).map_err(|e| at(&e))?;
        let owner = Owner::begin(state)?;
        let path = state.join("ledger.db");
        let db = Connection::open(&path).map_err(|e| at(&e))?;
        schema::prepare(&db).map_err(|e| at(&e))?;
        let (jobs, receive) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || work(db, receive, crash))
            .map_err(|e| at(&e))?;
        Ok(Self { jobs, owner: Arc::new(owner) })
    }

    /// Runs `f` in a transaction; the answer comes when it is durable.
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (say, said) = oneshot::channel::<Result<T, Fault>>();
        let say = Arc::new(std::sync::Mutex::new(Some(say)));
        let (done, lost) = (say.clone(), say);
        let tell = |to: &std::sync::Mutex<Option<oneshot::Sender<Result<T, Fault>>>>, what| {
            if let Some(say) = to.lock().unwrap_or_else(|e| e.into_inner()).take() {
                let _ = say.send(what);
            }
        };
        let job = Job {
            work: Box::new(move |db| {
                let value = f(db)?;
                Ok(Box::new(move |kept: Result<(), Fault>| tell(&done, kept.map(|()| value))) as Settle)
            }),
            failed: Box::new(move |fault| tell(&lost, Err(fault))),
        };
        let gone = || Fault::new(Class::Local, "the ledger is closed");
        self.jobs.send(job).map_err(|_| gone())?;
        said.await.map_err(|_| gone())?
    }
}

fn work(mut db: Connection, mut jobs: mpsc::UnboundedReceiver<Job>, crash: Option<Crash>) {
    let mut writes = 0u64;
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < TOGETHER
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let tx = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(tx) => tx,
            Err(e) => {
                batch.into_iter().for_each(|job| (job.failed)(failed(&e)));
                continue;
            }
        };
        let before = tx.total_changes();
        let mut settled: Vec<Settle> = Vec::new();
        for job in batch {
            let tried = tx.execute_batch("SAVEPOINT one").map_err(|e| failed(&e)).and_then(|()| (job.work)(&tx));
            match tried {
                Ok(settle) => match tx.execute_batch("RELEASE one") {
                    Ok(()) => settled.push(settle),
                    Err(e) => settle(Err(failed(&e))),
                },
                Err(fault) => {
                    let _ = tx.execute_batch("ROLLBACK TO one; RELEASE one");
                    (job.failed)(fault);
                }
            }
        }
        let changed = tx.total_changes() != before;
        writes += u64::from(changed);
        let dies = crash.filter(|c| changed && c.write == writes);
        if dies.is_some_and(|c| !c.durable) {
            std::process::abort();
        }
        let kept = tx.commit().map_err(|e| failed(&e));
        if dies.is_some() {
            std::process::abort();
        }
        settled.into_iter().for_each(|settle| settle(kept.clone()));
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
