//! What the versions write otherwise, brought into the form of vCard 4.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::{Encoding, UTF_8};

use super::parse::decoded;
use super::value::{Shape, escape, parts, shape, split, unescape};
use super::{Property, Version};

/// Names that servers and programs use for what vCard 4 has a name for.
pub(super) const NAMES: [(&str, &str); 2] =
    [("X-ADDRESSBOOKSERVER-KIND", "KIND"), ("X-ADDRESSBOOKSERVER-MEMBER", "MEMBER")];

/// `TYPE` of an inline content, and its media type.
const MEDIA: [(&str, &str); 4] = [
    ("PGP", "application/pgp-keys"),
    ("X509", "application/pkix-cert"),
    ("WAVE", "audio/wav"),
    ("BASIC", "audio/basic"),
];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A property with the octets of its value, as a version writes it. `None` for what says nothing by itself.
pub(super) fn of(mut p: Property, octets: &[u8], version: Version) -> Result<Option<Property>, &'static str> {
    if let Some((_, name)) = NAMES.iter().find(|(other, _)| *other == p.name) {
        p.name = (*name).to_owned();
    }
    if p.name == "VERSION" {
        return Ok(None);
    }
    let charset = p.take("CHARSET");
    let charset = match charset.first() {
        Some(label) => Encoding::for_label(label.as_bytes()).ok_or("a charset that nobody knows")?,
        None => UTF_8,
    };
    let encoding = p.take("ENCODING").first().map(|e| e.to_ascii_uppercase()).unwrap_or_default();
    let printable = encoding == "QUOTED-PRINTABLE";
    types(&mut p);
    if matches!(encoding.as_str(), "B" | "BASE64") {
        inline(&mut p, octets)?;
        return Ok(Some(p));
    }
    let text = if printable { decoded(&unprinted(octets), charset) } else { decoded(octets, charset) };
    let shape = shape(&p.name, &p.parameters);
    if shape == Shape::Uri && p.parameter("VALUE").first().is_some_and(|v| v.eq_ignore_ascii_case("url")) {
        p.take("VALUE");
    }
    if p.name != "TEL" && p.name != "UID" && p.parameter("VALUE").first().is_some_and(|v| v.eq_ignore_ascii_case("uri"))
    {
        p.take("VALUE");
    }
    p.value = match (version, shape) {
        (Version::V2, Shape::Lists | Shape::Parts) => {
            parts(&text).iter().map(|p| escape(&softened(p))).collect::<Vec<_>>().join(";")
        }
        (Version::V2, Shape::List) => {
            split(&text, ',').iter().map(|v| escape(&softened(v))).collect::<Vec<_>>().join(",")
        }
        (Version::V2, Shape::Text) => escape(&softened(&text)),
        // An address has no backslash; programs escape it as if it were a text.
        (_, Shape::Uri) => match p.name.as_str() {
            "GEO" => geo(&unescape(&text)),
            _ => unescape(&text).replace('\n', " ").trim().to_owned(),
        },
        (_, Shape::Date) => date(&text).unwrap_or_else(|| {
            p.take("VALUE");
            p.add("VALUE", "text");
            escape(&unescape(&text))
        }),
        // An unescaped line end can come of an encoding only.
        _ if printable => text.replace("\r\n", "\\n").replace(['\r', '\n'], "\\n"),
        _ => text,
    };
    if shape == Shape::Date && p.parameter("VALUE").iter().any(|v| v.starts_with("date")) {
        p.take("VALUE");
    }
    Ok(Some(p))
}

/// 2.1 knows one escape; programs write more of them.
fn softened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next @ (';' | ',' | ':' | '\\')) if letter == '\\' => {
                out.push(*next);
                letters.next();
            }
            _ => out.push(letter),
        }
    }
    out
}

/// Kinds in small letters; `TYPE=PREF` is `PREF=1`.
fn types(p: &mut Property) {
    let mut kinds: Vec<String> = Vec::new();
    for kind in p.take("TYPE") {
        let kind = kind.trim().to_lowercase();
        if kind == "pref" {
            if p.parameter("PREF").is_empty() {
                p.add("PREF", "1");
            }
        } else if !kind.is_empty() && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.iter().for_each(|k| p.add("TYPE", k));
}

/// An inline content becomes a `data:` address (RFC 2397), whose media type `TYPE` told.
fn inline(p: &mut Property, octets: &[u8]) -> Result<(), &'static str> {
    let packed: Vec<u8> = octets.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let plain = BASE64.decode(&packed).map_err(|_| "what is said to be base64 is none")?;
    p.take("VALUE");
    let family = match p.name.as_str() {
        "PHOTO" | "LOGO" => "image",
        "SOUND" => "audio",
        "KEY" => "application",
        // Not known here: as it came, with the word that says how.
        _ => {
            p.add("ENCODING", "b");
            p.value = base64::engine::general_purpose::STANDARD.encode(plain);
            return Ok(());
        }
    };
    let kinds = p.take("TYPE");
    let place = |k: &String| matches!(k.as_str(), "home" | "work");
    kinds.iter().filter(|k| place(k)).for_each(|k| p.add("TYPE", k));
    let media = match kinds.iter().find(|k| !place(k)) {
        None => "application/octet-stream".to_owned(),
        Some(kind) if kind.contains('/') => kind.clone(),
        Some(kind) => {
            let known = MEDIA.iter().find(|(word, _)| kind.eq_ignore_ascii_case(word));
            known.map_or_else(|| format!("{family}/{kind}"), |(_, media)| (*media).to_owned())
        }
    };
    p.value = format!("data:{media};base64,{}", base64::engine::general_purpose::STANDARD.encode(plain));
    Ok(())
}

