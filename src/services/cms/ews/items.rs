//! What a folder holds, and what has changed in it.

use std::collections::{BTreeMap, BTreeSet};

use super::folders::folder_id;
use super::properties::{self, id_of, seen};
use super::xml::{Node, escaped};
use super::{Class, Ews, Fault, Mark, codes};
use crate::services::cms::mailbox::{Changes, Id, Seen};

/// Changes of one page: the most that Exchange gives.
const PAGE: usize = 512;
/// Octets of a sync state.
const STATE: usize = 4 << 20;
/// Pages of one listing: ten million messages.
const PAGES: usize = 20_000;

impl Ews {
    pub(super) fn item_shape(&self, mime: bool) -> String {
        let mime = if mime { "<t:IncludeMimeContent>true</t:IncludeMimeContent>" } else { "" };
        format!(
            "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>{mime}<t:AdditionalProperties>{}</t:AdditionalProperties></m:ItemShape>",
            properties::wanted()
        )
    }

    /// By the sync state in `since`; all that there is when the server no longer knows it.
    pub async fn changes(&mut self, since: Option<&Mark>) -> Result<Changes, Fault> {
        let state = since.and_then(|m| m.state.clone());
        match self.sync(state.as_deref()).await {
            Err(fault) if fault.class == Class::Renumbered && state.is_some() => self.sync(None).await,
            done => done,
        }
    }

    async fn sync(&mut self, since: Option<&str>) -> Result<Changes, Fault> {
        let folder = folder_id(self.opened()?);
        let mut state = since.map(str::to_owned);
        let mut held: BTreeMap<Id, Seen> = BTreeMap::new();
        let mut vanished: BTreeSet<Id> = BTreeSet::new();
        let mut read: BTreeSet<Id> = BTreeSet::new();
        for _ in 0..PAGES {
            let known =
                state.as_deref().map_or(String::new(), |s| format!("<m:SyncState>{}</m:SyncState>", escaped(s)));
            let asked = format!(
                "<m:SyncFolderItems>{}<m:SyncFolderId>{folder}</m:SyncFolderId>{known}<m:MaxChangesReturned>{PAGE}</m:MaxChangesReturned></m:SyncFolderItems>",
                self.item_shape(false)
            );
            let message = self.soap.one(&asked).await?;
            let now = message.value("SyncState").unwrap_or_default();
            let is_last = match message.value("IncludesLastItemInRange").map(str::trim) {
                Some("true") => true,
                Some("false") => false,
                _ => return Err(super::soap::silent()),
            };
            let changes = message.child("Changes").map(|c| c.children.as_slice()).unwrap_or_default();
            if now.is_empty()
                || now.len() > STATE
                || (!is_last && (changes.is_empty() || state.as_deref() == Some(now)))
            {
                return Err(Fault::new(Class::Protocol, "ews: a synchronisation that does not go on"));
            }
            for change in changes {
                let about = || id_of(change).or_else(|| change.children.iter().find_map(id_of));
                match (change.name.as_str(), about()) {
                    ("Create" | "Update", Some(id)) => {
                        vanished.remove(&id);
                        read.remove(&id);
                        held.extend(change.children.first().and_then(seen).map(|s| (id, s)));
                    }
                    ("Delete", Some(id)) => {
                        held.remove(&id);
                        read.remove(&id);
                        vanished.insert(id);
                    }
                    ("ReadFlagChange", Some(id)) if !vanished.contains(&id) => drop(read.insert(id)),
                    ("ReadFlagChange", Some(_)) => {}
                    _ => return Err(super::soap::silent()),
                }
            }
            state = Some(now.to_owned());
            if is_last {
                self.look(read, &mut held, &mut vanished).await?;
                self.reached = state;
                let mut all: Vec<Seen> = held.into_values().collect();
                // In the order in which they came, whatever the order of changes.
                all.sort_by_key(|s| s.date.map(|d| d.at));
                return Ok(match since {
                    None => Changes::Whole(all),
                    Some(_) => Changes::Since { changed: all, vanished: vanished.into_iter().collect() },
                });
            }
        }
        Err(Fault::new(Class::Protocol, "ews: a synchronisation without end"))
    }

    /// Of items of which only one thing is said to have changed: how they are now.
    async fn look(
        &self,
        ids: BTreeSet<Id>,
        held: &mut BTreeMap<Id, Seen>,
        vanished: &mut BTreeSet<Id>,
    ) -> Result<(), Fault> {
        let ids: Vec<Id> = ids.into_iter().collect();
        for part in ids.chunks(PAGE / 4) {
            let asked =
                format!("<m:GetItem>{}<m:ItemIds>{}</m:ItemIds></m:GetItem>", self.item_shape(false), item_ids(part));
            let messages = self.soap.ask(&asked).await?;
            if messages.len() != part.len() {
                return Err(super::soap::silent());
            }
            for (id, message) in part.iter().zip(&messages) {
                match codes::refusal(message) {
                    None => {
                        let item = message.child("Items").and_then(|i| i.children.first()).and_then(seen);
                        held.insert(id.clone(), item.ok_or_else(super::soap::silent)?);
                    }
                    Some((_, fault)) if fault.class == Class::Vanished => drop(vanished.insert(id.clone())),
                    Some((_, fault)) => return Err(fault),
                }
            }
        }
        Ok(())
    }

    /// Messages that we stored, found by the property that we put beside each: candidates for what a lost answer left behind.
    pub async fn arrived(&mut self, _from: Option<u64>) -> Result<Changes, Fault> {
        let found = self.find(self.opened()?, &self.item_shape(false), &properties::exists()).await?;
        Ok(Changes::Whole(found.iter().filter_map(seen).collect()))
    }

    /// All items of a folder, each once.
    pub(super) async fn find(&self, folder: &str, shape: &str, restriction: &str) -> Result<Vec<Node>, Fault> {
        let folder = folder_id(folder);
        'again: for _ in 0..5 {
            let mut found: BTreeMap<Id, Node> = BTreeMap::new();
            let mut offset = 0;
            for _ in 0..PAGES {
                let asked = format!(
                    "<m:FindItem Traversal=\"Shallow\">{shape}<m:IndexedPageItemView MaxEntriesReturned=\"{PAGE}\" Offset=\"{offset}\" BasePoint=\"Beginning\"/>{restriction}\
                     <m:ParentFolderIds>{folder}</m:ParentFolderIds></m:FindItem>"
                );
                let message = self.soap.one(&asked).await?;
                let root = message.child("RootFolder").ok_or_else(super::soap::silent)?;
                let items: &[Node] = root.child("Items").map(|i| i.children.as_slice()).unwrap_or_default();
                found.extend(items.iter().filter_map(|item| Some((id_of(item)?, item.clone()))));
                let total: Option<usize> = root.attribute("TotalItemsInView").and_then(|t| t.parse().ok());
                if root.attribute("IncludesLastItemInRange") == Some("true") || items.is_empty() {
                    // Pages of a listing that changes meanwhile make no whole.
                    if total.is_some_and(|t| t != found.len()) {
                        continue 'again;
                    }
                    return Ok(found.into_values().collect());
                }
                offset += items.len();
            }
        }
        Err(Fault::new(Class::Busy, "ews: the folder changes while it is listed"))
    }
}

pub(super) fn item_ids(ids: &[Id]) -> String {
    ids.iter().map(|id| format!("<t:ItemId Id=\"{}\"/>", escaped(&id.0))).collect()
}
