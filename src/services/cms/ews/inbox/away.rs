//! Out-of-office ([MS-OXWOOF]): GetUserOofSettings, SetUserOofSettings.

use jiff::{Timestamp, civil};

use crate::services::cms::ews::html;
use crate::services::cms::ews::xml::{Node, escaped};
use crate::services::cms::personal::away::{Away, Outside};

/// What stands for no beginning and for no end, where one has to be named.
const FIRST: &str = "2000-01-01T00:00:00Z";
const LAST: &str = "2099-12-31T00:00:00Z";

fn mailbox(address: &str) -> String {
    format!("<t:Mailbox><t:Address>{}</t:Address></t:Mailbox>", escaped(address))
}

pub(super) fn asked(address: &str) -> String {
    format!("<m:GetUserOofSettingsRequest>{}</m:GetUserOofSettingsRequest>", mailbox(address))
}

/// Exchange writes UTC, often without saying so.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let said = text.parse().ok();
    said.or_else(|| text.parse::<civil::DateTime>().ok()?.in_tz("UTC").ok().map(|z| z.timestamp()))
}

/// What an account has set; `None` where it has never set anything.
pub(super) fn read(settings: &Node, now: Timestamp) -> Option<Away> {
    let reply = |name: &str| html::text(settings.child(name).and_then(|r| r.value("Message")).unwrap_or_default());
    let (inside, outside) = (reply("InternalReply"), reply("ExternalReply"));
    let state = settings.value("OofState").unwrap_or_default().trim().to_owned();
    if state == "Disabled" && inside.is_empty() && outside.is_empty() {
        return None;
    }
    let mut away = Away { active: state != "Disabled", ..Away::default() };
    if state == "Scheduled" {
        let at = |name: &str| settings.child("Duration").and_then(|d| d.value(name)).and_then(instant);
        (away.from, away.until) = (at("StartTime"), at("EndTime"));
    }
    away.outside = match settings.value("ExternalAudience").map(str::trim) {
        Some("None") => Outside::Nobody,
        Some("Known") => Outside::Known(outside),
        _ if outside == inside => Outside::Same,
        _ => Outside::Text(outside),
    };
    away.text = inside;
    Some(current(away, now))
}

/// One that is over says nothing any more: Exchange switches it off by itself.
fn current(mut away: Away, now: Timestamp) -> Away {
    let bound = |text: &str| instant(text);
    away.from = away.from.filter(|at| Some(*at) != bound(FIRST));
    away.until = away.until.filter(|at| Some(*at) != bound(LAST));
    away.active &= away.until.is_none_or(|until| until > now);
    if !away.active {
        (away.from, away.until) = (None, None);
    }
    away
}

/// As Exchange will say it, and what of it stays behind: a name and words.
pub(super) fn fitted(away: &Away, now: Timestamp) -> (Away, Vec<(&'static str, String)>, Vec<String>) {
    let (mut left, mut notes) = (Vec::new(), Vec::new());
    if let Some(subject) = &away.subject {
        left.push(("subject", format!("senders get an answer with Exchange's own subject, not with `{subject}`")));
    }
    if let Some(days) = away.days {
        notes.push(format!("a sender is answered once while it is on, not every {days} days"));
    }
    if !away.addresses.is_empty() {
        notes.push("mail to every address of the mailbox is answered, whatever addresses were named".into());
    }
    let second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let lines = |text: &str| html::text(&html::of(text));
    let outside = match &away.outside {
        Outside::Text(text) if lines(text) == lines(&away.text) => Outside::Same,
        Outside::Text(text) => Outside::Text(lines(text)),
        Outside::Known(text) => Outside::Known(lines(text)),
        other => other.clone(),
    };
    let made = Away {
        active: away.active,
        from: away.from.map(second),
        until: away.until.map(second),
        text: lines(&away.text),
        outside,
        ..Away::default()
    };
    let made = current(made, now);
    if away.active && !made.active {
        notes.push("its last day is over: it is switched off".into());
    } else if !away.active && away.from.or(away.until).is_some() {
        notes.push("it is switched off, and its dates do not go".into());
    }
    (made, left, notes)
}

/// `None` switches it off and empties it.
pub(super) fn written(away: Option<&Away>, address: &str) -> String {
    let nothing = Away::default();
    let away = away.unwrap_or(&nothing);
    let state = match (away.active, away.from.or(away.until)) {
        (false, _) => "Disabled",
        (true, None) => "Enabled",
        (true, Some(_)) => "Scheduled",
    };
    let (audience, outside) = match &away.outside {
        Outside::Same => ("All", away.text.as_str()),
        Outside::Nobody => ("None", ""),
        Outside::Text(text) => ("All", text.as_str()),
        Outside::Known(text) => ("Known", text.as_str()),
    };
    let at = |at: Option<Timestamp>, none: &str| at.map_or_else(|| none.to_owned(), |at| at.to_string());
    let duration = match state {
        "Scheduled" => format!(
            "<t:Duration><t:StartTime>{}</t:StartTime><t:EndTime>{}</t:EndTime></t:Duration>",
            at(away.from, FIRST),
            at(away.until, LAST)
        ),
        _ => String::new(),
    };
    let reply = |name: &str, text: &str| {
        let text = if text.is_empty() { String::new() } else { escaped(&html::of(text)) };
        format!("<t:{name}><t:Message>{text}</t:Message></t:{name}>")
    };
    format!(
        "<m:SetUserOofSettingsRequest>{}<t:UserOofSettings><t:OofState>{state}</t:OofState><t:ExternalAudience>{audience}</t:ExternalAudience>{duration}{}{}\
         </t:UserOofSettings></m:SetUserOofSettingsRequest>",
        mailbox(address),
        reply("InternalReply", &away.text),
        reply("ExternalReply", outside)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::services::cms::ews::soap::tree;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("time")
    }

    proptest! {
        /// What was made to fit is read back as itself, and fits as it is.
        #[test]
        fn what_fits_comes_back(
            active in any::<bool>(),
            from in proptest::option::of(1_700_000_000i64..1_900_000_000),
            until in proptest::option::of(1_700_000_000i64..1_900_000_000),
            text in "[a-z <>&\n]{1,30}x",
            outside in 0u8..4,
        ) {
            let at = |s: Option<i64>| s.and_then(|s| Timestamp::from_second(s).ok());
            let outside = match outside {
                0 => Outside::Same,
                1 => Outside::Nobody,
                2 => Outside::Text("other".into()),
                _ => Outside::Known(text.clone()),
            };
            let away = Away { active, from: at(from), until: at(until), text, outside, subject: Some("s".into()), days: Some(7), ..Away::default() };
            let (made, left, notes) = fitted(&away, now());
            prop_assert!(left.len() == 1 && !notes.is_empty());
            let asked = tree(written(Some(&made), "ann@acme.example").as_bytes()).expect("xml");
            let back = read(asked.child("UserOofSettings").expect("settings"), now());
            prop_assert_eq!(back.as_ref(), Some(&made));
            let (again, left, _) = fitted(&made, now());
            prop_assert!(left.is_empty());
            prop_assert_eq!(again, made);
        }
    }

    #[test]
    fn nothing_set_is_nothing() {
        let asked = tree(written(None, "ann@acme.example").as_bytes()).expect("xml");
        assert_eq!(read(asked.child("UserOofSettings").expect("settings"), now()), None);
        assert_eq!(instant("2026-02-03T04:05:06"), instant("2026-02-03T04:05:06Z"));
    }
}
