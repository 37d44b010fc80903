//! Change control at the command line: to which change an apply belongs, whether it may run now, and the forward schedule.

pub mod control;
pub mod ics;
pub mod page;
pub mod record;
pub mod text;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `Sun 2026-11-29 02:00 CET`.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// `5d 3h`, `3h 20m`, `12m`, `40s`: the two largest units.
pub fn ahead(length: SignedDuration) -> String {
    let s = length.as_secs().max(0);
    let units = [("d", s / 86_400), ("h", s / 3_600 % 24), ("m", s / 60 % 60), ("s", s % 60)];
    let first = units.iter().position(|(_, n)| *n > 0).unwrap_or(3);
    let shown = units.iter().skip(first).take(if first < 2 { 2 } else { 1 }).filter(|(_, n)| *n > 0);
    let text: Vec<String> = shown.map(|(unit, n)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ahead_are_said_in_their_two_largest_units() {
        let said = |s| ahead(SignedDuration::from_secs(s));
        assert_eq!(said(5 * 86_400 + 3 * 3_600 + 59), "5d 3h");
        assert_eq!(said(5 * 86_400), "5d");
        assert_eq!(said(3 * 3_600 + 20 * 60 + 5), "3h 20m");
        assert_eq!((said(12 * 60 + 5), said(40), said(0)), ("12m".into(), "40s".into(), "0s".into()));
    }
}
