//! What an audit found, for the terminal.

use std::fmt::Write as _;

use crate::model::audit::{AuditReport, Item, Verdict, Weight};

use super::style::{Paint, counted, one_line};

/// Deviations first to last by host, then what was not asked; what is as wanted is counted only.
pub fn audit_text(report: &AuditReport, paint: Paint) -> String {
    let mut out = String::new();
    for item in report.items.iter().filter(|i| matches!(i.verdict, Verdict::Deviates | Verdict::Waived)) {
        deviation(&mut out, item, paint);
    }
    let silent = |i: &&Item| report.failed.iter().any(|f| f.host == i.host) && i.found.is_none();
    for item in report.items.iter().filter(|i| i.verdict == Verdict::NotAsked).filter(|i| !silent(i)) {
        let why = one_line(item.why.as_deref().unwrap_or("nobody knows why"));
        let _ = writeln!(out, "{} {} {}: could not be asked: {why}", paint.yellow("?"), item.host, path(item));
    }
    for failed in &report.failed {
        let all = report.items.iter().filter(|i| i.host == failed.host && i.verdict == Verdict::NotAsked).count();
        let message = one_line(&failed.message);
        let _ = writeln!(
            out,
            "{} could not ask {} ({}): {message}",
            paint.red("failed:"),
            failed.host,
            counted(all, "check")
        );
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let [deviates, waived, unasked] = [Verdict::Deviates, Verdict::Waived, Verdict::NotAsked].map(|v| report.count(v));
    let head = match (deviates, unasked) {
        (0, 0) => paint.green("No deviation:"),
        (0, _) => paint.bold("No deviation that is known:"),
        _ => paint.bold(&format!("{}:", counted(deviates, "deviation"))),
    };
    let _ = write!(out, "{head} {} on {}", counted(report.items.len(), "check"), counted(report.hosts, "host"));
    if waived > 0 {
        let _ = write!(out, ", {waived} waived");
    }
    if unasked > 0 {
        let _ = write!(out, ", {unasked} could not be asked");
    }
    out.push_str(".\n");
    out
}

fn path(item: &Item) -> String {
    format!("{}.{}", item.baseline, one_line(&item.check))
}

fn deviation(out: &mut String, item: &Item, paint: Paint) {
    let (sign, weight) = match (item.verdict, item.severity) {
        (Verdict::Waived, _) => (paint.dim("-"), "waived"),
        (_, Weight::Red) => (paint.red("!"), "red"),
        (_, weight) => (paint.yellow("~"), weight.word()),
    };
    let what = format!("{} {}", item.host, path(item));
    let _ = writeln!(out, "{sign} {} ({weight}): {} {}", paint.bold(&what), item.source, one_line(&item.key));
    let said = |text: &str| if text.is_empty() { "nothing".to_owned() } else { one_line(text) };
    let found = said(item.found.as_deref().unwrap_or_default());
    let _ = writeln!(out, "    wanted {}, found {found}", said(&item.wanted));
    let Some(w) = &item.waiver else { return };
    let by = if w.by.is_empty() { String::new() } else { format!(", by {}", w.by.join(" and ")) };
    let _ = match w.ended {
        false => writeln!(out, "    waived until {} ({}{by}): {}", w.until, w.name, one_line(&w.reason)),
        true => writeln!(out, "    waiver {} ended on {}{by}: decide anew", w.name, w.until),
    };
}
