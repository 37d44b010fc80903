//! Waits of a run: for the start of a window, and for answers to run out of caches.
//!
//! A barrier is a step that ends when every name server serves what it names; its moment stands in its outcome, and so in the
//! journal: a resume goes on with the rest of a wait. Short waits are sat through with the lease held and Ctrl-C heard; before a
//! long one the run ends and says when to go on.

use std::time::Duration;

use super::clock::Clock;
use super::dispatcher::Dispatcher;
use super::report::Waits;
use crate::catalog::barrier;
use crate::journal::{Record, Status};
use crate::model::event::What;
use crate::model::plan::Plan;
use crate::model::step::{Action, Outcome, StepId};
use crate::providers::agent::Agent;
use crate::secret::Resolve;

/// How often a watcher is told of the same wait, in seconds.
const TELL: i64 = 60;

/// A barrier without a moment of its own has that of `now` (Unix milliseconds): later than the true one, so that no wait is too short.
pub(super) fn dated(plan: &Plan, now: i64, step: StepId, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Done { fingerprint } if plan.steps.get(step as usize).is_some_and(|s| s.action == Action::Wait) => {
            // The second has begun: counted from its end.
            let now = now.div_euclid(1_000) + 1;
            // A mark of the future is one of a clock that was ahead.
            let moment = fingerprint.as_deref().and_then(barrier::moment).map_or(now, |m| m.min(now));
            Outcome::Done { fingerprint: Some(barrier::served(moment)) }
        }
        other => other,
    }
}

impl<A: Agent, R: Resolve, C: Clock> Dispatcher<'_, A, R, C> {
    fn seconds(&self) -> i64 {
        self.run.clock.now().div_euclid(1_000)
    }

    /// Moments of barriers that ended in an earlier run.
    pub(super) fn remember_moments(&mut self) {
        let served = self.report.outcomes.iter().filter_map(|(step, outcome)| match outcome {
            Outcome::Done { fingerprint: Some(f) } => Some((*step, barrier::moment(f)?)),
            _ => None,
        });
        for (step, moment) in served.collect::<Vec<_>>() {
            self.scheduler.served(step, moment);
        }
    }

    /// The outcome of a barrier with its moment, from which later steps are counted.
    pub(super) fn dated(&mut self, step: StepId, outcome: Outcome) -> Outcome {
        let outcome = dated(self.plan, self.run.clock.now(), step, outcome);
        if let Outcome::Done { fingerprint: Some(f) } = &outcome
            && let Some(moment) = barrier::moment(f)
        {
            self.scheduler.served(step, moment);
        }
        outcome
    }

    /// What may go at last, and what comes next. Steps whose time is over end here.
    pub(super) fn due(&mut self) -> Option<(StepId, i64)> {
        if self.scheduler.is_stopped() {
            return None;
        }
        let due = self.scheduler.due(self.seconds());
        for (step, end) in due.late {
            let output = format!(
                "it could not end in time: it had to begin by {}. Nothing of it was done; plan the window anew, or take back what was \
                 done with `cutover undo`",
                jiff::Timestamp::from_second(end).map_or_else(|_| end.to_string(), |t| t.to_string()),
            );
            self.finish(step, Outcome::Failed { code: -1, output }, 0);
        }
        due.next
    }

    /// Whether the run goes on for the next step that waits for a time. Tells the watcher.
    pub(super) fn waits_for(&mut self, next: Option<(StepId, i64)>) -> bool {
        let Some((step, until)) = next else { return false };
        let now = self.seconds();
        let why = self.why(step);
        if until.saturating_sub(now) > i64::try_from(self.run.settings.longest_wait.as_secs()).unwrap_or(i64::MAX) {
            self.report.waits = Some(Waits { step, until: Some(until), why });
            return false;
        }
        if self.told.is_none_or(|(told, at)| told != step || now - at >= TELL)
            && let Some(s) = self.plan.steps.get(step as usize)
        {
            self.told = Some((step, now));
            self.tell(What::Waiting { step, address: s.address.clone(), until, why });
        }
        true
    }

    fn why(&self, step: StepId) -> String {
        let schedule = self.plan.schedule.as_ref();
        schedule.and_then(|s| s.waits.get(&step)).map(|w| w.reason.clone()).unwrap_or_default()
    }

    /// How long until the next step may go, or until the watcher is to be told again.
    pub(super) fn nap(&self, next: Option<(StepId, i64)>) -> Duration {
        let left = next.map_or(0, |(_, until)| until.saturating_mul(1_000).saturating_sub(self.run.clock.now()));
        Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(TELL as u64))
    }

    /// Nothing new may start and only barriers are at work, or people: they are left for a resume, which asks again.
    pub(super) fn left_to_barriers(&mut self) -> bool {
        let steps: Vec<StepId> = self.batches.values().flat_map(|b| b.steps.iter().copied()).collect();
        if !self.scheduler.is_stopped() || steps.is_empty() || !steps.iter().all(|s| self.scheduler.may_be_left(*s)) {
            return false;
        }
        for step in steps {
            self.put_back(step);
        }
        true
    }

    /// A barrier that a name server kept shut waits for a resume, and all behind it with it.
    pub(super) fn kept_shut(&mut self, host: usize, why: String) {
        for step in self.in_question(host) {
            self.report.shut.insert(step, why.clone());
            self.put_back(step);
        }
        let name = self.scheduler.host(host).clone();
        self.tell(What::HostLost { host: name, why: why.clone() });
        self.give_up(host, why);
    }

    /// What people have not entered yet waits for a resume, and what stands behind it in this place.
    pub(super) fn left_to_people(&mut self, host: usize, step: StepId, why: String) {
        for step in self.in_question(host) {
            self.put_back(step);
        }
        self.batches.remove(&host);
        self.scheduler.give_up(host);
        self.scheduler.release(host);
        self.report.waits.get_or_insert(Waits { step, until: None, why: self.run.resolve.scrub(&why) });
    }

    fn put_back(&mut self, step: StepId) {
        // Where the start was not heard of yet, the journal may not have it either.
        if self.begun_at.contains_key(&step) && self.scheduler.status(step) == Status::Started {
            self.post(Record::Reset { step, expect: None });
            let skipped = self.scheduler.reset(step);
            self.skipped(skipped.unwrap_or_default());
        }
    }
}
