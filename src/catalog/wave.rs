//! The people of a wave as they are observed: in numbers, never by name.

use std::collections::BTreeMap;

use crate::model::attr::{Attr, Attrs, Digest};
use crate::model::host::CohortAccess;
use crate::model::observed::Record;

/// Of the observed attributes: how many there are, how many of them on the new side, how many who cannot go there.
pub const PEOPLE: &str = "people";
pub const THERE: &str = "there";
pub const UNFIT: &str = "unfit";
/// `3 ready, 2 waiting`.
pub const STATES: &str = "states";
/// Which cohort has to go before this one, and has not.
pub const BEHIND: &str = "behind";

pub fn int(attr: &Attr) -> Option<i64> {
    match attr {
        Attr::Int(n) => Some(*n),
        _ => None,
    }
}

fn count(n: usize) -> Attr {
    Attr::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Whether the wave of this key is the one of those who go first; of them none may fail.
pub fn is_canaries(key: &str) -> bool {
    key == "canaries"
}

/// How long a group is held where nobody says how long it may be.
pub const HOLD: u64 = 60;

/// Seconds that a wave may take: its groups, and then the watch.
pub fn needs(cohort: &CohortAccess, attrs: &Attrs) -> u64 {
    let number = |name: &str| attrs.get(name).and_then(int).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    needs_of(cohort, number(PEOPLE)).saturating_add(number("soak"))
}

/// Seconds that so many people may take: each group as long as groups took so far, or else as it may be held.
pub fn needs_of(cohort: &CohortAccess, people: u64) -> u64 {
    let groups = people.div_ceil(cohort.together.max(1) as u64);
    let longest = cohort.longest_hold.unwrap_or(HOLD).saturating_mul(1000);
    let each = cohort.measured_ms.map_or(longest, |ms| ms.min(longest));
    groups.saturating_mul(each).div_ceil(1000)
}

/// What is wanted of a wave.
pub fn attrs(people: usize, digest: &Digest, soak: u64) -> Attrs {
    let mut attrs = Attrs::new();
    attrs.insert(PEOPLE.to_owned(), count(people));
    attrs.insert("digest".to_owned(), Attr::text(&digest.0));
    if soak > 0 {
        attrs.insert("soak".to_owned(), Attr::Int(i64::try_from(soak).unwrap_or(i64::MAX)));
    }
    attrs
}

/// What is found. Its fingerprint is that of the list: who stands where changes by the hour, and each step asks.
pub fn record(digest: &Digest, people: usize, there: usize, unfit: usize, states: &BTreeMap<&str, u64>) -> Record {
    let mut attrs = Attrs::new();
    attrs.insert(PEOPLE.to_owned(), count(people));
    attrs.insert(THERE.to_owned(), count(there));
    attrs.insert(UNFIT.to_owned(), count(unfit));
    let states: Vec<String> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
    attrs.insert(STATES.to_owned(), Attr::text(states.join(", ")));
    Record { present: true, attrs, fingerprint: format!("wave {}", digest.0), text: None }
}
