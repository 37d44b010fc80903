//! The certificate of a cohort: that its people have moved, with what of them, for how long they waited, how that was checked, and who agreed to it.
//!
//! It says what was found and nothing else: a figure that could not be asked is there as the reason why it is not known. Like a record it has
//! one form, byte for byte, so that a signature is over all of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Digest;

pub const CERTIFICATE_VERSION: u32 = 1;

/// A figure, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Known<T> {
    Is(T),
    Not { not_known: String },
}

impl<T> Known<T> {
    pub fn not(why: impl Into<String>) -> Self {
        Known::Not { not_known: why.into() }
    }

    pub fn value(&self) -> Option<&T> {
        match self {
            Known::Is(value) => Some(value),
            Known::Not { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub version: u32,
    pub organization: String,
    pub environment: Option<String>,
    pub cohort: String,
    pub migration: Option<String>,
    /// Where the people came from and where they are, as the migration names it.
    pub from: Option<String>,
    pub to: Option<String>,
    pub made: Timestamp,
    /// The person who signs, else USER@MACHINE.
    pub by: String,
    /// The git commit of the topology; not known where it is in no repository.
    pub commit: Known<String>,
    /// Shown in a lab, on a stand-in or with scaled time.
    pub rehearsal: bool,
    /// Over the addresses of the cohort.
    pub list: Digest,
    pub totals: Totals,
    pub phases: Vec<Phase>,
    /// Of the journal of the machine where the certificate was made.
    pub applies: Known<Vec<Apply>>,
    pub people: Vec<Person>,
    pub left_out: Vec<LeftOut>,
}

/// Sums over those of whom a figure is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    pub people: u64,
    pub left_out: u64,
    pub messages: u64,
    pub octets: u64,
    pub exceptions: u64,
    /// How many were compared on both sides, with no difference.
    pub verified: u64,
    /// Of how many it was measured how long their logins waited, and how long.
    pub measured: u64,
    pub downtime_longest_ms: Option<u64>,
    pub downtime_median_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub user: String,
    /// As `cutover cohort status` has it.
    pub state: String,
    /// The last time that they came to the new side, and by whose hand.
    pub moved: Known<Moved>,
    pub mailbox: Known<Mailbox>,
    pub check: Known<Check>,
    /// The whole report of the content service.
    pub report: Known<Report>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// RFC 3339.
    pub at: String,
    pub by: String,
    /// How long logins waited, in milliseconds: of that move, and of those before that did not come to their end.
    pub downtime_ms: Known<u64>,
    /// Moves that were begun, the last one included.
    pub attempts: u64,
    /// Times that they were taken back before.
    pub taken_back: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    pub messages: u64,
    pub octets: u64,
    /// What was carried beside mail, by item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<String, u64>,
    /// What could not be carried, in the words of the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
}

/// The comparison of both sides in the last pass, while the user was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// RFC 3339.
    pub at: String,
    /// `count`, `hash`, `full`.
    pub how: String,
    /// Differences that were found and not settled.
    pub differs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// On the host of the content service.
    pub path: String,
    pub sha256: String,
    pub signed: bool,
}

/// A phase that moves the cohort, and who agreed to it as it is wanted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    pub intent: Known<Digest>,
    pub records: Vec<Said>,
}

/// A signed record of the phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub kind: String,
    /// Gate or evidence.
    pub node: String,
    pub who: String,
    pub when: Timestamp,
    pub file: String,
    pub sha256: String,
    /// The key is one of that person's, as of the last approved commit.
    pub trusted: bool,
    /// It was said of what is wanted now, and not of an earlier plan.
    pub of_this_intent: bool,
}

/// An apply that moved people of the cohort, or took them back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    pub id: String,
    pub at: Timestamp,
    pub by: String,
    /// Of the plan that was carried out.
    pub intent: Digest,
    pub waves: u64,
    pub done: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// Somebody whom the cohort's lists name and its `exclude` takes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub user: String,
    pub by: String,
    pub reason: Known<String>,
}

