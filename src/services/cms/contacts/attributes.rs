//! Contacts of LDIF files: attributes of Mozilla's address book (mozillaAbPersonAlpha), of inetOrgPerson (RFC 2798), and groups.

use sha2::{Digest as _, Sha256};

use super::Gathering;
use crate::protocol::ldif::{self, Entry};
use crate::protocol::vcard::{Card, Property, escape};
use crate::services::cms::mailbox::Fault;

/// An attribute, the property that it becomes, and its `TYPE`.
const TEXTS: [(&str, &str, &str); 24] = [
    ("mail", "EMAIL", ""),
    ("mozillasecondemail", "EMAIL", ""),
    ("xmozillasecondemail", "EMAIL", ""),
    ("mailalternateaddress", "EMAIL", ""),
    ("telephonenumber", "TEL", "work"),
    ("homephone", "TEL", "home"),
    ("facsimiletelephonenumber", "TEL", "fax"),
    ("fax", "TEL", "fax"),
    ("mobile", "TEL", "cell"),
    ("cellphone", "TEL", "cell"),
    ("pager", "TEL", "pager"),
    ("title", "TITLE", ""),
    ("employeetype", "ROLE", ""),
    ("mozillanickname", "NICKNAME", ""),
    ("xmozillanickname", "NICKNAME", ""),
    ("description", "NOTE", ""),
    ("info", "NOTE", ""),
    ("mozillaworkurl", "URL", "work"),
    ("workurl", "URL", "work"),
    ("mozillahomeurl", "URL", "home"),
    ("homeurl", "URL", "home"),
    ("labeleduri", "URL", ""),
    ("preferredlanguage", "LANG", ""),
    ("businesscategory", "CATEGORIES", ""),
];

/// Parts of addresses in the order of ADR: box, extension, street, locality, region, code, country.
const HOME: [&str; 7] = [
    "",
    "mozillahomestreet2",
    "mozillahomestreet",
    "mozillahomelocalityname",
    "mozillahomestate",
    "mozillahomepostalcode",
    "mozillahomecountryname",
];
const WORK: [&str; 7] = ["postofficebox", "mozillaworkstreet2", "street", "l", "st", "postalcode", "c"];
/// Other names of those.
const ALIKE: [(&str, &str); 12] = [
    ("streetaddress", "street"),
    ("locality", "l"),
    ("localityname", "l"),
    ("stateorprovincename", "st"),
    ("countryname", "c"),
    ("co", "c"),
    ("surname", "sn"),
    ("gn", "givenname"),
    ("commonname", "cn"),
    ("organizationname", "o"),
    ("company", "o"),
    ("department", "ou"),
];
/// Say nothing of the contact itself, or have been used already.
const IDLE: [&str; 14] = [
    "objectclass",
    "modifytimestamp",
    "createtimestamp",
    "creatorsname",
    "modifiersname",
    "entryuuid",
    "entrycsn",
    "structuralobjectclass",
    "entrydn",
    "subschemasubentry",
    "hassubordinates",
    "userpassword",
    "mozillausehtmlmail",
    "xmozillausehtmlmail",
];

/// Reads all entries of a file into a book.
pub(super) fn gather(octets: &[u8], place: &str, book: &str, gathering: &mut Gathering) -> Result<(), Fault> {
    let (entries, bad) = ldif::parse(octets);
    bad.iter().for_each(|b| gathering.left(place, &format!("line {}: {}", b.line, b.what)));
    for entry in &entries {
        let (card, notes) = card(entry);
        if card.properties.len() > 1 {
            gathering.add(book, card, None, notes)?;
        } else {
            gathering.left(place, &format!("line {}: `{}` is no contact", entry.line, entry.dn));
        }
    }
    Ok(())
}

