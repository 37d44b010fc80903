//! Topologies with mistakes that people make, each with the message that it gets. A case is a file `NAME.kdl` with its
//! `NAME.txt`, or a folder with a `topology.kdl` and an `expected.txt`. `CUTOVER_BLESS=1` writes the messages anew: read them then as
//! a newcomer would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cutover::language::{self, Compiled, Options};

use crate::language::draw;

struct Case {
    name: String,
    files: BTreeMap<String, Vec<u8>>,
    main: String,
    expected: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/language/bad")
}

fn entries(at: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(at).expect("folder").map(|e| e.expect("entry").path()).collect();
    out.sort();
    out
}

fn files_below(root: &Path, at: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in entries(at) {
        if entry.is_dir() {
            files_below(root, &entry, into);
        } else if entry.extension().is_some_and(|e| e == "kdl") {
            let name = entry.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            into.insert(name, std::fs::read(&entry).expect("file"));
        }
    }
}

/// All cases in folders by subject.
fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    for subject in entries(&root()).into_iter().filter(|p| p.is_dir()) {
        for at in entries(&subject) {
            let name = at.strip_prefix(root()).expect("below").with_extension("").display().to_string();
            let mut files = BTreeMap::new();
            if at.is_dir() {
                files_below(&at, &at, &mut files);
                out.push(Case { name, files, main: "topology.kdl".into(), expected: at.join("expected.txt") });
            } else if at.extension().is_some_and(|e| e == "kdl") {
                let main = at.file_name().expect("name").to_string_lossy().into_owned();
                files.insert(main.clone(), std::fs::read(&at).expect("file"));
                out.push(Case { name, files, main, expected: at.with_extension("txt") });
            }
        }
    }
    out
}

fn check(case: &Case) -> Compiled {
    language::check_files(&case.files, &case.main, &Options::default())
}

#[test]
fn each_mistake_gives_its_message() {
    let bless = std::env::var_os("CUTOVER_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let shown = draw(&check(&case)).trim_end().to_owned() + "\n";
        if bless {
            std::fs::write(&case.expected, &shown).expect("written");
        } else if std::fs::read_to_string(&case.expected).unwrap_or_default() != shown {
            wrong.push(format!("{}: {} says otherwise than\n{shown}", case.name, case.expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_large_and_bad() {
    let cases = cases();
    assert!(cases.len() >= 200, "{}", cases.len());
    let good: Vec<&str> = cases.iter().filter(|c| check(c).diagnostics.is_empty()).map(|c| c.name.as_str()).collect();
    assert!(good.is_empty(), "no mistake in {good:?}");
}

/// A person mends one mistake and reads on: a case with one mistake says one thing.
#[test]
fn one_mistake_is_one_message() {
    // These hold several on purpose.
    let several = ["files/many-mistakes", "files/binary", "habits/", "syntax/diff-marks", "secrets/", "unicode/"];
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|c| !several.iter().any(|s| c.name.starts_with(s))) {
        let c = check(case);
        if c.diagnostics.len() != 1 {
            wrong.push(format!("{}: {} messages\n{}", case.name, c.diagnostics.len(), draw(&c)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_message_has_a_place_and_a_way_out() {
    let mut wrong = Vec::new();
    for case in cases() {
        for d in check(&case).diagnostics.iter() {
            // A file that cannot be read has no place in it; a variable that nobody gave is not in a file at all.
            let placeless = matches!(d.code, "E0007" | "E0008" | "E0010" | "E0013" | "E0407");
            if d.labels.is_empty() && !placeless {
                wrong.push(format!("{}: {} has no place", case.name, d.code));
            }
            if d.help.as_deref().is_none_or(str::is_empty) {
                wrong.push(format!("{}: {} `{}` has no help", case.name, d.code, d.message));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
