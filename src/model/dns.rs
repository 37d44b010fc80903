//! DNS records as cutover compares them: by name and type, in one spelling.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::attr::SecretRef;
use super::topology::NodeId;

/// Name and type of a record set. The name is absolute, in lower case and A-labels, with its last dot: `mail.acme.example.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetKey {
    pub name: String,
    /// As in `MX`.
    pub kind: String,
}

impl std::fmt::Display for SetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// All records of one name and type: they have one time to live (RFC 2181, section 5.2) and no order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecordSet {
    pub key: SetKey,
    /// Seconds.
    pub ttl: u32,
    /// Each record's data in the canonical spelling of `protocol::dns::data`.
    pub data: BTreeSet<String>,
}

/// Whether the data of a TXT record says who may send mail (RFC 7208, section 4.5).
pub fn is_spf(data: &str) -> bool {
    let text = joined(data).to_ascii_lowercase();
    text == "v=spf1" || text.starts_with("v=spf1 ")
}

/// The strings of a TXT record as one text (RFC 7208, section 3.3).
pub fn joined(data: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in data.chars() {
        match c {
            c if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => inside = !inside,
            c if inside || c != ' ' => out.push(c),
            _ => {}
        }
    }
    out
}

/// What becomes of one record set: from nothing, to nothing, or from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    pub before: Option<RecordSet>,
    pub after: Option<RecordSet>,
}

impl SetChange {
    /// `None` for a change of nothing to nothing.
    pub fn key(&self) -> Option<&SetKey> {
        self.after.as_ref().or(self.before.as_ref()).map(|s| &s.key)
    }
}

/// What a zone shows of itself to a cutover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ZoneSeen {
    pub serial: u32,
    /// How long a cache remembers that a name is not there, in seconds (RFC 2308, section 5).
    pub negative_ttl: u32,
    /// How often a secondary that hears no NOTIFY looks, in seconds.
    pub refresh: u32,
    /// The zone's name servers, and what wanted MX records lead from and to: addresses, TLSA, the SPF policy.
    pub sets: Vec<RecordSet>,
}

/// A zone of the topology: its records as the topology wants them, and who holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub node: NodeId,
    /// Without its last dot: `acme.example`.
    pub name: String,
    /// `public`, `internal` or `both`.
    pub view: String,
    pub records: Vec<WantedRecord>,
    /// The primary first.
    pub servers: Vec<NameServer>,
    pub port: u16,
    pub key: Option<ZoneKey>,
}

/// One record as the topology wants it, in the spelling of the topology.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedRecord {
    /// Absolute.
    pub name: String,
    pub kind: String,
    /// Seconds.
    pub ttl: u32,
    /// As in a zone file, names absolute.
    pub data: String,
}

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NameServer {
    pub name: String,
    /// Those that the topology knows; none for a server of others, which its name leads to.
    pub addresses: Vec<IpAddr>,
}

/// The TSIG key that a provider's zones are transferred and updated with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ZoneKey {
    pub name: String,
    pub algorithm: String,
    pub secret: SecretRef,
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn strings_of_a_record_are_one_text() {
        assert_eq!(joined("\"v=spf1 ip4:192.0.2\" \".1 -all\""), "v=spf1 ip4:192.0.2.1 -all");
        assert_eq!(joined(r#""a\"b\\c""#), r#"a"b\c"#);
    }
}
