//! ManageSieve (RFC 5804): a user's scripts on a server. What a source may say is in [`Scripts::list`]; everything else writes.

mod answer;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use self::answer::{Answer, Word};
use super::config::{End, Tls};
use super::mailbox::{Access, Class, Fault};
use super::wire::{Stream, shown};
use crate::protocol::sasl::{Credentials, Mechanism, encode};
use crate::protocol::sieve::LARGEST;

/// Octets of a line of an answer, without literals.
const LINE: usize = 64 << 10;
/// Scripts of one user.
const MANY: usize = 1000;

/// One session of one user.
#[derive(Debug)]
pub struct Scripts {
    stream: Stream,
    /// By name in capital letters.
    capabilities: BTreeMap<String, String>,
    extensions: Vec<String>,
}

/// One script on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    pub active: bool,
    /// `Err` where the server does not give it, or not as UTF-8: why.
    pub text: Result<String, String>,
}

impl Scripts {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        // TLS from the first octet is not of the standard, but of some products.
        let stream = Stream::connect(end).await?;
        let mut session = Self { stream, capabilities: BTreeMap::new(), extensions: Vec::new() };
        let greeting = session.capabilities_from_server().await?;
        greeting.or_fault(&session, "greeting", Class::Unreachable)?;
        if end.tls == Tls::Starttls {
            session.send(b"STARTTLS\r\n").await?;
            session.answer().await?.0.or_fault(&session, "STARTTLS", Class::Protocol)?;
            session.stream.secure(end).await?;
            // Whatever was said before TLS may be somebody else's.
            session.capabilities.clear();
            session.capabilities_from_server().await?.or_fault(&session, "STARTTLS", Class::Protocol)?;
        }
        session.log_in(end, access).await?;
        Ok(session)
    }

    /// What `require` may name (the capability SIEVE).
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    async fn log_in(&mut self, end: &End, access: &Access) -> Result<(), Fault> {
        let refused = |e: &dyn std::fmt::Display| Fault::new(Class::Login, format!("login of {}: {e}", access.user));
        let offered = self.capabilities.get("SASL").cloned().unwrap_or_default().to_ascii_uppercase();
        if end.token {
            return Err(refused(&"tokens are not spoken here; write a password"));
        }
        let mechanism = Mechanism::Plain;
        if !offered.split_whitespace().any(|w| w == mechanism.as_str()) {
            return Err(refused(&"the server takes no password on this connection (SASL without PLAIN); set tls"));
        }
        let (user, acts_as) = match &access.master {
            Some(master) if end.authzid => (master.as_str(), access.login.as_str()),
            _ => (access.login.as_str(), ""),
        };
        let credentials = Credentials::password(user.as_bytes(), acts_as.as_bytes(), access.password.as_bytes());
        let credentials = credentials.map_err(|e| refused(&e))?;
        let message = credentials.message(mechanism).ok_or_else(|| refused(&"the credentials do not fit"))?;
        let line = Zeroizing::new(format!("AUTHENTICATE \"{}\" \"{}\"\r\n", mechanism.as_str(), *encode(&message)));
        self.send(line.as_bytes()).await?;
        let (done, said) = self.answer().await?;
        done.or_fault(self, &format!("login of {}", access.user), Class::Login)?;
        // Some servers tell anew what they can do to who is logged in.
        self.learn(&said);
        Ok(())
    }

    fn learn(&mut self, lines: &[Vec<Word>]) {
        for line in lines {
            let mut words = line.iter().filter_map(Word::text);
            if let Some(name) = words.next() {
                self.capabilities.insert(name.to_ascii_uppercase(), words.next().unwrap_or_default().to_owned());
            }
        }
        let sieve = self.capabilities.get("SIEVE").map(String::as_str).unwrap_or_default();
        self.extensions = sieve.split_whitespace().map(str::to_ascii_lowercase).collect();
    }

    async fn capabilities_from_server(&mut self) -> Result<Answer, Fault> {
        let (done, lines) = self.answer().await?;
        self.learn(&lines);
        Ok(done)
    }

    /// All scripts with their texts, in two round trips.
    pub async fn list(&mut self) -> Result<Vec<Stored>, Fault> {
        self.send(b"LISTSCRIPTS\r\n").await?;
        let (done, lines) = self.answer().await?;
        done.or_fault(self, "LISTSCRIPTS", Class::Protocol)?;
        if lines.len() > MANY {
            return Err(self.fault(Class::Protocol, "LISTSCRIPTS: more than 1,000 scripts"));
        }
        let mut found = Vec::new();
        for line in lines {
            let Some(name) = line.first().and_then(Word::text) else { continue };
            let active = line.iter().skip(1).any(|w| w.is_atom("ACTIVE"));
            self.stream.write(b"GETSCRIPT ").await?;
            self.stream.write(&literal_or_quoted(name.as_bytes())).await?;
            self.stream.write(b"\r\n").await?;
            found.push(Stored { name: name.to_owned(), active, text: Err(String::new()) });
        }
        self.stream.flush().await?;
        for stored in &mut found {
            let (done, mut lines) = self.answer().await?;
            stored.text = match done.or_fault(self, "GETSCRIPT", Class::Protocol) {
                Ok(()) => match lines.pop().and_then(|mut l| l.pop()) {
                    Some(Word::Text(text)) => Ok(text),
                    Some(Word::Octets(_)) => Err("it is not UTF-8".into()),
                    _ => Err("the server gave nothing".into()),
                },
                Err(fault) => Err(fault.what),
            };
        }
        Ok(found)
    }

    /// Stores a script. The server checks it first; a former one of this name stays until the new one is whole.
    pub async fn put(&mut self, name: &str, text: &str) -> Result<(), Fault> {
        let name = literal_or_quoted(name.as_bytes());
        let space = [b"HAVESPACE ", name.as_slice(), format!(" {}\r\n", text.len()).as_bytes()].concat();
        self.send(&space).await?;
        self.answer().await?.0.or_fault(self, "HAVESPACE", Class::Quota)?;
        let head = [b"PUTSCRIPT ", name.as_slice(), format!(" {{{}+}}\r\n", text.len()).as_bytes()].concat();
        self.stream.write(&head).await?;
        self.stream.write(text.as_bytes()).await?;
        self.send(b"\r\n").await?;
        self.answer().await?.0.or_fault(self, "PUTSCRIPT", Class::Malformed)
    }

    /// Which script works; none for an empty name.
    pub async fn activate(&mut self, name: &str) -> Result<(), Fault> {
        self.named("SETACTIVE", name).await?.or_fault(self, "SETACTIVE", Class::Protocol)
    }

    /// One that is gone already is no fault. The active one is switched off first.
    pub async fn delete(&mut self, name: &str, active: bool) -> Result<(), Fault> {
        if active {
            self.activate("").await?;
        }
        let done = self.named("DELETESCRIPT", name).await?;
        if done.code() == "NONEXISTENT" { Ok(()) } else { done.or_fault(self, "DELETESCRIPT", Class::Protocol) }
    }

    async fn named(&mut self, command: &str, name: &str) -> Result<Answer, Fault> {
        let line = [command.as_bytes(), b" ", &literal_or_quoted(name.as_bytes()), b"\r\n"].concat();
        self.send(&line).await?;
        Ok(self.answer().await?.0)
    }

    pub async fn close(mut self) {
        if self.send(b"LOGOUT\r\n").await.is_ok() {
            let _ = self.answer().await;
        }
        self.stream.close().await;
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.stream.write(octets).await?;
        self.stream.flush().await
    }

    fn fault(&self, class: Class, what: &str) -> Fault {
        Fault::new(class, format!("{}: {}", self.stream.server(), shown(what)))
    }

    /// Lines up to the one that ends an answer.
    async fn answer(&mut self) -> Result<(Answer, Vec<Vec<Word>>), Fault> {
        let mut lines = Vec::new();
        loop {
            let words = self.words().await?;
            if let Some(answer) = Answer::of(&words) {
                return Ok((answer, lines));
            }
            if lines.len() > MANY {
                return Err(self.fault(Class::Protocol, "an answer has no end"));
            }
            lines.push(words);
        }
    }

    /// One line, literals put in.
    async fn words(&mut self) -> Result<Vec<Word>, Fault> {
        let mut words = Vec::new();
        loop {
            let line = self.stream.line(LINE).await?;
            let literal = answer::words(&line, &mut words).map_err(|e| self.fault(Class::Protocol, &e))?;
            let Some(octets) = literal else { return Ok(words) };
            if octets > LARGEST as u64 {
                return Err(self.fault(Class::Protocol, "a script is larger than 1 MiB"));
            }
            words.push(Word::of(self.stream.octets(octets as usize).await?));
        }
    }
}

/// A string of RFC 5804, section 4: quoted where it can be.
fn literal_or_quoted(text: &[u8]) -> Vec<u8> {
    let simple = text.len() < 1000 && !text.iter().any(|b| matches!(b, b'"' | b'\\' | 0..=31 | 127));
    match simple {
        true => [b"\"", text, b"\""].concat(),
        false => [format!("{{{}+}}\r\n", text.len()).as_bytes(), text].concat(),
    }
}
