//! Steps that wait for a time: the start of a window, or so long after the slowest name server was seen to serve something.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::cutover::{Schedule, Wait};
use crate::model::step::StepId;

/// What comes next of the steps that wait for a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The next step that may go, and when (Unix seconds).
    pub next: Option<(StepId, i64)>,
    /// Steps whose time is over, with the end of it: they are not begun any more.
    pub late: Vec<(StepId, i64)>,
}

#[derive(Debug, Default)]
pub(super) struct Times {
    waits: BTreeMap<StepId, Wait>,
    /// When the slowest server was seen to serve, by barrier.
    moments: BTreeMap<StepId, i64>,
    /// Steps whose predecessors are done.
    held: BTreeSet<StepId>,
}

impl Times {
    pub fn new(schedule: Option<&Schedule>) -> Self {
        Self { waits: schedule.map(|s| s.waits.clone()).unwrap_or_default(), ..Self::default() }
    }

    pub fn governs(&self, step: StepId) -> bool {
        self.waits.contains_key(&step)
    }

    pub fn hold(&mut self, step: StepId) {
        self.held.insert(step);
    }

    pub fn drop(&mut self, step: StepId) {
        self.held.remove(&step);
    }

    pub fn served(&mut self, step: StepId, moment: i64) {
        self.moments.insert(step, moment);
    }

    /// When a step may begin. A barrier without a moment is one that nobody may count from.
    fn opens(&self, wait: &Wait) -> i64 {
        let since = wait.since.iter().map(|s| {
            let seconds = i64::try_from(s.seconds).unwrap_or(i64::MAX);
            self.moments.get(&s.step).map_or(i64::MAX, |moment| moment.saturating_add(seconds))
        });
        since.chain(wait.not_before).max().unwrap_or(i64::MIN)
    }

    /// Steps that may go now, and what comes after them. `here`: the step's host is still worked with.
    pub fn due(&mut self, now: i64, here: impl Fn(StepId) -> bool) -> (Vec<StepId>, Due) {
        let mut open = Vec::new();
        let mut due = Due::default();
        for step in &self.held {
            let Some(wait) = self.waits.get(step).filter(|_| here(*step)) else { continue };
            let opens = self.opens(wait);
            match wait.not_after {
                // Also what cannot open in time: waiting for it would only end late.
                Some(end) if now > end || opens > end => due.late.push((*step, end)),
                _ if opens <= now => open.push(*step),
                _ => due.next = due.next.into_iter().chain([(*step, opens)]).min_by_key(|(_, at)| *at),
            }
        }
        open.iter().for_each(|step| {
            self.held.remove(step);
        });
        (open, due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cutover::Since;

    fn times(wait: Wait) -> Times {
        Times { waits: BTreeMap::from([(3, wait)]), moments: BTreeMap::new(), held: BTreeSet::from([3]) }
    }

    #[test]
    fn a_step_opens_when_all_that_it_waits_for_has_passed_and_not_a_second_earlier() {
        let since = |step, seconds| Since { step, seconds };
        let wait = Wait { not_before: Some(1_000), since: vec![since(1, 300), since(2, 50)], ..Wait::default() };
        let mut t = times(wait);
        t.served(1, 800);
        assert!(t.due(i64::MAX - 1, |_| true).0.is_empty(), "the moment of 2 is not known");
        t.served(2, 900);
        assert_eq!(t.due(1_099, |_| true), (vec![], Due { next: Some((3, 1_100)), late: vec![] }));
        assert_eq!(t.due(1_100, |_| false), (vec![], Due::default()), "its host is away");
        assert_eq!(t.due(1_100, |_| true), (vec![3], Due::default()));
        assert_eq!(t.due(1_100, |_| true), (vec![], Due::default()), "it goes once");
    }

    #[test]
    fn what_could_not_end_in_time_is_not_begun() {
        let wait = Wait { not_before: Some(100), not_after: Some(200), ..Wait::default() };
        assert_eq!(times(wait.clone()).due(200, |_| true).0, [3]);
        assert_eq!(times(wait.clone()).due(201, |_| true).1.late, [(3, 200)]);
        let mut t = times(Wait { since: vec![Since { step: 1, seconds: 500 }], ..wait });
        t.served(1, 0);
        assert_eq!(t.due(10, |_| true).1.late, [(3, 200)], "said at once, not when it is too late");
    }
}
