use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::near::Near;
use super::super::project::Project;
use super::super::{runtime, scores};
use super::Answer;
use crate::model::topology::Topology;
use crate::monitoring::scorecard::{Card, Period, Scorecard, cards, reckon};
use crate::reporting::Paint;

/// Show which service levels were kept: green, red, or not known
///
/// Asks Prometheus on a server with the role monitor. What is missing is told as missing and never green. Ends with 0 whatever the colours are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover scorecard                                    all cards, each over its own `every`
  cutover scorecard management --monthly               one, over thirty days
  cutover scorecard --format html > levels.html        a page with charts; nothing else is loaded
  cutover scorecard --format json > week-41.json       kept for later
  cutover scorecard --from week-41.json --format html  and shown again, without asking anybody")]
pub struct Args {
    /// A scorecard of the topology [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The last seven days
    #[arg(long, conflicts_with = "monthly")]
    weekly: bool,
    /// The last thirty days
    #[arg(long)]
    monthly: bool,
    /// End of the span, as in 2026-11-23T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Show cards that were kept as JSON; nobody is asked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "weekly", "monthly", "until"])]
    from: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("scorecard", &[Format::Text, Format::Json, Format::Html])?;
    let (made, zone) = match &args.from {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Failure::new(format!("{} cannot be read: {e}", file.display())))?;
            let made: Vec<Scorecard> = serde_json::from_str(&text).map_err(|e| {
                Failure::new(format!("{} holds no scorecards: {e}", file.display()))
                    .help("it is what `cutover scorecard --format json` writes")
            })?;
            (made, TimeZone::UTC)
        }
        None => asked(args, context)?,
    };
    match format {
        Format::Json => context.out.json(&made),
        Format::Html => context.out.result(scores::page(&made, &zone)),
        _ => context.out.result(scores::text(&made, &zone, Paint::when(context.out.color())).trim_end()),
    }
    Ok(Exit::Ok)
}

fn chosen(topology: &Topology, name: Option<&str>) -> Result<Vec<Card>, Failure> {
    let all = cards(topology);
    let names: Vec<String> = all.iter().map(|c| c.name.clone()).collect();
    let chosen: Vec<Card> = all.into_iter().filter(|c| name.is_none_or(|n| n == c.name)).collect();
    match (chosen.is_empty(), name) {
        (false, _) => Ok(chosen),
        (true, Some(name)) if !names.is_empty() => Err(Failure::new(format!("the topology has no scorecard `{name}`"))
            .help(format!("it has: {}", names.join(", ")))),
        (true, _) => {
            Err(Failure::new("the topology has no scorecard")
                .help("write scorecard NAME every=weekly { slas SLA ..; }"))
        }
    }
}

fn asked(args: &Args, context: &Context) -> Result<(Vec<Scorecard>, TimeZone), Failure> {
    let project = Project::compile(context)?;
    let chosen = chosen(&project.topology, args.name.as_deref())?;
    let organization = project.topology.organization();
    let name = organization.map_or("", |o| o.id.name.as_str());
    let zone = organization.and_then(|o| TimeZone::get(o.text("timezone")?).ok()).unwrap_or(TimeZone::UTC);
    let until = args.until.unwrap_or_else(Timestamp::now);
    let near = Near::of(context, &project);
    let work = async {
        let mut made: Vec<Scorecard> = Vec::new();
        for card in &chosen {
            let period = match (args.weekly, args.monthly) {
                (true, _) => Period::Weekly,
                (_, true) => Period::Monthly,
                _ => card.period,
            };
            let said = scores::ask(&project, &near, period, until).await?;
            made.push(reckon(card, period, until, name, &said).map_err(Failure::new)?);
        }
        Ok::<_, Failure>(made)
    };
    Ok((runtime::block_on(work)??, zone))
}
