//! Accepted domains and connectors.

use serde_json::{Map, Value as Json, json};

use super::{Hand, octets, parameters};
use crate::model::topology::Node;

pub(super) fn domains(hand: &mut Hand<'_>) {
    let Some(release) = hand.newest() else { return };
    for node in hand.topology.all("accepted-domain") {
        let kind = match node.text("type") {
            Some("internal-relay") => "InternalRelay",
            Some("external-relay") => "ExternalRelay",
            _ => "Authoritative",
        };
        // Of one that is not the default nothing is said: another becomes it by a wish of its own.
        let default = node.flag("default").then_some(Json::Bool(true));
        let parameters = parameters([
            ("DomainName", Some(node.name().into())),
            ("DomainType", Some(kind.into())),
            ("MakeDefault", default),
        ]);
        if node.text("catch-all").is_some() {
            hand.leave(node, "Exchange has no catch-all address of a domain");
        }
        hand.wish(node, release, "accepted-domain", &[node.name()], parameters);
    }
}

pub(super) fn connectors(hand: &mut Hand<'_>) {
    for node in hand.topology.all("connector") {
        match node.text("direction") {
            Some("send") => send(hand, node),
            _ => receive(hand, node),
        }
    }
}

fn send(hand: &mut Hand<'_>, node: &Node) {
    let servers = hand.members(node, "servers");
    let Some(release) = servers.iter().map(|(_, r)| *r).max() else { return };
    let cost = node.int("cost").unwrap_or(1);
    let mut domains = node.texts("domains");
    if domains.is_empty() {
        domains.push("*");
    }
    let spaces: Vec<Json> = domains.iter().map(|d| format!("SMTP:{d};{cost}").into()).collect();
    let hosts = node.texts("smart-hosts");
    let tls = node.text("tls").unwrap_or("may");
    let auth = match node.text("auth") {
        Some("basic") if tls == "none" => Some("BasicAuth"),
        Some("basic") => Some("BasicAuthRequireTLS"),
        Some("integrated") => Some("ExchangeServer"),
        Some("external") => Some("ExternalAuthoritative"),
        _ => None,
    };
    if node.secret("credential").is_some() {
        hand.leave(node, "whose user the credential is, the topology does not say");
    }
    // By DNS, Exchange asks port 25 of the target and takes no other.
    let port = node.int("port").filter(|_| !hosts.is_empty());
    let parameters = parameters([
        ("AddressSpaces", Some(spaces.into())),
        ("DNSRoutingEnabled", Some(hosts.is_empty().into())),
        ("IgnoreSTARTTLS", Some((tls == "none").into())),
        ("MaxMessageSize", octets(node.size("max-size"))),
        ("Port", port.map(Json::from)),
        ("RequireTLS", Some(["encrypt", "verify"].contains(&tls).into())),
        ("SmartHostAuthMechanism", auth.filter(|_| !hosts.is_empty()).map(Json::from)),
        ("SmartHosts", (!hosts.is_empty()).then(|| json!(hosts))),
        ("SourceTransportServers", Some(servers.iter().map(|(name, _)| *name).collect())),
        ("TlsAuthLevel", (tls == "verify" && hosts.is_empty()).then(|| json!("CertificateValidation"))),
    ]);
    hand.wish(node, release, "send-connector", &[node.name()], parameters);
}

fn receive(hand: &mut Hand<'_>, node: &Node) {
    let port = node.int("port").unwrap_or(25);
    let allow = node.texts("allow");
    let everybody = json!(["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    let from: Json = if allow.is_empty() { everybody } else { json!(allow) };
    let tls = node.text("tls").unwrap_or("may");
    let offered = if tls == "none" { "None" } else { "Tls" };
    let (mechanism, groups) = match (node.text("type"), node.text("auth")) {
        (_, Some("external")) => (vec![offered, "ExternalAuthoritative"], "ExchangeServers"),
        (_, Some("integrated")) => (vec![offered, "Integrated"], "ExchangeUsers"),
        (_, Some("basic")) if tls == "none" => (vec!["BasicAuth"], "ExchangeUsers"),
        (_, Some("basic")) => (vec![offered, "BasicAuth", "BasicAuthRequireTLS"], "ExchangeUsers"),
        (Some("partner"), _) => (vec![offered], "Partners"),
        (Some("site"), _) => (vec![offered, "ExchangeServer"], "ExchangeServers"),
        _ => (vec![offered], "AnonymousUsers"),
    };
    let mechanism: Vec<&str> = mechanism.into_iter().filter(|m| *m != "None").collect();
    let mechanism = if mechanism.is_empty() { "None".to_owned() } else { mechanism.join(", ") };
    let whole: Map<String, Json> = parameters([
        ("AuthMechanism", Some(mechanism.into())),
        ("Bindings", Some(json!([format!("0.0.0.0:{port}"), format!("[::]:{port}")]))),
        ("MaxMessageSize", octets(node.size("max-size"))),
        ("PermissionGroups", Some(groups.into())),
        ("RemoteIPRanges", Some(from)),
        ("RequireTLS", Some(["encrypt", "verify"].contains(&tls).into())),
    ]);
    for (server, release) in hand.members(node, "servers") {
        hand.wish(node, release, "receive-connector", &[server, node.name()], whole.clone());
    }
}
