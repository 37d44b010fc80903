//! A connection to a server: TCP, TLS, compression, time-outs. Gives lines, and octets in pieces as they come, so that who reads a
//! message needs no memory for all of it. Knows no protocol: STARTTLS, STLS and COMPRESS are negotiated by who speaks one.

pub(in crate::services::cms) mod http;
mod squeeze;

use std::fmt;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroize as _;

use self::squeeze::Squeeze;
use super::config::{End, Tls};
use super::mailbox::{Class, Fault};
use crate::services::trust;

/// Octets that are read at once. A service has hundreds of connections: what each keeps for itself is what its memory is.
const PIECE: usize = 16 << 10;
/// Octets to be sent that are gathered before they go out by themselves.
const GATHERED: usize = 32 << 10;

/// One connection. Whatever fails breaks it: what is under way is then unknown.
pub struct Stream {
    socket: Socket,
    squeeze: Option<Box<Squeeze>>,
    /// Received and not taken from `taken` on.
    held: Vec<u8>,
    taken: usize,
    /// Of `held`, where no end of a line was found.
    scanned: usize,
    out: Vec<u8>,
    /// Without any octet coming or going.
    timeout: Duration,
    /// For texts: `HOST:PORT`.
    server: String,
    counts: Counts,
}

/// Octets on the wire, compressed where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub received: u64,
    pub sent: u64,
}

enum Socket {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    Gone,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

impl Socket {
    fn get(&mut self) -> Result<&mut dyn Both, Fault> {
        match self {
            Socket::Plain(socket) => Ok(socket),
            Socket::Secure(socket) => Ok(&mut **socket),
            Socket::Gone => Err(Fault::new(Class::Unreachable, "the connection is over")),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.server)
    }
}

impl Stream {
    /// Connects to the server of an end, with TLS at once where `tls = "implicit"`. With `"starttls"` who calls negotiates it and
    /// then calls [`Stream::secure`].
    pub async fn connect(end: &End) -> Result<Self, Fault> {
        let server = end.server.clone().unwrap_or_default();
        let (host, port) = host_and_port(&server)?;
        let failed = |e: &dyn fmt::Display| Fault::new(Class::Unreachable, format!("{server}: {e}"));
        let connected = tokio::time::timeout(end.timeout, TcpStream::connect((host, port))).await;
        let socket = connected.map_err(|_| failed(&"no connection in time"))?.map_err(|e| failed(&e))?;
        socket.set_nodelay(true).map_err(|e| failed(&e))?;
        let mut stream = Self {
            socket: Socket::Plain(socket),
            squeeze: None,
            held: Vec::new(),
            taken: 0,
            scanned: 0,
            // So much that no password is left behind by growing.
            out: Vec::with_capacity(16 << 10),
            timeout: end.timeout,
            server,
            counts: Counts::default(),
        };
        if end.tls == Tls::Implicit {
            stream.secure(end).await?;
        }
        Ok(stream)
    }

