//! Monitoring as its role pack deploys it: Prometheus asks real exporters, and what goes wrong is told to the team that it concerns.
#![allow(clippy::print_stderr)] // how soon people hear of it is part of the result

use std::time::{Duration, Instant};

use crate::cli::{Run, Sandbox};
use crate::lab_auth::server;
use crate::support::lab::Lab;

fn topology(lab: &Lab, above: &str) -> String {
    let servers = [server(lab, "mail", "open", "imap smtp"), server(lab, "watch", "watcher", "monitor")].concat();
    format!(
        "language 1\norganization acme domain=acme.test anchor=mail\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform watcher {{ product prometheus \"2.42\"; }}\n{servers}\
accepted-domain acme.test default=#true postmaster=desk@acme.test\n\
mail-account \"[desk,night]@acme.test\" on=mail password=(secret)\"env:PASSWORD\"\n\
certificate tls subject=mail.acme.test issuer=internal {{ on mail; }}\n\
environment lab purpose=lab time-scale=30\n\
team desk email=desk@acme.test {{ smf service-monitoring; }}\nteam night email=night@acme.test\n\
escalation ladder {{ tier desk; }}\nescalation services {{ tier night; }}\n\
runbook drain file=\"runbooks/drain.md\" tested-by=desk\n\
monitor queues every=\"1s\" escalation=ladder {{ on mail; rule size counter=queue-size above={above} for=\"2s\" severity=red runbook=drain; }}\n\
monitor services every=\"1s\" escalation=services {{ on mail; rule state counter=service-state equals=stopped for=\"2s\" severity=critical runbook=drain; }}\n\
monitor rest every=\"1s\" escalation=ladder {{\n    on mail\n    rule latency counter=averaged-latency above=10\n    rule load counter=processor-load above=99\n    rule memory counter=memory-free below=1\n    rule submission counter=submission-queue above=250\n    rule retry counter=retry-mailbox-delivery-queue above=250\n}}\n"
    )
}

struct World {
    lab: Lab,
    box_: Sandbox,
}

impl World {
    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.box_.command(&[args, &["--env", "lab"]].concat());
        command.env("PASSWORD", "canary-watch-31");
        crate::cli::finish(command)
    }

    /// Prometheus' answer to a question, one value a line.
    fn asks(&self, question: &str) -> String {
        self.lab.sh("watch", &format!("promtool query instant http://127.0.0.1:9090 '{question}'"))
    }

    /// How many letters to a team have this subject.
    fn letters(&self, team: &str, subject: &str) -> usize {
        let line = format!("grep -rhs '^Subject: .*{subject}' /var/vmail/acme.test/{team} | wc -l");
        self.lab.sh("mail", &line).parse().expect("a number")
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(90), "never: {what}\n{}", self.asks("ALERTS"));
            std::thread::sleep(Duration::from_millis(300));
        }
        began.elapsed()
    }
}

