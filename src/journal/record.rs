//! What the journal holds: one header an apply, then records. Each carries a format version and a checksum.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::JournalError;
use crate::model::HostName;
use crate::model::attr::Digest;
use crate::model::event::{Event, What};
use crate::model::plan::Plan;
use crate::model::step::{Outcome, StepId};

/// Format of records and headers. This program reads this one and every older one. 2: triggers.
pub const JOURNAL_VERSION: u32 = 2;

/// Longest text of an outcome that is kept, in bytes; with it a record stays well under 1 KB on average.
const OUTPUT_LIMIT: usize = 2_000;

/// First thing written of an apply; the plan stands beside it, whole, so that a resume needs nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Header {
    /// Sorts by time, as in `20261122-093015-7f3a`.
    pub apply: String,
    /// Unix milliseconds.
    pub at: i64,
    pub organization: String,
    pub environment: Option<String>,
    pub phase: Option<String>,
    pub intent: Digest,
    pub steps: u32,
    /// `user@machine pid N boot ID`.
    pub holder: String,
    /// The apply that this one takes back.
    pub undo_of: Option<String>,
    /// Version of the program that began it.
    pub program: String,
}

/// One thing that happened in an apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "r")]
pub enum Record {
    LeaseTaken {
        host: HostName,
        token: u64,
        from: Option<String>,
    },
    /// Durable before the step is sent.
    Started {
        step: StepId,
    },
    Ended {
        step: StepId,
        outcome: Outcome,
        millis: u64,
    },
    /// The host was asked after a crash or a lost line: not done, it may run again. `expect` replaces the pinned fingerprint
    /// where the host shows our own half-done work.
    Reset {
        step: StepId,
        expect: Option<String>,
    },
    HostLost {
        host: HostName,
        why: String,
    },
    Armed {
        host: HostName,
        seconds: u64,
    },
    Disarmed {
        host: HostName,
    },
    Draining,
    /// A trigger of a way back fired. `rolls_back`: from now on there is only the way back; the last of these counts.
    Triggered {
        point: String,
        trigger: String,
        why: String,
        rolls_back: bool,
    },
    /// Another process goes on with this apply.
    Resumed {
        holder: String,
    },
    Finished {
        done: u32,
        failed: u32,
        skipped: u32,
        unknown: u32,
    },
}

impl Record {
    pub fn ended(step: StepId, outcome: &Outcome, millis: u64) -> Self {
        Record::Ended { step, outcome: cut(outcome), millis }
    }
}

/// Cuts the texts of an outcome to what the journal keeps: the end of an output tells more than its beginning.
fn cut(outcome: &Outcome) -> Outcome {
    let shorten = |text: &str| {
        if text.len() <= OUTPUT_LIMIT {
            return text.to_owned();
        }
        let mut from = text.len() - OUTPUT_LIMIT;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        format!("[cut] {}", &text[from..])
    };
    match outcome {
        Outcome::Failed { code, output } => Outcome::Failed { code: *code, output: shorten(output) },
        Outcome::Stale { found } => Outcome::Stale { found: shorten(found) },
        Outcome::Unknown { why } => Outcome::Unknown { why: shorten(why) },
        other => other.clone(),
    }
}

/// A record with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Entry {
    /// Unix milliseconds.
    pub at: i64,
    #[serde(flatten)]
    pub record: Record,
}

/// What `load` gives back of one apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    pub header: Header,
    pub plan: Plan,
    pub entries: Vec<Entry>,
}

/// Header as bytes and the plan as bytes, ready to store.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(value).map_err(|e| JournalError::Encode(e.to_string()))
}

/// Reads a body of format `version`; `what` names it in errors.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(version: u32, body: &[u8], what: &str) -> Result<T, JournalError> {
    if version > JOURNAL_VERSION {
        return Err(JournalError::Newer { found: version });
    }
    serde_json::from_slice(body).map_err(|e| JournalError::Damaged(format!("{what} cannot be read: {e}")))
}

/// First eight bytes of the SHA-256 over place, version and bytes: a record that moved or changed is found.
pub(super) fn checksum(place: &str, version: u32, body: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(place.as_bytes());
    hash.update([0]);
    hash.update(version.to_le_bytes());
    hash.update(body);
    let mut out = [0; 8];
    out.copy_from_slice(&hash.finalize()[..8]);
    out
}

/// Checks a stored body against its checksum.
pub(super) fn verify(place: &str, version: u32, body: &[u8], sum: &[u8]) -> Result<(), JournalError> {
    if checksum(place, version, body) == sum {
        Ok(())
    } else {
        Err(JournalError::Damaged(format!("the checksum of {place} does not fit")))
    }
}

/// The event stream of a stored apply, as a reader saw it live.
pub fn events(saved: &Saved) -> Vec<Event> {
    let h = &saved.header;
    let started = |at, resumed| Event {
        at,
        what: What::ApplyStarted {
            apply: h.apply.clone(),
            intent: h.intent.clone(),
            steps: h.steps,
            resumed,
            undo_of: h.undo_of.clone(),
        },
    };
    let mut out = vec![started(h.at, false)];
    for Entry { at, record } in &saved.entries {
        let step = |id: &StepId| saved.plan.steps.get(*id as usize);
        let what = match record {
            Record::LeaseTaken { host, token, from } => {
                What::LeaseTaken { host: host.clone(), token: *token, from: from.clone() }
            }
            Record::Started { step: id } => match step(id) {
                Some(s) => What::StepStarted { step: *id, address: s.address.clone(), action: s.action },
                None => continue,
            },
            Record::Ended { step: id, outcome, millis } => match step(id) {
                Some(s) => What::StepEnded {
                    step: *id,
                    address: s.address.clone(),
                    action: s.action,
                    outcome: outcome.clone(),
                    millis: *millis,
                },
                None => continue,
            },
            Record::Reset { .. } => continue,
            Record::HostLost { host, why } => What::HostLost { host: host.clone(), why: why.clone() },
            Record::Armed { host, seconds } => What::Armed { host: host.clone(), seconds: *seconds },
            Record::Disarmed { host } => What::Disarmed { host: host.clone() },
            Record::Draining => What::Draining,
            Record::Triggered { trigger, why, rolls_back, .. } => {
                What::Triggered { trigger: trigger.clone(), why: why.clone(), rolls_back: *rolls_back }
            }
            Record::Resumed { .. } => {
                out.push(started(*at, true));
                continue;
            }
            Record::Finished { done, failed, skipped, unknown } => What::ApplyEnded {
                apply: h.apply.clone(),
                done: *done,
                failed: *failed,
                skipped: *skipped,
                unknown: *unknown,
            },
        };
        out.push(Event { at: *at, what });
    }
    out
}
