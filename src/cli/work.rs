//! One apply from lock to closing report: what `apply`, `resume`, `undo` and `destroy` share.
//!
//! ```text
//! local lock ─▶ journal ─▶ execution ──events──▶ progress | lines | JSON ─▶ closing report, exit code
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
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
use super::left::{left_behind_swap, moves};
use super::moving::Service;
use super::output::Output;
use super::routes::Reached;
use super::session::Session;
use super::silences;
use super::triggers::{self, Eyes};
use crate::catalog::barrier;
use crate::execution::{self, Clock as _, Fired, Identity, Report, Run, Settings, SystemClock, Watch};
use crate::journal::{Holder, Journal, LocalLock, LockError, Record, Saved, Status, events, replay};
use crate::model::act::Doing;
use crate::model::cutover::clock;
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

pub fn time(text: &str) -> Result<Duration, String> {
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
        let Some(last) = self.journal.history()?.pop() else { return Ok(None) };
        let Some(saved) = self.journal.load(&last.header.apply)? else { return Ok(None) };
        // One whose trigger has fired is not over before it is taken back, though all of its steps may have an end.
        let open = !last.finished() || replay(&saved)?.goes_back.is_some();
        Ok(open.then_some(saved))
    }

    /// The last apply that a resume could do something for; else the last window that has only what comes behind its swap left.
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
                && left_behind_swap(&saved)?
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
        let ran = self.carry_out(session, context, plan, &self.apply, undo_of).await?;
        self.ended(session, context, plan, &self.apply, ran).await
    }

    /// Another apply of the same run.
    pub fn renewed(self) -> Result<Self, Failure> {
        Ok(Self { apply: new_apply()?, ..self })
    }

    async fn carry_out(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        apply: &str,
        undo_of: Option<String>,
    ) -> Result<Ran, Failure> {
        let (events, reader) = self.reader(context, plan, Tally::default());
        let settings = self.settings(session);
        let closing = self.closing().filter(|_| undo_of.is_none());
        let heard = interrupt::listen(&context.out, closing.clone())?;
        let eyes = session.eyes(None)?;
        let watch = Watch::of(plan, &eyes, &SystemClock, &self.journal, apply, false).filter(|_| undo_of.is_none());
        // What takes an apply back in a window ends its silence too, had it been killed.
        let of = undo_of.clone().unwrap_or_else(|| apply.to_owned());
        let carry = |run| execution::apply(run, plan, apply, &self.identity, undo_of);
        let run = self.guarded(session, context, &settings, watch.as_ref(), (events, heard), carry);
        let closes = self.admission.get().and_then(|a| a.closes);
        let (report, fired) = silences::during(session, &context.out, (plan, &of), closes, run).await?;
        self.took_over(&report);
        let (exit, shut) = self.close(context, plan, reader, report, closing.as_ref()).await?;
        Ok(Ran { exit, shut, fired })
    }

    /// A run whose triggers are looked at, where its plan has any.
    async fn guarded<'a, F: Future<Output = Result<Report, execution::ApplyError>>>(
        &'a self,
        session: &'a Session,
        context: &Context,
        settings: &'a Settings,
        watch: Option<&Watch<'_, Eyes<Reached, Service>, SystemClock>>,
        (events, heard): (mpsc::UnboundedSender<Event>, tokio::sync::watch::Receiver<execution::Wanted>),
        carry: impl FnOnce(Run<'a, super::session::Hosts, crate::secret::Resolver, SystemClock>) -> F,
    ) -> Result<(Result<Report, execution::ApplyError>, Option<Fired>), Failure> {
        let Some(watch) = watch else { return Ok((carry(self.run(session, settings, events, heard)).await, None)) };
        let tell = |text: String| context.out.note(text);
        let (stop, wanted) = interrupt::merged(heard);
        let run = carry(self.run(session, settings, watch.hear(events), wanted));
        let (report, fired) = watch.over(run, &stop, &tell).await?;
        let fired = match (&report, fired) {
            (Ok(r), None) if !r.interrupted && r.fenced.is_none() => watch.settle(&tell).await?,
            (_, fired) => fired,
        };
        Ok((report, fired))
    }

    /// What comes of it when a trigger has fired, or a barrier has not opened in time.
    async fn ended(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        apply: &str,
        ran: Ran,
    ) -> Result<Exit, Failure> {
        let Some(fired) = &ran.fired else {
            return self.timed_out(session, context, plan, apply, ran.exit, &ran.shut).await;
        };
        triggers::file(&session.state).append(&triggers::Firing::of(apply, fired))?;
        if fired.rolls_back {
            context.out.note(format!(
                "trigger {} of {}: {}. What was done is taken back",
                fired.trigger, fired.point, fired.why
            ));
            return self.go_back(session, context, apply, Some(&fired.point)).await;
        }
        let next = match ran.exit {
            Exit::Ok => format!("all was done before; go back with: cutover rollback {}", fired.point),
            _ => format!("go on with: cutover resume, or back with: cutover rollback {}", fired.point),
        };
        context.out.note(format!("trigger {} of {} stops the run: {}. {next}", fired.trigger, fired.point, fired.why));
        Ok(if ran.exit == Exit::Ok { Exit::Error } else { Exit::Waits })
    }

    /// Takes an apply back by itself: all of it, or what a rollback point restores.
    async fn go_back(
        &self,
        session: &Session,
        context: &Context,
        apply: &str,
        point: Option<&str>,
    ) -> Result<Exit, Failure> {
        if let Some(done) = self.journal.history()?.iter().find(|s| s.header.undo_of.as_deref() == Some(apply)) {
            return Err(Failure::new(format!("apply {apply} is taken back by {} already", done.header.apply))
                .help("cut off on the way? `cutover resume` goes on"));
        }
        let saved =
            self.journal.load(apply)?.ok_or_else(|| Failure::new(format!("apply {apply} is not in the journal")))?;
        let back = way_back(session, &saved, point).await?;
        if back.blocked() {
            return Err(Failure::new(format!("apply {apply} cannot be taken back by itself"))
                .help("`cutover resume` tries it again; `cutover rollback` names what stands in its way"));
        }
        if back.is_empty() {
            let record = Record::Triggered {
                point: point.unwrap_or_default().to_owned(),
                trigger: String::new(),
                why: "nothing was done that could be taken back".to_owned(),
                rolls_back: false,
            };
            self.journal.append(apply, SystemClock.now(), vec![record]).await?;
            context.out.note("nothing was done yet that could be taken back; `cutover resume` goes on");
            return Ok(Exit::Error);
        }
        let ran = Box::pin(self.carry_out(session, context, &back, &new_apply()?, Some(apply.to_owned()))).await?;
        Ok(match ran.exit {
            // Where everybody was before is not where anybody wanted to be.
            Exit::Ok => {
                context.out.note("all that was done is taken back; the next `cutover apply` is a new attempt");
                Exit::Error
            }
            other => other,
        })
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
        let step = plan.steps.get(*id as usize);
        let stage = step.map(|s| s.address.key.as_str()).unwrap_or_default();
        context.out.note(format!("{stage} says on-timeout=rollback: the window is taken back, because {why}"));
        // Of a cohort, what the way back of its window restores: what was deployed for it stays.
        let cohort = step.and_then(|s| plan.hosts.get(&s.address.host)).and_then(|h| h.cohort());
        let point = cohort.and_then(|c| c.opening.as_ref()?.way_back.as_ref()).map(|b| b.point.as_str());
        let ended = self.go_back(session, context, apply, point).await?;
        if ended == Exit::Error && cohort.is_none() {
            context.out.note("the window is taken back: the zone is as it was");
        }
        Ok(ended)
    }

    /// Goes on with an apply of the journal.
    pub async fn resume(&self, session: &Session, context: &Context, saved: &Saved) -> Result<Exit, Failure> {
        let id = &saved.header.apply;
        let standing = replay(saved)?;
        if let Some((point, trigger)) = &standing.goes_back {
            context.out.note(format!("trigger {trigger} of {point} has fired in apply {id}: it is taken back"));
            return self.go_back(session, context, id, Some(point)).await;
        }
        let admission = control::again(session, &context.out, self, id, self.urgent.as_deref())?;
        if self.urgent.is_some() {
            admission.entry(id).map(|entry| record::file(&session.state).append(&entry)).transpose()?;
        }
        let closing = admission.closes.map(Closing::at);
        let tally = Tally::of(&crate::journal::events(saved));
        let (events, reader) = self.reader(context, &saved.plan, tally);
        let settings = self.settings(session);
        let heard = interrupt::listen(&context.out, closing.clone())?;
        let (_, steps) = execution::guarded(&saved.plan);
        let begun = |(at, s): (usize, &Status)| *s != Status::Waiting && steps.contains(&(at as StepId));
        let begun = standing.statuses.iter().enumerate().any(begun);
        let eyes = session.eyes(Some(saved.header.at))?;
        let watch = Watch::of(&saved.plan, &eyes, &SystemClock, &self.journal, id, begun)
            .filter(|_| saved.header.undo_of.is_none());
        let carry = |run| execution::resume(run, id, &self.identity);
        let run = self.guarded(session, context, &settings, watch.as_ref(), (events, heard), carry);
        let of = (&saved.plan, saved.header.undo_of.as_ref().unwrap_or(id).as_str());
        let (report, fired) = silences::during(session, &context.out, of, admission.closes, run).await?;
        self.took_over(&report);
        let (exit, shut) = self.close(context, &saved.plan, reader, report, closing.as_ref()).await?;
        self.ended(session, context, &saved.plan, id, Ran { exit, shut, fired }).await
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
                None if plan.steps.get(waits.step as usize).is_some_and(|s| Doing::of(&s.address).is_some()) => {
                    format!("waits for {}. Go on with: cutover resume", waits.why)
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

/// How a run ended.
struct Ran {
    exit: Exit,
    shut: Shut,
    fired: Option<Fired>,
}

/// Barriers that a name server kept shut, with those that lag.
type Shut = BTreeMap<StepId, String>;

fn new_apply() -> Result<String, Failure> {
    let mut entropy = [0u8; 4];
    getrandom::fill(&mut entropy).map_err(|e| Failure::new(format!("no random numbers from the system: {e}")))?;
    Ok(execution::new_apply_id(SystemClock.now(), u32::from_le_bytes(entropy)))
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
