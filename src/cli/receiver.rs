//! Asks DNS as a receiver of mail does, through a resolver: what an SPF check would cost, and whether the addresses that send have names
//! that lead back to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::failure::Failure;
use crate::lowering::mail_auth::reverse::{self, Egress};
use crate::lowering::mail_auth::spf::LOOKUPS;
use crate::model::dns::{SetKey, joined};
use crate::protocol::dns::resolve;
use crate::reporting::{HostSeen, SpfSeen};

/// Lookups without an answer that a check may make (RFC 7208, section 4.6.4).
const VOID: usize = 2;
/// Hosts of one `mx` term, names of one address (the same section).
const NAMES: usize = 10;
/// Where counting ends: a policy that includes itself has no end.
const ENOUGH: usize = 100;

pub struct Receiver {
    resolver: SocketAddr,
    patience: Duration,
}

impl Receiver {
    pub fn new(resolver: SocketAddr, patience: Duration) -> Self {
        Self { resolver, patience }
    }

    /// The data of a name, aliases followed; empty where there is none.
    async fn find(&self, name: &str, kind: &str) -> Result<Vec<String>, Failure> {
        let mut name = format!("{}.", name.trim_end_matches('.'));
        // As many aliases as resolvers follow.
        for _ in 0..8 {
            let key = SetKey { name: name.to_ascii_lowercase(), kind: kind.to_owned() };
            let said = resolve(self.resolver, &key, self.patience).await;
            let said = said.map_err(|e| Failure::new(format!("{name} {kind} could not be asked: {e}")))?;
            match (said.set, said.alias) {
                (Some(set), _) => return Ok(set.data.into_iter().collect()),
                (None, Some(alias)) => name = alias,
                (None, None) if matches!(said.code.as_str(), "NOERROR" | "NXDOMAIN") => return Ok(Vec::new()),
                (None, None) => return Err(Failure::new(format!("{name} {kind} could not be asked: {}", said.code))),
            }
        }
        Ok(Vec::new())
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let mut out = Vec::new();
        for kind in ["A", "AAAA"] {
            out.extend(self.find(name, kind).await?.iter().filter_map(|a| a.parse::<IpAddr>().ok()));
        }
        Ok(out)
    }

    /// The SPF records of a name.
    async fn policies(&self, name: &str) -> Result<Vec<String>, Failure> {
        let texts = self.find(name, "TXT").await?;
        let texts = texts.iter().map(|t| joined(t));
        let spf = |t: &String| {
            let head = t.get(..6).is_some_and(|h| h.eq_ignore_ascii_case("v=spf1"));
            head && t.get(6..).is_some_and(|r| r.is_empty() || r.starts_with(' '))
        };
        Ok(texts.filter(spf).collect())
    }

    /// Walks the policy of a domain with all that it includes.
    pub async fn spf(&self, domain: &str) -> Result<SpfSeen, Failure> {
        let mut seen = SpfSeen { domain: domain.to_owned(), ..SpfSeen::default() };
        let mut open = vec![domain.to_owned()];
        while let Some(name) = open.pop() {
            let found = self.policies(&name).await?;
            match found.as_slice() {
                [text] => {
                    if name == domain && seen.record.is_none() {
                        seen.record = Some(text.clone());
                    }
                    open.extend(self.terms(&name, text, &mut seen).await?);
                }
                [] => {
                    if name != domain {
                        seen.void += 1;
                    }
                    seen.trouble.push(format!("{name} has no SPF record: every check ends in an error"));
                }
                many => {
                    seen.trouble.push(format!("{name} has {} SPF records: every check ends in an error", many.len()))
                }
            }
            if seen.lookups > ENOUGH {
                break;
            }
        }
        if seen.record.is_none() && seen.trouble.is_empty() {
            seen.trouble.push("it has no SPF record".into());
        }
        if seen.lookups > LOOKUPS {
            seen.trouble.push(format!("{} lookups, and {LOOKUPS} are allowed: checks end in an error", seen.lookups));
        }
        if seen.void > VOID {
            seen.trouble.push(format!("{} lookups find nothing, and {VOID} may: checks end in an error", seen.void));
        }
        Ok(seen)
    }

