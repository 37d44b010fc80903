//! What a timeline is computed from: the zone as it is served.

use std::collections::BTreeSet;

use crate::model::dns::{RecordSet, SetChange, SetKey};

/// A record set that waits for the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub wanted: RecordSet,
    /// `None`: not there yet.
    pub observed: Option<RecordSet>,
    /// The ledger says that we lowered its TTL from this: caches may still hold answers of that age.
    pub former_ttl: Option<u32>,
}

impl Held {
    /// The records are not those that are wanted, whatever their TTL.
    pub fn differs(&self) -> bool {
        self.observed.as_ref().is_none_or(|o| o.data != self.wanted.data)
    }
}

/// A zone as its primary shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneFacts {
    /// Absolute, with its last dot.
    pub name: String,
    /// t, in seconds.
    pub short_ttl: u32,
    /// N: the lesser of the SOA's own TTL and its MINIMUM, in seconds.
    pub negative_ttl: u32,
    /// How long a secondary that hears no NOTIFY may take to follow, in seconds.
    pub refresh: u32,
    /// It has servers beside its primary.
    pub secondaries: bool,
    /// All sets that are served and that the cutover has to know: targets of the held sets, their TLSA, the SPF policy.
    pub sets: Vec<RecordSet>,
    /// What has to be there before the swap and is not yet.
    pub publishes: Vec<SetChange>,
    /// What only the old side needs: it goes, or is narrowed to what the topology wants, when that is over.
    pub prunes: Vec<SetChange>,
}

impl ZoneFacts {
    /// L, in seconds.
    pub fn lag(&self) -> i64 {
        if self.secondaries { i64::from(self.refresh) } else { 0 }
    }

    pub fn find(&self, name: &str, kind: &str) -> Option<&RecordSet> {
        self.sets.iter().find(|s| s.key.name == name && s.key.kind == kind)
    }

    pub fn contains(&self, name: &str) -> bool {
        name == self.name || name.strip_suffix(self.name.as_str()).is_some_and(|front| front.ends_with('.'))
    }

    /// Sets whose cached answers lead to the old side: addresses and TLSA of each old target, and the SPF policy of the name.
    pub fn behind(&self, old: &RecordSet) -> Vec<&RecordSet> {
        let mut keys: BTreeSet<SetKey> = BTreeSet::new();
        for target in targets(old) {
            for kind in ["A", "AAAA"] {
                keys.insert(SetKey { name: target.clone(), kind: kind.into() });
            }
            keys.insert(SetKey { name: format!("_25._tcp.{target}"), kind: "TLSA".into() });
        }
        if old.key.kind == "MX" {
            keys.insert(SetKey { name: old.key.name.clone(), kind: "TXT".into() });
        }
        let policy = |s: &RecordSet| s.key.kind != "TXT" || s.data.iter().any(|d| d.starts_with("\"v=spf1"));
        self.sets.iter().filter(|s| keys.contains(&s.key) && policy(s)).collect()
    }
}

/// The hosts that a set of MX records leads to; a null MX (RFC 7505) leads nowhere.
pub fn targets(set: &RecordSet) -> BTreeSet<String> {
    if set.key.kind != "MX" {
        return BTreeSet::new();
    }
    set.data.iter().filter_map(|d| d.rsplit_once(' ').map(|(_, host)| host.to_owned())).filter(|h| h != ".").collect()
}
