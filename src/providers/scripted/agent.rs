//! The scripted world behind the agent's door.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::sync::mpsc::UnboundedSender;

use super::host::{LeaseFile, Mark};
use super::machine::{Moved, Script, Watch};
use super::{Fault, ScriptedHosts, World};
use crate::model::HostName;
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::model::observed::Observation;
use crate::model::step::{Outcome, StepId};
use crate::providers::agent::{Agent, Batch, LeaseAnswer, LeaseRequest, ObserveRequest, StepReport};

fn error(host: &HostName, kind: HostErrorKind, message: &str) -> HostError {
    HostError { host: host.clone(), kind, message: message.into(), help: None }
}

/// Lets others go on.
async fn turn() {
    let mut first = true;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut first, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// What a tick did to the caller.
enum Tick {
    On,
    /// The controller is dead.
    Dead,
    Lost(&'static str),
}

impl World {
    fn tick(&mut self, host: &HostName, now: i64, what: &str) -> Tick {
        self.ticks += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{host} {what}"));
        }
        self.settle(now);
        let Some(fault) = self.faults.remove(&self.ticks) else { return Tick::On };
        self.strike(host, now, fault)
    }

    fn strike(&mut self, host: &HostName, now: i64, fault: Fault) -> Tick {
        let machine = self.hosts.entry(host.clone()).or_default();
        let orphan = |script: &mut Option<Script>| {
            if let Some(s) = script {
                s.orphan = true;
            }
        };
        match fault {
            Fault::KillController => {
                self.hosts.values_mut().for_each(|h| orphan(&mut h.script));
                Tick::Dead
            }
            Fault::KillBoth => {
                machine.script = None;
                self.hosts.values_mut().for_each(|h| orphan(&mut h.script));
                Tick::Dead
            }
            Fault::KillScript => {
                machine.script = None;
                Tick::Lost("the script was killed")
            }
            Fault::CutLine { seconds } => {
                orphan(&mut machine.script);
                machine.away_until = now + seconds * 1_000;
                Tick::Lost("the line was cut")
            }
            Fault::Reboot { seconds } => {
                machine.reboot(now + seconds * 1_000);
                Tick::Lost("the host went down")
            }
            Fault::FailStep => {
                self.fail_next = true;
                Tick::On
            }
            foreign @ Fault::Foreign { .. } => {
                self.waiting.push(foreign);
                self.settle(now);
                Tick::On
            }
        }
    }

    /// Time passes on the hosts: switches go off, others do their work where no step of ours is at hand.
    fn settle(&mut self, now: i64) {
        self.hosts.values_mut().for_each(|h| h.tick_clock(now));
        for fault in std::mem::take(&mut self.waiting) {
            let Fault::Foreign { host, local, attrs } = &fault else { continue };
            let machine = self.hosts.entry(host.clone()).or_default();
            if machine.script.as_ref().is_some_and(Script::is_critical) {
                self.waiting.push(fault);
                continue;
            }
            match attrs {
                Some(a) => machine.resources.insert(local.clone(), a.clone()),
                None => machine.resources.remove(local),
            };
        }
    }

    /// An orphan goes on: `most` micro-actions, or until the step at hand is over.
    fn haunt(&mut self, host: &HostName, now: i64, most: Option<u32>) {
        let mut watch = Watch::default();
        let Some(machine) = self.hosts.get_mut(host) else { return };
        let mut left = most.unwrap_or(u32::MAX);
        while let Some(mut script) = machine.script.take_if(|s| s.orphan) {
            let idle = !script.is_critical();
            if left == 0 || (most.is_none() && idle) {
                // Waited for at a boundary: writing its next answer ends it.
                machine.script = most.is_some().then_some(script);
                break;
            }
            left -= 1;
            match script.advance(machine, now, &mut watch) {
                Moved::Over => break,
                // Its answer goes nowhere: the next write kills it, now and then only after another step.
                Moved::On(Some(StepReport::Ended(..))) if left.is_multiple_of(2) => break,
                Moved::On(_) => machine.script = Some(script),
            }
        }
        self.stale_writes += watch.stale_writes;
        self.intrusions += watch.intrusions;
    }
}

impl ScriptedHosts {
    /// One tick of a call. Never returns when the controller is dead.
    async fn tick(&self, host: &HostName, what: &str) -> Result<(), HostError> {
        turn().await;
        if self.dead.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let result = self.world().tick(host, (self.now)(), what);
        match result {
            Tick::On => Ok(()),
            Tick::Dead => {
                self.dead.store(true, Ordering::SeqCst);
                std::future::pending().await
            }
            Tick::Lost(why) => Err(error(host, HostErrorKind::Lost, why)),
        }
    }

    /// A call that takes effect between two ticks, on a host that can be reached.
    async fn call<T>(
        &self,
        host: &HostName,
        what: &str,
        act: impl FnOnce(&mut World, i64) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.tick(host, what).await?;
        let answer = {
            let now = (self.now)();
            let mut world = self.world();
            let ghost = world.ghost;
            world.haunt(host, now, Some(ghost));
            let machine = world.hosts.entry(host.clone()).or_default();
            if machine.away_until > now {
                return Err(error(host, HostErrorKind::Unreachable, "no route to host"));
            }
            if !machine.locked_out.is_empty() {
                return Err(error(host, HostErrorKind::Unreachable, "connection timed out"));
            }
            act(&mut world, now)
        };
        self.tick(host, what).await?;
        answer
    }
}

/// Marks the script as orphaned when its driver is dropped.
struct Driver<'a>(&'a ScriptedHosts, HostName);

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        if let Some(script) = self.0.world().hosts.get_mut(&self.1).and_then(|h| h.script.as_mut()) {
            script.orphan = true;
        }
    }
}

