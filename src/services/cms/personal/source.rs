//! Ends that are read for what is not mail. One value is one session of one user; it never writes.

use super::rights::Rights;
use super::scripts;
use super::sieve_files::SieveFiles;
use super::signature_files::SignatureFiles;
use super::{Known, Listing};
use crate::services::cms::config::{End, Field, Kind};
use crate::services::cms::contacts::{carddav::CardDav, exports::Exports, files::Files};
use crate::services::cms::ews::contacts::EwsContacts;
use crate::services::cms::ews::inbox::EwsInbox;
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::managesieve::Scripts;

#[derive(Debug)]
pub enum PersonalSource {
    CardDav(Box<CardDav>),
    Ews(Box<EwsContacts>),
    Exports(Box<Exports>),
    Files(Box<Files>),
    Inbox(Box<EwsInbox>),
    Rights(Box<Rights>),
    Managesieve(Box<Scripts>),
    Sieve(Box<SieveFiles>),
    Signature(Box<SignatureFiles>),
}

impl PersonalSource {
    pub async fn connect(end: &End, access: &Access, field: Field) -> Result<Self, Fault> {
        match (field, end.kind) {
            (Field::Permissions, Kind::Imap) => Ok(Self::Rights(Box::new(Rights::connect(end, access, false).await?))),
            (_, Kind::Carddav) => Ok(Self::CardDav(Box::new(CardDav::connect(end, access, false).await?))),
            (Field::Rules, Kind::Ews) => Ok(Self::Inbox(Box::new(EwsInbox::connect(end, access, false).await?))),
            (Field::Contacts, Kind::Ews) => Ok(Self::Ews(Box::new(EwsContacts::connect(end, access, false).await?))),
            (_, Kind::Vcard) => Ok(Self::Files(Box::new(Files::open(end, access)?))),
            (_, Kind::Ldif | Kind::Csv) => Ok(Self::Exports(Box::new(Exports::open(end, access)?))),
            (_, Kind::Managesieve) => Ok(Self::Managesieve(Box::new(Scripts::connect(end, access).await?))),
            (_, Kind::Sieve) => Ok(Self::Sieve(Box::new(SieveFiles::open(end, access)?))),
            (_, Kind::Signature) => Ok(Self::Signature(Box::new(SignatureFiles::open(end, access)?))),
            _ => Err(Fault::new(Class::Unsupported, format!("this end cannot be read for {} yet", field.key()))),
        }
    }

    /// All things of the user.
    pub async fn list(&mut self, known: &Known) -> Result<Listing, Fault> {
        match self {
            Self::CardDav(server) => server.list(known).await,
            Self::Ews(server) => server.list(known).await,
            Self::Exports(exports) => exports.list().await,
            Self::Files(files) => files.list().await,
            Self::Inbox(server) => server.list().await,
            Self::Rights(rights) => rights.list().await,
            Self::Managesieve(session) => Ok(scripts::listing(session.list().await?)),
            Self::Sieve(files) => files.list(),
            Self::Signature(files) => files.list().await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Rights(rights) => rights.close().await,
            Self::CardDav(_) | Self::Exports(_) | Self::Files(_) | Self::Sieve(_) | Self::Signature(_) => {}
            Self::Ews(server) => server.close().await,
            Self::Inbox(server) => server.close().await,
            Self::Managesieve(session) => session.close().await,
        }
    }
}
