//! What senders are told while a user is away (RFC 5230; Exchange calls it out-of-office).

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Away {
    pub active: bool,
    /// UTC, with seconds: the first moment of it. Without a zone of their own, days begin where the user's do.
    pub from: Option<jiff::Timestamp>,
    /// The first moment that is no longer of it.
    pub until: Option<jiff::Timestamp>,
    pub subject: Option<String>,
    /// Plain text, LF at the ends of lines.
    pub text: String,
    /// Other addresses of the user that mail may be sent to.
    pub addresses: Vec<String>,
    /// Days before the same sender is told again.
    pub days: Option<u64>,
    /// Who is told outside of the organisation, where the end knows a difference (Exchange): another text, or nobody.
    pub outside: Outside,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum Outside {
    /// The same as inside.
    #[default]
    Same,
    Nobody,
    Text(String),
    /// Only those whom the user has among the contacts.
    Known(String),
}
