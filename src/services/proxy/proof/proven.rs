//! Who has proven their password to a backend, when and on which side. No password stands here, and nothing made of one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::route::Route;

/// A later proof is written down when the last one is so old, in seconds.
const DAY: i64 = 86_400;

/// One user on one side. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    pub user: String,
    pub side: Route,
    pub first: i64,
    pub last: i64,
}

pub(super) struct List {
    path: PathBuf,
    file: File,
    users: BTreeMap<(String, Route), (i64, i64)>,
}

impl List {
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("proven.log");
        let mut users = BTreeMap::new();
        let text = match std::fs::read(&path) {
            Ok(octets) => octets,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        // A line that a crash has cut short is none.
        for line in text.split(|b| *b == b'\n') {
            if let Ok(p) = serde_json::from_slice::<Proven>(line) {
                users.insert((p.user, p.side), (p.first, p.last));
            }
        }
        // Written anew, a line each.
        let mut octets = Vec::new();
        for ((user, side), (first, last)) in &users {
            serde_json::to_writer(
                &mut octets,
                &Proven { user: user.clone(), side: *side, first: *first, last: *last },
            )?;
            octets.push(b'\n');
        }
        super::replace(folder, &path, &octets)?;
        let file = std::fs::OpenOptions::new().append(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, users })
    }

    /// Notes a proof; whether that has to be forced to the disk.
    pub(super) fn note(&mut self, user: &str, side: Route, now: i64) -> std::io::Result<bool> {
        let known = self.users.get(&(user.to_owned(), side)).copied();
        if known.is_some_and(|(_, last)| now < last + DAY) {
            return Ok(false);
        }
        let proven = Proven { user: user.to_owned(), side, first: known.map_or(now, |(first, _)| first), last: now };
        let mut line = serde_json::to_vec(&proven)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.users.insert((proven.user, side), (proven.first, now));
        Ok(true)
    }

    pub(super) fn sync(&self) {
        if let Err(e) = self.file.sync_data() {
            tracing::error!("passwords: {}: {e}", self.path.display());
        }
    }

    pub(super) fn all(&self) -> Vec<Proven> {
        let one = |((user, side), (first, last)): (&(String, Route), &(i64, i64))| Proven {
            user: user.clone(),
            side: *side,
            first: *first,
            last: *last,
        };
        self.users.iter().map(one).collect()
    }
}
