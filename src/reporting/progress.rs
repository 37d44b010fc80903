//! Progress on a terminal: a line for each host that works, one for all with the time left.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::address::HostName;
use crate::model::event::{Event, What};
use crate::model::plan::Plan;

use super::estimate::{Estimate, spoken};
use super::lines::{notice, step_line};
use super::reporter::Reporter;
use super::style::{Paint, one_line};

/// Hosts with a line of their own; more would push the rest off the screen.
const HOST_LINES: usize = 12;

pub struct Progress {
    paint: Paint,
    all: MultiProgress,
    sum: ProgressBar,
    hosts: BTreeMap<HostName, Host>,
    estimate: Estimate,
}

struct Host {
    bar: Option<ProgressBar>,
    total: u64,
    ended: u64,
}

impl Progress {
    /// Draws where the target says: standard error in the program, nothing in tests.
    pub fn new(plan: &Plan, paint: Paint, target: ProgressDrawTarget) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let sum = all.add(ProgressBar::new(plan.steps.len() as u64));
        sum.set_style(style("{bar:24} {pos}/{len} {msg}"));
        let mut hosts: BTreeMap<HostName, Host> = BTreeMap::new();
        for step in &plan.steps {
            let host = hosts.entry(step.address.host.clone()).or_insert(Host { bar: None, total: 0, ended: 0 });
            host.total += 1;
        }
        let mut out = Self { paint, all, sum, hosts, estimate: Estimate::new(plan) };
        out.tell_time();
        out
    }

    fn tell_time(&mut self) {
        self.sum.set_message(format!("about {} left", spoken(self.estimate.left())));
    }

    fn started(&mut self, host: &HostName, what: String) {
        let shown = self.hosts.values().filter(|h| h.bar.is_some()).count();
        let width = self.hosts.keys().map(|h| h.0.chars().count()).max().unwrap_or(0);
        let Some(state) = self.hosts.get_mut(host) else { return };
        if state.bar.is_none() && shown < HOST_LINES {
            let bar = self.all.insert_before(&self.sum, ProgressBar::new(state.total));
            bar.set_style(style("{prefix} {pos}/{len} {wide_msg}"));
            bar.set_prefix(format!("{:<width$}", host.0));
            bar.set_position(state.ended);
            state.bar = Some(bar);
        }
        if let Some(bar) = &state.bar {
            bar.set_message(what);
        }
    }

    fn ended(&mut self, host: &HostName) {
        self.sum.inc(1);
        let Some(state) = self.hosts.get_mut(host) else { return };
        state.ended += 1;
        if let Some(bar) = &state.bar {
            bar.set_position(state.ended);
        }
        if state.ended >= state.total
            && let Some(bar) = state.bar.take()
        {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    fn say(&self, line: &str) {
        // Nobody can be told that the terminal is gone.
        let _ = self.all.println(line);
    }
}

/// A template that does not parse would draw indicatif's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

impl Reporter for Progress {
    fn event(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::StepStarted { address, action, .. } => {
                self.started(&address.host, format!("{} {}", action.as_str(), one_line(&address.local())));
            }
            What::StepEnded { step, address, action, outcome, millis } => {
                self.estimate.ended(*step, *millis);
                self.ended(&address.host);
                if !outcome.is_done() {
                    self.say(&step_line(self.paint, *action, &address.to_string(), outcome, *millis));
                }
                self.tell_time();
            }
            other => {
                if let Some(line) = notice(self.paint, other) {
                    self.say(&line);
                }
            }
        }
        None
    }

    fn finish(&mut self) {
        for bar in self.hosts.values_mut().filter_map(|h| h.bar.take()) {
            bar.finish_and_clear();
        }
        self.sum.finish_and_clear();
    }
}
