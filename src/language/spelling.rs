//! Names in every script: which characters they may hold, and two spellings of one name made one.
//!
//! Persian needs the zero-width non-joiner, Indic scripts both joiners. They have no picture, so they stand only where they change
//! one: RFC 5892, appendix A.1 and A.2 (the same as UAX 31, section 2.3).

use std::borrow::Cow;

use icu_properties::CodePointMapData;
use icu_properties::props::JoiningType;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::model::glyph::{is_direction, is_hidden};

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

/// Combining class of a virama: it ties two consonants of an Indic script (UAX 44, table 15).
const VIRAMA: u8 = 9;

/// The composed form (NFC, UAX 15): `u` with a combining diaeresis and `ü` are one name.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// The first character of a text that does nothing to be seen there, with its byte offset.
pub(super) fn unseen(text: &str) -> Option<(usize, char)> {
    if text.is_ascii() {
        return None;
    }
    text.char_indices().find(|(at, c)| match *c {
        ZWNJ | ZWJ => !joins(text, *at, *c),
        c => is_hidden(c) || is_direction(c),
    })
}

/// True where a joiner changes what is drawn.
fn joins(text: &str, at: usize, joiner: char) -> bool {
    let before = &text[..at];
    let after = &text[at + joiner.len_utf8()..];
    if before.chars().next_back().is_some_and(|c| canonical_combining_class(c) == VIRAMA) {
        return true;
    }
    let types = CodePointMapData::<JoiningType>::new();
    let solid = |c: &char| types.get(*c) != JoiningType::Transparent;
    let left = before.chars().rev().find(solid).map(|c| types.get(c));
    let right = after.chars().find(solid).map(|c| types.get(c));
    joiner == ZWNJ
        && left.is_some_and(|t| t == JoiningType::LeftJoining || t == JoiningType::DualJoining)
        && right.is_some_and(|t| t == JoiningType::RightJoining || t == JoiningType::DualJoining)
}

/// Letters, digits, `-`, `_`, marks behind a letter, joiners where they act.
pub(super) fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if text.is_ascii() {
        return !text.is_empty() && text.len() <= 255 && text.chars().all(word);
    }
    !text.is_empty()
        && text.len() <= 255
        && text.chars().all(|c| word(c) || is_combining_mark(c) || c == ZWNJ || c == ZWJ)
        && !text.starts_with(|c: char| is_combining_mark(c) || c == ZWNJ || c == ZWJ)
        && unseen(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_scripts() {
        for good in
            ["تهران", "می\u{200c}شود", "Köln", "संस्कृत", "क्\u{200d}ष", "東京-1", "Ελλάδα", "mbx-01", "سرور_۱", "גדרה"]
        {
            assert!(is_name(&composed(good)), "{good}");
        }
        for bad in [
            "a\u{200c}b",
            "کار\u{200c}ها",
            "\u{200c}تهران",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{ad}b",
            "\u{301}a",
            "a b",
            "a.b",
            "a😀",
            "\u{2067}تهران",
        ] {
            assert!(!is_name(&composed(bad)), "{bad:?}");
        }
    }

    #[test]
    fn two_spellings_are_one() {
        assert_eq!(composed("ko\u{308}ln"), "köln");
        assert_eq!(composed("\u{6cc}\u{654}"), composed("\u{6cc}\u{654}"));
        assert!(matches!(composed("köln"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_not_seen_is_found() {
        assert_eq!(unseen("ab\u{200b}"), Some((2, '\u{200b}')));
        assert_eq!(unseen("می\u{200c}شود"), None);
        assert_eq!(unseen("کار\u{200c}ها").map(|(_, c)| c), Some(ZWNJ));
    }
}
