//! Changes of record sets as changes of the text.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{MasterError, MasterFile};
use crate::model::dns::{RecordSet, SetChange};

/// A day (UTC), for serials that are written as `YYYYMMDDnn` (RFC 1912, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

impl Date {
    fn first_serial(self) -> u32 {
        (u32::from(self.year) * 10_000 + u32::from(self.month) * 100 + u32::from(self.day)) * 100
    }
}

/// The next serial, in the style of the former one.
fn next_serial(serial: u32, today: Date) -> u32 {
    let (first, day) = (today.first_serial(), serial / 100);
    let (year, month, date) = (day / 10_000, day / 100 % 100, day % 100);
    let dated = (1980..=2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&date);
    match serial.wrapping_add(1) {
        _ if dated && serial < first => first,
        // Zero has a meaning of its own to some servers (RFC 1982 allows it, BIND warns).
        0 => 1,
        next => next,
    }
}

impl MasterFile {
    /// The text with these changes and the next serial; no changes give the same text. Each change pins the set that it takes away
    /// or changes; one that finds another set there is an error, and so is a file in which something else would come to mean
    /// another thing.
    pub fn edit(&self, changes: &[SetChange], today: Date) -> Result<String, MasterError> {
        let mut wanted = self.sets();
        // What goes away, by entry, and what comes in its place.
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        let mut places: BTreeMap<_, usize> = BTreeMap::new();
        for r in &self.records {
            places.entry(&r.key).or_insert(r.entry);
        }
        let mut entries: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for r in &self.records {
            entries.entry(&r.key).or_default().push(r.entry);
        }
        let mut put: BTreeMap<usize, String> = BTreeMap::new();
        let mut tail = String::new();
        for change in changes.iter().filter(|c| c.before != c.after) {
            let Some(key) = change.key() else { continue };
            if wanted.get(key) != change.before.as_ref() {
                let at = places.get(key).map_or(0..0, |e| self.entries[*e].place());
                return Err(MasterError::new(at, format!("{key} is another than was expected"), "plan again"));
            }
            gone.extend(entries.get(key).into_iter().flatten());
            match (&change.after, places.get(key)) {
                (None, _) => {
                    wanted.remove(key);
                }
                (Some(after), at) => {
                    let lines = lines(after);
                    match at {
                        Some(at) => put.entry(*at).or_default().push_str(&lines),
                        None => tail.push_str(&lines),
                    }
                    wanted.insert(key.clone(), after.clone());
                }
            }
        }
        if gone.is_empty() && put.is_empty() && tail.is_empty() {
            return Ok(self.text.clone());
        }
        let mut out = self.rewritten(&gone, &put, next_serial(self.soa.serial, today));
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&tail);
        let again = Self::read(&self.zone, out)?;
        if again.sets() != wanted {
            let help = "a record takes its name or time to live from one that goes: write them out in the file first";
            return Err(MasterError::new(0..0, "the file cannot be changed without changing other records", help));
        }
        Ok(again.text)
    }

    /// The text without some entries and with others in their place.
    fn rewritten(&self, gone: &BTreeSet<usize>, put: &BTreeMap<usize, String>, serial: u32) -> String {
        let mut edits: Vec<(Range<usize>, String)> = vec![(self.soa.at.clone(), serial.to_string())];
        let names: BTreeMap<usize, &str> = self.records.iter().map(|r| (r.entry, r.key.name.as_str())).collect();
        // The owner that a line beginning with a blank would take now is not the one it had.
        let mut moved = false;
        for (i, entry) in self.entries.iter().enumerate() {
            let lines = self.lines_of(i);
            if let Some(new) = put.get(&i) {
                edits.push((lines.start..lines.start, new.clone()));
                moved = true;
            }
            if gone.contains(&i) {
                edits.push((lines, String::new()));
                moved |= !entry.continued;
                continue;
            }
            if entry.continued {
                if moved && let Some(name) = names.get(&i) {
                    edits.push((lines.start..lines.start, (*name).to_owned()));
                    moved = false;
                }
            } else {
                moved = false;
            }
        }
        edits.sort_by_key(|(at, _)| (at.start, at.end));
        let mut out = String::with_capacity(self.text.len() + 256);
        let mut from = 0;
        for (at, new) in edits {
            out.push_str(self.text.get(from..at.start).unwrap_or_default());
            out.push_str(&new);
            from = at.end.max(from);
        }
        out.push_str(self.text.get(from..).unwrap_or_default());
        out
    }

    /// An entry with the rest of its lines: what stands before and behind it there, comments too.
    fn lines_of(&self, entry: usize) -> Range<usize> {
        let place = self.entries[entry].place();
        let start = self.text[..place.start].rfind('\n').map_or(0, |n| n + 1);
        // A closing parenthesis may stand on a later line than the last word.
        let next = self.entries.get(entry + 1).map_or(self.text.len(), |e| e.place().start);
        let behind = &self.text[place.end..next];
        let open = |text: &str| {
            text.lines()
                .map(|l| l.split(';').next().unwrap_or_default())
                .flat_map(str::chars)
                .filter(|c| *c == ')')
                .count()
        };
        let mut end = place.end;
        let mut left = open(behind);
        for line in behind.split_inclusive('\n') {
            end += line.len();
            left -= open(line);
            if left == 0 {
                break;
            }
        }
        start..end
    }
}

