//! Writing: messages and their flags.
//!
//! A batch is stored whole or not at all, whenever it is killed: all files are written to `tmp` and synced; a journal `cutover-append-PID-N` names them; under
//! the list's lock they are renamed into `cur` and the list is replaced; the journal goes. Who opens the folder next finishes what a journal names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::{self, File, LETTERS, local};
use super::lock::{Lock, own, sync_directory, write_whole};
use super::uidlist::{Record, Uidlist, is_uidl};
use super::{Maildir, PIECE, blocking};
use crate::services::cms::config::Profile;
use crate::services::cms::mailbox::{Class, Content, Fault, Flags, Id, Message};
use crate::services::cms::target::Appended;

const JOURNAL: &str = "cutover-append";
const LIST: &str = "dovecot-uidlist";
/// Letters that a Maildir has for keywords.
const MOST_KEYWORDS: usize = 26;

/// Of names that are made in one second, and of journals.
static NAMED: AtomicU64 = AtomicU64::new(0);
/// Journals of sessions of this process that are at work.
static AT_WORK: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn at_work() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message on its way from `tmp` to `cur`.
struct Move {
    temporary: String,
    name: String,
    uidl: Option<String>,
}

impl Maildir {
    /// Finishes what somebody who was killed has begun.
    pub(super) fn mend(&mut self, directory: &Path) -> Result<(), Fault> {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix(JOURNAL) else {
                continue;
            };
            let pid: i32 = rest.split('-').nth(1).and_then(|pid| pid.parse().ok()).unwrap_or(0);
            let path = entry.path();
            if pid == std::process::id() as i32 {
                if at_work().contains(&path) {
                    continue;
                }
            } else if is_alive(pid) {
                return Err(Fault::new(Class::Busy, format!("{}: another process appends here", path.display())));
            }
            self.mend_by(directory, &path)?;
        }
        self.clear(directory)
    }

    fn mend_by(&mut self, directory: &Path, path: &Path) -> Result<(), Fault> {
        let text = fs::read_to_string(path).map_err(|e| local(path, &e))?;
        if text.ends_with("\nend\n") {
            let moves = text.lines().take_while(|l| *l != "end").filter_map(|line| {
                let mut words = line.split('\t').map(str::to_owned);
                Some(Move {
                    temporary: words.next()?,
                    name: words.next()?,
                    uidl: words.next().filter(|w| !w.is_empty()),
                })
            });
            self.arrive(directory, &moves.collect::<Vec<_>>(), true)?;
        }
        fs::remove_file(path).map_err(|e| local(path, &e))
    }

    /// Removes what a killed process of ours left in `tmp`.
    fn clear(&self, directory: &Path) -> Result<(), Fault> {
        for entry in fs::read_dir(directory.join("tmp")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let pid = name.strip_suffix(".cutover").and_then(|n| n.split_once('P')?.1.split_once('Q')?.0.parse().ok());
            if pid.is_some_and(|pid| !is_alive(pid)) {
                fs::remove_file(entry.path()).map_err(|e| local(&entry.path(), &e))?;
            }
        }
        Ok(())
    }

    /// Renames from `tmp` to `cur` and numbers, under the lock.
    fn arrive(&mut self, directory: &Path, moves: &[Move], left: bool) -> Result<Vec<Option<Id>>, Fault> {
        let lock = if self.numbers() { Some(Lock::take(directory.join(LIST), self.owner, left)?) } else { None };
        let mut list = lock.as_ref().map(|_| list_of(directory));
        let mut ids = Vec::with_capacity(moves.len());
        for one in moves {
            let from = directory.join("tmp").join(&one.temporary);
            match fs::rename(&from, directory.join("cur").join(&one.name)) {
                Ok(()) => {}
                // Before the kill it was renamed; who reads mail may have moved it on since.
                Err(e) if left && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(local(&from, &e)),
            }
            let base = super::uidlist::base(&one.name);
            ids.push(match &mut list {
                Some(list) => {
                    let uid = list
                        .number(base)
                        .unwrap_or_else(|| list.add(Record { words: Vec::new(), name: base.to_owned() }));
                    if let Some(uidl) = &one.uidl {
                        list.set_uidl(base, uidl);
                    }
                    Some(Id::uid(uid))
                }
                None => Some(Id(base.into())),
            });
        }
        sync_directory(&directory.join("cur"))?;
        if let (Some(lock), Some(list)) = (lock, &list) {
            lock.replace(&list.written())?;
        }
        if let Some(opened) = self.opened.as_mut().filter(|o| o.directory == directory) {
            opened.list = list.or(opened.list.take());
            for one in moves {
                let base = super::uidlist::base(&one.name).to_owned();
                opened.files.insert(base, File { is_new: false, name: one.name.clone().into() });
            }
        }
        Ok(ids)
    }

    /// Gives numbers to files that have none, as Dovecot does when it opens a folder.
    pub(super) fn number_all(&mut self) -> Result<(), Fault> {
        let owner = self.owner;
        let opened = self.opened()?;
        let directory = opened.directory.clone();
        let is_whole = |list: &Uidlist| opened.files.keys().all(|n| list.number(n).is_some());
        if opened.list.as_ref().is_some_and(is_whole) {
            return Ok(());
        }
        let lock = Lock::take(directory.join(LIST), owner, false)?;
        let mut list = list_of(&directory);
        let files = files::scan(&directory)?;
        list.keep(|name| files.contains_key(name));
        let mut names: Vec<&String> = files.keys().filter(|n| list.number(n).is_none()).collect();
        names.sort_by_key(|n| files::order(n));
        names.into_iter().for_each(|name| {
            list.add(Record { words: Vec::new(), name: name.clone() });
        });
        lock.replace(&list.written())?;
        opened.files = files;
        opened.list = Some(list);
        Ok(())
    }

    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        blocking(|| self.store(messages))
    }

    fn store(&mut self, messages: &[Message]) -> Appended {
        let none = |culprit, fault| Appended::Refused { stored: Vec::new(), culprit, fault };
        let directory = match self.opened() {
            Ok(opened) => opened.directory.clone(),
            Err(fault) => return none(None, fault),
        };
        let mut moves: Vec<Move> = Vec::with_capacity(messages.len());
        for (n, message) in messages.iter().enumerate() {
            match self.prepare(&directory, message) {
                Ok(one) => moves.push(one),
                Err(fault) => {
                    undo(&directory, &moves);
                    return none(Some(n), fault);
                }
            }
        }
        let mut journal = String::new();
        for one in &moves {
            journal.push_str(&format!("{}\t{}\t{}\n", one.temporary, one.name, one.uidl.as_deref().unwrap_or("")));
        }
        journal.push_str("end\n");
        let n = NAMED.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{JOURNAL}-{}-{n}", std::process::id()));
        at_work().insert(path.clone());
        let done = self.carry_out(&directory, &path, &journal, &moves);
        at_work().remove(&path);
        done
    }

    fn carry_out(&mut self, directory: &Path, path: &Path, journal: &str, moves: &[Move]) -> Appended {
        let begun =
            sync_directory(&directory.join("tmp")).and_then(|()| write_whole(path, journal.as_bytes(), self.owner));
        if let Err(fault) = begun {
            let _ = fs::remove_file(path);
            undo(directory, moves);
            return Appended::Refused { stored: Vec::new(), culprit: None, fault };
        }
        match self.arrive(directory, moves, false) {
            // That it was done stands in the list; a journal that a crash brings back is done once more, to no effect.
            Ok(ids) => match fs::remove_file(path) {
                Ok(()) => Appended::Stored(ids),
                Err(e) => Appended::Unknown(local(path, &e)),
            },
            Err(fault) => Appended::Unknown(fault),
        }
    }

    /// Writes a message to `tmp`, synced.
    fn prepare(&mut self, directory: &Path, message: &Message) -> Result<Move, Fault> {
        let keeps_cr = keeps_cr(&message.content)?;
        let letters = self.letters(directory, &message.flags)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // One number a process, in front the second: names sort as they were made, which is what a server goes by that has no list.
        let n = NAMED.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{}.M{}P{}Q{n:09}.cutover", now.as_secs(), now.subsec_micros(), std::process::id());
        let path = directory.join("tmp").join(&temporary);
        let written = write(&path, message, keeps_cr).and_then(|size| own(&path, self.owner).map(|()| size));
        let size = written.inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        let base = format!("{temporary},S={size},W={}", message.content.length());
        if self.profile == Profile::Courier {
            self.write_keywords(directory, &base, &message.flags)?;
        }
        let uidl = message.uidl.clone().filter(|u| is_uidl(u) && self.numbers());
        Ok(Move { temporary, name: format!("{base}:2,{letters}"), uidl })
    }

    /// Letters of flags, new keywords numbered where there is room.
    fn letters(&mut self, directory: &Path, flags: &Flags) -> Result<String, Fault> {
        let mut letters: Vec<char> = LETTERS.iter().filter(|(_, word)| flags.has(word)).map(|(l, _)| *l).collect();
        if self.profile != Profile::Courier && flags.keywords().next().is_some() {
            let words = self.words(directory, flags)?;
            let number = |k: &str| words.iter().find(|(_, w)| w.eq_ignore_ascii_case(k)).map(|(n, _)| *n);
            letters.extend(flags.keywords().filter_map(number).filter_map(|n| char::from_u32('a' as u32 + n as u32)));
        }
        letters.sort_unstable();
        Ok(letters.into_iter().collect())
    }

    fn words(&mut self, directory: &Path, flags: &Flags) -> Result<BTreeMap<usize, String>, Fault> {
        let misses = |words: &BTreeMap<usize, String>| {
            words.len() < MOST_KEYWORDS && flags.keywords().any(|k| !words.values().any(|w| w.eq_ignore_ascii_case(k)))
        };
        let owner = self.owner;
        if let Some(opened) = self.opened.as_ref().filter(|o| o.directory == directory && !misses(&o.words)) {
            return Ok(opened.words.clone());
        }
        let lock = Lock::take(directory.join("dovecot-keywords"), owner, false)?;
        let mut words = files::dovecot_keywords(directory);
        for keyword in flags.keywords() {
            let free = (0..MOST_KEYWORDS).find(|n| !words.contains_key(n));
            if let Some(n) = free.filter(|_| !words.values().any(|w| w.eq_ignore_ascii_case(keyword))) {
                words.insert(n, keyword.to_owned());
            }
        }
        let text: String = words.iter().map(|(n, w)| format!("{n} {w}\n")).collect();
        lock.replace(text.as_bytes())?;
        if let Some(opened) = self.opened.as_mut().filter(|o| o.directory == directory) {
            opened.words = words.clone();
        }
        Ok(words)
    }

    fn write_keywords(&mut self, directory: &Path, base: &str, flags: &Flags) -> Result<(), Fault> {
        let at = directory.join("courierimapkeywords");
        let words: String = flags.keywords().map(|k| format!("{k}\n")).collect();
        if !words.is_empty() || at.join(base).exists() {
            self.make_directory(&at)?;
            write_whole(&at.join(base), words.as_bytes(), self.owner)?;
        }
        Ok(())
    }

    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        blocking(|| {
            let directory = self.opened()?.directory.clone();
            for (id, flags) in flags {
                let letters = self.letters(&directory, flags)?;
                for again in [false, true] {
                    if again {
                        self.again()?;
                    }
                    if self.rename_to(id, &letters, flags)? {
                        break;
                    }
                }
            }
            sync_directory(&directory.join("cur"))
        })
    }

    /// `false` when the file is not where it was.
    fn rename_to(&mut self, id: &Id, letters: &str, flags: &Flags) -> Result<bool, Fault> {
        let Some((name, _)) = self.find(id)? else {
            return Ok(false);
        };
        if self.profile == Profile::Courier {
            let directory = self.opened()?.directory.clone();
            self.write_keywords(&directory, &name, flags)?;
        }
        let opened = self.opened()?;
        let Some(file) = opened.files.get_mut(&name) else {
            return Ok(false);
        };
        // Letters that are no flags of IMAP stay.
        let known = |c: &char| c.is_ascii_lowercase() || LETTERS.iter().any(|(l, _)| l == c);
        let mut all: Vec<char> = file.letters().chars().filter(|c| !known(c)).chain(letters.chars()).collect();
        all.sort_unstable();
        let wanted = format!("{name}:2,{}", all.into_iter().collect::<String>());
        let (from, to) = (file.path(&opened.directory), opened.directory.join("cur").join(&wanted));
        match fs::rename(&from, &to) {
            Ok(()) => {
                *file = File { is_new: false, name: wanted.into() };
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(local(&from, &e)),
        }
    }

    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        blocking(|| {
            self.again()?;
            let directory = self.opened()?.directory.clone();
            for id in ids {
                let Some((name, _)) = self.find(id)? else {
                    continue;
                };
                if let Some(file) = self.opened()?.files.remove(&name) {
                    let path = file.path(&directory);
                    match fs::remove_file(&path) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(local(&path, &e)),
                        _ => {}
                    }
                }
            }
            sync_directory(&directory.join("cur"))
        })
    }
}

