use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::passwords::passwords;
use crate::model::unit::format_bytes;
use crate::services::cms::ledger::Passed;
use crate::services::cms::mailbox::Fault;
use crate::services::cms::mover::{Mover, Pass};
use crate::services::cms::people::People;
use crate::services::cms::queue::Embedded;
use crate::services::cms::service::Service;
use crate::services::cms::service::wire::PassDone;

/// Move the mailboxes of the configuration until SIGTERM; or once, with --once
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One pass of each mailbox, then end: exit code 0 only when nothing is left and nothing differs
    #[arg(long)]
    once: bool,
    /// Only these mailboxes
    users: Vec<String>,
}

/// Times that a pass is tried in `--once`, and by commands for one mailbox.
const TRIES: u32 = 4;

pub fn run(args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let mover = mover(path)?;
    if !args.once {
        if !args.users.is_empty() {
            return Err(vec!["the service moves all of its configuration; name mailboxes with --once".into()]);
        }
        let served = runtime::block_on(async { Service::run(mover, Embedded::default(), stopped()).await });
        let served = served.map_err(|_| vec!["the system gives no threads".to_owned()])?;
        return served.map(|()| Exit::Ok).map_err(|e| vec![e.to_string()]);
    }
    let users = named(&mover, &args.users)?;
    let done = runtime::block_on(async { each(&mover, users, Pass::Delta).await });
    let done = done.map_err(|_| vec!["the system gives no threads".to_owned()])?;
    Ok(told(done.into_iter().map(Done::into), true, out))
}

/// SIGTERM or Ctrl-C.
async fn stopped() {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

pub fn mover(path: &Path) -> Result<Arc<Mover>, Vec<String>> {
    let (config, people) = super::read(path)?;
    let ledger = super::ledger(&config)?;
    let passwords = passwords(&config);
    Mover::new(config, people, passwords, ledger).map(Arc::new).map_err(|e| vec![e.to_string()])
}

pub fn named(mover: &Mover, users: &[String]) -> Result<Vec<String>, Vec<String>> {
    names(&mover.people, users)
}

/// The mailboxes of these names, or all.
pub fn names(people: &People, users: &[String]) -> Result<Vec<String>, Vec<String>> {
    if users.is_empty() {
        return Ok(people.users().map(str::to_owned).collect());
    }
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for user in users {
        match people.find(user) {
            Some(user) => found.push(user.to_owned()),
            None => unknown.push(format!("{user} is not in the configuration")),
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(unknown) }
}

/// What a pass of one mailbox came to.
pub struct Done {
    pub user: String,
    pub passed: Result<(Passed, Option<Fault>), Fault>,
}

/// One pass of each, as many side by side as there are workers.
pub async fn each(mover: &Arc<Mover>, users: Vec<String>, pass: Pass) -> Vec<Done> {
    let places = Arc::new(tokio::sync::Semaphore::new(mover.config.cms.workers));
    let mut running = tokio::task::JoinSet::new();
    for user in users {
        let (mover, places) = (mover.clone(), places.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            let passed = patiently(&mover, &user, pass).await;
            Done { user, passed }
        });
    }
    let mut done = running.join_all().await;
    done.sort_by(|a, b| a.user.cmp(&b.user));
    done
}

/// A pass that is tried again while waiting may help.
async fn patiently(mover: &Arc<Mover>, user: &str, pass: Pass) -> Result<(Passed, Option<Fault>), Fault> {
    let mut tries = 0;
    loop {
        let done = mover.pass(user, pass).await?;
        match &done.1 {
            Some(fault) if fault.class.passes() && tries < TRIES => {
                let wait = fault.after.unwrap_or(Duration::from_millis(500 << tries)).min(Duration::from_secs(60));
                tracing::info!("{user}: {fault}; again in {wait:?}");
                tokio::time::sleep(wait).await;
                tries += 1;
            }
            _ => return Ok(done),
        }
    }
}

impl From<Done> for PassDone {
    fn from(done: Done) -> Self {
        let (passed, fault) = match done.passed {
            Ok((passed, fault)) => (Some(passed), fault),
            Err(fault) => (None, Some(fault)),
        };
        let help = fault.as_ref().map(|f| f.class.help().to_owned());
        Self { user: done.user, passed, fault: fault.map(|f| f.to_string()), help }
    }
}

/// Says what came of passes, in lines when `lines`; an error as soon as anything is left over or differs.
pub fn told(done: impl Iterator<Item = PassDone>, lines: bool, out: &Output) -> Exit {
    let mut exit = Exit::Ok;
    for PassDone { user, passed, fault, help } in done {
        if let Some(passed) = &passed {
            if lines {
                out.result(format!("{user}: {}", line(passed)));
            }
            if passed.exceptions > 0 {
                let (kind, allowed) = if passed.borne {
                    ("warning", ", as limits.max-failed and limits.personal allow")
                } else {
                    ("error", "")
                };
                let count = passed.exceptions;
                out.note(format!(
                    "{kind}: {user}: {count} exceptions{allowed}; `cutover-cms report {user}` lists them"
                ));
            }
            if !passed.borne {
                exit = Exit::Error;
            }
        }
        if let Some(fault) = fault {
            out.note(format!("error: {user}: {fault}; {}", help.unwrap_or_default()));
            exit = Exit::Error;
        }
    }
    exit
}

fn line(p: &Passed) -> String {
    let mut text = format!("{} in {:.2} s: {} messages, {}", p.pass, p.seconds, p.appended, format_bytes(p.octets));
    for (n, what) in [
        (p.flags, "flags"),
        (p.removed, "removed"),
        (p.doubts, "lost answers"),
        (p.found, "found again"),
        (p.surplus, "late copies removed"),
        (p.things, "things beside mail"),
        (p.exceptions, "exceptions"),
    ] {
        if n > 0 {
            text += &format!(", {n} {what}");
        }
    }
    text + &format!("; {} folders, {} unchanged", p.folders + p.unchanged, p.unchanged)
}
