//! The topology's monitors, levels and escalations as files of Prometheus and Alertmanager, each rule with tests of its own.
//!
//! ```text
//! monitor, rule ──scope──▶ servers ──reading──▶ PromQL ──alert──▶ rules/MONITOR.yml ──trial──▶ tests/MONITOR.yml
//! sla           ──level──▶ error ratios, burn rates ────────────▶ rules/@levels.yml ──trial──▶ tests/@levels.yml
//! probe         ──probe──▶ who hears when all fail, or none is made ─▶ rules/@probes.yml ──trial──▶ tests/@probes@30s.yml
//! escalation    ──route──▶ who hears of it, and who next ───────▶ alertmanager.yml, rules/@escalation.yml
//! all of it ──dashboard──▶ the same figures for Grafana ─────────▶ grafana/
//! server        ──target─▶ what is asked for figures ───────────▶ prometheus.yml, targets/JOB.json
//! ```
//!
//! Pure: the same topology gives the same octets. What cannot be watched is a [`Gap`], never left out in silence.

mod alert;
mod dashboard;
mod level;
mod probe;
mod prometheus;
mod reading;
mod route;
mod scope;
pub mod scorecard;
pub mod silence;
mod target;
mod trial;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use probe::{bounds, makes, probing};
pub use scope::{Exporters, exporters};
pub use target::{PROBES, retention};

use crate::model::Span;
use crate::model::topology::{Node, Topology};

/// How long a figure may be missing before that is told.
const BLIND: Duration = Duration::from_secs(15 * 60);

/// What the files of a topology's monitoring are made with beside it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `HOST:PORT` that takes mail to the people on call; none: Alertmanager sends no mail.
    pub smarthost: Option<String>,
    /// Who such mail is from.
    pub sender: String,
    /// Where Prometheus looks for rules and targets: the folder that holds `rules/` and `targets/`.
    pub folder: String,
    /// How many times shorter people wait for a message than in earnest: an environment's `time-scale`.
    pub scale: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { smarthost: None, sender: "alerts@localhost".into(), folder: "/etc/prometheus".into(), scale: 1 }
    }
}

impl Options {
    /// Mail to people on call goes by the first server that relays mail, as notices do.
    pub fn of(topology: &Topology) -> Self {
        let relay = relays(topology).next();
        let domain = topology.organization().and_then(|o| o.text("domain")).unwrap_or("localdomain");
        let scale = topology.environment().and_then(|e| e.int("time-scale")).and_then(|s| u32::try_from(s).ok());
        Self {
            smarthost: relay.map(|s| format!("{}:25", s.text("ip").unwrap_or(&s.id.name))),
            sender: format!("alerts@{domain}"),
            scale: scale.unwrap_or(1).max(1),
            ..Self::default()
        }
    }
}

/// Servers that relay the mail that cutover sends; none of an old side, which goes.
pub fn relays(topology: &Topology) -> impl Iterator<Item = &Node> {
    let old: Vec<&str> = topology.all("legacy").filter_map(|l| Some(l.reference("server")?.name.as_str())).collect();
    let relays = |s: &&Node| s.texts("roles").iter().any(|r| ["relay", "smtp"].contains(r));
    topology.all("server").filter(move |s| relays(s) && !old.contains(&s.id.name.as_str()))
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

/// A group of rules as Prometheus has it once it has loaded its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Whole path.
    pub file: String,
    pub name: String,
    pub rules: usize,
}

/// All files, and what is to be said of them.
#[derive(Debug, Clone, Default)]
pub struct Monitoring {
    /// By path below the folder.
    pub files: BTreeMap<String, String>,
    /// What of them a running Prometheus holds.
    pub groups: Vec<Loaded>,
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
        out.put(&monitor.id.name, made.group, made.trials, options);
    }
    let levels = level::levels(topology, &scopes, &mut out);
    if !levels.group.rules.is_empty() {
        out.put("@levels", levels.group, levels.trials, options);
    }
    for group in [route::escalated(topology), route::sites(topology, &scopes)].into_iter().flatten() {
        out.put(&format!("@{}", group.name), group, Vec::new(), options);
    }
    out.gaps.extend(probe::gaps(topology));
    let probes = probe::alerts(topology);
    out.watches.extend(probes.watches);
    if !probes.group.rules.is_empty() {
        out.put("@probes", probes.group, probes.trials, options);
    }
    // What names no team is heard by the team that watches.
    let watching = route::watching(topology).map(|t| t.id.name.to_string());
    out.watches.iter_mut().filter(|w| w.team.is_none()).for_each(|w| w.team.clone_from(&watching));
    let routed = route::alertmanager(topology, options, &mut out.gaps);
    out.files.insert("alertmanager.yml".into(), prometheus::yaml(&routed));
    target::files(topology, &scopes, options, &mut out.files);
    dashboard::files(topology, &out.watches, options, &mut out.files);
    out
}

impl Monitoring {
    /// `file`: the monitor's name, or `@` and one of ours. No monitor's name has that sign, so that none writes over these.
    fn put(&mut self, file: &str, group: prometheus::Group, trials: Vec<trial::Trial>, options: &Options) {
        let path = format!("rules/{file}.yml");
        let whole = format!("{}/{path}", options.folder);
        self.groups.push(Loaded { file: whole, name: group.name.clone(), rules: group.rules.len() });
        self.files.insert(path, prometheus::rules(&[group]));
        self.files.extend(trial::files(file, trials));
    }
}
