//! One IMAP session of one mailbox: the IMAP side of sources and targets.
//!
//! ```text
//! mover ──▶ Session (fetch, append, …) ──▶ wire::Stream ──▶ server
//!              ▲      decoded answers: protocol::imap::answer
//!              └ profile: what a product does otherwise, as data
//! ```
//!
//! It never repeats what may have been done. What it asks in another form after a BAD (an option that the server offers and does not
//! understand) is asked before anything was changed.

pub mod acl;
mod append;
mod faults;
mod fetch;
mod folders;
mod listing;
mod login;
mod profile;
mod quota;
mod store;
mod take;

use std::collections::BTreeSet;
use std::time::Duration;

use self::profile::Dialect;
use self::take::Taker;
use super::config::End;
use super::mailbox::{Access, Class, Fault};
use super::target::Abilities;
use super::wire::Stream;
use crate::protocol::imap::answer::{self, Answer, Done, Figures, Space};
use crate::protocol::imap::value::{Piece, announced};
use crate::protocol::imap::{Status, name};

/// Octets of one line of an answer. A search in a folder of a million messages is one line.
const LINE: usize = 16 << 20;
/// Octets of a literal that is no message: names, flags.
const SMALL: u64 = 64 << 10;

#[derive(Debug)]
pub struct Session {
    stream: Stream,
    /// In capitals, as the server says after the login.
    capabilities: BTreeSet<String>,
    dialect: &'static Dialect,
    /// Whether folders are opened for writing.
    writes: bool,
    tags: u32,
    /// Prefix of the user's own folders.
    personal: Space,
    /// Prefixes of folders that belong to others.
    foreign: Vec<Space>,
    /// Those of them that begin with the owner's name (other users, RFC 2342 section 4).
    owned: Vec<Space>,
    /// VANISHED is on (RFC 7162).
    qresync: bool,
    open: Option<Open>,
    abilities: Abilities,
    /// Commands that ended while another was waited for.
    strays: Vec<(String, Done)>,
    /// The octets that come are not where we think: nothing more can be said.
    broken: bool,
    leaving: bool,
}

/// The folder that is open.
#[derive(Debug, Default)]
struct Open {
    raw: Vec<u8>,
    exists: u32,
    figures: Figures,
    /// PERMANENTFLAGS, where the server says so.
    permanent: Option<Vec<String>>,
    /// The server does not keep UIDs (UIDNOTSTICKY, RFC 4315).
    sticky: bool,
    renumbered: bool,
}

