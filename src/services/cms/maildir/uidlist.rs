//! `dovecot-uidlist` (version 3) and Courier's `courierimapuiddb` (whose form Dovecot's version 1 is): which number a file has.
//!
//! Source: Dovecot's documentation, "Maildir mailbox format", and what Dovecot 2.3 writes: a header `3 V<uidvalidity> N<next uid>
//! G<guid>`, then a line `<uid> [<letter><value> ..] :<name without flags>` a message. Of the letters `P` is the POP3 UIDL, `W` the size with
//! CR LF, `S` the size of the file, `O` the place in POP3's order, `G` the GUID.

use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uidlist {
    pub(super) validity: u32,
    pub(super) next: u32,
    /// Words of the header that mean nothing to us, kept.
    header: Vec<String>,
    records: BTreeMap<u32, Record>,
    numbers: HashMap<String, u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) words: Vec<String>,
    pub(super) name: String,
}

impl Record {
    pub(super) fn word(&self, letter: char) -> Option<&str> {
        self.words.iter().find_map(|w| w.strip_prefix(letter))
    }
}

impl Uidlist {
    pub(super) fn new(validity: u32) -> Self {
        Self { validity, next: 1, ..Self::default() }
    }

    /// A last line without its end is one that is being written: left out.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let whole = &octets[..octets.iter().rposition(|b| *b == b'\n')? + 1];
        let text = String::from_utf8_lossy(whole);
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let mut list = Self::default();
        let third = match words.next()? {
            "3" => {
                for word in words {
                    match (word.as_bytes().first(), word.get(1..)) {
                        (Some(b'V'), Some(number)) => list.validity = number.parse().ok()?,
                        (Some(b'N'), Some(number)) => list.next = number.parse().ok()?,
                        (Some(_), _) => list.header.push(word.to_owned()),
                        (None, _) => {}
                    }
                }
                true
            }
            "1" => {
                list.validity = words.next()?.parse().ok()?;
                list.next = words.next()?.parse().ok()?;
                false
            }
            _ => return None,
        };
        for line in lines {
            let (uid, rest) = line.split_once(' ')?;
            let uid: u32 = uid.parse().ok()?;
            let (words, name) = if third {
                let (words, name) =
                    rest.strip_prefix(':').map_or_else(|| rest.split_once(" :"), |name| Some(("", name)))?;
                (words.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect(), name)
            } else {
                (Vec::new(), rest)
            };
            list.put(uid, Record { words, name: base(name).to_owned() });
        }
        (list.validity != 0).then_some(list)
    }

    pub(super) fn put(&mut self, uid: u32, record: Record) {
        self.next = self.next.max(uid.saturating_add(1));
        if let Some(old) = self.numbers.insert(record.name.clone(), uid) {
            self.records.remove(&old);
        }
        if let Some(old) = self.records.insert(uid, record) {
            self.numbers.remove(&old.name);
        }
    }

    /// Gives a name the next number.
    pub(super) fn add(&mut self, record: Record) -> u32 {
        let uid = self.next.max(1);
        self.put(uid, record);
        uid
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn record(&self, uid: u32) -> Option<&Record> {
        self.records.get(&uid)
    }

    pub(super) fn record_of(&self, name: &str) -> Option<&Record> {
        self.record(self.number(name)?)
    }

    pub(super) fn set_uidl(&mut self, name: &str, uidl: &str) {
        if let Some(record) = self.number(name).and_then(|uid| self.records.get_mut(&uid)) {
            record.words.retain(|w| !w.starts_with('P'));
            record.words.push(format!("P{uidl}"));
        }
    }

    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.records.retain(|_, r| is_there(&r.name));
        self.numbers.retain(|name, _| is_there(name));
    }

    /// In version 3.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut out = format!("3 V{} N{}", self.validity, self.next);
        self.header.iter().for_each(|word| {
            out.push(' ');
            out.push_str(word);
        });
        out.push('\n');
        for (uid, record) in &self.records {
            out.push_str(&format!("{uid} "));
            record.words.iter().for_each(|word| {
                out.push_str(word);
                out.push(' ');
            });
            out.push_str(&format!(":{}\n", record.name));
        }
        out.into_bytes()
    }
}

/// The part of a file's name that stays when its flags change.
pub(super) fn base(name: &str) -> &str {
    name.split_once(':').map_or(name, |(base, _)| base)
}

/// Whether a POP3 server may give it as a UIDL (RFC 1939 section 7; the length is what clients bear, as there).
pub(super) fn is_uidl(text: &str) -> bool {
    (1..=70).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dovecot_writes_is_read_and_written_again() {
        let text = "3 V1700000000 N8 Gabc0\n1 :a.b.c,S=4\n3 Pxx!y W12 :d\n7 :e\n";
        let list = Uidlist::parse(text.as_bytes()).expect("parses");
        assert_eq!((list.validity, list.next, list.number("d")), (1_700_000_000, 8, Some(3)));
        assert_eq!(list.record_of("d").and_then(|r| r.word('P')), Some("xx!y"));
        assert_eq!(String::from_utf8_lossy(&list.written()), text);
        let torn = Uidlist::parse(format!("{text}8 :f").as_bytes()).expect("parses");
        assert_eq!(torn, list);
        for bad in ["", "3", "2 V1 N1\n", "3 V0 N1\n", "3 Vx N1\n", "3 V1 N1\nnonsense\n", "3 V1 N1\n1 P\n"] {
            assert_eq!(Uidlist::parse(bad.as_bytes()), None, "{bad}");
        }
        let courier = Uidlist::parse(b"1 1700 3\n1 a.b\n2 c.d:2,S\n").expect("parses");
        assert_eq!((courier.number("c.d"), courier.next), (Some(2), 3));
    }

    #[test]
    fn a_uidl_is_printable_and_short() {
        assert!(is_uidl("000000014a5b") && is_uidl("!~"));
        assert!(!is_uidl("") && !is_uidl("a b") && !is_uidl("ä") && !is_uidl(&"x".repeat(71)));
    }
}
