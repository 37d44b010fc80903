//! What both sides need while a window moves: the policy of both senders, digests of both certificates, an MTA-STS policy that lists
//! both hosts; and what goes when the old side is over, by the window's own last step.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cutover::model::cutover::Stage;
use cutover::model::dns::RecordSet;
use cutover::model::observed::Record;
use cutover::model::plan::Plan;
use cutover::model::step::Outcome;
use cutover::model::{Address, HostName, Kind};
use cutover::planning::{self, PlanInput, PlanOptions};

use crate::support::answers;
use crate::support::nameserver::set;
use crate::zones_world::{World, shown};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64
}

const OLD: &str = "record \"@\" MX old.acme.example priority=10 ttl=\"2s\"\nrecord \"@\" TXT \"v=spf1 ip4:192.0.2.1 -all\" ttl=\"2s\"\n\
                   record old A \"192.0.2.1\" ttl=\"2s\"\n";
const NEW: &str = "record \"@\" MX new.acme.example priority=10 ttl=\"2s\" held-until=night\n\
                   record \"@\" TXT \"v=spf1 ip4:192.0.2.2 -all\" ttl=\"2s\"\nrecord new A \"192.0.2.2\" ttl=\"2s\"\n";

fn window(lead: i64, lasts: i64) -> String {
    let start = jiff::Timestamp::from_second(now() + lead).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
    format!(
        "}}\nrollback-point back restores=dns valid-for=\"9d\"\n\
         cutover-window night start=\"{start}\" for=\"{lasts}s\" rollback=back {{ steps lower-ttl flip-mx verify raise-ttl prune"
    )
}

fn spf(world: &World) -> String {
    world.server.get("acme.example", "TXT").map(|s| s.data.into_iter().collect()).unwrap_or_default()
}

fn of_window() -> PlanOptions {
    PlanOptions { window: Some("night".into()), short_lead: true, now: now(), ..PlanOptions::default() }
}

/// A zone that is ours and serves the old side.
async fn world() -> World {
    let servers =
        [set("acme.example", "NS", 300, &["ns.acme.example."]), set("ns.acme.example", "A", 300, &["127.0.0.1"])];
    let mut world = World::new(&servers, OLD);
    world.server.state().negative_ttl = Some(1);
    world.zone = "cutover-ttl=\"1s\"".into();
    let primary = world.server.clone();
    answers::start(world.server.address, move |key| primary.sets().get(key).cloned());
    world.apply("a0").await;
    world
}

