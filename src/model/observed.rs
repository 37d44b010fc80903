//! What hosts answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::address::{HostName, Kind};
use super::attr::Attrs;
use super::dns::ZoneSeen;
use super::host::HostError;
use super::resource::{Notify, NotifyHow};

/// State of one resource on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Record {
    pub present: bool,
    /// Observed attributes, by the names of the kind's `catalog` entry. Empty when absent.
    pub attrs: Attrs,
    /// Canonical text of the state, exactly as the host's own single-resource check prints it. A step pins it, and the host
    /// compares it again in the same execution as the change (compare and swap). Digests in it are masked for sensitive content.
    pub fingerprint: String,
    /// Present content where it differs from what is wanted, is text, is not sensitive and is small; for diffs only.
    pub text: Option<String>,
}

/// A resource that cutover made or adopted on a host, as the host's own ledger says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Owned {
    pub kind: Kind,
    pub key: String,
    /// Who asked for it: `server:mail-1`.
    pub owner: String,
    /// Attributes needed to observe or remove it when the topology no longer names it (file of a line, unless …).
    pub attrs: Attrs,
    /// Services to tell when it goes.
    pub notifies: Vec<Notify>,
    /// It was protected when it was last applied: leaving the topology does not unprotect it.
    #[serde(default)]
    pub protect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, Default)]
pub struct Facts {
    /// `/etc/os-release` ID and VERSION_ID, e.g. `debian 12`.
    pub os: String,
    pub hostname: String,
    /// `uname -m`.
    pub arch: String,
}

/// Lease as a host holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Lease {
    /// Grows with each holder; a step with a smaller one is refused.
    pub token: u64,
    /// `user@machine pid N boot ID`.
    pub holder: String,
    pub apply: String,
    /// Unix seconds by the host's clock.
    pub since: i64,
    /// Seconds since the last heartbeat, by the host's clock.
    pub age: i64,
}

/// Answer of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Observation {
    pub host: HostName,
    pub facts: Facts,
    /// By local name `kind:key`; one for each resource asked for and each owned one.
    pub records: BTreeMap<String, Record>,
    pub owned: Vec<Owned>,
    /// Services whose reload or restart was asked for by a change and not yet done.
    pub pending: BTreeMap<String, NotifyHow>,
    pub lease: Option<Lease>,
    /// Apply whose dead man's switch is armed.
    pub armed: Option<String>,
    /// For a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneSeen>,
}

/// What is known of all hosts: answers and failures to ask.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Observed {
    pub hosts: BTreeMap<HostName, Observation>,
    pub failed: Vec<HostError>,
}
