//! Plans of small sites, as stories.

use cutover::model::address::Kind;
use cutover::model::attr::{Attr, Body};
use cutover::model::resource::NotifyHow;
use cutover::planning::PlanError;

use super::planning_world::{Story, World, at, lines, story};

/// A host with postfix: package, folder, files, service.
fn postfix() -> Story {
    let mut s = story();
    s.add("mail-1/smtp", Kind::Package, "postfix");
    s.add("mail-1/smtp", Kind::Directory, "/etc/postfix/maps").set("mode", "0755");
    s.file("mail-1/smtp", "/etc/postfix/main.cf", "myhostname = mail-1\n").reloads("postfix");
    s.file("mail-1/smtp", "/etc/postfix/maps/relay", "example.org\n").reloads("postfix");
    s.service("mail-1/smtp", "postfix");
    s
}

fn applied(s: &Story) -> World {
    let mut world = World::default();
    world.apply(&s.plan(&world));
    world
}

#[test]
fn an_empty_host_gets_everything_in_order_and_no_reload_on_top_of_a_start() {
    let s = postfix();
    let plan = s.plan(&World::default());
    assert_eq!(
        lines(&plan),
        [
            "create package:postfix",
            "create directory:/etc/postfix/maps",
            "create file:/etc/postfix/main.cf",
            "create file:/etc/postfix/maps/relay",
            "create service:postfix",
        ]
    );
    assert_eq!(plan.steps[4].after, [2, 3]);
    assert_eq!(plan.steps[0].reason, "package missing");
}

#[test]
fn the_second_plan_is_empty() {
    let s = postfix();
    let plan = s.plan(&applied(&s));
    assert!(plan.is_empty(), "{:?}", lines(&plan));
    assert_eq!(plan.examined, 5);
}

#[test]
fn a_service_is_reloaded_once_after_all_that_asked() {
    let s = postfix();
    let mut world = applied(&s);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    world.tamper("server.mail-1/file:/etc/postfix/maps/relay", "mode", "0600");
    let plan = s.plan(&world);
    assert_eq!(
        lines(&plan),
        ["update file:/etc/postfix/main.cf", "update file:/etc/postfix/maps/relay", "reload service:postfix"]
    );
    assert_eq!(plan.steps[2].after, [0, 1]);
    assert_eq!(plan.steps[2].expect, None);
    assert_eq!(plan.steps[2].reason, "asked for by file:/etc/postfix/main.cf and 1 more");
}

#[test]
fn restart_wins_over_reload() {
    let mut s = postfix();
    s.file("mail-1/smtp", "/etc/postfix/master.cf", "smtp\n").restarts("postfix");
    let mut world = applied(&s);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    world.tamper("server.mail-1/file:/etc/postfix/master.cf", "mode", "0600");
    assert_eq!(lines(&s.plan(&world)).last().map(String::as_str), Some("restart service:postfix"));
}

#[test]
fn a_reload_that_was_asked_for_and_not_done_is_done() {
    let s = postfix();
    let mut world = applied(&s);
    world.pending.insert(("mail-1".into(), "postfix".into()), NotifyHow::Restart);
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["restart service:postfix"]);
    assert_eq!(plan.steps[0].reason, "asked for by an earlier apply and not done yet");
}

#[test]
fn a_service_that_does_not_run_is_started_not_reloaded() {
    let s = postfix();
    let mut world = applied(&s);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    world.tamper("server.mail-1/service:postfix", "running", false);
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["update file:/etc/postfix/main.cf", "update service:postfix"]);
    assert_eq!(plan.steps[1].reason, "not running");
}

#[test]
fn a_service_that_is_wanted_stopped_is_not_reloaded() {
    let mut s = postfix();
    s.remove("server.mail-1/service:postfix");
    s.add("mail-1/smtp", Kind::Service, "postfix").set("enabled", false).set("running", false);
    let mut world = applied(&s);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    assert_eq!(lines(&s.plan(&world)), ["update file:/etc/postfix/main.cf"]);
}

