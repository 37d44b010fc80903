use super::super::args::Format;
use super::super::calendar::control::UrgentArgs;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::session::Session;
use super::super::work::{Patience, Work};
use super::Answer;
use crate::journal::replay;

/// Go on with an apply that was cut off
///
/// Asks the hosts what became of steps that were begun and not answered, and goes on from there to the same end. Nothing that must
/// run once runs twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover resume --env lab           the last apply
  cutover resume 20261122-093015-7f3a91")]
pub struct Args {
    /// Id of the apply, from `history` [default: the last one]
    #[arg(value_name = "APPLY")]
    apply: Option<String>,
    /// Events as JSON lines on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    urgent: UrgentArgs,
    #[command(flatten)]
    patience: Patience,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("resume", &[Format::Text])?;
    let session = Session::open(context)?;
    let work = Work::begin(&session, context, args.json)?.patient(args.patience).urgent(args.urgent.emergency.clone());
    let saved = match &args.apply {
        None => work.resumable()?,
        Some(id) => {
            let saved = work.journal.load(id)?.ok_or_else(|| {
                Failure::new(format!("no apply {id} is in the journal")).help("`cutover history` lists them")
            })?;
            replay(&saved)?.resumable().then_some(saved)
        }
    };
    match saved {
        None => {
            context.out.result("nothing to resume: the last apply came to its end");
            Ok(Exit::Ok)
        }
        Some(saved) => {
            context.out.note(format!("going on with apply {}", saved.header.apply));
            session.block_on(async {
                let exit = work.resume(&session, context, &saved).await;
                session.turned().await;
                exit
            })
        }
    }
}
