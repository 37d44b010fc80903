use std::path::PathBuf;

use super::super::args::Format;
use super::super::calendar::control::{self, ChangeArgs};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::gates::{self, GateArgs};
use super::super::left::{left_behind_swap, left_to_prune};
use super::super::planfile;
use super::super::session::{Asked, Session, Wish};
use super::super::work::{Patience, Work};
use super::Answer;
use super::plan::{WishArgs, blocked, show};
use crate::execution::{Clock as _, SystemClock};
use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::planning::differences;

/// Make the hosts what the topology says
///
/// Without a plan file: plans, shows the plan and asks. With one: carries out exactly that plan, and refuses when the topology or a
/// host has changed since. Every step is checked once more on its host right before it changes something. An apply that was cut
/// off is finished first. A protected environment takes saved plans only.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover apply --env lab                  plan, show, ask, apply
  cutover apply --env lab --yes            without asking
  cutover apply plan.cut                   a plan saved by `plan --out plan.cut`; a saved plan is not asked about again
  cutover apply --yes --json               events as JSON lines on standard output
  cutover apply --phase pilot-1            only what this phase deploys
  cutover apply --change new-tls           as this change of the topology: only while its window is open
  cutover apply --phase build --emergency \"mail stands still\" --key ~/.ssh/id_ed25519
  cutover apply --window night-1           a cutover window; ends with 3 before a long wait, `cutover resume` goes on

Ctrl-C once: running steps end, no new one starts. Twice: stop at once. `cutover resume` goes on.")]
pub struct Args {
    /// Plan saved by `plan --out`
    #[arg(value_name = "PLAN", conflicts_with_all = ["targets", "phase", "window", "exceed"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    wish: WishArgs,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Events as JSON lines on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    gates: GateArgs,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("apply", &[Format::Text])?;
    let session = Session::open(context)?;
    if let Some(environment) = session.project.topology.environment()
        && environment.flag("protected")
        && args.plan.is_none()
    {
        return Err(Failure::new(format!(
            "environment {} is protected: only a saved plan is carried out there",
            environment.id.name
        ))
        .help("cutover plan --out plan.cut, have it read, then: cutover apply plan.cut"));
    }
    let saved = args.plan.as_ref().map(|path| planfile::load(path, &session.key)).transpose()?;
    gates::require(
        context,
        &session.project.topology,
        part(args, saved.as_ref()),
        &args.gates,
        args.change.emergency(),
        false,
    )?;
    let work = Work::begin(&session, context, args.json)?.patient(args.patience);
    session.block_on(apply(args, context, &session, &work, saved))
}

async fn apply(args: &Args, context: &Context, session: &Session, work: &Work, saved: Option<Plan>) -> Answer {
    if let Some(former) = work.unfinished()? {
        let id = &former.header.apply;
        let part = part(args, saved.as_ref());
        // People who move change no record that the window still has to do with.
        let goes_on = left_to_prune(&former)? || (part.phase.is_some() && left_behind_swap(&former)?);
        if goes_on && part.window.is_none() {
            context.out.note(format!("what is left of apply {id} waits for its time; `cutover resume` carries it out"));
            return go_on(args, context, session, work, saved).await;
        }
        if let Some(plan) = &saved
            && plan.intent != former.header.intent
        {
            return Err(Failure::new(format!(
                "apply {id} was cut off and is not finished; this saved plan does not know of it"
            ))
            .help("finish it with `cutover resume`, then plan again"));
        }
        context.out.note(format!("apply {id} was cut off; it is finished first"));
        let exit = work.resume(session, context, &former).await?;
        session.turned().await;
        if exit != Exit::Ok || saved.is_some() {
            return Ok(exit);
        }
        context.out.note("finished; now what else is wanted");
    }
    go_on(args, context, session, work, saved).await
}