/// Records as lines that depend on nothing above them.
fn lines(set: &RecordSet) -> String {
    let line = |data: &String| format!("{} {} IN {} {data}\n", set.key.name, set.ttl, set.key.kind);
    set.data.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns::SetKey;
    use crate::protocol::dns::data::canonical;

    const FILE: &str = "\
; acme.example, by hand since 1998
$ORIGIN example.
$TTL 1h
acme\tIN SOA ns.acme hostmaster.acme (
\t\t2026112103 ; serial
\t\t1h 10m 4w 5m )
\tNS ns.acme
\tMX 10 old.acme ; the old gate
\tMX 20 older.acme
\tTXT \"v=spf1 mx -all\"
$ORIGIN acme.example.
ns A 192.0.2.53
old 300 A 192.0.2.1 ; do not touch: phones
www CNAME old
ldap SRV ( 0 1
  389 old ; a comment with )
  )
   TXT \"; no comment\"
";

    const TODAY: Date = Date { year: 2026, month: 11, day: 22 };

    fn set(name: &str, kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
        RecordSet {
            key: SetKey { name: name.into(), kind: kind.into() },
            ttl,
            data: data.iter().map(|d| canonical(kind, d).expect("data")).collect(),
        }
    }

    fn read() -> MasterFile {
        MasterFile::read("acme.example", FILE).expect("reads")
    }

    #[test]
    fn everything_is_found_under_its_whole_name() {
        let file = read();
        assert_eq!((file.soa().serial, file.soa().refresh, file.soa().negative_ttl), (2_026_112_103, 3600, 300));
        let sets: Vec<RecordSet> = file.sets().into_values().collect();
        let mut wanted = vec![
            set("acme.example.", "MX", 3600, &["10 old.acme.example.", "20 older.acme.example."]),
            set("acme.example.", "NS", 3600, &["ns.acme.example."]),
            set("acme.example.", "TXT", 3600, &["\"v=spf1 mx -all\""]),
            set("ldap.acme.example.", "SRV", 3600, &["0 1 389 old.acme.example."]),
            set("ldap.acme.example.", "TXT", 3600, &["\"; no comment\""]),
            set("ns.acme.example.", "A", 3600, &["192.0.2.53"]),
            set("old.acme.example.", "A", 300, &["192.0.2.1"]),
            set("www.acme.example.", "CNAME", 3600, &["old.acme.example."]),
        ];
        wanted.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(sets, wanted);
    }

    #[test]
    fn one_set_changes_and_the_rest_stays_as_it_was_written() {
        let file = read();
        let before = file.sets()[&SetKey { name: "acme.example.".into(), kind: "MX".into() }].clone();
        let after = set("acme.example.", "MX", 300, &["10 new.acme.example."]);
        let new = set("new.acme.example.", "A", 300, &["192.0.2.9"]);
        let changes =
            [SetChange { before: Some(before), after: Some(after) }, SetChange { before: None, after: Some(new) }];
        let text = file.edit(&changes, TODAY).expect("edited");
        let wanted = FILE
            .replace("2026112103", "2026112200")
            .replace(
                "\tMX 10 old.acme ; the old gate\n\tMX 20 older.acme\n",
                "acme.example. 300 IN MX 10 new.acme.example.\n",
            )
            .replace("\tTXT \"v=spf1 mx", "acme.example.\tTXT \"v=spf1 mx")
            + "new.acme.example. 300 IN A 192.0.2.9\n";
        assert_eq!(text, wanted);
        assert_eq!(file.edit(&[], TODAY).expect("nothing"), FILE, "not even the serial");
    }

    #[test]
    fn a_record_in_parentheses_goes_whole_and_leaves_its_name_to_the_next() {
        let file = read();
        let srv = file.sets()[&SetKey { name: "ldap.acme.example.".into(), kind: "SRV".into() }].clone();
        let text = file.edit(&[SetChange { before: Some(srv), after: None }], TODAY).expect("edited");
        assert!(text.ends_with("www CNAME old\nldap.acme.example.   TXT \"; no comment\"\n"), "{text}");
    }

    #[test]
    fn what_is_not_as_expected_is_refused() {
        let file = read();
        let other = set("www.acme.example.", "CNAME", 3600, &["new.acme.example."]);
        let e = file.edit(&[SetChange { before: Some(other.clone()), after: None }], TODAY).expect_err("stale");
        assert_eq!((e.line(FILE), e.message.as_str()), (14, "www.acme.example. CNAME is another than was expected"));
        assert!(file.edit(&[SetChange { before: None, after: Some(other) }], TODAY).is_err(), "it is there");
        for (text, says) in [
            ("$INCLUDE more\n", "$INCLUDE brings in"),
            ("$GENERATE 1-9 h$ A 192.0.2.$\n", "$GENERATE brings in"),
            ("a 60 A x\n", "no data of a A record"),
            ("a A 192.0.2.1\n", "time to live"),
            ("@ 60 SOA a b 1 2 3 4\n", "SOA cannot be read"),
            ("a 60 A 192.0.2.1\n", "no SOA"),
            ("a 60 TXT \"x\n", "not closed on its line"),
            (" 60 A 192.0.2.1\n", "no owner"),
        ] {
            let e = MasterFile::read("acme.example", text).expect_err(text);
            assert!(e.message.contains(says), "{text}: {e}");
        }
    }

    #[test]
    fn a_time_to_live_that_others_took_over_is_not_lost() {
        let text = "@ 600 SOA ns hostmaster 1 2 3 4 5\nns A 192.0.2.1\nmx 60 A 192.0.2.2\nx A 192.0.2.3\n";
        let file = MasterFile::read("acme.example", text).expect("reads");
        let mx = file.sets()[&SetKey { name: "mx.acme.example.".into(), kind: "A".into() }].clone();
        let e = file.edit(&[SetChange { before: Some(mx), after: None }], TODAY).expect_err("x would live longer");
        assert!(e.message.contains("other records"), "{e}");
    }

    #[test]
    fn serials_go_on_in_their_style() {
        for (serial, next) in [
            (1, 2),
            (2_026_112_103, 2_026_112_200),
            (2_026_112_207, 2_026_112_208),
            (2_026_112_299, 2_026_112_300),
            (2_030_010_100, 2_030_010_101),
            (1_763_000_000, 1_763_000_001),
            (u32::MAX, 1),
        ] {
            assert_eq!(next_serial(serial, TODAY), next, "{serial}");
        }
    }
}
