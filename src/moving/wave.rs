//! A cohort in waves: canaries first and watched, then as many as a wave has; it stops before more fail than may.

use std::time::Duration;

use super::transfer::{End, Transfer};
use crate::model::unit::Percent;

/// How a cohort goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Users moved first.
    pub canaries: usize,
    /// How long they are watched before the others follow.
    pub soak: Duration,
    /// Users of a wave; all when not said.
    pub size: Option<usize>,
    /// Users that are held at the same time.
    pub together: usize,
    /// Share of the cohort that may fail.
    pub max_failed: Percent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// `canaries`, `wave 1`.
    pub name: String,
    /// In groups that are held at the same time.
    pub groups: Vec<Vec<String>>,
    /// How long to look before the next one.
    pub soak: Option<Duration>,
}

impl Wave {
    pub fn count(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }
}

/// The waves of these users, in their order.
pub fn waves(users: &[String], rules: &Rules) -> Vec<Wave> {
    let (first, others) = users.split_at(rules.canaries.min(users.len()));
    let groups = |users: &[String]| users.chunks(rules.together.max(1)).map(<[String]>::to_vec).collect();
    let mut out = Vec::new();
    if !first.is_empty() {
        let soak = (!others.is_empty()).then_some(rules.soak);
        out.push(Wave { name: "canaries".into(), groups: groups(first), soak });
    }
    let size = rules.size.unwrap_or(others.len()).max(1);
    for (n, users) in (1..).zip(others.chunks(size)) {
        out.push(Wave { name: format!("wave {n}"), groups: groups(users), soak: None });
    }
    out
}

/// Whether more of a cohort of `all` people may be begun. Of the canaries none may fail.
pub fn goes_on(done: &[Transfer], all: usize, rules: &Rules) -> bool {
    let failed = |t: &&Transfer| !matches!(t.end, End::Arrived | End::Already);
    let count = done.iter().filter(failed).count();
    let canaries = done.iter().take(rules.canaries).filter(failed).count();
    canaries == 0 && rules.max_failed.covers(count as u64, all as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("u{i}@acme.example")).collect()
    }

    fn ended(n: usize, failed: usize) -> Vec<Transfer> {
        let end = |i| if i < n - failed { End::Arrived } else { End::Stayed };
        let one = |i| Transfer { user: format!("u{i}"), end: end(i), why: None, held_ms: None, passed: None };
        (0..n).map(one).collect()
    }

    fn rules() -> Rules {
        let soak = Duration::from_secs(1800);
        Rules { canaries: 2, soak, size: Some(10), together: 4, max_failed: Percent::parse("10%").unwrap() }
    }

    #[test]
    fn canaries_go_first_and_waves_hold_a_few_at_a_time() {
        let all = waves(&people(25), &rules());
        let shape: Vec<(String, Vec<usize>)> =
            all.iter().map(|w| (w.name.clone(), w.groups.iter().map(Vec::len).collect())).collect();
        let want = [("canaries", vec![2]), ("wave 1", vec![4, 4, 2]), ("wave 2", vec![4, 4, 2]), ("wave 3", vec![3])];
        assert_eq!(shape, want.map(|(name, groups)| (name.to_owned(), groups)));
        assert_eq!(all[0].soak, Some(Duration::from_secs(1800)));
        assert_eq!(all.iter().map(Wave::count).sum::<usize>(), 25);
        assert!(waves(&[], &rules()).is_empty());
        assert_eq!(waves(&people(2), &rules())[0].soak, None, "nobody waits for them");
    }

    #[test]
    fn a_cohort_stops_before_more_have_failed_than_may() {
        assert!(goes_on(&ended(20, 2), 25, &rules()));
        assert!(!goes_on(&ended(20, 3), 25, &rules()), "10% of 25 are 2");
        assert!(!goes_on(&ended(2, 1), 25, &rules()), "a canary");
        let strict = Rules { max_failed: Percent(0), ..rules() };
        assert!(goes_on(&ended(20, 0), 25, &strict) && !goes_on(&ended(20, 1), 25, &strict));
    }
}
