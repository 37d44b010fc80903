//! Drift: what somebody else changed of what we own. What the topology wants and nobody applied yet is no drift, and what is not
//! ours is nobody's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::model::address::{Address, HostName, Kind};
use crate::model::host::HostError;
use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::model::step::{Action, FieldChange, Step};

use super::changes;
use super::style::{Paint, counted, one_line};

#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Drifted {
    pub address: Address,
    /// Gone, or changed.
    pub gone: bool,
    /// From what is wanted (`before`) to what is there (`after`).
    pub changes: Vec<FieldChange>,
    /// Unified diff from what is wanted to what is there, where it may be shown.
    pub diff: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DriftReport {
    pub organization: String,
    pub environment: Option<String>,
    /// Resources looked at.
    pub examined: usize,
    pub drifted: Vec<Drifted>,
    /// Services with a reload or restart that is still owed.
    pub owed: Vec<Address>,
    /// Wanted by the topology and not applied yet: no drift.
    pub waiting: Vec<Address>,
    /// Hosts that could not be asked: whether they drifted is not known.
    pub failed: Vec<HostError>,
}

impl DriftReport {
    pub fn drifted(&self) -> bool {
        !self.drifted.is_empty()
    }
}

/// Sorts the steps of a fresh plan into drift and what merely waits to be applied. `applied` holds the fingerprint that each
/// resource had after its last apply, as far as the journal knows: where it still has it, nobody touched the host and the
/// topology is what changed. Without an entry, a difference of an owned resource counts as drift.
pub fn drift(plan: &Plan, observed: &Observed, applied: &BTreeMap<Address, String>) -> DriftReport {
    let mut out = DriftReport {
        organization: plan.organization.clone(),
        environment: plan.environment.clone(),
        examined: plan.examined,
        failed: plan.failed.clone(),
        ..DriftReport::default()
    };
    let owned: BTreeSet<(&HostName, Kind, &str)> = observed
        .hosts
        .iter()
        .flat_map(|(host, o)| o.owned.iter().map(move |o| (host, o.kind, o.key.as_str())))
        .collect();
    for step in &plan.steps {
        match step.action {
            // A wave waits for its phase; where people are is no drift of a host.
            Action::Wait | Action::Move => {}
            Action::Reload | Action::Restart => {
                let pending = observed.hosts.get(&step.address.host).map(|o| &o.pending);
                if pending.is_some_and(|p| p.contains_key(&step.address.key)) {
                    out.owed.push(step.address.clone());
                }
            }
            Action::Create | Action::Update | Action::Replace | Action::Run | Action::Delete | Action::Restore => {
                let a = &step.address;
                let owned = owned.contains(&(&a.host, a.kind, a.key.as_str()));
                let untouched = applied.get(&step.address).is_some_and(|f| Some(f) == step.expect.as_ref());
                if owned && !untouched && step.action != Action::Delete {
                    out.drifted.push(drifted(plan, step));
                } else {
                    out.waiting.push(step.address.clone());
                }
            }
        }
    }
    out.drifted.sort_by(|a, b| a.address.cmp(&b.address));
    out.waiting.sort();
    out
}

fn drifted(plan: &Plan, step: &Step) -> Drifted {
    let turned = |c: &FieldChange| FieldChange {
        field: c.field.clone(),
        before: c.after.clone(),
        after: c.before.clone(),
        forces_replacement: false,
    };
    let gone = step.action == Action::Create;
    Drifted {
        address: step.address.clone(),
        gone,
        changes: step.changes.iter().filter(|_| !gone).map(turned).collect(),
        diff: if gone { None } else { changes::diff_back(plan, step) },
    }
}

/// The report for the terminal.
pub fn drift_text(report: &DriftReport, paint: Paint) -> String {
    let mut out = String::new();
    for d in &report.drifted {
        let what = if d.gone { "is gone" } else { "was changed" };
        let _ = writeln!(out, "{} {} {what}", paint.yellow("~"), paint.bold(&one_line(&d.address.to_string())));
        for c in &d.changes {
            let shown = |v: &Option<String>| v.as_deref().map_or("not set".to_owned(), one_line);
            if c.before == c.after {
                let _ = writeln!(out, "    {}: not what was applied ({})", c.field, shown(&c.after));
            } else if d.diff.is_none() || c.field != "content" {
                let _ = writeln!(out, "    {}: {} -> {}", c.field, shown(&c.before), shown(&c.after));
            }
        }
        for line in d.diff.iter().flat_map(|d| d.lines()) {
            let _ = writeln!(out, "    {}", paint.diff_line(line));
        }
    }
    for address in &report.owed {
        let _ = writeln!(out, "{} {} still has to be reloaded", paint.yellow("*"), one_line(&address.to_string()));
    }
    for failed in &report.failed {
        let _ = writeln!(out, "{} could not ask {}: {}", paint.red("failed:"), failed.host, one_line(&failed.message));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let looked = counted(report.examined, "resource");
    let _ = match report.drifted.len() {
        0 if report.failed.is_empty() => writeln!(out, "{} {looked} looked at.", paint.green("No drift:")),
        0 => writeln!(out, "No drift on the hosts that answered: {looked} looked at."),
        n => writeln!(out, "{} {} of {looked}.", paint.bold("Drift:"), counted(n, "change")),
    };
    if !report.waiting.is_empty() {
        let _ = writeln!(
            out,
            "{} in the topology and not applied yet; cutover plan shows them.",
            counted(report.waiting.len(), "change")
        );
    }
    out
}
