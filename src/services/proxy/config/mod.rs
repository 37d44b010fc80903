//! The configuration of the proxy: one TOML file, written by the deployer or by hand.
//!
//! Durations are texts as in `30s` or `1h30m`; sizes are in octets. An unknown key is an error. [`Config::parse`] reads and judges;
//! it opens no file that the configuration names.

mod check;
mod route;
mod side;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use crate::services::trust::Verify;
pub use route::{Directory, HeldLogin, OnFailure, Referrals, RouteSource, Routing};
pub use side::{Back, ClientHint, HeaderOut, Side, Sides};

use super::session::Protocol;
use crate::model::written::{duration, optional_duration};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    pub proxy: General,
    /// At least one.
    #[serde(default, rename = "listen")]
    pub listeners: Vec<Listen>,
    /// What TLS listeners show; the first is shown to clients that name no host, or one that no certificate has.
    #[serde(default, rename = "certificate")]
    pub certificates: Vec<Certificate>,
    #[serde(rename = "side")]
    pub sides: Sides,
    #[serde(default)]
    pub routes: Routing,
    pub directory: Option<Directory>,
    #[serde(default)]
    pub rewrite: RewriteRules,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub passwords: Passwords,
    pub cms: Option<Cms>,
    #[serde(default)]
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct General {
    /// In greetings and EHLO answers.
    pub name: String,
    /// Folder of the route store and of what is captured. The only folder that is written to, beside `control`.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Socket of `cutover-proxy sessions|route|hold|kick`; who may open it may change routes (mode 0660).
    #[serde(default = "default_control")]
    pub control: PathBuf,
    /// Socket that answers Postfix's socketmap protocol (socketmap_table(5)) with the route of each recipient.
    pub socketmap: Option<SocketMap>,
    /// Where `/metrics` and `/health` are answered, by plain HTTP.
    pub metrics: Option<SocketAddr>,
    /// Threads; 0 is one for each core.
    #[serde(default)]
    pub workers: usize,
    /// How long sessions may go on after a stop was asked for.
    #[serde(default = "default_drain", with = "duration")]
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SocketMap {
    pub path: PathBuf,
    /// Transports as in `smtp:[192.0.2.11]:25`, of a recipient on the old and on the new side. Where one is empty Postfix
    /// asks its next table.
    pub old: String,
    pub new: String,
    /// Domains whose recipients have the default route when nothing else tells theirs. Without any, only users are answered
    /// for whom the route table or the directory names.
    #[serde(default)]
    pub domains: Vec<String>,
    /// What stands between a user's name and an extension (`recipient_delimiter` of Postfix); empty where there is none.
    #[serde(default = "default_delimiter")]
    pub delimiter: String,
    /// Of a recipient whose final delta runs. The default is a port of this host where nothing listens: the message waits in the
    /// queue until it is tried again after the release. With `retry:` Postfix has the sender wait, as it answers 450 at once.
    #[serde(default = "default_held_transport")]
    pub held: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listen {
    pub protocol: Protocol,
    /// Address and port, unless a socket is handed over by that name (systemd's `FileDescriptorName`).
    pub address: Option<SocketAddr>,
    /// Name of a socket that the service manager holds; `address` is opened when there is none.
    pub socket: Option<String>,
    #[serde(default)]
    pub tls: Tls,
    /// A password may cross a line that is not encrypted.
    #[serde(default)]
    pub plain_login: bool,
    /// Peers that must begin with a PROXY protocol header (v1 or v2); a header of anybody else ends the connection.
    #[serde(default)]
    pub proxy_protocol: Vec<IpNet>,
    /// OAuth 2.0 tokens are taken, where both sides take them.
    #[serde(default)]
    pub tokens: bool,
    /// Submission: told after EHLO, of what both sides have. Default: PIPELINING, 8BITMIME, SIZE 52428800, ENHANCEDSTATUSCODES.
    pub ehlo: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    None,
    #[default]
    Starttls,
    Implicit,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Certificate {
    /// PEM, the server's certificate first.
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Host names (SNI) that it is shown for; those inside it when empty.
    #[serde(default)]
    pub names: Vec<String>,
}

/// From the login that is typed to the name that the routes know. See [`super::rewrite::Rewrite`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RewriteRules {
    /// `{ "%" = "@" }`
    #[serde(default)]
    pub substitute: BTreeMap<String, String>,
    #[serde(default)]
    pub lower_case: bool,
    /// `{ "192.0.2.1" = "@acme.example" }`
    #[serde(default)]
    pub suffix: BTreeMap<IpAddr, String>,
    /// `{ "old.example" = "new.example" }`
    #[serde(default)]
    pub domain: BTreeMap<String, String>,
}

/// Bounds. 0 is none, where it is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    pub connections: usize,
    /// Of one IPv4 address, or of one /64 of IPv6.
    pub per_address: usize,
    /// Logged-in sessions of one user, over all protocols.
    pub per_user: usize,
    /// Refused logins a minute of one address before its connections are refused for a while.
    pub failures_per_minute: u32,
    /// From the connection to the end of the login, however busy the client is.
    #[serde(with = "duration")]
    pub login_timeout: Duration,
    /// To reach a backend and be through with its login.
    #[serde(with = "duration")]
    pub backend_timeout: Duration,
    /// A logged-in session on which nothing goes either way ends after it. RFC 9051 section 5.4 wants 30 minutes at least.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Wait before the first refusal is told; doubles with each refusal of the address, up to 16 times.
    #[serde(with = "duration")]
    pub failure_delay: Duration,
    /// Wrong commands and refused logins of one connection.
    pub patience: u32,
    /// File descriptors that stay free; connections beyond are refused.
    pub spare_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            per_address: 200,
            per_user: 50,
            failures_per_minute: 60,
            login_timeout: Duration::from_secs(60),
            backend_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(45 * 60),
            failure_delay: Duration::from_millis(500),
            patience: 10,
            spare_files: 64,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Passwords {
    pub mode: PasswordMode,
    /// age public key (`age1..`) that captured passwords are sealed to; its private key stays offline.
    pub recipient: Option<String>,
    /// Folder of the sealed passwords; `STATE/passwords` when not given.
    pub store: Option<PathBuf>,
    /// Octets that the store may take, 64 MiB when not given; then nothing more is captured, and the log and a metric say so.
    pub max_size: Option<u64>,
    /// How long after their user has come to the new side captured passwords are destroyed, by itself and with the same proof
    /// as `cutover-proxy purge` gives. Not given: only that command destroys them.
    #[serde(with = "optional_duration")]
    pub purge: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordMode {
    /// Handed through.
    #[default]
    Pass,
    /// And who has proven theirs to a backend is noted, without the password.
    Verify,
    /// And it is sealed to `recipient` once a backend has taken it.
    Capture,
}

/// The content service: a login of a user who is not moved yet starts or hastens their move.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cms {
    /// Folder into which a file a user is put, once.
    pub queue: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Log {
    /// One JSON line for each session that ended; standard output when not given.
    pub access: Option<PathBuf>,
    /// One JSON line for each login, refusal, route change and command over the control socket.
    pub audit: Option<PathBuf>,
}

fn default_state() -> PathBuf {
    "/var/lib/cutover-proxy".into()
}

fn default_control() -> PathBuf {
    "/run/cutover-proxy/control.sock".into()
}

fn default_drain() -> Duration {
    Duration::from_secs(30)
}

fn default_delimiter() -> String {
    "+".into()
}

fn default_held_transport() -> String {
    "smtp:[127.0.0.1]:9".into()
}
