//! The routes on disk: a log of changes behind a snapshot, in one file.
//!
//! A line is a sum and a JSON object. The sum goes over the line and the sum of the line before, so that a line that is lost or
//! altered is found. A change is acknowledged after it was forced to the disk; what is left of one that was cut short by a
//! crash is no whole line and is cut off. Only one process writes; another one, such as the one that takes over in an
//! upgrade, or the one that it relieves, reads along ([`Reader`]).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::route::{Change, Route, Table};

/// A log shorter than this is not worth a new snapshot.
const SHORT: u64 = 1 << 20;

const LOG: &str = "routes.log";

#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    /// What an administrator has to look at: routes that were acknowledged may be gone.
    #[error("{path} is damaged behind octet {at}: move it away and set the routes anew, or take it from a backup")]
    Damaged { path: PathBuf, at: u64 },
    #[error("{path} was written by a newer release (form {form})")]
    Newer { path: PathBuf, form: u32 },
    #[error("{path} is written by another process")]
    Taken { path: PathBuf },
    #[error("{path} could not be written before and is not touched again: restart the proxy")]
    Broken { path: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    form: u32,
    epoch: u64,
    users: Vec<(String, Route)>,
}

type Sum = [u8; 32];

fn sum(former: &Sum, body: &[u8]) -> Sum {
    Sha256::new().chain_update(former).chain_update(body).finalize().into()
}

fn line(former: &Sum, body: &[u8]) -> (Vec<u8>, Sum) {
    let sum = sum(former, body);
    let mut out = Vec::with_capacity(body.len() + 34);
    out.extend(sum.iter().take(16).flat_map(|b| format!("{b:02x}").into_bytes()));
    out.push(b' ');
    out.extend_from_slice(body);
    out.push(b'\n');
    (out, sum)
}

/// Reads the log, and what others append to it.
pub struct Reader {
    path: PathBuf,
    file: File,
    /// Of the file that is read, which a compaction replaces.
    inode: u64,
    /// Behind the last whole line.
    at: u64,
    sum: Sum,
}

impl Reader {
    /// Opens the log of a state folder and makes an empty one where there is none. The default route is not of the store.
    pub fn open(folder: &Path, default: Route) -> Result<(Self, Table), StoreFault> {
        let path = folder.join(LOG);
        let io = |error| StoreFault::Io { path: path.clone(), error };
        if !path.exists() {
            let snapshot = Snapshot { form: 1, epoch: 0, users: Vec::new() };
            write_whole(&path, &snapshot, true).map_err(io)?;
        }
        let file = File::open(&path).map_err(io)?;
        let inode = file.metadata().map_err(io)?.ino();
        let mut reader = Self { path, file, inode, at: 0, sum: [0; 32] };
        let table = Table { epoch: 0, default, users: Default::default() };
        let table = reader.read_whole(table)?;
        Ok((reader, table))
    }

    fn io(&self) -> impl Fn(std::io::Error) -> StoreFault + '_ {
        |error| StoreFault::Io { path: self.path.clone(), error }
    }

    /// Whole lines behind what was read; the bodies.
    fn lines(&mut self) -> Result<Vec<Vec<u8>>, StoreFault> {
        let mut octets = Vec::new();
        self.file.seek(SeekFrom::Start(self.at)).map_err(self.io())?;
        self.file.read_to_end(&mut octets).map_err(self.io())?;
        let mut bodies = Vec::new();
        let mut rest = octets.as_slice();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let body = rest.get(33..end).unwrap_or_default();
            let (expected, sum) = line(&self.sum, body);
            if expected != rest[..=end] {
                return Err(StoreFault::Damaged { path: self.path.clone(), at: self.at });
            }
            bodies.push(body.to_vec());
            self.sum = sum;
            self.at += end as u64 + 1;
            rest = &rest[end + 1..];
        }
        Ok(bodies)
    }

    fn read_whole(&mut self, mut table: Table) -> Result<Table, StoreFault> {
        let damaged = |at| StoreFault::Damaged { path: self.path.clone(), at };
        let (none, wrong) = (damaged(0), damaged(self.at));
        let bodies = self.lines()?;
        let (first, changes) = bodies.split_first().ok_or(none)?;
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        if let Ok(Form { form }) = serde_json::from_slice(first)
            && form != 1
        {
            return Err(StoreFault::Newer { path: self.path.clone(), form });
        }
        let Ok(snapshot) = serde_json::from_slice::<Snapshot>(first) else { return Err(wrong) };
        table.epoch = snapshot.epoch;
        table.users = snapshot.users.into_iter().collect();
        for body in changes {
            let Ok(change) = serde_json::from_slice::<Change>(body) else { return Err(wrong) };
            table.apply(&change);
        }
        Ok(table)
    }

    /// What has come since.
    pub fn news(&mut self, default: Route) -> Result<News, StoreFault> {
        let inode = std::fs::metadata(&self.path).map_err(self.io())?.ino();
        if inode != self.inode {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            let (reader, table) = Self::open(folder, default)?;
            *self = reader;
            return Ok(News::Table(table));
        }
        let bodies = self.lines()?;
        let changes = bodies.iter().map(|body| serde_json::from_slice(body));
        let changes = changes.collect::<Result<_, _>>();
        changes.map(News::Changes).map_err(|_| StoreFault::Damaged { path: self.path.clone(), at: self.at })
    }
}

