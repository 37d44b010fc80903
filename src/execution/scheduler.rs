//! Which steps may go next, as a pure state machine: no clock, no host, no journal.
//!
//! A step is ready when all steps before it are done, or stand earlier in the same batch of the same host. A host has one batch
//! at a time; risky steps go in batches of their own, so that the dead man's switch never waits for slow ones. A step that is not
//! done takes its dependents with it and nothing else. Every edge is looked at a constant number of times.

use std::collections::{BTreeMap, BTreeSet};

use super::times::{Due, Times};
use crate::journal::{Change, IllegalTransition, Status, next_status};
use crate::model::host::{HostAccess, ZoneAccess};
use crate::model::plan::Plan;
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::model::{HostName, Kind};

/// The plan cannot be carried out as it stands (edited by hand, or cut).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan does not hold together: {0}")]
pub struct BadPlan(pub String);

/// Steps of one host, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    pub host: usize,
    pub steps: Vec<StepId>,
    pub risky: bool,
}

/// What goes in batches of its own.
const CALM: usize = 0;
const RISKY: usize = 1;
/// One a batch: it runs until name servers follow.
const BARRIER: usize = 2;
/// Carried out by people.
const HANDS: usize = 3;
/// Moves people, one wave a batch: it runs long, and ends between two groups when the run is to stop.
const WAVE: usize = 4;

#[derive(Debug, Default)]
struct HostState {
    /// Steps that may go, by class.
    ready: [BTreeSet<StepId>; 5],
    all: Vec<StepId>,
    busy: bool,
    /// Given up for this run: what waits on it stays waiting.
    down: bool,
}

#[derive(Debug)]
pub struct Scheduler {
    hosts: Vec<HostState>,
    names: Vec<HostName>,
    host_of: Vec<usize>,
    class: Vec<usize>,
    /// Steps that wait for a time.
    times: Times,
    after: Vec<Vec<StepId>>,
    dependents: Vec<Vec<StepId>>,
    statuses: Vec<Status>,
    /// Steps before it that are not done.
    waits: Vec<u32>,
    /// A step before it that will not be done.
    blocked: Vec<Option<StepId>>,
    runnable: BTreeSet<usize>,
    /// Where the round over hosts goes on.
    turn: usize,
    at_work: usize,
    stopped: bool,
}

fn class(plan: &Plan, step: &Step) -> usize {
    let by_hand = plan.hosts.get(&step.address.host).and_then(HostAccess::zone).is_some_and(ZoneAccess::is_manual);
    match (step.action, step.risky) {
        (Action::Wait, _) => BARRIER,
        _ if step.address.kind == Kind::Wave => WAVE,
        _ if by_hand => HANDS,
        (_, true) => RISKY,
        (_, false) => CALM,
    }
}

/// Steps that end because another one did not get done.
pub type Skipped = Vec<(StepId, Outcome)>;

impl Scheduler {
    /// All steps waiting.
    pub fn new(plan: &Plan) -> Result<Self, BadPlan> {
        Self::resumed(plan, vec![Status::Waiting; plan.steps.len()]).map(|(s, _)| s)
    }

