//! What triggers see: who did not arrive, and how probes go, asked from the machine on which cutover runs.
//!
//! A server that does not answer a probe has failed it. Where the probe itself cannot be made (a secret that cannot be read, no network on this
//! machine) nothing is known, which is no failure and no pass.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::alerts::Alerts;
use super::calendar::record;
use super::lines::LinesFile;
use super::moving::Crews;
use crate::execution::{Conditions, Fired, Guarded, Look, Seen};
use crate::journal::StateDir;
use crate::model::trigger::{Condition, Probe, Target, Trigger, reaches};
use crate::moving::content::Content;
use crate::moving::gates::Gates;
use crate::secret::{Resolve as _, Resolver};
use crate::services::probe::{Came, ask};

/// Whoever has people, secrets and authorities within reach.
pub struct Eyes<G, C> {
    pub crews: Arc<Crews<G, C>>,
    pub probes: Probes,
    pub alerts: Arc<Alerts>,
}

/// What a probe is made with.
#[derive(Clone)]
pub struct Probes {
    pub resolver: Arc<Resolver>,
    /// The organisation's own authority; servers may have certificates of the system's too.
    pub ca: PathBuf,
}

/// A trigger that fired, as a line beside the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// RFC 3339.
    pub at: String,
    pub apply: String,
    pub point: String,
    pub trigger: String,
    pub why: String,
    /// `stop` or `rollback`.
    pub action: String,
    /// USER@MACHINE.
    pub by: String,
}

impl Firing {
    pub fn of(apply: &str, fired: &Fired) -> Self {
        let record::Entry { at, by, apply, .. } = record::Entry::new(apply);
        let action = if fired.rolls_back { "rollback" } else { "stop" }.to_owned();
        let Fired { point, trigger, why, .. } = fired.clone();
        Self { at, apply, point, trigger, why, action, by }
    }
}

pub(super) fn file(state: &StateDir) -> LinesFile<Firing> {
    LinesFile::of(state, "triggers.jsonl")
}

impl<G: Gates + Send, C: Content + Send> Conditions for Eyes<G, C> {
    fn look<'a>(&'a self, of: &'a Guarded, trigger: &'a Trigger) -> Look<'a> {
        Box::pin(async move {
            match (&trigger.when, &of.cohort) {
                (Condition::Failed { share }, Some(cohort)) => failed(&self.crews.stayed(cohort), *share),
                (Condition::Failed { .. }, None) => Seen::Well,
                (Condition::Probe { probe, share }, _) => self.probes.probe(probe, *share).await,
                (Condition::Rule(alert), _) => self.alerts.ask(alert).await,
                (Condition::Unasked { what }, _) => Seen::NotAsked(what.clone()),
            }
        })
    }
}

/// Of each wave that was begun: how many did not arrive, of how many.
fn failed(waves: &[(String, u64, u64)], share: u64) -> Seen {
    let worst = waves.iter().find(|(_, stayed, people)| reaches(*stayed, *people, share));
    worst.map_or(Seen::Well, |(wave, stayed, people)| {
        Seen::Bad(format!("{stayed} of {people} people of wave {wave} did not arrive"))
    })
}

impl Probes {
    pub fn of(resolver: &Arc<Resolver>, state: &StateDir) -> Self {
        Self { resolver: Arc::clone(resolver), ca: state.path().join("ca/ca.pem") }
    }

    /// All targets of a probe, asked side by side.
    pub async fn probe(&self, probe: &Probe, share: Option<u64>) -> Seen {
        let password = match &probe.password {
            None => None,
            Some(secret) => match self.resolver.bytes(secret).await {
                Ok(bytes) => Some(bytes),
                Err(e) => {
                    return Seen::NotAsked(format!(
                        "the password of probe {} cannot be read: {}",
                        probe.name, e.message
                    ));
                }
            },
        };
        let asked = probe.targets.iter().map(|t| self.one(probe, t, password.as_deref().map(|b| b.as_slice())));
        let came = futures_util::future::join_all(asked).await;
        let bad: Vec<&str> =
            came.iter().filter_map(|c| if let Came::Bad(why) = c { Some(why.as_str()) } else { None }).collect();
        let unknown = came.iter().find_map(|c| if let Came::NotAsked(why) = c { Some(why.clone()) } else { None });
        if reaches(bad.len() as u64, came.len() as u64, share.unwrap_or(0)) {
            let more =
                if bad.len() > 1 { format!(", and {} more of {}", bad.len() - 1, came.len()) } else { String::new() };
            return Seen::Bad(format!("probe {}: {}{more}", probe.name, bad[0]));
        }
        // Those that could not be asked might be the ones.
        unknown.map_or(Seen::Well, |why| Seen::NotAsked(format!("probe {}: {why}", probe.name)))
    }

    /// The organisation's own authority, where there is one.
    fn ca(&self) -> Option<&Path> {
        Some(self.ca.as_path()).filter(|p| p.exists())
    }

    async fn one(&self, probe: &Probe, target: &Target, password: Option<&[u8]>) -> Came {
        let who = format!(
            "{} of {}",
            probe.what.as_str(),
            target.host.as_ref().map_or(target.name.as_str(), |h| h.0.as_str())
        );
        let began = Instant::now();
        let limit = Duration::from_millis(probe.timeout.max(1));
        let came = match tokio::time::timeout(limit, ask(probe, target, password, self.ca())).await {
            Ok(came) => came,
            Err(_) => Came::Bad(format!("no answer in {} ms", probe.timeout)),
        };
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match (came, probe.within) {
            (Came::Well, Some(within)) if took > within => {
                Came::Bad(format!("{who}: took {took} ms, {within} are wanted"))
            }
            (Came::Well, _) => Came::Well,
            (Came::Bad(why), _) => Came::Bad(format!("{who}: {why}")),
            (Came::NotAsked(why), _) => Came::NotAsked(format!("{who}: {why}")),
        }
    }
}
