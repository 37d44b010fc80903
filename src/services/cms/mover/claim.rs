//! One ledger fills a mailbox. Movers that share a ledger are kept apart by its lease; two that do not know of each other (two hosts, two
//! state folders) by an empty folder on the new side whose name says whose the mailbox is:
//!
//! 1. make `Cutover-Move-HOST-LEDGER` and list all folders;
//! 2. when another's is there too: remove one's own, and stop for a person. Nobody goes on who has seen another, and of two that list after
//!    they have made theirs at least one sees the other's.
//!
//! The listing that each pass makes anyway shows it, so that it costs nothing later. A pass that runs long looks again now and then: who was
//! taken over stops. With the final pass it goes. Ends without folders (LMTP) are not fenced, nor is a server that lets none be made; and
//! two copies of one state folder are one ledger.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::lane::{Lane, side};
use super::pass::Course;
use crate::services::cms::audit::Event;
use crate::services::cms::ledger::{Item, Stored, Takeover, Way};
use crate::services::cms::mailbox::{Changes, Class, Fault, Fetched, Folder, FolderPath, Id, Sha256};
use crate::services::cms::target::Target;

const PREFIX: &str = "Cutover-Move-";

/// How often a pass that runs looks whether it still holds the mailbox.
const LOOK: Duration = Duration::from_secs(10);

/// How long who takes over waits for the former mover to notice, with what it has under way.
const NOTICE: Duration = Duration::from_secs(15);

/// Contents between the end and the digests.
const WAITING: usize = 16;

/// What the lanes of a pass know of who holds the mailbox.
#[derive(Debug)]
pub(super) struct Seen {
    looked: Instant,
    /// Somebody else: no lane writes any more.
    taken: Option<Fault>,
}

impl Seen {
    pub fn now() -> Self {
        Self { looked: Instant::now(), taken: None }
    }
}

/// Whether a folder is the sign of a move, and no mail.
pub(super) fn is_claim(path: &FolderPath) -> bool {
    matches!(path.names(), [one] if one.starts_with(PREFIX))
}

fn others<'f>(folders: &'f [Folder], own: &FolderPath) -> Vec<&'f Folder> {
    folders.iter().filter(|f| is_claim(&f.path) && f.path != *own && !ours(&f.path, own)).collect()
}

/// The same ledger on a host that was renamed, or moved with its state folder.
fn ours(path: &FolderPath, own: &FolderPath) -> bool {
    let id = |p: &FolderPath| p.names().last().and_then(|n| n.rsplit('-').next().map(str::to_owned));
    id(path) == id(own)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    if name.is_empty() { "host".into() } else { name }
}

fn claimed(by: &[&Folder]) -> Fault {
    let names: Vec<&str> = by.iter().filter_map(|f| f.path.names().last()?.strip_prefix(PREFIX)).collect();
    let what = format!("the mailbox is being filled by another mover with a ledger of its own: {}", names.join(", "));
    Fault::new(Class::Claimed, what)
}

impl Course {
    async fn own_claim(&self) -> Result<FolderPath, Fault> {
        let name = format!("{PREFIX}{}-{}", host(), self.held.ledger.identity().await?);
        FolderPath::new([name]).ok_or_else(|| Fault::new(Class::Local, "no name for a claim"))
    }

    /// Makes sure that nobody else fills the mailbox. Gives the folders of the written side as they are now, when they were listed anew.
    pub(super) async fn claim(
        &self,
        lane: &mut Lane,
        from: &[Folder],
        to: &[Folder],
    ) -> Result<Option<Vec<Folder>>, Fault> {
        let own = self.own_claim().await?;
        let new_side = if self.way == Way::Forward { to } else { from };
        let (theirs, mine) = (others(new_side, &own), new_side.iter().any(|f| ours(&f.path, &own)));
        let takes = self.held.takeover().await? == Takeover::Asked && self.way == Way::Forward;
        if !takes && !theirs.is_empty() {
            return Err(side(claimed(&theirs), "new"));
        }
        // After the switch the mailbox is its user's, and what is written to the old side needs no claim.
        if mine && !takes || self.switched || self.way == Way::Back || !lane.target.abilities().folders {
            return Ok(None);
        }
        if !mine {
            match lane.target.create(&own, None).await {
                Ok(_) => {}
                Err(fault) if matches!(fault.class, Class::Permission | Class::Unsupported) => {
                    tracing::warn!("{}: nothing keeps another mover away: {fault}", self.held.user);
                    return Ok(None);
                }
                Err(fault) => return Err(fault),
            }
        }
        for folder in theirs {
            let (user, from) = (self.held.user.as_str(), folder.path.key());
            self.mover.audit.tell(&Event::TakenOver { user, from: &from })?;
            lane.target.delete(folder).await?;
        }
        if takes {
            self.held.took_over(Takeover::Done).await?;
            tokio::time::sleep(NOTICE).await;
        }
        let now = lane.target.folders().await?;
        let theirs = others(&now, &own);
        if let Some(mine) = now.iter().find(|f| f.path == own)
            && !theirs.is_empty()
        {
            lane.target.delete(mine).await?;
        }
        if theirs.is_empty() { Ok(Some(now)) } else { Err(side(claimed(&theirs), "new")) }
    }

