//! From octets to cards: lines, folds, charsets, parameters. What the versions write otherwise becomes one form in `neutral`.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::{Card, Property, Version, neutral};

/// Octets of one card. A contact with a photograph is a few hundred thousand.
pub const MOST: usize = 1 << 20;
const PROPERTIES: usize = 5000;
const PARAMETERS: usize = 200;

/// What could not be read, where, and its first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// From 1.
    pub line: usize,
    pub what: String,
    pub words: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: `{}`", self.line, self.what, self.words)
    }
}

fn bad(line: usize, what: impl Into<String>, words: &[u8]) -> Bad {
    let words: String = String::from_utf8_lossy(words.get(..80).unwrap_or(words)).chars().take(60).collect();
    Bad { line, what: what.into(), words: words.replace(|c: char| c.is_control(), " ") }
}

/// All cards of a file, and what of it is none. A card with one bad property is given without it, and that is said.
pub fn parse(octets: &[u8]) -> (Vec<Card>, Vec<Bad>) {
    let text;
    let octets = match Encoding::for_bom(octets) {
        Some((encoding, _)) if encoding != UTF_8 => {
            text = encoding.decode(octets).0;
            text.as_bytes()
        }
        Some((_, marks)) => &octets[marks..],
        None => octets,
    };
    let (mut cards, mut faults) = (Vec::new(), Vec::new());
    let mut open: Option<(usize, Vec<&[u8]>)> = None;
    let mut depth = 0;
    for (n, line) in lines(octets).enumerate() {
        let word = line.trim_ascii();
        if word.eq_ignore_ascii_case(b"BEGIN:VCARD") {
            let within = open.as_ref().and_then(|(_, held)| held.iter().rev().find(|l| !l.trim_ascii().is_empty()));
            let agent = within.is_some_and(|l| l.get(..5).is_some_and(|a| a.eq_ignore_ascii_case(b"AGENT")));
            if agent || depth > 0 {
                depth += 1;
            } else {
                if let Some((begin, _)) = open.replace((n + 1, Vec::new())) {
                    faults.push(bad(begin, "a card without END:VCARD", b"BEGIN:VCARD"));
                }
                continue;
            }
        }
        match &mut open {
            None if word.is_empty() => {}
            None => faults.push(bad(n + 1, "stands outside of any card", line)),
            Some((begin, held)) if depth == 0 && word.eq_ignore_ascii_case(b"END:VCARD") => {
                match card(*begin, held, &mut faults) {
                    Ok(card) => cards.push(card),
                    Err(fault) => faults.push(fault),
                }
                open = None;
            }
            Some((_, held)) => {
                if depth > 0 && word.eq_ignore_ascii_case(b"END:VCARD") {
                    depth -= 1;
                }
                held.push(line);
            }
        }
    }
    if let Some((begin, held)) = open {
        faults.push(bad(begin, "a card without END:VCARD", held.first().copied().unwrap_or_default()));
    }
    (cards, faults)
}

/// Ends of lines are CR LF, LF or CR alone.
fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let line = &rest[..end];
        let skip = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + skip..).unwrap_or_default();
        Some(line)
    })
}

fn version(held: &[&[u8]]) -> Version {
    let named = |l: &&&[u8]| l.get(..8).is_some_and(|v| v.eq_ignore_ascii_case(b"VERSION:"));
    match held.iter().find(named).map(|l| l[8..].trim_ascii()) {
        Some(b"2.1") => Version::V2,
        Some(b"4.0") => Version::V4,
        _ => Version::V3,
    }
}

/// Folded lines become whole ones, each with its number in the card.
fn unfolded(held: &[&[u8]], version: Version) -> Vec<(usize, Vec<u8>)> {
    let mut whole: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut soft, mut coded, mut nested) = (false, false, 0usize);
    for (n, line) in held.iter().enumerate() {
        let word = line.trim_ascii();
        if word.eq_ignore_ascii_case(b"BEGIN:VCARD") {
            nested += 1;
        }
        let within = nested > 0;
        if word.eq_ignore_ascii_case(b"END:VCARD") {
            nested = nested.saturating_sub(1);
        }
        let folded = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        if let Some((_, last)) = whole.last_mut().filter(|_| within || soft || folded) {
            match () {
                // A card in a card, as 2.1 has it: the text that 3.0 makes of it.
                () if within => {
                    last.extend_from_slice(if last.ends_with(b":") { b"" } else { b"\\n" });
                    for octet in *line {
                        last.extend(matches!(octet, b'\\' | b';' | b',').then_some(b'\\'));
                        last.push(*octet);
                    }
                }
                () if soft => {
                    last.pop();
                    last.extend_from_slice(line);
                }
                // 2.1 breaks a line before white space that belongs to it, but for what is encoded.
                () if version == Version::V2 && !coded => last.extend_from_slice(line),
                () => last.extend_from_slice(&line[1..]),
            }
        } else if !word.is_empty() {
            let head: Vec<u8> = line.iter().take_while(|b| **b != b':').map(u8::to_ascii_uppercase).collect();
            coded = [&b"BASE64"[..], b"ENCODING=B"].iter().any(|w| head.windows(w.len()).any(|h| h == *w));
            whole.push((n, line.to_vec()));
        }
        let printable = |l: &[u8]| {
            let head: Vec<u8> = l.iter().take_while(|b| **b != b':').map(u8::to_ascii_uppercase).collect();
            head.windows(16).any(|w| w == b"QUOTED-PRINTABLE")
        };
        soft = !within && line.ends_with(b"=") && whole.last().is_some_and(|(_, l)| printable(l));
    }
    whole
}

