//! One apply from lock to closing report: what `apply`, `resume`, `undo` and `destroy` share.
//!
//! ```text
//! local lock ─▶ journal ─▶ execution ──events──▶ progress | lines | JSON ─▶ closing report, exit code
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::back::way_back;
use super::calendar::control::{self, Admission};
use super::calendar::record;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::interrupt::{self, Closing};
use super::output::Output;
use super::session::Session;
use crate::catalog::barrier;
use crate::execution::{self, Clock as _, Identity, Report, Run, Settings, SystemClock};
use crate::journal::{Holder, Journal, LocalLock, LockError, Saved, Status, events, replay};
use crate::model::Kind;
use crate::model::cutover::{Stage, clock};
use crate::model::event::Event;
use crate::model::plan::Plan;
use crate::model::step::StepId;
use crate::model::unit::parse_duration;
use crate::reporting::{JsonLines, Lines, Paint, Progress, Reporter, Tally, closing_text};

/// How long a run sits through a wait.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Patience {
    /// Longest wait to sit through, as in 30m or 2d; before a longer one the run ends with 3
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wait: Duration::from_secs(3_600) }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time as 90s, 30m, 2h or 5d".to_owned())
}

/// The state of this organisation and environment, locked for one apply.
pub struct Work {
    pub journal: Journal,
    identity: Identity,
    apply: String,
    json: bool,
    patience: Patience,
    /// By whose leave the run goes on, and until when.
    admission: OnceLock<Admission>,
    urgent: Option<String>,
    // Last, so that the lock goes after everything else.
    lock: LocalLock,
}

impl Work {
    /// Takes the local lock and opens the journal. `json`: events as lines on standard output.
    pub fn begin(session: &Session, context: &Context, json: bool) -> Result<Self, Failure> {
        let now = SystemClock.now();
        let apply = new_apply()?;
        session.state.create().map_err(|e| {
            Failure::new(format!("the state folder {} cannot be made: {e}", session.state.path().display()))
                .help("give another place with --state-dir")
        })?;
        let holder = Holder::this_process(&apply, now);
        let lock = LocalLock::acquire(&session.state, &holder).map_err(locked)?;
        let (journal, notes) = Journal::open(&session.state, Some(&lock))?;
        for note in notes {
            context.out.note(note);
        }
        let dead = lock.dead_holder().cloned();
        if let Some(dead) = &dead {
            tracing::info!("{} died with the lock; its leases are taken over", dead.name());
        }
        let patience = Patience::default();
        let identity = Identity { holder, dead };
        Ok(Self { journal, identity, apply, json, patience, admission: OnceLock::new(), urgent: None, lock })
    }

    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Why what was cut off does not wait for the window of its change.
    pub fn urgent(self, urgent: Option<String>) -> Self {
        Self { urgent, ..self }
    }

    /// The change that this run belongs to; the first word holds.
    pub fn admit(&self, admission: Admission) {
        drop(self.admission.set(admission));
    }

    fn closing(&self) -> Option<Closing> {
        self.admission.get().and_then(|a| a.closes).map(Closing::at)
    }

    /// The last apply, when it did not come to its end.
    pub fn unfinished(&self) -> Result<Option<Saved>, Failure> {
        match self.journal.unfinished()? {
            Some(summary) => Ok(self.journal.load(&summary.header.apply)?),
            None => Ok(None),
        }
    }

    /// The last apply that a resume could do something for; else the last window that has its prune left.
    pub fn resumable(&self) -> Result<Option<Saved>, Failure> {
        let mut history = self.journal.history()?;
        let Some(last) = history.pop() else { return Ok(None) };
        if let Some(saved) = self.journal.load(&last.header.apply)?
            && replay(&saved)?.resumable()
        {
            return Ok(Some(saved));
        }
        let taken_back: BTreeSet<&str> =
            history.iter().chain([&last]).filter_map(|s| s.header.undo_of.as_deref()).collect();
        for summary in history.iter().rev().filter(|s| !taken_back.contains(s.header.apply.as_str()) && !s.finished()) {
            if let Some(saved) = self.journal.load(&summary.header.apply)?
                && left_to_prune(&saved)?
            {
                return Ok(Some(saved));
            }
        }
        Ok(None)
    }

    /// Carries out a plan.
    pub async fn apply(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        undo_of: Option<String>,
    ) -> Result<Exit, Failure> {
        let of = match &undo_of {
            // What takes a change back belongs to it, and waits for no window.
            Some(former) => record::by_apply(&session.state)?.remove(former).map(|e| record::Entry {
                change: e.change,
                window: e.window,
                ..record::Entry::new(&self.apply)
            }),
            None => self.admission.get().and_then(|a| a.entry(&self.apply)),
        };
        of.map(|entry| record::file(&session.state).append(&entry)).transpose()?;
        let (exit, shut) = self.carry_out(session, context, plan, &self.apply, undo_of).await?;
        self.timed_out(session, context, plan, &self.apply, exit, &shut).await
    }

