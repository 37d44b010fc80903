//! One group of people from a side to the other, together: held at once, carried side by side, released as it came out.
//!
//! ```text
//! look ──▶ hold on all gates ──▶ final ──▶ verified: release to new
//!   │           │                  └ left over, failed, no answer in time: release to old; nothing is lost, the copy goes on
//!   │           └ a gate fails: those that obeyed have their former routes again
//!   └ nobody answers: nothing was changed
//! ```
//!
//! The way back is the same with `rollback` and the sides exchanged. Cut off at any place and done again it comes to the same end,
//! because each begins with a look at what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::content::{Carry, Content};
use super::gates::{self, Broken, Gates};
use super::standing::{self, Silent, Standing, State};
use crate::model::unit::format_duration;
use crate::services::cms::ledger::{Passed, Phase, Way};
use crate::services::cms::service::wire::PassDone;
use crate::services::proxy::route::Route;

/// What is left of the time that logins may wait when the content service answers: for its way back, and for the routes.
const ANSWERING: Duration = Duration::from_secs(3);

/// Which way people go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    New,
    Old,
}

impl Direction {
    pub fn side(self) -> Route {
        match self {
            Direction::New => Route::New,
            Direction::Old => Route::Old,
        }
    }

    fn from(self) -> Route {
        match self {
            Direction::New => Route::Old,
            Direction::Old => Route::New,
        }
    }

    fn carry(self) -> Carry {
        match self {
            Direction::New => Carry::Final,
            Direction::Old => Carry::Rollback,
        }
    }
}

/// What became of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// On the side where they were to go.
    Arrived,
    /// Were there before.
    Already,
    /// Not begun; nothing was changed.
    Refused,
    /// Held, and then let in again on the side that they came from.
    Stayed,
    /// Held still: a gate did not obey.
    Held,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transfer {
    pub user: String,
    pub end: End,
    /// For people: why it is not what was asked for.
    pub why: Option<String>,
    /// How long logins waited, in milliseconds.
    pub held_ms: Option<u64>,
    pub passed: Option<Passed>,
}

