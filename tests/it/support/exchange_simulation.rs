//! A simulated organisation of Exchange (`exchange_simulation.py`): what stands in it, in which shape values come back, and what goes wrong.
//! It is driven through the same seam as a host.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Stdio;

use cutover::exchange::Release;
use cutover::exchange::dialect::{Cmdlet, Dialect, Object};
use cutover::exchange::script::{self, Script as Constant};
use cutover::model::host::{HostAccess, HostError, HostErrorKind};
use cutover::transport::{Exit, Far, Script, Transport};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::exchange_contract::Contract;

pub const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/exchange_simulation.py");

/// How sessions return values.
pub const SHAPES: [&str; 4] = ["live", "deserialized", "signed", "empty"];

pub struct Simulation {
    pub dir: tempfile::TempDir,
}

/// What the simulated release has: kinds from the dialect, parameters of cmdlets from the contract where it is at hand.
pub fn world(dialect: &Dialect, release: Release) -> Json {
    let contract = Contract::open("parameters of the simulation, which are those of the dialect then");
    let mut cmdlets = Map::new();
    let mut kinds = Map::new();
    for (name, object) in dialect.objects.iter().filter(|(_, o)| o.get.on.has(release)) {
        for (cmdlet, own) in calls(object, release) {
            let known: Vec<String> = match contract.and_then(|c| c.cmdlet(&cmdlet)) {
                Some(c) => {
                    let known = c.parameters.iter().filter(|(_, p)| p.on.contains(&release)).map(|(n, _)| n.clone());
                    // What a question is asked of: one page leaves it out for 2010.
                    known
                        .chain(object.ask.iter().filter(|_| cmdlet == object.get.name).map(|(a, _)| a.clone()))
                        .collect()
                }
                None => own,
            };
            let all = cmdlets.entry(cmdlet).or_insert_with(|| json!([]));
            all.as_array_mut().unwrap().extend(known.into_iter().map(Json::from));
        }
        kinds.insert(name.clone(), kind(object, release));
    }
    let digest = |s: Constant| -> String { Sha256::digest(s.text()).iter().map(|b| format!("{b:02x}")).collect() };
    json!({
        "release": release.to_string(),
        "loader": script::encoded_command(script::loader()),
        "scripts": {digest(Constant::Observe): "observe", digest(Constant::Act): "act"},
        "cmdlets": cmdlets,
        "kinds": kinds,
    })
}

fn on(cmdlet: &Option<Cmdlet>, release: Release) -> Option<String> {
    cmdlet.as_ref().filter(|c| c.on.has(release)).map(|c| c.name.clone())
}

/// The cmdlets of a kind with the parameters that the dialect gives them.
fn calls(object: &Object, release: Release) -> Vec<(String, Vec<String>)> {
    let named = |at: &dyn Fn(&cutover::exchange::dialect::Property) -> bool, more: &[String]| -> Vec<String> {
        object.properties.iter().filter(|p| at(p)).map(|p| p.name.value.clone()).chain(more.iter().cloned()).collect()
    };
    let mut all = vec![(object.get.name.clone(), object.ask.iter().map(|(a, _)| a.clone()).collect())];
    all.extend(on(&object.new, release).map(|c| (c, named(&|p| p.new.is_some_and(|n| n.has(release)), &object.key))));
    all.extend(on(&object.set, release).map(|c| (c, named(&|p| p.set.is_some_and(|n| n.has(release)), &object.by))));
    all.extend(on(&object.remove, release).map(|c| (c, object.by.clone())));
    all
}

fn kind(object: &Object, release: Release) -> Json {
    let property = |p: &cutover::exchange::dialect::Property| {
        json!({"shape": p.shape.word(), "list": p.list, "read": p.read, "pair": p.pair, "blind": p.blind, "unread": p.unread,
            "ignore": p.ignore, "set": p.set.is_some_and(|s| s.has(release))})
    };
    let properties: Map<String, Json> =
        object.properties.iter().filter(|p| p.on(release)).map(|p| (p.name.value.clone(), property(p))).collect();
    let kept: Vec<Json> = object.kept.iter().map(|k| json!([k.property, k.value])).collect();
    json!({
        "get": object.get.name, "new": on(&object.new, release), "set": on(&object.set, release), "remove": on(&object.remove, release),
        "key": object.key, "hosts": object.hosts, "references": object.references, "key_read": object.key_read,
        "assigned": object.assigned, "by": object.by, "ask": object.ask.as_ref().map(|(a, of)| json!([a, of.value])),
        "each": object.each, "kept": kept, "properties": properties,
    })
}

impl Simulation {
    pub fn new(dialect: &Dialect, release: Release) -> Self {
        let it = Self { dir: tempfile::tempdir().unwrap() };
        it.put("world.json", &world(dialect, release));
        it
    }

    pub fn put(&self, file: &str, json: &Json) {
        std::fs::write(self.dir.path().join(file), json.to_string()).unwrap();
    }

    pub fn shape(&self, shape: &str) {
        std::fs::write(self.dir.path().join("shape"), shape).unwrap();
    }

    /// `[(kind, key, values)]`.
    pub fn seed(&self, objects: &[(&str, Vec<&str>, Json)]) {
        let object = |(n, (kind, key, values)): (usize, &(&str, Vec<&str>, Json))| {
            json!({"kind": kind, "key": key, "values": values, "guid": format!("00000000-0000-4000-8000-{n:012}"),
                "dn": format!("CN={},CN={kind},DC=acme,DC=example", key.last().unwrap_or(kind))})
        };
        self.put("objects.json", &objects.iter().enumerate().map(object).collect());
    }

    pub fn faults(&self, faults: Json) {
        self.put("faults.json", &faults);
    }

    /// What is there, without what the product made up: `kind key {values}`, in order.
    pub fn there(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("objects.json")).unwrap();
        let objects: Vec<Json> = serde_json::from_str(&text).unwrap();
        let whole = |o: &Json| {
            let mut values = o["values"].as_object().unwrap().clone();
            values.retain(|_, v| !v.is_null());
            format!("{} {} {}", o["kind"], o["key"], Json::Object(values))
        };
        let mut all: Vec<String> = objects.iter().map(whole).collect();
        all.sort();
        all
    }

    /// Calls that were made, as `cmdlet error`.
    pub fn calls(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("calls.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Transport for Simulation {
    async fn exec(
        &self,
        host: &HostAccess,
        script: Script,
        mut on_line: impl FnMut(&str) + Send,
    ) -> Result<Exit, HostError> {
        let Far::Program(line) = &script.far else { panic!("a program, not a shell script") };
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("powershell.exe"));
        let mut child = tokio::process::Command::new(Path::new(PROGRAM))
            .args(words)
            .env("EXCHANGE_SIMULATION", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(script.body.as_bytes()).await;
        drop(stdin);
        let Ok(out) = tokio::time::timeout(script.limit, child.wait_with_output()).await else {
            let message = "no answer in time".to_owned();
            return Err(HostError { host: host.name.clone(), kind: HostErrorKind::Timeout, message, help: None });
        };
        let out = out.unwrap();
        String::from_utf8(out.stdout).unwrap().lines().for_each(&mut on_line);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(137) || stderr.is_empty(), "{stderr}");
        Ok(Exit { code: out.status.code(), stderr })
    }
}
