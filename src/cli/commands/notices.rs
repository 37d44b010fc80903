use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;

use super::super::args::Format;
use super::super::calendar::{ahead, moment};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::moving::lock;
use super::super::near::Near;
use super::super::notices::message::{Message, octets};
use super::super::notices::sending::{Ears, Way, send};
use super::super::notices::{Course, messages};
use super::super::project::Project;
use super::super::{interrupt, runtime, whole};
use super::Answer;
use crate::execution::Wanted;
use crate::process::notice::{Notice, Standing};

/// Notices to people about their move: who is told what and when; sent once, never twice
///
/// Each cohort names communications (`notices`); their moments (`at`) count from its window. Templates stand beside the topology.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover notices list                             every notice with its time, and how it stands
  cutover notices preview invite                   the first message of a communication, as it would go out
  cutover notices write drafts                     what is due now, as .eml files; nothing is sent
  cutover notices send --env production            what is due now, through the topology's own mail server
  cutover notices send --through \"sendmail -t -i\"  through a program on this machine")]
pub struct Args {
    #[command(subcommand)]
    command: NoticesCommand,
}

#[derive(Debug, Subcommand)]
enum NoticesCommand {
    /// Show every notice with its time and how it stands; nothing is sent
    List {
        /// A line for each recipient
        #[arg(long)]
        all: bool,
    },
    /// Show a message of a communication as it would go out
    Preview {
        #[arg(value_name = "COMMUNICATION")]
        name: String,
        /// To this recipient [default: the first]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
    /// Write what is due now as .eml files into a folder; nothing is sent
    Write {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Those whose time is to come, too
        #[arg(long)]
        all: bool,
    },
    /// Send what is due now
    Send(How),
}

// How messages go out. No line of help: it would stand for that of the commands that take it in.
#[derive(Debug, clap::Args)]
pub struct How {
    /// A program here that takes each message on its standard input, instead of the topology's mail server
    #[arg(long, value_name = "COMMAND")]
    through: Option<String>,
    /// At most this many a minute
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    per_minute: u32,
    /// Send again what is in doubt: somebody may get it twice
    #[arg(long)]
    pub again: bool,
}

impl How {
    /// Sends messages, and asks after those that an earlier run began.
    pub fn send(
        &self,
        project: &Project,
        course: &Course,
        due: &[(&Notice, Message)],
        doubtful: &[&Notice],
        context: &Context,
    ) -> Answer {
        let near = || Arc::new(Near::of(context, project));
        let way = self.through.as_deref().map_or_else(|| Way::relay(project, near()), Way::program)?;
        let done = runtime::block_on(async {
            let mut wanted = interrupt::listen(&context.out, None)?;
            let heard = wanted.clone();
            let ears = Ears {
                note: &|text| context.out.note(text),
                passing: &|text| context.out.passing(text),
                stopping: &|| *heard.borrow() > Wanted::Run,
            };
            tokio::select! {
                done = send(course, &way, due, doubtful, self.per_minute, &ears) => done,
                _ = wanted.wait_for(|w| *w == Wanted::Stop) => Err(Failure::new("stopped at once")
                    .help("a message that was on its way is in doubt; `cutover notices send` asks after it")),
            }
        })??;
        match context.json() {
            true => context.out.json(&done),
            false => {
                let left = if done.left > 0 { format!(", {} left", done.left) } else { String::new() };
                let told = format!("{} sent, {} refused, {} in doubt{left}", done.sent, done.refused, done.doubt);
                context.out.result(told);
            }
        }
        Ok(if done.refused + done.doubt + done.left == 0 { Exit::Ok } else { Exit::Error })
    }
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("notices", &[Format::Text, Format::Json])?;
    match &args.command {
        NoticesCommand::List { all } => list(*all, context),
        NoticesCommand::Preview { name, to } => preview(name, to.as_deref(), context),
        NoticesCommand::Write { folder, all } => write(folder, *all, context),
        NoticesCommand::Send(how) => go(how, context),
    }
}

fn course(context: &Context) -> Result<(Project, Course), Failure> {
    let project = Project::compile(context)?;
    let course = Course::of(&project, &project.state(context))?;
    Ok((project, course))
}

fn list(all: bool, context: &Context) -> Answer {
    let (_, course) = course(context)?;
    let now = course.now()?;
    let standings = course.standings(&now);
    if context.json() {
        let list: Vec<_> = standings.iter().map(|(n, s)| serde_json::json!({ "notice": n, "standing": s })).collect();
        context.out.json(&serde_json::json!({ "notices": list, "nobody": course.notices.nobody }));
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    let mut rows: Vec<(String, usize)> = Vec::new();
    for (n, standing) in &standings {
        let when = moment(n.at, &course.calendar.zone);
        let ahead = match n.at.duration_since(now.at) {
            left if left.is_positive() => format!("in {}", ahead(left)),
            past => format!("{} ago", ahead(-past)),
        };
        let to = if all { format!(" {}", n.recipient) } else { String::new() };
        let row = format!(
            "{when:<26} {ahead:>11}  {:<9} {:<14} {:>6}  {}{to}",
            standing.as_str(),
            n.communication,
            n.offset,
            n.cohort
        );
        match rows.last_mut().filter(|(last, _)| *last == row) {
            Some((_, count)) => *count += 1,
            None => rows.push((row, 1)),
        }
    }
    for (row, count) in rows {
        let people = if all { String::new() } else { format!(": {count} recipients") };
        let _ = writeln!(text, "{row}{people}");
    }
    if standings.is_empty() {
        text.push_str("No cohort of this topology has notices with a time.\n");
    }
    course.notices.nobody.iter().for_each(|line| _ = writeln!(text, "{line}"));
    context.out.result(text);
    Ok(Exit::Ok)
}

fn preview(name: &str, to: Option<&str>, context: &Context) -> Answer {
    let (project, course) = course(context)?;
    let mine = |n: &&Notice| n.communication == name && to.is_none_or(|to| n.recipient.eq_ignore_ascii_case(to));
    let Some(notice) = course.notices.all.iter().find(mine) else {
        let names: Vec<&str> = project.topology.all("communication").map(|c| c.id.name.as_str()).collect();
        return Err(Failure::new(format!("there is no notice `{name}` for {}", to.unwrap_or("anybody")))
            .help(format!("communications here: {}; `cutover notices list` says who gets them", names.join(", "))));
    };
    for m in messages(&course, Timestamp::now(), &[notice]).map_err(|w| w.failure(context))? {
        let line = format!("From: {} <{}>\nTo: {}\nSubject: {}\n\n{}", m.from.0, m.from.1, m.to, m.subject, m.body);
        context.out.result(line);
    }
    Ok(Exit::Ok)
}

fn write(folder: &Path, all: bool, context: &Context) -> Answer {
    let (_, course) = course(context)?;
    let now = course.now()?;
    let wanted = |s: Standing| s == Standing::Due || (all && s == Standing::Waits);
    let due: Vec<&Notice> = course.standings(&now).into_iter().filter(|(_, s)| wanted(*s)).map(|(n, _)| n).collect();
    let built = messages(&course, now.at, &due).map_err(|w| w.failure(context))?;
    std::fs::create_dir_all(folder).map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
    for m in &built {
        let path = folder.join(format!("{}.eml", m.id.split('@').next().unwrap_or_default()));
        let octets = octets(m).map_err(|e| Failure::new(format!("a message cannot be built: {e}")))?;
        whole::write(&path, |f| f.write_all(&octets))
            .map_err(|e| Failure::new(format!("{} was not written: {e}", path.display())))?;
    }
    context.out.result(format!("{} messages in {}; nothing was sent", built.len(), folder.display()));
    Ok(Exit::Ok)
}

fn go(how: &How, context: &Context) -> Answer {
    let (project, course) = course(context)?;
    // Whoever comes second reads what the first has written.
    let _lock = lock(&project.state(context))?;
    let now = course.now()?;
    let standings = course.standings(&now);
    let of = |wanted: Standing| standings.iter().filter(move |(_, s)| *s == wanted).map(|(n, _)| *n);
    let mut due: Vec<&Notice> = of(Standing::Due).collect();
    let doubtful: Vec<&Notice> = of(Standing::Doubt).collect();
    if how.again {
        due.extend(&doubtful);
    }
    let late = of(Standing::Late).count();
    if late > 0 {
        context.out.note(format!("{late} notices are not sent: what they announce is over"));
    }
    let built: Vec<Message> = messages(&course, now.at, &due).map_err(|w| w.failure(context))?;
    let pairs: Vec<(&Notice, Message)> = due.into_iter().zip(built).collect();
    if pairs.is_empty() && (how.again || doubtful.is_empty()) {
        context.out.result("no notice is due now");
        return Ok(Exit::Ok);
    }
    let doubtful = if how.again { Vec::new() } else { doubtful };
    how.send(&project, &course, &pairs, &doubtful, context)
}
