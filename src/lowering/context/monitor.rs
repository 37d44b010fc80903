//! What a server needs to know of monitoring: the files of Prometheus and Alertmanager where it watches, its exporters where it is
//! watched.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::survey::{Server, Survey};
use crate::monitoring::{self, Options};

/// The role of servers that watch.
const ROLE: &str = "monitor";

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
    // Before a port; without an address of its own the host listens on all that it has.
    let listen = address.map_or_else(String::new, |a| if a.contains(':') { format!("[{a}]") } else { a.to_owned() });
    json!({ "address": address, "listen": listen, "postfix": exporters.postfix, "dovecot": exporters.dovecot })
}
