//! Names of the addresses that mail leaves from: a PTR record for each sender, where the topology holds the reverse zone. Receivers look
//! from the address to the name and back again (FCrDNS: RFC 1912, section 2.1; RFC 8601, section 3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::Diagnostics;
use crate::model::topology::{Node, Topology};

use super::super::context::dns::{absolute, name_of};
use super::super::survey::{NO_LISTS, Survey, refs, survey};
use super::zones::Zones;
use super::{Composed, senders};

/// The name under which an address is looked up (RFC 1035, section 3.5; RFC 3596, section 2.5), without its last dot.
pub fn name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(a) => {
            let nibbles = a.octets().into_iter().rev().flat_map(|o| [o & 15, o >> 4]);
            nibbles.map(|n| format!("{n:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// The same in a part of a network that somebody else's zone hands on (RFC 2317): `0-63.2.0.192.in-addr.arpa`, also with `/` and the length of
/// the prefix.
fn classless(address: IpAddr, zone: &str) -> Option<String> {
    let IpAddr::V4(a) = address else { return None };
    let [a, b, c, d] = a.octets();
    let (part, rest) = zone.split_once('.')?;
    if rest != format!("{c}.{b}.{a}.in-addr.arpa") {
        return None;
    }
    let holds = if let Some((low, high)) = part.split_once('-') {
        (low.parse::<u8>().ok()?..=high.parse::<u8>().ok()?).contains(&d)
    } else {
        let (low, length) = part.split_once('/')?;
        let (low, length): (u8, u32) = (low.parse().ok()?, length.parse().ok().filter(|l| (25..=32).contains(l))?);
        d.checked_sub(low).is_some_and(|over| u32::from(over) < 1 << (32 - length))
    };
    holds.then(|| format!("{d}.{zone}"))
}

/// A server that sends mail to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// What it calls itself in HELO.
    pub name: String,
    /// As the world sees them.
    pub addresses: Vec<IpAddr>,
}

/// Servers that a domain allows to send, by the domains that are named (all where none is).
pub fn egress(topology: &Topology, domains: &[String]) -> Vec<Egress> {
    let survey = survey(topology, &NO_LISTS, &BTreeMap::new(), &mut Diagnostics::default());
    let zones = Zones::new(topology);
    let named = |m: &&Node| domains.is_empty() || domains.iter().any(|d| d.eq_ignore_ascii_case(&m.id.name));
    senders_of(topology.all("mail-auth").filter(named))
        .into_iter()
        .filter_map(|s| survey.servers.get(s))
        .map(|s| Egress { name: s.fqdn.to_ascii_lowercase(), addresses: senders::addresses(&survey, &zones, s.name) })
        .collect()
}

fn senders_of<'t>(auths: impl Iterator<Item = &'t Node>) -> BTreeSet<&'t str> {
    let allowed = auths.flat_map(|m| m.children("spf")).flat_map(|s| refs(s, "allow"));
    allowed.filter(|id| id.kind == "server").map(|id| id.name.as_str()).collect()
}

impl<'t> Composed<'t> {
    /// For every server that some domain allows to send. A PTR record that is written out holds instead.
    pub(super) fn reverse(&mut self, survey: &Survey<'t>, zones: &Zones<'t>) {
        let reverse: Vec<&str> =
            survey.topology.all("zone").map(|z: &Node| name_of(z)).filter(|n| n.ends_with(".arpa")).collect();
        if reverse.is_empty() {
            return;
        }
        let senders = senders_of(survey.topology.all("mail-auth"));
        for server in senders.into_iter().filter_map(|s| survey.servers.get(s)) {
            for address in senders::addresses(survey, zones, server.name) {
                let part = reverse.iter().find_map(|z| classless(address, &z.to_ascii_lowercase()));
                let name = part.unwrap_or_else(|| self::name(address));
                self.record(zones, &name, "PTR", absolute(&server.fqdn));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_names() {
        assert_eq!(name("192.0.2.25".parse().unwrap()), "25.2.0.192.in-addr.arpa");
        // RFC 3596, section 2.5.
        assert_eq!(
            name("4321:0:1:2:3:4:567:89ab".parse().unwrap()),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
        );
    }

    #[test]
    fn parts_of_a_network_have_zones_of_their_own() {
        let of = |ip: &str, zone| classless(ip.parse().unwrap(), zone);
        assert_eq!(of("192.0.2.25", "0-63.2.0.192.in-addr.arpa").as_deref(), Some("25.0-63.2.0.192.in-addr.arpa"));
        assert_eq!(of("192.0.2.64", "0-63.2.0.192.in-addr.arpa"), None);
        assert_eq!(
            of("192.0.2.129", "128/26.2.0.192.in-addr.arpa").as_deref(),
            Some("129.128/26.2.0.192.in-addr.arpa")
        );
        assert_eq!(of("192.0.2.192", "128/26.2.0.192.in-addr.arpa"), None);
        assert_eq!(of("192.0.3.1", "0-63.2.0.192.in-addr.arpa"), None);
        assert_eq!(of("192.0.2.1", "2.0.192.in-addr.arpa"), None);
    }
}
