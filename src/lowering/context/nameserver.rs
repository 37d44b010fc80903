//! What a name server serves beside the text of its zones: as a secondary, by views, and for whom a resolver asks.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::survey::{Server, Survey};
use super::super::template::secret_marker;
use super::dns::{name_of, provider};
use crate::model::topology::Node;

/// The servers of a provider's zones that follow its host: those of the topology by name or address, others as written.
fn secondaries(provider: &Node) -> impl Iterator<Item = &str> {
    provider.texts("secondaries").into_iter().map(|s| s.trim_end_matches('.'))
}

fn is(server: &Server<'_>, text: &str) -> bool {
    [server.ip, server.ip6].contains(&Some(text)) || server.fqdn == text || server.name == text
}

fn addresses<'a>(server: &'a Server<'_>) -> Vec<&'a str> {
    server.ip.into_iter().chain(server.ip6).collect()
}

/// The key that a provider's servers know each other by.
fn key(provider: &Node) -> Option<Json> {
    Some(json!({
        "name": provider.text("tsig-name")?,
        "algorithm": provider.text("tsig-algorithm").unwrap_or("hmac-sha256"),
        "secret": secret_marker(provider.secret("key")?),
    }))
}

/// `made`: the zones whose primary this server is, as templates have them.
pub fn data(survey: &Survey<'_>, server: &Server<'_>, made: &Json) -> Json {
    let topology = survey.topology;
    let mut keys: BTreeMap<&str, Json> = BTreeMap::new();
    let mut followed = Vec::new();
    for zone in topology.all("zone") {
        let Some(provider) = provider(topology, zone) else { continue };
        let Some(primary) = provider.text("host").and_then(|h| survey.servers.get(h)) else { continue };
        let follows = primary.name != server.name && secondaries(provider).any(|s| is(server, s));
        if primary.name != server.name && !follows {
            continue;
        }
        let name = provider.text("tsig-name").filter(|_| provider.secret("key").is_some());
        if let (Some(name), Some(key)) = (name, key(provider)) {
            keys.insert(name, key);
        }
        // The other view of a name is another zone, which is not for everybody.
        if follows && zone.text("view") != Some("internal") {
            followed.push(json!({"name": name_of(zone), "primaries": addresses(primary), "key": name}));
        }
    }
    let by_id = |id: &Json| topology.get("zone", id.as_str()?.strip_prefix("zone:")?);
    let own: Vec<Json> =
        made.as_array().into_iter().flatten().filter_map(|z| Some(held(survey, by_id(&z["node"])?, z))).collect();
    let split = own.iter().any(|z| z["view"] != "both");
    let own: Vec<Json> = own.into_iter().map(|z| with_view(z, split)).collect();
    let of = |dynamic: bool| own.iter().filter(|z| z["dynamic"] == dynamic).collect::<Vec<_>>();
    let inside: Vec<&str> = topology.all("subnet").filter_map(|s| s.text("cidr")).collect();
    let mut others: Vec<&str> =
        own.iter().flat_map(|z| z["transfer_to"].as_array()).flatten().filter_map(Json::as_str).collect();
    others.sort_unstable();
    others.dedup();
    let view = |name: &str| {
        let first = name == "internal";
        json!({
            "name": name,
            "internal": first,
            "zones": own.iter().filter(|z| z["view"] == name || (first && z["view"] == "both")).collect::<Vec<_>>(),
            // Zones for everybody are held once.
            "shared": own.iter().filter(|z| !first && z["view"] == "both").collect::<Vec<_>>(),
            "keys": own.iter().filter(|z| z["view"] == name && !z["key_name"].is_null()).map(|z| &z["key_name"]).collect::<Vec<_>>(),
        })
    };
    json!({
        "file_zones": of(false),
        "dynamic_zones": of(true),
        "secondary_zones": followed,
        "keys": keys.into_values().collect::<Vec<_>>(),
        "split": split,
        "views": if split { json!([view("internal"), view("public")]) } else { json!([]) },
        "zones": own,
        // Networks of the topology, and its servers.
        "inside": inside,
        "servers": survey.servers.values().flat_map(|s| s.ip.into_iter().chain(s.ip6)).collect::<Vec<_>>(),
        "secondaries": others,
        "resolved": resolved(survey),
        "resolvers": survey.with_role(&["resolver"]).flat_map(|s| s.ip.into_iter().chain(s.ip6)).collect::<Vec<_>>(),
    })
}

