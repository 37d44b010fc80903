//! The SQLite journal: cut or spoilt at any byte, opened by two, written by many; and what it costs.
//!
//! A sample of bytes is spoilt; `CUTOVER_JOURNAL_CUTS=1000000` takes every byte.

use std::path::Path;
use std::time::Instant;

use cutover::journal::{Entry, Header, Holder, Journal, JournalError, LocalLock, Record, Saved, StateDir, replay};
use cutover::model::HostName;
use cutover::model::attr::Digest;
use cutover::model::plan::Plan;
use cutover::model::step::Outcome;

use crate::planning_world::{World, story};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
}

fn header(plan: &Plan, apply: &str) -> Header {
    Header {
        apply: apply.into(),
        at: 1_795_000_000_000,
        organization: "acme".into(),
        environment: None,
        phase: None,
        intent: Digest::of(b"intent"),
        steps: plan.steps.len() as u32,
        holder: "kim@desk pid 1 boot b".into(),
        undo_of: None,
        program: "0.1.0".into(),
    }
}

fn plan(steps: usize) -> Plan {
    let mut s = story();
    for i in 0..steps {
        s.file("a/imap", &format!("/etc/dovecot/conf.d/{i:05}.conf"), &format!("value = {i}\n"));
    }
    s.plan(&World::default())
}

fn done(step: u32) -> Record {
    let fingerprint = Some(format!("present content={} mode=0644", Digest::of(&step.to_le_bytes())));
    Record::ended(step, &Outcome::Done { fingerprint }, 12)
}

/// A journal with one apply of `n` steps in it, closed in order or left with its write-ahead log as after a kill.
fn written(dir: &StateDir, n: usize) -> Saved {
    let plan = plan(n);
    let (journal, notes) = Journal::open(dir, None).expect("opens");
    assert_eq!(notes, Vec::<String>::new());
    block_on(async {
        journal.begin(header(&plan, "a1"), &plan).await.expect("begins");
        for batch in plan.steps.chunks(4) {
            let starts = batch.iter().map(|s| Record::Started { step: s.id }).collect();
            journal.append("a1", 5, starts).await.expect("starts");
            for s in batch {
                journal.post("a1", 6, done(s.id)).expect("ends");
            }
        }
        journal.append("a1", 7, vec![Record::Draining]).await.expect("last");
    });
    journal.load("a1").expect("reads").expect("is there")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for file in std::fs::read_dir(from).expect("folder") {
        let file = file.expect("file");
        if file.file_name() != "lock" {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("copy");
        }
    }
}

/// Opens a spoilt copy. It is whole, or a beginning of what was, or set aside with a note; never something else, never silent.
fn verify(dir: &StateDir, saved: &Saved, what: &str) {
    let (journal, notes) = Journal::open(dir, None).unwrap_or_else(|e| panic!("{what}: {e}"));
    match journal.load("a1") {
        Ok(Some(found)) => {
            assert_eq!(found.header, saved.header, "{what}");
            assert_eq!(found.plan, saved.plan, "{what}");
            assert!(saved.entries.starts_with(&found.entries), "{what}: not a beginning of what was");
            replay(&found).unwrap_or_else(|e| panic!("{what}: {e}"));
        }
        // Set aside or empty: said, and the bytes are kept.
        Ok(None) => {
            let wal = what.contains("wal");
            assert!(wal || !notes.is_empty(), "{what}: history is gone and nobody says so");
            for note in &notes {
                assert!(note.contains("damaged") || note.contains("empty"), "{what}: {note}");
            }
            if notes.iter().any(|n| n.contains("set aside")) {
                assert!(dir.path().join("state.db.damaged-1").exists(), "{what}");
            }
        }
        Err(JournalError::Damaged(_)) => {}
        Err(e) => panic!("{what}: {e}"),
    }
    // And it takes an apply again.
    let next = plan(1);
    block_on(journal.begin(header(&next, "b1"), &next)).unwrap_or_else(|e| panic!("{what}: {e}"));
}

fn spoil(file: &str, left_open: bool) {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", None);
    let kept = tempfile::tempdir().expect("dir");
    let saved;
    if left_open {
        // Copied while it is open: what a killed process leaves.
        saved = written(&dir, 12);
        let (journal, _) = Journal::open(&dir, None).expect("opens");
        block_on(async {
            let next = plan(2);
            journal.begin(header(&next, "a2"), &next).await.expect("begins");
            copy(dir.path(), kept.path());
        });
    } else {
        saved = written(&dir, 12);
        // The writer ends when its handle is dropped; the last to close folds the log in.
        while dir.path().join("state.db-wal").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        copy(dir.path(), kept.path());
    }
    let bytes = std::fs::read(kept.path().join(file)).expect("the file to spoil");
    assert!(!bytes.is_empty(), "{file}");
    let every: usize = std::env::var("CUTOVER_JOURNAL_CUTS").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    let points = every.min(bytes.len());
    for i in 0..points {
        // Spread evenly over the file, and a different byte of each page.
        let at = (bytes.len() * i / points + i * 37) % bytes.len();
        for (what, spoilt) in [
            ("cut", bytes[..at].to_vec()),
            ("turned", bytes.iter().enumerate().map(|(k, b)| if k == at { b ^ 0x55 } else { *b }).collect()),
        ] {
            let place = tempfile::tempdir().expect("dir");
            let there = StateDir::new(place.path(), "acme", None);
            copy(kept.path(), there.path());
            std::fs::write(there.path().join(file), &spoilt).expect("spoil");
            verify(&there, &saved, &format!("{file} {what} at byte {at}"));
        }
    }
}

