//! Goes on with an apply whose process died, was stopped, or lost hosts.
//!
//! The journal says what was begun; the hosts say what became of it; the rest is the ordinary run.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::clock::Clock;
use super::dispatcher::Dispatcher;
use super::error::ApplyError;
use super::judge::Verdict;
use super::scheduler::Scheduler;
use super::settle::{Asker, Questions, Settled};
use super::{Identity, Report, Run, check, lease, leases, restored_fingerprints, waiting};
use crate::journal::{Change, JournalError, Record, Status, next_status, replay};
use crate::model::HostName;
use crate::model::event::What;
use crate::model::host::HostError;
use crate::model::plan::Plan;
use crate::model::step::{Outcome, StepId};
use crate::providers::agent::Agent;
use crate::secret::Resolve;

/// Resumes the apply `apply` of the journal.
pub async fn resume<A: Agent, R: Resolve, C: Clock>(
    run: Run<'_, A, R, C>,
    apply: &str,
    identity: &Identity,
) -> Result<Report, ApplyError> {
    let saved = run.journal.load(apply)?.ok_or_else(|| ApplyError::NoSuchApply(apply.to_owned()))?;
    let mut standing = replay(&saved)?;
    if !standing.resumable() {
        return Err(ApplyError::Finished(apply.to_owned()));
    }
    let plan = &saved.plan;
    check(plan)?;
    Scheduler::new(plan).map_err(|e| ApplyError::BadPlan(e.0))?;
    let restores = restored_fingerprints(run.journal, plan)?;
    let granted = lease::take(run.agent, run.clock, plan, run.settings, &identity.claim(apply, true)).await?;
    let mut records = vec![Record::Resumed { holder: identity.holder.name() }];
    records.extend(leases(&granted));
    run.journal.append(apply, run.clock.now(), records).await?;
    for status in &mut standing.statuses {
        *status = next_status(*status, Change::Reopen).unwrap_or(*status);
    }

    let mut ledger = Ledger { statuses: standing.statuses, expects: standing.expects, outcomes: BTreeMap::new() };
    let missing: BTreeMap<&HostName, &HostError> = granted.missing.iter().map(|e| (&e.host, e)).collect();
    let questions = questions(plan, &ledger.statuses);
    let mut away: BTreeMap<HostName, String> = BTreeMap::new();
    let mut regained = 0;
    {
        let asker = Asker {
            agent: run.agent,
            clock: run.clock,
            settings: run.settings,
            plan,
            apply,
            expects: &ledger.expects.clone(),
            restores: &restores,
        };
        let ask = |(host, questions): (&HostName, &Questions)| {
            let (host, questions) = (host.clone(), questions.clone());
            let (asker, missing) = (&asker, &missing);
            async move {
                let answer = match (missing.get(&host), plan.hosts.get(&host)) {
                    (None, Some(access)) => asker.settle(access, &questions).await.map_err(|e| e.to_string()),
                    (Some(e), _) => Err(e.to_string()),
                    (None, None) => Err(format!("{host} is not among the plan's hosts")),
                };
                (host, questions, answer)
            }
        };
        let mut answers = stream::iter(&questions).map(ask).buffer_unordered(run.settings.parallel.max(1));
        let leased: Vec<_> = granted.hosts.keys().filter_map(|h| plan.hosts.get(h)).collect();
        let (organization, token) = (plan.organization.as_str(), granted.token);
        let mut kept = Box::pin(lease::keep(run.agent, run.clock, run.settings, organization, token, &leased));
        loop {
            let next = tokio::select! {
                biased;
                next = answers.next() => next,
                never = &mut kept => match never {},
            };
            let Some((host, questions, answer)) = next else { break };
            let records = match answer {
                Ok(settled) => {
                    regained += settled.regained.len() as u32;
                    ledger.take(settled, |step, outcome| waiting::dated(plan, run.clock.now(), step, outcome))?
                }
                Err(why) => {
                    let why = run.resolve.scrub(&why);
                    let records = ledger.give_up(&questions.begun, &why)?;
                    away.insert(host, why);
                    records
                }
            };
            if !records.is_empty() {
                run.journal.append(apply, run.clock.now(), records).await?;
            }
        }
    }

    let (scheduler, skipped) = Scheduler::resumed(plan, ledger.statuses).map_err(|e| ApplyError::BadPlan(e.0))?;
    let started = What::ApplyStarted {
        apply: apply.to_owned(),
        intent: plan.intent.clone(),
        steps: plan.steps.len() as u32,
        resumed: true,
        undo_of: saved.header.undo_of.clone(),
    };
    let found: Vec<(StepId, Outcome)> = ledger.outcomes.iter().map(|(id, outcome)| (*id, outcome.clone())).collect();
    let mut outcomes = ledger.outcomes;
    for (id, outcome) in standing.outcomes.into_iter().enumerate() {
        // What was skipped and waits again has no outcome any more.
        if let (Some(outcome), true) = (outcome, scheduler.status(id as StepId) != Status::Waiting) {
            outcomes.entry(id as StepId).or_insert(outcome);
        }
    }
    let mut dispatcher = Dispatcher::new(run, plan, apply, scheduler, granted, restores);
    dispatcher.tell(started);
    // Who listens has heard of their begin alone.
    found.iter().for_each(|(step, outcome)| dispatcher.tell_end(*step, outcome, 0));
    dispatcher.expects = ledger.expects;
    dispatcher.report.regained = regained;
    dispatcher.report.outcomes = outcomes;
    dispatcher.remember_moments();
    dispatcher.skipped(skipped);
    for (host, why) in away {
        dispatcher.without(&host, why);
    }
    dispatcher.drive().await
}

