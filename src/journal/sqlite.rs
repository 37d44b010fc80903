//! The journal in one SQLite file: write-ahead log, `synchronous=FULL`, so an acknowledged record survives a crash and a power cut.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::JournalError;
use super::record::{Entry, JOURNAL_VERSION, Saved, checksum, decode, encode, verify};
use super::store::{Store, Summary, Write};
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::observed::Observation;

const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE apply (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
        header BLOB NOT NULL, plan TEXT NOT NULL, sum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE record (
        apply INTEGER NOT NULL, seq INTEGER NOT NULL, version INTEGER NOT NULL,
        body BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (apply, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE observation (
        host TEXT PRIMARY KEY, at INTEGER NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE host (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL) STRICT;
";

/// Store over a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    /// Row id and last sequence number of the applies written to in this process.
    open: BTreeMap<String, (i64, i64)>,
    was_empty: bool,
}

/// How opening went wrong, or that the file cannot be trusted.
fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> JournalError + '_ {
    move |e| match damaged(&e) {
        Some(text) => JournalError::Damaged(text),
        None => JournalError::Open { path: path.to_owned(), why: e.to_string() },
    }
}

fn damaged(e: &rusqlite::Error) -> Option<String> {
    match e {
        rusqlite::Error::SqliteFailure(f, _)
            if matches!(f.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            Some(e.to_string())
        }
        // The file ends in the middle of a page.
        rusqlite::Error::SqliteFailure(f, _) if f.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ => {
            Some("it was cut".into())
        }
        // Tables or columns that are not ours, a value of another type: the schema page is not what we wrote.
        rusqlite::Error::SqliteFailure(_, Some(m)) if m.starts_with("no such") => Some(m.clone()),
        rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with("no such") => Some(msg.clone()),
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..) => Some(e.to_string()),
        _ => None,
    }
}

fn read(e: rusqlite::Error) -> JournalError {
    damaged(&e).map_or_else(|| JournalError::Read(e.to_string()), JournalError::Damaged)
}

fn write(e: rusqlite::Error) -> JournalError {
    damaged(&e).map_or_else(|| JournalError::Write(e.to_string()), JournalError::Damaged)
}

fn apply_place(name: &str) -> String {
    format!("the header of apply {name}")
}

fn record_place(name: &str, seq: i64) -> String {
    format!("record {seq} of apply {name}")
}

fn host_place(kind: &str, name: &str) -> String {
    format!("the {kind} of host {name}")
}

/// What the checksum of a header covers: the plan too.
fn header_sum(name: &str, version: u32, header: &[u8], plan: &str) -> [u8; 8] {
    let body: Vec<u8> = [header, &[0], plan.as_bytes()].concat();
    checksum(&apply_place(name), version, &body)
}

impl SqliteStore {
    /// Opens or makes the file and checks it whole: page structure, format, checksums of the last apply. [`JournalError::Damaged`]
    /// when it cannot be trusted.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut store = Self::connect(path, true)?;
        if let Some(last) = store.last_apply()? {
            store.load(&last)?;
        }
        Ok(store)
    }

    /// Opens or makes the file for what hosts answered, which is not in any apply: only what is read of it is checked. The pages of
    /// all applies and the plan of the last one are many times as much as an answer.
    pub fn open_beside(path: &Path) -> Result<Self, JournalError> {
        Self::connect(path, false)
    }

    fn connect(path: &Path, whole: bool) -> Result<Self, JournalError> {
        let existed = path.exists();
        let fail = failed(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags).map_err(&fail)?;
        db.busy_timeout(Duration::from_secs(10)).map_err(&fail)?;
        let empty = !existed
            || !check(&db, whole).map_err(|e| match e {
                JournalError::Read(why) => JournalError::Open { path: path.to_owned(), why },
                other => other,
            })?;
        let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |r| r.get(0)).map_err(&fail)?;
        if mode != "wal" {
            let why = format!("its file system gives no write-ahead log (journal mode {mode})");
            return Err(JournalError::Open { path: path.to_owned(), why });
        }
        db.execute_batch("PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;").map_err(&fail)?;
        if empty {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(&fail)?;
            // Two first uses at once: the second finds the tables there.
            let there: bool = tx
                .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')", [], |r| r.get(0))
                .map_err(&fail)?;
            if !there {
                tx.execute_batch(TABLES).map_err(&fail)?;
                tx.execute("INSERT INTO meta VALUES ('format', ?1)", [JOURNAL_VERSION.to_string()]).map_err(&fail)?;
            }
            tx.commit().map_err(&fail)?;
        }
        Ok(Self { db, open: BTreeMap::new(), was_empty: existed && empty })
    }

    /// The file was there and held nothing: cut to nothing, or its very first use was interrupted.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    fn last_apply(&self) -> Result<Option<String>, JournalError> {
        self.db.query_row("SELECT name FROM apply ORDER BY id DESC LIMIT 1", [], |r| r.get(0)).optional().map_err(read)
    }
}

