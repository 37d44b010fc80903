//! Cutover windows with the record sets that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::context::dns::provider;
use super::mail_auth::Composed;
use super::zone::{lane, service_kind, set_key};
use crate::catalog::record_set;
use crate::model::attr::{Attr, Digest};
use crate::model::cutover::{Stage, StsPolicy, Window};
use crate::model::host::{HostAccess, ServiceKind};
use crate::model::resource::Resource;
use crate::model::topology::{Node, Topology};
use crate::model::{Address, Diagnostic, Diagnostics, HostName, Kind};

/// How long the old side keeps accepting: senders retry for four to five days (RFC 5321, section 4.5.4.1).
const KEEP: u64 = 5 * 86_400;

/// Windows that a record of a zone waits for, by name.
pub fn windows(
    topology: &Topology,
    hosts: &BTreeMap<HostName, HostAccess>,
    resources: &[Resource],
    composed: &Composed<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Window> {
    let policies: Vec<StsPolicy> = composed.sts().map(|(domain, text)| policy(domain, text, resources)).collect();
    let mut out: Vec<Window> =
        topology.all("cutover-window").filter_map(|n| window(topology, n, &policies, diagnostics)).collect();
    for zone in topology.all("zone") {
        let dynamic = provider(topology, zone).is_some_and(can_move);
        let place = lane(zone);
        for record in zone.children("record") {
            let Some(name) = record.text("held-until") else { continue };
            let Some(window) = out.iter_mut().find(|w| w.name == name) else { continue };
            if !dynamic || !hosts.contains_key(&place) {
                diagnostics.push(
                    Diagnostic::error(
                        "E1034",
                        format!("zone {}: no window can move its records", zone.id.plain()),
                    )
                    .label(record.at("held-until"), "waits for a window")
                    .help("a window needs a provider of type rfc2136 or powerdns; with others take held-until away and change the record by hand"),
                );
                continue;
            }
            let Some(key) = set_key(zone, record) else { continue };
            let address = Address::new(&place, Kind::RecordSet, record_set::key(&key));
            if resources.binary_search_by(|r| r.address.cmp(&address)).is_ok() {
                window.holds.insert(address);
                let short = zone.duration("cutover-ttl").map_or(300, |d| d.as_secs());
                window.short_ttls.insert(place.clone(), u32::try_from(short).unwrap_or(300));
            }
        }
    }
    out.retain(|w| !w.holds.is_empty());
    out
}

/// What a policy says, and the files that hold it.
fn policy(domain: &str, text: &str, resources: &[Resource]) -> StsPolicy {
    let values = |word: &'static str| text.lines().filter_map(move |l| l.strip_prefix(word)?.strip_prefix(": "));
    let id = Digest::of(text.as_bytes());
    let holds = |r: &&Resource| {
        r.address.kind == Kind::File && r.attrs.values().any(|a| matches!(a, Attr::Content(c) if c.id == id))
    };
    StsPolicy {
        domain: format!("{}.", domain.to_ascii_lowercase()),
        hosts: values("mx").map(str::to_owned).collect(),
        max_age: values("max_age").find_map(|v| v.parse().ok()).unwrap_or(0),
        files: resources.iter().filter(holds).map(|r| r.address.clone()).collect(),
    }
}

/// A window needs changes that are whole or not at all, and a zone that says its SOA.
fn can_move(provider: &Node) -> bool {
    provider.text("type") == Some("rfc2136") || service_kind(provider) == Some(ServiceKind::Powerdns)
}

/// Begin and end of a window (Unix seconds). `None` where its fields are wrong, which is said elsewhere.
pub fn span(node: &Node, zone: TimeZone) -> Option<(i64, i64)> {
    let start: DateTime = node.text("start")?.parse().ok()?;
    let start = start.to_zoned(zone).ok()?.timestamp().as_second();
    let lasts = i64::try_from(node.duration("for")?.as_secs()).ok()?;
    Some((start, start.saturating_add(lasts)))
}

/// The name of the zone in which times of windows are written.
pub fn timezone(topology: &Topology) -> &str {
    topology.organization().and_then(|o| o.text("timezone")).unwrap_or("UTC")
}

/// `None` where its fields are wrong, which is said elsewhere.
fn window(topology: &Topology, node: &Node, policies: &[StsPolicy], diagnostics: &mut Diagnostics) -> Option<Window> {
    let name = node.id.name.to_string();
    let timezone = timezone(topology);
    let Ok(zone) = TimeZone::get(timezone) else {
        diagnostics.push(
            Diagnostic::error("E1035", format!("no timezone is called `{timezone}`"))
                .label(topology.organization().map_or(node.span, |o| o.at("timezone")), "times of windows are in it")
                .help("write an IANA name such as Europe/Dublin"),
        );
        return None;
    };
    let (start, end) = span(node, zone)?;
    let scale = topology.environment().and_then(|e| e.int("time-scale")).and_then(|s| u64::try_from(s).ok());
    let named = node.texts("steps");
    let stage = |s: &Stage| named.contains(&s.as_str());
    let of = |step: &Node| Stage::ALL.into_iter().find(|s| s.as_str() == step.name());
    let timeout = |step: &Node| Some((of(step)?, step.duration("timeout")?.as_secs()));
    let mut rolls_back = BTreeSet::new();
    for (step, stage) in node.children("step").filter_map(|s| Some((s, of(s)?))) {
        match step.text("on-timeout").unwrap_or("rollback") {
            // By then the old side is over, and there is nothing to go back to.
            "rollback" if stage != Stage::Prune => drop(rolls_back.insert(stage)),
            // It asks no name server in this plan.
            "continue" if stage == Stage::Verify => {}
            "continue" => diagnostics.push(
                Diagnostic::error("E1036", format!("window {name}: {stage} cannot go on without its name servers"))
                    .label(step.at("on-timeout"), "says so")
                    .help(
                        "write on-timeout=stop or on-timeout=rollback: what comes next counts from the slowest server",
                    ),
            ),
            _ => {}
        }
    }
    Some(Window {
        name,
        start,
        end,
        timezone: timezone.to_owned(),
        // Publishing is no step of a window that anybody writes: it comes before the others where something is missing.
        stages: Stage::ALL.into_iter().filter(|s| *s == Stage::Publish || stage(s)).collect(),
        timeouts: node.children("step").filter_map(timeout).collect(),
        rolls_back,
        policies: policies.to_vec(),
        rollback: node.text("rollback").unwrap_or_default().to_owned(),
        way_back: None,
        keep: KEEP / scale.unwrap_or(1).max(1),
        holds: BTreeSet::new(),
        short_ttls: BTreeMap::new(),
    })
}