    /// Looks again, when that was not done lately.
    pub(super) async fn still_ours(&self, target: &mut Target) -> Result<(), Fault> {
        if self.way == Way::Back || self.switched || !target.abilities().folders {
            return Ok(());
        }
        {
            let mut seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(fault) = &seen.taken {
                return Err(fault.clone());
            }
            if seen.looked.elapsed() < LOOK {
                return Ok(());
            }
            seen.looked = Instant::now();
        }
        let own = self.own_claim().await?;
        let now = target.folders().await?;
        let theirs = others(&now, &own);
        if theirs.is_empty() {
            return Ok(());
        }
        let fault = side(claimed(&theirs), "new");
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).taken = Some(fault.clone());
        Err(fault)
    }

    /// The mailbox is moved: the sign goes.
    pub(super) async fn unclaim(&self, lane: &mut Lane) -> Result<(), Fault> {
        let own = self.own_claim().await?;
        for folder in lane.target.folders().await?.iter().filter(|f| is_claim(&f.path) && ours(&f.path, &own)) {
            lane.target.delete(folder).await?;
        }
        Ok(())
    }

    /// After a takeover: what the other mover stored is entered into the ledger instead of being stored again. Contents are compared.
    pub(super) async fn adopt(&self, lane: &mut Lane, folder: i64, listing: &Changes) -> Result<(), Fault> {
        let (Changes::Whole(seen) | Changes::Since { changed: seen, .. }) = listing;
        let known = self.held.rows(self.way, folder).await?;
        let known: HashSet<&Id> = known.iter().filter_map(|r| r.from.as_ref()).collect();
        let unknown: Vec<_> = seen.iter().filter(|s| !known.contains(&s.id)).collect();
        let (Changes::Whole(there) | Changes::Since { changed: there, .. }) = lane.target.arrived(None).await?;
        let recorded = self.held.known_to(self.way, folder, there.iter().map(|s| s.id.clone()).collect()).await?;
        let there: Vec<Id> = there.into_iter().map(|s| s.id).filter(|id| !recorded.contains(id)).collect();
        if unknown.is_empty() || there.is_empty() {
            return Ok(());
        }
        let means = &self.mover.means;
        let digests = super::renumber::digests_of_target(lane, means, &there).await?;
        let mut stand: HashMap<Sha256, VecDeque<Id>> = HashMap::new();
        for id in there {
            if let Some(digest) = digests.get(&id) {
                stand.entry(*digest).or_default().push_back(id);
            }
        }
        let ids: Vec<Id> = unknown.iter().map(|s| s.id.clone()).collect();
        let (tx, mut rx) = mpsc::channel(WAITING);
        let fetching = async {
            let done = lane.source.fetch(&ids, means, &tx).await;
            drop(tx);
            done
        };
        let matching = async {
            let mut found = Vec::new();
            while let Some(fetched) = rx.recv().await {
                let Fetched::Message(m) = fetched else { continue };
                let m = *m;
                let Some(to) = stand.get_mut(&m.digest).and_then(VecDeque::pop_front) else { continue };
                let item =
                    Item { size: m.content.length(), digest: m.digest, flags: m.flags, date: m.date, source: m.id };
                found.push(Stored { item, to: Some(to) });
            }
            found
        };
        let (fetched, found) = tokio::join!(fetching, matching);
        fetched?;
        super::add(&self.tally.found, found.len());
        self.held.record(self.way, folder, found).await
    }
}
