//! What Prometheus asks, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Options;
use super::prometheus::{duration, yaml};
use super::scope::{Scopes, Watched};
use crate::model::topology::Topology;

/// Ports of exporters, as their packages have them (<https://github.com/prometheus/prometheus/wiki/Default-port-allocations>).
const NODE: u16 = 9100;
const WINDOWS: u16 = 9182;
const POSTFIX: u16 = 9154;
const DOVECOT: u16 = 9900;
/// Where `cutover-probe` answers.
pub const PROBES: u16 = 9797;

const DAY: Duration = Duration::from_secs(86_400);

/// Every job that has targets.
fn jobs(scopes: &Scopes<'_>) -> BTreeMap<&'static str, Vec<Json>> {
    let mut out: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for server in scopes.servers.values() {
        let mut add = |job: &'static str, at: String| {
            let target = json!({ "targets": [at], "labels": { "server": server.name, "site": server.site } });
            out.entry(job).or_default().push(target);
        };
        for (job, port) in ports(server) {
            add(job, format!("{}:{port}", server.address));
        }
        for (job, at) in &server.services {
            add(job, at.clone());
        }
    }
    out
}

fn ports(server: &Watched<'_>) -> Vec<(&'static str, u16)> {
    let Some(exporters) = server.exporters else { return vec![("windows", WINDOWS)] };
    let mut out = vec![("node", NODE)];
    out.extend(exporters.postfix.then_some(("postfix", POSTFIX)));
    out.extend(server.probes.then_some(("cutover-probe", PROBES)));
    out.extend(exporters.dovecot.then_some(("dovecot", DOVECOT)));
    out
}

/// As often as the most watchful monitor looks: what it reads is then never older than its last look.
pub fn interval(topology: &Topology) -> Duration {
    let every = topology.all("monitor").filter_map(|m| m.duration("every"));
    every.chain([Duration::from_secs(30)]).min().unwrap_or_default().max(Duration::from_secs(1))
}

/// How long figures are kept: for the longest window of a level, and the week that falls are compared with.
pub fn retention(topology: &Topology) -> Duration {
    let windows = topology.all("sla").map(|s| s.duration("window").unwrap_or(30 * DAY));
    windows.chain([8 * DAY]).max().unwrap_or_default() + 7 * DAY
}

pub fn files(topology: &Topology, scopes: &Scopes<'_>, options: &Options, out: &mut BTreeMap<String, String>) {
    let jobs = jobs(scopes);
    let folder = &options.folder;
    let every = interval(topology);
    // Named one by one: another file in the folder is not loaded, and a rule that goes or comes is a change of this file.
    let rules: Vec<String> = out.keys().filter(|n| n.starts_with("rules/")).map(|n| format!("{folder}/{n}")).collect();
    let scrape: Vec<Json> = jobs
        .keys()
        .map(|job| json!({ "job_name": job, "file_sd_configs": [{ "files": [format!("{folder}/targets/{job}.json")] }] }))
        .collect();
    let config = json!({
        "global": {
            "scrape_interval": duration(every),
            "scrape_timeout": duration(every.min(Duration::from_secs(10))),
            "evaluation_interval": duration(every),
        },
        "rule_files": rules,
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": ["127.0.0.1:9093"] }] }] },
        "scrape_configs": scrape,
    });
    out.insert("prometheus.yml".into(), yaml(&config));
    for (job, targets) in jobs {
        let text = serde_json::to_string_pretty(&targets).unwrap_or_default();
        out.insert(format!("targets/{job}.json"), text + "\n");
    }
}
