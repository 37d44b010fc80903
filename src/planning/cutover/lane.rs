//! A zone of a window: what moves in it, what both sides need meanwhile, and what goes when the old side is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::catalog::record_set;
use crate::model::attr::Attr;
use crate::model::cutover::Window;
use crate::model::dns::{RecordSet, SetChange, SetKey, ZoneSeen};
use crate::model::host::ZoneAccess;
use crate::model::observed::{Observation, Owned, Record};
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::model::{Address, HostName, Kind};

use super::facts::{Held, ZoneFacts, targets};
use super::union::{both, of_old_side, shared};
use crate::planning::PlanInput;
use crate::planning::records;

/// A zone of the window.
pub struct Lane<'a> {
    pub host: &'a HostName,
    pub facts: ZoneFacts,
    pub held: Vec<Held>,
    pub resources: BTreeMap<SetKey, &'a Resource>,
    /// What the ledger holds that the topology does not name any more.
    pub left: BTreeMap<SetKey, (&'a Owned, &'a Record)>,
    /// What has to be there before the swap and is not yet.
    pub publishes: BTreeSet<Address>,
    /// Sets that keep what the old side needs, as they stand until they are pruned.
    pub wide: BTreeMap<Address, RecordSet>,
    /// Name servers that the zone names and the topology does not.
    pub servers: Vec<String>,
    /// Names whose policies of MTA-STS are not published as the topology has them.
    pub unpublished: BTreeSet<String>,
}

/// Zones that answered; the others stand among the failures of the plan.
pub fn lanes<'a>(input: &PlanInput<'a>, window: &'a Window) -> Vec<Lane<'a>> {
    let hosts: BTreeSet<&HostName> = window.holds.iter().map(|a| &a.host).collect();
    hosts
        .into_iter()
        .filter_map(|host| Some((host, input.observed.hosts.get(host)?)))
        .filter_map(|(host, seen)| lane(input, window, host, seen))
        .collect()
}

/// The site as it is until the old side is over: sets of both sides are wanted with the data of both.
pub fn widened(site: &Site, lanes: &[Lane]) -> Site {
    let mut out = site.clone();
    let wide: BTreeMap<&Address, &RecordSet> = lanes.iter().flat_map(|l| &l.wide).collect();
    for r in &mut out.resources {
        if let Some(set) = wide.get(&r.address) {
            r.attrs.extend(record_set::attrs(set));
        }
    }
    out
}