#[test]
fn enabling_a_running_service_does_not_stand_for_its_reload() {
    let s = postfix();
    let mut world = applied(&s);
    world.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    world.tamper("server.mail-1/service:postfix", "enabled", false);
    assert_eq!(
        lines(&s.plan(&world)),
        ["update file:/etc/postfix/main.cf", "update service:postfix", "reload service:postfix"]
    );
}

/// A file of another role asks for a reload: it comes after the start too, since nothing orders the file before it.
#[test]
fn a_notifier_of_another_role_is_heard() {
    let mut s = postfix();
    s.file("mail-1/edge", "/etc/rspamd/milter.conf", "x\n").reloads("postfix");
    let plan = s.plan(&World::default());
    assert_eq!(lines(&plan).last().map(String::as_str), Some("reload service:postfix"));
    let mut world = World::default();
    world.apply(&plan);
    assert!(s.plan(&world).is_empty());
}

#[test]
fn what_left_the_topology_goes_in_reverse() {
    let mut s = postfix();
    let world = applied(&s);
    s.site.resources.clear();
    assert_eq!(
        lines(&s.plan(&world)),
        [
            "delete service:postfix",
            "delete file:/etc/postfix/main.cf",
            "delete file:/etc/postfix/maps/relay",
            "delete directory:/etc/postfix/maps",
            "delete package:postfix",
        ]
    );
}

#[test]
fn inner_folders_go_before_outer_ones() {
    let mut s = story();
    for path in ["/srv/mail", "/srv/mail/in", "/srv/mail/in/deep", "/srv/other"] {
        s.add("a/x", Kind::Directory, path);
    }
    let world = applied(&s);
    s.site.resources.clear();
    let plan = s.plan(&world);
    assert!(at(&plan, "delete directory:/srv/mail/in/deep") < at(&plan, "delete directory:/srv/mail/in"));
    assert!(at(&plan, "delete directory:/srv/mail/in") < at(&plan, "delete directory:/srv/mail"));
    let inner = at(&plan, "delete directory:/srv/mail/in") as u32;
    assert!(plan.steps[at(&plan, "delete directory:/srv/mail")].after.contains(&inner));
}

#[test]
fn a_file_that_goes_reloads_its_service_after_it_went() {
    let mut s = postfix();
    let world = applied(&s);
    s.remove("server.mail-1/file:/etc/postfix/maps/relay");
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["delete file:/etc/postfix/maps/relay", "reload service:postfix"]);
    assert_eq!(plan.steps[1].after, [0]);
}

/// exim and postfix both want port 25 and their packages conflict.
#[test]
fn an_old_service_stops_before_a_new_one_starts_and_its_package_goes_before_the_new_comes() {
    let mut old = story();
    old.add("mail-1/smtp", Kind::Package, "exim4");
    old.service("mail-1/smtp", "exim4");
    let world = applied(&old);
    let s = postfix();
    let plan = s.plan(&world);
    assert!(at(&plan, "delete service:exim4") < at(&plan, "delete package:exim4"));
    assert!(at(&plan, "delete package:exim4") < at(&plan, "create package:postfix"));
    let mut next = world.clone();
    next.apply(&plan);
    assert!(s.plan(&next).is_empty());
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let s = postfix();
    let mut world = applied(&s);
    world.foreign("server.mail-1/file:/etc/postfix/local.cf", &[("mode", "0644")]);
    world.foreign("server.mail-1/package:vim", &[]);
    assert!(s.plan(&world).is_empty());
}

#[test]
fn a_ledger_entry_of_something_that_is_gone_is_forgotten() {
    let mut s = postfix();
    let mut world = applied(&s);
    s.remove("server.mail-1/file:/etc/postfix/maps/relay");
    world.state.remove(&"server.mail-1/file:/etc/postfix/maps/relay".parse().expect("address"));
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["delete file:/etc/postfix/maps/relay"]);
    assert_eq!(plan.steps[0].reason, "already gone; cutover forgets it");
}

#[test]
fn a_folder_with_something_wanted_in_it_stays() {
    let mut s = postfix();
    let world = applied(&s);
    s.remove("server.mail-1/directory:/etc/postfix/maps");
    let plan = s.plan(&world);
    assert!(plan.is_empty() && !plan.blocked());
    assert_eq!(plan.notes[0].text, "stays: something wanted stands in it");
}

