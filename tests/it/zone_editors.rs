//! An apply and somebody else change the same set at once, through the whole of plan and apply: no update is lost, and no reader ever
//! finds the zone without its MX. `CUTOVER_TRIALS=10000` for the full form.
#![allow(clippy::print_stderr)] // counts are part of the result

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cutover::catalog::record_set::fingerprint;
use cutover::model::dns::{RecordSet, SetChange};
use cutover::model::step::Outcome;
use cutover::protocol::dns::{Batch, DnsError, transfer, update};

use crate::support::nameserver::{NameServer, set};
use crate::zones_world::World;

const PATIENCE: Duration = Duration::from_secs(10);

fn mx(host: &str) -> RecordSet {
    set("acme.example", "MX", 300, &[&format!("10 {host}.acme.example.")])
}

/// Every state that the set ever had is another one, so the changes that were taken must make one chain.
type Taken = Mutex<BTreeMap<String, String>>;

/// Swaps what it has just read, at moments of its own.
fn editor(server: &NameServer, over: &AtomicBool, taken: &Taken, late: &AtomicU32, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let mut random = seed;
    for n in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(random >> 33 & 127));
        runtime.block_on(async {
            let seen = transfer(server.address, "acme.example", None, PATIENCE).await.expect("the zone");
            let (before, after) = (seen.sets[&mx("x").key].clone(), mx(&format!("theirs{n}")));
            let change = SetChange { before: Some(before.clone()), after: Some(after.clone()) };
            match update(server.address, "acme.example", &Batch { changes: vec![change] }, None, PATIENCE).await {
                Ok(()) => {
                    let lost =
                        taken.lock().expect("lock").insert(fingerprint(Some(&before)), fingerprint(Some(&after)));
                    assert_eq!(lost, None, "two changes of one state were taken");
                }
                Err(DnsError::Changed { .. }) => drop(late.fetch_add(1, Ordering::SeqCst)),
                Err(e) => panic!("{e}"),
            }
        });
    }
}

#[test]
fn an_apply_beside_another_editor_loses_no_update_and_never_empties_the_mx() {
    let trials: u32 = std::env::var("CUTOVER_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let seed = std::env::var("CUTOVER_RACES_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let first = mx("first");
    let ours = |n: u32| format!("record \"@\" MX ours{n}.acme.example priority=10 adopt=#true");
    let mut world = World::new(std::slice::from_ref(&first), &ours(0));
    let (over, taken, late) = (AtomicBool::new(false), Taken::default(), AtomicU32::new(0));
    let (server, began) = (world.server.clone(), Instant::now());
    let reads = AtomicU32::new(0);
    let (mut done, mut stale) = (0, 0);
    let (over, taken, late, server, reads) = (&over, &taken, &late, &server, &reads);
    std::thread::scope(|threads| {
        threads.spawn(move || editor(server, over, taken, late, seed));
        threads.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let now = server.get("acme.example", "MX");
                assert_eq!(now.map(|s| s.data.len()), Some(1), "the MX is empty or doubled");
                reads.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let work = async {
            for n in 0..trials {
                world.records = ours(n);
                let plan = world.plan().await;
                let [step] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
                let report = world.try_apply(&plan, &format!("a{n}")).await.expect("applies");
                match &report.outcomes[&step.id] {
                    Outcome::Done { .. } => {
                        let from = step.expect.clone().expect("what the plan saw");
                        let lost =
                            taken.lock().expect("lock").insert(from, fingerprint(Some(&mx(&format!("ours{n}")))));
                        assert_eq!(lost, None, "two changes of one state were taken");
                        done += 1;
                    }
                    Outcome::Stale { .. } => stale += 1,
                    other => panic!("{other:?}"),
                }
            }
        };
        // The threads end whatever happens here.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(work)));
        over.store(true, Ordering::SeqCst);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // From the first state each change leads to the next, and the last to what is served: none was lost or written over.
    let mut taken = std::mem::take(&mut *taken.lock().expect("lock"));
    let (all, mut at) = (taken.len(), fingerprint(Some(&first)));
    while let Some(next) = taken.remove(&at) {
        at = next;
    }
    assert!(taken.is_empty(), "changes that were lost: {taken:?}");
    assert_eq!(at, fingerprint(server.get("acme.example", "MX").as_ref()));
    eprintln!(
        "{trials} applies beside another editor: {done} done, {stale} stale and told so; {} changes of the other, {} of them late; {} reads, \
         never empty; {:.1} s",
        all as u32 - done,
        late.load(Ordering::SeqCst),
        reads.load(Ordering::SeqCst),
        began.elapsed().as_secs_f64()
    );
}
