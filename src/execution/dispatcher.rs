//! The loop of a run: asks the scheduler what may go, sends it, hears the answers, writes everything down.
//!
//! One task owns all state; what waits on hosts are futures that come back as a [`Message`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Run;
use super::clock::Clock;
use super::error::ApplyError;
use super::judge::Verdict;
use super::lease::Granted;
use super::prepare::{Prepared, prepare};
use super::report::Report;
use super::scheduler::{Pick, Scheduler};
use super::settings::Wanted;
use super::settle::{Asker, Questions, Settled};
use crate::catalog::touches;
use crate::journal::{JournalError, Record, Status};
use crate::model::event::{Event, What};
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::model::plan::Plan;
use crate::model::step::{Outcome, Step, StepId};
use crate::model::{HostName, Kind};
use crate::providers::agent::{Agent, Batch, RemoteStep, StepReport};
use crate::secret::Resolve;

pub(super) type Work<'a, T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// What comes back from a host's worker.
enum Message {
    Prepared(usize, Prepared),
    /// The records of its start could not be made durable: it was not sent.
    NotSent(usize, JournalError),
    Over(usize, Result<(), HostError>),
    Disarmed(usize, Result<bool, HostError>),
    Settled(usize, Result<Settled, HostError>),
}

/// The batch of a host.
#[derive(Default)]
pub(super) struct Batched {
    pub(super) steps: Vec<StepId>,
    risky: bool,
    /// Risky steps that are done, once the switch is disarmed.
    held: BTreeMap<StepId, (Outcome, u64)>,
}

pub(super) struct Dispatcher<'a, A, R, C> {
    pub(super) run: Run<'a, A, R, C>,
    pub(super) plan: &'a Plan,
    apply: &'a str,
    pub(super) token: u64,
    pub(super) leased: Vec<&'a HostAccess>,
    pub(super) scheduler: Scheduler,
    restores: BTreeMap<StepId, String>,
    pub(super) expects: BTreeMap<StepId, String>,
    pub(super) report: Report,
    pub(super) batches: BTreeMap<usize, Batched>,
    pub(super) begun_at: BTreeMap<StepId, i64>,
    /// When the watcher was told last of a wait, and of which.
    pub(super) told: Option<(StepId, i64)>,
    /// Barriers that a name server kept shut, by host.
    pub(super) unopened: BTreeMap<usize, String>,
    /// Steps that people have not done yet, one of each host, and what they wait for.
    later: BTreeMap<usize, (StepId, String)>,
    losses: BTreeMap<usize, u32>,
    work: Work<'a, Message>,
    pub(super) beats: Work<'a, Result<(), HostError>>,
    /// Reports of all hosts: the end that workers get, and ours.
    teller: UnboundedSender<(usize, StepReport)>,
    reports: UnboundedReceiver<(usize, StepReport)>,
    fatal: Option<JournalError>,
}

impl<'a, A: Agent, R: Resolve, C: Clock> Dispatcher<'a, A, R, C> {
    pub(super) fn new(
        run: Run<'a, A, R, C>,
        plan: &'a Plan,
        apply: &'a str,
        scheduler: Scheduler,
        granted: Granted,
        restores: BTreeMap<StepId, String>,
    ) -> Self {
        let (teller, reports) = unbounded_channel();
        let this = Self {
            plan,
            apply,
            token: granted.token,
            leased: granted.hosts.keys().filter_map(|h| plan.hosts.get(h)).collect(),
            scheduler,
            restores,
            expects: BTreeMap::new(),
            report: Report { apply: apply.to_owned(), ..Report::default() },
            batches: BTreeMap::new(),
            begun_at: BTreeMap::new(),
            told: None,
            unopened: BTreeMap::new(),
            later: BTreeMap::new(),
            losses: BTreeMap::new(),
            work: FuturesUnordered::new(),
            beats: FuturesUnordered::new(),
            teller,
            reports,
            fatal: None,
            run,
        };
        for (host, from) in granted.hosts {
            this.tell(What::LeaseTaken { host, token: granted.token, from });
        }
        this
    }

    pub(super) fn tell(&self, what: What) {
        let _ = self.run.events.send(Event { at: self.run.clock.now(), what });
    }

    pub(super) fn post(&mut self, record: Record) {
        if self.fatal.is_none()
            && let Err(e) = self.run.journal.post(self.apply, self.run.clock.now(), record)
        {
            self.break_off(e);
        }
    }

    /// Without a journal nothing may begin; what is on its way ends.
    fn break_off(&mut self, e: JournalError) {
        self.scheduler.stop();
        self.fatal.get_or_insert(e);
    }

