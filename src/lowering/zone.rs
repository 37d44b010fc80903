//! The zones of the topology for what asks name servers: records absolute, servers with their addresses.

use std::net::IpAddr;

use serde_json::Value as Json;

use super::Options;
use super::context::dns::{absolute, provider, zone as lowered};
use super::mail_auth::{self, Composed};
use super::survey::{Server, Survey, survey};
use crate::model::Diagnostics;
use crate::model::dns::{NameServer, WantedRecord, Zone, ZoneKey};
use crate::model::topology::{Node, Topology};

/// Every zone that a server of the topology holds, by name. Zones of clouds and of hands (`manual`) have no server here.
/// `options` has what was made before, as for [`super::lower`].
pub fn zones(topology: &Topology, options: &Options) -> (Vec<Zone>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let survey = survey(topology, &mut diagnostics);
    let composed = mail_auth::compose(&survey, &options.signing, &mut diagnostics);
    let zones = topology.all("zone").filter_map(|node| {
        let provider = provider(topology, node)?;
        let primary = survey.servers.get(provider.text("host")?)?;
        Some(zone(&survey, node, provider, primary, &composed, &mut diagnostics))
    });
    (zones.collect(), diagnostics)
}

fn zone(
    survey: &Survey<'_>,
    node: &Node,
    provider: &Node,
    primary: &Server<'_>,
    composed: &Composed<'_>,
    diagnostics: &mut Diagnostics,
) -> Zone {
    let made = lowered(survey, primary, node, composed, diagnostics);
    let name = made["name"].as_str().unwrap_or_default().to_owned();
    let records: Vec<WantedRecord> =
        made["records"].as_array().into_iter().flatten().filter_map(|r| record(&name, r)).collect();
    let mut servers = vec![of(primary)];
    let mut add = |server: NameServer| {
        let known = servers.iter().any(|s| {
            s.name == server.name
                || (!s.addresses.is_empty() && server.addresses.iter().any(|a| s.addresses.contains(a)))
        });
        if !known {
            servers.push(server);
        }
    };
    let by_name = |text: &str| {
        let bare = text.trim_end_matches('.');
        let ours = survey.servers.values().find(|s| s.fqdn == bare || s.name == bare);
        // A server of others may have its address in this very zone.
        let glue = || records.iter().filter(|r| r.name == absolute(bare)).filter_map(|r| r.data.parse().ok()).collect();
        ours.map(of).unwrap_or_else(|| NameServer { name: bare.to_owned(), addresses: glue() })
    };
    for r in records.iter().filter(|r| r.kind == "NS" && r.name == absolute(&name)) {
        add(by_name(&r.data));
    }
    for text in provider.texts("secondaries") {
        add(match text.parse::<IpAddr>() {
            Ok(ip) => {
                let ours = survey.servers.values().find(|s| of(s).addresses.contains(&ip));
                ours.map(of).unwrap_or_else(|| NameServer { name: text.to_owned(), addresses: vec![ip] })
            }
            Err(_) => by_name(text),
        });
    }
    let key = provider.text("tsig-name").zip(provider.secret("key")).map(|(name, secret)| ZoneKey {
        name: name.to_owned(),
        algorithm: provider.text("tsig-algorithm").unwrap_or("hmac-sha256").to_owned(),
        secret: secret.clone(),
    });
    let view = made["view"].as_str().unwrap_or("both").to_owned();
    Zone { node: node.id.clone(), name, view, records, servers, key }
}

fn of(server: &Server<'_>) -> NameServer {
    let addresses = [server.ip, server.ip6].into_iter().flatten().filter_map(|a| a.parse().ok()).collect();
    NameServer { name: server.fqdn.to_string(), addresses }
}

fn record(zone: &str, r: &Json) -> Option<WantedRecord> {
    let origin = absolute(zone);
    let name = match r["name"].as_str()? {
        "@" => origin.clone(),
        n if n.ends_with('.') => n.to_owned(),
        n => format!("{n}.{origin}"),
    };
    let data = r["data"].as_str()?;
    // A name of the zone itself stands as `@` in data too.
    let data = match data.strip_suffix('@') {
        Some(before) if before.is_empty() || before.ends_with(' ') => format!("{before}{origin}"),
        _ => data.to_owned(),
    };
    let ttl = r["ttl"].as_u64().and_then(|t| u32::try_from(t).ok())?;
    Some(WantedRecord { name, kind: r["type"].as_str()?.to_owned(), ttl, data })
}
