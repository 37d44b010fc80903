//! What an audit found: configuration items of baselines, held against hosts.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::address::HostName;
use super::host::HostError;

/// Who knows an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    File,
    Service,
    Package,
    Driver,
    Registry,
    Directory,
    Wmi,
    Metabase,
    Postconf,
    Doveconf,
    Sysctl,
    Script,
    /// A setting of a product that nothing here asks.
    Setting,
}

impl Source {
    const WORDS: [(Source, &str); 13] = [
        (Source::File, "file"),
        (Source::Service, "service"),
        (Source::Package, "package"),
        (Source::Driver, "driver"),
        (Source::Registry, "registry"),
        (Source::Directory, "directory"),
        (Source::Wmi, "wmi"),
        (Source::Metabase, "metabase"),
        (Source::Postconf, "postconf"),
        (Source::Doveconf, "doveconf"),
        (Source::Sysctl, "sysctl"),
        (Source::Script, "script"),
        (Source::Setting, "setting"),
    ];

    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, w)| *w == word).map(|(s, _)| s)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(s, _)| s == self).map_or("", |(_, w)| w);
        f.write_str(word)
    }
}

/// How much a deviation matters, as the check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    Info,
    #[default]
    Warning,
    Red,
}

impl Weight {
    pub fn parse(word: &str) -> Self {
        match word {
            "info" => Self::Info,
            "red" => Self::Red,
            _ => Self::Warning,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Red => "red",
        }
    }
}

/// A deviation that somebody accepts until a date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Waived {
    /// Name of the waiver.
    pub name: String,
    /// The last day on which it holds.
    #[schemars(with = "String")]
    pub until: Date,
    /// Who is to approve it, as the topology says.
    pub by: Vec<String>,
    pub reason: String,
    /// That day is over: it covers nothing any more.
    pub ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    AsWanted,
    Deviates,
    /// It deviates, and a waiver covers it today.
    Waived,
    /// Whether it deviates is not known.
    NotAsked,
}

/// One configuration item of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Item {
    pub host: HostName,
    pub baseline: String,
    /// Name of the check, or of the setting of the baseline.
    pub check: String,
    pub source: Source,
    pub key: String,
    pub severity: Weight,
    pub wanted: String,
    pub verdict: Verdict,
    /// What the host said, cut short; nothing where it was not asked.
    pub found: Option<String>,
    /// Why it was not asked.
    pub why: Option<String>,
    /// The waiver for it, in force or ended.
    pub waiver: Option<Waived>,
}

/// What `cutover audit` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditReport {
    pub organization: String,
    pub environment: Option<String>,
    /// The day by which waivers were judged.
    pub day: String,
    pub hosts: usize,
    pub items: Vec<Item>,
    /// Hosts that did not answer, or not to the end.
    pub failed: Vec<HostError>,
}

impl AuditReport {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.items.iter().filter(|i| i.verdict == verdict).count()
    }
}
