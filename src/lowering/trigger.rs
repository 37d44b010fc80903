//! Rollback points as the windows that name them have them, with the probes that their triggers ask.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::survey::{Server, Survey, refs};
use super::window;
use crate::model::HostName;
use crate::model::dns::Zone;
use crate::model::host::{HostAccess, Reach};
use crate::model::topology::{Node, NodeId};
use crate::model::trigger::{Alert, Condition, Probe, Target, Transaction, Trigger, WayBack};
use crate::monitoring;

/// The way back of each window, by the window's name.
pub fn ways(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, zones: &[Zone]) -> BTreeMap<String, WayBack> {
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
            triggers: point.children("trigger").map(|t| trigger(survey, hosts, zones, t)).collect(),
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
pub fn probes(
    survey: &Survey<'_>,
    hosts: &BTreeMap<HostName, HostAccess>,
    zones: &[Zone],
) -> BTreeMap<String, Result<Probe, String>> {
    let one = |node: &Node| (node.id.name.to_string(), probe(survey, hosts, zones, node));
    survey.topology.all("probe").map(one).collect()
}

fn trigger(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, zones: &[Zone], node: &Node) -> Trigger {
    let share = node.percent("failed").map(|p| p.0);
    let unasked = |what: &str| Condition::Unasked { what: what.to_owned() };
    let rule = node.reference("rule").and_then(|id| survey.topology.find(id));
    let when = match (survey.topology.target(node, "probe"), share) {
        (Some(_), _) | (_, Some(_)) if rule.is_some() => {
            unasked("a rule stands alone: give the other condition a trigger of its own")
        }
        (None, None) if rule.is_some() => match rule.map(|r| alert(survey, hosts, r)) {
            Some(Ok(alert)) => Condition::Rule(Box::new(alert)),
            Some(Err(why)) => Condition::Unasked { what: why },
            None => unasked("it has no condition"),
        },
        (Some(p), share) => match probe(survey, hosts, zones, p) {
            Ok(probe) if probe.what == Transaction::Roundtrip => {
                unasked("round trips are made by hosts that watch, not by an apply")
            }
            Ok(probe) => Condition::Probe { probe: Box::new(probe), share },
            Err(why) => Condition::Unasked { what: why },
        },
        (None, Some(share)) => Condition::Failed { share },
        (None, None) => unasked("it has no condition"),
    };
    Trigger {
        name: node.name().to_owned(),
        when,
        holds: node.duration("for").map_or(0, |d| d.as_secs()),
        rolls_back: node.text("action") == Some("rollback"),
    }
}

/// The alert of a rule, where a server of the topology evaluates it.
fn alert(survey: &Survey<'_>, hosts: &BTreeMap<HostName, HostAccess>, rule: &Node) -> Result<Alert, String> {
    let label = rule.id.name.as_str();
    let all = monitoring::compose(survey.topology, &monitoring::Options::default()).watches;
    let watch = all.into_iter().find(|w| label == format!("{}.{}", w.monitor, w.rule));
    let watch = watch.ok_or_else(|| format!("rule {label} watches nothing: `cutover monitoring show` says why"))?;
    let watcher = survey.with_role(&["monitor"]).map(|s| HostName::from(s.name)).find(|h| hosts.contains_key(h));
    let host = watcher.ok_or_else(|| {
        format!("no server with the role monitor and a connection evaluates rule {label} ({})", watch.alert)
    })?;
    let servers = u64::try_from(watch.servers).unwrap_or(u64::MAX);
    Ok(Alert { monitor: watch.monitor, rule: watch.rule, alert: watch.alert, servers, host })
}

fn probe(
    survey: &Survey<'_>,
    hosts: &BTreeMap<HostName, HostAccess>,
    zones: &[Zone],
    node: &Node,
) -> Result<Probe, String> {
    let name = node.id.name.to_string();
    let word = node.text("type").unwrap_or_default();
    let what = Transaction::parse(word).ok_or_else(|| format!("probes of type {word} are not carried out yet"))?;
    let mut targets: Vec<Target> = Vec::new();
    for id in refs(node, "to") {
        targets.extend(of(survey, hosts, zones, what, id));
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
fn of(
    survey: &Survey<'_>,
    hosts: &BTreeMap<HostName, HostAccess>,
    zones: &[Zone],
    what: Transaction,
    id: &NodeId,
) -> Vec<Target> {
    let topology = survey.topology;
    let server = |name: &str| -> Vec<Target> {
        let Some(s) = survey.servers.get(name) else { return Vec::new() };
        let access = hosts.get(&HostName::from(name));
        let ports = match what {
            Transaction::Heartbeat => vec![access.map_or(22, |a| a.port)],
            Transaction::Tls => encrypted(survey, s),
            _ => usual(what).to_vec(),
        };
        let target = |port: u16| Target {
            name: s.fqdn.to_string(),
            address: s.address().to_owned(),
            port,
            host: access.map(|a| a.name.clone()),
            sets: Vec::new(),
        };
        ports.into_iter().map(target).collect()
    };
    let Some(node) = topology.find(id) else { return Vec::new() };
    match id.kind.as_str() {
        "zone" if what == Transaction::Dns => {
            let Some(zone) = zones.iter().find(|z| z.node == node.id) else { return Vec::new() };
            let target = |ip: &std::net::IpAddr| Target {
                name: zone.name.clone(),
                address: ip.to_string(),
                port: zone.port,
                host: None,
                sets: Vec::new(),
            };
            zone.servers.iter().flat_map(|s| &s.addresses).map(target).collect()
        }
        "proxy" => refs(node, "on").flat_map(|id| server(&id.name)).collect(),
        "legacy" => match node.reference("server") {
            Some(id) => server(&id.name),
            None => node.text("host").map_or_else(Vec::new, |host| {
                let target = |port: &u16| Target {
                    name: host.to_owned(),
                    address: host.to_owned(),
                    port: *port,
                    host: None,
                    sets: Vec::new(),
                };
                usual(what).iter().map(target).collect()
            }),
        },
        _ => survey.hosts_of(id).into_iter().flat_map(server).collect(),
    }
}

/// Where a server that is no host of ours is asked.
fn usual(what: Transaction) -> &'static [u16] {
    match what {
        Transaction::Heartbeat => &[22],
        Transaction::Smtp | Transaction::Roundtrip => &[25],
        Transaction::Imap => &[993],
        Transaction::Pop => &[995],
        Transaction::Submission => &[587],
        Transaction::Tls => &[25, 993],
        Transaction::Dns => &[],
    }
}

/// Where a server speaks TLS, by its roles and the proxies on it.
fn encrypted(survey: &Survey<'_>, server: &Server<'_>) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    let store = server.has_any(&["imap", "mailbox"]);
    for (open, port) in [
        (server.has_any(&["smtp", "relay", "hub", "edge"]), 25),
        (store && server.has_any(&["smtp", "mailbox"]), 587),
        (store, 993),
        (store, 995),
        (server.has_any(&["mta-sts", "autodiscover"]), 443),
    ] {
        ports.extend(open.then_some(port));
    }
    for proxy in survey.topology.all("proxy").filter(|p| p.refs("on").any(|(id, _)| id.name == server.name)) {
        let open = proxy.texts("listen");
        let of = [("imaps", 993), ("pop3s", 995), ("submission", 587), ("submissions", 465)];
        ports.extend(of.iter().filter(|(name, _)| open.contains(name)).map(|(_, port)| *port));
    }
    ports.into_iter().collect()
}
