//! Twice the resources, twice the work: told by edges and by instructions, both exact.

use std::process::Command;

use cutover::model::address::Kind;
use cutover::model::plan::Plan;
use cutover::planning::{PlanInput, PlanOptions, plan};

use super::planning_world::{Story, World, story};

/// Roles of 60 where every stage has several resources, a host for each, each waiting for the host before.
fn site(resources: usize) -> Story {
    let mut s = story();
    for h in 0..resources / 60 {
        let group = format!("host-{h:04}/x");
        for n in 0..8 {
            s.add(&group, Kind::Package, &format!("p{n}"));
            s.add(&group, Kind::Directory, &format!("/srv/{n}")).set("mode", "0755");
        }
        for n in 0..40 {
            s.add(&group, Kind::File, &format!("/srv/{}/{n}", n % 8)).set("mode", "0644").reloads("s0");
        }
        for n in 0..4 {
            let w = s.service(&group, &format!("s{n}"));
            if h > 0 && n == 0 {
                w.after(&format!("server.host-{:04}/x", h - 1));
            }
        }
    }
    s
}

/// Instructions of one plan of so many resources, exact: a process of its own under cachegrind makes the same world once with one
/// plan and once with two. CPU time would do for people; in CI its ratio says more of caches and neighbours than of the program.
fn instructions(resources: usize) -> u64 {
    let counted = |plans: usize| -> u64 {
        let out = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("the test's own file"))
            .args(["--exact", "planning_scale::unchanged_plans", "--ignored", "--test-threads", "1"])
            .env("CUTOVER_SCALE", format!("{resources} {plans}"))
            .output()
            .expect("valgrind (apt-get install valgrind; tests/run does it)");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stdout));
        let line = said.lines().find_map(|l| l.split_once("I   refs:").or_else(|| l.split_once("I refs:")));
        line.and_then(|(_, n)| n.trim().replace(',', "").parse().ok()).unwrap_or_else(|| panic!("no count in {said}"))
    };
    counted(2) - counted(1)
}

/// Not a test by itself: what the one below counts.
#[test]
#[ignore = "counted by an_unchanged_site_costs_in_proportion"]
fn unchanged_plans() {
    let Ok(wanted) = std::env::var("CUTOVER_SCALE") else { return };
    let (resources, plans) = wanted.split_once(' ').expect("two numbers");
    let s = site(resources.parse().expect("a number"));
    let mut world = World::default();
    for r in &s.site.resources {
        world.put(&r.address, &r.attrs);
    }
    let observed = world.observe(&s.site);
    let input = PlanInput { site: &s.site, observed: &observed, options: &PlanOptions::default(), key_id: "" };
    for _ in 0..plans.parse::<usize>().expect("a number") {
        let plan: Plan = plan(&input).expect("a plan");
        assert!(plan.is_empty() && plan.examined == s.site.resources.len());
    }
}

#[test]
fn an_unchanged_site_costs_in_proportion() {
    // Sites of 60 a host; up to 100,000 resources `cargo bench --bench plan` measures CPU time.
    let seen = [1_500, 3_000, 6_000].map(instructions);
    for pair in seen.windows(2) {
        let growth = pair[1] as f64 / pair[0] as f64;
        assert!((1.5..2.3).contains(&growth), "instructions(2N)/instructions(N) = {growth:.2} of {seen:?}");
    }
}

#[test]
fn a_first_plan_has_edges_in_proportion() {
    let edges = |n: usize| -> usize { site(n).plan(&World::default()).steps.iter().map(|s| s.after.len()).sum() };
    let (one, two) = (edges(1_200), edges(2_400));
    assert!(two <= 2 * one + 100, "{one} {two}");
    // 40 files wait for 8 folders, 4 services for 40 files.
    assert!(one < 1_200 * 12, "{one}");
}

/// One role of thousands: stages of hundreds wait for each other without hundreds times hundreds of edges.
#[test]
fn one_large_role_has_no_square_of_edges() {
    let mut s = story();
    for n in 0..1_000 {
        s.add("a/x", Kind::Package, &format!("p{n}"));
        s.add("a/x", Kind::MailAccount, &format!("u{n}@example.org"));
    }
    let plan = s.plan(&World::default());
    let edges: usize = plan.steps.iter().map(|s| s.after.len()).sum();
    assert!(edges <= 2_000, "{edges}");
}
