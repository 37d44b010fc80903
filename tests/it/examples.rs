//! The stories of `examples/`: every command of their READMEs runs, every small file that they name is there, lint has nothing to say.

use std::path::{Path, PathBuf};

use crate::cli::{Sandbox, finish};

const STORIES: [&str; 3] = ["quickstart", "midsize", "microsoft-it"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, run where a reader of the README stands.
fn run(args: &[&str]) -> crate::cli::Run {
    let mut command = Sandbox::new().command(args);
    command.current_dir(root());
    finish(command)
}

#[test]
fn every_command_of_a_readme_runs() {
    let mut seen = 0;
    for story in ["midsize", "microsoft-it"] {
        let readme = std::fs::read_to_string(root().join("examples").join(story).join("README.md")).expect("README");
        for line in readme.lines().filter_map(|l| l.strip_prefix("cutover ")) {
            run(&shlex::split(line).expect("words").iter().map(String::as_str).collect::<Vec<_>>()).ends(0);
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn lint_has_nothing_to_say() {
    for story in STORIES {
        let found = run(&["lint", "--root", &format!("examples/{story}"), "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
        let list = document["diagnostics"].as_array().expect("list");
        let told: Vec<String> = list.iter().map(|d| format!("{} {}", d["rule"], d["message"])).collect();
        assert!(told.is_empty(), "{story}\n{}", told.join("\n"));
    }
}

#[test]
fn files_that_a_story_names_are_there() {
    fn names(node: &serde_json::Value, out: &mut Vec<String>) {
        for field in ["templates", "csv", "file", "template", "run", "signing-key"] {
            let value = &node["fields"][field];
            let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            out.extend(list.iter().filter_map(|v| v.as_str().map(str::to_owned)));
        }
        node["children"].as_array().into_iter().flatten().for_each(|c| names(c, out));
    }
    for story in STORIES {
        let folder: PathBuf = root().join("examples").join(story);
        let text = run(&["export", "--root", &folder.display().to_string()]).ends(0).out;
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut found = Vec::new();
        document["nodes"].as_array().expect("nodes").iter().for_each(|n| names(n, &mut found));
        // `run` makes the keys of the quickstart's people, and what its comparison found.
        let made = |f: &str| story == "quickstart" && (f.starts_with("people/") || f == "comparison.json");
        let missing: Vec<&String> = found.iter().filter(|f| !folder.join(f).exists() && !made(f)).collect();
        assert!(missing.is_empty(), "{story}: {missing:?}");
        assert!(story == "quickstart" || found.len() > 10, "{story}: {found:?}");
    }
}
