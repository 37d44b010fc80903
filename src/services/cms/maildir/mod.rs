//! Maildirs on this machine, read and written: Dovecot's and Courier's, Maildir++ and `fs` layout.
//!
//! | | Dovecot | Courier |
//! |---|---|---|
//! | order and numbers | `dovecot-uidlist` (version 3) | `courierimapuiddb` |
//! | keywords | `dovecot-keywords`, letters a to z in names | `courierimapkeywords/` |
//! | POP3 UIDLs | `P` in `dovecot-uidlist`, else `%08Xu%08Xv` (whose digits are small) | `courierpop3dsizelist` |
//! | subscriptions | `subscriptions` | `courierimapsubscribed` |
//!
//! Files hold LF at the ends of lines; both servers give CR LF, and so does this. INTERNALDATE is a file's mtime. As a target it numbers messages
//! itself, in Dovecot's list and under Dovecot's lock, so that UIDLs and order stay; a Courier numbers them when it next looks, by their names, which
//! keeps the order but not UIDLs.
//!
//! What a Maildir cannot hold: the 27th keyword of a folder (it is left out, which a verification of flags shows), a line that ends in LF alone, a date's zone,
//! special use (it is the server's configuration). Keywords that Dovecot holds beyond 26 are in its index alone and not seen here: read such by IMAP.
//! As it reads files under their owners' control as another user, it follows no symbolic link to a message or a folder.

mod append;
mod courier;
mod files;
mod folders;
mod layout;
mod lock;
mod subscriptions;
mod uidlist;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;

use self::files::{Files, local};
use self::layout::{Layout, of_raw};
use self::uidlist::Uidlist;
use super::config::{End, Profile};
use super::mailbox::{Access, Changes, Class, Fault, Fetched, Folder, FolderPath, Id, Mark, Message, Seen, Spool};
use super::source::Means;
use super::target::Abilities;

const PIECE: usize = 64 << 10;

/// One mailbox.
#[derive(Debug)]
pub struct Maildir {
    root: PathBuf,
    layout: Layout,
    profile: Profile,
    /// A target; its messages are named by their numbers in Dovecot's list, those of a source by their files.
    writes: bool,
    owner: (u32, u32),
    opened: Option<Opened>,
    abilities: Abilities,
}

#[derive(Debug)]
struct Opened {
    directory: PathBuf,
    is_inbox: bool,
    files: Files,
    /// Of the source's server, or ours of a target.
    list: Option<Uidlist>,
    words: BTreeMap<usize, String>,
    /// Keywords of files, where the dialect keeps them apart from names.
    apart: BTreeMap<String, Vec<String>>,
    uidls: BTreeMap<String, String>,
}

/// Runs what blocks without holding up the others.
fn blocking<R>(run: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}

impl Maildir {
    /// Opens the mailbox for reading.
    pub async fn source(end: &End, access: &Access) -> Result<Self, Fault> {
        let maildir = Self::at(end, access, false)?;
        if !maildir.root.join("cur").is_dir() {
            return Err(Fault::new(Class::Login, format!("{}: no Maildir is there", maildir.root.display())));
        }
        Ok(maildir)
    }

    /// Opens the mailbox for writing; makes it where it is not there yet, owned like the directory above.
    pub async fn target(end: &End, access: &Access) -> Result<Self, Fault> {
        let mut maildir = Self::at(end, access, true)?;
        blocking(|| maildir.make_root())?;
        Ok(maildir)
    }

