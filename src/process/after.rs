//! What is left on the old side when the people of a cohort have moved: its queue, mail that still came there, passwords that were captured for the move.
//!
//! Like a certificate it says what was found, has one form, byte for byte, and may be signed; a gate asks for it as a document.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::certificate::Known;
use crate::model::Digest;

pub const AFTER_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    pub version: u32,
    pub organization: String,
    pub environment: Option<String>,
    pub cohort: String,
    pub made: Timestamp,
    /// The person who signs, else USER@MACHINE.
    pub by: String,
    /// Shown in a lab, on a stand-in or with scaled time.
    pub rehearsal: bool,
    /// Over the addresses of the cohort.
    pub list: Digest,
    pub people: u64,
    /// Of the old side's mail server, after it was told to deliver.
    pub queue: Known<Queue>,
    /// By user; who is not named had none.
    pub late: BTreeMap<String, Late>,
    /// By gate; empty where the proxy captures none.
    pub passwords: BTreeMap<String, Known<Destroyed>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Messages of the cohort that waited at the first look.
    pub found: u64,
    /// Those that still do at the last one.
    pub left: Vec<Waiting>,
    /// Messages to others, at the last look.
    pub others: u64,
}

/// A message that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    pub id: String,
    pub since: Timestamp,
    pub to: Vec<String>,
    /// In the words of the mail server.
    pub why: Option<String>,
}

/// What came to the old side of somebody since the move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    /// Messages that were carried over now.
    pub carried: u64,
    /// Why it is not known that nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Captured passwords of people on the new side that were destroyed on a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroyed {
    pub files: Vec<File>,
    /// Of people who are still on the old side.
    pub left: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub user: Option<String>,
    pub file: String,
    /// Of the sealed content.
    pub sha256: String,
}

impl After {
    /// What keeps the old side from being done with, in sentences; empty when nothing does.
    pub fn open(&self) -> Vec<String> {
        let mut open = Vec::new();
        match &self.queue {
            Known::Not { not_known } => open.push(format!("the queue of the old side could not be asked: {not_known}")),
            Known::Is(queue) => {
                open.extend(queue.left.iter().map(|w| {
                    let why = w.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                    format!("{} waits on the old side for {} since {}{why}", w.id, w.to.join(", "), w.since)
                }));
            }
        }
        for (user, late) in &self.late {
            open.extend(
                late.fault.as_ref().map(|why| format!("{user}: what came to the old side is not all over: {why}")),
            );
        }
        for (gate, found) in &self.passwords {
            if let Known::Not { not_known } = found {
                open.push(format!("captured passwords on {gate} could not be destroyed: {not_known}"));
            }
        }
        open
    }

    /// The one form in which it is signed and stored.
    pub fn bytes(&self) -> Vec<u8> {
        // Plain data with text keys always has a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Namespace of its signature.
    pub fn namespace(organization: &str) -> String {
        format!("cutover-after@{organization}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> After {
        After {
            version: AFTER_VERSION,
            organization: "acme".into(),
            environment: None,
            cohort: "pilot-1".into(),
            made: Timestamp::UNIX_EPOCH,
            by: "kim".into(),
            rehearsal: false,
            list: Digest::of(b""),
            people: 2,
            queue: Known::Is(Queue { found: 3, left: Vec::new(), others: 7 }),
            late: BTreeMap::from([("ann@acme.example".into(), Late { carried: 1, fault: None })]),
            passwords: BTreeMap::from([("gate".into(), Known::Is(Destroyed { files: Vec::new(), left: 4 }))]),
        }
    }

    /// What was found and is over keeps nobody; what is left does, and so does what could not be asked.
    #[test]
    fn the_old_side_is_done_with_when_nothing_is_left_and_all_was_asked() {
        assert_eq!(done().open(), Vec::<String>::new());
        let waiting = Waiting { id: "4bq1".into(), since: Timestamp::UNIX_EPOCH, to: vec!["ann".into()], why: None };
        let late = Late { carried: 2, fault: Some("it hung up".into()) };
        let bad = [
            (After { queue: Known::Is(Queue { left: vec![waiting], ..Queue::default() }), ..done() }, "4bq1"),
            (After { queue: Known::not("no answer"), ..done() }, "no answer"),
            (After { late: BTreeMap::from([("bob".into(), late)]), ..done() }, "it hung up"),
            (After { passwords: BTreeMap::from([("gate-2".into(), Known::not("it is down"))]), ..done() }, "gate-2"),
        ];
        for (after, says) in bad {
            assert!(matches!(after.open().as_slice(), [one] if one.contains(says)), "{says}: {:?}", after.open());
            let read: After = serde_json::from_slice(&after.bytes()).unwrap();
            assert_eq!(read, after);
        }
    }
}
