//! Secret values: read only when used, held in memory for one run, wiped on drop, never printed.
//!
//! ```text
//! SecretRef ──Resolver──▶ bytes ──▶ content of a step (stdin of the host's script)
//!                           └─────▶ Scrub: hides them in whatever a host or a program prints
//! ```
//!
//! Plans, the journal, reports and errors hold references only. [`seal()`] fills the digests that planning compares.

use std::future::Future;

use zeroize::Zeroizing;

use crate::model::attr::{Body, SecretRef, Segment};

pub mod crypt;
mod key;
mod passwd;
mod resolver;
mod scheme;
mod scrub;
mod seal;
mod vault;

pub use key::{KeyError, StateKey};
pub use resolver::{Resolver, Settings, Vault};
pub use scheme::decrypt;
pub use scrub::Scrub;
pub use seal::seal;
pub use secrecy::{ExposeSecret, SecretString};

/// A secret that could not be read. Names the reference, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret {reference}: {message}")]
pub struct SecretError {
    /// As written in the topology; for a local file that is no secret, `PATH`.
    pub reference: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl SecretError {
    pub fn new(reference: impl ToString, message: impl Into<String>) -> Self {
        Self { reference: reference.to_string(), message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Turns references into values. [`Resolver`] is the real one; tests hand in [`Resolver::fixed`].
pub trait Resolve: Send + Sync + 'static {
    /// The value behind a reference, one trailing newline cut.
    fn bytes(&self, reference: &SecretRef) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, SecretError>> + Send;

    /// A local file that is no secret (a program to upload), relative to the topology's root folder.
    fn local_file(&self, path: &str) -> impl Future<Output = Result<Vec<u8>, SecretError>> + Send;

    /// The octets of one of our own programs, for a host of the same kind as this one.
    fn program(&self, name: &str) -> impl Future<Output = Result<Vec<u8>, SecretError>> + Send;

    /// Hides every value that this resolver has handed out in a text that comes from elsewhere.
    fn scrub(&self, text: &str) -> String;

    /// One more value that [`Resolve::scrub`] hides: what was made from a secret (a password hash).
    fn hide(&self, reference: &SecretRef, value: &[u8]);

    /// The value as text; an error when it is not UTF-8.
    fn secret(&self, reference: &SecretRef) -> impl Future<Output = Result<SecretString, SecretError>> + Send {
        async move {
            let bytes = self.bytes(reference).await?;
            match std::str::from_utf8(&bytes) {
                Ok(text) => Ok(SecretString::from(text)),
                Err(_) => Err(SecretError::new(reference, "its value is not UTF-8 text")),
            }
        }
    }

    /// The bytes that a host shall hold.
    fn content(&self, body: &Body) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, SecretError>> + Send {
        async move {
            let mut parts = Vec::with_capacity(body.segments.len());
            for segment in &body.segments {
                parts.push(match segment {
                    Segment::Text(text) => Zeroizing::new(text.clone().into_bytes()),
                    Segment::Secret(reference) => self.bytes(reference).await?,
                    Segment::PasswordHash { secret, salt } => {
                        let password = self.bytes(secret).await?;
                        let hash = crypt::sha512_crypt(&password, salt)
                            .map_err(|e| SecretError::new(secret, format!("its hash could not be made: {e}")))?;
                        self.hide(secret, hash.as_bytes());
                        Zeroizing::new(hash.into_bytes())
                    }
                    Segment::LocalFile(path) => Zeroizing::new(self.local_file(path).await?),
                    Segment::Program(name) => Zeroizing::new(self.program(name).await?),
                });
            }
            // Reserved once: a vector that grows would leave unwiped copies behind.
            let mut content = Zeroizing::new(Vec::with_capacity(parts.iter().map(|p| p.len()).sum()));
            for part in &parts {
                content.extend_from_slice(part);
            }
            Ok(content)
        }
    }
}
