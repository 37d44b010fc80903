//! Where the table of routes comes from: the store, which is changed over the control socket, or a file that others write.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};

use super::config::{Config, RouteSource};
use super::handle::Handle;
use super::meter::Meter;
use super::route::{Change, Route, Routes, Table, Victim};
use super::store::{News, Reader, Store, StoreFault};

/// Octets of a route file; more is none.
const LARGEST: u64 = 256 << 20;

/// A change that somebody wishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Without a route the user is named no more.
    pub users: Vec<(String, Option<Route>)>,
    /// Sessions of these users that run by another route are closed.
    pub close: bool,
    /// The epoch that the table must have, so that nobody overwrites what they have not seen.
    pub expect: Option<u64>,
}

/// A change that holds now, and after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub epoch: u64,
    /// Sessions that were told to close.
    pub victims: Vec<Victim>,
}

#[derive(Debug, thiserror::Error)]
pub enum WishFault {
    #[error("routes come from {0}: change that file, or write source = \"store\"")]
    File(PathBuf),
    #[error("the epoch is {is}, not {expected}: somebody else has changed routes meanwhile; look again")]
    Epoch { expected: u64, is: u64 },
    #[error("{0:?} is no user: a name has 1 to 512 octets and no control characters")]
    Name(String),
    #[error("no user is named")]
    Nobody,
    #[error(transparent)]
    Store(#[from] StoreFault),
}

pub(super) enum Source {
    Store { folder: PathBuf, books: Mutex<Books> },
    File(Mutex<Watched>),
}

pub(super) enum Books {
    Writer(Store),
    /// Another process writes; this one takes over when that has ended.
    Reader(Reader),
    /// Another process has taken over.
    Relieved(Reader),
}

/// A route file as it was when it was last looked at.
pub(super) struct Watched {
    path: PathBuf,
    seen: Option<Seen>,
}

/// Device, inode, length, time of the last change in nanoseconds: a file that is replaced or written to differs in one.
type Seen = (u64, u64, u64, i64, i64);

fn look(path: &Path) -> std::io::Result<Seen> {
    let m = std::fs::metadata(path)?;
    Ok((m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

fn read(path: &Path) -> Result<Table, String> {
    let (m, name) = (std::fs::metadata(path), path.display());
    match m {
        Err(e) => return Err(format!("{name}: {e}")),
        Ok(m) if m.len() > LARGEST => return Err(format!("{name} has {} octets", m.len())),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    Table::parse(&text).map_err(|e| format!("{name}: {e}"))
}

impl Source {
    /// Opens the source; the table as it was left.
    pub(super) fn open(config: &Config) -> Result<(Self, Table), String> {
        let (routing, folder) = (&config.routes, &config.proxy.state);
        match (routing.source, &routing.file) {
            (RouteSource::File, Some(path)) => {
                let seen = look(path).ok();
                let table = read(path).map_err(|e| format!("routes.file: {e}"))?;
                Ok((Self::File(Mutex::new(Watched { path: path.clone(), seen })), table))
            }
            (RouteSource::File, None) => Err("routes.file: which file?".into()),
            (RouteSource::Store, _) => {
                let failed = |e: StoreFault| format!("proxy.state: {e}");
                let (books, table) = match Store::open(folder, routing.default) {
                    Ok((store, table)) => (Books::Writer(store), table),
                    Err(StoreFault::Taken { .. }) => {
                        let (reader, table) = Reader::open(folder, routing.default).map_err(failed)?;
                        (Books::Reader(reader), table)
                    }
                    Err(e) => return Err(failed(e)),
                };
                Ok((Self::Store { folder: folder.clone(), books: Mutex::new(books) }, table))
            }
        }
    }

    /// Makes a change durable, then puts it in force.
    pub(super) fn set(&self, wish: Wish, routes: &Routes<Handle>) -> Result<Done, WishFault> {
        let (folder, mut books) = match self {
            Self::File(watched) => return Err(WishFault::File(lock(watched).path.clone())),
            Self::Store { folder, books } => (folder, lock(books)),
        };
        if wish.users.is_empty() {
            return Err(WishFault::Nobody);
        }
        let wrong = |n: &&String| n.is_empty() || n.len() > 512 || n.contains(char::is_control);
        if let Some(name) = wish.users.iter().map(|(name, _)| name).find(wrong) {
            return Err(WishFault::Name(name.clone()));
        }
        take_over(&mut books, folder, routes)?;
        let Books::Writer(store) = &mut *books else {
            return Err(StoreFault::Taken { path: folder.join("routes.log") }.into());
        };
        // Nobody else changes it: the books are locked.
        let is = routes.epoch();
        if let Some(expected) = wish.expect.filter(|e| *e != is) {
            return Err(WishFault::Epoch { expected, is });
        }
        let change = Change { epoch: is + 1, users: wish.users, close: wish.close };
        store.append(&change)?;
        let victims = routes.apply(&change).unwrap_or_default();
        if store.is_long()
            && let Err(e) = routes.read(|table| store.compact(table))
        {
            // The log is long, and goes on as it is.
            tracing::warn!("routes: no snapshot could be written: {e}");
        }
        Ok(Done { epoch: change.epoch, victims })
    }

    /// Looks whether others have changed anything, and puts it in force. A fault is told once.
    pub(super) fn look(&self, close: bool, routes: &Routes<Handle>, meter: &Meter) -> Option<String> {
        let fault = match self {
            Self::File(watched) => {
                let fault = lock(watched).look(close, routes);
                if fault.is_some() {
                    meter.route_file_faults.fetch_add(1, Ordering::Relaxed);
                }
                fault
            }
            Self::Store { folder, books } => {
                let mut books = lock(books);
                match take_over(&mut books, folder, routes).and_then(|()| follow(&mut books, routes)) {
                    Ok(()) => None,
                    Err(e) => Some(e.to_string()),
                }
            }
        };
        meter.epoch.store(routes.epoch(), Ordering::Relaxed);
        fault
    }

    /// Leaves the store to the process that takes over, and reads along.
    pub(super) fn hand_over(&self, routes: &Routes<Handle>) -> Result<(), StoreFault> {
        let Self::Store { folder, books } = self else { return Ok(()) };
        let mut books = lock(books);
        // Opened before the lock is let go, so that no change falls between.
        let (reader, table) = Reader::open(folder, routes.read(|t| t.default))?;
        routes.replace(table, false);
        *books = Books::Relieved(reader);
        Ok(())
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(|e| e.into_inner())
}

/// A reader becomes the writer when the former one is gone.
fn take_over(books: &mut Books, folder: &Path, routes: &Routes<Handle>) -> Result<(), StoreFault> {
    if !matches!(books, Books::Reader(_)) {
        return Ok(());
    }
    // Its changes first, so that their sessions are closed as they ask for.
    follow(books, routes)?;
    match Store::open(folder, routes.read(|t| t.default)) {
        Ok((store, _)) => {
            follow(books, routes)?;
            *books = Books::Writer(store);
            Ok(())
        }
        Err(StoreFault::Taken { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

fn follow(books: &mut Books, routes: &Routes<Handle>) -> Result<(), StoreFault> {
    let (Books::Reader(reader) | Books::Relieved(reader)) = books else { return Ok(()) };
    match reader.news(routes.read(|t| t.default))? {
        News::Changes(changes) => changes.iter().for_each(|c| drop(routes.apply(c))),
        // Which of them asked to close is lost with the log.
        News::Table(table) => drop(routes.replace(table, true)),
    }
    Ok(())
}

impl Watched {
    fn look(&mut self, close: bool, routes: &Routes<Handle>) -> Option<String> {
        let seen = look(&self.path).ok();
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        let kept = "; the routes that were there go on";
        let table = match read(&self.path) {
            Ok(table) => table,
            Err(e) => return Some(format!("{e}{kept}")),
        };
        let (epoch, is) = (table.epoch, routes.epoch());
        match epoch.cmp(&is) {
            std::cmp::Ordering::Greater => {
                let closed = routes.replace(table, close).map_or(0, |v| v.len());
                tracing::info!("routes: epoch {epoch} from {}, {closed} sessions closed", self.path.display());
                None
            }
            std::cmp::Ordering::Equal if routes.read(|t| *t == table) => None,
            _ => Some(format!("{}: its epoch {epoch} is not newer than {is}{kept}", self.path.display())),
        }
    }
}
