//! mbox files as a source: a user's spool file, a folder of such files (UW IMAP, Dovecot's mbox), DMail's drop files.
//!
//! | what stands there | how it is read |
//! |---|---|
//! | a `Content-Length` that ends before a `From ` line or the end of the file | mboxcl2: nothing is quoted |
//! | otherwise | mboxrd: one `>` is taken off `>From `, `>>From `, .. Of mboxo, which quotes `From ` only, that is the same but for lines that were `>From ` already |
//! | `Status`, `X-Status`, `X-Keywords` | flags; taken out, with `X-UID`, `X-IMAP`, `X-IMAPbase`, `Content-Length`, as servers do that keep them there |
//! | a first message with `X-IMAP` and the subject `DON'T DELETE THIS MESSAGE` | left out: it is the server's own note |
//! | the `From ` line's time | INTERNALDATE, in UTC when it names no zone |
//!
//! `path` is a file (the inbox) or a directory: each file in it is a folder, `INBOX`, `inbox` and `mbox` are the inbox. A message is named by the digest of
//! its octets, because its place changes when others go. The file is locked for reading (fcntl and flock), a `.lock` beside it is waited for, and none is
//! made, because a source writes nothing: a file that changed while it was read is read again.
//!
//! DMail keeps in its drop file only what has not been burst into its own store, whose form is not published: stop DPOP and let DSMTP alone deliver, or read
//! the rest by POP3 or IMAP.

mod index;
mod lock;

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;

use self::index::{Entry, Index};
use super::config::End;
use super::mailbox::{
    Access, Changes, Class, Fault, Fetched, Folder, FolderPath, IN_MEMORY, Id, Mark, Message, Seen, Spool,
};
use super::source::Means;

/// One mailbox.
#[derive(Debug)]
pub struct Mbox {
    root: PathBuf,
    opened: Option<(PathBuf, Index)>,
}

fn blocking<R>(run: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}

fn local(path: &Path, e: &io::Error) -> Fault {
    let class = match e.kind() {
        io::ErrorKind::PermissionDenied => Class::Permission,
        io::ErrorKind::NotFound => Class::Vanished,
        _ => Class::Local,
    };
    Fault::new(class, format!("{}: {e}", path.display()))
}

