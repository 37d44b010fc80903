//! Renames: what a node was called before is changed, never destroyed and made anew.

use std::collections::BTreeMap;

use cutover::language::{self, Options};
use cutover::model::address::{Address, HostName, Kind};
use cutover::model::attr::Body;
use cutover::model::step::Action;
use cutover::planning::PhaseSlice;

use super::language::{draw, files};
use super::language_layers::lowered;
use super::planning_world::{Story, World, lines, story};

fn mail(host: &str) -> Story {
    let mut s = story();
    let group = format!("{host}/smtp");
    s.add(&group, Kind::Package, "postfix");
    s.file(&group, "/etc/postfix/main.cf", "inet_interfaces = all\n").reloads("postfix");
    s.file(&group, "/etc/postfix/relay", "example.org\n").reloads("postfix");
    s.service(&group, "postfix");
    s
}

/// The same machine, called otherwise: what it holds and its ledger stay.
fn renamed(world: &World, from: &str, to: &str) -> World {
    let (from, to) = (HostName::from(from), HostName::from(to));
    let mv = |a: &Address| Address { host: if a.host == from { to.clone() } else { a.host.clone() }, ..a.clone() };
    World {
        state: world.state.iter().map(|(a, v)| (mv(a), v.clone())).collect(),
        texts: world.texts.iter().map(|(a, v)| (mv(a), v.clone())).collect(),
        owned: world.owned.iter().map(|(a, v)| (mv(a), v.clone())).collect(),
        ..World::default()
    }
}

#[test]
fn a_renamed_server_is_not_destroyed_and_made_anew() {
    let mut world = World::default();
    world.apply(&mail("old").plan(&world.clone()));
    let world = renamed(&world, "old", "new");
    let mut s = mail("new");
    s.site.moved = BTreeMap::from([("server:old".to_owned(), "server:new".to_owned())]);
    let plan = s.plan(&world);
    assert!(plan.is_empty() && plan.notes.is_empty(), "{:?}", lines(&plan));
}

/// What the ledger says of the former name belongs to the new one: a phase of it takes away what is left.
#[test]
fn ownership_is_carried_over_to_the_new_name() {
    let mut world = World::default();
    world.apply(&mail("old").plan(&world.clone()));
    let world = renamed(&world, "old", "new");
    let mut s = mail("new");
    s.remove("server.new/file:/etc/postfix/relay");
    s.options.phase =
        Some(PhaseSlice { name: "build".into(), owners: ["server:new".to_owned()].into(), ..Default::default() });
    assert!(s.plan(&world).is_empty(), "without `moved` the file belongs to nobody in this phase");
    s.site.moved = BTreeMap::from([("server:old".to_owned(), "server:new".to_owned())]);
    assert_eq!(lines(&s.plan(&world)), ["delete file:/etc/postfix/relay", "reload service:postfix"]);
}

/// A zone whose view changed is the same file under another key.
#[test]
fn a_renamed_zone_keeps_its_file_and_its_entry_in_the_ledger() {
    let zone = |key: &str, owner: &str| {
        let mut s = story();
        let body = Body::text("@ SOA\n");
        let w = s.body("ns/dns", Kind::DnsZone, key, body).set("path", "/var/lib/knot/a.zone").protect();
        w.0.owner = owner.to_owned();
        s
    };
    let mut world = World::default();
    world.apply(&zone("a.example@public", "zone:a.example@public").plan(&world.clone()));
    // The file stands there under whatever key it is looked at.
    let (was, now): (Address, Address) = (
        "server.ns/dns-zone:a.example@public".parse().expect("address"),
        "server.ns/dns-zone:a.example".parse().expect("address"),
    );
    let attrs = world.state[&was].clone();
    world.state.insert(now.clone(), attrs);
    let mut s = zone("a.example", "zone:a.example@both");
    assert!(s.plan(&world).blocked(), "without `moved` a protected zone has left the topology");
    s.site.moved = BTreeMap::from([("zone:a.example@public".to_owned(), "zone:a.example@both".to_owned())]);
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["update dns-zone:a.example"]);
    assert!(plan.steps.iter().all(|s| !matches!(s.action, Action::Delete | Action::Replace)) && !plan.blocked());
    assert_eq!(plan.steps[0].reason, "renamed from dns-zone:a.example@public");
    world.apply(&plan);
    assert!(world.owned.contains_key(&now) && !world.owned.contains_key(&was));
    assert!(s.plan(&world).is_empty(), "{:?}", lines(&s.plan(&world)));
}

