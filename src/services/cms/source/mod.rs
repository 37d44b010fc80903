//! Ends that are read: extractors. One value is one session; a mover may hold several of one mailbox.

use tokio::sync::mpsc;

use super::config::{End, Kind};
use super::custom::Custom;
use super::ews::Ews;
use super::imap::Session;
use super::jmap::Jmap;
use super::mailbox::{Access, Beside, Budget, Changes, Class, Fault, Fetched, Folder, Id, Mark, Space};
use super::maildir::Maildir;
use super::mbox::Mbox;
use super::pop3::Pop3;

/// One session of one mailbox.
#[derive(Debug)]
pub enum Source {
    Imap(Box<Session>),
    Maildir(Box<Maildir>),
    Pop3(Box<Pop3>),
    Mbox(Box<Mbox>),
    Custom(Box<Custom>),
    Jmap(Box<Jmap>),
    Ews(Box<Ews>),
}

/// What a fetch may use.
#[derive(Debug, Clone)]
pub struct Means {
    pub budget: Budget,
    /// Folder for messages above [`super::mailbox::IN_MEMORY`].
    pub spool: std::path::PathBuf,
    /// Messages above it are not read but reported as too large. Octets.
    pub largest: u64,
}

impl Source {
    /// Connects and logs in. A login that succeeds and finds no mailbox is [`super::mailbox::Class::Login`] too.
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        match end.kind {
            Kind::Imap => Ok(Self::Imap(Box::new(Session::connect(end, access, false).await?))),
            Kind::Maildir => Ok(Self::Maildir(Box::new(Maildir::source(end, access).await?))),
            Kind::Pop3 => Ok(Self::Pop3(Box::new(Pop3::connect(end, access).await?))),
            Kind::Mbox => Ok(Self::Mbox(Box::new(Mbox::connect(end, access).await?))),
            Kind::Custom => Ok(Self::Custom(Box::new(Custom::connect(end, access, false).await?))),
            Kind::Jmap => Ok(Self::Jmap(Box::new(Jmap::connect(end, access).await?))),
            Kind::Ews => Ok(Self::Ews(Box::new(Ews::connect(end, access, false).await?))),
            _ => Err(Fault::new(Class::Unsupported, "this end cannot be read yet")),
        }
    }

    /// Whose a folder of others is, where the end says so.
    pub fn owner_of(&self, folder: &Folder) -> Option<String> {
        match self {
            Self::Imap(session) => session.owner_of(folder),
            _ => None,
        }
    }

    /// All folders, subscribed or not, with their marks where one round trip tells them.
    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        match self {
            Self::Imap(session) => session.folders().await,
            Self::Jmap(session) => session.folders().await,
            Self::Ews(session) => session.folders().await,
            Self::Custom(session) => session.folders().await,
            Self::Mbox(session) => session.folders().await,
            Self::Pop3(session) => session.folders().await,
            Self::Maildir(session) => session.folders().await,
        }
    }

    /// Folders of the last listing that hold something else than mail and stay behind.
    pub fn beside(&self) -> Vec<Beside> {
        match self {
            Self::Ews(session) => session.beside(),
            _ => Vec::new(),
        }
    }

    /// Octets of all messages of these folders, where one round trip tells them.
    pub async fn octets(&mut self, folders: &[Folder]) -> Result<Option<u64>, Fault> {
        match self {
            Self::Imap(session) => session.octets(folders).await,
            _ => Ok(None),
        }
    }

    /// Opens a folder for reading and says how it stands. Does not mark anything as seen.
    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        match self {
            Self::Imap(session) => session.open(folder).await,
            Self::Jmap(session) => session.open(folder).await,
            Self::Ews(session) => session.open(folder).await,
            Self::Custom(session) => session.open(folder).await,
            Self::Mbox(session) => session.open(folder).await,
            Self::Pop3(session) => session.open(folder).await,
            Self::Maildir(session) => session.open(folder).await,
        }
    }

    /// What the open folder holds, or what changed in it `since`. May always answer [`Changes::Whole`].
    pub async fn changes(&mut self, since: Option<&Mark>) -> Result<Changes, Fault> {
        match self {
            Self::Imap(session) => session.changes(since).await,
            Self::Jmap(session) => session.changes(since).await,
            Self::Ews(session) => session.changes(since).await,
            Self::Custom(session) => session.changes(since).await,
            Self::Mbox(session) => session.changes(since).await,
            Self::Pop3(session) => session.changes(since).await,
            Self::Maildir(session) => session.changes(since).await,
        }
    }

    /// The mark of the open folder, with how far the last listing came where the end says so.
    pub fn reached(&self, mark: Mark) -> Mark {
        match self {
            Self::Ews(session) => session.reached(mark),
            _ => mark,
        }
    }

    /// Reads messages of the open folder and hands them on as they come, in the order of `ids` where the end keeps it; each id
    /// brings exactly one [`Fetched`]. Backpressure is the channel's and the budget's. An error means that the session broke: what
    /// was not handed on is unknown.
    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        match self {
            Self::Imap(session) => session.fetch(ids, means, to).await,
            Self::Jmap(session) => session.fetch(ids, means, to).await,
            Self::Ews(session) => session.fetch(ids, means, to).await,
            Self::Custom(session) => session.fetch(ids, means, to).await,
            Self::Mbox(session) => session.fetch(ids, means, to).await,
            Self::Pop3(session) => session.fetch(ids, means, to).await,
            Self::Maildir(session) => session.fetch(ids, means, to).await,
        }
    }

    /// How the end names folders, for texts of users that name them.
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
            Self::Mbox(session) => session.close().await,
            Self::Pop3(session) => session.close().await,
            Self::Maildir(session) => session.close().await,
        }
    }
}
