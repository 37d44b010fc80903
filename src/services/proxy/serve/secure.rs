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
    /// An error was found: rustls is not asked again, since what it has noted of `partial` is gone.
    broken: bool,
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
        Self { machine, partial: Vec::new(), over: false, broken: false }
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
        if self.broken {
            return Err(Error::General("it is over".into()));
        }
        let over = &mut self.over;
        let received = match &mut self.machine {
            Machine::Server(machine) => receive(machine, input, plain, out, over),
            Machine::Client(machine) => receive(machine, input, plain, out, over),
        };
        self.broken = received.is_err();
        let (used, stage) = received?;
        let rest = &input[used..];
        if rest.len() > RECORD {
            self.broken = true;
            return Err(Error::General("more than a record is left over".into()));
        }
        self.partial = rest.to_vec();
        Ok(stage)
    }

    /// Encrypts octets into `out`, in records as large as there may be.
    pub(super) fn seal(&mut self, octets: &[u8], out: &mut Sheet) -> Result<(), Error> {
        self.write(Some(octets), out)
    }

    /// Says that nothing more comes.
    pub(super) fn end(&mut self, out: &mut Sheet) -> Result<(), Error> {
        self.write(None, out)
    }

    fn write(&mut self, octets: Option<&[u8]>, out: &mut Sheet) -> Result<(), Error> {
        if self.broken {
            return Err(Error::General("it is over".into()));
        }
        match &mut self.machine {
            Machine::Server(machine) => write(machine, &mut self.partial, octets, out),
            Machine::Client(machine) => write(machine, &mut self.partial, octets, out),
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
                alert(machine, &mut input[at + discard..], out);
                return Err(error);
            }
        };
        at += discard;
        if let Some(stage) = stage {
            return Ok((at, stage));
        }
    }
}

/// The alert of an error, for the peer. With what is left of the input: rustls has noted where in it messages stand.
fn alert<M: Process>(machine: &mut M, rest: &mut [u8], out: &mut Sheet) {
    while let Ok(ConnectionState::EncodeTlsData(mut data)) = machine.process(rest).state {
        if encode(|room| data.encode(room), out).is_err() {
            return;
        }
    }
}

/// `None` is the end. `partial` is what was received and is no whole record: rustls may have noted where in it a message begins.
fn write<M: Process>(
    machine: &mut M,
    partial: &mut Vec<u8>,
    octets: Option<&[u8]>,
    out: &mut Sheet,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { discard, state } = machine.process(partial);
        match state? {
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
        partial.drain(..discard);
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

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn pair(trusted: bool) -> (Secure, Secure) {
        let made = rcgen::generate_simple_self_signed(vec!["mail.test".to_owned()]).unwrap();
        let chain = vec![made.cert.der().clone()];
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(default_provider());
        let server =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let server = server.with_no_client_auth().with_single_cert(chain.clone(), key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let other = rcgen::generate_simple_self_signed(vec!["mail.test".to_owned()]).unwrap();
        roots.add(if trusted { chain[0].clone() } else { other.cert.der().clone() }).unwrap();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("mail.test").unwrap();
        (Secure::client(Arc::new(client), name).unwrap(), Secure::server(Arc::new(server)).unwrap())
    }

    /// Gives one side what the other has written, in pieces of `cut`; what it then has to say, and its plain octets.
    fn feed(to: &mut Secure, octets: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let (mut plain, mut out) = (Sheet::default(), Sheet::default());
        let mut buffer = vec![0; RECORD + cut];
        for piece in octets.chunks(cut) {
            let kept = to.resume(&mut buffer);
            buffer[kept..kept + piece.len()].copy_from_slice(piece);
            to.receive(&mut buffer[..kept + piece.len()], &mut plain, &mut out)?;
        }
        Ok((out.octets().to_vec(), plain.octets().to_vec()))
    }

    #[test]
    fn octets_come_through_however_they_are_cut_and_written_between() {
        for cut in [1, 2, 3, 7, 100, 5000, 100_000] {
            let (mut client, mut server) = pair(true);
            let (mut hello, mut out) = (Sheet::default(), Sheet::default());
            client.receive(&mut [], &mut out, &mut hello).unwrap();
            let mut for_server = hello.octets().to_vec();
            while !for_server.is_empty() {
                let (for_client, _) = feed(&mut server, &for_server, cut).unwrap();
                // In parts, and the client writes while a ticket of the server is half here.
                let half = for_client.len() - for_client.len().min(60);
                let (one, _) = feed(&mut client, &for_client[..half], cut).unwrap();
                if client.seal(b"early", &mut out).is_err() {
                    out.clear();
                }
                let (two, _) = feed(&mut client, &for_client[half..], cut).unwrap();
                for_server = [one, two].concat();
            }
            let said: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
            out.clear();
            server.seal(&said, &mut out).unwrap();
            let records = out.octets().len();
            assert!(records < said.len() + 4 * AROUND, "records of 16 KiB: {records}");
            let (_, plain) = feed(&mut client, out.octets(), cut).unwrap();
            assert_eq!(plain, said, "{cut}");
            out.clear();
            server.end(&mut out).unwrap();
            feed(&mut client, out.octets(), cut).unwrap();
            assert!(client.is_over() && client.partial.is_empty());
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_an_error_with_an_alert_and_no_panic() {
        for cut in [1, 50, 1000, 100_000] {
            let (mut client, mut server) = pair(false);
            let (mut hello, mut out) = (Sheet::default(), Sheet::default());
            client.receive(&mut [], &mut out, &mut hello).unwrap();
            let (for_client, _) = feed(&mut server, hello.octets(), cut).unwrap();
            assert!(matches!(feed(&mut client, &for_client, cut), Err(Error::InvalidCertificate(_))));
            assert!(client.end(&mut out).is_err() && client.seal(b"x", &mut out).is_err());
            assert!(feed(&mut client, &for_client, cut).is_err());
        }
    }
}