    /// Runs to the end: all steps that can be done are, or somebody stops it.
    pub(super) async fn drive(mut self) -> Result<Report, ApplyError> {
        let (clock, period) = (self.run.clock, self.run.settings.heartbeat);
        let mut wanted = self.run.wanted.clone();
        let mut listening = true;
        let mut beat = Box::pin(clock.sleep(period));
        let mut seen = Wanted::Run;
        let stopped = loop {
            let now = *wanted.borrow_and_update();
            if now > seen {
                seen = now;
                self.report.interrupted = true;
                if now == Wanted::Stop {
                    break true;
                }
                self.scheduler.stop();
                self.post(Record::Draining);
                self.tell(What::Draining);
            }
            let next = self.due();
            while let Some(pick) = self.scheduler.pick(self.run.settings.parallel, self.run.settings.batch_steps) {
                self.prepare(pick);
            }
            if self.left_to_barriers() {
                break false;
            }
            if self.work.is_empty() && !self.waits_for(next) {
                break false;
            }
            let mut alarm = pin!(clock.sleep(self.nap(next)));
            tokio::select! {
                biased;
                changed = wanted.changed(), if listening => listening = changed.is_ok(),
                Some((host, report)) = self.reports.recv() => self.reported(host, report),
                Some(message) = self.work.next() => self.heard(message),
                Some(result) = self.beats.next() => self.beaten(result),
                () = &mut alarm, if next.is_some() => {}
                () = &mut beat => {
                    self.beat();
                    beat = Box::pin(clock.sleep(period));
                }
            }
        };
        self.close(stopped).await
    }

    async fn close(mut self, stopped: bool) -> Result<Report, ApplyError> {
        self.report.count(self.scheduler.statuses());
        let Report { done, failed, skipped, unknown, left, .. } = self.report;
        if left == 0 && !stopped && self.fatal.is_none() && self.report.fenced.is_none() {
            let end = Record::Finished { done, failed, skipped, unknown };
            self.fatal = self.run.journal.append(self.apply, self.run.clock.now(), vec![end]).await.err();
        }
        self.tell(What::ApplyEnded { apply: self.apply.to_owned(), done, failed, skipped, unknown });
        if !stopped {
            self.release().await;
        }
        match self.fatal {
            Some(e) => Err(e.into()),
            None => Ok(self.report),
        }
    }

