//! Octets of a message: small ones in memory within a budget that all mailboxes share, large ones in a file without a name.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::Sha256;
use super::{Class, Fault};

/// Messages above it go to the spool. Octets.
pub const IN_MEMORY: u64 = 1 << 20;

/// Memory for the contents of messages under way, of all mailboxes together.
#[derive(Debug, Clone)]
pub struct Budget {
    room: Arc<Semaphore>,
    all: u32,
}

/// Memory that is taken; given back on drop.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

impl Share {
    /// Gives back what is more than this: who did not know how much would come has taken the most.
    pub fn shrink(&mut self, octets: u64) {
        let keep = usize::try_from(octets).unwrap_or(usize::MAX).max(1);
        drop(self.0.split(self.0.num_permits().saturating_sub(keep)));
    }
}

impl Budget {
    /// At least one message of [`IN_MEMORY`] fits.
    pub fn new(octets: u64) -> Self {
        let all = octets.clamp(IN_MEMORY, u64::from(u32::MAX)) as u32;
        Self { room: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Takes memory when it is free. Who holds messages that are not yet handed on must not wait for more: hand them on first.
    pub fn now(&self, octets: u64) -> Option<Share> {
        self.room.clone().try_acquire_many_owned(self.of(octets)).ok().map(Share)
    }

    /// Waits for memory, in turn.
    pub async fn wait(&self, octets: u64) -> Result<Share, Fault> {
        let permit = self.room.clone().acquire_many_owned(self.of(octets)).await;
        permit.map(Share).map_err(|_| Fault::new(Class::Local, "the service stops"))
    }

    fn of(&self, octets: u64) -> u32 {
        octets.clamp(1, u64::from(self.all)) as u32
    }
}

/// Octets of one message, whole.
#[derive(Debug)]
pub enum Content {
    Memory {
        octets: Vec<u8>,
        share: Option<Share>,
    },
    /// `file` has no name, so that nothing is left behind by a kill.
    Spooled {
        file: File,
        length: u64,
    },
}

impl Content {
    pub fn length(&self) -> u64 {
        match self {
            Content::Memory { octets, .. } => octets.len() as u64,
            Content::Spooled { length, .. } => *length,
        }
    }

    /// A reader from the first octet on. Of a spooled one at most one at a time.
    pub fn reader(&self) -> std::io::Result<Box<dyn Read + Send + '_>> {
        Ok(match self {
            Content::Memory { octets, .. } => Box::new(octets.as_slice()),
            Content::Spooled { file, length } => {
                let mut file = file;
                file.seek(SeekFrom::Start(0))?;
                Box::new(file.take(*length))
            }
        })
    }
}

/// Takes a message in piece by piece and digests it on the way.
#[derive(Debug)]
pub struct Spool {
    digest: sha2::Sha256,
    kept: Kept,
    length: u64,
}

#[derive(Debug)]
enum Kept {
    Memory(Vec<u8>, Option<Share>),
    File(File),
}

impl Spool {
    /// `length` is what is announced, in octets. Above [`IN_MEMORY`] it goes to a nameless file in `folder`; `share` is for the others.
    pub fn begin(length: u64, share: Option<Share>, folder: &Path) -> Result<Self, Fault> {
        let kept = if length > IN_MEMORY {
            let failed = |e| Fault::new(Class::Local, format!("no spool file in {}: {e}", folder.display()));
            Kept::File(tempfile::tempfile_in(PathBuf::from(folder)).map_err(failed)?)
        } else {
            Kept::Memory(Vec::with_capacity(length as usize), share)
        };
        Ok(Self { digest: sha2::Sha256::new(), kept, length: 0 })
    }

    pub fn push(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.digest.update(octets);
        self.length += octets.len() as u64;
        match &mut self.kept {
            Kept::Memory(held, _) => held.extend_from_slice(octets),
            Kept::File(file) => {
                file.write_all(octets)
                    .map_err(|e| Fault::new(Class::Local, format!("the spool cannot be written: {e}")))?;
            }
        }
        Ok(())
    }

    pub fn end(self) -> (Content, Sha256) {
        let digest = Sha256(self.digest.finalize().into());
        let content = match self.kept {
            Kept::Memory(octets, share) => Content::Memory { octets, share },
            Kept::File(file) => Content::Spooled { file, length: self.length },
        };
        (content, digest)
    }
}
