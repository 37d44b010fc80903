//! A cohort in waves: canaries first and watched, then as many as a wave has.

use std::time::Duration;

use crate::model::attr::Digest;
use crate::model::topology::Node;
use crate::model::unit::Percent;

/// Users that are held at the same time, so that nobody waits for many others.
pub const TOGETHER: usize = 8;

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

impl Rules {
    /// What the topology says.
    pub fn of(cohort: &Node) -> Self {
        let count = |field: &str| cohort.int(field).and_then(|n| usize::try_from(n).ok());
        Self {
            canaries: count("canaries").unwrap_or(0),
            soak: cohort.duration("canary-soak").unwrap_or(Duration::from_secs(1800)),
            size: count("wave-size"),
            together: TOGETHER,
            max_failed: cohort.percent("max-failed").unwrap_or(Percent(0)),
        }
    }

    /// On the way back everybody is tried at once, whatever fails.
    pub fn back(self) -> Self {
        Self { canaries: 0, max_failed: Percent(100_000_000), ..self }
    }

    /// How many of so many may stay behind.
    pub fn may_fail(&self, all: u64) -> u64 {
        u64::try_from(u128::from(self.max_failed.0) * u128::from(all) / 100_000_000).unwrap_or(all).min(all)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// `canaries`, or its number.
    pub key: String,
    /// In groups that are held at the same time.
    pub groups: Vec<Vec<String>>,
    /// How long to look before the next one.
    pub soak: Option<Duration>,
}

impl Wave {
    /// `canaries`, `wave 1`.
    pub fn name(&self) -> String {
        if self.key == CANARIES { self.key.clone() } else { format!("wave {}", self.key) }
    }

    pub fn count(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    pub fn users(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flatten()
    }

    /// Over the addresses, a line each.
    pub fn digest(&self) -> Digest {
        let lines: String = self.users().map(|u| format!("{u}\n")).collect();
        Digest::of(lines.as_bytes())
    }
}

const CANARIES: &str = "canaries";

/// The waves of these users, in their order.
pub fn waves(users: &[String], rules: &Rules) -> Vec<Wave> {
    let (first, others) = users.split_at(rules.canaries.min(users.len()));
    let groups = |users: &[String]| users.chunks(rules.together.max(1)).map(<[String]>::to_vec).collect();
    let mut out = Vec::new();
    if !first.is_empty() {
        let soak = (!others.is_empty()).then_some(rules.soak);
        out.push(Wave { key: CANARIES.into(), groups: groups(first), soak });
    }
    let size = rules.size.unwrap_or(others.len()).max(1);
    for (n, users) in (1..).zip(others.chunks(size)) {
        out.push(Wave { key: format!("{n}"), groups: groups(users), soak: None });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("u{i}@acme.example")).collect()
    }

    fn rules() -> Rules {
        let soak = Duration::from_secs(1800);
        Rules { canaries: 2, soak, size: Some(10), together: 4, max_failed: Percent(10_000_000) }
    }

    #[test]
    fn canaries_go_first_and_waves_hold_a_few_at_a_time() {
        let all = waves(&people(25), &rules());
        let shape: Vec<(String, Vec<usize>)> =
            all.iter().map(|w| (w.name(), w.groups.iter().map(Vec::len).collect())).collect();
        let want = [("canaries", vec![2]), ("wave 1", vec![4, 4, 2]), ("wave 2", vec![4, 4, 2]), ("wave 3", vec![3])];
        assert_eq!(shape, want.map(|(name, groups)| (name.to_owned(), groups)));
        assert_eq!(all[0].soak, Some(Duration::from_secs(1800)));
        assert_eq!(all.iter().map(Wave::count).sum::<usize>(), 25);
        assert!(waves(&[], &rules()).is_empty());
        assert_eq!(waves(&people(2), &rules())[0].soak, None, "nobody waits for them");
    }

    #[test]
    fn as_many_may_fail_as_the_share_covers() {
        for all in [0, 1, 9, 10, 25, 40, 999] {
            let n = rules().may_fail(all);
            assert!(rules().max_failed.covers(n, all), "{all}");
            assert!(n == all || !rules().max_failed.covers(n + 1, all), "{all}");
        }
        assert_eq!(rules().back().may_fail(7), 7);
    }
}