impl Totals {
    pub fn of(people: &[Person], left_out: usize) -> Self {
        let boxes = || people.iter().filter_map(|p| p.mailbox.value());
        let mut waited: Vec<u64> =
            people.iter().filter_map(|p| p.moved.value()?.downtime_ms.value().copied()).collect();
        waited.sort_unstable();
        Self {
            people: people.len() as u64,
            left_out: left_out as u64,
            messages: boxes().map(|m| m.messages).sum(),
            octets: boxes().map(|m| m.octets).sum(),
            exceptions: boxes().map(|m| m.exceptions.len() as u64).sum(),
            verified: people.iter().filter(|p| p.check.value().is_some_and(|c| c.differs == 0)).count() as u64,
            measured: waited.len() as u64,
            downtime_longest_ms: waited.last().copied(),
            downtime_median_ms: waited.get(waited.len().saturating_sub(1) / 2).copied(),
        }
    }
}

impl Certificate {
    /// The one form in which it is signed and stored.
    pub fn bytes(&self) -> Vec<u8> {
        // Plain data with text keys always has a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads a document; anything but the canonical form is refused, and so are totals that are not those of its people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|e| format!("no certificate: {e}"))?;
        if read.version != CERTIFICATE_VERSION {
            return Err(format!("of version {}, this program knows {CERTIFICATE_VERSION}", read.version));
        }
        if read.bytes() != bytes {
            return Err("changed by hand: not the form in which certificates are written".to_owned());
        }
        if read.totals != Totals::of(&read.people, read.left_out.len()) {
            return Err("its totals are not those of its people".to_owned());
        }
        Ok(read)
    }

    /// Namespace of its signature: one of another organisation or purpose does not count.
    pub fn namespace(organization: &str) -> String {
        format!("cutover-certificate@{organization}")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn person(user: &str, waited: Option<u64>) -> Person {
        Person {
            user: user.into(),
            state: "moved".into(),
            moved: Known::Is(Moved {
                at: "2026-11-23T01:40:00Z".into(),
                by: "kim@desk".into(),
                downtime_ms: waited.map_or_else(|| Known::not("nobody measured it"), Known::Is),
                attempts: 1,
                taken_back: 0,
            }),
            mailbox: Known::Is(Mailbox { messages: 10, octets: 1000, beside: BTreeMap::new(), exceptions: Vec::new() }),
            check: Known::Is(Check { at: "2026-11-23T01:40:00Z".into(), how: "full".into(), differs: 0 }),
            report: Known::not("<b>no answer</b>"),
        }
    }

    pub fn sample() -> Certificate {
        let people = vec![person("ann@acme.example", Some(700)), person("bob@acme.example", None)];
        Certificate {
            version: CERTIFICATE_VERSION,
            organization: "acme".into(),
            environment: None,
            cohort: "pilot-1".into(),
            migration: Some("away".into()),
            from: Some("legacy:old".into()),
            to: Some("pair:store".into()),
            made: "2026-11-23T01:50:00Z".parse().expect("time"),
            by: "kim@desk".into(),
            commit: Known::not("in no git repository"),
            rehearsal: false,
            list: Digest::of(b"list"),
            totals: Totals::of(&people, 1),
            phases: Vec::new(),
            applies: Known::Is(Vec::new()),
            people,
            left_out: vec![LeftOut {
                user: "eve@acme.example".into(),
                by: "users".into(),
                reason: Known::Is("<script>alert(1)</script>".into()),
            }],
        }
    }

    #[test]
    fn a_certificate_reads_back_and_any_other_octet_is_none() {
        let bytes = sample().bytes();
        assert_eq!(Certificate::parse(&bytes), Ok(sample()));
        let text = String::from_utf8(bytes).expect("text");
        for wrong in [
            text.trim_end().to_owned(),
            text.replace("\"messages\": 20", "\"messages\": 21"),
            text.replace("\"downtime_ms\": 700", "\"downtime_ms\": 70"),
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace("\"rehearsal\": false", "\"rehearsal\": false,\n  \"more\": 1"),
        ] {
            assert_ne!(wrong, text);
            assert!(Certificate::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn totals_say_of_how_many_they_are() {
        let totals = sample().totals;
        assert_eq!((totals.people, totals.measured, totals.verified), (2, 1, 2));
        assert_eq!((totals.downtime_longest_ms, totals.downtime_median_ms), (Some(700), Some(700)));
        assert_eq!(Totals::of(&[], 0), Totals::default());
    }
}
