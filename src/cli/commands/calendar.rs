use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;

use super::super::args::Format;
use super::super::calendar::{ics, page, text};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::whole;
use super::Answer;
use crate::process::calendar::{Calendar, Span};
use crate::process::forward::schedule;

/// Days that are shown without --to.
const DAYS: i64 = 56;

/// Show the forward schedule: windows, freezes, cutover windows, changes, reviews
///
/// No host is asked. What cannot be (cutover windows that are open together and share something, or stand in a freeze) is said
/// below the lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover calendar                                    the next eight weeks
  cutover calendar --from 2026-12-01 --to 2027-01-31  these days
  cutover calendar --html changes.html                a picture for a browser; nothing else is loaded
  cutover calendar --ics changes.ics                  for the calendars of people (RFC 5545)
  cutover calendar --format json                      for programs")]
pub struct Args {
    /// First day [default: today]
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Last day [default: eight weeks later]
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// Write a page with a picture, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write an iCalendar file, too
    #[arg(long, value_name = "FILE")]
    ics: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("calendar", &[Format::Text, Format::Json])?;
    let project = Project::compile(context)?;
    let calendar = Calendar::of(&project.topology)
        .map_err(|e| Failure::new(e).help("write an IANA name such as Europe/Dublin"))?;
    let now = Timestamp::now();
    let within = within(args, &calendar, now)?;
    let schedule = schedule(&project.topology, &calendar, &project.site.windows, within, now);
    let (organization, domain) = match project.topology.organization() {
        Some(o) => (o.id.name.as_str(), o.text("domain").unwrap_or("invalid")),
        None => ("nobody", "invalid"),
    };
    if let Some(file) = &args.html {
        write(context, file, &page::page(&schedule, &calendar, within, now, organization))?;
    }
    if let Some(file) = &args.ics {
        write(context, file, &ics::ics(&schedule, organization, domain, now))?;
    }
    match format {
        Format::Json => context.out.json(&schedule),
        _ => context.out.result(text::schedule(&schedule, &calendar, within)),
    }
    Ok(Exit::Ok)
}

fn write(context: &Context, file: &Path, text: &str) -> Result<(), Failure> {
    whole::write(file, |f| f.write_all(text.as_bytes()))
        .map_err(|e| Failure::new(format!("{} was not written: {e}", file.display())))?;
    context.out.note(format!("wrote {}", file.display()));
    Ok(())
}

fn within(args: &Args, calendar: &Calendar, now: Timestamp) -> Result<Span, Failure> {
    let out_of_time = |e: jiff::Error| Failure::new(format!("these days cannot be reckoned with: {e}"));
    let from = args.from.unwrap_or_else(|| now.to_zoned(calendar.zone.clone()).date());
    let to = match args.to {
        Some(to) => to,
        None => from.checked_add(jiff::Span::new().days(DAYS)).map_err(out_of_time)?,
    };
    if to < from {
        return Err(Failure::new(format!("--to {to} comes before --from {from}")).help("swap the two days"));
    }
    let begin = |day: Date| day.to_zoned(calendar.zone.clone()).map(|z| z.timestamp());
    let end = to.tomorrow().and_then(begin).map_err(out_of_time)?;
    Ok(Span { from: begin(from).map_err(out_of_time)?, to: end })
}