/// What each host is asked: steps begun, and steps that the journal holds for not begun, in case its end was lost.
fn questions(plan: &Plan, statuses: &[Status]) -> BTreeMap<HostName, Questions> {
    let mut out: BTreeMap<HostName, Questions> = BTreeMap::new();
    for (step, status) in plan.steps.iter().zip(statuses) {
        let begun = matches!(status, Status::Started | Status::Unknown);
        if !begun && *status != Status::Waiting {
            continue;
        }
        let q = out.entry(step.address.host.clone()).or_insert_with(|| Questions {
            begun: Vec::new(),
            waiting: Vec::new(),
            armed: false,
            resuming: true,
        });
        if begun {
            q.begun.push(step.id)
        } else {
            q.waiting.push(step.id)
        }
        q.armed |= step.risky;
    }
    out
}

/// Statuses as the answers change them, each change with its record.
struct Ledger {
    statuses: Vec<Status>,
    expects: BTreeMap<StepId, String>,
    outcomes: BTreeMap<StepId, Outcome>,
}

impl Ledger {
    /// `dated`: gives a barrier the moment that its mark on the host lacks.
    fn take(
        &mut self,
        settled: Settled,
        dated: impl Fn(StepId, Outcome) -> Outcome,
    ) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        for (step, _) in &settled.regained {
            self.change(*step, Change::Start)?;
            records.push(Record::Started { step: *step });
        }
        for (step, verdict) in settled.verdicts.into_iter().chain(settled.regained) {
            match verdict {
                Verdict::Ended(outcome) => self.end(step, dated(step, outcome), &mut records)?,
                Verdict::Unknown(why) => self.end(step, Outcome::Unknown { why }, &mut records)?,
                Verdict::Again { expect } => {
                    self.change(step, Change::Reset)?;
                    self.expects.extend(expect.clone().map(|e| (step, e)));
                    self.outcomes.remove(&step);
                    records.push(Record::Reset { step, expect });
                }
            }
        }
        Ok(records)
    }

    fn give_up(&mut self, begun: &[StepId], why: &str) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        for step in begun {
            self.end(*step, Outcome::Unknown { why: why.to_owned() }, &mut records)?;
        }
        Ok(records)
    }

    fn end(&mut self, step: StepId, outcome: Outcome, records: &mut Vec<Record>) -> Result<(), JournalError> {
        self.change(step, Change::End(&outcome))?;
        records.push(Record::ended(step, &outcome, 0));
        self.outcomes.insert(step, outcome);
        Ok(())
    }

    fn change(&mut self, step: StepId, change: Change<'_>) -> Result<(), JournalError> {
        let status = self
            .statuses
            .get_mut(step as usize)
            .ok_or_else(|| JournalError::Damaged(format!("step {step} is not in the plan")))?;
        *status = next_status(*status, change).map_err(|e| JournalError::Damaged(format!("step {step}: {e}")))?;
        Ok(())
    }
}
