//! What audits found is kept beside the journal, and told to Alertmanager on the hosts of monitors.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::failure::Failure;
use super::lines::LinesFile;
use super::near::{Near, curl};
use super::project::Project;
use super::silences::watchers;
use crate::auditing::{Event, Incident, Known, Place, Wish, alerts};
use crate::journal::StateDir;
use crate::model::audit::AuditReport;

const PORT: u16 = 9093;
/// How long an answer is waited for; the host's own limit is shorter.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ends the alerts, which are one line of JSON and never this.
const END: &str = "END OF ALERTS";

fn file(state: &StateDir) -> LinesFile<Event> {
    LinesFile::of(state, "audits.jsonl")
}

pub fn known(state: &StateDir) -> Result<Known, Failure> {
    Ok(Known::of(file(state).read()?))
}

/// Writes down what is new, and gives what is known now with what has ended.
pub fn record(
    project: &Project,
    state: &StateDir,
    wish: &Wish,
    report: &AuditReport,
    now: Timestamp,
) -> Result<(Known, BTreeMap<Place, Incident>), Failure> {
    let mut known = known(state)?;
    let file = file(state);
    let mut ended = BTreeMap::new();
    for event in known.news(&project.topology, wish, report, now) {
        file.append(&event)?;
        if let Event::Ended { place, .. } = &event
            && let Some(incident) = known.open.get(place)
        {
            ended.insert(place.clone(), incident.clone());
        }
        known.take(event);
    }
    Ok((known, ended))
}

/// Tells every monitor of the topology; an error names those that did not take it.
pub async fn tell(project: &Project, near: &Near, alerts: &Value) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for (name, host) in watchers(project) {
        match near.run(&host, post(alerts, PORT), PATIENCE).await {
            Ok(heard) if heard.code == Some(0) => {}
            Ok(heard) => refused.push(format!("Alertmanager on {name} took no alerts: {}", heard.why("curl"))),
            Err(why) => refused.push(format!("{name}: {why}; its Alertmanager was told of nothing")),
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::several(refused)),
    }
}

/// A script for the host of a monitor. Alertmanager answers nowhere else.
pub fn post(alerts: &Value, port: u16) -> String {
    format!(
        "{} -H 'Content-Type: application/json' --data-binary @- \
         http://127.0.0.1:{port}/api/v2/alerts <<'{END}' || exit $?\n{alerts}\n{END}\n",
        curl(8)
    )
}

/// What there is to tell.
pub fn told(project: &Project, known: &Known, ended: &BTreeMap<Place, Incident>, now: Timestamp) -> Option<Value> {
    let all = alerts(&project.topology, known, ended, now);
    all.as_array().is_some_and(|a| !a.is_empty()).then_some(all)
}
