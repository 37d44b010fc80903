//! Intents: what is about to be appended, durable before the append. One that is found again after a kill is a doubt.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::messages::{Stored, date, digest, flags, store};
use super::{Held, Way, failed, now};
use crate::services::cms::mailbox::{Date, Fault, Flags, Id, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentState {
    /// The append may be on its way, or may have been when the mover died.
    Open,
    /// Its answer was lost and what was missing was appended again; copies of it may still come late.
    Watched,
}

/// One message of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id on the side that is read.
    pub source: Id,
    pub size: u64,
    pub digest: Sha256,
    pub flags: Flags,
    pub date: Option<Date>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: i64,
    pub folder: i64,
    /// UIDVALIDITY of the written folder when it was made.
    pub validity: u64,
    /// UIDNEXT at or before that: whatever the append stores has an id at or above it.
    pub next: Option<u64>,
    /// Milliseconds since 1970.
    pub made: i64,
    pub state: IntentState,
    pub items: Vec<Item>,
}

fn open(
    db: &Connection,
    mailbox: i64,
    folder: i64,
    way: Way,
    validity: u64,
    next: Option<u64>,
    items: &[Item],
) -> rusqlite::Result<i64> {
    let id: i64 = db
        .prepare_cached("INSERT INTO intent (mailbox, folder, way, validity, next, made, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) RETURNING id")?
        .query_row(params![mailbox, folder, way.as_str(), validity as i64, next.map(|n| n as i64), now()], |r| r.get(0))?;
    let mut put = db.prepare_cached("INSERT INTO item VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (n, i) in items.iter().enumerate() {
        let (at, zone) = (i.date.map(|d| d.at.as_second()), i.date.map(|d| d.zone.seconds()));
        put.execute(params![
            id,
            n as i64,
            i.source.0.as_str(),
            i.size as i64,
            i.digest.0,
            i.flags.to_string(),
            at,
            zone
        ])?;
    }
    Ok(id)
}

fn close(db: &Connection, intent: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM item WHERE intent = ?1")?.execute([intent])?;
    db.prepare_cached("DELETE FROM intent WHERE id = ?1")?.execute([intent])?;
    Ok(())
}

impl Held {
    /// The end of one append and the beginning of the next, in one transaction: what `done` stored is recorded and its intent ends;
    /// the items of `next` are announced. Gives the new intent's number.
    pub async fn step(
        &self,
        way: Way,
        folder: i64,
        done: Option<(i64, Vec<Stored>)>,
        next: Option<(u64, Option<u64>, Vec<Item>)>,
    ) -> Result<Option<i64>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            if let Some((intent, stored)) = done {
                store(db, way, folder, &stored).and_then(|()| close(db, intent)).map_err(|e| failed(&e))?;
            }
            let Some((validity, from, items)) = next else { return Ok(None) };
            open(db, mailbox, folder, way, validity, from, &items).map(Some).map_err(|e| failed(&e))
        })
        .await
    }

    /// A doubt was looked into: what was found is recorded; the intent is watched from now on, or ends.
    pub async fn resolve(
        &self,
        way: Way,
        folder: i64,
        intent: i64,
        found: Vec<Stored>,
        watch: bool,
    ) -> Result<(), Fault> {
        self.run(move |db| {
            store(db, way, folder, &found).map_err(|e| failed(&e))?;
            match watch {
                true => db.execute("UPDATE intent SET state = 1 WHERE id = ?1", [intent]).map(drop),
                false => close(db, intent),
            }
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// Intents of one folder, or of all.
    pub async fn intents(&self, folder: Option<i64>) -> Result<Vec<Intent>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT id, folder, validity, next, made, state FROM intent WHERE mailbox = ?1 AND (?2 IS NULL OR folder = ?2) ORDER BY id",
                )
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map(params![mailbox, folder], |r| {
                Ok(Intent {
                    id: r.get(0)?,
                    folder: r.get(1)?,
                    validity: r.get::<_, i64>(2)? as u64,
                    next: r.get::<_, Option<i64>>(3)?.map(|n| n as u64),
                    made: r.get(4)?,
                    state: if r.get::<_, i64>(5)? == 0 { IntentState::Open } else { IntentState::Watched },
                    items: Vec::new(),
                })
            });
            let mut intents: Vec<Intent> = rows.and_then(Iterator::collect).map_err(|e| failed(&e))?;
            let mut asked = db
                .prepare_cached("SELECT source, size, digest, flags, at, zone FROM item WHERE intent = ?1 ORDER BY n")
                .map_err(|e| failed(&e))?;
            for intent in &mut intents {
                let items = asked.query_map([intent.id], |r| {
                    Ok(Item {
                        source: Id(r.get::<_, String>(0)?.into()),
                        size: r.get(1)?,
                        digest: digest(r.get(2)?),
                        flags: flags(&r.get::<_, String>(3)?),
                        date: date(r.get(4)?, r.get(5)?),
                    })
                });
                intent.items = items.and_then(Iterator::collect).map_err(|e| failed(&e))?;
            }
            Ok(intents)
        })
        .await
    }

    /// Folders with open intents, or with ones that were made within `watch`; without reading the items.
    pub async fn doubtful(&self, watch: std::time::Duration) -> Result<std::collections::HashSet<i64>, Fault> {
        let (mailbox, since) = (self.mailbox, now() - watch.as_millis() as i64);
        self.run(move |db| {
            let mut asked = db
                .prepare_cached("SELECT DISTINCT folder FROM intent WHERE mailbox = ?1 AND (state = 0 OR made > ?2)")
                .map_err(|e| failed(&e))?;
            asked.query_map([mailbox, since], |r| r.get(0)).and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }

    /// The youngest watched intent was made at that time (milliseconds since 1970).
    pub async fn youngest_doubt(&self) -> Result<Option<i64>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.query_row("SELECT max(made) FROM intent WHERE mailbox = ?1", [mailbox], |r| r.get(0))
                .optional()
                .map(Option::flatten)
                .map_err(|e| failed(&e))
        })
        .await
    }
}
