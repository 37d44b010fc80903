//! A desired resource: what should be on a host, and who asked for it.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::attr::Attrs;
use super::source::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyHow {
    Reload,
    Restart,
}

/// A service to reload or restart, once per apply, when this resource changes. Restart wins over reload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Notify {
    /// Key of the `service` resource on the same host, e.g. `postfix`.
    pub service: String,
    pub how: NotifyHow,
}

/// What a resource waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    Resource(Address),
    /// Everything of a group, e.g. `server.mail-2/imap`.
    Group(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub address: Address,
    /// Desired attributes, by the names of the kind's `catalog` entry.
    pub attrs: Attrs,
    /// The role instance it belongs to, `server.mail-1/imap`. Within a group, resources of a lower stage come first.
    pub group: String,
    /// `catalog::spec(kind).stage` unless the pack says otherwise.
    pub stage: u8,
    pub after: Vec<Dependency>,
    pub notifies: Vec<Notify>,
    /// No plan may delete it.
    pub protect: bool,
    /// `kind:name` of the topology node that asked for it, e.g. `server:mail-1`; phases and targets select by it.
    pub owner: String,
    pub origin: Origin,
}