/// The same at each reading: an entry is known by its distinguished name only.
fn uid(dn: &str) -> String {
    let digest = Sha256::digest(dn.trim().to_lowercase().as_bytes());
    let hex: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn card(entry: &Entry) -> (Card, Vec<String>) {
    let mut values = entry.values.clone();
    for (name, _) in &mut values {
        if let Some((_, other)) = ALIKE.iter().find(|(a, _)| a == name) {
            *name = (*other).to_owned();
        }
    }
    let mut rest = Entry { values, ..entry.clone() };
    let mut notes = Vec::new();
    let mut card = Card::default();
    let own = rest.all("entryuuid").next();
    card.push(Property::text("UID", &own.unwrap_or_else(|| uid(&entry.dn))));
    let is = |class: &str| rest.all("objectclass").any(|c| c.eq_ignore_ascii_case(class));
    let group = is("groupOfNames") || is("groupOfUniqueNames");
    let mut take = |name: &str| -> Vec<String> {
        let found: Vec<String> = rest.all(name).collect();
        rest.values.retain(|(n, _)| n != name);
        found
    };
    let common = take("cn");
    let display = take("displayname");
    if let Some(shown) = display.first().or(common.first()) {
        card.push(Property::text("FN", shown));
    }
    let shown = card.text("FN");
    for other in display.iter().chain(&common).skip(1).filter(|c| shown.as_ref() != Some(c)) {
        notes.push(format!("one more name, kept as a nickname: {other}"));
        card.properties.push(Property::text("NICKNAME", other));
    }
    let mut one = |name: &str| take(name).join(" ");
    let name = [one("sn"), one("givenname"), one("initials"), one("personaltitle"), one("generationqualifier")];
    card.push(Property::parts("N", &name));
    let mut org = take("o");
    org.truncate(1);
    org.resize(1, String::new());
    org.extend(take("ou"));
    card.push(Property::parts("ORG", &org));
    for (kind, parts) in [("home", HOME), ("work", WORK)] {
        let parts: Vec<String> =
            parts.iter().map(|p| if p.is_empty() { String::new() } else { take(p).join(" ") }).collect();
        card.push(Property::parts("ADR", &parts).of_type(kind));
    }
    for (attribute, kind) in [("postaladdress", "work"), ("homepostaladdress", "home")] {
        for address in take(attribute) {
            // Lines are parted by a dollar sign (RFC 4517 section 3.3.28).
            let lines = address.replace('$', "\n");
            card.push(Property::parts("ADR", &["", "", lines.as_str(), "", "", "", ""]).of_type(kind));
        }
    }
    for (attribute, name, kind) in TEXTS {
        for text in take(attribute) {
            let property = match name {
                "URL" => Property::raw(name, &text),
                _ => Property::text(name, &text),
            };
            card.push(if kind.is_empty() { property } else { property.of_type(kind) });
        }
    }
    birthday(take("birthyear"), take("birthmonth"), take("birthday"), &mut card);
    for who in take("member").into_iter().chain(take("uniquemember")) {
        card.push(Property::raw("MEMBER", &format!("urn:uuid:{}", uid(&who))));
    }
    if group {
        card.push(Property::text("KIND", "group"));
    }
    for (name, octets) in std::mem::take(&mut rest.values) {
        if IDLE.contains(&name.as_str()) {
            continue;
        }
        if matches!(name.as_str(), "jpegphoto" | "thumbnailphoto" | "photo") && octets.starts_with(b"\xff\xd8") {
            use base64::Engine as _;
            let packed = base64::engine::general_purpose::STANDARD.encode(&octets);
            card.push(Property::raw("PHOTO", &format!("data:image/jpeg;base64,{packed}")));
            continue;
        }
        match String::from_utf8(octets) {
            Ok(text) => card.push(Property::raw(
                &format!("X-LDIF-{}", name.to_uppercase().replace(['_', '.'], "-")),
                &escape(&text),
            )),
            Err(_) => notes.push(format!("{name}: a value that is no text stays behind")),
        }
    }
    (card, notes)
}

fn birthday(year: Vec<String>, month: Vec<String>, day: Vec<String>, card: &mut Card) {
    let number = |v: &[String]| v.first().and_then(|t| t.parse::<u32>().ok());
    let date = match (number(&year), number(&month), number(&day)) {
        (Some(y), Some(m), Some(d)) => format!("{y:04}{m:02}{d:02}"),
        (None, Some(m), Some(d)) => format!("--{m:02}{d:02}"),
        (Some(y), None, None) => format!("{y:04}"),
        _ => {
            let said: Vec<String> = [year, month, day].concat();
            return card.push(Property {
                parameters: vec![("VALUE".into(), vec!["text".into()])],
                ..Property::text("BDAY", &said.join("-"))
            });
        }
    };
    card.push(Property::raw("BDAY", &date));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Thunderbird exports a contact and a list of them.
    #[test]
    fn a_mozilla_address_book_is_read() {
        let mut gathering = Gathering::default();
        let text = b"dn: cn=Ann Lee,mail=ann@x.example\nobjectclass: top\nobjectclass: mozillaAbPersonAlpha\ngivenName: Ann\nsn: Lee\ncn: Ann Lee\nmail: ann@x.example\n\
            mozillaSecondEmail: a2@x.example\nhomePhone: 1\nmobile: 2\nmozillaHomeStreet: S 1\nmozillaHomeLocalityName: T\nl: W\no: Acme\nou: Sales\nbirthyear: 1970\nbirthmonth: 1\nbirthday: 2\nmozillaCustom1: c, d\nmodifytimestamp: 0\n\n\
            dn: cn=All\nobjectclass: groupOfNames\ncn: All\nmember: cn=Ann Lee,mail=ann@x.example\n\ndn: cn=nothing\nobjectclass: top\n";
        gather(text, "a.ldif", "Contacts", &mut gathering).expect("gathered");
        let listing = gathering.end();
        assert_eq!((listing.things.len(), listing.left.len()), (2, 1));
        let card = |n: usize| match &listing.things[n].thing.as_ref().expect("thing").body {
            crate::services::cms::personal::Body::Contact(c) => c.card.clone(),
            other => panic!("{other:?}"),
        };
        let ann = card(0);
        let value = |n: &str| ann.get(n).map(|p| p.value.clone()).unwrap_or_default();
        assert_eq!(
            (value("N"), value("ORG"), value("BDAY")),
            ("Lee;Ann;;;".into(), "Acme;Sales".into(), "19700102".into())
        );
        assert_eq!(ann.all("ADR").map(|p| p.value.as_str()).collect::<Vec<_>>(), [";;S 1;T;;;", ";;;W;;;"]);
        assert_eq!(ann.all("EMAIL").count(), 2);
        assert_eq!(value("X-LDIF-MOZILLACUSTOM1"), "c\\, d");
        assert!(card(1).is_group());
        let member = card(1).get("MEMBER").map(|p| p.value.clone()).unwrap_or_default();
        assert_eq!(member, format!("urn:uuid:{}", ann.uid()));
    }
}
