//! Sealed passwords: a file a user, `DIGEST.age`, where DIGEST is the SHA-256 of the user's name. Who has the offline key reads
//! them by `age --decrypt`; on this host nobody does.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::Digest;

/// Octets of the spool when the configuration tells no bound: some 200,000 users.
const BOUND: u64 = 64 << 20;

pub(super) struct Spool {
    folder: PathBuf,
    recipient: age::x25519::Recipient,
    bound: u64,
    used: u64,
}

/// A file that is destroyed, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// Nothing for a file whose user nobody knows any more.
    pub user: Option<String>,
    pub file: String,
    /// Of the sealed content, in hexadecimal.
    pub sha256: String,
    pub octets: u64,
    /// When it was written, in seconds since 1970.
    pub written: i64,
}

#[derive(Debug)]
pub(super) enum Kept {
    Stored,
    /// It found no room.
    Full,
}

/// The file of a user's sealed password.
pub fn file_name(user: &str) -> String {
    format!("{}.age", Digest::of(user.as_bytes()))
}

impl Spool {
    pub(super) fn open(folder: &Path, recipient: &str, bound: Option<u64>) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("passwords.store: {}: {e}", folder.display());
        let recipient = recipient.parse().map_err(|e| format!("passwords.recipient: {e}"))?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut spool = Self { folder: folder.to_owned(), recipient, bound: bound.unwrap_or(BOUND), used: 0 };
        for (path, octets, _) in spool.files().map_err(failed)? {
            if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")) {
                // What a crash has left of a file that nobody was told of.
                std::fs::remove_file(&path).map_err(failed)?;
            } else {
                spool.used += octets;
            }
        }
        Ok(spool)
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Since when a user whose password lies here is on the new side, in seconds since 1970: since this was asked first. Nothing
    /// for a user whose password does not lie here.
    pub(super) fn moved_since(&self, user: &str, now: i64) -> std::io::Result<Option<i64>> {
        let file = self.folder.join(file_name(user));
        if !file.exists() {
            return Ok(None);
        }
        let mark = file.with_extension("moved");
        match std::fs::read_to_string(&mark) {
            Ok(text) => Ok(text.trim().parse().ok().or(Some(now))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                super::replace(&self.folder, &mark, now.to_string().as_bytes())?;
                Ok(Some(now))
            }
            Err(e) => Err(e),
        }
    }

    /// A user is not on the new side, or not any more.
    pub(super) fn unmark(&self, user: &str) {
        let _ = std::fs::remove_file(self.folder.join(file_name(user)).with_extension("moved"));
    }

    pub(super) fn count(&self) -> std::io::Result<usize> {
        Ok(self.files()?.iter().filter(|(path, ..)| path.extension().is_some_and(|e| e == "age")).count())
    }

    /// Path, octets, time of each file.
    fn files(&self) -> std::io::Result<Vec<(PathBuf, u64, i64)>> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let m = entry.metadata()?;
            if m.is_file() {
                out.push((entry.path(), m.len(), m.mtime()));
            }
        }
        out.sort();
        Ok(out)
    }

    /// Seals a password before anything of it touches the disk; the file appears whole, instead of the user's former one.
    pub(super) fn store(&mut self, user: &str, at: i64, password: &[u8]) -> std::io::Result<Kept> {
        #[derive(Serialize)]
        struct Sealed<'a> {
            version: u32,
            user: &'a str,
            at: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            password: Option<&'a str>,
            /// Octets that are no UTF-8.
            #[serde(skip_serializing_if = "Option::is_none")]
            octets: Option<&'a [u8]>,
        }
        let text = std::str::from_utf8(password).ok();
        let sealed = Sealed { version: 1, user, at, password: text, octets: text.is_none().then_some(password) };
        // As large as it can become, so that it does not grow and leave parts of it behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(256 + 6 * (user.len() + password.len())));
        serde_json::to_writer(&mut *plain, &sealed)?;
        let recipients = std::iter::once(&self.recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(std::io::Error::other)?;
        let mut octets = Vec::with_capacity(plain.len() + 512);
        let mut writer = encryptor.wrap_output(&mut octets)?;
        writer.write_all(&plain)?;
        writer.finish()?;
        let path = self.folder.join(file_name(user));
        let former = std::fs::metadata(&path).map_or(0, |m| m.len());
        let used = self.used.saturating_sub(former) + octets.len() as u64;
        if used > self.bound {
            return Ok(Kept::Full);
        }
        super::replace(&self.folder, &path, &octets)?;
        self.used = used;
        Ok(Kept::Stored)
    }

    /// Destroys the files that `which` names by file name and time: overwritten, forced to the disk, removed.
    pub(super) fn destroy(&mut self, mut which: impl FnMut(&str, i64) -> bool) -> std::io::Result<Vec<Destroyed>> {
        let mut out = Vec::new();
        for (path, octets, written) in self.files()? {
            let Some(name) = path.file_name().and_then(|n| n.to_str()).filter(|n| n.ends_with(".age")) else {
                continue;
            };
            if !which(name, written) {
                continue;
            }
            let content = std::fs::read(&path)?;
            let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.write_all(&vec![0; content.len()])?;
            file.sync_all()?;
            std::fs::remove_file(&path)?;
            let _ = std::fs::remove_file(path.with_extension("moved"));
            self.used = self.used.saturating_sub(octets);
            let sha256 = Digest::of(&content).0;
            out.push(Destroyed { user: None, file: name.to_owned(), sha256, octets, written });
        }
        File::open(&self.folder)?.sync_all()?;
        Ok(out)
    }
}