#[test]
fn alerts_reach_the_right_team_once_and_end() {
    let Some(lab) = Lab::new("monitor").host("mail").host("watch").up() else { return };
    let box_ = Sandbox::new();
    let world = World { lab, box_ };
    world.box_.write("topology.kdl", &topology(&world.lab, "20"));
    world.box_.write("runbooks/drain.md", "# Drain\n");
    world.run(&["apply", "--yes"]).ends(0).says("done in");
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let lab = &world.lab;

    // It answers where the topology says, and nowhere else.
    let mail = lab.ip("mail");
    for port in [9100, 9154, 9900] {
        lab.sh("watch", &format!("curl -fsS --max-time 5 http://{mail}:{port}/metrics >/dev/null"));
        assert!(
            !lab.try_sh("mail", &format!("curl -fsS --max-time 5 http://127.0.0.1:{port}/metrics")).status.success()
        );
    }
    for port in [9090, 9093] {
        let watch = lab.ip("watch");
        assert!(
            !lab.try_sh("watch", &format!("curl -fsS --max-time 5 http://{watch}:{port}/-/ready")).status.success()
        );
    }
    // Every figure is told by real exporters: an empty queue too.
    world.until("all figures", || world.asks("count(cutover:watched)").contains("=> 7 @"));
    world.until("all targets", || world.asks("count(up == 1)").contains("=> 4 @"));

    for service in ["prometheus", "alertmanager"] {
        lab.sh("watch", &format!("/usr/local/sbin/cutover-monitoring {service}"));
    }

    // Services that had not begun when Prometheus did are stopped services: those alerts are over first.
    let calm = || {
        let even = |team: &str| world.letters(team, "FIRING") == world.letters(team, "RESOLVED");
        world.asks("ALERTS").is_empty() && even("desk") && even("night")
    };
    world.until("nothing is wrong", calm);
    let before = world.letters("night", "FIRING");

    // A full queue: nobody answers at that address, so mail for it waits.
    lab.sh("mail", "for n in $(seq 25); do printf 'Subject: fill\\n\\nx\\n' | sendmail -f desk@acme.test nobody@[192.0.2.99]; done");
    let told = world.until("the desk hears of the queue", || world.letters("desk", "FIRING.*QueuesSize") > 0);
    let letter = lab
        .sh("mail", "cat $(grep -rls '^Subject: .*FIRING.*QueuesSize' /var/vmail/acme.test/desk)")
        .replace("=\n", "");
    assert!(letter.contains("runbooks/drain.md"), "{letter}");
    lab.sh("mail", "postsuper -d ALL 2>/dev/null");
    let ended = world.until("the desk hears of its end", || world.letters("desk", "RESOLVED.*QueuesSize") > 0);
    assert_eq!((world.letters("desk", "FIRING.*QueuesSize"), world.letters("night", "FIRING")), (1, before));

    // A service that has stopped, which is another team's.
    lab.sh("mail", "systemctl stop dovecot");
    let stopped = world.until("it fires", || {
        world.asks("ALERTS{alertname=\"ServicesState\",alertstate=\"firing\"}").contains("team=\"night\"")
    });
    world.until("it is sent", || lab.try_sh("mail", "postqueue -p | grep -q night@acme.test").status.success());
    lab.sh("mail", "systemctl start dovecot; postqueue -f");
    world.until("the night hears of the service", || world.letters("night", "FIRING.*ServicesState") > before);
    world.until("the night hears of its end", || world.letters("night", "RESOLVED.*ServicesState") > before);
    assert_eq!((world.letters("night", "FIRING"), world.letters("desk", "ServicesState")), (before + 1, 0));
    eprintln!(
        "a full queue is told after {told:?} and its end after {ended:?}, a stopped service fires after {stopped:?}"
    );

    // What a hand has changed is found and mended: a rule, a server that was stopped; and a form that Prometheus refuses.
    lab.sh("watch", "sed -i 's/ > 20/ > 2000/' /etc/prometheus/rules/queues.yml && systemctl reload prometheus");
    lab.sh("watch", "systemctl stop prometheus-alertmanager");
    world.run(&["plan", "--detailed-exitcode"]).ends(2).says("rules/queues.yml").says("alertmanager-runs-these-files");
    lab.sh("watch", "sed -i 's/ > 2000/ > > 2/' /etc/prometheus/rules/queues.yml");
    assert!(!lab.try_sh("watch", "systemctl reload prometheus").status.success(), "it does not run with these files");
    world.run(&["apply", "--yes"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    lab.sh("watch", "systemctl reload prometheus");

    // A monitor that goes takes its rules along, and comes back with them.
    let kept = topology(lab, "20");
    let without: Vec<&str> = kept.split("monitor rest").collect();
    world.box_.write("topology.kdl", without[0]);
    let groups = || {
        lab.sh("watch", "curl -fsS http://127.0.0.1:9090/api/v1/rules | grep -o '\"file\":\"[^\"]*' | sed 's/.*rules.//' | tr '\\n' ' '")
    };
    let before = groups();
    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(groups(), before.replace("rest.yml ", ""));
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let json = world.run(&["history", "--format", "json"]).ends(0).out;
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    world.run(&["undo", list[0]["apply"].as_str().expect("an id"), "--yes"]).ends(0);
    assert_eq!(groups(), before);
}
