//! What can go wrong with one server, so that a person can tell a wrong key from a server that is down.

use std::net::SocketAddr;

/// What a server, or we, found wrong with a signature (RFC 8945, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsigTrouble {
    /// The server does not know a key of this name.
    BadKey,
    /// The server has another secret under this name, or other software in between changed the message.
    BadSignature,
    /// Clocks are apart: seconds that the server's is ahead of ours, where it said so.
    BadTime(Option<i64>),
    /// An answer to a signed question came without a signature, or with one that does not verify: it may be anybody's.
    Unproven,
}

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{server} cannot be reached: {why}")]
    Unreachable { server: SocketAddr, why: String },
    #[error("{server} did not answer within {seconds} s")]
    Silent { server: SocketAddr, seconds: u64 },
    /// The stream ended before the transfer did.
    #[error("{server} closed the connection after {records} records; the transfer is not whole")]
    CutShort { server: SocketAddr, records: usize },
    /// A server that answers and says no.
    #[error("{server} answers {code}{}", hint(code))]
    Refused { server: SocketAddr, code: String },
    /// The zone is not as the update said that it is; nothing was changed.
    #[error("the zone has changed: {server} answers {code}")]
    Changed { server: SocketAddr, code: String },
    #[error("{server}: {}", tsig(.trouble))]
    Tsig { server: SocketAddr, trouble: TsigTrouble },
    #[error("{server} sent what cannot be read: {why}")]
    Malformed { server: SocketAddr, why: String },
    /// Our own input: a name or data that is none.
    #[error("{0}")]
    Input(String),
}

fn hint(code: &str) -> &'static str {
    match code {
        "REFUSED" => ": its configuration does not allow this from here, or not with this key",
        "NOTAUTH" => ": it is not a primary of this zone, or does not take this key",
        "NOTIMP" => ": it does not do this kind of request",
        "SERVFAIL" => ": it could not carry it out; its own log says why",
        _ => "",
    }
}

fn tsig(trouble: &TsigTrouble) -> String {
    match trouble {
        TsigTrouble::BadKey => {
            "it takes no TSIG key of this name here (BADKEY): tsig-name must be the name that the server has, and the server must \
             allow the key to read and change this zone (Knot tells the two not apart)"
                .into()
        }
        TsigTrouble::BadSignature => {
            "the TSIG secret is not the one that the server has (BADSIG), or the algorithm differs".into()
        }
        TsigTrouble::BadTime(Some(ahead)) => {
            let (way, by) = if *ahead < 0 { ("behind", -ahead) } else { ("ahead of", *ahead) };
            format!("its clock is {by} s {way} ours (BADTIME): set both by NTP")
        }
        TsigTrouble::BadTime(None) => "its clock and ours are apart (BADTIME): set both by NTP".into(),
        TsigTrouble::Unproven => "its answer is not signed with our key, so it may be anybody's".into(),
    }
}
