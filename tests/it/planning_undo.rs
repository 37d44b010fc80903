//! Going back: what the undo of an apply does, and what it refuses.

use std::collections::BTreeMap;

use cutover::model::address::Kind;
use cutover::model::plan::Plan;
use cutover::model::step::{Outcome, StepId};
use cutover::planning::{UndoInput, differences, undo};

use super::planning_world::{Story, World, lines, story};

fn site() -> Story {
    let mut s = story();
    s.add("mail-1/smtp", Kind::Package, "postfix");
    s.file("mail-1/smtp", "/etc/postfix/main.cf", "myhostname = mail-1\n").reloads("postfix");
    s.service("mail-1/smtp", "postfix");
    s.file("gate/proxy", "/etc/proxy/routes", "mail-1\n").after("server.mail-1/smtp");
    s
}

fn back(s: &Story, world: &World, plan: &Plan, outcomes: &BTreeMap<StepId, Outcome>) -> Plan {
    let apply = (world.former.len() - 1).to_string();
    undo(&UndoInput { apply: &apply, plan, outcomes, observed: &world.observe(&s.site), now: 0 })
}

#[test]
fn undo_goes_back_step_by_step_in_reverse() {
    let s = site();
    let mut world = World::default();
    let plan = s.plan(&world);
    let outcomes = world.apply(&plan);
    let undo = back(&s, &world, &plan, &outcomes);
    assert_eq!(
        lines(&undo),
        [
            "restore gate/file:/etc/proxy/routes",
            "restore mail-1/service:postfix",
            "restore mail-1/file:/etc/postfix/main.cf",
            "restore mail-1/package:postfix",
        ]
    );
    assert_eq!(undo.steps[1].after, [0]);
    assert_eq!(undo.steps[3].restores, Some(("0".into(), 0)));
    world.apply(&undo);
    assert!(world.state.is_empty() && world.owned.is_empty());
}

#[test]
fn a_running_service_reads_its_former_file() {
    let s = site();
    let mut world = World::default();
    world.apply(&s.plan(&world));
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    let before = world.clone();
    let plan = s.plan(&world);
    let outcomes = world.apply(&plan);
    let undo = back(&s, &world, &plan, &outcomes);
    assert_eq!(lines(&undo), ["restore file:/etc/postfix/main.cf", "reload service:postfix"]);
    assert_eq!(undo.steps[1].after, [0]);
    world.apply(&undo);
    assert_eq!(world.state, before.state);
    assert_eq!(world.owned, before.owned);
    assert!(world.pending.is_empty());
}

#[test]
fn what_changed_since_is_not_overwritten() {
    let s = site();
    let mut world = World::default();
    let plan = s.plan(&world);
    let outcomes = world.apply(&plan);
    world.tamper("server.gate/file:/etc/proxy/routes", "mode", "0640");
    let undo = back(&s, &world, &plan, &outcomes);
    assert!(undo.blocked());
    assert!(!lines(&undo).iter().any(|l| l.contains("routes")));
}

#[test]
fn only_what_was_done_goes_back_and_the_unknown_is_asked_first() {
    let s = site();
    let mut world = World::default();
    let plan = s.plan(&world);
    let mut outcomes = world.apply(&plan);
    outcomes.insert(2, Outcome::Skipped { because: 1 });
    outcomes.insert(1, Outcome::Failed { code: 1, output: String::new() });
    let undone = back(&s, &world, &plan, &outcomes);
    // Package and the route: the order between them passes through the steps that were not done.
    assert_eq!(undone.steps.len(), 2);
    assert_eq!(undone.steps[1].after, [0]);
    outcomes.insert(1, Outcome::Unknown { why: "lost".into() });
    let undone = back(&s, &world, &plan, &outcomes);
    assert!(undone.blocked());
    assert!(undone.notes[0].text.contains("cutover resume 0"));
}

#[test]
fn what_cannot_go_back_says_so() {
    let mut s = story();
    s.add("a/x", Kind::Command, "migrate").set("run", "migrate");
    s.add("a/x", Kind::Command, "open").set("run", "open").set("undo", "close");
    let mut world = World::default();
    let plan = s.plan(&world);
    let outcomes = world.apply(&plan);
    let undo = back(&s, &world, &plan, &outcomes);
    assert_eq!(lines(&undo), ["restore command:open"]);
    assert_eq!(undo.notes[0].text, "stays as it is: the command names no undo");
    assert!(!undo.blocked());
}

#[test]
fn undo_of_an_undo_is_the_apply() {
    let s = site();
    let mut world = World::default();
    let plan = s.plan(&world);
    let outcomes = world.apply(&plan);
    let after = world.clone();
    let undo_plan = back(&s, &world, &plan, &outcomes);
    let outcomes = world.apply(&undo_plan);
    let again = back(&s, &world, &undo_plan, &outcomes);
    world.apply(&again);
    assert_eq!(world.state, after.state);
    assert_eq!(world.owned, after.owned);
}

#[test]
fn a_stale_plan_says_what_changed() {
    let s = site();
    let mut world = World::default();
    let saved = s.plan(&world);
    assert_eq!(differences(&saved, &s.plan(&world)), []);
    world.foreign("server.mail-1/file:/etc/postfix/main.cf", &[("mode", "0600")]);
    let told: Vec<String> = differences(&saved, &s.plan(&world)).into_iter().map(|d| d.text).collect();
    assert_eq!(told, ["create is not needed any more", "update has become necessary"]);

    world.apply(&s.plan(&world));
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    let saved = s.plan(&world);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0666");
    let told = differences(&saved, &s.plan(&world));
    assert_eq!(told[0].text, "was changed on the host since the plan was made");
    assert!(told[0].address.is_some());
    let mut other = site();
    other.file("gate/proxy", "/etc/new", "x\n");
    assert!(differences(&saved, &other.plan(&world))[0].text.contains("topology"));
}
