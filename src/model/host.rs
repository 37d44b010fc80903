//! How a host is reached. Secrets by reference; no value of one ever stands here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::act::Act;
use super::address::HostName;
use super::attr::SecretRef;
use super::dns::{NameServer, ZoneKey};
use super::trigger::WayBack;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    #[default]
    Ssh,
    /// This machine, without SSH.
    Local,
    /// No machine: the record sets of a zone.
    Zone(Box<ZoneAccess>),
    /// No machine: the people of a cohort.
    Cohort(Box<CohortAccess>),
}

/// The people of a cohort as a place: its waves are its resources. Who is in them stands in no plan, only how many and a digest; whoever
/// carries it out reads the lists again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CohortAccess {
    pub cohort: String,
    /// By which they reach their side, and what carries their mailboxes: names of nodes.
    pub proxy: String,
    pub cms: String,
    /// The hosts of both.
    pub gates: Vec<HostName>,
    pub carrier: HostName,
    /// Cohorts that come before this one.
    pub first: Vec<String>,
    /// Phases that move it. No plan moves anybody without one of them.
    pub phases: Vec<String>,
    pub people: u64,
    /// Of them at most so many may stay behind.
    pub may_fail: u64,
    /// Held at the same time.
    pub together: usize,
    /// Seconds that a login may wait; who would wait longer stays where they are.
    pub longest_hold: Option<u64>,
    /// Milliseconds of which 95 of 100 groups took less that were moved from here; none while too few were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_ms: Option<u64>,
    /// No wave is begun outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The host that keeps what became of each wave.
    pub ledger: HostAccess,
}

/// When people may be moved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Opening {
    pub window: String,
    /// Unix seconds, both.
    pub start: i64,
    pub end: i64,
    /// In which people are shown the times.
    pub timezone: String,
    /// Whether people are moved in it: its steps name `flip-routes`, or it names none.
    #[serde(default = "yes")]
    pub flips: bool,
    /// What is done for them beside the move, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
}

fn yes() -> bool {
    true
}

/// How the record sets of a zone are read and changed: by transfer and update (RFC 5936, RFC 2136) unless `file` or `service` says
/// otherwise. The primary's address, and the port on which its servers speak DNS, stand in the [`HostAccess`] around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ZoneAccess {
    /// Without its last dot.
    pub zone: String,
    /// `public`, `internal` or `both`.
    pub view: String,
    /// The server of the topology that is the primary; `None` where it is somebody else's.
    #[serde(default)]
    pub host: Option<HostName>,
    /// All authoritative servers that the topology knows of, the primary first.
    pub servers: Vec<NameServer>,
    /// Without one, messages are not signed.
    pub key: Option<ZoneKey>,
    /// It is a master file on a host, and changed there; else it is transferred and updated.
    #[serde(default)]
    pub file: Option<ZoneFile>,
    /// It is kept by a service with an interface of its own, or by people.
    #[serde(default)]
    pub service: Option<ZoneService>,
    /// It left the topology: what is owned in it is to go, unless it was protected.
    #[serde(default)]
    pub departed: bool,
    /// The host that keeps what cutover owns in the zone, what stood there before, and what became of each step.
    pub ledger: HostAccess,
}

impl ZoneAccess {
    /// People enter its records.
    pub fn is_manual(&self) -> bool {
        self.service.as_ref().is_some_and(|s| s.kind == ServiceKind::Manual)
    }
}

/// A master file that a name server on the same host loads, and that others may write too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ZoneFile {
    pub host: HostAccess,
    pub path: String,
    /// The server's own name of the view, where it has views (BIND).
    pub view: Option<String>,
}

/// A service that holds zones, as `dns-provider` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// The HTTP interface of PowerDNS Authoritative.
    Powerdns,
    Cloudflare,
    /// Of Amazon.
    Route53,
    /// People enter the records.
    Manual,
}

impl ServiceKind {
    /// The product as people call it.
    pub fn product(self) -> &'static str {
        match self {
            Self::Powerdns => "PowerDNS",
            Self::Cloudflare => "Cloudflare",
            Self::Route53 => "Route 53",
            Self::Manual => "manual",
        }
    }
}

/// How a service is reached that holds a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ZoneService {
    pub kind: ServiceKind,
    /// Where its interface is, without a slash at the end; empty for people.
    pub url: String,
    /// The name that belongs to `key`, where the service wants one: an access key id of Amazon.
    pub account: Option<String>,
    /// API key or token.
    pub key: Option<SecretRef>,
    /// Certificate of the authority that the service's own one is from (PEM), where the system does not know it.
    pub ca: Option<SecretRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Become {
    #[default]
    None,
    Sudo,
    Doas,
}

/// Everything that transport needs to reach a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostAccess {
    pub name: HostName,
    pub reach: Reach,
    /// IP address or DNS name to connect to.
    pub address: String,
    pub port: u16,
    pub user: String,
    /// Private key; `file:` paths are relative to the topology's root folder.
    pub key: Option<SecretRef>,
    /// The host to go through (ProxyJump), itself a server of the topology.
    pub jump: Option<HostName>,
    pub become_: Become,
    pub become_password: Option<SecretRef>,
    /// Pinned public host key, `ssh-ed25519 AAAA...`; when set, no other is accepted.
    pub host_key: Option<String>,
    /// Seconds to wait for a connection.
    pub timeout_seconds: u64,
}

impl HostAccess {
    /// By SSH as root, with nothing of its own: what differs is said beside it.
    pub fn at(name: impl Into<HostName>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reach: Reach::Ssh,
            address: address.into(),
            port: 22,
            user: "root".into(),
            key: None,
            jump: None,
            become_: Become::None,
            become_password: None,
            host_key: None,
            timeout_seconds: 10,
        }
    }

    /// What is needed of a zone; `None` for a machine.
    pub fn zone(&self) -> Option<&ZoneAccess> {
        match &self.reach {
            Reach::Zone(zone) => Some(zone),
            Reach::Ssh | Reach::Local | Reach::Cohort(_) => None,
        }
    }

    /// What is needed of a cohort; `None` for anything else.
    pub fn cohort(&self) -> Option<&CohortAccess> {
        match &self.reach {
            Reach::Cohort(cohort) => Some(cohort),
            Reach::Ssh | Reach::Local | Reach::Zone(_) => None,
        }
    }

    /// Scripts run there.
    pub fn is_machine(&self) -> bool {
        matches!(self.reach, Reach::Ssh | Reach::Local)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// Why a host could not be asked. Never "absent".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, schemars::JsonSchema)]
#[error("{host}: {message}")]
pub struct HostError {
    pub host: HostName,
    pub kind: HostErrorKind,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostErrorKind {
    /// No answer, refused, name unknown: worth a retry on connect.
    Unreachable,
    /// The key or user was refused.
    Denied,
    /// The host key is unknown or has changed.
    HostKey,
    /// sudo or doas failed or wants a password that was not given.
    Become,
    /// The connection broke while a script ran: outcome of its steps unknown.
    Lost,
    /// The script ran but its answer could not be read.
    Protocol,
    /// A time limit passed: outcome unknown.
    Timeout,
    /// Another apply holds the lease.
    Fenced,
    /// A secret that is needed to connect could not be read.
    Secret,
}