/// The five days in which the old side stays, made short as `time-scale` does it.
fn soon(plan: &mut Plan, seconds: u64) -> BTreeSet<u32> {
    let schedule = plan.schedule.as_mut().expect("a timetable");
    let prune = schedule.entries.iter().find(|e| e.stage == Stage::Prune).expect("a prune");
    let steps: BTreeSet<u32> = prune.steps.iter().copied().collect();
    for id in &steps {
        for since in schedule.waits.get_mut(id).into_iter().flat_map(|w| &mut w.since) {
            assert_eq!(since.seconds, 5 * 86_400);
            since.seconds = seconds;
        }
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_side_is_allowed_until_the_window_prunes_it_and_comes_back_with_a_rollback() {
    let mut world = world().await;
    let before = world.server.sets();
    world.records = format!("{NEW}{}", window(4, 7));
    // An ordinary plan takes nothing from the old side.
    world.options.now = now();
    let plan = world.plan().await;
    assert_eq!(shown(&plan), ["create zone.acme.example/record-set:new.acme.example./A"]);
    let notes: Vec<&str> = plan.notes.iter().map(|n| n.text.as_str()).collect();
    assert!(
        notes.iter().any(|n| n.contains("the old side of window night needs what would be taken away")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|n| n.contains("the old side of window night may need it")), "{notes:?}");

    world.options = of_window();
    let mut plan = world.plan().await;
    assert!(!plan.blocked(), "{:?}", plan.notes);
    let zone = "zone.acme.example";
    assert_eq!(
        shown(&plan),
        [
            format!("create {zone}/record-set:new.acme.example./A"),
            format!("update {zone}/record-set:acme.example./TXT"),
            format!("wait {zone}/barrier:night/publish"),
            format!("update {zone}/record-set:acme.example./MX"),
            format!("wait {zone}/barrier:night/lower-ttl"),
            format!("update {zone}/record-set:acme.example./MX"),
            format!("wait {zone}/barrier:night/flip-mx"),
            format!("update {zone}/record-set:acme.example./MX"),
            format!("wait {zone}/barrier:night/raise-ttl"),
            format!("update {zone}/record-set:acme.example./TXT"),
            format!("delete {zone}/record-set:old.acme.example./A"),
            format!("wait {zone}/barrier:night/prune"),
        ]
    );
    let text = cutover::reporting::plan_text(&plan, &Default::default());
    assert!(text.contains("then old.acme.example. A go, acme.example. TXT as the topology wants it"), "{text}");
    let pruned = soon(&mut plan, 20);
    let both = "\"v=spf1 ip4:192.0.2.2 ip4:192.0.2.1 -all\"";

    // Up to the wait for the end of the old side: `apply` ends there, with the time.
    world.settings.longest_wait = Duration::from_secs(8);
    let report = world.try_apply(&plan, "w1").await.expect("applies");
    let waits = report.waits.clone().unwrap_or_else(|| panic!("{report:?}"));
    assert!(pruned.contains(&waits.step) || waits.until.is_some_and(|until| until <= now() + 30), "{waits:?}");
    assert_eq!(spf(&world), both);
    assert!(world.server.get("old.acme.example", "A").is_some());
    // Killed over a step that had not reached the zone yet: it has nothing to take back, and stops nothing.
    let spf_step = plan.steps.iter().rfind(|s| s.address.key.ends_with("acme.example./TXT")).expect("a step").id;
    assert!(pruned.contains(&spf_step));
    let early = world.undo_plan_without("w1", &[spf_step]).await;
    assert!(!early.blocked(), "{:?}", early.notes);
    assert_eq!(shown(&early), shown(&world.undo_plan("w1").await));

    world.settings.longest_wait = Duration::from_secs(60);
    let report = world.resume("w1").await;
    assert!(report.is_success(), "{report:?}");
    assert_eq!(spf(&world), "\"v=spf1 ip4:192.0.2.2 -all\"");
    assert_eq!(world.server.get("old.acme.example", "A"), None);
    let flip = plan.steps.iter().find(|s| s.address.key == "night/flip-mx").expect("a barrier").id;
    let Some(Outcome::Done { fingerprint: Some(f) }) = report.outcomes.get(&flip) else { panic!("{report:?}") };
    assert!(
        now() >= cutover::catalog::barrier::moment(f).expect("a moment") + 20,
        "no sooner than the old side is over"
    );

    // Nothing is left for anybody; and the way back serves the old side first.
    world.options = PlanOptions { now: now(), ..PlanOptions::default() };
    assert_eq!(world.planned().await, [""; 0]);
    let back = world.undo_plan("w1").await;
    assert_eq!(
        shown(&back),
        [
            format!("restore {zone}/record-set:acme.example./TXT"),
            format!("restore {zone}/record-set:old.acme.example./A"),
            format!("wait {zone}/barrier:night/rollback-publish"),
            format!("restore {zone}/record-set:acme.example./MX"),
            format!("wait {zone}/barrier:night/rollback"),
            format!("wait {zone}/barrier:night/rollback-over"),
            format!("restore {zone}/record-set:acme.example./TXT"),
            format!("restore {zone}/record-set:new.acme.example./A"),
        ]
    );
    // Killed when it had: the zone says so, and the way back is the same.
    let killed = world.undo_plan_without("w1", &[spf_step]).await;
    assert!(!killed.blocked(), "{:?}", killed.notes);
    assert_eq!(shown(&killed), shown(&back));
    // What was never done and is not what it was: somebody else's, and refused.
    let swap = plan.steps.iter().find(|s| s.address.key.ends_with("acme.example./MX")).expect("a step").id;
    let odd = world.undo_plan_without("w1", &[swap]).await;
    assert!(odd.blocked() && odd.notes.iter().any(|n| n.text.contains("unknown")), "{:?}", odd.notes);
    world.undo("w1", "u1").await;
    assert_eq!(world.server.sets(), before, "the zone is what it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn tlsa_of_the_new_host_stands_for_two_ttls_and_one_that_moves_keeps_both_digests() {
    let mut world = world().await;
    // mail keeps its name and gets another address and certificate.
    let digest = |c: char| format!("3 1 1 {}", c.to_string().repeat(64));
    world.records = format!(
        "{OLD}record mail A \"192.0.2.1\" ttl=\"2s\"\nrecord \"_25._tcp.mail\" TLSA \"{}\" ttl=\"40s\"\n",
        digest('a')
    );
    world.apply("a1").await;
    world.records = format!(
        "{NEW}record mail A \"192.0.2.2\" ttl=\"2s\" held-until=night\nrecord \"_25._tcp.mail\" TLSA \"{}\" ttl=\"40s\"\n\
         record \"_25._tcp.new\" TLSA \"{}\" ttl=\"100s\"\n{}",
        digest('b'),
        digest('b'),
        window(1_000, 600)
    );
    world.options = of_window();
    let plan = world.plan().await;
    assert!(!plan.blocked(), "{:?}", plan.notes);
    let schedule = plan.schedule.as_ref().expect("a timetable");
    let publish = schedule.entries.iter().find(|e| e.stage == Stage::Publish).expect("a stage");
    assert_eq!(publish.ends - publish.begins, 200, "twice the longest TTL of a TLSA set");
    assert!(publish.why.contains("twice its TTL"), "{}", publish.why);
    let wait = plan.steps.iter().find(|s| s.reason.starts_with("flip-mx")).and_then(|s| schedule.waits.get(&s.id));
    assert!(wait.expect("a wait").since.iter().any(|s| s.seconds == 200), "the swap waits for it");
    let data = |reason: &str| -> Vec<String> {
        let key = "_25._tcp.mail.acme.example./TLSA";
        let step = plan.steps.iter().find(|s| s.address.key == key && s.reason.starts_with(reason));
        let set: RecordSet = cutover::catalog::record_set::of_attrs(key, &step.expect("a step").attrs).expect("a set");
        set.data.into_iter().collect()
    };
    assert_eq!(data(""), [digest('a'), digest('b')], "both before the swap");
    assert_eq!(data("prune of window night"), [digest('b')], "and the new one when the old side is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_both_sides_do_not_fit_into_is_refused() {
    let mut world = world().await;
    let many: Vec<String> = (0..26).map(|i| format!("ip4:198.51.100.{}", 2 * i)).collect();
    world.records = format!(
        "{}record \"@\" TXT \"v=spf1 {} -all\" ttl=\"2s\"\nrecord new A \"192.0.2.2\" ttl=\"2s\"\n{}",
        "record \"@\" MX new.acme.example priority=10 ttl=\"2s\" held-until=night\n",
        many.join(" "),
        window(1_000, 600)
    );
    world.options = of_window();
    let plan = world.plan().await;
    let why = plan.notes.iter().find(|n| n.blocks).map(|n| n.text.clone()).unwrap_or_default();
    assert!(why.contains("octets, and 450 are safe") && why.contains("`legacy`"), "{why}");
}

/// A plan of the zone alone: contents of files are not made here. The web server gives out a policy with these hosts.
async fn planned(world: &World, listed: &[&str]) -> Plan {
    let mut site = world.site();
    site.resources.retain(|r| r.address.host.is_zone());
    let file = Address::new(&HostName::from("desk"), Kind::File, "/srv/mta-sts.txt");
    for policy in site.windows.iter_mut().flat_map(|w| &mut w.policies) {
        policy.files.insert(file.clone());
    }
    let mut observed = world.observe(&site).await;
    let lines: String = listed.iter().map(|mx| format!("mx: {mx}\n")).collect();
    let record = Record {
        present: true,
        attrs: Default::default(),
        fingerprint: "f".into(),
        text: Some(format!("version: STSv1\nmode: enforce\n{lines}max_age: 2592000\n")),
    };
    let mut desk = observed.hosts.values().next().expect("the zone").clone();
    desk.records = [(file.local(), record)].into();
    desk.owned.clear();
    desk.zone = None;
    observed.hosts.insert(HostName::from("desk"), desk);
    planning::plan(&PlanInput { site: &site, observed: &observed, options: &world.options, key_id: "k" }).expect("plan")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mta_sts_policy_lists_both_sides_before_the_swap_and_is_narrowed_only_max_age_after() {
    let mut world = world().await;
    let web = "certificate sts subject=mta-sts.acme.example issuer=internal { on desk; services https; }\n\
               mail-auth acme.example { mta-sts mode=enforce host=desk max-age=\"30d\"; ";
    let legacy = "}\nlegacy before product=other host=old.acme.example { services smtp;";
    let text = |lead: i64, extra: &str| format!("{NEW}{}\n}}\n{web}{extra}", window(lead, 600));
    let (old, new) = ("old.acme.example", "new.acme.example");
    let blocks =
        |plan: &Plan| plan.notes.iter().filter(|n| n.blocks).map(|n| n.text.clone()).collect::<Vec<_>>().join("\n");
    world.records = text(1_000, "");
    world.options = of_window();
    let why = blocks(&planned(&world, &[old]).await);
    assert!(why.contains("does not list old.acme.example") && why.contains("`legacy`"), "{why}");
    // With the old side in the topology its policy lists both, and has to be published first.
    world.records = text(1_000, legacy);
    let why = blocks(&planned(&world, &[old]).await);
    assert!(!why.contains("does not list") && why.contains("is not published yet"), "{why}");
    world.options = PlanOptions { now: now(), ..PlanOptions::default() };
    let report = world.try_apply(&planned(&world, &[old]).await, "a1").await.expect("applies");
    assert!(report.is_success(), "{report:?}");
    world.options = of_window();
    assert_eq!(blocks(&planned(&world, &[old, new]).await), "");

    // The old side leaves the topology: before the window and for max-age after it the policy stays as it is.
    let record = "update zone.acme.example/record-set:_mta-sts.acme.example./TXT".to_owned();
    for (lead, day, stays) in [(1_000, 0, true), (-5_000, 1, true), (-5_000, 29, true), (-5_000, 31, false)] {
        world.records = text(lead, "");
        world.options = PlanOptions { now: now() + day * 86_400, ..PlanOptions::default() };
        let plan = planned(&world, &[old, new]).await;
        let told = plan.notes.iter().any(|n| n.text.contains("would not list old.acme.example any more"));
        assert_eq!(
            (told, shown(&plan).contains(&record)),
            (stays, !stays),
            "{day}: {:?} {:?}",
            shown(&plan),
            plan.notes
        );
    }
    // What only adds is nobody's loss.
    world.records = text(1_000, "");
    world.options = PlanOptions { now: now(), ..PlanOptions::default() };
    assert!(shown(&planned(&world, &[new]).await).contains(&record));
}
