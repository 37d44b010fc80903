//! A barrier as a resource: what every name server must serve, and the moment that its end is written down with.

use std::collections::BTreeMap;

use crate::model::attr::{Attr, Attrs};
use crate::model::dns::{RecordSet, SetKey};

/// What a barrier asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    pub sets: Vec<RecordSet>,
    /// Name servers beside those that the topology knows: name, then the addresses that the zone itself has of it.
    pub servers: Vec<String>,
    /// Seconds after which a server that does not follow makes it fail.
    pub timeout: u64,
    /// Then the window is taken back; else the run stops and can go on.
    pub rolls_back: bool,
}

/// As attributes; each record is a line `NAME TTL TYPE DATA`.
pub fn attrs(barrier: &Barrier) -> Attrs {
    let line = |s: &RecordSet, d: &String| format!("{} {} {} {d}", s.key.name, s.ttl, s.key.kind);
    let sets = barrier.sets.iter().flat_map(|s| s.data.iter().map(move |d| line(s, d))).collect();
    let mut out = Attrs::from([
        ("serves".to_owned(), Attr::List(sets)),
        ("timeout".to_owned(), Attr::Int(i64::try_from(barrier.timeout).unwrap_or(i64::MAX))),
    ]);
    if !barrier.servers.is_empty() {
        out.insert("servers".to_owned(), Attr::List(barrier.servers.clone()));
    }
    if barrier.rolls_back {
        out.insert("on-timeout".to_owned(), Attr::Text("rollback".into()));
    }
    out
}

/// The barrier that attributes describe; `None` where they describe none.
pub fn of_attrs(attrs: &Attrs) -> Option<Barrier> {
    let Some(Attr::List(lines)) = attrs.get("serves") else { return None };
    let mut sets: BTreeMap<SetKey, RecordSet> = BTreeMap::new();
    for line in lines {
        let mut words = line.splitn(4, ' ');
        let (name, ttl, kind, data) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let key = SetKey { name: name.to_owned(), kind: kind.to_owned() };
        let ttl = ttl.parse().ok()?;
        let set = sets.entry(key.clone()).or_insert_with(|| RecordSet { key, ttl, data: Default::default() });
        set.data.insert(data.to_owned());
    }
    let Some(Attr::Int(timeout)) = attrs.get("timeout") else { return None };
    let servers = match attrs.get("servers") {
        Some(Attr::List(l)) => l.clone(),
        _ => Vec::new(),
    };
    let rolls_back = attrs.get("on-timeout").and_then(Attr::as_text) == Some("rollback");
    Some(Barrier { sets: sets.into_values().collect(), servers, timeout: u64::try_from(*timeout).ok()?, rolls_back })
}

/// What stands in the outcome of a barrier: when the slowest server was seen to serve, in Unix seconds.
pub fn served(moment: i64) -> String {
    format!("served {moment}")
}

/// The moment that [`served`] wrote.
pub fn moment(fingerprint: &str) -> Option<i64> {
    fingerprint.strip_prefix("served ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back() {
        let set = |kind: &str, data: &[&str]| RecordSet {
            key: SetKey { name: "acme.example.".into(), kind: kind.into() },
            ttl: 300,
            data: data.iter().map(|d| (*d).to_owned()).collect(),
        };
        let barrier = Barrier {
            sets: vec![
                set("MX", &["10 a.acme.example.", "20 b.acme.example."]),
                set("TXT", &["\"v=spf1 mx -all\" \"x y\""]),
            ],
            servers: vec!["ns2.example.net.".into(), "ns3.acme.example. 192.0.2.3 2001:db8::3".into()],
            timeout: 600,
            rolls_back: true,
        };
        assert_eq!(of_attrs(&attrs(&barrier)), Some(barrier));
        assert_eq!(of_attrs(&Attrs::new()), None);
        assert_eq!(moment(&served(1_795_000_000)), Some(1_795_000_000));
        assert_eq!(moment("record-set 300 served 5"), None);
    }
}