fn card(begin: usize, held: &[&[u8]], faults: &mut Vec<Bad>) -> Result<Card, Bad> {
    let size: usize = held.iter().map(|l| l.len() + 2).sum();
    let name = || held.iter().find(|l| l.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(b"FN:"))).copied();
    if size > MOST {
        return Err(bad(begin, format!("a card of {size} octets; {MOST} are the most"), name().unwrap_or_default()));
    }
    let version = version(held);
    let mut card = Card::default();
    for (n, line) in unfolded(held, version) {
        if card.properties.len() >= PROPERTIES {
            return Err(bad(begin, format!("a card of more than {PROPERTIES} properties"), name().unwrap_or_default()));
        }
        match property(&line, version) {
            Ok(Some(property)) => card.properties.push(property),
            Ok(None) => {}
            Err(what) => faults.push(bad(begin + n + 1, what, &line)),
        }
    }
    Ok(card)
}

/// `[group.]name*(;parameter):value`; `None` for what says nothing.
fn property(line: &[u8], version: Version) -> Result<Option<Property>, &'static str> {
    let mut quoted = false;
    let mut ends = Vec::new();
    let mut colon = None;
    for (n, octet) in line.iter().enumerate() {
        match octet {
            b'"' if !ends.is_empty() => quoted = !quoted,
            b';' if !quoted => ends.push(n),
            b':' if !quoted => {
                colon = Some(n);
                break;
            }
            _ => {}
        }
    }
    // A quote that is not closed is a letter.
    if colon.is_none() {
        colon = line.iter().position(|b| *b == b':');
        ends.retain(|n| colon.is_some_and(|c| *n < c));
    }
    let colon = colon.ok_or("no colon behind a property's name")?;
    if ends.len() > PARAMETERS {
        return Err("more parameters than any property has");
    }
    ends.push(colon);
    let head = std::str::from_utf8(&line[..ends[0]]).map_err(|_| "a name with octets above 127")?.trim();
    let (group, name) = match head.rsplit_once('.') {
        Some((group, name)) => (Some(group.to_owned()), name),
        None => (None, head),
    };
    let fine = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !fine(name) || !group.as_deref().is_none_or(fine) {
        return Err("no name of a property");
    }
    let mut property = Property { group, name: name.to_ascii_uppercase(), ..Property::default() };
    for pair in ends.windows(2) {
        parameter(&mut property, &decoded(&line[pair[0] + 1..pair[1]], UTF_8), version);
    }
    neutral::of(property, &line[colon + 1..], version)
}

fn parameter(property: &mut Property, text: &str, version: Version) {
    let (name, values) = match text.split_once('=') {
        Some((name, values)) => (name.trim().to_ascii_uppercase(), values),
        // 2.1 writes values alone.
        None => {
            let word = text.trim();
            let name = match word.to_ascii_uppercase().as_str() {
                "" => return,
                "QUOTED-PRINTABLE" | "BASE64" | "7BIT" | "8BIT" => "ENCODING",
                "INLINE" | "URL" | "CONTENT-ID" | "CID" => "VALUE",
                _ => "TYPE",
            };
            return property.add(name, word);
        }
    };
    let mut quoted = false;
    let mut value = String::new();
    let mut done = |value: &mut String| {
        let plain = std::mem::take(value);
        property.add(&name, &if version == Version::V4 { uncircumflexed(&plain) } else { plain });
    };
    for letter in values.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => done(&mut value),
            other => value.push(other),
        }
    }
    done(&mut value);
}

/// RFC 6868.
fn uncircumflexed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let other = if letter == '^' { letters.peek().copied() } else { None };
        let plain = match other {
            Some('n') => '\n',
            Some('\'') => '"',
            Some('^') => '^',
            _ => {
                out.push(letter);
                continue;
            }
        };
        letters.next();
        out.push(plain);
    }
    out
}

/// In the charset that is named, else UTF-8, else what Windows wrote where nobody said anything: every octet has a letter there.
pub(super) fn decoded(octets: &[u8], charset: &'static Encoding) -> String {
    if charset == UTF_8 {
        return match std::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
        };
    }
    charset.decode_without_bom_handling(octets).0.into_owned()
}
