//! Twice the resources, twice the work: told by edges, which is exact, and by CPU time, which is what people pay.

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

/// Nanoseconds that this thread was on a CPU; other work on the machine does not count.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

/// CPU time of planning so many resources, and of a control that is linear by nature and walks the same memory: writing down what
/// was observed. The least of several runs each: noise only ever adds.
fn cost(resources: usize) -> (u64, u64) {
    let s = site(resources);
    let mut world = World::default();
    for r in &s.site.resources {
        world.put(&r.address, &r.attrs);
    }
    let observed = world.observe(&s.site);
    let input = PlanInput { site: &s.site, observed: &observed, options: &PlanOptions::default(), key_id: "" };
    let (mut planned, mut written) = (u64::MAX, u64::MAX);
    for _ in 0..4 {
        let begun = cpu();
        let plan: Plan = plan(&input).expect("a plan");
        assert!(plan.is_empty() && plan.examined == s.site.resources.len());
        planned = planned.min(cpu() - begun);
        let begun = cpu();
        assert!(serde_json::to_vec(&observed).expect("JSON").len() > resources);
        written = written.min(cpu() - begun);
    }
    (planned, written)
}

#[test]
fn an_unchanged_site_costs_in_proportion() {
    // Larger sites leave the processor's cache, and busy neighbours shrink it: so growth is held against the control's, over three
    // doublings. 2.3 for each where the control has 2.0; quadratic work would have 4. Off once may be the machine, four times
    // it is the program.
    let mut seen = Vec::new();
    for _ in 0..4 {
        let ((small, small_control), (large, large_control)) = (cost(3_000), cost(24_000));
        let growth = (large as f64 / small as f64 / (large_control as f64 / small_control as f64)).cbrt() * 2.0;
        if growth < 2.3 {
            return;
        }
        seen.push(growth);
    }
    panic!("time(2N)/time(N) = {seen:?}");
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
