//! A record: one small signed fact beside the topology, in git.
//!
//! ```text
//! records/ENVIRONMENT/NODE/STAMP-PERSON-KIND.json       the document, in its one canonical form
//! records/ENVIRONMENT/NODE/STAMP-PERSON-KIND.json.sig   who said so: an SSH signature over these bytes
//! ```
//!
//! A document that is not byte for byte what writing it again gives is no record: nothing can hide in it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Digest;

pub const RECORD_VERSION: u32 = 1;

/// Folder of what belongs to no environment: phases on paper.
pub const ANYWHERE: &str = "any";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    Approval,
    Evidence,
    Certificate,
    Revocation,
    /// An apply that went through a shut gate, with its reason.
    Emergency,
}

impl RecordKind {
    pub fn as_str(self) -> &'static str {
        match self {
            RecordKind::Approval => "approval",
            RecordKind::Evidence => "evidence",
            RecordKind::Certificate => "certificate",
            RecordKind::Revocation => "revocation",
            RecordKind::Emergency => "emergency",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Pass,
    Fail,
}

/// A document by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub path: String,
    pub sha256: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Type of the evidence, as the language has it.
    #[serde(rename = "type")]
    pub ty: String,
    pub result: Outcome,
    /// The nodes that it is of (`kind:name`), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Numbers as people write them: `"percent": "99.95%"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub version: u32,
    pub kind: RecordKind,
    pub organization: String,
    /// The environment in which it was shown; `None` for a phase on paper.
    pub environment: Option<String>,
    /// Gate or evidence that it is for, by its name with parents: `build.ready`.
    pub node: String,
    pub phase: Option<String>,
    /// Over what the phase makes, as it was when this was said.
    pub intent: Digest,
    /// Over who decides: persons, teams, boards, gates.
    pub deciders: Digest,
    /// The git commit at which it was said.
    pub commit: String,
    /// The person, as the topology names them.
    pub who: String,
    pub when: Timestamp,
    /// Shown in a lab, on a stand-in or with scaled time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<Finding>,
    /// SHA-256 of the record that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revokes: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Record {
    /// The one form in which it is signed and stored.
    pub fn bytes(&self) -> Vec<u8> {
        // Plain data with text keys always has a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads a document; anything but the canonical form is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| format!("no record: {e}"))?;
        if record.version != RECORD_VERSION {
            return Err(format!("of version {}, this program knows {RECORD_VERSION}", record.version));
        }
        if record.bytes() != bytes {
            return Err("changed by hand: not the form in which records are written".to_owned());
        }
        Ok(record)
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    /// Folder of its environment.
    pub fn folder(&self) -> &str {
        self.environment.as_deref().unwrap_or(ANYWHERE)
    }

    /// Where it stands, below the folder of the topology.
    pub fn path(&self) -> String {
        let stamp = self.when.strftime("%Y%m%dT%H%M%SZ");
        format!("records/{}/{}/{stamp}-{}-{}.json", self.folder(), self.node, self.who, self.kind.as_str())
    }

    /// Namespace of its signature: one of another organisation or purpose does not count.
    pub fn namespace(organization: &str) -> String {
        format!("cutover@{organization}")
    }
}

/// A record whose signature is right, with the key that made it. Whether that key is anybody's is decided by those who decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Path below the folder of the topology.
    pub file: String,
    pub record: Record,
    /// Public key as `TYPE BASE64`.
    pub key: String,
}

/// A file among the records that is none, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub file: String,
    pub why: String,
}

impl Broken {
    /// Gate or evidence that it stood for, as its folder says.
    pub fn node(&self) -> Option<&str> {
        self.file.split('/').rev().nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn sample() -> Record {
        Record {
            version: RECORD_VERSION,
            kind: RecordKind::Approval,
            organization: "acme".into(),
            environment: Some("production".into()),
            node: "build.start".into(),
            phase: Some("build".into()),
            intent: Digest::of(b"intent"),
            deciders: Digest::of(b"deciders"),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            who: "dorn".into(),
            when: "2026-11-23T01:40:00Z".parse().expect("time"),
            rehearsal: false,
            what: None,
            revokes: None,
            note: Some("seen".into()),
        }
    }

    #[test]
    fn a_record_reads_back_and_says_where_it_stands() {
        let record = sample();
        assert_eq!(Record::parse(&record.bytes()), Ok(record.clone()));
        assert_eq!(record.path(), "records/production/build.start/20261123T014000Z-dorn-approval.json");
        let paper = Record { environment: None, ..record };
        assert!(paper.path().starts_with("records/any/build.start/"));
    }

    /// Another order, a space, a field more, a field twice: the signature may be over it, and it is still no record.
    #[test]
    fn only_the_canonical_form_is_a_record() {
        let text = String::from_utf8(sample().bytes()).expect("text");
        for wrong in [
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replace("\"version\": 1", "\"version\":1"),
            text.replace("\"note\": \"seen\"", "\"note\": \"seen\",\n  \"more\": 1"),
            text.replace("\"rehearsal\"", "\"other\"").replace("\"who\"", "\"rehearsal\": false,\n  \"who\""),
            text.replace("\"version\": 1", "\"version\": 2"),
        ] {
            assert!(Record::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
