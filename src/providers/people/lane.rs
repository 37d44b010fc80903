//! One cohort: observed, moved wave by wave, taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::watch::{Pace, now};
use super::{Came, Fit, Listed, People, Side, Stands};
use crate::catalog::wave;
use crate::model::cutover::clock;
use crate::model::host::{CohortAccess, HostAccess, HostError, HostErrorKind, Opening};
use crate::model::observed::{Facts, Observation, Record};
use crate::model::step::{Action, Outcome, Step, StepId};
use crate::model::{Attr, Digest, Kind};
use crate::providers::agent::{Batch, ObserveRequest, StepReport};
use crate::providers::shell::ShellAgent;
use crate::providers::zone::ledger::{Entries, Former, Going, Ledger, Taken};
use crate::transport::Transport;
use crate::transport::refusal::error;

pub struct Lane<'a, T> {
    pub(super) people: &'a dyn People,
    host: &'a HostAccess,
    pub(super) cohort: &'a CohortAccess,
    pub(super) ledger: Ledger<'a, T>,
}

/// A step on its way.
pub(super) struct Walk<'w> {
    pub(super) step: &'w Step,
    pub(super) batch: &'w Batch,
    reports: &'w UnboundedSender<StepReport>,
    pub(super) began: Instant,
}

/// How a step ends for now.
pub(super) enum Ended {
    With(Outcome),
    /// Nothing is lost, and a resume goes on.
    Later(String),
}

impl Walk<'_> {
    pub(super) fn tell(&self, text: String) {
        drop(self.reports.send(StepReport::Told(self.step.id, text)));
    }

    pub(super) fn pace<'p>(&'p self, people: &'p dyn People) -> Pace<'p> {
        Pace::new(people, self.began, self.batch.patience)
    }
}

pub(super) fn failed(output: impl Into<String>) -> Ended {
    Ended::With(Outcome::Failed { code: 1, output: output.into() })
}

fn done() -> Ended {
    // Who is there is asked again each time; nothing is pinned.
    Ended::With(Outcome::Done { fingerprint: None })
}

impl<'a, T: Transport> Lane<'a, T> {
    pub fn new(
        shell: &'a ShellAgent<T>,
        people: &'a dyn People,
        host: &'a HostAccess,
        cohort: &'a CohortAccess,
        organization: &'a str,
    ) -> Self {
        Self { people, host, cohort, ledger: Ledger::new(shell, host, &cohort.ledger, organization) }
    }

    fn silent(&self, why: String) -> HostError {
        let help = "are the hosts of proxy and content service up, and applied?";
        error(self.host, HostErrorKind::Unreachable, why, Some(help.to_owned()))
    }

    /// How many of each wave stand where. Everybody is asked about at once.
    pub async fn observe(&self, request: ObserveRequest<'_>) -> Result<Observation, HostError> {
        let waves = self.people.waves(&self.cohort.cohort).map_err(|e| self.silent(e))?;
        let all: Vec<String> = waves.iter().flat_map(|w| w.users.iter().cloned()).collect();
        let stands = self.people.look(&self.cohort.cohort, &all).await.map_err(|e| self.silent(e))?;
        let by: BTreeMap<&str, &Stands> = stands.iter().map(|s| (s.user.as_str(), s)).collect();
        let behind = self.behind().await?;
        let mut records = BTreeMap::new();
        for r in request.resources.iter().filter(|r| r.address.kind == Kind::Wave) {
            let here = waves.iter().find(|w| w.key == r.address.key);
            let mut record = here.map_or_else(absent, |w| seen(w, &by));
            if let Some(behind) = &behind {
                record.attrs.insert(wave::BEHIND.to_owned(), Attr::text(behind));
            }
            records.insert(r.address.local(), record);
        }
        Ok(Observation {
            host: self.host.name.clone(),
            facts: Facts { os: "cohort".into(), ..Facts::default() },
            records,
            owned: Vec::new(),
            pending: BTreeMap::new(),
            lease: None,
            armed: None,
            zone: None,
        })
    }

    /// Whoever has to go before this cohort and has not.
    async fn behind(&self) -> Result<Option<String>, HostError> {
        let mut out = Vec::new();
        for first in &self.cohort.first {
            // One that does not move by phases is looked after by people.
            let Ok(waves) = self.people.waves(first) else { continue };
            let users: Vec<String> = waves.into_iter().flat_map(|w| w.users).collect();
            let stands = self.people.look(first, &users).await.map_err(|e| self.silent(e))?;
            let left = stands.iter().filter(|s| s.side != Some(Side::New) && s.fit != Fit::No).count();
            if left > 0 {
                out.push(format!("cohort {first} comes first, and {left} of its {} people are not moved", users.len()));
            }
        }
        Ok((!out.is_empty()).then(|| out.join("; ")))
    }

