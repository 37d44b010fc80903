//! When a cohort that goes in waves stops: before more of it have failed than may.

use super::transfer::{End, Transfer};
use crate::people::wave::Rules;

/// Whether more of a cohort of `all` people may be begun. Of the canaries none may fail.
pub fn goes_on(done: &[Transfer], all: usize, rules: &Rules) -> bool {
    let failed = |t: &&Transfer| !matches!(t.end, End::Arrived | End::Already);
    let count = done.iter().filter(failed).count();
    let canaries = done.iter().take(rules.canaries).filter(failed).count();
    canaries == 0 && rules.max_failed.covers(count as u64, all as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::unit::Percent;

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
    fn a_cohort_stops_before_more_have_failed_than_may() {
        assert!(goes_on(&ended(20, 2), 25, &rules()));
        assert!(!goes_on(&ended(20, 3), 25, &rules()), "10% of 25 are 2");
        assert!(!goes_on(&ended(2, 1), 25, &rules()), "a canary");
        let strict = Rules { max_failed: Percent(0), ..rules() };
        assert!(goes_on(&ended(20, 0), 25, &strict) && !goes_on(&ended(20, 1), 25, &strict));
    }
}
