//! The forward schedule for people.

use std::fmt::Write as _;

use super::{ahead, moment};
use crate::process::calendar::{Calendar, Span};
use crate::process::forward::Schedule;

/// A line an item, then what cannot be.
pub fn schedule(schedule: &Schedule, calendar: &Calendar, within: Span) -> String {
    let zone = &calendar.zone;
    let day = |at: jiff::Timestamp| at.to_zoned(zone.clone()).date();
    // The end is the begin of the day after the last.
    let last = day(within.to).yesterday().unwrap_or(day(within.to));
    let mut out = format!("From {} to {last}, times of {}.\n\n", day(within.from), calendar.zone_name);
    if schedule.items.is_empty() {
        out.push_str("Nothing stands in the calendar in this time.\n");
    }
    let (mut whats, mut names) = (0, 0);
    for i in &schedule.items {
        whats = whats.max(i.what.as_str().len());
        names = names.max(i.name.chars().count());
    }
    for i in &schedule.items {
        let lasts = ahead(i.to.duration_since(i.from));
        let what = i.what.as_str();
        let _ =
            writeln!(out, "{:<26} {lasts:>7}  {what:<whats$}  {:<names$}  {}", moment(i.from, zone), i.name, i.about);
    }
    for (title, list) in [("Cannot be", &schedule.conflicts), ("Without a day", &schedule.undated)] {
        if !list.is_empty() {
            let _ = writeln!(out, "\n{title}:");
            list.iter().for_each(|line| _ = writeln!(out, "  {line}"));
        }
    }
    out
}
