//! An end before the login is through: read as far as its machine takes, written to with patience that has an end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::time::Sleep;
use zeroize::Zeroizing;

use super::end::{End, Got};
use super::scratch;
use super::secure::{RECORD, Secure, Stage};

/// Octets of the line that are read at once before the login is through.
const AT_ONCE: usize = 4 * 1024;

pub(super) struct Wire {
    pub(super) end: End,
    /// Decrypted, and not taken by the machine yet. At most one record.
    inbox: Zeroizing<Vec<u8>>,
}

/// Why nothing came of waiting.
#[derive(Debug)]
pub(super) enum Lost {
    /// The peer has ended the connection, or the network has.
    Gone(io::Error),
    /// Its time is over.
    Late,
    /// A handshake of TLS that failed.
    Tls(io::Error),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Gone(e) => write!(f, "the connection was lost: {e}"),
            Lost::Late => f.write_str("its time is over"),
            Lost::Tls(e) => write!(f, "TLS: {e}"),
        }
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has ended it")
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { end: End::new(stream), inbox: Zeroizing::default() }
    }

    /// What was read and belongs to whoever reads next.
    pub(super) fn into_parts(self) -> (End, Zeroizing<Vec<u8>>) {
        (self.end, self.inbox)
    }

    /// The next octets of the peer, at most `room`.
    pub(super) async fn read(
        &mut self,
        room: usize,
        mut until: Pin<&mut Sleep>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Lost> {
        if !self.inbox.is_empty() {
            let n = room.min(self.inbox.len());
            take(&self.inbox[..n]);
            self.inbox = Zeroizing::new(self.inbox[n..].to_vec());
            return Ok(());
        }
        let got = poll_fn(|cx| {
            // Looked at first: a client that is never silent has no more time than others.
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Lost::Late));
            }
            self.poll_read(cx, room, &mut take).map_err(Lost::Gone)
        });
        match got.await? {
            true => Ok(()),
            false => Err(Lost::Gone(over())),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize, take: &mut impl FnMut(&[u8])) -> Poll<io::Result<bool>> {
        // What TLS or the machine has said stands before what it hears.
        let _ = self.end.poll_flush(cx)?;
        let most = if self.end.is_plain() { room.min(AT_ONCE) } else { AT_ONCE };
        let inbox = &mut self.inbox;
        let got = self.end.poll_octets(cx, most, |octets, _| {
            let n = room.min(octets.len());
            take(&octets[..n]);
            inbox.extend_from_slice(&octets[n..]);
        });
        let got = ready!(got)?;
        if let Got::Octets(_, n) = got {
            scratch::wipe(if self.end.is_plain() { n } else { AT_ONCE + RECORD });
        }
        Poll::Ready(Ok(matches!(got, Got::Octets(..))))
    }

    /// Octets for the peer. They are sent when this returns, unless the peer is slow: the rest goes with what comes next.
    pub(super) fn say(&mut self, octets: &[u8]) -> Result<(), Lost> {
        self.end.tell(octets).map_err(Lost::Gone)
    }

    /// Waits until all is sent.
    pub(super) async fn flush(&mut self, mut until: Pin<&mut Sleep>) -> Result<(), Lost> {
        poll_fn(|cx| match self.end.poll_flush(cx) {
            Poll::Pending if until.as_mut().poll(cx).is_ready() => Poll::Ready(Err(Lost::Late)),
            polled => polled.map_err(Lost::Gone),
        })
        .await
    }

    /// Begins TLS. `early` are octets that were read with a PROXY header and belong to the handshake.
    pub(super) async fn secure(&mut self, tls: Secure, early: &[u8], mut until: Pin<&mut Sleep>) -> Result<(), Lost> {
        self.flush(until.as_mut()).await?;
        let mut tls = Box::new(tls);
        let mut stage = self.feed(&mut tls, early)?;
        self.end.tls = Some(tls);
        while stage == Stage::Handshake {
            let step = poll_fn(|cx| {
                if until.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Lost::Late));
                }
                // What does not fit yet is sent while this waits.
                let _ = self.end.poll_flush(cx).map_err(Lost::Gone)?;
                self.end.poll_handshake(cx, &mut self.inbox).map_err(Lost::Tls)
            });
            stage = step.await?;
        }
        Ok(())
    }

    fn feed(&mut self, tls: &mut Secure, early: &[u8]) -> Result<Stage, Lost> {
        let mut early = early.to_vec();
        scratch::with(|scratch| {
            let fed = tls.receive(&mut early, &mut scratch.plain, &mut scratch.back);
            self.inbox.extend_from_slice(scratch.plain.octets());
            self.end.offer(scratch.back.octets()).map_err(Lost::Gone)?;
            fed.map_err(|e| Lost::Tls(io::Error::other(e)))
        })
    }
}
