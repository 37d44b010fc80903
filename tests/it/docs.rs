//! Documents are code: every KDL block of every page parses (a whole topology checks too), every command line is one that the
//! program takes, every link to a file of the repository leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cutover::language::{self, Options};
use cutover::model::Sources;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown pages of the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut folders: Vec<PathBuf> =
        ["docs", "modules", "examples", "tests", "benches"].map(|f| root().join(f)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Fenced blocks of a page: language, first line (from 1), text.
fn blocks(page: &str) -> Vec<(String, usize, String)> {
    let mut out = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    for (i, line) in page.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(word)) => open = Some((word.trim().to_owned(), i + 2, String::new())),
            (Some(_), Some(_)) => out.extend(open.take()),
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    out
}

#[test]
fn every_kdl_block_parses() {
    let mut wrong = Vec::new();
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for (language, line, text) in blocks(&page) {
            if language != "kdl" {
                continue;
            }
            let mut sources = Sources::default();
            let id = sources.add(path.display().to_string(), text.as_str());
            if let Err(mistakes) = language::parse(&sources, id) {
                wrong.push(format!(
                    "{}:{line}: {:?}",
                    path.display(),
                    mistakes.iter().map(|d| &d.message).collect::<Vec<_>>()
                ));
            } else if text.trim_start().starts_with("language ") {
                let files = BTreeMap::from([("topology.kdl".to_owned(), text.into_bytes())]);
                let compiled = language::compile_files(&files, "topology.kdl", &Options::default());
                if compiled.diagnostics.has_errors() {
                    wrong.push(format!(
                        "{}:{line}: {:?}",
                        path.display(),
                        compiled.diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_line_is_taken() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for (language, line, text) in blocks(&page) {
            if !matches!(language.as_str(), "sh" | "console") {
                continue;
            }
            for (offset, command) in text.lines().enumerate() {
                let command = command.trim().strip_prefix("$ ").unwrap_or(command.trim());
                let Some(words) = command.strip_prefix("cutover ") else { continue };
                // What follows a comment, a pipe or a redirection is the shell's.
                let words: Vec<&str> = words
                    .split_whitespace()
                    .take_while(|w| !matches!(*w, "#" | "|" | ">" | "&&" | ";" | "--"))
                    .collect();
                seen += 1;
                // The arguments before --help are judged as they stand.
                let run = Command::new(env!("CARGO_BIN_EXE_cutover")).args(&words).arg("--help").output().unwrap();
                if !run.status.success() {
                    wrong.push(format!(
                        "{}:{}: cutover {}\n{}",
                        path.display(),
                        line + offset,
                        words.join(" "),
                        String::from_utf8_lossy(&run.stderr)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 5, "the README shows commands");
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap();
        for part in page.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !folder.join(target).exists() {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `CUTOVER_BLESS=1` writes it anew.
#[test]
fn the_reference_is_that_of_the_schema() {
    let path = root().join("docs/reference.md");
    let made = language::reference::markdown(None).expect("whole");
    if std::env::var_os("CUTOVER_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/reference.md is old: run this test with CUTOVER_BLESS=1 and commit it");
}

/// The nodes that the reference shows are one topology without a mistake, in each of its environments.
#[test]
fn the_examples_of_the_reference_check_clean() {
    let compiled = language::check(&root().join("schemas/examples.kdl"), &Options::default());
    let wrong: Vec<&String> = compiled.diagnostics.iter().map(|d| &d.message).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Each guess of docs/first-topology.md gets the messages that stand below it.
#[test]
fn the_messages_lead_to_a_first_topology() {
    let page = std::fs::read_to_string(root().join("docs/first-topology.md")).unwrap();
    let box_ = crate::cli::Sandbox::new();
    let mut steps = 0;
    for (language, line, text) in blocks(&page) {
        match language.as_str() {
            "kdl" => box_.write("topology.kdl", &text),
            "text" => {
                let run = box_.run(&["check"]);
                // Messages are wrapped at the width of the terminal.
                let flat = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
                for wanted in text.lines() {
                    let good = wanted == "0 errors" && flat.contains("no mistakes");
                    assert!(good || flat.contains(wanted), "docs/first-topology.md:{line}: `{wanted}`\n{}", run.out);
                }
                steps += 1;
            }
            _ => {}
        }
    }
    assert_eq!(steps, 6);
}

/// `docs/coverage.md` names kinds that are there in its second column, and tests that are there in its last.
#[test]
fn the_page_of_coverage_names_what_is_there() {
    let kinds: BTreeSet<String> = language::schema::schema().kinds.iter().map(|k| k.name.clone()).collect();
    let mut tests = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let is_test = line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test");
                let name = lines.peek().filter(|_| is_test).and_then(|l| l.split("fn ").nth(1)?.split('(').next());
                tests.extend(name.map(str::to_owned));
            }
        }
    }
    let page = std::fs::read_to_string(root().join("docs/coverage.md")).unwrap();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in page.lines().filter(|l| l.starts_with("| ") && l.contains('`')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [_, named, _, shown] = cells[..] else { panic!("{row}") };
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        wrong.extend(words(named).into_iter().filter(|k| !kinds.contains(k)).map(|k| format!("no kind {k}")));
        wrong.extend(words(shown).into_iter().filter(|t| !tests.contains(t)).map(|t| format!("no test {t}")));
        assert!(!words(shown).is_empty(), "{row}");
        rows += 1;
    }
    assert!(rows > 15 && wrong.is_empty(), "{wrong:#?}");
}
