//! The ways in which a zone is read and changed.

use crate::model::dns::SetChange;
use crate::model::host::{HostAccess, HostError, ZoneAccess};
use crate::protocol::dns::Transferred;
use crate::transport::{SecretReader, Transport};

use super::super::shell::ShellAgent;
use super::file::FileChannel;
use super::wire::Wire;

/// Why a message of changes was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The zone is not as the changes say that it is; nothing was changed.
    Changed(String),
    /// These changes are not taken; nothing was changed. Others may be.
    Denied(String),
    /// No message would be taken; nothing was changed.
    Never(String),
    /// Done or not: nobody said.
    Lost(HostError),
}

pub enum Channel<'a, T> {
    Wire(Wire<'a>),
    File(FileChannel<'a, T>),
}

impl<'a, T: Transport> Channel<'a, T> {
    pub async fn open(
        shell: &'a ShellAgent<T>,
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        organization: &'a str,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        Ok(match &zone.file {
            Some(file) => Self::File(FileChannel { shell, lane, zone, file, organization }),
            None => Self::Wire(Wire::open(lane, zone, secrets).await?),
        })
    }

    /// The whole zone.
    pub async fn look(&self) -> Result<Transferred, HostError> {
        match self {
            Self::Wire(wire) => wire.look().await,
            Self::File(file) => file.look().await,
        }
    }

    /// All changes or none.
    pub async fn send(&self, changes: Vec<SetChange>) -> Result<(), Refusal> {
        match self {
            Self::Wire(wire) => wire.send(changes).await,
            Self::File(file) => file.send(&changes).await,
        }
    }
}