/// What a [`Reader`] finds.
pub enum News {
    Changes(Vec<Change>),
    /// The log was written anew.
    Table(Table),
}

/// Writes the log. There is one for a state folder.
pub struct Store {
    path: PathBuf,
    file: File,
    length: u64,
    /// Length of the snapshot at the beginning.
    snapshot: u64,
    sum: Sum,
    broken: bool,
    /// Held as long as this lives.
    _lock: File,
}

impl Store {
    /// Opens a state folder for writing; the table is as the last acknowledged change left it.
    pub fn open(folder: &Path, default: Route) -> Result<(Self, Table), StoreFault> {
        let path = folder.join(LOG);
        let io = |error| StoreFault::Io { path: path.clone(), error };
        let lock = folder.join("routes.lock");
        let lock = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(lock).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreFault::Taken { path }),
            Err(e) => return Err(io(e.into())),
        }
        // A file of this name is a compaction that was killed: no one took it for the log.
        let _ = std::fs::remove_file(folder.join("routes.new"));
        let (reader, table) = Reader::open(folder, default)?;
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length > reader.at {
            // What a crash has cut short was never acknowledged.
            file.set_len(reader.at).and_then(|()| file.sync_all()).map_err(io)?;
            tracing::warn!("routes: {} octets of a change that nobody was told of are cut off", length - reader.at);
        }
        let snapshot = first_line(&file).map_err(io)?;
        let store = Self { path, file, length: reader.at, snapshot, sum: reader.sum, broken: false, _lock: lock };
        Ok((store, table))
    }

    /// Forces a change to the disk. After an error it is not there, now and after a restart.
    pub fn append(&mut self, change: &Change) -> Result<(), StoreFault> {
        if self.broken {
            return Err(StoreFault::Broken { path: self.path.clone() });
        }
        let failed = |error| StoreFault::Io { path: self.path.clone(), error };
        let body = serde_json::to_vec(change).map_err(|e| failed(e.into()))?;
        let (line, sum) = line(&self.sum, &body);
        if let Err(error) = self.file.write_all_at(&line, self.length).and_then(|()| self.file.sync_data()) {
            let undone = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
            // After a failed fsync nobody knows what the disk holds.
            self.broken = undone.is_err();
            return Err(failed(error));
        }
        self.length += line.len() as u64;
        self.sum = sum;
        Ok(())
    }

    /// Whether the changes outweigh the snapshot.
    pub fn is_long(&self) -> bool {
        self.length > SHORT && self.length > 4 * self.snapshot
    }

    /// Writes a snapshot of the table instead of all changes.
    pub fn compact(&mut self, table: &Table) -> Result<(), StoreFault> {
        let failed = |error| StoreFault::Io { path: self.path.clone(), error };
        let mut users: Vec<(String, Route)> = table.users.iter().map(|(u, r)| (u.clone(), *r)).collect();
        users.sort();
        let snapshot = Snapshot { form: 1, epoch: table.epoch, users };
        let (length, sum) = write_whole(&self.path, &snapshot, false).map_err(failed)?;
        self.file = std::fs::OpenOptions::new().read(true).write(true).open(&self.path).map_err(failed)?;
        (self.length, self.snapshot, self.sum) = (length, length, sum);
        Ok(())
    }
}

fn first_line(file: &File) -> std::io::Result<u64> {
    let mut octets = vec![0; 64 * 1024];
    let mut at = 0;
    loop {
        let n = file.read_at(&mut octets, at)?;
        match octets[..n].iter().position(|b| *b == b'\n') {
            Some(end) => return Ok(at + end as u64 + 1),
            None if n == 0 => return Ok(at),
            None => at += n as u64,
        }
    }
}

