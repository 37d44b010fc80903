//! Stories of one apply on scripted hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover::execution::{ApplyError, Wanted};
use cutover::journal::Status;
use cutover::model::attr::{Attr, Attrs};
use cutover::model::event::What;
use cutover::model::step::Outcome;
use cutover::model::{Address, Kind};
use cutover::providers::scripted::{Fault, World};

use crate::execution_world::Bench;
use crate::planning_world::{Story, story};

fn text(pairs: &[(&str, &str)]) -> Attrs {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), Attr::text(*v))).collect()
}

/// Two hosts, a package, a file that reloads its service, a command, and a gate that waits for the mailbox host.
fn two_hosts() -> Story {
    let mut s = story();
    s.add("a/imap", Kind::Package, "dovecot").set("version", "2.3");
    s.file("a/imap", "/etc/dovecot.conf", "protocols = imap\n").reloads("dovecot");
    s.secret_file("a/imap", "/etc/dovecot.pw", "env:PASSWORD").reloads("dovecot");
    s.service("a/imap", "dovecot");
    s.add("a/imap", Kind::Command, "seed").set("run", "seed-it").set("once", true);
    s.file("b/gate", "/etc/gate.conf", "backend = a\n").restarts("gate").after("server.a/service:dovecot");
    s.service("b/gate", "gate");
    s
}

fn bench(s: Story) -> Bench {
    Bench::new(s.site, World::default())
}

#[test]
fn apply_reaches_what_was_planned_and_a_second_plan_is_empty() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    assert!(!plan.is_empty());
    let report = b.apply(&plan, "a1");
    assert!(report.is_success(), "{report:?}");
    assert_eq!(b.plan().steps, []);
    assert_eq!(b.hosts.world().stale_writes, 0);
    let again = b.plan();
    assert!(b.apply(&again, "a2").is_success());
}

#[test]
fn every_step_is_written_down_before_it_is_sent() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    b.apply(&plan, "a1");
    let saved = b.journal().load("a1").expect("reads").expect("is there");
    let replay = cutover::journal::replay(&saved).expect("legal");
    assert!(replay.statuses.iter().all(|s| *s == Status::Done));
    assert!(replay.finished);
    assert_eq!(saved.plan, plan, "a resume needs nothing else");
    let live: Vec<_> = b.events.iter().filter(|e| matches!(e.what, What::StepEnded { .. })).map(|e| &e.what).collect();
    let told = cutover::journal::events(&saved);
    let replayed: Vec<_> = told.iter().filter(|e| matches!(e.what, What::StepEnded { .. })).map(|e| &e.what).collect();
    assert_eq!(live, replayed);
}

#[test]
fn steps_of_a_host_go_in_one_batch() {
    let mut s = story();
    for i in 0..40 {
        s.file("a/imap", &format!("/etc/f{i}"), "x");
    }
    s.service("a/imap", "dovecot");
    let mut b = bench(s);
    let plan = b.plan();
    assert!(b.apply(&plan, "a1").is_success());
    assert_eq!(b.hosts.world().batches, 1);
}

#[test]
fn a_failed_step_stops_its_dependents_only() {
    let mut s = two_hosts();
    s.file("a/other", "/etc/other", "free");
    let mut b = bench(s);
    let plan = b.plan();
    // The first effect is the package, on which all of a/imap stands.
    b.hosts.world().restart(BTreeMap::from([(1, Fault::FailStep)]));
    let report = b.apply(&plan, "a1");
    assert_eq!(report.failed, 1);
    assert!(report.skipped > 0 && report.done > 0, "{report:?}");
    let other: Address = "server.a/file:/etc/other".parse().expect("address");
    let id = plan.steps.iter().find(|s| s.address == other).expect("planned").id;
    assert!(report.outcomes[&id].is_done());
    let next = b.plan();
    assert!(b.apply(&next, "a2").is_success());
    assert_eq!(b.plan().steps, []);
}

#[test]
fn a_resource_that_somebody_else_changed_is_left_alone() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    b.hosts.world().host("a").set("file:/etc/dovecot.conf", text(&[("mode", "0600")]));
    let report = b.apply(&plan, "a1");
    let stale = report.outcomes.values().filter(|o| matches!(o, Outcome::Stale { .. })).count();
    assert_eq!(stale, 1);
    assert_eq!(b.hosts.world().host("a").resources["file:/etc/dovecot.conf"], text(&[("mode", "0600")]));
    assert_eq!(b.hosts.world().stale_writes, 0);
}

