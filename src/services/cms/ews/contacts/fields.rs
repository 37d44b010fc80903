//! A contact as the fields that Exchange shows, and back ([MS-OXOCNTC], [MS-OXWSCONT]).

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::protocol::vcard::{Card, Property, list, parts, unescape};

/// What stands in each field, by a name of [`SLOTS`].
pub(super) type Fields = BTreeMap<&'static str, String>;

/// Fields in the order of the schema: an element; the key of an entry and its part behind strokes; a number is a property of MAPI
/// (PidTagDisplayNamePrefix, PidTagPersonalHomePage).
pub(super) const SLOTS: [&str; 64] = [
    "Body",
    "Categories",
    "0x3A45",
    "0x3A50",
    "DisplayName",
    "GivenName",
    "Initials",
    "MiddleName",
    "Nickname",
    "CompanyName",
    "EmailAddresses/EmailAddress1",
    "EmailAddresses/EmailAddress2",
    "EmailAddresses/EmailAddress3",
    "PhysicalAddresses/Business/Street",
    "PhysicalAddresses/Business/City",
    "PhysicalAddresses/Business/State",
    "PhysicalAddresses/Business/CountryOrRegion",
    "PhysicalAddresses/Business/PostalCode",
    "PhysicalAddresses/Home/Street",
    "PhysicalAddresses/Home/City",
    "PhysicalAddresses/Home/State",
    "PhysicalAddresses/Home/CountryOrRegion",
    "PhysicalAddresses/Home/PostalCode",
    "PhysicalAddresses/Other/Street",
    "PhysicalAddresses/Other/City",
    "PhysicalAddresses/Other/State",
    "PhysicalAddresses/Other/CountryOrRegion",
    "PhysicalAddresses/Other/PostalCode",
    "PhoneNumbers/AssistantPhone",
    "PhoneNumbers/BusinessFax",
    "PhoneNumbers/BusinessPhone",
    "PhoneNumbers/BusinessPhone2",
    "PhoneNumbers/Callback",
    "PhoneNumbers/CarPhone",
    "PhoneNumbers/CompanyMainPhone",
    "PhoneNumbers/HomeFax",
    "PhoneNumbers/HomePhone",
    "PhoneNumbers/HomePhone2",
    "PhoneNumbers/Isdn",
    "PhoneNumbers/MobilePhone",
    "PhoneNumbers/OtherFax",
    "PhoneNumbers/OtherTelephone",
    "PhoneNumbers/Pager",
    "PhoneNumbers/PrimaryPhone",
    "PhoneNumbers/RadioPhone",
    "PhoneNumbers/Telex",
    "PhoneNumbers/TtyTddPhone",
    "AssistantName",
    "Birthday",
    "BusinessHomePage",
    "Children",
    "Department",
    "Generation",
    "ImAddresses/ImAddress1",
    "ImAddresses/ImAddress2",
    "ImAddresses/ImAddress3",
    "JobTitle",
    "Manager",
    "Mileage",
    "OfficeLocation",
    "Profession",
    "SpouseName",
    "Surname",
    "WeddingAnniversary",
];

/// A field that is one text, and its property.
const TEXTS: [(&str, &str); 10] = [
    ("DisplayName", "FN"),
    ("JobTitle", "TITLE"),
    ("Profession", "ROLE"),
    ("SpouseName", "X-SPOUSE"),
    ("AssistantName", "X-ASSISTANT"),
    ("Manager", "X-MANAGER"),
    ("Initials", "X-EXCHANGE-INITIALS"),
    ("Mileage", "X-EXCHANGE-MILEAGE"),
    ("Children", "X-EXCHANGE-CHILDREN"),
    ("OfficeLocation", "X-EXCHANGE-OFFICE"),
];
const NAMES: [&str; 5] = ["Surname", "GivenName", "MiddleName", "0x3A45", "Generation"];
const EMAILS: [&str; 3] =
    ["EmailAddresses/EmailAddress1", "EmailAddresses/EmailAddress2", "EmailAddresses/EmailAddress3"];
