//! What happens to mail that comes in: rules in their order, in a form that is of no product.
//!
//! A message that no action filed, redirected, refused or discarded stays in the inbox. Rules after one that matched go on, unless it
//! [stops](Action::Stop).

use serde::Serialize;

/// All of a user, in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rules(pub Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub name: String,
    pub active: bool,
    /// One condition is enough; otherwise all must hold. Without conditions it is of every message.
    pub any: bool,
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// It holds when the test does not.
    pub not: bool,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Test {
    /// One of these words, in one of these places.
    Text {
        places: Vec<Place>,
        how: How,
        words: Vec<String>,
    },
    /// Octets of the whole message.
    Larger(u64),
    Smaller(u64),
    /// All of these header fields are there.
    Exists(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Place {
    /// The whole text of a header field, by its name in small letters.
    Header(String),
    /// Addresses in a header field (`from`, `to`, `cc`, ..), or a part of them.
    Address(String, Part),
    /// Of the envelope: `from` or `to`.
    Envelope(String, Part),
    /// Text of the body, as a reader sees it.
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Part {
    All,
    Local,
    Domain,
}

/// Case never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum How {
    Contains,
    Is,
    /// `*` and `?` stand for others.
    Matches,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Into a folder, named as [`crate::services::cms::mailbox::FolderPath::key`] names it. With `copy` it goes on as if this had not been.
    File {
        folder: String,
        copy: bool,
    },
    /// Sent on to an address.
    Redirect {
        to: String,
        copy: bool,
    },
    /// Into the inbox.
    Keep,
    Discard,
    /// Refused, with this text for the sender.
    Reject(String),
    /// IMAP flags and keywords of what is kept or filed from here on.
    Flag(Vec<String>),
    /// No rule after this one.
    Stop,
}
