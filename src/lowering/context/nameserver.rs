//! What templates of a name server see, whatever its product: the zones that it holds and those that it follows, keys, views; and for
//! whom a resolver asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::super::mail_auth::Composed;
use super::super::survey::{Server, Survey, refs};
use super::super::template::secret_marker;
use super::dns::{Entry, absolute, entries, key, name_of, owner, provider, targets, view};
use crate::model::Diagnostics;
use crate::model::topology::Node;

/// A name server that follows the primary of a zone.
struct Follower<'a> {
    /// `None`: not a server of the topology.
    name: Option<&'a str>,
    addresses: Vec<&'a str>,
}

fn addresses<'a>(server: &Server<'a>) -> Vec<&'a str> {
    server.ip.into_iter().chain(server.ip6).collect()
}

/// Record by record over the network.
fn is_dynamic(provider: &Node) -> bool {
    matches!(provider.text("type"), Some("rfc2136" | "powerdns"))
}

/// The server of ours that a provider writes to. The others (clouds, manual) have no configuration here.
fn primary<'a, 't>(survey: &'a Survey<'t>, provider: &Node) -> Option<&'a Server<'t>> {
    let server = survey.servers.get(provider.text("host")?)?;
    let ours = match provider.text("type") {
        Some("rfc2136" | "zone-file") => true,
        // Its interface is that of one product.
        Some("powerdns") => server.products.contains_key("powerdns"),
        _ => false,
    };
    ours.then_some(server)
}

/// What the HTTP interface of this server's PowerDNS is asked with; null where nobody asks it.
fn api_key(survey: &Survey<'_>, server: &Server<'_>) -> Json {
    let of =
        |p: &&Node| p.text("type") == Some("powerdns") && primary(survey, p).is_some_and(|s| s.name == server.name);
    let mut keys = survey.topology.all("dns-provider").filter(of).filter_map(|p| p.secret("key"));
    keys.next().map_or(Json::Null, |key| secret_marker(key).into())
}

/// The key that a provider's servers know each other by, and that its zones are changed with (RFC 8945, RFC 2136).
fn key_name(provider: &Node) -> Option<&str> {
    // The key of an interface signs no messages of DNS.
    provider.text("tsig-name").filter(|_| provider.secret("key").is_some() && provider.text("type") != Some("powerdns"))
}

/// Servers that a zone is told to: `secondaries` of its provider, and servers of the topology that its NS records name.
fn followers<'a, 't>(survey: &'a Survey<'t>, zone: &'t Node, provider: &'t Node) -> Vec<Follower<'a>>
where
    't: 'a,
{
    let first = provider.text("host");
    let mut out: Vec<Follower<'a>> = Vec::new();
    let mut add = |server: Option<&'a Server<'t>>, address: Option<&'t str>| {
        let addresses = server.map_or_else(|| address.into_iter().collect(), addresses);
        let name = server.map(|s| s.name);
        let known = out.iter().any(|f| f.addresses == addresses || (name.is_some() && f.name == name));
        if !known && !addresses.is_empty() && (name.is_none() || name != first) {
            out.push(Follower { name, addresses });
        }
    };
    let named = |text: &str| {
        let bare = text.trim_end_matches('.');
        survey.servers.values().find(|s| s.name == bare || s.fqdn == bare)
    };
    for text in provider.texts("secondaries") {
        match text.parse::<IpAddr>() {
            Ok(_) => add(survey.servers.values().find(|s| [s.ip, s.ip6].contains(&Some(text))), Some(text)),
            Err(_) => add(named(text), None),
        }
    }
    for record in zone.children("record").filter(|r| r.text("type") == Some("NS") && owner(zone, r) == "@") {
        record.texts("values").into_iter().for_each(|text| add(named(text), None));
        refs(record, "to").flat_map(|target| targets(survey, target)).for_each(|s| add(Some(s), None));
    }
    out
}

