//! How a user's side is found. An explicit route of the table comes first, then the directory, then the default.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::model::written::duration;
use crate::services::proxy::route::Route;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Routing {
    /// Of users that neither the table nor the directory knows.
    pub default: Route,
    pub source: RouteSource,
    /// The route file of `source = "file"`: replaced by rename, never written in place. See [`super::super::route::Table::parse`].
    pub file: Option<PathBuf>,
    /// Source `file`: sessions of a user whose route changes are closed; the store is told so with each change.
    pub close: bool,
    pub held: HeldLogin,
    /// How long a login of a held user waits before it is told to come again.
    #[serde(with = "duration")]
    pub held_for: Duration,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            default: Route::Old,
            source: RouteSource::Store,
            file: None,
            close: false,
            held: HeldLogin::Wait,
            held_for: Duration::from_secs(25),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteSource {
    /// The proxy's own store, changed over the control socket.
    #[default]
    Store,
    /// A file that others write.
    File,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldLogin {
    #[default]
    Wait,
    Refuse,
}

/// LDAP (RFC 4511) or Active Directory: an object a user, an attribute that tells the side.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// `ldap://HOST:PORT` or `ldaps://..`, tried in this order.
    pub servers: Vec<String>,
    #[serde(default)]
    pub starttls: bool,
    /// PEM of the authorities of the servers' certificates; the system's when not given.
    pub ca: Option<PathBuf>,
    pub bind_dn: Option<String>,
    /// File with the password of `bind-dn`, in its first line.
    pub password_file: Option<PathBuf>,
    pub base: String,
    /// RFC 4515, with `{user}`, `{name}` and `{domain}`, which are escaped: `(&(objectClass=user)(mail={user}))`.
    pub filter: String,
    /// Attribute that tells the side.
    pub attribute: String,
    /// Values of `attribute` that mean old, new, held or blocked: `*` at the end stands for any end. Compared without case.
    #[serde(default)]
    pub old: Vec<String>,
    #[serde(default)]
    pub new: Vec<String>,
    #[serde(default)]
    pub held: Vec<String>,
    #[serde(default)]
    pub blocked: Vec<String>,
    /// Attributes that hold the login of the backend, instead of the rewritten name.
    pub login_old: Option<String>,
    pub login_new: Option<String>,
    /// Connections at the most.
    #[serde(default = "default_pool")]
    pub pool: usize,
    #[serde(default = "default_timeout", with = "duration")]
    pub timeout: Duration,
    /// How long an answer serves.
    #[serde(default = "default_cache", with = "duration")]
    pub cache: Duration,
    /// How long an answer serves while the directory cannot be asked.
    #[serde(default = "default_stale", with = "duration")]
    pub stale: Duration,
    /// When it cannot be asked and no answer is left.
    #[serde(default)]
    pub on_failure: OnFailure,
    #[serde(default)]
    pub referrals: Referrals,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The client is told to come again.
    #[default]
    Refuse,
    /// The default route is taken: a moved user would land on the old side.
    Default,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Referrals {
    /// A user who is elsewhere is not there.
    #[default]
    Ignore,
    /// Asked with the same bind, one step far.
    Follow,
}

fn default_pool() -> usize {
    4
}

fn default_timeout() -> Duration {
    Duration::from_secs(3)
}

fn default_cache() -> Duration {
    Duration::from_secs(60)
}

fn default_stale() -> Duration {
    Duration::from_secs(86_400)
}