const CHATS: [&str; 3] = ["ImAddresses/ImAddress1", "ImAddresses/ImAddress2", "ImAddresses/ImAddress3"];
const DATES: [(&str, &str); 2] = [("Birthday", "BDAY"), ("WeddingAnniversary", "ANNIVERSARY")];
/// Whose home page it is: the kind of a URL.
const PAGES: [(&str, &str); 2] = [("0x3A50", "home"), ("BusinessHomePage", "")];

/// A number, and the kinds that say which it is.
const NUMBERS: [(&str, &[&str]); 19] = [
    ("PhoneNumbers/BusinessFax", &["fax", "work"]),
    ("PhoneNumbers/HomeFax", &["fax", "home"]),
    ("PhoneNumbers/OtherFax", &["fax"]),
    ("PhoneNumbers/Pager", &["pager"]),
    ("PhoneNumbers/MobilePhone", &["cell"]),
    ("PhoneNumbers/CarPhone", &["car"]),
    ("PhoneNumbers/Isdn", &["isdn"]),
    ("PhoneNumbers/TtyTddPhone", &["textphone"]),
    ("PhoneNumbers/CompanyMainPhone", &["x-company"]),
    ("PhoneNumbers/AssistantPhone", &["x-assistant"]),
    ("PhoneNumbers/Callback", &["x-callback"]),
    ("PhoneNumbers/RadioPhone", &["x-radio"]),
    ("PhoneNumbers/Telex", &["x-telex"]),
    ("PhoneNumbers/PrimaryPhone", &["x-primary"]),
    ("PhoneNumbers/BusinessPhone", &["work"]),
    ("PhoneNumbers/BusinessPhone2", &["work"]),
    ("PhoneNumbers/HomePhone", &["home"]),
    ("PhoneNumbers/HomePhone2", &["home"]),
    ("PhoneNumbers/OtherTelephone", &[]),
];

const PLACES: [(&str, [&str; 5]); 3] = [
    (
        "work",
        [
            "PhysicalAddresses/Business/Street",
            "PhysicalAddresses/Business/City",
            "PhysicalAddresses/Business/State",
            "PhysicalAddresses/Business/PostalCode",
            "PhysicalAddresses/Business/CountryOrRegion",
        ],
    ),
    (
        "home",
        [
            "PhysicalAddresses/Home/Street",
            "PhysicalAddresses/Home/City",
            "PhysicalAddresses/Home/State",
            "PhysicalAddresses/Home/PostalCode",
            "PhysicalAddresses/Home/CountryOrRegion",
        ],
    ),
    (
        "",
        [
            "PhysicalAddresses/Other/Street",
            "PhysicalAddresses/Other/City",
            "PhysicalAddresses/Other/State",
            "PhysicalAddresses/Other/PostalCode",
            "PhysicalAddresses/Other/CountryOrRegion",
        ],
    ),
];

/// What a card comes to.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub fields: Fields,
    /// Properties, by their place in the card, of which no field shows anything.
    pub unshown: Vec<usize>,
}

/// As every store keeps it: LF at the ends of lines, nothing around the text.
pub(super) fn clean(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned()
}

