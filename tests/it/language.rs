//! The language on whole topologies: the examples compile, the designed mistakes give the designed messages.

use std::collections::BTreeMap;
use std::path::Path;

use cutover::language::{self, Compiled, Options};
use cutover::reporting::diagnostics::{self, Style};

pub fn cases(folder: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/language").join(folder);
    let mut out: Vec<(String, String)> = std::fs::read_dir(&path)
        .expect("cases")
        .map(|e| e.expect("entry").path())
        .filter(|p| p.extension().is_some_and(|x| x == "kdl"))
        .map(|p| {
            (p.file_name().expect("name").to_string_lossy().into_owned(), std::fs::read_to_string(&p).expect("text"))
        })
        .collect();
    out.sort();
    out
}

/// The stories of `examples/`: name, and the files of the folder as `compile_files` takes them. State and keys of a run stay out.
pub fn stories() -> Vec<(String, BTreeMap<String, Vec<u8>>)> {
    fn walk(root: &Path, folder: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            if name.starts_with('.') || name == "keys" {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                out.insert(name, std::fs::read(&path).expect("file"));
            }
        }
    }
    let mut out = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("examples") {
        let root = entry.expect("entry").path();
        if root.join("topology.kdl").exists() {
            let mut files = BTreeMap::new();
            walk(&root, &root, &mut files);
            out.push((root.file_name().expect("name").to_string_lossy().into_owned(), files));
        }
    }
    out.sort();
    out
}

/// Everything that has to compile: the cases of one file and the stories, each with the name of its root file.
pub fn roots() -> Vec<(String, String, BTreeMap<String, Vec<u8>>)> {
    let cases = cases("good").into_iter().map(|(name, text)| (name.clone(), name.clone(), files(&name, text)));
    let stories = stories().into_iter().map(|(name, files)| (name, "topology.kdl".to_owned(), files));
    cases.chain(stories).collect()
}

pub fn files(name: &str, text: impl Into<Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    [(name.to_owned(), text.into())].into()
}

pub fn check(name: &str, text: &str) -> Compiled {
    language::check_files(&files(name, text), name, &Options::default())
}

pub fn draw(c: &Compiled) -> String {
    diagnostics::text(&c.sources, &c.diagnostics, Style::default())
}

fn environments(text: &str) -> Vec<Option<String>> {
    let names = text.lines().filter_map(|l| l.strip_prefix("environment ")).filter_map(|l| l.split(' ').next());
    std::iter::once(None).chain(names.map(|n| Some(n.to_owned()))).collect()
}

#[test]
fn designed_mistakes_give_the_designed_messages() {
    let expected =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/language/bad/expected.txt"))
            .expect("expected");
    let mut all = String::new();
    for (name, text) in cases("bad").iter().filter(|(n, _)| n.as_bytes()[0].is_ascii_digit()) {
        all.push_str(draw(&check(name, text)).trim_end());
        all.push_str("\n\n");
    }
    if std::env::var_os("CUTOVER_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/language/bad/expected.txt");
        return std::fs::write(path, all.trim_end().to_owned() + "\n").expect("written");
    }
    assert_eq!(all.trim_end(), expected.trim_end());
}

#[test]
fn examples_compile_for_all_their_environments() {
    for (name, main, files) in roots() {
        let text = std::str::from_utf8(&files[&main]).expect("UTF-8");
        for environment in environments(text) {
            let sets = if text.contains("variable start") {
                vec![("start".to_owned(), "2026-03-07T22:00".to_owned())]
            } else {
                Vec::new()
            };
            let options = Options { environment: environment.clone(), sets, ..Options::default() };
            let c = language::compile_files(&files, &main, &options);
            assert!(c.diagnostics.is_empty(), "{name} {environment:?}\n{}", draw(&c));
            assert!(c.topology.nodes.len() > 20, "{name}");
        }
    }
}

#[test]
fn stories_of_the_repository_check_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for story in std::fs::read_dir(folder).expect("examples") {
        let root = story.expect("entry").path();
        if root.join("topology.kdl").exists() {
            let c = language::check(&root, &Options { allow_unset: true, ..Options::default() });
            assert!(c.diagnostics.is_empty(), "{}\n{}", root.display(), draw(&c));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// Every node with its values, one line a field, for golden files.
fn dump(node: &cutover::model::topology::Node, depth: usize, out: &mut String) {
    use std::fmt::Write as _;
    let pad = "  ".repeat(depth);
    let _ = writeln!(out, "{pad}{}", node.id);
    for (name, field) in node.fields.iter() {
        if field.layers.iter().all(|l| l.by == "default" || l.by == "name") {
            continue;
        }
        let values: Vec<String> = field.values.iter().map(|v| format!("{:?}", v.value)).collect();
        let by: Vec<&str> = field.layers.iter().map(|l| l.by.as_str()).collect();
        let _ = writeln!(out, "{pad}  {name} = {} <{}>", values.join(" "), by.join(", "));
    }
    for c in &node.children {
        dump(c, depth + 1, out);
    }
}

#[test]
fn the_quickstart_in_its_lab() {
    let (name, text) = cases("good").remove(0);
    let options = Options {
        environment: Some("lab".into()),
        sets: vec![("start".into(), "2026-03-07T22:00".into())],
        ..Options::default()
    };
    let c = language::compile_files(&files(&name, text), &name, &options);
    let mut out = String::new();
    c.topology.nodes.values().for_each(|n| dump(n, 0, &mut out));
    insta::assert_snapshot!(out);
}
