use super::super::args::Format;
use super::super::context::Context;
use super::super::failure::Failure;
use super::super::session::Session;
use super::Answer;
use super::undo::{How, take_back};

/// Return to a rollback point
///
/// Takes back the last apply of a window that names this point, also one that still waits: the former records in one compare and
/// swap, then a barrier on every name server, then the short TTL; last what was published for the new side goes.
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
    let work = args.how.begin(&session, context)?;
    let mut found = None;
    for summary in work.journal.history()?.into_iter().rev() {
        let Some(saved) = work.journal.load(&summary.header.apply)? else { continue };
        let Some(schedule) = saved.plan.schedule.as_ref().filter(|s| s.rollback == args.point) else { continue };
        if schedule.takes_back {
            return Err(Failure::new(format!("apply {} has returned to {} already", saved.header.apply, args.point))
                .help("cut off on the way? `cutover resume` goes on"));
        }
        found = Some(saved);
        break;
    }
    let saved = found.ok_or_else(|| {
        Failure::new(format!("no window with rollback point {} was applied from here", args.point))
            .help("`cutover history` lists applies; `cutover undo` takes any of them back")
    })?;
    take_back(&args.how, format, context, &session, &work, &saved)
}
