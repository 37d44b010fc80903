//! Contacts of CSV files. A column is known by its header in one of the dialects of `columns`, or by what the configuration says of it;
//! a column that nobody knows is kept as a property `X-CSV-..`.
//!
//! SquirrelMail's `.abook` has no header: `nickname|first name|last name|address|label`.

use std::collections::BTreeMap;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::Gathering;
use super::columns::known;
use crate::protocol::vcard::{Card, Property, escape};
use crate::services::cms::mailbox::{Class, Fault};

const ABOOK: [&str; 5] = ["NICKNAME", "N.given", "N.family", "EMAIL", "NOTE"];
/// Columns of a file.
const COLUMNS: usize = 1000;

/// Where a cell goes: `NAME`, `NAME.part`, with `;type` behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    name: String,
    part: Option<usize>,
    kind: Option<String>,
    /// Of numbered columns (`Phone 2 - Value`), so that a type finds its value.
    number: u32,
}

/// Names of parts, in the order of the property.
const PARTS: [(&str, &[&str]); 5] = [
    ("N", &["family", "given", "additional", "prefix", "suffix"]),
    ("ADR", &["box", "extended", "street", "city", "region", "code", "country"]),
    ("ORG", &["name", "unit"]),
    ("BDAY", &["year", "month", "day"]),
    // What Google writes beside a value.
    ("TYPE", &["tel", "email", "adr", "url"]),
];

fn slot(text: &str, number: u32) -> Option<Slot> {
    let (head, kind) = text.split_once(';').map_or((text, None), |(h, k)| (h, Some(k.trim().to_lowercase())));
    let (name, part) = head.split_once('.').map_or((head, None), |(n, p)| (n, Some(p.trim())));
    let name = name.trim().to_uppercase();
    let fine = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let part = match part {
        None => None,
        Some(part) => {
            let (_, parts) = PARTS.iter().find(|(n, _)| *n == name)?;
            Some(parts.iter().position(|p| *p == part)?)
        }
    };
    fine.then_some(Slot { name, part, kind, number })
}

/// Whether a mapping of the configuration can be understood.
pub fn is_slot(text: &str) -> bool {
    text.is_empty() || slot(text, 0).is_some()
}

/// The text of a file: by its mark, else UTF-16 where every second octet is 0, UTF-8, or what Windows wrote.
fn decoded(octets: &[u8]) -> String {
    if let Some((encoding, marks)) = Encoding::for_bom(octets) {
        return encoding.decode_without_bom_handling(&octets[marks..]).0.into_owned();
    }
    let zeros = |from: usize| octets.iter().skip(from).step_by(2).take(40).filter(|b| **b == 0).count();
    let wide = match (zeros(0), zeros(1)) {
        (_, 30..) => Some(UTF_16LE),
        (30.., _) => Some(UTF_16BE),
        _ => None,
    };
    if let Some(wide) = wide {
        return wide.decode_without_bom_handling(octets).0.into_owned();
    }
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

/// What stands most often in the first line, outside of quotes.
fn delimiter(text: &str) -> u8 {
    let (mut quoted, mut counts) = (false, [0usize; 4]);
    let kinds = [b',', b';', b'\t', b'|'];
    for octet in text.bytes().take_while(|b| *b != b'\n') {
        quoted ^= octet == b'"';
        if let Some(n) = kinds.iter().position(|k| *k == octet).filter(|_| !quoted) {
            counts[n] += 1;
        }
    }
    let best = (0..4).rev().max_by_key(|n| counts[*n]).unwrap_or(0);
    kinds[best]
}

/// Reads all lines of a file into a book. `mapping`: header to slot, before all dialects; an empty slot leaves a column out.
pub(super) fn gather(
    octets: &[u8],
    place: &str,
    book: &str,
    mapping: &BTreeMap<String, String>,
    gathering: &mut Gathering,
) -> Result<(), Fault> {
    let text = decoded(octets);
    let delimiter = delimiter(&text);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(first) = records.next() else { return Ok(()) };
    let first = first.map_err(|e| Fault::new(Class::Malformed, format!("{place}: {e}")))?;
    if first.len() > COLUMNS {
        return Err(Fault::new(Class::Malformed, format!("{place}: more than {COLUMNS} columns")));
    }
    let mut slots = header(&first, mapping);
    let mut begin = None;
    if !slots.iter().any(|(_, s)| s.is_some()) {
        if delimiter == b'|' && first.len() == ABOOK.len() {
            slots = ABOOK.iter().map(|s| (String::new(), slot(s, 0))).collect();
            begin = Some(Ok(first));
        } else {
            let names: Vec<&str> = first.iter().take(6).collect();
            let what = format!(
                "{place}: no column is known ({}); say what they are, as in columns = {{ \"{}\" = \"FN\" }}",
                names.join(", "),
                names.first().unwrap_or(&"Name")
            );
            return Err(Fault::new(Class::Malformed, what));
        }
    }
    for (n, record) in begin.into_iter().chain(records).enumerate() {
        match record {
            Ok(record) => {
                let (card, notes) = card(&slots, &record);
                if !card.properties.is_empty() {
                    gathering.add(book, card, None, notes)?;
                }
            }
            Err(e) => gathering.left(place, &format!("record {}: {e}", n + 2)),
        }
    }
    Ok(())
}

fn header(first: &csv::StringRecord, mapping: &BTreeMap<String, String>) -> Vec<(String, Option<Slot>)> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    first
        .iter()
        .map(|cell| {
            let name = cell.trim().to_owned();
            let times = seen.entry(name.to_lowercase()).or_default();
            *times += 1;
            let said = mapping.iter().find(|(k, _)| k.eq_ignore_ascii_case(&name)).map(|(_, s)| s.clone());
            if said.as_deref() == Some("") {
                return (String::new(), None);
            }
            // Google counts: `Address 2 - Street`. Elsewhere a number is a further line or value: `Business Street 2`.
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            let number: u32 = if name.contains(" - ") { digits.parse().unwrap_or(1) } else { 0 };
            let text = said.or_else(|| known(&name, *times));
            let slot = text.and_then(|t| slot(&t, number));
            (name, slot)
        })
        .collect()
}

