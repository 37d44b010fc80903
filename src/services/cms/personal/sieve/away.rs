//! Vacation (RFC 5230) to out-of-office, with the dates that makers of scripts put around it (RFC 5260).

use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use super::read::Reader;
use crate::protocol::sieve::{Argument, Command, Test};
use crate::services::cms::personal::away::Away;

/// When an answer begins and ends.
#[derive(Default)]
struct Dates {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// A day without a zone.
    local: bool,
}

impl Reader<'_> {
    pub(super) fn vacation(&mut self, command: &Command, test: Option<&Test>, active: bool) {
        let mut dates = Dates::default();
        let told = match test {
            Some(test) => window(test, &mut dates),
            None => Ok(()),
        };
        let said = told.and_then(|()| away(command));
        match said {
            Ok(_) if self.found.away.is_some() => self.leave(command, "a second answer to senders"),
            Ok(said)
                if self.variables && (said.text.contains("${") || said.subject.iter().any(|s| s.contains("${"))) =>
            {
                self.leave(command, "a text with variables");
            }
            Ok(said) => {
                if dates.local {
                    self.found.notes.push("days of the out-of-office without a zone are taken as UTC".into());
                }
                if self.found.rules.iter().any(|r| r.active) {
                    let what = "the out-of-office stood behind rules; it is now in front of them, and answers mail that they stop too";
                    self.found.notes.push(what.into());
                }
                self.found.away = Some(Away { active, from: dates.from, until: dates.until, ..said });
            }
            Err(why) => self.leave(command, &why),
        }
    }
}

fn away(command: &Command) -> Result<Away, String> {
    let mut away = Away { active: true, ..Away::default() };
    let mut arguments = command.arguments.iter();
    let mut text = None;
    while let Some(argument) = arguments.next() {
        let Some(tag) = argument.tag() else {
            text = argument.texts().and_then(<[_]>::first).cloned();
            continue;
        };
        if tag == "mime" {
            return Err("an answer in MIME".into());
        }
        match (tag, arguments.next()) {
            ("days", Some(Argument::Number(days))) => away.days = Some(*days),
            ("seconds", Some(Argument::Number(seconds))) => away.days = Some(seconds.div_ceil(86_400)),
            ("subject", Some(Argument::Text(subject))) => away.subject = Some(subject.clone()),
            ("addresses", Some(list)) => away.addresses = list.texts().unwrap_or_default().to_vec(),
            // Which answers count as the same one: the new side makes its own.
            ("handle", Some(_)) => {}
            _ => return Err(format!("`vacation :{tag}` has nothing like it in the neutral form")),
        }
    }
    away.text = text.ok_or("an answer without a text")?;
    Ok(away)
}

fn window(test: &Test, dates: &mut Dates) -> Result<(), String> {
    let refused = || "an answer to senders that depends on a test".to_owned();
    match test.name.as_str() {
        "true" => Ok(()),
        "allof" => test.tests.iter().try_for_each(|t| window(t, dates)),
        "currentdate" => date(test, dates).ok_or_else(refused),
        "not" => {
            // Not before, not after: the bounds the other way round.
            let mut inner = Dates::default();
            let [one] = test.tests.as_slice() else { return Err(refused()) };
            if one.name != "currentdate" {
                return Err(refused());
            }
            date(one, &mut inner).ok_or_else(refused)?;
            dates.from = dates.from.max(inner.until);
            dates.until = inner.from.or(dates.until);
            dates.local |= inner.local;
            Ok(())
        }
        _ => Err(refused()),
    }
}

/// `currentdate [:zone Z] :value OP PART DATE`.
fn date(test: &Test, dates: &mut Dates) -> Option<()> {
    let (mut zone, mut operator, mut texts) = (None, None, Vec::new());
    let mut arguments = test.arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.tag() {
            Some("zone") => zone = arguments.next()?.texts()?.first().cloned(),
            Some("value") => operator = arguments.next()?.texts()?.first().cloned(),
            Some("comparator") => drop(arguments.next()),
            Some(_) => return None,
            None => texts.extend(argument.texts()?.iter().cloned()),
        }
    }
    let [part, value] = texts.as_slice() else { return None };
    let offset = match &zone {
        Some(zone) => hours(zone)?,
        None => Offset::UTC,
    };
    // The first moment that the value names, and the first one behind it.
    let (begin, end) = match part.to_ascii_lowercase().as_str() {
        "date" => {
            let day: civil::Date = value.parse().ok()?;
            dates.local |= zone.is_none();
            let at = |d: civil::Date| Some(d.to_zoned(TimeZone::fixed(offset)).ok()?.timestamp());
            (at(day)?, at(day.tomorrow().ok()?)?)
        }
        "iso8601" => {
            let begin: Timestamp = value.parse().ok()?;
            (begin, begin.checked_add(1.second()).ok()?)
        }
        _ => return None,
    };
    match operator.as_deref()? {
        "ge" => dates.from = Some(begin),
        "gt" => dates.from = Some(end),
        "le" => dates.until = Some(end),
        "lt" => dates.until = Some(begin),
        _ => return None,
    }
    Some(())
}

/// `+0130`.
fn hours(zone: &str) -> Option<Offset> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: i32 = rest.parse().ok().filter(|_| rest.len() == 4)?;
    Offset::from_seconds(sign * ((digits / 100) * 3600 + (digits % 100) * 60)).ok()
}
