//! Messages over TCP (RFC 7766): two octets of length before each. Signs what goes out, verifies what comes in.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::TSigVerifier;
use hickory_proto::rr::rdata::tsig::TsigError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DnsError, TsigKey, TsigTrouble};

/// One question over a connection of its own, and the messages that answer it.
pub(super) struct Exchange {
    server: SocketAddr,
    stream: TcpStream,
    verifier: Option<TSigVerifier>,
    id: u16,
    patience: Duration,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Signs in place; what proves the answer comes back.
pub(super) fn sign(message: &mut Message, key: Option<&TsigKey>) -> Result<Option<TSigVerifier>, DnsError> {
    let Some(key) = key else { return Ok(None) };
    message.finalize(&key.signer, now()).map_err(|e| DnsError::Input(format!("the message cannot be signed: {e}")))
}

pub(super) fn encode(message: &Message) -> Result<Vec<u8>, DnsError> {
    message.to_vec().map_err(|e| DnsError::Input(format!("the message cannot be written: {e}")))
}

/// Reads a message that came in. An unsigned error of a server that did not take our key is told as what it is.
pub(super) fn decode(
    server: SocketAddr,
    bytes: &[u8],
    verifier: Option<&mut TSigVerifier>,
) -> Result<Message, DnsError> {
    let message = Message::from_vec(bytes).map_err(|e| DnsError::Malformed { server, why: e.to_string() })?;
    let trouble = |trouble| DnsError::Tsig { server, trouble };
    if let Some(error) = message.signature().and_then(|s| s.data.error) {
        let said = message.signature().map(|s| s.data.other.clone()).unwrap_or_default();
        return Err(trouble(match error {
            TsigError::BadKey => TsigTrouble::BadKey,
            TsigError::BadSig | TsigError::BadTrunc => TsigTrouble::BadSignature,
            TsigError::BadTime => TsigTrouble::BadTime(ahead(&said)),
            TsigError::Unknown(_) => TsigTrouble::Unproven,
        }));
    }
    match verifier {
        None => Ok(message),
        Some(v) if message.signature().is_some() => {
            v.verify(bytes).map_err(|_| trouble(TsigTrouble::Unproven))?;
            Ok(message)
        }
        // A server that refuses before it looks at the key does not sign; it changes nothing to believe a refusal.
        Some(_) if message.response_code != ResponseCode::NoError => Err(refused(server, message.response_code)),
        Some(_) => Err(trouble(TsigTrouble::Unproven)),
    }
}

/// Seconds that a server's clock is ahead of ours: six octets of Other Data (RFC 8945, section 5.2.3).
fn ahead(other: &[u8]) -> Option<i64> {
    let six: [u8; 6] = other.try_into().ok()?;
    let theirs = six.iter().fold(0_i64, |n, b| (n << 8) | i64::from(*b));
    Some(theirs - now() as i64)
}

/// A response code as the protocol spells it.
pub(super) fn code(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::YXDomain => "YXDOMAIN".into(),
        ResponseCode::YXRRSet => "YXRRSET".into(),
        ResponseCode::NXRRSet => "NXRRSET".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        ResponseCode::NotZone => "NOTZONE".into(),
        other => other.to_str().to_owned(),
    }
}

pub(super) fn refused(server: SocketAddr, rcode: ResponseCode) -> DnsError {
    DnsError::Refused { server, code: code(rcode) }
}

impl Exchange {
    /// Connects and sends. `patience` bounds the connection and each wait for a message.
    pub async fn begin(
        server: SocketAddr,
        mut message: Message,
        key: Option<&TsigKey>,
        patience: Duration,
    ) -> Result<Self, DnsError> {
        let verifier = sign(&mut message, key)?;
        let bytes = encode(&message)?;
        let length = u16::try_from(bytes.len())
            .map_err(|_| DnsError::Input(format!("a message of {} octets is longer than DNS allows", bytes.len())))?;
        let silent = || DnsError::Silent { server, seconds: patience.as_secs() };
        let unreachable = |e: std::io::Error| DnsError::Unreachable { server, why: e.to_string() };
        let mut stream =
            timeout(patience, TcpStream::connect(server)).await.map_err(|_| silent())?.map_err(unreachable)?;
        let mut framed = Vec::with_capacity(bytes.len() + 2);
        framed.extend(length.to_be_bytes());
        framed.extend(bytes);
        timeout(patience, stream.write_all(&framed)).await.map_err(|_| silent())?.map_err(unreachable)?;
        Ok(Self { server, stream, verifier, id: message.id, patience })
    }

    /// The next message, verified. `records` so far, for the error of a stream that ends.
    pub async fn next(&mut self, records: usize) -> Result<Message, DnsError> {
        let server = self.server;
        let read = async {
            let mut length = [0; 2];
            self.stream.read_exact(&mut length).await?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            self.stream.read_exact(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = match timeout(self.patience, read).await {
            Err(_) => return Err(DnsError::Silent { server, seconds: self.patience.as_secs() }),
            Ok(Err(_)) => return Err(DnsError::CutShort { server, records }),
            Ok(Ok(bytes)) => bytes,
        };
        let message = decode(server, &bytes, self.verifier.as_mut())?;
        if message.id != self.id {
            return Err(DnsError::Malformed { server, why: "the answer of another question".into() });
        }
        Ok(message)
    }
}