impl Agent for ScriptedHosts {
    async fn observe(&self, host: &HostAccess, request: ObserveRequest<'_>) -> Result<Observation, HostError> {
        let asked = || request.resources.iter().map(|r| (r.address.kind, r.address.key.as_str()));
        self.call(&host.name, "observe", |w, now| Ok(w.host(&host.name.0).observe(&host.name, now, asked()))).await
    }

    fn acquire(
        &self,
        host: &HostAccess,
        request: &LeaseRequest,
    ) -> impl Future<Output = Result<LeaseAnswer, HostError>> + Send {
        let (name, request) = (host.name.clone(), request.clone());
        async move {
            self.call(&name.clone(), "acquire", |w, now| {
                let host = w.host(&name.0);
                let held = host.lease_now(now);
                let largest = host.lease.as_ref().map_or(0, |l| l.token);
                let seconds = now / 1_000;
                let token = match (request.token, &held) {
                    (Some(t), Some(l)) if l.token > t => return Ok(LeaseAnswer::Held(l.clone())),
                    (Some(t), _) => t,
                    (None, Some(l))
                        if l.holder != request.holder
                            && l.age < request.dead_after
                            && request.known_dead.as_ref() != Some(&l.holder) =>
                    {
                        return Ok(LeaseAnswer::Held(l.clone()));
                    }
                    (None, _) => largest + 1,
                };
                let (holder, apply) = (request.holder.clone(), request.apply.clone());
                let from = held.filter(|l| l.holder != holder);
                host.lease = Some(LeaseFile { token, holder, apply, since: seconds, beat: seconds });
                Ok(LeaseAnswer::Granted { token, from })
            })
            .await
        }
    }

    async fn heartbeat(&self, host: &HostAccess, _: &str, token: u64) -> Result<(), HostError> {
        self.call(&host.name, "heartbeat", |w, now| match w.host(&host.name.0).lease.as_mut() {
            Some(l) if l.token == token => {
                l.beat = now / 1_000;
                Ok(())
            }
            _ => Err(error(&host.name, HostErrorKind::Fenced, "another apply has taken the lease")),
        })
        .await
    }

    async fn release(&self, host: &HostAccess, _: &str, token: u64) -> Result<(), HostError> {
        self.call(&host.name, "release", |w, _| {
            if let Some(l) = w.host(&host.name.0).lease.as_mut().filter(|l| l.token == token) {
                l.holder.clear();
            }
            Ok(())
        })
        .await
    }

    async fn run(
        &self,
        host: &HostAccess,
        batch: Batch,
        reports: UnboundedSender<StepReport>,
    ) -> Result<(), HostError> {
        let name = &host.name;
        self.call(name, "send", |w, now| {
            w.haunt(name, now, None);
            w.batches += 1;
            let machine = w.host(&name.0);
            if machine.script.is_some() {
                w.intrusions += 1;
            }
            w.host(&name.0).script = Some(Script::new(batch));
            Ok(())
        })
        .await?;
        let _driver = Driver(self, name.clone());
        loop {
            let phase = {
                let world = self.world();
                let script = world.hosts.get(name).and_then(|h| h.script.as_ref());
                script.map(|s| format!("{:?}", s.phase)).unwrap_or_default()
            };
            self.tick(name, &phase).await?;
            let moved = {
                let now = (self.now)();
                let mut world = self.world();
                let fail = world.fail_next;
                let machine = world.hosts.entry(name.clone()).or_default();
                let Some(mut script) = machine.script.take() else {
                    return Err(error(name, HostErrorKind::Lost, "the script is gone"));
                };
                let mut watch = Watch { fail, ..Watch::default() };
                let moved = script.advance(machine, now, &mut watch);
                let cut = !machine.locked_out.is_empty();
                if moved != Moved::Over {
                    script.orphan = cut;
                    machine.script = Some(script);
                }
                world.fail_next = watch.fail;
                world.stale_writes += watch.stale_writes;
                world.intrusions += watch.intrusions;
                if cut {
                    return Err(error(name, HostErrorKind::Lost, "connection timed out"));
                }
                moved
            };
            match moved {
                Moved::Over => return Ok(()),
                Moved::On(None) => {}
                Moved::On(Some(report)) => {
                    let _ = reports.send(report);
                }
            }
        }
    }

    async fn outcomes(&self, host: &HostAccess, _: &str, apply: &str) -> Result<BTreeMap<StepId, Outcome>, HostError> {
        self.call(&host.name, "outcomes", |w, now| {
            w.haunt(&host.name, now, None);
            let marks = w.host(&host.name.0).marks.get(apply).cloned().unwrap_or_default();
            let outcome = |mark| match mark {
                Mark::Started => Outcome::Unknown { why: "begun, and no end is marked".into() },
                Mark::Ended(outcome) => outcome,
            };
            Ok(marks.into_iter().map(|(id, mark)| (id, outcome(mark))).collect())
        })
        .await
    }

    async fn disarm(&self, host: &HostAccess, _: &str, apply: &str) -> Result<bool, HostError> {
        self.call(&host.name, "disarm", |w, _| {
            let host = w.host(&host.name.0);
            match &host.armed {
                Some(armed) if armed.apply == apply => {
                    host.armed = None;
                    Ok(true)
                }
                _ => Ok(!host.reverted.contains(apply)),
            }
        })
        .await
    }
}
