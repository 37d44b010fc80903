//! Held against what `ansible-inventory --list` (ansible-core 2.19) says of the same files, kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;

type Listing = BTreeMap<String, (BTreeSet<String>, BTreeMap<String, String>)>;

fn theirs(path: &Path) -> Listing {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("listing")).expect("JSON");
    let names = |group: &str, key: &str| -> Vec<String> {
        let list = json[group][key].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let groups: Vec<String> = json.as_object().expect("map").keys().filter(|k| *k != "_meta").cloned().collect();
    fn below(group: &str, names: &dyn Fn(&str, &str) -> Vec<String>, out: &mut BTreeSet<String>) {
        out.extend(names(group, "hosts"));
        names(group, "children").iter().for_each(|c| below(c, names, out));
    }
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for g in &groups {
        below(g, &names, members.entry(g.clone()).or_default());
    }
    let hosts = members.get("all").cloned().unwrap_or_default();
    let of = |host: String| {
        let inside = |g: &&String| !matches!(g.as_str(), "all" | "ungrouped") && members[*g].contains(&host);
        let vars = json["_meta"]["hostvars"][&host].as_object().cloned().unwrap_or_default();
        let text = |v: &Value| match v {
            Value::String(s) => Some(s.clone()).filter(|s| !s.contains("{{")),
            Value::Array(_) | Value::Object(_) => None,
            other => Some(other.to_string()),
        };
        let vars = vars.iter().filter_map(|(k, v)| Some((k.clone(), truth(&text(v)?)))).collect();
        (host.clone(), (groups.iter().filter(inside).cloned().collect(), vars))
    };
    hosts.into_iter().map(of).collect()
}

#[test]
fn hosts_groups_and_variables_are_those_of_ansible() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import");
    for (file, listing) in [("ansible/hosts.ini", "ansible/listing.json"), ("yaml/hosts.yml", "yaml/listing.json")] {
        let path = folder.join(file);
        let mut f = Foreign::default();
        let id = f.open(&path).expect("file");
        let ours = listing_of(&mut f, id, &path);
        let theirs = theirs(&folder.join(listing));
        assert!(theirs.len() > 5, "{file}");
        for (host, said) in &theirs {
            assert_eq!(ours.get(host), Some(said), "{file}: {host}");
        }
        assert_eq!(ours.len(), theirs.len(), "{file}");
    }
}

/// Ansible reads YAML 1.1, where `yes` is true; what becomes of it is the same.
fn truth(text: &str) -> String {
    match text.to_lowercase().as_str() {
        "yes" | "on" | "true" => "true".to_owned(),
        _ => text.to_owned(),
    }
}

fn listing_of(f: &mut Foreign, id: SourceId, path: &Path) -> Listing {
    let all = read(f, id, path);
    let vars = |h: &str| {
        let plain = |(k, v): (String, inventory::Var)| match v.text {
            Text::Plain(t) => Some((k, truth(&t))),
            _ => None,
        };
        all.vars_of(h).into_iter().filter_map(plain).collect()
    };
    all.hosts.keys().map(|h| (h.clone(), (all.groups_of(h).into_iter().collect(), vars(h)))).collect()
}
