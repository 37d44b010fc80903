//! One question to one server, without recursion and without a cache: what this server itself says.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::RData;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::stream::{Exchange, code, decode, encode};
use super::{DnsError, data};
use crate::model::dns::{RecordSet, SetKey};

/// Octets that we take by UDP: what passes without fragments (RFC 9715).
const PAYLOAD: u16 = 1232;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    Udp,
    Tcp,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// What one server says about one name and type.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// As in `NOERROR` or `NXDOMAIN`.
    pub code: String,
    /// The server holds the zone itself.
    pub authoritative: bool,
    /// The answer did not fit into UDP; `set` may be a part.
    pub truncated: bool,
    pub set: Option<RecordSet>,
    /// The name is an alias of this one, when it was not asked for as such.
    pub alias: Option<String>,
    /// Serial of the zone, when the SOA was asked for.
    pub serial: Option<u32>,
}

/// Asks one server. An answer of NXDOMAIN is an answer; silence, and what cannot be read, is an error.
pub async fn ask(server: SocketAddr, key: &SetKey, link: Link, patience: Duration) -> Result<Answer, DnsError> {
    question(server, key, link, patience, false).await
}

/// As [`ask`] by UDP; what does not fit is asked again by TCP, as every resolver does.
pub async fn ask_whole(server: SocketAddr, key: &SetKey, patience: Duration) -> Result<Answer, DnsError> {
    whole(server, key, patience, false).await
}

/// As [`ask`], of a resolver: it looks for the answer elsewhere. What does not fit into UDP is asked again by TCP.
pub async fn resolve(resolver: SocketAddr, key: &SetKey, patience: Duration) -> Result<Answer, DnsError> {
    whole(resolver, key, patience, true).await
}

async fn whole(server: SocketAddr, key: &SetKey, patience: Duration, recursion: bool) -> Result<Answer, DnsError> {
    let said = question(server, key, Link::Udp, patience, recursion).await?;
    if said.truncated { question(server, key, Link::Tcp, patience, recursion).await } else { Ok(said) }
}

async fn question(
    server: SocketAddr,
    key: &SetKey,
    link: Link,
    patience: Duration,
    recursion: bool,
) -> Result<Answer, DnsError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion;
    message.add_query(Query::query(data::name(&key.name)?, data::kind(&key.kind)?));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0);
    message.set_edns(edns);
    let answer = match link {
        Link::Tcp => Exchange::begin(server, message, None, patience).await?.next(0).await?,
        Link::Udp => udp(server, &message, patience).await?,
    };
    let mut sets = data::Sets::new();
    for r in &answer.answers {
        data::add_record(&mut sets, r);
    }
    let alias = SetKey { kind: "CNAME".into(), ..key.clone() };
    let soa = answer.answers.iter().find_map(|r| match &r.data {
        RData::SOA(s) => Some(s.serial),
        _ => None,
    });
    Ok(Answer {
        code: if answer.response_code == ResponseCode::NoError { "NOERROR".into() } else { code(answer.response_code) },
        authoritative: answer.authoritative,
        truncated: answer.truncation,
        set: sets.get(key).cloned(),
        alias: sets.get(&alias).filter(|_| key.kind != "CNAME").and_then(|s| s.data.first().cloned()),
        serial: soa,
    })
}

async fn udp(server: SocketAddr, message: &Message, patience: Duration) -> Result<Message, DnsError> {
    let unreachable = |e: std::io::Error| DnsError::Unreachable { server, why: e.to_string() };
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(unreachable)?;
    // Connected: answers of others do not arrive, and a closed port is told at once.
    socket.connect(server).await.map_err(unreachable)?;
    let bytes = encode(message)?;
    let mut buffer = vec![0; 4096];
    // UDP loses packets: three tries within the time given.
    let tries = 3;
    for _ in 0..tries {
        socket.send(&bytes).await.map_err(unreachable)?;
        let answer = async {
            loop {
                let n = socket.recv(&mut buffer).await.map_err(unreachable)?;
                let answer = decode(server, &buffer[..n], None)?;
                // A late answer to an earlier try has the same number; another number is another question's.
                if answer.id == message.id {
                    return Ok(answer);
                }
            }
        };
        match timeout(patience / tries, answer).await {
            Ok(answer) => return answer,
            Err(_) => continue,
        }
    }
    Err(DnsError::Silent { server, seconds: patience.as_secs() })
}
