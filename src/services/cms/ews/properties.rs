//! Flags, keywords and our own mark of a message, as properties of Exchange.
//!
//! | IMAP | Exchange |
//! |---|---|
//! | `\Seen` | IsRead |
//! | `\Flagged` | PidTagFlagStatus 2 ([MS-OXOFLAG] 2.2.1.1) |
//! | `\Answered` | PidTagLastVerbExecuted 102 or 103 with PidTagIconIndex 261 ([MS-OXOMSG] 2.2.1.47) |
//! | `$Forwarded` | PidTagLastVerbExecuted 104 with PidTagIconIndex 262; beside `\Answered` a word of our own |
//! | `\Draft` | the bit mfUnsent of PidTagMessageFlags ([MS-OXCMSG] 2.2.1.6), which cannot be changed later |
//! | other words that begin with `$`, `\Deleted` | a property of our own, which no client shows |
//! | other keywords | Categories; what an IMAP keyword cannot be is written as modified UTF-7, a space as `_` |

use jiff::Timestamp;
use jiff::tz::Offset;

use super::header::Fields;
use super::xml::{Node, escaped};
use crate::protocol::imap::name;
use crate::services::cms::mailbox::{Date, Flags, Id, Message, Seen, Sha256};

/// The set of our own named properties.
const OURS: &str = "05dad45b-3c24-4c42-bf02-f954026dd0b8";
const MARK: &str = "cutover-message";
const WORDS: &str = "cutover-keywords";
const HIDDEN: &str = "cutover-unsubscribed";

const MESSAGE_FLAGS: u32 = 0x0E07;
const DELIVERED: u32 = 0x0E06;
const FLAG_STATUS: u32 = 0x1090;
const LAST_VERB: u32 = 0x1081;
const ICON: u32 = 0x1080;
const RECEIPT: u32 = 0x0029;
/// PidTagLocalCommitTimeMax and PidTagDeletedCountTotal: both change with what a folder holds.
pub(super) const COMMITTED: u32 = 0x670A;
pub(super) const DELETED: u32 = 0x670B;

const UNSENT: i64 = 8;

pub(super) fn tagged(tag: u32, kind: &str) -> String {
    format!("<t:ExtendedFieldURI PropertyTag=\"0x{tag:04X}\" PropertyType=\"{kind}\"/>")
}

pub(super) fn ours(name: &str) -> String {
    format!("<t:ExtendedFieldURI PropertySetId=\"{OURS}\" PropertyName=\"{name}\" PropertyType=\"String\"/>")
}

pub(super) fn property(uri: &str, value: &str) -> String {
    format!("<t:ExtendedProperty>{uri}<t:Value>{}</t:Value></t:ExtendedProperty>", escaped(value))
}

/// Asked for of each message.
pub(super) fn wanted() -> String {
    let fields = [
        "item:ItemClass",
        "item:DateTimeReceived",
        "item:Size",
        "item:Categories",
        "item:DateTimeCreated",
        "message:IsRead",
    ];
    let mut out: String = fields.iter().map(|f| format!("<t:FieldURI FieldURI=\"{f}\"/>")).collect();
    for tag in [MESSAGE_FLAGS, FLAG_STATUS, LAST_VERB] {
        out.push_str(&tagged(tag, "Integer"));
    }
    out.push_str(&ours(MARK));
    out.push_str(&ours(WORDS));
    out
}

/// Asked for of each folder.
pub(super) fn wanted_of_folders() -> String {
    let fields = ["folder:DisplayName", "folder:ParentFolderId", "folder:FolderClass", "folder:TotalCount"];
    let mut out: String = fields.iter().map(|f| format!("<t:FieldURI FieldURI=\"{f}\"/>")).collect();
    out.push_str(&tagged(COMMITTED, "SystemTime"));
    out.push_str(&tagged(DELETED, "Integer"));
    out.push_str(&ours(HIDDEN));
    out
}

