//! Storing messages, their flags, and removing them.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc;

use super::canonical::Canonical;
use super::folders::folder_id;
use super::items::item_ids;
use super::properties::{self, Stored, id_of};
use super::xml::escaped;
use super::{Class, Ews, Fault, codes};
use crate::services::cms::mailbox::{Content, Flags, Id, Message};
use crate::services::cms::target::Appended;

/// Items of one request that changes or removes.
const EACH: usize = 100;
/// Octets of a file that are read at a time; a multiple of three.
const PIECE: usize = 48 << 10;

/// A part of a request.
enum Piece {
    Text(Vec<u8>),
    File(Arc<std::fs::File>, u64),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::File(_, length) => length.div_ceil(3) * 4,
        }
    }
}

fn unread(e: &std::io::Error) -> Fault {
    Fault::new(Class::Local, format!("the spool cannot be read: {e}"))
}

impl Ews {
    /// Each message stands alone: one that is refused does not stop the others.
    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        let pieces = match self.request(messages) {
            Ok(pieces) => pieces,
            Err(fault) => return Appended::Refused { stored: Vec::new(), culprit: None, fault },
        };
        let length = pieces.iter().map(Piece::length).sum();
        let mut answer = match self.soap.post(body(pieces), length).await {
            Ok(answer) => answer,
            Err(unanswered) if unanswered.is_nothing => {
                return Appended::Refused { stored: Vec::new(), culprit: None, fault: unanswered.fault };
            }
            Err(unanswered) => return Appended::Unknown(unanswered.fault),
        };
        let mut each = Vec::with_capacity(messages.len());
        for _ in messages {
            let told = match answer.message().await {
                Ok(Some(growing)) => answer.whole(growing).await,
                Ok(None) => Err(super::soap::silent()),
                Err(fault) => Err(fault),
            };
            answer.forget();
            let told = match told {
                Ok(told) => told,
                // What was said of the first ones is found again by what was stored beside them.
                Err(fault) => return Appended::Unknown(fault),
            };
            each.push(match codes::refusal(&told) {
                Some((code, fault)) if codes::is_doubtful(&code) => return Appended::Unknown(fault),
                Some((_, fault)) => Err(fault),
                None => match told.child("Items").and_then(|i| i.children.first()).and_then(id_of) {
                    Some(id) => Ok(Some(id)),
                    None => return Appended::Unknown(super::soap::silent()),
                },
            });
        }
        Appended::Each(each)
    }

    fn request(&self, messages: &[Message]) -> Result<Vec<Piece>, Fault> {
        let folder = folder_id(self.opened()?);
        let head = format!(
            "{}<m:CreateItem MessageDisposition=\"SaveOnly\"><m:SavedItemFolderId>{folder}</m:SavedItemFolderId><m:Items>",
            self.soap.head()
        );
        let mut pieces = Vec::new();
        let mut text = head.into_bytes();
        for message in messages {
            let reader = message.content.reader().map_err(|e| unread(&e))?;
            let (fields, canonical) = Canonical::of(reader).map_err(|e| unread(&e))?;
            let stored = Stored { digest: message.digest, size: message.content.length(), fields, canonical };
            text.extend_from_slice(b"<t:Message><t:MimeContent CharacterSet=\"UTF-8\">");
            match &message.content {
                Content::Memory { octets, .. } => text.extend_from_slice(STANDARD.encode(octets).as_bytes()),
                Content::Spooled { file, length } => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::File(Arc::new(file.try_clone().map_err(|e| unread(&e))?), *length));
                }
            }
            text.extend_from_slice(b"</t:MimeContent>");
            text.extend_from_slice(properties::made(message, &stored).as_bytes());
            text.extend_from_slice(b"</t:Message>");
        }
        text.extend_from_slice(format!("</m:Items></m:CreateItem>{}", self.soap.tail()).as_bytes());
        pieces.push(Piece::Text(text));
        Ok(pieces)
    }

    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        let quiet = if self.is_2013() { " SuppressReadReceipts=\"true\"" } else { "" };
        for part in flags.chunks(EACH) {
            let changes: String = part
                .iter()
                .map(|(id, flags)| {
                    let updates = properties::changed(flags, quiet.is_empty());
                    format!(
                        "<t:ItemChange><t:ItemId Id=\"{}\"/><t:Updates>{updates}</t:Updates></t:ItemChange>",
                        escaped(&id.0)
                    )
                })
                .collect();
            let asked = format!(
                "<m:UpdateItem ConflictResolution=\"AlwaysOverwrite\" MessageDisposition=\"SaveOnly\"{quiet}><m:ItemChanges>{changes}</m:ItemChanges></m:UpdateItem>"
            );
            self.each(&asked, part.len()).await?;
        }
        Ok(())
    }

    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        let quiet = if self.is_2013() { " SuppressReadReceipts=\"true\"" } else { "" };
        for part in ids.chunks(EACH) {
            let asked = format!(
                "<m:DeleteItem DeleteType=\"HardDelete\"{quiet}><m:ItemIds>{}</m:ItemIds></m:DeleteItem>",
                item_ids(part)
            );
            self.each(&asked, part.len()).await?;
        }
        Ok(())
    }

    /// All of these must succeed; what is gone is no fault.
    async fn each(&self, asked: &str, count: usize) -> Result<(), Fault> {
        let messages = self.soap.ask(asked).await?;
        if messages.len() != count {
            return Err(super::soap::silent());
        }
        let refused = messages.iter().filter_map(codes::refusal).find(|(_, fault)| fault.class != Class::Vanished);
        refused.map_or(Ok(()), |(_, fault)| Err(fault))
    }
}

/// A request goes out piece by piece: of a file only what is under way is in memory.
fn body(pieces: Vec<Piece>) -> reqwest::Body {
    let (to, from) = mpsc::channel::<std::io::Result<Vec<u8>>>(2);
    tokio::spawn(async move {
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    if to.send(Ok(text)).await.is_err() {
                        return;
                    }
                }
                Piece::File(file, length) => {
                    let mut at = 0;
                    while at < length {
                        let (file, take) = (file.clone(), PIECE.min(usize::try_from(length - at).unwrap_or(PIECE)));
                        let read = tokio::task::spawn_blocking(move || {
                            let mut octets = vec![0; take];
                            file.read_exact_at(&mut octets, at).map(|()| STANDARD.encode(octets).into_bytes())
                        });
                        let piece = read.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
                        let failed = piece.is_err();
                        if to.send(piece).await.is_err() || failed {
                            return;
                        }
                        at += take as u64;
                    }
                }
            }
        }
    });
    reqwest::Body::wrap_stream(futures_util::stream::unfold(from, |mut from| async move {
        Some((from.recv().await?, from))
    }))
}
