mod after;
mod certificate;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::moving::{self, Course, Entry, Turn, spoken};
use super::super::project::Project;
use super::super::roster;
use super::super::runtime;
use super::Answer;
use crate::model::topology::Node;
use crate::model::unit::{format_bytes, format_duration};
use crate::moving::standing::{Standing, State};
use crate::moving::transfer::{Direction, End, Transfer};
use crate::moving::wave::goes_on;
use crate::people::wave::{Rules, waves};
use crate::people::{self, Chosen};

/// Cohorts: who is in them, how far each person is, and there and back in waves
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover cohort list                            cohorts with their people, counted
  cutover cohort status pilot-1 --env production how far each of them is
  cutover cohort status pilot-1 --csv            the same for a spreadsheet
  cutover cohort move pilot-1                    canaries first, then wave by wave; stops before more fail than may
  cutover cohort rollback pilot-1                all back, with the mail that has come since
  cutover cohort certificate pilot-1 --key ~/.ssh/id_ed25519
                                                 what moved, how it was checked and who agreed, signed, and as a page
  cutover cohort certificate --verify certificates/production/pilot-1.json
  cutover cohort after pilot-1                   the old side's queue, late mail, captured passwords")]
pub struct Args {
    #[command(subcommand)]
    command: CohortCommand,
}

#[derive(Debug, Subcommand)]
enum CohortCommand {
    /// Show the cohorts of the topology; no host is asked
    List,
    /// Show how far each person of a cohort is
    Status {
        #[arg(value_name = "COHORT")]
        name: String,
        /// A line a person, with a header
        #[arg(long)]
        csv: bool,
    },
    /// Move the people of a cohort who are not moved yet
    Move {
        #[arg(value_name = "COHORT")]
        name: String,
        /// Do not wait between canaries and the others
        #[arg(long)]
        no_soak: bool,
    },
    /// Bring the people of a cohort back to the old side
    Rollback {
        #[arg(value_name = "COHORT")]
        name: String,
    },
    /// Certify that everybody of a cohort has moved: mail, checks, how long logins waited, who agreed; signed, as JSON and as a page
    Certificate(certificate::Args),
    /// When everybody of a cohort has moved: empty the old side's queue, carry over mail that still came there, destroy captured passwords
    ///
    /// What it found and what is left goes into a file, signed with --key. It ends with 1 and names what is left, and may be said again at any time.
    After(after::Args),
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("cohort", &[Format::Text, Format::Json])?;
    match &args.command {
        CohortCommand::List => list(context),
        CohortCommand::Status { name, csv } => status(name, *csv, context),
        CohortCommand::Move { name, no_soak } => go(name, Direction::New, *no_soak, context),
        CohortCommand::Rollback { name } => go(name, Direction::Old, true, context),
        CohortCommand::Certificate(args) => certificate::run(args, context),
        CohortCommand::After(args) => after::run(args, context),
    }
}

fn list(context: &Context) -> Answer {
    let project = Project::compile(context)?;
    let names: Vec<String> = project.topology.all("cohort").map(|c| c.id.name.to_string()).collect();
    let mut documents = Vec::new();
    let sources = sources(&project);
    for name in &names {
        let Some((node, chosen)) = project.topology.get("cohort", name).zip(project.made.people.get(name)) else {
            continue;
        };
        match context.json() {
            true => documents.push(serde_json::json!({
                "name": name, "type": node.text("type"), "people": chosen.members.len(), "digest": chosen.digest().0,
                "left_out": chosen.left_out.len(), "outsiders": chosen.outsiders,
                "unasked": chosen.unasked.iter().map(|u| serde_json::json!({"cohort": u.of, "field": u.field, "named": u.named}))
                    .collect::<Vec<_>>(),
                "unaddressed": chosen.unaddressed.iter().map(|u| serde_json::json!({"list": u.path, "entries": u.names}))
                    .collect::<Vec<_>>(),
            })),
            false => context.out.result(row(node, chosen, &sources)),
        }
    }
    if context.json() {
        context.out.json(&documents);
    } else if names.is_empty() {
        context.out.result("This topology has no cohort.");
    }
    match people::twice(&project.topology, &project.made.people).as_slice() {
        [] => Ok(Exit::Ok),
        shared => Err(roster::refused(shared)),
    }
}

