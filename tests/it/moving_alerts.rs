//! A rule of a monitor as a trigger of a way back: what a real Prometheus says of it, and what is made of that.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use cutover::cli::alerts::{decide, script};
use cutover::execution::Seen;
use cutover::model::trigger::{Alert, Condition};

use crate::packs::Story;

fn alert(rule: &str, alert: &str, servers: u64) -> Alert {
    Alert { monitor: "mail".into(), rule: rule.into(), alert: alert.into(), servers, host: "watch".into() }
}

pub struct Prometheus {
    child: Child,
    pub port: u16,
    /// Goes with it.
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(rules: &str) -> Self {
        Self::over(tempfile::tempdir().unwrap(), rules)
    }

    /// On what lies in the folder's `data`.
    pub fn over(dir: tempfile::TempDir, rules: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(dir.path().join("rules.yml"), rules).unwrap();
        let conf = "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n";
        std::fs::write(dir.path().join("prometheus.yml"), conf).unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", at("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", at("data")))
            .arg("--storage.tsdb.retention.time=90d")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("prometheus (apt-get install prometheus)");
        Self { child, port, _dir: dir }
    }

    /// What a look comes to, as on the host of the monitor.
    fn look(&self, alert: &Alert) -> Seen {
        let out = Command::new("sh").arg("-c").arg(script(alert, self.port)).output().unwrap();
        match out.status.success() {
            true => decide(alert, &String::from_utf8(out.stdout).unwrap()),
            false => Seen::NotAsked(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    fn until(&self, alert: &Alert, what: &str, holds: impl Fn(&Seen) -> bool) {
        let began = Instant::now();
        loop {
            let seen = self.look(alert);
            if holds(&seen) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "never {what}: {seen:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

const RULES: &str = r#"groups:
  - name: mail
    rules:
      - {record: "cutover:watched", expr: 'label_replace(vector(300), "server", "mail-1", "", "")', labels: {monitor: mail, rule: queue}}
      - alert: MailQueue
        expr: 'cutover:watched{monitor="mail",rule="queue"} > 250'
        labels: {monitor: mail, rule: queue}
        annotations: {summary: "{{ $labels.server }}: queue {{ $value }}"}
      - {record: "cutover:watched", expr: 'label_replace(vector(3), "server", "mail-1", "", "")', labels: {monitor: mail, rule: load}}
      - alert: MailLoad
        expr: 'cutover:watched{monitor="mail",rule="load"} > 90'
        labels: {monitor: mail, rule: load}
      - alert: MailSlow
        expr: 'cutover:watched{monitor="mail",rule="load"} > 1'
        for: 1h
        labels: {monitor: mail, rule: load}
"#;

#[test]
fn a_real_prometheus_says_whether_a_rule_fires() {
    let mut p = Prometheus::start(RULES);
    let unasked = |seen: &Seen, what: &str| matches!(seen, Seen::NotAsked(why) if why.contains(what));
    p.until(&alert("queue", "MailQueue", 1), "fires", |s| {
        *s == Seen::Bad("rule mail.queue fires: mail-1: queue 300".into())
    });
    p.until(&alert("load", "MailLoad", 1), "well", |s| *s == Seen::Well);
    // Not for long enough yet: the rule's own patience counts.
    assert_eq!(p.look(&alert("load", "MailSlow", 1)), Seen::Well);
    // One of two servers tells nothing: it might be the one.
    let seen = p.look(&alert("load", "MailLoad", 2));
    assert!(unasked(&seen, "1 of 2 servers tell no figure"), "{seen:?}");
    let seen = p.look(&alert("other", "MailOther", 1));
    assert!(unasked(&seen, "no such rule"), "{seen:?}");
    p.child.kill().unwrap();
    p.child.wait().unwrap();
    let seen = p.look(&alert("load", "MailLoad", 1));
    assert!(matches!(seen, Seen::NotAsked(_)), "{seen:?}");
}

#[test]
fn an_answer_that_is_old_broken_or_of_another_kind_is_none() {
    let queue = alert("queue", "MailQueue", 1);
    let said = |now: &str, health: &str, state: &str, figures: &str| {
        let rule = format!(
            r#"{{"name":"MailQueue","labels":{{"monitor":"mail","rule":"queue"}},"health":"{health}","lastError":"too many","state":"{state}","alerts":[],"lastEvaluation":"2026-11-23T17:00:00.5Z"}}"#
        );
        format!(
            "{now}\n{{\"status\":\"success\",\"data\":{{\"groups\":[{{\"interval\":60,\"rules\":[{rule}]}}]}}}}\n{{\"status\":\"success\",\"data\":{{\"result\":[{figures}]}}}}\n"
        )
    };
    let at = 1_795_453_200_i64;
    let (now, one) = (at.to_string(), r#"{"value":[0,"1"]}"#);
    assert_eq!(jiff::Timestamp::from_second(at).unwrap().to_string(), "2026-11-23T17:00:00Z");
    assert_eq!(decide(&queue, &said(&now, "ok", "inactive", one)), Seen::Well);
    assert_eq!(decide(&queue, &said(&now, "ok", "pending", one)), Seen::Well);
    assert_eq!(decide(&queue, &said(&now, "ok", "firing", one)), Seen::Bad("rule mail.queue fires: MailQueue".into()));
    // Three intervals and half a minute.
    let (soon, late) = ((at + 210).to_string(), (at + 211).to_string());
    assert_eq!(decide(&queue, &said(&soon, "ok", "inactive", one)), Seen::Well);
    for (answer, says) in [
        (said(&late, "ok", "inactive", one), "last evaluated 211 s ago"),
        (said(&late, "ok", "firing", one), "last evaluated 211 s ago"),
        (said(&now, "err", "inactive", one), "too many"),
        (said(&now, "unknown", "inactive", ""), "cannot tell"),
        (said(&now, "ok", "inactive", ""), "1 of 1 servers tell no figure"),
        (String::new(), "no time"),
        (format!("{now}\n<html>\n"), "not known here"),
        (format!("{now}\n{{\"status\":\"error\",\"error\":\"busy\"}}\n"), "busy"),
    ] {
        match decide(&queue, &answer) {
            Seen::NotAsked(why) => assert!(why.contains(says), "{says}: {why}"),
            other => panic!("{says}: {other:?}"),
        }
    }
}

/// The rule of a trigger becomes a question to the host of the monitor, or a reason why nobody can be asked.
#[test]
fn a_trigger_names_whom_to_ask() {
    let text = |role: &str, rule: &str| {
        let (platform, too) = if role == "monitor" { ("watcher", "") } else { ("open", " watch") };
        format!(
            "language 1\norganization acme domain=acme.test\nsite s\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform watcher {{ product prometheus \"2.42\"; }}\n\
             connection admin user=root key=(secret)\"file:keys/admin\"\n\
             server \"mail-[1:2]\" platform=open site=s connection=admin ip=\"192.0.2.[11:12]\" {{ roles imap smtp; }}\n\
             server watch platform={platform} site=s connection=admin ip=\"192.0.2.20\" {{ roles {role}; }}\n\
             accepted-domain acme.test default=#true\ncertificate tls subject=mail.acme.test issuer=internal {{ on \"mail-*\"{too}; }}\n\
             monitor mail {{ on \"mail-*\"; rule queue counter=queue-size above=250; rule odd counter=owa-connections below=5; }}\n\
             rollback-point keep valid-for=\"7d\" {{ restores dns; trigger full rule={rule} for=\"1m\" action=rollback; }}\n\
             cutover-window night start=\"2030-06-01T22:00\" for=\"2h\" rollback=keep {{ steps lower-ttl flip-mx verify raise-ttl prune; }}\n\
             dns-provider ns type=rfc2136 endpoint=\"dns://192.0.2.53\"\n\
             zone acme.test provider=ns cutover-ttl=\"2m\" {{ record \"@\" MX mail-1.acme.test held-until=night; record mail-1 A to=server:mail-1; }}\n"
        )
    };
    let condition = |role: &str, rule: &str| {
        let low = Story::new("").file("topology.kdl", &text(role, rule)).lower().clean();
        let window = low.site.windows.first().unwrap().way_back.clone().unwrap();
        window.triggers[0].when.clone()
    };
    let asked = alert("queue", "MailQueue", 2);
    assert_eq!(condition("monitor", "mail.queue"), Condition::Rule(Box::new(asked)));
    for (role, rule, says) in
        [("smtp", "mail.queue", "no server with the role monitor"), ("monitor", "mail.odd", "watches nothing")]
    {
        match condition(role, rule) {
            Condition::Unasked { what } => assert!(what.contains(says), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}
