//! Changes of record sets as compare and swap, in as few messages as hold them. Each set is changed by one message, whole or not
//! at all, and a message that fails for one set is sent again without it.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::record_set::fingerprint;
use crate::model::dns::{RecordSet, SetChange, SetKey};
use crate::model::host::HostError;
use crate::model::step::{Outcome, StepId};
use crate::protocol::dns::data::Sets;
use crate::transport::Transport;

use super::channel::{Channel, Refusal};

/// Times that a message is sent again after nothing about it was found to be wrong, or its answer was lost.
const ATTEMPTS: u32 = 3;
/// Changes that are refused one by one before the server is taken to refuse all.
const HOPELESS: u32 = 8;

/// One step on its way.
#[derive(Debug)]
pub struct Job {
    pub id: StepId,
    pub key: SetKey,
    pub before: Option<RecordSet>,
    pub after: Option<RecordSet>,
    /// Steps of the same batch that must be done first.
    pub waits: Vec<StepId>,
    pub outcome: Option<Outcome>,
}

impl Job {
    fn done(&mut self) {
        self.outcome = Some(Outcome::Done { fingerprint: Some(fingerprint(self.after.as_ref())) });
    }

    fn failed(&mut self, output: impl Into<String>) {
        self.outcome = Some(Outcome::Failed { code: 1, output: output.into() });
    }

    fn change(&self) -> SetChange {
        SetChange { before: self.before.clone(), after: self.after.clone() }
    }
}

/// Steps that wait for one that will not be done.
pub fn skip(jobs: &mut [Job]) {
    let mut not: BTreeSet<StepId> = BTreeSet::new();
    // Steps stand behind those that they wait for.
    for job in jobs {
        if job.outcome.is_none()
            && let Some(because) = job.waits.iter().find(|w| not.contains(w))
        {
            job.outcome = Some(Outcome::Skipped { because: *because });
        }
        if job.outcome.as_ref().is_some_and(|o| !o.is_done()) {
            not.insert(job.id);
        }
    }
}

/// Carries out the jobs without an outcome, and gives each one. An error: the name server could not be asked any more, and jobs
/// without an outcome are unknown.
pub async fn carry_out<T: Transport>(channel: &Channel<'_, T>, zone: &str, jobs: &mut [Job]) -> Result<(), HostError> {
    for job in jobs.iter_mut().filter(|j| j.outcome.is_none() && j.before == j.after) {
        job.done();
    }
    let mut work = Work { refused: 0, taken: false, attempts: BTreeMap::new() };
    let mut queue = messages(channel, zone, jobs);
    queue.reverse();
    while let Some(units) = queue.pop() {
        skip(jobs);
        let units = open(jobs, units);
        if !units.is_empty() {
            queue.extend(work.send(channel, jobs, units).await?);
        }
    }
    skip(jobs);
    if work.taken { verify(channel, jobs).await } else { Ok(()) }
}

/// A message as units of jobs that must go together.
type Units = Vec<Vec<usize>>;

/// Sets that go together: a name has either an alias or other records, and must not be without both in between.
fn units(jobs: &[Job]) -> Units {
    let open = || jobs.iter().enumerate().filter(|(_, j)| j.outcome.is_none());
    let aliases: BTreeSet<&str> =
        open().filter(|(_, j)| j.key.kind == "CNAME").map(|(_, j)| j.key.name.as_str()).collect();
    let mut out: Units = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, job) in open() {
        let name = job.key.name.as_str();
        match at.get(name) {
            Some(unit) => out[*unit].push(i),
            None => {
                if aliases.contains(name) {
                    at.insert(name, out.len());
                }
                out.push(vec![i]);
            }
        }
    }
    // A server carries out a message from its beginning: what goes makes room for what comes.
    for unit in &mut out {
        unit.sort_by_key(|i| jobs[*i].after.is_some());
    }
    out
}

fn messages<T: Transport>(channel: &Channel<'_, T>, zone: &str, jobs: &mut [Job]) -> Vec<Units> {
    let mut out: Vec<Units> = Vec::new();
    let mut room = 0;
    for unit in units(jobs) {
        let changes: Vec<SetChange> = unit.iter().map(|i| jobs[*i].change()).collect();
        match channel.size(zone, &changes) {
            Err(e) => unit.iter().for_each(|i| jobs[*i].failed(e.clone())),
            Ok(size) => {
                match out.last_mut().filter(|_| size <= room) {
                    Some(message) => message.push(unit),
                    None => {
                        out.push(vec![unit]);
                        room = channel.room();
                    }
                }
                room = room.saturating_sub(size);
            }
        }
    }
    out
}

/// What of these is still to be done. Sets that go together stay undone together.
fn open(jobs: &mut [Job], units: Units) -> Units {
    let of = |unit: Vec<usize>| {
        let not = |i: &&usize| jobs[**i].outcome.as_ref().is_some_and(|o| !o.is_done());
        if let Some(because) = unit.iter().find(not).map(|i| jobs[*i].id) {
            for i in unit {
                jobs[i].outcome.get_or_insert(Outcome::Skipped { because });
            }
            return None;
        }
        let left: Vec<usize> = unit.into_iter().filter(|i| jobs[*i].outcome.is_none()).collect();
        (!left.is_empty()).then_some(left)
    };
    units.into_iter().filter_map(of).collect()
}