/// Where accounts stand, for people.
fn sources(project: &Project) -> String {
    let here = project.topology.all("mail-account").next().map(|_| "the topology");
    let lists = project.topology.all("accounts").map(|a| a.id.name.as_str());
    lists.chain(here).collect::<Vec<_>>().join(", ")
}

fn row(node: &Node, chosen: &Chosen, sources: &str) -> String {
    let mut text =
        format!("{:<16} {:<6} {:>7} people", node.id.name, node.text("type").unwrap_or(""), chosen.members.len());
    let digest = chosen.digest();
    let _ = write!(text, "  sha256 {}", digest.short());
    if !chosen.left_out.is_empty() {
        let _ = write!(text, "  {} left out", chosen.left_out.len());
    }
    for line in roster::lines(chosen, sources) {
        let _ = write!(text, "\n                 {line}");
    }
    for out in chosen.left_out.iter().filter(|o| o.reason.is_some()).take(3) {
        let _ = write!(text, "\n                 without {}: {}", out.address, out.reason.as_deref().unwrap_or(""));
    }
    text
}

/// The people of a cohort, as far as they must be known.
type Who = for<'p> fn(&'p Project, &str) -> Result<(&'p Node, &'p Chosen), Failure>;

/// What moves a cohort in which somebody is.
fn open(name: &str, context: &Context, who: Who) -> Result<Course, Failure> {
    let project = Project::compile(context)?;
    let (node, chosen) = who(&project, name)?;
    if chosen.members.is_empty() {
        return Err(Failure::new(format!("nobody is in cohort {name}")).help("say who with select"));
    }
    let migration = node.reference("migration").map(|id| id.name.to_string());
    Course::of(context, project, migration.as_deref())
}

