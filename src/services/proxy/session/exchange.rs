//! An exchange of SASL (RFC 4422) as a client carries it on, whatever the words that its protocol puts around it.

use zeroize::Zeroizing;

use super::FrontSettings;
use crate::protocol::sasl::{self, CredentialFault, Credentials, Mechanism};

pub struct Exchange {
    mechanism: Mechanism,
    /// LOGIN: the name, once it was given.
    user: Option<Zeroizing<Vec<u8>>>,
}

/// What follows an answer of the client.
pub enum Turn {
    /// LOGIN asks for more.
    More(Exchange),
    /// The client has sent `*`.
    GivenUp,
    Over(Result<Credentials, CredentialFault>),
}

impl Exchange {
    pub fn begin(mechanism: Mechanism) -> Self {
        Self { mechanism, user: None }
    }

    /// What the server asks with, in Base64.
    pub fn prompt(&self) -> &'static str {
        match (self.mechanism, &self.user) {
            (Mechanism::Login, None) => "VXNlcm5hbWU6",
            (Mechanism::Login, Some(_)) => "UGFzc3dvcmQ6",
            _ => "",
        }
    }

    /// An initial response, where `=` is an empty one (RFC 4422, RFC 4954, RFC 4959, RFC 5034).
    pub fn initial(self, line: &[u8]) -> Turn {
        self.answered(if line == b"=" { b"" } else { line })
    }

    /// `NAME [INITIAL]` behind AUTH (RFC 4954, RFC 5034); nothing where that mechanism is not offered.
    pub fn asked(settings: &FrontSettings, words: &[u8]) -> Option<Turn> {
        let mut words = words.splitn(2, |b| *b == b' ');
        let exchange = Self::begin(settings.mechanism(words.next().unwrap_or_default())?);
        Some(match words.next() {
            Some(initial) => exchange.initial(initial),
            None => Turn::More(exchange),
        })
    }

    /// A line of the client, without its end.
    pub fn answered(self, line: &[u8]) -> Turn {
        if line == b"*" {
            return Turn::GivenUp;
        }
        let message = match sasl::decode(line) {
            Ok(message) => message,
            Err(fault) => return Turn::Over(Err(fault)),
        };
        match (self.mechanism, self.user) {
            (Mechanism::Login, None) => Turn::More(Self { mechanism: Mechanism::Login, user: Some(message) }),
            (Mechanism::Login, Some(user)) => Turn::Over(Credentials::password(&user, b"", &message)),
            (mechanism, _) => Turn::Over(Credentials::of_message(mechanism, &message)),
        }
    }
}
