//! Progress as plain lines, for logs and pipes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::event::{Event, What};
use crate::model::plan::Plan;
use crate::model::step::{Action, Outcome};

use super::estimate::{Estimate, spoken};
use super::reporter::Reporter;
use super::style::{Paint, one_line};

/// One line for each end of a step and for each thing that a watcher should know.
pub struct Lines {
    paint: Paint,
    total: usize,
    ended: BTreeMap<u32, ()>,
    estimate: Estimate,
}

impl Lines {
    pub fn new(plan: &Plan, paint: Paint) -> Self {
        Self { paint, total: plan.steps.len(), ended: BTreeMap::new(), estimate: Estimate::new(plan) }
    }
}

impl Reporter for Lines {
    fn event(&mut self, event: &Event) -> Option<String> {
        if let What::StepEnded { step, address, action, outcome, millis } = &event.what {
            self.estimate.ended(*step, *millis);
            self.ended.insert(*step, ());
            let left = match self.total - self.ended.len().min(self.total) {
                0 => String::new(),
                _ => format!(", {} left", spoken(self.estimate.left())),
            };
            let line = step_line(self.paint, *action, &address.to_string(), outcome, *millis);
            return Some(format!("[{}/{}{left}] {line}", self.ended.len(), self.total));
        }
        notice(self.paint, &event.what)
    }
}

/// `create server.a/file:/etc/x: done in 60 ms`.
pub(super) fn step_line(paint: Paint, action: Action, address: &str, outcome: &Outcome, millis: u64) -> String {
    let what = format!("{} {}", action.as_str(), one_line(address));
    let ended = match outcome {
        Outcome::Done { .. } => format!("{} in {}", paint.green("done"), took(millis)),
        Outcome::Failed { code, output } => {
            let last = output.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
            format!("{} with code {code}: {}", paint.red("failed"), one_line(last.trim()))
        }
        Outcome::Stale { .. } => format!("{}: somebody changed it since the plan was made", paint.red("refused")),
        Outcome::Skipped { .. } => paint.yellow("skipped").to_string(),
        Outcome::Fenced { token } => format!("{}: a newer apply (token {token}) has taken over", paint.red("refused")),
        Outcome::Unknown { why } => format!("{}: {}", paint.red("outcome unknown"), one_line(why)),
        Outcome::Reverted => paint.red("put back by the dead man's switch").to_string(),
    };
    format!("{what}: {ended}")
}

fn took(millis: u64) -> String {
    if millis < 1_000 { format!("{millis} ms") } else { spoken(Duration::from_millis(millis)) }
}

/// Events beside the steps.
pub(super) fn notice(paint: Paint, what: &What) -> Option<String> {
    Some(match what {
        What::ApplyStarted { apply, steps, resumed, undo_of, .. } => {
            let verb = if *resumed { "goes on" } else { "begins" };
            let undo = undo_of.as_ref().map(|u| format!(", undoing {u}")).unwrap_or_default();
            format!("apply {} {verb}: {}{undo}", paint.bold(apply), super::style::counted(*steps as usize, "step"))
        }
        What::LeaseTaken { host, from: Some(from), token } => {
            format!("{host}: lease {token} taken over from {}", one_line(from))
        }
        What::LeaseTaken { from: None, .. } | What::StepStarted { .. } | What::StepEnded { .. } => return None,
        What::HostLost { host, why } => format!("{} {host}: {}", paint.red("lost"), one_line(why)),
        What::Armed { host, seconds } => {
            format!("{host}: dead man's switch armed, the host reverts by itself after {seconds} s")
        }
        What::Disarmed { host } => format!("{host}: dead man's switch disarmed"),
        What::Waiting { address, until, why, .. } => {
            let until = jiff::Timestamp::from_second(*until).map_or_else(|_| until.to_string(), |t| t.to_string());
            format!("{}: waits until {until}: {}", one_line(&address.to_string()), one_line(why))
        }
        What::Told { address, text, .. } => format!("{}: {}", one_line(&address.to_string()), one_line(text)),
        What::Draining => {
            paint.yellow("stopping: running steps end, no new one starts (Ctrl-C again stops at once)").to_string()
        }
        What::Triggered { trigger, why, rolls_back } => {
            let does = if *rolls_back { "what was done is taken back" } else { "the run stops" };
            format!("{} {trigger}: {}; {does}", paint.red("trigger"), one_line(why))
        }
        What::ApplyEnded { .. } => return None,
    })
}
