//! The remote script as a machine of micro-actions: a kill, a cut or a reboot can fall between any two.

use std::collections::BTreeSet;

use super::host::{Armed, Host, Mark, fingerprint, shown};
use crate::catalog::{self, Compare};
use crate::model::Kind;
use crate::model::attr::{Attr, Attrs};
use crate::model::observed::Owned;
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::providers::agent::{Batch, RemoteStep, StepReport};

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    CheckLease,
    Compare,
    Arm,
    MarkStarted,
    KeepFormer,
    NotePending,
    /// What comes is entered in the ledger before it is made: a kill in between leaves nothing that nobody owns.
    Claim,
    /// The attribute that is changed next; a kind that changes as one has only part 0.
    Effect(usize),
    /// What went is struck out after it is gone.
    Strike,
    MarkEnded,
    Answer,
}

/// A batch at work on a host.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub batch: Batch,
    pub at: usize,
    pub phase: Phase,
    /// Nobody listens any more.
    pub orphan: bool,
    not_done: BTreeSet<StepId>,
    outcome: Option<Outcome>,
}

/// What one micro-action led to.
#[derive(Debug, PartialEq)]
pub(super) enum Moved {
    On(Option<StepReport>),
    /// All steps are over.
    Over,
}

/// Counts that only the scripted world can see.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub stale_writes: u32,
    pub intrusions: u32,
    pub fail: bool,
}

impl Script {
    pub fn new(batch: Batch) -> Self {
        Self { batch, at: 0, phase: Phase::CheckLease, orphan: false, not_done: BTreeSet::new(), outcome: None }
    }

    fn step(&self) -> Option<&RemoteStep> {
        self.batch.steps.get(self.at)
    }

    /// Between its check and its mark: nobody else gets in between on a real host but for microseconds.
    pub fn is_critical(&self) -> bool {
        self.step().is_some() && !matches!(self.phase, Phase::CheckLease | Phase::Compare | Phase::Answer)
    }

