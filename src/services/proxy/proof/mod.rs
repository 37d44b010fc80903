//! What is kept of logins that a backend has accepted: who has proven their password, and, where that is asked for, the password
//! itself, sealed to a key that lies elsewhere.
//!
//! A login hands over and goes on; one thread writes. A password is in memory until it is sealed, and wiped. That it is the
//! former one is seen by a hash under a key that this process makes and never writes down.

mod proven;
mod spool;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::config::{PasswordMode, Passwords};
use super::meter::Meter;
use super::route::Route;
use crate::protocol::sasl::{Credentials, Proof};
use proven::List;
pub use proven::Proven;
pub use spool::{Destroyed, file_name};
use spool::{Kept, Spool};

/// Logins that wait for the disk; those beyond are noted with the user's next login.
const WAITING: usize = 4096;

/// Without a mode that keeps anything it does nothing.
pub struct Keeper {
    work: Option<Work>,
}

struct Work {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    capture: bool,
    key: Zeroizing<[u8; 64]>,
}

struct Shared {
    folder: PathBuf,
    list: Mutex<List>,
    spool: Option<Mutex<Spool>>,
    /// Keyed hashes of what lies in the spool, by user.
    sealed: Mutex<HashMap<String, [u8; 32]>>,
    /// Who is known to be on the list, of this process, by side: nobody asks again within a day.
    known: Mutex<HashMap<(String, Route), i64>>,
    meter: Arc<Meter>,
}

struct Job {
    user: String,
    side: Route,
    at: i64,
    password: Option<(Zeroizing<Vec<u8>>, [u8; 32])>,
}

/// What was destroyed. The same stands in `purged.log` of the state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    pub at: i64,
    /// Why these files: `moved`, `user`, `older`.
    pub because: String,
    pub count: usize,
    pub files: Vec<Destroyed>,
    pub left: usize,
}

/// Which captured passwords are destroyed: those that one of these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Users who are on the new side.
    pub moved: HashSet<String>,
    pub user: Option<String>,
    /// Seconds since they were written.
    pub older: Option<u64>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(|e| e.into_inner())
}