#[test]
fn a_secret_that_cannot_be_read_fails_its_step_and_says_why() {
    let mut s = story();
    s.secret_file("a/imap", "/etc/pw", "env:MISSING").reloads("dovecot");
    s.file("a/imap", "/etc/free", "x");
    let mut b = bench(s);
    let plan = b.plan();
    let report = b.apply(&plan, "a1");
    let texts: Vec<String> = report
        .outcomes
        .values()
        .filter_map(|o| match o {
            Outcome::Failed { output, .. } => Some(output.clone()),
            _ => None,
        })
        .collect();
    assert!(texts.iter().any(|t| t.contains("env:MISSING")), "{texts:?}");
    assert!(report.done >= 1);
}

#[test]
fn a_cut_line_is_asked_about_and_nothing_runs_twice() {
    let mut whole = bench(two_hosts());
    let plan = whole.plan();
    whole.apply(&plan, "a1");
    let ticks = whole.hosts.world().ticks;
    for tick in 1..=ticks {
        let mut b = bench(two_hosts());
        let plan = b.plan();
        b.hosts.world().restart(BTreeMap::from([(tick, Fault::CutLine { seconds: 20 })]));
        match b.try_apply(&plan, "a1").expect("not killed") {
            Ok(report) => assert!(report.is_success(), "tick {tick}: {report:?}"),
            // Before anything was begun.
            Err(ApplyError::Host(_)) => {
                b.clock.advance(Duration::from_secs(60));
                assert!(b.apply(&plan, "a2").is_success(), "tick {tick}");
            }
            Err(e) => panic!("tick {tick}: {e}"),
        }
        assert_eq!(b.state(), whole.state(), "tick {tick}");
        b.restart(Duration::from_secs(60), true, BTreeMap::new());
        assert_eq!(b.plan().steps, [], "tick {tick}");
    }
}

#[test]
fn a_host_that_stays_away_leaves_its_steps_to_a_resume() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    b.hosts.world().restart(BTreeMap::from([(25, Fault::CutLine { seconds: 3_000 })]));
    let report = b.apply(&plan, "a1");
    assert!(report.unknown > 0 && !report.lost.is_empty(), "{report:?}");
    assert!(b.events.iter().any(|e| matches!(e.what, What::HostLost { .. })));
    b.restart(Duration::from_secs(3_000), true, BTreeMap::new());
    let report = b.resume("a1");
    assert!(report.is_success(), "{report:?}");
    assert_eq!(b.plan().steps, []);
    assert!(matches!(b.try_resume("a1"), Some(Err(ApplyError::Finished(_)))));
}

#[test]
fn ctrl_c_drains_and_a_resume_goes_on() {
    let mut s = story();
    for i in 0..120 {
        s.file("a/imap", &format!("/etc/f{i:03}"), "x");
    }
    let mut b = bench(s);
    let plan = b.plan();
    b.wanted.send_replace(Wanted::Drain);
    let report = b.apply(&plan, "a1");
    assert!(report.interrupted && report.left == 120, "{report:?}");
    b.wanted.send_replace(Wanted::Run);
    let report = b.resume("a1");
    assert!(report.is_success(), "{report:?}");
    assert_eq!(b.plan().steps, []);
}

#[test]
fn two_applies_at_once_never_both_work() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    // The first is killed in the middle; its lease is fresh.
    b.hosts.world().restart(BTreeMap::from([(40, Fault::KillController)]));
    assert!(b.try_apply(&plan, "a1").is_none());
    b.restart(Duration::ZERO, false, BTreeMap::new());
    let began = cutover::execution::Clock::now(&b.clock);
    let plan = b.plan();
    let report = b.try_apply(&plan, "a2").expect("not killed");
    // Somebody on another machine waits until the first is known to be dead, then takes over.
    assert!(report.is_ok());
    assert!(cutover::execution::Clock::now(&b.clock) - began >= 27_000);
    assert_eq!(b.hosts.world().intrusions, 0);
}

