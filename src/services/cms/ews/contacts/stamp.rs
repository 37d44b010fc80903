//! What we write beside a contact: the contact as it came. As long as its fields say what we wrote, it is still that one; what somebody
//! changed by a mail program is read from the fields, and what no field shows is kept.

use super::fields::{self, Fields};
use crate::protocol::vcard::{Card, Form, Version, parse, write};
use crate::services::cms::mailbox::{Class, Fault};

/// Letters of the property.
const LARGEST: usize = 30_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Another one at each writing: a copy that a lost answer made has its own, one that a user made has that of its original.
    pub token: String,
    /// Digest of the fields that were written.
    pub fields: String,
    pub card: Card,
}

impl Stamp {
    pub fn new(token: &str, fields: &Fields, card: &Card) -> Self {
        Self { token: token.to_owned(), fields: fields::digest(fields), card: card.clone() }
    }

    pub fn written(&self) -> Result<String, Fault> {
        let form = Form { version: Version::V4, careful: false };
        let text = format!("1 {} {}\n{}", self.token, self.fields, write(&self.card, form).text.replace("\r\n", "\n"));
        if text.len() > LARGEST {
            let what = format!("a contact of {} octets; Exchange gets those of up to {LARGEST}", text.len());
            return Err(Fault::new(Class::TooLarge, what));
        }
        Ok(text)
    }

    pub fn read(text: &str) -> Option<Self> {
        let (head, card) = text.split_once('\n')?;
        let mut words = head.trim_end().split(' ');
        let (version, token, fields) = (words.next()?, words.next()?, words.next()?);
        let (mut cards, bad) = parse(card.as_bytes());
        let good = version == "1" && bad.is_empty() && cards.len() == 1;
        good.then(|| Self { token: token.to_owned(), fields: fields.to_owned(), card: cards.remove(0) })
    }

    /// Nobody has changed what we wrote.
    pub fn holds(&self, fields: &Fields) -> bool {
        self.fields == fields::digest(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::vcard::Property;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut card = Card::default();
        card.push(Property::text("UID", "u;1"));
        card.push(Property::text("NOTE", "a\nb, c"));
        let fields = fields::of(&card).fields;
        let stamp = Stamp::new("t", &fields, &card);
        let read = Stamp::read(&stamp.written().expect("text")).expect("stamp");
        assert!(read.token == "t" && read.holds(&fields) && !read.holds(&Fields::new()));
        assert_eq!(read.card.get("NOTE"), card.get("NOTE"));
        for text in ["", "1 t x", "2 t x\nBEGIN:VCARD\nEND:VCARD\n", "1 t x\nnothing"] {
            assert_eq!(Stamp::read(text), None, "{text}");
        }
        card.push(Property::text("NOTE", &"x".repeat(LARGEST)));
        assert_eq!(Stamp::new("t", &fields, &card).written().expect_err("large").class, Class::TooLarge);
    }
}
