//! Fields of a contact in XML.

use jiff::{Timestamp, ToSpan as _};

use super::fields::{Fields, SLOTS, clean};
use crate::services::cms::ews::properties::{of_ours, of_tag, ours, property, tagged};
use crate::services::cms::ews::xml::{Node, escaped};

/// Our own property of a contact.
const STAMP: &str = "cutover-contact";
/// Slots that stand before those of a contact: of every item.
const OF_ITEMS: usize = 4;
const ADDRESSES: &str = "PhysicalAddresses";

/// Where a slot stands.
enum Place {
    Body,
    /// Texts in a list, with the field's name.
    List(&'static str, &'static str),
    Tag(u32),
    Date(&'static str),
    Plain(&'static str),
    Entry(&'static str, &'static str),
    Part(&'static str, &'static str),
}

fn place(slot: &'static str) -> Place {
    let mut words = slot.split('/');
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ("Body", ..) => Place::Body,
        ("Categories", ..) => Place::List("Categories", "item:Categories"),
        ("Children", ..) => Place::List("Children", "contacts:Children"),
        (name @ ("Birthday" | "WeddingAnniversary"), ..) => Place::Date(name),
        (name, None, _) => match name.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(tag) => Place::Tag(tag),
            None => Place::Plain(name),
        },
        (name, Some(key), None) => Place::Entry(name, key),
        (_, Some(key), Some(part)) => Place::Part(key, part),
    }
}

/// A field that stands for itself; of a dictionary the entry only.
fn element(slot: &'static str, value: &str) -> String {
    let text = escaped(value);
    match place(slot) {
        Place::Body => format!("<t:Body BodyType=\"Text\">{text}</t:Body>"),
        Place::List(name, _) => {
            let each: String = value.split('\n').map(|v| format!("<t:String>{}</t:String>", escaped(v))).collect();
            format!("<t:{name}>{each}</t:{name}>")
        }
        Place::Tag(tag) => property(&tagged(tag, "String"), value),
        // A day is the same in every zone at noon.
        Place::Date(name) => format!("<t:{name}>{text}T11:59:00Z</t:{name}>"),
        Place::Plain(name) => format!("<t:{name}>{text}</t:{name}>"),
        Place::Entry(_, key) => format!("<t:Entry Key=\"{key}\">{text}</t:Entry>"),
        Place::Part(key, part) => format!("<t:Entry Key=\"{key}\"><t:{part}>{text}</t:{part}></t:Entry>"),
    }
}

fn dictionary(slot: &'static str) -> Option<&'static str> {
    match place(slot) {
        Place::Entry(name, _) => Some(name),
        Place::Part(..) => Some(ADDRESSES),
        _ => None,
    }
}

/// By what Outlook sorts.
fn sorted_as(fields: &Fields) -> String {
    let text = |slot: &str| fields.get(slot).map(String::as_str).unwrap_or_default();
    match (text("Surname"), text("GivenName")) {
        ("", _) | (_, "") => text("DisplayName").to_owned(),
        (surname, given) => format!("{surname}, {given}"),
    }
}

fn tag(stroke: &str, name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("<{stroke}t:{name}>"))
}

/// A new contact.
pub(super) fn made(fields: &Fields, stamp: &str) -> String {
    let value = |slot: &'static str| fields.get(slot).map(|v| (slot, v.as_str()));
    let mut out: String = "<t:Contact>".into();
    SLOTS[..OF_ITEMS].iter().filter_map(|s| value(s)).for_each(|(slot, v)| out.push_str(&element(slot, v)));
    out.push_str(&property(&ours(STAMP), stamp));
    out.push_str(&format!("<t:FileAs>{}</t:FileAs>", escaped(&sorted_as(fields))));
    let mut open = None;
    for (slot, v) in SLOTS[OF_ITEMS..].iter().filter_map(|s| value(s)) {
        let of = dictionary(slot);
        if of != open {
            out.push_str(&tag("/", open));
            out.push_str(&tag("", of));
            open = of;
        }
        let one = element(slot, v);
        // Parts of one address are one entry.
        match (place(slot), out.strip_suffix("</t:Entry>")) {
            (Place::Part(key, _), Some(before))
                if before.rsplit("<t:Entry ").next().is_some_and(|e| e.starts_with(&format!("Key=\"{key}\""))) =>
            {
                let head = format!("<t:Entry Key=\"{key}\">");
                let length = before.len();
                out.truncate(length);
                out.push_str(one.strip_prefix(head.as_str()).unwrap_or_default());
            }
            _ => out.push_str(&one),
        }
    }
    out.push_str(&tag("/", open));
    out.push_str("</t:Contact>");
    out
}

fn uri(slot: &'static str) -> String {
    let plain = |name: &str| format!("<t:FieldURI FieldURI=\"{name}\"/>");
    let indexed =
        |name: &str, key: &str| format!("<t:IndexedFieldURI FieldURI=\"contacts:{name}\" FieldIndex=\"{key}\"/>");
    match place(slot) {
        Place::Body => plain("item:Body"),
        Place::List(_, name) => plain(name),
        Place::Tag(tag) => tagged(tag, "String"),
        Place::Date(name) | Place::Plain(name) => plain(&format!("contacts:{name}")),
        Place::Entry(name, key) => indexed(name.strip_suffix("es").or(name.strip_suffix('s')).unwrap_or(name), key),
        Place::Part(key, part) => indexed(&format!("PhysicalAddress:{part}"), key),
    }
}

fn set(uri: &str, value: &str) -> String {
    format!("<t:SetItemField>{uri}<t:Contact>{value}</t:Contact></t:SetItemField>")
}