/// The name server of one server of the topology.
pub fn data(survey: &Survey<'_>, server: &Server<'_>, composed: &Composed<'_>, diagnostics: &mut Diagnostics) -> Json {
    let topology = survey.topology;
    let mut keys: BTreeMap<&str, Json> = BTreeMap::new();
    let (mut files, mut dynamic, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    for zone in topology.all("zone") {
        let Some(provider) = provider(topology, zone) else { continue };
        let Some(primary) = primary(survey, provider) else { continue };
        let here = primary.name == server.name;
        let followers = followers(survey, zone, provider);
        if !here && !followers.iter().any(|f| f.name == Some(server.name)) {
            continue;
        }
        if let (Some(name), Some(secret)) = (key_name(provider), provider.secret("key")) {
            let key = keys.entry(name).or_insert_with(|| {
                json!({
                    "name": name,
                    "algorithm": provider.text("tsig-algorithm").unwrap_or("hmac-sha256"),
                    "secret": secret_marker(secret),
                    "updates": false,
                })
            });
            if here && is_dynamic(provider) {
                key["updates"] = true.into();
            }
        }
        match here {
            true if is_dynamic(provider) => {
                dynamic.push(held(survey, server, zone, provider, &followers, composed, diagnostics));
            }
            true => files.push(held(survey, server, zone, provider, &followers, composed, diagnostics)),
            // The other view of a name is another zone, which is not for everybody.
            false if view(zone) == "internal" => {}
            false => followed.push(json!({
                "name": name_of(zone),
                "view": view(zone),
                "key": key(zone),
                "primary": primary.fqdn,
                "primaries": addresses(primary),
                "key_name": key_name(provider),
                "owner": zone.id.to_string(),
            })),
        }
    }
    let split = files.iter().chain(&dynamic).any(|z| z["view"] != "both");
    for zone in files.iter_mut().chain(&mut dynamic) {
        zone["rndc"] = rndc(zone, split).into();
    }
    // Configurations name all zones, and none of them their records: those of a file stand with the file alone.
    let zones: Vec<Json> = files.iter().chain(&dynamic).map(without_records).collect();
    let inside: Vec<&str> = topology.all("subnet").filter_map(|s| s.text("cidr")).collect();
    let mut others: Vec<&str> =
        zones.iter().flat_map(|z| z["transfer_to"].as_array()).flatten().filter_map(Json::as_str).collect();
    others.sort_unstable();
    others.dedup();
    let view = |name: &str| {
        let first = name == "internal";
        json!({
            "name": name,
            "internal": first,
            "zones": zones.iter().filter(|z| z["view"] == name || (first && z["view"] == "both")).collect::<Vec<_>>(),
            // Zones for everybody are held once.
            "shared": zones.iter().filter(|z| !first && z["view"] == "both").collect::<Vec<_>>(),
            "keys": zones.iter().filter(|z| z["view"] == name && !z["key_name"].is_null()).map(|z| &z["key_name"]).collect::<Vec<_>>(),
        })
    };
    json!({
        "views": if split { json!([view("internal"), view("public")]) } else { json!([]) },
        "split": split,
        "api_key": api_key(survey, server),
        // Networks of the topology, and its servers.
        "inside": inside,
        "servers": survey.servers.values().flat_map(|s| s.ip.into_iter().chain(s.ip6)).collect::<Vec<_>>(),
        "secondaries": others,
        "resolved": resolved(survey),
        "resolvers": survey.with_role(&["resolver"]).flat_map(|s| s.ip.into_iter().chain(s.ip6)).collect::<Vec<_>>(),
        "keys": keys.into_values().collect::<Vec<_>>(),
        "secondary_zones": followed,
        "zones": zones,
        "file_zones": Json::Array(files),
        "dynamic_zones": Json::Array(dynamic),
    })
}

/// A zone that this server has first. A zone that is changed over the network has no records here: it is begun, and then the server's.
fn held(
    survey: &Survey<'_>,
    server: &Server<'_>,
    zone: &Node,
    provider: &Node,
    followers: &[Follower<'_>],
    composed: &Composed<'_>,
    diagnostics: &mut Diagnostics,
) -> Json {
    let name = name_of(zone);
    let entries = entries(survey, Some(server), zone, composed, diagnostics);
    let json = |e: &Entry<'_>| json!({"name": e.name, "ttl": e.ttl, "type": e.kind, "data": e.data});
    // What a zone is begun with: its name servers, and their addresses that lie in it. Without them no server loads it.
    let servers: Vec<&Entry<'_>> = entries.iter().filter(|e| e.kind == "NS" && e.name == "@").collect();
    let named = |e: &Entry<'_>| {
        let full = || format!("{}.{}", e.name, absolute(name));
        matches!(e.kind, "A" | "AAAA") && servers.iter().any(|s| s.data.starts_with(&e.name) && s.data == full())
    };
    let seed: Vec<Json> = entries.iter().filter(|e| (e.kind == "NS" && e.name == "@") || named(e)).map(json).collect();
    let told = |f: &Follower<'_>| json!({"name": f.name, "address": f.addresses.first(), "addresses": f.addresses});
    let mut out = json!({
        "name": name,
        "view": view(zone),
        "key": key(zone),
        "dynamic": is_dynamic(provider),
        "ttl": zone.duration("ttl").map_or(3600, |d| d.as_secs()),
        "primary": servers.first().map(|e| &e.data),
        "hostmaster": format!("hostmaster.{}", absolute(name)),
        "seed": seed,
        "path": provider.text("path"),
        "key_name": key_name(provider),
        "notify": followers.iter().map(told).collect::<Vec<_>>(),
        "transfer_to": followers.iter().flat_map(|f| &f.addresses).collect::<Vec<_>>(),
        "owner": zone.id.to_string(),
        "node": zone.id.to_string(),
    });
    if !is_dynamic(provider) {
        out["records"] = entries.iter().map(json).collect();
    }
    out
}

fn without_records(zone: &Json) -> Json {
    let fields = zone.as_object().into_iter().flatten().filter(|(name, _)| *name != "records");
    Json::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// How `rndc` names a zone: with its view where there are views.
fn rndc(zone: &Json, split: bool) -> String {
    let name = zone["name"].as_str().unwrap_or_default();
    let view = if zone["view"] == "public" { "public" } else { "internal" };
    if split { format!("{name} IN {view}") } else { name.to_owned() }
}

/// The zones of the topology with the addresses of their servers, for a resolver that asks them without being led there. Where a
/// name has two views, an inner resolver asks for the inner one.
fn resolved(survey: &Survey<'_>) -> Vec<Json> {
    let mut out: BTreeMap<&str, (bool, Vec<&str>)> = BTreeMap::new();
    for zone in survey.topology.all("zone") {
        let Some(provider) = provider(survey.topology, zone) else { continue };
        let Some(primary) = provider.text("host").and_then(|h| survey.servers.get(h)) else { continue };
        let inner = view(zone) == "internal";
        let mut servers = addresses(primary);
        if !inner {
            // Of others than ours nobody promises that they answer us.
            let ours = followers(survey, zone, provider).into_iter().filter(|f| f.name.is_some());
            servers.extend(ours.flat_map(|f| f.addresses));
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
        assert_eq!(rndc(&zone("both"), false), "a.example");
        assert_eq!(rndc(&zone("both"), true), "a.example IN internal");
        assert_eq!(rndc(&zone("public"), true), "a.example IN public");
    }
}
