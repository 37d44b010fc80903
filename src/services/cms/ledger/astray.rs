//! Who works on the old side though the mailbox counts as moved: noted before they are held for a last pass, so that whoever goes on after a
//! death knows that the old side is read first. Held people look all the same.

use rusqlite::{Connection, params};

use super::{Ledger, Phase, failed};
use crate::services::cms::mailbox::Fault;

/// Beside the versioned tables: a release that does not know it leaves it alone.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS astray (mailbox INTEGER PRIMARY KEY) STRICT;
";

impl Ledger {
    /// `false` when nobody of that name is known.
    pub async fn astray(&self, user: &str, on: bool) -> Result<bool, Fault> {
        let user = user.to_owned();
        let change = match on {
            true => "INSERT OR REPLACE INTO astray SELECT id FROM mailbox WHERE user = ?1",
            false => "DELETE FROM astray WHERE mailbox = (SELECT id FROM mailbox WHERE user = ?1)",
        };
        self.run(move |db| {
            db.execute(change, params![user])
                .and_then(|_| db.query_row("SELECT count(*) FROM mailbox WHERE user = ?1", params![user], |r| r.get(0)))
                .map_err(|e| failed(&e))
        })
        .await
    }
}

/// A pass has ended: after a last one both sides are the same, and after a way back the old one has all.
pub(super) fn ended(db: &Connection, mailbox: i64, phase: Phase, pass: &str) -> Result<(), Fault> {
    if phase == Phase::Back || (phase == Phase::Moved && pass == "final") {
        db.execute("DELETE FROM astray WHERE mailbox = ?1", [mailbox]).map_err(|e| failed(&e))?;
    }
    Ok(())
}
