//! Appends whose answer is not known: the answer was lost, or the mover died. None is ever blindly repeated.
//!
//! 1. An open intent: the written folder is asked for what arrived since; messages that the ledger does not know are read and compared by
//!    digest. What is found is recorded. While some are missing, the folder is watched until it is quiet; what is missing then is appended
//!    anew, and the intent is *watched*: a session of the server that still has the former octets may store them after all.
//! 2. A watched intent: at each pass of the folder, and before a final pass is done, late copies are looked for. A copy is removed when it
//!    is byte for byte a message of the intent, the ledger does not know it, and the message that the ledger knows is there.

use std::collections::HashMap;
use std::time::Duration;

use super::lane::Lane;
use super::pass::Course;
use super::rules::assign;
use super::{add, renumber};
use crate::services::cms::audit::Event;
use crate::services::cms::ledger::{Intent, IntentState, Item, Row, Stored};
use crate::services::cms::mailbox::{Changes, Fault, Id, Seen, Sha256};

/// A folder in which nothing has come for so long is quiet.
const QUIET: Duration = Duration::from_millis(1000);

const LOOK: Duration = Duration::from_millis(200);

/// How long after an append each pass looks for late copies of it. A server works off what it has received within its own time-outs.
pub(super) const WATCH: Duration = Duration::from_secs(600);

/// How long after that a pass still looks when the written folder is not as it was left, so that a copy which comes after a night of a
/// stopped server is found too. It costs nothing where nothing came.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// How old a lost append must be before a final pass says that it is done.
pub(super) const SURE: Duration = Duration::from_secs(12);

pub(super) fn age(intent_made: i64) -> Duration {
    let now = jiff::Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(now - intent_made).unwrap_or(0))
}

impl Course {
    /// Looks into all intents of the open folder.
    pub(super) async fn doubts(&self, lane: &mut Lane, folder: i64, path: &str, validity: u64) -> Result<(), Fault> {
        let intents = self.held.intents(Some(folder)).await?;
        let mut read: HashMap<Id, Sha256> = HashMap::new();
        let (open, watched): (Vec<_>, Vec<_>) = intents.into_iter().partition(|i| i.state == IntentState::Open);
        if !open.is_empty() {
            self.open_intents(lane, folder, path, validity, &open, &mut read).await?;
        }
        if !watched.is_empty() {
            self.watched_intents(lane, folder, path, validity, watched, &mut read).await?;
        }
        Ok(())
    }

    async fn open_intents(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        validity: u64,
        open: &[Intent],
        read: &mut HashMap<Id, Sha256>,
    ) -> Result<(), Fault> {
        let ids = open.iter().flat_map(|i| i.items.iter().map(|m| m.source.clone())).collect();
        let known: std::collections::HashSet<Id> =
            self.held.rows_of(self.way, folder, ids).await?.into_iter().filter_map(|r| r.from).collect();
        let missing: Vec<(usize, &Item)> = open
            .iter()
            .enumerate()
            .flat_map(|(n, i)| i.items.iter().map(move |m| (n, m)))
            .filter(|(_, m)| !known.contains(&m.source))
            .collect();
        let wanted: Vec<Sha256> = missing.iter().map(|(_, m)| m.digest).collect();
        let sizes: Vec<u64> = missing.iter().map(|(_, m)| m.size).collect();
        let from = since(open, validity);
        let mut quiet = tokio::time::Instant::now();
        let mut before = None;
        let found = loop {
            if wanted.is_empty() {
                break Vec::new();
            }
            let candidates = self.candidates(lane, folder, from, &sizes, read).await?;
            let found = assign(&wanted, &candidates);
            if found.iter().all(Option::is_some) {
                break found;
            }
            let stands: Vec<Id> = candidates.into_iter().map(|(id, _)| id).collect();
            if before.as_ref() != Some(&stands) {
                quiet = tokio::time::Instant::now();
                before = Some(stands);
            } else if quiet.elapsed() >= QUIET {
                break found;
            }
            tokio::time::sleep(LOOK).await;
        };
        for (n, intent) in open.iter().enumerate() {
            let mine = missing.iter().zip(&found).filter(|((of, _), _)| *of == n);
            let stored: Vec<Stored> = mine
                .clone()
                .filter_map(|((_, item), id)| Some(Stored { item: (*item).clone(), to: Some(id.clone()?) }))
                .collect();
            // One whose messages the ledger knows by another append is watched too.
            let all = mine.count() == stored.len() && stored.len() == intent.items.len();
            add(&self.tally.found, stored.len());
            let (messages, found) = (intent.items.len(), stored.len());
            self.mover.audit.tell(&Event::Doubt {
                user: &self.held.user,
                folder: path,
                intent: intent.id,
                messages,
                found,
            })?;
            self.held.resolve(self.way, folder, intent.id, stored, !all).await?;
        }
        Ok(())
    }

