//! The timetable of a cutover window: clock times, reasons, and a picture of it.

use std::fmt::Write as _;

use crate::model::cutover::{Entry, Schedule, Stage, clock};
use crate::model::unit::format_duration;

use super::style::one_line;

/// Columns of the picture.
const WIDTH: i64 = 48;

fn spoken(seconds: i64) -> String {
    format_duration(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// For people: the window, then a line a stage with its reason below it, then the picture.
pub fn schedule_text(schedule: &Schedule) -> String {
    let mut out = String::new();
    let at = |time| clock(time, &schedule.timezone);
    if schedule.takes_back {
        let _ = writeln!(out, "Way back of window {} to {}", schedule.window, schedule.rollback);
        for e in &schedule.entries {
            let lag = e.latest.unwrap_or(e.ends) - e.ends;
            let _ = writeln!(out, "  {}: {}", e.zone, one_line(&e.what));
            let _ = writeln!(
                out,
                "    L + t = {} + {}: every name server serves it, then {}",
                spoken(lag),
                spoken(e.ends - e.begins),
                one_line(&e.why)
            );
            let _ = writeln!(out, "    over at {}, at the latest {}", at(e.ends), at(e.ends + lag));
        }
        return out;
    }
    let _ = writeln!(
        out,
        "Window {}: {} to {}, rollback point {}",
        schedule.window,
        at(schedule.start),
        at(schedule.end),
        schedule.rollback
    );
    for e in &schedule.entries {
        let _ = writeln!(out, "  {:9}  {}  {}: {}", e.stage.as_str(), at(e.begins), e.zone, one_line(&e.what));
        if e.ends > e.begins {
            let _ = writeln!(out, "             until {}: {}", at(e.ends), one_line(&e.why));
        }
        if let Some(latest) = e.latest {
            let _ = writeln!(out, "             at the latest {}", at(latest));
        }
    }
    if !schedule.entries.is_empty() {
        let _ = writeln!(
            out,
            "  Times count from now, as if every name server followed at once; each wait is counted from the slowest."
        );
        out.push_str(&picture(schedule));
    }
    out
}

/// As a table for Markdown.
pub fn schedule_markdown(schedule: &Schedule) -> String {
    let mut out = String::new();
    let at = |time| clock(time, &schedule.timezone);
    if schedule.takes_back {
        return format!("```text\n{}```\n", schedule_text(schedule));
    }
    let _ = writeln!(
        out,
        "**Window {}**: {} to {}, rollback point {}\n",
        schedule.window,
        at(schedule.start),
        at(schedule.end),
        schedule.rollback
    );
    let _ = writeln!(out, "| stage | begins | its wait ends | at the latest | what | why |\n|---|---|---|---|---|---|");
    for e in &schedule.entries {
        let latest = e.latest.map(at).unwrap_or_default();
        let cell = |text: &str| one_line(text).replace('|', "\\|");
        let _ = writeln!(
            out,
            "| {} | {} | {} | {latest} | {} {} | {} |",
            e.stage,
            at(e.begins),
            at(e.ends),
            e.zone,
            cell(&e.what),
            cell(&e.why)
        );
    }
    let _ = writeln!(out, "\n```text\n{}```", picture(schedule));
    out
}

/// One row a stage: `#` while it is done, `=` while it waits; `|` where the window begins and ends. Pruning lies outside of it.
fn picture(schedule: &Schedule) -> String {
    let rows: Vec<&Entry> = schedule.entries.iter().filter(|e| e.stage != Stage::Prune).collect();
    let from = rows.iter().map(|e| e.begins).min().unwrap_or(0).min(schedule.start);
    let to = rows.iter().map(|e| e.ends).max().unwrap_or(0).max(schedule.end);
    let column = |time: i64| ((time - from) * WIDTH / (to - from).max(1)).clamp(0, WIDTH);
    let mut out = String::new();
    for e in rows {
        let row: String = (0..=WIDTH)
            .map(|c| match c {
                c if c == column(e.begins) => '#',
                c if c > column(e.begins) && c <= column(e.ends) => '=',
                c if c == column(schedule.start) || c == column(schedule.end) => '|',
                _ => ' ',
            })
            .collect();
        let _ = writeln!(out, "  {:9}  {}", e.stage.as_str(), row.trim_end());
    }
    out
}
