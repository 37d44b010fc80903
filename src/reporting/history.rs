//! The list of applies.

use std::fmt::Write as _;

use serde::Serialize;

use super::style::{Paint, one_line};

/// One apply as `history` lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct HistoryEntry {
    pub apply: String,
    /// Unix milliseconds.
    pub at: i64,
    pub phase: Option<String>,
    pub undo_of: Option<String>,
    pub holder: String,
    pub steps: u32,
    /// `None`: it has not ended.
    pub ended: Option<Ended>,
    /// The change that it belonged to, or why to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Ended {
    pub done: u32,
    pub failed: u32,
    pub skipped: u32,
    pub unknown: u32,
}

/// A table, the newest first; `time` says how people write a moment (given in Unix milliseconds).
pub fn history_text(entries: &[HistoryEntry], time: impl Fn(i64) -> String, paint: Paint) -> String {
    if entries.is_empty() {
        return "Nothing was applied from here yet.\n".to_owned();
    }
    let mut rows = vec![["apply", "when", "by", "steps", "outcome"].map(str::to_owned)];
    let mut sorted: Vec<&HistoryEntry> = entries.iter().collect();
    sorted.sort_by(|a, b| (b.at, &b.apply).cmp(&(a.at, &a.apply)));
    for e in sorted {
        let mut outcome = match e.ended {
            None => "not ended".to_owned(),
            Some(n) if n.failed + n.skipped + n.unknown == 0 => "done".to_owned(),
            Some(n) => format!("{} done, {} failed, {} skipped, {} unknown", n.done, n.failed, n.skipped, n.unknown),
        };
        if let Some(phase) = &e.phase {
            let _ = write!(outcome, " (phase {})", one_line(phase));
        }
        if let Some(former) = &e.undo_of {
            let _ = write!(outcome, " (undo of {})", one_line(former));
        }
        if let Some(change) = &e.change {
            let _ = write!(outcome, " ({})", one_line(change));
        }
        rows.push([one_line(&e.apply), time(e.at), one_line(&e.holder), e.steps.to_string(), outcome]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let line = cells.join("  ");
        let _ = writeln!(out, "{}", if i == 0 { paint.bold(line.trim_end()) } else { line.trim_end().to_owned() });
    }
    out
}
