//! `cutover monitoring`: what monitors and levels come to, judged by promtool, amtool and a reader of YAML 1.1.
#![allow(clippy::unwrap_used)] // a test may end so

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::cli::Sandbox;

const HEAD: &str = r#"language 1
organization acme domain=acme.example
site "[north,south]"
platform open postfix="3.7" dovecot="2.3"
platform ex exchange="2010"
server "mail-[1:3]" platform=open site=north ip="192.0.2.[1:3]" { roles imap smtp; }
server gate platform=open site=south ip="192.0.2.9" { roles proxy relay; }
server "hub-[1:2]" platform=ex site=south ip="192.0.2.[11:12]" { roles hub; }
server box platform=ex site=south ip="192.0.2.13" { roles mailbox cas um; }
team desk tier=1 email=desk@acme.example { smf service-monitoring; }
team night tier=2 email=night@acme.example
escalation ladder { tier desk within="30m"; tier night; }
runbook drain tested-by=desk { steps "look at the queue" "flush it"; }
"#;

/// Counters of each platform with a bound.
const OPEN: [(&str, &str); 10] = [
    ("queue-size", "above=250"),
    ("submission-queue", "above=250 for=\"5m\""),
    ("retry-mailbox-delivery-queue", "above=250 for=\"5m\""),
    ("largest-delivery-queue", "above=250 for=\"5m\""),
    ("aggregate-delivery-queue", "above=500 for=\"5m\""),
    ("averaged-latency", "above=0.05 for=\"5m\""),
    ("processor-load", "above=90 for=\"5m\""),
    ("disk-free", "below=10"),
    ("service-state", "equals=stopped for=\"2m\""),
    ("custom:spool_size{disk=\\\"a\\\"}", "above=3"),
];
const EXCHANGE: [(&str, &str); 10] = [
    ("queue-size", "above=250"),
    ("submission-queue", "above=250 for=\"5m\""),
    ("aggregate-delivery-queue", "above=500 for=\"5m\""),
    ("averaged-latency", "above=0.05 for=\"5m\""),
    ("processor-load", "above=90 for=\"5m\""),
    ("disk-latency", "above=0.02 for=\"5m\""),
    ("memory-free", "below=1000000000 for=\"10m\""),
    ("ccr-service-state", "equals=stopped"),
    ("owa-connections", "drops=\"50%\" for=\"10m\""),
    ("poison-queue", "above=0"),
];

fn all_counters() -> String {
    let mut text = HEAD.to_owned();
    for (monitor, on, rules) in [("open", "\"mail-*\"", &OPEN), ("exchange", "\"hub-*\" box", &EXCHANGE)] {
        let _ = writeln!(text, "monitor {monitor} escalation=ladder {{\n    on {on}");
        for (n, (counter, bound)) in rules.iter().enumerate() {
            let _ = writeln!(text, "    rule r{n} counter=\"{counter}\" {bound} severity=red runbook=drain");
        }
        text += "}\n";
    }
    // Hosts of both platforms, and names that YAML 1.1 takes for truth values.
    text += "monitor \"no\" escalation=ladder {\n    on \"*\"\n    rule \"on\" counter=heartbeat equals=lost for=\"2m\" severity=critical runbook=drain\n    rule \"off\" counter=processor-load above=95\n}\n";
    text += "probe trip type=roundtrip every=\"10s\" within=\"90s\" account=probe@acme.example password=(secret)\"env:P\" { to \"mail-*\"; }\n";
    text += "sla delivery type=delivery target=\"99%\" within=\"90s\" probe=trip owner=desk\n";
    text += "sla uptime type=availability target=\"99.9%\" owner=desk { of \"mail-*\"; }\n";
    text += "sla steep type=availability target=\"90%\" probe=trip owner=desk\n";
    text
}

fn promtool() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    assert!(
        there("promtool") && there("amtool"),
        "promtool and amtool judge this: install the packages prometheus and prometheus-alertmanager"
    );
    true
}

#[test]
fn rules_of_every_counter_hold_their_own_tests() {
    assert!(promtool());
    let s = Sandbox::new();
    s.write("topology.kdl", &all_counters());
    s.run(&["monitoring", "check"]).ends(0).says("files of tests: right").says("Alertmanager: right");
}

#[test]
fn examples_come_to_rules_that_hold() {
    assert!(promtool());
    let s = Sandbox::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (story, environment, rule) in
        [("midsize", "production", "hubs.submission"), ("microsoft-it", "production", "mailbox.ccr-service")]
    {
        let root = examples.join(story).display().to_string();
        s.run(&["monitoring", "check", "--root", &root, "--env", environment]).ends(0);
        s.run(&["monitoring", "show", "--root", &root, "--env", environment]).ends(0).says(rule);
    }
}

/// One change of a rule: the text of the file with it.
fn mutations(rules: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = rules.lines().collect();
    let mut out = Vec::new();
    let mut alert = "";
    for (at, line) in lines.iter().enumerate() {
        alert = line.trim_start().strip_prefix("- alert: ").unwrap_or(alert);
        let mut with = |what: &str, new: Option<String>| {
            let mut all: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
            match new {
                Some(new) => all[at] = new,
                None => drop(all.remove(at)),
            }
            out.push((format!("{alert}: {what}: {}", line.trim()), all.join("\n") + "\n"));
        };
        let condition = line.trim_start().starts_with("expr: cutover:watched{");
        if condition && alert != "NotAsked" {
            for (from, to) in [(" > ", " < "), (" < ", " > "), (" == ", " != ")] {
                if line.contains(from) {
                    with("turned", Some(line.replacen(from, to, 1)));
                }
            }
            if let Some((head, bound)) = line.rsplit_once(" > ").and_then(|(h, b)| Some((h, b.parse::<f64>().ok()?))) {
                with("twice the bound", Some(format!("{head} > {}", bound * 2.0 + 1.0)));
                with("half the bound", Some(format!("{head} > {}", bound / 2.0 - 1.0)));
            }
        }
        if line.trim_start().starts_with("for: ") && alert != "NotAsked" {
            with("at once", None);
            with("never", Some(line.split(':').next().unwrap().to_owned() + ": 9h"));
        }
        if line.trim_start().starts_with("severity: ") && alert != "NotAsked" {
            with("of another severity", Some(line.split(':').next().unwrap().to_owned() + ": info"));
        }
        if line.trim_start().starts_with("expr: (group by") {
            with("sees all", Some(line.replacen("unless", "and", 1)));
        }
    }
    out
}

