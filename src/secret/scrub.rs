//! Hides the secrets of this run in text that others made: output of a failed command, a program's error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// Shorter values would hide half of an ordinary text; when one occurs, the whole line goes.
const SHORT: usize = 4;

/// A value and its reference.
type Hidden = (Zeroizing<String>, String);

/// The values to hide. Cheap to clone; all clones share one set.
#[derive(Clone, Default)]
pub struct Scrub {
    values: Arc<Mutex<Vec<Hidden>>>,
}

impl fmt::Debug for Scrub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrub(..)")
    }
}

impl Scrub {
    /// Remembers a value under its reference. The lines of a long text (a private key) are remembered apart as well, since
    /// programs quote lines.
    pub fn add(&self, reference: &str, value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = text.lines().filter(|l| l.len() >= 16 && !l.starts_with("-----"));
        for piece in std::iter::once(text).chain(lines).map(str::trim).filter(|p| !p.is_empty()) {
            if !values.iter().any(|(v, _)| v.as_str() == piece) {
                values.push((Zeroizing::new(piece.to_owned()), reference.to_owned()));
            }
        }
    }

    /// `text` with each remembered value replaced by `(secret REFERENCE)`. The longest values go first, so that one value
    /// inside another leaves nothing behind.
    pub fn clean(&self, text: &str) -> String {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hits: Vec<(&str, &str)> =
            values.iter().map(|(v, r)| (v.as_str(), r.as_str())).filter(|(v, _)| text.contains(v)).collect();
        hits.sort_by_key(|(v, _)| std::cmp::Reverse(v.len()));
        let mut clean = text.to_owned();
        for (value, reference) in hits {
            clean = if value.chars().count() >= SHORT {
                clean.replace(value, &format!("(secret {reference})"))
            } else {
                let lines =
                    clean.lines().map(|l| if l.contains(value) { "(line hidden: it holds a secret)" } else { l });
                lines.collect::<Vec<_>>().join("\n")
            };
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_the_reference_stays() {
        let scrub = Scrub::default();
        scrub.add("env:A", b"hunter2-hunter2");
        scrub.add("env:B", b"hunter2");
        scrub.add("env:C", b"xy");
        let clean = scrub.clean("login hunter2-hunter2 failed\nthen hunter2\npin xy\nfine");
        assert_eq!(clean, "login (secret env:A) failed\nthen (secret env:B)\n(line hidden: it holds a secret)\nfine");
    }

    #[test]
    fn lines_of_a_key_are_hidden_apart() {
        let scrub = Scrub::default();
        scrub.add("file:k", b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n");
        assert_eq!(scrub.clean("bad line: MIIEvQIBADANBgkqhkiG9w0"), "bad line: (secret file:k)");
        assert_eq!(scrub.clean("-----BEGIN PRIVATE KEY-----"), "-----BEGIN PRIVATE KEY-----");
    }

    #[test]
    fn debug_shows_nothing() {
        let scrub = Scrub::default();
        scrub.add("env:A", b"canary-value");
        assert!(!format!("{scrub:?}").contains("canary"));
    }
}