/// What a listing of our own messages asks for.
pub(super) fn exists() -> String {
    format!("<m:Restriction><t:Exists>{}</t:Exists></m:Restriction>", ours(MARK))
}

/// A change that subscribes a folder, or ends that.
pub(super) fn subscription(on: bool) -> String {
    match on {
        true => format!("<t:DeleteFolderField>{}</t:DeleteFolderField>", ours(HIDDEN)),
        false => format!(
            "<t:SetFolderField>{0}<t:Folder>{1}</t:Folder></t:SetFolderField>",
            ours(HIDDEN),
            property(&ours(HIDDEN), "1")
        ),
    }
}

fn values(node: &Node) -> impl Iterator<Item = (&Node, &str)> {
    let properties = node.children.iter().filter(|c| c.name == "ExtendedProperty");
    properties.filter_map(|p| Some((p.child("ExtendedFieldURI")?, p.value("Value")?)))
}

/// By its tag, however its digits are written.
pub(super) fn of_tag(node: &Node, tag: u32) -> Option<&str> {
    let is_it = |uri: &Node| {
        let text = uri.attribute("PropertyTag").unwrap_or_default().to_ascii_lowercase();
        text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok()).or_else(|| text.parse().ok())
            == Some(tag)
    };
    values(node).find(|(uri, _)| is_it(uri)).map(|(_, value)| value)
}

pub(super) fn of_ours<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let is_it = |uri: &Node| {
        uri.attribute("PropertyName") == Some(name)
            && uri.attribute("PropertySetId").is_some_and(|set| set.eq_ignore_ascii_case(OURS))
    };
    values(node).find(|(uri, _)| is_it(uri)).map(|(_, value)| value)
}

pub(super) fn is_subscribed(folder: &Node) -> bool {
    of_ours(folder, HIDDEN).is_none()
}

/// What we wrote beside a message: which octets it had, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub digest: Sha256,
    pub size: u64,
    pub fields: Fields,
    pub canonical: Sha256,
}

impl Stored {
    fn written(&self) -> String {
        format!("1 {} {} {:02x} {}", self.digest, self.size, self.fields.number(), self.canonical)
    }

    pub fn of(item: &Node) -> Option<Self> {
        let mut words = of_ours(item, MARK)?.split(' ');
        if words.next() != Some("1") {
            return None;
        }
        let digest = hex(words.next()?)?;
        let size = words.next()?.parse().ok()?;
        let fields = Fields::of_number(u8::from_str_radix(words.next()?, 16).ok()?);
        Some(Self { digest, size, fields, canonical: hex(words.next()?)? })
    }
}

fn hex(text: &str) -> Option<Sha256> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (n, octet) in digest.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(Sha256(digest))
}

/// Whether an item of this class is mail. Meeting requests and reports of delivery are; appointments, people, tasks and notes have other homes.
pub(super) fn is_mail(class: &str) -> bool {
    const OTHERS: [&str; 6] =
        ["ipm.appointment", "ipm.contact", "ipm.distlist", "ipm.task", "ipm.stickynote", "ipm.activity"];
    let class = class.to_ascii_lowercase();
    !OTHERS.iter().any(|other| class == *other || class.strip_prefix(other).is_some_and(|rest| rest.starts_with('.')))
}

pub(super) fn id_of(item: &Node) -> Option<Id> {
    item.child("ItemId")?.attribute("Id").filter(|id| !id.is_empty()).map(|id| Id(id.into()))
}

/// `None` for an item without an id.
pub(super) fn seen(item: &Node) -> Option<Seen> {
    let stored = Stored::of(item);
    let size = stored.map(|s| s.size).or_else(|| item.value("Size")?.trim().parse().ok());
    Some(Seen { id: id_of(item)?, flags: flags(item), size, date: date(item) })
}

pub(super) fn date(item: &Node) -> Option<Date> {
    let text = item.value("DateTimeReceived").or_else(|| item.value("DateTimeCreated"))?;
    let at: Timestamp = text.trim().parse().ok()?;
    Some(Date { at, zone: Offset::UTC })
}

