//! A contact as it stands at the server, and how it is known again.

use sha2::{Digest as _, Sha256};

use super::fields::{self, Fields};
use super::stamp::Stamp;
use super::wire;
use crate::protocol::vcard::Card;
use crate::services::cms::ews::properties::id_of;
use crate::services::cms::ews::xml::{Node, escaped};
use crate::services::cms::mailbox::Id;

/// A contact as it stands there.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub id: Id,
    pub mark: String,
    pub created: String,
    pub fields: Fields,
    pub stamp: Option<Stamp>,
    pub attachments: usize,
}

impl Held {
    pub fn of(item: &Node) -> Option<Self> {
        let fields = wire::read(item);
        Some(Self {
            id: id_of(item)?,
            mark: mark(item)?,
            created: item.value("DateTimeCreated").unwrap_or_default().trim().to_owned(),
            stamp: wire::stamp(item).and_then(Stamp::read),
            fields,
            attachments: item.child("Attachments").map_or(0, |a| a.children.len()),
        })
    }

    /// As nobody but Exchange made it.
    pub fn own_uid(&self) -> String {
        let hex: String = Sha256::digest(self.id.0.as_bytes()).iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    pub fn uid(&self) -> String {
        self.stamp.as_ref().map_or_else(|| self.own_uid(), |s| s.card.uid())
    }

    pub fn is_untouched(&self) -> bool {
        self.stamp.as_ref().is_some_and(|s| s.holds(&self.fields))
    }

    pub fn card(&self, uid: &str) -> Card {
        match &self.stamp {
            Some(stamp) if stamp.holds(&self.fields) && stamp.card.uid() == uid => stamp.card.clone(),
            stamp => fields::card(&self.fields, uid, stamp.as_ref().map(|s| &s.card)),
        }
    }
}

/// Item id and change key; neither has a space.
pub(super) fn mark(item: &Node) -> Option<String> {
    let id = item.child("ItemId")?;
    Some(format!("{} {}", id.attribute("Id")?, id.attribute("ChangeKey").unwrap_or_default()))
}

pub(super) fn id_in(mark: &str) -> Id {
    Id(mark.split(' ').next().unwrap_or_default().into())
}

/// With its change key: what somebody has changed meanwhile is not written over.
pub(super) fn item_id(mark: &str) -> String {
    let (id, key) = mark.split_once(' ').unwrap_or((mark, ""));
    format!("<t:ItemId Id=\"{}\" ChangeKey=\"{}\"/>", escaped(id), escaped(key))
}
