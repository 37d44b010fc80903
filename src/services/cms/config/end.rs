//! One end: where it is, what it speaks, how mailboxes are opened there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Part;
use crate::model::written::duration;
use crate::services::trust;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct End {
    pub kind: Kind,
    /// What is known of the product beyond what its capabilities say.
    #[serde(default)]
    pub profile: Profile,
    /// `HOST:PORT` for `imap`, `pop3` and `lmtp`.
    pub server: Option<String>,
    /// For `jmap` (the session resource) and `ews` (Exchange.asmx).
    pub url: Option<String>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub verify: trust::Verify,
    /// PEM of the authorities that sign its certificates; the system's when not given.
    pub ca: Option<PathBuf>,
    /// Name that its certificate must have; the host's own when not given.
    pub tls_name: Option<String>,
    /// `sha256:` and the hexadecimal digest of the certificate's public key, for `verify = "pin"`.
    #[serde(default)]
    pub pins: Vec<String>,
    /// Name at the login: `{user}`, `{name}` (before the @), `{domain}`, `{master}`, as in `{user}*{master}`.
    #[serde(default = "default_login")]
    pub login: String,
    /// Who opens all mailboxes.
    pub master: Option<String>,
    /// Reference to the password: `file:PATH` or `env:NAME`. Of the master where there is one, otherwise of each mailbox that names none.
    pub password: Option<String>,
    /// SASL PLAIN with the mailbox as authorization identity and the master as who logs in (RFC 4616).
    #[serde(default)]
    pub authzid: bool,
    /// The password is an OAuth 2.0 access token (XOAUTH2, OAUTHBEARER).
    #[serde(default)]
    pub token: bool,
    /// For `maildir` and `mbox`: folder or file of a mailbox, with the parts of `login`.
    pub path: Option<String>,
    /// For `csv`: header of a column to where it goes, as in `EMAIL`, `N.family`, `TEL;home`; empty to leave it out.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// For `custom`: program and arguments.
    #[serde(default)]
    pub program: Vec<String>,
    /// Where an `lmtp` target is read back: the same server's IMAP.
    pub read: Option<Box<End>>,
    /// Sessions that the server serves at once for the move.
    #[serde(default = "default_sessions")]
    pub sessions: usize,
    /// Before the connection is given up. A duration.
    #[serde(default = "default_timeout", with = "duration")]
    pub timeout: std::time::Duration,
    /// Ask for compression (RFC 4978) where the server offers it; worth it on slow links only.
    #[serde(default)]
    pub compress: bool,
    /// Where this side keeps rules and out-of-office.
    pub rules: Option<Box<Part>>,
    /// Where this side keeps contacts.
    pub contacts: Option<Box<Part>>,
    /// Where this side keeps signatures.
    pub signature: Option<Box<Part>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Imap,
    Pop3,
    Maildir,
    Mbox,
    Jmap,
    Lmtp,
    Ews,
    Custom,
    /// RFC 5804: for `rules` of a side.
    Managesieve,
    /// A Sieve script, or a folder of them: for `rules` of a side.
    Sieve,
    /// For `contacts` of a side.
    Carddav,
    Vcard,
    Ldif,
    Csv,
    /// Files of text and HTML: for `signature` of a side.
    Signature,
}

/// Products whose dialect differs from their protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// By its capabilities alone.
    #[default]
    Generic,
    Dovecot,
    Cyrus,
    Courier,
    /// NetWin DMail, SurgeMail, WebMail.
    Netwin,
    /// OpenWave Email Mx.
    Openwave,
    Mailsite,
    #[serde(rename = "exchange-2003")]
    Exchange2003,
    #[serde(rename = "exchange-2007")]
    Exchange2007,
    /// 2010 and later.
    Exchange,
    Domino,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    None,
    Starttls,
    #[default]
    Implicit,
}

fn default_login() -> String {
    "{user}".into()
}

fn default_sessions() -> usize {
    16
}

fn default_timeout() -> std::time::Duration {
    std::time::Duration::from_secs(60)
}
