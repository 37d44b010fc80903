//! The role pack of monitoring: servers that watch get the files that `monitoring write` makes, and a running Prometheus and
//! Alertmanager are held against them.
#![allow(clippy::unwrap_used)] // a test may end so

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::cli::Sandbox;
use crate::packs::{Lowered, Story};

const EXAMPLE: &str = "modules/monitor/example.kdl";
const CHECK: &str = "server.watch/file:/usr/local/sbin/cutover-monitoring";

fn example() -> Lowered {
    Story::example(EXAMPLE, None).lower().clean()
}

#[test]
fn a_server_that_watches_gets_the_very_files_that_are_written() {
    let s = Sandbox::new();
    s.write("topology.kdl", &std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap());
    s.run(&["monitoring", "write", "m"]).ends(0);
    let low = example();
    let listed = s.read("m/.cutover-monitoring");
    let written: Vec<&str> = listed.lines().filter(|n| !n.starts_with("tests/")).collect();
    assert!(written.len() >= 7, "{written:?}");
    for name in &written {
        assert_eq!(low.content(&format!("server.watch/file:/etc/prometheus/{name}")), s.read(&format!("m/{name}")));
    }
    let there = low.site.resources.iter().filter(|r| r.address.to_string().contains("/file:/etc/prometheus/"));
    assert_eq!(there.count(), written.len());
}

#[test]
fn hosts_tell_figures_where_somebody_asks_and_only_on_their_own_address() {
    let low = example();
    let node = low.content("server.mail-1/file:/etc/default/prometheus-node-exporter");
    assert!(node.contains("--web.listen-address=192.0.2.11:9100"), "{node}");
    assert!(
        low.content("server.mail-2/file:/etc/dovecot/dovecot.conf")
            .contains("    address = 192.0.2.12\n    port = 9900")
    );
    assert!(low.has("server.mail-1/service:prometheus-postfix-exporter"));
    assert!(!low.has("server.watch/service:prometheus-postfix-exporter"), "no Postfix there");
    // The relay takes alerts for whoever is on call.
    let networks = |host: &str| low.content(&format!("server.{host}/file:/etc/postfix/main.cf"));
    assert!(
        networks("mail-1").contains("mynetworks = 127.0.0.0/8 [::1]/128 192.0.2.20/32\n"),
        "{}",
        networks("mail-1")
    );
    assert!(!networks("mail-2").contains("192.0.2.20"));
    // Nobody watches: nothing is told.
    let quiet = Story::new(
        "server one platform=open site=office ip=\"192.0.2.1\" { roles imap smtp; }\ncertificate tls subject=one.acme.example issuer=internal { on one; }\n",
    );
    let quiet = quiet.lower().clean();
    assert!(!quiet.has("server.one/package:prometheus-node-exporter"));
    assert!(!quiet.content("server.one/file:/etc/dovecot/dovecot.conf").contains("metric "));
}

/// What the service of probes of a topology is told, by the name of the probe; and what is said of others.
fn probes_of(more: &str) -> (serde_json::Value, String) {
    let text = format!(
        "platform watcher {{ product prometheus \"2.42\"; }}\n\
         server watch platform=watcher site=office ip=\"192.0.2.20\" {{ roles monitor; }}\nserver ns platform=dns site=office ip=\"192.0.2.53\" {{ roles dns; }}\n{more}"
    );
    let low = Story::new(&text).lower().clean();
    let config = low.content("server.watch/file:/etc/cutover-probe/probes.json");
    (serde_json::from_str(&config).unwrap(), low.said())
}