/// Format and, of the `whole`, page structure of a file that was there before; `false` when it holds no tables yet.
fn check(db: &Connection, whole: bool) -> Result<bool, JournalError> {
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |r| r.get(0)).map_err(read)?;
    if tables == 0 {
        return Ok(false);
    }
    if whole {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(read)?;
        if verdict != "ok" {
            return Err(JournalError::Damaged(verdict));
        }
    }
    let format: Option<String> =
        db.query_row("SELECT value FROM meta WHERE key = 'format'", [], |r| r.get(0)).optional().map_err(read)?;
    match format.and_then(|f| f.parse::<u32>().ok()) {
        Some(found) if found > JOURNAL_VERSION => Err(JournalError::Newer { found }),
        Some(_) => Ok(true),
        None => Err(JournalError::Damaged("it does not say its format".into())),
    }
}

impl Store for SqliteStore {
    fn write(&mut self, batch: Vec<Write>) -> Result<(), JournalError> {
        let open = &mut self.open;
        let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(write)?;
        let mut tails = BTreeMap::new();
        for item in batch {
            match item {
                Write::Begin { header, plan } => {
                    let body = encode(&header)?;
                    let sum = header_sum(&header.apply, JOURNAL_VERSION, &body, &plan);
                    tx.prepare_cached(
                        "INSERT INTO apply (name, version, header, plan, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .and_then(|mut s| s.execute(params![header.apply, JOURNAL_VERSION, body, plan, sum]))
                    .map_err(write)?;
                    tails.insert(header.apply, (tx.last_insert_rowid(), 0));
                }
                Write::Append { apply, entries } => {
                    let (id, mut seq) = match tails.get(&apply).or_else(|| open.get(&apply)) {
                        Some(tail) => *tail,
                        None => tx
                            .query_row(
                                "SELECT id, coalesce((SELECT max(seq) FROM record WHERE apply = id), 0) FROM apply WHERE name = ?1",
                                [&apply],
                                |r| Ok((r.get(0)?, r.get(1)?)),
                            )
                            .map_err(write)?,
                    };
                    let mut insert =
                        tx.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5)").map_err(write)?;
                    for entry in entries {
                        seq += 1;
                        let body = encode(&entry)?;
                        let sum = checksum(&record_place(&apply, seq), JOURNAL_VERSION, &body);
                        insert.execute(params![id, seq, JOURNAL_VERSION, body, sum]).map_err(write)?;
                    }
                    tails.insert(apply, (id, seq));
                }
                Write::Observation { at, body: observation } => {
                    let host = &observation.host.0;
                    let body = encode(&observation)?;
                    let sum = checksum(&host_place("observation", host), JOURNAL_VERSION, &body);
                    tx.prepare_cached("INSERT OR REPLACE INTO observation VALUES (?1, ?2, ?3, ?4, ?5)")
                        .and_then(|mut s| s.execute(params![host, at, JOURNAL_VERSION, body, sum]))
                        .map_err(write)?;
                }
                Write::Hosts(hosts) => {
                    tx.execute("DELETE FROM host", []).map_err(write)?;
                    let mut insert = tx.prepare_cached("INSERT INTO host VALUES (?1, ?2, ?3, ?4)").map_err(write)?;
                    for (name, access) in hosts {
                        let body = encode(&access)?;
                        let sum = checksum(&host_place("access", &name.0), JOURNAL_VERSION, &body);
                        insert.execute(params![name.0, JOURNAL_VERSION, body, sum]).map_err(write)?;
                    }
                }
            }
        }
        tx.commit().map_err(write)?;
        open.extend(tails);
        Ok(())
    }

