//! One end of a session: a connected socket, plain or behind TLS, without buffers while nothing is on its way.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::scratch::{self, READ};
use super::secure::{RECORD, Secure, Sheet, Stage};

pub(super) struct End {
    pub(super) stream: TcpStream,
    pub(super) tls: Option<Box<Secure>>,
    /// What the peer does not take yet, as it goes over the line.
    unsent: Vec<u8>,
    sent: usize,
}

/// What came of reading.
pub(super) enum Got<R> {
    /// Octets, and how many were read at once.
    Octets(R, usize),
    /// The peer has ended its side.
    Over,
}

impl End {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, tls: None, unsent: Vec::new(), sent: 0 }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Whether nothing waits to be read, now that the peer has ended its side.
    pub(super) fn is_spent(&self) -> bool {
        let mut octet = [0];
        let peeked = rustix::net::recv(&self.stream, &mut octet, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Ok((1.., _)))
    }

    /// Reads at most `most` octets from the line and gives those of the peer to `take`, with a sheet to write on.
    pub(super) fn poll_octets<R>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8], &mut Sheet) -> R,
    ) -> Poll<io::Result<Got<R>>> {
        scratch::with(|scratch| {
            loop {
                if self.tls.as_ref().is_some_and(|tls| tls.is_over()) {
                    return Poll::Ready(Ok(Got::Over));
                }
                let kept = self.tls.as_mut().map_or(0, |tls| tls.resume(&mut scratch.raw));
                let mut buffer = ReadBuf::new(&mut scratch.raw[kept..kept + most.min(READ)]);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
                let n = buffer.filled().len();
                let Some(tls) = &mut self.tls else {
                    ready!(read)?;
                    return Poll::Ready(Ok(match n {
                        0 => Got::Over,
                        n => Got::Octets(take(&scratch.raw[..n], &mut scratch.out), n),
                    }));
                };
                if n == 0 {
                    tls.keep(&scratch.raw[..kept]);
                    ready!(read)?;
                    return Poll::Ready(Ok(Got::Over));
                }
                let received = tls.receive(&mut scratch.raw[..kept + n], &mut scratch.plain, &mut scratch.back);
                if !scratch.back.is_empty() {
                    self.offer(scratch.back.octets())?;
                    scratch.back.clear();
                }
                received.map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
                if !scratch.plain.is_empty() {
                    return Poll::Ready(Ok(Got::Octets(take(scratch.plain.octets(), &mut scratch.out), n)));
                }
            }
        })
    }

    /// One step of a handshake; octets that come with its end go to `inbox`.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>, inbox: &mut Vec<u8>) -> Poll<io::Result<Stage>> {
        scratch::with(|scratch| {
            let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(Stage::Open)) };
            let kept = tls.resume(&mut scratch.raw);
            let mut buffer = ReadBuf::new(&mut scratch.raw[kept..kept + RECORD]);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let n = buffer.filled().len();
            if n == 0 {
                tls.keep(&scratch.raw[..kept]);
                ready!(read)?;
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            let received = tls.receive(&mut scratch.raw[..kept + n], &mut scratch.plain, &mut scratch.back);
            inbox.extend_from_slice(scratch.plain.octets());
            if !scratch.back.is_empty() {
                self.offer(scratch.back.octets())?;
            }
            Poll::Ready(received.map_err(|e| io::Error::new(ErrorKind::InvalidData, e)))
        })
    }

    /// Octets for the peer; `out` is a sheet that may be written on.
    pub(super) fn say(&mut self, octets: &[u8], out: &mut Sheet) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.offer(octets) };
        out.clear();
        tls.seal(octets, out).map_err(io::Error::other)?;
        self.offer(out.octets())
    }

    /// The same outside of [`End::poll_octets`].
    pub(super) fn tell(&mut self, octets: &[u8]) -> io::Result<()> {
        scratch::with(|scratch| self.say(octets, &mut scratch.out))
    }

    /// Puts octets on the line as they are; what does not fit is kept.
    pub(super) fn offer(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut octets = octets;
        if self.unsent.is_empty() {
            // Not asked whether it is ready: a socket that was just made is, and the reactor learns that a turn later.
            match rustix::net::send(&self.stream, octets, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(n) => octets = &octets[n..],
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.unsent.extend_from_slice(octets);
        Ok(())
    }

    /// Sends what is kept; ready when nothing is.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(&self.unsent[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        if !self.unsent.is_empty() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Says, where TLS can say it, that nothing more comes.
    pub(super) fn farewell(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let said = scratch::with(|scratch| {
            tls.end(&mut scratch.out).map_err(io::Error::other)?;
            Ok::<_, io::Error>(scratch.out.octets().to_vec())
        })?;
        self.offer(&said)
    }

    /// Ends this side of the connection.
    pub(super) fn shut(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.stream, Shutdown::Write) {
            // Gone already: its other side has noticed or will.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