/// Writes a file of a folder anew: it appears whole, or what was there stays.
fn replace(folder: &Path, path: &Path, octets: &[u8]) -> std::io::Result<()> {
    let mut next = tempfile::Builder::new().prefix(".next-").tempfile_in(folder)?;
    next.write_all(octets)?;
    next.as_file().sync_all()?;
    next.persist(path).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Keeper {
    /// `state` is the proxy's own folder.
    pub fn begin(config: &Passwords, state: &Path, meter: Arc<Meter>) -> Result<Self, String> {
        if config.mode == PasswordMode::Pass {
            return Ok(Self { work: None });
        }
        let failed = |e: std::io::Error| format!("proxy.state: {}: {e}", state.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(failed)?;
        let list = List::open(state).map_err(failed)?;
        let capture = config.mode == PasswordMode::Capture;
        let spool = match (capture, &config.recipient) {
            (true, Some(recipient)) => {
                let folder = config.store.clone().unwrap_or_else(|| state.join("passwords"));
                let spool = Spool::open(&folder, recipient, config.max_size)?;
                meter.spool.store(spool.used(), Ordering::Relaxed);
                Some(Mutex::new(spool))
            }
            (true, None) => return Err("passwords.recipient: capture needs an age public key".into()),
            (false, _) => None,
        };
        let mut key = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *key).map_err(|e| format!("no randomness: {e}"))?;
        let shared = Arc::new(Shared {
            folder: state.to_owned(),
            list: Mutex::new(list),
            spool,
            sealed: Mutex::default(),
            known: Mutex::default(),
            meter,
        });
        let (jobs, receive) = sync_channel(WAITING);
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || theirs.run(&receive));
        thread.map_err(|e| format!("no thread for passwords: {e}"))?;
        Ok(Self { work: Some(Work { shared, jobs, capture, key }) })
    }

    /// A backend of that side has accepted a user. Never waits.
    pub fn proven(&self, user: &str, route: Route, credentials: &Credentials) {
        // Who acts for another has proven their own password and not that of the mailbox.
        let (Some(work), None) = (&self.work, &credentials.acts_as) else { return };
        let at = now();
        let password = match &credentials.proof {
            // What the new side has accepted it knows itself.
            Proof::Password(password) if work.capture && route == Route::Old => {
                let hash = work.hash(user, password);
                let same = lock(&work.shared.sealed).get(user) == Some(&hash);
                (!same).then(|| (password.clone(), hash))
            }
            _ => None,
        };
        let known = lock(&work.shared.known).get(&(user.to_owned(), route)).is_some_and(|last| at < last + 86_400);
        if known && password.is_none() {
            return;
        }
        // When the disk is behind, the user's next login brings it.
        let _ = work.jobs.try_send(Job { user: user.to_owned(), side: route, at, password });
    }

    /// Who has proven theirs.
    pub fn list(&self) -> Vec<Proven> {
        self.work.as_ref().map(|w| lock(&w.shared.list).all()).unwrap_or_default()
    }

    /// Whose password may lie in the spool.
    pub fn captured(&self) -> Vec<String> {
        let mut users: Vec<String> = self.list().into_iter().filter(|p| p.side == Route::Old).map(|p| p.user).collect();
        users.dedup();
        users
    }

    /// Destroys captured passwords of users who have been on the new side for so long. `moved` are those who are there now;
    /// the time counts from the first call that names them. Blocks.
    pub fn sweep(&self, moved: HashSet<String>, keep: Duration) -> Result<Option<Purged>, String> {
        let Some(spool) = self.work.as_ref().and_then(|w| w.shared.spool.as_ref()) else { return Ok(None) };
        let (at, keep) = (now(), i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
        let mut due = HashSet::new();
        for user in self.captured() {
            let spool = lock(spool);
            if !moved.contains(&user) {
                spool.unmark(&user);
                continue;
            }
            let since = spool.moved_since(&user, at).map_err(|e| format!("passwords.store: {e}"))?;
            if since.is_some_and(|since| at.saturating_sub(since) >= keep) {
                due.insert(user);
            }
        }
        if due.is_empty() {
            return Ok(None);
        }
        self.purge(&Which { moved: due, ..Which::default() }).map(Some)
    }

    /// Destroys captured passwords, and writes down which. Blocks.
    pub fn purge(&self, which: &Which) -> Result<Purged, String> {
        let spool = self.work.as_ref().and_then(|w| Some((w, w.shared.spool.as_ref()?)));
        let Some((work, spool)) = spool else { return Err("no passwords are captured here".into()) };
        let shared = &work.shared;
        let names: BTreeMap<String, String> =
            self.captured().into_iter().chain(which.user.clone()).map(|u| (spool::file_name(&u), u)).collect();
        let at = now();
        let mut held = lock(spool);
        let older = which.older.map(|seconds| at - i64::try_from(seconds).unwrap_or(i64::MAX));
        let files = held.destroy(|file, written| {
            let user = names.get(file);
            user.is_some_and(|u| which.moved.contains(u) || which.user.as_ref() == Some(u))
                || older.is_some_and(|before| written < before)
        });
        let mut files = files.map_err(|e| format!("passwords.store: {e}"))?;
        for file in &mut files {
            file.user = names.get(&file.file).cloned();
            if let Some(user) = &file.user {
                lock(&shared.sealed).remove(user);
            }
        }
        shared.meter.spool.store(held.used(), Ordering::Relaxed);
        let left = held.count().unwrap_or_default();
        let because = match () {
            () if which.user.is_some() => "user",
            () if which.older.is_some() => "older",
            () => "moved",
        };
        let purged = Purged { at, because: because.into(), count: files.len(), files, left };
        let log = shared.folder.join("purged.log");
        let written = (|| {
            let mut line = serde_json::to_vec(&purged)?;
            line.push(b'\n');
            let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&log)?;
            file.write_all(&line)?;
            file.sync_all()
        })();
        match written {
            Ok(()) => Ok(purged),
            Err(e) => {
                Err(format!("{} files are destroyed, and {} cannot be written: {e}", purged.count, log.display()))
            }
        }
    }
}

impl Work {
    /// Nested, each time under a key of its own (Bellare, Canetti, Krawczyk 1996: NMAC).
    fn hash(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let (outer, inner) = self.key.split_at(32);
        let length = (user.len() as u64).to_be_bytes();
        let inner = Sha256::new().chain_update(inner).chain_update(length).chain_update(user).chain_update(password);
        Sha256::new().chain_update(outer).chain_update(inner.finalize()).finalize().into()
    }
}

