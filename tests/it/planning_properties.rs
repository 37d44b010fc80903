//! What holds for every plan, tried on made-up sites and hosts in made-up states.

use std::collections::{BTreeMap, BTreeSet};

use cutover::catalog::{self, Compare};
use cutover::model::address::{Address, Kind};
use cutover::model::attr::{Attr, Body, Digest, SecretRef, Segment};
use cutover::model::plan::Plan;
use cutover::model::resource::{Dependency, NotifyHow};
use cutover::model::site::Site;
use cutover::model::step::{Action, Step};
use cutover::planning::{PlanInput, UndoInput, plan, undo};
use proptest::collection::vec;
use proptest::prelude::*;

use super::planning_world::{Story, World, content, story};

/// One resource in numbers: group, kind, key, version of its content, whom it notifies, what it waits for.
type Seed = (u8, u8, u8, u8, Option<(u8, bool)>, Option<u8>);

fn seeds(most: usize) -> impl Strategy<Value = Vec<Seed>> {
    vec(
        (
            0..6u8,
            0..15u8,
            0..8u8,
            0..3u8,
            proptest::option::of((0..3u8, any::<bool>())),
            proptest::option::of(any::<u8>()),
        ),
        0..most,
    )
}

/// Groups 0..6 stand on hosts 0..3; a group waits only for groups of smaller numbers, so no cycle can come of it.
fn site(seeds: &[Seed]) -> Story {
    let mut s = story();
    for host in 0..3 {
        s.site.hosts.insert(format!("h{host}").as_str().into(), super::planning_world::access(&format!("h{host}")));
    }
    let mut made: BTreeMap<Address, u8> = BTreeMap::new();
    for (group, kind, key, version, notify, after) in seeds {
        let name = format!("h{}/g{group}", group % 3);
        let kind = Kind::ALL[*kind as usize];
        let key = match kind {
            // Some stand in each other.
            Kind::Directory => {
                ["/srv", "/srv/a", "/srv/a/b", "/srv/c", "/srv/c/d", "/opt", "/opt/x", "/etc/y"][*key as usize].into()
            }
            Kind::File | Kind::Binary => format!("/srv/a/{}{key}", kind.as_str()),
            Kind::Line => format!("/etc/lines{key}#x"),
            Kind::Service => format!("svc{}", key % 3),
            Kind::Unit => format!("svc{}.service", key % 3),
            Kind::Timer => format!("t{key}.timer"),
            _ => format!("{kind}{key}"),
        };
        let address = Address::new(&format!("h{}", group % 3).as_str().into(), kind, key.clone());
        if made.contains_key(&address) {
            continue;
        }
        let earlier: Vec<Address> = made.iter().filter(|(_, g)| *g < group).map(|(a, _)| a.clone()).collect();
        made.insert(address, *group);
        let mut w = s.add(&name, kind, &key);
        if let Some((service, restart)) = notify {
            let service = format!("svc{service}");
            w = if *restart { w.restarts(&service) } else { w.reloads(&service) };
        }
        if let Some(pick) = after
            && !earlier.is_empty()
        {
            let pick = &earlier[*pick as usize % earlier.len()];
            w = if version % 2 == 0 {
                w.after(&pick.to_string())
            } else {
                let group = made[pick];
                w.after(&format!("server.h{}/g{group}", group % 3))
            };
        }
        let mut body = None;
        match kind {
            Kind::Service => w.set("enabled", true).set("running", version % 3 != 2),
            Kind::Group => w.set("gid", &*format!("{version}")),
            Kind::User => w.set("shell", &*format!("/bin/{version}")).set("group", "group1"),
            Kind::Command => w.set("run", &*format!("run {version}")),
            Kind::Package => w.set("version", &*format!("1.{version}")),
            Kind::Setting => w.set("value", &*format!("{version}")),
            Kind::Line => w.set("line", &*format!("{version}")),
            Kind::Directory => w.set("mode", &*format!("075{version}")),
            Kind::MailAccount => w.set("home", &*format!("/srv/{version}")),
            _ => {
                let made = Body::text(format!("version {version}\n"));
                let content = content(&made, "key");
                body = Some(made);
                w.set("content", content)
            }
        };
        if let Some(body) = body {
            s.site.bodies.insert(body.intent(), body);
        }
    }
    s
}

/// Somebody's hands on the hosts: which resource, and what happens to it.
type Mess = Vec<(u16, u8)>;

fn messes() -> impl Strategy<Value = Mess> {
    vec((any::<u16>(), 0..6u8), 0..6)
}

