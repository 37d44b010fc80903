//! The program killed, cut off and robbed of its hosts in the middle of an apply: each time the same end, and nothing that must run
//! once runs twice.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cutover::lab::{Fault, Peer};

use crate::cli::finish;
use crate::lab_cutover::number;
use crate::lab_flow::World;

impl World {
    /// Goes on after a crash and holds the end against an undisturbed one.
    #[track_caller]
    fn recovers(&self, whole: &str, what: &str) {
        let run = self.run(&["apply", "--yes"]);
        assert_eq!(run.code, 0, "{what}: {run:#?}");
        assert_eq!(self.state(), whole, "{what}");
        for host in ["a", "b"] {
            assert_eq!(self.lab.sh(host, "cat /srv/flow.count"), "ran", "{what}: the command of {host}");
        }
        let plan = self.run(&["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, 0, "{what}: {plan:#?}");
        assert!(self.run(&["resume"]).ends(0).out.contains("nothing to resume"), "{what}");
    }

    fn begin(&self) -> Child {
        let mut command = self.command(&["apply", "--yes"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
    }

    /// Starts an apply and waits until its first steps are on their way; standard error goes to a file.
    fn in_the_middle(&self) -> Child {
        let log = std::fs::File::create(self.box_.path().join("stderr")).expect("file");
        let mut command = self.command(&["apply", "--yes"]);
        let child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("runs");
        let until = Instant::now() + Duration::from_secs(60);
        while !self.box_.read("stderr").contains("begins") {
            assert!(Instant::now() < until, "it does not begin: {}", self.box_.read("stderr"));
            std::thread::sleep(Duration::from_millis(50));
        }
        // The slow command is among the first steps of each host.
        std::thread::sleep(Duration::from_millis(1500));
        child
    }

    /// The end of an undisturbed apply; the hosts are bare again afterwards.
    fn undisturbed(&self) -> String {
        self.run(&["apply", "--yes"]).ends(0);
        let whole = self.state();
        self.wipe();
        whole
    }
}

/// Each how many commits it dies, and where it begins: every one with `CUTOVER_FLOW_KILLS=all`; else a third of them, another third each day
/// (`CUTOVER_KILL_SEED` says which).
fn sample() -> (usize, usize) {
    if std::env::var("CUTOVER_FLOW_KILLS").is_ok_and(|k| k == "all") {
        return (1, 1);
    }
    let today = std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_secs() / 86_400);
    (1 + (number("CUTOVER_KILL_SEED", today) % 3) as usize, 3)
}

/// The process dies at commits of its journal: `after` says on which side of them.
#[allow(clippy::print_stderr)] // the kills are part of the result
fn killed_at_commits(name: &str, after: &str) {
    let Some(world) = World::new(name) else { return };
    let whole = world.undisturbed();
    let (first, step) = sample();
    for n in (first..).step_by(step) {
        let mut command = world.command(&["apply", "--yes"]);
        command.env("CUTOVER_CRASH_AT", format!("{n}{after}"));
        let run = finish(command);
        if run.code == 0 {
            assert!(n > 5, "only {n} commits: {run:#?}");
            eprintln!("killed at each of {step} commits from {first}, {} kills", (n - first) / step);
            return;
        }
        assert_eq!(run.code, -1, "it died of the signal: {run:#?}");
        world.recovers(&whole, &format!("killed at commit {n}{after}"));
        world.wipe();
    }
}

#[test]
fn killed_before_commits_of_the_journal() {
    killed_at_commits("kill-before", "");
}

#[test]
fn killed_after_commits_of_the_journal() {
    killed_at_commits("kill-after", "+");
}

/// Kills that fall where they fall: in the middle of a script on a host, of an upload, of a login.
#[test]
fn killed_at_any_moment() {
    let Some(world) = World::slow("kill-any") else { return };
    let whole = world.undisturbed();
    let (first, step) = sample();
    for moment in (first as u64..=10).step_by(step) {
        let mut child = world.begin();
        std::thread::sleep(Duration::from_millis(450 * moment));
        child.kill().expect("kill -9");
        child.wait().expect("gone");
        world.recovers(&whole, &format!("killed after {} ms", 450 * moment));
        world.wipe();
    }
}

#[test]
fn a_link_cut_in_the_middle_heals_by_itself() {
    let Some(world) = World::slow("link") else { return };
    let whole = world.undisturbed();
    let child = world.in_the_middle();
    world.lab.fault(Fault::Cut { host: "b".into(), peer: Peer::Machine });
    std::thread::sleep(Duration::from_secs(25));
    world.lab.heal();
    let out = child.wait_with_output().expect("ends");
    assert!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stdout), world.box_.read("stderr"));
    world.recovers(&whole, "link cut");
}

#[test]
fn a_host_rebooted_in_the_middle_comes_to_the_same_end() {
    let Some(world) = World::slow("reboot") else { return };
    let whole = world.undisturbed();
    let child = world.in_the_middle();
    world.lab.fault(Fault::Reboot { host: "b".into() });
    let out = child.wait_with_output().expect("ends");
    let said = world.box_.read("stderr");
    // A command that was cut off in its middle is unknown and is never run again without being asked for; all else is finished.
    if !out.status.success() {
        assert!(said.contains("unknown") || String::from_utf8_lossy(&out.stdout).contains("unknown"), "{said}");
        world.run(&["resume"]);
    }
    let second = world.run(&["apply", "--yes"]);
    assert!(second.code == 0, "{second:#?}\n{said}");
    assert_eq!(world.state(), whole);
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
    let count = world.lab.sh("b", "wc -l < /srv/flow.count");
    assert_eq!(count, "1", "once");
}

/// Ctrl-C: running steps end, no new one starts, and `resume` goes on.
#[test]
fn interrupted_it_drains_and_resumes() {
    let Some(world) = World::slow("drain") else { return };
    let whole = world.undisturbed();
    let child = world.in_the_middle();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let out = child.wait_with_output().expect("ends");
    let said = world.box_.read("stderr");
    assert!(said.contains("stopping"), "{said}");
    // Where the last batch was already on its way nothing was left to stop.
    assert!(matches!(out.status.code(), Some(130 | 0)), "{:?}", out.status);
    world.run(&["resume"]).ends(0);
    world.recovers(&whole, "interrupted");
}
