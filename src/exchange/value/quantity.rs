//! Sizes and spans of time, as the product writes and reads them.

use crate::model::unit;

const TICKS_A_SECOND: i64 = 10_000_000;

/// `10 GB (10,737,418,240 bytes)` as it is shown, in whatever way the host separates thousands; `10GB`, `1048576` as it is given.
/// To the product a KB has 1024 octets; `10GiB` is taken as well.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some((_, counted)) = text.split_once('(') {
        let digits: String = counted.chars().filter(char::is_ascii_digit).collect();
        return digits.parse().ok();
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let shift = match text[end..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "KB" | "KIB" => 10,
        "MB" | "MIB" => 20,
        "GB" | "GIB" => 30,
        "TB" | "TIB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Ticks of `14.00:00:00`, `1.02:03:04.5000000`, `-00:00:01`, `14` (days, as the product reads it), `P14DT1H` (as it is serialised),
/// and `14d` as the language writes it.
pub(super) fn timespan(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, body) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let ticks = match body.strip_prefix('P') {
        Some(iso) => iso_timespan(iso)?,
        None if body.contains(':') => clock(body)?,
        None if body.chars().all(|c| c.is_ascii_digit()) => {
            body.parse::<i64>().ok()?.checked_mul(86_400 * TICKS_A_SECOND)?
        }
        None => i64::try_from(unit::parse_duration(body)?.as_nanos() / 100).ok()?,
    };
    Some(sign * ticks)
}

fn clock(body: &str) -> Option<i64> {
    let mut parts = body.splitn(3, ':');
    let (first, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let minutes = minutes.parse::<i64>().ok().filter(|m| (0..60).contains(m))?;
    let hours = hours.parse::<i64>().ok().filter(|h| (0..24).contains(h))?;
    let days: i64 = days.parse().ok().filter(|d| *d >= 0)?;
    let (seconds, ticks) = fraction(seconds)?;
    let whole = days.checked_mul(86_400)?.checked_add(hours * 3_600 + minutes * 60)?.checked_add(seconds)?;
    (seconds < 60).then_some(())?;
    whole.checked_mul(TICKS_A_SECOND)?.checked_add(ticks)
}

/// Seconds, and the ticks behind the point.
fn fraction(text: &str) -> Option<(i64, i64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok().filter(|w| *w >= 0)?;
    if part.len() > 7 || !part.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let ticks = format!("{part:0<7}").parse().ok()?;
    Some((whole, ticks))
}

fn iso_timespan(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut ticks: i64 = 0;
    for (part, units) in [(date, [("D", 86_400), ("", 0), ("", 0)]), (time, [("H", 3_600), ("M", 60), ("S", 1)])] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (_, seconds) = units.into_iter().find(|(u, _)| *u == &rest[end..=end])?;
            let (whole, part) = fraction(&rest[..end])?;
            if part != 0 && seconds != 1 {
                return None;
            }
            let added = whole.checked_mul(seconds)?.checked_mul(TICKS_A_SECOND)?.checked_add(part)?;
            ticks = ticks.checked_add(added)?;
            rest = &rest[end + 1..];
        }
    }
    Some(ticks)
}

/// As the product takes it: `[-][d.]hh:mm:ss[.fffffff]`.
pub(super) fn timespan_text(ticks: i64) -> String {
    let sign = if ticks < 0 { "-" } else { "" };
    let (seconds, part) = (ticks.unsigned_abs() / 10_000_000, ticks.unsigned_abs() % 10_000_000);
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    let part = if part > 0 { format!(".{part:07}") } else { String::new() };
    format!("{sign}{days}{:02}:{:02}:{:02}{part}", clock / 3_600, clock / 60 % 60, clock % 60)
}
