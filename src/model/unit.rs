//! Quantities with units, as the language writes them: durations, sizes, rates, percents.

use std::fmt;
use std::time::Duration;

/// Parses `"90s"`, `"250ms"`, `"5m"`, `"2h"`, `"14d"`, `"2w"`; a sum such as `"1h30m"` too. Units: ms s m h d w.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let n: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let ms = match &rest[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::from_millis(n.checked_mul(ms)?))?;
    }
    Some(total)
}

/// Shortest form that [`parse_duration`] reads back.
pub fn format_duration(d: Duration) -> String {
    let ms = d.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    if ms == 0 { "0s".into() } else { format!("{ms}ms") }
}

/// Bytes. Binary units (KiB MiB GiB TiB) are powers of 1024, decimal ones (KB MB GB TB) of 1000.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let n: u64 = text.get(..digits)?.parse().ok()?;
    let unit = match &text[digits..] {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    n.checked_mul(unit)
}

/// Bits per second: `"200Mbit/s"`. Units bit kbit Mbit Gbit, decimal.
pub fn parse_rate(text: &str) -> Option<u64> {
    let body = text.strip_suffix("/s")?;
    let digits = body.find(|c: char| !c.is_ascii_digit())?;
    let n: u64 = body.get(..digits)?.parse().ok()?;
    let unit = match &body[digits..] {
        "bit" => 1,
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        _ => return None,
    };
    n.checked_mul(unit)
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    Bytes,
    /// Messages, sessions, logs.
    Count,
    Days,
    Percent,
    Seconds,
    /// 0 or 1.
    State,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::Bytes => "bytes",
            Quantity::Count => "number",
            Quantity::Days => "days",
            Quantity::Percent => "percent",
            Quantity::Seconds => "seconds",
            Quantity::State => "0 or 1",
        })
    }
}

/// Bytes as people read them: the largest binary unit that fits, one decimal where it is not whole, cut, so that nothing is
/// called larger than it is: `1.9 TiB`, `200 GiB`, `0 B`.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = (1..UNITS.len()).rev().find(|i| bytes >> (10 * i) > 0).unwrap_or(0);
    let tenths = (u128::from(bytes) * 10) >> (10 * at);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[at]),
        part => format!("{}.{part} {}", tenths / 10, UNITS[at]),
    }
}

/// Exact decimal percent in millionths of a percent: `"99.99%"` is 99_990_000. Exact, because service levels are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u64);

impl Percent {
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('%')?;
        let (whole, part) = body.split_once('.').unwrap_or((body, ""));
        if whole.is_empty() || part.len() > 6 || !body.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let w: u64 = whole.parse().ok()?;
        let p: u64 = if part.is_empty() { 0 } else { format!("{part:0<6}").parse().ok()? };
        Some(Self(w.checked_mul(1_000_000)?.checked_add(p)?))
    }

    /// Whether this many of all are no more than the share.
    pub fn covers(self, part: u64, all: u64) -> bool {
        u128::from(part) * 100_000_000 <= u128::from(self.0) * u128::from(all)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:06}", self.0 % 1_000_000);
        let part = part.trim_end_matches('0');
        if part.is_empty() { write!(f, "{}%", self.0 / 1_000_000) } else { write!(f, "{}.{part}%", self.0 / 1_000_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for t in ["90s", "14d", "250ms", "5m", "2h"] {
            let d = parse_duration(t).unwrap_or_else(|| panic!("{t}"));
            assert_eq!(parse_duration(&format_duration(d)), Some(d), "{t}");
        }
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        for bad in ["", "90", "s", "90 s", "9x", "1.5h", "99999999999999999999w"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_are_cut_to_a_tenth() {
        let shown: [(u64, &str); 8] = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((200 << 30) - 1, "199.9 GiB"),
            (200 << 30, "200 GiB"),
            (2 << 40, "2 TiB"),
            (5000 << 40, "5000 TiB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(format_bytes(bytes), text, "{bytes}");
        }
        assert_eq!(format_bytes(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn percents_are_exact() {
        assert_eq!(Percent::parse("99.99%").map(|p| p.to_string()).as_deref(), Some("99.99%"));
        assert_eq!(Percent::parse("99.99"), None);
        assert_eq!(Percent::parse("100%"), Some(Percent(100_000_000)));
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        assert_eq!(parse_size("2G"), None);
        assert_eq!(parse_rate("200Mbit/s"), Some(200_000_000));
    }
}
