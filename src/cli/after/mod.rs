//! What is done when the people of a cohort have moved, and what is left then.
//!
//! ```text
//! old side's queue ──delivered there──▶ old mailboxes ──a late pass, until one finds nothing──▶ new side
//! gates ──captured passwords of who has moved──▶ destroyed, each with the digest of what it was
//! ```
//!
//! Cut off and done again it comes to the same end: nothing of it is remembered, all of it is asked.

mod queue;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::calendar::record;
use super::certificate::all_there;
use super::failure::Failure;
use super::moving::{Course, old_side};
use super::records::Signer;
use super::runtime;
use crate::model::host::HostAccess;
use crate::moving::content::{Carry, Content as _};
use crate::people::Chosen;
use crate::process::after::{AFTER_VERSION, After, Destroyed, File, Late, Queue};
use crate::process::board::is_rehearsal;
use crate::process::certificate::Known;
use crate::services::cms::service::wire::PassDone;

const BETWEEN: Duration = Duration::from_secs(2);
/// People whose late passes are asked for in one go: an answer comes when the last of them is over.
const TOGETHER: usize = 100;
/// Late passes of somebody to whom mail comes faster than that are not over.
const PASSES: usize = 5;

/// Asks and does all of it. Somebody who has not moved is an error, before anything was done.
pub fn gather(
    course: &Course,
    cohort: &str,
    chosen: &Chosen,
    signer: Option<&Signer>,
    patience: Duration,
) -> Result<After, Failure> {
    let users = course.users(chosen.addresses());
    let topology = &course.project.topology;
    runtime::block_on(async {
        all_there(cohort, &course.look(&users).await?)?;
        let queue = match old_side::host(&course.project, cohort) {
            Ok(host) => drain(course, host, &users, patience).await,
            Err(why) => Err(why),
        };
        // What the queue has put into mailboxes goes over with the rest.
        let late = late(course, &users).await;
        // Whose late mail is not all over has a mailbox that is asked for again, perhaps by this password.
        let over: Vec<String> =
            users.iter().filter(|u| late.get(*u).is_none_or(|l| l.fault.is_none())).cloned().collect();
        let passwords = course.gates.purge(&over).await.into_iter().map(|(gate, found)| {
            let destroyed = found.map(|purged| Destroyed {
                left: purged.left as u64,
                files: purged
                    .files
                    .into_iter()
                    .map(|f| File { user: f.user, file: f.file, sha256: f.sha256 })
                    .collect(),
            });
            (gate, destroyed.map_or_else(Known::not, Known::Is))
        });
        Ok(After {
            version: AFTER_VERSION,
            organization: course.project.site.organization.clone(),
            environment: topology.environment.clone(),
            cohort: cohort.to_owned(),
            made: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH),
            by: signer.map_or_else(|| record::Entry::new("").by, |s| s.person.clone()),
            rehearsal: topology.environment().is_some_and(is_rehearsal),
            list: chosen.digest(),
            people: users.len() as u64,
            queue: queue.map_or_else(Known::not, Known::Is),
            late,
            passwords: passwords.collect(),
        })
    })?
}

/// Tells it to deliver, until nothing of these people is left or patience is over.
async fn drain(course: &Course, host: &HostAccess, users: &[String], patience: Duration) -> Result<Queue, String> {
    let end = Instant::now() + patience;
    let mut found = None;
    loop {
        let queue =
            old_side::queue(&course.near, host).await?.ok_or_else(|| format!("{} has no Postfix", host.name))?;
        let (left, others) = queue::read(&queue, users)?;
        let found = *found.get_or_insert(left.len() as u64);
        if left.is_empty() || Instant::now() >= end {
            return Ok(Queue { found, left, others });
        }
        old_side::flush(&course.near, host).await?;
        tokio::time::sleep(BETWEEN).await;
    }
}

/// Passes of each until one of them finds nothing.
async fn late(course: &Course, users: &[String]) -> BTreeMap<String, Late> {
    let mut all: BTreeMap<String, Late> = BTreeMap::new();
    let mut open = users.to_vec();
    for _ in 0..PASSES {
        let mut done: BTreeMap<String, Result<PassDone, String>> = BTreeMap::new();
        for some in open.chunks(TOGETHER) {
            match course.service.carry(some, Carry::Late, None).await {
                Ok(came) => done.extend(came.into_iter().map(|d| (d.user.clone(), Ok(d)))),
                Err(why) => done.extend(some.iter().map(|u| (u.clone(), Err(why.clone())))),
            }
        }
        let mut next = Vec::new();
        for user in open {
            match came(done.remove(&user)) {
                Ok(0) => {}
                Ok(carried) => {
                    all.entry(user.clone()).or_default().carried += carried;
                    next.push(user);
                }
                Err(why) => all.entry(user).or_default().fault = Some(why),
            }
        }
        open = next;
        if open.is_empty() {
            return all;
        }
    }
    let still = || "mail still comes to the old side: is it told to pass it on?".to_owned();
    open.into_iter().for_each(|u| all.entry(u).or_default().fault = Some(still()));
    all
}

/// How many messages a pass has carried.
fn came(done: Option<Result<PassDone, String>>) -> Result<u64, String> {
    match done.ok_or("the content service says nothing of this mailbox")?? {
        PassDone { fault: Some(fault), .. } => Err(fault),
        PassDone { passed: Some(passed), .. } => passed.fault.map_or(Ok(passed.appended), Err),
        PassDone { passed: None, .. } => Err("the content service began no pass".to_owned()),
    }
}

/// For a terminal.
pub fn text(after: &After) -> String {
    let mut out = format!("{}: {} people on the new side", after.cohort, after.people);
    out += &match &after.queue {
        Known::Is(q) => format!(
            "\n  queue of the old side: {} messages found for them, {} left; {} for others",
            q.found,
            q.left.len(),
            q.others
        ),
        Known::Not { not_known } => format!("\n  queue of the old side: not known, {not_known}"),
    };
    let carried: u64 = after.late.values().map(|l| l.carried).sum();
    out += &format!(
        "\n  late mail: {carried} messages carried over, of {} people",
        after.late.values().filter(|l| l.carried > 0).count()
    );
    if after.passwords.is_empty() {
        out += "\n  captured passwords: the proxy captures none";
    }
    for (gate, found) in &after.passwords {
        out += &match found {
            Known::Is(d) => {
                format!("\n  captured passwords on {gate}: {} destroyed, {} left of others", d.files.len(), d.left)
            }
            Known::Not { not_known } => format!("\n  captured passwords on {gate}: not known, {not_known}"),
        };
    }
    out
}