/// What a watcher is told while it goes on.
#[derive(Debug)]
pub enum Told<'a> {
    Held(&'a [String]),
    Carried(&'a PassDone),
    /// There was no answer; it is asked again.
    Waiting(&'a str),
    Released(&'a [String], Route, Duration),
}

#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub direction: Direction,
    /// The side of users without a route of their own.
    pub default: Route,
    /// How long an answer of the content service that was lost is asked for again. Logins wait as long.
    pub patience: Duration,
    /// How long anybody may be held; who would be held for longer stays where they are.
    pub limit: Option<Duration>,
}

/// What is to be done for one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    Nothing,
    Refuse(String),
    /// All is carried; only the route is left.
    Release,
    Carry,
}

/// The decision, from nothing but what is true now.
pub fn todo(standing: &Standing, direction: Direction) -> Todo {
    let refuse = |what: &str| Todo::Refuse(what.to_owned());
    let phase = standing.phase();
    let back = standing.mailbox.as_ref().is_some_and(|m| m.way == Way::Back);
    let on = |side: Route| standing.routes.values().any(|r| *r == Some(side));
    let unfit = || match phase {
        None => refuse("the content service has no such mailbox"),
        Some(Phase::Waiting | Phase::Bulk) => {
            refuse("the mailbox is not copied yet; the move would take as long as the copy")
        }
        _ => refuse("copying stopped: `cutover-cms status` says why; mend it, then `cutover-cms retry`"),
    };
    match (direction, standing.state) {
        (_, State::Blocked) => refuse("logins are refused by the route: `cutover routes set --to old` first"),
        (Direction::New, State::Moved) => Todo::Nothing,
        // A last pass that came to its end after nobody waited for it any more, or a route that was changed by hand: whatever is on the new
        // side goes back.
        (Direction::Old, _) if standing.strays() => Todo::Carry,
        (Direction::Old, State::Back | State::Waiting | State::Copying | State::Ready | State::Failed) => Todo::Nothing,
        (Direction::Old, State::Unknown) if !on(Route::New) => Todo::Nothing,
        (Direction::New, _) if standing.lags() => Todo::Carry,
        (Direction::New, State::Astray) if on(Route::New) => refuse(
            "the route leads to the new side already, where the mailbox is not up to date: `cutover routes set --to old`, then move",
        ),
        // Old here and new there: nobody has moved them like that.
        (_, State::Apart) if on(Route::New) && !on(Route::Held) => {
            refuse("the gates do not agree: `cutover routes set` first")
        }
        (Direction::New, _) => match phase {
            Some(Phase::Moved) if !standing.strays() => Todo::Release,
            Some(Phase::Moved | Phase::Delta | Phase::Back) => Todo::Carry,
            _ => unfit(),
        },
        (Direction::Old, _) => match phase {
            Some(Phase::Moved) => Todo::Carry,
            Some(Phase::Failed) if back => Todo::Carry,
            Some(_) if on(Route::New) => Todo::Carry,
            Some(_) => Todo::Release,
            None => unfit(),
        },
    }
}

/// Moves or takes back a group. An error says that nothing was changed.
pub async fn transfer<G: Gates, C: Content>(
    gates: &G,
    content: &C,
    users: &[String],
    wish: Wish,
    tell: &(impl Fn(Told<'_>) + Sync),
) -> Result<Vec<Transfer>, Silent> {
    let standings = standing::look(gates, content, users, wish.default).await?;
    let mut done: BTreeMap<String, Transfer> = BTreeMap::new();
    let mut end = |user: &str, end: End, why: Option<String>, held: Option<Duration>, passed: Option<Passed>| {
        let held_ms = held.map(|h| u64::try_from(h.as_millis()).unwrap_or(u64::MAX));
        done.insert(user.to_owned(), Transfer { user: user.to_owned(), end, why, held_ms, passed });
    };
    let (mut carry, mut release) = (Vec::new(), Vec::new());
    let home: BTreeMap<&str, Route> = standings.iter().map(|s| (s.user.as_str(), home(s, wish.direction))).collect();
    for s in &standings {
        match todo(s, wish.direction) {
            Todo::Nothing => end(&s.user, End::Already, None, None, None),
            Todo::Refuse(why) => end(&s.user, End::Refused, Some(why), None, None),
            Todo::Carry => carry.push(s.user.clone()),
            Todo::Release => release.push(s.user.clone()),
        }
    }
    for (user, why) in noted(content, &standings, &mut carry).await {
        end(&user, End::Refused, Some(format!("nothing was changed: {why}")), None, None);
    }
    let began = Instant::now();
    let mut to_from = Vec::new();
    let mut passes = BTreeMap::new();
    if !carry.is_empty() {
        match gates::set(gates, &carry, Route::Held, true).await {
            Ok(_) => {
                tell(Told::Held(&carry));
                // Who works on the old side while the new one counts as theirs: what they have done there since goes over first. Taken
                // back as it is, the new side would bring again what they have deleted.
                // And the other way round.
                let (side, other) = match wish.direction {
                    Direction::Old => (Route::Old, Direction::New),
                    Direction::New => (Route::New, Direction::Old),
                };
                let strays = carry.iter().filter(|u| home.get(u.as_str()) == Some(&side));
                let strays: Vec<String> = strays.cloned().collect();
                if !strays.is_empty() {
                    let first = Wish { direction: other, ..wish };
                    let mut came = carried(content, &strays, first, tell).await;
                    for user in strays {
                        let why = match came.remove(&user) {
                            Some(Ok(_)) => continue,
                            Some(Err(why)) => why,
                            None => "the content service said nothing about it".to_owned(),
                        };
                        carry.retain(|u| *u != user);
                        to_from.push((user, why));
                    }
                }
                let came = match carry.is_empty() {
                    true => BTreeMap::new(),
                    false => carried(content, &carry, wish, tell).await,
                };
                for user in &carry {
                    let said = came.get(user);
                    match said {
                        Some(Ok(passed)) => {
                            passes.insert(user.clone(), passed.clone());
                            release.push(user.clone());
                        }
                        Some(Err(why)) => to_from.push((user.clone(), why.clone())),
                        None => to_from.push((user.clone(), "the content service said nothing about it".to_owned())),
                    }
                }
            }
            Err(broken) => {
                let (kind, why) = not_held(&broken);
                carry.iter().for_each(|user| end(user, kind, Some(why.clone()), None, None));
            }
        }
    }
    let side = wish.direction.side();
    if !release.is_empty() {
        let out = gates::set(gates, &release, side, false).await;
        let held = began.elapsed();
        match out {
            Ok(_) => {
                tell(Told::Released(&release, side, held));
                for user in &release {
                    let passed = passes.remove(user);
                    end(user, End::Arrived, None, passed.is_some().then_some(held), passed);
                }
            }
            Err(broken) => {
                let why = broken.to_string();
                release.iter().for_each(|user| end(user, End::Held, Some(why.clone()), None, None));
            }
        }
    }
    for side in [Route::Old, Route::New] {
        let (users, whys): (Vec<String>, Vec<String>) =
            to_from.iter().filter(|(user, _)| home.get(user.as_str()) == Some(&side)).cloned().unzip();
        if users.is_empty() {
            continue;
        }
        let out = gates::set(gates, &users, side, false).await;
        let held = began.elapsed();
        if out.is_ok() {
            tell(Told::Released(&users, side, held));
        }
        for (user, why) in users.into_iter().zip(whys) {
            match &out {
                Ok(_) => end(&user, End::Stayed, Some(why), Some(held), None),
                Err(broken) => end(&user, End::Held, Some(format!("{why}; {broken}")), None, None),
            }
        }
    }
    Ok(users.iter().filter_map(|u| done.remove(u)).collect())
}

/// Has it written down, before anybody is held, who works on the old side though the new one counts as theirs. Whose note cannot be made
/// is not carried: after a death in the middle what they have deleted would come back.
async fn noted<C: Content>(content: &C, standings: &[Standing], carry: &mut Vec<String>) -> Vec<(String, String)> {
    let mut refused = Vec::new();
    for on in [true, false] {
        let other = |s: &&Standing| {
            let known = s.mailbox.as_ref().is_some_and(|m| m.astray);
            s.strays() == on && known != on && carry.contains(&s.user)
        };
        let users: Vec<String> = standings.iter().filter(other).map(|s| s.user.clone()).collect();
        if users.is_empty() {
            continue;
        }
        if let Err(why) = content.astray(&users, on).await {
            carry.retain(|u| !users.contains(u));
            refused.extend(users.into_iter().map(|u| (u, why.clone())));
        }
    }
    refused
}

/// Where somebody is let in again when it comes to nothing: where they came from.
fn home(standing: &Standing, direction: Direction) -> Route {
    match (standing.strays(), standing.lags()) {
        (true, _) => Route::Old,
        (_, true) => Route::New,
        _ => direction.from(),
    }
}

/// The pass of each that came out as it should, or why not.
async fn carried<C: Content>(
    content: &C,
    users: &[String],
    wish: Wish,
    tell: &(impl Fn(Told<'_>) + Sync),
) -> BTreeMap<String, Result<Passed, String>> {
    let began = Instant::now();
    loop {
        let left = wish.limit.map(|limit| limit.saturating_sub(began.elapsed()));
        // One slow mailbox sends nobody else back: the service says in time who came out right.
        let pass = content.carry(users, wish.direction.carry(), left.map(|left| left - ANSWERING.min(left / 5)));
        let answer = match wish.limit {
            Some(limit) => match tokio::time::timeout(limit.saturating_sub(began.elapsed()), pass).await {
                Ok(answer) => answer,
                Err(_) => {
                    // The pass may still come to its end there. The next one begins with what is true then.
                    let why = format!(
                        "the last pass was not over after {}, as long as logins may wait",
                        format_duration(limit)
                    );
                    return users.iter().map(|u| (u.clone(), Err(why.clone()))).collect();
                }
            },
            None => pass.await,
        };
        match answer {
            Ok(done) => {
                done.iter().for_each(|d| tell(Told::Carried(d)));
                return done.into_iter().map(|d| (d.user.clone(), judged(d))).collect();
            }
            // Whether it was done is not known. Done a second time it changes nothing, since nobody works on the mailbox.
            Err(why) if began.elapsed() < wish.patience => {
                tell(Told::Waiting(&why));
                tokio::time::sleep(Duration::from_secs(1).min(wish.patience)).await;
            }
            Err(why) => {
                let why = format!("the content service does not answer: {why}");
                return users.iter().map(|u| (u.clone(), Err(why.clone()))).collect();
            }
        }
    }
}

fn judged(done: PassDone) -> Result<Passed, String> {
    match (done.passed, done.fault) {
        (_, Some(fault)) => Err(match done.help {
            Some(help) => format!("{fault}; {help}"),
            None => fault,
        }),
        (Some(passed), None) if passed.borne => Ok(passed),
        (Some(passed), None) => {
            let user = done.user;
            Err(format!("{} messages could not be carried: `cutover-cms report {user}` lists them", passed.exceptions))
        }
        (None, None) => Err("the content service did not say what came of it".to_owned()),
    }
}

fn not_held(broken: &Broken) -> (End, String) {
    let still: BTreeSet<&String> = broken.held.iter().collect();
    match still.is_empty() && matches!(broken.phase, gates::Phase::Asked | gates::Phase::Held) {
        true => (End::Refused, format!("the gates did not hold the user, and have the former routes again: {broken}")),
        false => (End::Held, format!("a gate did not obey: {broken}")),
    }
}
