//! Client access names: URLs of virtual directories and of Autodiscover.

use serde_json::{Map, Value as Json};

use super::Hand;
use crate::exchange::Release;
use crate::model::topology::Node;

/// The site that setup makes.
const SITE: &str = "Default Web Site";

/// A service's word, its kind of virtual directory, and its path.
const DIRECTORIES: [(&str, &str, &str); 6] = [
    ("owa", "owa-virtual-directory", "/owa"),
    ("ecp", "ecp-virtual-directory", "/ecp"),
    ("activesync", "active-sync-virtual-directory", "/Microsoft-Server-ActiveSync"),
    ("ews", "web-services-virtual-directory", "/EWS/Exchange.asmx"),
    ("oab", "oab-virtual-directory", "/OAB"),
    ("mapi", "mapi-virtual-directory", "/mapi"),
];

pub(super) fn names(hand: &mut Hand<'_>) {
    for node in hand.topology.all("namespace") {
        let Some(target) = hand.topology.target(node, "target") else { continue };
        let servers: Vec<(String, Release)> = match target.id.kind.as_str() {
            "load-balancer" => hand.members(target, "members").into_iter().map(|(n, r)| (n.to_owned(), r)).collect(),
            _ => hand.members(node, "target").into_iter().map(|(n, r)| (n.to_owned(), r)).collect(),
        };
        for (server, release) in servers {
            for service in node.texts("services") {
                one(hand, node, service, &server, release);
            }
        }
    }
}

fn one(hand: &mut Hand<'_>, node: &Node, service: &str, server: &str, release: Release) {
    let host = node.name();
    if service == "autodiscover" {
        let url = format!("https://{host}/Autodiscover/Autodiscover.xml");
        let kind = if release < Release::E2016 { "client-access-server" } else { "client-access-service" };
        let parameters = Map::from_iter([("AutoDiscoverServiceInternalUri".to_owned(), Json::from(url))]);
        return hand.wish(node, release, kind, &[server], parameters);
    }
    let Some((_, kind, path)) = DIRECTORIES.iter().find(|(word, _, _)| *word == service) else {
        return hand.leave(node, format!("{service} has no virtual directory; it is no wish yet"));
    };
    if service == "mapi" && release < Release::E2013 {
        return hand.leave(node, format!("Exchange {release} has no MAPI over HTTP"));
    }
    let own = node.children("virtual-directory").find(|d| d.name() == service);
    let scope = node.text("scope").unwrap_or("both");
    let mut parameters = Map::new();
    for (parameter, field, other) in [("InternalUrl", "internal", "external"), ("ExternalUrl", "external", "internal")]
    {
        let written = own.and_then(|d| d.text(field)).map(str::to_owned);
        let url = written.or_else(|| (scope != other).then(|| format!("https://{host}{path}")));
        parameters.extend(url.map(|u| (parameter.to_owned(), Json::from(u))));
    }
    hand.wish(node, release, kind, &[server, SITE], parameters);
}