    /// One micro-action.
    pub fn advance(&mut self, host: &mut Host, now: i64, watch: &mut Watch) -> Moved {
        let Some(remote) = self.batch.steps.get(self.at).cloned() else { return Moved::Over };
        let step = &remote.step;
        let local = step.address.local();
        let apply = self.batch.apply.clone();
        match self.phase {
            Phase::CheckLease => {
                let token = host.lease.as_ref().map_or(0, |l| l.token);
                if token > self.batch.token {
                    self.end(Outcome::Fenced { token });
                } else if let Some(because) = remote.after_in_batch.iter().find(|s| self.not_done.contains(s)) {
                    self.end(Outcome::Skipped { because: *because });
                } else if let Some(Mark::Ended(o @ Outcome::Done { .. })) =
                    host.marks.get(&apply).and_then(|m| m.get(&step.id))
                {
                    // Asked again for what is done: the mark answers.
                    self.end(o.clone());
                } else {
                    self.phase = Phase::Compare;
                }
            }
            Phase::Compare => {
                let found = fingerprint(host.look(step.address.kind, &local).as_ref());
                let pinned = step.expect.as_deref();
                self.phase = Phase::Arm;
                if pinned.is_some_and(|p| p != found) {
                    self.end(Outcome::Stale { found });
                }
            }
            Phase::Arm => {
                self.phase = Phase::MarkStarted;
                if let (true, Some(seconds)) = (step.risky, self.batch.arm_seconds) {
                    host.reverted.remove(&apply);
                    let fresh = host.armed.is_none();
                    let until = now + seconds as i64 * 1_000;
                    let armed = host.armed.get_or_insert_with(|| Armed { apply, until, steps: Vec::new() });
                    armed.steps.push(step.id);
                    return Moved::On(fresh.then_some(StepReport::Armed));
                }
            }
            Phase::MarkStarted => {
                if self.batch.token < host.worked {
                    watch.intrusions += 1;
                }
                host.worked = host.worked.max(self.batch.token);
                host.marks.entry(apply).or_default().insert(step.id, Mark::Started);
                self.phase = Phase::KeepFormer;
                return Moved::On(Some(StepReport::Started(step.id)));
            }
            Phase::KeepFormer => {
                let key = (apply, step.id);
                let before = host.look(step.address.kind, &local);
                let ledger = host.owned.get(&local).cloned();
                // A second run of the step keeps what the first put by.
                host.former.entry(key.clone()).or_insert(before);
                if !host.ledger_before.contains_key(&key) {
                    keep_former_name(host, step, &key);
                }
                host.ledger_before.entry(key.clone()).or_insert(ledger);
                host.names.insert(key, local);
                self.phase = Phase::NotePending;
            }
            Phase::NotePending => {
                for notify in &step.notifies {
                    let how = host.pending.entry(notify.service.clone()).or_insert(notify.how);
                    *how = (*how).max(notify.how);
                }
                self.phase = Phase::Claim;
            }
            Phase::Claim => {
                claim(host, step);
                self.phase = Phase::Effect(0);
            }
            Phase::Effect(part) => {
                if std::mem::take(&mut watch.fail) {
                    match host.ledger_before.get(&(apply.clone(), step.id)).cloned().flatten() {
                        Some(owned) => host.owned.insert(local, owned),
                        None => host.owned.remove(&local),
                    };
                    self.end(Outcome::Failed { code: 1, output: "no space left on device".into() });
                    host.marks
                        .entry(apply)
                        .or_default()
                        .insert(step.id, Mark::Ended(self.outcome.clone().unwrap_or(Outcome::Reverted)));
                    return Moved::On(None);
                }
                let found = fingerprint(host.look(step.address.kind, &local).as_ref());
                if part == 0 && step.expect.as_deref().is_some_and(|p| p != found) {
                    watch.stale_writes += 1;
                }
                self.phase = match effect(host, &remote, &self.batch, part) {
                    true => Phase::Strike,
                    false => Phase::Effect(part + 1),
                };
            }
            Phase::Strike => {
                strike(host, step);
                self.phase = Phase::MarkEnded;
            }
            Phase::MarkEnded => {
                let after = match step.action {
                    Action::Run | Action::Reload | Action::Restart | Action::Wait | Action::Move => None,
                    _ => Some(fingerprint(host.look(step.address.kind, &local).as_ref())),
                };
                self.end(Outcome::Done { fingerprint: after });
                let outcome = self.outcome.clone().unwrap_or(Outcome::Reverted);
                host.marks.entry(apply).or_default().insert(step.id, Mark::Ended(outcome));
            }
            Phase::Answer => {
                let outcome = self.outcome.take().unwrap_or(Outcome::Reverted);
                if !outcome.is_done() {
                    self.not_done.insert(step.id);
                }
                let id = step.id;
                self.at += 1;
                self.phase = Phase::CheckLease;
                return Moved::On(Some(StepReport::Ended(id, outcome)));
            }
        }
        Moved::On(None)
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.phase = Phase::Answer;
    }
}

