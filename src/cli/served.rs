//! Whether every name server of a zone serves a record, asked of each of their addresses without a cache between.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::lowering;
use crate::model::dns::{NameServer, SetKey, WantedRecord, Zone};
use crate::model::topology::Topology;
use crate::protocol::dns::data::wanted;
use crate::protocol::dns::{Answer, ask_whole};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What all name servers agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Seconds that a cache may still not know it: its TTL, or the time for which "not there" is remembered (RFC 2308, section 5).
    pub unknown: u64,
}

/// Why a record is not served everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lags {
    pub why: String,
    /// Some server has other data of this name and type.
    pub other: bool,
}

/// The zones of a topology with their name servers.
pub struct Servers {
    zones: Vec<(Zone, bool)>,
}

impl Servers {
    pub fn of(topology: &Topology) -> Self {
        let (zones, _) = lowering::zone::zones(topology, &lowering::Options::default());
        let inner = |z: &Zone| z.view == "internal";
        Self { zones: zones.into_iter().map(|z| (inner(&z), z)).map(|(inner, z)| (z, inner)).collect() }
    }

    /// The zones that a name lies in as the world sees it: those of the deepest name, without internal views where there are others.
    fn holding(&self, name: &str) -> Vec<&Zone> {
        let under = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let all: Vec<_> = self.zones.iter().filter(|(z, _)| under(&z.name.to_ascii_lowercase())).collect();
        let deepest = all.iter().map(|(z, _)| z.name.len()).max().unwrap_or(0);
        let all: Vec<_> = all.into_iter().filter(|(z, _)| z.name.len() == deepest).collect();
        let outside = all.iter().any(|(_, inner)| !inner);
        all.into_iter().filter(|(_, inner)| !(outside && *inner)).map(|(z, _)| z).collect()
    }

    /// Whether this record is served everywhere now. `name`: absolute, lower case, without the last dot; `data` as in a zone file.
    pub async fn serve(&self, name: &str, kind: &str, data: &str) -> Result<Served, Lags> {
        let fail = |why: String| Lags { why, other: false };
        let zones = self.holding(name);
        if zones.is_empty() {
            return Err(fail(format!("no zone of the topology with name servers that could be asked holds {name}")));
        }
        let record = WantedRecord { name: format!("{name}."), kind: kind.to_owned(), ttl: 0, data: data.to_owned() };
        let sets = wanted(&[record]).map_err(|e| fail(e.to_string()))?;
        let Some((key, set)) = sets.into_iter().next() else { return Err(fail(format!("{name} {kind}: no data"))) };
        let mut unknown = 0;
        for zone in zones {
            unknown = unknown.max(everywhere(zone, &key, &set.data).await?);
        }
        Ok(Served { unknown })
    }
}

async fn everywhere(zone: &Zone, key: &SetKey, data: &BTreeSet<String>) -> Result<u64, Lags> {
    let fail = |why: String| Lags { why, other: false };
    let mut open: Vec<NameServer> = zone.servers.clone();
    let mut asked: BTreeSet<IpAddr> = BTreeSet::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let (mut unknown, mut lags) = (0u64, None::<Lags>);
    while let Some(server) = open.pop() {
        let bare = server.name.trim_end_matches('.').to_ascii_lowercase();
        if !names.insert(bare.clone()) {
            continue;
        }
        let mut addresses = server.addresses.clone();
        if addresses.is_empty() {
            let found = tokio::net::lookup_host((bare.as_str(), zone.port)).await;
            addresses.extend(found.map_err(|e| fail(format!("{bare}: its name leads nowhere: {e}")))?.map(|a| a.ip()));
        }
        if addresses.is_empty() {
            return Err(fail(format!("{bare}: its name has no address")));
        }
        for ip in addresses {
            if !asked.insert(ip) {
                continue;
            }
            let at = SocketAddr::new(ip, zone.port);
            let here = |why: String| format!("{bare} ({ip}): {why}");
            let said = one(at, key).await.map_err(|e| fail(here(e)))?;
            match said.set {
                Some(set) if said.authoritative && set.data.is_superset(data) => {
                    unknown = unknown.max(u64::from(set.ttl));
                }
                set => {
                    let other = set.is_some_and(|s| !s.data.is_empty());
                    let why = match (said.authoritative, other) {
                        (false, _) => "does not hold the zone itself".to_owned(),
                        (true, true) => "serves other data there".to_owned(),
                        (true, false) => format!("answers {} without it", said.code),
                    };
                    let other = other || lags.as_ref().is_some_and(|l| l.other);
                    lags = Some(Lags { why: here(why), other });
                }
            }
            let soa = SetKey { name: format!("{}.", zone.name), kind: "SOA".into() };
            let soa = one(at, &soa).await.map_err(|e| fail(here(e)))?;
            if let Some(set) = soa.set {
                let minimum = set.data.iter().filter_map(|d| d.rsplit(' ').next()?.parse::<u64>().ok()).max();
                unknown = unknown.max(minimum.unwrap_or(0).min(u64::from(set.ttl)));
            }
            // Servers that the zone names and the topology does not know.
            let apex = SetKey { name: format!("{}.", zone.name), kind: "NS".into() };
            let apex = one(at, &apex).await.map_err(|e| fail(here(e)))?;
            for name in apex.set.map(|s| s.data).unwrap_or_default() {
                if names.contains(&name.trim_end_matches('.').to_ascii_lowercase()) {
                    continue;
                }
                let mut addresses = Vec::new();
                for kind in ["A", "AAAA"] {
                    let key = SetKey { name: name.clone(), kind: kind.into() };
                    if let Ok(Answer { set: Some(set), .. }) = one(at, &key).await {
                        addresses.extend(set.data.iter().filter_map(|d| d.parse::<IpAddr>().ok()));
                    }
                }
                let known = zone.servers.iter().any(|s| {
                    s.name.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'))
                        || (!addresses.is_empty() && addresses.iter().all(|a| s.addresses.contains(a)))
                });
                if !known {
                    open.push(NameServer { name, addresses });
                }
            }
        }
    }
    if asked.is_empty() {
        return Err(fail(format!("zone {} has no name server that could be asked", zone.name)));
    }
    lags.map_or(Ok(unknown), Err)
}

async fn one(at: SocketAddr, key: &SetKey) -> Result<Answer, String> {
    ask_whole(at, key, PATIENCE).await.map_err(|e| format!("could not be asked: {e}"))
}
