//! The content of one message, from the wire into memory or the spool.

use crate::services::cms::mailbox::{Content, Fault, IN_MEMORY, Sha256, Spool};
use crate::services::cms::source::Means;
use crate::services::cms::wire::Stream;

pub(super) struct Taker<'m> {
    means: &'m Means,
    taken: Option<Taken>,
}

pub(super) enum Taken {
    Content(Content, Sha256),
    /// It was passed over. Octets.
    TooLarge(u64),
}

impl<'m> Taker<'m> {
    pub(super) fn new(means: &'m Means) -> Self {
        Self { means, taken: None }
    }

    /// What came since the last call.
    pub(super) fn taken(&mut self) -> Option<Taken> {
        self.taken.take()
    }

    /// Reads `length` octets. May wait for memory: nothing is held here then that is not handed on.
    pub(super) async fn take(&mut self, stream: &mut Stream, length: u64) -> Result<(), Fault> {
        if length > self.means.largest {
            self.taken = Some(Taken::TooLarge(length));
            return skip(stream, length).await;
        }
        let share = match length <= IN_MEMORY {
            true => Some(self.means.budget.wait(length).await?),
            false => None,
        };
        let mut spool = Spool::begin(length, share, &self.means.spool)?;
        let mut left = length;
        while left > 0 {
            let piece = stream.some(left).await?;
            left -= piece.len() as u64;
            spool.push(piece)?;
        }
        let (content, digest) = spool.end();
        self.taken = Some(Taken::Content(content, digest));
        Ok(())
    }

    /// A content that came as a string within an answer.
    pub(super) async fn hold(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let length = octets.len() as u64;
        let share = self.means.budget.wait(length.min(IN_MEMORY)).await?;
        let mut spool = Spool::begin(length, Some(share), &self.means.spool)?;
        spool.push(octets)?;
        let (content, digest) = spool.end();
        self.taken = Some(Taken::Content(content, digest));
        Ok(())
    }
}

pub(super) async fn skip(stream: &mut Stream, length: u64) -> Result<(), Fault> {
    let mut left = length;
    while left > 0 {
        left -= stream.some(left).await?.len() as u64;
    }
    Ok(())
}
