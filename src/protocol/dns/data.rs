//! One spelling for names and data (RFC 1035, section 5.1), so that what is wanted and what is served can be compared as text.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::DnsError;
use crate::model::dns::{RecordSet, SetKey, WantedRecord};

/// Octets of one string of a TXT record (RFC 1035, section 3.3).
const STRING: usize = 255;

/// A name as the wire has it: absolute, A-labels, lower case.
pub(super) fn name(text: &str) -> Result<Name, DnsError> {
    let bad = |e: String| DnsError::Input(format!("`{text}` is no domain name: {e}"));
    // The parser of the crate takes the three digits of an escape for something else than RFC 1035, section 5.1 does.
    let name = match text.contains(['\\', '/']) {
        true => Name::from_labels(labels(text).ok_or_else(|| bad("a broken escape".into()))?),
        false => Name::from_utf8(text).or_else(|_| Name::from_ascii(text)),
    };
    let mut name = name.map_err(|e| bad(e.to_string()))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// The octet that an escape stands for; `at` is left behind it.
fn escaped(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let first = *bytes.get(*at)?;
    if !first.is_ascii_digit() {
        *at += 1;
        return Some(first);
    }
    let digits = std::str::from_utf8(bytes.get(*at..*at + 3)?).ok()?;
    *at += 3;
    digits.parse().ok()
}

fn labels(text: &str) -> Option<Vec<Vec<u8>>> {
    let bytes = text.as_bytes();
    let (mut out, mut label, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(&b) = bytes.get(at) {
        at += 1;
        match b {
            b'.' => out.push(std::mem::take(&mut label)),
            b'\\' => label.push(escaped(bytes, &mut at)?),
            b => label.push(b),
        }
    }
    if !label.is_empty() {
        out.push(label);
    }
    Some(out)
}

/// A name as text, escapes as RFC 1035, section 5.1 writes them.
fn shown(name: &Name) -> String {
    let mut out = String::new();
    for label in name.iter() {
        for &b in label {
            match b {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => out.extend(['\\', char::from(b)]),
                b'!'..=b'~' => out.push(char::from(b)),
                _ => out.push_str(&format!("\\{b:03}")),
            }
        }
        out.push('.');
    }
    if out.is_empty() { ".".to_owned() } else { out }
}

/// A name in its one spelling: `mail.acme.example.`.
pub fn canonical_name(text: &str) -> Result<String, DnsError> {
    Ok(shown(&name(text)?))
}

/// The strings of a TXT record, in quotes or without.
fn strings(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at, mut quoted, mut any) = (Vec::new(), 0, false, false);
    while let Some(&b) = bytes.get(at) {
        at += 1;
        match b {
            b'"' => (quoted, any) = (!quoted, true),
            b'\\' => {
                out.push(escaped(bytes, &mut at)?);
                any = true;
            }
            b' ' | b'\t' if !quoted => {}
            b => {
                out.push(b);
                any = true;
            }
        }
    }
    (any && !quoted).then_some(out)
}

pub(super) fn kind(text: &str) -> Result<RecordType, DnsError> {
    RecordType::from_str(text).map_err(|_| DnsError::Input(format!("`{text}` is no type of record")))
}

/// The data of one record, from the text of a zone file; names in it must be absolute.
pub(super) fn parse(kind_text: &str, text: &str) -> Result<RData, DnsError> {
    if kind_text == "TXT" {
        let whole = strings(text).ok_or_else(|| DnsError::Input(format!("`{text}` is no data of a TXT record")))?;
        return Ok(RData::TXT(rejoined(&TXT::from_bytes(vec![&whole]))));
    }
    let data = RData::try_from_str(kind(kind_text)?, text)
        .map_err(|e| DnsError::Input(format!("`{text}` is no data of a {kind_text} record: {e}")))?;
    Ok(data)
}

/// The data of one record in its one spelling.
pub fn canonical(kind: &str, text: &str) -> Result<String, DnsError> {
    Ok(print(&parse(kind, text)?))
}

/// Where a TXT record is cut has no meaning for its readers (RFC 7208, section 3.3; RFC 6376, section 3.6.2.2).
fn rejoined(txt: &TXT) -> TXT {
    let whole: Vec<u8> = txt.txt_data.iter().flat_map(|s| s.iter().copied()).collect();
    if whole.is_empty() {
        return TXT::from_bytes(vec![b""]);
    }
    TXT::from_bytes(whole.chunks(STRING).collect())
}

pub(super) fn print(data: &RData) -> String {
    match data {
        RData::TXT(txt) => {
            let quoted = |s: &[u8]| {
                let mut out = String::from("\"");
                for &b in s {
                    match b {
                        b'"' | b'\\' => out.extend(['\\', char::from(b)]),
                        b' '..=b'~' => out.push(char::from(b)),
                        _ => out.push_str(&format!("\\{b:03}")),
                    }
                }
                out + "\""
            };
            rejoined(txt).txt_data.iter().map(|s| quoted(s)).collect::<Vec<_>>().join(" ")
        }
        // Names are compared without regard to case (RFC 4343).
        RData::MX(_) | RData::NS(_) | RData::CNAME(_) | RData::PTR(_) | RData::SRV(_) | RData::SOA(_) => {
            data.to_string().to_ascii_lowercase()
        }
        other => other.to_string(),
    }
}

pub(super) fn key_of(record: &Record) -> SetKey {
    SetKey { name: shown(&record.name.to_lowercase()), kind: record.record_type().to_string() }
}

/// Record sets by their key.
pub type Sets = BTreeMap<SetKey, RecordSet>;

/// Adds one record. Where a set has several times to live, the shortest counts (RFC 2181, section 5.2).
pub fn add(sets: &mut Sets, key: SetKey, ttl: u32, data: String) {
    let set = sets.entry(key.clone()).or_insert_with(|| RecordSet { key, ttl, data: BTreeSet::new() });
    set.ttl = set.ttl.min(ttl);
    set.data.insert(data);
}

pub(super) fn add_record(sets: &mut Sets, record: &Record) {
    add(sets, key_of(record), record.ttl, print(&record.data));
}

/// Records of a topology as sets, in their one spelling.
pub fn wanted(records: &[WantedRecord]) -> Result<Sets, DnsError> {
    let mut sets = Sets::new();
    for r in records {
        let key = SetKey { name: canonical_name(&r.name)?, kind: r.kind.clone() };
        add(&mut sets, key, r.ttl, canonical(&r.kind, &r.data)?);
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (kind, text, wanted) in [
            ("MX", "10 Mail.Acme.Example.", "10 mail.acme.example."),
            ("A", "192.0.2.1", "192.0.2.1"),
            ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
            ("TXT", "\"v=spf1 \" \"-all\"", "\"v=spf1 -all\""),
            ("TXT", "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\""),
            ("SRV", "0 1 993 Mail.acme.example.", "0 1 993 mail.acme.example."),
            ("CAA", "0 issue \"ca.example\"", "0 issue \"ca.example\""),
        ] {
            assert_eq!(canonical(kind, text).expect(text), wanted);
            assert_eq!(canonical(kind, wanted).expect("again"), wanted, "its own spelling is kept");
        }
        assert_eq!(canonical_name("Mail.ACME.example").expect("name"), "mail.acme.example.");
        assert_eq!(canonical_name("bücher.example").expect("IDN"), "xn--bcher-kva.example.");
    }

    #[test]
    fn escapes_stand_for_what_rfc_1035_says() {
        for (text, wanted) in [
            ("a\\.b.acme.example.", "a\\.b.acme.example."),
            ("A\\032b.acme.example", "a\\032b.acme.example."),
            ("1/25.2.0.192.in-addr.arpa.", "1/25.2.0.192.in-addr.arpa."),
            ("\\*.acme.example.", "*.acme.example."),
        ] {
            assert_eq!(canonical_name(text).expect(text), wanted);
            assert_eq!(canonical_name(wanted).expect("again"), wanted);
        }
        assert!(canonical_name("a\\25.example.").is_err() && canonical_name("a\\999.example.").is_err());
        let txt = canonical("TXT", "\"caf\u{e9} \\\"x\\\" \\\\ \\195\\169\"").expect("text");
        assert_eq!(txt, "\"caf\\195\\169 \\\"x\\\" \\\\ \\195\\169\"");
        assert_eq!(canonical("TXT", &txt).expect("again"), txt);
        assert!(canonical("TXT", "\"open").is_err() && canonical("TXT", "").is_err());
    }

    #[test]
    fn a_long_text_is_cut_in_one_way() {
        let long = "x".repeat(600);
        let ours =
            canonical("TXT", &format!("\"{}\" \"{}\" \"{}\"", &long[..250], &long[..250], &long[..100])).expect("txt");
        let theirs =
            canonical("TXT", &format!("\"{}\" \"{}\" \"{}\"", &long[..255], &long[..255], &long[..90])).expect("txt");
        assert_eq!(ours, theirs);
    }

    #[test]
    fn what_is_no_data_is_refused() {
        for (kind, text) in [("A", "mail.example."), ("MX", "mail.example."), ("TLSA", "3 1"), ("NONSENSE", "x")] {
            assert!(canonical(kind, text).is_err(), "{kind} {text}");
        }
        assert!(canonical_name(&format!("{}.example", "a".repeat(64))).is_err());
    }
}
