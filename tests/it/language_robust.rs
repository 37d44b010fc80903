//! Bad, hostile and huge input: clear errors, no panic, no long wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cutover::language::{self, Compiled, Options};
use cutover::model::Sources;
use proptest::prelude::*;

use crate::language::{cases, check, draw, files, roots, stories};

fn codes(c: &Compiled) -> Vec<&'static str> {
    c.diagnostics.iter().map(|d| d.code).collect()
}

fn compile(map: &[(&str, &str)]) -> Compiled {
    let files: BTreeMap<String, Vec<u8>> = map.iter().map(|(n, t)| ((*n).to_owned(), t.as_bytes().to_vec())).collect();
    language::check_files(&files, map[0].0, &Options::default())
}

const BASE: &str = "platform ex exchange=\"2010\"\nsite dublin\n";

#[test]
fn a_file_cut_at_every_byte() {
    let (name, text) = cases("good").remove(0);
    for cut in 0..text.len() {
        let c = language::check_files(
            &files(&name, &text.as_bytes()[..cut]),
            &name,
            &Options { allow_unset: true, ..Options::default() },
        );
        // Drawing must hold for every diagnostic too.
        let shown = draw(&c);
        assert_eq!(shown.is_empty(), c.diagnostics.is_empty(), "cut at {cut}");
    }
}

#[test]
fn not_utf8() {
    let c = language::check_files(&files("a.kdl", b"site a\nsite \xff\n".as_slice()), "a.kdl", &Options::default());
    assert_eq!(codes(&c), ["E0007"]);
    assert!(draw(&c).contains("line 2, byte 12"), "{}", draw(&c));
}

#[test]
fn ten_megabytes() {
    let text = "// filler\n".repeat(1024 * 1024);
    let c = check("a.kdl", &text);
    assert_eq!(codes(&c), ["E0008"]);
}

