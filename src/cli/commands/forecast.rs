mod availability;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Subcommand;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::super::args::Format;
use super::super::calendar::{ahead, moment};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::moving::{Diary, pace, spoken};
use super::super::project::Project;
use super::Answer;
use crate::model::capacity::mbit;
use crate::model::unit::{format_bytes, parse_rate};
use crate::process::calendar::Calendar;
use crate::process::forecast::{Copying, Forecast, Given, Head, Line, Pace, Verdict, forecast};

/// Columns of the picture: the whole window.
const WIDTH: u64 = 32;

/// Say whether each cohort fits into its window, and when to begin copying
///
/// No host is asked. Groups of people take as long as groups took that were moved from here; while nobody was, an assumption is
/// taken and said. Ends with 2 when a window is too short or over, or two of them cannot be.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_precedence_over_arg = true,
    after_help = "\
Examples:
  cutover forecast                          all cohorts, in the order of their windows
  cutover forecast pilot-1                  one of them
  cutover forecast --rate 300Mbit/s         with a rate of copying that was measured
  cutover forecast --at 2026-12-01T18:00    as it will be then
  cutover forecast --format json            for programs
  cutover forecast availability             whether servers, clusters and sites keep what levels promise"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<ForecastCommand>,
    /// Cohorts to show [default: all]
    #[arg(value_name = "COHORT")]
    cohorts: Vec<String>,
    /// How fast mailboxes are copied, instead of what throttle and links say
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Moment to look from, by the organisation's clocks [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime>,
}

#[derive(Debug, Subcommand)]
enum ForecastCommand {
    /// Say how available each service will be that a level promises, what costs most, and what is left for maintenance
    ///
    /// From servers, clusters, sites and how often they fail. No host is asked. Ends with 2 when a level is out of reach.
    Availability,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    if let Some(ForecastCommand::Availability) = &args.command {
        if args.rate.is_some() || args.at.is_some() || !args.cohorts.is_empty() {
            return Err(Failure::new("availability is forecast for all that levels promise, at no moment of its own")
                .help("leave cohorts, --rate and --at away"));
        }
        return availability::run(context);
    }
    let format = context.formats("forecast", &[Format::Text, Format::Json])?;
    let rate = args.rate.as_deref().map(rate).transpose()?;
    let project = Project::compile(context)?;
    let t = &project.topology;
    if let Some(name) = args.cohorts.iter().find(|n| t.get("cohort", n).is_none()) {
        let known: Vec<&str> = t.all("cohort").map(|c| c.id.name.as_str()).collect();
        return Err(Failure::new(format!("no cohort `{name}`")).help(format!("known: {}", known.join(", "))));
    }
    let calendar = Calendar::of(t).map_err(|e| Failure::new(e).help("write an IANA name such as Europe/Dublin"))?;
    let now = match args.at {
        None => Timestamp::now(),
        Some(at) => at
            .to_zoned(calendar.zone.clone())
            .map_err(|e| Failure::new(format!("--at {at} is no time of {}: {e}", calendar.zone_name)))?
            .timestamp(),
    };
    let people = heads(&project);
    let pace = pace::measured(&project, &Diary::of(&project.state(context)))?;
    let given = Given {
        topology: t,
        calendar: &calendar,
        windows: &project.site.windows,
        people: &people,
        pace: &pace,
        rate,
        now,
    };
    let mut found = forecast(&given);
    if !args.cohorts.is_empty() {
        found.cohorts.retain(|l| args.cohorts.contains(&l.cohort));
    }
    match format {
        Format::Json => context.out.json(&found),
        _ => context.out.result(text(&found, &calendar, now)),
    }
    let bad = found.cohorts.iter().any(|l| matches!(l.verdict, Verdict::Short | Verdict::Over));
    Ok(if bad || !found.conflicts.is_empty() { Exit::Changes } else { Exit::Ok })
}

fn rate(text: &str) -> Result<u64, Failure> {
    parse_rate(text).filter(|r| *r > 0).ok_or_else(|| {
        Failure::new(format!("--rate `{text}` is no rate")).help("write bits per second with a unit, as 300Mbit/s")
    })
}

fn heads(project: &Project) -> BTreeMap<String, Head> {
    let head = |c: &crate::people::Chosen| match c.unasked.is_empty() {
        true => Head::Counted(c.members.len() as u64),
        false => Head::Left,
    };
    project.made.people.iter().map(|(name, chosen)| (name.clone(), head(chosen))).collect()
}