/// A zone that moved to another file: the new file is made, the former one goes, and nothing ever takes the new one away.
#[test]
fn a_zone_renamed_to_another_file_keeps_the_new_file() {
    let zone = |key: &str, path: &str, owner: &str| {
        let mut s = story();
        let w = s.body("ns/dns", Kind::DnsZone, key, Body::text("@ SOA\n")).set("path", path);
        w.0.owner = owner.to_owned();
        s
    };
    let mut world = World::default();
    world.apply(&zone("a.example@public", "/zones/a", "zone:a.example@public").plan(&world.clone()));
    let mut s = zone("a.example", "/zones/b", "zone:a.example@both");
    s.site.moved = BTreeMap::from([("zone:a.example@public".to_owned(), "zone:a.example@both".to_owned())]);
    let plan = s.plan(&world);
    assert_eq!(lines(&plan), ["create dns-zone:a.example", "delete dns-zone:a.example@public"]);
    let gone = plan.steps.iter().find(|s| s.action == Action::Delete).expect("the former file goes");
    assert_eq!(gone.attrs.get("path").and_then(|p| p.as_text()), Some("/zones/a"));
    // The former file is the one that the new name is written to: it stays.
    let mut s = zone("b.example", "/zones/a", "zone:b.example@both");
    s.site.moved = BTreeMap::from([("zone:other@both".to_owned(), "zone:b.example@both".to_owned())]);
    assert!(s.plan(&world).steps.iter().all(|s| s.action != Action::Delete));
}

const OFFICE: &str = "organization acme domain=acme.example\nsite office\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
    accepted-domain acme.example\nmail-account ann@acme.example on=store password=(secret)\"env:ANN\"\n";

fn office(names: &str, moved: &str) -> language::Compiled {
    let text = format!(
        "{OFFICE}server \"{names}\" platform=open site=office ip=\"192.0.2.[11:12]\" fqdn=\"m-[1:2].acme.example\" {{ roles imap smtp; }}\n\
         pair store {{ members \"{names}\"; }}\ncertificate tls subject=mail.acme.example issuer=internal {{ on \"{names}\"; }}\n{moved}"
    );
    let c = language::compile_files(&files("t.kdl", text), "t.kdl", &Options::default());
    assert!(c.diagnostics.is_empty(), "{}", draw(&c));
    c
}

/// Through the real packs: the renamed hosts want the same things by the same keys, so nothing of the former name is left over.
#[test]
fn the_packs_name_nothing_after_the_server() {
    let nowhere = std::path::Path::new("/nonexistent");
    let (before, _) = lowered(&office("mail-[1:2]", ""), nowhere);
    let moved = "moved from=\"server:mail-[1:2]\" to=\"server:mx-[1:2]\"";
    let (after, _) = lowered(&office("mx-[1:2]", moved), nowhere);
    assert_eq!(after.moved.get("server:mail-1").map(String::as_str), Some("server:mx-1"));
    for (old, new) in [("mail-1", "mx-1"), ("mail-2", "mx-2")] {
        let keys = |s: &cutover::model::site::Site, host: &str| -> Vec<String> {
            s.of_host(&HostName::from(host)).iter().map(|r| r.address.local()).collect()
        };
        assert!(!keys(&before, old).is_empty());
        assert_eq!(keys(&before, old), keys(&after, new));
    }
}
