//! A window from plan to rollback against a primary and a secondary in this process, in the time of clocks. Real servers, mail and a
//! resolver in between: `lab_cutover`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cutover::catalog::barrier;
use cutover::model::Kind;
use cutover::model::cutover::Stage;
use cutover::model::dns::RecordSet;
use cutover::model::plan::Plan;
use cutover::model::step::{Action, Outcome};
use cutover::planning::PlanOptions;
use cutover::protocol::dns::data::Sets;

use crate::support::answers;
use crate::support::nameserver::set;
use crate::zones_world::{World, shown};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64
}

fn mx(ttl: u32, host: &str) -> RecordSet {
    set("acme.example", "MX", ttl, &[&format!("10 {host}.acme.example.")])
}

/// What the secondary serves: it follows its primary `lag` after each change, or stands still.
#[derive(Clone)]
struct Secondary {
    lag: Arc<Mutex<Duration>>,
    log: Arc<Mutex<Vec<(Instant, Sets)>>>,
}

impl Secondary {
    fn of(world: &World) -> Self {
        let this = Self {
            lag: Arc::new(Mutex::new(Duration::ZERO)),
            log: Arc::new(Mutex::new(vec![(Instant::now(), world.server.sets())])),
        };
        let primary = world.server.clone();
        let watch = (this.clone(), primary.clone());
        std::thread::spawn(move || {
            let (this, primary) = watch;
            loop {
                std::thread::sleep(Duration::from_millis(10));
                let sets = primary.sets();
                let mut log = this.log.lock().expect("a log");
                if log.last().is_none_or(|(_, last)| *last != sets) {
                    log.push((Instant::now(), sets));
                }
            }
        });
        answers::start(world.server.address, move |key| primary.sets().get(key).cloned());
        let served = this.clone();
        let mut second: SocketAddr = world.server.address;
        second.set_ip("127.0.0.2".parse().expect("an address"));
        answers::start(second, move |key| {
            let lag = *served.lag.lock().expect("a lag");
            let log = served.log.lock().expect("a log");
            let (_, sets) = log.iter().rev().find(|(at, _)| at.elapsed() >= lag).unwrap_or(&log[0]);
            sets.get(key).cloned()
        });
        this
    }

    fn lags(&self, lag: Duration) {
        *self.lag.lock().expect("a lag") = lag;
    }

    /// Each state of the MX with the moment at which the primary had it.
    fn course(&self) -> Vec<(Instant, RecordSet)> {
        let log = self.log.lock().expect("a log");
        let mut out: Vec<(Instant, RecordSet)> = Vec::new();
        for (at, sets) in log.iter() {
            let mx = sets.get(&mx(0, "old").key).expect("an MX set is never empty").clone();
            if out.last().is_none_or(|(_, last)| *last != mx) {
                out.push((*at, mx));
            }
        }
        out
    }
}

/// A zone whose MX (TTL 3 s) moves from `old` to `new` in a window that begins in `lead` seconds.
fn world(lead: i64, lasts: i64) -> (World, Secondary) {
    let old = set("old.acme.example", "A", 2, &["192.0.2.1"]);
    let start = jiff::Timestamp::from_second(now() + lead).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
    let records = format!(
        "record \"@\" MX new.acme.example priority=10 held-until=night\nrecord new A \"192.0.2.2\"\n}}\n\
         rollback-point back restores=dns valid-for=\"1d\"\n\
         cutover-window night start=\"{start}\" for=\"{lasts}s\" rollback=back {{\n\
         steps lower-ttl flip-mx verify raise-ttl prune\nstep flip-mx timeout=\"30s\""
    );
    // Its name servers are found by its own addresses: nothing else knows of this zone.
    let servers = [
        set("acme.example", "NS", 300, &["ns.acme.example.", "ns2.acme.example."]),
        set("ns.acme.example", "A", 300, &["127.0.0.1"]),
        set("ns2.acme.example", "A", 300, &["127.0.0.2"]),
    ];
    let mut world = World::new(&[&servers[..], &[mx(3, "old"), old]].concat(), &records);
    world.server.state().negative_ttl = Some(2);
    world.zone = "cutover-ttl=\"1s\"".into();
    let secondary = Secondary::of(&world);
    (world, secondary)
}

fn of_window(lead: bool) -> PlanOptions {
    PlanOptions { window: Some("night".into()), short_lead: lead, now: now(), ..PlanOptions::default() }
}