fn list_of(directory: &Path) -> Uidlist {
    let found = fs::read(directory.join(LIST)).ok().and_then(|octets| Uidlist::parse(&octets));
    found.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Uidlist::new(u32::try_from(now.as_secs()).unwrap_or(u32::MAX))
    })
}

fn undo(directory: &Path, moves: &[Move]) {
    for one in moves {
        let _ = fs::remove_file(directory.join("tmp").join(&one.temporary));
    }
}

fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whether a message holds CR CR LF, which would come back as CR LF if files held LF only: it is then written as it is. LF alone cannot be held.
fn keeps_cr(content: &Content) -> Result<bool, Fault> {
    let mut reader =
        content.reader().map_err(|e| Fault::new(Class::Local, format!("the spool cannot be read: {e}")))?;
    let (mut held, mut last, mut keeps) = (vec![0; PIECE], [0u8; 2], false);
    loop {
        let n =
            reader.read(&mut held).map_err(|e| Fault::new(Class::Local, format!("the spool cannot be read: {e}")))?;
        if n == 0 {
            return Ok(keeps);
        }
        for octet in &held[..n] {
            if *octet == b'\n' {
                if last[1] != b'\r' {
                    return Err(Fault::new(Class::Malformed, "a line ends in LF alone, which a Maildir cannot hold"));
                }
                keeps |= last[0] == b'\r';
            }
            last = [last[1], *octet];
        }
    }
}

