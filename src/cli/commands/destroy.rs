use super::super::args::Format;
use super::super::calendar::control::{self, ChangeArgs};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::session::Session;
use super::super::work::Work;
use super::Answer;
use super::apply::confirm;
use super::plan::{WishArgs, blocked, show};

/// Remove everything that cutover made on the hosts
///
/// What is protected (`protect=#true`) stays and blocks; what cutover did not make stays in any case, and so does all mail. Asks for
/// the organisation's name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover destroy --env lab --plan            show what would go
  cutover destroy --env lab                   asks for the organisation's name
  cutover destroy --env lab --target mail-2   one host, and what stands on it
  cutover destroy --env lab --yes acme        without asking")]
pub struct Args {
    #[command(flatten)]
    wish: WishArgs,
    /// The organisation's name, instead of being asked for it
    #[arg(long, value_name = "ORGANIZATION")]
    yes: Option<String>,
    /// Show the plan and change nothing
    #[arg(long = "plan")]
    only_plan: bool,
    /// Events as JSON lines on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("destroy", &[Format::Text, Format::Json, Format::Markdown])?;
    let session = Session::open(context)?;
    let name = session.project.site.organization.clone();
    if args.yes.as_ref().is_some_and(|given| *given != name) {
        return Err(Failure::new(format!("--yes names another organisation; this topology is `{name}`")));
    }
    let work = Work::begin(&session, context, args.json)?;
    if let Some(open) = work.unfinished()? {
        return Err(Failure::new(format!("apply {} was cut off and is not finished", open.header.apply))
            .help("finish it with `cutover resume` first"));
    }
    let plan = session.block_on(session.ask_and_plan(&args.wish.wish(true)))?.plan;
    if !args.json {
        show(&plan, format, true, context)?;
    }
    if plan.blocked() {
        return Err(blocked(&plan));
    }
    if plan.is_empty() || args.only_plan {
        return Ok(Exit::Ok);
    }
    work.admit(control::admit(&session, &context.out, &args.change, &args.wish.wish(true), &plan)?);
    let environment = session.project.site.environment.as_deref().unwrap_or("the base");
    let question = format!("This removes all of the above from {environment}. Type `{name}` to go on:");
    confirm(context, args.yes.is_some(), &question, &name)?;
    session.block_on(work.apply(&session, context, &plan, None))
}