struct Work {
    /// Changes that were refused alone, in a row.
    refused: u32,
    /// The server took a message.
    taken: bool,
    /// By first job of a message.
    attempts: BTreeMap<usize, u32>,
}

impl Work {
    /// Sends one message; what is to be sent again comes back.
    async fn send<T: Transport>(
        &mut self,
        channel: &Channel<'_, T>,
        jobs: &mut [Job],
        units: Units,
    ) -> Result<Vec<Units>, HostError> {
        let changes = units.iter().flatten().map(|i| jobs[*i].change()).collect();
        let all = || units.iter().flatten().copied();
        match channel.send(changes).await {
            Ok(()) => {
                (self.taken, self.refused) = (true, 0);
                all().for_each(|i| jobs[i].done());
                Ok(Vec::new())
            }
            Err(Refusal::Changed(says)) => {
                let seen = channel.look().await?.sets;
                all().for_each(|i| compare(&mut jobs[i], &seen));
                let why = format!("{says}, and every set of the message is as it should be");
                Ok(self.again(jobs, units, |job| job.failed(why.clone())))
            }
            Err(Refusal::Denied(why)) if self.refused >= HOPELESS && !self.taken => {
                all().for_each(|i| jobs[i].failed(why.clone()));
                Ok(Vec::new())
            }
            Err(Refusal::Denied(why)) => {
                if units.len() == 1 {
                    self.refused += 1;
                    all().for_each(|i| jobs[i].failed(why.clone()));
                    return Ok(Vec::new());
                }
                // One change may be at fault; the others shall not suffer. The first half is sent first.
                let mut first = units;
                let second = first.split_off(first.len() / 2);
                Ok(vec![second, first])
            }
            Err(Refusal::Never(why)) => {
                all().for_each(|i| jobs[i].failed(why.clone()));
                Ok(Vec::new())
            }
            Err(Refusal::Raced(why)) => {
                (self.taken, self.refused) = (true, 0);
                all().for_each(|i| jobs[i].failed(why.clone()));
                Ok(Vec::new())
            }
            Err(Refusal::Lost(e)) => {
                // Done or not: the zone itself says.
                self.taken = true;
                let seen = channel.look().await?.sets;
                all().for_each(|i| compare(&mut jobs[i], &seen));
                let undone = all().any(|i| jobs[i].outcome.is_none());
                let left = self.again(jobs, units, |_| {});
                if undone && left.is_empty() { Err(e) } else { Ok(left) }
            }
        }
    }

    /// What is left of a message goes once more, unless it went too often.
    fn again(&mut self, jobs: &mut [Job], units: Units, over: impl Fn(&mut Job)) -> Vec<Units> {
        let some = units.iter().flatten().any(|i| jobs[*i].outcome.is_some());
        let units = open(jobs, units);
        let Some(first) = units.first().and_then(|u| u.first()) else { return Vec::new() };
        let attempts = self.attempts.entry(*first).or_default();
        *attempts = if some { 0 } else { *attempts + 1 };
        if *attempts >= ATTEMPTS {
            units.iter().flatten().for_each(|i| over(&mut jobs[*i]));
            return Vec::new();
        }
        vec![units]
    }
}

/// What the zone shows of a job whose message was not taken.
fn compare(job: &mut Job, seen: &Sets) {
    let found = seen.get(&job.key);
    if found == job.after.as_ref() {
        job.done();
    } else if found != job.before.as_ref() {
        job.outcome = Some(Outcome::Stale { found: fingerprint(found) });
    }
}

/// A server may answer NOERROR and leave a change out, as for an alias beside other records (RFC 2136, section 3.4.2.2).
async fn verify<T: Transport>(channel: &Channel<'_, T>, jobs: &mut [Job]) -> Result<(), HostError> {
    let seen = channel.look().await?.sets;
    for job in jobs.iter_mut().filter(|j| j.outcome.as_ref().is_some_and(Outcome::is_done)) {
        let found = seen.get(&job.key);
        if found == job.after.as_ref() {
            continue;
        }
        let beside: Vec<&str> =
            seen.keys().filter(|k| k.name == job.key.name && k.kind != job.key.kind).map(|k| k.kind.as_str()).collect();
        let alias = job.key.kind == "CNAME" || beside.contains(&"CNAME");
        let why = match alias && !beside.is_empty() {
            true => format!(
                "{} has {} already, and a name with an alias can have nothing else (RFC 2181, section 10.1)",
                job.key.name,
                beside.join(", ")
            ),
            false => format!("the server took the change, and the zone now shows: {}", fingerprint(found)),
        };
        job.failed(why);
    }
    Ok(())
}
