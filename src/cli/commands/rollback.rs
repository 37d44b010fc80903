use std::collections::BTreeSet;

use super::super::args::Format;
use super::super::back::{of_point, parts};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::session::Session;
use super::super::work::Work;
use super::Answer;
use super::undo::{How, take_back};
use crate::execution::{Clock as _, SystemClock};
use crate::journal::{Record, Saved};
use crate::model::cutover::clock;

/// Return to a rollback point
///
/// Takes back the last apply of a window that names this point, also one that still waits (the former records in one compare and
/// swap, then a barrier on every name server, then the short TTL; last what was published for the new side goes), and the waves of the
/// cohorts of that window, with the mail that has come since. Only what the point restores is touched, and only while it is valid.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover rollback before-night-1 --plan     only show it
  cutover rollback before-night-1")]
pub struct Args {
    /// Rollback point of the topology
    #[arg(value_name = "POINT")]
    point: String,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("rollback", &[Format::Text, Format::Json, Format::Markdown])?;
    let session = Session::open(context)?;
    let mut work = args.how.begin(&session, context)?;
    let found = applied(&work, &args.point)?;
    valid(&found, &args.point)?;
    nothing_of(&found, &args.point).into_iter().for_each(|text| context.out.note(text));
    let mut exit = Exit::Ok;
    for (n, saved) in found.iter().enumerate() {
        if n > 0 {
            work = work.renewed()?;
        }
        exit = take_back(&args.how, format, context, &session, &work, saved, Some(&args.point))?;
        if exit != Exit::Ok {
            break;
        }
    }
    Ok(exit)
}

/// The applies that go back: the last one of a window with this point, and those that moved people of its cohorts; the youngest first.
fn applied(work: &Work, point: &str) -> Result<Vec<Saved>, Failure> {
    let mut found: Vec<Saved> = Vec::new();
    let mut returned: BTreeSet<String> = BTreeSet::new();
    let mut back: Option<String> = None;
    let mut window = false;
    for summary in work.journal.history()?.into_iter().rev() {
        let whole = matches!(
            summary.last.as_ref().map(|e| &e.record),
            Some(Record::Finished { failed: 0, skipped: 0, unknown: 0, .. })
        );
        if let Some(of) = summary.header.undo_of.as_ref().filter(|_| whole) {
            returned.insert(of.clone());
        }
        let Some(saved) = work.journal.load(&summary.header.apply)? else { continue };
        if saved.header.undo_of.is_some() {
            let of_window = saved.plan.schedule.as_ref().is_some_and(|s| s.takes_back && s.rollback == point);
            if of_window {
                window = true;
                back.get_or_insert(saved.header.apply.clone());
            }
            continue;
        }
        let of_window = saved.plan.schedule.as_ref().is_some_and(|s| s.rollback == point);
        if !of_window && of_point(&saved.plan, point).is_none() {
            continue;
        }
        if returned.contains(&saved.header.apply) {
            back.get_or_insert(saved.header.apply.clone());
            window |= of_window;
        } else if !of_window || !std::mem::replace(&mut window, true) {
            found.push(saved);
        }
    }
    match (found.is_empty(), back) {
        (false, _) => Ok(found),
        (true, Some(apply)) => Err(Failure::new(format!("apply {apply} has returned to {point} already"))
            .help("cut off on the way? `cutover resume` goes on")),
        (true, None) => Err(Failure::new(format!("no window with rollback point {point} was applied from here"))
            .help("`cutover history` lists applies; `cutover undo` takes any of them back")),
    }
}

/// A way back that is closed is not gone: the old side may not be there any more.
fn valid(found: &[Saved], point: &str) -> Result<(), Failure> {
    let now = SystemClock.now().div_euclid(1_000);
    match found.iter().filter_map(|s| of_point(&s.plan, point)).find(|b| b.is_over(now)) {
        None => Ok(()),
        Some(over) => Err(Failure::new(format!(
            "the way back to {point} was open until {}; nothing was changed",
            clock(over.until, &over.timezone)
        ))
        .help("`cutover undo APPLY --plan` shows what could still go back of an apply of `cutover history`")),
    }
}

/// What the point promises and none of the applies has changed.
fn nothing_of(found: &[Saved], point: &str) -> Vec<String> {
    let steps = || found.iter().flat_map(|s| &s.plan.steps);
    let promised: BTreeSet<&String> =
        found.iter().filter_map(|s| of_point(&s.plan, point)).flat_map(|b| &b.restores).collect();
    let none = |part: &&&String| !steps().any(|s| parts(s).contains(&part.as_str()));
    let why = |part: &str| match part {
        "database" | "snapshot" => "cutover makes none",
        _ => "no apply has changed any",
    };
    promised
        .iter()
        .filter(none)
        .map(|p| format!("{point} restores {p}: there is nothing of it to restore, {}", why(p)))
        .collect()
}
