//! The access log and the audit log: one JSON object a line. Never a password; and since JSON escapes control characters, what a
//! client sends cannot begin a line of its own.
//!
//! Lines are gathered and written by one thread, a few times a second, so that no login waits for a disk. Whoever acknowledges
//! something that the audit log must hold calls [`Records::sync`] before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;

use super::config;
use super::meter::Meter;
use super::route::Route;
use super::session::Protocol;

/// Octets that wait for the disk; lines beyond are lost, and counted.
const HELD: usize = 4 << 20;

/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// A session that ended, also one without a login.
#[derive(Debug, Clone, Serialize)]
pub struct Ended<'a> {
    pub session: u64,
    pub protocol: Protocol,
    pub client: SocketAddr,
    pub local: SocketAddr,
    /// The name that the routes know.
    pub user: Option<&'a str>,
    pub side: Option<Route>,
    pub backend: Option<SocketAddr>,
    /// The client's side was encrypted.
    pub tls: bool,
    pub seconds: f64,
    /// Octets behind the login, from the client and to it.
    pub up: u64,
    pub down: u64,
    pub why: &'a str,
}

/// What the audit log tells.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    Login {
        session: u64,
        protocol: Protocol,
        client: SocketAddr,
        user: &'a str,
        side: Route,
        backend: SocketAddr,
    },
    /// A login that came to nothing; `typed` is what the client called itself.
    Refused {
        session: u64,
        protocol: Protocol,
        client: SocketAddr,
        typed: &'a str,
        user: Option<&'a str>,
        side: Option<Route>,
        refusal: &'a str,
        why: &'a str,
    },
    /// Routes changed: by whom, how many users, the first of them.
    Routes {
        by: &'a str,
        epoch: u64,
        users: usize,
        to: &'a BTreeMap<String, Option<Route>>,
        closed: usize,
    },
    /// A command over the control socket.
    Command {
        /// User id of the process that asked.
        uid: Option<u32>,
        command: &'a str,
        done: bool,
        text: &'a str,
    },
    /// Something that whoever runs the proxy has to know of.
    Fault {
        part: &'a str,
        text: &'a str,
    },
}

#[derive(Clone, Copy)]
enum Which {
    Access,
    Audit,
}

#[derive(Default)]
struct Waiting {
    access: Vec<u8>,
    audit: Vec<u8>,
    /// How often lines were handed to the disk.
    written: u64,
    writing: bool,
    reopen: bool,
    sync: bool,
    over: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    done: Condvar,
    meter: Arc<Meter>,
}

pub struct Records {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Records {
    /// Opens the logs. The error says which cannot be written.
    pub fn begin(config: &config::Log, meter: Arc<Meter>) -> Result<Arc<Self>, String> {
        let mut access = Sink::open(config.access.clone())?;
        let mut audit = Sink::open(config.audit.clone())?;
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new(), done: Condvar::new(), meter });
        let theirs = shared.clone();
        let thread =
            std::thread::Builder::new().name("records".into()).spawn(move || theirs.run(&mut access, &mut audit));
        let thread = thread.map_err(|e| format!("no thread for the logs: {e}"))?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    pub fn access(&self, ended: &Ended<'_>) {
        self.line(Which::Access, ended);
    }

    pub fn audit(&self, event: &Event<'_>) {
        self.line(Which::Audit, event);
    }

