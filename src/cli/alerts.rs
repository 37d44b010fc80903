//! Whether the alert of a monitor's rule fires: its Prometheus is asked, from its own host, since it answers nowhere else.
//!
//! An answer is believed only where the rule is loaded there, was evaluated just now, and has figures of all its servers. Anything less is
//! "could not ask", which is never "does not fire".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::near::{Near, curl};
use super::project::Project;
use super::silences::watchers;
use crate::execution::Seen;
use crate::model::HostName;
use crate::model::host::HostAccess;
use crate::model::trigger::Alert;
use crate::monitoring::scorecard::answer;

const PORT: u16 = 9090;
/// How long an answer is waited for; the host's own limit is shorter.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds that an evaluation may be late beside three intervals of its group.
const LATE: i64 = 30;

/// Whoever has the hosts of monitors within reach; by default nobody.
#[derive(Default)]
pub struct Alerts {
    near: Option<Arc<Near>>,
    hosts: BTreeMap<HostName, HostAccess>,
}

impl Alerts {
    pub fn of(project: &Project, near: &Arc<Near>) -> Self {
        Self { near: Some(Arc::clone(near)), hosts: watchers(project) }
    }

    pub async fn ask(&self, alert: &Alert) -> Seen {
        let unasked = |why: String| Seen::NotAsked(format!("rule {}: {why}", alert.label()));
        let Some((near, host)) = self.near.as_ref().zip(self.hosts.get(&alert.host)) else {
            return unasked(format!("{} cannot be reached from here", alert.host));
        };
        match near.run(host, script(alert, PORT), PATIENCE).await {
            Ok(heard) if heard.code == Some(0) => decide(alert, &heard.out),
            Ok(heard) => unasked(format!("Prometheus on {}: {}", alert.host, heard.why("curl"))),
            Err(why) => unasked(format!("{}: {why}", alert.host)),
        }
    }
}

/// Three lines: the host's clock, all rules that alert, and how many servers tell the figure. Names of nodes have no sign that a shell reads.
pub fn script(alert: &Alert, port: u16) -> String {
    let ask = format!("{} --get http://127.0.0.1:{port}/api/v1", curl(8));
    let Alert { monitor, rule, .. } = alert;
    format!(
        "set -e\ndate +%s\n{ask}/rules -d type=alert\necho\n\
         {ask}/query --data-urlencode 'query=count(count by (server) (cutover:watched{{monitor=\"{monitor}\",rule=\"{rule}\"}}))'\necho\n"
    )
}

/// The decision, from what the host said.
pub fn decide(alert: &Alert, said: &str) -> Seen {
    let label = alert.label();
    match fires(alert, said) {
        Ok(None) => Seen::Well,
        Ok(Some(what)) => Seen::Bad(format!("rule {label} fires: {what}")),
        Err(why) => Seen::NotAsked(format!("rule {label}: {why}")),
    }
}

/// What fires, or why that is not known.
fn fires(alert: &Alert, said: &str) -> Result<Option<String>, String> {
    let mut lines = said.lines().filter(|l| !l.trim().is_empty());
    let now: i64 = lines.next().and_then(|l| l.trim().parse().ok()).ok_or("it told no time")?;
    let mut data = || answer(lines.next().unwrap_or_default());
    let (rules, figures) = (data()?, data()?);
    let groups = rules["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = |r: &&Value| {
        r["name"] == *alert.alert && r["labels"]["monitor"] == *alert.monitor && r["labels"]["rule"] == *alert.rule
    };
    let mut found = groups.iter().filter_map(|g| Some((g, g["rules"].as_array()?.iter().find(ours)?)));
    let (group, rule) = found.next().ok_or("Prometheus has no such rule: apply the monitor first")?;
    // It is not evaluated yet, or cannot be.
    if rule["health"] != "ok" {
        let why = rule["lastError"].as_str().filter(|e| !e.is_empty()).unwrap_or("it was not evaluated yet");
        return Err(format!("Prometheus cannot tell: {why}"));
    }
    let last = rule["lastEvaluation"].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let late =
        last.map(|t| now.saturating_sub(t.as_second())).ok_or("Prometheus does not say when it was evaluated")?;
    let interval = group["interval"].as_f64().unwrap_or(0.0).ceil() as i64;
    if late > interval.saturating_mul(3).saturating_add(LATE) {
        return Err(format!("it was last evaluated {late} s ago"));
    }
    if rule["state"] == "firing" {
        let all = rule["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let firing: Vec<&Value> = all.iter().filter(|a| a["state"] == "firing").collect();
        let first = firing.first().and_then(|a| a["annotations"]["summary"].as_str()).unwrap_or(&alert.alert);
        let more = firing.len().saturating_sub(1);
        return Ok(Some(if more > 0 { format!("{first}, and {more} more") } else { first.to_owned() }));
    }
    // A figure that is missing might be the one.
    let told = figures["result"][0]["value"][1].as_str().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    if told < alert.servers {
        return Err(format!("{} of {} servers tell no figure", alert.servers - told, alert.servers));
    }
    Ok(None)
}
