//! What became of an apply: the sum of its events, and the report that closes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::model::address::{Address, HostName};
use crate::model::event::{Event, What};
use crate::model::plan::Plan;
use crate::model::step::{Action, Outcome, StepId};

use super::lines::step_line;
use super::style::{Paint, counted, one_line, visible};

/// Lines of a failed step's output that are shown; the journal keeps more.
const OUTPUT_LINES: usize = 20;

/// Skipped steps that are named.
const NAMED: usize = 20;

/// Everything that the events say, in one place. A step that ends twice (resumed) counts as it ended last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub apply: String,
    pub undo_of: Option<String>,
    pub outcomes: BTreeMap<StepId, (Outcome, u64)>,
    pub started: BTreeMap<StepId, ()>,
    pub lost: BTreeMap<HostName, String>,
    pub armed: BTreeMap<HostName, u64>,
    pub drained: bool,
    /// Unix milliseconds of the first and the last event.
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub ended: bool,
}

impl Tally {
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut out = Self::default();
        events.into_iter().for_each(|e| out.event(e));
        out
    }

    pub fn event(&mut self, event: &Event) {
        self.from.get_or_insert(event.at);
        self.to = Some(event.at);
        match &event.what {
            What::ApplyStarted { apply, undo_of, .. } => {
                self.apply.clone_from(apply);
                self.undo_of.clone_from(undo_of);
                self.ended = false;
                self.drained = false;
            }
            What::StepStarted { step, .. } => {
                self.started.insert(*step, ());
            }
            What::StepEnded { step, outcome, millis, .. } => {
                self.outcomes.insert(*step, (outcome.clone(), *millis));
            }
            What::HostLost { host, why } => {
                self.lost.insert(host.clone(), why.clone());
            }
            What::Armed { host, seconds } => {
                self.armed.insert(host.clone(), *seconds);
            }
            What::Disarmed { host } => {
                self.armed.remove(host);
            }
            What::Draining => self.drained = true,
            What::ApplyEnded { .. } => self.ended = true,
            What::LeaseTaken { .. } | What::Waiting { .. } | What::Told { .. } | What::Triggered { .. } => {}
        }
    }

    /// The report of an apply of `plan`.
    pub fn report(&self, plan: &Plan) -> ApplyReport {
        let mut report = ApplyReport {
            apply: self.apply.clone(),
            undo_of: self.undo_of.clone(),
            millis: self.to.zip(self.from).map_or(0, |(to, from)| to.saturating_sub(from)),
            lost: self.lost.clone(),
            armed: self.armed.clone(),
            drained: self.drained,
            ..ApplyReport::default()
        };
        for step in &plan.steps {
            let (address, action) = (step.address.clone(), step.action);
            let line = |text: String| ReportLine { step: step.id, address: address.clone(), action, text };
            match self.outcomes.get(&step.id).map(|(o, _)| o) {
                Some(Outcome::Done { .. }) => report.done += 1,
                Some(Outcome::Failed { code, output }) => {
                    report.failed.push(FailedStep {
                        step: step.id,
                        address,
                        action,
                        code: *code,
                        output: output.clone(),
                    });
                }
                Some(Outcome::Stale { found }) => report.stale.push(line(found.clone())),
                Some(Outcome::Skipped { because }) => {
                    let root = self.root(*because);
                    let name = plan.steps.get(root as usize).map(|s| s.address.to_string());
                    report.skipped.push(line(name.unwrap_or_else(|| format!("step {root}"))));
                }
                Some(Outcome::Fenced { token }) => report.fenced.push(line(format!("token {token}"))),
                Some(Outcome::Unknown { why }) => report.unknown.push(line(why.clone())),
                Some(Outcome::Reverted) => report.reverted.push(line(String::new())),
                None if self.started.contains_key(&step.id) => report.unknown.push(line("no answer came".to_owned())),
                None => report.not_tried += 1,
            }
        }
        report
    }

    /// The step at the beginning of a chain of skipped ones.
    fn root(&self, mut step: StepId) -> StepId {
        for _ in 0..self.outcomes.len() {
            match self.outcomes.get(&step) {
                Some((Outcome::Skipped { because }, _)) if *because != step => step = *because,
                _ => break,
            }
        }
        step
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ReportLine {
    pub step: StepId,
    pub address: Address,
    pub action: Action,
    /// Stale: what was found; skipped: the step that was not done; unknown: why.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct FailedStep {
    pub step: StepId,
    pub address: Address,
    pub action: Action,
    pub code: i32,
    pub output: String,
}

/// The end of an apply, for people and programs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ApplyReport {
    pub apply: String,
    pub undo_of: Option<String>,
    pub millis: i64,
    pub done: usize,
    pub failed: Vec<FailedStep>,
    /// Somebody changed it after the plan was made; nothing was done to it.
    pub stale: Vec<ReportLine>,
    pub skipped: Vec<ReportLine>,
    pub fenced: Vec<ReportLine>,
    pub unknown: Vec<ReportLine>,
    pub reverted: Vec<ReportLine>,
    /// Not begun when the apply ended.
    pub not_tried: usize,
    pub lost: BTreeMap<HostName, String>,
    /// Hosts whose dead man's switch was not disarmed.
    pub armed: BTreeMap<HostName, u64>,
    pub drained: bool,
}