/// The part whose gates are asked: what a saved plan was made for, or what is wanted now.
fn part<'a>(args: &'a Args, plan: Option<&'a Plan>) -> gates::Part<'a> {
    plan.map_or_else(
        || args.wish.part(),
        |p| gates::Part { phase: p.phase.as_deref(), window: p.schedule.as_ref().map(|s| s.window.as_str()) },
    )
}

/// Nothing is in the way.
async fn go_on(args: &Args, context: &Context, session: &Session, work: &Work, saved: Option<Plan>) -> Answer {
    let (wish, Asked { plan, observed }) = match saved {
        Some(saved) => {
            let wish = again(&saved);
            control::early(session, &context.out, &args.change, &wish)?;
            let observed = fresh(context, session, &saved, &wish).await?;
            work.admit(control::admit(session, &context.out, &args.change, &wish, &saved)?);
            (wish, Asked { plan: saved, observed })
        }
        None => {
            let wish = args.wish.wish(false);
            control::early(session, &context.out, &args.change, &wish)?;
            match planned(args, &wish, context, session, work).await? {
                Some(asked) => (wish, asked),
                None => return Ok(Exit::Ok),
            }
        }
    };
    gates::require(
        context,
        &session.project.topology,
        part(args, Some(&plan)),
        &args.gates,
        args.change.emergency(),
        true,
    )?;
    let exit = work.apply(session, context, &plan, None).await;
    match exit {
        Ok(Exit::Ok) => session.settled(&wish, &observed).await,
        _ => session.kept(&observed).await,
    }
    exit
}

/// Plans and asks. `None`: nothing to do, or not wanted.
async fn planned(
    args: &Args,
    wish: &Wish,
    context: &Context,
    session: &Session,
    work: &Work,
) -> Result<Option<Asked>, Failure> {
    let asked = session.ask_and_plan(wish).await?;
    work.journal.remember(SystemClock.now(), asked.observed.clone(), &session.project.site.hosts)?;
    if !args.json {
        show(&asked.plan, Format::Text, true, context)?;
    }
    if asked.plan.blocked() {
        return Err(blocked(&asked.plan));
    }
    if asked.plan.is_empty() {
        session.settled(wish, &asked.observed).await;
        return Ok(None);
    }
    work.admit(control::admit(session, &context.out, &args.change, wish, &asked.plan)?);
    confirm(context, args.yes, "Carry this out? (yes/no)", "yes")?;
    Ok(Some(asked))
}

/// What a saved plan was made for.
fn again(saved: &Plan) -> Wish {
    Wish {
        targets: saved.targets.clone(),
        phase: saved.phase.clone(),
        destroy: false,
        window: saved.schedule.as_ref().map(|s| s.window.clone()),
        // Whoever saved it has said so, or did not need to.
        short_lead: true,
        exceed: saved.exceed.clone(),
    }
}

/// Asks the hosts again and refuses a saved plan that no longer fits.
async fn fresh(context: &Context, session: &Session, saved: &Plan, wish: &Wish) -> Result<Observed, Failure> {
    let Asked { plan: now, observed } = session.ask_and_plan(wish).await?;
    let differences = differences(saved, &now);
    if differences.is_empty() {
        return Ok(observed);
    }
    context.out.note("What changed since this plan was made:");
    for d in &differences {
        let about = d.address.as_ref().map(|a| format!("{a} ")).unwrap_or_default();
        context.out.note(format!("  {about}{}", d.text));
    }
    Err(Failure::new("the saved plan is stale; nothing was changed").help("plan again, look at it, and apply that"))
}

/// Goes on only after the wanted word. Where nobody can be asked, `--yes` is needed.
pub fn confirm(context: &Context, yes: bool, question: &str, word: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match context.out.ask(question) {
        Some(answer) if answer == word => Ok(()),
        Some(_) => Err(Failure::new("not confirmed; nothing was changed")),
        None => Err(Failure::new("nobody can be asked here (no terminal); nothing was changed").help("say --yes")),
    }
}