/// The change that writes our property alone.
pub(super) fn stamped(stamp: &str) -> String {
    set(&ours(STAMP), &property(&ours(STAMP), stamp))
}

/// The changes that make an item exactly this.
pub(super) fn changed(fields: &Fields, stamp: &str) -> String {
    let mut out = stamped(stamp);
    let file_as = format!("<t:FileAs>{}</t:FileAs>", escaped(&sorted_as(fields)));
    out.push_str(&set("<t:FieldURI FieldURI=\"contacts:FileAs\"/>", &file_as));
    for slot in SLOTS {
        match fields.get(slot) {
            Some(value) => {
                let one = element(slot, value);
                let one = dictionary(slot).map(|name| format!("<t:{name}>{one}</t:{name}>")).unwrap_or(one);
                out.push_str(&set(&uri(slot), &one));
            }
            None => out.push_str(&format!("<t:DeleteItemField>{}</t:DeleteItemField>", uri(slot))),
        }
    }
    out
}

/// What is asked of each contact.
pub(super) fn shape() -> String {
    let mut fields =
        vec!["item:ItemClass".to_owned(), "item:Body".into(), "item:Attachments".into(), "item:Categories".into()];
    fields.extend(["item:DateTimeCreated".to_owned(), "contacts:FileAs".into()]);
    let mut tags = String::new();
    for slot in &SLOTS[1..] {
        let name = match place(slot) {
            Place::Tag(tag) => {
                tags.push_str(&tagged(tag, "String"));
                continue;
            }
            Place::Body => continue,
            Place::List(_, name) => name.to_owned(),
            Place::Date(name) | Place::Plain(name) | Place::Entry(name, _) => format!("contacts:{name}"),
            Place::Part(..) => format!("contacts:{ADDRESSES}"),
        };
        if !fields.contains(&name) {
            fields.push(name);
        }
    }
    let fields: String = fields.iter().map(|f| format!("<t:FieldURI FieldURI=\"{f}\"/>")).collect();
    format!(
        "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:BodyType>Text</t:BodyType><t:AdditionalProperties>{fields}{tags}{}</t:AdditionalProperties></m:ItemShape>",
        ours(STAMP)
    )
}

/// What is asked where only what is there counts.
pub(super) fn brief() -> &'static str {
    "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI=\"item:ItemClass\"/><t:FieldURI FieldURI=\"item:Subject\"/>\
     </t:AdditionalProperties></m:ItemShape>"
}

pub(super) fn stamp(item: &Node) -> Option<&str> {
    of_ours(item, STAMP)
}

pub(super) fn read(item: &Node) -> Fields {
    let entry =
        |name: &str, key: &str| item.child(name)?.children.iter().find(|e| e.attribute("Key") == Some(key)).cloned();
    let value = |slot: &'static str| match place(slot) {
        Place::Body => item.value("Body").map(str::to_owned),
        Place::List(name, _) => {
            item.child(name).map(|l| l.children.iter().map(|c| c.text.trim()).collect::<Vec<_>>().join("\n"))
        }
        Place::Tag(tag) => of_tag(item, tag).map(str::to_owned),
        Place::Date(name) => item.value(name).map(day),
        Place::Plain(name) => item.value(name).map(str::to_owned),
        Place::Entry(name, key) => entry(name, key).map(|e| e.text),
        Place::Part(key, part) => entry(ADDRESSES, key).and_then(|e| e.value(part).map(str::to_owned)),
    };
    let all = SLOTS.into_iter().filter_map(|slot| Some((slot, clean(&value(slot)?))));
    all.filter(|(_, text)| !text.is_empty()).collect()
}

/// The day of an instant: midnight or noon of it, in whatever zone it was written.
fn day(text: &str) -> String {
    let near = text.trim().parse::<Timestamp>().ok().and_then(|at| at.checked_add(12.hours()).ok());
    near.map_or_else(|| text.trim().chars().take(10).collect(), |at| at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_same_whoever_wrote_it() {
        for text in [
            "1970-01-02T11:59:00Z",
            "1970-01-02T00:00:00Z",
            "1970-01-01T22:00:00Z",
            "1970-01-02T08:00:00Z",
            "1970-01-02",
            "1970-01-02T00:00:00",
        ] {
            assert_eq!(day(text), "1970-01-02", "{text}");
        }
    }

    #[test]
    fn parts_of_an_address_are_one_entry() {
        let mut fields = Fields::new();
        fields.insert("PhysicalAddresses/Business/City", "T".into());
        fields.insert("PhysicalAddresses/Business/Street", "S".into());
        fields.insert("PhysicalAddresses/Home/Street", "H".into());
        fields.insert("PhoneNumbers/Pager", "1".into());
        let text = made(&fields, "s");
        let wanted = "<t:PhysicalAddresses><t:Entry Key=\"Business\"><t:Street>S</t:Street><t:City>T</t:City></t:Entry>\
                      <t:Entry Key=\"Home\"><t:Street>H</t:Street></t:Entry></t:PhysicalAddresses><t:PhoneNumbers><t:Entry Key=\"Pager\">1</t:Entry></t:PhoneNumbers></t:Contact>";
        assert!(text.ends_with(wanted), "{text}");
        for (slot, name) in [
            ("EmailAddresses/EmailAddress1", "contacts:EmailAddress\""),
            ("PhoneNumbers/Pager", "contacts:PhoneNumber\""),
            ("ImAddresses/ImAddress1", "contacts:ImAddress\""),
            ("PhysicalAddresses/Home/City", "contacts:PhysicalAddress:City\""),
        ] {
            assert!(uri(slot).contains(name), "{}", uri(slot));
        }
    }
}
