//! Triggers of a way back while a run goes on: looked at side by side from when the first people move, or the first record is swapped.
//!
//! ```text
//! events ──first wave or swap began──▶ look ─ bad for long enough ─▶ journal: triggered ──▶ the run is told to end ──▶ who called goes back
//!                                       └ well: from the beginning    └ durable before anything is stopped, so a kill changes nothing
//! ```
//!
//! What could not be asked is neither well nor bad: it begins no time and ends none, and nothing fires on it alone.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::clock::Clock;
use super::settings::Wanted;
use crate::journal::{Journal, JournalError, Record};
use crate::model::cutover::Stage;
use crate::model::event::{Event, What};
use crate::model::plan::Plan;
use crate::model::step::{Action, StepId};
use crate::model::trigger::{Trigger, WayBack};

/// What a look at a condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Well,
    Bad(String),
    NotAsked(String),
}

/// How long a condition has held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hold {
    /// Unix milliseconds.
    since: Option<i64>,
}

impl Hold {
    /// Whether it has held for so many seconds now. Only a look that found it bad fires.
    pub fn look(&mut self, now: i64, seen: &Seen, seconds: u64) -> bool {
        match seen {
            Seen::Well => self.since = None,
            Seen::NotAsked(_) => {}
            Seen::Bad(_) => {
                let since = *self.since.get_or_insert(now);
                // A clock that was set back begins it anew.
                if now < since {
                    self.since = Some(now);
                    return seconds == 0;
                }
                return now.saturating_sub(since) >= i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
            }
        }
        false
    }
}

pub type Look<'a> = Pin<Box<dyn Future<Output = Seen> + 'a>>;

/// Whoever can see how people and targets are.
pub trait Conditions: Sync {
    fn look<'a>(&'a self, of: &'a Guarded, trigger: &'a Trigger) -> Look<'a>;
}

/// A way back with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// `None`: the window's records.
    pub cohort: Option<String>,
    pub back: WayBack,
}

/// A trigger that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    pub point: String,
    pub trigger: String,
    pub why: String,
    pub rolls_back: bool,
}

/// The ways back of a plan, and the steps with whose begin they are looked at.
pub fn guarded(plan: &Plan) -> (Vec<Guarded>, BTreeSet<StepId>) {
    let (mut all, mut steps) = (Vec::new(), BTreeSet::new());
    let taking_back = |s: &&crate::model::step::Step| s.action == Action::Restore;
    if plan.steps.iter().any(|s| taking_back(&s)) {
        return (all, steps);
    }
    if let Some(schedule) = plan.schedule.as_ref().filter(|s| !s.takes_back)
        && let Some(back) = &schedule.way_back
    {
        all.push(Guarded { cohort: None, back: back.clone() });
        let flips = schedule.entries.iter().filter(|e| e.stage == Stage::FlipMx);
        steps.extend(flips.flat_map(|e| e.steps.iter().copied()));
    }
    for (lane, access) in &plan.hosts {
        let Some(cohort) = access.cohort() else { continue };
        let Some(back) = cohort.opening.as_ref().and_then(|o| o.way_back.as_ref()) else { continue };
        let moves = plan.steps.iter().filter(|s| s.address.host == *lane && s.action == Action::Move);
        let moves: Vec<StepId> = moves.map(|s| s.id).collect();
        if !moves.is_empty() {
            steps.extend(moves);
            all.push(Guarded { cohort: Some(cohort.cohort.clone()), back: back.clone() });
        }
    }
    all.retain(|g| !g.back.triggers.is_empty());
    (all, steps)
}

/// The watch over one run.
pub struct Watch<'a, W, C> {
    conditions: &'a W,
    clock: &'a C,
    journal: &'a Journal,
    apply: &'a str,
    all: Vec<(Guarded, Trigger)>,
    holds: Vec<Mutex<Hold>>,
    steps: BTreeSet<StepId>,
    armed: watch::Sender<bool>,
}

impl<'a, W: Conditions, C: Clock> Watch<'a, W, C> {
    /// `None`: the plan has no trigger. `begun`: a resume, in which people may have moved already.
    pub fn of(
        plan: &Plan,
        conditions: &'a W,
        clock: &'a C,
        journal: &'a Journal,
        apply: &'a str,
        begun: bool,
    ) -> Option<Self> {
        let (guards, steps) = guarded(plan);
        let each = |g: Guarded| g.back.triggers.clone().into_iter().map(move |t| (g.clone(), t));
        let all: Vec<(Guarded, Trigger)> = guards.into_iter().flat_map(each).collect();
        let holds = all.iter().map(|_| Mutex::new(Hold::default())).collect();
        let armed = watch::channel(begun).0;
        (!all.is_empty()).then_some(Self { conditions, clock, journal, apply, all, holds, steps, armed })
    }

    /// Passes events on, and sees when the first step begins that can go wrong.
    pub fn hear(&self, to: UnboundedSender<Event>) -> UnboundedSender<Event> {
        let (send, mut receive) = unbounded_channel::<Event>();
        let (steps, armed) = (self.steps.clone(), self.armed.clone());
        tokio::spawn(async move {
            while let Some(event) = receive.recv().await {
                if let What::StepStarted { step, .. } = &event.what
                    && steps.contains(step)
                {
                    armed.send_replace(true);
                }
                drop(to.send(event));
            }
        });
        send
    }

