//! What was done to whom and when, a line of JSON each, in the state folder. Where somebody stands is never read from here: gates and
//! content service are asked. It keeps what they do not know: how long logins waited, and who asked for the move.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::super::lines::author;
use crate::journal::StateDir;
use crate::moving::transfer::{Direction, End, Transfer};

/// What may lie between two groups of one run, in milliseconds.
const SAME_RUN_MS: u64 = 5_000;

pub struct Diary {
    path: PathBuf,
    state: StateDir,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    pub user: String,
    /// `new` or `old`.
    pub to: String,
    pub arrived: bool,
    pub held_ms: Option<u64>,
    pub messages: Option<u64>,
    pub octets: Option<u64>,
    pub why: Option<String>,
    /// USER@MACHINE.
    pub by: String,
}

impl Diary {
    pub fn of(state: &StateDir) -> Self {
        Self { path: state.path().join("moves.jsonl"), state: state.clone() }
    }

    /// Durable when it returns.
    pub fn write(&self, direction: Direction, done: &[Transfer]) -> Result<(), Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(format!("{}: what was done cannot be written down: {e}", self.path.display()))
                .help("people stand where `cutover user show` says; mend the folder")
        };
        let changed = |t: &&Transfer| matches!(t.end, End::Arrived | End::Stayed | End::Held);
        let by = author();
        let at = format!("{:.0}", jiff::Timestamp::now());
        let mut text = String::new();
        for t in done.iter().filter(changed) {
            let entry = Entry {
                at: at.clone(),
                user: t.user.clone(),
                to: direction.side().as_str().to_owned(),
                arrived: t.end == End::Arrived,
                held_ms: t.held_ms,
                messages: t.passed.as_ref().map(|p| p.appended),
                octets: t.passed.as_ref().map(|p| p.octets),
                why: t.why.clone(),
                by: by.clone(),
            };
            text += &serde_json::to_string(&entry).unwrap_or_default();
            text.push('\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        self.state.create().map_err(failed)?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
        (&file).write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// How long each group of people took to arrive on the new side, in milliseconds, with one of them. Who is written down together was
    /// held together; from one group to the next of the same run counts what lies between them, too.
    pub fn groups(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut all: BTreeMap<String, (String, u64)> = BTreeMap::new();
        for (user, entries) in self.read()? {
            for e in entries.iter().filter(|e| e.arrived && e.to == "new") {
                let held = e.held_ms.unwrap_or(0);
                let group = all.entry(e.at.clone()).or_insert_with(|| (user.clone(), held));
                group.1 = group.1.max(held);
            }
        }
        let mut before: Option<jiff::Timestamp> = None;
        let took = all.into_iter().map(|(at, (user, held))| {
            let at: Option<jiff::Timestamp> = at.parse().ok();
            let gap = at.zip(before).and_then(|(at, before)| u64::try_from(at.duration_since(before).as_millis()).ok());
            before = at;
            (user, gap.filter(|gap| *gap <= held.saturating_add(SAME_RUN_MS)).map_or(held, |gap| gap.max(held)))
        });
        Ok(took.collect())
    }

    /// Of each user all entries, the youngest last. A line that was cut off by a kill is passed over.
    pub fn read(&self) -> Result<BTreeMap<String, Vec<Entry>>, Failure> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Failure::new(format!("{}: {e}", self.path.display()))),
        };
        let mut by: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in text.lines().filter_map(|l| serde_json::from_str::<Entry>(l).ok()) {
            by.entry(entry.user.clone()).or_default().push(entry);
        }
        Ok(by)
    }
}
