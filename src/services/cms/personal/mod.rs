//! What a user has beside mail: rules, out-of-office, signatures, contacts, permissions.
//!
//! ```text
//! [`PersonalSource`] ── [`Listing`] ──▶ [`fit`] (the form of the target) ──▶ [`step`] (three-way rule) ──▶ [`PersonalTarget`]
//!                                         └─ [`Left`]: exceptions with the original's words
//! ```
//!
//! Ends give all things of a user at once; they are few and small. Ids are stable (a script's name, a contact's UID), so that a put
//! that is repeated after a kill changes nothing.

pub mod away;
pub mod contact;
pub mod fit;
pub mod grant;
pub mod rights;
pub mod rule;
mod scripts;
pub mod sieve;
mod sieve_files;
pub mod signature;
mod signature_files;
mod source;
pub mod step;
mod target;

use serde::Serialize;
use sha2::{Digest as _, Sha256 as Hash};

use super::config::{Field, Item};
use super::mailbox::{Class, Fault, Sha256};

pub use source::PersonalSource;
pub use target::PersonalTarget;

/// One thing in its neutral form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    pub item: Item,
    /// What both ends call it.
    pub id: String,
    pub body: Body,
    /// What people want to see although it was carried, as a redirect to outside.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Body {
    Contact(contact::Contact),
    Away(away::Away),
    Rules(rule::Rules),
    /// A Sieve script as it stands: rules and out-of-office together. Goes between ends that speak Sieve.
    Script {
        text: String,
        active: bool,
    },
    Signature(signature::Signature),
    Grant(grant::Grant),
}

impl Thing {
    pub fn new(item: Item, id: impl Into<String>, body: Body) -> Self {
        Self { item, id: id.into(), body, notes: Vec::new() }
    }

    /// The same for the same content, whichever end gives it.
    pub fn digest(&self) -> Sha256 {
        let text = match &self.body {
            Body::Script { text, active } => {
                let text = text.replace("\r\n", "\n");
                serde_json::to_vec(&(text.trim_end(), active))
            }
            other => serde_json::to_vec(other),
        };
        // A struct of texts and numbers always has a form.
        Sha256(Hash::digest(text.unwrap_or_default()).into())
    }
}

/// A thing in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub item: Item,
    pub id: String,
    /// Changes when the thing does: an ETag, or the digest.
    pub mark: String,
    /// Left out where the mark is the one that was known.
    pub thing: Option<Thing>,
}

impl Seen {
    /// Marked by its digest.
    pub fn whole(thing: Thing) -> Self {
        Self { item: thing.item, id: thing.id.clone(), mark: thing.digest().to_string(), thing: Some(thing) }
    }
}

/// What stays behind, with the original's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub item: Item,
    /// Which thing, and where in it: tells it from others of the user.
    pub id: String,
    pub class: Class,
    pub what: String,
}

impl Left {
    pub fn new(item: Item, id: impl Into<String>, what: impl Into<String>) -> Self {
        Self { item, id: id.into(), class: Class::Unsupported, what: what.into() }
    }

    pub fn of(item: Item, id: impl Into<String>, fault: Fault) -> Self {
        Self { item, id: id.into(), class: fault.class, what: fault.what }
    }
}

/// All that an end has of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub things: Vec<Seen>,
    pub left: Vec<Left>,
}

/// Marks of what is known already, by item and id: an end may leave out the content of what still has its mark.
pub type Known = std::collections::BTreeMap<(Item, String), String>;

/// How exceptions begin that name a folder of something else than mail.
pub const BESIDE: &str = "beside";

/// Whether an exception of the ledger (by its `item`) is of a thing beside mail.
pub fn is_personal(name: &str) -> bool {
    let name = name.strip_prefix("verify:").unwrap_or(name);
    let mut items = Field::ALL.into_iter().flat_map(Field::items);
    name.split_once(':').is_some_and(|(item, _)| item == BESIDE || items.any(|i| i.as_str() == item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_script_has_the_same_digest_whatever_ends_its_lines() {
        let script =
            |text: &str, active| Thing::new(Item::Rules, "a", Body::Script { text: text.into(), active }).digest();
        assert_eq!(script("keep;\r\n", true), script("keep;\n", true));
        assert_ne!(script("keep;\n", true), script("keep;\n", false));
    }

    #[test]
    fn exceptions_of_things_are_told_from_those_of_messages() {
        assert!(
            is_personal("rules:main")
                && is_personal("verify:out-of-office:x")
                && is_personal("contacts:end")
                && is_personal("beside:Calendar")
        );
        assert!(!is_personal("17") && !is_personal("skipped:Trash") && !is_personal("verify:12"));
    }
}
