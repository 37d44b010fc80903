//! The hosts that take mail for a domain: what an MTA-STS policy names, and where TLSA records stand.

use std::net::IpAddr;

use crate::model::Diagnostics;

use super::super::context::dns::values;
use super::super::survey::Survey;
use super::senders::legacies;
use super::{holding, written, zone_name};

/// The names of a domain's MX records, in the order written, then those of systems that are still there: while a record is held at
/// what is served, or a resolver still has it, mail goes to them, and a policy that an hour ago did not name them is cached
/// (RFC 8461, section 3.1).
pub fn of(survey: &Survey<'_>, domain: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && !out.contains(&name) {
            out.push(name);
        }
    };
    let domain = domain.to_ascii_lowercase();
    let zones = holding(survey.topology, &domain);
    let outside = zones.iter().any(|z| z.text("view") != Some("internal"));
    for zone in zones.into_iter().filter(|z| !outside || z.text("view") != Some("internal")) {
        for (_, record) in written(zone).filter(|(n, r)| *n == domain && r.text("type") == Some("MX")) {
            let mut data = Vec::new();
            // What is wrong with a record is said where its zone is made.
            values(survey, zone, zone_name(zone), record, &mut data, &mut Diagnostics::default());
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