#[test]
fn a_zone_is_asked_at_each_name_server_for_what_it_says_of_mail_and_what_nobody_can_make_is_told() {
    let (config, said) = probes_of(
        "dns-provider knot type=rfc2136 host=ns { secondaries \"198.51.100.53\"; }\n\
         zone acme.example provider=knot {\n record \"@\" NS ns.acme.example.\n record ns A \"192.0.2.53\"\n record \"@\" MX \"10 ns.acme.example.\"\n\
         record \"@\" TXT \"v=spf1 mx -all\"\n record later MX \"10 ns.acme.example.\" held-until=night\n record other TXT \"no matter\"\n}\n\
         rollback-point keep valid-for=\"7d\" { restores dns; }\n\
         cutover-window night start=\"2026-12-04T21:00\" for=\"6h\" rollback=keep { steps lower-ttl flip-mx; }\n\
         probe names type=dns { to zone:acme.example; }\nprobe padlock type=tls { to watch; }\n",
    );
    assert!(
        said.contains("probe padlock is not made: nothing that probe padlock names has an address for tls"),
        "{said}"
    );
    let all = config["probes"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{config}");
    let targets = all[0]["probe"]["targets"].as_array().unwrap();
    let at: Vec<&str> = targets.iter().map(|t| t["address"].as_str().unwrap()).collect();
    assert_eq!(at, ["192.0.2.53", "198.51.100.53"]);
    for target in targets {
        let sets = target["sets"].as_array().unwrap();
        let keys: Vec<String> = sets.iter().map(|s| format!("{} {}", s["key"]["name"], s["key"]["kind"])).collect();
        assert_eq!(keys, [r#""acme.example." "MX""#, r#""acme.example." "TXT""#]);
    }
}

/// Prometheus and Alertmanager of this machine with the files of the pack, in a folder and on ports of their own.
struct Watching {
    dir: tempfile::TempDir,
    ports: [u16; 2],
    running: Vec<Child>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Watching {
    fn new() -> Self {
        let low = example();
        let dir = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = [free(), free()];
        let here = |text: String| {
            let text = text.replace("/etc/prometheus", dir.path().to_str().unwrap());
            text.replace(":9093", &format!(":{}", ports[1]))
        };
        for r in &low.site.resources {
            let address = r.address.to_string();
            if let Some(name) = address.strip_prefix("server.watch/file:/etc/prometheus/") {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, here(low.content(&address))).unwrap();
            }
        }
        let check = here(low.content(CHECK));
        let check =
            check.replace("ask 9090", &format!("ask {}", ports[0])).replace("ask 9093", &format!("ask {}", ports[1]));
        std::fs::write(dir.path().join("check"), check).unwrap();
        let mut new = Self { dir, ports, running: Vec::new() };
        new.start(0);
        new.start(1);
        new
    }

    fn start(&mut self, which: usize) {
        let listen = format!("--web.listen-address=127.0.0.1:{}", self.ports[which]);
        let mut command = match which {
            0 => {
                let mut c = Command::new("prometheus");
                c.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen]);
                c
            }
            _ => {
                let mut c = Command::new("prometheus-alertmanager");
                c.args([
                    "--config.file=alertmanager.yml",
                    "--storage.path=silences",
                    "--cluster.listen-address=",
                    &listen,
                ]);
                c
            }
        };
        command.current_dir(self.dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running.insert(which, command.spawn().unwrap());
    }

    fn stop(&mut self, which: usize) {
        let mut child = self.running.remove(which);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn reload(&self, which: usize) {
        let pid = self.running[which].id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    fn check(&self, what: &str, seconds: u32) -> Output {
        let mut command = Command::new("sh");
        command.arg(self.dir.path().join("check")).args([what, &seconds.to_string()]).output().unwrap()
    }

    /// Asked until it ends so, for ten seconds at most.
    fn ends(&self, what: &str, code: i32, says: &str) {
        let began = Instant::now();
        loop {
            let out = self.check(what, 0);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            if out.status.code() == Some(code) && said.contains(says) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}, not {code}: {said}", out.status.code());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn change(&self, name: &str, from: &str, to: &str) {
        let path = self.dir.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn a_running_server_is_held_against_its_files() {
    let mut w = Watching::new();
    assert!(w.check("prometheus", 20).status.success(), "{:?}", w.check("prometheus", 0));
    assert!(w.check("alertmanager", 20).status.success(), "{:?}", w.check("alertmanager", 0));

    // A rule that somebody edited: not loaded yet, then loaded; of the wrong form: refused; with one rule less: another.
    w.change("rules/mail.yml", "> 250", "> 9999");
    w.ends("prometheus", 1, "changed since");
    w.reload(0);
    w.ends("prometheus", 0, "");
    w.change("rules/mail.yml", "> 9999", "> > 250");
    w.reload(0);
    w.ends("prometheus", 1, "refused its files");
    w.change("rules/mail.yml", "> > 250", "> 250");
    w.reload(0);
    w.ends("prometheus", 0, "");
    w.change("prometheus.yml", &format!("- {}/rules/@sites.yml\n", w.dir.path().display()), "");
    w.reload(0);
    w.ends("prometheus", 1, "runs with other rules");

    w.change("alertmanager.yml", "desk@", "nobody@");
    w.ends("alertmanager", 1, "another file");
    w.reload(1);
    w.ends("alertmanager", 0, "");
    w.change("alertmanager.yml", "receivers:", "receiver:");
    w.reload(1);
    w.ends("alertmanager", 1, "refused its file");

    // Nobody there is not the same as nothing loaded.
    w.stop(0);
    w.ends("prometheus", 2, "cannot be asked");
    w.stop(0);
    w.ends("alertmanager", 2, "cannot be asked");
}