    async fn carry_out(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        apply: &str,
        undo_of: Option<String>,
    ) -> Result<(Exit, Shut), Failure> {
        let (events, reader) = self.reader(context, plan, Tally::default());
        let settings = self.settings(session);
        let closing = self.closing().filter(|_| undo_of.is_none());
        let run = self.run(session, &settings, events, interrupt::listen(&context.out, closing.clone())?);
        let report = execution::apply(run, plan, apply, &self.identity, undo_of).await;
        self.took_over(&report);
        self.close(context, plan, reader, report, closing.as_ref()).await
    }

    /// Takes a window back whose name servers did not follow in time, where its topology says so.
    async fn timed_out(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        apply: &str,
        exit: Exit,
        shut: &Shut,
    ) -> Result<Exit, Failure> {
        let attrs = |id: &StepId| plan.steps.get(*id as usize).and_then(|s| barrier::of_attrs(&s.attrs));
        let Some((id, why)) = shut.iter().find(|(id, _)| attrs(id).is_some_and(|b| b.rolls_back)) else {
            return Ok(exit);
        };
        let stage = plan.steps.get(*id as usize).map(|s| s.address.key.as_str()).unwrap_or_default();
        context.out.note(format!("{stage} says on-timeout=rollback: the window is taken back, because {why}"));
        let saved =
            self.journal.load(apply)?.ok_or_else(|| Failure::new(format!("apply {apply} is not in the journal")))?;
        let back = way_back(session, &saved).await?;
        if back.blocked() {
            return Err(Failure::new(format!(
                "{stage} did not open in time, and the window cannot be taken back by itself"
            ))
            .help("`cutover rollback` names what stands in its way"));
        }
        let (ended, _) = self.carry_out(session, context, &back, &new_apply()?, Some(apply.to_owned())).await?;
        Ok(match ended {
            // Where everybody was before is not where anybody wanted to be.
            Exit::Ok => {
                context.out.note("the window is taken back: the zone is as it was");
                Exit::Error
            }
            other => other,
        })
    }

    /// Goes on with an apply of the journal.
    pub async fn resume(&self, session: &Session, context: &Context, saved: &Saved) -> Result<Exit, Failure> {
        let id = &saved.header.apply;
        let admission = control::again(session, &context.out, self, id, self.urgent.as_deref())?;
        if self.urgent.is_some() {
            admission.entry(id).map(|entry| record::file(&session.state).append(&entry)).transpose()?;
        }
        let closing = admission.closes.map(Closing::at);
        let tally = Tally::of(&crate::journal::events(saved));
        let (events, reader) = self.reader(context, &saved.plan, tally);
        let settings = self.settings(session);
        let run = self.run(session, &settings, events, interrupt::listen(&context.out, closing.clone())?);
        let report = execution::resume(run, &saved.header.apply, &self.identity).await;
        self.took_over(&report);
        let (exit, shut) = self.close(context, &saved.plan, reader, report, closing.as_ref()).await?;
        self.timed_out(session, context, &saved.plan, &saved.header.apply, exit, &shut).await
    }

    fn took_over(&self, report: &Result<Report, execution::ApplyError>) {
        if report.is_ok() {
            self.lock.settle();
        }
    }

    fn settings(&self, session: &Session) -> Settings {
        Settings { parallel: session.parallel, longest_wait: self.patience.wait, ..Settings::new(session.key.expose()) }
    }

