//! A journal in memory whose disk can be torn at any byte: the model of a crash between two writes of the real one.
//!
//! The bytes are frames `length, version, checksum, body`. A torn tail is dropped at the next opening, as SQLite drops a torn
//! tail of its write-ahead log; a frame that is whole but does not fit its checksum is damage.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::JournalError;
use super::record::{Entry, Header, JOURNAL_VERSION, Saved, checksum, decode, encode, verify};
use super::store::{Store, Summary, Write};
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::observed::Observation;
use crate::model::plan::Plan;

/// Bytes that survive the process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    disk: Arc<Mutex<Disk>>,
    dead: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    tear_at: Option<usize>,
}

const HEAD: usize = 4 + 4 + 8;

impl MemoryDisk {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The write that would reach this offset ends there, and the process with it.
    pub fn tear_at(&self, offset: usize) {
        self.disk().tear_at = Some(offset);
    }

    /// Whether the process is gone: no write is taken any more. Shared, so that one kill ends all that the process does.
    pub fn dead(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dead)
    }

    /// The machine is back: writes are taken again.
    pub fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
        self.disk().tear_at = None;
    }

    pub fn len(&self) -> usize {
        self.disk().bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where each whole frame ends.
    pub fn frame_ends(&self) -> Vec<usize> {
        let disk = self.disk();
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some(frame) = disk.bytes.get(at..).and_then(whole_frame) {
            at += frame.len();
            ends.push(at);
        }
        ends
    }

    pub fn clear(&self) {
        self.disk().bytes.clear();
    }

    /// Turns the bits of one byte.
    pub fn flip(&self, offset: usize) {
        if let Some(b) = self.disk().bytes.get_mut(offset) {
            *b ^= 0xff;
        }
    }

    pub fn truncate(&self, len: usize) {
        self.disk().bytes.truncate(len);
    }

    fn append(&self, bytes: &[u8]) -> Result<(), JournalError> {
        let mut disk = self.disk();
        if self.dead.load(Ordering::SeqCst) {
            return Err(JournalError::Write("the process was killed".into()));
        }
        let end = disk.bytes.len() + bytes.len();
        if let Some(tear) = disk.tear_at.filter(|t| *t < end) {
            let keep = tear.saturating_sub(disk.bytes.len());
            disk.bytes.extend_from_slice(&bytes[..keep]);
            self.dead.store(true, Ordering::SeqCst);
            return Err(JournalError::Write("the process was killed in the middle of a record".into()));
        }
        disk.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
enum Frame {
    Begin { header: Header, plan: String },
    Entry { apply: String, entry: Entry },
    Observation { at: i64, body: Observation },
    Hosts(BTreeMap<HostName, HostAccess>),
}

#[derive(Debug, Default)]
struct Tables {
    applies: BTreeMap<String, (Header, String, Vec<Entry>)>,
    observations: BTreeMap<HostName, (i64, Observation)>,
    hosts: BTreeMap<HostName, HostAccess>,
}

/// Store over a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    tables: Tables,
}

impl MemoryStore {
    /// Reads what the disk holds. The note tells of a torn tail that was dropped.
    pub fn open(disk: &MemoryDisk) -> Result<(Self, Vec<String>), JournalError> {
        let mut tables = Tables::default();
        let mut notes = Vec::new();
        let bytes = disk.disk().bytes.clone();
        let mut at = 0;
        while at < bytes.len() {
            let Some(frame) = whole_frame(&bytes[at..]) else {
                notes.push(format!("the last record was cut at byte {} and has been dropped", bytes.len()));
                break;
            };
            let version = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
            let body = &frame[HEAD..];
            verify(&place(at), version, body, &frame[8..HEAD])?;
            tables.take(decode(version, body, &place(at))?);
            at += frame.len();
        }
        disk.truncate(at);
        Ok((Self { disk: disk.clone(), tables }, notes))
    }
}

/// The first frame, when all of it is there.
fn whole_frame(bytes: &[u8]) -> Option<&[u8]> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    bytes.get(..HEAD.checked_add(len as usize)?)
}

fn place(at: usize) -> String {
    format!("the record at byte {at}")
}

impl Tables {
    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Begin { header, plan } => {
                self.applies.insert(header.apply.clone(), (header, plan, Vec::new()));
            }
            Frame::Entry { apply, entry } => {
                if let Some(a) = self.applies.get_mut(&apply) {
                    a.2.push(entry);
                }
            }
            Frame::Observation { at, body } => {
                self.observations.insert(body.host.clone(), (at, body));
            }
            Frame::Hosts(hosts) => self.hosts = hosts,
        }
    }
}

impl Store for MemoryStore {
    fn write(&mut self, batch: Vec<Write>) -> Result<(), JournalError> {
        let frames: Vec<Frame> = batch
            .into_iter()
            .flat_map(|w| match w {
                Write::Begin { header, plan } => vec![Frame::Begin { header: *header, plan }],
                Write::Append { apply, entries } => {
                    entries.into_iter().map(|entry| Frame::Entry { apply: apply.clone(), entry }).collect()
                }
                Write::Observation { at, body } => vec![Frame::Observation { at, body: *body }],
                Write::Hosts(h) => vec![Frame::Hosts(h)],
            })
            .collect();
        let base = self.disk.len();
        let mut bytes = Vec::new();
        for frame in &frames {
            let body = encode(frame)?;
            let sum = checksum(&place(base + bytes.len()), JOURNAL_VERSION, &body);
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&JOURNAL_VERSION.to_le_bytes());
            bytes.extend_from_slice(&sum);
            bytes.extend_from_slice(&body);
        }
        self.disk.append(&bytes)?;
        frames.into_iter().for_each(|f| self.tables.take(f));
        Ok(())
    }

    fn load(&mut self, apply: &str) -> Result<Option<Saved>, JournalError> {
        let Some((header, plan, entries)) = self.tables.applies.get(apply) else { return Ok(None) };
        let plan: Plan = decode(JOURNAL_VERSION, plan.as_bytes(), "the plan")?;
        Ok(Some(Saved { header: header.clone(), plan, entries: entries.clone() }))
    }

    fn list(&mut self) -> Result<Vec<Summary>, JournalError> {
        let summary = |(header, _, entries): &(Header, String, Vec<Entry>)| Summary {
            header: header.clone(),
            last: entries.last().cloned(),
            records: entries.len() as u64,
        };
        Ok(self.tables.applies.values().map(summary).collect())
    }

    fn observation(&mut self, host: &HostName) -> Result<Option<(i64, Observation)>, JournalError> {
        Ok(self.tables.observations.get(host).cloned())
    }

    fn hosts(&mut self) -> Result<BTreeMap<HostName, HostAccess>, JournalError> {
        Ok(self.tables.hosts.clone())
    }
}
