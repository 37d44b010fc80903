//! Messages, as read from an end and as written to one.

use std::fmt;

use jiff::{Timestamp, tz::Offset};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Content, Fault, Flags};

/// What an end calls a message within a folder: an IMAP UID in decimal, a UIDL, the base name of a Maildir file, an item id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub SmolStr);

impl Id {
    pub fn uid(uid: u32) -> Self {
        Self(smol_str::format_smolstr!("{uid}"))
    }

    /// As an IMAP UID.
    pub fn number(&self) -> Option<u32> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// INTERNALDATE: an instant, and the zone in which the end said it (both are kept where the target can).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Date {
    pub at: Timestamp,
    pub zone: Offset,
}

/// SHA-256 of a message's octets, with CR LF at the ends of lines as IMAP carries them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message seen in a listing, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: Id,
    pub flags: Flags,
    /// Octets, as the end claims; servers lie (RFC822.SIZE), so it is good for budgets and for finding candidates, not for proof.
    pub size: Option<u64>,
    pub date: Option<Date>,
}

/// What a folder holds, against a former mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// All that there is: what is not in it is not there.
    Whole(Vec<Seen>),
    /// Only what came or changed its flags since the mark, and what went.
    Since { changed: Vec<Seen>, vanished: Vec<Id> },
}

/// A whole message.
#[derive(Debug)]
pub struct Message {
    pub id: Id,
    pub flags: Flags,
    pub date: Option<Date>,
    pub content: Content,
    pub digest: Sha256,
    /// The POP3 name, where the end knows one and it differs from `id`.
    pub uidl: Option<String>,
}

/// What asking for one message brought.
#[derive(Debug)]
pub enum Fetched {
    Message(Box<Message>),
    /// It could not be read. [`super::Class::Vanished`] only when the end said so, or a fresh listing no longer has it: a body that was merely
    /// not sent is a temporary fault.
    Failed(Id, Fault),
}