/// Writes a log that holds a snapshot only, all or nothing. With `new` one that is there meanwhile stays.
fn write_whole(path: &Path, snapshot: &Snapshot, new: bool) -> std::io::Result<(u64, Sum)> {
    let (line, sum) = line(&[0; 32], &serde_json::to_vec(snapshot)?);
    let folder = path.parent().unwrap_or(Path::new("."));
    // Apart for each process that finds no log.
    let next = match new {
        true => folder.join(format!("routes.first.{}", std::process::id())),
        false => folder.join("routes.new"),
    };
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&line)?;
    file.sync_all()?;
    if new {
        match std::fs::hard_link(&next, path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
            _ => std::fs::remove_file(&next)?,
        }
    } else {
        std::fs::rename(&next, path)?;
    }
    File::open(folder)?.sync_all()?;
    Ok((line.len() as u64, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(epoch: u64, user: &str, route: Option<Route>) -> Change {
        Change {
            epoch,
            users: vec![(user.to_owned(), route), (format!("{user}2"), route)],
            close: epoch.is_multiple_of(2),
        }
    }

    fn filled(folder: &Path) -> Vec<(u64, Table)> {
        let (mut store, mut table) = Store::open(folder, Route::Old).unwrap();
        let mut states = vec![(store.length, table.clone())];
        for e in 1..=6 {
            let change = change(e, ["ann", "b\u{fc}b\n", "cem"][e as usize % 3], (e != 4).then_some(Route::New));
            store.append(&change).unwrap();
            table.apply(&change);
            states.push((store.length, table.clone()));
        }
        states
    }

    #[test]
    fn a_log_that_is_cut_anywhere_holds_each_acknowledged_change_and_none_half() {
        let folder = tempfile::tempdir().unwrap();
        let states = filled(folder.path());
        let log = folder.path().join(LOG);
        let whole = std::fs::read(&log).unwrap();
        for cut in states[4].0..=whole.len() as u64 {
            std::fs::write(&log, &whole[..cut as usize]).unwrap();
            let (mut store, table) = Store::open(folder.path(), Route::Old).unwrap();
            let state = states.iter().rev().find(|(length, _)| *length <= cut).unwrap();
            assert_eq!(table, state.1, "cut at {cut}");
            // And it goes on from there.
            store.append(&change(100, "dan", Some(Route::Held))).unwrap();
            drop(store);
            let (_, table) = Store::open(folder.path(), Route::Old).unwrap();
            assert_eq!((table.epoch, table.of("dan")), (100, Route::Held));
        }
    }

    #[test]
    fn damage_is_told_and_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let states = filled(folder.path());
        let log = folder.path().join(LOG);
        let whole = std::fs::read(&log).unwrap();
        for at in 0..whole.len() {
            let mut octets = whole.clone();
            octets[at] ^= 4;
            std::fs::write(&log, &octets).unwrap();
            match Store::open(folder.path(), Route::Old) {
                Err(StoreFault::Damaged { .. } | StoreFault::Newer { .. }) => {}
                Err(other) => panic!("{at}: {other}"),
                // The very last line end: nobody can tell this from a line that was cut short.
                Ok((_, table)) => assert!(at == whole.len() - 1 && table == states[5].1, "{at}"),
            }
        }
        // A line that is lost from the middle.
        let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
        std::fs::write(&log, [lines[0], lines[2]].concat()).unwrap();
        assert!(matches!(Store::open(folder.path(), Route::Old), Err(StoreFault::Damaged { .. })));
    }

    #[test]
    fn one_process_writes_and_others_read_along_over_a_compaction() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, mut table) = Store::open(folder.path(), Route::Old).unwrap();
        assert!(matches!(Store::open(folder.path(), Route::Old), Err(StoreFault::Taken { .. })));
        let (mut reader, mut seen) = Reader::open(folder.path(), Route::Old).unwrap();
        for e in 1..=40 {
            let change = change(e, &format!("u{e}"), Some(Route::New));
            store.append(&change).unwrap();
            table.apply(&change);
            if e % 10 == 0 {
                store.compact(&table).unwrap();
            }
            if e % 3 == 0 {
                match reader.news(Route::Old).unwrap() {
                    News::Changes(changes) => changes.iter().for_each(|c| assert!(seen.apply(c))),
                    News::Table(table) => seen = table,
                }
                assert_eq!(seen, table, "{e}");
            }
        }
        drop(store);
        let (store, again) = Store::open(folder.path(), Route::Old).unwrap();
        assert_eq!(again, table);
        assert!(!store.is_long());
    }

    #[test]
    fn a_disk_that_takes_no_more_refuses_and_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(folder.path(), Route::Old).unwrap();
        store.append(&change(1, "ann", Some(Route::New))).unwrap();
        // /dev/full takes the place of a disk without room: it can be opened, and neither written nor cut.
        store.file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(matches!(store.append(&change(2, "bob", Some(Route::New))), Err(StoreFault::Io { .. })));
        assert!(matches!(store.append(&change(2, "bob", Some(Route::New))), Err(StoreFault::Broken { .. })));
        drop(store);
        let (_, table) = Store::open(folder.path(), Route::Old).unwrap();
        assert_eq!((table.epoch, table.of("bob")), (1, Route::Old));
    }
}
