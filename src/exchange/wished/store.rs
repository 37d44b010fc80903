//! Database availability groups, databases and their copies.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Hand, fqdn, octets, parameters};
use crate::model::topology::Node;

pub(super) fn groups(hand: &mut Hand<'_>) {
    for node in hand.topology.all("dag") {
        let members = hand.members(node, "members");
        let Some(release) = members.iter().map(|(_, r)| *r).max() else { continue };
        let witness = |field: &str| hand.topology.target(node, field);
        let host = |field: &str| {
            let server = hand.topology.target(witness(field)?, "host")?;
            Some(Json::from(fqdn(server)))
        };
        let share = |field: &str| witness(field)?.text("share").map(Json::from);
        let mode = match node.text("activation-mode") {
            Some("dag-only") => "DagOnly",
            _ => "Off",
        };
        let ips = node.texts("ips");
        let parameters = parameters([
            ("AlternateWitnessDirectory", share("alternate-witness")),
            ("AlternateWitnessServer", host("alternate-witness")),
            ("DatabaseAvailabilityGroupIpAddresses", (!ips.is_empty()).then(|| json!(ips))),
            ("DatacenterActivationMode", Some(mode.into())),
            ("WitnessDirectory", share("witness")),
            ("WitnessServer", host("witness")),
        ]);
        hand.wish(node, release, "dag", &[node.name()], parameters);
        for (member, _) in members {
            hand.wish(node, release, "dag-member", &[node.name(), member], serde_json::Map::new());
        }
    }
}

pub(super) fn databases(hand: &mut Hand<'_>) {
    for node in hand.topology.all("database") {
        let mut copies = hand.members(node, "copies");
        // One that is on one server is there and nowhere else.
        if copies.is_empty() {
            copies = hand.members(node, "on").into_iter().take(1).collect();
        }
        let active = hand.members(node, "active").first().copied().or(copies.first().copied());
        let Some((active, release)) = active else { continue };
        let kept = node.duration("keep-deleted").map(span);
        let common = [
            ("DeletedItemRetention", kept),
            ("EdbFilePath", node.text("path").map(Json::from)),
            ("IssueWarningQuota", octets(node.size("quota-warn"))),
            ("LogFolderPath", node.text("logs").map(Json::from)),
            ("Server", Some(active.into())),
        ];
        let mut whole = parameters(common);
        if node.flag("public-folders") {
            whole.extend(parameters([("ProhibitPostQuota", octets(node.size("quota-stop")))]));
            hand.wish(node, release, "public-folder-database", &[node.name()], whole);
            continue;
        }
        whole.extend(parameters([("ProhibitSendReceiveQuota", octets(node.size("quota-stop")))]));
        hand.wish(node, release, "mailbox-database", &[node.name()], whole);
        if node.size("max-size").is_some() {
            hand.leave(node, "Exchange Enterprise has no limit of a database's size as a property of it");
        }
        copies_of(hand, node, active, &copies.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}

fn copies_of(hand: &mut Hand<'_>, node: &Node, active: &str, copies: &[&str]) {
    if copies.len() < 2 {
        return;
    }
    let Some(release) = copies.iter().filter_map(|c| hand.out.servers.get(*c).copied()).max() else { return };
    let lag = node.duration("replay-lag").filter(|d| !d.is_zero());
    let lagged = node.texts("lagged");
    // The active one first, the others as they are written.
    let order = std::iter::once(active).chain(copies.iter().copied().filter(|c| *c != active));
    for (at, server) in order.enumerate() {
        let late = if lagged.is_empty() { server != active } else { lagged.contains(&server) };
        let parameters = parameters([
            ("ActivationPreference", Some((at + 1).into())),
            ("ReplayLagTime", lag.filter(|_| late).map(span)),
        ]);
        hand.wish(node, release, "mailbox-database-copy", &[node.name(), server], parameters);
    }
}

/// As the product reads it: `DAYS.HH:MM:SS`.
fn span(duration: Duration) -> Json {
    let s = duration.as_secs();
    format!("{}.{:02}:{:02}:{:02}", s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60).into()
}
