//! What windows do for people beside the move: notices, probes, and a look at the queue of the old side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::alerts::Alerts;
use super::super::failure::Failure;
use super::super::near::Near;
use super::super::notices::Post;
use super::super::project::Project;
use super::super::triggers::Probes;
use super::old_side;
use crate::execution::Seen;
use crate::journal::StateDir;
use crate::model::act::Doing;
use crate::model::host::{CohortAccess, HostAccess};
use crate::model::plan::PlanNote;
use crate::model::trigger::{Condition, WayBack};

/// Whoever has the relay, the probes and the old sides within reach; by default nobody.
#[derive(Default)]
pub struct Desk {
    pub post: Option<Post>,
    pub probes: Option<Probes>,
    pub alerts: Alerts,
    pub near: Option<Arc<Near>>,
    /// The old side of each cohort, or why it cannot be asked.
    pub olds: BTreeMap<String, Result<HostAccess, String>>,
}

impl Desk {
    pub fn of(project: &Project, state: &StateDir, near: &Arc<Near>, probes: Probes) -> Result<Self, Failure> {
        let notifies =
            |c: &&CohortAccess| c.opening.as_ref().is_some_and(|o| o.acts.iter().any(|a| a.what == Doing::Notify));
        let cohorts: BTreeSet<&str> = project
            .site
            .hosts
            .values()
            .filter_map(|h| h.cohort())
            .filter(notifies)
            .map(|c| c.cohort.as_str())
            .collect();
        let post = (!cohorts.is_empty()).then(|| Post::of(project, &cohorts, state, Arc::clone(near))).transpose()?;
        let cohorts = project.site.hosts.values().filter_map(|h| h.cohort());
        let olds = cohorts.map(|c| (c.cohort.clone(), old_side::host(project, &c.cohort).cloned())).collect();
        let alerts = Alerts::of(project, near);
        Ok(Self { post, probes: Some(probes), alerts, near: Some(Arc::clone(near)), olds })
    }

    /// For a plan: what a step of a window finds to do, or why it can do nothing.
    pub fn told(&self, what: Doing, cohort: &str) -> Option<PlanNote> {
        match (what, self.olds.get(cohort)) {
            (Doing::Notify, _) => self.post.as_ref()?.told(cohort),
            (Doing::DrainSource, Some(Err(why))) => {
                Some(PlanNote { address: None, text: format!("drain-source asks nobody: {why}"), blocks: false })
            }
            _ => None,
        }
    }

    pub async fn notify(
        &self,
        cohort: &str,
        tell: &(dyn Fn(String) + Send + Sync),
        stopping: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Vec<String>, String> {
        match &self.post {
            Some(post) => post.notify(cohort, tell, stopping).await,
            None => Ok(Vec::new()),
        }
    }

    /// What the probes of a way back find wrong. One that cannot be made does not pass.
    pub async fn probed(&self, back: Option<&WayBack>, tell: &(dyn Fn(String) + Send + Sync)) -> Vec<String> {
        let mut out = Vec::new();
        for trigger in back.into_iter().flat_map(|b| &b.triggers) {
            let seen = match (&trigger.when, &self.probes) {
                (Condition::Probe { probe, .. }, Some(probes)) => probes.probe(probe, None).await,
                (Condition::Rule(alert), _) => self.alerts.ask(alert).await,
                (Condition::Unasked { what }, _) => {
                    tell(format!("trigger {} has no probe that could be asked: {what}", trigger.name));
                    Seen::Well
                }
                (Condition::Probe { .. }, None) | (Condition::Failed { .. }, _) => Seen::Well,
            };
            match seen {
                Seen::Well => {}
                Seen::Bad(why) => out.push(why),
                Seen::NotAsked(why) => out.push(format!("could not ask: {why}")),
            }
        }
        out
    }

    /// What waits in the queue of the old side. One that nobody could ever ask is for people to look at, which is said.
    pub async fn drained(&self, cohort: &str, tell: &(dyn Fn(String) + Send + Sync)) -> Result<Vec<String>, String> {
        let (Some(near), Some(old)) = (&self.near, self.olds.get(cohort)) else { return Ok(Vec::new()) };
        let host = match old {
            Ok(host) => host,
            Err(why) => {
                tell(format!("{why}; look at it yourself"));
                return Ok(Vec::new());
            }
        };
        old_side::flush(near, host).await?;
        let Some(queue) = old_side::queue(near, host).await? else {
            tell(format!("{} has no Postfix whose queue could be asked; look at it yourself", host.name));
            return Ok(Vec::new());
        };
        Ok(match queue.lines().filter(|l| !l.trim().is_empty()).count() {
            0 => Vec::new(),
            n => vec![format!("{n} messages wait in the queue of {}", host.name)],
        })
    }
}
