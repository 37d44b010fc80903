//! The move of people from the command line: the gates and the content service of a migration within reach, and a diary of what was done.

mod content;
mod crew;
mod desk;
mod diary;
pub mod old_side;
pub mod pace;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crew::{Crew, Crews};
pub use desk::Desk;
pub use diary::{Diary, Entry};
pub use turn::Turn;

use super::context::Context;
use super::failure::Failure;
use super::near::Near;
use super::output::Output;
use super::project::Project;
use super::routes::Reached;
use crate::execution::{Clock as _, SystemClock};
use crate::journal::{Holder, LocalLock, StateDir};
use crate::model::topology::Node;
use crate::model::unit::{format_bytes, format_duration};
use crate::moving::standing::{self, Silent, Standing};
use crate::moving::transfer::{self, Direction, End, Told, Transfer, Wish};
use crate::people::{Chosen, Unasked};
use crate::services::cms::report::Brief;
pub use content::Service;

/// How long an answer of the content service that was lost is asked for again; logins wait as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom a command is about, and what moves them.
pub struct Course {
    pub project: Project,
    pub near: Arc<Near>,
    pub gates: Reached,
    pub service: Service,
    /// `downtime-max` of the migration.
    limit: Option<Duration>,
}

impl Course {
    /// Of one migration; without one, the only proxy and the only content service of the topology.
    pub fn of(context: &Context, project: Project, migration: Option<&str>) -> Result<Self, Failure> {
        let node = migration.and_then(|name| project.topology.get("migration", name));
        let named = |field: &str| node.and_then(|m| m.reference(field)).map(|id| id.name.to_string());
        let near = Arc::new(Near::of(context, &project));
        let gates = Reached::of(&project, Arc::clone(&near), named("proxy").as_deref(), &[])?;
        if gates.by_file {
            return Err(Failure::new(format!("proxy {} takes its routes from a file that others write", gates.proxy))
                .help("move people with what writes that file, or write route-by=store"));
        }
        let service = Service::of(&project, Arc::clone(&near), named("cms").as_deref())?;
        let limit = node.and_then(|m| m.duration("downtime-max"));
        Ok(Self { project, near, gates, service, limit })
    }

    /// Addresses as routes and the content service know them.
    pub fn users<'a>(&self, addresses: impl Iterator<Item = &'a str>) -> Vec<String> {
        let small = |a: &str| if self.gates.lower_case { a.to_lowercase() } else { a.to_owned() };
        addresses.map(small).collect()
    }

    pub async fn look(&self, users: &[String]) -> Result<Vec<Standing>, Failure> {
        standing::look(&self.gates, &self.service, users, self.gates.default).await.map_err(silent)
    }

    /// Moves or takes back people that are held together; each end goes into the diary at once.
    pub async fn transfer(
        &self,
        users: &[String],
        direction: Direction,
        diary: &Diary,
        out: &Output,
    ) -> Result<Vec<Transfer>, Failure> {
        let wish = Wish { direction, default: self.gates.default, patience: PATIENCE, limit: self.limit };
        let tell = |told: Told<'_>| match told {
            Told::Held(users) => out.passing(&format!("{} held", count(users.len()))),
            Told::Carried(done) => out.passing(&format!("{} carried", done.user)),
            Told::Waiting(why) => out.passing(&format!("no answer, asked again: {why}")),
            Told::Released(users, to, _) => out.passing(&format!("{} released to {}", count(users.len()), to.as_str())),
        };
        let done = transfer::transfer(&self.gates, &self.service, users, wish, &tell).await.map_err(silent)?;
        diary.write(direction, &done)?;
        Ok(done)
    }

    /// What the content service reports of each, by user; or why it said nothing.
    pub async fn reports(&self, users: &[String]) -> Result<BTreeMap<String, Brief>, String> {
        let all = self.service.reports(users).await?;
        Ok(all.into_iter().map(|b| (b.mailbox.user.to_lowercase(), b)).collect())
    }

    pub fn diary(&self, context: &Context) -> Diary {
        Diary::of(&self.project.state(context))
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 user".to_owned() } else { format!("{n} users") }
}

