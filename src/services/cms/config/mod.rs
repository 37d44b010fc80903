//! The configuration of the content service: one TOML file, written by the deployer or by hand.
//!
//! Durations are texts as in `30s` or `1h30m`, sizes as in `25MiB`. An unknown key is an error. [`Config::parse`] reads and judges;
//! it opens no file that the configuration names.

mod check;
mod end;
mod part;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use end::{End, Kind, Profile, Tls};
pub use part::{Field, Part};

use super::preflight::Problem;
use crate::model::written::{duration, size};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    pub cms: General,
    pub source: End,
    pub target: End,
    /// Who moves; more may stand in `cms.mailboxes`.
    #[serde(default, rename = "mailbox")]
    pub mailboxes: Vec<Mailbox>,
    #[serde(default)]
    pub folders: Folders,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub preflight: Preflight,
}

/// What `cutover-cms preflight` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Preflight {
    /// `catch-all`, `invalid`, `corrupt`, `oversize`, `duplicate`, `orphan`, `encoding`, `quota`, `hold`, `archive`; all when empty.
    pub find: Vec<Problem>,
    /// Whether findings that need a person end it with 1.
    pub block: bool,
}

impl Default for Preflight {
    fn default() -> Self {
        Self { find: Vec::new(), block: true }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct General {
    /// Folder of the ledger, the audit log, the reports and the spool. The only folder that is written to, beside `control` and the queue.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Socket of `cutover-cms status|pause|retry`; who may open it may steer the moves (mode 0660).
    #[serde(default = "default_control")]
    pub control: PathBuf,
    /// Where `/metrics` and `/health` are answered, by plain HTTP.
    pub metrics: Option<SocketAddr>,
    /// Folder into which the proxy writes who has logged in on the old side: these users come first.
    pub queue: Option<PathBuf>,
    /// CSV with a header: `user` and, where they differ, `source-user`, `target-user`, `source-password`, `target-password` (references).
    pub mailboxes: Option<PathBuf>,
    /// Mailboxes side by side.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// Sessions of one mailbox at each end.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Memory for messages under way, of all mailboxes together.
    #[serde(default = "default_memory", with = "size")]
    pub memory: u64,
    /// How long after a pass the next one of a mailbox begins.
    #[serde(default = "default_delta", with = "duration")]
    pub delta_every: Duration,
    #[serde(default)]
    pub verify: Verify,
    /// What moves. What is left out is named in the report.
    #[serde(default = "default_items")]
    pub items: Vec<Item>,
    /// OpenSSH private key that signs reports (`ssh-keygen -Y verify -n cutover-report` checks them).
    pub report_key: Option<PathBuf>,
    /// Passwords that the proxy captured: its store, opened with an age identity that is given at run time only.
    pub captured: Option<PathBuf>,
}

/// How sameness is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Messages of each folder are counted on both sides.
    Count,
    /// The target's messages are read back and digested, and held against the ledger.
    #[default]
    Hash,
    /// Both sides are read: digests, flags, dates, subscriptions.
    Full,
}

impl Verify {
    pub fn as_str(self) -> &'static str {
        match self {
            Verify::Count => "count",
            Verify::Hash => "hash",
            Verify::Full => "full",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    Messages,
    Flags,
    Folders,
    Subscriptions,
    Contacts,
    OutOfOffice,
    Signature,
    Rules,
    Permissions,
}

impl Item {
    pub fn as_str(self) -> &'static str {
        match self {
            Item::Messages => "messages",
            Item::Flags => "flags",
            Item::Folders => "folders",
            Item::Subscriptions => "subscriptions",
            Item::Contacts => "contacts",
            Item::OutOfOffice => "out-of-office",
            Item::Signature => "signature",
            Item::Rules => "rules",
            Item::Permissions => "permissions",
        }
    }
}

/// What comes of things beside mail that cannot be carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personal {
    /// They are named in the report; the mailbox moves.
    #[default]
    Report,
    /// `final` does not call a mailbox moved while there is one.
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mailbox {
    /// The user's address, by which the ledger, reports and the proxy know the mailbox.
    pub user: String,
    /// Name at the source; `user` unless said.
    pub source_user: Option<String>,
    pub target_user: Option<String>,
    /// References: `file:PATH`, `env:NAME`, `captured`. The end's own password is used unless said.
    pub source_password: Option<String>,
    pub target_password: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Folders {
    /// Not moved, each named in the report. Paths with `/` between names; a trailing `/*` means what is below.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Source path to target path; special use is kept.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// TOML with more of `rename`, as `cutover-cms preflight --repair` writes it; what stands in `rename` itself counts.
    pub rename_file: Option<PathBuf>,
    /// Folders at the source that belong to others (shared namespaces) are left out unless said.
    #[serde(default)]
    pub shared: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Messages a second, of all mailboxes together.
    pub messages: Option<u32>,
    /// As in `200Mbit/s`, of all mailboxes together.
    pub rate: Option<String>,
    /// Times of day (of this machine) in which bulk passes run, as in `20:00-06:00`; deltas and final passes always run. All day when empty.
    #[serde(default)]
    pub hours: Vec<String>,
    /// Messages above it stay on the source and are named in the report.
    #[serde(default = "default_largest", with = "size")]
    pub largest: u64,
    /// Part of a mailbox's messages that may stay behind as exceptions before the mailbox counts as failed, as in `0%`.
    #[serde(default = "default_failed")]
    pub max_failed: String,
    /// Things beside mail (rules, contacts, ..) that cannot be carried: `report` or `refuse`.
    #[serde(default)]
    pub personal: Personal,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: None,
            rate: None,
            hours: Vec::new(),
            largest: default_largest(),
            max_failed: default_failed(),
            personal: Personal::default(),
        }
    }
}

/// `20:00-06:00` as minutes of the day; the end may lie before the beginning.
pub fn hours(text: &str) -> Option<(u16, u16)> {
    let minute = |t: &str| {
        let (h, m) = t.trim().split_once(':')?;
        let (h, m): (u16, u16) = (h.parse().ok()?, m.parse().ok()?);
        (h < 24 && m < 60 || h == 24 && m == 0).then_some(h * 60 + m)
    };
    let (from, to) = text.split_once('-')?;
    Some((minute(from)?, minute(to)?))
}

fn default_state() -> PathBuf {
    "/var/lib/cutover-cms".into()
}

fn default_control() -> PathBuf {
    "/run/cutover-cms/control".into()
}

fn default_workers() -> usize {
    4
}

fn default_connections() -> usize {
    4
}

fn default_memory() -> u64 {
    24 << 20
}

fn default_delta() -> Duration {
    Duration::from_secs(900)
}

fn default_largest() -> u64 {
    2 << 30
}

fn default_failed() -> String {
    "0%".into()
}

fn default_items() -> Vec<Item> {
    vec![Item::Messages, Item::Flags, Item::Folders, Item::Subscriptions]
}