/// The `TYPE` of 3.0 for a media type; `None` where there is nothing to say.
pub(super) fn kind_of(media: &str) -> Option<String> {
    if media.is_empty() || media == "application/octet-stream" {
        return None;
    }
    let known = MEDIA.iter().find(|(_, m)| *m == media).map(|(word, _)| (*word).to_owned());
    known.or_else(|| media.split_once('/').map(|(_, kind)| kind.to_ascii_uppercase()))
}

/// RFC 2045 section 6.7, tolerant: what is no code stands for itself.
fn unprinted(octets: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(octets.len());
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        match (octet, digit(octets.get(at + 1)), digit(octets.get(at + 2))) {
            (b'=', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*octet);
                at += 1;
            }
        }
    }
    out
}

/// `37.38;-122.08` (RFC 2426 section 3.4.2) as an address (RFC 5870).
fn geo(text: &str) -> String {
    match text.split_once(';') {
        Some((n, e)) if !text.starts_with("geo:") => format!("geo:{},{}", n.trim(), e.trim()),
        _ => text.trim().to_owned(),
    }
}

/// The basic format of ISO 8601 (RFC 6350 section 4.3) from it or the extended one; `None` when it is no date.
pub(super) fn date(text: &str) -> Option<String> {
    let text = text.trim();
    let (day, time) = match text.split_once(['T', 't']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let digits = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_digit());
    let cut = |at: usize| day.get(..at).zip(day.get(at..));
    let pieces: Vec<&str> = day.split('-').collect();
    let basic = match pieces.as_slice() {
        [year, month, d] if digits(year, 4) && digits(month, 2) && digits(d, 2) => format!("{year}{month}{d}"),
        [year, month] if digits(year, 4) && digits(month, 2) => format!("{year}-{month}"),
        ["", "", month, d] if digits(month, 2) && digits(d, 2) => format!("--{month}{d}"),
        ["", "", rest] if digits(rest, 4) || digits(rest, 2) => format!("--{rest}"),
        ["", "", "", d] if digits(d, 2) => format!("---{d}"),
        [whole] if digits(whole, 8) || digits(whole, 4) => (*whole).to_owned(),
        _ => return None,
    };
    if basic.len() == 8 && basic.starts_with(|c: char| c.is_ascii_digit()) && !basic.contains('-') {
        let (_, rest) = cut(if day.contains('-') { 5 } else { 4 })?;
        let month: u8 = rest.get(..2)?.parse().ok()?;
        let d: u8 = basic.get(6..)?.parse().ok()?;
        if !(1..=12).contains(&month) || !(1..=31).contains(&d) {
            return None;
        }
    }
    let Some(time) = time else { return Some(basic) };
    let time = time.replace(':', "");
    let fine = time.chars().all(|c| c.is_ascii_digit() || "+-Zz.,".contains(c)) && time.len() >= 2;
    fine.then(|| format!("{basic}T{}", time.to_uppercase()))
}

/// The extended format that 3.0 writes.
pub(super) fn extended(date: &str) -> String {
    let (day, time) = date.split_once('T').map_or((date, None), |(d, t)| (d, Some(t)));
    let day = match (day.len(), day.as_bytes()) {
        (8, b) if b.iter().all(u8::is_ascii_digit) => format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]),
        (6, [b'-', b'-', rest @ ..]) if rest.iter().all(u8::is_ascii_digit) => {
            format!("--{}-{}", &day[2..4], &day[4..])
        }
        _ => day.to_owned(),
    };
    match time {
        Some(t) if t.len() >= 6 && t.as_bytes()[..6].iter().all(u8::is_ascii_digit) => {
            format!("{day}T{}:{}:{}{}", &t[..2], &t[2..4], &t[4..6], &t[6..])
        }
        Some(t) => format!("{day}T{t}"),
        None => day,
    }
}
