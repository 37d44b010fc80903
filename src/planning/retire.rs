//! What a plan wants of a host that was the old side of a move: that follows from how far the course has come, and nothing else touches it.
//!
//! ```text
//! phases before ── as written ──▶ forwards ── passes mail on ──▶ retires ── stopped        a plan without a phase: let alone
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::input::PlanOptions;
use crate::model::address::{Address, HostName};
use crate::model::plan::PlanNote;
use crate::model::resource::Resource;
use crate::model::site::{Retirement, Site};

/// How far it has come, in a plan with some options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// As the topology has it.
    Usual,
    Alone,
    Forwards,
    Stopped,
}

fn turn(r: &Retirement, options: &PlanOptions) -> Turn {
    let Some(phase) = &options.phase else {
        // Who names a host, or takes everything away, means it.
        let meant = options.destroy || !options.targets.is_empty() || options.window.is_some();
        return if meant { Turn::Usual } else { Turn::Alone };
    };
    let passed = |of: &BTreeSet<String>| of.iter().any(|p| phase.passed.contains(p));
    match (passed(&r.stopping), passed(&r.forwarding)) {
        (true, _) => Turn::Stopped,
        (false, true) => Turn::Forwards,
        (false, false) => Turn::Usual,
    }
}

fn wanted<'s>(r: &'s Retirement, options: &PlanOptions) -> &'s [Resource] {
    match turn(r, options) {
        Turn::Usual | Turn::Alone => &[],
        Turn::Forwards => &r.forwards,
        Turn::Stopped => &r.stops,
    }
}

/// The site as these options want it.
pub fn site<'s>(site: &'s Site, options: &PlanOptions) -> Cow<'s, Site> {
    let later: Vec<&Resource> = site.retirements.values().flat_map(|r| wanted(r, options)).collect();
    if later.is_empty() {
        return Cow::Borrowed(site);
    }
    let mut site = site.clone();
    for r in later {
        if let Ok(at) = site.resources.binary_search_by(|o| o.address.cmp(&r.address)) {
            site.resources[at] = r.clone();
        }
    }
    Cow::Owned(site)
}

/// Hosts of which a plan looks at these resources and at no others.
pub struct Spared<'s>(Vec<(&'s HostName, BTreeSet<&'s Address>)>);

impl<'s> Spared<'s> {
    pub fn of(site: &'s Site, options: &PlanOptions) -> Self {
        let touched = site.retirements.iter().filter(|(_, r)| turn(r, options) != Turn::Usual);
        Self(touched.map(|(h, r)| (h, wanted(r, options).iter().map(|r| &r.address).collect())).collect())
    }

    /// Whether something stays as it is, whatever the topology says of it.
    pub fn holds(&self, address: &Address) -> bool {
        self.0.iter().any(|(host, wanted)| **host == address.host && !wanted.contains(address))
    }

    /// Whether the plan is about these of a host, also where no owner of the phase asked for them.
    pub fn wants(&self, address: &Address) -> bool {
        self.0.iter().any(|(_, wanted)| wanted.contains(address))
    }
}

/// What a reader should know: which hosts a plan lets alone.
pub fn told(site: &Site, options: &PlanOptions) -> Vec<PlanNote> {
    let alone = site.retirements.iter().filter(|(_, r)| turn(r, options) == Turn::Alone);
    let told = alone.map(|(host, r)| {
        let phases: Vec<&str> = r.forwarding.union(&r.stopping).map(String::as_str).collect();
        format!("{host} is let alone: it is the old side {}, which goes by phases ({})", r.legacy, phases.join(", "))
    });
    told.map(|text| PlanNote { address: None, text, blocks: false }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::input::PhaseSlice;
    use super::*;

    #[test]
    fn how_far_the_course_has_come_says_what_an_old_side_is() {
        let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let r = Retirement { forwarding: names(&["quiet"]), stopping: names(&["off"]), ..Retirement::default() };
        let after = |passed: &[&str]| {
            let phase = PhaseSlice { passed: names(passed), ..PhaseSlice::default() };
            turn(&r, &PlanOptions { phase: Some(phase), ..PlanOptions::default() })
        };
        assert_eq!(after(&["build", "pilot"]), Turn::Usual);
        assert_eq!(after(&["build", "pilot", "quiet"]), Turn::Forwards);
        assert_eq!(after(&["build", "pilot", "quiet", "off"]), Turn::Stopped);
        assert_eq!(after(&["off", "operate"]), Turn::Stopped, "a later phase does not start it again");
        assert_eq!(turn(&r, &PlanOptions::default()), Turn::Alone);
        let named = PlanOptions { targets: vec!["old".to_owned()], ..PlanOptions::default() };
        assert_eq!(turn(&r, &named), Turn::Usual);
    }
}
