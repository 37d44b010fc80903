//! Entries to records: directives, owners, TTLs, data.

use std::collections::BTreeMap;
use std::path::Path;

use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry as Scanned, Zonefile};

use super::{CODE, shown};
use crate::importing::foreign::Foreign;
use crate::model::{SourceId, Span};
use crate::protocol::master::{self, Word, ttl};

/// Types that the language has.
const KNOWN: [&str; 10] = ["A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "PTR", "CAA", "TLSA"];

#[derive(Debug)]
pub struct Record {
    /// Full, lower case, without the dot at the end.
    pub owner: String,
    pub kind: String,
    pub ttl: u32,
    pub priority: Option<u16>,
    pub value: String,
    pub place: Span,
}

/// An entry of the file with its place among the sources.
#[derive(Debug)]
struct Entry {
    of: master::Entry,
    place: Span,
}

impl std::ops::Deref for Entry {
    type Target = master::Entry;

    fn deref(&self) -> &master::Entry {
        &self.of
    }
}

/// All entries; what cannot be read is reported, and reading goes on behind it.
fn entries(f: &mut Foreign, id: SourceId) -> Vec<Entry> {
    let text = f.text(id);
    let place = |at: std::ops::Range<usize>| Span { source: id, offset: at.start, len: at.len() };
    let found = master::entries(&text, &mut |e| f.wrong(CODE, place(e.at), e.message, e.help));
    found.into_iter().map(|of| Entry { place: place(of.place()), of }).collect()
}

/// What was read so far, and what an entry may leave out.
#[derive(Debug, Default)]
pub struct Reader {
    pub records: Vec<Record>,
    /// Types and reasons, with how many.
    pub left_out: BTreeMap<String, usize>,
    /// Owner of the SOA, else the first `$ORIGIN`.
    pub apex: Option<String>,
    pub default_ttl: Option<u32>,
    origin: Option<String>,
    owner: Option<String>,
    last_ttl: Option<u32>,
    soa_minimum: Option<u32>,
    /// TTL of the first record of a name and type: all of them have it (RFC 2181, section 5.2).
    sets: BTreeMap<(String, String), u32>,
}

impl Reader {
    pub fn new(name: Option<&str>) -> Self {
        let origin = name.map(|n| n.trim_end_matches('.').to_ascii_lowercase());
        Self { origin, ..Self::default() }
    }

    pub fn file(&mut self, f: &mut Foreign, id: SourceId, path: &Path, depth: usize) {
        for e in entries(f, id) {
            let first = e.opening().unwrap_or_default();
            match first.to_ascii_uppercase().as_str() {
                "$ORIGIN" => match e.words.get(1) {
                    Some(w) => {
                        self.origin = self.absolute(f, &w.text, e.place);
                        if self.apex.is_none() {
                            self.apex.clone_from(&self.origin);
                        }
                    }
                    None => f.wrong(CODE, e.place, "$ORIGIN without a name", "write $ORIGIN acme.example."),
                },
                "$TTL" => match e.words.get(1).and_then(|w| ttl(&w.text)) {
                    Some(t) => self.default_ttl = Some(t),
                    None => f.wrong(CODE, e.place, "$TTL without a time", "seconds, or as in 1h30m"),
                },
                "$INCLUDE" => self.include(f, &e, path, depth),
                "$GENERATE" => {
                    let help = "write the records out: named-compilezone -o plain ZONE FILE";
                    f.wrong(CODE, e.place, "$GENERATE is BIND's own and not read here", help);
                }
                d if d.starts_with('$') => {
                    f.wrong(
                        CODE,
                        e.place,
                        format!("no directive is called {}", shown(d)),
                        "$ORIGIN, $TTL and $INCLUDE are",
                    );
                }
                _ => self.record(f, &e),
            }
        }
    }

    /// The file's origin and owner end with it (RFC 1035, section 5.1).
    fn include(&mut self, f: &mut Foreign, e: &Entry, path: &Path, depth: usize) {
        let Some(name) = e.words.get(1) else {
            return f.wrong(CODE, e.place, "$INCLUDE without a file", "write $INCLUDE FILE [ORIGIN]");
        };
        if depth >= 8 {
            return f.wrong(CODE, e.place, "files include files deeper than 8 levels", "does one include itself?");
        }
        let file = path.parent().unwrap_or(Path::new("")).join(&name.text);
        if !file.is_file() {
            let help = "the path is relative to the file that includes it";
            return f.wrong(CODE, e.place, format!("there is no file {}", file.display()), help);
        }
        let kept = (self.origin.clone(), self.owner.clone());
        if let Some(o) = e.words.get(2) {
            self.origin = self.absolute(f, &o.text, e.place);
        }
        if let Some(id) = f.open(&file) {
            self.file(f, id, &file, depth + 1);
        }
        (self.origin, self.owner) = kept;
    }

    fn absolute(&self, f: &mut Foreign, name: &str, place: Span) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let full = match (lower.as_str(), &self.origin) {
            ("@", Some(origin)) => origin.clone(),
            (n, _) if n.ends_with('.') => n.trim_end_matches('.').to_owned(),
            ("@", None) | (_, None) => {
                let help = "say the zone's name with --name, or write $ORIGIN acme.example. above";
                f.wrong(CODE, place, format!("`{}` is relative, and no origin is known", shown(name)), help);
                return None;
            }
            (n, Some(origin)) => format!("{n}.{origin}"),
        };
        Some(full)
    }

    fn record(&mut self, f: &mut Foreign, e: &Entry) {
        let mut words = e.words.iter().peekable();
        if !e.continued
            && let Some(first) = words.next()
        {
            self.owner = self.absolute(f, &first.text, e.place);
            if self.owner.is_none() {
                return;
            }
        }
        let Some(owner) = self.owner.clone() else {
            return f.wrong(
                CODE,
                e.place,
                "this record has no owner, and none stands above",
                "a name stands first on the line",
            );
        };
        // [TTL] [class] type, or [class] [TTL] type.
        let mut own_ttl = None;
        while let Some(w) = words.peek() {
            let upper = w.text.to_ascii_uppercase();
            if matches!(upper.as_str(), "IN" | "CH" | "HS" | "CLASS1") {
                if !matches!(upper.as_str(), "IN" | "CLASS1") {
                    return f.wrong(
                        CODE,
                        e.place,
                        format!("class {upper} is not the Internet's"),
                        "take the record out",
                    );
                }
            } else if let Some(t) = ttl(&w.text) {
                own_ttl = Some(t);
            } else {
                break;
            }
            words.next();
        }
        let Some(kind) = words.next().map(|w| w.text.to_ascii_uppercase()) else {
            return f.wrong(CODE, e.place, "this record has no type", "write NAME TYPE VALUE");
        };
        let data: Vec<&Word> = words.collect();
        if kind == "SOA" {
            self.soa_minimum = data.get(6).and_then(|w| ttl(&w.text));
            if data.len() != 7 || self.soa_minimum.is_none() {
                let help = "two names, then serial, refresh, retry, expire, minimum (RFC 1035, section 3.3.13)";
                f.wrong(CODE, e.place, format!("an SOA has 7 values, this one {}", data.len()), help);
            }
            self.apex = Some(owner);
            self.last_ttl = own_ttl.or(self.last_ttl);
            return self.left("SOA: cutover counts serials itself".to_owned());
        }
        // RFC 2308, section 4; before it, the TTL of the record above (RFC 1035, section 5.1).
        let ttl = own_ttl.or(self.default_ttl).or(self.last_ttl).or(self.soa_minimum);
        self.last_ttl = own_ttl.or(self.last_ttl);
        if let Err(why) = valid(self.origin.as_deref(), &owner, &kind, &data) {
            return f.wrong(CODE, e.place, format!("this {} record cannot be read: {why}", shown(&kind)), help(&kind));
        }
        if !KNOWN.contains(&kind.as_str()) {
            return self.left(format!("records of type {kind}"));
        }
        if owner.contains('\\') {
            return self.left("names with escapes".to_owned());
        }
        let Some((priority, value)) = self.data(f, &kind, &data, e.place) else {
            return self.left(format!("{kind} records with bytes that are no text"));
        };
        let ttl = *self.sets.entry((owner.clone(), kind.clone())).or_insert(ttl.unwrap_or(3600));
        self.records.push(Record { owner, kind, ttl, priority, value, place: e.place });
    }

    fn left(&mut self, what: String) {
        *self.left_out.entry(what).or_default() += 1;
    }

    /// Data in the language's form: names full and without their last dot.
    fn data(&self, f: &mut Foreign, kind: &str, data: &[&Word], place: Span) -> Option<(Option<u16>, String)> {
        let mut name = |at: usize| self.absolute(f, &data.get(at)?.text, place);
        let plain = |at: usize| data.get(at).map(|w| w.text.to_ascii_lowercase());
        Some(match kind {
            "CNAME" | "NS" | "PTR" => (None, name(0)?),
            "MX" => (plain(0)?.parse().ok(), name(1).map(|n| if n.is_empty() { ".".to_owned() } else { n })?),
            "SRV" => (None, format!("{} {} {} {}", plain(0)?, plain(1)?, plain(2)?, name(3)?)),
            "TXT" => (None, data.iter().map(|w| unescaped(&w.text)).collect::<Option<String>>()?),
            "CAA" => (None, format!("{} {} \"{}\"", plain(0)?, plain(1)?, data.get(2)?.text)),
            "TLSA" => {
                let hash: String = data.iter().skip(3).map(|w| w.text.to_ascii_lowercase()).collect();
                (None, format!("{} {} {} {hash}", plain(0)?, plain(1)?, plain(2)?))
            }
            _ => (None, plain(0)?),
        })
    }
}