#[test]
fn nested_a_hundred_thousand_deep() {
    for text in [
        "a {".repeat(100_000),
        format!("{}{}", "a {\n".repeat(100_000), "}\n".repeat(100_000)),
        "/-".repeat(100_000),
        "[".repeat(100_000),
    ] {
        let started = Instant::now();
        assert!(check("a.kdl", &text).diagnostics.has_errors());
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn files_that_include_each_other() {
    let c = compile(&[("a.kdl", "include b.kdl"), ("b.kdl", "include \"./a.kdl\"")]);
    assert_eq!(codes(&c), ["E0011"]);
    assert!(draw(&c).contains("a.kdl -> b.kdl -> a.kdl"), "{}", draw(&c));
    assert_eq!(codes(&compile(&[("a.kdl", "include a.kdl")])), ["E0011"]);
    assert_eq!(codes(&compile(&[("a.kdl", "include b.kdl\ninclude b.kdl"), ("b.kdl", "site x")])), ["E0012"]);
    assert_eq!(codes(&compile(&[("a.kdl", "include nowhere.kdl")])), ["E0013"]);
    assert!(compile(&[("a.kdl", "include nowhere.kdl optional=#true")]).diagnostics.is_empty());
}

#[test]
fn modules_that_contain_themselves() {
    assert_eq!(codes(&compile(&[("a.kdl", "module m { use m x; }\nuse m y")])), ["E0504"]);
    let c = compile(&[("a.kdl", "module a { use b x; }\nmodule b { use a y; }\nuse a z")]);
    assert_eq!(codes(&c), ["E0504"]);
    let mut chain: String = (0..12).map(|i| format!("module m{i} {{ use m{} \"$self\"; }}\n", i + 1)).collect();
    chain.push_str("module m12 { site \"$self\"; }\nuse m0 x");
    assert_eq!(codes(&check("a.kdl", &chain)), ["E0505"]);
    // A file module that uses itself.
    let c = compile(&[("a.kdl", "use m x"), ("modules/m/module.kdl", "module m { use m y; }")]);
    assert_eq!(codes(&c), ["E0504"]);
}

#[test]
fn wide_ranges() {
    let server = |range: &str| format!("{BASE}server \"s-{range}\" platform=ex site=dublin {{ roles mailbox; }}");
    let c = check("a.kdl", &server("[1:10000]"));
    assert!(c.diagnostics.is_empty(), "{}", draw(&c));
    assert_eq!(c.topology.all("server").count(), 10_000);
    for range in ["[1:1000000000]", "[1:40000][1:40000]", "[1:999999999999999999]"] {
        let started = Instant::now();
        assert_eq!(codes(&check("a.kdl", &server(range))), ["E0307"], "{range}");
        assert!(started.elapsed() < Duration::from_secs(1), "{range}");
    }
    // Ranges that multiply along children and modules.
    let c = check(
        "a.kdl",
        &format!(
            "{BASE}server \"s-[1:50000]\" platform=ex site=dublin {{ roles mailbox; disk \"d[1:50000]\" size=\"1GiB\"; }}"
        ),
    );
    assert_eq!(codes(&c), ["E0307"]);
    let c = check("a.kdl", "module m { site \"$self-[1:90000]\"; }\nuse m \"x[1:90000]\"");
    assert_eq!(codes(&c), ["E0307"]);
    let c = check("a.kdl", &format!("{BASE}link \"l[1:90000]\" bandwidth=\"1Mbit/s\" {{ between \"x[1:90000]\"; }}"));
    assert_eq!(codes(&c), ["E0307"]);
}

#[test]
fn twenty_thousand_servers_take_linear_time() {
    let text = |n: usize| {
        format!(
            "{BASE}connection c user=root\nserver \"s-[1:{n}]\" platform=ex site=dublin connection=c memory=\"4GiB\" os=\"os-$1\" {{ roles mailbox; labels a b; }}\nprobe p type=heartbeat {{ to \"*\"; }}"
        )
    };
    let time = |n: usize| {
        let started = Instant::now();
        let c = check("a.kdl", &text(n));
        assert!(c.diagnostics.is_empty(), "{}", draw(&c));
        started.elapsed()
    };
    let (small, large) = (time(5_000), time(20_000));
    // Four times the names in about four times the time; quadratic would be sixteen. Generous, because machines are shared.
    assert!(large < small * 10 + Duration::from_millis(500), "{small:?} {large:?}");
}

#[test]
fn one_mistake_in_a_wide_range_is_one_message() {
    let c =
        check("a.kdl", &format!("{BASE}server \"s-[1:5000]\" platform=ex site=dubln memory=4 {{ roles mailbox; }}"));
    assert_eq!(codes(&c).len(), 2, "{}", draw(&c));
}

#[test]
fn secrets_never_show_in_messages() {
    let secret = "correct-horse-battery";
    let files = [
        format!("legacy old product=dovecot admin=\"{secret}\" hots=x"),
        format!("legacy old product=dovecot hots=x {{ admin {secret}; }}"),
        format!("legacy old product=dovecot\nprobe p type=imap password=\"{secret}\" to=old\nlegacy"),
        format!("legacy old {{\n admin \"{secret}\"\n broken=90s\n}}"),
        format!("legacy old admin=\"{secret}\nnext line"),
        format!("variable v type=secret default=\"{secret}\""),
        format!("variable v type=secret default=(secret)\"{secret}\""),
        format!("module m {{ param p type=secret; }}\nuse m x p=\"{secret}\""),
        format!("legacy old product=dovecot admin=(secret)\"{secret}\""),
        format!("connection c key=\"{secret}\" key=\"{secret}\""),
    ];
    for text in files {
        let c = check("a.kdl", &text);
        assert!(c.diagnostics.has_errors(), "{text}");
        let json = cutover::reporting::diagnostics::json(&c.sources, &c.diagnostics).to_string();
        let shown = format!("{}{json}{:?}", draw(&c), c.diagnostics);
        assert!(!shown.contains(secret), "{text}\n{shown}");
    }
}

#[test]
fn every_example_is_laid_out_once_and_for_all() {
    for (name, text) in cases("good") {
        let mut sources = Sources::default();
        let id = sources.add(&name, text.as_str());
        let once = language::format(&sources, id).expect("valid");
        let id = sources.add(&name, once.as_str());
        assert_eq!(language::format(&sources, id).expect("valid"), once, "{name}");
        let before: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("//")).map(str::trim).collect();
        let after: Vec<&str> = once.lines().filter(|l| l.trim_start().starts_with("//")).map(str::trim).collect();
        assert_eq!(before, after, "{name}");
        let c = language::check_files(
            &files(&name, once.as_str()),
            &name,
            &Options { allow_unset: true, ..Options::default() },
        );
        assert!(c.diagnostics.is_empty(), "{name}\n{}", draw(&c));
    }
}

#[test]
fn every_story_is_formatted() {
    for (story, files) in stories() {
        for (name, text) in files.iter().filter(|(n, _)| n.ends_with(".kdl")) {
            let text = std::str::from_utf8(text).expect("UTF-8");
            let mut sources = Sources::default();
            let id = sources.add(name, text);
            let once = language::format(&sources, id).expect("valid");
            assert!(once == text, "examples/{story}/{name} is not formatted: cutover fmt --root examples/{story}");
        }
    }
}

/// Every KDL file of the repository: laid out twice is laid out once.
#[test]
fn formatting_the_corpus_twice_changes_nothing_more() {
    fn walk(folder: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "kdl") {
                out.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["examples", "modules", "schemas", "tests/cases", "benches"] {
        walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    let mut formatted = 0;
    for path in &found {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let mut sources = Sources::default();
        let id = sources.add("once", text);
        let Ok(once) = language::format(&sources, id) else { continue };
        let id = sources.add("twice", once.as_str());
        assert_eq!(language::format(&sources, id).expect("valid"), once, "{}", path.display());
        formatted += 1;
    }
    assert!(formatted > 50, "{formatted} of {}", found.len());
}

/// Two neighbouring letters of each longer word are swapped, one word at a time. What is still accepted is a new name, a
/// text, a path or an outside name; the share that is refused says how strict the language is.
#[test]
fn swapped_letters_are_refused() {
    let (name, text) = cases("good").remove(0);
    let options = Options { allow_unset: true, ..Options::default() };
    let (mut tried, mut refused) = (0, 0);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let comment = text[..at].rfind('\n').map_or(&text[..at], |i| &text[i + 1..at]).contains("//");
        if len >= 4 && !comment {
            let bytes = text.as_bytes();
            if let Some(i) = (at + 1..at + len - 1).find(|i| bytes[*i] != bytes[i + 1]) {
                let mut changed = bytes.to_vec();
                changed.swap(i, i + 1);
                tried += 1;
                let c = language::check_files(&files(&name, changed), &name, &options);
                refused += usize::from(c.diagnostics.has_errors());
            }
        }
        at += len.max(1);
    }
    assert!(tried > 200, "{tried}");
    let share = refused * 100 / tried;
    assert!(share >= 80, "{refused} of {tried} refused");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of an example are changed, doubled or taken out: never a panic, and every message can be drawn.
    #[test]
    fn mutated_examples_never_panic(which in any::<prop::sample::Index>(), file in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..12)) {
        let mut all = roots();
        let (_, main, mut files) = all.swap_remove(which.index(all.len()));
        let names: Vec<String> = files.keys().filter(|n| n.ends_with(".kdl")).cloned().collect();
        let bytes = files.get_mut(&names[file.index(names.len())]).expect("file");
        for (at, how, byte) in edits {
            let i = at.index(bytes.len().max(1));
            if bytes.is_empty() { break }
            match how {
                0 => bytes[i] = byte,
                1 => { bytes.remove(i); }
                2 => bytes.insert(i, byte),
                _ => {
                    let line: Vec<u8> = bytes[i..].iter().copied().take_while(|b| *b != b'\n').collect();
                    bytes.splice(i..i, line);
                }
            }
        }
        let c = language::check_files(&files, &main, &Options { allow_unset: true, ..Options::default() });
        let shown = draw(&c);
        prop_assert_eq!(shown.is_empty(), c.diagnostics.is_empty());
    }
}
