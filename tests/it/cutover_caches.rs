//! What caches hold while a timeline is carried out: made-up zones, secondaries that lag, resolvers that ask when they like.
//!
//! The model is independent of the planner: servers change what they serve at times of their own, caches keep what they got for
//! as long as its TTL says (some longer), and each answer that a sender can get is looked at.

use cutover::model::cutover::{Stage, Window};
use cutover::model::dns::{RecordSet, SetChange, SetKey};
use cutover::planning::cutover::{Held, Timeline, ZoneFacts, timeline};
use proptest::prelude::*;

const START: i64 = 1_795_000_000;
const ZONE: &str = "acme.example.";

fn set(name: &str, kind: &str, ttl: u32, data: &str) -> RecordSet {
    RecordSet { key: SetKey { name: name.into(), kind: kind.into() }, ttl, data: [data.to_owned()].into() }
}

fn mx(ttl: u32, host: &str) -> RecordSet {
    set(ZONE, "MX", ttl, &format!("10 {host}.{ZONE}"))
}

/// A zone, its window and those who ask, in numbers.
#[derive(Debug, Clone)]
struct Seed {
    old_ttl: u32,
    wanted_ttl: u32,
    address_ttl: u32,
    short_ttl: u32,
    negative_ttl: u32,
    refresh: u32,
    /// Part of L (in thousandths) that each secondary takes to follow each change; the primary is beside them.
    lags: Vec<u16>,
    /// The name of the new host is made by this plan.
    new_name: bool,
    /// Seconds before the latest safe time at which the plan is made; after it where negative (a shorter lead, said in words).
    early: i64,
    lasts: i64,
    /// Seconds that the process was away before each stage (killed, resumed).
    pauses: Vec<u16>,
    /// For each cache: how much longer than allowed it keeps an answer, and the moments (in thousandths of the whole) at which it is asked.
    caches: Vec<(u32, Vec<u16>)>,
}

fn seeds() -> impl Strategy<Value = Seed> {
    // Short and long ones, so that each of the waits is the longest now and then.
    let ttl = || prop_oneof![1..900u32, 1..90_000u32];
    let zone = (ttl(), ttl(), ttl(), 1..900u32, 1..4_000u32, 0..4_000u32);
    let lags = proptest::collection::vec(0..=1_000u16, 0..6);
    let course = (any::<bool>(), -20_000..50_000i64, 2_000..40_000i64, proptest::collection::vec(0..3_000u16, 6));
    // Clamps: none, a little, an hour, a day and more than that (serve-stale, RFC 8767).
    let clamp = prop_oneof![4 => Just(0u32), 1 => Just(600), 1 => Just(3_600), 1 => Just(86_400), 1 => Just(300_000)];
    let caches = proptest::collection::vec((clamp, proptest::collection::vec(0..=10_000u16, 1..60)), 1..8);
    (zone, lags, course, caches).prop_map(|(zone, lags, course, caches)| Seed {
        old_ttl: zone.0,
        wanted_ttl: zone.1,
        address_ttl: zone.2,
        short_ttl: zone.3,
        negative_ttl: zone.4,
        refresh: zone.5,
        lags,
        new_name: course.0,
        early: course.1,
        lasts: course.2,
        pauses: course.3,
        caches,
    })
}

/// What was served when: for each server, the moments at which it took up each change.
struct Run {
    /// By server: moment and the sets from then on.
    servers: Vec<Vec<(i64, Served)>>,
    /// The swap was sent.
    flip: i64,
    /// The old answers have run out, says the timeline.
    clear: i64,
    /// The old side may go.
    prune: i64,
    begin: i64,
    end: i64,
}

#[derive(Debug, Clone, PartialEq)]
struct Served {
    mx: RecordSet,
    /// The address of the new host is there.
    address: bool,
}

/// Carries a timeline out as `execution` does: each stage after the barriers before it, its waits counted from the slowest server.
fn carry_out(seed: &Seed, line: &Timeline, now: i64, origin: Served) -> Run {
    let mut servers = vec![vec![(i64::MIN, origin)]; seed.lags.len() + 1];
    let (mut at, mut free) = (now, now);
    let (mut flip, mut clear, mut prune) = (0, 0, 0);
    for (i, part) in line.parts.iter().enumerate() {
        if part.stage == Stage::Prune {
            prune = flip + part.wait;
            continue;
        }
        if part.changes.is_empty() {
            continue;
        }
        // Stages of the lead wait for each other's barrier only; the swap waits for all that has to run out.
        let ready = match part.stage {
            Stage::FlipMx | Stage::RaiseTtl => free.max(at),
            _ => at,
        };
        let begins = ready.max(part.not_before.unwrap_or(i64::MIN)) + i64::from(seed.pauses[i]);
        let mut slowest = begins;
        for (s, server) in servers.iter_mut().enumerate() {
            let lag = s.checked_sub(1).map_or(0, |s| i64::from(seed.lags[s]) * line.lag / 1_000);
            let mut state = server.last().expect("an origin").1.clone();
            for change in &part.changes {
                let after = change.after.clone().expect("nothing is taken away");
                match after.key.kind.as_str() {
                    "MX" => state.mx = after,
                    _ => state.address = true,
                }
            }
            // A secondary takes up changes in their order.
            let moment = (begins + lag).max(server.last().expect("an origin").0);
            server.push((moment, state));
            slowest = slowest.max(moment);
        }
        at = slowest;
        free = free.max(slowest + part.wait);
        if part.stage == Stage::FlipMx {
            (flip, clear) = (begins, slowest + part.wait);
            // The old side stays from the slowest on.
            prune = slowest;
        }
    }
    let end = prune.max(at) + 400_000;
    Run { servers, flip, clear, prune, begin: now - 100_000, end }
}