fn silent(silent: Silent) -> Failure {
    match silent {
        Silent::Gates(broken) => super::commands::routes_failure(&broken),
        Silent::Content(why) => {
            Failure::new(format!("the content service cannot be asked; nothing was changed: {why}"))
                .help("is its host up, and cutover-cms applied there?")
        }
    }
}

/// One line of what became of somebody.
pub fn line(t: &Transfer, direction: Direction) -> String {
    let arrived = match direction {
        Direction::New => "moved",
        Direction::Old => "back",
    };
    let word = match t.end {
        End::Arrived => arrived,
        End::Already => "already there",
        End::Refused => "not begun",
        End::Stayed => "stayed",
        End::Held => "HELD STILL",
    };
    let mut text = format!("{}: {word}", t.user);
    if let Some(ms) = t.held_ms {
        text += &format!(", logins waited {}", spoken(ms));
    }
    if let Some(passed) = &t.passed {
        text += &format!(", {} messages ({}) in the last pass", passed.appended, format_bytes(passed.octets));
    }
    if let Some(why) = &t.why {
        text += &format!(": {why}");
    }
    text
}

/// The cohort of that name with its people, as far as its own lists say.
pub fn listed<'p>(project: &'p Project, name: &str) -> Result<(&'p Node, &'p Chosen), Failure> {
    let known = || project.topology.all("cohort").map(|c| c.id.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = project.topology.get("cohort", name).zip(project.made.people.get(name));
    let (node, chosen) = found.ok_or_else(|| {
        Failure::new(format!("no cohort `{name}`")).help(match known() {
            none if none.is_empty() => {
                "this topology has no cohort: write cohort NAME migration=.. type=pilot".to_owned()
            }
            names => format!("known: {names}"),
        })
    })?;
    match chosen.unasked.iter().find(|line| line.of == name) {
        None => Ok((node, chosen)),
        Some(line) => Err(unknown(name, line)),
    }
}

/// Its people, where no list of another cohort is missing either that says who is left for it. That refuses a way back as well: whom a
/// cohort moved whose list has gone is not for the rest to take back.
pub fn cohort<'p>(project: &'p Project, name: &str) -> Result<(&'p Node, &'p Chosen), Failure> {
    let (node, chosen) = listed(project, name)?;
    match chosen.unasked.first() {
        None => Ok((node, chosen)),
        Some(line) => Err(unknown(name, line)),
    }
}

/// A line that nothing here can answer.
fn unknown(name: &str, line: &Unasked) -> Failure {
    let (field, of) = (line.field, &line.of);
    let whose = if of == name { String::new() } else { format!("who is left for cohort {name} is not known: ") };
    match field {
        "ldap" => {
            Failure::new(format!("{whose}cohort {of} names people by `{field}`, and there is no export of a directory"))
                .help("write ldif \"users/export.ldif\" beside the filter, or at a node `accounts`")
        }
        _ => Failure::new(format!("{whose}cohort {of} names people by a `{field}` that no list knows: {}", line.named))
            .help("write them to a list: select { csv \"users/NAME.csv\"; }"),
    }
}

/// A duration of milliseconds, for people.
pub fn spoken(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{:.1}s", ms as f64 / 1000.0),
        _ => format_duration(Duration::from_secs(ms / 1000)),
    }
}

/// One command of this kind at a time, from this state folder.
pub fn lock(state: &StateDir) -> Result<LocalLock, Failure> {
    lock_as(state, &Holder::this_process("", SystemClock.now()))
}

fn lock_as(state: &StateDir, holder: &Holder) -> Result<LocalLock, Failure> {
    state.create().map_err(|e| {
        Failure::new(format!("the state folder {} cannot be made: {e}", state.path().display()))
            .help("give another place with --state-dir")
    })?;
    LocalLock::acquire(state, holder).map_err(super::work::locked)
}