impl Mbox {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        let root = end.path_of(&access.login).map_err(|e| Fault::new(Class::Login, e))?;
        match fs::metadata(&root) {
            Ok(_) => Ok(Self { root, opened: None }),
            Err(e) => Err(Fault::new(Class::Login, format!("{}: no mailbox is there: {e}", root.display()))),
        }
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        blocking(|| {
            let mut files = Vec::new();
            if self.root.is_dir() {
                collect(&self.root, Path::new(""), &mut files)?;
                files.sort();
            } else {
                files.push(PathBuf::new());
            }
            Ok(files.iter().filter_map(|file| folder(file)).collect())
        })
    }

    fn file(&self, folder: &Folder) -> PathBuf {
        match folder.raw.as_slice() {
            b"" => self.root.clone(),
            raw => self.root.join(std::ffi::OsStr::from_bytes(raw)),
        }
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        let path = self.file(folder);
        self.opened = None;
        let index = blocking(|| read_index(&path))?;
        let mark =
            Mark { validity: 1, next: None, modseq: index.stamp, count: index.entries.len() as u64, state: None };
        self.opened = Some((path, index));
        Ok(mark)
    }

    fn opened(&mut self) -> Result<&mut (PathBuf, Index), Fault> {
        self.opened.as_mut().ok_or_else(|| Fault::new(Class::Local, "no folder is open"))
    }

    pub async fn changes(&mut self, _since: Option<&Mark>) -> Result<Changes, Fault> {
        let (path, index) = self.opened()?;
        if !index.is_fresh(path) {
            *index = blocking(|| read_index(path))?;
        }
        let seen = |e: &Entry| Seen { id: e.id.clone(), flags: e.flags.clone(), size: Some(e.length), date: e.date };
        Ok(Changes::Whole(index.entries.iter().map(seen).collect()))
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        for id in ids {
            let fetched = match self.read(id, means).await {
                Ok(message) => Fetched::Message(Box::new(message)),
                Err(fault) => Fetched::Failed(id.clone(), fault),
            };
            to.send(fetched).await.map_err(|_| Fault::new(Class::Local, "nobody takes the messages"))?;
        }
        Ok(())
    }

    async fn read(&mut self, id: &Id, means: &Means) -> Result<Message, Fault> {
        let (path, index) = self.opened()?;
        // Whoever expunged something has moved all that stands behind it.
        if !index.is_fresh(path) {
            *index = blocking(|| read_index(path))?;
        }
        let gone = || Fault::new(Class::Vanished, format!("{id}: no longer in {}", path.display()));
        let entry = index.entries.iter().find(|e| e.id == *id).ok_or_else(gone)?.clone();
        if entry.length > means.largest {
            return Err(Fault::new(Class::TooLarge, format!("{} octets, {} is the most", entry.length, means.largest)));
        }
        let share = if entry.length > IN_MEMORY { None } else { Some(means.budget.wait(entry.length.max(1)).await?) };
        let mut spool = Spool::begin(entry.length, share, &means.spool)?;
        let path = path.clone();
        let done = blocking(|| {
            let file = fs::File::open(&path).map_err(|e| local(&path, &e))?;
            let _lock = lock::Shared::take(&file, &path)?;
            let mut reader = &file;
            reader.seek(io::SeekFrom::Start(entry.at)).map_err(|e| local(&path, &e))?;
            index::content(&mut reader.take(entry.octets), entry.quotes, |piece| spool.push(piece))
        });
        done?;
        let (content, digest) = spool.end();
        if content.length() != entry.length || !entry.is(&digest) {
            // It was written to between the look and the lock; the next pass reads it anew.
            return Err(Fault::new(Class::Busy, format!("{}: the file changed while it was read", path.display())));
        }
        Ok(Message { id: id.clone(), flags: entry.flags, date: entry.date, content, digest, uidl: None })
    }

    pub async fn close(self) {}
}

fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let at = root.join(below);
    for entry in fs::read_dir(&at).map_err(|e| local(&at, &e))? {
        let entry = entry.map_err(|e| local(&at, &e))?;
        let name = entry.file_name();
        // Indexes, locks and lists of servers: `.imap`, `.subscriptions`, `x.lock`.
        if name.as_bytes().starts_with(b".") || name.as_bytes().ends_with(b".lock") {
            continue;
        }
        let kind = entry.file_type().map_err(|e| local(&at, &e))?;
        if kind.is_dir() {
            collect(root, &below.join(&name), files)?;
        } else if kind.is_file() && is_mbox(&entry.path())? {
            files.push(below.join(&name));
        }
    }
    Ok(())
}

/// Empty, or beginning with `From `.
fn is_mbox(path: &Path) -> Result<bool, Fault> {
    let mut first = Vec::new();
    fs::File::open(path).and_then(|f| f.take(5).read_to_end(&mut first)).map_err(|e| local(path, &e))?;
    Ok(first.is_empty() || first == b"From ")
}

fn folder(file: &Path) -> Option<Folder> {
    let octets = file.as_os_str().as_bytes();
    let path = match octets {
        b"" | b"INBOX" | b"inbox" | b"mbox" => FolderPath::inbox(),
        _ => FolderPath::new(octets.split(|b| *b == b'/').map(crate::protocol::imap::name::shown))?,
    };
    Some(Folder::plain(path, octets.to_vec()))
}

fn read_index(path: &Path) -> Result<Index, Fault> {
    for _ in 0..5 {
        let file = fs::File::open(path).map_err(|e| local(path, &e))?;
        let index = {
            let _lock = lock::Shared::take(&file, path)?;
            Index::read(&file, path)?
        };
        if index.is_fresh(path) {
            return Ok(index);
        }
    }
    Err(Fault::new(Class::Busy, format!("{}: the file changes while it is read", path.display())))
}
