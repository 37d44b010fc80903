//! Commands that are one pass of some mailboxes: `final`, `late`, `rollback`, `verify`.

use std::path::Path;
use std::time::Duration;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::{ask, run};
use crate::model::unit::parse_duration;
use crate::services::cms::config::Verify;
use crate::services::cms::mover::Pass;
use crate::services::cms::service::wire::{Answer, PassDone, Request};

/// Carry over what is left while the source is held, look for late copies, verify; when it is done the new side may be the user's
#[derive(Debug, clap::Args)]
pub struct Final {
    /// `-` reads a user a line from standard input
    #[arg(required = true)]
    users: Vec<String>,
    #[arg(long)]
    json: bool,
    /// Answer after so long whatever has come of it, and begin nothing more then
    #[arg(long, value_parser = how_long)]
    within: Option<Duration>,
}

/// Carry over what has still come to the old side of users who have moved; what they changed on the new side stays
#[derive(Debug, clap::Args)]
pub struct Late {
    /// `-` reads a user a line from standard input
    #[arg(required = true)]
    users: Vec<String>,
    #[arg(long)]
    json: bool,
}

/// Carry back to the old side what came to the new one: mail, flags, removals
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// `-` reads a user a line from standard input
    #[arg(required = true)]
    users: Vec<String>,
    #[arg(long)]
    json: bool,
    /// Answer after so long whatever has come of it, and begin nothing more then
    #[arg(long, value_parser = how_long)]
    within: Option<Duration>,
}

/// Show that both sides are the same, or where they differ
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// All when none is named; `-` reads a user a line from standard input
    users: Vec<String>,
    #[arg(long)]
    json: bool,
    /// `count`, `hash` or `full`; what the configuration says unless given
    #[arg(long, value_parser = how)]
    how: Option<Verify>,
}

fn how_long(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a duration, as in 30s".into())
}

fn how(text: &str) -> Result<Verify, String> {
    match text {
        "count" => Ok(Verify::Count),
        "hash" => Ok(Verify::Hash),
        "full" => Ok(Verify::Full),
        _ => Err("write count, hash or full".into()),
    }
}

fn millis(within: Option<Duration>) -> Option<u64> {
    within.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

pub fn finish(args: &Final, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = super::listed(&args.users)?;
    let request = Request::Final { users: users.clone(), within: millis(args.within) };
    pass(request, &users, |_| Pass::Final, args.json, path, out)
}

pub fn late(args: &Late, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = super::listed(&args.users)?;
    pass(Request::Late { users: users.clone() }, &users, |_| Pass::Delta, args.json, path, out)
}

pub fn rollback(args: &Rollback, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = super::listed(&args.users)?;
    let request = Request::Rollback { users: users.clone(), within: millis(args.within) };
    pass(request, &users, |_| Pass::Rollback, args.json, path, out)
}

pub fn verify(args: &VerifyArgs, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let users = super::listed(&args.users)?;
    let request = Request::Verify { users: users.clone(), how: args.how };
    pass(request, &users, |configured| Pass::Verify(args.how.unwrap_or(configured)), args.json, path, out)
}

/// By the service when it runs, otherwise here.
fn pass(
    request: Request,
    users: &[String],
    pass: impl Fn(Verify) -> Pass,
    json: bool,
    path: &Path,
    out: &Output,
) -> Result<Exit, Vec<String>> {
    let (config, _) = super::read(path)?;
    let told = |done: Vec<PassDone>| {
        if json {
            out.json(&done);
        }
        run::told(done.into_iter(), !json, out)
    };
    match ask::ask(&config.cms.control, &request)? {
        Some(Answer::Passes(done)) => return Ok(told(done)),
        Some(_) => return Err(vec!["the service gave another answer than was asked for".into()]),
        None => {}
    }
    let mover = run::mover(path)?;
    let users = run::named(&mover, users)?;
    let pass = pass(mover.config.cms.verify);
    let done = runtime::block_on(async { run::each(&mover, users, pass).await });
    let done = done.map_err(|_| vec!["the system gives no threads".to_owned()])?;
    Ok(told(done.into_iter().map(Into::into).collect()))
}