#[test]
fn a_living_holder_is_not_taken_over() {
    let mut b = bench(two_hosts());
    let plan = b.plan();
    b.hosts.world().restart(BTreeMap::from([(40, Fault::KillController)]));
    assert!(b.try_apply(&plan, "a1").is_none());
    b.restart(Duration::ZERO, false, BTreeMap::new());
    let plan = b.plan();
    let journal = b.journal();
    // The first one still beats.
    let agent = b.hosts.clone();
    let access = plan.hosts.values().next().expect("host").clone();
    let clock = b.clock.clone();
    let beat = async {
        loop {
            cutover::execution::Clock::sleep(&clock, Duration::from_secs(10)).await;
            let _ = cutover::providers::agent::Agent::heartbeat(&agent, &access, "acme", 1).await;
        }
    };
    let (events, _heard) = tokio::sync::mpsc::unbounded_channel();
    let resolver = cutover::secret::Resolver::fixed([]);
    let run = cutover::execution::Run {
        agent: &b.hosts,
        resolve: &resolver,
        clock: &b.clock,
        journal: &journal,
        settings: &b.settings,
        events,
        wanted: b.wanted.subscribe(),
    };
    let both = async {
        tokio::select! {
            result = cutover::execution::apply(run, &plan, "a2", &b.identity, None) => Some(result),
            () = beat => None,
        }
    };
    let result = b.clock.run(both, || false).flatten().expect("ends");
    let error = result.expect_err("refused").to_string();
    assert!(error.contains("kim@desk pid 1") && error.contains("since 20"), "{error}");
}

#[test]
fn risky_steps_are_disarmed_over_a_new_connection() {
    let mut s = story();
    s.body("a/edge", Kind::Firewall, "mail", cutover::model::attr::Body::text("table inet mail {}\n"));
    s.file("a/edge", "/etc/calm", "x");
    let mut b = bench(s);
    let plan = b.plan();
    assert!(plan.steps.iter().any(|s| s.risky));
    let report = b.apply(&plan, "a1");
    assert!(report.is_success(), "{report:?}");
    let told: Vec<&What> = b.events.iter().map(|e| &e.what).collect();
    let armed = told.iter().position(|w| matches!(w, What::Armed { .. })).expect("armed");
    let disarmed = told.iter().position(|w| matches!(w, What::Disarmed { .. })).expect("disarmed");
    let ended = told
        .iter()
        .position(|w| matches!(w, What::StepEnded { address, .. } if address.kind == Kind::Firewall))
        .expect("ended");
    assert!(armed < disarmed && disarmed < ended, "a risky step counts only when the host could still be reached");
    assert!(!b.state().contains("armed"));
}

#[test]
fn a_change_that_locks_us_out_goes_back_by_itself() {
    let mut s = story();
    s.body("a/edge", Kind::Firewall, "mail", cutover::model::attr::Body::text("drop everything\n"));
    s.file("a/edge", "/etc/calm", "x");
    let mut b = bench(s);
    b.hosts.world().host("a").lethal.insert("firewall:mail".into());
    let plan = b.plan();
    let report = b.apply(&plan, "a1");
    let reverted = report.outcomes.values().filter(|o| **o == Outcome::Reverted).count();
    assert_eq!(reverted, 1, "{report:?}");
    assert_eq!(report.done, 1, "{report:?}");
    assert!(!b.hosts.world().host("a").resources.contains_key("firewall:mail"));
    assert_eq!(b.plan().steps.len(), 1, "the next plan speaks of it again");
}

#[test]
fn a_lost_journal_loses_nothing_but_history() {
    let mut whole = bench(two_hosts());
    let plan = whole.plan();
    whole.apply(&plan, "a1");
    let ticks = whole.hosts.world().ticks;
    for tick in 1..=ticks {
        let mut b = bench(two_hosts());
        let plan = b.plan();
        b.hosts.world().restart(BTreeMap::from([(tick, Fault::KillController)]));
        if b.try_apply(&plan, "a1").is_some() {
            continue;
        }
        b.disk.clear();
        b.restart(Duration::from_secs(5), false, BTreeMap::new());
        assert!(matches!(b.try_resume("a1"), Some(Err(ApplyError::NoSuchApply(_)))));
        for round in 0..3 {
            let next = b.plan();
            if next.is_empty() {
                break;
            }
            b.apply(&next, &format!("b{round}"));
        }
        assert_eq!(b.plan().steps, [], "tick {tick}");
        assert_eq!(b.state(), whole.state(), "tick {tick}");
    }
}
