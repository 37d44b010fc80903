//! The change of a key that cutover makes itself, stage by stage, each carried out by an ordinary apply.
//!
//! ```text
//! Steady ──`rotate` is over──▶ Announced ──served everywhere, then N──▶ Moving ──every signer moved──▶ Retiring ──mail in flight──▶ Steady
//!          a key, its record                                           new key to the signers                    old record goes
//! ```
//!
//! Pure: what servers serve, and whether an apply came to its end, is told. Times are Unix seconds. A fact that was lost is found
//! again later and never earlier than it was, so that a wait can only grow. A clock that goes back makes waits longer as well.

use serde::{Deserialize, Serialize};

/// One key of a `dkim` node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// 1 for the key that the node itself names.
    pub number: u32,
    pub made: i64,
    /// Since when every name server was seen to serve its record, without a look in between that saw otherwise.
    pub served: Option<i64>,
    /// Since when no server signs with an older one: an apply that moved the signers had come to its end.
    pub alone: Option<i64>,
}

impl Generation {
    fn new(number: u32, made: i64) -> Self {
        Self { number, made, served: None, alone: None }
    }

    /// The selector of this key.
    pub fn selector(&self, node: &str) -> String {
        match self.number {
            1 => node.to_owned(),
            n => format!("{node}-{n}"),
        }
    }
}

/// The keys of a node whose records are published, oldest first: one, or two while the key changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    pub generations: Vec<Generation>,
}

/// How long things last, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lasting {
    /// `rotate`.
    pub every: i64,
    /// How long a cache may not know a record that every name server serves: its TTL, and that of the answer that it is not there.
    pub unknown: i64,
    /// Mail that an old key signed may wait in queues.
    pub in_flight: i64,
}

/// Where the change of a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The next key is made at this time.
    Steady { due: i64 },
    /// The new key is published and signs from this time on; `None` while not every name server serves it.
    Announced { from: Option<i64> },
    /// The signers move with this apply.
    Moving,
    /// The old key's record goes at this time.
    Retiring { until: i64 },
}

impl Succession {
    /// The key that signs.
    pub fn signs(&self, stage: &Stage) -> Option<&Generation> {
        match stage {
            Stage::Announced { .. } => self.generations.first(),
            _ => self.generations.last(),
        }
    }

    /// The key whose record has to be asked for before [`Self::go_on`].
    pub fn pending(&self) -> Option<&Generation> {
        self.generations.last().filter(|g| self.generations.len() > 1 && g.alone.is_none())
    }

    /// Takes in what the name servers say of [`Self::pending`] now.
    pub fn seen(&mut self, everywhere: bool, now: i64) {
        if self.generations.len() > 1
            && let Some(last) = self.generations.last_mut()
        {
            last.served = if everywhere { Some(last.served.unwrap_or(now)) } else { None };
        }
    }

    /// Makes the next key when it is due, lets the old one go when nothing needs it, and says where the change stands. `first`: when
    /// the key that the node names was made, should it not be known yet.
    pub fn go_on(&mut self, now: i64, first: i64, lasting: Lasting) -> Stage {
        if self.generations.is_empty() {
            self.generations.push(Generation::new(1, first.min(now)));
        }
        if let [.., last] = self.generations.as_slice()
            && let Some(alone) = last.alone
            && self.generations.len() > 1
        {
            let until = alone.saturating_add(lasting.in_flight.max(lasting.unknown));
            if now < until {
                return Stage::Retiring { until };
            }
            let last = last.clone();
            self.generations = vec![last];
        }
        if let [only] = self.generations.as_slice() {
            let due = only.alone.unwrap_or(only.made).saturating_add(lasting.every);
            if now < due {
                return Stage::Steady { due };
            }
            let next = Generation::new(only.number.saturating_add(1), now);
            self.generations.push(next);
        }
        let from = self.generations.last().and_then(|g| g.served).map(|s| s.saturating_add(lasting.unknown));
        match from {
            Some(from) if from <= now => Stage::Moving,
            from => Stage::Announced { from },
        }
    }

    /// A whole apply came to its end, or a whole plan found nothing to do, with this stage in it.
    pub fn done(&mut self, stage: &Stage, now: i64) {
        if *stage == Stage::Moving
            && let Some(last) = self.generations.last_mut()
        {
            last.alone.get_or_insert(now);
        }
    }

