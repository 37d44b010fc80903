//! The proxy's job folder: who still works on the old side comes first.
//!
//! `DIGEST.json` is a user who has logged in; it is taken by renaming it to `DIGEST.taken`, and ended, when the mailbox is moved, by
//! renaming that to `DIGEST.done`. See the proxy's trigger.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Service;
use crate::services::cms::ledger::Phase;
use crate::services::cms::mover::Pass;
use crate::services::cms::queue::{Queue, Urgency};

const LOOK: Duration = Duration::from_secs(1);

/// Octets of a job.
const LONGEST: u64 = 64 * 1024;

#[derive(serde::Deserialize)]
struct Job {
    version: u32,
    user: String,
}

pub async fn watch<Q: Queue>(service: Arc<Service<Q>>, folder: PathBuf) {
    let mut taken: HashMap<String, PathBuf> = HashMap::new();
    // Jobs that a former process has taken are still theirs who work.
    for (path, user) in jobs(&folder, "taken") {
        if let Some(user) = service.mover.people.find(&user) {
            service.put(user, Pass::Delta, Urgency::LoggedIn, Duration::ZERO);
            taken.insert(user.to_owned(), path);
        }
    }
    loop {
        for (path, user) in jobs(&folder, "json") {
            let Some(user) = service.mover.people.find(&user) else { continue };
            let next = path.with_extension("taken");
            match std::fs::rename(&path, &next) {
                Ok(()) => {
                    taken.insert(user.to_owned(), next);
                    service.put(user, Pass::Delta, Urgency::LoggedIn, Duration::ZERO);
                }
                Err(e) => tracing::error!("{}: {e}", path.display()),
            }
        }
        if !taken.is_empty()
            && let Ok(all) = service.mover.ledger.phases(None).await
        {
            for (user, ..) in all.iter().filter(|(_, phase, _)| *phase == Phase::Moved) {
                if let Some(path) = taken.remove(user)
                    && let Err(e) = std::fs::rename(&path, path.with_extension("done"))
                {
                    tracing::error!("{}: {e}", path.display());
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn jobs(folder: &Path, end: &str) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == end));
    let mut found: Vec<(PathBuf, String)> = paths
        .filter(|p| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.len() <= LONGEST))
        .filter_map(|p| {
            let job: Job = serde_json::from_slice(&std::fs::read(&p).ok()?).ok()?;
            (job.version == 1).then_some((p, job.user))
        })
        .collect();
    found.sort();
    found
}
