//! Who moves a mailbox: one mover at a time, with a token that grows.
//!
//! A mover holds a locked file as long as it lives; the kernel lets go of it however the process ends. So a dead mover is replaced at
//! once, and a live one is never pushed aside before its lease ends. Every write of a mailbox checks the token in its own transaction:
//! a mover that was replaced while it slept can write nothing any more.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Ledger, failed, now};
use crate::services::cms::mailbox::{Class, Fault};

/// How long a lease holds without being renewed.
pub const LEASE: Duration = Duration::from_secs(60);

/// This process, among those that share a ledger.
#[derive(Debug)]
pub struct Owner {
    pub name: String,
    folder: PathBuf,
    /// Locked while the process lives.
    _file: File,
}

impl Owner {
    pub(super) fn begin(state: &Path) -> Result<Self, Fault> {
        let at = |e: &dyn std::fmt::Display| Fault::new(Class::Local, format!("{}: {e}", state.display()));
        let folder = state.join("movers");
        std::fs::create_dir_all(&folder).map_err(|e| at(&e))?;
        // Files that dead movers left. One that is just being made is not locked yet, and its maker looks for it again.
        for entry in std::fs::read_dir(&folder).map_err(|e| at(&e))?.flatten() {
            if let Ok(file) = File::open(entry.path())
                && file.try_lock().is_ok()
            {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        for _ in 0..16 {
            let mut random = [0u8; 8];
            getrandom::fill(&mut random).map_err(|e| at(&e))?;
            let name = format!("{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
            let path = folder.join(&name);
            let file = File::create_new(&path).map_err(|e| at(&e))?;
            if file.try_lock().is_ok() && path.exists() {
                return Ok(Self { name, folder, _file: file });
            }
        }
        Err(at(&"no lock file can be made in `movers`"))
    }

    fn lives(&self, other: &str) -> bool {
        other == self.name
            || File::open(self.folder.join(other))
                .is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join(&self.name));
    }
}

/// A mailbox that this mover holds. Dropping it does not give it back: [`Held::release`] does, or its end.
#[derive(Clone)]
pub struct Held {
    pub ledger: Ledger,
    pub user: String,
    pub mailbox: i64,
    pub token: i64,
    renewed: std::sync::Arc<std::sync::Mutex<Instant>>,
}

fn lost(user: &str) -> Fault {
    Fault::new(Class::Busy, format!("another mover has taken {user} over"))
}

fn holds(db: &Connection, user: &str, mailbox: i64, token: i64) -> Result<(), Fault> {
    let found: Option<i64> = db
        .query_row("SELECT token FROM lease WHERE mailbox = ?1", [mailbox], |r| r.get(0))
        .optional()
        .map_err(|e| failed(&e))?;
    if found == Some(token) { Ok(()) } else { Err(lost(user)) }
}

impl Ledger {
    /// Takes a mailbox, or says who has it.
    pub async fn take(&self, user: &str) -> Result<Held, Fault> {
        let (owner, name) = (self.owner.clone(), user.to_owned());
        let began = Instant::now();
        let taken = self.run(move |db| {
            let mailbox = super::mailboxes::find_or_add(db, &name)?;
            let found: Option<(String, i64, i64)> = db
                .query_row("SELECT owner, token, until FROM lease WHERE mailbox = ?1", [mailbox], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
                .optional()
                .map_err(|e| failed(&e))?;
            let token = match found {
                None => 1,
                Some((holder, token, until)) => {
                    if !holder.is_empty() && until > now() && owner.lives(&holder) {
                        return Err(Fault::new(Class::Busy, format!("{name} is being moved by another mover ({holder})")));
                    }
                    token + 1
                }
            };
            db.execute(
                "INSERT INTO lease VALUES (?1, ?2, ?3, ?4) ON CONFLICT (mailbox) DO UPDATE SET owner = ?2, token = ?3, until = ?4",
                params![mailbox, owner.name, token, now() + LEASE.as_millis() as i64],
            )
            .map_err(|e| failed(&e))?;
            Ok((mailbox, token))
        });
        let (mailbox, token) = taken.await?;
        let renewed = std::sync::Arc::new(std::sync::Mutex::new(began));
        Ok(Held { ledger: self.clone(), user: user.to_owned(), mailbox, token, renewed })
    }
}

impl Held {
    /// A transaction of this mailbox; fails when somebody else has taken it over.
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (user, mailbox, token) = (self.user.clone(), self.mailbox, self.token);
        self.ledger
            .run(move |db| {
                holds(db, &user, mailbox, token)?;
                f(db)
            })
            .await
    }

    pub async fn renew(&self) -> Result<(), Fault> {
        let (mailbox, began) = (self.mailbox, Instant::now());
        self.run(move |db| {
            db.execute(
                "UPDATE lease SET until = ?2 WHERE mailbox = ?1",
                params![mailbox, now() + LEASE.as_millis() as i64],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await?;
        *self.renewed.lock().unwrap_or_else(|e| e.into_inner()) = began;
        Ok(())
    }

    /// Asked right before something is written to an end: a mover that slept past its lease writes nothing.
    pub fn sure(&self) -> Result<(), Fault> {
        let renewed = *self.renewed.lock().unwrap_or_else(|e| e.into_inner());
        // The margin is for the time that the octets need.
        if renewed.elapsed() + LEASE / 4 < LEASE { Ok(()) } else { Err(lost(&self.user)) }
    }

    pub async fn release(&self) {
        let mailbox = self.mailbox;
        let _ = self
            .run(move |db| {
                db.execute("UPDATE lease SET owner = '', until = 0 WHERE mailbox = ?1", [mailbox])
                    .map(drop)
                    .map_err(|e| failed(&e))
            })
            .await;
    }
}