    /// An apply was taken back: which key signs now is not known before the next one.
    pub fn taken_back(&mut self) {
        if self.generations.len() > 1
            && let Some(last) = self.generations.last_mut()
        {
            last.alone = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const LASTING: Lasting = Lasting { every: 90 * DAY, unknown: 3600, in_flight: 5 * DAY };

    fn numbers(s: &Succession) -> Vec<u32> {
        s.generations.iter().map(|g| g.number).collect()
    }

    #[test]
    fn a_key_goes_through_each_stage_in_turn() {
        let mut s = Succession::default();
        assert_eq!(s.go_on(0, 0, LASTING), Stage::Steady { due: 90 * DAY });
        assert_eq!(s.go_on(90 * DAY - 1, 0, LASTING), Stage::Steady { due: 90 * DAY });
        let due = 90 * DAY;
        assert_eq!(s.go_on(due, 0, LASTING), Stage::Announced { from: None });
        assert_eq!(numbers(&s), [1, 2]);
        s.seen(false, due + 10);
        assert_eq!(s.go_on(due + 10, 0, LASTING), Stage::Announced { from: None });
        s.seen(true, due + 20);
        assert_eq!(s.go_on(due + 20, 0, LASTING), Stage::Announced { from: Some(due + 3620) });
        // A server that was restored from a backup begins the wait again.
        s.seen(false, due + 3000);
        s.seen(true, due + 3600);
        let stage = s.go_on(due + 3620, 0, LASTING);
        assert_eq!(stage, Stage::Announced { from: Some(due + 7200) });
        assert_eq!(s.signs(&stage).map(|g| g.number), Some(1));
        let stage = s.go_on(due + 7200, 0, LASTING);
        assert_eq!((&stage, s.signs(&stage).map(|g| g.number)), (&Stage::Moving, Some(2)));
        // The apply was cut off: nothing is done, and the next one has the same stage.
        let stage = s.go_on(due + DAY, 0, LASTING);
        assert_eq!(stage, Stage::Moving);
        s.done(&stage, due + DAY);
        assert_eq!(s.go_on(due + 6 * DAY - 1, 0, LASTING), Stage::Retiring { until: due + 6 * DAY });
        assert_eq!(numbers(&s), [1, 2]);
        assert_eq!(s.go_on(due + 6 * DAY, 0, LASTING), Stage::Steady { due: due + 91 * DAY });
        assert_eq!(numbers(&s), [2]);
        // The next selector is a new name.
        s.go_on(due + 91 * DAY, 0, LASTING);
        assert_eq!(s.generations[1].selector("s"), "s-3");
    }

    #[test]
    fn what_was_taken_back_waits_again() {
        let mut s = Succession::default();
        s.go_on(90 * DAY, 0, LASTING);
        s.seen(true, 90 * DAY);
        let stage = s.go_on(91 * DAY, 0, LASTING);
        s.done(&stage, 91 * DAY);
        s.taken_back();
        let stage = s.go_on(95 * DAY, 0, LASTING);
        assert_eq!(stage, Stage::Moving);
        s.done(&stage, 95 * DAY);
        assert_eq!(s.go_on(97 * DAY, 0, LASTING), Stage::Retiring { until: 100 * DAY });
    }

    /// Runs at times of a crowd of clocks and servers: what signs was served everywhere for long enough, and what signed within the
    /// time of queues is published.
    #[test]
    fn no_course_of_events_breaks_the_promises() {
        let mut seed = 42u64;
        let mut random = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..300 {
            let (mut s, mut now) = (Succession::default(), 0i64);
            // What really is so: since when each key is served everywhere, and when each signed last.
            let (mut served, mut signed): (Vec<Option<i64>>, Vec<Option<i64>>) = (vec![Some(0)], vec![None]);
            let mut on_hosts = 1u32;
            for _ in 0..200 {
                now += i64::try_from(random(3 * 86_400)).unwrap();
                signed[on_hosts as usize - 1] = Some(now);
                if s.pending().is_some() {
                    let number = s.pending().unwrap().number as usize - 1;
                    let everywhere = random(4) > 0;
                    if served[number].is_some() || everywhere {
                        served[number] = everywhere.then(|| served[number].unwrap_or(now));
                    }
                    s.seen(everywhere, now);
                }
                let stage = s.go_on(now, 0, LASTING);
                while served.len() < s.generations.last().unwrap().number as usize {
                    served.push(None);
                    signed.push(None);
                }
                for (i, last) in signed.iter().enumerate() {
                    let published = s.generations.iter().any(|g| g.number as usize == i + 1);
                    assert!(published || last.is_none_or(|l| l + LASTING.in_flight <= now), "key {} is gone", i + 1);
                }
                let wanted = s.signs(&stage).unwrap().number;
                match random(5) {
                    // The apply dies on its way: the signers moved or not, and nobody writes it down.
                    0 => on_hosts = if random(2) == 0 { wanted } else { on_hosts },
                    1 => {}
                    _ => {
                        on_hosts = wanted;
                        s.done(&stage, now);
                    }
                }
                let since = served[on_hosts as usize - 1];
                if stage == Stage::Moving && on_hosts == wanted {
                    assert!(since.is_some_and(|t| t + LASTING.unknown <= now), "key {on_hosts} signs and is not known");
                }
            }
            assert!(s.generations.last().unwrap().number > 2, "it goes on");
        }
    }
}
