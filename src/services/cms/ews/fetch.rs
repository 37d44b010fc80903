//! Reading messages: many of one request, decoded as they come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc;

use super::canonical::Canonical;
use super::items::item_ids;
use super::properties::{Stored, date, flags, id_of, is_mail};
use super::soap::{Answer, Part, silent};
use super::xml::Node;
use super::{Class, Ews, Fault, codes};
use crate::services::cms::mailbox::{Content, Fetched, IN_MEMORY, Id, Message, Sha256, Share, Spool};
use crate::services::cms::source::Means;

/// Messages of one request.
const EACH: usize = 25;

/// The octets of one message.
struct Octets {
    content: Content,
    digest: Sha256,
}

impl Ews {
    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        for part in ids.chunks(EACH) {
            let asked =
                format!("<m:GetItem>{}<m:ItemIds>{}</m:ItemIds></m:GetItem>", self.item_shape(true), item_ids(part));
            let mut answer = self.soap.begin(&asked).await?;
            for id in part {
                let fetched = self.read(&mut answer, id, means).await?;
                answer.forget();
                to.send(fetched).await.map_err(|_| Fault::new(Class::Local, "nobody takes the messages"))?;
            }
        }
        Ok(())
    }

    /// The next response message, which is about `id`. An error is one of the session.
    async fn read(&self, answer: &mut Answer, id: &Id, means: &Means) -> Result<Fetched, Fault> {
        // Who waits for memory holds none.
        let mut share = Some(means.budget.wait(IN_MEMORY).await?);
        let Some(mut growing) = answer.message().await? else { return Err(silent()) };
        let mut octets = None;
        let message = loop {
            match answer.more(&mut growing).await? {
                Part::Whole(message) => break message,
                Part::Mime => octets = Some(self.octets(answer, share.take(), means).await?),
            }
        };
        if let Some((code, fault)) = codes::refusal(&message) {
            // An answer that speaks of the server's state and not of the item ends the session.
            return match fault.class {
                Class::Busy | Class::Login | Class::Unreachable if code != "ErrorIrresolvableConflict" => Err(fault),
                _ => Ok(Fetched::Failed(id.clone(), fault)),
            };
        }
        let Some(item) = message.child("Items").and_then(|i| i.children.first()) else { return Err(silent()) };
        if id_of(item).is_some_and(|told| told != *id) {
            return Err(Fault::new(Class::Protocol, "ews: an answer about another message than was asked for"));
        }
        Ok(match octets {
            _ if !is_mail(item.value("ItemClass").unwrap_or_default()) => {
                let class = item.value("ItemClass").unwrap_or_default();
                let what = format!("it is no mail but {class}, and is not carried");
                Fetched::Failed(id.clone(), Fault::new(Class::Unsupported, what))
            }
            None => Fetched::Failed(id.clone(), Fault::new(Class::Busy, "ews: its octets were not sent")),
            Some(Err(fault)) => Fetched::Failed(id.clone(), fault),
            Some(Ok((octets, canonical))) => self.made(id, item, octets, canonical),
        })
    }

    fn made(&self, id: &Id, item: &Node, octets: Octets, canonical: Option<Canonical>) -> Fetched {
        let mut digest = octets.digest;
        if let Some((stored, canonical)) = Stored::of(item).zip(canonical)
            && canonical.end(stored.fields).1 == stored.canonical
        {
            // It says what was stored: by these octets the ledger knows it.
            digest = stored.digest;
        }
        let message = Message {
            id: id.clone(),
            flags: flags(item),
            date: date(item),
            content: octets.content,
            digest,
            uidl: None,
        };
        Fetched::Message(Box::new(message))
    }

    /// Text of MimeContent as octets: small ones in memory, others in a file. The inner error is one of the message.
    async fn octets(
        &self,
        answer: &mut Answer,
        share: Option<Share>,
        means: &Means,
    ) -> Result<Result<(Octets, Option<Canonical>), Fault>, Fault> {
        let mut spool = Growing::Small(Vec::new(), share);
        let mut canonical = self.writes.then(Canonical::new);
        let (mut rest, mut length, mut fault) = (Vec::with_capacity(4), 0u64, None);
        loop {
            let piece = answer.mime().await?;
            let is_last = piece.is_none();
            rest.extend(piece.unwrap_or_default().into_iter().filter(|b| !b.is_ascii_whitespace()));
            let whole = if is_last { rest.len() } else { rest.len() / 4 * 4 };
            let groups: Vec<u8> = rest.drain(..whole).collect();
            if fault.is_none() {
                match STANDARD.decode(&groups) {
                    Ok(octets) => {
                        length += octets.len() as u64;
                        if length > means.largest {
                            let what = format!("more than {} octets, which is the most", means.largest);
                            fault = Some(Fault::new(Class::TooLarge, what));
                        } else {
                            if let Some(canonical) = &mut canonical {
                                canonical.push(&octets);
                            }
                            spool.push(&octets, means)?;
                        }
                    }
                    Err(e) => fault = Some(Fault::new(Class::Protocol, format!("ews: octets that are no base64: {e}"))),
                }
            }
            if is_last {
                break;
            }
        }
        match fault {
            Some(fault) => Ok(Err(fault)),
            None => {
                let (content, digest) = spool.end(means)?;
                Ok(Ok((Octets { content, digest }, canonical)))
            }
        }
    }
}

/// A message of which nobody has said how large it is.
enum Growing {
    Small(Vec<u8>, Option<Share>),
    Large(Spool),
}

impl Growing {
    fn push(&mut self, octets: &[u8], means: &Means) -> Result<(), Fault> {
        match self {
            Growing::Large(spool) => spool.push(octets),
            Growing::Small(held, share) if (held.len() + octets.len()) as u64 <= IN_MEMORY && share.is_some() => {
                held.extend_from_slice(octets);
                Ok(())
            }
            Growing::Small(held, _) => {
                let mut spool = Spool::begin(IN_MEMORY + 1, None, &means.spool)?;
                spool.push(held)?;
                spool.push(octets)?;
                *self = Growing::Large(spool);
                Ok(())
            }
        }
    }

    fn end(self, means: &Means) -> Result<(Content, Sha256), Fault> {
        match self {
            Growing::Large(spool) => Ok(spool.end()),
            Growing::Small(held, mut share) => {
                if let Some(share) = &mut share {
                    share.shrink(held.len() as u64);
                }
                let mut spool = Spool::begin(held.len() as u64, share, &means.spool)?;
                spool.push(&held)?;
                Ok(spool.end())
            }
        }
    }
}
