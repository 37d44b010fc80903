//! Contents of messages: several UID FETCH commands under way at once, each message handed on as soon as it is whole.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use super::listing::date_of;
use super::take::{Taken, Taker};
use super::{Part, Session};
use crate::protocol::imap::answer::{Answer, Body, Done, Fetch};
use crate::protocol::imap::sequence::Set;
use crate::services::cms::mailbox::{Class, Fault, Fetched, Flags, Id, Message};
use crate::services::cms::source::Means;

const ITEMS: &str = "(UID FLAGS INTERNALDATE BODY.PEEK[])";

/// What is still awaited, and why it may not come.
struct Awaited {
    left: BTreeMap<u32, Option<Done>>,
}

impl Session {
    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        self.opened()?;
        let mut uids = Vec::with_capacity(ids.len());
        for id in ids {
            match id.number() {
                Some(uid) => uids.push(uid),
                None => {
                    self.hand(to, Fetched::Failed(id.clone(), Fault::new(Class::Vanished, format!("{id} is no UID"))))
                        .await?
                }
            }
        }
        let mut awaited = Awaited { left: uids.iter().map(|uid| (*uid, None)).collect() };
        self.stream_in(uids.chunks(self.dialect.each), &mut awaited, means, to).await?;
        if awaited.left.is_empty() { Ok(()) } else { self.clear_up(awaited, means, to).await }
    }

    async fn stream_in<'u>(
        &mut self,
        mut chunks: impl Iterator<Item = &'u [u32]>,
        awaited: &mut Awaited,
        means: &Means,
        to: &mpsc::Sender<Fetched>,
    ) -> Result<(), Fault> {
        let mut taker = Taker::new(means);
        let mut under_way: VecDeque<(String, &[u32])> = VecDeque::new();
        loop {
            while under_way.len() < self.dialect.depth
                && let Some(chunk) = chunks.next()
            {
                let command = format!("UID FETCH {} {ITEMS}", Set::of(chunk.iter().copied()));
                under_way.push_back((self.send(&[Part::Text(&command)]).await?, chunk));
            }
            if under_way.is_empty() {
                return Ok(());
            }
            match self.receive(Some(&mut taker)).await? {
                Answer::Fetch(fetch) => {
                    if let Body::Held(octets) = &fetch.body {
                        taker.hold(octets).await?;
                    }
                    if let (Some(taken), Some(uid)) = (taker.taken(), fetch.uid)
                        && awaited.left.remove(&uid).is_some()
                    {
                        self.hand(to, fetched(uid, fetch, taken)).await?;
                    }
                }
                Answer::Tagged(tag, done) => {
                    if let Some(n) = under_way.iter().position(|(t, _)| *t == tag)
                        && let Some((_, chunk)) = under_way.remove(n)
                        && !done.is_ok()
                    {
                        for uid in chunk {
                            awaited.left.entry(*uid).and_modify(|why| *why = Some(done.clone()));
                        }
                    }
                }
                _ => {}
            }
            self.opened()?;
        }
    }

    /// What was asked for and did not come: gone, if a listing that is asked afresh says so. The others are asked for alone, because one
    /// message that a server cannot read ends the command for those behind it.
    async fn clear_up(&mut self, mut awaited: Awaited, means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        let uids: Vec<u32> = awaited.left.keys().copied().collect();
        let mut there: Vec<u32> = Vec::new();
        let tag = self.begin(&[Part::Text("NOOP")]).await?;
        self.stream.flush().await?;
        self.finish(&tag, |_| {}).await?;
        for chunk in uids.chunks(500) {
            let command = format!("UID FETCH {} (UID)", Set::of(chunk.iter().copied()));
            let done = match self.opened()?.exists {
                0 => None,
                _ => Some(
                    self.ask(&[Part::Text(&command)], |a| {
                        if let Answer::Fetch(f) = a {
                            there.extend(f.uid)
                        }
                    })
                    .await?,
                ),
            };
            match done {
                Some(done) if !done.is_ok() => there.extend_from_slice(chunk),
                _ => {}
            }
        }
        there.sort_unstable();
        there.dedup();
        for uid in &uids {
            if there.binary_search(uid).is_err() {
                awaited.left.remove(uid);
                let gone = Fault::new(Class::Vanished, "the server no longer lists it");
                self.hand(to, Fetched::Failed(Id::uid(*uid), gone)).await?;
            }
        }
        there.retain(|uid| awaited.left.contains_key(uid));
        if uids.len() > 1 || awaited.left.values().any(Option::is_none) {
            self.stream_in(there.chunks(1), &mut awaited, means, to).await?;
        }
        for (uid, why) in awaited.left {
            let fault = match why {
                Some(done) => self.fault(&done, &format!("UID FETCH {uid}"), Class::Busy),
                None => self.says(&format!("it sent no content of UID {uid}"), Class::Busy),
            };
            self.hand(to, Fetched::Failed(Id::uid(uid), fault)).await?;
        }
        Ok(())
    }

    async fn hand(&mut self, to: &mpsc::Sender<Fetched>, fetched: Fetched) -> Result<(), Fault> {
        if to.send(fetched).await.is_err() {
            self.broken = true;
            return Err(Fault::new(Class::Local, "nobody takes the messages any more"));
        }
        Ok(())
    }
}

fn fetched(uid: u32, fetch: Fetch, taken: Taken) -> Fetched {
    let id = Id::uid(uid);
    match taken {
        Taken::TooLarge(octets) => Fetched::Failed(id, Fault::new(Class::TooLarge, format!("it has {octets} octets"))),
        Taken::Content(content, digest) => Fetched::Message(Box::new(Message {
            id,
            flags: Flags::of(fetch.flags.unwrap_or_default()),
            date: fetch.date.as_deref().and_then(date_of),
            content,
            digest,
            uidl: None,
        })),
    }
}
