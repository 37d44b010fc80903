use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::recorded;
use super::super::session::{Asked, Session};
use super::Answer;
use super::plan::WishArgs;
use crate::journal::{Journal, Record};
use crate::model::Address;
use crate::model::step::Outcome;
use crate::reporting::{self, DriftReport, Paint, drift_text};

/// Find what others changed on the hosts, and change nothing
///
/// Speaks only of what cutover made or adopted. What the topology wants and nobody has applied yet is no drift; `plan` shows it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover drift --env production         0 no drift, 1 error, 2 drift
  cutover drift --format json            for a monitor
  cutover drift --target mail-1
  cutover drift --record today.json      and keep what the hosts answered")]
pub struct Args {
    #[command(flatten)]
    wish: WishArgs,
    /// Write what the hosts answered to a file, for `plan --recorded`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("drift", &[Format::Text, Format::Json])?;
    let session = Session::open_to_ask(context)?;
    let asked = session.block_on(session.ask_and_plan(&args.wish.wish(false)))?;
    if let Some(path) = &args.record {
        recorded::save(path, &asked.observed)?;
    }
    let report = found(&session, &asked)?;
    match format {
        Format::Json => context.out.json(&report),
        _ => context.out.result(drift_text(&report, Paint::when(context.out.color()))),
    }
    if !report.failed.is_empty() {
        let hosts = report.failed.iter().map(|f| f.host.0.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!("could not ask: {hosts}; whether they drifted is not known")));
    }
    Ok(if report.drifted() { Exit::Changes } else { Exit::Ok })
}

/// What others changed, of what was asked.
pub fn found(session: &Session, asked: &Asked) -> Result<DriftReport, Failure> {
    Ok(reporting::drift(&asked.plan, &asked.observed, &applied(session)?))
}

/// The fingerprint that each resource had after its last step, as far as this machine's journal knows.
fn applied(session: &Session) -> Result<BTreeMap<Address, String>, Failure> {
    let mut out = BTreeMap::new();
    if !session.state.state().exists() {
        return Ok(out);
    }
    let journal = Journal::read(&session.state.state())?;
    for summary in journal.history()? {
        let Some(saved) = journal.load(&summary.header.apply)? else { continue };
        for entry in &saved.entries {
            if let Record::Ended { step, outcome: Outcome::Done { fingerprint: Some(f) }, .. } = &entry.record
                && let Some(step) = saved.plan.steps.get(*step as usize)
            {
                out.insert(step.address.clone(), f.clone());
            }
        }
    }
    Ok(out)
}
