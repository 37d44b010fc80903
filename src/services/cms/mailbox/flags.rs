//! Flags and keywords of a message.

use std::collections::BTreeSet;
use std::fmt;

/// System flags as bits, keywords as they are written. `\Recent` is the server's and is never held. Keywords differ from each
/// other without regard to case (RFC 9051 section 2.3.2); the first spelling is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    system: u8,
    keywords: BTreeSet<String>,
}

const SYSTEM: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

impl Flags {
    pub fn of<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Self {
        let mut flags = Self::default();
        words.into_iter().for_each(|w| flags.add(w.as_ref()));
        flags
    }

    pub fn add(&mut self, word: &str) {
        if let Some(n) = SYSTEM.iter().position(|s| s.eq_ignore_ascii_case(word)) {
            self.system |= 1 << n;
        } else if !word.is_empty()
            && !word.starts_with('\\')
            && !self.keywords.iter().any(|k| k.eq_ignore_ascii_case(word))
        {
            self.keywords.insert(word.to_owned());
        }
    }

    pub fn has(&self, word: &str) -> bool {
        match SYSTEM.iter().position(|s| s.eq_ignore_ascii_case(word)) {
            Some(n) => self.system & (1 << n) != 0,
            None => self.keywords.iter().any(|k| k.eq_ignore_ascii_case(word)),
        }
    }

    /// All words, in a stable order: system flags first.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let system = SYSTEM.iter().enumerate().filter(|(n, _)| self.system & (1 << n) != 0).map(|(_, s)| *s);
        system.chain(self.keywords.iter().map(String::as_str))
    }

    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.keywords.iter().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// The same flags, keywords compared without case.
    pub fn same(&self, other: &Self) -> bool {
        self.system == other.system
            && self.keywords.len() == other.keywords.len()
            && self.keywords.iter().all(|k| other.has(k))
    }
}

/// As IMAP writes a list, without its parentheses; [`Flags::of`] of its words reads it back.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.words().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_of_flags_and_keywords_does_not_matter_and_recent_is_not_held() {
        let flags = Flags::of(["\\seen", "$Forwarded", "$forwarded", "\\Recent", "Work"]);
        assert_eq!(flags.to_string(), "\\Seen $Forwarded Work");
        assert!(flags.same(&Flags::of(["work", "$FORWARDED", "\\Seen"])));
        assert!(!flags.same(&Flags::of(["\\Seen", "Work"])));
        assert_eq!(Flags::of(flags.to_string().split(' ')), flags);
    }
}
