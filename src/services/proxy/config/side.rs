//! The two sides: where their servers are, and how the proxy speaks with them.

use std::path::PathBuf;

use serde::Deserialize;

use super::Tls;
use crate::services::proxy::route::Route;
use crate::services::proxy::session::Protocol;
use crate::services::trust::Verify;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sides {
    pub old: Side,
    pub new: Side,
}

impl Sides {
    /// The servers of a route; nothing for a route that is no side, and for a protocol that the side does not have.
    pub fn back(&self, route: Route, protocol: Protocol) -> Option<&Back> {
        let side = match route {
            Route::Old => &self.old,
            Route::New => &self.new,
            Route::Held | Route::Blocked => return None,
        };
        match protocol {
            Protocol::Imap => side.imap.as_ref(),
            Protocol::Pop3 => side.pop3.as_ref(),
            Protocol::Submission => side.submission.as_ref(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Side {
    pub imap: Option<Back>,
    pub pop3: Option<Back>,
    pub submission: Option<Back>,
}

/// The servers of one side for one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Back {
    /// `HOST:PORT`, tried in this order; one that did not answer comes last for a while.
    pub servers: Vec<String>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub verify: Verify,
    /// PEM of the authorities that sign its certificates; the system's when not given.
    pub ca: Option<PathBuf>,
    /// Name that its certificate must have; the host's own when not given.
    pub tls_name: Option<String>,
    /// `sha256:` and the hexadecimal digest of the certificate's public key (SubjectPublicKeyInfo), for `verify = "pin"`.
    #[serde(default)]
    pub pins: Vec<String>,
    /// How the user is named there: `{user}`, `{name}`, `{domain}`. See [`super::super::rewrite::LoginForm`].
    #[serde(default = "default_login")]
    pub login: String,
    /// Begin with a PROXY protocol header that names the client.
    #[serde(default)]
    pub proxy_protocol: HeaderOut,
    /// Tell the client's address by ID (IMAP) or XCLIENT (SMTP), where the server takes it.
    #[serde(default)]
    pub client: ClientHint,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderOut {
    #[default]
    None,
    V1,
    V2,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientHint {
    #[default]
    Tell,
    Hide,
}

fn default_login() -> String {
    "{user}".into()
}
