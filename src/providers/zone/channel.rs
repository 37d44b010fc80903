//! The ways in which a zone is read and changed.

use crate::model::dns::SetChange;
use crate::model::host::{HostAccess, HostError, HostErrorKind, ServiceKind, ZoneAccess};
use crate::protocol::dns::{self, Transferred};
use crate::transport::refusal::error;
use crate::transport::{SecretReader, Transport};

use super::super::shell::ShellAgent;
use super::cloudflare::{self, Cloudflare};
use super::file::FileChannel;
use super::http;
use super::powerdns::{self, PowerDns};
use super::route53::{self, Route53};
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
    /// Done, and somebody else wrote in the same instant: what they wrote to these sets, if anything, is gone.
    Raced(String),
}

pub enum Channel<'a, T> {
    Wire(Wire<'a>),
    File(FileChannel<'a, T>),
    PowerDns(PowerDns<'a>),
    Cloudflare(Cloudflare<'a>),
    Route53(Route53<'a>),
}

impl<'a, T: Transport> Channel<'a, T> {
    pub async fn open(
        shell: &'a ShellAgent<T>,
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        organization: &'a str,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        if let Some(file) = &zone.file {
            return Ok(Self::File(FileChannel { shell, lane, zone, file, organization, seen: Default::default() }));
        }
        let Some(service) = &zone.service else { return Ok(Self::Wire(Wire::open(lane, zone, secrets).await?)) };
        Ok(match service.kind {
            ServiceKind::Powerdns => Self::PowerDns(PowerDns::open(lane, zone, service, secrets).await?),
            ServiceKind::Cloudflare => Self::Cloudflare(Cloudflare::open(lane, zone, service, secrets).await?),
            ServiceKind::Route53 => Self::Route53(Route53::open(lane, zone, service, secrets).await?),
            // Nobody writes there but people, and they are asked elsewhere.
            ServiceKind::Manual => {
                let message = "records of this zone are entered by hand";
                return Err(error(lane, HostErrorKind::Protocol, message, None));
            }
        })
    }

    /// The whole zone.
    pub async fn look(&self) -> Result<Transferred, HostError> {
        match self {
            Self::Wire(wire) => wire.look().await,
            Self::File(file) => file.look().await,
            Self::PowerDns(service) => service.look().await,
            Self::Cloudflare(service) => service.look().await,
            Self::Route53(service) => service.look().await,
        }
    }

    /// All changes or none.
    pub async fn send(&self, changes: Vec<SetChange>) -> Result<(), Refusal> {
        match self {
            Self::Wire(wire) => wire.send(changes).await,
            Self::File(file) => file.send(&changes).await,
            Self::PowerDns(service) => service.send(&changes).await,
            Self::Cloudflare(service) => service.send(&changes).await,
            Self::Route53(service) => service.send(&changes).await,
        }
    }

    /// What changes take of a message (octets, or records where the service counts those), or why they cannot be written.
    pub fn size(&self, zone: &str, changes: &[SetChange]) -> Result<usize, String> {
        match self {
            Self::Wire(_) | Self::File(_) => dns::size(zone, changes).map_err(|e| e.to_string()),
            Self::PowerDns(_) => Ok(changes.iter().map(http::size).sum()),
            Self::Cloudflare(_) => Ok(changes.iter().map(cloudflare::size).sum()),
            Self::Route53(_) => Ok(changes.iter().map(route53::size).sum()),
        }
    }

    /// What a message has for changes, counted in the same way.
    pub fn room(&self) -> usize {
        match self {
            Self::Wire(_) | Self::File(_) => dns::ROOM,
            Self::PowerDns(_) => powerdns::ROOM,
            Self::Cloudflare(_) => cloudflare::ROOM,
            Self::Route53(_) => route53::ROOM,
        }
    }
}
