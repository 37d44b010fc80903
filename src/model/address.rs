//! Stable identities: host names, resource kinds and resource addresses (`server.mail-1/file:/etc/postfix/main.cf`,
//! `zone.acme.example/record-set:www.acme.example./A`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where resources live: the topology name of a server, as in `server mail-1` (not its DNS name), or a zone that is changed over the
/// network, as `zone.acme.example` or `zone.acme.example@internal`, or the people of a cohort, as `cohort.pilot-1`. Names of servers
/// hold no dot, so they are never mistaken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct HostName(pub String);

impl HostName {
    /// The name of a zone as a place of record sets. `zone` without its last dot; `view` is `both` for a zone without views.
    pub fn of_zone(zone: &str, view: &str) -> Self {
        if view == "both" { Self(format!("zone.{zone}")) } else { Self(format!("zone.{zone}@{view}")) }
    }

    /// The name of a cohort as a place of waves.
    pub fn of_cohort(cohort: &str) -> Self {
        Self(format!("cohort.{cohort}"))
    }

    /// A zone, and no machine.
    pub fn is_zone(&self) -> bool {
        self.0.starts_with("zone.")
    }

    /// The people of a cohort, and no machine.
    pub fn is_cohort(&self) -> bool {
        self.0.starts_with("cohort.")
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for HostName {
    fn from(s: &str) -> Self {
        Self(s.to_owned())
    }
}

/// Kinds of resource that a host, a zone or a cohort can hold. The description of each stands in `catalog`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Package,
    Group,
    User,
    Directory,
    File,
    Line,
    Setting,
    Unit,
    Binary,
    Command,
    Firewall,
    DnsZone,
    MailAccount,
    Service,
    Timer,
    RecordSet,
    Barrier,
    Wave,
}

impl Kind {
    pub const ALL: [Kind; 18] = [
        Kind::Package,
        Kind::Group,
        Kind::User,
        Kind::Directory,
        Kind::File,
        Kind::Line,
        Kind::Setting,
        Kind::Unit,
        Kind::Binary,
        Kind::Command,
        Kind::Firewall,
        Kind::DnsZone,
        Kind::MailAccount,
        Kind::Service,
        Kind::Timer,
        Kind::RecordSet,
        Kind::Barrier,
        Kind::Wave,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Package => "package",
            Kind::Group => "group",
            Kind::User => "user",
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Line => "line",
            Kind::Setting => "setting",
            Kind::Unit => "unit",
            Kind::Binary => "binary",
            Kind::Command => "command",
            Kind::Firewall => "firewall",
            Kind::DnsZone => "dns-zone",
            Kind::MailAccount => "mail-account",
            Kind::Service => "service",
            Kind::Timer => "timer",
            Kind::RecordSet => "record-set",
            Kind::Barrier => "barrier",
            Kind::Wave => "wave",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Kind::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| format!("no resource kind `{s}`"))
    }
}

/// Address of a resource: host, kind and key. Printed as `server.HOST/KIND:KEY`, in a zone as `zone.ZONE/KIND:KEY`, of a cohort as
/// `cohort.COHORT/KIND:KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: HostName,
    pub kind: Kind,
    pub key: String,
}

impl Address {
    pub fn new(host: &HostName, kind: Kind, key: impl Into<String>) -> Self {
        Self { host: host.clone(), kind, key: key.into() }
    }

    /// `kind:key`, the name of the resource on its own host.
    pub fn local(&self) -> String {
        format!("{}:{}", self.kind, self.key)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.host.is_zone() || self.host.is_cohort() { "" } else { "server." };
        write!(f, "{prefix}{}/{}:{}", self.host, self.kind, self.key)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("`{s}` is not an address such as server.mail-1/file:/etc/postfix/main.cf");
        let rest = if s.starts_with("zone.") || s.starts_with("cohort.") {
            s
        } else {
            s.strip_prefix("server.").ok_or_else(bad)?
        };
        let (host, local) = rest.split_once('/').ok_or_else(bad)?;
        let (kind, key) = local.split_once(':').ok_or_else(bad)?;
        if host.is_empty() || key.is_empty() {
            return Err(bad());
        }
        Ok(Self { host: host.into(), kind: kind.parse()?, key: key.to_owned() })
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(server|zone|cohort)\\.[^/]+/[a-z-]+:.+$" })
    }
}
