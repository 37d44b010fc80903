//! Ends that are written: importers. One value is one session.

use tokio::sync::mpsc;

use super::config::{End, Kind};
use super::custom::Custom;
use super::ews::Ews;
use super::imap::Session;
use super::jmap::Jmap;
use super::lmtp::Lmtp;
use super::mailbox::{
    Access, Changes, Class, Fault, Fetched, Flags, Folder, FolderPath, Id, Mark, Message, Space, SpecialUse,
};
use super::maildir::Maildir;
use super::source::Means;

/// One session of one mailbox.
#[derive(Debug)]
pub enum Target {
    Imap(Box<Session>),
    Maildir(Box<Maildir>),
    Lmtp(Box<Lmtp>),
    Custom(Box<Custom>),
    Jmap(Box<Jmap>),
    Ews(Box<Ews>),
}

/// What an append came to.
#[derive(Debug)]
pub enum Appended {
    /// All are stored. One entry a message; `None` where the end does not tell the id (no UIDPLUS).
    Stored(Vec<Option<Id>>),
    /// One outcome a message, of appends that stand alone and are sent one behind another (a batch that is not whole): whatever came
    /// before or after a refused one is stored.
    Each(Vec<Result<Option<Id>, Fault>>),
    /// The end refused, and this many of the first messages are stored (0 where a batch is all or nothing). `culprit` is the index of the
    /// refused message, where it is known; otherwise the mover halves the batch.
    Refused { stored: Vec<Option<Id>>, culprit: Option<usize>, fault: Fault },
    /// The answer is lost: any of them may be stored, or will be.
    Unknown(Fault),
}

/// What a target can hold and do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Messages of one append.
    pub batch: usize,
    /// Octets of one append, all messages together, as a wish: one message may be larger.
    pub batch_octets: u64,
    /// Whether all messages of an append are stored, or none.
    pub whole_batches: bool,
    /// Octets of one message (APPENDLIMIT, RFC 7889).
    pub largest: Option<u64>,
    pub keywords: bool,
    pub dates: bool,
    pub folders: bool,
    /// Whether POP3 clients see the UIDLs that the source had.
    pub uidl: bool,
    /// Whether the content comes back octet for octet.
    pub exact: bool,
    /// Whether single messages can be removed again (UIDPLUS), which mends a late append.
    pub removes: bool,
}

impl Default for Abilities {
    /// Of an end that takes one message at a time and keeps all of it but UIDLs.
    fn default() -> Self {
        Self {
            batch: 1,
            batch_octets: 1 << 20,
            whole_batches: false,
            largest: None,
            keywords: true,
            dates: true,
            folders: true,
            uidl: false,
            exact: true,
            removes: true,
        }
    }
}

