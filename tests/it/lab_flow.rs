//! The program against real hosts: apply, drift, undo, saved plans, two at once.
//!
//! The topology uses a role pack of its own (`flow`): folders, files, a unit with its service and a command that must run once. No
//! package is installed, so a whole flow takes seconds.

use std::process::{Command, Stdio};

use crate::cli::{Run, Sandbox, finish};
use crate::support::lab::Lab;

pub const PACK: &str = r##"
platform flow { product flow since="1" until="1"; }
role flow platform=flow doc="a small service" {
    group flow
    user flow group=flow home="/srv/flow" shell="/usr/sbin/nologin"
    directory "/srv/flow" owner=flow group=flow mode="0750"
    file "/srv/flow/one.conf" content="one of {{server.name}}\n" mode="0644" restart=flow
    file "/srv/flow/two.conf" content="two\n" owner=flow group=flow mode="0600" reload=flow
    file "/srv/flow/secret.conf" template=secret.hbs mode="0600" restart=flow
    command "count" run="echo ran >> /srv/flow.count" once=#true
    unit "flow.service" content="[Unit]\nDescription=flow\n[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n" restart=flow
    service flow enabled=#true running=#true
}
"##;

const SECRET: &str = "{{#each mail.accounts}}{{this.address}}={{this.password}}\n{{/each}}";

/// Two lab hosts and a folder with a topology that describes them.
pub struct World {
    pub lab: Lab,
    pub box_: Sandbox,
}

pub const PASSWORD: &str = "canary-env-58213";

impl World {
    pub fn new(name: &str) -> Option<Self> {
        let lab = Lab::new(name).host("a").host("b").up()?;
        let box_ = Sandbox::new();
        box_.write("modules/flow/module.kdl", PACK);
        box_.write("modules/flow/templates/secret.hbs", SECRET);
        box_.write("topology.kdl", &topology(&lab, ""));
        Some(Self { lab, box_ })
    }

    /// The same with a step that takes some seconds, so that something can happen in its middle.
    pub fn slow(name: &str) -> Option<Self> {
        let world = Self::new(name)?;
        world.box_.write("modules/flow/module.kdl", &PACK.replace("echo ran >>", "sleep 3; echo ran >>"));
        Some(world)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.box_.command(args);
        command.env("ANN", PASSWORD);
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args))
    }

    /// What the topology is about, as it stands on both hosts, times left out.
    pub fn state(&self) -> String {
        let look = "cd /srv/flow && for f in . *; do stat -c '%n %U:%G %a %F' \"$f\"; [ -f \"$f\" ] && sha256sum < \"$f\"; done; \
                    cat /etc/systemd/system/flow.service; systemctl is-enabled flow; systemctl is-active flow; id flow | tr -d 0-9";
        ["a", "b"].map(|host| self.lab.sh(host, look)).join("\n---\n")
    }

    /// Takes away everything that an apply makes and all that cutover remembers, on the hosts and here.
    pub fn wipe(&self) {
        let gone = "systemctl disable --now flow 2>/dev/null; rm -f /etc/systemd/system/flow.service; systemctl daemon-reload; \
                    userdel flow 2>/dev/null; groupdel flow 2>/dev/null; rm -rf /srv/flow /srv/flow.count /var/lib/cutover; true";
        for host in ["a", "b"] {
            self.lab.sh(host, gone);
        }
        let state = self.box_.path().join(".cutover/flow");
        if state.exists() {
            std::fs::remove_dir_all(state).expect("state goes");
        }
    }

    /// The id of the last apply.
    pub fn last(&self) -> String {
        let json = self.run(&["history", "--format", "json"]).ends(0).out;
        let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        list[0]["apply"].as_str().expect("an id").to_owned()
    }
}