#[test]
fn a_database_cut_or_turned_at_any_byte_is_said() {
    spoil("state.db", false);
}

#[test]
fn a_write_ahead_log_cut_or_turned_at_any_byte_is_said() {
    spoil("state.db-wal", true);
}

#[test]
fn a_damaged_file_is_kept_and_another_apply_is_not_disturbed() {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", None);
    dir.create().expect("folder");
    std::fs::write(dir.state(), b"not a database at all, but long enough to be looked at").expect("write");
    let held = LocalLock::acquire(&dir, &Holder::this_process("a1", 0)).expect("lock");
    let error = Journal::open(&dir, None).expect_err("somebody may be writing").to_string();
    assert!(error.contains("a1") && dir.state().exists(), "{error}");
    let (_, notes) = Journal::open(&dir, Some(&held)).expect("ours to mend");
    assert!(notes[0].contains("state.db.damaged-1"), "{notes:?}");
    let kept = std::fs::read(dir.path().join("state.db.damaged-1")).expect("kept");
    assert!(kept.starts_with(b"not a database"));
}

#[test]
fn a_journal_of_a_newer_program_is_refused_and_left_alone() {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", None);
    written(&dir, 1);
    let db = rusqlite::Connection::open(dir.state()).expect("open");
    db.execute("UPDATE meta SET value = '99' WHERE key = 'format'", []).expect("update");
    drop(db);
    let error = Journal::open(&dir, None).expect_err("newer");
    assert!(matches!(error, JournalError::Newer { found: 99 }), "{error}");
    assert!(!dir.path().join("state.db.damaged-1").exists());
}

#[test]
fn two_handles_write_and_read_one_file() {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", Some("lab"));
    written(&dir, 4);
    let (one, _) = Journal::open(&dir, None).expect("one");
    let two = Journal::read(&dir.state()).expect("two");
    let next = plan(1);
    block_on(one.begin(header(&next, "a2"), &next)).expect("begins");
    let names: Vec<String> = two.history().expect("history").into_iter().map(|s| s.header.apply).collect();
    assert_eq!(names, ["a1", "a2"]);
    assert_eq!(two.unfinished().expect("unfinished").map(|s| s.header.apply).as_deref(), Some("a2"));
    let hosts = plan(1).hosts;
    one.remember(9, Default::default(), &hosts).expect("remember");
    assert_eq!(one.known_hosts().expect("hosts"), hosts);
    assert_eq!(one.last_observation(&HostName::from("a")).expect("none"), None);
}

#[test]
fn what_was_posted_is_written_before_what_is_acknowledged() {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", None);
    let plan = plan(50);
    let (journal, _) = Journal::open(&dir, None).expect("opens");
    block_on(async {
        journal.begin(header(&plan, "a1"), &plan).await.expect("begins");
        journal.append("a1", 1, (0..50).map(|step| Record::Started { step }).collect()).await.expect("starts");
        for step in 0..50 {
            journal.post("a1", 2, done(step)).expect("ends");
        }
        journal.append("a1", 3, vec![Record::Draining]).await.expect("acknowledged");
    });
    let other = Journal::read(&dir.state()).expect("another process");
    let saved = other.load("a1").expect("reads").expect("is there");
    assert_eq!(saved.entries.len(), 101);
    assert_eq!(saved.entries.last(), Some(&Entry { at: 3, record: Record::Draining }));
}

#[test]
fn bookkeeping_of_many_steps_is_cheap() {
    let root = tempfile::tempdir().expect("dir");
    let dir = StateDir::new(root.path(), "acme", None);
    let begin = Instant::now();
    let saved = written(&dir, 1_000);
    assert_eq!(saved.entries.len(), 2_001);
    // The bench has the figure; this only catches what is out of all proportion (a commit a record, or quadratic work).
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    let bytes: usize = saved.entries.iter().map(|e| serde_json::to_vec(e).expect("json").len()).sum();
    assert!(bytes / 1_000 <= 1_024, "{} bytes a step", bytes / 1_000);
}
