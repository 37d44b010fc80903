//! Master files (RFC 1035, section 5; RFC 2308, section 4 for `$TTL`), read with the place of every record, so that some record
//! sets can be changed in the text of a file and everything else of it stays as somebody wrote it.

mod edit;
mod entries;

use std::collections::BTreeMap;
use std::ops::Range;

pub use edit::Date;
pub use entries::{Entry, Word, entries, ttl};

use super::dns::data::{self, Sets, canonical, canonical_name};
use crate::model::dns::{RecordSet, SetKey};

/// What is wrong with a master file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MasterError {
    /// Octets of the file.
    pub at: Range<usize>,
    pub message: String,
    pub help: String,
}

impl MasterError {
    pub fn new(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: help.into() }
    }

    /// Line of the file, from 1.
    pub fn line(&self, text: &str) -> usize {
        text.as_bytes().iter().take(self.at.start).filter(|b| **b == b'\n').count() + 1
    }
}

/// One record as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
struct Placed {
    key: SetKey,
    ttl: u32,
    /// In the one spelling of `protocol::dns::data`; words as written for types that it does not know.
    data: String,
    /// Index of its entry.
    entry: usize,
}

/// A master file of one zone, without `$INCLUDE` and `$GENERATE`: what they bring in has no place of its own in this text.
#[derive(Debug)]
pub struct MasterFile {
    text: String,
    zone: String,
    entries: Vec<Entry>,
    records: Vec<Placed>,
    soa: Soa,
}

/// The SOA of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    pub serial: u32,
    /// Seconds after which a secondary that hears no NOTIFY looks.
    pub refresh: u32,
    /// TTL of a negative answer in seconds: the lesser of the SOA's own TTL and its MINIMUM (RFC 2308, section 5).
    pub negative_ttl: u32,
    /// Where the serial stands.
    at: Range<usize>,
}

impl MasterFile {
    /// Reads the whole file, or says the first thing that is wrong with it. `zone` is the origin that the server gives the file.
    pub fn read(zone: &str, text: impl Into<String>) -> Result<Self, MasterError> {
        let text = text.into();
        let mut first = None;
        let entries = entries(&text, &mut |e| {
            first.get_or_insert(e);
        });
        if let Some(e) = first {
            return Err(e);
        }
        let zone = canonical_name(zone).map_err(|e| MasterError::new(0..0, e.to_string(), "name the zone"))?;
        let mut reader = Reader { origin: zone.clone(), owner: None, default_ttl: None, last_ttl: None };
        let (mut records, mut soa) = (Vec::new(), None);
        for (i, entry) in entries.iter().enumerate() {
            match reader.entry(entry)? {
                Some(Read::Soa(found)) if soa.is_none() => soa = Some(found),
                Some(Read::Soa(_)) => {
                    return Err(MasterError::new(
                        entry.place(),
                        "a second SOA",
                        "a zone has one (RFC 1035, section 5.2)",
                    ));
                }
                Some(Read::Record(key, ttl, data)) => records.push(Placed { key, ttl, data, entry: i }),
                None => {}
            }
        }
        let Some(soa) = soa else {
            let help = "the file of a zone has its SOA (RFC 1035, section 5.2)";
            return Err(MasterError::new(0..0, "there is no SOA in the file", help));
        };
        Ok(Self { text, zone, entries, records, soa })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn soa(&self) -> &Soa {
        &self.soa
    }

    /// All sets but the SOA, as a transfer of this zone would bring them.
    pub fn sets(&self) -> Sets {
        let mut sets = BTreeMap::<SetKey, RecordSet>::new();
        for r in &self.records {
            data::add(&mut sets, r.key.clone(), r.ttl, r.data.clone());
        }
        sets
    }
}

/// What one entry is.
enum Read {
    Record(SetKey, u32, String),
    Soa(Soa),
}

/// What an entry may leave out.
struct Reader {
    origin: String,
    owner: Option<String>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
}

impl Reader {
    fn entry(&mut self, entry: &Entry) -> Result<Option<Read>, MasterError> {
        let place = entry.place();
        let wrong = |message: String, help: &str| MasterError::new(place.clone(), message, help);
        let argument = |what: &str| {
            entry.words.get(1).ok_or_else(|| wrong(format!("{what} without its value"), "write one behind it"))
        };
        match entry.opening().map(str::to_ascii_uppercase).as_deref() {
            Some("$ORIGIN") => {
                self.origin = self.absolute(&argument("$ORIGIN")?.text, &place)?;
                Ok(None)
            }
            Some("$TTL") => {
                let seconds = ttl(&argument("$TTL")?.text);
                self.default_ttl =
                    Some(seconds.ok_or_else(|| wrong("$TTL without a time".into(), "seconds, or as in 1h30m"))?);
                Ok(None)
            }
            Some(d) if d.starts_with('$') => Err(wrong(
                format!("{d} brings in records that do not stand in this file"),
                "write them out (named-compilezone -o plain ZONE FILE), or let the server take updates (type=rfc2136)",
            )),
            _ => self.record(entry),
        }
    }

