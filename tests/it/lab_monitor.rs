//! Monitoring as its role pack deploys it: Prometheus asks real exporters, and what goes wrong is told to the team that it concerns.
#![allow(clippy::print_stderr)] // how soon people hear of it is part of the result

use std::time::{Duration, Instant};

use crate::cli::{Run, Sandbox};
use crate::lab_auth::server;
use crate::support::lab::Lab;

fn topology(lab: &Lab, above: &str) -> String {
    let servers = [server(lab, "mail", "open", "imap smtp"), server(lab, "watch", "watcher", "monitor")].concat();
    // A window that is open now and for two hours more.
    let from = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).strftime("%H:%M");
    format!(
        "language 1\norganization acme domain=acme.test anchor=mail\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform watcher {{ product prometheus \"2.42\"; }}\n{servers}\
accepted-domain acme.test default=#true postmaster=desk@acme.test\n\
mail-account \"[desk,night,check]@acme.test\" on=mail password=(secret)\"env:PASSWORD\"\n\
certificate tls subject=mail.acme.test issuer=internal {{ on mail; }}\n\
environment lab purpose=lab time-scale=30\n\
probe trip type=roundtrip every=\"1s\" within=\"7s\" account=check@acme.test password=(secret)\"env:PASSWORD\" {{ to mail; }}\n\
probe padlock type=tls every=\"5s\" {{ to mail; }}\n\
probe hand-in type=submission every=\"5s\" account=check@acme.test password=(secret)\"env:PASSWORD\" {{ to mail; }}\n\
sla delivery type=delivery target=\"50%\" within=\"7s\" probe=trip owner=desk\n\
team desk email=desk@acme.test {{ smf service-monitoring; }}\nteam night email=night@acme.test\n\
escalation ladder {{ tier desk; }}\nescalation services {{ tier night; }}\n\
runbook drain file=\"runbooks/drain.md\" tested-by=desk\n\
calendar changes {{ window now every=day from=\"{from}\" for=\"3h\"; }}\n\
person ann {{ teams desk; }}\n\
change care severity=minor author=ann rollout=drain rollback=drain {{ affects mail watch; }}\n\
monitor queues every=\"1s\" escalation=ladder {{ on mail; rule size counter=queue-size above={above} for=\"2s\" severity=red runbook=drain; }}\n\
monitor services every=\"1s\" escalation=services {{ on mail; rule state counter=service-state equals=stopped for=\"2s\" severity=critical runbook=drain; }}\n\
monitor rest every=\"1s\" escalation=ladder {{\n    on mail\n    rule latency counter=averaged-latency above=10\n    rule load counter=processor-load above=99 for=\"12h\"\n    rule memory counter=memory-free below=1\n    rule submission counter=submission-queue above=250\n    rule retry counter=retry-mailbox-delivery-queue above=250\n}}\n"
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

    /// The subject of the letter to a team that was written last about this. Letters that waited together come in any order, so the time
    /// of writing counts and not that of coming.
    fn newest(&self, team: &str, what: &str) -> String {
        let all = format!("grep -rlsZ '^Subject: .*{what}' /var/vmail/acme.test/{team}");
        let both = format!(
            "{all} | xargs -0r awk 'FNR == 1 {{ d = s = \"\" }} /^Date:/ {{ d = $0 }} /^Subject:/ {{ s = $0 }} d && s {{ print d \"\\t\" s; nextfile }}'"
        );
        let said = self.lab.sh("mail", &both);
        let written = |line: &str| {
            let (date, subject) = line.split_once('\t').expect("a date and a subject");
            let date = jiff::fmt::rfc2822::parse(date.trim_start_matches("Date:").trim()).expect("a date").timestamp();
            (date, subject.contains("RESOLVED"), subject.to_owned())
        };
        said.lines().map(written).max().map(|(_, _, subject)| subject).unwrap_or_default()
    }

    /// Letters that were put back while something was broken are sent now. Postfix would try them again after minutes, and a flush that
    /// meets a reload or a Dovecot that still begins is lost: so it is asked each time.
    fn until_letters_come(&self, what: &str, holds: impl Fn() -> bool) -> Duration {
        self.until(what, || {
            self.lab.try_sh("mail", "postqueue -f");
            holds()
        })
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !holds() {
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "never: {what}\n{}\n{}\n{}",
                self.asks("ALERTS"),
                self.asks("{__name__=~\"cutover_probe_.*_total\"}"),
                self.lab.sh("mail", "grep -rhsE '^(Date|Subject): .*([0-9]{2}:|\\[)' /var/vmail/acme.test/desk /var/vmail/acme.test/night; postqueue -p | tail -n 40")
            );
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
    // Nobody can be silenced before somebody watches, which stops nothing.
    world.run(&["apply", "--yes"]).ends(0).says("done in").says("watch: not known to be done");
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
    world.until("all targets", || world.asks("count(up{server!=\"\"} == 1)").contains("=> 5 @"));

    for service in ["prometheus", "alertmanager"] {
        lab.sh("watch", &format!("/usr/local/sbin/cutover-monitoring {service}"));
    }

    // Services that had not begun when Prometheus did are stopped services: those alerts are over first. Letters are not counted here: two
    // alerts that come one after the other are two letters, with one end of both.
    let over = |team: &str, what: &str| {
        let newest = world.newest(team, what);
        newest.is_empty() || newest.contains("RESOLVED")
    };
    let others = "ALERTS{alertstate=\"firing\",alertname!=\"ProbeFails\"}";
    let calm = || world.asks(others).is_empty() && over("night", "ServicesState");
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
    lab.sh("mail", "systemctl start dovecot");
    world.until_letters_come("the night hears of the service", || {
        world.letters("night", "FIRING.*ServicesState") > before
    });
    world.until_letters_come("the night hears of its end", || over("night", "ServicesState"));
    assert_eq!((world.letters("night", "FIRING"), world.letters("desk", "ServicesState")), (before + 1, 0));
    eprintln!(
        "a full queue is told after {told:?} and its end after {ended:?}, a stopped service fires after {stopped:?}"
    );

    // Letters, logins and certificates, as users have them: the level's own bound is one of the histogram's.
    world.until_letters_come("letters arrive within the level's bound", || {
        let bound = world.asks("cutover_probe_seconds_bucket{probe=\"trip\",target=\"mail\",le=\"7\"} > 5");
        let level = world.asks("cutover:level:error_ratio{sla=\"delivery\",window=\"6h\"} < 0.5");
        !bound.is_empty() && !level.is_empty()
    });
    world.until("each port shows its certificate, users hand in", || {
        let ends = world.asks("count(cutover_probe_certificate_ends_seconds{probe=\"padlock\"} > time())");
        ends.contains("=> 4 @")
            && !world.asks("cutover_probe_attempts_total{probe=\"hand-in\",result=\"ok\"} > 0").is_empty()
    });
    // Until its end is told, an alert that fires again is no new letter.
    world.until_letters_come("no probe fails", || {
        world.asks("ALERTS{alertname=\"ProbeFails\"}").is_empty() && over("desk", "ProbeFails")
    });
    // Mail is taken and stands. Before all services ran, there was nobody to take it.
    let others = "cutover_probe_attempts_total{probe=\"trip\",result=\"cannot-send\"} > 0";
    let count = |said: String| said.split_whitespace().nth_back(1).map(str::to_owned);
    let unsent = count(world.asks(others));
    let failures = world.letters("desk", "FIRING.*ProbeFails");
    lab.sh(
        "mail",
        "cp -p /etc/postfix/main.cf /root/main.cf && postconf -e defer_transports=lmtp && postfix reload 2>/dev/null",
    );
    let lost = world.until("a probe fails", || {
        world.asks("ALERTS{alertname=\"ProbeFails\",alertstate=\"firing\"}").contains("probe=\"trip\"")
    });
    let failed = "cutover_probe_attempts_total{probe=\"trip\",result=\"not-arrived\"} > 0";
    world.until("it is told how", || !world.asks(failed).is_empty());
    // It lasts until it is told: Alertmanager keeps a group that was just over, whose next letter waits for the group's interval, and what
    // is over by then is told to nobody.
    let queues = ["incoming", "active", "deferred"].map(|queue| format!("/var/spool/postfix/{queue}")).join(" ");
    let stands = format!("grep -rqsa 'Subject: .*FIRING.*ProbeFails' {queues}");
    world.until("it is sent", || lab.try_sh("mail", &stands).status.success());
    assert_eq!(count(world.asks(others)), unsent);
    lab.sh("mail", "cp -p /root/main.cf /etc/postfix/main.cf && postfix reload 2>/dev/null");
    world.until_letters_come("the desk hears of lost letters and of their end", || {
        world.letters("desk", "FIRING.*ProbeFails") > failures && over("desk", "ProbeFails")
    });
    eprintln!("mail that stands is told after {lost:?}");

    // While servers are silent nobody hears of them, and the level counts on.
    let heard = || world.letters("night", "FIRING.*ServicesState");
    let before = heard();
    world.run(&["monitoring", "silence", "--on", "mail", "--for", "10m"]).ends(0).says("are silent from");
    world.run(&["monitoring", "silence", "--on", "mail", "--for", "10m"]).ends(0);
    let missed = "sum(cutover_probe_attempts_total{probe=\"trip\",result!=\"ok\"})";
    lab.sh("mail", "systemctl stop dovecot");
    let missed_before = count(world.asks(missed)).expect("some were lost above");
    world.until("Alertmanager keeps it to itself", || {
        lab.sh("watch", "amtool --alertmanager.url=http://127.0.0.1:9093 alert query --silenced")
            .contains("ServicesState")
    });
    world.until("the level counts on", || !world.asks(&format!("{missed} > {}", missed_before)).is_empty());
    lab.sh("mail", "systemctl start dovecot");
    world.until_letters_come("it is over", || world.asks("ALERTS{alertname=\"ServicesState\"}").is_empty());
    assert_eq!(heard(), before);
    world.run(&["monitoring", "silence", "--on", "mail", "--end"]).ends(0).says("are heard again");
    world.run(&["monitoring", "silence", "--on", "mail", "--end"]).ends(0).says("nothing of servers mail was silent");
    world.run(&["monitoring", "silence", "night"]).ends(1).says("no cutover-window `night`");

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
    world.run(&["apply", "--yes"]).ends(0).says("are silent from");
    assert_eq!(groups(), before.replace("rest.yml ", ""));
    // The apply has ended its silence, hours before its window ends.
    let silences = lab.sh("watch", "curl -fsS http://127.0.0.1:9093/api/v2/silences");
    let silences: Vec<serde_json::Value> = serde_json::from_str(&silences).expect("JSON");
    let of_apply = |s: &&serde_json::Value| s["comment"].as_str().is_some_and(|c| c.starts_with("cutover: apply "));
    let made: Vec<_> = silences.iter().filter(of_apply).collect();
    assert!(!made.is_empty() && made.iter().all(|s| s["status"]["state"] == "expired"), "{silences:?}");
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let json = world.run(&["history", "--format", "json"]).ends(0).out;
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    world.run(&["undo", list[0]["apply"].as_str().expect("an id"), "--yes"]).ends(0);
    assert_eq!(groups(), before);
}