#[test]
fn protection_outlives_the_topology() {
    let mut s = postfix();
    s.add("mail-1/smtp", Kind::Directory, "/srv/mail").protect();
    let world = applied(&s);
    s.remove("server.mail-1/directory:/srv/mail");
    let plan = s.plan(&world);
    assert!(plan.is_empty() && plan.blocked());
}

#[test]
fn a_protected_resource_is_not_replaced() {
    let mut s = story();
    s.add("a/x", Kind::Group, "vmail").set("gid", "5000").protect();
    let mut world = applied(&s);
    world.tamper("server.a/group:vmail", "gid", "5001");
    let plan = s.plan(&world);
    assert!(plan.is_empty() && plan.blocked(), "{:?}", lines(&plan));
}

#[test]
fn an_attribute_that_cannot_change_in_place_replaces() {
    let mut s = story();
    s.add("a/x", Kind::Group, "vmail").set("gid", "5000");
    let mut world = applied(&s);
    world.tamper("server.a/group:vmail", "gid", "5001");
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["replace group:vmail"]);
    assert!(plan.steps[0].changes[0].forces_replacement);
}

#[test]
fn a_zone_that_moves_is_replaced_by_what_the_ledger_knows() {
    let mut s = story();
    s.body("a/dns", Kind::DnsZone, "example.org", Body::text("@ SOA\n")).set("path", "/var/lib/knot/a.zone");
    let world = applied(&s);
    s.remove("server.a/dns-zone:example.org");
    s.body("a/dns", Kind::DnsZone, "example.org", Body::text("@ SOA\n")).set("path", "/var/lib/knot/b.zone");
    assert_eq!(lines(&s.plan(&world)), ["replace dns-zone:example.org"]);
}

#[test]
fn a_command_runs_until_its_condition_holds() {
    let mut s = story();
    s.add("a/x", Kind::Command, "aliases").set("run", "newaliases").set("creates", "/etc/aliases.db");
    let plan = s.plan(&World::default());
    assert_eq!(lines(&plan), ["run command:aliases"]);
    assert_eq!(plan.steps[0].reason, "/etc/aliases.db is not there");
    assert!(s.plan(&applied(&s)).is_empty());
}

#[test]
fn order_passes_across_hosts_and_through_what_does_not_change() {
    let mut s = story();
    s.file("back/imap", "/etc/dovecot/dovecot.conf", "x\n").reloads("dovecot");
    s.service("back/imap", "dovecot");
    s.file("gate/proxy", "/etc/proxy/routes", "back\n").after("server.back/imap");
    let world = applied(&s);
    // Neither dovecot nor anything between has to change.
    let mut world2 = world.clone();
    world2.tamper("server.back/file:/etc/dovecot/dovecot.conf", "mode", "0600");
    world2.tamper("server.gate/file:/etc/proxy/routes", "mode", "0600");
    let plan = s.plan(&world2);
    assert_eq!(
        lines(&plan),
        [
            "update back/file:/etc/dovecot/dovecot.conf",
            "reload back/service:dovecot",
            "update gate/file:/etc/proxy/routes"
        ]
    );
    // The route waits for the reload, not for the file alone.
    assert!(plan.steps[2].after.contains(&1));
}

#[test]
fn habits_order_across_roles() {
    let mut s = story();
    s.file("a/zz", "/srv/mail/conf", "x\n").set("owner", "vmail");
    s.add("a/aa", Kind::User, "vmail").set("group", "vmail");
    s.add("a/aa", Kind::Group, "vmail");
    s.add("a/late", Kind::Directory, "/srv/mail").stage(6);
    let plan = s.plan(&World::default());
    let position = |l: &str| at(&plan, l);
    assert!(position("create group:vmail") < position("create user:vmail"));
    assert!(position("create user:vmail") < position("create file:/srv/mail/conf"));
    assert!(position("create directory:/srv/mail") < position("create file:/srv/mail/conf"));
}

