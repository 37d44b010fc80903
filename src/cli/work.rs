//! One apply from lock to closing report: what `apply`, `resume`, `undo` and `destroy` share.
//!
//! ```text
//! local lock ─▶ journal ─▶ execution ──events──▶ progress | lines | JSON ─▶ closing report, exit code
//! ```

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::interrupt;
use super::output::Output;
use super::session::Session;
use crate::execution::{self, Clock as _, Identity, Report, Run, Settings, SystemClock};
use crate::journal::{Holder, Journal, LocalLock, LockError, Saved, events, replay};
use crate::model::cutover::clock;
use crate::model::event::Event;
use crate::model::plan::Plan;
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
    // Last, so that the lock goes after everything else.
    _lock: LocalLock,
}

impl Work {
    /// Takes the local lock and opens the journal. `json`: events as lines on standard output.
    pub fn begin(session: &Session, context: &Context, json: bool) -> Result<Self, Failure> {
        let now = SystemClock.now();
        let mut entropy = [0u8; 4];
        getrandom::fill(&mut entropy).map_err(|e| Failure::new(format!("no random numbers from the system: {e}")))?;
        let apply = execution::new_apply_id(now, u32::from_le_bytes(entropy));
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
        Ok(Self { journal, identity: Identity { holder, dead }, apply, json, patience, _lock: lock })
    }

    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The last apply, when it did not come to its end.
    pub fn unfinished(&self) -> Result<Option<Saved>, Failure> {
        match self.journal.unfinished()? {
            Some(summary) => Ok(self.journal.load(&summary.header.apply)?),
            None => Ok(None),
        }
    }

    /// The last apply that a resume could do something for.
    pub fn resumable(&self) -> Result<Option<Saved>, Failure> {
        let Some(last) = self.journal.history()?.pop() else { return Ok(None) };
        match self.journal.load(&last.header.apply)? {
            Some(saved) if replay(&saved)?.resumable() => Ok(Some(saved)),
            _ => Ok(None),
        }
    }

    /// Carries out a plan.
    pub async fn apply(
        &self,
        session: &Session,
        context: &Context,
        plan: &Plan,
        undo_of: Option<String>,
    ) -> Result<Exit, Failure> {
        let (events, reader) = self.reader(context, plan, Tally::default());
        let settings = self.settings(session);
        let run = self.run(session, &settings, events, interrupt::listen(&context.out)?);
        let report = execution::apply(run, plan, &self.apply, &self.identity, undo_of).await;
        self.close(context, plan, reader, report).await
    }

    /// Goes on with an apply of the journal.
    pub async fn resume(&self, session: &Session, context: &Context, saved: &Saved) -> Result<Exit, Failure> {
        let tally = Tally::of(&crate::journal::events(saved));
        let (events, reader) = self.reader(context, &saved.plan, tally);
        let settings = self.settings(session);
        let run = self.run(session, &settings, events, interrupt::listen(&context.out)?);
        let report = execution::resume(run, &saved.header.apply, &self.identity).await;
        self.close(context, &saved.plan, reader, report).await
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
    ) -> Result<Exit, Failure> {
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
            context.out.note(format!(
                "waits until {}: {}. Go on then with: cutover resume",
                clock(waits.until, timezone),
                waits.why
            ));
            return Ok(Exit::Waits);
        }
        Ok(match (report.is_success(), report.interrupted) {
            (true, _) => Exit::Ok,
            (false, true) => Exit::Interrupted,
            (false, false) => Exit::Error,
        })
    }
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

fn locked(error: LockError) -> Failure {
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
