//! Directories as clients meet them: a connection, and all that a search finds.

mod export;

use std::sync::Arc;
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError};

pub use export::{Asked, Found};

/// How one server is spoken with.
pub struct Door<'a> {
    pub url: &'a str,
    pub starttls: bool,
    pub tls: Option<&'a Arc<rustls::ClientConfig>>,
    /// A name and its password; nobody in particular without.
    pub bind: Option<(&'a str, &'a str)>,
    /// For the connection, and again for the bind.
    pub limit: Duration,
}

impl Door<'_> {
    pub async fn open(&self) -> Result<Ldap, String> {
        let limit = self.limit;
        let mut settings = LdapConnSettings::new().set_conn_timeout(limit).set_starttls(self.starttls);
        if let Some(tls) = self.tls {
            settings = settings.set_config(tls.clone());
        }
        let opened = tokio::time::timeout(limit, LdapConnAsync::with_settings(settings, self.url)).await;
        let (connection, mut ldap) = opened.map_err(|_| late(limit))?.map_err(|e| match e {
            LdapError::Timeout { .. } => late(limit),
            e => plain(&e),
        })?;
        tokio::spawn(async move {
            // Whoever uses it hears of its end.
            let _ = connection.drive().await;
        });
        if let Some((dn, password)) = self.bind {
            let bound = tokio::time::timeout(limit, ldap.simple_bind(dn, password)).await;
            let bound = bound.map_err(|_| late(limit))?.map_err(|e| plain(&e))?;
            if bound.rc != 0 {
                return Err(format!("the bind as {dn} is refused: {}", result(bound.rc, &bound.text)));
            }
        }
        Ok(ldap)
    }
}

pub fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

pub fn plain(e: &LdapError) -> String {
    printable(&e.to_string())
}

pub fn result(rc: u32, text: &str) -> String {
    format!("result {rc} {}", printable(text)).trim_end().to_owned()
}

/// Text of a server for people: without control characters, and not long.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
