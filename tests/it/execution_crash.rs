//! Crash points: the controller, the remote script, the machine or the line dies between any two micro-actions, and the journal is
//! torn at any byte. Then a resume, and the same end as if nothing had happened.
//!
//! CI takes a seeded sample. `CUTOVER_CRASH_POINTS=100000 cargo nextest run crash_points` takes that many; `CUTOVER_CRASH_SEED`
//! begins elsewhere.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cutover::execution::{ApplyError, Report};
use cutover::journal::{JournalError, Record};
use cutover::model::attr::{Attr, Attrs, Body};
use cutover::model::observed::Owned;
use cutover::model::plan::Plan;
use cutover::model::step::Outcome;
use cutover::model::{Address, HostName, Kind};
use cutover::providers::scripted::{Fault, World};

pub use crate::dice::Dice;
use crate::execution_world::Bench;
use crate::planning_world::{Story, story};

pub fn attrs(pairs: &[(&str, Attr)]) -> Attrs {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
}

/// A site of one to three hosts and hosts that are somewhere else yet.
pub fn scenario(seed: u64) -> (Story, World) {
    let mut dice = Dice(seed);
    let (mut s, mut world) = (story(), World::default());
    let hosts = ["a", "b", "c"];
    let count = 1 + dice.below(3);
    for (h, host) in hosts.iter().enumerate().take(count) {
        let group = format!("{host}/imap");
        world.host(host);
        s.add(&group, Kind::Package, "dovecot").set("version", "2.3").set("hold", true);
        if dice.one_in(3) {
            world.host(host).set("package:dovecot", attrs(&[("version", Attr::text("2.2"))]));
        }
        if dice.one_in(2) {
            s.add(&group, Kind::User, "vmail").set("home", "/srv/mail").set("shell", "/bin/false").set("uid", "900");
            if dice.one_in(2) {
                let there =
                    [("home", Attr::text("/home/vmail")), ("shell", Attr::text("/bin/sh")), ("uid", Attr::text("900"))];
                world.host(host).set("user:vmail", attrs(&there));
            }
        }
        for f in 0..1 + dice.below(3) {
            let path = format!("/etc/dovecot/{f}.conf");
            let w = match dice.below(4) {
                0 => s.secret_file(&group, &path, "env:PASSWORD"),
                n => s.file(&group, &path, &format!("value = {n}\n")),
            };
            match dice.below(3) {
                0 => drop(w.reloads("dovecot")),
                1 => drop(w.restarts("dovecot")),
                _ => {}
            }
            if dice.one_in(3) {
                world.host(host).set(&format!("file:{path}"), attrs(&[("mode", Attr::text("0600"))]));
            }
        }
        s.service(&group, "dovecot");
        match dice.below(3) {
            0 => world
                .host(host)
                .set("service:dovecot", attrs(&[("enabled", Attr::Bool(true)), ("running", Attr::Bool(true))])),
            1 => world
                .host(host)
                .set("service:dovecot", attrs(&[("enabled", Attr::Bool(false)), ("running", Attr::Bool(false))])),
            _ => {}
        }
        if dice.one_in(2) {
            s.add(&group, Kind::Command, "index").set("run", "index").set("creates", "/srv/index");
        }
        if dice.one_in(3) {
            s.add(&group, Kind::Command, "seed").set("run", "seed").set("once", true);
        }
        if dice.one_in(3) {
            s.body(&format!("{host}/edge"), Kind::Firewall, "mail", Body::text("table inet mail {}\n"));
        }
        if dice.one_in(3) {
            // Ours, and no longer in the topology.
            world.host(host).set("file:/etc/old.conf", attrs(&[("mode", Attr::text("0644"))]));
            let owned = Owned {
                kind: Kind::File,
                key: "/etc/old.conf".into(),
                owner: format!("server:{host}"),
                attrs: Attrs::new(),
                notifies: vec![],
                protect: false,
            };
            world.host(host).owned.insert("file:/etc/old.conf".into(), owned);
        }
        if h > 0 {
            let before = hosts[dice.below(h)];
            let late = s.file(&group, "/etc/gate.conf", "backend\n");
            late.after(&format!("server.{before}/service:dovecot"));
        }
    }
    if seed.is_multiple_of(3) {
        zone_of_another_name(&mut s, &mut world);
    }
    (s, world)
}

