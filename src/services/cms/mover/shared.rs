//! Folders of others that a user sees (`folders.shared`): each is carried once. Its owner carries it, when the owner moves; one that belongs
//! to nobody who moves is carried by the first mailbox that meets it.

use super::names::in_rules;
use super::pass::Course;
use crate::services::cms::mailbox::{Fault, Folder};

impl Course {
    /// The folders of a listing, each with its owner where that is somebody else, that are this mailbox's to carry.
    pub(super) async fn ours(&self, listed: Vec<(Folder, Option<String>)>) -> Result<Vec<Folder>, Fault> {
        let rules = &self.mover.config.folders;
        if !rules.shared {
            return Ok(listed.into_iter().map(|(folder, _)| folder).collect());
        }
        let known = self.held.folders(self.way).await?;
        let mut ours = Vec::with_capacity(listed.len());
        for (folder, owner) in listed {
            // What was begun is finished.
            let begun = known.iter().any(|k| k.from_path == folder.path);
            if !folder.foreign || !folder.selectable || begun {
                ours.push(folder);
                continue;
            }
            if let Some(owner) = owner.as_deref().filter(|o| self.mover.people.called(o, self.way).is_some()) {
                tracing::info!("{}: {} is carried by its owner, {owner}", self.held.user, folder.path);
                continue;
            }
            let to = in_rules(rules, self.way, &folder.path).unwrap_or_else(|| folder.path.clone());
            if self.held.claim_folder(self.way, folder.path.clone(), to).await? {
                ours.push(folder);
            } else {
                tracing::info!("{}: {} is carried by another who sees it", self.held.user, folder.path);
            }
        }
        Ok(ours)
    }
}
