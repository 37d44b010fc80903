//! Who speaks for a zone, and what each of them serves. Silence is never taken for an answer.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::model::dns::{NameServer, RecordSet, SetKey};
use crate::model::host::{HostAccess, ZoneAccess};
use crate::protocol::dns::{Answer, DnsError, ask_whole, resolve};

/// For one answer, before the server counts as silent in this round.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Which resolvers this machine asks.
const RESOLVERS: &str = "/etc/resolv.conf";

/// One address that has to serve what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub server: String,
    pub address: SocketAddr,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.server, self.address.ip())
    }
}

/// Every address of these servers, and why some have none.
pub async fn places(servers: impl Iterator<Item = NameServer>, port: u16) -> (BTreeSet<Place>, Vec<String>) {
    let mut places = BTreeSet::new();
    let mut lost = Vec::new();
    for server in servers {
        let name = server.name.trim_end_matches('.').to_owned();
        if !server.addresses.is_empty() {
            let at = |a: &IpAddr| Place { server: name.clone(), address: SocketAddr::new(*a, port) };
            places.extend(server.addresses.iter().map(at));
            continue;
        }
        match tokio::net::lookup_host((name.as_str(), port)).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                if found.is_empty() {
                    lost.push(format!("{name}: its name has no address"));
                }
                places.extend(found.into_iter().map(|address| Place { server: name.clone(), address }));
            }
            Err(e) => lost.push(format!("{name}: its name leads nowhere: {e}")),
        }
    }
    if places.is_empty() && lost.is_empty() {
        lost.push("the zone has no name server that could be asked".into());
    }
    (places, lost)
}

/// The name servers of a zone: those that the topology names, else those that the world is sent to.
pub async fn authorities(lane: &HostAccess, zone: &ZoneAccess) -> Result<BTreeSet<Place>, String> {
    let servers = match zone.servers.is_empty() {
        false => zone.servers.clone(),
        true => delegated(&zone.zone).await?,
    };
    let (places, lost) = places(servers.into_iter(), lane.port).await;
    if lost.is_empty() { Ok(places) } else { Err(lost.join("; ")) }
}

/// The name servers that this machine's resolver knows of a zone.
pub async fn delegated(zone: &str) -> Result<Vec<NameServer>, String> {
    let text = tokio::fs::read_to_string(RESOLVERS).await.map_err(|e| format!("{RESOLVERS} cannot be read: {e}"))?;
    let resolvers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|l| l.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect();
    let key = SetKey { name: format!("{}.", zone.trim_end_matches('.')), kind: "NS".into() };
    let mut why = format!("{RESOLVERS} names no resolver");
    for resolver in resolvers {
        match resolve(resolver, &key, PATIENCE).await {
            Ok(Answer { set: Some(set), .. }) => {
                return Ok(set.data.into_iter().map(|name| NameServer { name, addresses: Vec::new() }).collect());
            }
            Ok(said) => why = format!("{} answers {} without them", resolver.ip(), said.code),
            Err(e) => why = e.to_string(),
        }
    }
    Err(format!("its name servers cannot be found: {why}; name them with secondaries= or host="))
}

/// What one address says of a set; an error where it could not be asked or does not hold the zone.
pub async fn said(place: &Place, key: &SetKey) -> Result<Answer, String> {
    let unasked = |e: DnsError| format!("could not be asked: {e}");
    let said = ask_whole(place.address, key, PATIENCE).await.map_err(unasked)?;
    if !said.authoritative {
        return Err("does not hold the zone itself".into());
    }
    Ok(said)
}

/// Whether one address serves one set, or has it no more, and what it says instead.
pub async fn serves(place: &Place, key: &SetKey, wanted: Option<&RecordSet>) -> Result<(), String> {
    let Answer { code, set: found, .. } = said(place, key).await?;
    match (found, wanted) {
        (Some(found), Some(wanted)) if found == *wanted => Ok(()),
        (Some(found), _) => {
            let data = found.data.iter().cloned().collect::<Vec<_>>().join(" | ");
            Err(format!("still serves {data} with TTL {}", found.ttl))
        }
        (None, None) if code == "NOERROR" || code == "NXDOMAIN" => Ok(()),
        (None, _) => Err(format!("answers {code} without it")),
    }
}
