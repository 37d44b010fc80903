//! `cutover export`: every example in every environment, held against the published schema.
#![allow(clippy::unwrap_used)] // a test may end so

use std::path::Path;

use serde_json::Value;

use crate::cli::Sandbox;
use crate::support::json_schema::violations;

fn published() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/topology.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn export(box_: &Sandbox, args: &[&str]) -> Value {
    serde_json::from_str(&box_.run(&[&["export"], args].concat()).ends(0).out).unwrap()
}

#[test]
fn examples_fit_the_schema() {
    let (box_, schema) = (Sandbox::new(), published());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for (story, environments) in [
        ("quickstart", &["production", "lab"][..]),
        ("midsize", &["production", "lab"]),
        ("microsoft-it", &["production", "pre-release", "mms"]),
    ] {
        let root = examples.join(story).display().to_string();
        for environment in environments {
            for spans in [&[][..], &["--spans"]] {
                let args = [&["--root", &root, "--env", environment], spans].concat();
                let document = export(&box_, &args);
                assert_eq!(violations(&schema, &document), Vec::<String>::new(), "{story} {environment}");
                assert_eq!(document["environment"], *environment);
                seen += document["nodes"].as_array().unwrap().len();
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn the_schema_refuses_what_is_not_a_topology() {
    let schema = published();
    let mut document = serde_json::json!({"format": 1, "organization": null, "environment": null, "nodes": [
        {"id": "site:a", "kind": "site", "name": "a", "fields": {"datacenter": true}}]});
    assert_eq!(violations(&schema, &document), Vec::<String>::new());
    document["nodes"][0]["fields"]["latency"] = serde_json::json!({"parsecs": 12});
    assert!(!violations(&schema, &document).is_empty());
}

const SMALL: &str = r#"language 1
organization acme domain=acme.example
vault v url="https://vault.acme.example" token=(secret)"env:CANARY_TOKEN"
site here
platform open postfix="3.7" dovecot="2.3"
server "m-[1:2]" platform=open site=here memory="2GiB" ip="192.0.2.[1:2]" { roles imap; labels only; }
sla up type=availability target="99.90%" window="14d"
environment lab purpose=lab { (patch)server m-2 memory="1GiB"; }
"#;

#[test]
fn values_have_their_units_and_secrets_stay_references() {
    let box_ = Sandbox::new();
    box_.write("topology.kdl", SMALL);
    let mut command = box_.command(&["export", "--env", "lab", "--spans"]);
    command.env("CANARY_TOKEN", "canary-value");
    let run = crate::cli::finish(command).ends(0);
    assert!(!run.out.contains("canary-value"));
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let node = |id: &str| document["nodes"].as_array().unwrap().iter().find(|n| n["id"] == id).unwrap().clone();
    let server = node("server:m-2");
    let fields = &server["fields"];
    assert_eq!(fields["memory"], serde_json::json!({"bytes": 1u64 << 30}));
    assert_eq!(fields["ip"], "192.0.2.2");
    assert_eq!(fields["labels"], serde_json::json!(["only"]), "a list stays a list");
    assert_eq!(fields["site"], serde_json::json!({"ref": "site:here"}));
    assert_eq!(server["origin"]["line"], 6);
    assert_eq!(server["origins"]["memory"]["line"], 8, "the overlay is in force");
    assert_eq!(node("sla:up")["fields"]["target"], serde_json::json!({"percent": "99.9"}));
    assert_eq!(node("sla:up")["fields"]["window"], serde_json::json!({"milliseconds": 1_209_600_000u64}));
    assert_eq!(node("vault:v")["fields"]["token"], serde_json::json!({"secret": "env:CANARY_TOKEN"}));
}

#[test]
fn mistakes_print_no_topology() {
    let box_ = Sandbox::new();
    box_.write("topology.kdl", "language 1\nsite here loctaion=x\n");
    let run = box_.run(&["export"]).ends(1).says("did you mean `location`");
    assert_eq!(run.out, "");
    box_.run(&["export", "--format", "markdown"]).ends(1).says("has no markdown output");
}
