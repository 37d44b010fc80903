//! The change of a key that signs mail, in stages, so that no mail in flight loses the key that it is checked with.
//!
//! ```text
//! Steady ──older than rotate──▶ Due ──a second key, published──▶ Announced ──caches know it──▶ Ready
//!   ▲                                                                                          │ signers moved
//!   └──────────── the old key taken away ◀── Retiring: mail signed with it may still wait ◀─────┘
//! ```
//!
//! Pure: ages are those of the keys' files, and who signs is what the topology says.

use std::time::Duration;

/// As long as mail may wait in a queue (RFC 5321, section 4.5.4.1), and the signature on it must be checked.
pub const IN_FLIGHT: Duration = Duration::from_secs(5 * 86_400);

/// One key of a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Key<'k> {
    pub selector: &'k str,
    /// How long its file has been there.
    pub age: Duration,
    /// Some server signs with it.
    pub signs: bool,
}

/// Where the change of a domain's key stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage<'k> {
    /// Nothing to do for so long.
    Steady(Duration),
    /// Time for a second key; the first is older than it should be by so much.
    Due { old: &'k str, over: Duration },
    /// The new key is published; caches may not know it for so long.
    Announced { new: &'k str, wait: Duration },
    /// Signers move to the new key.
    Ready { old: &'k str, new: &'k str },
    /// Nobody signs with the old key any more. `wait`: mail that it signed may still be in flight, at least for so long.
    Retiring { old: &'k str, wait: Duration },
}

/// Where a domain stands with its keys of one algorithm. `every`: how often the key is changed. `ttl`: of its records, and of the answer
/// that there is none. `None` when no key signs and none ever did.
pub fn stage<'k>(keys: &[Key<'k>], every: Duration, ttl: Duration) -> Option<Stage<'k>> {
    let newest = keys.iter().min_by_key(|k| k.age)?;
    let signing = keys.iter().filter(|k| k.signs).min_by_key(|k| k.age)?;
    if !newest.signs {
        // It was published by the apply after it was made, at the earliest: twice the time to live covers a plan that waited.
        let wait = (ttl * 2).saturating_sub(newest.age);
        return Some(match wait.is_zero() {
            true => Stage::Ready { old: signing.selector, new: newest.selector },
            false => Stage::Announced { new: newest.selector, wait },
        });
    }
    // The signing key is the newest: others are left from before. When signing began nobody wrote down; not before it was known.
    if let Some(old) = keys.iter().filter(|k| !k.signs).max_by_key(|k| k.age) {
        return Some(Stage::Retiring { old: old.selector, wait: (ttl * 2 + IN_FLIGHT).saturating_sub(newest.age) });
    }
    Some(match signing.age.checked_sub(every) {
        Some(over) => Stage::Due { old: signing.selector, over },
        None => Stage::Steady(every - signing.age),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn key(selector: &str, age: Duration, signs: bool) -> Key<'_> {
        Key { selector, age, signs }
    }

    fn of<'k>(keys: &[Key<'k>]) -> Option<Stage<'k>> {
        stage(keys, 90 * DAY, HOUR)
    }

    #[test]
    fn a_change_goes_through_each_stage_in_turn() {
        assert_eq!(of(&[key("a", 89 * DAY, true)]), Some(Stage::Steady(DAY)));
        assert_eq!(of(&[key("a", 91 * DAY, true)]), Some(Stage::Due { old: "a", over: DAY }));
        let announced = |age| [key("a", 91 * DAY, true), key("b", age, false)];
        assert_eq!(of(&announced(HOUR / 2)), Some(Stage::Announced { new: "b", wait: HOUR * 3 / 2 }));
        assert_eq!(of(&announced(2 * HOUR)), Some(Stage::Ready { old: "a", new: "b" }));
        let moved = |age| [key("a", 91 * DAY, false), key("b", age, true)];
        assert_eq!(of(&moved(DAY)), Some(Stage::Retiring { old: "a", wait: 4 * DAY + 2 * HOUR }));
        assert_eq!(of(&moved(6 * DAY)), Some(Stage::Retiring { old: "a", wait: Duration::ZERO }));
        assert_eq!(of(&[key("b", 6 * DAY, true)]), Some(Stage::Steady(84 * DAY)));
    }

    #[test]
    fn signers_never_move_to_a_key_that_a_cache_may_not_know() {
        for minutes in 0..400 {
            let age = Duration::from_secs(minutes * 60);
            let ready = matches!(of(&[key("a", 91 * DAY, true), key("b", age, false)]), Some(Stage::Ready { .. }));
            assert_eq!(ready, age >= 2 * HOUR, "{minutes} minutes");
        }
    }

    #[test]
    fn without_a_signer_there_is_no_change() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[key("a", 91 * DAY, false)]), None);
        // A change that was given up: the newer key is gone, the old one signs on.
        assert_eq!(of(&[key("a", 100 * DAY, true)]), Some(Stage::Due { old: "a", over: 10 * DAY }));
    }
}