    fn at(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let path = end.path_of(&access.login).map_err(|e| Fault::new(Class::Login, e))?;
        let (root, shape, escapes) = layout::split_words(path);
        let courier = end.profile == Profile::Courier;
        let layout = Layout::found(&root, shape, escapes, courier);
        let owner = fs::metadata(&root).map(|m| (m.uid(), m.gid())).unwrap_or_default();
        let abilities = Abilities {
            batch: 200,
            batch_octets: 16 << 20,
            whole_batches: true,
            uidl: !courier,
            ..Abilities::default()
        };
        Ok(Self { root, layout, profile: end.profile, writes, owner, opened: None, abilities })
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Whether messages are named by numbers of Dovecot's list.
    fn numbers(&self) -> bool {
        self.writes && self.profile != Profile::Courier
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        blocking(|| {
            let subscribed = subscriptions::read(&self.root, &self.layout)?;
            let mut folders = Vec::new();
            for directory in self.layout.directories(&self.root)? {
                let Some(path) = self.layout.path_of(&directory) else {
                    continue;
                };
                folders.push(Folder {
                    subscribed: subscribed.contains(&path),
                    path,
                    raw: directory.as_os_str().as_bytes().to_vec(),
                    special: None,
                    selectable: true,
                    foreign: false,
                    identity: None,
                    mark: None,
                });
            }
            Ok(folders)
        })
    }

    fn folder(&self, path: FolderPath, directory: &Path) -> Result<Folder, Fault> {
        let subscribed = subscriptions::read(&self.root, &self.layout)?.contains(&path);
        let raw = directory.as_os_str().as_bytes().to_vec();
        Ok(Folder {
            path,
            raw,
            special: None,
            subscribed,
            selectable: true,
            foreign: false,
            identity: None,
            mark: None,
        })
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        blocking(|| {
            let directory = self.directory(folder)?;
            self.opened = None;
            if self.numbers() {
                self.mend(&directory)?;
            }
            let opened = self.look(directory, folder.path.is_inbox())?;
            self.opened = Some(opened);
            self.mark()
        })
    }

    /// The directory of a folder. A link is refused: it may lead anywhere, and who reads here may be root.
    fn directory(&self, folder: &Folder) -> Result<PathBuf, Fault> {
        let mut directory = self.root.clone();
        for part in of_raw(&folder.raw).components() {
            let std::path::Component::Normal(name) = part else {
                return Err(Fault::new(Class::Local, format!("{}: no folder's directory", folder.path)));
            };
            directory.push(name);
            match fs::symlink_metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let what =
                        format!("{} is a symbolic link or a file; replace it by the directory", directory.display());
                    return Err(Fault::new(Class::Permission, what));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(Fault::new(Class::Vanished, format!("{}: the folder is gone", directory.display())));
                }
                Err(e) => return Err(local(&directory, &e)),
            }
        }
        Ok(directory)
    }

    fn look(&self, directory: PathBuf, is_inbox: bool) -> Result<Opened, Fault> {
        let files = files::scan(&directory)?;
        let read = |name: &str| fs::read(directory.join(name)).ok();
        let dovecot = || read("dovecot-uidlist").and_then(|octets| Uidlist::parse(&octets));
        let courier = || read("courierimapuiddb").and_then(|octets| Uidlist::parse(&octets));
        let list = match self.profile {
            Profile::Courier => courier().or_else(|| courier::numbers(&directory)),
            Profile::Dovecot => dovecot(),
            _ if self.writes => dovecot(),
            _ => dovecot().or_else(courier).or_else(|| courier::numbers(&directory)),
        };
        let words = files::dovecot_keywords(&directory);
        let apart =
            if self.profile == Profile::Dovecot { BTreeMap::new() } else { files::courier_keywords(&directory) };
        let uidls = if self.writes || !is_inbox { BTreeMap::new() } else { courier::uidls(&directory) };
        Ok(Opened { directory, is_inbox, files, list, words, apart, uidls })
    }

    fn opened(&mut self) -> Result<&mut Opened, Fault> {
        self.opened.as_mut().ok_or_else(|| Fault::new(Class::Local, "no folder is open"))
    }

    fn mark(&mut self) -> Result<Mark, Fault> {
        let numbers = self.numbers();
        let opened = self.opened()?;
        let list = opened.list.as_ref().filter(|_| numbers);
        Ok(Mark {
            // Names of files mean the same for ever.
            validity: list.map_or(1, |l| u64::from(l.validity)),
            next: list.map(|l| u64::from(l.next)),
            modseq: files::settled_stamp(&opened.directory),
            count: opened.files.len() as u64,
            state: None,
        })
    }

    /// Looks again: nothing else says what came meanwhile.
    fn again(&mut self) -> Result<(), Fault> {
        let opened = self.opened()?;
        let (directory, is_inbox) = (opened.directory.clone(), opened.is_inbox);
        self.opened = Some(self.look(directory, is_inbox)?);
        if self.numbers() {
            self.number_all()?;
        }
        Ok(())
    }

    pub async fn changes(&mut self, _since: Option<&Mark>) -> Result<Changes, Fault> {
        blocking(|| {
            self.again()?;
            self.seen(0)
        })
    }

    pub async fn arrived(&mut self, from: Option<u64>) -> Result<Changes, Fault> {
        blocking(|| {
            self.again()?;
            self.seen(from.unwrap_or(0))
        })
    }

    /// In the order of the server's list, what it does not have yet behind it.
    fn seen(&mut self, from: u64) -> Result<Changes, Fault> {
        let numbers = self.numbers();
        let opened = self.opened()?;
        let number = |name: &str| opened.list.as_ref().and_then(|l| l.number(name));
        let mut names: Vec<&String> = opened.files.keys().collect();
        names.sort_by_cached_key(|n| {
            let (at, fraction, name) = files::order(n);
            (number(n).unwrap_or(u32::MAX), at, fraction, name.to_owned())
        });
        let mut seen = Vec::with_capacity(names.len());
        for name in names {
            let id = match (numbers, number(name)) {
                (true, Some(uid)) if u64::from(uid) >= from => Id::uid(uid),
                (true, _) => continue,
                (false, _) => Id(name.as_str().into()),
            };
            let file = &opened.files[name];
            let Ok(found) = fs::symlink_metadata(file.path(&opened.directory)) else {
                continue;
            };
            let size = file.size('W').or_else(|| {
                let record = opened.list.as_ref()?.record_of(name)?;
                record.word('W')?.parse().ok()
            });
            seen.push(Seen {
                id,
                flags: opened.flags(name),
                size: size.or(Some(found.len())),
                date: files::date(&found),
            });
        }
        Ok(Changes::Whole(seen))
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        for id in ids {
            let fetched = match self.read(id, means).await {
                Ok(message) => Fetched::Message(Box::new(message)),
                Err(fault) => Fetched::Failed(id.clone(), fault),
            };
            if to.send(fetched).await.is_err() {
                return Err(Fault::new(Class::Local, "nobody takes the messages"));
            }
        }
        Ok(())
    }

    pub async fn close(self) {}

    async fn read(&mut self, id: &Id, means: &Means) -> Result<Message, Fault> {
        let (name, mut file) = match blocking(|| self.find(id))? {
            Some(found) => found,
            None => {
                // Its flags may have changed, and with them its name.
                blocking(|| self.again())?;
                let gone = || Fault::new(Class::Vanished, format!("{id}: the file is gone"));
                blocking(|| self.find(id))?.ok_or_else(gone)?
            }
        };
        let opened = self.opened()?;
        let held = file.metadata().map_err(|e| local(&opened.directory, &e))?;
        let told =
            opened.files.get(&name).and_then(|f| f.size('W')).filter(|w| (held.len()..=held.len() * 2).contains(w));
        let failed = |e: io::Error| Fault::new(Class::Local, format!("{name}: {e}"));
        let length = match told {
            Some(length) => length,
            None => blocking(|| length(&mut file)).map_err(failed)?,
        };
        if length > means.largest {
            return Err(Fault::new(Class::TooLarge, format!("{length} octets, {} is the most", means.largest)));
        }
        let share = if length > super::mailbox::IN_MEMORY { None } else { Some(means.budget.wait(length).await?) };
        let mut spool = Spool::begin(length, share, &means.spool)?;
        blocking(|| pieces(&mut file, |piece| spool.push(piece)))?;
        let (content, digest) = spool.end();
        let opened = self.opened()?;
        let flags = opened.flags(&name);
        Ok(Message { id: id.clone(), flags, date: files::date(&held), content, digest, uidl: opened.uidl(&name) })
    }

    fn find(&mut self, id: &Id) -> Result<Option<(String, fs::File)>, Fault> {
        let numbers = self.numbers();
        let opened = self.opened()?;
        let name = match &opened.list {
            Some(list) if numbers => match id.number().and_then(|uid| list.record(uid)) {
                Some(record) => record.name.clone(),
                None => return Ok(None),
            },
            _ => id.0.to_string(),
        };
        let Some(file) = opened.files.get(&name) else {
            return Ok(None);
        };
        let path = file.path(&opened.directory);
        match fs::OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(&path) {
            Ok(file) => Ok(Some((name, file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(local(&path, &e)),
        }
    }
}

impl Opened {
    fn flags(&self, name: &str) -> super::mailbox::Flags {
        let mut flags = self.files.get(name).map(|f| f.flags(&self.words)).unwrap_or_default();
        self.apart.get(name).into_iter().flatten().for_each(|word| flags.add(word));
        flags
    }

    /// What a POP3 client was told. Dovecot's own form is assumed where nothing else is written down: `%08Xu%08Xv`.
    fn uidl(&self, name: &str) -> Option<String> {
        if let Some(uidl) = self.uidls.get(name) {
            return Some(uidl.clone());
        }
        let list = self.list.as_ref().filter(|_| self.is_inbox && self.directory.join("dovecot-uidlist").exists())?;
        let uid = list.number(name)?;
        let written = list.record(uid)?.word('P').map(str::to_owned);
        Some(written.unwrap_or_else(|| format!("{uid:08x}{:08x}", list.validity)))
    }
}

/// Octets with CR LF at the ends of lines.
fn length(file: &mut fs::File) -> io::Result<u64> {
    let mut length = 0;
    let counted = pieces(file, |piece| {
        length += piece.len() as u64;
        Ok(())
    });
    counted.map_err(|e| io::Error::other(e.what))?;
    io::Seek::rewind(file)?;
    Ok(length)
}

/// Hands on a file's octets piece by piece, with a CR before each LF that has none.
fn pieces(file: &mut fs::File, mut take: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut held = vec![0; PIECE];
    let mut out = Vec::with_capacity(PIECE * 2);
    let mut after_cr = false;
    loop {
        let n = file.read(&mut held).map_err(|e| Fault::new(Class::Local, format!("a message cannot be read: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        out.clear();
        for line in held[..n].split_inclusive(|b| *b == b'\n') {
            match line.split_last() {
                Some((b'\n', text)) => {
                    out.extend_from_slice(text);
                    let has = text.last().map_or(after_cr, |b| *b == b'\r');
                    out.extend_from_slice(if has { b"\n" } else { b"\r\n" });
                }
                _ => out.extend_from_slice(line),
            }
            after_cr = line.last() == Some(&b'\r');
        }
        take(&out)?;
    }
}