pub(super) fn digest(fields: &Fields) -> String {
    let text: String = fields.iter().map(|(slot, value)| format!("{slot}={value}\n")).collect();
    Sha256::digest(text.as_bytes()).iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// The fields of a card.
pub(super) fn of(card: &Card) -> Told {
    let mut told = Told::default();
    let preferred = |p: &Property| p.parameter("PREF").first().and_then(|n| n.parse::<u8>().ok()).unwrap_or(u8::MAX);
    let mut order: Vec<usize> = (0..card.properties.len()).collect();
    order.sort_by_key(|n| preferred(&card.properties[*n]));
    for n in order {
        let property = &card.properties[n];
        if !property.is_empty() && !told.show(property) {
            told.unshown.push(n);
        }
    }
    told.unshown.sort_unstable();
    told
}

fn kinds(p: &Property) -> Vec<String> {
    p.parameter("TYPE").iter().map(|k| k.to_lowercase()).collect()
}

impl Told {
    /// Whether a field has taken it.
    fn put(&mut self, slot: &'static str, text: &str) -> bool {
        let text = clean(text);
        let free = !text.is_empty() && !self.fields.contains_key(slot);
        if free {
            self.fields.insert(slot, text);
        }
        free
    }

    fn first(&mut self, slots: &[&'static str], text: &str) -> bool {
        slots.iter().any(|slot| self.put(slot, text))
    }

    fn more(&mut self, slot: &'static str, text: &str, between: &str) -> bool {
        let text = clean(text);
        let held = self.fields.entry(slot).or_default();
        if !held.is_empty() {
            held.push_str(between);
        }
        held.push_str(&text);
        true
    }

    fn show(&mut self, p: &Property) -> bool {
        let text = unescape(&p.value);
        match p.name.as_str() {
            "N" => self.each(&NAMES, p),
            "ORG" => {
                let mut all = parts(&p.value).into_iter().map(unescape);
                let name = all.next().unwrap_or_default();
                let units: Vec<String> = all.filter(|u| !u.trim().is_empty()).collect();
                let taken = self.put("CompanyName", &name);
                let unit = self.put("Department", &units.join(", "));
                taken || unit
            }
            "NICKNAME" => self.more("Nickname", &list(&p.value).join(", "), ", "),
            "CATEGORIES" => self.more("Categories", &list(&p.value).join("\n"), "\n"),
            "NOTE" => self.more("Body", &text, "\n\n"),
            "EMAIL" => self.first(&EMAILS, &text),
            "IMPP" => self.first(&CHATS, &text),
            "TEL" => self.number(p, text.strip_prefix("tel:").unwrap_or(&text)),
            "ADR" => self.address(p),
            "URL" => {
                let of = kinds(p);
                let at_home = PAGES.iter().find(|(_, kind)| !kind.is_empty() && of.iter().any(|k| k == kind));
                let (slot, _) = at_home.unwrap_or(&PAGES[1]);
                // It has to be an address there.
                reqwest::Url::parse(text.trim()).is_ok() && self.put(slot, &text)
            }
            name => match DATES.iter().find(|(_, of)| *of == name) {
                Some((slot, _)) => day(p).is_some_and(|day| self.put(slot, &day)),
                None => TEXTS.iter().find(|(_, of)| *of == name).is_some_and(|(slot, _)| self.put(slot, &text)),
            },
        }
    }

    /// Parts of a property, one field each.
    fn each(&mut self, slots: &[&'static str], p: &Property) -> bool {
        let found = parts(&p.value);
        let mut taken = false;
        for (slot, part) in slots.iter().zip(&found) {
            taken |= self.put(slot, &list(part).join(" "));
        }
        taken
    }

    fn number(&mut self, p: &Property, text: &str) -> bool {
        let of = kinds(p);
        let fits = |wanted: &[&str]| wanted.iter().all(|w| of.iter().any(|k| k == w));
        let fax = of.iter().any(|k| k == "fax");
        // The first that says the most; what has no room is still a number to call.
        let slots = NUMBERS.iter().filter(|(_, wanted)| fits(wanted) && wanted.contains(&"fax") == fax);
        let slots: Vec<&'static str> = slots.map(|(slot, _)| *slot).collect();
        self.first(&slots, text)
    }

    fn address(&mut self, p: &Property) -> bool {
        let of = kinds(p);
        let place = PLACES.iter().find(|(kind, _)| of.iter().any(|k| k == kind)).unwrap_or(&PLACES[2]);
        let other =
            [place, &PLACES[2]].into_iter().find(|(_, slots)| !slots.iter().any(|s| self.fields.contains_key(s)));
        let Some((_, slots)) = other else { return false };
        let found: Vec<String> = parts(&p.value).into_iter().map(|part| clean(&list(part).join("\n"))).collect();
        let part = |n: usize| found.get(n).cloned().unwrap_or_default();
        let street: Vec<String> = [part(0), part(1), part(2)].into_iter().filter(|s| !s.is_empty()).collect();
        let values = [street.join("\n"), part(3), part(4), part(5), part(6)];
        let mut taken = false;
        for (slot, value) in slots.iter().zip(&values) {
            taken |= self.put(slot, value);
        }
        taken
    }
}

/// A whole date, as `1970-01-31`.
fn day(p: &Property) -> Option<String> {
    if p.parameter("VALUE").iter().any(|v| v.eq_ignore_ascii_case("text")) {
        return None;
    }
    let digits: String = p.value.split('T').next()?.chars().filter(|c| *c != '-').collect();
    let whole = digits.len() == 8 && digits.chars().all(|c| c.is_ascii_digit());
    whole.then(|| format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]))
}

/// The card of these fields. `base` is what the contact was before somebody changed it: what no field shows stays.
pub(super) fn card(fields: &Fields, uid: &str, base: Option<&Card>) -> Card {
    let mut card = Card::default();
    card.push(Property::text("UID", uid));
    let text = |slot: &str| fields.get(slot).map(String::as_str).unwrap_or_default();
    card.push(Property::parts("N", &NAMES.map(text)));
    for (slot, name) in TEXTS {
        card.push(Property::text(name, text(slot)));
    }
    card.push(match text("Department") {
        "" => Property::text("ORG", text("CompanyName")),
        unit => Property::parts("ORG", &[text("CompanyName"), unit]),
    });
    card.push(Property::text("NICKNAME", text("Nickname")));
    text("Categories").split('\n').for_each(|c| card.push(Property::text("CATEGORIES", c)));
    card.push(Property::text("NOTE", text("Body")));
    EMAILS.iter().for_each(|slot| card.push(Property::text("EMAIL", text(slot))));
    CHATS.iter().for_each(|slot| card.push(Property::raw("IMPP", text(slot))));
    for (slot, kinds) in NUMBERS {
        let number = Property::text("TEL", text(slot));
        card.push(kinds.iter().fold(number, |p, kind| p.of_type(kind)));
    }
    for (kind, [street, city, state, code, country]) in PLACES {
        let parts = ["", "", text(street), text(city), text(state), text(code), text(country)];
        let address = Property::parts("ADR", &parts);
        card.push(if kind.is_empty() { address } else { address.of_type(kind) });
    }
    for (slot, kind) in PAGES {
        let page = Property::raw("URL", text(slot));
        card.push(if kind.is_empty() { page } else { page.of_type(kind) });
    }
    for (slot, name) in DATES {
        card.push(Property::raw(name, &text(slot).replace('-', "")));
    }
    if let Some(base) = base {
        let unshown: BTreeSet<usize> = of(base).unshown.into_iter().collect();
        let kept: Vec<&Property> = base
            .properties
            .iter()
            .enumerate()
            .filter(|(n, p)| unshown.contains(n) && p.name != "UID")
            .map(|(_, p)| p)
            .collect();
        // A label without what it was tied to says nothing.
        let label = |p: &Property| p.name.starts_with("X-AB") && p.group.is_some();
        let tied = |p: &Property| kept.iter().any(|o| o.group == p.group && !label(o));
        kept.iter().filter(|p| !label(p) || tied(p)).for_each(|p| card.push((*p).clone()));
    }
    card
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::vcard::parse;

    fn read(lines: &str) -> Card {
        let text = format!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:u\r\n{}\r\nEND:VCARD\r\n", lines.replace('\n', "\r\n"));
        parse(text.as_bytes()).0.remove(0)
    }

    #[test]
    fn a_contact_is_shown_by_fields_and_what_has_none_is_known() {
        let card = read(
            "FN:Ann Lee\nN:Lee;Ann;B,C;Dr.;jun.\nORG:Acme;Sales;North\nTITLE:Head\nEMAIL:a@x\nEMAIL;PREF=1:b@x\nEMAIL:c@x\nEMAIL:d@x\nTEL;TYPE=work,fax:1\n\
             TEL;TYPE=cell:2\nTEL;TYPE=cell:3\nTEL;TYPE=work:4\nADR;TYPE=home:;;S 1\\, x;T;R;1;D\nBDAY:19700102\nANNIVERSARY:--0102\nNOTE:a\\nb\nCATEGORIES:x,y\nX-ODD:1\nURL:no address",
        );
        let told = of(&card);
        let field = |slot: &str| told.fields.get(slot).map(String::as_str).unwrap_or("-");
        for (slot, value) in [
            ("Surname", "Lee"),
            ("MiddleName", "B C"),
            ("0x3A45", "Dr."),
            ("CompanyName", "Acme"),
            ("Department", "Sales, North"),
            ("EmailAddresses/EmailAddress1", "b@x"),
            ("EmailAddresses/EmailAddress3", "c@x"),
            ("PhoneNumbers/BusinessFax", "1"),
            ("PhoneNumbers/MobilePhone", "2"),
            ("PhoneNumbers/OtherTelephone", "3"),
            ("PhoneNumbers/BusinessPhone", "4"),
            ("PhysicalAddresses/Home/Street", "S 1, x"),
            ("Birthday", "1970-01-02"),
            ("WeddingAnniversary", "-"),
            ("Body", "a\nb"),
            ("Categories", "x\ny"),
        ] {
            assert_eq!(field(slot), value, "{slot}");
        }
        let unshown: Vec<&str> = told.unshown.iter().map(|n| card.properties[*n].value.as_str()).collect();
        assert_eq!(unshown, ["u", "d@x", "--0102", "1", "no address"]);
        // Somebody changes one field: the rest stays, also what nobody saw.
        let mut fields = told.fields;
        fields.insert("EmailAddresses/EmailAddress1", "new@x".into());
        let changed = super::card(&fields, "u", Some(&card));
        for value in ["new@x", "d@x", "--0102", "no address"] {
            assert!(changed.properties.iter().any(|p| p.value == value), "{value}: {changed:?}");
        }
        assert_eq!(changed.all("EMAIL").count(), 4);
        assert_eq!(of(&changed).fields, fields);
    }

    #[test]
    fn every_field_is_in_the_order_of_the_schema_once() {
        let mut slots: Vec<&str> = SLOTS.into();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), SLOTS.len());
        let known = |slot: &str| SLOTS.contains(&slot);
        assert!(
            TEXTS.iter().chain(&DATES).chain(&PAGES).all(|(s, _)| known(s)) && NUMBERS.iter().all(|(s, _)| known(s))
        );
        assert!(NAMES.iter().chain(&EMAILS).chain(&CHATS).all(|s| known(s)));
        assert!(PLACES.iter().flat_map(|(_, s)| s).all(|s| known(s)));
    }

    /// Fields that a contact can hold, of any texts by the number of their slot.
    fn held(values: std::collections::BTreeMap<usize, String>) -> Fields {
        let mut fields = Fields::new();
        for (n, value) in values {
            let value = match SLOTS[n] {
                "Birthday" | "WeddingAnniversary" => "1970-01-02".to_owned(),
                "0x3A50" | "BusinessHomePage" => "https://x.example/".to_owned(),
                _ => clean(&value),
            };
            // What is made of separators alone is nothing to a vCard.
            if !value.chars().all(|c| ";, ".contains(c)) {
                fields.insert(SLOTS[n], value);
            }
        }
        // A list is its entries; the second number of a kind comes after the first.
        for slot in ["Nickname", "Categories", "PhoneNumbers/BusinessPhone2", "PhoneNumbers/HomePhone2", "Department"] {
            fields.remove(slot);
        }
        let emails: Vec<String> = EMAILS.iter().filter_map(|s| fields.remove(s)).collect();
        fields.extend(EMAILS.iter().copied().zip(emails));
        let chats: Vec<String> = CHATS.iter().filter_map(|s| fields.remove(s)).collect();
        fields
            .extend(CHATS.iter().copied().zip(chats.into_iter().map(|c| format!("x:{}", clean(&c.replace('\\', ""))))));
        fields
    }

    #[test]
    fn a_backslash_alone_comes_back() {
        let fields = held([(53, ": \\".to_owned())].into());
        assert_eq!(of(&card(&fields, "u", None)).fields, fields);
    }

    proptest! {
        /// Whatever stands in the fields becomes a contact that has the same fields again.
        #[test]
        fn fields_come_back(values in proptest::collection::btree_map(0..SLOTS.len(), "[a-zA-Zäß;,.: \\\\]{1,12}", 0..20)) {
            let fields = held(values);
            let made = card(&fields, "u", None);
            prop_assert_eq!(of(&made).fields, fields);
        }
    }
}
