//! Of which class a server's refusal is: by its response code (RFC 5530, RFC 7889, RFC 9208), else by texts that products are
//! known to write, else by what was asked.

use std::time::Duration;

use super::Session;
use crate::protocol::imap::Status;
use crate::protocol::imap::answer::Done;
use crate::services::cms::mailbox::{Class, Fault};
use crate::services::cms::wire::shown;

/// Response codes that say what it is.
const CODES: [(&str, Class); 20] = [
    ("AUTHENTICATIONFAILED", Class::Login),
    ("AUTHORIZATIONFAILED", Class::Login),
    ("EXPIRED", Class::Login),
    ("CONTACTADMIN", Class::Login),
    ("PRIVACYREQUIRED", Class::Login),
    ("UNAVAILABLE", Class::Busy),
    ("INUSE", Class::Busy),
    ("LIMIT", Class::Busy),
    ("SERVERBUG", Class::Busy),
    ("THROTTLED", Class::Busy),
    ("OVERQUOTA", Class::Quota),
    ("TOOBIG", Class::TooLarge),
    ("MAXSIZE", Class::TooLarge),
    ("NOPERM", Class::Permission),
    ("READ-ONLY", Class::Permission),
    ("NONEXISTENT", Class::Vanished),
    ("TRYCREATE", Class::Vanished),
    ("EXPUNGEISSUED", Class::Vanished),
    ("CANNOT", Class::Unsupported),
    ("UNKNOWN-CTE", Class::Malformed),
];

/// Texts of many products, in small letters. The first that fits counts.
const TEXTS: [(&str, Class); 44] = [
    ("authenticated but not connected", Class::Login),
    ("invalid credentials", Class::Login),
    ("authentication failed", Class::Login),
    ("login failed", Class::Login),
    ("over quota", Class::Quota),
    ("overquota", Class::Quota),
    ("quota exceeded", Class::Quota),
    ("exceeded quota", Class::Quota),
    ("exceed quota", Class::Quota),
    ("exceed your quota", Class::Quota),
    ("mailbox is full", Class::Quota),
    ("mailbox full", Class::Quota),
    ("no space left", Class::Quota),
    ("not enough disk", Class::Quota),
    ("suggested backoff", Class::Busy),
    ("too many", Class::Busy),
    ("try again", Class::Busy),
    ("try later", Class::Busy),
    ("temporar", Class::Busy),
    ("throttl", Class::Busy),
    ("server busy", Class::Busy),
    ("overload", Class::Busy),
    ("shutting down", Class::Busy),
    ("being restarted", Class::Busy),
    ("is locked", Class::Busy),
    ("too large", Class::TooLarge),
    ("too big", Class::TooLarge),
    ("exceeds the maximum", Class::TooLarge),
    ("exceeds maximum", Class::TooLarge),
    ("maximum message size", Class::TooLarge),
    ("exceeds fixed limit", Class::TooLarge),
    ("line too long", Class::Malformed),
    ("contains nul", Class::Malformed),
    ("bare newline", Class::Malformed),
    ("invalid header", Class::Malformed),
    ("invalid mime", Class::Malformed),
    ("8-bit", Class::Malformed),
    ("zero sized", Class::Malformed),
    ("permission denied", Class::Permission),
    ("access denied", Class::Permission),
    ("doesn't exist", Class::Vanished),
    ("does not exist", Class::Vanished),
    ("no such mailbox", Class::Vanished),
    ("unknown mailbox", Class::Vanished),
];

impl Session {
    /// `doing` is what was asked, for the text; `otherwise` is the class when nothing tells.
    pub(super) fn fault(&self, done: &Done, doing: &str, otherwise: Class) -> Fault {
        let class = class_of(done, self.dialect.texts).unwrap_or(otherwise);
        let status = match done.status {
            Status::No => "NO",
            Status::Bad => "BAD",
            Status::Bye => "BYE",
            Status::Ok | Status::PreAuth => "OK",
        };
        let code =
            done.code.as_ref().map(|c| format!(" [{} {}]", c.name, c.rest).replace(" ]", "]")).unwrap_or_default();
        let words = shown(&format!("{status}{code} {}", done.text));
        let fault = Fault::new(class, format!("{}: {doing}: {}", self.stream.server(), words.trim_end()));
        match patience(&done.text) {
            Some(wait) => fault.after(wait),
            None => fault,
        }
    }
}

/// `None` when neither code nor text tells.
pub(super) fn class_of(done: &Done, product: &[(&str, Class)]) -> Option<Class> {
    let by_code =
        done.code.as_ref().and_then(|c| CODES.iter().find(|(name, _)| *name == c.name)).map(|(_, class)| *class);
    by_code.or_else(|| {
        let text = done.text.to_lowercase();
        product.iter().chain(&TEXTS).find(|(words, _)| text.contains(words)).map(|(_, class)| *class)
    })
}

/// `Suggested Backoff Time: 299961 milliseconds` (Exchange Online), also `ms` and `seconds`.
fn patience(text: &str) -> Option<Duration> {
    let text = text.to_lowercase();
    let (_, rest) = text.split_once("backoff time")?;
    let rest = rest.trim_start_matches([':', ' ', '=']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().ok()?;
    let unit = rest[digits.len()..].trim_start();
    // Nobody is asked to wait for more than a day.
    let wait = if unit.starts_with("sec") || unit.starts_with("s ") { number.saturating_mul(1000) } else { number };
    Some(Duration::from_millis(wait.min(86_400_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::answer::{Answer, decode};
    use crate::protocol::imap::value::Piece;
    use crate::services::cms::imap::profile;

    fn class(line: &str, product: &[(&str, Class)]) -> Option<Class> {
        match decode(&[Piece::Text(line.as_bytes().to_vec())]) {
            Answer::Tagged(_, done) | Answer::State(done) => class_of(&done, product),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_come_first_then_texts_of_the_product_then_texts_of_all() {
        let exchange = profile::of(crate::services::cms::config::Profile::Exchange).texts;
        for (line, generic, on_exchange) in [
            ("c1 NO [OVERQUOTA] try again", Some(Class::Quota), Some(Class::Quota)),
            ("c1 NO [TOOBIG] x", Some(Class::TooLarge), Some(Class::TooLarge)),
            ("c1 NO [LIMIT] x", Some(Class::Busy), Some(Class::Busy)),
            ("c1 NO [TRYCREATE] x", Some(Class::Vanished), Some(Class::Vanished)),
            ("c1 NO Server Unavailable. 15", None, Some(Class::Quota)),
            ("c1 BAD User is authenticated but not connected.", Some(Class::Login), Some(Class::Login)),
            ("* BYE Too many connections", Some(Class::Busy), Some(Class::Busy)),
            ("c1 NO something else", None, None),
        ] {
            assert_eq!(class(line, &[]), generic, "{line}");
            assert_eq!(class(line, exchange), on_exchange, "{line}");
        }
    }

    #[test]
    fn failure_29_a_suggested_backoff_is_read() {
        let wait = |t| patience(t).map(|w| w.as_millis());
        assert_eq!(wait("Request is throttled. Suggested Backoff Time: 299961 milliseconds"), Some(299_961));
        assert_eq!(wait("Suggested Backoff Time: 30 seconds"), Some(30_000));
        assert_eq!(wait("Suggested Backoff Time: 99999999999999 ms"), Some(86_400_000));
        assert_eq!(wait("Backoff Time: soon"), None);
    }
}