fn moment(plan: &Plan, stage: Stage, outcomes: &std::collections::BTreeMap<u32, Outcome>) -> i64 {
    let step = plan.steps.iter().find(|s| s.address.kind == Kind::Barrier && s.address.key == format!("night/{stage}"));
    match outcomes.get(&step.expect("a barrier").id) {
        Some(Outcome::Done { fingerprint: Some(f) }) => barrier::moment(f).expect("a moment"),
        other => panic!("{stage}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_goes_through_its_stages_and_back_to_the_same_zone() {
    let (mut world, secondary) = world(6, 9);
    // Until the window an ordinary plan leaves the set alone, its TTL included, and says why.
    world.options.now = now();
    let plan = world.plan().await;
    assert_eq!(shown(&plan), ["create zone.acme.example/record-set:new.acme.example./A"]);
    assert!(plan.notes.iter().any(|n| n.text.contains("waits for window night")), "{:?}", plan.notes);

    world.options = of_window(true);
    let plan = world.plan().await;
    assert!(!plan.blocked(), "{:?}", plan.notes);
    assert_eq!(
        shown(&plan),
        [
            "create zone.acme.example/record-set:new.acme.example./A",
            "wait zone.acme.example/barrier:night/publish",
            "update zone.acme.example/record-set:acme.example./MX",
            "wait zone.acme.example/barrier:night/lower-ttl",
            "update zone.acme.example/record-set:acme.example./MX",
            "wait zone.acme.example/barrier:night/flip-mx",
            "update zone.acme.example/record-set:acme.example./MX",
            "wait zone.acme.example/barrier:night/raise-ttl",
        ]
    );
    let schedule = plan.schedule.clone().expect("a timetable");

    secondary.lags(Duration::from_millis(1_500));
    let report = world.try_apply(&plan, "w1").await.expect("applies");
    assert!(report.is_success(), "{:?}", report);
    let course = secondary.course();
    let states: Vec<&RecordSet> = course.iter().map(|(_, set)| set).collect();
    assert_eq!(states, [&mx(3, "old"), &mx(1, "old"), &mx(1, "new"), &mx(300, "new")]);
    // The swap comes when the old TTL of 3 s has run out after the slowest server, and not before the window begins.
    let (lowered, flipped, raised) = (course[1].0, course[2].0, course[3].0);
    assert!(flipped - lowered >= Duration::from_millis(1_500 + 3_000), "{:?}", flipped - lowered);
    assert!(moment(&plan, Stage::FlipMx, &report.outcomes) >= schedule.start);
    assert!(raised - flipped >= Duration::from_millis(1_500 + 2_000), "twice the short TTL after the slowest");

    // As wanted: an ordinary plan has nothing to do once the window is over.
    world.options = PlanOptions { now: schedule.end + 1, ..PlanOptions::default() };
    assert_eq!(world.planned().await, [""; 0]);

    // Back: one swap, a barrier, and what was published for the new side goes.
    secondary.lags(Duration::from_millis(500));
    let back = world.undo_plan("w1").await;
    assert_eq!(
        shown(&back),
        [
            "restore zone.acme.example/record-set:acme.example./MX",
            "wait zone.acme.example/barrier:night/rollback",
            "wait zone.acme.example/barrier:night/rollback-over",
            "restore zone.acme.example/record-set:new.acme.example./A",
        ]
    );
    let text = cutover::reporting::plan_text(&back, &Default::default());
    assert!(text.contains("Way back of window night to back"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_before_the_end_costs_the_short_ttl_and_leaves_the_zone_as_it_was() {
    let (mut world, secondary) = world(5, 4_000);
    let before = world.server.sets();
    world.options = of_window(true);
    let plan = world.plan().await;
    assert!(!plan.blocked(), "{:?}", plan.notes);
    // Everything up to the end of the window, which is an hour away.
    world.settings.longest_wait = Duration::from_secs(60);
    let report = world.try_apply(&plan, "w1").await.expect("applies");
    assert!(report.waits.is_some() && report.failed + report.skipped + report.unknown == 0, "{report:?}");
    assert_eq!(world.server.get("acme.example", "MX"), Some(mx(1, "new")));
    let flipped = world.server.sets();
    assert_ne!(flipped, before);

    let began = Instant::now();
    world.undo("w1", "u1").await;
    assert!(began.elapsed() < Duration::from_secs(1 + 5), "L + t + 5 s: {:?}", began.elapsed());
    assert_eq!(world.server.sets(), before, "the zone is what it was");
    assert!(secondary.course().len() >= 4);
    // What the window had taken into the ledger is not ours any more.
    let owned = world.observe(&world.site()).await;
    let lane = owned.hosts.values().find(|o| o.zone.is_some()).expect("the zone");
    assert_eq!(lane.owned, [], "{:?}", lane.owned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_keeps_the_barrier_shut_is_named_and_can_be_waited_for() {
    let (mut world, secondary) = world(2, 600);
    world.options = of_window(true);
    let mut plan = world.plan().await;
    // The time-out of the topology would be too long for a test.
    for step in plan.steps.iter_mut().filter(|s| s.action == Action::Wait) {
        step.attrs.insert("timeout".into(), cutover::model::attr::Attr::Int(2));
    }
    secondary.lags(Duration::from_secs(3_600));
    let report = world.try_apply(&plan, "w1").await.expect("applies");
    assert!(!report.is_success() && report.failed == 0, "{report:?}");
    let lost = report.lost.values().next().expect("a reason");
    assert!(lost.contains("127.0.0.2") && lost.contains("cutover resume"), "{lost}");
    assert_eq!(world.server.get("acme.example", "MX"), Some(mx(3, "old")), "nothing is built on what is not served");

    // A plan made anew does not take the short TTL for one that was always there.
    secondary.lags(Duration::ZERO);
    world.settings.longest_wait = Duration::from_secs(60);
    let report = world.resume("w1").await;
    assert_eq!((report.failed, report.skipped, report.unknown), (0, 0, 0), "{report:?}");
    assert_eq!(world.server.get("acme.example", "MX"), Some(mx(1, "new")));
}