    /// Starts TLS, after the server has agreed to it. Whatever it sent in plain text before TLS was put there by somebody
    /// (CVE-2011-0411 and its kin): then the connection ends.
    pub async fn secure(&mut self, end: &End) -> Result<(), Fault> {
        if self.taken < self.held.len() || !self.out.is_empty() {
            return Err(self.protocol("plain text before TLS begins; somebody may stand in between"));
        }
        let Socket::Plain(socket) = std::mem::replace(&mut self.socket, Socket::Gone) else {
            return Err(self.protocol("TLS twice"));
        };
        let (host, _) = host_and_port(&self.server)?;
        let name = end.tls_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|e| Fault::new(Class::Local, format!("{}: tls-name: {e}", self.server)))?;
        let connector = TlsConnector::from(tls_client(end)?);
        let shaken = tokio::time::timeout(self.timeout, connector.connect(name, socket)).await;
        let shaken = shaken.map_err(|_| self.unreachable("TLS was not agreed on in time"))?;
        let socket = shaken.map_err(|e| match e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            // Nothing goes on as if it were the server; but a certificate that is wrong now may be right soon, when servers are just being set up.
            Some(rustls::Error::InvalidCertificate(e)) => self.unreachable(&format!(
                "its certificate is not accepted ({e}); see verify, ca, tls-name and pins of this end"
            )),
            _ => self.unreachable(&format!("TLS: {e}")),
        })?;
        self.socket = Socket::Secure(Box::new(socket));
        Ok(())
    }

    pub fn is_secure(&self) -> bool {
        matches!(self.socket, Socket::Secure(_))
    }

    /// From here on both sides compress (RFC 4978). To be called after the server's OK, before anything else is sent.
    pub fn compress(&mut self) -> Result<(), Fault> {
        let mut squeeze = Box::new(Squeeze::new());
        let packed = self.held.split_off(self.taken);
        self.held.clear();
        (self.taken, self.scanned) = (0, 0);
        squeeze.unpack(&packed, &mut self.held).map_err(|e| self.protocol(&e))?;
        self.squeeze = Some(squeeze);
        Ok(())
    }

    /// The next line without its end, which may be LF alone: old servers write such. `bound` is in octets.
    pub async fn line(&mut self, bound: usize) -> Result<Vec<u8>, Fault> {
        loop {
            let from = self.scanned.max(self.taken);
            if let Some(n) = self.held[from..].iter().position(|b| *b == b'\n') {
                let end = from + n;
                let line = &self.held[self.taken..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                (self.taken, self.scanned) = (end + 1, end + 1);
                return Ok(line);
            }
            self.scanned = self.held.len();
            if self.held.len() - self.taken > bound {
                return Err(self.protocol(&format!("a line is longer than {bound} octets")));
            }
            self.fill().await?;
        }
    }

    /// Some of the next octets, at least one and at most `most` (which is not 0).
    pub async fn some(&mut self, most: u64) -> Result<&[u8], Fault> {
        if self.taken == self.held.len() {
            self.fill().await?;
        }
        let from = self.taken;
        let n = (self.held.len() - from).min(usize::try_from(most).unwrap_or(usize::MAX));
        self.taken += n;
        Ok(&self.held[from..from + n])
    }

    /// All that was received and not taken, after waiting for at least one octet: who must look before taking uses it with [`Stream::skip`].
    pub async fn peek(&mut self) -> Result<&[u8], Fault> {
        if self.taken == self.held.len() {
            self.fill().await?;
        }
        Ok(&self.held[self.taken..])
    }

    /// Takes octets that were seen by [`Stream::peek`].
    pub fn skip(&mut self, n: usize) {
        self.taken = (self.taken + n).min(self.held.len());
    }

    /// Exactly the next `n` octets, in memory: for names and other small things.
    pub async fn octets(&mut self, n: usize) -> Result<Vec<u8>, Fault> {
        let mut found = Vec::with_capacity(n);
        while found.len() < n {
            let piece = self.some((n - found.len()) as u64).await?;
            found.extend_from_slice(piece);
        }
        Ok(found)
    }

    /// Whether something was received that nobody has taken.
    pub fn has_more(&self) -> bool {
        self.taken < self.held.len()
    }

    /// Gathers octets to be sent; a large heap goes out at once, the rest with [`Stream::flush`].
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        // Never more at once: a whole message in here would stay as room that is not used.
        let mut left = octets;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(GATHERED - self.out.len().min(GATHERED - 1)));
            self.out.extend_from_slice(now);
            left = later;
            if self.out.len() >= GATHERED {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what was gathered, and wipes it: passwords go this way too.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        if self.out.is_empty() {
            return Ok(());
        }
        if let Some(squeeze) = &mut self.squeeze {
            let mut packed = Vec::new();
            let done = squeeze.pack(&self.out, &mut packed);
            done.map_err(|e| Fault::new(Class::Local, format!("{}: {e}", self.server)))?;
            self.out.zeroize();
            self.out = packed;
        }
        let mut sent = 0;
        while sent < self.out.len() {
            let socket = self.socket.get()?;
            let done = tokio::time::timeout(self.timeout, socket.write(&self.out[sent..])).await;
            match done {
                Ok(Ok(0)) => return Err(self.unreachable("the connection takes nothing more")),
                Ok(Ok(n)) => sent += n,
                Ok(Err(e)) => return Err(self.last_words(&e.to_string()).await),
                Err(_) => return Err(self.unreachable("the server took nothing in time")),
            }
        }
        let flushed = tokio::time::timeout(self.timeout, self.socket.get()?.flush()).await;
        self.counts.sent += sent as u64;
        self.out.zeroize();
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(self.last_words(&e.to_string()).await),
            Err(_) => Err(self.unreachable("the server took nothing in time")),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// `HOST:PORT`, for texts.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Ends the connection in order; whoever does not answer is not waited for.
    pub async fn close(mut self) {
        if let Ok(socket) = self.socket.get() {
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.shutdown()).await;
        }
    }

    async fn fill(&mut self) -> Result<(), Fault> {
        if self.taken == self.held.len() {
            self.held.clear();
            self.held.shrink_to(PIECE);
            (self.taken, self.scanned) = (0, 0);
        } else if self.taken > PIECE {
            self.held.drain(..self.taken);
            self.scanned = self.scanned.saturating_sub(self.taken);
            self.taken = 0;
        }
        let before = self.held.len();
        // Compressed octets may hold nothing that can be read yet.
        while self.held.len() == before {
            let mut packed = Vec::new();
            let into = if self.squeeze.is_some() { &mut packed } else { &mut self.held };
            into.reserve(PIECE);
            let read = tokio::time::timeout(self.timeout, self.socket.get()?.read_buf(into)).await;
            let n = match read {
                Ok(Ok(0)) => return Err(self.unreachable("the server ended the connection")),
                Ok(Ok(n)) => n,
                Ok(Err(e)) => return Err(self.unreachable(&e.to_string())),
                Err(_) => return Err(self.unreachable("no answer in time")),
            };
            self.counts.received += n as u64;
            if let Some(squeeze) = &mut self.squeeze {
                squeeze
                    .unpack(&packed, &mut self.held)
                    .map_err(|e| Fault::new(Class::Protocol, format!("{}: {e}", self.server)))?;
            }
        }
        Ok(())
    }

    /// A server that hangs up while we write may have said why.
    async fn last_words(&mut self, error: &str) -> Fault {
        let mut words = self.held.split_off(self.taken);
        let mut rest = vec![0; 1024];
        if let Ok(socket) = self.socket.get()
            && let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut rest)).await
            && self.squeeze.is_none()
        {
            words.extend_from_slice(&rest[..n]);
        }
        self.socket = Socket::Gone;
        let said = String::from_utf8_lossy(&words);
        let said = said.lines().last().map(|l| format!("; it said: {}", shown(l))).unwrap_or_default();
        self.unreachable(&format!("{error}{said}"))
    }

    fn unreachable(&self, what: &str) -> Fault {
        Fault::new(Class::Unreachable, format!("{}: {what}", self.server))
    }

    fn protocol(&self, what: &str) -> Fault {
        Fault::new(Class::Protocol, format!("{}: {what}", self.server))
    }
}