    fn load(&mut self, apply: &str) -> Result<Option<Saved>, JournalError> {
        let mut statement =
            self.db.prepare_cached("SELECT id, version, header, plan, sum FROM apply WHERE name = ?1").map_err(read)?;
        let mut rows = statement.query([apply]).map_err(read)?;
        let Some(row) = rows.next().map_err(read)? else { return Ok(None) };
        let (id, version): (i64, u32) = (row.get(0).map_err(read)?, row.get(1).map_err(read)?);
        let (header, plan): (Vec<u8>, String) = (row.get(2).map_err(read)?, row.get(3).map_err(read)?);
        let sum: Vec<u8> = row.get(4).map_err(read)?;
        if header_sum(apply, version, &header, &plan) != sum.as_slice() {
            return Err(JournalError::Damaged(format!("the checksum of {} does not fit", apply_place(apply))));
        }
        let header = decode(version, &header, &apply_place(apply))?;
        let plan = decode(version, plan.as_bytes(), &format!("the plan of apply {apply}"))?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut statement = self
            .db
            .prepare_cached("SELECT seq, version, body, sum FROM record WHERE apply = ?1 ORDER BY seq")
            .map_err(read)?;
        let mut rows = statement.query([id]).map_err(read)?;
        while let Some(row) = rows.next().map_err(read)? {
            let (seq, version): (i64, u32) = (row.get(0).map_err(read)?, row.get(1).map_err(read)?);
            let (body, sum): (Vec<u8>, Vec<u8>) = (row.get(2).map_err(read)?, row.get(3).map_err(read)?);
            if seq != entries.len() as i64 + 1 {
                return Err(JournalError::Damaged(format!(
                    "{} is missing",
                    record_place(apply, entries.len() as i64 + 1)
                )));
            }
            let place = record_place(apply, seq);
            verify(&place, version, &body, &sum)?;
            entries.push(decode(version, &body, &place)?);
        }
        Ok(Some(Saved { header, plan, entries }))
    }

    fn list(&mut self) -> Result<Vec<Summary>, JournalError> {
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT a.name, a.version, a.header, r.seq, r.version, r.body, r.sum FROM apply a LEFT JOIN record r
                 ON r.apply = a.id AND r.seq = (SELECT max(seq) FROM record WHERE apply = a.id) ORDER BY a.name",
            )
            .map_err(read)?;
        let mut rows = statement.query([]).map_err(read)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(read)? {
            let (name, version, header): (String, u32, Vec<u8>) =
                (row.get(0).map_err(read)?, row.get(1).map_err(read)?, row.get(2).map_err(read)?);
            let header = decode(version, &header, &apply_place(&name))?;
            let last: Option<i64> = row.get(3).map_err(read)?;
            let (mut entry, mut records) = (None, 0);
            if let Some(seq) = last {
                let (version, body, sum): (u32, Vec<u8>, Vec<u8>) =
                    (row.get(4).map_err(read)?, row.get(5).map_err(read)?, row.get(6).map_err(read)?);
                let place = record_place(&name, seq);
                verify(&place, version, &body, &sum)?;
                entry = Some(decode(version, &body, &place)?);
                records = seq as u64;
            }
            out.push(Summary { header, last: entry, records });
        }
        Ok(out)
    }

    fn observation(&mut self, host: &HostName) -> Result<Option<(i64, Observation)>, JournalError> {
        let row: Option<(i64, u32, Vec<u8>, Vec<u8>)> = self
            .db
            .query_row("SELECT at, version, body, sum FROM observation WHERE host = ?1", [&host.0], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
            })
            .optional()
            .map_err(read)?;
        let Some((at, version, body, sum)) = row else { return Ok(None) };
        let place = host_place("observation", &host.0);
        verify(&place, version, &body, &sum)?;
        Ok(Some((at, decode(version, &body, &place)?)))
    }

    fn hosts(&mut self) -> Result<BTreeMap<HostName, HostAccess>, JournalError> {
        let mut statement = self.db.prepare_cached("SELECT name, version, body, sum FROM host").map_err(read)?;
        let mut rows = statement.query([]).map_err(read)?;
        let mut out = BTreeMap::new();
        while let Some(row) = rows.next().map_err(read)? {
            let (name, version): (String, u32) = (row.get(0).map_err(read)?, row.get(1).map_err(read)?);
            let (body, sum): (Vec<u8>, Vec<u8>) = (row.get(2).map_err(read)?, row.get(3).map_err(read)?);
            let place = host_place("access", &name);
            verify(&place, version, &body, &sum)?;
            out.insert(HostName(name), decode(version, &body, &place)?);
        }
        Ok(out)
    }
}
