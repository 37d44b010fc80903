//! One entry of an address book.

use serde::{Serialize, Serializer};

use crate::protocol::vcard::Card;

/// As its vCard says it (RFC 6350).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The address book it stands in, as people call it.
    pub book: String,
    pub card: Card,
}

/// In the form that is the same for the same contact, whoever wrote it.
impl Serialize for Contact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.book.to_lowercase(), self.card.canonical()).serialize(serializer)
    }
}