/// What makes a certificate the right one: as an end says it.
type Trusts = (trust::Verify, Option<std::path::PathBuf>, Vec<String>);
type Client = std::sync::Arc<rustls::ClientConfig>;

/// What was read lately, and when. There are two ends, and hundreds of sessions of each.
static CLIENTS: std::sync::Mutex<Vec<(Trusts, std::time::Instant, Client)>> = std::sync::Mutex::new(Vec::new());

/// How long authorities that were read are believed: one that is renewed is noticed then.
const FRESH: Duration = Duration::from_secs(60);

/// How the server of an end is spoken with by TLS. Reads the file of authorities at most once a minute.
pub(in crate::services::cms) fn tls_client(end: &End) -> Result<Client, Fault> {
    let trusts = (end.verify, end.ca.clone(), end.pins.clone());
    let mut clients = CLIENTS.lock().unwrap_or_else(|e| e.into_inner());
    clients.retain(|(_, read, _)| read.elapsed() < FRESH);
    if let Some((_, _, client)) = clients.iter().find(|(of, ..)| *of == trusts) {
        return Ok(client.clone());
    }
    let client = trust::client(end.verify, end.ca.as_deref(), &end.pins).map_err(|e| Fault::new(Class::Local, e))?;
    clients.push((trusts, std::time::Instant::now(), client.clone()));
    Ok(client)
}

/// A server's words for a text: one line, no control characters, bounded.
pub fn shown(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn host_and_port(server: &str) -> Result<(&str, u16), Fault> {
    let bad = || Fault::new(Class::Local, format!("server: `{server}` is not HOST:PORT"));
    let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Ok((host, port.parse().map_err(|_| bad())?))
}
