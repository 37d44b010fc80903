//! Folders of the written side are made what those of the read side are: names, special use, subscriptions.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::add;
use super::folder::{Work, says};
use super::lane::Lane;
use super::names::{self, Pair, Plan};
use super::pass::Course;
use crate::services::cms::audit::Event;
use crate::services::cms::config::Item;
use crate::services::cms::ledger::Known;
use crate::services::cms::mailbox::{Class, Fault, Folder, FolderPath, Id};

/// Exceptions of a folder.
#[derive(Debug, Default)]
pub(super) struct Excepted {
    retry: Vec<Id>,
    parked: HashSet<Id>,
    noted: bool,
}

impl Course {
    /// Carries out what is about folders, and says which of them are to be looked into.
    pub(super) async fn shape(&self, lane: &mut Lane, plan: Plan, retry_all: bool) -> Result<Vec<Work>, Fault> {
        let doubtful = self.held.doubtful(super::doubt::WATCH).await?;
        let mut excepted: HashMap<i64, Excepted> = HashMap::new();
        for (folder, item, class) in self.held.excepted().await? {
            let of = excepted.entry(folder).or_default();
            match item.0.as_str() {
                "folder" | "removals" | "surplus" | "unidentified" => of.noted = true,
                text if text.starts_with("verify:") => {}
                _ if retry_all || class.passes() || matches!(class, Class::Protocol | Class::Quota) => {
                    of.retry.push(item)
                }
                _ => drop(of.parked.insert(item)),
            }
        }
        let mut work = Vec::new();
        let mut taken: BTreeSet<FolderPath> = BTreeSet::new();
        // What stood there before stands there again if it still holds.
        self.held.settle_all("folder:").await?;
        // From the root down: with a folder the server renames those below it (RFC 9051 section 6.3.6).
        let mut pairs = VecDeque::from(plan.pairs);
        pairs.make_contiguous().sort_by_key(|p| p.rename.as_ref().map_or(usize::MAX, |f| f.path.names().len()));
        while let Some(pair) = pairs.pop_front() {
            let path = pair.from.path.key();
            let moved = pair.rename.as_ref().map(|former| (former.path.clone(), pair.to_path.clone()));
            if let Some((was, is)) = &moved
                && pairs.iter().any(|p| below(&p.rename, was))
            {
                let placed = self.place(lane, pair, &mut taken).await?;
                self.carried_along(lane, was, is, &mut pairs).await?;
                if let Some((known, from, to)) = placed {
                    let of = excepted.remove(&known.id).unwrap_or_default();
                    work.push(Work { known, from, to, retry: of.retry, parked: of.parked, noted: of.noted });
                }
                continue;
            }
            match self.place(lane, pair, &mut taken).await {
                Ok(Some((known, from, to))) => {
                    let of = excepted.remove(&known.id).unwrap_or_default();
                    let doubtful = doubtful.contains(&known.id);
                    if !doubtful && of.retry.is_empty() && !of.noted && unchanged(&known, &from, &to) {
                        add(&self.tally.unchanged, 1);
                        continue;
                    }
                    work.push(Work { known, from, to, retry: of.retry, parked: of.parked, noted: of.noted });
                }
                Ok(None) => {}
                Err(fault) if fault.class.passes() || matches!(fault.class, Class::Login | Class::Quota) => {
                    return Err(fault);
                }
                Err(fault) => self.except(0, &path, &format!("folder:{path}"), fault).await?,
            }
        }
        // The largest first: they take longest.
        work.sort_by_key(|w| std::cmp::Reverse(w.from.mark.as_ref().map_or(u64::MAX, |m| m.count)));
        Ok(work)
    }

    /// A folder was renamed, and with it those below it: where these are now.
    async fn carried_along(
        &self,
        lane: &mut Lane,
        was: &FolderPath,
        is: &FolderPath,
        pairs: &mut VecDeque<Pair>,
    ) -> Result<(), Fault> {
        let to = lane.target.folders().await?;
        for pair in pairs.iter_mut().filter(|p| below(&p.rename, was)) {
            let Some(former) = pair.rename.take() else { continue };
            if former.subscribed && self.mover.config.cms.items.contains(&Item::Subscriptions) {
                // Their former names stay subscribed on many servers.
                lane.target.subscribe(&former, false).await?;
            }
            let names = is.names().iter().chain(&former.path.names()[was.names().len()..]).cloned();
            let now =
                FolderPath::new(names).and_then(|path| to.iter().find(|t| t.path == path && t.selectable)).cloned();
            match now {
                Some(now) if now.path == pair.to_path => pair.to = Some(now),
                Some(now) => pair.rename = Some(now),
                None => pair.rename = Some(former),
            }
        }
        Ok(())
    }

