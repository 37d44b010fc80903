//! The hosts that take mail for a domain: what an MTA-STS policy names, and where TLSA records stand.

use std::net::IpAddr;

use crate::model::Diagnostics;

use super::super::context::dns::{name_of, values};
use super::super::survey::Survey;
use super::senders::legacies;
use super::zones::Zones;

/// The names of a domain's MX records, in the order written, then those of systems that are still there: while a record is held at
/// what is served, or a resolver still has it, mail goes to them, and a policy that an hour ago did not name them is cached
/// (RFC 8461, section 3.1).
pub fn of(survey: &Survey<'_>, zones: &Zones<'_>, domain: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && !out.contains(&name) {
            out.push(name);
        }
    };
    let domain = domain.to_ascii_lowercase();
    let holding = zones.holding(&domain);
    let outside = holding.iter().any(|z| z.text("view") != Some("internal"));
    for &zone in holding.iter().filter(|z| !outside || z.text("view") != Some("internal")) {
        for &record in zones.written(zone, &domain).iter().filter(|r| r.text("type") == Some("MX")) {
            let mut data = Vec::new();
            // What is wrong with a record is said where its zone is made.
            values(survey, zone, name_of(zone), record, &mut data, &mut Diagnostics::default());
            data.iter().filter_map(|d| d.rsplit(' ').next()).for_each(&mut add);
        }
    }
    for legacy in legacies(survey.topology) {
        match (legacy.text("server").and_then(|s| survey.servers.get(s)), legacy.text("host")) {
            (Some(server), _) => add(&server.fqdn),
            (None, Some(host)) if host.parse::<IpAddr>().is_err() => add(host),
            _ => {}
        }
    }
    out
}
