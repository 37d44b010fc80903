//! Address books: where contacts are read and written. The neutral form is [`crate::protocol::vcard::Card`].
//!
//! ```text
//! carddav, files (vCard), ldif, table (CSV) ──▶ [`Gathering`] ──▶ personal::Listing ──▶ carddav, files
//! ```
//!
//! The id of a contact is its address book's name and its UID. Its mark at a CardDAV server is its address there and its ETag, so that
//! what has not changed need not be read to be known.

mod attributes;
pub mod carddav;
mod columns;
pub mod exports;
pub mod files;
mod table;

pub use table::is_slot as is_place;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::config::Item;
use super::mailbox::{Class, Fault};
use super::personal::contact::Contact;
use super::personal::{Body, Left, Listing, Seen, Thing};
use crate::protocol::vcard::{Bad, Card, Property};

/// The address book of a source that knows one only.
pub const BOOK: &str = "Contacts";
/// Octets of all contacts of a user that are held at once.
const MOST: usize = 64 << 20;

/// The id of a contact: no `/` stands in the first part. Address books whose names differ in case only are one: what one program calls
/// `Contacts` is `contacts` to the next.
pub fn id(book: &str, uid: &str) -> String {
    format!("{}/{uid}", book.to_lowercase().replace('%', "%25").replace('/', "%2F"))
}

/// Contacts on their way into a listing: each with a UID and a name, none twice.
#[derive(Debug, Default)]
pub struct Gathering {
    listing: Listing,
    /// Id to the digest of what was gathered under it.
    taken: BTreeMap<String, String>,
    octets: usize,
}

impl Gathering {
    /// `mark` is the digest where there is no better one.
    pub fn add(
        &mut self,
        book: &str,
        mut card: Card,
        mark: Option<String>,
        mut notes: Vec<String>,
    ) -> Result<(), Fault> {
        self.octets += card.properties.iter().map(|p| p.value.len() + 64).sum::<usize>();
        if self.octets > MOST {
            let what = format!("address books of more than {} MiB are not carried", MOST >> 20);
            return Err(Fault::new(Class::Unsupported, what));
        }
        let mut uid = card.uid();
        let content = digest(&card.canonical());
        let mut key = id(book, &uid);
        if let Some(other) = self.taken.get(&key) {
            if *other == content {
                // The same contact once more: what people do who import a file twice.
                return Ok(());
            }
            notes.push(format!("another contact has its UID {uid}, too: it is carried under another one"));
            uid = format!("{uid}-{}", &content[..8]);
            card.properties.retain(|p| p.name != "UID");
            key = id(book, &uid);
            if self.taken.contains_key(&key) {
                return Ok(());
            }
        }
        self.taken.insert(key.clone(), content);
        // Both standards ask for them; what a server would add by itself is no difference so.
        let shown = card.shown();
        if card.get("UID").is_none() {
            card.properties.retain(|p| p.name != "UID");
            card.properties.insert(0, Property::text("UID", &uid));
        }
        if card.get("FN").is_none() {
            card.properties.retain(|p| p.name != "FN");
            card.push(Property::text("FN", &shown));
        }
        let body = Body::Contact(Contact { book: book.to_owned(), card });
        let mut thing = Thing::new(Item::Contacts, key, body);
        thing.notes = notes;
        let mut seen = Seen::whole(thing);
        if let Some(mark) = mark {
            seen.mark = mark;
        }
        self.listing.things.push(seen);
        Ok(())
    }

    /// One that has not changed since it was last read.
    pub fn unchanged(&mut self, id: &str, mark: String) {
        self.taken.insert(id.to_owned(), String::new());
        self.listing.things.push(Seen { item: Item::Contacts, id: id.to_owned(), mark, thing: None });
    }

    pub fn bad(&mut self, place: &str, bad: &Bad) {
        self.left(place, &bad.to_string());
    }

    pub fn left(&mut self, place: &str, what: &str) {
        let number =
            self.listing.left.iter().filter(|l| l.id == place || l.id.starts_with(&format!("{place} ("))).count();
        let id = if number == 0 { place.to_owned() } else { format!("{place} ({})", number + 1) };
        self.listing.left.push(Left { class: Class::Malformed, ..Left::new(Item::Contacts, id, what) });
    }

    pub fn end(self) -> Listing {
        self.listing
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// A name for a file or an address, without a letter that would have to be written otherwise: the text where it has none.
pub(super) fn plain_name(text: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 80 && text.chars().all(fine) && !text.starts_with('.') {
        return text.to_owned();
    }
    digest(text)[..40].to_owned()
}

/// The contact of a thing.
pub(in crate::services::cms) fn contact(thing: &Thing) -> Result<&Contact, Fault> {
    match &thing.body {
        Body::Contact(contact) => Ok(contact),
        _ => Err(Fault::new(Class::Unsupported, "an address book holds contacts only")),
    }
}