    fn run<'a>(
        &'a self,
        session: &'a Session,
        settings: &'a Settings,
        events: mpsc::UnboundedSender<Event>,
        wanted: tokio::sync::watch::Receiver<execution::Wanted>,
    ) -> Run<'a, super::session::Hosts, crate::secret::Resolver, SystemClock> {
        session.heed(wanted.clone());
        Run {
            agent: session.agent.as_ref(),
            resolve: session.resolver.as_ref(),
            clock: &SystemClock,
            journal: &self.journal,
            settings,
            events,
            wanted,
        }
    }

    /// Starts the reader of events; it ends when the sender is dropped.
    fn reader(
        &self,
        context: &Context,
        plan: &Plan,
        tally: Tally,
    ) -> (mpsc::UnboundedSender<Event>, tokio::task::JoinHandle<Tally>) {
        let (send, receive) = mpsc::unbounded_channel();
        let out = Arc::clone(&context.out);
        let paint = Paint::when(out.err_color());
        let (reporter, to_stdout): (Box<dyn Reporter>, bool) = if self.json {
            (Box::new(JsonLines), true)
        } else if out.interactive() {
            (Box::new(Progress::new(plan, paint, ProgressDrawTarget::stderr())), false)
        } else {
            (Box::new(Lines::new(plan, paint)), false)
        };
        (send, tokio::spawn(read(receive, reporter, tally, out, to_stdout)))
    }

    async fn close(
        &self,
        context: &Context,
        plan: &Plan,
        reader: tokio::task::JoinHandle<Tally>,
        report: Result<Report, execution::ApplyError>,
        closing: Option<&Closing>,
    ) -> Result<(Exit, Shut), Failure> {
        let tally = reader.await.map_err(|e| Failure::new(format!("the progress display broke: {e}")))?;
        let report = report?;
        if let Some(by) = &report.fenced {
            context.out.note(format!("another apply has taken the lease: {by}"));
        }
        if !self.json {
            let paint = Paint::when(context.out.color());
            context.out.result(closing_text(&tally.report(plan), paint));
        }
        let whole = report.failed + report.skipped + report.unknown == 0 && report.lost.is_empty();
        if let Some(waits) = report.waits.as_ref().filter(|_| whole && !report.interrupted) {
            let timezone = plan.schedule.as_ref().map_or("UTC", |s| s.timezone.as_str());
            context.out.note(match waits.until {
                Some(until) => {
                    format!("waits until {}: {}. Go on then with: cutover resume", clock(until, timezone), waits.why)
                }
                None if moves(plan, waits.step) => {
                    format!("people wait to be moved: {}. Go on then with: cutover resume", waits.why)
                }
                None => format!("waits for what people enter: {}. Go on then with: cutover resume", waits.why),
            });
            return Ok((Exit::Waits, report.shut));
        }
        let exit = match (report.is_success(), report.interrupted) {
            (true, _) => Exit::Ok,
            (false, true) if closing.is_some_and(Closing::has_come) => {
                context.out.note("the window of the change has closed; in its next opening go on with: cutover resume");
                Exit::Waits
            }
            (false, true) => Exit::Interrupted,
            (false, false) => Exit::Error,
        };
        Ok((exit, if report.interrupted { Shut::new() } else { report.shut }))
    }
}

fn moves(plan: &Plan, step: StepId) -> bool {
    plan.steps.get(step as usize).is_some_and(|s| s.address.kind == Kind::Wave)
}

/// Barriers that a name server kept shut, with those that lag.
type Shut = BTreeMap<StepId, String>;

fn new_apply() -> Result<String, Failure> {
    let mut entropy = [0u8; 4];
    getrandom::fill(&mut entropy).map_err(|e| Failure::new(format!("no random numbers from the system: {e}")))?;
    Ok(execution::new_apply_id(SystemClock.now(), u32::from_le_bytes(entropy)))
}

/// All that is left of a window waits for the end of its old side: nobody else has to wait for it.
pub fn left_to_prune(saved: &Saved) -> Result<bool, Failure> {
    let Some(schedule) = saved.plan.schedule.as_ref().filter(|s| !s.takes_back) else { return Ok(false) };
    let prunes: BTreeSet<StepId> =
        schedule.entries.iter().filter(|e| e.stage == Stage::Prune).flat_map(|e| e.steps.iter().copied()).collect();
    let standing = replay(saved)?;
    let done = |(id, status): (usize, &Status)| *status == Status::Done || prunes.contains(&(id as StepId));
    Ok(standing.resumable() && standing.statuses.iter().enumerate().all(done))
}

/// All that is not done is people who are still to be moved: they need not be moved to be taken back.
pub fn left_to_waves(saved: &Saved) -> Result<bool, Failure> {
    let standing = replay(saved)?;
    let left = |(id, status): (usize, &Status)| *status == Status::Done || moves(&saved.plan, id as StepId);
    Ok(standing.statuses.iter().enumerate().all(left))
}

async fn read(
    mut events: UnboundedReceiver<Event>,
    mut reporter: Box<dyn Reporter>,
    mut tally: Tally,
    out: Arc<Output>,
    to_stdout: bool,
) -> Tally {
    while let Some(event) = events.recv().await {
        tally.event(&event);
        if let Some(line) = reporter.event(&event) {
            if to_stdout { out.result(line) } else { out.note(line) }
        }
    }
    reporter.finish();
    tally
}

/// The events of a finished or broken apply, as the live readers saw them.
pub fn replayed(saved: &Saved) -> Tally {
    Tally::of(&events(saved))
}

pub fn locked(error: LockError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        LockError::Held { .. } => {
            failure.help("wait for it; when its process dies, however it dies, the lock is free at once")
        }
        LockError::Io { .. } => {
            failure.help("check the permissions of the state folder, or give another with --state-dir")
        }
    }
}