    /// Carries a run to its end, and says which trigger ended it. `tell` hears what triggers see; `stop` is what the run listens to.
    pub async fn over<R>(
        &self,
        run: impl Future<Output = R>,
        stop: &watch::Sender<Wanted>,
        tell: &(impl Fn(String) + Sync),
    ) -> Result<(R, Option<Fired>), JournalError> {
        let mut run = pin!(run);
        let fires = async {
            let mut armed = self.armed.subscribe();
            // The sender is ours: it does not go away.
            let _ = armed.wait_for(|a| *a).await;
            self.first(false, tell).await
        };
        let fired = tokio::select! {
            done = &mut run => return Ok((done, None)),
            fired = fires => fired,
        };
        let Some(fired) = fired else { return Ok((run.await, None)) };
        self.write(&fired).await?;
        stop.send_if_modified(|w| {
            let runs = *w == Wanted::Run;
            *w = (*w).max(Wanted::Drain);
            runs
        });
        Ok((run.await, Some(fired)))
    }

    /// The run is over: one more look at everything, and where something is bad, until it is well again or has been so for long enough.
    pub async fn settle(&self, tell: &(impl Fn(String) + Sync)) -> Result<Option<Fired>, JournalError> {
        if !*self.armed.borrow() {
            return Ok(None);
        }
        let fired = self.first(true, tell).await;
        if let Some(fired) = fired.as_ref().filter(|f| f.rolls_back) {
            self.write(fired).await?;
        }
        Ok(fired)
    }

    async fn write(&self, fired: &Fired) -> Result<(), JournalError> {
        let Fired { point, trigger, why, rolls_back } = fired.clone();
        let record = Record::Triggered { point, trigger, why, rolls_back };
        self.journal.append(self.apply, self.clock.now(), vec![record]).await
    }

    /// The first trigger that fires. `last`: `None` once none is bad any more.
    async fn first(&self, last: bool, tell: &(impl Fn(String) + Sync)) -> Option<Fired> {
        let mut open: Vec<Pin<Box<dyn Future<Output = Option<Fired>> + '_>>> = Vec::new();
        for at in 0..self.all.len() {
            open.push(Box::pin(self.one(at, last, tell)));
        }
        while !open.is_empty() {
            let (fired, _, rest) = select_all(open).await;
            if fired.is_some() {
                return fired;
            }
            open = rest;
        }
        match last {
            true => None,
            false => std::future::pending().await,
        }
    }

    /// One trigger, until it fires; `last`: or until it is not bad any more.
    async fn one(&self, at: usize, last: bool, tell: &(impl Fn(String) + Sync)) -> Option<Fired> {
        let (of, trigger) = self.all.get(at)?;
        let hold = self.holds.get(at)?;
        let mut said = None;
        let mut looks = 0u64;
        loop {
            if of.back.is_over(self.clock.now().div_euclid(1_000)) {
                return None;
            }
            let seen = self.conditions.look(of, trigger).await;
            looks += 1;
            if said.as_ref() != Some(&seen) {
                match &seen {
                    Seen::Well if said.is_some() => tell(format!("trigger {}: well again", trigger.name)),
                    Seen::Well => {}
                    Seen::Bad(why) => tell(format!("trigger {}: {why}", trigger.name)),
                    Seen::NotAsked(why) => tell(format!("trigger {} could not be asked: {why}", trigger.name)),
                }
                said = Some(seen.clone());
            }
            let fires =
                hold.lock().unwrap_or_else(PoisonError::into_inner).look(self.clock.now(), &seen, trigger.holds);
            if let (true, Seen::Bad(why)) = (fires, &seen) {
                return Some(Fired {
                    point: of.back.point.clone(),
                    trigger: trigger.name.clone(),
                    why: why.clone(),
                    rolls_back: trigger.rolls_back,
                });
            }
            let waits = hold.lock().unwrap_or_else(PoisonError::into_inner).since.is_some();
            // Whoever cannot be asked at the end keeps nobody waiting for longer than the condition would have to hold.
            let long =
                looks.saturating_mul(trigger.every()) > trigger.holds.saturating_mul(1_000).saturating_add(60_000);
            if last && (!waits || long) {
                return None;
            }
            self.clock.sleep(Duration::from_millis(trigger.every())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(what: u8) -> Seen {
        match what {
            0 => Seen::Well,
            1 => Seen::Bad("bad".into()),
            _ => Seen::NotAsked("no answer".into()),
        }
    }

    proptest! {
        /// It fires exactly when the last look was bad, and the first bad one since the last that was well is long enough ago.
        #[test]
        fn a_condition_fires_when_it_has_held_without_a_pass_in_between(
            looks in proptest::collection::vec((0u8..3, 0i64..5_000), 1..40), seconds in 0u64..20,
        ) {
            let mut hold = Hold::default();
            let (mut now, mut since) = (1_000_000, None);
            for (what, later) in looks {
                now += later;
                match what {
                    0 => since = None,
                    1 => since = since.or(Some(now)),
                    _ => {}
                }
                let wanted = what == 1 && since.is_some_and(|s| now - s >= seconds as i64 * 1_000);
                prop_assert_eq!(hold.look(now, &seen(what), seconds), wanted);
            }
        }
    }
}
