//! The durable record of what was begun and what became of it. Not the truth about hosts: ownership, leases, completion marks
//! and former contents live on the hosts, so a lost journal loses history and nothing else.
//!
//! ```text
//! execution ──Record──▶ Journal ──▶ writer thread ──group commit──▶ Store (SQLite | memory)
//! resume    ◀──Saved─── replay(next_status)
//! ```
//!
//! * [`Journal`]: the handle; `append` returns when durable, `post` does not wait.
//! * [`next_status`]: the one table of legal transitions; [`replay()`] goes through it.
//! * [`StateDir`], [`LocalLock`]: the folder of one organisation and environment, and who works in it.

mod crash;
mod folder;
mod handle;
mod lock;
pub mod memory;
mod record;
mod replay;
mod sqlite;
mod status;
mod store;

use std::path::PathBuf;

pub use folder::StateDir;
pub use handle::Journal;
pub use lock::{Holder, LocalLock, LockError};
pub use record::{Entry, Header, JOURNAL_VERSION, Record, Saved, events};
pub use replay::{Replay, replay};
pub use sqlite::SqliteStore;
pub use status::{Change, IllegalTransition, Status, next_status};
pub use store::{Store, Summary, Write, plan_text};

/// What can go wrong with the journal. None of it touches a host.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The bytes are not what was written. Opening for writing sets such a file aside.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    #[error(
        "the journal was written by a newer cutover (format {found}; this program reads up to {JOURNAL_VERSION}): use that one"
    )]
    Newer { found: u32 },
    #[error("the journal {path} cannot be opened: {why}")]
    Open { path: PathBuf, why: String },
    #[error("the journal cannot be written: {0}; nothing was sent that is not written down")]
    Write(String),
    #[error("the journal cannot be read: {0}")]
    Read(String),
    #[error("a record cannot be encoded: {0}")]
    Encode(String),
    #[error("record {record} of apply {apply} cannot follow: {why}")]
    Illegal { apply: String, record: usize, why: IllegalTransition },
    #[error("the journal's writer has stopped")]
    Stopped,
}