#[test]
fn a_rule_that_is_changed_fails_its_tests() {
    assert!(promtool());
    let s = Sandbox::new();
    // Of three rules in CI, of all by CUTOVER_MUTATIONS=all.
    let whole = std::env::var("CUTOVER_MUTATIONS").is_ok();
    let three = "monitor open escalation=ladder {\n    on mail-1\n    rule a counter=queue-size above=250\n    rule b counter=processor-load above=90 for=\"5m\"\n    rule c counter=service-state equals=stopped for=\"2m\"\n}\n";
    s.write("topology.kdl", &if whole { all_counters() } else { format!("{HEAD}{three}") });
    s.run(&["monitoring", "write", "m"]).ends(0);
    let rules = s.read("m/rules/open.yml");
    let all = mutations(&rules);
    assert!(all.len() >= if whole { 60 } else { 15 }, "{}", all.len());
    let (mut tried, mut missed) = (0, Vec::new());
    for (what, text) in &all {
        s.write("m/rules/open.yml", text);
        let dir = s.path().join("m");
        let ended =
            Command::new("promtool").args(["test", "rules", "tests/open.yml"]).current_dir(dir).output().unwrap();
        tried += 1;
        if ended.status.success() {
            missed.push(what.clone());
        }
    }
    assert!(missed.len() * 20 <= tried, "{tried} changes, not found: {missed:#?}");
}

#[test]
fn readers_of_older_yaml_read_the_same() {
    let s = Sandbox::new();
    s.write("topology.kdl", &all_counters());
    s.run(&["monitoring", "write", "m"]).ends(0);
    let script = "import json, sys, yaml\nprint(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    for file in ["rules/no.yml", "tests/no.yml", "rules/@levels.yml", "alertmanager.yml", "prometheus.yml"] {
        let path = s.path().join("m").join(file);
        let ended = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let older: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        let newer: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(older, newer, "{file}");
    }
}

#[test]
fn what_cannot_be_watched_is_told_and_rules_that_are_gone_go() {
    let s = Sandbox::new();
    let monitor =
        "monitor m { on mail-1; rule a counter=owa-connections above=1; rule b counter=queue-size above=1; }\n";
    s.write("topology.kdl", &format!("{HEAD}{monitor}sla kept type=retention minimum=\"14d\"\n"));
    s.run(&["monitoring", "show"])
        .ends(0)
        .says("m.a: no exporter of this platform has it")
        .says("sla kept: a level of type retention is not measured by figures");
    s.run(&["monitoring", "write", "m"]).ends(0);
    assert!(s.path().join("m/rules/m.yml").exists());
    // What others have put there stays, and where it stands in the way nothing is written.
    s.write("m/rules/own.yml", "groups: []\n");
    s.write("topology.kdl", HEAD);
    s.run(&["monitoring", "write", "m"]).ends(0);
    assert_eq!(s.read("m/rules/own.yml"), "groups: []\n");
    s.write("other/alertmanager.yml", "mine\n");
    s.run(&["monitoring", "write", "other"]).ends(1).says("alertmanager.yml");
    assert_eq!(s.read("other/alertmanager.yml"), "mine\n");
    assert!(!s.path().join("other/prometheus.yml").exists());
    assert!(!s.path().join("m/rules/m.yml").exists() && s.path().join("m/alertmanager.yml").exists());
}

/// Every panel of a dashboard.
fn panels(board: &serde_json::Value) -> &[serde_json::Value] {
    board["panels"].as_array().unwrap()
}

#[test]
fn dashboards_ask_what_prometheus_understands_and_panels_do_not_lie_on_each_other() {
    let s = Sandbox::new();
    s.write("topology.kdl", &all_counters());
    s.run(&["monitoring", "write", "m"]).ends(0);
    let boards: Vec<serde_json::Value> =
        ["service", "monitors"].map(|n| serde_json::from_str(&s.read(&format!("m/grafana/{n}.json"))).unwrap()).into();
    let mut rules = Vec::new();
    for board in &boards {
        let mut taken = std::collections::BTreeSet::new();
        let mut ids = std::collections::BTreeSet::new();
        for panel in panels(board) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()));
            let at = |k: &str| panel["gridPos"][k].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{panel}");
            for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert((x, y)), "{panel}");
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "cutover");
                rules.push(serde_json::json!({ "record": format!("panel:{}", rules.len()), "expr": target["expr"] }));
            }
        }
    }
    assert!(rules.len() > 8, "{rules:?}");
    let file = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    s.write("panels.yml", &file.to_string());
    let checked = Command::new("promtool").args(["check", "rules"]).arg(s.path().join("panels.yml")).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let source: serde_json::Value = serde_yaml::from_str(&s.read("m/grafana/datasources.yml")).unwrap();
    assert_eq!(source["datasources"][0]["uid"], "cutover");
    let provider: serde_json::Value = serde_yaml::from_str(&s.read("m/grafana/dashboards.yml")).unwrap();
    assert_eq!(provider["providers"][0]["options"]["path"], "/etc/prometheus/grafana");
}
