//! A fuzzer of the loader: mutates topologies and holds what must hold of any bytes whatever.
//!
//! Mutational, in one process, seeded; no coverage is measured. In its place an input is kept as a new seed when the set of its
//! diagnostic codes, or the number of its nodes by the power of two, was not seen before.
//!
//! A sample runs with the other tests. The long form, from the root of the repository, optimised but with the checks of a debug build:
//! `CUTOVER_FUZZ_SECONDS=3600 CUTOVER_FUZZ_DIR=/tmp/fuzz cargo test --test fuzz --config profile.dev.package.cutover.opt-level=2 -- --nocapture`
//! (`CUTOVER_FUZZ_SEED=N` begins elsewhere). Findings are written to that folder, one folder of files each.

#![allow(clippy::print_stdout)]

#[path = "../dice.rs"]
mod dice;
mod memory;
mod mutate;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cutover::language::{self, Compiled, Options};
use cutover::model::Sources;
use cutover::model::topology::Node;
use cutover::model::tree::{Scalar, Tree};
use cutover::reporting::diagnostics::{self, Style};
use dice::Dice;
use mutate::{Files, Words, mutate};

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

/// Executions of the sample. In a debug build about a hundred a second.
const SAMPLE: u64 = 1200;

/// Processor time that one input may take, on the optimised build of the long form. The machine may be busy, so it is not the time
/// on the wall.
const LONGEST: Duration = Duration::from_secs(2);

/// The sample runs without optimisation.
const LONGEST_SAMPLE: Duration = Duration::from_secs(20);

/// Memory: this, and 100 times the input, and [`PER_NODE`] for each node beyond: a range may ask for 200,000 of them in 60 bytes.
const CONSTANT: usize = 16 << 20;
const PER_NODE: usize = 8 << 10;

/// Longest file made, in bytes.
const LONG: usize = 64 << 10;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every KDL file of the repository is a root; a folder of the corpus with a `topology.kdl` is one as a whole.
fn seeds() -> Vec<Files> {
    let mut out = Vec::new();
    let mut open: Vec<PathBuf> = ["tests/cases/language", "tests/cases/rules", "examples", "modules", "schemas"]
        .map(|f| folder().join(f))
        .to_vec();
    while let Some(at) = open.pop() {
        let mut whole = Files::new();
        collect(&at, &at, &mut whole);
        if at.join("topology.kdl").exists() && whole.len() > 1 {
            out.push(whole);
            continue;
        }
        for entry in std::fs::read_dir(&at).expect("folder").map(|e| e.expect("entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|e| e == "kdl") {
                let bytes = std::fs::read(&entry).expect("file");
                out.push([("topology.kdl".to_owned(), bytes)].into());
            }
        }
    }
    out.sort();
    out
}

fn collect(root: &Path, at: &Path, into: &mut Files) {
    for entry in std::fs::read_dir(at).expect("folder").map(|e| e.expect("entry").path()) {
        if entry.is_dir() {
            collect(root, &entry, into);
        } else if entry.extension().is_some_and(|e| e == "kdl") {
            let name = entry.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            into.insert(name, std::fs::read(&entry).expect("file"));
        }
    }
}

/// Nanoseconds that this thread has run.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// What an input did: what tells it from others, and what it broke.
struct Seen {
    signature: String,
    broken: Vec<String>,
}

fn run(files: &Files, longest: Duration) -> Seen {
    let options = Options { allow_unset: true, ..Options::default() };
    let size: usize = files.values().map(Vec::len).sum();
    let (base, began) = (memory::start(), processor_time());
    let mut broken = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let c = language::check_files(files, "topology.kdl", &options);
        let peak = memory::peak().saturating_sub(base);
        let text = diagnostics::text(&c.sources, &c.diagnostics, Style::default());
        let json = diagnostics::json(&c.sources, &c.diagnostics).to_string();
        let whole = memory::peak().saturating_sub(base);
        (c, peak, whole, text, json)
    }));
    let took = processor_time().saturating_sub(began);
    let signature = match outcome {
        Err(_) => {
            broken.push("panic in check".to_owned());
            "panic".to_owned()
        }
        Ok((c, peak, whole, text, json)) => {
            let nodes: usize = c.topology.nodes.values().map(count).sum::<usize>().max(asked(files));
            let limit = CONSTANT + 100 * size + PER_NODE * nodes;
            if peak > limit || whole > limit + text.len() * 20 {
                broken.push(format!("memory: {peak} then {whole} of {limit} bytes for {size} bytes and {nodes} nodes"));
            }
            hold(&c, &text, &json, &mut broken);
            let codes: BTreeSet<&str> = c.diagnostics.iter().map(|d| d.code).collect();
            format!("{codes:?} {}", nodes.checked_ilog2().unwrap_or(0))
        }
    };
    if took > longest {
        broken.push(format!("slow: {} ms", took.as_millis()));
    }
    for bytes in files.values() {
        if let Ok(text) = std::str::from_utf8(bytes)
            && catch_unwind(AssertUnwindSafe(|| layout(text, &mut broken))).is_err()
        {
            broken.push("panic in fmt".to_owned());
        }
    }
    Seen { signature, broken }
}