    /// Opens the files anew, by their names: after `logrotate` has moved them away.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.wake.notify_one();
    }

    /// Waits until what was said so far is written. Blocks.
    pub fn sync(&self) {
        let mut waiting = self.shared.lock();
        let target = waiting.written + 1 + u64::from(waiting.writing);
        waiting.sync = true;
        self.shared.wake.notify_one();
        while waiting.written < target && !waiting.over {
            waiting = self.shared.done.wait(waiting).unwrap_or_else(|e| e.into_inner());
        }
    }

    fn line(&self, which: Which, what: &impl Serialize) {
        #[derive(Serialize)]
        struct Line<'a, T> {
            at: String,
            #[serde(flatten)]
            what: &'a T,
        }
        let at = format!("{:.3}", jiff::Timestamp::now());
        // Nothing in it can fail to be JSON.
        let Ok(line) = serde_json::to_string(&Line { at, what }) else { return };
        let mut line = escaped(line).into_bytes();
        line.push(b'\n');
        let mut waiting = self.shared.lock();
        let idle = waiting.access.is_empty() && waiting.audit.is_empty();
        let lines = match which {
            Which::Access => &mut waiting.access,
            Which::Audit => &mut waiting.audit,
        };
        if lines.len() + line.len() > HELD {
            self.shared.meter.lines_lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.extend_from_slice(&line);
        if idle {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn run(&self, access: &mut Sink, audit: &mut Sink) {
        let mut waiting = self.lock();
        loop {
            while waiting.access.is_empty() && waiting.audit.is_empty() && !waiting.asked() {
                waiting = self.wake.wait(waiting).unwrap_or_else(|e| e.into_inner());
            }
            if !waiting.asked() {
                let gathered = self.wake.wait_timeout_while(waiting, GATHER, |w| !w.asked());
                waiting = gathered.unwrap_or_else(|e| e.into_inner()).0;
            }
            let lines = (std::mem::take(&mut waiting.access), std::mem::take(&mut waiting.audit));
            let (reopen, over) = (std::mem::take(&mut waiting.reopen), waiting.over);
            (waiting.sync, waiting.writing) = (false, true);
            drop(waiting);
            // Under their old name what was said before the rotation.
            let lost = access.write(&lines.0) + audit.write(&lines.1);
            if lost > 0 {
                self.meter.lines_lost.fetch_add(lost, Ordering::Relaxed);
            }
            if reopen {
                access.reopen();
                audit.reopen();
            }
            waiting = self.lock();
            waiting.writing = false;
            waiting.written += 1;
            self.done.notify_all();
            if over && waiting.access.is_empty() && waiting.audit.is_empty() {
                return;
            }
        }
    }
}

impl Waiting {
    fn asked(&self) -> bool {
        self.reopen || self.sync || self.over
    }
}

/// JSON escapes what stands below the blank; a terminal and a reader of lines stumble over these too.
fn escaped(line: String) -> String {
    let odd = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
    if line.is_ascii() && !line.contains('\u{7f}') || !line.contains(odd) {
        return line;
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match odd(c) {
            true => out += &format!("\\u{:04x}", u32::from(c)),
            false => out.push(c),
        }
    }
    out
}

/// A file, or standard output.
struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Sink {
    fn open(path: Option<PathBuf>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self { path: None, file: None }) };
        let file = open(&path).map_err(|e| format!("log: {} cannot be written: {e}", path.display()))?;
        Ok(Self { path: Some(path), file: Some(file) })
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.file = Some(file),
            Err(e) => tracing::error!("log: {} cannot be opened anew, the former file goes on: {e}", path.display()),
        }
    }

    /// How many lines were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(lines),
            None => {
                let mut out = std::io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush())
            }
        };
        match written {
            Ok(()) => 0,
            Err(e) => {
                tracing::error!("log: lines are lost: {e}");
                lines.iter().filter(|b| **b == b'\n').count() as u64
            }
        }
    }
}

fn open(path: &PathBuf) -> std::io::Result<File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(folder: &std::path::Path) -> Arc<Records> {
        let config = config::Log { access: Some(folder.join("access.log")), audit: Some(folder.join("audit.log")) };
        Records::begin(&config, Arc::default()).unwrap()
    }

    fn refused<'a>(typed: &'a str) -> Event<'a> {
        Event::Refused {
            session: 7,
            protocol: Protocol::Pop3,
            client: ([192, 0, 2, 1], 4711).into(),
            typed,
            user: None,
            side: None,
            refusal: "wrong",
            why: "no such user",
        }
    }

    #[test]
    fn no_character_begins_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let records = begin(folder.path());
        let names: Vec<String> =
            (0..0x300).chain(0x2020..0x2030).filter_map(char::from_u32).map(|c| format!("a{c}b")).collect();
        names.iter().for_each(|name| records.audit(&refused(name)));
        records.sync();
        let text = std::fs::read_to_string(folder.path().join("audit.log")).unwrap();
        assert_eq!(text.lines().count(), names.len());
        for (line, name) in text.split('\n').zip(&names) {
            assert!(!line.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')), "{line:?}");
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["typed"], name.as_str());
            assert_eq!(value["event"], "refused");
        }
    }

    #[test]
    fn files_are_opened_anew_and_no_line_is_lost_between() {
        let folder = tempfile::tempdir().unwrap();
        let records = begin(folder.path());
        let (log, moved) = (folder.path().join("audit.log"), folder.path().join("audit.1"));
        records.audit(&refused("first"));
        records.sync();
        std::fs::rename(&log, &moved).unwrap();
        records.reopen();
        records.sync();
        records.audit(&refused("second"));
        drop(records);
        let read = |p| std::fs::read_to_string(p).unwrap();
        assert!(read(&moved).contains("first") && read(&log).contains("second"));
        assert!(!read(&moved).contains("second") && !read(&log).contains("first"));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_said() {
        let config = config::Log { access: Some("/nonexistent/a.log".into()), audit: None };
        let Err(error) = Records::begin(&config, Arc::default()) else { panic!("it opens") };
        assert!(error.contains("/nonexistent/a.log"), "{error}");
    }
}
