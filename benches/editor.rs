//! From a keystroke to its diagnostics: `cutover lsp` with the midsize example, as an editor drives it.
//!
//! `cargo bench --bench editor` types 200 letters that make and mend a mistake, one after the other, then the same without a pause in
//! between. The goal is 100 ms.

#[allow(dead_code)]
#[path = "../tests/it/support/editor.rs"]
mod editor;

use std::io::Write as _;
use std::time::{Duration, Instant};

use editor::{Editor, example};

/// Milliseconds from a keystroke to its diagnostics, at most.
const GOAL: f64 = 100.0;

fn main() {
    let mut e = Editor::in_folder(example("midsize"));
    e.open_file("servers.kdl");
    e.settle("servers.kdl");
    let single = typed(&mut e, 200, Duration::from_millis(200));
    report("one keystroke, then its diagnostics", single);
    let fast = typed(&mut e, 200, Duration::ZERO);
    report("the next keystroke as soon as they are there", fast);
    let burst = bursts(&mut e, 40);
    report("last of ten keystrokes, 8 ms apart", burst);
    say(&format!("memory of the server: {:.0} MiB", e.memory().unwrap_or(f64::NAN)));
    assert_eq!(e.quit(), 0);
}

/// Each keystroke makes a mistake or mends it. Returns milliseconds.
fn typed(e: &mut Editor, count: usize, pause: Duration) -> Vec<f64> {
    let mut out = Vec::new();
    for i in 0..count {
        let wrong = i % 2 == 0;
        let start = Instant::now();
        if wrong {
            e.replace("servers.kdl", "platform=gateway", "platform=gatewqy")
        } else {
            e.replace("servers.kdl", "platform=gatewqy", "platform=gateway")
        }
        e.until("servers.kdl", |list| list.iter().any(|d| d["code"] == "E0301") == wrong);
        out.push(start.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(pause);
    }
    out
}

/// Types a word letter by letter and waits for what is said of the whole.
fn bursts(e: &mut Editor, count: usize) -> Vec<f64> {
    let word = "site night";
    let mut out = Vec::new();
    for _ in 0..count {
        let mut before = "witness fsw host".to_owned();
        let mut start = Instant::now();
        for c in word.chars() {
            let after = format!("{}{c}{}", &before[..before.len() - 16], "witness fsw host");
            start = Instant::now();
            e.replace("servers.kdl", &before, &after);
            before = after;
            std::thread::sleep(Duration::from_millis(8));
        }
        e.until("servers.kdl", |list| list.iter().any(|d| d["severity"] == 1));
        out.push(start.elapsed().as_secs_f64() * 1000.0);
        e.replace("servers.kdl", &before, "witness fsw host");
        e.until("servers.kdl", |list| list.iter().all(|d| d["severity"] != 1));
    }
    out
}

fn report(what: &str, mut ms: Vec<f64>) {
    ms.sort_by(f64::total_cmp);
    let at = |p: f64| ms[((ms.len() - 1) as f64 * p) as usize];
    let verdict = if at(0.99) <= GOAL { "within" } else { "MISSES" };
    say(&format!(
        "{what}: median {:.0} ms, 95% {:.0} ms, 99% {:.0} ms, worst {:.0} ms; {verdict} the goal of {GOAL:.0} ms",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    ));
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
