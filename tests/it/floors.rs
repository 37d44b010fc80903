//! The house holds: who may import whom (the table in src/lib.rs), which crate is named where, how long a file may be, and that
//! every dependency has its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("folder").map(|e| e.expect("entry").path()) {
            if entry.is_dir() {
                walk(&entry, ending, found);
            } else if entry.to_string_lossy().ends_with(ending) {
                found.push(entry);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), ending, &mut found);
    found.sort();
    found
}

/// Module path below the crate: `src/cli/commands/plan.rs` is `["cli", "commands", "plan"]`.
fn module(path: &Path) -> Vec<String> {
    let path = path.strip_prefix(root().join("src")).expect("in src").with_extension("");
    let mut parts: Vec<String> = path.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib") {
        parts.pop();
    }
    parts
}

/// The code without comments; enough for finding paths.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("source");
    text.lines().map(|l| if l.trim_start().starts_with("//") { "" } else { l }).collect::<Vec<_>>().join("\n")
}

/// The first words of what follows `crate::` (or enough `super::` to reach the crate): one, or several in braces.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    let mut take = |rest: &str| {
        let Some(inner) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            return;
        };
        let mut level = 0;
        let mut fresh = true;
        for (i, c) in inner.char_indices() {
            match c {
                '{' => level += 1,
                '}' if level == 0 => break,
                '}' => level -= 1,
                ',' if level == 0 => fresh = true,
                c if fresh && (c.is_alphanumeric() || c == '_') => {
                    found.insert(word(&inner[i..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    };
    for (at, _) in code.match_indices("crate::") {
        take(&code[at + 7..]);
    }
    let mut at = 0;
    while let Some(next) = code[at..].find("super::") {
        let mut rest = &code[at + next..];
        let mut count = 0;
        while let Some(shorter) = rest.strip_prefix("super::") {
            rest = shorter;
            count += 1;
        }
        if count >= depth {
            take(rest);
        }
        at = code.len() - rest.len();
    }
    found
}

/// The table of src/lib.rs: floor to the floors that it may import.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let rows: Vec<(Vec<String>, String)> = lib
        .lines()
        .filter_map(|l| l.strip_prefix("//! | "))
        .filter_map(|l| l.trim_end_matches('|').split_once('|'))
        .filter(|(left, _)| left.contains("[`"))
        .map(|(left, right)| {
            let names = left.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (names, right.trim().to_owned())
        })
        .collect();
    let all: BTreeSet<String> = rows.iter().flat_map(|(names, _)| names.clone()).collect();
    let mut table = BTreeMap::new();
    for (names, right) in rows {
        let mut may: BTreeSet<String> = BTreeSet::new();
        match right.as_str() {
            "nothing of ours" => {}
            "all" => may.extend(all.clone()),
            list => {
                for word in list.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()) {
                    match word {
                        "ground" => may.extend(["model", "catalog", "secret"].map(str::to_owned)),
                        floor if all.contains(floor) => drop(may.insert(floor.to_owned())),
                        other => panic!("the table of src/lib.rs names `{other}`, which is no floor"),
                    }
                }
            }
        }
        for name in names {
            assert!(table.insert(name.clone(), may.clone()).is_none(), "{name} stands twice in the table");
        }
    }
    table
}

#[test]
fn every_module_is_a_floor_of_the_table() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let declared: BTreeSet<String> =
        lib.lines().filter_map(|l| l.strip_prefix("pub mod ")).map(|l| l.trim_end_matches(';').to_owned()).collect();
    let table: BTreeSet<String> = table().into_keys().collect();
    assert_eq!(declared, table);
}

#[test]
fn no_floor_imports_one_it_may_not() {
    let table = table();
    let mut wrong = Vec::new();
    for path in files("src", ".rs") {
        let module = module(&path);
        let Some(allowed) = module.first().and_then(|floor| table.get(floor)) else { continue };
        for import in imports(&code(&path), module.len()) {
            if table.contains_key(&import) && import != module[0] && !allowed.contains(&import) {
                wrong.push(format!("{}: {} may not import {import}", path.display(), module[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_each_form() {
    let seen = |code: &str, depth| imports(code, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(seen("use crate::model::attr::Body;", 1), "model");
    assert_eq!(seen("use crate::{catalog, model::{Kind, attr}, lab::x};", 1), "catalog lab model");
    assert_eq!(seen("fn f() { crate::execution::apply() }", 2), "execution");
    assert_eq!(seen("use super::super::planning::plan;", 2), "planning");
    assert_eq!(seen("use super::plan;", 2), "");
}

/// Some crates have traps that one floor knows; nobody else names them.
#[test]
fn guarded_crates_are_named_on_their_floor_only() {
    let guarded = [
        ("kdl", &["language"][..]),
        ("handlebars", &["lowering"]),
        ("hickory_proto", &["protocol"]),
        ("petgraph", &["planning", "reporting"]),
        ("rusqlite", &["journal", "services"]),
        ("openssh", &["transport"]),
        ("clap", &["cli"]),
        ("reqwest", &["secret", "providers", "services"]),
        ("roxmltree", &["providers", "services"]),
        ("gen_lsp_types", &["editor"]),
    ];
    let mut wrong = Vec::new();
    for path in files("src", ".rs") {
        let floor = module(&path).first().cloned().unwrap_or_default();
        let code = code(&path);
        for (name, floors) in guarded {
            let named = code.contains(&format!("use {name}::")) || code.contains(&format!(" {name}::"));
            if named && !floors.contains(&floor.as_str()) {
                wrong.push(format!("{} names {name}, which is for {floors:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let limits = [("src", 550), ("tests", 550)];
    let long: Vec<String> = limits
        .into_iter()
        .flat_map(|(dir, most)| files(dir, ".rs").into_iter().map(move |p| (most, p)))
        .map(|(most, p)| (std::fs::read_to_string(&p).expect("source").lines().count(), most, p))
        .filter(|(lines, most, _)| lines > most)
        .map(|(lines, _, p)| format!("{}: {lines} lines", p.display()))
        .collect();
    assert!(long.is_empty(), "split by noun:\n{}", long.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut section = "";
    let mut named = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies]") {
            named.extend(
                line.split_once([' ', '='])
                    .map(|(name, _)| name.to_owned())
                    .filter(|n| !n.is_empty() && !n.starts_with('#')),
            );
        }
    }
    let reasons = std::fs::read_to_string(root().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let given: BTreeSet<String> = reasons
        .lines()
        .filter_map(|l| l.strip_prefix("| "))
        .filter_map(|l| l.split_once(" |").map(|(name, _)| name.to_owned()))
        .filter(|n| n != "crate")
        .collect();
    assert_eq!(named, given, "Cargo.toml (left) and docs/dependencies.md (right)");
}
