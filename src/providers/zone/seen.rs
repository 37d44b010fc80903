//! What a cutover has to know of a zone beside the sets that the topology names.

use std::collections::BTreeSet;

use crate::catalog::record_set;
use crate::model::attr::Attr;
use crate::model::dns::{RecordSet, SetKey, ZoneSeen};
use crate::model::resource::Resource;
use crate::protocol::dns::Transferred;

/// The zone's name servers; and for each wanted MX set what it leads from and to.
pub fn of<'r>(zone: &str, seen: &Transferred, wanted: impl Iterator<Item = &'r Resource>) -> ZoneSeen {
    let key = |name: &str, kind: &str| SetKey { name: name.to_owned(), kind: kind.to_owned() };
    let apex = key(&format!("{zone}."), "NS");
    // Name servers within the zone are found by its own addresses, whatever a resolver here may know of it.
    let servers = seen.sets.get(&apex).into_iter().flat_map(|s| s.data.iter());
    let mut keys: BTreeSet<SetKey> = servers.flat_map(|ns| ["A", "AAAA"].map(|kind| key(ns, kind))).collect();
    keys.insert(apex);
    for (r, mx) in
        wanted.filter_map(|r| Some((r, record_set::set_key(&r.address.key)?))).filter(|(_, k)| k.kind == "MX")
    {
        keys.insert(key(&mx.name, "TXT"));
        let served = seen.sets.get(&mx).into_iter().flat_map(|s| s.data.iter());
        let listed: &[String] = match r.attrs.get("data") {
            Some(Attr::List(l)) => l,
            _ => &[],
        };
        for host in served.chain(listed).filter_map(|d| Some(d.rsplit_once(' ')?.1)) {
            keys.extend(["A", "AAAA"].map(|kind| key(host, kind)));
            keys.insert(key(&format!("_25._tcp.{host}"), "TLSA"));
        }
    }
    let sets: Vec<RecordSet> = keys.iter().filter_map(|k| seen.sets.get(k).cloned()).collect();
    ZoneSeen { serial: seen.serial, negative_ttl: seen.negative_ttl, refresh: seen.refresh, sets }
}