fn card(slots: &[(String, Option<Slot>)], record: &csv::StringRecord) -> (Card, Vec<String>) {
    let mut card = Card::default();
    let mut notes = Vec::new();
    /// Property, type, number: its parts.
    type Parted = BTreeMap<(String, String, u32), Vec<String>>;
    let mut parted = Parted::new();
    // Types that stand in cells of their own, by what they are of and their number.
    let types: BTreeMap<(usize, u32), String> = slots
        .iter()
        .zip(record)
        .filter_map(|((_, slot), cell)| {
            let slot = slot.as_ref().filter(|s| s.name == "TYPE")?;
            let kind = cell.trim_start_matches('*').trim().to_lowercase();
            (!kind.is_empty()).then_some(((slot.part?, slot.number), kind))
        })
        .collect();
    for ((header, slot), cell) in slots.iter().zip(record) {
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        let Some(slot) = slot else {
            if !header.is_empty() {
                card.push(Property::text(&extra(header), cell));
            }
            continue;
        };
        let kind = slot.kind.clone().or_else(|| {
            let of = match slot.name.as_str() {
                "TEL" => 0,
                "EMAIL" => 1,
                "ADR" => 2,
                "URL" => 3,
                _ => return None,
            };
            types.get(&(of, slot.number)).cloned()
        });
        match (slot.name.as_str(), slot.part) {
            ("TYPE", _) => {}
            (name, Some(part)) => {
                let number = if name == "ADR" { slot.number } else { 0 };
                let key = (name.to_owned(), kind.unwrap_or_default(), number);
                let parts = parted.entry(key).or_default();
                if parts.len() <= part {
                    parts.resize(part + 1, String::new());
                }
                // Second and third lines of a street.
                parts[part] = if parts[part].is_empty() { cell.to_owned() } else { format!("{}\n{cell}", parts[part]) };
            }
            ("BDAY" | "ANNIVERSARY", None) => dated(&slot.name, cell, &mut card, &mut notes),
            ("CATEGORIES" | "NICKNAME", None) => {
                // Google parts by ` ::: `, Outlook by `;`.
                let words = cell.split(":::").flat_map(|w| w.split(';')).map(|w| w.trim().trim_start_matches("* "));
                let words: Vec<String> = words.filter(|w| !w.is_empty()).map(escape).collect();
                card.push(Property::raw(&slot.name, &words.join(",")));
            }
            (name, None) => {
                // Google puts several values into one cell.
                for text in cell.split(" ::: ") {
                    let property = match name {
                        "URL" | "PHOTO" => Property::raw(name, text.trim()),
                        _ => Property::text(name, text.trim()),
                    };
                    card.push(match &kind {
                        Some(kind) => property.of_type(&word(kind)),
                        None => property,
                    });
                }
            }
        }
    }
    for ((name, kind, _), mut parts) in parted {
        if name == "BDAY" {
            let number = |n: usize| parts.get(n).and_then(|p| p.parse::<u32>().ok()).filter(|n| *n > 0);
            let date = match (number(0), number(1), number(2)) {
                (Some(y), Some(m), Some(d)) => format!("{y:04}{m:02}{d:02}"),
                (None, Some(m), Some(d)) => format!("--{m:02}{d:02}"),
                (Some(y), None, None) => format!("{y:04}"),
                _ => {
                    dated("BDAY", &parts.join("-"), &mut card, &mut notes);
                    continue;
                }
            };
            card.push(Property::raw("BDAY", &date));
            continue;
        }
        let all = PARTS.iter().find(|(n, _)| *n == name).map_or(0, |(_, p)| p.len());
        if name != "ORG" {
            parts.resize(all, String::new());
        }
        let property = Property::parts(&name, &parts);
        card.push(if kind.is_empty() { property } else { property.of_type(&word(&kind)) });
    }
    if let (None, Some(_)) = (card.get("FN"), card.get("N").or(card.get("ORG")).or(card.get("EMAIL"))) {
        let shown = card.shown();
        card.properties.insert(0, Property::text("FN", &shown));
    }
    (card, notes)
}

