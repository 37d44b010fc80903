//! The tables. A column that exists twice is named by its side: `old_`, `new_`.

use rusqlite::Connection;

const VERSION: i64 = 2;

const TABLES: &str = "
    CREATE TABLE mailbox (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, way TEXT NOT NULL, paused INTEGER NOT NULL,
        retry INTEGER NOT NULL, removals INTEGER NOT NULL, fault TEXT, changed INTEGER NOT NULL,
        total INTEGER NOT NULL, total_octets INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE lease (mailbox INTEGER PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
    CREATE TABLE folder (
        id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL,
        old_path TEXT NOT NULL, old_identity TEXT, old_mark TEXT,
        new_path TEXT NOT NULL, new_identity TEXT, new_mark TEXT,
        subscribed INTEGER NOT NULL,
        UNIQUE (mailbox, old_path)
    ) STRICT;
    CREATE TABLE message (
        id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, old_id TEXT, new_id TEXT,
        size INTEGER NOT NULL, digest BLOB NOT NULL, flags TEXT NOT NULL, at INTEGER, zone INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX message_old ON message (folder, old_id);
    CREATE UNIQUE INDEX message_new ON message (folder, new_id);
    CREATE TABLE intent (
        id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, folder INTEGER NOT NULL, way TEXT NOT NULL,
        validity INTEGER NOT NULL, next INTEGER, made INTEGER NOT NULL, state INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX intent_folder ON intent (folder);
    CREATE TABLE item (
        intent INTEGER NOT NULL, n INTEGER NOT NULL, source TEXT NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL,
        flags TEXT NOT NULL, at INTEGER, zone INTEGER, PRIMARY KEY (intent, n)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE exception (
        id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, folder INTEGER NOT NULL, item TEXT NOT NULL, class TEXT NOT NULL,
        what TEXT NOT NULL, since INTEGER NOT NULL, UNIQUE (mailbox, folder, item)
    ) STRICT;
    CREATE TABLE history (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, at INTEGER NOT NULL, what TEXT NOT NULL) STRICT;
";

/// From form 1 to form 2: what is carried beside mail. Both sides call a thing the same so far; marks are what each end says of it.
const THINGS: &str = "
    CREATE TABLE thing (
        id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, item TEXT NOT NULL, old_id TEXT NOT NULL, new_id TEXT NOT NULL,
        old_mark TEXT NOT NULL, new_mark TEXT NOT NULL, digest BLOB NOT NULL, notes TEXT NOT NULL, UNIQUE (mailbox, item, old_id)
    ) STRICT;
";

pub(super) fn prepare(db: &Connection) -> Result<(), String> {
    let text = |e: rusqlite::Error| format!("ledger.db: {e}");
    db.busy_timeout(super::PATIENCE).map_err(text)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4000; BEGIN IMMEDIATE")
        .map_err(text)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(text)?;
    let prepared = match version {
        0 => db.execute_batch(&format!("{TABLES} {THINGS} PRAGMA user_version={VERSION}; COMMIT")).map_err(text),
        1 => db.execute_batch(&format!("{THINGS} PRAGMA user_version={VERSION}; COMMIT")).map_err(text),
        VERSION => db.execute_batch("COMMIT").map_err(text),
        other => {
            Err(format!("ledger.db has form {other}, and this release knows {VERSION}; use the release that wrote it"))
        }
    };
    let beside = [super::claims::TABLES, super::astray::TABLES].concat();
    prepared.and_then(|()| db.execute_batch(&beside).map_err(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_form_1_is_brought_to_form_2_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger.db");
        let old = Connection::open(&path).expect("ledger");
        old.execute_batch(&format!(
            "{TABLES} PRAGMA user_version=1;
             INSERT INTO mailbox VALUES (7, 'ann', 'delta', 'forward', 0, 0, 0, NULL, 1, 2, 3);"
        ))
        .expect("form 1");
        drop(old);
        for _ in 0..2 {
            let db = Connection::open(&path).expect("ledger");
            prepare(&db).expect("form 2");
            let count = |what: &str| db.query_row(what, [], |r| r.get::<_, i64>(0)).expect(what);
            assert_eq!(count("PRAGMA user_version"), 2);
            assert_eq!(count("SELECT id FROM mailbox WHERE user = 'ann' AND phase = 'delta'"), 7);
            assert_eq!(count("SELECT count(*) FROM thing"), 0);
        }
        let db = Connection::open(&path).expect("ledger");
        db.execute_batch("PRAGMA user_version=3").expect("form 3");
        assert!(prepare(&db).expect_err("of a later release").contains("form 3"));
    }
}
