//! One folder, from marks to marks.

use std::collections::{BTreeMap, HashSet};

use super::add;
use super::lane::Lane;
use super::pass::Course;
use super::renumber::whole;
use super::rules::{self, Orders};
use super::store::Place;
use crate::services::cms::audit::Event;
use crate::services::cms::ledger::Known;
use crate::services::cms::mailbox::{Changes, Class, Fault, Flags, Folder, Id, Mark};

/// Messages of one command that changes flags or removes.
const TOGETHER: usize = 1000;

/// A folder that is to be looked into.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub known: Known,
    pub from: Folder,
    pub to: Folder,
    /// Exceptions that are tried again.
    pub retry: Vec<Id>,
    /// Exceptions that stay: these messages are not asked for again.
    pub parked: HashSet<Id>,
    /// What stands in the report about the folder as a whole.
    pub noted: bool,
}

/// It says how the folder is numbered, and which one it is when it is renamed; not what was worked off. No server has a modseq of 0.
fn begun(mark: &Mark) -> Mark {
    Mark { modseq: Some(0), state: None, ..mark.clone() }
}

/// Whether a mark says what was worked off.
pub(super) fn says(mark: &Mark) -> bool {
    mark.modseq != Some(0) && (mark.next.is_some() || mark.modseq.is_some() || mark.count > 0 || mark.state.is_some())
}

impl Course {
    pub(super) async fn folder(&self, lane: &mut Lane, work: &Work) -> Result<(), Fault> {
        let id = work.known.id;
        let path = work.from.path.key();
        let path = path.as_str();
        let (from, to) = tokio::try_join!(lane.source.open(&work.from), lane.target.open(&work.to))?;
        add(&self.tally.folders, 1);
        let known =
            self.held.folders(self.way).await?.into_iter().find(|k| k.id == id).unwrap_or_else(|| work.known.clone());
        if known.from_mark.is_none() || known.to_mark.is_none() {
            // Ids that are recorded from now on belong to these numberings.
            let marks = (
                known.from_mark.clone().unwrap_or_else(|| begun(&from)),
                known.to_mark.clone().unwrap_or_else(|| begun(&to)),
            );
            self.held.mark_folder(self.way, id, Some(marks.0), Some(marks.1)).await?;
        }
        let mut since = known.from_mark.clone().filter(says);
        let mut left = known.to_mark.clone().filter(says);
        if known.to_mark.as_ref().is_some_and(|m| !to.continues(m)) {
            self.renumbered_target(lane, id, path, &to).await?;
            (left, since) = (None, None);
        }
        if known.from_mark.as_ref().is_some_and(|m| !from.continues(m)) {
            self.renumbered_source(lane, id, path, &from).await?;
            since = None;
        }
        self.doubts(lane, id, path, to.validity).await?;
        let listing = lane.source.changes(since.as_ref()).await?;
        self.still_ours(&mut lane.target).await?;
        if self.adopts {
            self.adopt(lane, id, &listing).await?;
        }
        let count = self.held.count(id).await?;
        let look = count > 0 && (self.switched || left.as_ref() != Some(&to));
        let held: rules::Held = match look {
            true => Some(
                whole(lane.target.changes(None).await?)?
                    .into_iter()
                    .map(|s| (s.id, s.flags))
                    .collect::<BTreeMap<Id, Flags>>(),
            ),
            false => None,
        };
        let rows = match &listing {
            Changes::Since { changed, vanished } if held.is_none() => {
                let ids = changed.iter().map(|s| &s.id).chain(vanished).cloned().collect();
                self.held.rows_of(self.way, id, ids).await?
            }
            _ => self.held.rows(self.way, id).await?,
        };
        let mut orders = rules::orders(&rows, &listing, &held, &work.retry, self.switched);
        drop((rows, listing, held));
        orders.append.retain(|id| !work.parked.contains(id));
        // Removals that are held back must be seen again: no list of changes names them twice.
        let kept = self.keep && !orders.remove.is_empty();
        self.carry_out(lane, work, path, &to, orders).await?;
        if work.noted {
            self.held.settle(id, vec!["folder".into()]).await?;
        }
        let to = lane.target.open(&work.to).await?;
        let from = if kept { begun(&from) } else { lane.source.reached(from) };
        self.held.mark_folder(self.way, id, Some(from), Some(to)).await
    }

