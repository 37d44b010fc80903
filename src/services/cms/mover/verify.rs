//! Shows that both sides are the same, or where they differ. Each difference is an exception whose item begins with `verify:`.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::lane::Lane;
use super::pass::Course;
use super::renumber::{digests_of_source, digests_of_target, whole};
use crate::services::cms::config::{Item, Verify};
use crate::services::cms::ledger::{Known, Row};
use crate::services::cms::mailbox::{Class, Fault, Folder, FolderPath, Id, Seen, Sha256};

/// Messages that are read at a time, so that a large folder does not fill the memory with digests of both sides at once.
const TOGETHER: usize = 2000;

impl Course {
    pub(super) async fn verify_all(&self, lane: &mut Lane, how: Verify) -> Result<(), Fault> {
        let (from, to) = tokio::try_join!(lane.source.folders(), lane.target.folders())?;
        for known in self.held.folders(self.way).await? {
            let find =
                |list: &[Folder], path: &FolderPath| list.iter().find(|f| f.path == *path && f.selectable).cloned();
            let path = known.from_path.key();
            match (find(&from, &known.from_path), find(&to, &known.to_path)) {
                (Some(from), Some(to)) => self.verify_folder(lane, &known, &from, &to, &path, how).await?,
                (None, _) => {}
                (Some(_), None) => {
                    self.differs(
                        &known,
                        &path,
                        "folder",
                        format!("the {} side has no {}", self.way.to(), known.to_path),
                    )
                    .await?
                }
            }
        }
        Ok(())
    }

    async fn differs(&self, known: &Known, path: &str, item: &str, what: String) -> Result<(), Fault> {
        self.except(known.id, path, &format!("verify:{item}"), Fault::new(Class::Protocol, what)).await
    }

    async fn verify_folder(
        &self,
        lane: &mut Lane,
        known: &Known,
        from: &Folder,
        to: &Folder,
        path: &str,
        how: Verify,
    ) -> Result<(), Fault> {
        tokio::try_join!(lane.source.open(from), lane.target.open(to))?;
        let (source, target) = tokio::try_join!(lane.source.changes(None), lane.target.changes(None))?;
        let (source, target) = (whole(source)?, whole(target)?);
        let rows = self.held.rows(self.way, known.id).await?;
        let excepted: HashSet<Id> =
            self.held.excepted().await?.into_iter().filter(|e| e.0 == known.id).map(|e| e.1).collect();
        let of_source: BTreeMap<&Id, &Row> = rows.iter().filter_map(|r| Some((r.from.as_ref()?, r))).collect();
        let there: HashMap<&Id, &Seen> = target.iter().map(|s| (&s.id, s)).collect();
        let here: HashMap<&Id, &Seen> = source.iter().map(|s| (&s.id, s)).collect();
        for seen in source.iter().filter(|s| !of_source.contains_key(&s.id) && !excepted.contains(&s.id)) {
            self.differs(
                known,
                path,
                &seen.id.0,
                format!("it is on the {} side only: it came after the pass", self.way.from()),
            )
            .await?;
        }
        for row in &rows {
            let name = row.from.as_ref().map_or_else(|| format!("row {}", row.row), Id::to_string);
            let at_source = row.from.as_ref().and_then(|id| here.get(id));
            match (&row.to, at_source) {
                (Some(to), _) if !there.contains_key(to) => {
                    self.differs(known, path, &name, format!("the {} side no longer has it", self.way.to())).await?;
                }
                (_, None) => {
                    self.differs(known, path, &name, format!("the {} side no longer has it", self.way.from())).await?
                }
                (Some(to), Some(seen)) if how == Verify::Full => {
                    let other = there[to];
                    if !other.flags.same(&seen.flags) {
                        self.differs(
                            known,
                            path,
                            &name,
                            format!("flags are `{}` there and `{}` here", seen.flags, other.flags),
                        )
                        .await?;
                    }
                    let (one, two) = (seen.date.map(|d| d.at.as_second()), other.date.map(|d| d.at.as_second()));
                    if lane.target.abilities().dates && one.is_some() && one != two {
                        self.differs(known, path, &name, "its date differs".into()).await?;
                    }
                }
                _ => {}
            }
        }
        if how == Verify::Full
            && self.mover.config.cms.items.contains(&Item::Subscriptions)
            && from.subscribed != to.subscribed
        {
            self.differs(known, path, "subscription", "one side is subscribed to it, the other is not".into()).await?;
        }
        let ours: HashSet<&Id> = rows.iter().filter_map(|r| r.to.as_ref()).collect();
        let foreign: Vec<&Seen> = target.iter().filter(|s| !ours.contains(&s.id)).collect();
        if how == Verify::Count {
            return Ok(());
        }
        self.verify_contents(lane, known, path, how, &rows, &foreign).await
    }

    async fn verify_contents(
        &self,
        lane: &mut Lane,
        known: &Known,
        path: &str,
        how: Verify,
        rows: &[Row],
        foreign: &[&Seen],
    ) -> Result<(), Fault> {
        let means = &self.mover.means;
        let exact = lane.target.abilities().exact;
        for part in rows.chunks(TOGETHER) {
            let ids: Vec<Id> = part.iter().filter_map(|r| r.to.clone()).collect();
            let digests = digests_of_target(lane, means, &ids).await?;
            for row in part {
                let digest = row.to.as_ref().and_then(|id| digests.get(id));
                if exact && digest.is_some_and(|d| *d != row.digest) {
                    let name = row.from.as_ref().map_or_else(|| format!("row {}", row.row), Id::to_string);
                    self.differs(known, path, &name, format!("its octets were changed on the {} side", self.way.to()))
                        .await?;
                }
            }
            if how == Verify::Full {
                let ids: Vec<Id> = part.iter().filter_map(|r| r.from.clone()).collect();
                let digests = digests_of_source(lane, means, &ids).await?;
                for row in part {
                    let Some(id) = &row.from else { continue };
                    if digests.get(id).is_some_and(|d| *d != row.digest) {
                        self.differs(
                            known,
                            path,
                            &id.0,
                            format!("its octets are others on the {} side than when it was read", self.way.from()),
                        )
                        .await?;
                    }
                }
            }
        }
        // What the ledger does not know is the new side's own mail, unless it is a copy of what was carried.
        let ids: Vec<Id> = foreign.iter().map(|s| s.id.clone()).collect();
        let carried: HashSet<Sha256> = rows.iter().map(|r| r.digest).collect();
        for part in ids.chunks(TOGETHER) {
            for (id, digest) in digests_of_target(lane, means, part).await? {
                if carried.contains(&digest) && !self.switched {
                    self.differs(
                        known,
                        path,
                        &format!("copy {id}"),
                        format!("a second copy of a message is on the {} side", self.way.to()),
                    )
                    .await?;
                }
            }
        }
        Ok(())
    }
}