    async fn watched_intents(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        validity: u64,
        watched: Vec<Intent>,
        read: &mut HashMap<Id, Sha256>,
    ) -> Result<(), Fault> {
        // What a user copies on the new side after the switch is theirs.
        let keeps = if self.switched { WATCH } else { REMEMBERED };
        let (old, watched): (Vec<_>, Vec<_>) = watched.into_iter().partition(|i| age(i.made) > keeps);
        for intent in old {
            self.held.resolve(self.way, folder, intent.id, Vec::new(), false).await?;
        }
        if watched.is_empty() {
            return Ok(());
        }
        let watched = watched.as_slice();
        let sizes: Vec<u64> = watched.iter().flat_map(|i| i.items.iter().map(|m| m.size)).collect();
        let mut candidates = self.candidates(lane, folder, since(watched, validity), &sizes, read).await?;
        let mut surplus: Vec<Id> = Vec::new();
        for intent in watched {
            if candidates.is_empty() {
                break;
            }
            let ids = intent.items.iter().map(|m| m.source.clone()).collect();
            let rows: HashMap<Id, Row> = self
                .held
                .rows_of(self.way, folder, ids)
                .await?
                .into_iter()
                .filter_map(|r| Some((r.from.clone()?, r)))
                .collect();
            let mut adopted = Vec::new();
            for item in &intent.items {
                let Some(n) = candidates.iter().position(|(_, d)| *d == item.digest) else { continue };
                let (id, digest) = candidates.swap_remove(n);
                match rows.get(&item.source) {
                    // Not appended anew yet: this is the message.
                    None => adopted.push(Stored { item: item.clone(), to: Some(id) }),
                    Some(row) if row.to.is_none() || row.digest != item.digest => {}
                    Some(_) => {
                        let event = Event::Surplus {
                            user: &self.held.user,
                            folder: path,
                            intent: intent.id,
                            id: &id.0,
                            digest: digest.to_string(),
                        };
                        self.mover.audit.tell(&event)?;
                        surplus.push(id);
                    }
                }
            }
            self.held.record(self.way, folder, adopted).await?;
        }
        if !surplus.is_empty() {
            self.remove_surplus(lane, folder, path, &surplus).await?;
        }
        Ok(())
    }

    async fn remove_surplus(&self, lane: &mut Lane, folder: i64, path: &str, surplus: &[Id]) -> Result<(), Fault> {
        // The messages that the ledger knows must be there, or the copy would be the only one.
        let Changes::Whole(seen) = lane.target.changes(None).await? else { return Ok(()) };
        let there: std::collections::HashSet<&Id> = seen.iter().map(|s| &s.id).collect();
        let rows = self.held.rows(self.way, folder).await?;
        if rows.iter().filter_map(|r| r.to.as_ref()).any(|to| !there.contains(to)) {
            // The pass stores what is lost first; the next one looks again.
            return Ok(());
        }
        if !lane.target.abilities().removes {
            let what = format!("{} late copies of a lost append cannot be removed on this server", surplus.len());
            return self
                .except(folder, path, "surplus", Fault::new(crate::services::cms::mailbox::Class::Unsupported, what))
                .await;
        }
        self.held.sure()?;
        self.mover.audit.sync().await?;
        lane.target.remove(surplus).await?;
        add(&self.tally.surplus, surplus.len());
        add(&self.mover.meter.surplus, surplus.len());
        Ok(())
    }

    /// Messages of the written folder since `from` that the ledger does not know, with their digests. Read are those of the sizes in
    /// question; and, since servers lie about sizes, all of them when that finds too few.
    async fn candidates(
        &self,
        lane: &mut Lane,
        folder: i64,
        from: Option<u64>,
        sizes: &[u64],
        read: &mut HashMap<Id, Sha256>,
    ) -> Result<Vec<(Id, Sha256)>, Fault> {
        let (Changes::Whole(seen) | Changes::Since { changed: seen, .. }) = lane.target.arrived(from).await?;
        let known = self.held.known_to(self.way, folder, seen.iter().map(|s| s.id.clone()).collect()).await?;
        let seen: Vec<&Seen> = seen.iter().filter(|s| !known.contains(&s.id)).collect();
        let likely = |s: &&&Seen| s.size.is_none_or(|size| sizes.contains(&size));
        let mut wanted: Vec<Id> = seen.iter().filter(likely).map(|s| s.id.clone()).collect();
        if wanted.len() < sizes.len() {
            wanted = seen.iter().map(|s| s.id.clone()).collect();
        }
        let unread: Vec<Id> = wanted.iter().filter(|id| !read.contains_key(*id)).cloned().collect();
        read.extend(renumber::digests_of_target(lane, &self.mover.means, &unread).await?);
        Ok(wanted.into_iter().filter_map(|id| read.get(&id).map(|d| (id, *d))).collect())
    }

    /// A server without UIDPLUS has stored messages and not said their ids: they are found by digest among what arrived.
    pub(super) async fn identify(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        from: Option<u64>,
    ) -> Result<(), Fault> {
        let rows: Vec<Row> = self.held.rows(self.way, folder).await?.into_iter().filter(|r| r.to.is_none()).collect();
        let sizes: Vec<u64> = rows.iter().map(|r| r.size).collect();
        let candidates = self.candidates(lane, folder, from, &sizes, &mut HashMap::new()).await?;
        let wanted: Vec<Sha256> = rows.iter().map(|r| r.digest).collect();
        let found = assign(&wanted, &candidates);
        let named: Vec<(i64, Option<Id>)> =
            rows.iter().zip(&found).filter(|(_, id)| id.is_some()).map(|(r, id)| (r.row, id.clone())).collect();
        if named.len() < rows.len() {
            let what = format!(
                "{} messages are stored, and what the server calls them is not known",
                rows.len() - named.len()
            );
            self.except(folder, path, "unidentified", Fault::new(crate::services::cms::mailbox::Class::Protocol, what))
                .await?;
        }
        self.held.name_to(self.way, named).await
    }
}

/// The lowest id that an append of these can have; everything when the folder was renumbered since.
fn since(intents: &[Intent], validity: u64) -> Option<u64> {
    let same = intents.iter().all(|i| i.validity == validity && i.next.is_some());
    intents.iter().filter_map(|i| i.next).min().filter(|_| same)
}
