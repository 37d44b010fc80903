//! Escapes (RFC 6350 section 3.4), lists and parts.

/// Escapes a text for a place where lists and parts may stand.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' | ',' | ';' => out.extend(['\\', letter]),
            '\r' => {
                letters.next_if_eq(&'\n');
                out.push_str("\\n");
            }
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

/// Takes escapes away. A backslash before a letter that needs none stands for itself.
pub fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n' | 'N') => out.push('\n'),
            Some(escaped @ ('\\' | ',' | ';' | ':')) => out.push(escaped),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// Splits where a separator stands without a backslash before it; the pieces stay escaped.
pub(super) fn split(value: &str, at: char) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut begin, mut escaped) = (0, false);
    for (n, letter) in value.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == at {
            pieces.push(&value[begin..n]);
            begin = n + letter.len_utf8();
        }
    }
    pieces.push(&value[begin..]);
    pieces
}

/// Parts behind each other, each still escaped.
pub fn parts(value: &str) -> Vec<&str> {
    split(value, ';')
}

/// Values of a list, without escapes.
pub fn list(value: &str) -> Vec<String> {
    split(value, ',').into_iter().map(unescape).collect()
}

/// What a property's value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Parts, each of which may be a list.
    Lists,
    /// Parts that are no lists.
    Parts,
    /// A list of texts.
    List,
    Text,
    Uri,
    Date,
    /// Not known: kept as it is.
    Unknown,
}

pub(super) fn shape(name: &str, parameters: &[(String, Vec<String>)]) -> Shape {
    let value = parameters.iter().find(|(n, _)| n == "VALUE").and_then(|(_, v)| v.first());
    match value.map(|v| v.to_ascii_lowercase()).as_deref() {
        Some("uri" | "url") => return Shape::Uri,
        Some("text") => return Shape::Text,
        _ => {}
    }
    match name {
        "N" | "ADR" => Shape::Lists,
        "ORG" | "GENDER" | "CLIENTPIDMAP" => Shape::Parts,
        "CATEGORIES" | "NICKNAME" => Shape::List,
        "FN" | "EMAIL" | "TEL" | "TITLE" | "ROLE" | "NOTE" | "TZ" | "LABEL" | "SORT-STRING" | "MAILER" | "LANG"
        | "CLASS" | "KIND" | "UID" | "PRODID" | "NAME" => Shape::Text,
        "URL" | "PHOTO" | "LOGO" | "SOUND" | "KEY" | "SOURCE" | "RELATED" | "IMPP" | "MEMBER" | "FBURL" | "CALURI"
        | "CALADRURI" | "GEO" => Shape::Uri,
        "BDAY" | "ANNIVERSARY" | "DEATHDATE" => Shape::Date,
        _ => Shape::Unknown,
    }
}
