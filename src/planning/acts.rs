//! What windows do for the people who move in them, as steps around their waves.
//!
//! ```text
//! what has to stand ──▶ notify ──▶ wave … last wave ──▶ drain-source ──▶ verify ──▶ open ──▶ cohorts that come after
//! ```
//!
//! Each is a barrier in the place of the cohort: it changes nothing that could be taken back, is asked again until it is so, and keeps what
//! stands behind it waiting.

use std::collections::BTreeMap;

use crate::catalog::barrier::{self, Barrier};
use crate::model::act::{Act, Doing, OnTimeout};
use crate::model::attr::Attr;
use crate::model::host::Opening;
use crate::model::site::Site;
use crate::model::step::{Action, Step, StepId};
use crate::model::{Address, HostName, Kind};

use super::steps::leaving;

/// The same steps, with those of the windows of their waves among them.
pub fn beside(site: &Site, steps: Vec<Step>) -> Vec<Step> {
    let mut ends: BTreeMap<HostName, (StepId, StepId)> = BTreeMap::new();
    for s in steps.iter().filter(|s| s.action == Action::Move) {
        ends.entry(s.address.host.clone()).or_insert((s.id, s.id)).1 = s.id;
    }
    let opening = |lane: &HostName| site.hosts.get(lane)?.cohort()?.opening.as_ref().filter(|o| !o.acts.is_empty());
    ends.retain(|lane, _| opening(lane).is_some());
    if ends.is_empty() {
        return steps;
    }
    let mut out: Vec<Step> = Vec::with_capacity(steps.len() + 4 * ends.len());
    // Each step's new number; and what stands for the last wave of a cohort to those that come after it.
    let mut now: BTreeMap<StepId, StepId> = BTreeMap::new();
    let mut behind: BTreeMap<StepId, (HostName, StepId)> = BTreeMap::new();
    for mut step in steps {
        let lane = step.address.host.clone();
        let here = ends.get(&lane).zip(opening(&lane)).filter(|_| step.action == Action::Move);
        let former = step.id;
        let mut after: Vec<StepId> = step.after.iter().filter_map(|id| now.get(id).copied()).collect();
        let others = step.after.iter().filter_map(|id| behind.get(id));
        after.extend(others.filter(|(of, _)| *of != lane).map(|(_, id)| *id));
        if let Some((_, opening)) = here.filter(|((first, _), _)| *first == former) {
            for act in opening.acts.iter().filter(|a| a.what == Doing::Notify) {
                let id = out.len() as StepId;
                out.push(waiting(opening, act, &step, id, after.clone()));
                after.push(id);
            }
        }
        step.id = out.len() as StepId;
        step.after = after;
        now.insert(former, step.id);
        let of = step.clone();
        out.push(step);
        if let Some((_, opening)) = here.filter(|((_, last), _)| *last == former) {
            let mut before = of.id;
            for act in opening.acts.iter().filter(|a| a.what != Doing::Notify) {
                let id = out.len() as StepId;
                out.push(waiting(opening, act, &of, id, vec![before]));
                before = id;
            }
            behind.insert(former, (lane, before));
        }
    }
    out
}

fn waiting(opening: &Opening, act: &Act, wave: &Step, id: StepId, after: Vec<StepId>) -> Step {
    let address = Address::new(&wave.address.host, Kind::Barrier, format!("{}/{}", opening.window, act.what.as_str()));
    let rolls_back = act.on_timeout == OnTimeout::Rollback;
    let asked = Barrier { sets: Vec::new(), servers: Vec::new(), timeout: act.timeout, rolls_back };
    let mut attrs = barrier::attrs(&asked);
    attrs.insert("on-timeout".to_owned(), Attr::text(act.on_timeout.as_str()));
    Step {
        id,
        attrs,
        after,
        owner: wave.owner.clone(),
        origin: wave.origin.clone(),
        reason: act.what.until().to_owned(),
        ..leaving(address, Action::Wait)
    }
}