impl Run {
    fn served(&self, server: usize, at: i64) -> &Served {
        let log = &self.servers[server];
        &log[log.partition_point(|(moment, _)| *moment <= at) - 1].1
    }
}

/// One answer in a cache, with its end.
#[derive(Default)]
struct Cache {
    mx: Option<(RecordSet, i64)>,
    address: Option<(bool, i64)>,
}

fn check(seed: &Seed) -> Result<(), TestCaseError> {
    let address = set(&format!("new.{ZONE}"), "A", seed.address_ttl, "192.0.2.2");
    let old_address = set(&format!("old.{ZONE}"), "A", seed.address_ttl, "192.0.2.1");
    let mut sets = vec![old_address];
    let mut publishes = vec![];
    match seed.new_name {
        true => publishes.push(SetChange { before: None, after: Some(address) }),
        false => sets.push(address),
    }
    let zone = ZoneFacts {
        name: ZONE.into(),
        short_ttl: seed.short_ttl,
        negative_ttl: seed.negative_ttl,
        refresh: seed.refresh,
        secondaries: !seed.lags.is_empty(),
        sets,
        publishes,
        prunes: Vec::new(),
    };
    let window = Window {
        name: "night".into(),
        start: START,
        end: START + seed.lasts,
        timezone: "UTC".into(),
        stages: Stage::ALL.into(),
        timeouts: Default::default(),
        rolls_back: Default::default(),
        way_back: None,
        rollback: "back".into(),
        policies: Vec::new(),
        keep: 5 * 86_400,
        holds: Default::default(),
        short_ttls: Default::default(),
    };
    let held = [Held { wanted: mx(seed.wanted_ttl, "new"), observed: Some(mx(seed.old_ttl, "old")), former_ttl: None }];
    let far = timeline(START - 1_000_000, &window, &zone, &held);
    let lead = far.parts.iter().filter_map(|p| p.latest).min().unwrap_or(START).min(START);
    let now = lead - seed.early;
    let line = timeline(now, &window, &zone, &held);
    if seed.early >= 0 && seed.lasts >= 2 * i64::from(seed.short_ttl.min(seed.old_ttl)) {
        prop_assert_eq!(&line.refusals, &vec![], "begun by the latest safe time, it is taken");
    }
    let run = carry_out(seed, &line, now, Served { mx: mx(seed.old_ttl, "old"), address: !seed.new_name });

    for log in &run.servers {
        for (_, state) in log {
            prop_assert_eq!(state.mx.data.len(), 1, "an MX set is never empty");
            prop_assert!(state.mx.ttl <= seed.old_ttl.max(seed.wanted_ttl), "a TTL above what anybody asked for");
        }
        prop_assert_eq!(&log.last().expect("a state").1.mx, &mx(seed.wanted_ttl, "new"), "all servers end as wanted");
    }
    // Of all that resolvers were given before the swap, nothing lives longer than the short TTL.
    for log in &run.servers {
        for (i, (_, state)) in log.iter().enumerate().filter(|(_, (_, s))| s.mx.ttl > seed.short_ttl) {
            let until = log.get(i + 1).map_or(i64::MAX, |(next, _)| *next);
            if state.mx.data == mx(0, "old").data {
                prop_assert!(
                    until + i64::from(state.mx.ttl) <= run.flip,
                    "the swap comes before the old TTL has run out"
                );
            }
        }
    }
    for (c, (clamp, moments)) in seed.caches.iter().enumerate() {
        let mut cache = Cache::default();
        let whole = run.end - run.begin;
        let mut times: Vec<(i64, usize)> = moments
            .iter()
            .enumerate()
            .map(|(n, m)| (run.begin + whole * i64::from(*m) / 10_000, (c * 7 + n) % run.servers.len()))
            .collect();
        // The moments that matter most are always among them: right before a server follows, right after the swap.
        let changes = run.servers.iter().enumerate().flat_map(|(s, log)| log[1..].iter().map(move |(m, _)| (m - 1, s)));
        times.extend(changes.filter(|(_, s)| c == 0 || s % c == 0));
        times.extend([run.flip, run.clear, run.prune, run.end].map(|at| (at, 0)));
        times.sort_unstable();
        for (n, (at, server)) in times.into_iter().enumerate() {
            let served = run.served(server, at);
            // Some resolvers ask for the new host before it exists, and remember that it was not there.
            let address = |cache: &mut Cache| {
                let fresh = cache.address.as_ref().filter(|(_, until)| at < *until).map(|(there, _)| *there);
                fresh.unwrap_or_else(|| {
                    let there = served.address;
                    let ttl = if there { seed.address_ttl } else { seed.negative_ttl };
                    cache.address = Some((there, at + i64::from(ttl)));
                    there
                })
            };
            if (n + c) % 3 == 0 {
                address(&mut cache);
            }
            let fresh = cache.mx.as_ref().filter(|(_, until)| at < *until).map(|(set, _)| set.clone());
            let answer = fresh.unwrap_or_else(|| {
                let keeps = served.mx.ttl.max(*clamp);
                cache.mx = Some((served.mx.clone(), at + i64::from(keeps)));
                served.mx.clone()
            });
            if answer.data == mx(0, "new").data {
                prop_assert!(at >= run.flip);
                prop_assert!(address(&mut cache), "mail goes to a host that has no address yet");
            } else {
                prop_assert!(at < run.prune, "an answer leads to the old side after it may be gone");
                prop_assert!(
                    *clamp > 0 || at < run.clear,
                    "an answer of the old side after its TTL has run out everywhere"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_answer_that_a_cache_can_hold_leads_to_a_host_that_accepts(seed in seeds()) {
        check(&seed)?;
    }
}
