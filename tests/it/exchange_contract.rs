//! The cmdlets of Exchange on premises as Microsoft documents them: names, parameters, releases, sets. The file is no part of the
//! repository (CC BY 4.0); `CUTOVER_EXCHANGE_CONTRACT` says where it is, and what needs it says when it is missing.

#![allow(clippy::print_stderr, clippy::unwrap_used)] // what is left out is told

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use cutover::exchange::Release;
use serde_json::Value;

pub struct Contract {
    cmdlets: BTreeMap<String, Cmdlet>,
}

pub struct Cmdlet {
    pub on: BTreeSet<Release>,
    pub parameters: BTreeMap<String, Parameter>,
}

pub struct Parameter {
    pub on: BTreeSet<Release>,
    pub required: bool,
    /// Empty: all.
    pub sets: BTreeSet<String>,
    /// A switch of the shell that most cmdlets have.
    pub common: bool,
}

/// Orders to the shell, and the way to name an object.
const COMMON: [&str; 4] = ["Identity", "DomainController", "Confirm", "WhatIf"];

impl Contract {
    /// `None`, and a line that says so, where it is not at hand.
    pub fn open(test: &str) -> Option<&'static Contract> {
        static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
        let contract = CONTRACT.get_or_init(|| {
            let path = std::env::var_os("CUTOVER_EXCHANGE_CONTRACT")?;
            let text = std::fs::read_to_string(&path).expect("CUTOVER_EXCHANGE_CONTRACT names a file");
            Some(Self::read(&serde_json::from_str(&text).expect("the contract is JSON")))
        });
        if contract.is_none() {
            eprintln!("SKIPPED {test}: CUTOVER_EXCHANGE_CONTRACT names no contract of cmdlets");
        }
        contract.as_ref()
    }

    fn read(json: &Value) -> Self {
        let on = |v: &Value| v["versions"].as_array().unwrap().iter().map(release).collect();
        let sets = |v: &Value| {
            // Some pages have their sets run together, or a bracket too many.
            let words = v["sets"].as_array().unwrap().iter().flat_map(|s| s.as_str().unwrap().split_whitespace());
            let sets: BTreeSet<String> = words.map(|w| w.replace("(All))", "(All)")).collect();
            if sets.contains("(All)") { BTreeSet::new() } else { sets }
        };
        let parameter = |(name, v): (&String, &Value)| {
            let required = v["required"].as_bool().unwrap();
            let common = COMMON.contains(&name.as_str());
            (name.clone(), Parameter { on: on(v), required, sets: sets(v), common })
        };
        let cmdlet = |(name, v): (&String, &Value)| {
            let parameters = v["params"].as_object().unwrap().iter().map(parameter).collect();
            (name.clone(), Cmdlet { on: on(v), parameters })
        };
        Self { cmdlets: json["cmdlets"].as_object().unwrap().iter().map(cmdlet).collect() }
    }

    pub fn cmdlet(&self, name: &str) -> Option<&Cmdlet> {
        self.cmdlets.get(name)
    }

    /// What is wrong with a call in a release: the cmdlet, a parameter, or that no way of calling takes them together.
    pub fn wrong(&self, release: Release, name: &str, given: &BTreeSet<&str>) -> Option<String> {
        let Some(cmdlet) = self.cmdlet(name) else { return Some(format!("{name}: no such cmdlet")) };
        if !cmdlet.on.contains(&release) {
            return Some(format!("{name}: not in {release}"));
        }
        for parameter in given {
            match cmdlet.parameters.get(*parameter) {
                None => return Some(format!("{name}: no parameter -{parameter}")),
                Some(p) if !p.on.contains(&release) => return Some(format!("{name} -{parameter}: not in {release}")),
                Some(_) => {}
            }
        }
        let there = || cmdlet.parameters.iter().filter(|(_, p)| p.on.contains(&release));
        let mut sets: BTreeSet<&str> = there().flat_map(|(_, p)| p.sets.iter().map(String::as_str)).collect();
        // With one set named, what is in all sets makes up another.
        if sets.len() < 2 {
            sets.insert("");
        }
        let fits = |set: &&str| {
            there().all(|(name, p)| {
                let takes = p.sets.is_empty() || p.sets.contains(*set);
                let has = given.contains(name.as_str());
                if has { takes } else { !(takes && p.required) }
            })
        };
        (!sets.iter().any(fits)).then(|| format!("{name}: no set takes {given:?} in {release}"))
    }
}

fn release(v: &Value) -> Release {
    Release::parse(v.as_str().unwrap()).unwrap()
}
