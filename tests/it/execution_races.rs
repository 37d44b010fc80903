//! Somebody else works on the same hosts at the same time: nobody's work is overwritten, and two applies never both work.
//!
//! `CUTOVER_RACES=10000 cargo nextest run races` takes that many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cutover::execution::{self, ApplyError, Report, Run, Settings, Wanted};
use cutover::journal::Journal;
use cutover::journal::memory::MemoryDisk;
use cutover::model::attr::Attr;
use cutover::model::step::Outcome;
use cutover::providers::scripted::Fault;
use cutover::secret::Resolver;
use tokio::sync::{mpsc, watch};

use crate::execution_crash::{Dice, attrs, scenario, whole};
use crate::execution_world::Bench;

fn races() -> usize {
    std::env::var("CUTOVER_RACES").ok().and_then(|v| v.parse().ok()).unwrap_or(1_000)
}

#[test]
fn races_of_a_foreign_change_never_end_in_a_stale_write() {
    let (mut caught, mut unharmed) = (0, 0);
    for n in 0..races() as u64 {
        let seed = n / 20;
        let mut dice = Dice(n ^ 0xf00d);
        let (s, mut world) = scenario(seed);
        world.ghost = dice.below(8) as u32;
        let ticks = whole_ticks(seed);
        let mut b = Bench::new(s.site, world);
        let plan = b.plan();
        let targets: Vec<_> = plan.steps.iter().filter(|s| s.expect.is_some()).collect();
        if targets.is_empty() {
            continue;
        }
        // A foreign hand at one moment between plan and end, on a resource that the plan is about.
        let step = targets[dice.below(targets.len())];
        let local = step.address.local();
        let theirs = match dice.below(4) {
            0 if b.hosts.world().host(&step.address.host.0).resources.contains_key(&local) => None,
            _ => Some(attrs(&[("theirs", Attr::text(format!("work {n}")))])),
        };
        let fault = Fault::Foreign { host: step.address.host.clone(), local: local.clone(), attrs: theirs.clone() };
        let when = 1 + dice.below(ticks as usize) as u64;
        b.hosts.world().restart(BTreeMap::from([(when, fault)]));
        let report = b.try_apply(&plan, "a1").expect("not killed").expect("applies");
        let outcome = &report.outcomes[&step.id];
        let world = b.hosts.world();
        assert_eq!(world.stale_writes, 0, "race {n}");
        let now = world.hosts[&step.address.host].resources.get(&local).cloned();
        match outcome {
            Outcome::Stale { .. } => {
                caught += 1;
                assert_eq!(now, theirs, "race {n}: their work stands");
            }
            // They came after our step, or undid what our command's condition looks at.
            Outcome::Done { .. } => unharmed += 1,
            Outcome::Skipped { .. } => {}
            other => panic!("race {n}: {other:?}"),
        }
    }
    assert!(caught > races() / 5 && unharmed > races() / 20, "caught {caught}, came too late {unharmed}");
}

/// Ticks of an undisturbed run, remembered.
fn whole_ticks(seed: u64) -> u64 {
    use std::sync::Mutex;
    static KNOWN: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
    *KNOWN.lock().expect("known").entry(seed).or_insert_with(|| whole(seed).ticks)
}

/// One operator with a machine and journal of their own.
struct Operator {
    disk: MemoryDisk,
    identity: execution::Identity,
    settings: Settings,
    wanted: watch::Sender<Wanted>,
}

impl Operator {
    fn new(pid: u32) -> Self {
        let identity = execution::Identity { holder: crate::execution_world::holder(pid), dead: None };
        Self {
            disk: MemoryDisk::default(),
            identity,
            settings: Settings::new("key"),
            wanted: watch::channel(Wanted::Run).0,
        }
    }

    async fn apply(&self, b: &Bench, plan: &cutover::model::plan::Plan, name: &str) -> Result<Report, ApplyError> {
        let journal = Journal::in_memory(&self.disk).expect("opens").0;
        let (events, _heard) = mpsc::unbounded_channel();
        let resolve = Resolver::fixed([("env:PASSWORD", "(secret env:PASSWORD)")]);
        let run = Run {
            agent: &b.hosts,
            resolve: &resolve,
            clock: &b.clock,
            journal: &journal,
            settings: &self.settings,
            events,
            wanted: self.wanted.subscribe(),
        };
        execution::apply(run, plan, name, &self.identity, None).await
    }
}

#[test]
fn races_of_two_applies_one_is_refused_or_fenced() {
    static BOTH: AtomicUsize = AtomicUsize::new(0);
    for n in 0..races() as u64 / 4 {
        let mut dice = Dice(n ^ 0xbeef);
        let seed = 500 + n / 10;
        let (s, world) = scenario(seed);
        let b = Bench::new(s.site, world);
        let plan = b.plan();
        if plan.is_empty() {
            continue;
        }
        let (first, second) = (Operator::new(1), Operator::new(2));
        let head = dice.below(40);
        let late = async {
            // Some turns behind the first.
            for _ in 0..head {
                tokio::task::yield_now().await;
                let mut once = true;
                std::future::poll_fn(|c| {
                    c.waker().wake_by_ref();
                    if std::mem::take(&mut once) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
                })
                .await;
            }
            second.apply(&b, &plan, "a2").await
        };
        let both = async { tokio::join!(first.apply(&b, &plan, "a1"), late) };
        let (one, two) = b.clock.run(both, || false).expect("both end");
        let world = b.hosts.world();
        assert_eq!((world.stale_writes, world.intrusions), (0, 0), "race {n}");
        let refused = |r: &Result<Report, ApplyError>| match r {
            Err(ApplyError::Held { .. }) => true,
            Ok(report) => report.fenced.is_some(),
            Err(e) => panic!("race {n}: {e}"),
        };
        // One after the other is fine too: then the second finds everything changed and overwrites nothing.
        match (refused(&one), refused(&two)) {
            (true, true) => panic!("race {n}: nobody worked"),
            (false, false) => {
                BOTH.fetch_add(1, Ordering::Relaxed);
                let two = two.as_ref().expect("report");
                assert_eq!(two.done + two.skipped + two.failed, plan.steps.len() as u32, "race {n}");
            }
            _ => {}
        }
        drop(world);
        b.clock.advance(Duration::from_secs(60));
    }
}
