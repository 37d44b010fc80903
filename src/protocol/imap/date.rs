//! INTERNALDATE (RFC 9051 `date-time`): ` 1-Jul-2020 10:00:00 +0200`. An instant and a zone.

use jiff::civil::DateTime;
use jiff::{Timestamp, tz::Offset};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Also without the space before a one-digit day, and with `GMT` or no zone (taken as UTC): old servers write such.
pub fn parse(text: &str) -> Option<(Timestamp, Offset)> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next().unwrap_or("+0000"));
    let mut date = date.split('-');
    let day: i8 = date.next()?.parse().ok()?;
    let month = date.next()?;
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))? as i8 + 1;
    let year: i16 = date.next()?.parse().ok()?;
    let mut time = time.split(':');
    let mut part = || time.next().and_then(|t| t.parse::<i8>().ok());
    let (hour, minute, second) = (part()?, part()?, part().unwrap_or(0));
    let offset = match zone.as_bytes() {
        [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) => {
            let digit = |n: usize| i32::from(digits[n] - b'0');
            let seconds = (digit(0) * 10 + digit(1)) * 3600 + (digit(2) * 10 + digit(3)) * 60;
            Offset::from_seconds(if *sign == b'-' { -seconds } else { seconds }).ok()?
        }
        b"GMT" | b"UTC" | b"UT" | b"Z" => Offset::UTC,
        _ => return None,
    };
    // 60 is a leap second, which no clock here has.
    let civil = DateTime::new(year, month, day, hour, minute, second.min(59), 0).ok()?;
    Some((offset.to_timestamp(civil).ok()?, offset))
}

/// In quotes are 26 octets. A zone with seconds, and a year that has not four digits, is written in UTC or not at all.
pub fn format(at: Timestamp, zone: Offset) -> Option<String> {
    let zone = if zone.seconds() % 60 == 0 && zone.seconds().abs() < 24 * 3600 { zone } else { Offset::UTC };
    let civil = zone.to_datetime(at);
    if !(0..=9999).contains(&civil.year()) {
        return None;
    }
    let minutes = zone.seconds().abs() / 60;
    Some(format!(
        "{:2}-{}-{:04} {:02}:{:02}:{:02} {}{:02}{:02}",
        civil.day(),
        MONTHS[(civil.month() - 1) as usize],
        civil.year(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        if zone.seconds() < 0 { '-' } else { '+' },
        minutes / 60,
        minutes % 60
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_as_servers_write_them() {
        let back = |t: &str| parse(t).and_then(|(at, zone)| format(at, zone));
        assert_eq!(back(" 1-Jul-2020 10:00:00 +0200").as_deref(), Some(" 1-Jul-2020 10:00:00 +0200"));
        assert_eq!(back("1-jul-2020 10:00:00 +0200").as_deref(), Some(" 1-Jul-2020 10:00:00 +0200"));
        assert_eq!(back("17-Jul-1996 02:44:25 -0730").as_deref(), Some("17-Jul-1996 02:44:25 -0730"));
        assert_eq!(back("17-Jul-1996 02:44:25 GMT").as_deref(), Some("17-Jul-1996 02:44:25 +0000"));
        assert_eq!(back("31-Dec-2016 23:59:60 +0000").as_deref(), Some("31-Dec-2016 23:59:59 +0000"));
        for bad in [
            "",
            "x",
            "31-Feb-2020 10:00:00 +0000",
            "1-Jul-2020 25:00:00 +0000",
            "1-Jul-2020 10:00:00 +02:00",
            "1-Jul-2020",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in -60_000_000_000i64..250_000_000_000, quarter in -95i32..95) {
            let (at, zone) = (Timestamp::from_second(seconds).expect("time"), Offset::from_seconds(quarter * 900).expect("zone"));
            if let Some(text) = format(at, zone) {
                prop_assert_eq!(parse(&text), Some((at, zone)));
            }
        }

        #[test]
        fn nothing_from_outside_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