/// A zone whose view has changed: the same file under another key, which the ledger must learn without losing the file.
fn zone_of_another_name(s: &mut Story, world: &mut World) {
    let path = "/var/lib/knot/acme.zone";
    let body = Body::text("@ SOA\n");
    let wanted = s.body("a/dns", Kind::DnsZone, "acme.example", body).set("path", path);
    wanted.0.owner = "zone:acme.example@both".into();
    s.site.moved.insert("zone:acme.example@public".into(), "zone:acme.example@both".into());
    let owned = Owned {
        kind: Kind::DnsZone,
        key: "acme.example@public".into(),
        owner: "zone:acme.example@public".into(),
        attrs: attrs(&[("path", Attr::text(path))]),
        notifies: vec![],
        protect: true,
    };
    // The file is there by whatever key it is looked at.
    for key in ["acme.example", "acme.example@public"] {
        world.host("a").set(&format!("dns-zone:{key}"), attrs(&[("mode", Attr::text("0644"))]));
    }
    world.host("a").owned.insert("dns-zone:acme.example@public".into(), owned);
}

/// Where and how it dies.
#[derive(Debug, Clone)]
pub enum Point {
    Fault(u64, Fault),
    /// The journal ends at this byte.
    Torn(usize),
}

pub fn faults() -> [Fault; 5] {
    [
        Fault::KillController,
        Fault::KillBoth,
        Fault::KillScript,
        Fault::CutLine { seconds: 25 },
        Fault::Reboot { seconds: 40 },
    ]
}

/// An undisturbed run and what it took.
pub struct Whole {
    pub plan: Plan,
    pub state: String,
    pub ticks: u64,
    /// Bytes of the journal, and where its records begin, after the header with the plan.
    pub bytes: usize,
    pub records_from: usize,
    /// One-shot commands that the plan runs.
    pub once: Vec<Address>,
}

pub fn whole(seed: u64) -> Whole {
    let (s, world) = scenario(seed);
    let mut b = Bench::new(s.site, world);
    let plan = b.plan();
    b.hosts.world().restart(BTreeMap::new());
    let report = b.apply(&plan, "a1");
    assert!(report.is_success() || plan.is_empty(), "seed {seed}: {report:?}");
    let (ticks, bytes) = (b.hosts.world().ticks, b.disk.len());
    let state = b.state();
    assert_eq!(b.plan().steps, [], "seed {seed}");
    let records_from = b.disk.frame_ends().first().copied().unwrap_or_default();
    let once = plan.steps.iter().filter(|s| s.attrs.contains_key("once")).map(|s| s.address.clone()).collect();
    Whole { plan, state, ticks, bytes, records_from, once }
}

/// All points of one scenario: each tick with each fault, each byte of each record, and every tenth byte of the plan before them.
pub fn points(whole: &Whole) -> Vec<Point> {
    let ticks = (1..=whole.ticks).flat_map(|t| faults().into_iter().map(move |f| Point::Fault(t, f)));
    let plan = (0..whole.records_from).step_by(10);
    ticks.chain(plan.chain(whole.records_from..whole.bytes).map(Point::Torn)).collect()
}

#[derive(Debug, Default)]
pub struct Tally {
    points: AtomicUsize,
    resumes: AtomicUsize,
    /// Ends that needed a fresh plan besides the resume.
    replanned: AtomicUsize,
    /// One-shot commands cut down in the middle, left to a person.
    to_a_person: AtomicUsize,
    second_crash: AtomicUsize,
}

