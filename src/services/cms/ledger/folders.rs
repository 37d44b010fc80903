//! Folders of a mailbox, on both sides.

use rusqlite::{Row as SqlRow, params};

use super::{Held, Ledger, Way, failed};
use crate::services::cms::mailbox::{Fault, FolderPath, Mark, Sha256};

/// A pair of folders that belong together. `from` and `to` are those of the way that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: i64,
    pub from_path: FolderPath,
    pub from_identity: Option<String>,
    /// Up to where the side was worked off.
    pub from_mark: Option<Mark>,
    pub to_path: FolderPath,
    /// How the side stood after the last write to it.
    pub to_mark: Option<Mark>,
    pub subscribed: bool,
}

fn mark(text: Option<String>) -> Option<Mark> {
    serde_json::from_str(&text?).ok()
}

fn written(mark: Option<&Mark>) -> Option<String> {
    mark.and_then(|m| serde_json::to_string(m).ok())
}

fn path(text: &str) -> FolderPath {
    FolderPath::of_key(text).unwrap_or_else(FolderPath::inbox)
}

fn known(r: &SqlRow<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        id: r.get(0)?,
        from_path: path(&r.get::<_, String>(1)?),
        from_identity: r.get(2)?,
        from_mark: mark(r.get(3)?),
        to_path: path(&r.get::<_, String>(4)?),
        to_mark: mark(r.get(5)?),
        subscribed: r.get(6)?,
    })
}

impl Held {
    pub async fn folders(&self, way: Way) -> Result<Vec<Known>, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let mut asked = db
                .prepare_cached(&format!(
                    "SELECT id, {f}_path, {f}_identity, {f}_mark, {t}_path, {t}_mark, subscribed FROM folder WHERE mailbox = ?1 ORDER BY id"
                ))
                .map_err(|e| failed(&e))?;
            asked.query_map([mailbox], known).and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }

    /// Takes a folder that several mailboxes see and none owns; `false` when another mailbox has it.
    pub async fn claim_folder(&self, way: Way, from: FolderPath, to: FolderPath) -> Result<bool, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let taken: bool = db
                .query_row(
                    &format!("SELECT EXISTS (SELECT 1 FROM folder WHERE mailbox <> ?1 AND {f}_path = ?2)"),
                    params![mailbox, from.key()],
                    |r| r.get(0),
                )
                .map_err(|e| failed(&e))?;
            if taken {
                return Ok(false);
            }
            db.execute(
                &format!(
                    "INSERT INTO folder (mailbox, {f}_path, {t}_path, subscribed) VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING"
                ),
                params![mailbox, from.key(), to.key()],
            )
            .map_err(|e| failed(&e))?;
            Ok(true)
        })
        .await
    }

    pub async fn add_folder(
        &self,
        way: Way,
        from: FolderPath,
        identity: Option<String>,
        to: FolderPath,
        subscribed: bool,
    ) -> Result<i64, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            db.query_row(
                &format!(
                    "INSERT INTO folder (mailbox, {f}_path, {f}_identity, {t}_path, subscribed) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id"
                ),
                params![mailbox, from.key(), identity, to.key(), subscribed],
                |r| r.get(0),
            )
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// The folder has other names, or another subscription. Marks stay.
    pub async fn name_folder(
        &self,
        way: Way,
        id: i64,
        from: FolderPath,
        identity: Option<String>,
        to: FolderPath,
        subscribed: bool,
    ) -> Result<(), Fault> {
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            db.execute(
                &format!(
                    "UPDATE folder SET {f}_path = ?2, {f}_identity = ?3, {t}_path = ?4, subscribed = ?5 WHERE id = ?1"
                ),
                params![id, from.key(), identity, to.key(), subscribed],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// A folder was worked off: both sides stand at these marks.
    pub async fn mark_folder(&self, way: Way, id: i64, from: Option<Mark>, to: Option<Mark>) -> Result<(), Fault> {
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            db.execute(
                &format!("UPDATE folder SET {f}_mark = ?2, {t}_mark = ?3 WHERE id = ?1 AND ({f}_mark, {t}_mark) IS NOT (?2, ?3)"),
                params![id, written(from.as_ref()), written(to.as_ref())],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// The folder is gone on both sides, or is to be forgotten.
    pub async fn drop_folder(&self, id: i64) -> Result<(), Fault> {
        self.run(move |db| {
            db.execute("DELETE FROM item WHERE intent IN (SELECT id FROM intent WHERE folder = ?1)", [id])
                .and_then(|_| db.execute("DELETE FROM intent WHERE folder = ?1", [id]))
                .and_then(|_| db.execute("DELETE FROM message WHERE folder = ?1", [id]))
                .and_then(|_| db.execute("DELETE FROM exception WHERE folder = ?1", [id]))
                .and_then(|_| db.execute("DELETE FROM folder WHERE id = ?1", [id]))
                .map(drop)
                .map_err(|e| failed(&e))
        })
        .await
    }
}

/// Old path, new path, digests, octets.
pub type Contents = (String, String, Vec<Sha256>, u64);

impl Ledger {
    /// What each folder of a user holds, by path.
    pub async fn contents(&self, user: &str) -> Result<Vec<Contents>, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT f.old_path, f.new_path, m.digest, m.size FROM folder f LEFT JOIN message m ON m.folder = f.id
                     WHERE f.mailbox = (SELECT id FROM mailbox WHERE user = ?1) ORDER BY f.old_path, f.id",
                )
                .map_err(|e| failed(&e))?;
            let mut rows = asked.query([user]).map_err(|e| failed(&e))?;
            let mut found: Vec<Contents> = Vec::new();
            while let Some(r) = rows.next().map_err(|e| failed(&e))? {
                let paths = r.get(0).and_then(|old: String| Ok((old, r.get::<_, String>(1)?)));
                let (old, new) = paths.map_err(|e| failed(&e))?;
                let digest: Option<Vec<u8>> = r.get(2).map_err(|e| failed(&e))?;
                let size: Option<u64> = r.get(3).map_err(|e| failed(&e))?;
                if found.last().is_none_or(|l| l.0 != old) {
                    found.push((old, new, Vec::new(), 0));
                }
                if let (Some(last), Some(digest)) = (found.last_mut(), digest) {
                    last.2.push(super::messages::digest(digest));
                    last.3 += size.unwrap_or(0);
                }
            }
            Ok(found)
        })
        .await
    }
}