    /// From statuses in which nothing is `Started`; returns the steps that cannot run any more as well.
    pub fn resumed(plan: &Plan, statuses: Vec<Status>) -> Result<(Self, Skipped), BadPlan> {
        let n = plan.steps.len();
        let names: Vec<HostName> =
            plan.steps.iter().map(|s| s.address.host.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let index: BTreeMap<&HostName, usize> = names.iter().enumerate().map(|(i, h)| (h, i)).collect();
        let mut this = Self {
            hosts: names.iter().map(|_| HostState::default()).collect(),
            host_of: Vec::with_capacity(n),
            class: plan.steps.iter().map(|s| class(plan, s)).collect(),
            times: Times::new(plan.schedule.as_ref()),
            after: Vec::with_capacity(n),
            dependents: vec![Vec::new(); n],
            waits: vec![0; n],
            blocked: vec![None; n],
            runnable: BTreeSet::new(),
            turn: 0,
            at_work: 0,
            stopped: false,
            statuses,
            names: Vec::new(),
        };
        if this.statuses.len() != n {
            return Err(BadPlan(format!("{} statuses for {n} steps", this.statuses.len())));
        }
        let mut skipped = Skipped::new();
        for (i, step) in plan.steps.iter().enumerate() {
            let id = i as StepId;
            if step.id != id {
                return Err(BadPlan(format!("step {i} calls itself {}", step.id)));
            }
            if !plan.hosts.contains_key(&step.address.host) {
                return Err(BadPlan(format!("step {i} is for {}, which is not among its hosts", step.address.host)));
            }
            let host = index.get(&step.address.host).copied().unwrap_or_default();
            this.host_of.push(host);
            this.hosts[host].all.push(id);
            let mut after = step.after.clone();
            after.sort_unstable();
            after.dedup();
            for &before in &after {
                if before >= id {
                    return Err(BadPlan(format!("step {i} waits for step {before}, which does not stand before it")));
                }
                this.dependents[before as usize].push(id);
                match this.statuses[before as usize] {
                    Status::Done => {}
                    Status::Waiting | Status::Started => this.waits[i] += 1,
                    _ => {
                        this.waits[i] += 1;
                        this.blocked[i].get_or_insert(before);
                    }
                }
            }
            this.after.push(after);
            if this.statuses[i] == Status::Waiting {
                match this.blocked[i] {
                    Some(because) => {
                        this.statuses[i] = Status::Skipped;
                        skipped.push((id, Outcome::Skipped { because }));
                    }
                    None if this.waits[i] == 0 && this.times.governs(id) => this.times.hold(id),
                    None if this.waits[i] == 0 => {
                        this.hosts[host].ready[this.class[i]].insert(id);
                        this.runnable.insert(host);
                    }
                    None => {}
                }
            }
        }
        this.names = names;
        Ok((this, skipped))
    }

    pub fn host(&self, index: usize) -> &HostName {
        &self.names[index]
    }

    pub fn host_of(&self, step: StepId) -> usize {
        self.host_of[step as usize]
    }

    pub fn status(&self, step: StepId) -> Status {
        self.statuses[step as usize]
    }

    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    /// Hosts with a batch on its way.
    pub fn at_work(&self) -> usize {
        self.at_work
    }

    /// No step goes any more (Ctrl-C, or a newer lease).
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The next batch, hosts in turn; the host is busy until [`Scheduler::release`].
    pub fn pick(&mut self, most_hosts: usize, most_steps: usize) -> Option<Pick> {
        if self.stopped || self.at_work >= most_hosts {
            return None;
        }
        let host = self.runnable.range(self.turn..).next().or_else(|| self.runnable.first()).copied()?;
        self.turn = host + 1;
        self.runnable.remove(&host);
        self.hosts[host].busy = true;
        self.at_work += 1;
        // What is a script's work on a host is one line of a message to a name server.
        let most_steps = if self.names[host].is_zone() { most_steps.saturating_mul(40) } else { most_steps };
        // The class of the smallest step that may go.
        let firsts = self.hosts[host].ready.each_ref().map(|r| r.first().copied());
        let class = (0..firsts.len()).filter(|c| firsts[*c].is_some()).min_by_key(|c| firsts[*c]).unwrap_or(CALM);
        let most_steps = if matches!(class, BARRIER | WAVE) { 1 } else { most_steps };
        // Steps that are ready because what they wait for is in this batch, and how much of it is.
        let mut opened: BTreeSet<StepId> = BTreeSet::new();
        let mut inside: BTreeMap<StepId, u32> = BTreeMap::new();
        let mut steps = Vec::new();
        while steps.len() < most_steps.max(1) {
            let ready = &mut self.hosts[host].ready[class];
            // The smaller first: a step opens larger ones only, so the batch comes out sorted.
            let from = if opened.first() < ready.first() && !opened.is_empty() || ready.is_empty() {
                &mut opened
            } else {
                ready
            };
            let Some(id) = from.pop_first() else { break };
            steps.push(id);
            for &next in &self.dependents[id as usize] {
                let n = next as usize;
                let here = self.host_of[n] == host && self.class[n] == class && !self.times.governs(next);
                if here && self.statuses[n] == Status::Waiting {
                    let count = inside.entry(next).or_default();
                    *count += 1;
                    if *count == self.waits[n] {
                        opened.insert(next);
                    }
                }
            }
        }
        Some(Pick { host, steps, risky: class == RISKY })
    }

    /// The batch of a host is over.
    pub fn release(&mut self, host: usize) {
        if std::mem::replace(&mut self.hosts[host].busy, false) {
            self.at_work -= 1;
        }
        self.wake(host);
    }

    fn wake(&mut self, host: usize) {
        let h = &self.hosts[host];
        if !h.busy && !h.down && h.ready.iter().any(|r| !r.is_empty()) {
            self.runnable.insert(host);
        }
    }

    /// A picked step that was not sent after all.
    pub fn unpick(&mut self, step: StepId) {
        self.offer(step);
    }

    fn offer(&mut self, step: StepId) {
        let i = step as usize;
        if self.statuses[i] == Status::Waiting && self.waits[i] == 0 && self.blocked[i].is_none() {
            if self.times.governs(step) {
                return self.times.hold(step);
            }
            self.put(step);
        }
    }

    fn put(&mut self, step: StepId) {
        let host = self.host_of[step as usize];
        self.hosts[host].ready[self.class[step as usize]].insert(step);
        self.wake(host);
    }

    /// The moment of a barrier (Unix seconds), from which later steps are counted.
    pub fn served(&mut self, step: StepId, moment: i64) {
        self.times.served(step, moment);
    }

    /// Lets go what has waited long enough at `now` (Unix seconds), and says what comes next.
    pub fn due(&mut self, now: i64) -> Due {
        let hosts = &self.hosts;
        let (open, due) = self.times.due(now, |step| !hosts[self.host_of[step as usize]].down);
        open.into_iter().for_each(|step| self.put(step));
        due
    }

    /// Barriers change nothing: they may be left where they stand.
    pub fn is_barrier(&self, step: StepId) -> bool {
        self.class.get(step as usize) == Some(&BARRIER)
    }

    /// Steps whose work is to ask: a run may end while they do.
    pub fn may_be_left(&self, step: StepId) -> bool {
        matches!(self.class.get(step as usize), Some(&(BARRIER | HANDS)))
    }

    fn withdraw(&mut self, step: StepId) {
        let i = step as usize;
        self.hosts[self.host_of[i]].ready[self.class[i]].remove(&step);
        self.times.drop(step);
    }

    pub fn start(&mut self, step: StepId) -> Result<(), IllegalTransition> {
        self.change(step, Change::Start)
    }

    fn change(&mut self, step: StepId, change: Change<'_>) -> Result<(), IllegalTransition> {
        let status = &mut self.statuses[step as usize];
        *status = next_status(*status, change)?;
        Ok(())
    }

    /// A step came to an end; returns those that end with it.
    pub fn end(&mut self, step: StepId, outcome: &Outcome) -> Result<Skipped, IllegalTransition> {
        self.change(step, Change::End(outcome))?;
        let mut skipped = Skipped::new();
        if outcome.is_done() {
            for k in 0..self.dependents[step as usize].len() {
                let next = self.dependents[step as usize][k];
                self.waits[next as usize] -= 1;
                self.offer(next);
            }
        } else {
            self.withdraw(step);
            self.block_dependents(step, &mut skipped);
        }
        Ok(skipped)
    }

    fn block_dependents(&mut self, step: StepId, skipped: &mut Skipped) {
        let mut stack = vec![step];
        while let Some(because) = stack.pop() {
            for &next in &self.dependents[because as usize] {
                let n = next as usize;
                if self.blocked[n].is_some() {
                    continue;
                }
                self.blocked[n] = Some(because);
                if self.statuses[n] == Status::Waiting {
                    self.statuses[n] = Status::Skipped;
                    skipped.push((next, Outcome::Skipped { because }));
                    stack.push(next);
                }
            }
        }
    }

    /// The host was asked: a started step is not done and may run again, unless what it needs is gone by now.
    pub fn reset(&mut self, step: StepId) -> Result<Skipped, IllegalTransition> {
        self.change(step, Change::Reset)?;
        let mut skipped = Skipped::new();
        match self.blocked[step as usize] {
            Some(because) => self.skip(step, because, &mut skipped),
            None => self.offer(step),
        }
        Ok(skipped)
    }

    fn skip(&mut self, step: StepId, because: StepId, skipped: &mut Skipped) {
        self.statuses[step as usize] = Status::Skipped;
        self.withdraw(step);
        skipped.push((step, Outcome::Skipped { because }));
        self.block_dependents(step, skipped);
    }

    /// A host is given up for this run. What waits on it stays waiting, so that a resume goes on with it.
    pub fn give_up(&mut self, host: usize) {
        self.hosts[host].down = true;
        self.runnable.remove(&host);
    }

    /// Steps of a host that wait and are not in `batch` (sorted), in order.
    pub fn later<'s>(&'s self, host: usize, batch: &'s [StepId]) -> impl Iterator<Item = StepId> + 's {
        let waits = |s: &StepId| self.statuses[*s as usize] == Status::Waiting && batch.binary_search(s).is_err();
        self.hosts[host].all.iter().copied().filter(waits)
    }

    /// Members of `step.after` that are among `batch` (sorted).
    pub fn after_in(&self, step: StepId, batch: &[StepId]) -> Vec<StepId> {
        self.after[step as usize].iter().copied().filter(|s| batch.binary_search(s).is_ok()).collect()
    }
}