/// A zone of this server with who may transfer and change it.
fn held(survey: &Survey<'_>, zone: &Node, made: &Json) -> Json {
    let provider = provider(survey.topology, zone);
    let ours = |text: &str| -> Vec<String> {
        let found = survey.servers.values().find(|s| is(s, text));
        found.map_or_else(|| vec![text.to_owned()], |s| addresses(s).into_iter().map(str::to_owned).collect())
    };
    let to: Vec<String> = provider
        .into_iter()
        .flat_map(secondaries)
        .flat_map(ours)
        .filter(|a| a.parse::<std::net::IpAddr>().is_ok())
        .collect();
    let mut out = made.clone();
    let key = made["key"].as_str().unwrap_or_default();
    let given = provider.and_then(|p| p.text("path"));
    out["path"] = given.map_or_else(|| format!("/var/lib/bind/{key}.zone"), str::to_owned).into();
    out["dynamic"] = (provider.and_then(|p| p.text("type")) == Some("rfc2136")).into();
    out["key_name"] = provider.filter(|p| p.secret("key").is_some()).and_then(|p| p.text("tsig-name")).into();
    // The name servers, and the addresses of those whose names lie in the zone: without them it cannot be loaded.
    let records = made["records"].as_array().cloned().unwrap_or_default();
    let servers: Vec<String> = records
        .iter()
        .filter(|r| r["type"] == "NS" && r["name"] == "@")
        .filter_map(|r| r["data"].as_str())
        .map(str::to_owned)
        .collect();
    let zone_name = made["name"].as_str().unwrap_or_default();
    let glue = |r: &Json| {
        let name = format!("{}.{zone_name}.", r["name"].as_str().unwrap_or_default());
        matches!(r["type"].as_str(), Some("A" | "AAAA")) && servers.contains(&name)
    };
    out["seed"] = records.iter().filter(|r| (r["type"] == "NS" && r["name"] == "@") || glue(r)).cloned().collect();
    out["transfer_to"] = json!(to);
    out
}

/// How `rndc` names a zone: with its view where there are views.
fn with_view(mut zone: Json, split: bool) -> Json {
    let name = zone["name"].as_str().unwrap_or_default().to_owned();
    let view = if zone["view"] == "public" { "public" } else { "internal" };
    zone["rndc"] = if split { format!("{name} IN {view}") } else { name }.into();
    zone
}

/// The zones of the topology with the addresses of their servers, for a resolver that asks them without being led there. Where a
/// name has two views, an inner resolver asks for the inner one.
fn resolved(survey: &Survey<'_>) -> Vec<Json> {
    let mut out: BTreeMap<&str, (bool, Vec<&str>)> = BTreeMap::new();
    for zone in survey.topology.all("zone") {
        let Some(provider) = provider(survey.topology, zone) else { continue };
        let Some(primary) = provider.text("host").and_then(|h| survey.servers.get(h)) else { continue };
        let inner = zone.text("view") == Some("internal");
        let mut servers = addresses(primary);
        if !inner {
            let more = secondaries(provider).filter_map(|s| survey.servers.values().find(|x| is(x, s)));
            servers.extend(more.flat_map(addresses));
        }
        let known = out.entry(name_of(zone)).or_default();
        if inner || !known.0 {
            *known = (inner, servers);
        }
    }
    out.into_iter().map(|(name, (_, servers))| json!({"name": name, "servers": servers})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_named_only_where_there_are_some() {
        let zone = |view: &str| json!({"name": "a.example", "view": view});
        assert_eq!(with_view(zone("both"), false)["rndc"], "a.example");
        assert_eq!(with_view(zone("both"), true)["rndc"], "a.example IN internal");
        assert_eq!(with_view(zone("public"), true)["rndc"], "a.example IN public");
    }
}