/// A world in which an older site was applied, then somebody meddled.
fn world(old: &Story, mess: &Mess) -> World {
    let mut world = World::default();
    world.apply(&old.plan(&world));
    for (which, what) in mess {
        let known: Vec<Address> = world.state.keys().cloned().collect();
        let Some(address) = known.get(*which as usize % known.len().max(1)) else { continue };
        match what {
            0 => {
                world.state.remove(address);
            }
            1 => {
                let attr = world.state.get_mut(address).and_then(|a| a.values_mut().next());
                if let Some(attr) = attr {
                    *attr = match attr {
                        Attr::Bool(b) => Attr::Bool(!*b),
                        _ => Attr::text("meddled"),
                    };
                }
            }
            2 => {
                world.owned.remove(address);
            }
            3 => world.foreign(&format!("server.h0/file:/foreign/{which}"), &[("mode", "0644")]),
            4 => {
                world.pending.insert((address.host.clone(), format!("svc{}", which % 3)), NotifyHow::Restart);
            }
            _ => {
                let service = Address::new(&address.host, Kind::Service, format!("svc{}", which % 3));
                if let Some(a) = world.state.get_mut(&service) {
                    a.insert("running".into(), Attr::Bool(false));
                }
            }
        }
    }
    world
}

/// Steps that come before each step, directly or not.
fn ancestors(plan: &Plan) -> Vec<BTreeSet<u32>> {
    let mut out: Vec<BTreeSet<u32>> = Vec::new();
    for step in &plan.steps {
        let mut mine: BTreeSet<u32> = step.after.iter().copied().collect();
        for earlier in &step.after {
            mine.extend(out[*earlier as usize].iter().copied());
        }
        out.push(mine);
    }
    out
}

/// Which resource has to come before which, by the rules written out in full: no barriers, no sharing.
fn rules(site: &Site) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    for (i, a) in site.resources.iter().enumerate() {
        for (j, b) in site.resources.iter().enumerate() {
            let staged = a.group == b.group && a.stage < b.stage;
            let named = b.after.iter().any(|d| match d {
                Dependency::Resource(address) => *address == a.address,
                Dependency::Group(group) => *group == a.group,
            });
            if staged || named {
                out.push((i, j));
            }
        }
    }
    out
}

fn closure(n: usize, edges: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; n]; n];
    edges.iter().for_each(|(a, b)| reach[*a][*b] = true);
    for k in 0..n {
        for i in 0..n {
            if reach[i][k] {
                let through = reach[k].clone();
                reach[i].iter_mut().zip(through).for_each(|(mine, theirs)| *mine |= theirs);
            }
        }
    }
    reach
}

