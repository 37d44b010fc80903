//! A pass of one mailbox, from lease to history.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::claim::Seen;
use super::folder::Work;
use super::lane::{Lane, side};
use super::{Mover, Pass, Tally, doubt, names, rules};
use crate::model::unit::Percent;
use crate::services::cms::audit::Event;
use crate::services::cms::config::{Personal, Verify};
use crate::services::cms::ledger::{Held, LEASE, Passed, Phase, Takeover, Way};
use crate::services::cms::mailbox::{Class, Fault, Folder, Space};
use crate::services::cms::personal::is_personal;

/// Times that a folder is tried in one pass, each with fresh sessions.
const TRIES: u32 = 4;

/// A pass under way.
pub(super) struct Course {
    pub mover: Arc<Mover>,
    pub held: Held,
    pub way: Way,
    /// The new side is the user's.
    pub switched: bool,
    /// Removals are held back: too much went at once.
    pub keep: bool,
    /// Another mover's messages are looked for before they are stored again.
    pub adopts: bool,
    pub seen: Arc<Mutex<Seen>>,
    pub tally: Arc<Tally>,
    /// How both sides name folders, the read one first; known after the first listing.
    pub spaces: [Space; 2],
}

/// Renews a lease until it is dropped.
struct Renewing(tokio::task::JoinHandle<()>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn renewing(held: &Held) -> Renewing {
    let held = held.clone();
    Renewing(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEASE / 4).await;
            if held.renew().await.is_err() {
                return;
            }
        }
    }))
}

impl Mover {
    /// One pass of a mailbox. An error means that the mailbox is another mover's or the ledger cannot be used; what went wrong in the
    /// pass itself stands in [`Passed::fault`] with the class beside it.
    pub async fn pass(self: &Arc<Self>, user: &str, pass: Pass) -> Result<(Passed, Option<Fault>), Fault> {
        let held = self.ledger.take(user).await?;
        let _renewing = renewing(&held);
        self.meter.moving.fetch_add(1, Ordering::Relaxed);
        let done = self.held_pass(&held, pass).await;
        self.meter.moving.fetch_sub(1, Ordering::Relaxed);
        self.meter.passes.fetch_add(1, Ordering::Relaxed);
        held.release().await;
        done
    }

    async fn held_pass(self: &Arc<Self>, held: &Held, pass: Pass) -> Result<(Passed, Option<Fault>), Fault> {
        let began = Instant::now();
        let before = held.standing().await?;
        let way = pass.way(before.way);
        self.audit.tell(&Event::Pass { user: &held.user, pass: pass.as_str(), token: held.token })?;
        let switched = before.phase == Phase::Moved && pass == Pass::Delta;
        let phase = match (pass, before.phase) {
            (Pass::Delta | Pass::Final, Phase::Waiting | Phase::Bulk) => Phase::Bulk,
            (Pass::Verify(_), phase) => phase,
            (Pass::Delta, Phase::Moved) => Phase::Moved,
            (Pass::Rollback, phase) => phase,
            (Pass::Delta | Pass::Final, _) => Phase::Delta,
        };
        held.enter(phase, way).await?;
        let tally = Arc::new(Tally::default());
        let mut course = Course {
            mover: self.clone(),
            held: held.clone(),
            way,
            switched,
            keep: false,
            adopts: false,
            seen: Arc::new(Mutex::new(Seen::now())),
            tally: tally.clone(),
            spaces: Default::default(),
        };
        let done = match pass {
            Pass::Delta | Pass::Rollback => course.move_all(before.retry, before.removals).await,
            Pass::Final => course.finish(before.retry, before.removals).await,
            Pass::Verify(how) => course.verify(how, false).await,
        };
        let mut passed = tally.passed(pass.as_str(), began.elapsed().as_secs_f64());
        (passed.exceptions, passed.borne) = self.borne(held).await?;
        let fault = done.err();
        if let Some(fault) = &fault {
            self.meter.fault(fault.class);
        }
        passed.fault = fault.as_ref().map(ToString::to_string);
        let ok = fault.is_none();
        let after = match (pass, &fault) {
            (_, Some(fault)) if !fault.class.passes() => Phase::Failed,
            (Pass::Delta, None) if phase == Phase::Bulk => Phase::Delta,
            (Pass::Final, None) if passed.borne => Phase::Moved,
            (Pass::Final, None) => Phase::Delta,
            (Pass::Rollback, None) => Phase::Back,
            _ => phase,
        };
        held.ended(after, passed.clone(), ok && (before.retry || before.removals)).await?;
        self.audit.tell(&Event::Ended { user: &held.user, what: &passed })?;
        Ok((passed, fault))
    }
}

