//! The part of a session before its octets are passed through, as machines without sockets: the front speaks with the
//! client until it has a login, the back carries that login to a backend.

mod back;
mod exchange;
mod guard;
mod imap;
mod imap_back;
mod pop3;
mod pop3_back;
mod smtp;
mod smtp_back;

use zeroize::Zeroizing;

use crate::protocol::sasl::{Credentials, Mechanism};

pub use back::{Back, BackSettings, BackStep};
pub use guard::{Guard, GuardFault};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Imap,
    Pop3,
    Submission,
}

impl Protocol {
    /// In the order of their numbers, by which tables are indexed.
    pub const ALL: [Protocol; 3] = [Protocol::Imap, Protocol::Pop3, Protocol::Submission];

    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Submission => "submission",
        }
    }
}

/// What a front tells of itself and allows. One for each listener.
#[derive(Debug, Clone)]
pub struct FrontSettings {
    /// In greetings and EHLO answers.
    pub host: String,
    /// The client's side is encrypted from the first octet.
    pub tls: bool,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// A password may cross a line that is not encrypted.
    pub plain_login: bool,
    /// OAuth 2.0 tokens are taken.
    pub tokens: bool,
    /// What is told after EHLO, of what both backends have: `PIPELINING`, `SIZE 50000000`.
    pub ehlo: Vec<String>,
    /// Wrong commands and refused logins before the connection is closed.
    pub patience: u32,
}

impl FrontSettings {
    /// Whether a login is taken on the line as it is now.
    fn may_log_in(&self) -> bool {
        self.tls || self.plain_login
    }

    fn mechanisms(&self) -> impl Iterator<Item = Mechanism> + '_ {
        Mechanism::ALL.into_iter().filter(|m| self.tokens || !m.is_token())
    }

    /// The mechanism of this name, where it is offered.
    fn mechanism(&self, name: &[u8]) -> Option<Mechanism> {
        Mechanism::named(name).filter(|m| self.tokens || !m.is_token())
    }
}

/// A login that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub credentials: Credentials,
    /// IMAP: the tag under which the client waits for its answer.
    pub tag: String,
    /// IMAP: what the client said by ID, as it came. SMTP: what it said by EHLO.
    pub client_said: Option<String>,
}

/// What a front wants done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// More octets of the client.
    Wait,
    /// Send this, then ask again.
    Say(Vec<u8>),
    /// Send this, then let TLS begin; afterwards [`Front::secured`].
    StartTls(Vec<u8>),
    /// Find the side, let the back log in; afterwards [`Front::refused`], or pass through what [`Front::rest`] holds.
    Login(Box<Login>),
    /// Send this and close.
    Close { say: Vec<u8>, why: String },
}

/// Why a login came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The backend, or the proxy itself, says that name and password do not fit.
    Wrong,
    /// Another time: the mailbox is being moved, a backend or the directory does not answer.
    Later,
    /// Never: the user is blocked.
    Blocked,
    /// Too many sessions or attempts.
    Limit,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Wrong => "wrong",
            Refusal::Later => "later",
            Refusal::Blocked => "blocked",
            Refusal::Limit => "limit",
        }
    }
}

/// The client's side of a session before its login.
pub enum Front {
    Imap(imap::Imap),
    Pop3(pop3::Pop3),
    Smtp(smtp::Smtp),
}

impl Front {
    pub fn new(protocol: Protocol, settings: FrontSettings) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap(imap::Imap::new(settings)),
            Protocol::Pop3 => Self::Pop3(pop3::Pop3::new(settings)),
            Protocol::Submission => Self::Smtp(smtp::Smtp::new(settings)),
        }
    }

    pub fn greeting(&self) -> Vec<u8> {
        match self {
            Self::Imap(f) => f.greeting(),
            Self::Pop3(f) => f.greeting(),
            Self::Smtp(f) => f.greeting(),
        }
    }

    /// How many octets may be handed in now. Nobody reads more from the client before they are taken.
    pub fn room(&self) -> usize {
        match self {
            Self::Imap(f) => f.lines.room(),
            Self::Pop3(f) => f.lines.room(),
            Self::Smtp(f) => f.lines.room(),
        }
    }

    /// Takes octets of the client, at most [`Front::room`].
    pub fn push(&mut self, octets: &[u8]) {
        match self {
            Self::Imap(f) => f.lines.push(octets),
            Self::Pop3(f) => f.lines.push(octets),
            Self::Smtp(f) => f.lines.push(octets),
        };
    }

    pub fn ask(&mut self) -> Ask {
        match self {
            Self::Imap(f) => f.ask(),
            Self::Pop3(f) => f.ask(),
            Self::Smtp(f) => f.ask(),
        }
    }

    /// TLS stands: what was said before it does not count (RFC 9051 section 6.2.1, RFC 2595, RFC 3207 section 4.2).
    pub fn secured(&mut self) {
        match self {
            Self::Imap(f) => f.secured(),
            Self::Pop3(f) => f.secured(),
            Self::Smtp(f) => f.secured(),
        }
    }

    /// What the client is told of a login that came to nothing. With `None` the proxy's own words, else the backend's line.
    pub fn refused(&mut self, refusal: Refusal, said: Option<&[u8]>) -> Vec<u8> {
        match self {
            Self::Imap(f) => f.refused(refusal, said),
            Self::Pop3(f) => f.refused(refusal, said),
            Self::Smtp(f) => f.refused(refusal, said),
        }
    }

    /// Whether nothing is held that the client has sent.
    pub fn is_spent(&self) -> bool {
        match self {
            Self::Imap(f) => f.lines.is_empty(),
            Self::Pop3(f) => f.lines.is_empty(),
            Self::Smtp(f) => f.lines.is_empty(),
        }
    }

    /// What the client has sent behind its login: goes to the backend unread.
    pub fn rest(&mut self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Imap(f) => f.lines.rest(),
            Self::Pop3(f) => f.lines.rest(),
            Self::Smtp(f) => f.lines.rest(),
        }
    }
}

/// What a client is told that speaks HTTP.
const FOREIGN: &str = "this is another protocol";

/// Whether a line that is no command begins as HTTP does. A browser can be made to send to any port what somebody else wrote
/// (ALPACA, CVE-2021-3618): what stands in the body must not be reached.
fn foreign(line: &[u8]) -> bool {
    const BEGINS: [&[u8]; 13] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"OPTIONS ",
        b"CONNECT ",
        b"DELETE ",
        b"PATCH ",
        b"TRACE ",
        b"PRI ",
        b"HOST:",
        b"CONTENT-",
        b"USER-AGENT:",
    ];
    BEGINS.iter().any(|begin| line.get(..begin.len()).is_some_and(|l| l.eq_ignore_ascii_case(begin)))
}

/// What a client is told when octets stand behind its STARTTLS that nobody encrypted (CVE-2011-0411 and its kin).
const INJECTED: &str = "commands behind STARTTLS would have been taken as encrypted ones";

/// A line of the backend that may be handed on: printable, and not longer than an answer is.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}
