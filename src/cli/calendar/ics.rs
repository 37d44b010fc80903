//! The forward schedule as an iCalendar file (RFC 5545), for the calendars of people.
//!
//! Each opening is an event of its own with times in UTC: no reader needs our zones, and a window in a night that skips its hour
//! stands where it opens. An identity stays the same from file to file, so a reader replaces what it has.

use chrono::{DateTime, Utc};
use icalendar::{Calendar, Class, Component as _, Event, EventLike as _};
use jiff::Timestamp;

use crate::process::forward::{Schedule, What};

fn utc(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.as_second(), 0).unwrap_or_default()
}

pub fn ics(schedule: &Schedule, organization: &str, domain: &str, now: Timestamp) -> String {
    let mut calendar = Calendar::new();
    calendar.name(&format!("{organization}: changes"));
    for i in &schedule.items {
        let mut event = Event::new();
        event
            .uid(&format!("{}@{domain}", i.uid))
            .timestamp(utc(now))
            .starts(utc(i.from))
            .ends(utc(i.to))
            .summary(&format!("{} {}", i.what.as_str(), i.name))
            .description(&i.about)
            .class(Class::Public);
        if matches!(i.what, What::Window | What::Freeze | What::Due | What::Change) {
            // Whoever takes it in is not busy for it.
            event.add_property("TRANSP", "TRANSPARENT");
        }
        calendar.push(event.done());
    }
    calendar.to_string()
}