fn text(found: &Forecast, calendar: &Calendar, now: Timestamp) -> String {
    let people: u64 = found.cohorts.iter().map(|l| l.people).sum();
    let mut out =
        format!("{people} people in {} cohorts, seen from {}.\n", found.cohorts.len(), moment(now, &calendar.zone));
    let width = found.cohorts.iter().map(|l| l.cohort.chars().count()).max().unwrap_or(0);
    for line in &found.cohorts {
        out.push_str(&row(line, width, calendar));
    }
    if found.cohorts.iter().any(|l| l.begins.is_some()) {
        out.push_str(
            "\nThe bar is the window: # moving at the usual pace, = when every group is slow, > over its end.\n",
        );
    }
    let mut paces: Vec<Pace> = found.cohorts.iter().map(|l| l.pace).collect();
    paces.sort_by_key(|p| (p.measured, p.usual_ms, p.slow_ms));
    paces.dedup();
    for p in paces {
        let (usual, slow) = (spoken(p.usual_ms), spoken(p.slow_ms));
        let _ = match p.measured {
            0 => writeln!(
                out,
                "Pace: {usual} for a group of eight is assumed, as nobody was moved from here yet; {slow} is the longest that they may be held."
            ),
            n => writeln!(
                out,
                "Pace: a group took {usual} on average, 95 of 100 less than {slow}; measured in {n} groups."
            ),
        };
    }
    found.copying.iter().for_each(|c| out.push_str(&copying(c, calendar, now)));
    if !found.conflicts.is_empty() {
        out.push_str("\nCannot be:\n");
        found.conflicts.iter().for_each(|line| _ = writeln!(out, "  {line}"));
    }
    out
}

fn row(line: &Line, width: usize, calendar: &Calendar) -> String {
    let about = if line.about { "about " } else { "" };
    let waves = if line.waves == 1 { "1 wave".to_owned() } else { format!("{} waves", line.waves) };
    let mut out = format!("\n{:<width$}  {about}{} people, {waves}", line.cohort, line.people);
    if let Some(data) = line.data {
        let _ = write!(out, ", about {}", format_bytes(data));
    }
    let long = |s: u64| ahead(SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX)));
    let (Some(window), Some(begins), Some(closes)) = (&line.window, line.begins, line.closes) else {
        let _ = writeln!(out, "\n{:width$}  no window; takes {}, at most {}", "", long(line.usual), long(line.slow));
        return out;
    };
    let over = |s: u64| line.ends(s).map_or_else(String::new, |at| moment(at, &calendar.zone));
    let open = closes.duration_since(begins).as_secs().max(1).unsigned_abs();
    let _ = writeln!(
        out,
        "\n{:width$}  {window}: {} for {}; over at {} after {}, at the latest after {}",
        "",
        moment(begins, &calendar.zone),
        long(open),
        over(line.usual),
        long(line.usual),
        long(line.slow)
    );
    let _ = writeln!(out, "{:width$}  {} {}", "", bar(line.usual, line.slow, open), line.verdict.as_str());
    out
}

fn bar(usual: u64, slow: u64, open: u64) -> String {
    let column = |s: u64| (u128::from(s) * u128::from(WIDTH)).div_ceil(u128::from(open));
    let cell = |n: u64| match u128::from(n) {
        n if n < column(usual) => '#',
        n if n < column(slow) => '=',
        _ => '.',
    };
    let over = if slow > open { '>' } else { ' ' };
    format!("[{}]{over}", (0..WIDTH).map(cell).collect::<String>())
}

fn copying(c: &Copying, calendar: &Calendar, now: Timestamp) -> String {
    let mut out = format!("\nCopying by cms {}: ", c.cms);
    match (c.data, &c.rate, c.takes) {
        (None, ..) => out.push_str("the source does not say how much it holds (`mailboxes` and `data` of legacy)"),
        (Some(data), None, _) | (Some(data), _, None) => {
            let _ = write!(out, "{}; at no rate that is known: write `throttle`, or say --rate", format_bytes(data));
        }
        (Some(data), Some((rate, by)), Some(takes)) => {
            let takes = ahead(SignedDuration::from_secs(i64::try_from(takes).unwrap_or(i64::MAX)));
            let _ = write!(out, "{} at {} ({by}) takes {takes}", format_bytes(data), mbit(*rate));
        }
    }
    if let Some((at, cohort)) = &c.begin_by {
        let late = if *at < now { ", which is over" } else { "" };
        let _ = write!(out, "; has to begin by {}{late}, for {cohort}", moment(*at, &calendar.zone));
    }
    out.push('\n');
    out
}
