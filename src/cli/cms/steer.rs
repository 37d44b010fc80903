//! Commands that steer the service: `pause`, `resume`, `retry`, `astray`.

use std::path::Path;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::{ask, run};
use crate::services::cms::mailbox::Fault;
use crate::services::cms::service::wire::{Answer, Request};

/// Begin no pass of these mailboxes any more; one that runs ends
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// All when none is named
    users: Vec<String>,
}

/// Go on with mailboxes that were paused
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// All when none is named
    users: Vec<String>,
}

/// Try exceptions, and what stopped a mailbox, again at the next pass
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// All when none is named
    users: Vec<String>,
    /// Also carry out removals that were held back because most of the mailbox went at once
    #[arg(long)]
    accept_removals: bool,
    /// Also take over mailboxes that a mover with another state folder was filling; it must not run any more
    #[arg(long)]
    take_over: bool,
}

/// Note who works on the old side though the mailbox counts as moved: a way back then carries that over first. `cutover` says it itself
#[derive(Debug, clap::Args)]
pub struct Astray {
    /// `-`: those on standard input, one a line
    #[arg(required = true)]
    users: Vec<String>,
    /// They do not, or not any more
    #[arg(long)]
    off: bool,
    /// How many, as JSON
    #[arg(long)]
    json: bool,
}

pub fn astray(args: Astray, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = super::listed(&args.users)?;
    let (off, json) = (args.off, args.json);
    let count = steered(Request::Astray { users: users.clone(), off }, &users, Step::Astray(!off), path)?;
    if json {
        out.json(&count)
    } else {
        out.result(format!("{count} mailboxes"))
    }
    Ok(Exit::Ok)
}

pub fn pause(args: Pause, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = args.users;
    steer(Request::Pause { users: users.clone() }, &users, Step::Pause(true), path, out)
}

pub fn resume(args: Resume, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = args.users;
    steer(Request::Resume { users: users.clone() }, &users, Step::Pause(false), path, out)
}

pub fn retry(args: Retry, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let (users, removals, takes) = (args.users, args.accept_removals, args.take_over);
    steer(Request::Retry { users: users.clone(), removals, takes }, &users, Step::Retry { removals, takes }, path, out)
}

#[derive(Clone, Copy)]
enum Step {
    Pause(bool),
    Retry { removals: bool, takes: bool },
    Astray(bool),
}

fn steer(request: Request, users: &[String], step: Step, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let count = steered(request, users, step, path)?;
    out.result(format!("{count} mailboxes"));
    Ok(Exit::Ok)
}

/// By the service when it runs, in the ledger otherwise. How many mailboxes it was.
fn steered(request: Request, users: &[String], step: Step, path: &Path) -> Result<usize, Vec<String>> {
    let (config, people) = super::read(path)?;
    match ask::ask(&config.cms.control, &request)? {
        Some(Answer::Done(count)) => Ok(count),
        Some(_) => Err(vec!["the service gave another answer than was asked for".into()]),
        None => {
            let ledger = super::ledger(&config)?;
            let users = run::names(&people, users)?;
            let all = async {
                let mut count = 0;
                for user in &users {
                    let known = match step {
                        Step::Pause(on) => ledger.pause(user, on).await?,
                        Step::Astray(on) => ledger.astray(user, on).await?,
                        Step::Retry { removals, takes } => {
                            if takes {
                                ledger.take_over(user).await?;
                            }
                            ledger.retry(user, removals).await?
                        }
                    };
                    count += usize::from(known);
                }
                Ok::<usize, Fault>(count)
            };
            let done = runtime::block_on(all).map_err(|_| vec!["the system gives no threads".to_owned()])?;
            done.map_err(|e| vec![e.to_string()])
        }
    }
}
