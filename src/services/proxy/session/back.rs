//! The backend's side of a session until the login is through.

use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::imap_back::ImapBack;
use super::pop3_back::Pop3Back;
use super::smtp_back::SmtpBack;
use super::{Login, Protocol, Refusal};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{Mechanism, Proof};

/// Octets of one answer of a backend before the login is through; more is no answer of a mail server.
pub(super) const BOUND: usize = 8 * 1024;

#[derive(Debug, Clone)]
pub struct BackSettings {
    /// TLS begins by STARTTLS; a backend that refuses it is not logged in to.
    pub starttls: bool,
    /// SMTP: who the proxy says to be when the client's own name is not told.
    pub host: String,
    /// The client, told by ID (IMAP) or XCLIENT (SMTP) where the backend takes it.
    pub client: Option<SocketAddr>,
}

/// What a back wants done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackStep {
    /// More octets of the backend.
    Wait,
    Say(Zeroizing<Vec<u8>>),
    /// Send this, then nothing; [`Back::tls`] says when TLS begins.
    Tls,
    /// The login is through: these octets to the client, then pass everything both ways, [`Back::rest`] first.
    In(Vec<u8>),
    /// Refused, with the backend's own line where the client may read it.
    Refused {
        refusal: Refusal,
        said: Option<Vec<u8>>,
    },
    /// The backend cannot be used. For the log; the client is told [`Refusal::Later`].
    Broken(String),
}

pub struct Back {
    machine: Machine,
}

enum Machine {
    Imap(ImapBack),
    Pop3(Pop3Back),
    Smtp(SmtpBack),
}

impl Back {
    pub fn new(protocol: Protocol, settings: BackSettings, login: Login) -> Self {
        let machine = match protocol {
            Protocol::Imap => Machine::Imap(ImapBack::new(settings, login)),
            Protocol::Pop3 => Machine::Pop3(Pop3Back::new(settings, login)),
            Protocol::Submission => Machine::Smtp(SmtpBack::new(settings, login)),
        };
        Self { machine }
    }

    fn lines(&mut self) -> &mut Lines {
        match &mut self.machine {
            Machine::Imap(b) => &mut b.lines,
            Machine::Pop3(b) => &mut b.lines,
            Machine::Smtp(b) => &mut b.lines,
        }
    }

    /// How many octets may be handed in now.
    pub fn room(&mut self) -> usize {
        self.lines().room()
    }

    pub fn push(&mut self, octets: &[u8]) {
        self.lines().push(octets);
    }

    pub fn step(&mut self) -> BackStep {
        let step = match &mut self.machine {
            Machine::Imap(b) => b.step(),
            Machine::Pop3(b) => b.step(),
            Machine::Smtp(b) => b.step(),
        };
        match step {
            // What stands behind the answer to STARTTLS was written by somebody on the line.
            BackStep::Tls if !self.lines().is_empty() => {
                BackStep::Broken("it sent octets behind its answer to STARTTLS".into())
            }
            step => step,
        }
    }

    /// TLS stands.
    pub fn secured(&mut self) -> BackStep {
        match &mut self.machine {
            Machine::Imap(b) => b.secured(),
            Machine::Pop3(b) => b.secured(),
            Machine::Smtp(b) => b.secured(),
        }
    }

    /// SMTP: whether the server takes BDAT (RFC 3030), which a [`super::Guard`] wants to know.
    pub fn chunking(&self) -> bool {
        matches!(&self.machine, Machine::Smtp(b) if b.has("CHUNKING"))
    }

    /// What the backend has sent behind the end of the login: goes to the client unread.
    pub fn rest(&mut self) -> Zeroizing<Vec<u8>> {
        self.lines().rest()
    }
}

/// The mechanism that carries this login, of those that a backend offers.
pub(super) fn mechanism(login: &Login, offered: impl Fn(&str) -> bool) -> Option<Mechanism> {
    let wanted: &[Mechanism] = match login.credentials.proof {
        Proof::Password(_) => &[Mechanism::Plain],
        Proof::Token(_) => &[Mechanism::OAuthBearer, Mechanism::XOAuth2],
    };
    wanted.iter().copied().find(|m| offered(m.as_str()))
}

/// Answers the error that a backend sends instead of an end: the exchange goes on with a last message that says nothing
/// (RFC 7628 section 3.2.3; XOAUTH2 wants an empty one).
pub(super) fn give_up(mechanism: Mechanism) -> Option<Zeroizing<Vec<u8>>> {
    match mechanism {
        Mechanism::OAuthBearer => Some(Zeroizing::new(b"AQ==\r\n".to_vec())),
        Mechanism::XOAuth2 => Some(Zeroizing::new(b"\r\n".to_vec())),
        Mechanism::Plain | Mechanism::Login => None,
    }
}

pub(super) fn say(parts: &[&[u8]]) -> BackStep {
    let mut out = Zeroizing::new(Vec::with_capacity(parts.iter().map(|p| p.len()).sum::<usize>() + 2));
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
    BackStep::Say(out)
}

/// What a backend said, short enough for a log.
pub(super) fn heard(line: &[u8]) -> String {
    super::printable(line).chars().take(120).collect()
}
