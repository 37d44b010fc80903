//! Opening a folder, and what it holds or what changed in it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Open, Part, Session};
use crate::protocol::imap::answer::{Answer, Fetch, flags_of};
use crate::protocol::imap::date;
use crate::protocol::imap::sequence::Set;
use crate::services::cms::mailbox::{Changes, Class, Date, Fault, Flags, Folder, Id, Mark, Seen};

/// What a listing asks of each message.
const ITEMS: &str = "(UID FLAGS INTERNALDATE RFC822.SIZE)";
/// A server may say that more numbers vanished than there ever were; above it the whole folder is listed instead.
const VANISHED: u64 = 200_000;

impl Session {
    /// EXAMINE for a source, SELECT for a target.
    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        let verb = if self.writes { "SELECT " } else { "EXAMINE " };
        let condstore = !self.qresync && self.can("CONDSTORE");
        let with = if condstore { " (CONDSTORE)" } else { "" };
        self.open = None;
        let mut open = Open { raw: folder.raw.clone(), sticky: true, ..Open::default() };
        let mut done =
            self.ask(&[Part::Text(verb), Part::String(&folder.raw), Part::Text(with)], |a| open.take(&a)).await?;
        if condstore && done.status == crate::protocol::imap::Status::Bad {
            self.capabilities.remove("CONDSTORE");
            open = Open { raw: folder.raw.clone(), sticky: true, ..Open::default() };
            done = self.ask(&[Part::Text(verb), Part::String(&folder.raw)], |a| open.take(&a)).await?;
        }
        if !done.is_ok() {
            return Err(self.fault(&done, &format!("{verb}{}", folder.path), Class::Busy));
        }
        if self.writes && done.says("READ-ONLY") {
            return Err(self.says(&format!("{} can only be read", folder.path), Class::Permission));
        }
        if let Some(permanent) = &open.permanent {
            self.abilities.keywords = permanent.iter().any(|f| f == "\\*");
        }
        if !open.sticky || open.figures.validity.is_none() {
            // Ids of this session mean nothing to another: no mark may ever be equal.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
            open.figures.validity = Some(now);
            open.figures.modseq = None;
        }
        let mark = open.mark();
        self.open = Some(open);
        Ok(mark)
    }

    pub(super) async fn unselect(&mut self) -> Result<(), Fault> {
        self.open = None;
        // CLOSE would expunge.
        if self.can("UNSELECT") || self.can("IMAP4REV2") {
            self.ask(&[Part::Text("UNSELECT")], |_| {}).await?;
        }
        Ok(())
    }

    pub async fn changes(&mut self, since: Option<&Mark>) -> Result<Changes, Fault> {
        let open = self.opened()?;
        let now = open.mark();
        let Some(since) = since.filter(|m| m.validity == now.validity && m.modseq.is_some()) else {
            return self.whole().await;
        };
        if *since == now {
            return Ok(Changes::Since { changed: Vec::new(), vanished: Vec::new() });
        }
        match (since.modseq, now.modseq) {
            (Some(old), Some(_)) if self.qresync => self.since(old).await,
            _ => self.whole().await,
        }
    }

    /// RFC 7162, section 3.2.6.
    async fn since(&mut self, modseq: u64) -> Result<Changes, Fault> {
        let mut found = BTreeMap::new();
        let mut vanished = Set::default();
        let command = format!("UID FETCH 1:* {ITEMS} (CHANGEDSINCE {modseq} VANISHED)");
        let done = self
            .ask(&[Part::Text(&command)], |answer| match answer {
                Answer::Fetch(fetch) => merge(&mut found, fetch),
                Answer::Vanished { uids, .. } => vanished.extend(&uids),
                _ => {}
            })
            .await?;
        if !done.is_ok() {
            return self.whole().await;
        }
        self.opened()?;
        let Some(changed) = whole_ones(found) else { return self.whole().await };
        if vanished.len() > VANISHED {
            return self.whole().await;
        }
        Ok(Changes::Since { changed, vanished: vanished.iter().map(Id::uid).collect() })
    }

    async fn whole(&mut self) -> Result<Changes, Fault> {
        if self.opened()?.exists == 0 {
            return Ok(Changes::Whole(Vec::new()));
        }
        self.listed(1).await
    }

    /// All messages with a UID from `from` on. An incomplete answer is no listing: what is missing in one counts as gone.
    async fn listed(&mut self, from: u32) -> Result<Changes, Fault> {
        let mut found = BTreeMap::new();
        let command = format!("UID FETCH {from}:* {ITEMS}");
        let done = self
            .ask(&[Part::Text(&command)], |a| {
                if let Answer::Fetch(fetch) = a {
                    merge(&mut found, fetch)
                }
            })
            .await?;
        if !done.is_ok() {
            return Err(self.fault(&done, "listing", Class::Busy));
        }
        let exists = self.opened()?.exists as usize;
        let listed = found.values().filter(|f| f.uid.is_some()).count();
        if from == 1 && listed < exists {
            return Err(self.says(&format!("it listed {listed} of {exists} messages"), Class::Busy));
        }
        found.retain(|uid, _| *uid >= from);
        match whole_ones(found) {
            Some(seen) => Ok(Changes::Whole(seen)),
            None => Err(self.says("a listing lacks the flags of a message", Class::Busy)),
        }
    }

    pub async fn arrived(&mut self, from: Option<u64>) -> Result<Changes, Fault> {
        let done = self.ask(&[Part::Text("NOOP")], |_| {}).await?;
        if !done.is_ok() {
            return Err(self.fault(&done, "NOOP", Class::Busy));
        }
        if self.opened()?.exists == 0 {
            return Ok(Changes::Whole(Vec::new()));
        }
        self.listed(from.and_then(|f| u32::try_from(f).ok()).unwrap_or(1).max(1)).await
    }
}

