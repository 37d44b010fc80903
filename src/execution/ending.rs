//! Ends of steps: into the scheduler, the journal and the event stream, with what follows from them for other steps.

use super::clock::Clock;
use super::dispatcher::Dispatcher;
use super::scheduler::Skipped;
use crate::journal::Record;
use crate::model::event::What;
use crate::model::step::{Outcome, StepId};
use crate::providers::agent::Agent;
use crate::secret::Resolve;

impl<A: Agent, R: Resolve, C: Clock> Dispatcher<'_, A, R, C> {
    /// A step has its end.
    pub(super) fn finish(&mut self, step: StepId, outcome: Outcome, millis: u64) {
        let outcome = self.dated(step, self.scrubbed(outcome));
        match self.scheduler.end(step, &outcome) {
            Ok(skipped) => {
                self.ended(step, outcome, millis);
                self.skipped(skipped);
            }
            Err(e) => tracing::warn!("step {step}: {e}"),
        }
    }

    pub(super) fn skipped(&mut self, skipped: Skipped) {
        for (step, outcome) in skipped {
            self.ended(step, outcome, 0);
        }
    }

    fn ended(&mut self, step: StepId, outcome: Outcome, millis: u64) {
        self.post(Record::ended(step, &outcome, millis));
        self.tell_end(step, &outcome, millis);
        self.report.outcomes.insert(step, outcome);
    }

    /// Of a step whose end is written down.
    pub(super) fn tell_end(&self, step: StepId, outcome: &Outcome, millis: u64) {
        if let Some(s) = self.plan.steps.get(step as usize) {
            let (address, action) = (s.address.clone(), s.action);
            self.tell(What::StepEnded { step, address, action, outcome: outcome.clone(), millis });
        }
    }

    /// Texts from hosts may repeat a secret that was sent there.
    fn scrubbed(&self, outcome: Outcome) -> Outcome {
        let scrub = |text: &str| self.run.resolve.scrub(text);
        match outcome {
            Outcome::Failed { code, output } => Outcome::Failed { code, output: scrub(&output) },
            Outcome::Stale { found } => Outcome::Stale { found: scrub(&found) },
            Outcome::Unknown { why } => Outcome::Unknown { why: scrub(&why) },
            other => other,
        }
    }
}
