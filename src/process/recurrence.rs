//! On which days something recurs: an RFC 5545 rule, expanded over plain days.
//!
//! Days only: what a clock shows on them is the time zone's matter ([`super::calendar`]), and there is one database of zones in this
//! program, not two that could contradict each other.

use jiff::civil::{Date, Weekday};
use rrule::{Frequency, NWeekday, RRule, RRuleSet, Tz, Unvalidated, Weekday as Day};

type Moment = chrono::DateTime<Tz>;

/// Most openings that one question asks for: two years of days.
const MOST: u16 = 800;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    Day,
    Week,
    Fortnight,
    Month,
}

impl Every {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "day" => Self::Day,
            "week" => Self::Week,
            "fortnight" => Self::Fortnight,
            "month" => Self::Month,
            _ => return None,
        })
    }

    fn days(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Fortnight => 14,
            // Steps of a month are not of one length; see `Recurrence::anchor`.
            Self::Month => 0,
        }
    }
}

/// A recurring day.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence {
    pub every: Every,
    pub on: Vec<Weekday>,
    /// Nothing recurs before it; fortnights, and the week or day of a month, are counted from it.
    pub starting: Option<Date>,
}

/// A Monday long ago: what is counted from nowhere is counted from here.
fn epoch() -> Date {
    Date::constant(1996, 1, 1)
}

pub fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

fn day(of: Weekday) -> Day {
    match of {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

impl Recurrence {
    /// Which week of a month: that of `starting`, else the first; the fifth is the last.
    fn nth(&self) -> i16 {
        match self.starting.map_or(0, |d| (d.day() - 1) / 7) {
            4 => -1,
            n => i16::from(n) + 1,
        }
    }

    fn unvalidated(&self) -> RRule<Unvalidated> {
        let plain = || self.on.iter().map(|d| NWeekday::Every(day(*d))).collect();
        let nth = || self.on.iter().map(|d| NWeekday::Nth(self.nth(), day(*d))).collect();
        match self.every {
            Every::Day => RRule::new(Frequency::Daily).by_weekday(plain()),
            Every::Week => RRule::new(Frequency::Weekly).by_weekday(plain()),
            Every::Fortnight => RRule::new(Frequency::Weekly).interval(2).by_weekday(plain()),
            Every::Month if self.on.is_empty() => {
                RRule::new(Frequency::Monthly).by_month_day(vec![self.starting.map_or(1, |d| d.day())])
            }
            Every::Month => RRule::new(Frequency::Monthly).by_weekday(nth()),
        }
    }

    /// The day that the rule is counted from, moved by whole periods near `from`: nobody counts decades of weeks.
    fn anchor(&self, from: Date) -> Date {
        let first = self.starting.unwrap_or_else(epoch);
        let days = first.until(from).map_or(0, |s| i64::from(s.get_days()));
        if days <= 0 {
            return first;
        }
        match self.every.days() {
            0 => {
                // A rule by days of the month gives the same from any first of a month.
                first.max(from.first_of_month())
            }
            step => first.checked_add(jiff::Span::new().days(days / step * step)).unwrap_or(first),
        }
    }

    fn set(&self, from: Date) -> Option<RRuleSet> {
        self.unvalidated().build(midnight(self.anchor(from))?).ok()
    }

    /// The rule as RFC 5545 writes it, with the day that it is counted from: the first on which it recurs.
    pub fn written(&self, from: Date) -> Option<(Date, String)> {
        let first = self.days(self.starting.unwrap_or(from), from.checked_add(jiff::Span::new().days(400)).ok()?);
        let first = *first.first()?;
        let rule = self.unvalidated().build(midnight(first)?).ok()?.get_rrule().first()?.to_string();
        // The library writes the parts that it has filled in from the first day too, as BYHOUR=0; the day's clock is not its matter.
        let kept: Vec<&str> =
            rule.split(';').filter(|p| !["BYHOUR", "BYMINUTE", "BYSECOND"].iter().any(|w| p.starts_with(w))).collect();
        Some((first, kept.join(";")))
    }

    /// Its days in `from..=to`, in order.
    pub fn days(&self, from: Date, to: Date) -> Vec<Date> {
        let (Some(set), Some(after), Some(before)) = (self.set(from), midnight(from), midnight(to)) else {
            return Vec::new();
        };
        let least = self.starting.unwrap_or(from).max(from);
        set.after(after).before(before).all(MOST).dates.iter().filter_map(civil).filter(|d| *d >= least).collect()
    }
}

fn midnight(date: Date) -> Option<Moment> {
    use chrono::TimeZone as _;
    let (year, month, day) =
        (i32::from(date.year()), u32::try_from(date.month()).ok()?, u32::try_from(date.day()).ok()?);
    Tz::UTC.with_ymd_and_hms(year, month, day, 0, 0, 0).single()
}

fn civil(moment: &Moment) -> Option<Date> {
    use chrono::Datelike as _;
    Date::new(i16::try_from(moment.year()).ok()?, i8::try_from(moment.month()).ok()?, i8::try_from(moment.day()).ok()?)
        .ok()
}