impl ApplyReport {
    /// Everything was done.
    pub fn clean(&self) -> bool {
        self.failed.is_empty()
            && self.stale.is_empty()
            && self.skipped.is_empty()
            && self.fenced.is_empty()
            && self.unknown.is_empty()
            && self.reverted.is_empty()
            && self.not_tried == 0
    }
}

/// The closing report: what was done, what was not and why, what to do next.
pub fn closing_text(report: &ApplyReport, paint: Paint) -> String {
    let mut out = String::new();
    for f in &report.failed {
        let _ = writeln!(out, "{} {} {}, code {}", paint.red("failed:"), f.action.as_str(), show(&f.address), f.code);
        let output = visible(f.output.trim_end());
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(OUTPUT_LINES);
        if from > 0 {
            let _ = writeln!(out, "    … {} before", counted(from, "line"));
        }
        lines[from..].iter().for_each(|l| {
            let _ = writeln!(out, "    {l}");
        });
    }
    for (word, lines) in [
        ("refused:", &report.stale),
        ("fenced off:", &report.fenced),
        ("outcome unknown:", &report.unknown),
        ("put back:", &report.reverted),
    ] {
        for l in lines.iter().take(NAMED) {
            let _ = write!(out, "{} {} {}", paint.red(word), l.action.as_str(), show(&l.address));
            let _ = match (word, l.text.is_empty()) {
                (_, true) => writeln!(out),
                ("refused:", _) => writeln!(out, ": somebody changed it after the plan was made"),
                _ => writeln!(out, ": {}", one_line(&l.text)),
            };
        }
        more(&mut out, lines.len());
    }
    for l in report.skipped.iter().take(NAMED) {
        let because = one_line(&l.text);
        let _ = writeln!(
            out,
            "{} {} {}, because {because} was not done",
            paint.yellow("skipped:"),
            l.action.as_str(),
            show(&l.address)
        );
    }
    more(&mut out, report.skipped.len());
    for (host, why) in &report.lost {
        let _ = writeln!(out, "{} {host}: {}", paint.red("lost:"), one_line(why));
    }
    for (host, seconds) in &report.armed {
        let text = format!("still armed: the host puts its former state back by itself within {seconds} s");
        let _ = writeln!(out, "{} {host}: {text}", paint.yellow("dead man's switch"));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", sum(report, paint));
    for line in next(report) {
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn show(address: &Address) -> String {
    one_line(&address.to_string())
}

fn more(out: &mut String, total: usize) {
    if total > NAMED {
        let _ = writeln!(out, "    … and {} more", total - NAMED);
    }
}

fn sum(report: &ApplyReport, paint: Paint) -> String {
    let mut parts = vec![format!("{} done", report.done)];
    for (n, word) in [
        (report.failed.len(), "failed"),
        (report.stale.len(), "refused"),
        (report.fenced.len(), "fenced off"),
        (report.skipped.len(), "skipped"),
        (report.unknown.len(), "unknown"),
        (report.reverted.len(), "put back"),
        (report.not_tried, "not begun"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    let seconds = report.millis / 1000;
    let what = match &report.undo_of {
        Some(former) => format!("Undo of {former} ({})", report.apply),
        None => format!("Apply {}", report.apply),
    };
    let text = format!("{what}: {} in {seconds} s.", parts.join(", "));
    if report.clean() { paint.green(&text) } else { paint.bold(&text) }
}

/// What to do next.
fn next(report: &ApplyReport) -> Vec<String> {
    let id = &report.apply;
    let mut out = Vec::new();
    if !report.unknown.is_empty() || !report.lost.is_empty() || report.drained || report.not_tried > 0 {
        out.push(format!("next: cutover resume {id} asks the hosts what became of open steps and goes on"));
    }
    if !report.stale.is_empty() {
        out.push("next: cutover plan shows what the hosts hold now; nothing was overwritten".to_owned());
    }
    if !report.failed.is_empty() || !report.reverted.is_empty() {
        out.push(
            "next: mend the cause and run cutover apply again; what is done is not repeated. Or take it back with \
                  cutover undo "
                .to_owned()
                + id,
        );
    }
    if !report.fenced.is_empty() {
        out.push("next: another apply has taken over; cutover history says whose".to_owned());
    }
    out
}

/// `cutover show`: each step with what became of it.
pub fn show_text(plan: &Plan, tally: &Tally, paint: Paint) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let address = step.address.to_string();
        let _ = match tally.outcomes.get(&step.id) {
            Some((Outcome::Skipped { because }, _)) => {
                let because = plan.steps.get(*because as usize).map(|s| show(&s.address)).unwrap_or_default();
                let line = step_line(paint, step.action, &address, &Outcome::Skipped { because: 0 }, 0);
                writeln!(out, "{line}, because {because} was not done")
            }
            Some((outcome, millis)) => {
                writeln!(out, "{}", step_line(paint, step.action, &address, outcome, *millis))
            }
            None if tally.started.contains_key(&step.id) => {
                writeln!(out, "{} {}: {}", step.action.as_str(), show(&step.address), paint.red("outcome unknown"))
            }
            None => writeln!(out, "{} {}: not begun", step.action.as_str(), show(&step.address)),
        };
    }
    out.push('\n');
    out.push_str(&closing_text(&tally.report(plan), paint));
    out
}
