//! Mailboxes: how far each has come, and what happened to it.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::{Held, Ledger, Way, astray, failed, now};
use crate::services::cms::mailbox::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing has been done.
    Waiting,
    /// The first pass runs, or was cut.
    Bulk,
    /// All was there once; passes follow.
    Delta,
    /// The final pass is done: the new side may be the user's.
    Moved,
    /// What the new side had is on the old side again.
    Back,
    /// It needs a person.
    Failed,
}

impl Phase {
    const ALL: [(Phase, &str); 6] = [
        (Phase::Waiting, "waiting"),
        (Phase::Bulk, "bulk"),
        (Phase::Delta, "delta"),
        (Phase::Moved, "moved"),
        (Phase::Back, "back"),
        (Phase::Failed, "failed"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(p, _)| *p == self).map_or("waiting", |(_, s)| s)
    }

    fn of(text: &str) -> Self {
        Self::ALL.iter().find(|(_, s)| *s == text).map_or(Phase::Waiting, |(p, _)| *p)
    }
}

/// What a pass did, for history, reports and people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    pub pass: String,
    pub seconds: f64,
    pub folders: u64,
    /// Not looked into, because their marks were as before.
    pub unchanged: u64,
    pub appended: u64,
    pub octets: u64,
    pub flags: u64,
    pub removed: u64,
    /// Appends whose answer was lost, and messages of theirs that were found on the target.
    pub doubts: u64,
    pub found: u64,
    /// Copies that a lost append left late, taken away again.
    pub surplus: u64,
    /// Things beside mail that were put or removed.
    #[serde(default)]
    pub things: u64,
    pub exceptions: u64,
    /// There are no exceptions, or no more than `limits.max-failed` allows.
    #[serde(default)]
    pub borne: bool,
    pub fault: Option<String>,
}

/// One mailbox at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub user: String,
    pub phase: Phase,
    pub way: Way,
    pub paused: bool,
    /// Messages and octets in the ledger.
    pub messages: u64,
    pub octets: u64,
    /// What the last listing of the source had.
    pub total: u64,
    pub total_octets: u64,
    pub exceptions: u64,
    /// Appends whose copies may still come late.
    pub watched: u64,
    /// They work on the old side, though the mailbox counts as moved; or did when they were held. A release before this one does not say.
    #[serde(default)]
    pub astray: bool,
    pub fault: Option<String>,
    /// Milliseconds since 1970.
    pub changed: i64,
}

pub(super) fn find_or_add(db: &Connection, user: &str) -> Result<i64, Fault> {
    db.execute(
        "INSERT INTO mailbox (user, phase, way, paused, retry, removals, changed, total, total_octets)
         VALUES (?1, 'waiting', 'forward', 0, 0, 0, ?2, 0, 0) ON CONFLICT (user) DO NOTHING",
        params![user, now()],
    )
    .and_then(|_| db.query_row("SELECT id FROM mailbox WHERE user = ?1", [user], |r| r.get(0)))
    .map_err(|e| failed(&e))
}

fn summaries(db: &Connection, user: Option<&str>) -> Result<Vec<Summary>, Fault> {
    let mut asked = db
        .prepare_cached(
            "SELECT user, phase, way, paused, total, total_octets, fault, changed,
                (SELECT count(*) FROM message m JOIN folder f ON f.id = m.folder WHERE f.mailbox = mailbox.id),
                (SELECT coalesce(sum(size), 0) FROM message m JOIN folder f ON f.id = m.folder WHERE f.mailbox = mailbox.id),
                (SELECT count(*) FROM exception e WHERE e.mailbox = mailbox.id),
                (SELECT count(*) FROM intent i WHERE i.mailbox = mailbox.id),
                EXISTS (SELECT 1 FROM astray a WHERE a.mailbox = mailbox.id)
             FROM mailbox WHERE ?1 IS NULL OR user = ?1 ORDER BY user",
        )
        .map_err(|e| failed(&e))?;
    let rows = asked.query_map([user], |r| {
        Ok(Summary {
            user: r.get(0)?,
            phase: Phase::of(&r.get::<_, String>(1)?),
            way: if r.get::<_, String>(2)? == "back" { Way::Back } else { Way::Forward },
            paused: r.get(3)?,
            total: r.get(4)?,
            total_octets: r.get(5)?,
            fault: r.get(6)?,
            changed: r.get(7)?,
            messages: r.get(8)?,
            octets: r.get(9)?,
            exceptions: r.get(10)?,
            watched: r.get(11)?,
            astray: r.get(12)?,
        })
    });
    rows.and_then(Iterator::collect).map_err(|e| failed(&e))
}

impl Ledger {
    pub async fn add(&self, users: Vec<String>) -> Result<(), Fault> {
        self.run(move |db| users.iter().try_for_each(|user| find_or_add(db, user).map(drop))).await
    }

    /// Of everybody, or of one.
    pub async fn summaries(&self, user: Option<&str>) -> Result<Vec<Summary>, Fault> {
        let user = user.map(str::to_owned);
        self.run(move |db| summaries(db, user.as_deref())).await
    }

    /// Phase of each mailbox, or of one, and whether it is paused. Counts nothing, so that it can be asked often.
    pub async fn phases(&self, user: Option<&str>) -> Result<Vec<(String, Phase, bool)>, Fault> {
        let user = user.map(str::to_owned);
        self.run(move |db| {
            let mut asked = db
                .prepare_cached("SELECT user, phase, paused FROM mailbox WHERE ?1 IS NULL OR user = ?1 ORDER BY user")
                .map_err(|e| failed(&e))?;
            let rows =
                asked.query_map([user], |r| Ok((r.get(0)?, Phase::of(&r.get::<_, String>(1)?), r.get::<_, bool>(2)?)));
            rows.and_then(Iterator::collect).map_err(|e| failed(&e))
        })
        .await
    }

