//! Messages that are on both sides, or were.

use jiff::{Timestamp, tz::Offset};
use rusqlite::{Connection, Row as SqlRow, params};

use super::intents::Item;
use super::{Held, Way, failed};
use crate::services::cms::mailbox::{Date, Fault, Flags, Id, Mark, Sha256};

/// A message that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub row: i64,
    /// Its id on the side that is read; `None` after a renumbering until it is found again.
    pub from: Option<Id>,
    /// Its id on the side that is written; `None` when that side does not tell ids.
    pub to: Option<Id>,
    pub size: u64,
    pub digest: Sha256,
    /// As last carried over.
    pub flags: Flags,
    pub date: Option<Date>,
}

/// A message that was just stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub item: Item,
    pub to: Option<Id>,
}

pub(super) fn date(at: Option<i64>, zone: Option<i32>) -> Option<Date> {
    let zone = Offset::from_seconds(zone.unwrap_or(0)).ok()?;
    Some(Date { at: Timestamp::from_second(at?).ok()?, zone })
}

pub(super) fn digest(octets: Vec<u8>) -> Sha256 {
    Sha256(octets.try_into().unwrap_or([0; 32]))
}

pub(super) fn flags(text: &str) -> Flags {
    Flags::of(text.split(' '))
}

fn id(text: Option<String>) -> Option<Id> {
    text.map(|t| Id(t.into()))
}

fn row(r: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        row: r.get(0)?,
        from: id(r.get(1)?),
        to: id(r.get(2)?),
        size: r.get(3)?,
        digest: digest(r.get(4)?),
        flags: flags(&r.get::<_, String>(5)?),
        date: date(r.get(6)?, r.get(7)?),
    })
}

pub(super) fn store(db: &Connection, way: Way, folder: i64, stored: &[Stored]) -> rusqlite::Result<()> {
    let (f, t) = (way.from(), way.to());
    // A row that already has this id on the read side was re-appended: it gets its new place.
    let mut put = db.prepare_cached(&format!(
        "INSERT INTO message (folder, {f}_id, {t}_id, size, digest, flags, at, zone) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (folder, {f}_id) DO UPDATE SET {t}_id = ?3, size = ?4, digest = ?5, flags = ?6"
    ))?;
    let mut clear = db.prepare_cached("DELETE FROM exception WHERE folder = ?1 AND item = ?2")?;
    for s in stored {
        let i = &s.item;
        let (at, zone) = (i.date.map(|d| d.at.as_second()), i.date.map(|d| d.zone.seconds()));
        let to = s.to.as_ref().map(|id| id.0.as_str());
        put.execute(params![
            folder,
            i.source.0.as_str(),
            to,
            i.size as i64,
            i.digest.0,
            i.flags.to_string(),
            at,
            zone
        ])?;
        clear.execute(params![folder, i.source.0.as_str()])?;
    }
    Ok(())
}

impl Held {
    /// All messages of a folder, in the order in which they were stored.
    pub async fn rows(&self, way: Way, folder: i64) -> Result<Vec<Row>, Fault> {
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let mut asked = db
                .prepare_cached(&format!("SELECT id, {f}_id, {t}_id, size, digest, flags, at, zone FROM message WHERE folder = ?1 ORDER BY id"))
                .map_err(|e| failed(&e))?;
            asked.query_map([folder], row).and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }

    /// The messages with these ids on the read side.
    pub async fn rows_of(&self, way: Way, folder: i64, ids: Vec<Id>) -> Result<Vec<Row>, Fault> {
        self.run(move |db| {
            let (f, t) = (way.from(), way.to());
            let mut asked = db
                .prepare_cached(&format!(
                    "SELECT id, {f}_id, {t}_id, size, digest, flags, at, zone FROM message WHERE folder = ?1 AND {f}_id = ?2"
                ))
                .map_err(|e| failed(&e))?;
            let mut found = Vec::new();
            for id in ids {
                let rows = asked.query_map(params![folder, id.0.as_str()], row).map_err(|e| failed(&e))?;
                found.extend(rows.collect::<rusqlite::Result<Vec<_>>>().map_err(|e| failed(&e))?);
            }
            Ok(found)
        })
        .await
    }

    /// Which of these ids on the written side the ledger knows.
    pub async fn known_to(&self, way: Way, folder: i64, ids: Vec<Id>) -> Result<std::collections::HashSet<Id>, Fault> {
        self.run(move |db| {
            let t = way.to();
            let mut asked = db
                .prepare_cached(&format!("SELECT 1 FROM message WHERE folder = ?1 AND {t}_id = ?2"))
                .map_err(|e| failed(&e))?;
            let mut found = std::collections::HashSet::new();
            for id in ids {
                if asked.exists(params![folder, id.0.as_str()]).map_err(|e| failed(&e))? {
                    found.insert(id);
                }
            }
            Ok(found)
        })
        .await
    }

