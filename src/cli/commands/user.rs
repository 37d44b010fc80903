use std::fmt::Write as _;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::moving::{self, Course, Entry, Turn, spoken};
use super::super::project::Project;
use super::super::runtime;
use super::Answer;
use crate::model::topology::Topology;
use crate::model::unit::format_bytes;
use crate::moving::standing::Standing;
use crate::moving::transfer::{Direction, End, Todo, todo};
use crate::people::{self, Member};
use crate::services::proxy::route::Route;

/// One person's move, for the help desk: where they stand, why, and there and back
///
/// Nothing is remembered that can be asked: gates and content service say where somebody stands. A move holds logins for some seconds,
/// carries what is left, verifies it, and lets the user in on the new side; when anything is wrong they are let in on the old side
/// as before. Cut off and done again it comes to the same end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover user show ann@acme.example --env production       on which side, how far, since when
  cutover user explain ann@acme.example                     why there, and what a move would do
  cutover user move ann@acme.example                        to the new side, outside of her cohort's turn
  cutover user rollback ann@acme.example                    back, with the mail that has come since")]
pub struct Args {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Show where people stand
    Show(Who),
    /// Show why they stand there, and what a move and a rollback would do
    Explain(Who),
    /// Move them to the new side
    Move(Who),
    /// Bring them back to the old side, with the mail that has come to the new one
    Rollback(Who),
}

#[derive(Debug, clap::Args)]
struct Who {
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("user", &[Format::Text, Format::Json])?;
    match &args.command {
        UserCommand::Show(who) => show(&who.addresses, false, context),
        UserCommand::Explain(who) => show(&who.addresses, true, context),
        UserCommand::Move(who) => transfer(&who.addresses, Direction::New, context),
        UserCommand::Rollback(who) => transfer(&who.addresses, Direction::Old, context),
    }
}

/// What moves these people. All of them have to be of one migration, as far as they are in a cohort.
fn course(addresses: &[String], context: &Context) -> Result<Course, Failure> {
    if let Some(bad) = addresses.iter().find(|a| !a.contains('@') || a.chars().any(char::is_control)) {
        return Err(Failure::new(format!("{bad:?} is no mail address")));
    }
    let project = Project::compile(context)?;
    let mut migration: Option<String> = None;
    for address in addresses {
        for (cohort, _) in people::cohorts_of(&project.made.people, address) {
            let node = project.topology.get("cohort", cohort);
            let name = node.and_then(|c| c.reference("migration")).map(|id| id.name.to_string());
            if migration.is_some() && name != migration {
                return Err(Failure::new("these people are of different migrations").help("name them one by one"));
            }
            migration = name;
        }
    }
    Course::of(context, project, migration.as_deref())
}

fn transfer(addresses: &[String], direction: Direction, context: &Context) -> Answer {
    let course = course(addresses, context)?;
    let diary = course.diary(context);
    let users = course.users(addresses.iter().map(String::as_str));
    let done = runtime::block_on(async {
        let turn = Turn::take(context, &course.project, direction).await?;
        turn.during(course.transfer(&users, direction, &diary, &context.out)).await
    })??;
    if context.json() {
        context.out.json(&done);
    } else {
        done.iter().for_each(|t| context.out.result(moving::line(t, direction)));
    }
    let fine = done.iter().all(|t| matches!(t.end, End::Arrived | End::Already));
    Ok(if fine { Exit::Ok } else { Exit::Error })
}

fn show(addresses: &[String], explain: bool, context: &Context) -> Answer {
    let course = course(addresses, context)?;
    let users = course.users(addresses.iter().map(String::as_str));
    let standings = runtime::block_on(course.look(&users))??;
    let diary = course.diary(context).read()?;
    let mut documents = Vec::new();
    for standing in &standings {
        let cohorts = people::cohorts_of(&course.project.made.people, &standing.user);
        let past = diary.get(&standing.user).map(Vec::as_slice).unwrap_or_default();
        let page = Page { topology: &course.project.topology, standing, cohorts: &cohorts, past };
        match context.json() {
            true => documents.push(page.json()),
            false => context.out.result(page.text(explain)),
        }
    }
    if context.json() {
        context.out.json(&documents);
    }
    Ok(Exit::Ok)
}

/// All that there is to say about one person.
struct Page<'a> {
    topology: &'a Topology,
    standing: &'a Standing,
    cohorts: &'a [(&'a str, &'a Member)],
    past: &'a [Entry],
}

