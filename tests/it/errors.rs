//! The catalogue of codes: complete, true, and on the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cutover::cli::codes;
use cutover::language::{self, Options};
use cutover::model::code::{Code, Example};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> Vec<&'static Code> {
    codes::chapters().flat_map(|c| c.codes).collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("folder").map(|e| e.expect("entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

/// Every `"E0102"` of the code that speaks about a topology. Planning (E11..) and the lab (E12..) speak of hosts.
#[test]
fn every_code_has_an_entry_and_every_entry_is_used() {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    let mut used = BTreeSet::new();
    for path in found.iter().filter(|p| !p.components().any(|c| c.as_os_str().to_string_lossy().starts_with("codes"))) {
        let text = std::fs::read_to_string(path).expect("source");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for part in text.split('"').skip(1) {
            let number = part.get(1..).is_some_and(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_digit()));
            if number && part.starts_with(['E', 'W']) && !part.starts_with("E11") && !part.starts_with("E12") {
                used.insert(part.to_owned());
            }
        }
    }
    let listed: BTreeSet<String> = all().iter().map(|c| c.code.to_owned()).collect();
    assert_eq!(used, listed, "used in src (left), explained in a table of codes (right)");
}

#[test]
fn codes_are_unique_and_in_order() {
    for chapter in codes::chapters() {
        let codes: Vec<&str> = chapter.codes.iter().map(|c| c.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{}: {codes:?}", chapter.title);
    }
    let unique: BTreeSet<&str> = all().iter().map(|c| c.code).collect();
    assert_eq!(unique.len(), all().len());
    for c in all() {
        assert!(c.means.ends_with('.') && c.mend.ends_with('.') && !c.title.ends_with('.'), "{}", c.code);
    }
}

/// The files of an example, the root first; `None` where no file brings the code about.
fn files(c: &Code) -> Option<BTreeMap<String, Vec<u8>>> {
    Some(match c.example {
        Example::Text(text) => [("topology.kdl".to_owned(), text.as_bytes().to_vec())].into(),
        Example::Files(files) => files.iter().map(|(n, t)| ((*n).to_owned(), t.as_bytes().to_vec())).collect(),
        Example::Made(_, make) => [("topology.kdl".to_owned(), make())].into(),
        Example::Elsewhere(_) => return None,
    })
}

#[test]
fn each_example_brings_about_its_code_and_no_other() {
    let mut wrong = Vec::new();
    for c in all() {
        let Some(files) = files(c) else { continue };
        let said: BTreeSet<String> =
            if &c.code[1..3] == "10" { by_the_program(&files) } else { by_the_language(&files) };
        // What comes first may come along with the limit of messages.
        let fits = if c.code == "E0010" { said.contains(c.code) } else { said == BTreeSet::from([c.code.to_owned()]) };
        if !fits {
            wrong.push(format!("{}: {said:?}", c.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn by_the_language(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let compiled = language::check_files(files, "topology.kdl", &Options::default());
    compiled.diagnostics.iter().map(|d| d.code.to_owned()).collect()
}

/// `cutover check`, lint rules left out.
fn by_the_program(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    let out = Command::new(env!("CARGO_BIN_EXE_cutover"))
        .args(["check", "--format", "json", "--root"])
        .arg(folder.path())
        .output()
        .expect("runs");
    let document: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let list = document["diagnostics"].as_array().expect("diagnostics");
    let codes = list.iter().filter_map(|d| d["code"].as_str()).map(|c| c.trim_start_matches("cutover::").to_owned());
    codes.filter(|c| !c.starts_with('L')).collect()
}

/// `CUTOVER_BLESS=1` writes it anew.
#[test]
fn the_page_is_made_of_the_tables() {
    let path = root().join("docs/errors.md");
    let made = cutover::reporting::codes::page(codes::chapters());
    if std::env::var_os("CUTOVER_BLESS").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/errors.md is old: run this test with CUTOVER_BLESS=1 and commit it");
}

#[test]
fn explain_takes_a_code() {
    let run = |word: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_cutover")).args(["explain", word]).output().expect("runs");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    };
    for word in ["E0301", "e0301", "cutover::E0301"] {
        let (good, text) = run(word);
        assert!(good && text.contains("Nothing has this name") && text.contains("dubln"), "{word}: {text}");
    }
    let (good, text) = run("E9999");
    assert!(!good && text.contains("there is no code"), "{text}");
}
