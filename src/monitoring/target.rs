//! What Prometheus asks, and how often.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Options;
use super::prometheus::yaml;
use super::scope::{Family, Scopes, Watched};

/// Ports of exporters, as their packages have them (<https://github.com/prometheus/prometheus/wiki/Default-port-allocations>).
const NODE: u16 = 9100;
const WINDOWS: u16 = 9182;
const POSTFIX: u16 = 9154;
const DOVECOT: u16 = 9900;

/// Every job that has targets.
fn jobs(scopes: &Scopes<'_>) -> BTreeMap<&'static str, Vec<Json>> {
    let mut out: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for server in scopes.servers.values() {
        let mut add = |job: &'static str, at: String| {
            let target = json!({ "targets": [at], "labels": { "server": server.name, "site": server.site } });
            out.entry(job).or_default().push(target);
        };
        for (job, port) in exporters(server) {
            add(job, format!("{}:{port}", server.address));
        }
        for (job, at) in &server.services {
            add(job, at.clone());
        }
    }
    out
}

fn exporters(server: &Watched<'_>) -> Vec<(&'static str, u16)> {
    if server.family == Family::Exchange {
        return vec![("windows", WINDOWS)];
    }
    let has = |roles: &[&str]| server.roles.iter().any(|r| roles.contains(r));
    let mut out = vec![("node", NODE)];
    out.extend(has(&["smtp", "relay", "hub", "edge"]).then_some(("postfix", POSTFIX)));
    out.extend(has(&["imap", "mailbox"]).then_some(("dovecot", DOVECOT)));
    out
}

pub fn files(scopes: &Scopes<'_>, options: &Options, out: &mut BTreeMap<String, String>) {
    let jobs = jobs(scopes);
    let folder = &options.folder;
    let scrape: Vec<Json> = jobs
        .keys()
        .map(|job| json!({ "job_name": job, "file_sd_configs": [{ "files": [format!("{folder}/targets/{job}.json")] }] }))
        .collect();
    let config = json!({
        "global": { "scrape_interval": "30s", "scrape_timeout": "10s", "evaluation_interval": "30s" },
        "rule_files": [format!("{folder}/rules/*.yml")],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": ["127.0.0.1:9093"] }] }] },
        "scrape_configs": scrape,
    });
    out.insert("prometheus.yml".into(), yaml(&config));
    for (job, targets) in jobs {
        let text = serde_json::to_string_pretty(&targets).unwrap_or_default();
        out.insert(format!("targets/{job}.json"), text + "\n");
    }
}