/// Judges one record alone.
fn valid(origin: Option<&str>, owner: &str, kind: &str, data: &[&Word]) -> Result<(), String> {
    let mut line = format!("$ORIGIN {}.\n{owner}. 3600 IN {kind}", origin.unwrap_or(owner));
    for w in data {
        line.push(' ');
        if w.quoted {
            line.push_str(&format!("\"{}\"", w.text));
        } else {
            line.push_str(&w.text);
        }
    }
    line.push('\n');
    let mut file = Zonefile::from(line.as_str());
    file.set_default_class(Class::IN);
    match file.next_entry() {
        Ok(Some(Scanned::Record(_))) => Ok(()),
        Ok(_) => Err("it is no record".into()),
        // Line and column are those of our own line.
        Err(e) => Err(e.to_string().splitn(3, ':').last().unwrap_or_default().trim().to_owned()),
    }
}

fn help(kind: &str) -> &'static str {
    match kind {
        "A" => "an IPv4 address, as in 192.0.2.10",
        "AAAA" => "an IPv6 address, as in 2001:db8::10",
        "MX" => "preference and host, as in 10 mail.acme.example.",
        "SRV" => "priority, weight, port, host (RFC 2782)",
        "TXT" => "texts of at most 255 octets each, in quotes (RFC 1035, section 3.3)",
        "CAA" => "flags, tag, value (RFC 8659)",
        "TLSA" => "usage, selector, matching type, hexadecimal data (RFC 6698)",
        "CNAME" | "NS" | "PTR" => "one name",
        _ => "named-checkzone says what it should be",
    }
}

/// `\"` and `\123` of a character string; `None` where the bytes are no UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut out: Vec<u8> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().as_bytes());
            continue;
        }
        let next = chars.next()?;
        if next.is_ascii_digit() {
            let code: String = [next, chars.next()?, chars.next()?].iter().collect();
            out.push(code.parse().ok()?);
        } else {
            out.extend(next.to_string().as_bytes());
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unescaped() {
        assert_eq!(unescaped("a\\\"b\\059c").as_deref(), Some("a\"b;c"));
        assert_eq!(unescaped("\\195\\188").as_deref(), Some("ü"));
        assert_eq!(unescaped("\\255"), None);
    }
}
