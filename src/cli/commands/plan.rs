use std::path::PathBuf;

use super::super::args::Format;
use super::super::calendar::control;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::session::{Session, Wish};
use super::super::{gates, planfile, recorded};
use super::Answer;
use crate::model::plan::Plan;
use crate::reporting::{Paint, TextOptions, plan_json, plan_markdown, plan_text, schedule_svg};

/// Show what would change, and change nothing
///
/// Asks every host in one round trip each, compares with the topology and shows the steps in the order in which apply would take
/// them. A host that cannot be asked makes the plan fail: it is never taken for empty.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover plan --env lab                            what would change
  cutover plan --env lab --out plan.cut             and save it, for: cutover apply plan.cut
  cutover plan --target mail-1                      one host, with what it waits for
  cutover plan --format markdown > comment.md       for a pull request
  cutover plan --window night-1                     the timetable of a cutover: TTLs, swap, waits, with clock times
  cutover plan --window night-1 --format svg > night-1.svg
  cutover plan --detailed-exitcode                  0 nothing to do, 1 error, 2 changes")]
pub struct Args {
    #[command(flatten)]
    pub wish: WishArgs,
    /// Save the plan, bound to this topology and to what the hosts show now
    #[arg(long, value_name = "FILE", conflicts_with = "recorded")]
    out: Option<PathBuf>,
    /// End with 2 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Ask no host; use what `state observe --out FILE` recorded
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
    /// Leave the diffs of file contents out
    #[arg(long)]
    no_diff: bool,
}

/// Which part of the topology is meant; shared with apply, drift and destroy.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WishArgs {
    /// Only this and what it waits for: a host, an address, `role@host`, `server:mail-1`, with * as wildcard; may be repeated
    #[arg(long = "target", short = 't', value_name = "WHAT")]
    targets: Vec<String>,
    /// Only what this phase of the topology deploys
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
    /// The stages of this cutover window, and what has to be published before it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["targets", "phase"])]
    window: Option<String>,
    /// Begin although the old TTLs run out only after the start of the window: the swap comes that much later
    #[arg(long, requires = "window")]
    short_lead: bool,
    /// Go beyond a limit: `updates`, `deletes` (more than 30 % of what cutover owns in a zone), `signing` (a DKIM key before its record
    /// is known, or its record while mail is in flight), `tlsa` (a certificate before its TLSA record is known); commas between
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = crate::planning::EXCEED_WORDS)]
    exceed: Vec<String>,
}

impl WishArgs {
    pub fn window(&self) -> Option<&str> {
        self.window.as_deref()
    }

    /// The part whose gates are asked.
    pub fn part(&self) -> gates::Part<'_> {
        gates::Part { phase: self.phase.as_deref(), window: self.window() }
    }

    pub fn wish(&self, destroy: bool) -> Wish {
        Wish {
            targets: self.targets.clone(),
            phase: self.phase.clone(),
            destroy,
            window: self.window.clone(),
            short_lead: self.short_lead,
            exceed: self.exceed.clone(),
        }
    }
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("plan", &[Format::Text, Format::Json, Format::Markdown, Format::Svg])?;
    if format == Format::Svg && args.wish.window.is_none() {
        return Err(Failure::new("this plan has no picture of its own").help(
            "--format svg draws the timetable of a window: say --window NAME; cutover graph draws the steps of a saved plan",
        ));
    }
    let session = Session::open_to_ask(context)?;
    let wish = args.wish.wish(false);
    let mut plan = match &args.recorded {
        Some(file) => session.plan(&recorded::load(file)?, &wish)?,
        None => {
            let asked = session.block_on(session.ask_and_plan(&wish))?;
            session.remember(asked.observed);
            asked.plan
        }
    };
    plan.notes.extend(gates::notes(context, &session.project.topology, args.wish.part())?);
    show(&plan, format, !args.no_diff, context)?;
    if let Some(said) = control::told(&session, &context.out, &wish, &plan)? {
        context.out.note(said);
    }
    if plan.blocked() {
        return Err(blocked(&plan));
    }
    if let Some(path) = &args.out {
        planfile::save(path, &plan, &session.key)?;
        context.out.note(format!("saved to {0}; carry it out with: cutover apply {0}", path.display()));
    }
    Ok(if args.detailed_exitcode && !plan.is_empty() { Exit::Changes } else { Exit::Ok })
}

/// Prints a plan in the wanted form.
pub fn show(plan: &Plan, format: Format, diffs: bool, context: &Context) -> Result<(), Failure> {
    match format {
        Format::Json => {
            context.out.result(plan_json(plan).map_err(|e| Failure::new(format!("this plan has no JSON form: {e}")))?);
        }
        Format::Markdown => context.out.result(plan_markdown(plan)),
        Format::Svg => context.out.result(plan.schedule.as_ref().map(schedule_svg).unwrap_or_default()),
        _ => {
            let options = TextOptions { paint: Paint::when(context.out.color()), diffs, ..TextOptions::default() };
            context.out.result(plan_text(plan, &options));
        }
    }
    Ok(())
}

/// Why a plan cannot be applied, for standard error; the plan itself has told the details.
pub fn blocked(plan: &Plan) -> Failure {
    if plan.failed.is_empty() {
        return Failure::new("this plan must not be applied; its notes say why");
    }
    let hosts = plan.failed.iter().map(|f| f.host.0.as_str()).collect::<Vec<_>>().join(", ");
    Failure::new(format!("could not ask: {hosts}; a plan without their answers would be a guess"))
        .help("mend the connection, or plan for the others with --target")
}
