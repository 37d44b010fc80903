//! How long an apply still takes: what is left on each host by what such steps took so far. Hosts work side by side, the steps
//! of one host one after the other, so the slowest host says when it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::address::{HostName, Kind};
use crate::model::plan::Plan;
use crate::model::step::{Action, Step, StepId};

/// Steps that take alike long.
type Class = (Kind, bool);

fn class(step: &Step) -> Class {
    (step.address.kind, matches!(step.action, Action::Reload | Action::Restart))
}

/// Before anything of its class was seen, in milliseconds: as seen on small virtual hosts with Debian packages close by.
fn guess(class: Class) -> u64 {
    match class {
        (_, true) => 800,
        (Kind::Package, _) => 8_000,
        (Kind::Command, _) => 3_000,
        (Kind::Service | Kind::Timer | Kind::Unit, _) => 1_200,
        (Kind::Binary, _) => 1_000,
        (Kind::Wave, _) => 30_000,
        _ => 60,
    }
}

#[derive(Debug, Clone, Default)]
pub struct Estimate {
    class_of: BTreeMap<StepId, (HostName, Class)>,
    left: BTreeMap<HostName, BTreeMap<Class, u32>>,
    /// Sum in milliseconds and number of what was seen.
    seen: BTreeMap<Class, (u64, u64)>,
}

impl Estimate {
    pub fn new(plan: &Plan) -> Self {
        let mut out = Self::default();
        for step in &plan.steps {
            let (host, class) = (step.address.host.clone(), class(step));
            *out.left.entry(host.clone()).or_default().entry(class).or_default() += 1;
            out.class_of.insert(step.id, (host, class));
        }
        out
    }

    /// A step is over, whatever became of it.
    pub fn ended(&mut self, step: StepId, millis: u64) {
        let Some((host, class)) = self.class_of.remove(&step) else { return };
        if let Some(n) = self.left.get_mut(&host).and_then(|l| l.get_mut(&class)) {
            *n = n.saturating_sub(1);
        }
        // A skipped step took no time and says nothing of its class.
        if millis > 0 {
            let seen = self.seen.entry(class).or_default();
            seen.0 = seen.0.saturating_add(millis);
            seen.1 += 1;
        }
    }

    pub fn left(&self) -> Duration {
        let each = |class: &Class| self.seen.get(class).map_or_else(|| guess(*class), |(sum, n)| sum / n);
        let hosts = self.left.values().map(|l| l.iter().map(|(c, n)| each(c) * u64::from(*n)).sum::<u64>());
        Duration::from_millis(hosts.max().unwrap_or(0))
    }
}

/// `about 2 min`, `8 s`.
pub fn spoken(left: Duration) -> String {
    match left.as_secs() {
        0 => "less than 1 s".to_owned(),
        s @ 1..=89 => format!("{s} s"),
        s @ 90..=5_399 => format!("{} min", (s + 30) / 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_host_decides_and_what_was_seen_wins() {
        let mut e = Estimate::default();
        for (id, host) in [(0, "a"), (1, "a"), (2, "a"), (3, "b")] {
            let (host, class) = (HostName::from(host), (Kind::Package, false));
            e.class_of.insert(id, (host.clone(), class));
            *e.left.entry(host).or_default().entry(class).or_default() += 1;
        }
        assert_eq!(e.left(), Duration::from_secs(24));
        e.ended(0, 1_000);
        assert_eq!(e.left(), Duration::from_secs(2));
        e.ended(0, 9_000);
        assert_eq!(e.left(), Duration::from_secs(2), "an end counts once");
        [1, 2, 3].into_iter().for_each(|s| e.ended(s, 0));
        assert_eq!(e.left(), Duration::ZERO);
    }

    #[test]
    fn times_are_spoken() {
        for (s, text) in [(0, "less than 1 s"), (8, "8 s"), (100, "2 min"), (4_000, "67 min"), (7_260, "2 h 1 min")] {
            assert_eq!(spoken(Duration::from_secs(s)), text);
        }
    }
}