impl Shared {
    fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut sync = self.job(first);
            // All that waits goes to the disk together.
            while let Ok(next) = jobs.try_recv() {
                sync |= self.job(next);
            }
            if sync {
                lock(&self.list).sync();
            }
        }
    }

    /// Whether the list has to be forced to the disk.
    fn job(&self, job: Job) -> bool {
        let noted = lock(&self.list).note(&job.user, job.side, job.at);
        match &noted {
            Ok(_) => drop(lock(&self.known).insert((job.user.clone(), job.side), job.at)),
            Err(e) => tracing::error!("passwords: the list of proofs cannot be written: {e}"),
        }
        if let (Some((password, hash)), Some(spool)) = (job.password, &self.spool)
            && lock(&self.sealed).get(&job.user) != Some(&hash)
        {
            let mut spool = lock(spool);
            match spool.store(&job.user, job.at, &password) {
                Ok(Kept::Stored) => drop(lock(&self.sealed).insert(job.user, hash)),
                Ok(Kept::Full) => {
                    if self.meter.spool_full.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::error!("passwords: the spool is full; nothing more is captured");
                    }
                }
                Err(e) => tracing::error!("passwords: the spool cannot be written: {e}"),
            }
            self.meter.spool.store(spool.used(), Ordering::Relaxed);
        }
        noted.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    const CANARY: &str = "kanarie-9217-\u{fc}";

    fn login(user: &str, password: &str) -> Credentials {
        Credentials::password(user.as_bytes(), b"", password.as_bytes()).unwrap()
    }

    fn keeper(state: &Path, key: &age::x25519::Identity, bound: Option<u64>) -> (Keeper, Arc<Meter>) {
        let recipient = Some(key.to_public().to_string());
        let config = Passwords { mode: PasswordMode::Capture, recipient, store: None, max_size: bound, purge: None };
        let meter = Arc::new(Meter::default());
        (Keeper::begin(&config, state, meter.clone()).unwrap(), meter)
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut out: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
        out.sort();
        out
    }

    fn until(what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < end, "it does not come to that");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn open(path: &Path, key: &age::x25519::Identity) -> String {
        let octets = std::fs::read(path).unwrap();
        let decryptor = age::Decryptor::new(octets.as_slice()).unwrap();
        let mut text = String::new();
        decryptor.decrypt(std::iter::once(key as &dyn age::Identity)).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn octets_of(folder: &Path, out: &mut Vec<u8>) {
        for path in files(folder) {
            match path.is_dir() {
                true => octets_of(&path, out),
                false => out.extend(std::fs::read(&path).unwrap()),
            }
        }
    }

    #[test]
    fn only_the_offline_key_reads_what_was_captured() {
        let state = tempfile::tempdir().unwrap();
        let (key, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let (keeper, meter) = keeper(state.path(), &key, None);
        let spool = state.path().join("passwords");
        keeper.proven("ann", Route::Old, &login("ann", CANARY));
        until(|| files(&spool).len() == 1);
        let first = std::fs::read(&files(&spool)[0]).unwrap();
        assert!(open(&files(&spool)[0], &key).contains(&format!("\"password\":\"{CANARY}\"")));
        let decryptor = age::Decryptor::new(first.as_slice()).unwrap();
        assert!(decryptor.decrypt(std::iter::once(&other as &dyn age::Identity)).is_err());
        // The same one is not sealed again, another one is.
        keeper.proven("ann", Route::Old, &login("ann", CANARY));
        keeper.proven("bob", Route::Old, &login("bob", "x"));
        until(|| files(&spool).len() == 2);
        let ann = spool.join(spool::file_name("ann"));
        assert_eq!(std::fs::read(&ann).unwrap(), first);
        keeper.proven("ann", Route::Old, &login("ann", "another"));
        until(|| std::fs::read(&ann).unwrap() != first);
        assert!(open(&ann, &key).contains("another"));
        // The new side's, tokens, and those of somebody who acts for another are not for the spool.
        keeper.proven("cem", Route::New, &login("cem", CANARY));
        let admin = Credentials::password(b"admin", b"dan", CANARY.as_bytes()).unwrap();
        keeper.proven("dan", Route::Old, &admin);
        until(|| keeper.list().len() == 3);
        assert_eq!(files(&spool).len(), 2);
        assert_eq!(
            keeper.list().iter().map(|p| (p.user.as_str(), p.side)).collect::<Vec<_>>(),
            [("ann", Route::Old), ("bob", Route::Old), ("cem", Route::New)]
        );
        assert!(meter.spool.load(Ordering::Relaxed) > 200);
        drop(keeper);
        let mut all = Vec::new();
        octets_of(state.path(), &mut all);
        let find = |what: &[u8]| all.windows(what.len()).any(|w| w == what);
        assert!(find(b"ann") && !find(b"kanarie"));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&spool), mode(&ann)), (0o700, 0o600));
    }

    #[test]
    fn what_is_destroyed_is_told_and_written_down() {
        let state = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let (keeper, meter) = keeper(state.path(), &key, None);
        let spool = state.path().join("passwords");
        for user in ["ann", "bob", "cem"] {
            keeper.proven(user, Route::Old, &login(user, CANARY));
        }
        until(|| files(&spool).len() == 3);
        let content = std::fs::read(spool.join(spool::file_name("ann"))).unwrap();
        let which = Which { moved: HashSet::from(["ann".to_owned(), "zoe".to_owned()]), ..Which::default() };
        let purged = keeper.purge(&which).unwrap();
        assert_eq!((purged.count, purged.left, purged.because.as_str()), (1, 2, "moved"));
        assert_eq!(purged.files[0].user.as_deref(), Some("ann"));
        let digest: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(purged.files[0].sha256, digest);
        assert_eq!(keeper.purge(&Which { older: Some(3600), ..Which::default() }).unwrap().count, 0);
        assert_eq!(keeper.purge(&Which { user: Some("bob".into()), ..Which::default() }).unwrap().count, 1);
        let log = std::fs::read_to_string(state.path().join("purged.log")).unwrap();
        assert_eq!(log.lines().count(), 3);
        assert_eq!(serde_json::from_str::<Purged>(log.lines().next().unwrap()).unwrap(), purged);
        // Somebody whose password was destroyed and who is still on the old side is captured again.
        keeper.proven("bob", Route::Old, &login("bob", CANARY));
        until(|| files(&spool).len() == 2);
        keeper
            .purge(&Which { older: Some(0), moved: HashSet::from(["bob".into(), "cem".into()]), ..Which::default() })
            .unwrap();
        assert!(files(&spool).is_empty());
        assert_eq!(meter.spool.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_kept_for_some_time_after_the_move_goes_then() {
        let state = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let (keeper, _) = keeper(state.path(), &key, None);
        for user in ["ann", "bob"] {
            keeper.proven(user, Route::Old, &login(user, CANARY));
        }
        let ages = || {
            files(&state.path().join("passwords")).iter().filter(|p| p.extension().is_some_and(|e| e == "age")).count()
        };
        until(|| ages() == 2);
        let moved = || HashSet::from(["ann".to_owned()]);
        assert_eq!(keeper.sweep(moved(), Duration::from_secs(1)).unwrap(), None, "the time begins");
        assert_eq!(keeper.sweep(HashSet::new(), Duration::from_secs(1)).unwrap(), None, "and ends with the way back");
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(keeper.sweep(moved(), Duration::from_secs(1)).unwrap(), None);
        std::thread::sleep(Duration::from_millis(2100));
        let purged = keeper.sweep(moved(), Duration::from_secs(1)).unwrap().unwrap();
        assert_eq!((purged.count, purged.left, purged.files[0].user.as_deref()), (1, 1, Some("ann")));
        assert_eq!(ages(), 1);
    }

    #[test]
    fn the_spool_is_bounded_and_proofs_outlive_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let (first, meter) = keeper(state.path(), &key, Some(700));
        for n in 0..10 {
            first.proven(&format!("u{n}"), Route::Old, &login("u", CANARY));
        }
        until(|| meter.spool_full.load(Ordering::Relaxed) + files(&state.path().join("passwords")).len() as u64 == 10);
        assert!(meter.spool.load(Ordering::Relaxed) <= 700);
        drop(first);
        let log = state.path().join("proven.log");
        let mut torn = std::fs::read(&log).unwrap();
        torn.extend(b"{\"user\":\"half");
        std::fs::write(&log, torn).unwrap();
        let (again, _) = keeper(state.path(), &key, None);
        assert_eq!(again.list().len(), 10);
    }

    #[test]
    fn nothing_is_kept_unless_it_is_asked_for() {
        let state = tempfile::tempdir().unwrap();
        let keeper = Keeper::begin(&Passwords::default(), state.path(), Arc::default()).unwrap();
        keeper.proven("ann", Route::Old, &login("ann", CANARY));
        assert!(files(state.path()).is_empty() && keeper.list().is_empty());
        assert!(keeper.purge(&Which::default()).is_err());
    }
}
