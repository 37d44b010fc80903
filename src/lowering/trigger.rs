//! Rollback points as the windows that name them have them, with the probes that their triggers ask.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::survey::{Survey, refs};
use super::window;
use super::zone::lane;
use crate::model::HostName;
use crate::model::host::{HostAccess, Reach};
use crate::model::topology::{Node, NodeId};
use crate::model::trigger::{Condition, Probe, Target, Transaction, Trigger, WayBack};

/// The way back of each window, by the window's name.
pub fn ways(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>) -> BTreeMap<String, WayBack> {
    let topology = survey.topology;
    let timezone = window::timezone(topology);
    let Ok(zone) = TimeZone::get(timezone) else { return BTreeMap::new() };
    let way = |w: &Node| {
        let point = topology.target(w, "rollback")?;
        let (start, _) = window::span(w, zone.clone())?;
        let valid = i64::try_from(point.duration("valid-for")?.as_secs()).ok()?;
        let back = WayBack {
            point: point.id.name.to_string(),
            until: start.saturating_add(valid),
            timezone: timezone.to_owned(),
            restores: point.texts("restores").into_iter().map(str::to_owned).collect(),
            triggers: point.children("trigger").map(|t| trigger(survey, hosts, t)).collect(),
        };
        Some((w.id.name.to_string(), back))
    };
    topology.all("cutover-window").filter_map(way).collect()
}

/// Gives cohorts the way back of their windows.
pub fn attach(ways: &BTreeMap<String, WayBack>, hosts: &mut BTreeMap<HostName, HostAccess>) {
    for host in hosts.values_mut() {
        if let Reach::Cohort(cohort) = &mut host.reach
            && let Some(opening) = &mut cohort.opening
        {
            opening.way_back = ways.get(&opening.window).cloned();
        }
    }
}

/// All probes of the topology by name, or why one of them cannot be made.
pub fn probes(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>) -> BTreeMap<String, Result<Probe, String>> {
    let one = |node: &Node| (node.id.name.to_string(), probe(survey, hosts, node));
    survey.topology.all("probe").map(one).collect()
}

fn trigger(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, node: &Node) -> Trigger {
    let share = node.percent("failed").map(|p| p.0);
    let unasked = |what: &str| Condition::Unasked { what: what.to_owned() };
    let when = match (survey.topology.target(node, "probe"), share) {
        (Some(p), share) => match probe(survey, hosts, p) {
            Ok(probe) => Condition::Probe { probe: Box::new(probe), share },
            Err(why) => Condition::Unasked { what: why },
        },
        (None, Some(share)) => Condition::Failed { share },
        (None, None) => unasked("rules of monitors are not evaluated yet"),
    };
    Trigger {
        name: node.name().to_owned(),
        when,
        holds: node.duration("for").map_or(0, |d| d.as_secs()),
        rolls_back: node.text("action") == Some("rollback"),
    }
}

fn probe(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, node: &Node) -> Result<Probe, String> {
    let name = node.id.name.to_string();
    let word = node.text("type").unwrap_or_default();
    let what = Transaction::parse(word).ok_or_else(|| format!("probes of type {word} are not carried out yet"))?;
    let mut targets: Vec<Target> = Vec::new();
    for id in refs(node, "to") {
        targets.extend(of(survey, hosts, what, id));
    }
    let mut seen = BTreeSet::new();
    targets.retain(|t| seen.insert((t.address.clone(), t.port, t.name.clone())));
    if targets.is_empty() {
        return Err(format!("nothing that probe {name} names has an address for {word}"));
    }
    let millis = |field: &str| node.duration(field).map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    Ok(Probe {
        name,
        what,
        targets,
        every: node.duration("every").map_or(60, |d| d.as_secs().max(1)),
        timeout: millis("timeout").unwrap_or(10_000),
        within: millis("within"),
        account: node.text("account").map(str::to_owned),
        password: node.secret("password").cloned(),
    })
}

/// Where a node is asked.
fn of(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, what: Transaction, id: &NodeId) -> Vec<Target> {
    let topology = survey.topology;
    let server = |name: &str| {
        let s = survey.servers.get(name)?;
        let access = hosts.get(&HostName::from(name));
        let port = match what {
            Transaction::Heartbeat => access.map_or(22, |a| a.port),
            Transaction::Smtp => 25,
            Transaction::Imap => 993,
            Transaction::Pop => 995,
            Transaction::Dns => return None,
        };
        let host = access.map(|a| a.name.clone());
        Some(Target { name: s.fqdn.to_string(), address: s.address().to_owned(), port, host })
    };
    let Some(node) = topology.find(id) else { return Vec::new() };
    match id.kind.as_str() {
        "zone" if what == Transaction::Dns => {
            let Some(access) = hosts.get(&lane(node)) else { return Vec::new() };
            let servers = access.zone().map(|z| z.servers.as_slice()).unwrap_or_default();
            let zone = node.id.plain().to_owned();
            let target = |ip: &std::net::IpAddr| Target {
                name: zone.clone(),
                address: ip.to_string(),
                port: access.port,
                host: None,
            };
            servers.iter().flat_map(|s| &s.addresses).map(target).collect()
        }
        "proxy" => refs(node, "on").filter_map(|id| server(&id.name)).collect(),
        "legacy" => match node.reference("server") {
            Some(id) => server(&id.name).into_iter().collect(),
            None => node.text("host").map_or_else(Vec::new, |host| {
                let port = match what {
                    Transaction::Heartbeat => 22,
                    Transaction::Smtp => 25,
                    Transaction::Imap => 993,
                    Transaction::Pop => 995,
                    Transaction::Dns => return Vec::new(),
                };
                vec![Target { name: host.to_owned(), address: host.to_owned(), port, host: None }]
            }),
        },
        _ => survey.hosts_of(id).into_iter().filter_map(server).collect(),
    }
}
