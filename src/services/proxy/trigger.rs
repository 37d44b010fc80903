//! Tells the content service who still works on the old side: their move starts, or comes sooner.
//!
//! A file a user is put into the queue folder, `DIGEST.json`, where DIGEST is the SHA-256 of the user's name in hexadecimal:
//! `{"version":1,"user":"ann@acme.example","at":"2026-07-01T08:00:00Z"}`. It appears whole or not at all. The service takes a
//! job by renaming it to `DIGEST.taken` and ends it by renaming it to `DIGEST.done`; while a file of any of these names is
//! there, the user's next logins write none. When the mailbox is on the new side the service says so itself:
//! `cutover-proxy route set ann@acme.example --to new --close`.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use super::config::Cms;
use super::meter::Meter;
use crate::model::Digest;

/// Users whose job waits for the disk; beyond, the user's next login asks again.
const WAITING: usize = 10_000;

/// Without a queue it does nothing.
pub struct Trigger {
    queue: Option<Queue>,
}

struct Queue {
    /// Who was asked for by this process. As many as there are users on the old side.
    asked: Arc<Mutex<HashSet<String>>>,
    jobs: SyncSender<String>,
}

impl Trigger {
    pub fn begin(config: Option<&Cms>, meter: Arc<Meter>) -> Result<Self, String> {
        let Some(cms) = config else { return Ok(Self { queue: None }) };
        if !cms.queue.is_dir() {
            return Err(format!("cms.queue: there is no folder {}", cms.queue.display()));
        }
        let (jobs, receive) = sync_channel(WAITING);
        let asked = Arc::new(Mutex::new(HashSet::new()));
        let (folder, theirs) = (cms.queue.clone(), asked.clone());
        let run = move || work(&folder, &receive, &theirs, &meter);
        std::thread::Builder::new()
            .name("trigger".into())
            .spawn(run)
            .map_err(|e| format!("no thread for jobs: {e}"))?;
        Ok(Self { queue: Some(Queue { asked, jobs }) })
    }

    /// A user has logged in on the old side. Never waits.
    pub fn login(&self, user: &str) {
        let Some(queue) = &self.queue else { return };
        let mut asked = queue.asked.lock().unwrap_or_else(|e| e.into_inner());
        if !asked.contains(user) && queue.jobs.try_send(user.to_owned()).is_ok() {
            asked.insert(user.to_owned());
        }
    }
}

fn work(folder: &Path, jobs: &Receiver<String>, asked: &Mutex<HashSet<String>>, meter: &Meter) {
    while let Ok(user) = jobs.recv() {
        match write(folder, &user) {
            Ok(true) => drop(meter.jobs.fetch_add(1, Ordering::Relaxed)),
            Ok(false) => {}
            Err(e) => {
                tracing::error!("cms: no job could be written to {}: {e}", folder.display());
                asked.lock().unwrap_or_else(|e| e.into_inner()).remove(&user);
            }
        }
    }
}

/// The name of a user's files, without its end.
pub fn job_name(user: &str) -> String {
    Digest::of(user.as_bytes()).0
}

/// `false` when there is one already.
fn write(folder: &Path, user: &str) -> std::io::Result<bool> {
    let name = job_name(user);
    let at = |end: &str| -> PathBuf { folder.join(format!("{name}.{end}")) };
    if at("taken").exists() || at("done").exists() {
        return Ok(false);
    }
    let job = serde_json::json!({ "version": 1, "user": user, "at": format!("{:.0}", jiff::Timestamp::now()) });
    let mut file = tempfile::Builder::new().prefix(".job-").tempfile_in(folder)?;
    serde_json::to_writer(&mut file, &job)?;
    file.write_all(b"\n")?;
    // The service reads it by the folder's group.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o640))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(at("json")) {
        Ok(_) => std::fs::File::open(folder)?.sync_all().map(|()| true),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e.error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            folder.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| !n.starts_with('.'));
        names.sort();
        names
    }

    fn settle(folder: &Path, files: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        while names(folder).len() < files && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
        names(folder)
    }

    #[test]
    fn a_thousand_logins_at_once_are_one_job() {
        let folder = tempfile::tempdir().unwrap();
        let config = Cms { queue: folder.path().to_owned() };
        // Two processes, as during an upgrade.
        let triggers: Vec<Trigger> = (0..2).map(|_| Trigger::begin(Some(&config), Arc::default()).unwrap()).collect();
        std::thread::scope(|scope| {
            for n in 0..1000 {
                let trigger = &triggers[n % 2];
                scope.spawn(move || trigger.login("ann@acme.example"));
            }
        });
        let files = settle(folder.path(), 1);
        assert_eq!(files, [format!("{}.json", job_name("ann@acme.example"))]);
        let job: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join(&files[0])).unwrap()).unwrap();
        assert_eq!((&job["user"], &job["version"]), (&"ann@acme.example".into(), &1.into()));
    }

    #[test]
    fn a_job_that_is_taken_or_done_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        for end in ["taken", "done"] {
            std::fs::write(folder.path().join(format!("{}.{end}", job_name(end))), "").unwrap();
            assert!(!write(folder.path(), end).unwrap());
        }
        assert!(write(folder.path(), "../../etc/passwd\n").unwrap());
        assert!(!write(folder.path(), "../../etc/passwd\n").unwrap());
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn without_its_folder_it_does_not_begin() {
        let config = Cms { queue: "/nonexistent".into() };
        assert!(Trigger::begin(Some(&config), Arc::default()).is_err());
        Trigger::begin(None, Arc::default()).unwrap().login("ann");
    }
}