    async fn place(
        &self,
        lane: &mut Lane,
        pair: Pair,
        taken: &mut BTreeSet<FolderPath>,
    ) -> Result<Option<(Known, Folder, Folder)>, Fault> {
        let Pair { known, from, to_path, to, rename } = pair;
        let user = &self.held.user;
        let key = from.path.key();
        let to = match (rename, to) {
            (Some(former), _) => {
                let (was, is) = (former.path.key(), to_path.key());
                self.mover.audit.tell(&Event::FolderRenamed { user, folder: &key, from: &was, to: &is })?;
                self.held.sure()?;
                if former.subscribed && self.mover.config.cms.items.contains(&Item::Subscriptions) {
                    // Many servers keep a subscription under the former name. Before the rename, so that a kill leaves none behind.
                    lane.target.subscribe(&former, false).await?;
                }
                lane.target.rename(&former, &to_path).await?
            }
            (None, Some(to)) => to,
            // After the switch a folder that is not there was removed by its user.
            (None, None) if self.switched && known.is_some() => return Ok(None),
            (None, None) => {
                self.held.sure()?;
                let mut made = lane.target.create(&to_path, from.special).await?;
                if taken.contains(&made.path) {
                    // A server that folds case, or reserves names, has shown a folder that is another's already.
                    let mut shown = taken.clone();
                    shown.insert(to_path.clone());
                    made = lane.target.create(&names::free(to_path, &shown), from.special).await?;
                }
                self.mover.audit.tell(&Event::FolderMade { user, folder: &key, at: &made.path.key() })?;
                made
            }
        };
        if !taken.insert(to.path.clone()) {
            return Err(Fault::new(
                Class::Unsupported,
                format!("the {} side shows it as {}, which is another folder's", self.way.to(), to.path),
            ));
        }
        let subscribes = self.mover.config.cms.items.contains(&Item::Subscriptions) && !self.switched;
        if subscribes && from.subscribed != to.subscribed {
            lane.target.subscribe(&to, from.subscribed).await?;
        }
        let (path, identity) = (from.path.clone(), from.identity.clone());
        let known = match known {
            Some(mut k) => {
                if k.from_path != path
                    || k.from_identity != identity
                    || k.to_path != to.path
                    || k.subscribed != from.subscribed
                {
                    self.held
                        .name_folder(self.way, k.id, path.clone(), identity.clone(), to.path.clone(), from.subscribed)
                        .await?;
                    (k.from_path, k.from_identity, k.to_path) = (path, identity, to.path.clone());
                }
                k
            }
            None => {
                let id = self
                    .held
                    .add_folder(self.way, path.clone(), identity.clone(), to.path.clone(), from.subscribed)
                    .await?;
                Known {
                    id,
                    from_path: path,
                    from_identity: identity,
                    from_mark: None,
                    to_path: to.path.clone(),
                    to_mark: None,
                    subscribed: from.subscribed,
                }
            }
        };
        Ok(Some((known, from, to)))
    }
}

fn below(rename: &Option<Folder>, path: &FolderPath) -> bool {
    rename
        .as_ref()
        .is_some_and(|f| f.path.names().len() > path.names().len() && f.path.names().starts_with(path.names()))
}

/// Nothing has happened on either side since the last pass, as far as one round trip for all folders tells.
fn unchanged(known: &Known, from: &Folder, to: &Folder) -> bool {
    let same = from
        .mark
        .as_ref()
        .zip(known.from_mark.as_ref())
        .is_some_and(|(is, was)| is.modseq.is_some() && says(was) && is == was);
    let ours = to.mark.as_ref().zip(known.to_mark.as_ref()).is_none_or(|(is, was)| is == was);
    same && known.to_mark.as_ref().is_some_and(says) && ours
}
