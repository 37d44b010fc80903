//! What this ledger is called towards targets, and whose mailboxes it is to take over from a ledger that is gone.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Held, Ledger, failed};
use crate::services::cms::mailbox::{Class, Fault};

/// Beside the versioned tables: a release that does not know them leaves them alone.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS identity (name TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS takeover (mailbox INTEGER PRIMARY KEY, done INTEGER NOT NULL) STRICT;
";

/// How a mailbox is taken over from another ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It is not.
    None,
    /// A person has asked for it.
    Asked,
    /// The other's claim is gone; what it stored is looked for instead of being stored again, until a pass has gone through.
    Done,
}

fn identity(db: &Connection) -> Result<String, Fault> {
    let known = db.query_row("SELECT name FROM identity", [], |r| r.get(0)).optional().map_err(|e| failed(&e))?;
    if let Some(name) = known {
        return Ok(name);
    }
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| Fault::new(Class::Local, format!("no random octets: {e}")))?;
    let name = format!("{:016x}", u64::from_be_bytes(random));
    db.execute("INSERT INTO identity VALUES (?1)", [&name]).map_err(|e| failed(&e))?;
    Ok(name)
}

impl Ledger {
    /// Sixteen hexadecimal digits that tell this ledger from any other. A copy of the state folder has the same.
    pub async fn identity(&self) -> Result<String, Fault> {
        self.run(identity).await
    }

    /// The next pass takes the mailbox over from another ledger. `false` when nobody of that name is known.
    pub async fn take_over(&self, user: &str) -> Result<bool, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            db.execute("INSERT OR REPLACE INTO takeover SELECT id, 0 FROM mailbox WHERE user = ?1", [user])
                .map(|n| n > 0)
                .map_err(|e| failed(&e))
        })
        .await
    }
}

impl Held {
    pub async fn takeover(&self) -> Result<Takeover, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let done: Option<bool> = db
                .query_row("SELECT done FROM takeover WHERE mailbox = ?1", [mailbox], |r| r.get(0))
                .optional()
                .map_err(|e| failed(&e))?;
            Ok(match done {
                None => Takeover::None,
                Some(false) => Takeover::Asked,
                Some(true) => Takeover::Done,
            })
        })
        .await
    }

    pub async fn took_over(&self, now: Takeover) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            match now {
                Takeover::None => db.execute("DELETE FROM takeover WHERE mailbox = ?1", [mailbox]),
                other => db.execute(
                    "INSERT OR REPLACE INTO takeover VALUES (?1, ?2)",
                    params![mailbox, other == Takeover::Done],
                ),
            }
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }
}
