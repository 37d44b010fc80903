//! The header of a message or of a part, as far as the canonical digest needs it.

use encoding_rs::Encoding;
use jiff::fmt::rfc2822::DateTimeParser;
use sha2::Digest as _;

use crate::services::cms::mailbox::Sha256;

/// Octets of one field that are looked at.
const FIELD: usize = 64 << 10;
/// Characters of a subject: Exchange keeps 255.
const SUBJECT: usize = 200;

/// Which fields of identity count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields(u8);

const NAMES: [&str; 6] = ["from", "to", "cc", "subject", "date", "message-id"];

impl Fields {
    pub const ALL: Self = Self(0b11_1111);
    /// Of a message within a message: From and Subject.
    pub const INNER: Self = Self(0b00_1001);

    pub fn number(self) -> u8 {
        self.0
    }

    pub fn of_number(number: u8) -> Self {
        Self(number & Self::ALL.0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Header {
    fields: Vec<(String, Vec<u8>)>,
    /// The field that is read is one that nobody asks for.
    skips: bool,
    /// Of a message within the message.
    pub is_within: bool,
}

/// What Content-Type and Content-Transfer-Encoding say, in small letters.
#[derive(Debug)]
pub(super) struct Content {
    pub kind: String,
    /// As it is written.
    pub boundary: Option<String>,
    pub charset: String,
    pub encoding: String,
}

impl Content {
    pub fn is_encoded(&self) -> bool {
        matches!(self.encoding.as_str(), "base64" | "quoted-printable")
    }
}

impl Header {
    pub fn within() -> Self {
        Self { is_within: true, ..Self::default() }
    }

    /// A line without its end, or a further piece of one.
    pub fn take(&mut self, line: &[u8], goes_on: bool) {
        if goes_on || line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            if let Some((_, value)) = self.fields.last_mut().filter(|_| !self.skips) {
                let room = FIELD.saturating_sub(value.len());
                value.extend_from_slice(&line[..line.len().min(room)]);
            }
            return;
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(0);
        let name = String::from_utf8_lossy(&line[..colon]).trim().to_ascii_lowercase();
        let wanted = NAMES.contains(&name.as_str()) || name.starts_with("content-t");
        // The first of a name counts.
        self.skips = !wanted || self.fields.iter().any(|(n, _)| *n == name);
        if !self.skips {
            self.fields.push((name, line[colon + 1..].to_vec()));
        }
    }

    fn raw(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub fn content(&self) -> Content {
        let lossy = |name: &str| String::from_utf8_lossy(self.raw(name).unwrap_or_default()).into_owned();
        let written = lossy("content-type");
        let kind = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = if kind.contains('/') { kind } else { "text/plain".to_owned() };
        let encoding = lossy("content-transfer-encoding").trim().to_ascii_lowercase();
        Content {
            kind,
            boundary: parameter(&written, "boundary").filter(|b| !b.is_empty()),
            charset: parameter(&written, "charset").unwrap_or_default().to_ascii_lowercase(),
            encoding,
        }
    }

    /// The digest of those of the fields that are there and can be read, and which these are.
    pub fn identity(&self, wanted: Fields) -> (Fields, Sha256) {
        let (mut found, mut hash) = (0, sha2::Sha256::new());
        for (n, name) in NAMES.iter().enumerate().filter(|(n, _)| wanted.0 & (1 << n) != 0) {
            let Some(value) = self.raw(name).and_then(|raw| canonical(name, raw)) else { continue };
            found |= 1 << n;
            hash.update([n as u8]);
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value.as_bytes());
        }
        (Fields(found), Sha256(hash.finalize().into()))
    }
}

/// `None` for what says nothing, or what every server reads otherwise.
fn canonical(name: &str, raw: &[u8]) -> Option<String> {
    // Octets above 127 in a header belong to no character set: each server guesses.
    if raw.iter().any(|b| *b > 127 || *b == 0) {
        return None;
    }
    let text = String::from_utf8_lossy(raw);
    let value = match name {
        "subject" => decoded(&text).chars().filter(|c| !c.is_whitespace() && !c.is_control()).take(SUBJECT).collect(),
        "date" => {
            let text = text.trim();
            let parsed = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text);
            let parsed = parsed.or_else(|_| {
                // Without the comment in which many write the zone's name.
                DateTimeParser::new()
                    .relaxed_weekday(true)
                    .parse_timestamp(text.split('(').next().unwrap_or(text).trim())
            });
            parsed.ok()?.as_second().to_string()
        }
        "message-id" => text.split_whitespace().collect(),
        _ => addresses(&text),
    };
    Some(value).filter(|v| !v.is_empty())
}

/// Addresses, small and sorted: names of people are what servers change.
fn addresses(text: &str) -> String {
    let (mut plain, mut quoted, mut depth) = (String::new(), false, 0usize);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || depth > 0 => drop(chars.next()),
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            c if !quoted && depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | ':');
    let mut found: Vec<String> = plain.split(is_end).filter(|w| w.contains('@')).map(str::to_lowercase).collect();
    found.sort_unstable();
    found.dedup();
    found.join(" ")
}

/// Encoded words as characters (RFC 2047); white space between two of them is none.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("=?") {
        out.push_str(&rest[..at]);
        match word(&rest[at + 2..]) {
            Some((shown, after)) => {
                out.push_str(&shown);
                rest = after;
            }
            None => {
                out.push_str("=?");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn word(text: &str) -> Option<(String, &str)> {
    use base64::Engine as _;
    let (charset, text) = text.split_once('?')?;
    let (how, text) = text.split_once('?')?;
    let (held, after) = text.split_once("?=")?;
    let octets = match how {
        "b" | "B" => {
            let clean = held.trim_end_matches('=');
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(clean).ok()?
        }
        "q" | "Q" => {
            let bytes = held.as_bytes();
            let mut octets = Vec::with_capacity(bytes.len());
            let mut n = 0;
            while n < bytes.len() {
                let digits = bytes.get(n + 1..n + 3).and_then(|d| std::str::from_utf8(d).ok());
                match (bytes[n], digits.and_then(|d| u8::from_str_radix(d, 16).ok())) {
                    (b'=', Some(octet)) => {
                        octets.push(octet);
                        n += 3;
                        continue;
                    }
                    (b'_', _) => octets.push(b' '),
                    (b, _) => octets.push(b),
                }
                n += 1;
            }
            octets
        }
        _ => return None,
    };
    // RFC 2231 section 5 writes a language after the character set.
    let charset = charset.split('*').next().unwrap_or(charset);
    let encoding = Encoding::for_label(charset.as_bytes())?;
    Some((encoding.decode_without_bom_handling(&octets).0.into_owned(), after))
}

fn parameter(written: &str, name: &str) -> Option<String> {
    let mut rest = written;
    while let Some(at) = rest.find(';') {
        rest = rest[at + 1..].trim_start();
        let (key, value) = rest.split_once('=')?;
        if let Some(quoted) = value.trim_start().strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((n, c)) = chars.next() {
                match c {
                    '\\' => text.extend(chars.next().map(|(_, c)| c)),
                    '"' => {
                        end = n;
                        break;
                    }
                    c => text.push(c),
                }
            }
            if key.trim().eq_ignore_ascii_case(name) {
                return Some(text);
            }
            rest = &quoted[end..];
        } else if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.split(';').next().unwrap_or_default().trim().to_owned());
        }
    }
    None
}
