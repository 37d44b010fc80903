//! The topology's monitors, levels and escalations as files of Prometheus and Alertmanager, each rule with tests of its own.
//!
//! ```text
//! monitor, rule ──scope──▶ servers ──reading──▶ PromQL ──alert──▶ rules/MONITOR.yml ──trial──▶ tests/MONITOR.yml
//! sla           ──level──▶ error ratios, burn rates ────────────▶ rules/levels.yml  ──trial──▶ tests/levels.yml
//! escalation    ──route──▶ who hears of it, and who next ───────▶ alertmanager.yml, rules/escalation.yml
//! server        ──target─▶ what is asked for figures ───────────▶ prometheus.yml, targets/JOB.json
//! ```
//!
//! Pure: the same topology gives the same octets. What cannot be watched is a [`Gap`], never left out in silence.

mod alert;
mod level;
mod prometheus;
mod reading;
mod route;
mod scope;
mod target;
mod trial;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Span;
use crate::model::topology::Topology;

/// What the files of a topology's monitoring are made with beside it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `HOST:PORT` that takes mail to the people on call; none: Alertmanager sends no mail.
    pub smarthost: Option<String>,
    /// Who such mail is from.
    pub sender: String,
    /// Where Prometheus looks for rules and targets: the folder that holds `rules/` and `targets/`.
    pub folder: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { smarthost: None, sender: "alerts@localhost".into(), folder: "/etc/prometheus".into() }
    }
}

/// Something that is asked for and that no figure tells, or tells only nearly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// `hub.largest`, `sla uptime`.
    pub of: String,
    pub why: String,
    /// A rule was made all the same, of a figure that is near.
    pub approximate: bool,
    #[serde(skip)]
    pub span: Span,
}

/// A rule that was made: for people who ask what is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watch {
    pub monitor: String,
    pub rule: String,
    pub alert: String,
    pub condition: String,
    pub severity: String,
    /// Who hears of it first.
    pub team: Option<String>,
    pub servers: usize,
}

/// All files, and what is to be said of them.
#[derive(Debug, Clone, Default)]
pub struct Monitoring {
    /// By path below the folder.
    pub files: BTreeMap<String, String>,
    pub watches: Vec<Watch>,
    pub gaps: Vec<Gap>,
}

/// Everything that a topology's monitors, levels and escalations come to.
pub fn compose(topology: &Topology, options: &Options) -> Monitoring {
    let mut out = Monitoring::default();
    let scopes = scope::Scopes::of(topology);
    for monitor in topology.all("monitor") {
        let made = alert::monitor(monitor, &scopes, topology, &mut out);
        if made.group.rules.is_empty() {
            continue;
        }
        let name = &monitor.id.name;
        out.files.insert(format!("rules/{name}.yml"), prometheus::rules(&[made.group]));
        out.files.extend(trial::files(name, made.trials));
    }
    let levels = level::levels(topology, &scopes, &mut out);
    if !levels.group.rules.is_empty() {
        out.files.insert("rules/levels.yml".into(), prometheus::rules(&[levels.group]));
        out.files.extend(trial::files("levels", levels.trials));
    }
    for group in [route::escalated(topology), route::sites(topology, &scopes)].into_iter().flatten() {
        out.files.insert(format!("rules/{}.yml", group.name), prometheus::rules(&[group]));
    }
    // What names no team is heard by the team that watches.
    let watching = route::watching(topology).map(|t| t.id.name.to_string());
    out.watches.iter_mut().filter(|w| w.team.is_none()).for_each(|w| w.team.clone_from(&watching));
    let routed = route::alertmanager(topology, options, &mut out.gaps);
    out.files.insert("alertmanager.yml".into(), prometheus::yaml(&routed));
    target::files(&scopes, options, &mut out.files);
    out
}
