//! Waves of people: how many of each still have to go.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::catalog::wave::{self, BEHIND, PEOPLE, STATES, THERE, UNFIT, int};
use crate::model::address::{HostName, Kind};
use crate::model::attr::Attr;
use crate::model::cutover::clock;
use crate::model::host::HostError;
use crate::model::observed::{Facts, Observation, Observed, Record};
use crate::model::plan::PlanNote;
use crate::model::resource::{Dependency, Resource};
use crate::model::site::Site;
use crate::model::step::{Action, FieldChange, Outcome, Step};
use crate::model::unit::format_duration;

use super::diff::Change;
use super::graph::Node;
use super::index::Index;
use super::input::PlanInput;
use super::scope::Scope;
use super::undo::UndoInput;

/// `None`: everybody is there who can be.
pub fn change(r: &Resource, record: &Record) -> Option<Change> {
    let found = |name: &str| record.attrs.get(name).and_then(int);
    let people = r.attrs.get(PEOPLE).and_then(int).unwrap_or(0);
    let (there, unfit) = (found(THERE).unwrap_or(0), found(UNFIT).unwrap_or(0));
    // Who cannot go is for a person to look at; while others go they are tried with them.
    if there + unfit >= people && (there > 0 || people == 0) {
        return None;
    }
    let field = FieldChange {
        field: "on the new side".to_owned(),
        before: Some(there.to_string()),
        after: Some(people.to_string()),
        forces_replacement: false,
    };
    let states = record.attrs.get(STATES).and_then(Attr::as_text).filter(|s| !s.is_empty());
    let states = states.map_or_else(String::new, |s| format!(": {s}"));
    let reason = format!("{} of {people} people to move{states}", people - there);
    Some(Change { action: Action::Move, fields: vec![field], reason })
}

/// What a reader should know of a wave, and whether it keeps the plan from being applied.
pub fn note(record: &Record, goes: bool) -> Option<(String, bool)> {
    if let Some(behind) = record.attrs.get(BEHIND).and_then(Attr::as_text).filter(|_| goes) {
        return Some((behind.to_owned(), true));
    }
    let unfit = record.attrs.get(UNFIT).and_then(int).filter(|n| *n > 0)?;
    let stay = if goes { "cannot move until somebody has looked at them" } else { "stay behind" };
    Some((format!("{unfit} people {stay}: `cutover cohort status` says why"), false))
}

/// When the waves of a cohort may go, and whether its window is long enough: said with the first of them, and with each when it is over.
pub fn timing(input: &PlanInput, r: &Resource) -> Option<(String, bool)> {
    let cohort = input.site.hosts.get(&r.address.host)?.cohort()?;
    let opening = cohort.opening.as_ref()?;
    let waves = input.site.of_host(&r.address.host);
    let needs: u64 = waves.iter().map(|w| wave::needs(cohort, &w.attrs)).sum();
    let from = opening.start.max(input.options.now);
    let left = u64::try_from(opening.end - from).unwrap_or(0);
    let (window, opens) = (&opening.window, clock(opening.start, &opening.timezone));
    let spoken = |seconds: u64| format_duration(Duration::from_secs(seconds));
    if left == 0 {
        let over = clock(opening.end, &opening.timezone);
        return Some((format!("window {window} was over at {over}: nobody is moved outside of it"), true));
    }
    if r.after.iter().any(|d| matches!(d, Dependency::Resource(a) if a.host == r.address.host)) {
        return None;
    }
    if !opening.flips {
        return Some((format!("window {window} has no step flip-routes: nobody is moved in it"), true));
    }
    let fits = if needs > left { "; what does not fit is not begun" } else { "" };
    let back = opening.way_back.as_ref().filter(|b| !b.triggers.is_empty());
    let back = back.map_or_else(String::new, |b| format!("; {}", b.told()));
    Some((
        format!(
            "people move in window {window} from {opens}, and need up to {} of {}{fits}{back}",
            spoken(needs),
            spoken(left)
        ),
        false,
    ))
}

/// Which cohorts wait for which phase, in a plan that moves none of them.
pub fn told(input: &PlanInput, index: &Index, scope: &Scope) -> Vec<PlanNote> {
    if input.options.destroy || input.options.phase.is_some() || !scope.whole() {
        return Vec::new();
    }
    let goes = |h: &HostName| index.host_id(h).is_some_and(|id| index.of_host(id).any(|n| scope.holds(n as Node)));
    let waiting = input.site.hosts.iter().filter(|(name, _)| !goes(name)).filter_map(|(_, h)| h.cohort());
    let told = waiting.map(|c| {
        let phases: Vec<String> = c.phases.iter().map(|p| format!("cutover plan --phase {p}")).collect();
        format!("this plan moves nobody; cohort {} ({} people) moves with: {}", c.cohort, c.people, phases.join(" or "))
    });
    told.map(|text| PlanNote { address: None, text, blocks: false }).collect()
}

/// Whether somebody may have been moved by a step that is to be taken back, however it ended. Who that was stands in the cohort's ledger.
pub fn was_begun(input: &UndoInput, step: &Step) -> bool {
    match input.outcomes.get(&step.id) {
        Some(Outcome::Skipped { .. } | Outcome::Stale { .. }) => false,
        Some(_) => true,
        // Cut off on its way, or never begun: where people are says more.
        None => {
            let record =
                input.observed.hosts.get(&step.address.host).and_then(|o| o.records.get(&step.address.local()));
            record.and_then(|r| r.attrs.get(THERE)).and_then(int).is_none_or(|there| there > 0)
        }
    }
}

/// Cohorts that cannot be asked about because what would answer is still to be made: the hosts themselves say that there is no gate, or
/// no content service. Nobody has been moved by them then. Silence alone never says that.
pub fn unborn(site: &Site, observed: &mut Observed) {
    let mut kept = Vec::new();
    for error in std::mem::take(&mut observed.failed) {
        match empty(site, &error, &observed.hosts) {
            Some(answer) => drop(observed.hosts.insert(error.host.clone(), answer)),
            None => kept.push(error),
        }
    }
    observed.failed = kept;
}

fn empty(site: &Site, error: &HostError, answers: &BTreeMap<HostName, Observation>) -> Option<Observation> {
    let cohort = site.hosts.get(&error.host)?.cohort()?;
    // A service that is not there, or that has no unit yet, on a host that has answered.
    let lacks = |host: &HostName, service: &str| {
        let record = answers.get(host).and_then(|o| o.records.get(&format!("{}:{service}", Kind::Service)));
        record.is_some_and(|r| !r.present)
    };
    let unborn = cohort.gates.iter().all(|g| lacks(g, "cutover-proxy")) || lacks(&cohort.carrier, "cutover-cms");
    let nobody = |r: &Resource| {
        let mut record = crate::catalog::wave::record(
            &crate::model::Digest(r.attrs.get("digest").and_then(Attr::as_text).unwrap_or_default().to_owned()),
            r.attrs.get(PEOPLE).and_then(int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            0,
            0,
            &BTreeMap::new(),
        );
        record.attrs.insert(STATES.to_owned(), Attr::text("their gates are still to be made"));
        (r.address.local(), record)
    };
    unborn.then(|| Observation {
        host: error.host.clone(),
        facts: Facts { os: "cohort".into(), ..Facts::default() },
        records: site.of_host(&error.host).iter().map(nobody).collect(),
        owned: Vec::new(),
        pending: BTreeMap::new(),
        lease: None,
        armed: None,
        zone: None,
    })
}
