//! Characters that do not show what they do: controls, direction marks, and those without a picture. Nothing here knows of files.

use std::borrow::Cow;

/// Direction marks, embeddings, overrides and isolates: they turn the order of what is shown, so a line can say another thing to
/// a person than to a program (Unicode UAX 9, section 2; "Trojan Source", CVE-2021-42574).
pub fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Without a picture of its own: Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt), the direction marks apart.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Steers a terminal or turns the order of a line; a line break, a tab and the end of a DOS line do not.
pub fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t') || is_direction(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// How such a character is shown to people.
pub fn sign(c: char) -> String {
    format!("⟨U+{:04X}⟩", c as u32)
}

/// A text of foreign origin, fit for a terminal: what [`steers`] is replaced by its [`sign`].
pub fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { out.push_str(&sign(c)) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown() {
        assert_eq!(tame("a\u{202e}b\u{1b}[31m"), "a⟨U+202E⟩b⟨U+001B⟩[31m");
        assert!(matches!(tame("می\u{200c}شود\n\tx"), Cow::Borrowed(_)));
    }
}