    /// Counts the terms of one record; the names that it includes.
    async fn terms(&self, domain: &str, text: &str, seen: &mut SpfSeen) -> Result<Vec<String>, Failure> {
        let mut open = Vec::new();
        for term in text.split_whitespace().skip(1) {
            let bare = term.trim_start_matches(['+', '-', '~', '?']);
            let (name, value) = bare.split_at(bare.find([':', '=', '/']).unwrap_or(bare.len()));
            let value = value.trim_start_matches([':', '=']);
            let value = value.split('/').next().filter(|v| !v.is_empty()).unwrap_or(domain);
            // Macros depend on the mail: such a name is counted and not looked up.
            let fixed = !value.contains('%');
            match name.to_ascii_lowercase().as_str() {
                "include" | "redirect" => {
                    seen.lookups += 1;
                    open.extend(fixed.then(|| value.to_owned()));
                }
                "a" => {
                    seen.lookups += 1;
                    if fixed && self.addresses(value).await?.is_empty() {
                        seen.void += 1;
                    }
                }
                "mx" => {
                    seen.lookups += 1;
                    if fixed {
                        let hosts = self.find(value, "MX").await?;
                        seen.void += usize::from(hosts.is_empty());
                        if hosts.len() > NAMES {
                            seen.trouble
                                .push(format!("{value} has {} MX records, and {NAMES} are allowed", hosts.len()));
                        }
                    }
                }
                "exists" => {
                    seen.lookups += 1;
                    if fixed && self.find(value, "A").await?.is_empty() {
                        seen.void += 1;
                    }
                }
                "ptr" => seen.lookups += 1,
                "all" | "ip4" | "ip6" | "exp" => {}
                // Unknown modifiers are skipped, unknown mechanisms are errors (RFC 7208, section 6 and 4.6.1).
                _ if bare[name.len()..].starts_with('=') => {}
                other => seen.trouble.push(format!("`{other}` is no term of SPF: every check ends in an error")),
            }
        }
        Ok(open)
    }

    /// From each address to a name and back, and whether the host calls itself so.
    pub async fn host(&self, host: &Egress) -> Result<Vec<HostSeen>, Failure> {
        let mut out = Vec::new();
        let own: BTreeSet<IpAddr> = self.addresses(&host.name).await?.into_iter().collect();
        for address in &host.addresses {
            let mut seen = HostSeen { helo: host.name.clone(), address: address.to_string(), ..HostSeen::default() };
            let names = self.find(&reverse::name(*address), "PTR").await?;
            seen.names = names.iter().map(|n| n.trim_end_matches('.').to_ascii_lowercase()).collect();
            if seen.names.is_empty() {
                seen.trouble
                    .push(format!("{} has no PTR record: many receivers refuse mail from it", reverse::name(*address)));
            }
            for name in seen.names.iter().take(NAMES) {
                let found = self.addresses(name).await?;
                if !found.contains(address) {
                    seen.trouble.push(match found.as_slice() {
                        [] => format!("its name {name} has no address"),
                        some => format!(
                            "its name {name} leads to {}",
                            some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                        ),
                    });
                }
            }
            if !own.contains(address) {
                seen.trouble.push(format!("the name that it gives in HELO, {}, does not lead to it", host.name));
            }
            if !seen.names.is_empty() && !seen.names.contains(&host.name) {
                seen.trouble.push(format!("it calls itself {}, and its PTR record another name", host.name));
            }
            out.push(seen);
        }
        Ok(out)
    }
}

/// The first resolver of the system.
pub fn system() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let mut servers = text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    servers.next().map(|ip| SocketAddr::new(ip, 53))
}
