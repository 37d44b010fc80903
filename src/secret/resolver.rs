//! Reads each reference once a run and keeps the value in memory until the run ends.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::passwd::{self, Passwd};
use super::scheme;
use super::vault;
use super::{Resolve, Scrub, SecretError};
use crate::model::attr::SecretRef;

/// A `vault` node of the topology: HashiCorp Vault, key-value engine version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Name of the node; with several vaults a reference begins with it: `vault:NAME/PATH#KEY`.
    pub name: String,
    /// `https://vault.example:8200`.
    pub url: String,
    /// Where the engine is mounted, `secret` unless said otherwise.
    pub mount: String,
    pub token: SecretRef,
    /// PEM file of the authority that signed the server's certificate, relative to the root folder.
    pub ca: Option<String>,
}

/// Where the schemes look.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The topology's root folder: `file:`, `age:` and local files are relative to it, and `cmd:` runs in it.
    pub root: PathBuf,
    /// File with age identities (`AGE-SECRET-KEY-1...`), from `CUTOVER_AGE_IDENTITY`.
    pub age_identity: Option<PathBuf>,
    pub vaults: Vec<Vault>,
    /// Folder of our own programs: that of the running one.
    pub programs: Option<PathBuf>,
    /// Time limit of `cmd:` and of a request to a vault.
    pub limit: Duration,
}

impl Settings {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            age_identity: None,
            vaults: Vec::new(),
            programs: None,
            limit: Duration::from_secs(30),
        }
    }
}

type Cell = Arc<OnceCell<Zeroizing<Vec<u8>>>>;

/// Reads `env:`, `file:`, `age:`, `cmd:` and `vault:` references.
pub struct Resolver {
    settings: Settings,
    cache: Mutex<HashMap<SecretRef, Cell>>,
    scrub: Scrub,
    /// Passwd-files by what names them, each read apart once.
    passwd: Mutex<HashMap<SecretRef, Arc<Passwd>>>,
    /// Only the values given at construction.
    fixed: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        Self { settings, cache: Mutex::default(), scrub: Scrub::default(), passwd: Mutex::default(), fixed: false }
    }

    /// Knows these values and nothing else; for tests and benchmarks.
    pub fn fixed<const N: usize>(values: [(&str, &str); N]) -> Self {
        let mut this = Self::new(Settings::new("."));
        this.fixed = true;
        for (reference, value) in BTreeMap::from(values) {
            this.scrub.add(reference, value.as_bytes());
            let value = Zeroizing::new(value.as_bytes().to_vec());
            let cell = Arc::new(OnceCell::new_with(Some(value)));
            this.cache.get_mut().unwrap_or_else(PoisonError::into_inner).insert(SecretRef(reference.into()), cell);
        }
        this
    }

    /// The values handed out so far, to hide them in foreign text.
    pub fn scrubber(&self) -> Scrub {
        self.scrub.clone()
    }

    fn cell(&self, reference: &SecretRef) -> Cell {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.entry(reference.clone()).or_default().clone()
    }

    /// The value of any scheme but `vault`.
    async fn plain(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        if self.fixed {
            return Err(SecretError::new(reference, "is not among the given values"));
        }
        let value = match reference.parts() {
            ("env", name) => scheme::env(reference, name),
            ("file", path) => scheme::file(reference, &self.settings.root.join(path)).await,
            ("age", path) => scheme::age(reference, &self.settings, path).await,
            ("cmd", line) => scheme::command(reference, line, &self.settings).await,
            ("vault", _) => Err(SecretError::new(reference, "the token of a vault cannot itself come from a vault")
                .help("use env:, file:, age: or cmd: for the token")),
            _ => Err(SecretError::new(reference, "has no known scheme")
                .help("write env:NAME, file:PATH, age:PATH, cmd:LINE or vault:PATH#KEY")),
        }?;
        self.scrub.add(&reference.0, &value);
        Ok(value)
    }

    /// The seed of the Ed25519 key that another reference leads to: made by lowering for rspamd, which takes no PEM of such a key.
    async fn seed(&self, reference: &SecretRef, of: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let pem = self.value(&SecretRef(of.into())).await?;
        let seed =
            scheme::seed(&pem).ok_or_else(|| SecretError::new(reference, "is no Ed25519 key in PEM (PKCS #8)"))?;
        self.scrub.add(&reference.0, &seed);
        Ok(seed)
    }

    /// The hash that the passwd-file behind another reference has of somebody.
    async fn imported(
        &self,
        reference: &SecretRef,
        user: &str,
        of: &SecretRef,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let known = |this: &Self| this.passwd.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned();
        let passwd = match known(self) {
            Some(passwd) => passwd,
            None => {
                let read = Arc::new(Passwd::parse(&self.value(of).await?));
                self.passwd.lock().unwrap_or_else(PoisonError::into_inner).insert(of.clone(), read.clone());
                read
            }
        };
        let hash = passwd.hash(user).map_err(|why| {
            SecretError::new(reference, why)
                .help("let this person have a new password: write `reset` in the column `password`")
        })?;
        self.scrub.add(&reference.0, &hash);
        Ok(hash)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        if let ("ed25519-seed", of) = reference.parts() {
            return self.seed(reference, of).await;
        }
        if let ("imported-hash", rest) = reference.parts()
            && let Some((user, of)) = passwd::user_and_file(rest)
        {
            return self.imported(reference, user, &SecretRef(of.into())).await;
        }
        self.value(reference).await
    }

    async fn value(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let ("vault", rest) = reference.parts() else {
            return self.plain(reference).await;
        };
        if self.fixed {
            return Err(SecretError::new(reference, "is not among the given values"));
        }
        let place = vault::locate(reference, rest, &self.settings.vaults)?;
        let token = self.plain(&place.vault.token).await?;
        let value = vault::read(reference, &place, &token, &self.settings).await?;
        self.scrub.add(&reference.0, &value);
        Ok(value)
    }
}

impl Resolve for Resolver {
    async fn bytes(&self, reference: &SecretRef) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let cell = self.cell(reference);
        cell.get_or_try_init(|| self.read(reference)).await.cloned()
    }

    async fn local_file(&self, path: &str) -> Result<Vec<u8>, SecretError> {
        let full = self.settings.root.join(path);
        tokio::fs::read(&full).await.map_err(|e| {
            SecretError::new(path, format!("the local file {} cannot be read: {e}", full.display()))
                .help("paths are relative to the topology's root folder")
        })
    }

    async fn program(&self, name: &str) -> Result<Vec<u8>, SecretError> {
        let missing = |why: String| {
            SecretError::new(name, why).help(format!(
                "{name} stands in the folder of cutover itself: install both, or build both with `cargo build`"
            ))
        };
        let Some(folder) = &self.settings.programs else {
            return Err(missing(format!("the program {name} is nowhere to be read")));
        };
        let full = folder.join(name);
        tokio::fs::read(&full).await.map_err(|e| missing(format!("the program {} cannot be read: {e}", full.display())))
    }

    fn scrub(&self, text: &str) -> String {
        self.scrub.clean(text)
    }

    fn hide(&self, reference: &SecretRef, value: &[u8]) {
        self.scrub.add(&reference.0, value);
    }
}
