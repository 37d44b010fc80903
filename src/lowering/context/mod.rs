//! The data that templates of one server see. All of it comes from the topology; nothing is asked of a host.
//!
//! The reference of the variables stands in `modules/README.md`; a test holds the two together.

mod cms;
pub(super) mod dns;
mod mail;
mod monitor;
mod nameserver;
mod proxy;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::model::topology::{Node, Value};
use crate::model::trigger::Probe;
use crate::model::{Diagnostic, Diagnostics, SecretRef};
use crate::people::Chosen;

use super::certificate::Certificates;
use super::mail_auth::Composed;
use super::setting::Settings;
use super::survey::{Server, Survey, refs};
use super::template::secret_marker;

/// What is the same for all servers of a run.
pub struct Shared<'a> {
    /// Role names that a pack or a server knows, so that `roles.x` is never unknown for a real role.
    pub roles: BTreeSet<&'a str>,
    pub products: BTreeSet<&'a str>,
    pub certificates: &'a Certificates<'a>,
    pub secrets: &'a BTreeMap<String, SecretRef>,
    pub composed: &'a Composed<'a>,
    pub people: &'a BTreeMap<String, Chosen>,
    /// Probes by name, where hosts make them.
    pub probes: &'a BTreeMap<String, Result<Probe, String>>,
}

/// A service of ours, as the topology names it and as its pack knows it.
struct Service {
    kind: &'static str,
    /// Of several of the kind.
    plural: &'static str,
    role: &'static str,
    /// Codes: it cannot be set up; nothing installs it.
    broken: &'static str,
    uninstalled: &'static str,
}

impl Service {
    /// The one that is on this server; nothing where there is none, or nothing would install it. What does not fit together is told.
    fn on<'t>(&self, survey: &Survey<'t>, server: &Server<'_>, diagnostics: &mut Diagnostics) -> Option<&'t Node> {
        let Self { kind, plural, role, .. } = self;
        let broken = |message: String| Diagnostic::error(self.broken, message);
        let mut here = survey.topology.all(kind).filter(|n| refs(n, "on").any(|s| s.name == server.name));
        let Some(node) = here.next() else {
            if let Some((_, span)) = server.roles.iter().find(|(r, _)| r == role) {
                let d = broken(format!("server {} has the role {role}, and no {kind} is on it", server.name));
                let d = d.label(*span, format!("of which {kind}?"));
                diagnostics.push(d.help(format!("name {} in `on` of a {kind}", server.name)));
            }
            return None;
        };
        if let Some(other) = here.next() {
            let d =
                broken(format!("{plural} {} and {} are both on server {}", node.id.name, other.id.name, server.name));
            let d = d.label(node.span, "one").label(other.span, "the other");
            diagnostics.push(d.help("give each its own servers"));
        }
        if !server.has(role) {
            let message = format!("nothing installs {kind} {} on server {}", node.id.name, server.name);
            let d = Diagnostic::warning(self.uninstalled, message).label(node.at("on"), "it shall run there");
            diagnostics.push(d.help(format!("add {role} to the roles of {}", server.name)));
            return None;
        }
        Some(node)
    }
}

/// What is the same for every server. Made once: it names all of them.
pub fn base(survey: &Survey<'_>, shared: &Shared<'_>) -> Map<String, Json> {
    let mut root = Map::new();
    let mut put = |name: &str, value: Json| root.insert(name.to_owned(), value);
    let organization = survey.topology.organization();
    put(
        "organization",
        json!({
            "name": survey.organization,
            "domain": survey.domain,
            "display": organization.and_then(|o| o.text("display")).unwrap_or(survey.organization),
            "timezone": organization.and_then(|o| o.text("timezone")).unwrap_or("UTC"),
        }),
    );
    let environment = survey.topology.environment();
    put(
        "environment",
        json!({
            "name": survey.topology.environment.as_deref().unwrap_or(""),
            "purpose": environment.and_then(|e| e.text("purpose")).unwrap_or(""),
            "containers": environment.and_then(|e| e.text("runtime")) == Some("containers"),
        }),
    );
    put("servers", survey.servers.values().map(|s| server_json(s, survey, shared)).collect());
    root
}