impl Page<'_> {
    fn json(&self) -> serde_json::Value {
        let cohorts: Vec<_> =
            self.cohorts.iter().map(|(name, m)| serde_json::json!({ "name": name, "by": m.by })).collect();
        serde_json::json!({
            "user": self.standing.user, "state": self.standing.state, "says": self.standing.state.says(), "routes": self.standing.routes,
            "mailbox": self.standing.mailbox, "cohorts": cohorts, "moves": self.past,
        })
    }

    fn text(&self, explain: bool) -> String {
        let s = self.standing;
        let mut text = format!("{}: {}\n  {}\n", s.user, s.state.as_str(), s.state.says());
        let mut fact = |name: &str, what: String| _ = writeln!(text, "  {name:<9} {what}");
        match self.cohorts {
            [] => fact("cohort", "none: moves only by hand".to_owned()),
            [(cohort, member)] => fact("cohort", self.of_cohort(cohort, member)),
            many => {
                for (cohort, member) in many {
                    fact("cohort", self.of_cohort(cohort, member));
                }
                fact("", "in more than one: take them out of all but one".to_owned());
            }
        }
        let accounts = self.topology.all("mail-account").filter(|a| a.id.name.eq_ignore_ascii_case(&s.user));
        let on: Vec<String> =
            accounts.flat_map(|a| a.refs("on").map(|(id, _)| id.name.to_string()).collect::<Vec<_>>()).collect();
        if !on.is_empty() {
            fact("account", format!("on {}", on.join(", ")));
        }
        let by_gate = s.routes.iter().map(|(gate, r)| format!("{} on {gate}", r.map_or("by default", Route::as_str)));
        fact("route", by_gate.collect::<Vec<_>>().join(", "));
        match &s.mailbox {
            None => fact("mailbox", "not among those of the content service".to_owned()),
            Some(m) => {
                let all = m.total.max(m.messages);
                let mut what =
                    format!("{}, {} of {all} messages, {}", m.phase.as_str(), m.messages, format_bytes(m.octets));
                if m.exceptions > 0 {
                    let _ = write!(what, ", {} exceptions: `cutover-cms report {}` lists them", m.exceptions, m.user);
                }
                if m.paused {
                    what += ", paused";
                }
                fact("mailbox", what);
                if let Some(fault) = &m.fault {
                    fact("", fault.clone());
                }
            }
        }
        for e in self.past.iter().rev().take(if explain { 20 } else { 1 }) {
            fact("last", entry(e));
        }
        if explain {
            for (name, direction) in [("move", Direction::New), ("rollback", Direction::Old)] {
                fact(name, would(&todo(s, direction), direction));
            }
        }
        text.trim_end().to_owned()
    }

    fn of_cohort(&self, name: &str, member: &Member) -> String {
        let mut text = format!("{name} ({})", member.by);
        let Some(cohort) = self.topology.get("cohort", name) else { return text };
        if let Some(migration) = cohort.reference("migration") {
            let _ = write!(text, " of migration {}", migration.name);
        }
        if let Some(window) = self.topology.target(cohort, "window") {
            let _ = write!(text, ", window {}", window.id.name);
            if let Some(start) = window.text("start") {
                let _ = write!(text, " at {start}");
            }
        }
        text
    }
}

fn entry(e: &Entry) -> String {
    let what = match (e.arrived, e.to.as_str()) {
        (true, "new") => "moved",
        (true, _) => "brought back",
        (false, _) => "not moved",
    };
    let mut text = format!("{what} at {} by {}", e.at, e.by);
    if let Some(ms) = e.held_ms {
        let _ = write!(text, ", logins waited {}", spoken(ms));
    }
    if let Some(why) = &e.why {
        let _ = write!(text, ": {why}");
    }
    text
}

fn would(todo: &Todo, direction: Direction) -> String {
    let side = direction.side().as_str();
    match todo {
        Todo::Nothing => "nothing: there already".to_owned(),
        Todo::Refuse(why) => format!("refused: {why}"),
        Todo::Release => format!("let in on the {side} side; all is carried already"),
        Todo::Carry => {
            let pass = match direction {
                Direction::New => "the last changes are carried and verified",
                Direction::Old => "what came to the new side is carried back",
            };
            format!("logins wait and sessions are closed, {pass}, then let in on the {side} side")
        }
    }
}
