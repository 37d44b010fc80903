//! The primary of a zone as it is spoken to: address, key, patience, and errors as people read them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::dns::SetChange;
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess};
use crate::protocol::dns::{Batch, DnsError, Transferred, TsigKey, TsigTrouble, transfer, update};
use crate::transport::SecretReader;
use crate::transport::refusal::error;

use super::channel::Refusal;

pub struct Wire<'a> {
    lane: &'a HostAccess,
    zone: &'a str,
    server: SocketAddr,
    key: Option<TsigKey>,
    patience: Duration,
}

impl<'a> Wire<'a> {
    /// Finds the address and reads the key.
    pub async fn open(
        lane: &'a HostAccess,
        zone: &'a ZoneAccess,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        let secret_error = |m: String| error(lane, HostErrorKind::Secret, m, None);
        let key = match &zone.key {
            None => None,
            Some(key) => {
                let secret = secrets.read(&key.secret).await.map_err(secret_error)?;
                let secret = std::str::from_utf8(&secret)
                    .map_err(|_| secret_error(format!("secret {}: a TSIG key is base64", key.secret)))?;
                let key = TsigKey::new(&key.name, &key.algorithm, secret).map_err(|e| secret_error(e.to_string()))?;
                Some(key)
            }
        };
        let server = match lane.address.parse() {
            Ok(ip) => SocketAddr::new(ip, lane.port),
            Err(_) => {
                let nowhere = |why: String| {
                    let message = format!("its primary {} cannot be found: {why}", lane.address);
                    error(lane, HostErrorKind::Unreachable, message, None)
                };
                let found = tokio::net::lookup_host((lane.address.as_str(), lane.port)).await;
                let mut found = found.map_err(|e| nowhere(e.to_string()))?;
                found.next().ok_or_else(|| nowhere("its name has no address".into()))?
            }
        };
        Ok(Self { lane, zone: &zone.zone, server, key, patience: lane.timeout() })
    }

    /// The whole zone as the primary has it.
    pub async fn look(&self) -> Result<Transferred, HostError> {
        transfer(self.server, self.zone, self.key.as_ref(), self.patience).await.map_err(|e| self.trouble(&e))
    }

    pub async fn send(&self, changes: Vec<SetChange>) -> Result<(), Refusal> {
        // A server writes a large update to its disk before it answers.
        let patience = self.patience.max(Duration::from_secs(60));
        let sent = update(self.server, self.zone, &Batch { changes }, self.key.as_ref(), patience).await;
        sent.map_err(|e| match e {
            DnsError::Changed { server, code } => Refusal::Changed(format!("{server} answers {code}")),
            DnsError::Refused { .. } => Refusal::Denied(e.to_string()),
            DnsError::Tsig { .. } | DnsError::Malformed { .. } | DnsError::Input(_) => Refusal::Never(e.to_string()),
            DnsError::Unreachable { .. } | DnsError::Silent { .. } | DnsError::CutShort { .. } => {
                Refusal::Lost(self.trouble(&e))
            }
        })
    }

    /// A refusal or failure of the name server as an error of the zone.
    fn trouble(&self, e: &DnsError) -> HostError {
        let (kind, help) = match e {
            DnsError::Unreachable { .. } => (HostErrorKind::Unreachable, None),
            DnsError::Silent { .. } => (HostErrorKind::Timeout, None),
            DnsError::CutShort { .. } => (HostErrorKind::Lost, None),
            DnsError::Refused { code, .. } => {
                // BIND answers an unsigned question with the one, Knot with the other.
                let unsigned = self.key.is_none() && matches!(code.as_str(), "REFUSED" | "NOTAUTH");
                let help = if unsigned {
                    Some("give its dns-provider tsig-name= and key=, and let the server take that key")
                } else if code == "NOTAUTH" {
                    Some("is this server the zone's primary? dns-provider host= or endpoint= names it")
                } else {
                    Some("allow AXFR and UPDATE of the zone for this TSIG key in the server's configuration")
                };
                (HostErrorKind::Denied, help)
            }
            DnsError::Tsig { trouble, .. } => {
                let help = match trouble {
                    TsigTrouble::BadKey => Some("compare tsig-name= with the server's configuration"),
                    TsigTrouble::BadSignature => Some("compare the secret and tsig-algorithm= with the server's"),
                    TsigTrouble::BadTime(_) | TsigTrouble::Unproven => None,
                };
                (HostErrorKind::Denied, help)
            }
            DnsError::Changed { .. } | DnsError::Malformed { .. } | DnsError::Input(_) => {
                (HostErrorKind::Protocol, None)
            }
        };
        error(self.lane, kind, e.to_string(), help.map(str::to_owned))
    }
}
