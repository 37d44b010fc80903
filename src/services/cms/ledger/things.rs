//! What was carried beside mail.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::Serialize;

use super::{Held, Ledger, Way, failed};
use crate::services::cms::config::Item;
use crate::services::cms::mailbox::{Fault, Sha256};
use crate::services::cms::personal::step::Row;

/// One thing after it was carried; `from` and `to` are those of a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub item: Item,
    pub id: String,
    pub row: Row,
    pub digest: Sha256,
    pub notes: Vec<String>,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarriedThing {
    pub item: String,
    pub id: String,
    /// SHA-256 of its canonical form.
    pub digest: String,
    /// What people want to see although it was carried.
    pub notes: Vec<String>,
}

fn item(text: &str) -> Option<Item> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

impl Held {
    /// By item and id.
    pub async fn things(&self, way: Way) -> Result<BTreeMap<(Item, String), Row>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let mut asked = db
                .prepare_cached(&format!("SELECT item, {f}_id, {f}_mark, {t}_mark FROM thing WHERE mailbox = ?1"))
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map([mailbox], |r| {
                let row = Row { from_mark: r.get(2)?, to_mark: r.get(3)? };
                Ok((item(&r.get::<_, String>(0)?), r.get::<_, String>(1)?, row))
            });
            let rows: Vec<_> = rows.and_then(Iterator::collect).map_err(|e| failed(&e))?;
            Ok(rows.into_iter().filter_map(|(item, id, row)| Some(((item?, id), row))).collect())
        })
        .await
    }

    /// Both sides have these now.
    pub async fn carried(&self, way: Way, things: Vec<Carried>) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let mut put = db
                .prepare_cached(&format!(
                    "INSERT INTO thing (mailbox, item, old_id, new_id, {f}_mark, {t}_mark, digest, notes)
                     VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (mailbox, item, old_id) DO UPDATE SET {f}_mark = ?4, {t}_mark = ?5, digest = ?6, notes = ?7"
                ))
                .map_err(|e| failed(&e))?;
            for c in &things {
                let notes = serde_json::to_string(&c.notes).unwrap_or_default();
                let (row, item) = (&c.row, c.item.as_str());
                put.execute(params![mailbox, item, c.id, row.from_mark, row.to_mark, c.digest.0, notes])
                    .map_err(|e| failed(&e))?;
            }
            Ok(())
        })
        .await
    }

    pub async fn forget_things(&self, things: Vec<(Item, String)>) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let mut gone = db
                .prepare_cached("DELETE FROM thing WHERE mailbox = ?1 AND item = ?2 AND old_id = ?3")
                .map_err(|e| failed(&e))?;
            let mut all = things.iter();
            all.try_for_each(|(item, id)| gone.execute(params![mailbox, item.as_str(), id]).map(drop))
                .map_err(|e| failed(&e))
        })
        .await
    }
}

impl Ledger {
    pub async fn carried_things(&self, user: &str) -> Result<Vec<CarriedThing>, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT item, old_id, lower(hex(digest)), notes FROM thing
                     WHERE mailbox = (SELECT id FROM mailbox WHERE user = ?1) ORDER BY item, old_id",
                )
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map([user], |r| {
                let notes = serde_json::from_str(&r.get::<_, String>(3)?).unwrap_or_default();
                Ok(CarriedThing { item: r.get(0)?, id: r.get(1)?, digest: r.get(2)?, notes })
            });
            rows.and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }
}