    fn absolute(&self, name: &str, at: &Range<usize>) -> Result<String, MasterError> {
        let full = match name {
            "@" => self.origin.clone(),
            n if n.ends_with('.') && !n.ends_with("\\.") => n.to_owned(),
            n => format!("{n}.{}", self.origin.trim_start_matches('.')),
        };
        canonical_name(&full).map_err(|e| MasterError::new(at.clone(), e.to_string(), "a domain name stands here"))
    }

    fn record(&mut self, entry: &Entry) -> Result<Option<Read>, MasterError> {
        let place = entry.place();
        let wrong = |message: &str, help: &str| MasterError::new(place.clone(), message, help);
        let mut words = entry.words.iter().peekable();
        if !entry.continued
            && let Some(first) = words.next()
        {
            self.owner = Some(self.absolute(&first.text, &first.at)?);
        }
        let owner = self
            .owner
            .clone()
            .ok_or_else(|| wrong("no owner stands here or above", "a name stands first on the line"))?;
        // [TTL] [class] type, or [class] [TTL] type.
        let mut own = None;
        while let Some(w) = words.peek() {
            match (w.text.to_ascii_uppercase().as_str(), ttl(&w.text)) {
                ("IN" | "CLASS1", _) => {}
                (_, Some(seconds)) => own = Some(seconds),
                _ => break,
            }
            words.next();
        }
        let kind = words.next().ok_or_else(|| wrong("this record has no type", "write NAME TYPE VALUE"))?;
        let kind = kind.text.to_ascii_uppercase();
        let values: Vec<&Word> = words.collect();
        let seconds = own.or(self.default_ttl).or(self.last_ttl);
        self.last_ttl = own.or(self.last_ttl);
        if kind == "SOA" {
            let number = |at: usize| values.get(at).and_then(|w| ttl(&w.text));
            let serial = values.get(2).and_then(|w| Some((w.text.parse().ok()?, w.at.clone())));
            let (Some((serial, at)), Some(refresh), Some(minimum), 7) = (serial, number(3), number(6), values.len())
            else {
                return Err(wrong(
                    "this SOA cannot be read",
                    "two names, then serial, refresh, retry, expire, minimum",
                ));
            };
            // Without $TTL, the last field of the SOA was the default once (RFC 1035, section 3.3.13).
            self.last_ttl = self.last_ttl.or(Some(minimum));
            let negative_ttl = seconds.unwrap_or(minimum).min(minimum);
            return Ok(Some(Read::Soa(Soa { serial, refresh, negative_ttl, at })));
        }
        let seconds = seconds.ok_or_else(|| wrong("nothing says this record's time to live", "write $TTL above it"))?;
        let text = self.data(&kind, &values)?;
        let data = match canonical(&kind, &text) {
            Ok(data) => data,
            // A type that nobody here writes: it is only to stay as it is.
            Err(_) if !OURS.contains(&kind.as_str()) => text,
            Err(e) => return Err(wrong(&e.to_string(), "named-checkzone says what it should be")),
        };
        Ok(Some(Read::Record(SetKey { name: owner, kind }, seconds, data)))
    }

    /// The data with its names absolute.
    fn data(&self, kind: &str, values: &[&Word]) -> Result<String, MasterError> {
        let named = match kind {
            "CNAME" | "DNAME" | "NS" | "PTR" => 0..1,
            "MX" | "AFSDB" | "KX" | "RT" => 1..2,
            "SRV" => 3..4,
            "RP" => 0..2,
            _ => 0..0,
        };
        let mut out = String::new();
        for (i, w) in values.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            match (named.contains(&i), w.quoted) {
                (true, _) => out += &self.absolute(&w.text, &w.at)?,
                (false, true) => out += &format!("\"{}\"", w.text),
                (false, false) => out += &w.text,
            }
        }
        Ok(out)
    }
}

/// Types that the topology may name; their data must be readable.
const OURS: [&str; 10] = ["A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "PTR", "CAA", "TLSA"];