/// Changes one part; true when it was the last.
fn effect(host: &mut Host, remote: &RemoteStep, batch: &Batch, part: usize) -> bool {
    let step = &remote.step;
    let (kind, local) = (step.address.kind, step.address.local());
    let content = remote.content.as_ref().map(|c| c.as_slice());
    let wanted = shown(kind, &step.attrs, content, &batch.state_key);
    match step.action {
        Action::Wait | Action::Move => true,
        Action::Reload | Action::Restart => {
            *host.reloads.entry(step.address.key.clone()).or_default() += 1;
            host.pending.remove(&step.address.key);
            true
        }
        Action::Run => {
            *host.runs.entry(step.address.key.clone()).or_default() += 1;
            if !step.attrs.contains_key("once") {
                host.resources.insert(local, Attrs::from([("satisfied", Attr::Bool(true))]));
            }
            true
        }
        Action::Delete => {
            host.resources.remove(&local);
            lethal(host, &local);
            true
        }
        Action::Restore => {
            let key = step.restores.clone().unwrap_or_default();
            match host.former.get(&key).cloned().flatten() {
                Some(attrs) => host.resources.insert(local.clone(), attrs),
                None => host.resources.remove(&local),
            };
            lethal(host, &local);
            true
        }
        Action::Replace if part == 0 && in_parts(kind) => {
            host.resources.remove(&local);
            false
        }
        Action::Create | Action::Update | Action::Replace => {
            let ran = host.resources.get(&local).and_then(|a| a.get("running")) == Some(&Attr::Bool(true));
            let done = match in_parts(kind) {
                false => {
                    // What the step does not name stays as it was.
                    let mut attrs = match step.action {
                        Action::Update => host.resources.remove(&local).unwrap_or_default(),
                        _ => Attrs::new(),
                    };
                    attrs.extend(wanted);
                    host.resources.insert(local.clone(), attrs);
                    true
                }
                true => {
                    let part = if step.action == Action::Replace { part - 1 } else { part };
                    let attrs = host.resources.entry(local.clone()).or_default();
                    attrs.extend(wanted.iter().nth(part).map(|(n, v)| (n, v.clone())));
                    part + 1 >= wanted.len()
                }
            };
            // A service that was just started has read all there is.
            let runs = host.resources.get(&local).and_then(|a| a.get("running")) == Some(&Attr::Bool(true));
            if kind == Kind::Service && runs && !ran {
                host.pending.remove(&step.address.key);
            }
            if kind == Kind::Firewall {
                host.resources.entry(local.clone()).or_default().insert("loaded".into(), Attr::Bool(true));
            }
            lethal(host, &local);
            done
        }
    }
}

/// Files are replaced atomically; accounts, packages and services change one thing after the other.
fn in_parts(kind: Kind) -> bool {
    matches!(kind, Kind::User | Kind::Group | Kind::Package | Kind::Service | Kind::Directory | Kind::Timer)
}

fn lethal(host: &mut Host, local: &str) {
    if host.lethal.contains(local) {
        host.locked_out.insert(local.to_owned());
    }
}

fn claim(host: &mut Host, step: &Step) {
    if !matches!(step.action, Action::Create | Action::Update | Action::Replace) {
        return;
    }
    let spec = catalog::spec(step.address.kind);
    let input = |name: &str| spec.field(name).is_some_and(|f| f.compare == Compare::Input);
    let owned = Owned {
        kind: step.address.kind,
        key: step.address.key.clone(),
        owner: step.owner.clone(),
        attrs: step.attrs.iter().filter(|(n, _)| input(n)).map(|(n, v)| (n, v.clone())).collect(),
        notifies: step.notifies.clone(),
        protect: step.protect,
    };
    host.owned.insert(step.address.local(), owned);
}

fn strike(host: &mut Host, step: &Step) {
    let local = step.address.local();
    match step.action {
        Action::Run if step.attrs.contains_key("once") => {
            // What runs once has no other trace than its completion mark.
            host.resources.insert(local, Attrs::from([("satisfied", Attr::Bool(true))]));
        }
        Action::Delete => {
            host.owned.remove(&local);
        }
        Action::Restore => {
            let key = step.restores.clone().unwrap_or_default();
            host.ledger_back(&key, &local);
        }
        Action::Create
        | Action::Update
        | Action::Replace
        | Action::Run
        | Action::Reload
        | Action::Restart
        | Action::Wait
        | Action::Move => {
            if let Some(former) = step.former_key() {
                host.owned.remove(&format!("{}:{former}", step.address.kind));
            }
        }
    }
}

/// Puts by the entry of the former name that this step strikes out, or notes which one a restore brings back.
fn keep_former_name(host: &mut Host, step: &Step, key: &(String, StepId)) {
    let back = step.restores.as_ref();
    let again = back.and_then(|of| host.struck.get(of).cloned());
    let former = step.former_key().map(|k| format!("{}:{k}", step.address.kind)).or(again);
    if let Some(was) = former.and_then(|local| host.owned.get(&local).cloned()) {
        host.ledger_was.insert(key.clone(), was);
    } else if let Some(was) = back.and_then(|of| host.ledger_was.get(of)) {
        let local = format!("{}:{}", was.kind, was.key);
        host.struck.insert(key.clone(), local);
    }
}