/// Gives the size of the file.
fn write(path: &Path, message: &Message, keeps_cr: bool) -> Result<u64, Fault> {
    let failed = |e: io::Error| local(path, &e);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut reader = message.content.reader().map_err(failed)?;
    let (mut held, mut out, mut has_cr, mut size) = (vec![0; PIECE], Vec::with_capacity(PIECE + 1), false, 0);
    loop {
        let n = reader.read(&mut held).map_err(failed)?;
        out.clear();
        if keeps_cr {
            out.extend_from_slice(&held[..n]);
        } else {
            // A CR is held back until it is known what follows.
            for octet in &held[..n] {
                if has_cr && *octet != b'\n' {
                    out.push(b'\r');
                }
                has_cr = *octet == b'\r';
                if !has_cr {
                    out.push(*octet);
                }
            }
            if n == 0 && has_cr {
                out.push(b'\r');
            }
        }
        file.write_all(&out).map_err(failed)?;
        size += out.len() as u64;
        if n == 0 {
            break;
        }
    }
    if let Some(date) = message.date {
        let at = date.at.as_second();
        let seconds = Duration::from_secs(at.unsigned_abs());
        let at = if at < 0 { SystemTime::UNIX_EPOCH - seconds } else { SystemTime::UNIX_EPOCH + seconds };
        file.set_times(fs::FileTimes::new().set_modified(at).set_accessed(at)).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::cms::mailbox::{Budget, Spool};

    fn message(octets: &[u8]) -> Message {
        let mut spool = Spool::begin(octets.len() as u64, Budget::new(1 << 20).now(1), Path::new("/")).expect("spool");
        spool.push(octets).expect("push");
        let (content, digest) = spool.end();
        Message { id: Id::uid(1), flags: Flags::default(), date: None, content, digest, uidl: None }
    }

    #[test]
    fn ends_of_lines_come_back_as_they_were() {
        let folder = tempfile::tempdir().expect("folder");
        for (n, octets) in [&b"a\r\nb\r\n"[..], b"a\rb\r\n\r", b"a\r\r\nb\r\n", b"", b"\r", b"\r\n", b"x\0y\r\n"]
            .into_iter()
            .enumerate()
        {
            let path = folder.path().join(n.to_string());
            let message = message(octets);
            let keeps = keeps_cr(&message.content).expect("holds");
            write(&path, &message, keeps).expect("written");
            let mut back = Vec::new();
            let mut file = fs::File::open(&path).expect("file");
            super::super::pieces(&mut file, |piece| {
                back.extend_from_slice(piece);
                Ok(())
            })
            .expect("read");
            assert_eq!(back, octets, "{n}");
        }
        assert_eq!(keeps_cr(&message(b"a\nb\r\n").content).map_err(|f| f.class), Err(Class::Malformed));
    }
}