fn topology(lab: &Lab, more: &str) -> String {
    let mut text = String::from(
        "language 1\norganization flow domain=flow.example anchor=a\nsite s\nplatform p { product flow \"1\"; }\naccepted-domain \
         flow.example default=#true\nmail-account ann@flow.example on=a password=(secret)\"env:ANN\"\n",
    );
    for host in ["a", "b"] {
        let access = lab.access(host);
        text.push_str(&format!(
            "server {host} platform=p site=s ip=\"{}\" {{\n    roles flow\n    connection user=root key=(secret)\"file:{}\" \
             host-key=\"{}\"\n}}\n",
            access.address,
            lab.key().display(),
            access.host_key.expect("pinned"),
        ));
    }
    text + more
}

#[test]
fn apply_then_nothing_then_drift_then_mend_then_undo() {
    let Some(world) = World::new("flow") else { return };
    world.run(&["check"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(2).says("server.a/file:/srv/flow/one.conf").says("steps");
    world.run(&["apply", "--yes"]).ends(0).says("done in");
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.run(&["drift"]).ends(0);
    world.run(&["apply", "--yes"]).ends(0).says("Nothing to do");

    let whole = world.state();
    world.lab.sh("a", "echo by hand >> /srv/flow/one.conf; chmod 644 /srv/flow/two.conf; systemctl stop flow");
    world.lab.sh("b", "rm /srv/flow/two.conf; systemctl disable flow 2>/dev/null; chown root:root /srv/flow");
    let broken = world.state();
    let drift = world.run(&["drift", "--format", "json"]).ends(2);
    let report: serde_json::Value = serde_json::from_str(&drift.out).expect("JSON");
    let found: Vec<&str> =
        report["drifted"].as_array().expect("list").iter().filter_map(|d| d["address"].as_str()).collect();
    assert_eq!(
        found,
        [
            "server.a/file:/srv/flow/one.conf",
            "server.a/file:/srv/flow/two.conf",
            "server.a/service:flow",
            "server.b/directory:/srv/flow",
            "server.b/file:/srv/flow/two.conf",
            "server.b/service:flow",
        ]
    );

    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(world.state(), whole);
    world.run(&["drift"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0);

    let mended = world.last();
    world.run(&["undo", &mended, "--plan"]).ends(0).says("restore");
    world.run(&["undo", &mended, "--yes"]).ends(0).says("Undo of");
    assert_eq!(world.state(), broken, "undo brings back every byte, mode, owner and service state");
    for host in ["a", "b"] {
        assert_eq!(world.lab.sh(host, "cat /srv/flow.count"), "ran", "a command that runs once ran once");
    }
    world.run(&["show", &mended]).ends(0).says("done");
    world.run(&["graph", &mended, "--format", "mermaid"]).ends(0).says("flowchart");
    world.run(&["state", "list", "b"]).ends(0).says("file:/srv/flow/two.conf");
}

#[test]
fn a_saved_plan_is_applied_as_it_is_or_not_at_all() {
    let Some(world) = World::new("saved") else { return };
    world.run(&["plan", "--out", "plan.cut"]).ends(0);
    // Something that the plan does not change is touched: it still fits.
    world.lab.sh("a", "touch /tmp/elsewhere");
    world.run(&["apply", "plan.cut"]).ends(0);
    world.run(&["apply", "plan.cut"]).ends(1).says("stale");
    world.lab.sh("a", "echo x >> /srv/flow/one.conf");
    world.run(&["plan", "--out", "plan.cut"]).ends(0);
    world.lab.sh("a", "echo y >> /srv/flow/one.conf");
    world.run(&["apply", "plan.cut"]).ends(1).says("server.a/file:/srv/flow/one.conf").says("nothing was changed");
    assert_eq!(world.lab.sh("a", "tail -n 2 /srv/flow/one.conf"), "x\ny");

    let text = world.box_.read("plan.cut").replace("one of a", "one of z");
    world.box_.write("plan.cut", &text);
    world.run(&["apply", "plan.cut"]).ends(1).says("was changed after it was made");
    world.run(&["apply"]).ends(1).says("--yes");
}

/// One organisation has one apply at a time: on one machine by the lock, from two machines by the lease on the hosts.
#[test]
fn of_two_applies_at_once_one_waits_or_is_refused_and_nothing_is_written_twice() {
    let Some(world) = World::slow("two") else { return };
    let first = world.command(&["apply", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    world.run(&["apply", "--yes"]).ends(1).says("another apply is running");
    let other = Sandbox::new();
    let copied = Command::new("cp")
        .args(["-r", "topology.kdl", "modules"])
        .arg(other.path())
        .current_dir(world.box_.path())
        .status();
    assert!(copied.expect("cp").success());
    let key = world.box_.read(".cutover/key");
    let mut second = other.command(&["apply", "--yes"]);
    second.env("ANN", PASSWORD).env("CUTOVER_STATE_KEY", key.trim());
    let second = finish(second);
    let first = first.wait_with_output().expect("ends");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    // It met the lease and waited for its end, or came when all was done; in no case did it write over the first.
    assert!(
        second.code == 0 || second.err.contains("another apply holds") || second.out.contains("refused"),
        "{second:#?}"
    );
    for host in ["a", "b"] {
        assert_eq!(world.lab.sh(host, "cat /srv/flow.count"), "ran");
    }
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
}

#[test]
fn destroy_takes_away_what_is_ours_and_nothing_else() {
    let Some(world) = World::new("destroy") else { return };
    world.run(&["apply", "--yes"]).ends(0);
    world.lab.sh("a", "echo mine > /srv/flow/mine.txt");
    world.run(&["destroy"]).ends(1).says("nothing was changed");
    world.run(&["destroy", "--yes", "other"]).ends(1).says("another organisation");
    world.run(&["destroy", "--yes", "flow"]).ends(0);
    assert_eq!(world.lab.sh("a", "cat /srv/flow/mine.txt; ls /srv/flow"), "mine\nmine.txt", "not ours, so it stays");
    assert_eq!(world.lab.sh("b", "ls -d /srv/flow /etc/systemd/system/flow.service 2>/dev/null | wc -l"), "0");
    world.run(&["plan", "--detailed-exitcode"]).ends(2);
}

#[test]
fn a_host_that_cannot_be_asked_is_never_taken_for_empty() {
    let Some(world) = World::new("away") else { return };
    world.run(&["apply", "--yes"]).ends(0);
    // A setting of the real sshd, changed by hand, is found, and mended it is silent.
    let text = world.box_.read("topology.kdl").replace("    roles flow\n", "    roles flow\n    baselines ssh\n");
    let checks = "baseline ssh {\n roles flow\n check tries source=script key=\"sshd -T | sed -n 's/^maxauthtries //p'\" expect=\"6\"\n \
                  check up source=service key=ssh.service expect=running\n check kernel source=sysctl key=kernel.ostype expect=Linux\n \
                  check base source=package key=openssh-server expect=\">=8\"\n}\n";
    world.box_.write("topology.kdl", &(text + checks));
    world.run(&["audit"]).ends(0).says("No deviation: 8 checks on 2 hosts.");
    world.lab.sh("a", "sed -i '1i MaxAuthTries 3' /etc/ssh/sshd_config");
    world.run(&["audit"]).ends(2).says("~ a ssh.tries").says("wanted 6, found 3").says("1 deviation: 8 checks");
    world.lab.sh("a", "sed -i 1d /etc/ssh/sshd_config");
    world.run(&["audit"]).ends(0);
    world.lab.fault(cutover::lab::Fault::Kill { host: "b".into() });
    world.run(&["audit"]).ends(1).says("could not ask b (4 checks)").says("whether they deviate is not known");
    let plan = world.run(&["plan", "--detailed-exitcode", "--out", "plan.cut"]).ends(1);
    assert!(plan.err.contains("could not ask: b") && !plan.out.contains("server.b/file"), "{plan:#?}");
    assert!(!world.box_.path().join("plan.cut").exists(), "such a plan is not saved");
    world.run(&["apply", "--yes"]).ends(1).says("could not ask");
    world.run(&["drift"]).ends(1).says("not known");
    // The rest can be planned.
    world.run(&["plan", "--detailed-exitcode", "--target", "a"]).ends(0);
    world.lab.heal();
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
}
