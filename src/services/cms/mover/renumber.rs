//! UIDVALIDITY has changed: the ids that the ledger knows mean nothing. Messages are found again by their content, never by order or number.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::lane::Lane;
use super::pass::Course;
use super::rules::rejoin;
use crate::services::cms::audit::Event;
use crate::services::cms::mailbox::{Changes, Class, Fault, Fetched, Id, Mark, Seen, Sha256};
use crate::services::cms::source::Means;

const WAITING: usize = 16;

/// Digests by id, of what `fetch` hands on. A message that cannot be read is an error, unless its server says that it is gone or it is too
/// large to be read.
async fn digests<F: Future<Output = Result<(), Fault>>>(
    ids: &[Id],
    fetch: impl FnOnce(mpsc::Sender<Fetched>) -> F,
) -> Result<HashMap<Id, Sha256>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let (tx, mut rx) = mpsc::channel(WAITING);
    let fetching = fetch(tx);
    let collecting = async {
        let (mut found, mut fault) = (HashMap::new(), None);
        while let Some(fetched) = rx.recv().await {
            match fetched {
                Fetched::Message(m) => drop(found.insert(m.id, m.digest)),
                Fetched::Failed(_, f) if matches!(f.class, Class::Vanished | Class::TooLarge) => {}
                Fetched::Failed(_, f) => fault = Some(f),
            }
        }
        fault.map_or(Ok(found), Err)
    };
    let (fetched, found) = tokio::join!(fetching, collecting);
    fetched.and(found)
}

pub(super) async fn digests_of_target(
    lane: &mut Lane,
    means: &Means,
    ids: &[Id],
) -> Result<HashMap<Id, Sha256>, Fault> {
    let target = &mut lane.target;
    digests(ids, |tx| async move { target.fetch(ids, means, &tx).await }).await
}

pub(super) async fn digests_of_source(
    lane: &mut Lane,
    means: &Means,
    ids: &[Id],
) -> Result<HashMap<Id, Sha256>, Fault> {
    let source = &mut lane.source;
    digests(ids, |tx| async move { source.fetch(ids, means, &tx).await }).await
}

/// All that there is; a server that was asked for all and tells a part breaks the contract.
pub(super) fn whole(changes: Changes) -> Result<Vec<Seen>, Fault> {
    match changes {
        Changes::Whole(seen) => Ok(seen),
        Changes::Since { .. } => Err(Fault::new(Class::Protocol, "a part was listed where all was asked for")),
    }
}

impl Course {
    /// The read folder was renumbered.
    pub(super) async fn renumbered_source(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        mark: &Mark,
    ) -> Result<(), Fault> {
        let ids: Vec<Id> = whole(lane.source.changes(None).await?)?.into_iter().map(|s| s.id).collect();
        let digests = digests_of_source(lane, &self.mover.means, &ids).await?;
        self.rejoin(folder, path, self.way.from(), mark.validity, &ids, &digests).await
    }

    /// The written folder was renumbered, or made anew.
    pub(super) async fn renumbered_target(
        &self,
        lane: &mut Lane,
        folder: i64,
        path: &str,
        mark: &Mark,
    ) -> Result<(), Fault> {
        let ids: Vec<Id> = whole(lane.target.changes(None).await?)?.into_iter().map(|s| s.id).collect();
        let digests = digests_of_target(lane, &self.mover.means, &ids).await?;
        self.rejoin(folder, path, self.way.to(), mark.validity, &ids, &digests).await?;
        // What has no partner there is not there: it is stored again.
        let lost: Vec<i64> =
            self.held.rows(self.way, folder).await?.into_iter().filter(|r| r.to.is_none()).map(|r| r.row).collect();
        match (lost.is_empty(), self.switched) {
            (false, false) => self.held.lose_rows(self.way, folder, lost).await,
            _ => Ok(()),
        }
    }

    async fn rejoin(
        &self,
        folder: i64,
        path: &str,
        side: &'static str,
        validity: u64,
        ids: &[Id],
        digests: &HashMap<Id, Sha256>,
    ) -> Result<(), Fault> {
        let rows = self.held.rows(self.way, folder).await?;
        let found: Vec<(Id, Sha256)> = ids.iter().filter_map(|id| Some((id.clone(), *digests.get(id)?))).collect();
        let joined = rejoin(&rows, &found);
        let event = Event::Renumbered {
            user: &self.held.user,
            folder: path,
            side,
            known: rows.len(),
            found: joined.iter().filter(|(_, id)| id.is_some()).count(),
        };
        self.mover.audit.tell(&event)?;
        self.held.renumber(side, folder, validity, joined).await
    }
}
