//! A record set as a resource: key, attributes and fingerprint, the same for lowering, planning and the zone's agent.

use std::collections::BTreeSet;

use crate::model::attr::{Attr, Attrs, Digest};
use crate::model::dns::{RecordSet, SetKey};

/// Fingerprint of a set that is not there.
pub const ABSENT: &str = "absent";

/// Up to here data stands in the fingerprint itself, so that a person reads what was found; above it a digest does.
const READABLE: usize = 400;

/// `NAME/TYPE`, as in `www.acme.example./A`.
pub fn key(set: &SetKey) -> String {
    format!("{}/{}", set.name, set.kind)
}

/// The set that a resource's key names.
pub fn set_key(key: &str) -> Option<SetKey> {
    let (name, kind) = key.rsplit_once('/')?;
    let whole = !name.is_empty() && name.ends_with('.') && !kind.is_empty();
    whole.then(|| SetKey { name: name.to_owned(), kind: kind.to_owned() })
}

pub fn attrs(set: &RecordSet) -> Attrs {
    let data = Attr::List(set.data.iter().cloned().collect());
    Attrs::from([("data", data), ("ttl", Attr::Int(i64::from(set.ttl)))])
}

/// The set that attributes describe; `None` where they describe none.
pub fn of_attrs(key: &str, attrs: &Attrs) -> Option<RecordSet> {
    let Some(Attr::Int(ttl)) = attrs.get("ttl") else { return None };
    let Some(Attr::List(data)) = attrs.get("data") else { return None };
    Some(RecordSet { key: set_key(key)?, ttl: u32::try_from(*ttl).ok()?, data: data.iter().cloned().collect() })
}

/// What a zone shows of a set: `record-set 300 10 a.example. | 20 b.example.`.
pub fn fingerprint(set: Option<&RecordSet>) -> String {
    set.map_or_else(|| ABSENT.to_owned(), |s| of(s.ttl, &s.data))
}

fn of(ttl: u32, data: &BTreeSet<String>) -> String {
    // A bar inside of data stands in quotes, so two sets never read alike.
    let joined = data.iter().map(String::as_str).collect::<Vec<_>>().join(" | ");
    match joined.len() > READABLE {
        false => format!("record-set {ttl} {joined}"),
        true => format!("record-set {ttl} sha256:{}", Digest::of(joined.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_whatever_stands_in_the_name() {
        for name in ["acme.example.", "*.acme.example.", "1/25.2.0.192.in-addr.arpa.", "a\\.b.acme.example."] {
            let set = SetKey { name: name.into(), kind: "A".into() };
            assert_eq!(set_key(&key(&set)), Some(set));
        }
        for bad in ["acme.example/A", "./", "/A", "acme.example."] {
            assert_eq!(set_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn attributes_and_fingerprint_say_the_same_whatever_the_order() {
        let key = SetKey { name: "acme.example.".into(), kind: "MX".into() };
        let data = ["20 b.", "10 a."].map(str::to_owned).into_iter().collect();
        let set = RecordSet { key, ttl: 300, data };
        let back = of_attrs("acme.example./MX", &attrs(&set)).expect("a set");
        assert_eq!(back, set);
        assert_eq!(fingerprint(Some(&back)), "record-set 300 10 a. | 20 b.");
        assert_eq!(fingerprint(None), ABSENT);
        let long = RecordSet { data: (0..100).map(|n| format!("192.0.2.{n}")).collect(), ..set };
        assert!(fingerprint(Some(&long)).len() < 100);
    }
}