    async fn carry_out(
        &self,
        lane: &mut Lane,
        work: &Work,
        path: &str,
        to: &Mark,
        orders: Orders,
    ) -> Result<(), Fault> {
        let id = work.known.id;
        if !orders.lost.is_empty() {
            self.held.lose_rows(self.way, id, orders.lost).await?;
        }
        if !orders.append.is_empty() {
            let place = Place { folder: id, path, validity: to.validity, next: to.next };
            if self.carry(lane, place, &orders.append).await? {
                self.identify(lane, id, path, to.next).await?;
            }
        }
        for part in orders.flags.chunks(TOGETHER) {
            let flags: Vec<(Id, Flags)> = part.iter().map(|(_, id, flags)| (id.clone(), flags.clone())).collect();
            self.held.sure()?;
            lane.target.set_flags(&flags).await?;
            self.held.flagged(part.iter().map(|(row, _, flags)| (*row, flags.clone())).collect()).await?;
            add(&self.tally.flags, part.len());
            add(&self.mover.meter.flags, part.len());
        }
        if !orders.remove.is_empty() {
            self.remove(lane, id, path, &orders.remove).await?;
        }
        for row in &orders.stuck {
            let item = row.from.as_ref().map_or_else(|| format!("row {}", row.row), Id::to_string);
            let what = format!(
                "gone from the {} side; it stays on the {} side, where its id is not known",
                self.way.from(),
                self.way.to()
            );
            self.except(id, path, &item, Fault::new(Class::Unsupported, what)).await?;
        }
        match orders.forget.is_empty() {
            true => Ok(()),
            false => self.held.forget(orders.forget).await,
        }
    }

    /// Removes messages that the read side no longer has. The audit log has them before they go.
    pub(super) async fn remove(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        gone: &[(i64, Id)],
    ) -> Result<(), Fault> {
        if self.keep {
            let what = format!(
                "{} messages are gone from the {} side, together with most of the mailbox: they are kept",
                gone.len(),
                self.way.from()
            );
            return self.except(folder, path, "removals", Fault::new(Class::Permission, what)).await;
        }
        if !lane.target.abilities().removes {
            let what = format!(
                "{} messages are gone from the {} side and cannot be removed here",
                gone.len(),
                self.way.from()
            );
            return self.except(folder, path, "removals", Fault::new(Class::Unsupported, what)).await;
        }
        for part in gone.chunks(TOGETHER) {
            let ids: Vec<Id> = part.iter().map(|(_, id)| id.clone()).collect();
            let event = Event::Removed {
                user: &self.held.user,
                folder: path,
                ids: ids.iter().map(|id| id.0.as_str()).collect(),
            };
            self.mover.audit.tell(&event)?;
            self.mover.audit.sync().await?;
            self.held.sure()?;
            lane.target.remove(&ids).await?;
            self.held.forget(part.iter().map(|(row, _)| *row).collect()).await?;
            add(&self.tally.removed, part.len());
            add(&self.mover.meter.removed, part.len());
        }
        self.held.settle(folder, vec!["removals".into()]).await
    }

    /// A folder that the read side no longer has: what was carried into it goes, and the folder itself when nothing else is in it.
    pub(super) async fn gone(&self, lane: &mut Lane, known: &Known, to: Option<&Folder>) -> Result<(), Fault> {
        let path = known.from_path.key();
        let Some(to) = to else { return self.held.drop_folder(known.id).await };
        let mark = lane.target.open(to).await?;
        if known.to_mark.as_ref().is_some_and(|m| !mark.continues(m)) {
            // Made anew by somebody else: nothing in it is ours.
            return self.held.drop_folder(known.id).await;
        }
        self.doubts(lane, known.id, &path, mark.validity).await?;
        let rows = self.held.rows(self.way, known.id).await?;
        let gone: Vec<(i64, Id)> = rows.into_iter().filter_map(|r| Some((r.row, r.to?))).collect();
        if !gone.is_empty() {
            self.remove(lane, known.id, &path, &gone).await?;
        }
        if self.held.count(known.id).await? > 0 || !self.held.intents(Some(known.id)).await?.is_empty() {
            return Ok(());
        }
        if lane.target.open(to).await?.count == 0 && !to.path.is_inbox() {
            self.mover.audit.tell(&Event::FolderRemoved { user: &self.held.user, folder: &path })?;
            if to.subscribed {
                lane.target.subscribe(to, false).await?;
            }
            lane.target.delete(to).await?;
        }
        self.held.drop_folder(known.id).await
    }
}