impl Target {
    /// Connects and logs in. A login that succeeds and finds no mailbox is [`super::mailbox::Class::Login`] too.
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        match end.kind {
            Kind::Imap => Ok(Self::Imap(Box::new(Session::connect(end, access, true).await?))),
            Kind::Maildir => Ok(Self::Maildir(Box::new(Maildir::target(end, access).await?))),
            Kind::Lmtp => Ok(Self::Lmtp(Box::new(Lmtp::connect(end, access).await?))),
            Kind::Custom => Ok(Self::Custom(Box::new(Custom::connect(end, access, true).await?))),
            Kind::Jmap => Ok(Self::Jmap(Box::new(Jmap::connect(end, access).await?))),
            Kind::Ews => Ok(Self::Ews(Box::new(Ews::connect(end, access, true).await?))),
            _ => Err(Fault::new(Class::Unsupported, "this end cannot be written yet")),
        }
    }

    pub fn abilities(&self) -> &Abilities {
        match self {
            Self::Imap(session) => session.abilities(),
            Self::Jmap(session) => session.abilities(),
            Self::Ews(session) => session.abilities(),
            Self::Custom(session) => session.abilities(),
            Self::Lmtp(session) => session.abilities(),
            Self::Maildir(session) => session.abilities(),
        }
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        match self {
            Self::Imap(session) => session.folders().await,
            Self::Jmap(session) => session.folders().await,
            Self::Ews(session) => session.folders().await,
            Self::Custom(session) => session.folders().await,
            Self::Lmtp(session) => session.folders().await,
            Self::Maildir(session) => session.folders().await,
        }
    }

    /// Makes a folder with its parents; no fault when it is there already. Gives it as the target shows it: the target may have changed the
    /// name (reserved names, case).
    pub async fn create(&mut self, path: &FolderPath, special: Option<SpecialUse>) -> Result<Folder, Fault> {
        match self {
            Self::Imap(session) => session.create(path, special).await,
            Self::Jmap(session) => session.create(path, special).await,
            Self::Ews(session) => session.create(path, special).await,
            Self::Custom(session) => session.create(path, special).await,
            Self::Lmtp(session) => session.create(path, special).await,
            Self::Maildir(session) => session.create(path, special).await,
        }
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        match self {
            Self::Imap(session) => session.rename(folder, to).await,
            Self::Jmap(session) => session.rename(folder, to).await,
            Self::Ews(session) => session.rename(folder, to).await,
            Self::Custom(session) => session.rename(folder, to).await,
            Self::Lmtp(session) => session.rename(folder, to).await,
            Self::Maildir(session) => session.rename(folder, to).await,
        }
    }

    /// Deletes a folder. The mover has made sure that nothing is in it that it did not put there.
    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.delete(folder).await,
            Self::Jmap(session) => session.delete(folder).await,
            Self::Ews(session) => session.delete(folder).await,
            Self::Custom(session) => session.delete(folder).await,
            Self::Lmtp(session) => session.delete(folder).await,
            Self::Maildir(session) => session.delete(folder).await,
        }
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.subscribe(folder, on).await,
            Self::Jmap(session) => session.subscribe(folder, on).await,
            Self::Ews(session) => session.subscribe(folder, on).await,
            Self::Custom(session) => session.subscribe(folder, on).await,
            Self::Lmtp(session) => session.subscribe(folder, on).await,
            Self::Maildir(session) => session.subscribe(folder, on).await,
        }
    }

    /// Opens a folder for writing: the following calls are about it.
    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        match self {
            Self::Imap(session) => session.open(folder).await,
            Self::Jmap(session) => session.open(folder).await,
            Self::Ews(session) => session.open(folder).await,
            Self::Custom(session) => session.open(folder).await,
            Self::Lmtp(session) => session.open(folder).await,
            Self::Maildir(session) => session.open(folder).await,
        }
    }

    /// As of a source; `since` is a former mark of this target.
    pub async fn changes(&mut self, since: Option<&Mark>) -> Result<Changes, Fault> {
        match self {
            Self::Imap(session) => session.changes(since).await,
            Self::Jmap(session) => session.changes(since).await,
            Self::Ews(session) => session.changes(since).await,
            Self::Custom(session) => session.changes(since).await,
            Self::Lmtp(session) => session.changes(since).await,
            Self::Maildir(session) => session.changes(since).await,
        }
    }

    /// Messages of the open folder with an id at or above `from` (a former [`Mark::next`]): candidates for what a lost answer
    /// left behind. Asked afresh, not from a cache.
    pub async fn arrived(&mut self, from: Option<u64>) -> Result<Changes, Fault> {
        match self {
            Self::Imap(session) => session.arrived(from).await,
            Self::Jmap(session) => session.arrived(from).await,
            Self::Ews(session) => session.arrived(from).await,
            Self::Custom(session) => session.arrived(from).await,
            Self::Lmtp(session) => session.arrived(from).await,
            Self::Maildir(session) => session.arrived(from).await,
        }
    }

    /// As of a source.
    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.fetch(ids, means, to).await,
            Self::Jmap(session) => session.fetch(ids, means, to).await,
            Self::Ews(session) => session.fetch(ids, means, to).await,
            Self::Custom(session) => session.fetch(ids, means, to).await,
            Self::Lmtp(session) => session.fetch(ids, means, to).await,
            Self::Maildir(session) => session.fetch(ids, means, to).await,
        }
    }

    /// Stores messages at the end of the open folder, in this order.
    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        match self {
            Self::Imap(session) => session.append(messages).await,
            Self::Jmap(session) => session.append(messages).await,
            Self::Ews(session) => session.append(messages).await,
            Self::Custom(session) => session.append(messages).await,
            Self::Lmtp(session) => session.append(messages).await,
            Self::Maildir(session) => session.append(messages).await,
        }
    }

    /// Sets the flags of messages in the open folder to exactly these.
    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.set_flags(flags).await,
            Self::Jmap(session) => session.set_flags(flags).await,
            Self::Ews(session) => session.set_flags(flags).await,
            Self::Custom(session) => session.set_flags(flags).await,
            Self::Lmtp(session) => session.set_flags(flags).await,
            Self::Maildir(session) => session.set_flags(flags).await,
        }
    }

    /// Removes exactly these messages from the open folder (UID EXPUNGE); one that is gone already is no fault.
    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.remove(ids).await,
            Self::Jmap(session) => session.remove(ids).await,
            Self::Ews(session) => session.remove(ids).await,
            Self::Custom(session) => session.remove(ids).await,
            Self::Lmtp(session) => session.remove(ids).await,
            Self::Maildir(session) => session.remove(ids).await,
        }
    }

    /// Octets used and allowed; `None` where the end keeps no quota, or does not say.
    pub async fn quota(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        match self {
            Self::Imap(session) => session.quota().await,
            Self::Lmtp(session) => session.quota().await,
            Self::Maildir(_) | Self::Custom(_) | Self::Jmap(_) | Self::Ews(_) => Ok(None),
        }
    }

    /// As of a source.
    pub fn space(&self) -> Space {
        match self {
            Self::Imap(session) => session.space(),
            _ => Space::default(),
        }
    }

    pub async fn close(self) {
        match self {
            Self::Imap(session) => session.close().await,
            Self::Jmap(session) => session.close().await,
            Self::Ews(session) => session.close().await,
            Self::Custom(session) => session.close().await,
            Self::Lmtp(session) => session.close().await,
            Self::Maildir(session) => session.close().await,
        }
    }
}
