//! Texts of others as KDL: nothing in them may become a range or a variable.

/// A value: bare where that is legible, raw where it holds signs with a meaning of their own.
pub fn word(text: &str) -> String {
    let bare = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'))
        && !matches!(text, "true" | "false" | "null" | "inf" | "nan");
    if bare { text.to_owned() } else { quoted(text) }
}

/// A quoted or raw string.
pub fn quoted(text: &str) -> String {
    if text.chars().any(hidden) {
        return escaped(text);
    }
    if !text.contains(['$', '[', ']', '"', '\\']) {
        return format!("\"{text}\"");
    }
    let mut hashes = "#".to_owned();
    while text.contains(&format!("\"{hashes}")) {
        hashes.push('#');
    }
    format!("{hashes}\"{text}\"{hashes}")
}

/// Controls and direction marks, which KDL forbids outside of escapes.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escaped(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '$' => out.push_str("$$"),
            c if hidden(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Text for a `//` comment: one line, nothing hidden.
pub fn comment(text: &str) -> String {
    text.chars().map(|c| if hidden(c) { ' ' } else { c }).collect()
}

/// A name of the language out of any text: letters, digits, `-` and `_`.
pub fn name(text: &str) -> String {
    let cleaned: String = text.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect();
    cleaned.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_a_form_that_reads_back() {
        assert_eq!(word("mail-1.acme.example"), "mail-1.acme.example");
        assert_eq!(word("192.0.2.1"), "\"192.0.2.1\"");
        assert_eq!(word("true"), "\"true\"");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("a[1:2]"), "#\"a[1:2]\"#");
        assert_eq!(word("0 issue \"ca.example\""), "#\"0 issue \"ca.example\"\"#");
        assert_eq!(word("x\"#y\"##"), "###\"x\"#y\"##\"###");
        assert_eq!(word("a\u{202e}$b"), "\"a\\u{202e}$$b\"");
        assert_eq!(name("Site A / 2"), "Site-A---2");
    }
}