    pub async fn count(&self, folder: i64) -> Result<u64, Fault> {
        self.run(move |db| {
            db.query_row("SELECT count(*) FROM message WHERE folder = ?1", [folder], |r| r.get(0))
                .map_err(|e| failed(&e))
        })
        .await
    }

    /// Flags were carried over.
    pub async fn flagged(&self, flags: Vec<(i64, Flags)>) -> Result<(), Fault> {
        self.run(move |db| {
            let mut set = db.prepare_cached("UPDATE message SET flags = ?2 WHERE id = ?1").map_err(|e| failed(&e))?;
            flags
                .iter()
                .try_for_each(|(row, f)| set.execute(params![row, f.to_string()]).map(drop))
                .map_err(|e| failed(&e))
        })
        .await
    }

    /// Messages are gone on both sides.
    pub async fn forget(&self, rows: Vec<i64>) -> Result<(), Fault> {
        self.run(move |db| {
            let mut gone = db.prepare_cached("DELETE FROM message WHERE id = ?1").map_err(|e| failed(&e))?;
            rows.iter().try_for_each(|row| gone.execute([row]).map(drop)).map_err(|e| failed(&e))
        })
        .await
    }

    /// Messages are gone on the written side and are to be stored again: they are forgotten, and the read folder is looked into as a whole
    /// until that is done.
    pub async fn lose_rows(&self, way: Way, folder: i64, rows: Vec<i64>) -> Result<(), Fault> {
        self.run(move |db| {
            let side = way.from();
            db.execute(
                &format!(
                    "UPDATE folder SET {side}_mark = json_object('validity', json_extract({side}_mark, '$.validity'), 'next', NULL,
                     'modseq', NULL, 'count', 0) WHERE id = ?1 AND {side}_mark IS NOT NULL"
                ),
                [folder],
            )
            .map_err(|e| failed(&e))?;
            let mut gone = db.prepare_cached("DELETE FROM message WHERE id = ?1").map_err(|e| failed(&e))?;
            rows.iter().try_for_each(|row| gone.execute([row]).map(drop)).map_err(|e| failed(&e))
        })
        .await
    }

    /// What messages are called on the written side, found out later.
    pub async fn name_to(&self, way: Way, rows: Vec<(i64, Option<Id>)>) -> Result<(), Fault> {
        self.run(move |db| {
            let mut set = db
                .prepare_cached(&format!("UPDATE message SET {}_id = ?2 WHERE id = ?1", way.to()))
                .map_err(|e| failed(&e))?;
            rows.iter()
                .try_for_each(|(row, id)| set.execute(params![row, id.as_ref().map(|i| i.0.as_str())]).map(drop))
                .map_err(|e| failed(&e))
        })
        .await
    }

    /// All messages of the mailbox.
    pub async fn count_all(&self) -> Result<u64, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.query_row(
                "SELECT count(*) FROM message m JOIN folder f ON f.id = m.folder WHERE f.mailbox = ?1",
                [mailbox],
                |r| r.get(0),
            )
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// Stored messages of an intent that goes on.
    pub async fn record(&self, way: Way, folder: i64, stored: Vec<Stored>) -> Result<(), Fault> {
        self.run(move |db| store(db, way, folder, &stored).map_err(|e| failed(&e))).await
    }

    /// A folder was renumbered on the side `side` (`old`, `new`): its messages have other ids there now, or none, and its mark begins anew.
    /// All at once, since old and new ids may cross.
    pub async fn renumber(
        &self,
        side: &'static str,
        folder: i64,
        validity: u64,
        rows: Vec<(i64, Option<Id>)>,
    ) -> Result<(), Fault> {
        self.run(move |db| {
            let begun = serde_json::to_string(&Mark { validity, next: None, modseq: None, count: 0, state: None })
                .unwrap_or_default();
            db.execute(&format!("UPDATE message SET {side}_id = NULL WHERE folder = ?1"), [folder])
                .and_then(|_| {
                    db.execute(&format!("UPDATE folder SET {side}_mark = ?2 WHERE id = ?1"), params![folder, begun])
                })
                .map_err(|e| failed(&e))?;
            let mut set = db
                .prepare_cached(&format!("UPDATE message SET {side}_id = ?2 WHERE id = ?1"))
                .map_err(|e| failed(&e))?;
            rows.iter()
                .try_for_each(|(row, id)| set.execute(params![row, id.as_ref().map(|i| i.0.as_str())]).map(drop))
                .map_err(|e| failed(&e))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ledger, Way};
    use super::*;
    use crate::services::cms::mailbox::FolderPath;

    fn item(n: u32, body: u8) -> Item {
        Item {
            source: Id::uid(n),
            size: 10,
            digest: Sha256([body; 32]),
            flags: Flags::of(["\\Seen", "Work"]),
            date: None,
        }
    }

    #[tokio::test]
    async fn a_step_ends_one_append_and_announces_the_next_and_both_are_there_after_a_restart() {
        let state = tempfile::tempdir().expect("folder");
        let held = Ledger::open(state.path(), None).expect("ledger").take("ann").await.expect("lease");
        let inbox = FolderPath::inbox();
        let folder = held.add_folder(Way::Forward, inbox.clone(), None, inbox, true).await.expect("folder");
        let first = held
            .step(Way::Forward, folder, None, Some((7, Some(1), vec![item(1, 1), item(2, 1)])))
            .await
            .expect("step");
        let stored = vec![
            Stored { item: item(1, 1), to: Some(Id::uid(11)) },
            Stored { item: item(2, 1), to: Some(Id::uid(12)) },
        ];
        let done = Some((first.expect("intent"), stored));
        held.step(Way::Forward, folder, done, Some((7, Some(13), vec![item(3, 3)]))).await.expect("step");
        drop(held);
        let held =
            Ledger::open(state.path(), None).expect("ledger").take("ann").await.expect("a dead mover's lease is free");
        assert_eq!(held.token, 2);
        let intents = held.intents(Some(folder)).await.expect("intents");
        assert_eq!(
            intents.iter().map(|i| (i.next, i.items.clone())).collect::<Vec<_>>(),
            [(Some(13), vec![item(3, 3)])]
        );
        let rows = held.rows(Way::Back, folder).await.expect("rows");
        let ids: Vec<_> = rows.iter().map(|r| (r.from.clone(), r.to.clone())).collect();
        let pair = |new, old| (Some(Id::uid(new)), Some(Id::uid(old)));
        assert_eq!(ids, [pair(11, 1), pair(12, 2)], "two messages of the same content are two rows");
        assert!(rows[0].flags.same(&Flags::of(["\\Seen", "work"])));
    }

    #[tokio::test]
    async fn renumbered_ids_may_cross() {
        let state = tempfile::tempdir().expect("folder");
        let held = Ledger::open(state.path(), None).expect("ledger").take("ann").await.expect("lease");
        let inbox = FolderPath::inbox();
        let folder = held.add_folder(Way::Forward, inbox.clone(), None, inbox, true).await.expect("folder");
        let stored = (1..=3).map(|n| Stored { item: item(n, n as u8), to: Some(Id::uid(n + 10)) }).collect();
        held.resolve(Way::Forward, folder, 0, stored, false).await.expect("stored");
        let rows = held.rows(Way::Forward, folder).await.expect("rows");
        let crossed = vec![(rows[0].row, Some(Id::uid(2))), (rows[1].row, Some(Id::uid(1)))];
        held.renumber("old", folder, 9, crossed).await.expect("renumbered");
        let rows = held.rows(Way::Forward, folder).await.expect("rows");
        assert_eq!(rows.iter().map(|r| r.from.clone()).collect::<Vec<_>>(), [Some(Id::uid(2)), Some(Id::uid(1)), None]);
        let folder = &held.folders(Way::Forward).await.expect("folders")[0];
        assert_eq!(folder.from_mark.as_ref().map(|m| m.validity), Some(9));
    }

    /// Two movers on one mailbox: the second is refused while the first lives; one whose lease was taken over writes nothing any more.
    #[tokio::test]
    async fn failure_16_two_movers_on_one_mailbox() {
        let state = tempfile::tempdir().expect("folder");
        let (one, two) =
            (Ledger::open(state.path(), None).expect("one"), Ledger::open(state.path(), None).expect("two"));
        let first = one.take("ann").await.expect("lease");
        let refused = two.take("ann").await.map(drop).expect_err("the first lives");
        assert!(refused.what.contains("another mover"), "{refused}");
        two.run(|db| db.execute("UPDATE lease SET until = 0", []).map(drop).map_err(|e| failed(&e)))
            .await
            .expect("time passes");
        let second = two.take("ann").await.expect("its time is over");
        assert!(second.token > first.token);
        assert!(first.renew().await.is_err());
        assert!(first.step(Way::Forward, 1, None, Some((1, None, vec![item(1, 1)]))).await.is_err(), "fenced off");
        assert!(second.intents(None).await.expect("intents").is_empty());
    }
}