    /// `false` when nobody of that name is known.
    pub async fn pause(&self, user: &str, on: bool) -> Result<bool, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            db.execute("UPDATE mailbox SET paused = ?2 WHERE user = ?1", params![user, on])
                .map(|n| n > 0)
                .map_err(|e| failed(&e))
        })
        .await
    }

    /// Exceptions are tried again at the next pass; with `removals` also what was held back because so much went at once.
    pub async fn retry(&self, user: &str, removals: bool) -> Result<bool, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            db.execute(
                "UPDATE mailbox SET retry = 1, removals = removals OR ?2, fault = NULL,
                 phase = CASE phase WHEN 'failed' THEN 'delta' ELSE phase END WHERE user = ?1",
                params![user, removals],
            )
            .map(|n| n > 0)
            .map_err(|e| failed(&e))
        })
        .await
    }

    pub async fn history(&self, user: &str) -> Result<Vec<(i64, Passed)>, Fault> {
        let user = user.to_owned();
        self.run(move |db| {
            let mut asked = db
                .prepare_cached(
                    "SELECT at, what FROM history WHERE mailbox = (SELECT id FROM mailbox WHERE user = ?1) ORDER BY id",
                )
                .map_err(|e| failed(&e))?;
            let rows = asked.query_map([user], |r| Ok((r.get(0)?, r.get::<_, String>(1)?)));
            let rows: Vec<(i64, String)> = rows.and_then(Iterator::collect).map_err(|e| failed(&e))?;
            Ok(rows.into_iter().filter_map(|(at, what)| Some((at, serde_json::from_str(&what).ok()?))).collect())
        })
        .await
    }
}

/// How a mailbox stood when a pass began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub phase: Phase,
    pub way: Way,
    pub retry: bool,
    pub removals: bool,
}

impl Held {
    pub async fn standing(&self) -> Result<Standing, Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.query_row("SELECT phase, way, retry, removals FROM mailbox WHERE id = ?1", [mailbox], |r| {
                Ok(Standing {
                    phase: Phase::of(&r.get::<_, String>(0)?),
                    way: if r.get::<_, String>(1)? == "back" { Way::Back } else { Way::Forward },
                    retry: r.get(2)?,
                    removals: r.get(3)?,
                })
            })
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// A pass begins. When it goes the other way than the last, or the source counts again after a switch, marks only tell
    /// which folder it is (a modseq of 0), so that every folder is looked into.
    pub async fn enter(&self, phase: Phase, way: Way) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let turned: bool = db
                .query_row(
                    "SELECT way <> ?2 OR (phase = 'moved' AND ?3 <> 'moved') FROM mailbox WHERE id = ?1",
                    params![mailbox, way.as_str(), phase.as_str()],
                    |r| r.get(0),
                )
                .map_err(|e| failed(&e))?;
            if turned {
                let begun = |side: &str| {
                    format!(
                        "{side}_mark = CASE WHEN {side}_mark IS NULL THEN NULL ELSE json_remove(json_set({side}_mark, '$.modseq', 0), '$.state') END"
                    )
                };
                db.execute(&format!("UPDATE folder SET {}, {} WHERE mailbox = ?1", begun("old"), begun("new")), [mailbox])
                    .map_err(|e| failed(&e))?;
            }
            db.execute(
                "UPDATE mailbox SET phase = ?2, way = ?3, changed = ?4 WHERE id = ?1 AND (phase, way) IS NOT (?2, ?3)",
                params![mailbox, phase.as_str(), way.as_str(), now()],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// What the read side has. `octets` are not asked for at each pass: what was told before stays.
    pub async fn total(&self, messages: u64, octets: Option<u64>) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            db.execute(
                "UPDATE mailbox SET total = ?2, total_octets = coalesce(?3, total_octets)
                 WHERE id = ?1 AND (total, total_octets) IS NOT (?2, coalesce(?3, total_octets))",
                params![mailbox, messages as i64, octets.map(|n| n as i64)],
            )
            .map(drop)
            .map_err(|e| failed(&e))
        })
        .await
    }

    /// Ends a pass: phase, what stopped it, and a line of history unless nothing happened.
    pub async fn ended(&self, phase: Phase, passed: Passed, clears: bool) -> Result<(), Fault> {
        let mailbox = self.mailbox;
        self.run(move |db| {
            let quiet = passed.fault.is_none() && passed.appended + passed.flags + passed.removed + passed.surplus + passed.things == 0;
            let what = serde_json::to_string(&passed).unwrap_or_default();
            let known: Option<(String, Option<String>)> = db
                .query_row("SELECT phase, fault FROM mailbox WHERE id = ?1", [mailbox], |r| Ok((r.get(0)?, r.get(1)?)))
                .optional()
                .map_err(|e| failed(&e))?;
            if known.as_ref().is_none_or(|(p, f)| p != phase.as_str() || *f != passed.fault) || clears {
                db.execute(
                    "UPDATE mailbox SET phase = ?2, fault = ?3, changed = ?4,
                     retry = CASE WHEN ?5 THEN 0 ELSE retry END, removals = CASE WHEN ?5 THEN 0 ELSE removals END WHERE id = ?1",
                    params![mailbox, phase.as_str(), passed.fault, now(), clears],
                )
                .map_err(|e| failed(&e))?;
            }
            astray::ended(db, mailbox, phase, &passed.pass)?;
            if !quiet || matches!(passed.pass.as_str(), "final" | "rollback" | "verify") {
                db.execute("INSERT INTO history (mailbox, at, what) VALUES (?1, ?2, ?3)", params![mailbox, now(), what])
                    .map_err(|e| failed(&e))?;
            }
            Ok(())
        })
        .await
    }
}