/// What is a server's own. Every server has all of these names, so that one's data replaces another's.
pub fn own(
    survey: &Survey<'_>,
    server: &Server<'_>,
    shared: &Shared<'_>,
    settings: &Settings,
    diagnostics: &mut Diagnostics,
) -> Map<String, Json> {
    let mut root = Map::new();
    let mut put = |name: &str, value: Json| root.insert(name.to_owned(), value);
    put("server", server_json(server, survey, shared));
    put("roles", shared.roles.iter().map(|r| ((*r).to_owned(), Json::Bool(server.has(r)))).collect());
    put(
        "products",
        shared
            .products
            .iter()
            .map(|p| ((*p).to_owned(), server.products.get(*p).map_or(Json::Null, |v| Json::String(v.clone()))))
            .collect(),
    );
    put("pair", pair(survey, server, shared));
    put("certificates", shared.certificates.json(server.name));
    put("settings", settings.json(&shared.products));
    put("settings_files", json!({ "rspamd": settings.rspamd_files() }));
    put("mail", mail::data(survey, server, shared));
    put("proxy", proxy::data(survey, server, shared, diagnostics));
    put("cms", cms::data(survey, server, shared, diagnostics));
    put("monitor", monitor::data(survey, server));
    put("watched", monitor::watched(survey, server));
    put("probes", monitor::probes(survey, server, shared));
    put("nameserver", nameserver::data(survey, server, shared.composed, diagnostics));
    put("dkim", shared.composed.signing(server, mail::trusted_addresses(survey, server)));
    put("autoconfig", shared.composed.autoconfig(survey, server, diagnostics));
    put("mta_sts", shared.composed.policies(survey, server, diagnostics));
    root
}

pub(super) fn server_json(server: &Server<'_>, survey: &Survey<'_>, shared: &Shared<'_>) -> Json {
    json!({
        "name": server.name,
        "fqdn": server.fqdn,
        "ip": server.ip,
        "ip6": server.ip6,
        "address": server.address(),
        "platform": server.platform,
        "site": server.node.text("site"),
        "labels": server.node.texts("labels"),
        "memory": match server.node.value("memory").map(|v| &v.value) {
            Some(Value::Size(bytes)) => Json::from(*bytes),
            _ => Json::Null,
        },
        "cpu": server.node.int("cpu"),
        "roles": server.roles.iter().map(|(r, _)| *r).collect::<Vec<_>>(),
        "legacy": server.legacy,
        "paired": survey.pair_of(server.name).is_some(),
        "trusted_certificate": shared.certificates.is_trusted(server.name),
    })
}

fn pair(survey: &Survey<'_>, server: &Server<'_>, shared: &Shared<'_>) -> Json {
    let Some(pair) = survey.pair_of(server.name) else { return Json::Null };
    let members: Vec<&Server<'_>> = refs(pair, "members").filter_map(|m| survey.servers.get(m.name.as_str())).collect();
    let Some(peer) = members.iter().find(|m| m.name != server.name) else { return Json::Null };
    let secret = shared.secrets.get(&super::secret_of_pair(pair)).map_or_else(String::new, secret_marker);
    json!({
        "name": pair.id.name,
        "method": pair.text("method").unwrap_or("dsync"),
        "dsync": pair.text("method").unwrap_or("dsync") == "dsync",
        "first": members.first().is_some_and(|m| m.name == server.name),
        "members": members.iter().map(|m| server_json(m, survey, shared)).collect::<Vec<_>>(),
        "peer": server_json(peer, survey, shared),
        "vip": pair.text("vip"),
        "vip6": pair.text("vip6"),
        "secret": secret,
    })
}