impl Open {
    fn take(&mut self, answer: &Answer) {
        match answer {
            Answer::Exists(n) => self.exists = *n,
            Answer::State(done) | Answer::Tagged(_, done) => {
                let Some(code) = &done.code else { return };
                match code.name.as_str() {
                    "UIDVALIDITY" => self.figures.validity = code.number(),
                    "UIDNEXT" => self.figures.next = code.number(),
                    "HIGHESTMODSEQ" => self.figures.modseq = code.number().filter(|n| *n > 0),
                    "NOMODSEQ" => self.figures.modseq = None,
                    "UIDNOTSTICKY" => self.sticky = false,
                    "PERMANENTFLAGS" => self.permanent = Some(flags_of(code)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            validity: self.figures.validity.unwrap_or(0),
            next: self.figures.next,
            modseq: self.figures.modseq,
            count: u64::from(self.exists),
            state: None,
        }
    }
}

/// Servers tell of a message in several answers, also unasked.
fn merge(found: &mut BTreeMap<u32, Fetch>, fetch: Fetch) {
    let Some(uid) = fetch.uid else { return };
    let held = found.entry(uid).or_default();
    held.uid = Some(uid);
    held.flags = fetch.flags.or(held.flags.take());
    held.date = fetch.date.or(held.date.take());
    held.size = fetch.size.or(held.size);
    held.modseq = fetch.modseq.or(held.modseq);
}

/// `None` when the flags of one are not known: they would count as taken away.
fn whole_ones(found: BTreeMap<u32, Fetch>) -> Option<Vec<Seen>> {
    found
        .into_iter()
        .map(|(uid, fetch)| {
            Some(Seen {
                id: Id::uid(uid),
                flags: Flags::of(fetch.flags?),
                size: fetch.size,
                date: fetch.date.as_deref().and_then(date_of),
            })
        })
        .collect()
}

pub(super) fn date_of(text: &str) -> Option<Date> {
    date::parse(text).map(|(at, zone)| Date { at, zone })
}