    fn access(&self, host: usize) -> Option<&'a HostAccess> {
        self.plan.hosts.get(self.scheduler.host(host))
    }

    fn prepare(&mut self, pick: Pick) {
        let (resolve, plan, settings) = (self.run.resolve, self.plan, self.run.settings);
        let Pick { host, steps, risky } = pick;
        self.batches.insert(host, Batched { steps: steps.clone(), risky, held: BTreeMap::new() });
        self.work.push(Box::pin(async move {
            let prepared = prepare(resolve, plan, &settings.state_key, &steps, settings.batch_bytes).await;
            Message::Prepared(host, prepared)
        }));
    }

    /// Contents are there: write down the starts, then send.
    fn send(&mut self, host: usize, prepared: Prepared) {
        for (step, output) in prepared.failed {
            self.finish(step, Outcome::Failed { code: -1, output }, 0);
        }
        let stopped = self.scheduler.is_stopped();
        let mut ready = prepared.ready;
        let mut back = prepared.unsent;
        // A step whose predecessor could not be prepared is skipped by now.
        ready.retain(|(step, _)| self.scheduler.status(*step) == Status::Waiting);
        if stopped {
            back.extend(ready.drain(..).map(|(s, _)| s));
        }
        let ids: Vec<StepId> = ready.iter().map(|(s, _)| *s).collect();
        let mut steps = Vec::with_capacity(ready.len());
        for (id, content) in ready {
            let (Some(step), Ok(())) = (self.plan.steps.get(id as usize), self.scheduler.start(id)) else { continue };
            let mut step = step.clone();
            step.before_text = None;
            if let Some(expect) = self.expects.get(&id) {
                step.expect = Some(expect.clone());
            }
            steps.push(RemoteStep { step, content, after_in_batch: self.scheduler.after_in(id, &ids) });
        }
        let batched = self.batches.entry(host).or_default();
        batched.steps = ids.clone();
        let risky = batched.risky;
        let access = self.access(host);
        let Some(access) = access.filter(|_| !steps.is_empty()) else {
            self.scheduler.release(host);
            back.into_iter().for_each(|s| self.scheduler.unpick(s));
            return;
        };
        back.into_iter().for_each(|s| self.scheduler.unpick(s));
        let kinds: BTreeSet<Kind> = steps.iter().map(|s| s.step.address.kind).collect();
        let later = self
            .scheduler
            .later(host, &ids)
            .filter_map(|id| self.plan.steps.get(id as usize))
            // The others would make the script grow with the plan, batch after batch.
            .filter(|step| kinds.iter().any(|k| touches(*k, step.address.kind)))
            .map(|step| {
                let expect = self.expects.get(&step.id).or(step.expect.as_ref()).cloned();
                Step { expect, before_text: None, ..step.clone() }
            })
            .collect();
        let batch = Batch {
            later,
            organization: self.plan.organization.clone(),
            apply: self.apply.to_owned(),
            token: self.token,
            state_key: self.run.settings.state_key.clone(),
            steps,
            arm_seconds: risky.then_some(self.run.settings.arm_seconds),
            patience: self.run.settings.longest_wait,
        };
        let (agent, journal, apply, now) = (self.run.agent, self.run.journal, self.apply, self.run.clock.now());
        let reports = self.teller.clone();
        self.work.push(Box::pin(async move {
            let starts = ids.into_iter().map(|step| Record::Started { step }).collect();
            if let Err(e) = journal.append(apply, now, starts).await {
                return Message::NotSent(host, e);
            }
            let (send, mut receive) = unbounded_channel();
            let forward = async {
                while let Some(report) = receive.recv().await {
                    let _ = reports.send((host, report));
                }
            };
            let (result, ()) = tokio::join!(agent.run(access, batch, send), forward);
            Message::Over(host, result)
        }));
    }

    fn heard(&mut self, message: Message) {
        match message {
            Message::Prepared(host, prepared) => self.send(host, prepared),
            Message::NotSent(host, e) => {
                self.break_off(e);
                self.scheduler.release(host);
            }
            Message::Over(host, result) => self.over(host, result),
            Message::Disarmed(host, Ok(true)) => {
                self.disarmed(host);
                let held = self.batches.remove(&host).unwrap_or_default().held;
                for (step, (outcome, millis)) in held {
                    self.finish(step, outcome, millis);
                }
                self.scheduler.release(host);
            }
            Message::Disarmed(host, Ok(false)) => {
                let held = self.batches.remove(&host).unwrap_or_default().held;
                for (step, (_, millis)) in held {
                    self.finish(step, Outcome::Reverted, millis);
                }
                self.scheduler.release(host);
            }
            Message::Disarmed(host, Err(e)) => self.lost(host, &e.to_string()),
            Message::Settled(host, Ok(settled)) => self.settled(host, settled),
            Message::Settled(host, Err(e)) => {
                for step in self.in_question(host) {
                    self.finish(step, Outcome::Unknown { why: e.to_string() }, 0);
                }
                self.give_up(host, e.to_string());
            }
        }
    }

    fn reported(&mut self, host: usize, report: StepReport) {
        let name = self.scheduler.host(host).clone();
        match report {
            StepReport::Armed => {
                let seconds = self.run.settings.arm_seconds;
                self.post(Record::Armed { host: name.clone(), seconds });
                self.tell(What::Armed { host: name, seconds });
            }
            StepReport::Started(step) => {
                if let Some(s) = self.plan.steps.get(step as usize) {
                    self.begun_at.insert(step, self.run.clock.now());
                    self.tell(What::StepStarted { step, address: s.address.clone(), action: s.action });
                }
            }
            StepReport::Told(step, text) => {
                if let Some(s) = self.plan.steps.get(step as usize) {
                    let text = self.run.resolve.scrub(&text);
                    self.tell(What::Told { step, address: s.address.clone(), text });
                }
            }
            StepReport::Later(step, why) => drop(self.later.insert(host, (step, why))),
            StepReport::Ended(step, outcome) => {
                let ours = self.batches.get(&host).is_some_and(|b| b.steps.binary_search(&step).is_ok());
                if !ours || self.scheduler.status(step) != Status::Started {
                    tracing::warn!("{name} told of step {step}, which is not on its way there");
                    return;
                }
                if let Outcome::Fenced { token } = outcome {
                    self.fenced(format!("{name} holds a newer lease (token {token})"));
                }
                if let (true, Outcome::Failed { output, .. }) = (self.scheduler.is_barrier(step), &outcome) {
                    // It changed nothing and can be asked again: a resume goes on with it.
                    self.unopened.insert(host, self.run.resolve.scrub(output));
                    return;
                }
                let millis = self.begun_at.get(&step).map_or(0, |at| self.run.clock.now().saturating_sub(*at)) as u64;
                let risky = self.plan.steps.get(step as usize).is_some_and(|s| s.risky);
                match self.batches.get_mut(&host) {
                    Some(batched) if risky && outcome.is_done() => {
                        batched.held.insert(step, (outcome, millis));
                    }
                    // Neither done nor not done: the host is asked when the batch is over.
                    _ if matches!(outcome, Outcome::Unknown { .. }) => {}
                    _ => self.finish(step, outcome, millis),
                }
            }
        }
    }

    fn over(&mut self, host: usize, result: Result<(), HostError>) {
        // What the host said before the end counts.
        while let Ok((from, report)) = self.reports.try_recv() {
            self.reported(from, report);
        }
        if let Some(why) = self.unopened.remove(&host) {
            return self.kept_shut(host, why);
        }
        if let Some((step, why)) = self.later.remove(&host) {
            return self.left_to_people(host, step, why);
        }
        let open = self.in_question(host).len();
        let held = self.batches.get(&host).map_or(0, |b| b.held.len());
        match result {
            Ok(()) if open > held => {
                self.lost(host, &format!("its script ended without an answer for {} steps", open - held))
            }
            Ok(()) if held > 0 => {
                let (agent, apply, organization) = (self.run.agent, self.apply, self.plan.organization.as_str());
                if let Some(access) = self.access(host) {
                    self.work.push(Box::pin(async move {
                        Message::Disarmed(host, agent.disarm(access, organization, apply).await)
                    }));
                }
            }
            Ok(()) => {
                self.batches.remove(&host);
                self.scheduler.release(host);
            }
            Err(e) => {
                if e.kind == HostErrorKind::Fenced {
                    self.fenced(e.to_string());
                }
                self.lost(host, &e.to_string());
            }
        }
    }

    /// Steps of the host's batch that were begun and have no end.
    pub(super) fn in_question(&self, host: usize) -> Vec<StepId> {
        let steps = self.batches.get(&host).map(|b| b.steps.as_slice()).unwrap_or_default();
        steps.iter().copied().filter(|s| self.scheduler.status(*s) == Status::Started).collect()
    }

    /// The line is gone: reconnect and ask.
    fn lost(&mut self, host: usize, why: &str) {
        let begun = self.in_question(host);
        let risky = self.batches.get(&host).is_some_and(|b| b.risky);
        let name = self.scheduler.host(host).clone();
        let why = self.run.resolve.scrub(why);
        self.post(Record::HostLost { host: name.clone(), why: why.clone() });
        self.tell(What::HostLost { host: name, why });
        let Some(access) = self.access(host) else { return self.scheduler.release(host) };
        let pick = |from: &BTreeMap<StepId, String>| {
            begun.iter().filter_map(|s| from.get(s).map(|t| (*s, t.clone()))).collect::<BTreeMap<_, _>>()
        };
        let (expects, restores) = (pick(&self.expects), pick(&self.restores));
        let questions = Questions { begun, waiting: Vec::new(), armed: risky, resuming: false };
        let (agent, clock, settings) = (self.run.agent, self.run.clock, self.run.settings);
        let (plan, apply) = (self.plan, self.apply);
        self.work.push(Box::pin(async move {
            let asker = Asker { agent, clock, settings, plan, apply, expects: &expects, restores: &restores };
            Message::Settled(host, asker.settle(access, &questions).await)
        }));
    }

    fn settled(&mut self, host: usize, settled: Settled) {
        let batched = self.batches.remove(&host).unwrap_or_default();
        let ended = settled.verdicts.iter().any(|(_, v)| matches!(v, Verdict::Ended(o) if o.is_done()));
        if ended && batched.risky {
            self.disarmed(host);
        }
        let losses = self.losses.entry(host).or_default();
        *losses = if ended { 0 } else { *losses + 1 };
        let hopeless = *losses > self.run.settings.losses;
        for (step, verdict) in settled.verdicts {
            match verdict {
                Verdict::Ended(outcome) => self.finish(step, outcome, 0),
                Verdict::Again { expect } => {
                    self.post(Record::Reset { step, expect: expect.clone() });
                    self.expects.extend(expect.map(|e| (step, e)));
                    let skipped = self.scheduler.reset(step);
                    self.skipped(skipped.unwrap_or_default());
                }
                Verdict::Unknown(why) => self.finish(step, Outcome::Unknown { why }, 0),
            }
        }
        match hopeless {
            true => self.give_up(host, "the host was lost again and again without one step getting done".into()),
            false => self.scheduler.release(host),
        }
    }

    pub(super) fn give_up(&mut self, host: usize, why: String) {
        self.batches.remove(&host);
        self.scheduler.give_up(host);
        self.scheduler.release(host);
        self.report.lost.insert(self.scheduler.host(host).clone(), why);
    }

    fn disarmed(&mut self, host: usize) {
        let name: HostName = self.scheduler.host(host).clone();
        self.post(Record::Disarmed { host: name.clone() });
        self.tell(What::Disarmed { host: name });
    }

    /// Hosts that a resume could not reach.
    pub(super) fn without(&mut self, host: &HostName, why: String) {
        let index = self.plan.steps.iter().find(|s| s.address.host == *host).map(|s| self.scheduler.host_of(s.id));
        if let Some(index) = index {
            self.give_up(index, why);
        }
    }
}
