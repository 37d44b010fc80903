//! What could not be carried over, and why: listed in the report until it is.

use rusqlite::params;
use serde::Serialize;

use super::{Held, Ledger, failed, now};
use crate::services::cms::mailbox::{Class, Fault, Id};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// Of the ledger; 0 for the mailbox as a whole.
    #[serde(skip)]
    pub folder: i64,
    /// Source folder.
    pub path: String,
    /// The message's id at the source, or what else it is about.
    pub item: String,
    pub class: Class,
    pub what: String,
    /// Milliseconds since 1970.
    pub since: i64,
}

fn class(text: &str) -> Class {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).unwrap_or(Class::Protocol)
}

impl Held {
    pub async fn except(&self, folder: i64, item: String, fault: Fault) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.execute(
                "INSERT INTO exception (mailbox, folder, item, class, what, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (mailbox, folder, item) DO UPDATE SET class = ?4, what = ?5 WHERE (class, what) IS NOT (?4, ?5)",
                params![mailbox, folder, item, fault.class.as_str(), fault.what, now()],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    pub async fn settle(&self, folder: i64, items: Vec<String>) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let mut gone = db
                .prepare_cached("DELETE FROM exception WHERE mailbox = ?1 AND folder = ?2 AND item = ?3")
                .map_err(|e| failed(&e))?;
            items
                .iter()
                .try_for_each(|item| gone.execute(params![mailbox, folder, item]).map(drop))
                .map_err(|e| failed(&e))
        })
        .await
    }

    /// Takes away exceptions whose item begins so.
    pub async fn settle_all(&self, prefix: &'static str) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.execute(
                "DELETE FROM exception WHERE mailbox = ?1 AND substr(item, 1, ?3) = ?2",
                params![mailbox, prefix, prefix.len() as i64],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// Folder, message, class of what is to be tried again.
    pub async fn excepted(&self) -> Result<Vec<(i64, Id, Class)>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT folder, item, class FROM exception WHERE mailbox = ?1 AND folder > 0 ORDER BY id",
                )
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map([mailbox], |r| {
                Ok((r.get(0)?, Id(r.get::<_, String>(1)?.into()), class(&r.get::<_, String>(2)?)))
            });
            rows.and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }
}

impl Ledger {
    /// Of all mailboxes together.
    pub async fn exception_count(&self) -> Result<u64, Fault> {
        self.run(|db| db.query_row("SELECT count(*) FROM exception", [], |r| r.get(0)).map_err(|e| failed(&e))).await
    }

    pub async fn exceptions(&self, user: &str) -> Result<Vec<Exception>, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT e.folder, coalesce(f.old_path, ''), e.item, e.class, e.what, e.since FROM exception e
                     LEFT JOIN folder f ON f.id = e.folder WHERE e.mailbox = (SELECT id FROM mailbox WHERE user = ?1) ORDER BY 2, e.id",
                )
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map([user], |r| {
                Ok(Exception {
                    folder: r.get(0)?,
                    path: r.get(1)?,
                    item: r.get(2)?,
                    class: class(&r.get::<_, String>(3)?),
                    what: r.get(4)?,
                    since: r.get(5)?,
                })
            });
            rows.and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }
}