/// Names that the ranges of the files stand for: nodes are made of them also where a mistake leaves no topology.
fn asked(files: &Files) -> usize {
    let texts = files.values().map(|b| String::from_utf8_lossy(b).into_owned());
    texts.flat_map(|t| t.split('"').filter_map(|q| Some(language::expand(q)?.count())).collect::<Vec<_>>()).sum()
}

fn count(node: &Node) -> usize {
    1 + node.fields.values().map(|f| f.values.len()).sum::<usize>() / 8 + node.children.iter().map(count).sum::<usize>()
}

/// What holds of every outcome.
fn hold(c: &Compiled, text: &str, json: &str, broken: &mut Vec<String>) {
    if text.is_empty() != c.diagnostics.is_empty() {
        broken.push("drawn: nothing of something".to_owned());
    }
    if c.diagnostics.len() > 1001 {
        broken.push(format!("{} diagnostics", c.diagnostics.len()));
    }
    for d in c.diagnostics.iter() {
        if d.message.len() > 4000 || d.help.as_ref().is_some_and(|h| h.len() > 8000) {
            broken.push(format!("{}: a message of {} bytes", d.code, d.message.len()));
        }
        for l in &d.labels {
            let file = c.sources.get(l.span.source);
            if file.text.get(l.span.offset..l.span.offset + l.span.len).is_none() {
                broken.push(format!("{}: a span outside its file or inside a character", d.code));
            }
        }
    }
    // Nothing of a file may steer the terminal, or turn the order of what is shown.
    for (what, shown) in [("text", text), ("json", json)] {
        let steers = |c: char| {
            c.is_control() && !matches!(c, '\n' | '\t')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if let Some(bad) = shown.chars().find(|c| steers(*c)) {
            broken.push(format!("{what} holds U+{:04X}", bad as u32));
        }
    }
}

/// `fmt` is idempotent and keeps the meaning.
fn layout(text: &str, broken: &mut Vec<String>) {
    let mut sources = Sources::default();
    let id = sources.add("a.kdl", text);
    let before = language::parse(&sources, id);
    let Ok(once) = language::format(&sources, id) else {
        if before.is_ok() {
            broken.push("fmt: fails on what parses".to_owned());
        }
        return;
    };
    let id = sources.add("b.kdl", once.as_str());
    match (before, language::parse(&sources, id)) {
        (Ok(a), Ok(b)) => {
            if bare(&a) != bare(&b) {
                broken.push("fmt: changes the meaning".to_owned());
            }
        }
        (Ok(_), Err(_)) => broken.push("fmt: writes what does not parse".to_owned()),
        (Err(_), _) => broken.push("fmt: takes what does not parse".to_owned()),
    }
    if language::format(&sources, id).ok().as_deref() != Some(once.as_str()) {
        broken.push("fmt: not idempotent".to_owned());
    }
}

/// `(GiB)8` and `"8GiB"` are two ways to write one quantity, and `fmt` knows the second only.
fn quantity(annotation: Option<&str>, value: &Scalar) -> Option<String> {
    match (annotation, value) {
        (Some(unit), Scalar::Int(n)) => Some(format!("{:?}", format!("{n}{unit}"))),
        (Some("%"), Scalar::Float(n)) => Some(format!("{:?}", format!("{n}%"))),
        (None, Scalar::Text(text)) => {
            let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
            Some(format!("{:?}", format!("{number}{unit}")))
        }
        _ => None,
    }
}

/// A tree without places; never recursive, as the parser is not.
fn bare(trees: &[Tree]) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Vec<(usize, &Tree)> = trees.iter().rev().map(|t| (0, t)).collect();
    while let Some((depth, t)) = open.pop() {
        let word = |a: &Option<cutover::model::Spanned<String>>| a.as_ref().map(|a| a.value.clone());
        // The order of properties has no meaning; values without a name keep theirs.
        let mut entries: Vec<String> = t
            .entries
            .iter()
            .map(|e| {
                let (annotation, value) = (word(&e.annotation), format!("{:?}", e.value.value));
                match quantity(annotation.as_deref(), &e.value.value) {
                    Some(quantity) => format!("{:?}={quantity}", word(&e.name)),
                    None => format!("{:?}={annotation:?} {value}", word(&e.name)),
                }
            })
            .collect();
        entries.sort();
        out.push(format!("{depth} {:?} {} {entries:?}", word(&t.annotation), t.name.value));
        open.extend(t.children.iter().rev().map(|c| (depth + 1, c)));
    }
    out
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn save(to: &Path, name: &str, files: &Files) {
    for (file, bytes) in files {
        let path = to.join(name).join(file.replace("..", "_"));
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(path, bytes);
    }
}

#[test]
fn fuzz_loader() {
    let seconds = number("CUTOVER_FUZZ_SECONDS").map(Duration::from_secs);
    let dir = std::env::var_os("CUTOVER_FUZZ_DIR").map(PathBuf::from);
    let mut dice = Dice(number("CUTOVER_FUZZ_SEED").unwrap_or(1));
    let (words, mut pool) = (Words::new(), seeds());
    assert!(pool.len() > 20, "{} seeds", pool.len());
    // The place of the last panic tells two of them apart.
    let place: Arc<Mutex<String>> = Arc::default();
    let hook = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(mut place) = hook.lock() {
            *place = info.location().map(ToString::to_string).unwrap_or_default();
        }
    }));
    // An input that never ends is named, and ends the process.
    let beat = Arc::new(AtomicU64::new(0));
    let current: Arc<Mutex<Files>> = Arc::default();
    watch(Arc::clone(&beat), Arc::clone(&current), dir.clone());
    let (started, mut runs, mut kept) = (Instant::now(), 0u64, 0u64);
    let mut signatures: BTreeSet<String> = BTreeSet::new();
    let mut findings: BTreeMap<String, (u64, Files)> = BTreeMap::new();
    let mut first = pool.clone();
    while seconds.map_or(runs < SAMPLE, |s| started.elapsed() < s) {
        // First every seed as it stands, then children.
        let files = match first.pop() {
            Some(seed) if seconds.is_some() => seed,
            _ => {
                let seed = pool[dice.below(pool.len())].clone();
                mutate(&seed, &pool, &words, &mut dice, LONG)
            }
        };
        beat.store(runs + 1, Ordering::Relaxed);
        if let Ok(mut current) = current.lock() {
            current.clone_from(&files);
        }
        let seen = run(&files, if seconds.is_some() { LONGEST } else { LONGEST_SAMPLE });
        runs += 1;
        for b in seen.broken {
            let what: String = b.split(':').take(2).collect::<Vec<_>>().join(":");
            let what = what.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned();
            let at = if b.starts_with("panic") {
                place.lock().map(|p| p.clone()).unwrap_or_default()
            } else {
                String::new()
            };
            let n = findings.len();
            findings.entry(format!("{what} {at}")).and_modify(|f| f.0 += 1).or_insert_with(|| {
                println!("run {runs}: {b} {at}");
                if let Some(dir) = &dir {
                    save(dir, &format!("finding-{n}"), &files);
                    let _ = std::fs::write(dir.join(format!("finding-{n}.txt")), format!("{b} {at}\n"));
                }
                (1, files.clone())
            });
        }
        if signatures.insert(seen.signature) && files.values().map(Vec::len).sum::<usize>() < 16 << 10 {
            kept += 1;
            pool.push(files);
        }
        if seconds.is_some() && runs.is_multiple_of(20_000) {
            println!("{runs} executions, {} s, {kept} kept, {} findings", started.elapsed().as_secs(), findings.len());
        }
    }
    beat.store(u64::MAX, Ordering::Relaxed);
    println!("{runs} executions in {} s, {kept} inputs kept, {} findings", started.elapsed().as_secs(), findings.len());
    let mut account = String::new();
    for (what, (times, files)) in &findings {
        account.push_str(&format!("{what} ({times} times)\n"));
        for (name, bytes) in files.iter().filter(|(_, b)| b.len() < 2000) {
            account.push_str(&format!("{name}: {:?}\n", String::from_utf8_lossy(bytes)));
        }
    }
    let _ = std::panic::take_hook();
    assert!(findings.is_empty(), "{account}");
}

/// Processor time of the whole process in seconds: utime and stime of proc(5), in ticks of 1/100 s.
fn whole_time() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.rsplit(')').next().unwrap_or_default().split(' ').filter_map(|f| f.parse().ok()).collect();
    // Behind the name come the state and ten numbers.
    (fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0)) / 100
}

/// Ends the process when one input takes a minute of the processor: it hangs. A busy machine may let it wait for longer.
fn watch(beat: Arc<AtomicU64>, current: Arc<Mutex<Files>>, dir: Option<PathBuf>) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, whole_time());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = beat.load(Ordering::Relaxed);
            if now == u64::MAX {
                return;
            }
            if now != last {
                (last, since) = (now, whole_time());
            } else if whole_time().saturating_sub(since) > 60 {
                if let (Some(dir), Ok(files)) = (&dir, current.lock()) {
                    save(dir, "hang", &files);
                }
                println!("run {now} hangs");
                std::process::abort();
            }
        }
    });
}