impl Mover {
    /// How many exceptions a mailbox has, and whether it may count as moved with them.
    async fn borne(&self, held: &Held) -> Result<(u64, bool), Fault> {
        let all = self.ledger.exceptions(&held.user).await?;
        let share = Percent::parse(&self.config.limits.max_failed).unwrap_or(Percent(0));
        // What is not mail is only named, unless the configuration refuses it.
        let (beside, of_mail): (Vec<_>, Vec<_>) = all.iter().partition(|e| e.folder == 0 && is_personal(&e.item));
        let exceptions: Vec<Class> = of_mail.iter().map(|e| e.class).collect();
        let borne = (exceptions.is_empty() || rules::bearable(&exceptions, held.count_all().await?, share))
            && (beside.is_empty() || self.config.limits.personal == Personal::Report);
        Ok((all.len() as u64, borne))
    }
}

impl Course {
    /// The last delta, late copies of lost appends, and a verification.
    async fn finish(mut self, retry: bool, removals: bool) -> Result<(), Fault> {
        self.move_once(retry, removals).await?;
        // While an append is in doubt a session of the server may still store its copy.
        while let Some(made) = self.held.youngest_doubt().await? {
            let age = doubt::age(made);
            tokio::time::sleep(doubt::SURE.saturating_sub(age)).await;
            self.move_once(false, removals).await?;
            if age >= doubt::SURE {
                break;
            }
        }
        self.personal(removals).await?;
        let how = self.mover.config.cms.verify;
        self.verify(how, true).await
    }

    async fn move_all(mut self, retry: bool, removals: bool) -> Result<(), Fault> {
        self.move_once(retry, removals).await?;
        self.personal(removals).await
    }

    async fn move_once(&mut self, retry: bool, removals: bool) -> Result<(), Fault> {
        let Some(mut lane) = self.mover.lane(&self.held.user, self.way, true).await? else { return Ok(()) };
        let (from, to) =
            tokio::try_join!(async { lane.source.folders().await.map_err(|f| side(f, self.way.from())) }, async {
                lane.target.folders().await.map_err(|f| side(f, self.way.to()))
            },)?;
        let owned = from.into_iter().map(|f| (lane.source.owner_of(&f), f)).map(|(owner, f)| (f, owner)).collect();
        let from = self.ours(owned).await?;
        self.spaces = [lane.source.space(), lane.target.space()];
        let to = self.claim(&mut lane, &from, &to).await?.unwrap_or(to);
        self.adopts = self.held.takeover().await? == Takeover::Done;
        let known = self.held.folders(self.way).await?;
        let plan = names::plan(&from, &to, &known, &self.mover.config.folders, self.way);
        let left: Option<u64> = plan.pairs.iter().map(|p| p.from.mark.as_ref().map(|m| m.count)).sum();
        let carried = self.held.count_all().await?;
        // Without marks the folders that are gone still tell something.
        let left = left.unwrap_or(if plan.pairs.is_empty() { 0 } else { carried });
        self.keep = !removals && rules::suspicious(left, carried);
        if self.keep {
            self.mover.audit.tell(&Event::RemovalsHeld { user: &self.held.user, left, known: carried })?;
        }
        // Told once, while the first pass has yet to carry it.
        let octets = match self.held.standing().await?.phase {
            Phase::Bulk => {
                let read: Vec<Folder> = plan.pairs.iter().map(|p| p.from.clone()).collect();
                lane.source.octets(&read).await.map_err(|f| side(f, self.way.from()))?
            }
            _ => None,
        };
        self.held.total(left, octets).await?;
        let gone = plan.gone.clone();
        self.held.settle_all("skipped:").await?;
        for (path, why) in &plan.skipped {
            tracing::info!("{}: {path} is left out: {why}", self.held.user);
        }
        if self.way == Way::Forward {
            self.beside(lane.source.beside()).await?;
        }
        // Before anything is renamed, while the names of the listing hold.
        if !self.switched {
            for known in &gone {
                let to = to.iter().find(|t| t.path == known.to_path);
                self.gone(&mut lane, known, to).await?;
            }
        }
        let work = self.shape(&mut lane, plan, retry).await?;
        self.work_off(lane, work).await?;
        if self.adopts { self.held.took_over(Takeover::None).await } else { Ok(()) }
    }