pub(super) fn flags(item: &Node) -> Flags {
    let number = |tag| of_tag(item, tag).and_then(|v| v.trim().parse::<i64>().ok()).unwrap_or(0);
    let bits = number(MESSAGE_FLAGS);
    let mut flags = Flags::of(of_ours(item, WORDS).unwrap_or_default().split(' '));
    let mut set = |word: &str, on: bool| {
        if on {
            flags.add(word)
        }
    };
    set("\\Seen", item.value("IsRead").map_or(bits & 1 != 0, |v| v.trim() == "true"));
    set("\\Flagged", number(FLAG_STATUS) == 2);
    set("\\Answered", matches!(number(LAST_VERB), 102 | 103));
    set("$Forwarded", number(LAST_VERB) == 104);
    set("\\Draft", bits & UNSENT != 0);
    for category in item.child("Categories").iter().flat_map(|c| &c.children) {
        flags.add(&keyword(&category.text));
    }
    flags
}

/// A category as an IMAP keyword: an atom (RFC 9051 section 9).
pub(super) fn keyword(category: &str) -> String {
    let is_atom = |c: char| c.is_ascii_graphic() && !"(){%*\"\\]".contains(c);
    name::encode(category.trim()).chars().map(|c| if is_atom(c) { c } else { '_' }).collect()
}

pub(super) fn category(keyword: &str) -> String {
    name::decode(keyword.as_bytes()).unwrap_or_else(|| keyword.to_owned())
}

fn is_own(word: &str) -> bool {
    word.starts_with(['$', '\\'])
}

/// Words that stand in our own property.
fn own_words(flags: &Flags) -> String {
    let mut words: Vec<&str> = flags
        .keywords()
        .filter(|w| is_own(w) && (!w.eq_ignore_ascii_case("$Forwarded") || flags.has("\\Answered")))
        .collect();
    if flags.has("\\Deleted") {
        words.push("\\Deleted");
    }
    words.join(" ")
}

fn categories(flags: &Flags) -> String {
    flags.keywords().filter(|w| !is_own(w)).map(|w| format!("<t:String>{}</t:String>", escaped(&category(w)))).collect()
}

/// The last verb with its icon.
fn verb(flags: &Flags) -> Option<(u32, u32)> {
    match (flags.has("\\Answered"), flags.has("$Forwarded")) {
        (true, _) => Some((102, 261)),
        (false, true) => Some((104, 262)),
        (false, false) => None,
    }
}

/// What stands after MimeContent in an item that is made, in the order of the schema.
pub(super) fn made(message: &Message, stored: &Stored) -> String {
    let flags = &message.flags;
    let mut out = String::new();
    let categories = categories(flags);
    if !categories.is_empty() {
        out.push_str(&format!("<t:Categories>{categories}</t:Categories>"));
    }
    let bits = i64::from(flags.has("\\Seen")) | if flags.has("\\Draft") { UNSENT } else { 0 };
    out.push_str(&property(&tagged(MESSAGE_FLAGS, "Integer"), &bits.to_string()));
    if let Some(date) = message.date {
        let at = Timestamp::from_second(date.at.as_second()).unwrap_or(date.at);
        out.push_str(&property(&tagged(DELIVERED, "SystemTime"), &at.to_string()));
    }
    if flags.has("\\Flagged") {
        out.push_str(&property(&tagged(FLAG_STATUS, "Integer"), "2"));
    }
    if let Some((verb, icon)) = verb(flags) {
        out.push_str(&property(&tagged(LAST_VERB, "Integer"), &verb.to_string()));
        out.push_str(&property(&tagged(ICON, "Integer"), &icon.to_string()));
    }
    out.push_str(&property(&ours(MARK), &stored.written()));
    let words = own_words(flags);
    if !words.is_empty() {
        out.push_str(&property(&ours(WORDS), &words));
    }
    out.push_str(&format!("<t:IsRead>{}</t:IsRead>", flags.has("\\Seen")));
    out
}