fn own_step<'a>(plan: &'a Plan, address: &Address) -> Option<&'a Step> {
    plan.steps.iter().find(|s| s.address == *address && !matches!(s.action, Action::Reload | Action::Restart))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World::apply` also refuses stale steps and steps that come too early.
    #[test]
    fn the_second_plan_is_empty(old in seeds(40), new in seeds(40), mess in messes()) {
        let (old, new) = (site(&old), site(&new));
        let mut world = world(&old, &mess);
        let first = new.plan(&world);
        prop_assert!(!first.blocked(), "{:?}", first.notes);
        world.apply(&first);
        let second = new.plan(&world);
        prop_assert!(second.is_empty(), "{:#?}\nafter\n{:#?}", second.steps, first.steps);
    }

    #[test]
    fn the_order_of_the_input_changes_nothing(old in seeds(40), new in seeds(40), mess in messes(), turn in any::<prop::sample::Index>()) {
        let (old, mut new) = (site(&old), site(&new));
        let world = world(&old, &mess);
        let one = new.plan(&world);
        let mut observed = world.observe(&new.site);
        let n = new.site.resources.len();
        if n > 0 {
            new.site.resources.rotate_left(turn.index(n));
            let half = n / 2;
            new.site.resources[..half].reverse();
        }
        observed.hosts.values_mut().for_each(|o| o.owned.reverse());
        let input = PlanInput { site: &new.site, observed: &observed, options: &new.options, key_id: "0123abcd" };
        prop_assert_eq!(one, plan(&input).expect("a plan"));
    }

    /// Every rule of the site holds between steps, however many unchanged resources stand between them.
    #[test]
    fn rules_hold_through_what_does_not_change(old in seeds(60), new in seeds(60), mess in messes()) {
        let (old, new) = (site(&old), site(&new));
        let plan = new.plan(&world(&old, &mess));
        let before = ancestors(&plan);
        let resources = &new.site.resources;
        let reach = closure(resources.len(), &rules(&new.site));
        for (i, a) in resources.iter().enumerate() {
            for (j, b) in resources.iter().enumerate().filter(|(j, _)| reach[i][*j]) {
                if let (Some(first), Some(then)) = (own_step(&plan, &a.address), own_step(&plan, &b.address)) {
                    prop_assert!(before[then.id as usize].contains(&first.id), "{} before {} ({i} {j})", a.address, b.address);
                }
            }
        }
        for reload in plan.steps.iter().filter(|s| matches!(s.action, Action::Reload | Action::Restart)) {
            for s in &plan.steps {
                let asks = s.address.host == reload.address.host && s.notifies.iter().any(|n| n.service == reload.address.key);
                if asks && s.address != reload.address {
                    prop_assert!(before[reload.id as usize].contains(&s.id), "{} asks {}", s.address, reload.address);
                }
            }
        }
    }

    #[test]
    fn nothing_foreign_is_touched_and_what_goes_goes_in_reverse(old in seeds(40), new in seeds(40), mess in messes()) {
        let (old, new) = (site(&old), site(&new));
        let world = world(&old, &mess);
        let plan = new.plan(&world);
        let before = ancestors(&plan);
        for step in &plan.steps {
            let wanted = new.site.resources.iter().any(|r| r.address == step.address);
            let signal = matches!(step.action, Action::Reload | Action::Restart);
            prop_assert!(wanted || signal || world.owned.contains_key(&step.address), "{}", step.address);
            prop_assert_eq!(step.action == Action::Delete, !wanted && !signal);
        }
        let gone: Vec<&Step> = plan.steps.iter().filter(|s| s.action == Action::Delete).collect();
        for a in &gone {
            for b in &gone {
                let stage = |s: &Step| catalog::spec(s.address.kind).stage;
                if a.address.host == b.address.host && stage(a) > stage(b) {
                    prop_assert!(before[b.id as usize].contains(&a.id), "{} before {}", a.address, b.address);
                }
            }
        }
    }

    /// Every owned thing goes, nothing else, and who waits for a thing goes before it.
    #[test]
    fn destroy_empties_what_is_ours(old in seeds(40), mess in messes()) {
        let mut s = site(&old);
        let mut world = world(&s, &mess);
        let foreign: Vec<Address> = world.state.keys().filter(|a| !world.owned.contains_key(a)).cloned().collect();
        s.options.destroy = true;
        let plan = s.plan(&world);
        let before = ancestors(&plan);
        let resources = &s.site.resources;
        let reach = closure(resources.len(), &rules(&s.site));
        for (i, a) in resources.iter().enumerate() {
            for (_, b) in resources.iter().enumerate().filter(|(j, _)| reach[i][*j]) {
                if let (Some(last), Some(first)) = (own_step(&plan, &a.address), own_step(&plan, &b.address)) {
                    prop_assert!(before[last.id as usize].contains(&first.id));
                }
            }
        }
        world.apply(&plan);
        prop_assert!(world.owned.is_empty());
        prop_assert_eq!(world.state.keys().cloned().collect::<Vec<_>>(), foreign);
        prop_assert!(s.plan(&world).is_empty());
    }

    #[test]
    fn undo_is_the_way_back(old in seeds(40), new in seeds(40), mess in messes()) {
        // What ran without naming an undo stays.
        let undoable = |seeds: &[Seed]| site(&seeds.iter().filter(|s| s.1 != Kind::Command as u8).copied().collect::<Vec<_>>());
        let (old, new) = (undoable(&old), undoable(&new));
        let mut world = world(&old, &mess);
        let (state, owned) = (world.state.clone(), world.owned.clone());
        let plan = new.plan(&world);
        let outcomes = world.apply(&plan);
        let apply = (world.former.len() - 1).to_string();
        let back = undo(&UndoInput { apply: &apply, plan: &plan, outcomes: &outcomes, observed: &world.observe(&new.site), now: 0 });
        prop_assert!(!back.blocked(), "{:?}", back.notes);
        world.apply(&back);
        prop_assert_eq!(&world.state, &state);
        prop_assert_eq!(&world.owned, &owned);
    }
}

/// Above the limit of `reduce` one step of a stage stands for all: the order must not suffer, and a host must not wait for the
/// failures of another.
#[test]
fn rules_hold_where_many_wait_for_many() {
    let mut s = story();
    for host in ["a", "b"] {
        for n in 0..40 {
            s.add(&format!("{host}/x"), Kind::Package, &format!("p{n}"));
            s.file(&format!("{host}/x"), &format!("/etc/{n}"), "x\n");
            s.service(&format!("{host}/x"), &format!("s{n}"));
        }
    }
    for n in 0..40 {
        s.file("c/y", &format!("/etc/{n}"), "x\n").after("server.a/x").after("server.b/x");
    }
    let plan = s.plan(&World::default());
    let before = ancestors(&plan);
    let resources = &s.site.resources;
    let reach = closure(resources.len(), &rules(&s.site));
    for (i, a) in resources.iter().enumerate() {
        for (_, b) in resources.iter().enumerate().filter(|(j, _)| reach[i][*j]) {
            let (first, then) =
                (own_step(&plan, &a.address).expect("step"), own_step(&plan, &b.address).expect("step"));
            assert!(before[then.id as usize].contains(&first.id), "{} before {}", a.address, b.address);
        }
    }
    let edges: usize = plan.steps.iter().map(|s| s.after.len()).sum();
    assert!(edges < 1_000, "{edges} edges for {} steps", plan.steps.len());
    for step in &plan.steps {
        for earlier in &step.after {
            let earlier = &plan.steps[*earlier as usize].address.host;
            assert!(*earlier == step.address.host || step.address.host.0 == "c", "{earlier} holds {} up", step.address);
        }
    }
}

/// Each compared attribute of each kind, changed on the host alone, leads to a step that names it; inputs lead to none.
#[test]
fn every_attribute_of_every_kind_is_compared() {
    let mut compared = 0;
    // Of a wave it is counted where its people are; what is wanted of it cannot be seen.
    for spec in catalog::SPECS.iter().filter(|s| s.kind != Kind::Wave) {
        let mut s = story();
        let body = Body { segments: vec![Segment::Secret(SecretRef("env:A".into()))] };
        s.site.bodies.insert(body.intent(), body.clone());
        let mut w = s.add("a/x", spec.kind, "thing");
        for field in spec.fields {
            let value = match (field.name, field.compare) {
                ("hold" | "enabled" | "running" | "loaded" | "satisfied", _) => Attr::Bool(true),
                (_, Compare::Content) => content(&body, "key"),
                (_, Compare::Set) => Attr::List(vec!["a".into(), "b".into()]),
                _ => Attr::text("1"),
            };
            w = w.set(field.name, value);
        }
        let _ = w;
        let address: Address = format!("server.a/{}:thing", spec.kind).parse().expect("address");
        let mut clean = World::default();
        clean.apply(&s.plan(&clean));
        assert!(s.plan(&clean).is_empty(), "{}", spec.kind);
        for field in spec.fields {
            let mut world = clean.clone();
            let attrs = world.state.get_mut(&address).expect("applied");
            let former = attrs.get(field.name).cloned();
            let other = match &former {
                Some(Attr::Bool(b)) => Attr::Bool(!b),
                Some(Attr::List(_)) => Attr::List(vec!["a".into()]),
                Some(Attr::Digest(_)) => Attr::Digest(Digest::of(b"other")),
                _ => Attr::text("2"),
            };
            attrs.insert(field.name.into(), other);
            let plan = s.plan(&world);
            if field.compare == Compare::Input {
                assert!(plan.is_empty(), "{}.{} is an input", spec.kind, field.name);
                continue;
            }
            compared += 1;
            assert_eq!(plan.steps.len(), 1, "{}.{}", spec.kind, field.name);
            let replaced = plan.steps[0].action == Action::Replace;
            assert_eq!(replaced, field.replaces, "{}.{}", spec.kind, field.name);
            if spec.kind != Kind::Command {
                assert_eq!(plan.steps[0].changes[0].field, field.name);
            }
            world.apply(&plan);
            assert!(s.plan(&world).is_empty(), "{}.{} is mended", spec.kind, field.name);
            // Gone altogether is a change too.
            world.state.get_mut(&address).expect("there").remove(field.name);
            assert_eq!(s.plan(&world).steps.len(), 1, "{}.{} unset", spec.kind, field.name);
        }
        // Sets have no order.
        if spec.kind == Kind::User {
            let mut world = clean.clone();
            world.tamper("server.a/user:thing", "groups", Attr::List(vec!["b".into(), "a".into(), "a".into()]));
            assert!(s.plan(&world).is_empty());
        }
    }
    assert!(compared > 35, "{compared}");
}