fn status(name: &str, csv: bool, context: &Context) -> Answer {
    let course = open(name, context, moving::listed)?;
    let (_, chosen) = moving::listed(&course.project, name)?;
    for u in &chosen.unasked {
        context.out.note(format!(
            "who is in it is not wholly known: cohort {} names a `{}` that nothing here answers: {}",
            u.of, u.field, u.named
        ));
    }
    let standings = runtime::block_on(course.look(&course.users(chosen.addresses())))??;
    let past = course.diary(context).read()?;
    let moved = |user: &str| past.get(user).and_then(|all| all.iter().rev().find(|e| e.arrived && e.to == "new"));
    if context.json() {
        let people: Vec<_> = standings
            .iter()
            .map(|s| {
                serde_json::json!({
                    "user": s.user, "state": s.state, "mailbox": s.mailbox, "routes": s.routes, "moved": moved(&s.user),
                })
            })
            .collect();
        context.out.json(&serde_json::json!({ "cohort": name, "digest": chosen.digest().0, "people": people }));
        return Ok(Exit::Ok);
    }
    if csv {
        context.out.raw(table(&standings, &moved)?.as_bytes());
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    for s in &standings {
        let (messages, octets) = s.mailbox.as_ref().map_or((0, 0), |m| (m.messages, m.octets));
        let _ =
            write!(text, "{:<8} {:<32} {messages:>8} messages {:>10}", s.state.as_str(), s.user, format_bytes(octets));
        if let Some(ms) = moved(&s.user).and_then(|e| e.held_ms) {
            let _ = write!(text, "  waited {}", spoken(ms));
        }
        if let Some(m) = s.mailbox.as_ref().filter(|m| m.exceptions > 0) {
            let _ = write!(text, "  {} exceptions", m.exceptions);
        }
        if let Some(fault) = s.mailbox.as_ref().and_then(|m| m.fault.as_deref()) {
            let _ = write!(text, "  {fault}");
        }
        text.push('\n');
    }
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    standings.iter().for_each(|s| *counts.entry(s.state).or_default() += 1);
    let each: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {}", state.as_str())).collect();
    let waited: Vec<u64> = standings.iter().filter_map(|s| moved(&s.user)?.held_ms).collect();
    let _ = write!(text, "{} people: {}", standings.len(), each.join(", "));
    if let Some(most) = waited.iter().max() {
        let _ = write!(text, "; logins waited {} at most", spoken(*most));
    }
    context.out.result(text);
    Ok(Exit::Ok)
}

fn table<'e>(standings: &[Standing], moved: &impl Fn(&str) -> Option<&'e Entry>) -> Result<String, Failure> {
    let failed = |e: String| Failure::new(format!("the table cannot be written: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["user", "state", "phase", "messages", "octets", "exceptions", "moved_at", "held_ms", "fault"];
    writer.write_record(header).map_err(|e| failed(e.to_string()))?;
    for s in standings {
        let m = s.mailbox.as_ref();
        let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        let past = moved(&s.user);
        let row = [
            s.user.clone(),
            s.state.as_str().to_owned(),
            m.map_or("", |m| m.phase.as_str()).to_owned(),
            number(m.map(|m| m.messages)),
            number(m.map(|m| m.octets)),
            number(m.map(|m| m.exceptions)),
            past.map_or_else(String::new, |e| e.at.clone()),
            number(past.and_then(|e| e.held_ms)),
            m.and_then(|m| m.fault.clone()).unwrap_or_default(),
        ];
        writer.write_record(row).map_err(|e| failed(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
}

fn go(name: &str, direction: Direction, no_soak: bool, context: &Context) -> Answer {
    let course = open(name, context, moving::cohort)?;
    let (node, chosen) = moving::cohort(&course.project, name)?;
    if direction == Direction::New {
        roster::alone(&course.project, [name])?;
    }
    let users = course.users(chosen.addresses());
    let rules = match direction {
        Direction::New => Rules::of(node),
        Direction::Old => Rules::of(node).back(),
    };
    let diary = course.diary(context);
    let done = runtime::block_on(async {
        let turn = Turn::take(context, &course.project, direction).await?;
        let moved = async {
            let mut done: Vec<Transfer> = Vec::new();
            'waves: for wave in waves(&users, &rules) {
                context.out.note(format!("{}: {} people", wave.name(), wave.count()));
                let begun = done.len();
                for group in &wave.groups {
                    turn.still().await?;
                    let ended = course.transfer(group, direction, &diary, &context.out).await?;
                    if !context.json() {
                        ended.iter().for_each(|t| context.out.result(moving::line(t, direction)));
                    }
                    done.extend(ended);
                    if !goes_on(&done, users.len(), &rules) {
                        break 'waves;
                    }
                }
                let arrived = done.iter().skip(begun).any(|t| t.end == End::Arrived);
                if let Some(soak) = wave.soak.filter(|_| !no_soak && arrived) {
                    context.out.note(format!(
                        "{} watched for {} before the others follow",
                        wave.name(),
                        format_duration(soak)
                    ));
                    tokio::time::sleep(soak).await;
                }
            }
            Ok::<_, Failure>(done)
        };
        turn.during(moved).await
    })??;
    ended(&done, users.len(), direction, context)
}

fn ended(done: &[Transfer], all: usize, direction: Direction, context: &Context) -> Answer {
    if context.json() {
        context.out.json(&done);
    }
    let fine = done.iter().filter(|t| matches!(t.end, End::Arrived | End::Already)).count();
    let there = if direction == Direction::New { "on the new side" } else { "on the old side" };
    let waited = done
        .iter()
        .filter_map(|t| t.held_ms)
        .max()
        .map_or_else(String::new, |ms| format!("; logins waited {} at most", spoken(ms)));
    context.out.note(format!("{fine} of {all} people are {there}{waited}"));
    match (fine == all, done.len() < all) {
        (true, _) => Ok(Exit::Ok),
        (false, true) => {
            Err(Failure::new(format!("stopped after {} of {all} people: more failed than may", done.len()))
                .help("each line says why; mend it and say the same command again: who has arrived stays there"))
        }
        (false, false) => Ok(Exit::Error),
    }
}
