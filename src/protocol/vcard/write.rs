//! From cards to octets. What a version cannot hold is said.

use super::neutral::{NAMES, extended, kind_of};
use super::value::{Shape, escape, list, parts, shape, unescape};
use super::{Card, Property, Version};

/// Octets of a line before it is folded (RFC 6350 section 3.2).
const LINE: usize = 75;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub version: Version,
    /// Every comma that separates nothing is escaped, also in addresses and in what is not known. Python's vobject (Radicale)
    /// cuts a value at a comma that is not.
    pub careful: bool,
}

/// A card as text, with CR LF, and what of it could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    pub lost: Vec<String>,
}

/// Writes a card. FN, and N in 3.0, must be there by the standards: where the card has none, FN says what a person would call it.
pub fn write(card: &Card, form: Form) -> Written {
    let mut out = Written { text: String::new(), lost: Vec::new() };
    let version = match form.version {
        Version::V2 => "2.1",
        Version::V3 => "3.0",
        Version::V4 => "4.0",
    };
    out.text.push_str("BEGIN:VCARD\r\nVERSION:");
    out.text.push_str(version);
    out.text.push_str("\r\n");
    let has = |name: &str| card.properties.iter().any(|p| p.name == name);
    let mut added = Vec::new();
    if !has("UID") {
        added.push(Property::text("UID", &card.uid()));
    }
    if card.get("FN").is_none() {
        added.push(Property::text("FN", &card.shown()));
    }
    if !has("N") && form.version != Version::V4 {
        added.push(Property::raw("N", ";;;;"));
    }
    let empty = |p: &Property| p.name == "FN" && p.is_empty();
    for property in added.iter().chain(card.properties.iter().filter(|p| !empty(p))) {
        one(property, form, &mut out);
    }
    out.text.push_str("END:VCARD\r\n");
    out
}

fn one(p: &Property, form: Form, out: &mut Written) {
    match form.version {
        Version::V4 => line(p, &p.name, &p.parameters, &p.value, form, out),
        // Several values in one line are read by few programs.
        Version::V3 if p.name == "NICKNAME" => {
            for nick in list(&p.value) {
                line(p, &p.name, &p.parameters, &escape(&nick), form, out);
            }
        }
        Version::V3 | Version::V2 => old(p, form, out),
    }
}

/// 3.0 and 2.1.
fn old(p: &Property, form: Form, out: &mut Written) {
    let name = NAMES.iter().find(|(_, n)| *n == p.name).map_or(p.name.as_str(), |(other, _)| *other);
    let mut p = p.clone();
    let shape = shape(&p.name, &p.parameters);
    if p.parameter("PREF").first().is_some_and(|n| n == "1") {
        p.take("PREF");
        p.add("TYPE", "pref");
    }
    let two = form.version == Version::V2;
    let inline = p.value.strip_prefix("data:").and_then(|d| d.split_once(";base64,"));
    if let (Some((media, packed)), "PHOTO" | "LOGO" | "SOUND" | "KEY") = (inline, p.name.as_str()) {
        let (kind, packed) = (kind_of(media), packed.to_owned());
        p.add("ENCODING", if two { "BASE64" } else { "b" });
        if let Some(kind) = kind {
            p.add("TYPE", &kind);
        }
        return line(&p, name, &p.parameters, &packed, form, out);
    }
    if matches!(p.name.as_str(), "PHOTO" | "LOGO" | "SOUND" | "KEY") && shape == Shape::Uri {
        p.add("VALUE", if two { "URL" } else { "uri" });
    }
    let value = match shape {
        Shape::Date => extended(&p.value),
        Shape::Uri if p.name == "GEO" => {
            p.value.strip_prefix("geo:").map_or(p.value.clone(), |g| g.replacen(',', ";", 1))
        }
        Shape::Uri | Shape::Unknown if !form.careful => p.value.clone(),
        Shape::Uri | Shape::Text | Shape::Unknown => escape(&unescape(&p.value)),
        Shape::List => list(&p.value).iter().map(|v| escape(v)).collect::<Vec<_>>().join(","),
        Shape::Parts => parts(&p.value).iter().map(|v| escape(&unescape(v))).collect::<Vec<_>>().join(";"),
        Shape::Lists => {
            let lists = |v: &&str| list(v).iter().map(|v| escape(v)).collect::<Vec<_>>().join(",");
            parts(&p.value).iter().map(lists).collect::<Vec<_>>().join(";")
        }
    };
    if !two {
        return line(&p, name, &p.parameters, &value, form, out);
    }
    // 2.1 escapes semicolons between parts only.
    let value = match shape {
        Shape::Lists | Shape::Parts => parts(&value)
            .iter()
            .map(|v| unescape(v).replace('\\', "\\\\").replace(';', "\\;"))
            .collect::<Vec<_>>()
            .join(";"),
        // A backslash at the place of an escape would be read as one.
        Shape::Text => unescape(&value).replace('\\', "\\\\"),
        Shape::List => {
            let inner = |v: &String| v.replace('\\', "\\\\").replace(',', "\\,");
            list(&value).iter().map(inner).collect::<Vec<_>>().join(",")
        }
        _ => value,
    };
    if value.is_ascii() && !value.contains(['\n', '\r']) && !value.starts_with(' ') {
        return line(&p, name, &p.parameters, &value, form, out);
    }
    p.add("CHARSET", "UTF-8");
    p.add("ENCODING", "QUOTED-PRINTABLE");
    line(&p, name, &p.parameters, &printed(&value), form, out);
}