#[test]
fn a_cycle_is_told_whole() {
    let mut s = story();
    s.service("a/x", "one").after("server.b/y");
    s.service("b/y", "two").after("server.a/service:one");
    let error = s.try_plan(&World::default()).expect_err("a cycle");
    assert!(matches!(error, PlanError::Cycles(_)));
    insta::assert_snapshot!(error.to_string(), @r"
    these wait for each other, so none of them can be first:
      server.b/y (all up to stage 6) waits for server.b/service:two
      server.b/service:two (site.kdl:2:5) waits for server.a/service:one
      server.a/service:one (site.kdl:1:5) waits for server.b/y (all up to stage 6)
    ");
}

#[test]
fn mistakes_of_the_site_are_named() {
    let mut s = story();
    s.service("a/x", "one").after("server.a/file:/etc/none");
    let error = s.try_plan(&World::default()).expect_err("unknown");
    assert_eq!(error.code(), "E1102");
    assert!(error.help().contains("file:/etc/none"));

    let mut s = story();
    s.service("a/x", "one");
    s.service("a/y", "one");
    assert_eq!(s.try_plan(&World::default()).expect_err("twice").code(), "E1103");
}

#[test]
fn a_host_that_cannot_be_asked_blocks_and_others_are_shown() {
    let mut s = postfix();
    s.file("gate/proxy", "/etc/proxy", "x\n").after("server.mail-1/smtp");
    let world = World { down: vec!["mail-1".into()], ..World::default() };
    let plan = s.plan(&world);
    assert!(plan.blocked());
    assert_eq!(lines(&plan), ["create file:/etc/proxy"]);
    assert_eq!(plan.failed[0].message, "connection refused");
}

/// Silence is not absence.
#[test]
fn a_host_that_was_not_asked_or_answers_in_part_fails() {
    use cutover::planning::{PlanInput, plan};
    let s = postfix();
    let input = |observed| plan(&PlanInput { site: &s.site, observed, options: &s.options, key_id: "" }).expect("plan");
    let nothing = Default::default();
    let silent = input(&nothing);
    assert!(silent.is_empty() && silent.blocked());
    let mut part = World::default().observe(&s.site);
    part.hosts.get_mut(&"mail-1".into()).expect("host").records.remove("package:postfix");
    let plan = input(&part);
    assert!(plan.is_empty() && plan.blocked());
    assert_eq!(plan.failed[0].message, "its answer says nothing of package:postfix (0 more)");
}

#[test]
fn a_target_brings_what_it_waits_for_and_nothing_else() {
    let mut s = postfix();
    s.file("mail-2/smtp", "/etc/postfix/main.cf", "x\n");
    s.options.targets = vec!["server.mail-1/file:/etc/postfix/main.cf".into()];
    let plan = s.plan(&World::default());
    assert_eq!(
        lines(&plan),
        ["create package:postfix", "create directory:/etc/postfix/maps", "create file:/etc/postfix/main.cf"]
    );
    for word in ["mail-2", "server.mail-2", "server.mail-2/smtp", "server:mail-2", "mail-2*", "*-2/file:*"] {
        s.options.targets = vec![word.into()];
        assert_eq!(lines(&s.plan(&World::default())), ["create file:/etc/postfix/main.cf"], "{word}");
    }
    s.options.targets = vec!["mial-1".into()];
    assert_eq!(s.try_plan(&World::default()).expect_err("typo").help(), "did you mean `mail-1`?");
}

#[test]
fn a_target_does_not_ask_other_hosts() {
    let mut s = postfix();
    s.file("mail-2/smtp", "/etc/postfix/main.cf", "x\n");
    s.options.targets = vec!["mail-2".into()];
    let asked = cutover::planning::hosts_to_ask(&s.site, &s.options).expect("hosts");
    assert_eq!(asked.into_iter().map(|h| h.0).collect::<Vec<_>>(), ["mail-2"]);
    let world = World { down: vec!["mail-1".into()], ..World::default() };
    assert!(!s.plan(&world).blocked());
}

#[test]
fn a_phase_holds_what_its_owners_asked_for() {
    let mut s = postfix();
    s.file("mail-2/smtp", "/etc/postfix/main.cf", "x\n");
    let owners = ["server:mail-2".to_owned()].into();
    s.options.phase = Some(cutover::planning::PhaseSlice { name: "pilot-1".into(), owners, ..Default::default() });
    let plan = s.plan(&World::default());
    assert_eq!(lines(&plan), ["create file:/etc/postfix/main.cf"]);
    assert_eq!(plan.phase.as_deref(), Some("pilot-1"));
}

#[test]
fn destroy_takes_away_what_is_ours_in_reverse_and_spares_the_protected() {
    let mut s = postfix();
    s.file("gate/proxy", "/etc/proxy", "x\n").after("server.mail-1/smtp");
    let mut world = applied(&s);
    world.owned.remove(&"server.mail-1/package:postfix".parse().expect("address"));
    s.options.destroy = true;
    let plan = s.plan(&world);
    assert_eq!(
        lines(&plan),
        [
            "delete gate/file:/etc/proxy",
            "delete mail-1/service:postfix",
            "delete mail-1/file:/etc/postfix/main.cf",
            "delete mail-1/file:/etc/postfix/maps/relay",
            "delete mail-1/directory:/etc/postfix/maps",
        ]
    );
    world.apply(&plan);
    assert!(s.plan(&world).is_empty());

    let mut s = postfix();
    s.add("mail-1/smtp", Kind::Directory, "/srv/mail").protect();
    let world = applied(&s);
    s.options.destroy = true;
    let plan = s.plan(&world);
    assert!(plan.blocked());
    assert!(!lines(&plan).contains(&"delete directory:/srv/mail".to_owned()));
}

#[test]
fn secrets_are_never_shown() {
    let mut s = story();
    s.secret_file("a/x", "/etc/dovecot/secret", "env:CANARY");
    let mut world = applied(&s);
    world.texts.insert("server.a/file:/etc/dovecot/secret".parse().expect("address"), "password = hunter2\n".into());
    world.tamper(
        "server.a/file:/etc/dovecot/secret",
        "content",
        Attr::Digest(cutover::model::attr::Digest::of(b"other")),
    );
    let plan = s.plan(&world);
    assert_eq!(plan.steps[0].changes[0].before.as_deref(), Some("(sensitive)"));
    assert_eq!(plan.steps[0].changes[0].after.as_deref(), Some("(sensitive)"));
    assert_eq!(plan.steps[0].before_text, None);
    assert!(!format!("{plan:?}").contains("hunter2"));
}

#[test]
fn intent_is_what_is_wanted_and_observation_is_what_is_there() {
    let s = postfix();
    let world = applied(&s);
    let quiet = s.plan(&world);
    let mut drifted = world.clone();
    drifted.tamper("server.mail-1/file:/etc/postfix/main.cf", "mode", "0600");
    let drift = s.plan(&drifted);
    assert_eq!(quiet.intent, drift.intent);
    assert_ne!(quiet.observation, drift.observation);

    let mut wish = postfix();
    wish.remove("server.mail-1/file:/etc/postfix/main.cf");
    wish.file("mail-1/smtp", "/etc/postfix/main.cf", "myhostname = other\n").reloads("postfix");
    assert_ne!(quiet.intent, wish.plan(&world).intent);
    assert_eq!(quiet.observation, wish.plan(&world).observation);
}

/// The operator's state key masks digests; a colleague with another key signs the same intent.
#[test]
fn intent_does_not_depend_on_the_state_key() {
    let plan = |key: &str| {
        let mut s = story();
        let body = Body { segments: vec![cutover::model::Segment::Secret(cutover::model::SecretRef("env:A".into()))] };
        s.site.bodies.insert(body.intent(), body.clone());
        s.add("a/x", Kind::File, "/etc/a").set("content", super::planning_world::content(&body, key));
        s.plan(&World::default())
    };
    assert_eq!(plan("one").intent, plan("two").intent);
}

#[test]
fn a_file_that_stood_there_is_taken_over_with_a_word() {
    let s = postfix();
    let mut world = World::default();
    world.foreign("server.mail-1/file:/etc/postfix/main.cf", &[("mode", "0600")]);
    let plan = s.plan(&world);
    assert_eq!(plan.notes.len(), 1);
    assert!(plan.notes[0].text.contains("taken over") && !plan.notes[0].blocks);
}
