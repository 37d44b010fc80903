//! Ends that are written with what is not mail. One value is one session of one user.

use super::rights::Rights;
use super::scripts::ScriptTarget;
use super::signature_files::SignatureFiles;
use super::{Known, Left, Listing, Seen, Thing};
use crate::services::cms::config::{End, Field, Item, Kind};
use crate::services::cms::contacts::{carddav::CardDav, files::Files};
use crate::services::cms::ews::contacts::EwsContacts;
use crate::services::cms::ews::inbox::EwsInbox;
use crate::services::cms::mailbox::{Access, Class, Fault};

#[derive(Debug)]
pub enum PersonalTarget {
    CardDav(Box<CardDav>),
    Ews(Box<EwsContacts>),
    Files(Box<Files>),
    Inbox(Box<EwsInbox>),
    Rights(Box<Rights>),
    Managesieve(Box<ScriptTarget>),
    Signature(Box<SignatureFiles>),
}

impl PersonalTarget {
    pub async fn connect(end: &End, access: &Access, field: Field) -> Result<Self, Fault> {
        match (field, end.kind) {
            (Field::Permissions, Kind::Imap) => Ok(Self::Rights(Box::new(Rights::connect(end, access, true).await?))),
            (_, Kind::Carddav) => Ok(Self::CardDav(Box::new(CardDav::connect(end, access, true).await?))),
            (Field::Rules, Kind::Ews) => Ok(Self::Inbox(Box::new(EwsInbox::connect(end, access, true).await?))),
            (Field::Contacts, Kind::Ews) => Ok(Self::Ews(Box::new(EwsContacts::connect(end, access, true).await?))),
            (_, Kind::Vcard) => Ok(Self::Files(Box::new(Files::open(end, access)?))),
            (_, Kind::Ldif | Kind::Csv) => {
                Err(Fault::new(Class::Unsupported, "LDIF and CSV are read only: they hold less than a contact has"))
            }
            (_, Kind::Managesieve) => Ok(Self::Managesieve(Box::new(ScriptTarget::connect(end, access).await?))),
            (_, Kind::Signature) => Ok(Self::Signature(Box::new(SignatureFiles::open(end, access)?))),
            _ => Err(Fault::new(Class::Unsupported, format!("this end cannot be written with {} yet", field.key()))),
        }
    }

    /// The Sieve extensions that it knows (`require`), where it holds scripts: then things come as scripts. `None`: they come as neutral
    /// rules and out-of-office.
    pub fn sieve(&self) -> Option<&[String]> {
        match self {
            Self::CardDav(_)
            | Self::Ews(_)
            | Self::Files(_)
            | Self::Inbox(_)
            | Self::Rights(_)
            | Self::Signature(_) => None,
            Self::Managesieve(target) => Some(target.extensions()),
        }
    }

    /// What of these it can hold, in the form in which it will list them, and what stays behind.
    pub fn holds(&self, things: Vec<Seen>) -> (Vec<Seen>, Vec<Left>) {
        match self {
            Self::Ews(_) => EwsContacts::holds(things),
            Self::Inbox(server) => server.holds(things),
            _ => (things, Vec::new()),
        }
    }

    /// Removes what answers that were lost have doubled, as the last listing found it; gives what it was.
    pub async fn mend(&mut self) -> Result<Vec<(Item, String)>, Fault> {
        match self {
            Self::Ews(server) => server.mend().await,
            _ => Ok(Vec::new()),
        }
    }

    /// All things of the user, as a source lists them.
    pub async fn list(&mut self, known: &Known) -> Result<Listing, Fault> {
        match self {
            Self::CardDav(server) => server.list(known).await,
            Self::Ews(server) => server.list(known).await,
            Self::Files(files) => files.list().await,
            Self::Inbox(server) => server.list().await,
            Self::Rights(rights) => rights.list().await,
            Self::Managesieve(target) => target.list().await,
            Self::Signature(files) => files.list().await,
        }
    }

    /// Makes or replaces things, in this order; `former` is the mark of what is replaced. Gives the mark of each after it, or why it is
    /// refused. An error means that the session broke, and that any of them may be there: they will be put again.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        match self {
            Self::CardDav(server) => server.put(things).await,
            Self::Ews(server) => server.put(things).await,
            Self::Files(files) => files.put(things).await,
            Self::Inbox(server) => server.put(things).await,
            Self::Rights(rights) => rights.put(things).await,
            Self::Managesieve(target) => target.put(things).await,
            Self::Signature(files) => files.put(things).await,
        }
    }

    /// What the end left out of things that it has taken in the last put.
    pub fn lost(&mut self) -> Vec<Left> {
        match self {
            Self::CardDav(server) => server.lost(),
            Self::Ews(server) => server.lost(),
            Self::Inbox(server) => server.lost(),
            _ => Vec::new(),
        }
    }

    /// Removes a thing that still has this mark; one that is gone already is no fault.
    pub async fn remove(&mut self, item: Item, id: &str, mark: &str) -> Result<(), Fault> {
        match self {
            Self::CardDav(server) => server.remove(mark).await,
            Self::Ews(server) => server.remove(mark).await,
            Self::Files(files) => files.remove(id).await,
            Self::Inbox(server) => server.remove(item, mark).await,
            Self::Rights(rights) => rights.remove(id, mark).await,
            Self::Managesieve(target) => target.remove(id).await,
            Self::Signature(files) => files.remove(id).await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Rights(rights) => rights.close().await,
            Self::CardDav(_) | Self::Files(_) | Self::Signature(_) => {}
            Self::Ews(server) => server.close().await,
            Self::Inbox(server) => server.close().await,
            Self::Managesieve(target) => target.close().await,
        }
    }
}
