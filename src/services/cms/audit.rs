//! The audit log: every decision, one JSON object a line, each with the digest of the one before it, so that a line that was changed,
//! taken out or put in shows.
//!
//! `sum` is the SHA-256, in hexadecimal, of `prev`, a line feed, and the text of `event` as it stands in the line. The first `prev` is empty.
//! Several processes may write to one log; each appends under a lock of the file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::model::Digest;
use serde::{Deserialize, Serialize};

use super::mailbox::{Class, Fault};

/// What the log tells. Never a password.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    Pass {
        user: &'a str,
        pass: &'a str,
        token: i64,
    },
    Ended {
        user: &'a str,
        what: &'a super::ledger::Passed,
    },
    FolderMade {
        user: &'a str,
        folder: &'a str,
        at: &'a str,
    },
    FolderRenamed {
        user: &'a str,
        folder: &'a str,
        from: &'a str,
        to: &'a str,
    },
    FolderRemoved {
        user: &'a str,
        folder: &'a str,
    },
    /// Messages that the read side no longer has are removed from the written one.
    Removed {
        user: &'a str,
        folder: &'a str,
        ids: Vec<&'a str>,
    },
    /// So much went at once that it was kept.
    RemovalsHeld {
        user: &'a str,
        left: u64,
        known: u64,
    },
    Renumbered {
        user: &'a str,
        folder: &'a str,
        side: &'a str,
        known: usize,
        found: usize,
    },
    /// An append whose answer was lost: how many of its messages were found.
    Doubt {
        user: &'a str,
        folder: &'a str,
        intent: i64,
        messages: usize,
        found: usize,
    },
    /// A copy that a lost append left late, byte for byte one that is there already.
    Surplus {
        user: &'a str,
        folder: &'a str,
        intent: i64,
        id: &'a str,
        digest: String,
    },
    /// Something beside mail was put or removed on the written side.
    Thing {
        user: &'a str,
        item: &'a str,
        id: &'a str,
        what: &'a str,
    },
    /// A person said that the mover with another ledger is gone.
    TakenOver {
        user: &'a str,
        from: &'a str,
    },
    Exception {
        user: &'a str,
        folder: &'a str,
        item: &'a str,
        class: Class,
        what: &'a str,
    },
    Command {
        user: &'a str,
        command: &'a str,
        uid: Option<u32>,
    },
}

/// A line: these three, then `event`, which stays text because its digest is that of its text.
#[derive(Deserialize)]
struct Line {
    prev: String,
    sum: String,
}

const EVENT: &str = ",\"event\":";

fn read(text: &str) -> Option<(Line, &str)> {
    let (head, event) = text.split_once(EVENT)?;
    Some((serde_json::from_str(&format!("{head}}}")).ok()?, event.strip_suffix('}')?))
}

#[derive(Clone)]
pub struct Audit {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: File,
    /// Octets up to where this process knows the log, and the last sum.
    end: u64,
    last: String,
}

fn failed(e: &dyn std::fmt::Display) -> Fault {
    Fault::new(Class::Local, format!("the audit log: {e}"))
}

impl Audit {
    pub fn open(state: &Path) -> Result<Self, Fault> {
        std::fs::create_dir_all(state).map_err(|e| failed(&e))?;
        let file = File::options().create(true).read(true).append(true).mode(0o600).open(state.join("audit.log"));
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner { file: file.map_err(|e| failed(&e))?, end: 0, last: String::new() })),
        })
    }

    /// Writes an event; it is in the file when this returns, and on the disk with the next [`Audit::sync`].
    pub fn tell(&self, event: &Event<'_>) -> Result<(), Fault> {
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.file.lock().map_err(|e| failed(&e))?;
        let told = inner.append(event);
        let _ = inner.file.unlock();
        told.map_err(|e| failed(&e))
    }

    /// Before something is done that cannot be told from the ledger later: a removal.
    pub async fn sync(&self) -> Result<(), Fault> {
        let inner = self.inner.clone();
        let sync = move || inner.lock().unwrap_or_else(|e| e.into_inner()).file.sync_data();
        tokio::task::spawn_blocking(sync).await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }
}

impl Inner {
    fn append(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let length = self.file.metadata()?.len();
        if length != self.end {
            let mut rest = String::new();
            self.file.seek(SeekFrom::Start(self.end))?;
            (&self.file).take(length - self.end).read_to_string(&mut rest)?;
            // What a kill left of a line is cut away.
            let whole = rest.rfind('\n').map_or(0, |n| n + 1);
            if let Some(line) = rest[..whole].lines().last()
                && let Some((line, _)) = read(line)
            {
                self.last = line.sum;
            }
            self.end += whole as u64;
            if whole < rest.len() {
                self.file.set_len(self.end)?;
            }
        }
        let event = serde_json::to_string(event)?;
        let sum = sum(&self.last, &event);
        let at = jiff::Timestamp::now();
        let octets =
            format!("{{\"at\":\"{at}\",\"prev\":\"{}\",\"sum\":\"{sum}\"{EVENT}{event}}}\n", self.last).into_bytes();
        self.file.write_all(&octets)?;
        self.end += octets.len() as u64;
        self.last = sum;
        Ok(())
    }
}

fn sum(prev: &str, event: &str) -> String {
    Digest::of(format!("{prev}\n{event}").as_bytes()).0
}

/// Follows the chain from the first line to the last: their number and the last sum, or the first line that does not fit.
pub fn check(text: &str) -> Result<(usize, String), String> {
    let mut last = String::new();
    let mut count = 0;
    for (n, text) in text.lines().enumerate() {
        let at = |what: &str| format!("line {}: {what}", n + 1);
        let (line, event) = read(text).ok_or_else(|| at("it is no record of this log"))?;
        if line.prev != last {
            return Err(at("it does not follow the line before it: lines were taken out, put in or changed"));
        }
        if sum(&line.prev, event) != line.sum {
            return Err(at("it was changed"));
        }
        last = line.sum;
        count += 1;
    }
    Ok((count, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_the_log_shows() {
        let state = tempfile::tempdir().expect("folder");
        let path = state.path().join("audit.log");
        let (one, two) = (Audit::open(state.path()).expect("log"), Audit::open(state.path()).expect("log"));
        for n in 0..6 {
            let log = if n % 2 == 0 { &one } else { &two };
            log.tell(&Event::Pass { user: "ann", pass: "bulk", token: n }).expect("told");
        }
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(check(&text).expect("whole").0, 6);
        assert!(
            check(&text.replacen("\"token\":3", "\"token\":4", 1))
                .is_err_and(|e| e.starts_with("line 4: it was changed"))
        );
        let lines: Vec<&str> = text.lines().collect();
        assert!(check(&[&lines[..2], &lines[3..]].concat().join("\n")).is_err_and(|e| e.starts_with("line 3")));
        // A kill in the middle of a line.
        std::fs::write(&path, &text[..text.len() - 20]).expect("cut");
        Audit::open(state.path())
            .expect("log")
            .tell(&Event::Pass { user: "ann", pass: "bulk", token: 7 })
            .expect("told");
        assert_eq!(check(&std::fs::read_to_string(&path).expect("text")).expect("whole").0, 6);
    }
}
