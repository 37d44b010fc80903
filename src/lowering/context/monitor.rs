//! What a server needs to know of monitoring: the files of Prometheus and Alertmanager where it watches, its exporters where it is
//! watched.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::survey::{Server, Survey};
use super::super::template::secret_marker;
use super::Shared;
use crate::model::HostName;
use crate::model::trigger::{Target, Transaction};
use crate::monitoring::{self, Options};

/// The role of servers that watch.
const ROLE: &str = "monitor";

/// What the service of probes reads, with its secrets.
const FOLDER: &str = "/etc/cutover-probe";

/// `null` on a server that does not watch.
pub fn data(survey: &Survey<'_>, server: &Server<'_>) -> Json {
    if !server.has(ROLE) {
        return Json::Null;
    }
    let options = Options::of(survey.topology);
    let made = monitoring::compose(survey.topology, &options);
    let below = |folder: &str| -> Vec<Json> { files(&made.files, folder) };
    json!({
        "folder": options.folder,
        "config": made.files.get("prometheus.yml"),
        "alertmanager": made.files.get("alertmanager.yml"),
        "rules": below("rules/"),
        "targets": below("targets/"),
        "grafana": below("grafana/"),
        "groups": made.groups,
        "retention": monitoring::retention(survey.topology).as_secs() / 86_400,
    })
}

fn files(all: &BTreeMap<String, String>, folder: &str) -> Vec<Json> {
    let found = all.iter().filter_map(|(path, text)| Some((path.strip_prefix(folder)?, text)));
    found.map(|(name, text)| json!({ "name": name, "text": text })).collect()
}

/// `null` where nothing of the topology watches, or nothing of ours could tell it figures.
pub fn watched(survey: &Survey<'_>, server: &Server<'_>) -> Json {
    let Some(exporters) = monitoring::exporters(survey.topology, server.node) else { return Json::Null };
    if survey.with_role(&[ROLE]).next().is_none() {
        return Json::Null;
    }
    let address = server.ip.or(server.ip6);
    json!({ "address": address, "listen": listen(server).unwrap_or_default(), "postfix": exporters.postfix, "dovecot": exporters.dovecot })
}

/// The host's own address before a port; without one, its programs listen on all that it has.
fn listen(server: &Server<'_>) -> Option<String> {
    let address = server.ip.or(server.ip6)?;
    Some(if address.contains(':') { format!("[{address}]") } else { address.to_owned() })
}

/// `null` on a server that makes no probes.
pub fn probes(survey: &Survey<'_>, server: &Server<'_>, shared: &Shared<'_>) -> Json {
    let mut kept = Vec::new();
    let mut secrets = Vec::new();
    for node in monitoring::probing(survey.topology, server.node) {
        let Some(Ok(probe)) = shared.probes.get(node.id.name.as_str()) else { continue };
        let mut probe = probe.clone();
        let trip = probe.what == Transaction::Roundtrip;
        let read = probe.account.as_deref().filter(|_| trip).and_then(|account| mailbox(survey, account));
        // Told by `monitoring show`, and by Prometheus, which hears nothing of it.
        if trip && (read.is_none() || probe.password.is_none()) {
            continue;
        }
        let password = probe.password.take().map(|secret| {
            let (name, node) = (&probe.name, node.id.to_string());
            secrets.push(json!({ "name": name, "secret": secret_marker(&secret), "node": node }));
            format!("{FOLDER}/{name}.password")
        });
        kept.push(json!({ "probe": probe, "password": password, "read": read }));
    }
    if kept.is_empty() {
        return Json::Null;
    }
    let ca = shared.certificates.trust();
    let config = json!({
        "listen": format!("{}:{}", listen(server).unwrap_or_else(|| "[::]".into()), monitoring::PROBES),
        "from": server.name,
        "ca": ca.as_ref().map(|_| format!("{FOLDER}/ca.pem")),
        "bounds": monitoring::bounds(survey.topology),
        "probes": kept,
    });
    let config = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    json!({ "folder": FOLDER, "config": config, "secrets": secrets, "ca": ca })
}

/// Where the mailbox of an account is read.
fn mailbox(survey: &Survey<'_>, address: &str) -> Option<Target> {
    let account = survey.accounts.iter().find(|a| a.address == address)?;
    let store = account.on.iter().flat_map(|id| survey.hosts_of(id)).find_map(|name| survey.servers.get(name))?;
    let host = Some(HostName::from(store.name));
    Some(Target {
        name: store.fqdn.to_string(),
        address: store.address().to_owned(),
        port: 993,
        host,
        sets: Vec::new(),
    })
}
