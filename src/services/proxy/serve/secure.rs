//! TLS around octets, without a socket and without buffers of its own: an idle connection holds its keys and nothing else.
//!
//! rustls' unbuffered interface does the work. What is received stands in the caller's buffer, which is shared by all connections
//! of a thread; only a record that is not whole yet is kept here, and given back when its end has come.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, Error, ServerConfig};
use zeroize::Zeroize as _;

/// Octets of a record with all that stands around them (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
pub(super) const RECORD: usize = 16 * 1024 + 2048 + 5;

/// What a TLS record adds to its octets, at the most.
const AROUND: usize = 64;
const FRAGMENT: usize = 16 * 1024;

pub(super) struct Secure {
    machine: Machine,
    /// Of a record that is not whole yet.
    partial: Vec<u8>,
    /// The peer said that nothing more comes.
    over: bool,
}

enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Octets to be sent, in memory that outlives them: `buffer` keeps its length.
#[derive(Default)]
pub(super) struct Sheet {
    buffer: Vec<u8>,
    used: usize,
    /// How far it may hold what was written before.
    dirty: usize,
}

impl Sheet {
    pub(super) fn octets(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    pub(super) fn clear(&mut self) {
        self.dirty = self.dirty.max(self.used);
        self.used = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Also what stood there before.
    pub(super) fn wipe(&mut self) {
        let dirty = self.dirty.min(self.buffer.len());
        self.buffer[..dirty].zeroize();
        (self.used, self.dirty) = (0, 0);
    }

    fn room(&mut self, octets: usize) -> &mut [u8] {
        if self.buffer.len() - self.used < octets {
            self.buffer.resize(self.used + octets, 0);
        }
        &mut self.buffer[self.used..]
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.room(octets.len())[..octets.len()].copy_from_slice(octets);
        self.used += octets.len();
    }
}

/// How far a handshake or the traffic has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake goes on: send what was written, then read.
    Handshake,
    Open,
}

trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Secure {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::of(Machine::Server(UnbufferedServerConnection::new(config)?)))
    }

    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::of(Machine::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    fn of(machine: Machine) -> Self {
        Self { machine, partial: Vec::new(), over: false }
    }

    /// Whether the peer has ended its side (close_notify).
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Puts what is kept of a record in front of what will be read; how much that is.
    pub(super) fn resume(&mut self, buffer: &mut [u8]) -> usize {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        self.partial = Vec::new();
        kept
    }

    /// Takes back what [`Secure::resume`] gave.
    pub(super) fn keep(&mut self, octets: &[u8]) {
        self.partial = octets.to_vec();
    }

    /// Takes in what was received, with what [`Secure::resume`] put in front of it: octets of the peer go to `plain`, what is to be
    /// sent goes to `out`, also before an error. What is no whole record is kept.
    pub(super) fn receive(&mut self, input: &mut [u8], plain: &mut Sheet, out: &mut Sheet) -> Result<Stage, Error> {
        let over = &mut self.over;
        let (used, stage) = match &mut self.machine {
            Machine::Server(machine) => receive(machine, input, plain, out, over)?,
            Machine::Client(machine) => receive(machine, input, plain, out, over)?,
        };
        let rest = &input[used..];
        if rest.len() > RECORD {
            return Err(Error::General("more than a record is left over".into()));
        }
        self.partial = rest.to_vec();
        Ok(stage)
    }

    /// Encrypts octets into `out`, in records as large as there may be.
    pub(super) fn seal(&mut self, octets: &[u8], out: &mut Sheet) -> Result<(), Error> {
        match &mut self.machine {
            Machine::Server(machine) => write(machine, Some(octets), out),
            Machine::Client(machine) => write(machine, Some(octets), out),
        }
    }

    /// Says that nothing more comes.
    pub(super) fn end(&mut self, out: &mut Sheet) -> Result<(), Error> {
        match &mut self.machine {
            Machine::Server(machine) => write(machine, None, out),
            Machine::Client(machine) => write(machine, None, out),
        }
    }
}

fn receive<M: Process>(
    machine: &mut M,
    input: &mut [u8],
    plain: &mut Sheet,
    out: &mut Sheet,
    over: &mut bool,
) -> Result<(usize, Stage), Error> {
    let mut at = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = machine.process(&mut input[at..]);
        let stage = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plain.push(record.payload);
                    discard += record.discard;
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(|room| data.encode(room), out).map(|()| None)?,
            // What was encoded goes out in its order; nobody waits for that.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                *over = true;
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Stage::Handshake),
            Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => Some(Stage::Open),
            Ok(_) => return Err(Error::General("early data, which nobody offered".into())),
            Err(error) => {
                alert(machine, out);
                return Err(error);
            }
        };
        at += discard;
        if let Some(stage) = stage {
            return Ok((at, stage));
        }
    }
}

/// The alert of an error, for the peer.
fn alert<M: Process>(machine: &mut M, out: &mut Sheet) {
    while let Ok(ConnectionState::EncodeTlsData(mut data)) = machine.process(&mut []).state {
        if encode(|room| data.encode(room), out).is_err() {
            return;
        }
    }
}

/// `None` is the end.
fn write<M: Process>(machine: &mut M, octets: Option<&[u8]>, out: &mut Sheet) -> Result<(), Error> {
    loop {
        match machine.process(&mut []).state? {
            ConnectionState::EncodeTlsData(mut data) => encode(|room| data.encode(room), out)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::WriteTraffic(mut traffic) => {
                let length = octets.map_or(0, <[u8]>::len);
                let room = out.room(length + (length / FRAGMENT + 1) * AROUND);
                let written = match octets {
                    Some(octets) => traffic.encrypt(octets, room),
                    None => traffic.queue_close_notify(room),
                };
                out.used += written.map_err(|e| match e {
                    EncryptError::InsufficientSize(_) => Error::General("a record is larger than it may be".into()),
                    EncryptError::EncryptExhausted => Error::EncryptError,
                })?;
                return Ok(());
            }
            ConnectionState::PeerClosed => {}
            // Nothing can be written before a handshake is over, and after the end there is nothing to say.
            ConnectionState::Closed if octets.is_none() => return Ok(()),
            _ => return Err(Error::HandshakeNotComplete),
        }
    }
}

fn encode(mut step: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>, out: &mut Sheet) -> Result<(), Error> {
    let mut wanted = FRAGMENT;
    loop {
        match step(out.room(wanted)) {
            Ok(written) => {
                out.used += written;
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) if required_size > wanted => {
                wanted = required_size;
            }
            Err(e) => return Err(Error::General(e.to_string())),
        }
    }
}