fn lane<'a>(input: &PlanInput<'a>, window: &Window, host: &'a HostName, seen: &'a Observation) -> Option<Lane<'a>> {
    let access = input.site.hosts.get(host)?.zone()?;
    let zone = seen.zone.as_ref()?;
    let name = format!("{}.", access.zone);
    let mine = input.site.of_host(host);
    let resources: BTreeMap<SetKey, &Resource> =
        mine.iter().filter_map(|r| Some((record_set::set_key(&r.address.key)?, r))).collect();
    let topology = |r: &Resource| record_set::of_attrs(&r.address.key, &r.attrs);
    let observed = |r: &Resource| {
        let record = seen.records.get(&r.address.local()).filter(|record| record.present)?;
        record_set::of_attrs(&r.address.key, &record.attrs)
    };
    let holds = |r: &Resource| window.holds.contains(&r.address);
    let held: Vec<Held> = mine
        .iter()
        .filter(|r| holds(r))
        .filter_map(|r| Some(Held { wanted: topology(r)?, observed: observed(r), former_ttl: lowered(seen, r) }))
        .collect();
    // What both sides need is wide until the old side is over.
    let over = input.options.now >= window.over();
    let keys = || held.iter().map(|h| &h.wanted.key);
    let wide: BTreeMap<Address, RecordSet> = resources
        .iter()
        .filter(|(key, r)| !over && !holds(r) && shared(key, keys()))
        .filter_map(|(_, r)| Some((r.address.clone(), both(&observed(r)?, &topology(r)?)?)))
        .collect();
    let wanted = |r: &Resource| wide.get(&r.address).cloned().or_else(|| topology(r));
    // What leads to the new side: addresses and TLSA of its hosts, and the policy that lets them send.
    let mut needed: BTreeSet<SetKey> = BTreeSet::new();
    let moving: Vec<&Held> = held.iter().filter(|h| h.differs()).collect();
    for h in &moving {
        for target in targets(&h.wanted) {
            needed.extend(["A", "AAAA"].map(|kind| SetKey { name: target.clone(), kind: kind.into() }));
            needed.insert(SetKey { name: format!("_25._tcp.{target}"), kind: "TLSA".into() });
        }
    }
    needed.extend(resources.keys().filter(|k| shared(k, moving.iter().map(|h| &h.wanted.key))).cloned());
    let publishes: Vec<(&Resource, SetChange)> = needed
        .iter()
        .filter_map(|key| resources.get(key).copied())
        .filter(|r| !holds(r))
        .filter_map(|r| {
            let change = SetChange { before: observed(r), after: Some(wanted(r)?) };
            (change.before != change.after).then_some((r, change))
        })
        .collect();
    let published: BTreeSet<Address> = publishes.iter().map(|(r, _)| r.address.clone()).collect();

    // Only what is ours, or becomes ours by being published, is ever narrowed.
    let ours = |r: &Resource| {
        let owned = seen.owned.iter().find(|o| o.kind == Kind::RecordSet && o.key == r.address.key);
        let record = seen.records.get(&r.address.local());
        let whole = owned.zip(record).is_some_and(|(o, record)| records::keeps(o, record).is_none());
        whole || published.contains(&r.address)
    };
    let narrowed = resources.values().filter(|r| ours(r)).filter_map(|r| {
        let after = topology(r)?;
        Some(SetChange { before: Some(wide.get(&r.address)?.clone()), after: Some(after) })
    });
    let left: BTreeMap<SetKey, (&Owned, &Record)> = seen
        .owned
        .iter()
        .filter(|o| o.kind == Kind::RecordSet)
        .filter_map(|o| Some((record_set::set_key(&o.key)?, o)))
        .filter(|(key, _)| !resources.contains_key(key) && of_old_side(key))
        .filter_map(|(key, o)| Some((key, (o, seen.records.get(&format!("{}:{}", o.kind, o.key))?))))
        .filter(|(_, (o, record))| record.present && records::keeps(o, record).is_none())
        .collect();
    let gone = left.values().filter_map(|(o, record)| {
        Some(SetChange { before: Some(record_set::of_attrs(&o.key, &record.attrs)?), after: None })
    });
    let prunes = narrowed.chain(gone).collect();

    let servers = unknown_servers(access, zone, &name);
    let policies = window.policies.iter().filter(|p| held.iter().any(|h| h.wanted.key.name == p.domain));
    let unpublished = policies
        .filter(|p| {
            let key = SetKey { name: format!("_mta-sts.{}", p.domain), kind: "TXT".into() };
            resources.get(&key).is_some_and(|r| observed(r).map(|o| o.data) != topology(r).map(|w| w.data))
        })
        .map(|p| p.domain.clone())
        .collect();
    let facts = ZoneFacts {
        name,
        short_ttl: window.short_ttls.get(host).copied().unwrap_or(300),
        negative_ttl: zone.negative_ttl,
        refresh: zone.refresh,
        secondaries: access.servers.len() + servers.len() > 1,
        sets: zone.sets.clone(),
        publishes: publishes.into_iter().map(|(_, change)| change).collect(),
        prunes,
    };
    Some(Lane { host, facts, held, resources, left, publishes: published, wide, servers, unpublished })
}

/// Name servers that the zone names and the topology does not, each with its addresses where the zone has them.
fn unknown_servers(access: &ZoneAccess, zone: &ZoneSeen, name: &str) -> Vec<String> {
    let known = |ns: &str| access.servers.iter().any(|s| s.name.trim_end_matches('.') == ns.trim_end_matches('.'));
    let here = |address: &IpAddr| access.servers.iter().any(|s| s.addresses.contains(address));
    let apex = zone.sets.iter().filter(|s| s.key.kind == "NS" && s.key.name == name).flat_map(|s| s.data.iter());
    apex.filter(|ns| !known(ns))
        .filter_map(|ns| {
            let address = |s: &&RecordSet| s.key.name == *ns && matches!(s.key.kind.as_str(), "A" | "AAAA");
            let found = zone.sets.iter().filter(address).flat_map(|s| s.data.iter());
            let found: Vec<IpAddr> = found.filter_map(|a| a.parse().ok()).collect();
            // Known under another name.
            let all_known = !found.is_empty() && found.iter().all(here);
            let words = std::iter::once(ns.clone()).chain(found.iter().map(ToString::to_string));
            (!all_known).then(|| words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The TTL that an unfinished run lowered this set from, as the ledger has it.
fn lowered(seen: &Observation, r: &Resource) -> Option<u32> {
    let owned = seen.owned.iter().find(|o| o.kind == Kind::RecordSet && o.key == r.address.key)?;
    match owned.attrs.get("old-ttl") {
        Some(Attr::Int(ttl)) => u32::try_from(*ttl).ok(),
        _ => None,
    }
}