/// A part of a command.
#[derive(Clone, Copy)]
enum Part<'p> {
    Text(&'p str),
    /// Quoted, or as a literal where nothing else carries it.
    String(&'p [u8]),
}

impl Session {
    /// Connects, logs in and makes sure that there is a mailbox behind the login.
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let dialect = profile::of(end.profile);
        let none = Space { prefix: Vec::new(), delimiter: None };
        let mut session = Self {
            stream: Stream::connect(end).await?,
            capabilities: BTreeSet::new(),
            dialect,
            writes,
            tags: 0,
            personal: none,
            foreign: Vec::new(),
            owned: Vec::new(),
            qresync: false,
            open: None,
            abilities: dialect.abilities(),
            strays: Vec::new(),
            broken: false,
            leaving: false,
        };
        session.log_in(end, access).await?;
        Ok(session)
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Octets that came and went so far.
    pub fn counts(&self) -> super::wire::Counts {
        self.stream.counts()
    }

    /// Prefix and delimiter of the user's own folders.
    pub fn space(&self) -> super::mailbox::Space {
        super::mailbox::Space {
            prefix: String::from_utf8_lossy(&self.personal.prefix).into_owned(),
            delimiter: self.personal.delimiter.map_or('/', char::from),
        }
    }

    pub async fn close(mut self) {
        if !self.broken {
            self.leaving = true;
            let bye = async {
                let tag = self.send(&[Part::Text("LOGOUT")]).await?;
                self.finish(&tag, |_| {}).await
            };
            let _ = tokio::time::timeout(Duration::from_secs(2), bye).await;
        }
        self.stream.close().await;
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("c{}", self.tags)
    }

    /// Sends a command and gives its tag. An answer that is not `+` to a literal ends it: then the tag is answered already and an
    /// error is given.
    async fn send(&mut self, parts: &[Part<'_>]) -> Result<String, Fault> {
        let tag = self.begin(parts).await?;
        self.stream.flush().await?;
        Ok(tag)
    }

    /// As [`Session::send`], without a push: further commands may follow in the same packet.
    async fn begin(&mut self, parts: &[Part<'_>]) -> Result<String, Fault> {
        let tag = self.begin_line(parts).await?;
        self.stream.write(b"\r\n").await?;
        Ok(tag)
    }

    /// As [`Session::begin`], and the line goes on.
    async fn begin_line(&mut self, parts: &[Part<'_>]) -> Result<String, Fault> {
        if self.broken {
            return Err(Fault::new(Class::Unreachable, format!("{}: the session broke", self.stream.server())));
        }
        let tag = self.tag();
        self.stream.write(tag.as_bytes()).await?;
        self.stream.write(b" ").await?;
        for part in parts {
            match part {
                Part::Text(text) => self.stream.write(text.as_bytes()).await?,
                Part::String(octets) => match name::quoted(octets) {
                    Some(quoted) => self.stream.write(&quoted).await?,
                    None => self.literal(&tag, octets).await?,
                },
            }
        }
        Ok(tag)
    }

    /// Whether a literal of so many octets has to be announced and waited for (RFC 7888).
    fn waits(&self, octets: u64) -> bool {
        let small = (self.can("LITERAL-") || self.can("IMAP4REV2")) && octets <= 4096;
        !self.can("LITERAL+") && !small
    }

    async fn literal(&mut self, tag: &str, octets: &[u8]) -> Result<(), Fault> {
        let waits = self.waits(octets.len() as u64);
        let plus = if waits { "" } else { "+" };
        self.stream.write(format!("{{{}{plus}}}\r\n", octets.len()).as_bytes()).await?;
        if waits {
            self.stream.flush().await?;
            if let Some(done) = self.wait_for_go(tag).await? {
                return Err(self.fault(&done, "a name", Class::Protocol));
            }
        }
        self.stream.write(octets).await
    }

    /// `None` is `+`; otherwise how the command ended instead.
    async fn wait_for_go(&mut self, tag: &str) -> Result<Option<Done>, Fault> {
        loop {
            match self.receive(None).await? {
                Answer::Continue(_) => return Ok(None),
                Answer::Tagged(of, done) if of == tag => return Ok(Some(done)),
                Answer::Tagged(of, done) => self.strays.push((of, done)),
                _ => {}
            }
        }
    }

    /// Reads answers until the command ends.
    async fn finish(&mut self, tag: &str, mut each: impl FnMut(Answer)) -> Result<Done, Fault> {
        if let Some(n) = self.strays.iter().position(|(of, _)| of == tag) {
            return Ok(self.strays.swap_remove(n).1);
        }
        loop {
            match self.receive(None).await? {
                Answer::Tagged(of, done) if of == tag => return Ok(done),
                // A server may answer commands in another order (RFC 9051, section 5.5).
                Answer::Tagged(of, done) if self.strays.len() < 1000 => self.strays.push((of, done)),
                other => each(other),
            }
        }
    }

    async fn ask(&mut self, parts: &[Part<'_>], each: impl FnMut(Answer)) -> Result<Done, Fault> {
        let tag = self.send(parts).await?;
        self.finish(&tag, each).await
    }

    /// The next whole answer. What it says of the session itself is noted here. The content of a message goes to `taker`.
    async fn receive(&mut self, taker: Option<&mut Taker<'_>>) -> Result<Answer, Fault> {
        if self.broken {
            return Err(Fault::new(Class::Unreachable, format!("{}: the session broke", self.stream.server())));
        }
        let answer = match self.pieces(taker).await {
            Ok(pieces) => answer::decode(&pieces),
            Err(fault) => {
                self.broken = true;
                return Err(fault);
            }
        };
        self.note(&answer)?;
        Ok(answer)
    }

    async fn pieces(&mut self, mut taker: Option<&mut Taker<'_>>) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        let mut size = 0;
        loop {
            let mut line = self.stream.line(LINE).await?;
            size += line.len();
            if size > 2 * LINE || pieces.len() > 10_000 {
                return Err(Fault::new(Class::Protocol, format!("{}: an answer without end", self.stream.server())));
            }
            let literal = if pieces.is_empty() && answer::is_spoken(&line) { None } else { announced(&line) };
            let Some((begins, octets)) = literal else {
                pieces.push(Piece::Text(line));
                return Ok(pieces);
            };
            line.truncate(begins);
            // What announces a content may stand behind another literal.
            let first = matches!(pieces.first().map_or(Some(line.as_slice()), |p| match p {
                Piece::Text(t) => Some(t.as_slice()),
                _ => None,
            }), Some(t) if t.starts_with(b"* "));
            let content = first && answer::announces_content(&line);
            pieces.push(Piece::Text(line));
            pieces.push(match (&mut taker, content) {
                (Some(taker), true) => {
                    taker.take(&mut self.stream, octets).await?;
                    Piece::Streamed
                }
                (None, true) => {
                    take::skip(&mut self.stream, octets).await?;
                    Piece::Streamed
                }
                (_, false) if octets <= SMALL => Piece::Literal(self.stream.octets(octets as usize).await?),
                _ => {
                    let what = format!("{}: a literal of {octets} octets where none belongs", self.stream.server());
                    return Err(Fault::new(Class::Protocol, what));
                }
            });
        }
    }

    fn note(&mut self, answer: &Answer) -> Result<(), Fault> {
        match answer {
            Answer::State(done) if done.status == Status::Bye && !self.leaving => {
                self.broken = true;
                return Err(self.fault(done, "it hangs up", Class::Unreachable));
            }
            Answer::State(done) | Answer::Tagged(_, done) => {
                if let Some(words) = done.code.as_ref().and_then(answer::capabilities_of) {
                    self.capabilities = words.into_iter().collect();
                }
                if let (Some(open), Some(code)) = (&mut self.open, &done.code)
                    && code.name == "UIDVALIDITY"
                    && open.figures.validity.is_some()
                    && code.number() != open.figures.validity
                {
                    open.renumbered = true;
                }
            }
            Answer::Capability(words) => self.capabilities = words.iter().cloned().collect(),
            Answer::Exists(n) => self.open.iter_mut().for_each(|open| open.exists = *n),
            Answer::Expunge(_) => self.open.iter_mut().for_each(|open| open.exists = open.exists.saturating_sub(1)),
            Answer::Vanished { earlier: false, uids } => {
                let gone = u32::try_from(uids.len()).unwrap_or(u32::MAX);
                self.open.iter_mut().for_each(|open| open.exists = open.exists.saturating_sub(gone));
            }
            _ => {}
        }
        Ok(())
    }

    /// The folder that is open, or that ids mean nothing any more.
    fn opened(&self) -> Result<&Open, Fault> {
        match &self.open {
            None => Err(Fault::new(Class::Protocol, "no folder is open")),
            Some(open) if open.renumbered => {
                Err(Fault::new(Class::Renumbered, format!("{}: the folder was renumbered", name::shown(&open.raw))))
            }
            Some(open) => Ok(open),
        }
    }
}