fn line(p: &Property, name: &str, parameters: &[(String, Vec<String>)], value: &str, form: Form, out: &mut Written) {
    let mut text = String::with_capacity(value.len() + 64);
    if let Some(group) = &p.group {
        text.push_str(group);
        text.push('.');
    }
    text.push_str(name);
    for (parameter, values) in parameters {
        let values: Vec<String> = values
            .iter()
            .map(|v| {
                let (plain, whole) = quoted(v, form.version);
                if !whole {
                    out.lost.push(format!("{name}: {parameter}={v}"));
                }
                plain
            })
            .collect();
        if form.version == Version::V2 && parameter == "TYPE" {
            values.iter().for_each(|v| text.extend([";", &v.to_uppercase()]));
        } else {
            text.extend([";", parameter, "=", &values.join(",")]);
        }
    }
    text.push(':');
    text.push_str(value);
    if form.version == Version::V2 && text.contains("QUOTED-PRINTABLE:") {
        out.text.push_str(&text);
    } else {
        fold(&text, form.version, &mut out.text);
    }
    out.text.push_str("\r\n");
    if form.version == Version::V2 && text.contains("ENCODING=BASE64:") {
        out.text.push_str("\r\n");
    }
}

/// A value of a parameter, and whether all of it could be written. 4.0 has RFC 6868 for what quotes cannot hold.
fn quoted(value: &str, version: Version) -> (String, bool) {
    let mut text = value.to_owned();
    if version == Version::V4 {
        text = text.replace('^', "^^").replace("\r\n", "^n").replace(['\r', '\n'], "^n").replace('"', "^'");
    }
    let plain: String = text
        .chars()
        .map(|c| {
            if c == '"' {
                '\''
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    let mut whole = plain == text;
    if version == Version::V2 && plain.contains([';', ':', ',']) {
        whole = false;
        return (plain.replace([';', ':', ','], " "), whole);
    }
    let needs = plain.contains([';', ':', ',']) || plain.is_empty();
    (if needs && version != Version::V2 { format!("\"{plain}\"") } else { plain }, whole)
}

/// Never within a letter.
fn fold(text: &str, version: Version, out: &mut String) {
    // White space of 2.1 belongs to the value: only what has none in it, an encoded content, can be folded.
    if version == Version::V2 && !text.contains("ENCODING=BASE64:") {
        out.push_str(text);
        return;
    }
    let mut used = 0;
    for letter in text.chars() {
        if used + letter.len_utf8() > LINE {
            out.push_str("\r\n ");
            used = 1;
        }
        out.push(letter);
        used += letter.len_utf8();
    }
}

/// RFC 2045 section 6.7 with soft line ends.
fn printed(text: &str) -> String {
    let mut out = String::new();
    let mut used = 0;
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    for (n, octet) in text.bytes().enumerate() {
        // White space at the end of a line gets lost on the way.
        let last = n + 1 == text.len();
        let code = match octet {
            b'!'..=b'<' | b'>'..=b'~' => char::from(octet).to_string(),
            b' ' if !last => " ".to_owned(),
            _ => format!("={octet:02X}"),
        };
        if used + code.len() > 70 {
            out.push_str("=\r\n");
            used = 0;
        }
        used += code.len();
        out.push_str(&code);
    }
    out
}