/// The changes that make an item's flags exactly these. `quiet`: no receipt is to be sent for it, and the server cannot be told so otherwise.
pub(super) fn changed(flags: &Flags, quiet: bool) -> String {
    let mut out = String::new();
    let mut one = |uri: String, value: Option<String>| match value {
        Some(value) => out.push_str(&format!("<t:SetItemField>{uri}<t:Message>{value}</t:Message></t:SetItemField>")),
        None => out.push_str(&format!("<t:DeleteItemField>{uri}</t:DeleteItemField>")),
    };
    let number = |tag: u32, value: Option<u32>| {
        let uri = tagged(tag, "Integer");
        (uri.clone(), value.map(|v| property(&uri, &v.to_string())))
    };
    if quiet && flags.has("\\Seen") {
        let uri = tagged(RECEIPT, "Boolean");
        one(uri.clone(), Some(property(&uri, "false")));
    }
    let categories = categories(flags);
    one(
        "<t:FieldURI FieldURI=\"item:Categories\"/>".into(),
        (!categories.is_empty()).then(|| format!("<t:Categories>{categories}</t:Categories>")),
    );
    let (uri, value) = number(FLAG_STATUS, flags.has("\\Flagged").then_some(2));
    one(uri, value);
    for (tag, value) in [(LAST_VERB, verb(flags).map(|v| v.0)), (ICON, verb(flags).map(|v| v.1))] {
        let (uri, value) = number(tag, value);
        one(uri, value);
    }
    let words = own_words(flags);
    one(ours(WORDS), (!words.is_empty()).then(|| property(&ours(WORDS), &words)));
    one(
        "<t:FieldURI FieldURI=\"message:IsRead\"/>".into(),
        Some(format!("<t:IsRead>{}</t:IsRead>", flags.has("\\Seen"))),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_become_categories_and_come_back() {
        for (category_of, keyword_of) in
            [("work", "work"), ("Büro", "B&APw-ro"), ("Red Category", "Red_Category"), ("a(b", "a_b")]
        {
            assert_eq!(keyword(category_of), keyword_of);
        }
        assert_eq!(category("B&APw-ro"), "Büro");
        assert_eq!(own_words(&Flags::of(["$MDNSent", "work", "\\Deleted", "$Forwarded"])), "$MDNSent \\Deleted");
        assert_eq!(own_words(&Flags::of(["\\Answered", "$Forwarded"])), "$Forwarded");
    }

    #[test]
    fn what_was_written_beside_a_message_is_read_and_nothing_else() {
        let stored = Stored { digest: Sha256([1; 32]), size: 7, fields: Fields::ALL, canonical: Sha256([2; 32]) };
        let item = |value: &str| {
            let node = |name: &str, text: &str| Node { name: name.into(), text: text.into(), ..Node::default() };
            let mut uri = node("ExtendedFieldURI", "");
            uri.attributes = vec![("PropertySetId".into(), OURS.to_uppercase()), ("PropertyName".into(), MARK.into())];
            let property =
                Node { name: "ExtendedProperty".into(), children: vec![uri, node("Value", value)], ..Node::default() };
            Node { name: "Message".into(), children: vec![property], ..Node::default() }
        };
        assert_eq!(Stored::of(&item(&stored.written())), Some(stored));
        for value in ["", "2 x", "1 zz 7 3f zz", &stored.written()[..60]] {
            assert_eq!(Stored::of(&item(value)), None, "{value}");
        }
    }

    #[test]
    fn appointments_are_no_mail_and_meeting_requests_are() {
        for (class, mail) in [
            ("IPM.Note", true),
            ("IPM.Appointment", false),
            ("IPM.Schedule.Meeting.Request", true),
            ("REPORT.IPM.Note.NDR", true),
            ("ipm.contact.x", false),
            ("IPM.TaskRequest", true),
        ] {
            assert_eq!(is_mail(class), mail, "{class}");
        }
    }
}
