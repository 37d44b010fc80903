use super::super::args::Format;
use super::super::back::way_back;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::left::left_to_waves;
use super::super::session::Session;
use super::super::work::{Patience, Work};
use super::Answer;
use super::apply::confirm;
use super::plan::{blocked, show};
use crate::journal::Saved;

/// Put back what an apply changed
///
/// Former files, modes, settings and service states stand on the hosts and come back in the reverse order. What was changed since by
/// others is left alone and blocks the undo; what cannot go back is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover history                          which applies there were
  cutover undo 20261122-093015-7f3a91      show what goes back, ask, do it
  cutover undo --last --plan               only show it")]
pub struct Args {
    /// Id of the apply, from `history`
    #[arg(value_name = "APPLY", required_unless_present = "last")]
    apply: Option<String>,
    /// The last apply
    #[arg(long, conflicts_with = "apply")]
    last: bool,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("undo", &[Format::Text, Format::Json, Format::Markdown])?;
    let session = Session::open(context)?;
    let work = args.how.begin(&session, context)?;
    let id = match &args.apply {
        Some(id) => id.clone(),
        None => {
            let last = work.journal.history()?.pop().map(|s| s.header.apply);
            last.ok_or_else(|| Failure::new("nothing was applied yet"))?
        }
    };
    let saved = work
        .journal
        .load(&id)?
        .ok_or_else(|| Failure::new(format!("no apply {id} is in the journal")).help("`cutover history` lists them"))?;
    take_back(&args.how, format, context, &session, &work, &saved, None)
}

/// How an apply is taken back.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Show the plan and change nothing
    #[arg(long = "plan")]
    only_plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Events as JSON lines on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    patience: Patience,
}

impl How {
    /// Takes the state for the run.
    pub fn begin(&self, session: &Session, context: &Context) -> Result<Work, Failure> {
        Ok(Work::begin(session, context, self.json)?.patient(self.patience))
    }
}

/// Shows the plan that takes an apply back, or what a rollback point restores of it, asks, and carries it out.
pub(super) fn take_back(
    how: &How,
    format: Format,
    context: &Context,
    session: &Session,
    work: &Work,
    saved: &Saved,
    point: Option<&str>,
) -> Answer {
    let id = &saved.header.apply;
    // A window that waits is taken back as far as it came, as are people; anything else is finished first.
    if let Some(open) = work.unfinished()?
        && !(open.header.apply == *id && (saved.plan.schedule.is_some() || left_to_waves(saved)?))
    {
        return Err(Failure::new(format!("apply {} was cut off and is not finished", open.header.apply))
            .help("finish it with `cutover resume`, then undo it"));
    }
    let plan = session.block_on(way_back(session, saved, point))?;
    if !how.json {
        show(&plan, format, true, context)?;
    }
    if plan.blocked() {
        return Err(if plan.failed.is_empty() {
            Failure::new("this undo would overwrite what others changed since; its notes name it")
        } else {
            blocked(&plan)
        });
    }
    if plan.is_empty() || how.only_plan {
        return Ok(Exit::Ok);
    }
    confirm(context, how.yes, "Put this back? (yes/no)", "yes")?;
    session.block_on(async {
        let exit = work.apply(session, context, &plan, Some(id.clone())).await;
        session.turned().await;
        exit
    })
}