    pub async fn outcomes(&self, apply: &str) -> Result<BTreeMap<StepId, Outcome>, HostError> {
        Ok(self.ledger.read(Some(apply)).await?.outcomes)
    }

    pub async fn run(&self, batch: &Batch, reports: &UnboundedSender<StepReport>) -> Result<(), HostError> {
        for remote in &batch.steps {
            let step = &remote.step;
            let walk = Walk { step, batch, reports, began: Instant::now() };
            drop(reports.send(StepReport::Started(step.id)));
            let ended = match step.action {
                Action::Move => self.there(&walk).await?,
                Action::Restore => self.back(&walk).await?,
                Action::Wait => self.act(&walk).await?,
                _ => failed(format!("a wave knows no {}", step.action.as_str())),
            };
            match ended {
                // It changed nothing, and a resume asks again.
                Ended::With(outcome) if step.action == Action::Wait && !outcome.is_done() => {
                    drop(reports.send(StepReport::Ended(step.id, outcome)));
                }
                Ended::With(outcome) => {
                    let mut end = Entries::default();
                    end.ended(step.id, &outcome);
                    self.ledger.end(&batch.apply, end).await?;
                    drop(reports.send(StepReport::Ended(step.id, outcome)));
                }
                Ended::Later(why) => {
                    drop(reports.send(StepReport::Later(step.id, why)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes down who goes where, unless a newer apply holds the lease.
    async fn claim(&self, walk: &Walk<'_>, to: Side, who: &BTreeSet<String>) -> Result<Option<Ended>, HostError> {
        let mut begun = Entries::default();
        let people = Some(Going { to, who: who.clone() });
        begun.begun(walk.step.id, &Former { people, ..Former::default() });
        Ok(match self.ledger.begin(&walk.batch.apply, walk.batch.token, begun).await? {
            Taken::Yes => None,
            Taken::Fenced(token) => Some(Ended::With(Outcome::Fenced { token })),
        })
    }

    /// A wave to the new side.
    async fn there(&self, walk: &Walk<'_>) -> Result<Ended, HostError> {
        let cohort = self.cohort.cohort.as_str();
        let waves = match self.people.waves(cohort) {
            Ok(waves) => waves,
            Err(why) => return Ok(failed(why)),
        };
        let Some((at, listed)) = waves.iter().enumerate().find(|(_, w)| w.key == walk.step.address.key) else {
            return Ok(Ended::With(Outcome::Stale { found: "the cohort's lists have no such wave any more".into() }));
        };
        if walk.step.attrs.get("digest").and_then(Attr::as_text) != Some(listed.digest.0.as_str()) {
            let found = format!("{} other people: the cohort's lists have changed", listed.users.len());
            return Ok(Ended::With(Outcome::Stale { found }));
        }
        let before: Vec<String> = waves[..at].iter().flat_map(|w| w.users.iter().cloned()).collect();
        let all: Vec<String> = before.iter().chain(&listed.users).cloned().collect();
        let mut pace = walk.pace(self.people);
        // Of those who went before, who stayed behind counts against what may fail.
        let stands = match pace.patiently(|| self.people.look(cohort, &all), |t| walk.tell(t)).await {
            Ok(stands) => stands,
            Err(why) => return Ok(Ended::Later(why)),
        };
        let (earlier, mine): (Vec<&Stands>, Vec<&Stands>) = stands.iter().partition(|s| before.contains(&s.user));
        let behind = earlier.iter().filter(|s| s.side != Some(Side::New)).count() as u64;
        let going: Vec<String> = mine.iter().filter(|s| s.side != Some(Side::New)).map(|s| s.user.clone()).collect();
        let who: BTreeSet<String> = going.iter().map(|u| token(u)).collect();
        if let Some(fenced) = self.claim(walk, Side::New, &who).await? {
            return Ok(fenced);
        }
        // The copies may take until after the window.
        for _ in 0..2 {
            if let Some(ended) = self.opened(walk, &mut pace, (mine.len() - going.len(), going.len())).await {
                return Ok(ended);
            }
            if let Some(later) = self.copied(walk, &mut pace, &going).await {
                return Ok(later);
            }
        }
        let may_fail = if wave::is_canaries(&listed.key) { 0 } else { self.cohort.may_fail };
        if let Some(ended) = self.groups(walk, &mut pace, &going, Side::New, (behind, may_fail)).await? {
            return Ok(ended);
        }
        Ok(self.watched(walk, &mut pace, listed).await.unwrap_or_else(done))
    }

    /// Waits until the cohort's window opens; a wave that it is too short for is not begun. Of one that was cut off, so many have moved, and
    /// so many are left: only these need the window.
    async fn opened(&self, walk: &Walk<'_>, pace: &mut Pace<'_>, (moved, left): (usize, usize)) -> Option<Ended> {
        let opening = self.cohort.opening.as_ref().filter(|_| left > 0)?;
        let soak = walk.step.attrs.get("soak").and_then(wave::int).unwrap_or(0);
        let needs = self.takes(left).saturating_add(soak);
        loop {
            if now().max(opening.start).saturating_add(needs) > opening.end {
                let who = match moved {
                    0 => "nobody of it was moved".to_owned(),
                    n => format!("{n} of {} were moved before, and no more now", n + left),
                };
                return Some(failed(self.too_short(opening, "this wave", needs, &who)));
            }
            if now() >= opening.start {
                return None;
            }
            let why = format!("waits for window {}, {}", opening.window, clock(opening.start, &opening.timezone));
            if !pace.until(opening.start, &why, |t| walk.tell(t)).await {
                return Some(Ended::Later(why));
            }
        }
    }

    /// Whether the next group could not end before the window does; groups may have taken longer than was reckoned.
    fn closes(&self, next: usize, moved: u64, all: usize) -> Option<Ended> {
        let opening = self.cohort.opening.as_ref()?;
        let needs = self.takes(next);
        let late = now().saturating_add(needs) > opening.end;
        let who = || format!("{moved} of {all} are moved and stay there, the others were not begun");
        late.then(|| failed(self.too_short(opening, "the next group", needs, &who())))
    }

    /// Seconds that so many people may take.
    fn takes(&self, people: usize) -> i64 {
        i64::try_from(wave::needs_of(self.cohort, people as u64)).unwrap_or(i64::MAX)
    }

    fn too_short(&self, opening: &Opening, what: &str, needs: i64, who: &str) -> String {
        let (window, end) = (&opening.window, clock(opening.end, &opening.timezone));
        format!(
            "window {window} is open until {end}, and {what} may need {needs} s: {who}. Give the window another time and plan again"
        )
    }

    /// Waits until everybody who can be copied is.
    async fn copied(&self, walk: &Walk<'_>, pace: &mut Pace<'_>, users: &[String]) -> Option<Ended> {
        loop {
            let look = || self.people.look(&self.cohort.cohort, users);
            let stands = match pace.patiently(look, |t| walk.tell(t)).await {
                Ok(stands) => stands,
                Err(why) => return Some(Ended::Later(why)),
            };
            let soon = stands.iter().filter(|s| s.fit == Fit::Soon).count();
            if soon == 0 {
                return None;
            }
            let why = format!("{} of {} are copied", users.len() - soon, users.len());
            if !pace.wait(&why, |t| walk.tell(t)).await {
                return Some(Ended::Later(why));
            }
        }
    }

    /// All of them in groups that are held together, until too many have failed: so many have before, so many may.
    async fn groups(
        &self,
        walk: &Walk<'_>,
        pace: &mut Pace<'_>,
        users: &[String],
        to: Side,
        (before, may_fail): (u64, u64),
    ) -> Result<Option<Ended>, HostError> {
        let tell = |text: String| walk.tell(text);
        let mut came: Vec<Came> = Vec::new();
        for (n, group) in users.chunks(self.cohort.together.max(1)).enumerate() {
            if n > 0 {
                if self.people.stopping() {
                    return Ok(Some(Ended::Later(format!("{} of {} are moved", arrived(&came), users.len()))));
                }
                // Who goes stands there already; this one asks for the lease.
                if let Some(fenced) = self.claim(walk, to, &BTreeSet::new()).await? {
                    return Ok(Some(fenced));
                }
                // The way back has no window.
                let late = if to == Side::New { self.closes(group.len(), arrived(&came), users.len()) } else { None };
                if late.is_some() {
                    return Ok(late);
                }
            }
            let bring = || self.people.bring(self.cohort, group, to, &tell);
            match pace.patiently(bring, tell).await {
                Ok(more) => came.extend(more),
                Err(why) => return Ok(Some(Ended::Later(why))),
            }
            for c in came.iter().rev().take(group.len()).filter(|c| !c.arrived) {
                walk.tell(format!("{} stays: {}", c.user, c.why.as_deref().unwrap_or("no reason was said")));
            }
            walk.tell(format!("{} of {} are {}", arrived(&came), users.len(), word(to)));
            let stay = came.len() as u64 - arrived(&came);
            if to == Side::New && stay > 0 && before + stay > may_fail {
                return Ok(Some(failed(stopped(&self.cohort.cohort, &came, users.len(), before, may_fail))));
            }
        }
        let stay = came.len() as u64 - arrived(&came);
        Ok(match to {
            Side::Old if stay > 0 => Some(failed(stopped(&self.cohort.cohort, &came, users.len(), 0, 0))),
            _ => None,
        })
    }

    /// Canaries are watched for a while on the new side, counted from when the last of them came there.
    async fn watched(&self, walk: &Walk<'_>, pace: &mut Pace<'_>, listed: &Listed) -> Option<Ended> {
        let soak = walk.step.attrs.get("soak").and_then(wave::int).filter(|s| *s > 0)?;
        let begin = now();
        loop {
            let look = || self.people.look(&self.cohort.cohort, &listed.users);
            let stands = match pace.patiently(look, |t| walk.tell(t)).await {
                Ok(stands) => stands,
                Err(why) => return Some(Ended::Later(why)),
            };
            let left = stands.iter().filter(|s| s.side != Some(Side::New)).count();
            if left > 0 {
                let n = listed.users.len();
                return Some(failed(format!(
                    "{left} of {n} canaries are not on the new side any more; `cutover cohort status {}` says why",
                    self.cohort.cohort
                )));
            }
            // A clock over there that is ahead lengthens no watch.
            let last = stands.iter().map(|s| s.since.min(begin)).max()?;
            let open = last + soak;
            if now() >= open {
                return None;
            }
            let why = format!("the first {} are watched for {} s more", listed.users.len(), open - now());
            if !pace.until(open, &why, |t| walk.tell(t)).await {
                return Some(Ended::Later(format!("the first {} are watched on the new side", listed.users.len())));
            }
        }
    }

    /// Those whom an earlier step moved, back to where they came from.
    async fn back(&self, walk: &Walk<'_>) -> Result<Ended, HostError> {
        let Some((apply, of)) = &walk.step.restores else {
            return Ok(failed("the step does not say what it takes back"));
        };
        let kept = match self.ledger.read(Some(apply)).await {
            // What it says cannot be believed, and asking again does not mend that.
            Err(e) if e.kind == HostErrorKind::Protocol => return Ok(failed(e.message)),
            kept => kept?,
        };
        let Some(going) = kept.formers.get(of).and_then(|f| f.people.clone()) else {
            walk.tell("nobody was moved by it".into());
            return Ok(done());
        };
        let waves = match self.people.waves(&self.cohort.cohort) {
            Ok(waves) => waves,
            Err(why) => return Ok(failed(why)),
        };
        let users: Vec<String> =
            waves.into_iter().flat_map(|w| w.users).filter(|u| going.who.contains(&token(u))).collect();
        let to = going.to.other();
        if let Some(fenced) = self.claim(walk, to, &going.who).await? {
            return Ok(fenced);
        }
        let mut pace = walk.pace(self.people);
        if let Some(ended) = self.groups(walk, &mut pace, &users, to, (0, 0)).await? {
            return Ok(ended);
        }
        Ok(match going.who.len() - users.len() {
            0 => done(),
            gone => failed(format!(
                "{gone} people whom this wave moved are not in the lists of cohort {} any more: `cutover user rollback` takes each of them back",
                self.cohort.cohort
            )),
        })
    }
}

fn word(to: Side) -> &'static str {
    match to {
        Side::New => "moved",
        Side::Old => "back",
    }
}

fn arrived(came: &[Came]) -> u64 {
    came.iter().filter(|c| c.arrived).count() as u64
}

/// Why no more are begun; who it was is told to the watcher, and stands with the content service.
fn stopped(cohort: &str, came: &[Came], all: usize, before: u64, may_fail: u64) -> String {
    let first = came.iter().find(|c| !c.arrived).and_then(|c| c.why.as_deref()).unwrap_or("no reason was said");
    let stay = came.len() as u64 - arrived(came);
    let earlier = if before > 0 { format!(" after {before} of earlier waves") } else { String::new() };
    format!(
        "{stay} of {all} did not arrive{earlier}, and {may_fail} of the cohort may stay behind; the first: {first}. `cutover cohort status {cohort}` names them"
    )
}

/// What stands for somebody where addresses must not.
fn token(user: &str) -> String {
    Digest::of(user.as_bytes()).0.chars().take(16).collect()
}

fn absent() -> Record {
    Record { present: false, attrs: Default::default(), fingerprint: "wave absent".into(), text: None }
}

/// How a wave stands, in numbers.
fn seen(listed: &Listed, by: &BTreeMap<&str, &Stands>) -> Record {
    let stands: Vec<&&Stands> = listed.users.iter().filter_map(|u| by.get(u.as_str())).collect();
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    stands.iter().for_each(|s| *states.entry(s.state).or_default() += 1);
    let count = |which: &dyn Fn(&Stands) -> bool| stands.iter().filter(|s| which(s)).count();
    let there = count(&|s| s.side == Some(Side::New));
    let unfit = count(&|s| s.side != Some(Side::New) && s.fit == Fit::No);
    wave::record(&listed.digest, listed.users.len(), there, unfit, &states)
}