    async fn work_off(&self, first: Lane, work: Vec<Work>) -> Result<(), Fault> {
        if work.is_empty() {
            first.close().await;
            return Ok(());
        }
        let lanes = self.mover.config.cms.connections.min(work.len());
        let queue = Arc::new(Mutex::new(VecDeque::from(work)));
        let mut running = JoinSet::new();
        let mut first = Some(first);
        for _ in 0..lanes {
            let course = Course {
                mover: self.mover.clone(),
                held: self.held.clone(),
                way: self.way,
                switched: self.switched,
                keep: self.keep,
                adopts: self.adopts,
                seen: self.seen.clone(),
                tally: self.tally.clone(),
                spaces: self.spaces.clone(),
            };
            let (queue, lane) = (queue.clone(), first.take());
            running.spawn(async move { course.run_lane(&queue, lane).await });
        }
        let mut fault = None;
        while let Some(done) = running.join_next().await {
            let done = done.unwrap_or_else(|e| Err(Fault::new(Class::Local, format!("a worker stopped: {e}"))));
            fault = fault.or(done.err());
        }
        fault.map_or(Ok(()), Err)
    }

    async fn run_lane(&self, queue: &Mutex<VecDeque<Work>>, mut lane: Option<Lane>) -> Result<(), Fault> {
        let is_first = lane.is_some();
        loop {
            let Some(work) = queue.lock().unwrap_or_else(|e| e.into_inner()).pop_front() else { break };
            let mut tries = 0;
            loop {
                let mut open = match lane.take() {
                    Some(open) => open,
                    None => match self.mover.lane(&self.held.user, self.way, is_first || tries > 0).await {
                        Ok(Some(open)) => open,
                        Ok(None) => {
                            // No place at the servers: the others do it.
                            queue.lock().unwrap_or_else(|e| e.into_inner()).push_back(work);
                            return Ok(());
                        }
                        Err(fault) if fault.class == Class::Unreachable && tries < TRIES => {
                            tries += 1;
                            tokio::time::sleep(Duration::from_millis(200 << tries.min(4))).await;
                            continue;
                        }
                        Err(fault) => return Err(fault),
                    },
                };
                match self.folder(&mut open, &work).await {
                    Ok(()) => {
                        lane = Some(open);
                        break;
                    }
                    Err(fault) => {
                        // What the sessions are in the middle of is not known.
                        drop(open);
                        tries += 1;
                        tracing::info!("{}: {}: {fault}", self.held.user, work.from.path);
                        let again = matches!(
                            fault.class,
                            Class::Unreachable | Class::Renumbered | Class::Protocol | Class::Vanished
                        );
                        if again && tries < TRIES {
                            continue;
                        }
                        if matches!(
                            fault.class,
                            Class::Permission | Class::Protocol | Class::Vanished | Class::Unsupported
                        ) {
                            self.except(work.known.id, &work.from.path.key(), "folder", fault).await?;
                            break;
                        }
                        return Err(fault);
                    }
                }
            }
        }
        if let Some(lane) = lane {
            lane.close().await;
        }
        Ok(())
    }

    /// `last`: when nothing stands in the way, the mailbox is moved by this.
    pub(super) async fn verify(&mut self, how: Verify, last: bool) -> Result<(), Fault> {
        self.held.settle_all("verify:").await?;
        let Some(mut lane) = self.mover.lane(&self.held.user, self.way, true).await? else { return Ok(()) };
        self.spaces = [lane.source.space(), lane.target.space()];
        self.verify_all(&mut lane, how).await?;
        if last && self.mover.borne(&self.held).await?.1 {
            self.unclaim(&mut lane).await?;
        }
        lane.close().await;
        self.verify_personal().await
    }
}