/// Crashes at a point, recovers, and compares with the undisturbed run.
pub fn crash(seed: u64, whole: &Whole, point: &Point, tally: &Tally) -> Result<(), String> {
    let mut dice = Dice(seed ^ (tally.points.fetch_add(1, Ordering::Relaxed) as u64) << 20);
    let (s, mut world) = scenario(seed);
    world.ghost = dice.below(12) as u32;
    let mut b = Bench::new(s.site, world);
    b.settings.batch_steps = [1, 2, 50][dice.below(3)];
    let plan = b.plan();
    let mut first = BTreeMap::new();
    match point {
        Point::Fault(tick, fault) => drop(first.insert(*tick, fault.clone())),
        Point::Torn(byte) => b.disk.tear_at(*byte),
    }
    b.hosts.world().restart(first);
    let mut last = b.try_apply(&plan, "a1");
    let mut begun = true;
    let mut anew = 0;
    for round in 0..12 {
        match last {
            Some(Ok(ref report)) if report.is_success() => break,
            Some(Ok(ref report)) if report.unknown > 0 && report.lost.is_empty() => {
                attend(&mut b, whole, report, tally);
                begun = false;
            }
            Some(Ok(ref report)) if report.left == 0 => begun = false,
            Some(Err(ApplyError::NoSuchApply(_) | ApplyError::Finished(_))) => begun = false,
            Some(Err(ApplyError::Host(_)) | Ok(_)) | None => {}
            Some(Err(ApplyError::Journal(JournalError::Write(_)))) => {}
            Some(Err(ref e)) => return Err(format!("{e}")),
        }
        // Now and then the second attempt dies as well.
        let mut again = BTreeMap::new();
        if round < 2 && dice.one_in(4) {
            tally.second_crash.fetch_add(1, Ordering::Relaxed);
            again.insert(1 + dice.below(whole.ticks as usize) as u64, faults()[dice.below(5)].clone());
        }
        b.restart(Duration::from_secs(dice.below(100) as u64), dice.one_in(2), again);
        last = if begun && anew == 0 {
            tally.resumes.fetch_add(1, Ordering::Relaxed);
            let saved = b.journal().load("a1").ok().flatten();
            let (told, heard) = (saved.map_or_else(Vec::new, |s| cutover::journal::events(&s)), b.events.len());
            let ended = b.try_resume("a1");
            if matches!(&ended, Some(Ok(report)) if report.is_success()) {
                let report = cutover::reporting::Tally::of(told.iter().chain(&b.events[heard..])).report(&plan);
                if !report.unknown.is_empty() || report.not_tried > 0 {
                    return Err(format!("all is done, and told is: {report:?}"));
                }
            }
            ended
        } else if begun {
            b.try_resume(&format!("n{anew}"))
        } else {
            begun = true;
            anew += 1;
            b.hosts.world().faults.clear();
            b.clock.advance(Duration::from_secs(120));
            let next = b.plan();
            if next.is_empty() {
                break;
            }
            if has_records(&b) {
                tally.replanned.fetch_add(1, Ordering::Relaxed);
            }
            b.try_apply(&next, &format!("n{anew}"))
        };
    }
    b.hosts.world().faults.clear();
    b.restart(Duration::from_secs(120), true, BTreeMap::new());
    let second = b.plan();
    if !second.is_empty() {
        let left: Vec<String> =
            second.steps.iter().map(|s| format!("{} {}: {}", s.action.as_str(), s.address, s.reason)).collect();
        return Err(format!("the second plan is not empty: {left:?}; last {last:?}"));
    }
    let world = b.hosts.world();
    if world.state() != whole.state {
        return Err(format!("another end:\n{}\ninstead of\n{}", world.state(), whole.state));
    }
    if world.stale_writes + world.intrusions > 0 {
        return Err(format!("{} stale writes, {} intrusions", world.stale_writes, world.intrusions));
    }
    Ok(())
}

/// Whether the first apply had begun anything.
fn has_records(b: &Bench) -> bool {
    let saved = b.journal().load("a1").ok().flatten();
    saved.is_some_and(|s| s.entries.iter().any(|e| matches!(e.record, Record::Started { .. })))
}

/// A person looks at one-shot commands that were cut down in the middle, and notes those that have run.
fn attend(b: &mut Bench, whole: &Whole, report: &Report, tally: &Tally) {
    for address in &whole.once {
        let step = whole.plan.steps.iter().find(|s| s.address == *address).expect("planned");
        if !matches!(report.outcomes.get(&step.id), Some(Outcome::Unknown { .. })) {
            continue;
        }
        tally.to_a_person.fetch_add(1, Ordering::Relaxed);
        let mut world = b.hosts.world();
        let host = world.hosts.get_mut(&HostName(address.host.0.clone())).expect("host");
        if host.runs.get(&address.key).is_some_and(|n| *n > 0) {
            host.set(&address.local(), attrs(&[("satisfied", Attr::Bool(true))]));
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn crash_points_all_reach_the_same_end() {
    let wanted = number("CUTOVER_CRASH_POINTS", 1_000);
    let from = number("CUTOVER_CRASH_SEED", 1) as u64;
    // The first scenario is taken whole when there is room, the others by sample.
    let each = (wanted / 20).clamp(100, 1_000);
    let begin = Instant::now();
    let tally = Tally::default();
    let next = AtomicUsize::new(0);
    let errors: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if tally.points.load(Ordering::Relaxed) >= wanted || errors.lock().expect("errors").len() > 4 {
                        return;
                    }
                    let seed = from * 1_000_003 + n;
                    let whole = whole(seed);
                    let mut all = points(&whole);
                    let mut dice = Dice(seed);
                    let take = if n == 0 && wanted >= 50_000 { all.len() } else { each.min(all.len()) };
                    for i in 0..take {
                        let pick = i + dice.below(all.len() - i);
                        all.swap(i, pick);
                        if let Err(e) = crash(seed, &whole, &all[i], &tally) {
                            let text = format!("seed {seed}, {:?}: {e}", all[i]);
                            errors.lock().expect("errors").push(text);
                            break;
                        }
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().expect("errors");
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    // Tests have no other way to say it.
    #[expect(clippy::print_stdout)]
    let say = |text: String| println!("{text}");
    say(format!(
        "{} crash points in {:.1} s: {} resumes, {} died again while recovering, {} needed a fresh plan, {} one-shot commands left to a person",
        tally.points.into_inner(),
        begin.elapsed().as_secs_f64(),
        tally.resumes.into_inner(),
        tally.second_crash.into_inner(),
        tally.replanned.into_inner(),
        tally.to_a_person.into_inner(),
    ));
}