/// A type is one word of letters (RFC 6350 section 5.6).
fn word(kind: &str) -> String {
    let word: String = kind.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    if word == "mobile" { "cell".into() } else { word }
}

fn extra(header: &str) -> String {
    let word: String =
        header.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '-' }).collect();
    format!("X-CSV-{}", word.trim_matches('-'))
}

/// A date that can be read in one way only; others stay texts. `0.0.00` and `0/0/00` are Outlook's none.
fn dated(name: &str, cell: &str, card: &mut Card, notes: &mut Vec<String>) {
    if cell.chars().all(|c| c == '0' || !c.is_ascii_digit()) {
        return;
    }
    let numbers: Vec<u32> = cell.split(['.', '/', '-']).filter_map(|n| n.trim().parse().ok()).collect();
    let iso = cell.len() >= 8 && cell.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    let date = match numbers.as_slice() {
        [y, m, d] if iso => Some((*y, *m, *d)),
        [d, m, y] if cell.contains('.') && *y > 1000 => Some((*y, *m, *d)),
        [d, m, y] if *y > 1000 && *d > 12 => Some((*y, *m, *d)),
        [m, d, y] if *y > 1000 && *d > 12 => Some((*y, *m, *d)),
        // The fifth of May is one in every order.
        [m, d, y] if *y > 1000 && m == d => Some((*y, *m, *d)),
        _ => None,
    };
    if let Some((y, m, d)) = date.filter(|(_, m, d)| (1..=12).contains(m) && (1..=31).contains(d)) {
        return card.push(Property::raw(name, &format!("{y:04}{m:02}{d:02}")));
    }
    notes.push(format!("{name} {cell}: day and month cannot be told apart; it is carried as a text"));
    card.push(Property { parameters: vec![("VALUE".into(), vec!["text".into()])], ..Property::text(name, cell) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::cms::personal::{Body, Listing};

    fn read(octets: &[u8]) -> (Vec<Card>, Listing) {
        let mut gathering = Gathering::default();
        gather(octets, "a.csv", "Contacts", &BTreeMap::new(), &mut gathering).expect("read");
        let listing = gathering.end();
        let cards = listing.things.iter().filter_map(|s| match &s.thing.as_ref()?.body {
            Body::Contact(c) => Some(c.card.clone()),
            _ => None,
        });
        (cards.collect(), listing)
    }

    fn value(card: &Card, name: &str) -> String {
        card.get(name).map(|p| p.value.clone()).unwrap_or_default()
    }

    #[test]
    fn outlook_in_english_and_german_is_one_form() {
        let english = read(b"\xef\xbb\xbf\"First Name\",\"Last Name\",\"Company\",\"Business Street\",\"Business Street 2\",\"Business City\",\"Home Phone\",\"Mobile Phone\",\"E-mail Address\",\"E-mail 2 Address\",\"Birthday\",\"Categories\",\"Hobby\"\r\n\
            Ann,Lee,\"Acme, Ltd\",S 1,Floor 2,Town,1,2,ann@x.example,a2@x.example,1/25/1970,Friends;Work,chess\r\n").0;
        let german = "Vorname;Nachname;Firma;Straße geschäftlich;Straße geschäftlich 2;Ort geschäftlich;Telefon (privat);Mobiltelefon;E-Mail-Adresse;E-Mail 2: Adresse;Geburtstag;Kategorien;Hobby\r\n\
            Ann;Lee;Acme, Ltd;S 1;Floor 2;Town;1;2;ann@x.example;a2@x.example;25.1.1970;\"Friends;Work\";chess\r\n";
        let windows = WINDOWS_1252.encode(german).0.into_owned();
        let utf16: Vec<u8> = format!("\u{feff}{german}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for octets in [windows, utf16] {
            assert_eq!(read(&octets).0[0].canonical(), english[0].canonical());
        }
        let ann = &english[0];
        assert_eq!(value(ann, "N"), "Lee;Ann;;;");
        assert_eq!(value(ann, "ORG"), "Acme\\, Ltd");
        assert_eq!(value(ann, "ADR"), ";;S 1\\nFloor 2;Town;;;");
        assert_eq!((value(ann, "BDAY"), value(ann, "CATEGORIES")), ("19700125".into(), "Friends,Work".into()));
        assert_eq!(value(ann, "X-CSV-HOBBY"), "chess");
        assert_eq!(value(ann, "FN"), "Ann Lee");
    }

    #[test]
    fn google_thunderbird_horde_and_squirrelmail_are_read() {
        let google = read(b"Name,Given Name,Family Name,E-mail 1 - Type,E-mail 1 - Value,Phone 1 - Type,Phone 1 - Value,Phone 2 - Type,Phone 2 - Value,Address 1 - Type,Address 1 - Street,Address 1 - City,Organization 1 - Name,Group Membership,Website 1 - Value\n\
            Ann Lee,Ann,Lee,* Work,ann@x.example ::: a2@x.example,Mobile,2,Home,1,Home,S 1,Town,Acme,* myContacts ::: Friends,http://x.example/a\n").0;
        let ann = &google[0];
        assert_eq!(
            ann.all("EMAIL").map(|p| (p.parameter("TYPE").join(","), p.value.clone())).collect::<Vec<_>>(),
            [("work".into(), "ann@x.example".into()), ("work".into(), "a2@x.example".into())]
        );
        assert_eq!(
            ann.all("TEL").map(|p| (p.parameter("TYPE").join(","), p.value.as_str())).collect::<Vec<_>>(),
            [("cell".into(), "2"), ("home".into(), "1")]
        );
        assert_eq!(
            (value(ann, "ADR"), value(ann, "CATEGORIES")),
            (";;S 1;Town;;;".into(), "myContacts,Friends".into())
        );
        let bird = read(b"First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Work Phone,Home Address,Home City,Birth Year,Birth Month,Birth Day,Custom 1\nAnn,Lee,Ann L,al,ann@x.example,b@x.example,1,S 1,T,1970,1,2,zz\n").0;
        assert_eq!((value(&bird[0], "FN"), value(&bird[0], "BDAY")), ("Ann L".into(), "19700102".into()));
        assert_eq!((value(&bird[0], "X-CSV-CUSTOM-1"), value(&bird[0], "ADR")), ("zz".into(), ";;S 1;T;;;".into()));
        let horde = read(b"\"name\",\"email\",\"alias\",\"homePhone\",\"workPhone\",\"cellPhone\",\"company\",\"notes\"\n\"Ann Lee\",\"ann@x.example\",\"al\",\"1\",\"2\",\"3\",\"Acme\",\"n\"\n").0;
        assert_eq!(
            (value(&horde[0], "FN"), horde[0].all("TEL").count(), value(&horde[0], "NOTE")),
            ("Ann Lee".into(), 3, "n".into())
        );
        let abook = read(b"al|Ann|Lee|ann@x.example|a note\nbo|Bob||bob@x.example|\n").0;
        assert_eq!((value(&abook[0], "N"), value(&abook[1], "FN")), ("Lee;Ann;;;".into(), "Bob".into()));
    }

    #[test]
    fn dates_that_can_be_read_in_two_ways_are_not_guessed() {
        let (cards, listing) = read(b"First Name,Birthday\nA,3/4/1970\nB,0/0/00\nC,1970-03-04\n");
        assert_eq!(value(&cards[0], "BDAY"), "3/4/1970");
        assert_eq!(cards[1].get("BDAY"), None);
        assert_eq!(value(&cards[2], "BDAY"), "19700304");
        assert!(listing.things[0].thing.as_ref().is_some_and(|t| t.notes[0].contains("told apart")));
    }

    #[test]
    fn an_unknown_form_asks_for_a_mapping_and_takes_one() {
        let octets = b"Kunde;Mail privat;Haus\nAnn;ann@x.example;3\n";
        let mut gathering = Gathering::default();
        let fault = gather(octets, "a.csv", "Contacts", &BTreeMap::new(), &mut gathering).expect_err("no column");
        assert!(fault.what.contains("columns = { \"Kunde\""), "{fault}");
        let mapping = [("Kunde", "FN"), ("Mail privat", "EMAIL;home"), ("Haus", "")];
        let mapping = mapping.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        gather(octets, "a.csv", "Contacts", &mapping, &mut gathering).expect("read");
        assert_eq!(gathering.end().things.len(), 1);
        assert!(is_slot("ADR.street;work") && !is_slot("ADR.house") && !is_slot("a b"));
    }
}
