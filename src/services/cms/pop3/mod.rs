//! POP3 (RFC 1939, RFC 2449, RFC 2595) as a source: one folder, no flags, no dates.
//!
//! Messages are named by their UIDLs, and what they were called goes along as [`Message::uidl`]. Where a server gives one UIDL twice, the second is
//! told apart by its place. A server without UIDL is refused: numbers mean another message in the next session, and what TOP gives is not the same
//! on every server. Nothing is ever deleted (no DELE is in this code), though a server may mark what is read.
//!
//! When a server changes all UIDLs (another host name or software), every message looks new and every old one gone; both are said as they are seen,
//! and the mover holds contents against each other. A POP3 session sees the mailbox as it was at its login, so opening the folder again logs in again.

mod login;
mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::mpsc;

use super::config::End;
use super::mailbox::{Access, Changes, Class, Fault, Fetched, Flags, Folder, FolderPath, Id, Mark, Seen};
use super::source::Means;
use super::wire::{Stream, shown};

/// Octets of one line of an answer (RFC 2449 section 4 says 512, which servers do not keep to).
const LINE: usize = 8 << 10;
/// Commands under way at once, where the server bears it (RFC 2449 section 6.6).
const AHEAD: usize = 32;
/// Messages of a mailbox: a bound for what a server may make us hold.
const MOST: usize = 5_000_000;

/// One session of one mailbox.
#[derive(Debug)]
pub struct Pop3 {
    end: End,
    access: Access,
    stream: Stream,
    capabilities: BTreeSet<String>,
    /// By number, from 1 on.
    held: Vec<Held>,
    numbers: BTreeMap<Id, usize>,
    /// Whether this session's view has been used, so that another look needs another login.
    looked: bool,
}

#[derive(Debug, Clone)]
struct Held {
    id: Id,
    uidl: String,
    size: u64,
}

impl Pop3 {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        let stream = Stream::connect(end).await?;
        let mut session = Self {
            end: end.clone(),
            access: access.clone(),
            stream,
            capabilities: BTreeSet::new(),
            held: Vec::new(),
            numbers: BTreeMap::new(),
            looked: false,
        };
        session.log_in().await?;
        Ok(session)
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        Ok(vec![Folder::plain(FolderPath::inbox(), b"INBOX".to_vec())])
    }

    pub async fn open(&mut self, _folder: &Folder) -> Result<Mark, Fault> {
        self.look().await?;
        Ok(Mark { validity: 1, next: None, modseq: None, count: self.held.len() as u64, state: None })
    }

    pub async fn changes(&mut self, _since: Option<&Mark>) -> Result<Changes, Fault> {
        if self.numbers.is_empty() {
            self.look().await?;
        }
        let seen = |h: &Held| Seen { id: h.id.clone(), flags: Flags::default(), size: Some(h.size), date: None };
        Ok(Changes::Whole(self.held.iter().map(seen).collect()))
    }

    /// What is there now: a session that was used before is begun again.
    async fn look(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.looked, true) {
            // One mailbox is one session's at a time: the old one must be over first.
            let _ = self.ask("QUIT").await;
            let fresh = Stream::connect(&self.end).await?;
            std::mem::replace(&mut self.stream, fresh).close().await;
            self.log_in().await?;
        }
        let sizes = self.listing("LIST").await?;
        let names = match self.listing("UIDL").await {
            Err(fault) if fault.class == Class::Unsupported => {
                let what = "the server has no UIDL, without which no message is known again; use IMAP or its files";
                return Err(Fault::new(Class::Unsupported, what));
            }
            names => names?,
        };
        if names.len() != sizes.len() {
            return Err(self.protocol("LIST and UIDL do not count the same messages"));
        }
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        self.held = Vec::with_capacity(names.len());
        for (size, uidl) in sizes.values().zip(names.values()) {
            let size = size.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
            let time = times.entry(uidl.as_str()).and_modify(|t| *t += 1).or_insert(1);
            let id = if *time == 1 { Id(uidl.as_str().into()) } else { Id(format!("{uidl} #{time}").into()) };
            self.held.push(Held { id, uidl: uidl.clone(), size });
        }
        if !names.keys().copied().eq(1..=names.len()) || !sizes.keys().copied().eq(1..=names.len()) {
            return Err(self.protocol("its messages are not numbered from 1 on"));
        }
        self.numbers = self.held.iter().enumerate().map(|(n, h)| (h.id.clone(), n + 1)).collect();
        Ok(())
    }

    /// `NUMBER WORD` lines.
    async fn listing(&mut self, command: &str) -> Result<BTreeMap<usize, String>, Fault> {
        let first = self.ask(command).await?;
        if let Err(words) = first {
            // Of LIST it is a fault of the moment; UIDL is optional (RFC 1939 section 7).
            let class = if command == "UIDL" && !self.capabilities.contains("UIDL") {
                Class::Unsupported
            } else {
                class_of(&words, Class::Busy)
            };
            return Err(self.refused(command, &words, class));
        }
        let mut found = BTreeMap::new();
        loop {
            let line = self.stream.line(LINE).await?;
            if line == b"." {
                return Ok(found);
            }
            let line = String::from_utf8_lossy(&line);
            let Some((number, word)) = line.trim_end().split_once(' ') else {
                return Err(self.protocol(&format!("an answer to {command} that is no list: {}", shown(&line))));
            };
            let number = number.parse().map_err(|_| self.protocol(&format!("no number in: {}", shown(&line))))?;
            if found.insert(number, word.trim().to_owned()).is_some() || found.len() > MOST {
                return Err(self.protocol(&format!("{command} lists a message twice, or without end")));
            }
        }
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        let ahead = if self.capabilities.contains("PIPELINING") { AHEAD } else { 1 };
        let mut asked: VecDeque<(Id, usize)> = VecDeque::new();
        let mut ids = ids.iter();
        loop {
            let mut sent = false;
            while asked.len() < ahead {
                let Some(id) = ids.next() else { break };
                let too_large = |h: &Held| h.size > means.largest;
                let number = self.numbers.get(id).copied();
                let fault = match number.and_then(|n| self.held.get(n - 1)) {
                    None => Some(Fault::new(Class::Vanished, format!("{id}: the server no longer lists it"))),
                    Some(held) if too_large(held) => Some(Fault::new(
                        Class::TooLarge,
                        format!("{} octets, {} is the most", held.size, means.largest),
                    )),
                    Some(_) => None,
                };
                match (fault, number) {
                    (None, Some(number)) => {
                        self.stream.write(format!("RETR {number}\r\n").as_bytes()).await?;
                        asked.push_back((id.clone(), number));
                        sent = true;
                    }
                    (fault, _) => {
                        let fault =
                            fault.unwrap_or_else(|| Fault::new(Class::Vanished, "the server no longer lists it"));
                        hand_on(to, Fetched::Failed(id.clone(), fault)).await?;
                    }
                }
            }
            if sent {
                self.stream.flush().await?;
            }
            let Some((id, number)) = asked.pop_front() else {
                return Ok(());
            };
            let fetched = self.retrieved(id, number, means).await?;
            hand_on(to, fetched).await?;
        }
    }

    pub async fn close(mut self) {
        let _ = self.ask("QUIT").await;
        self.stream.close().await;
    }

    /// The words behind +OK, or behind -ERR.
    async fn ask(&mut self, command: &str) -> Result<Result<String, String>, Fault> {
        self.stream.write(format!("{command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Result<String, String>, Fault> {
        let line = self.stream.line(LINE).await?;
        let line = String::from_utf8_lossy(&line);
        let words = |w: &str| shown(w.trim());
        if let Some(rest) = line.strip_prefix("+OK") {
            Ok(Ok(words(rest)))
        } else if let Some(rest) = line.strip_prefix("-ERR") {
            Ok(Err(words(rest)))
        } else {
            Err(self.protocol(&format!("an answer that is not of POP3: {}", shown(&line))))
        }
    }

    fn refused(&self, what: &str, words: &str, class: Class) -> Fault {
        Fault::new(class, format!("{}: {what}: {words}", self.stream.server()))
    }

    fn protocol(&self, what: &str) -> Fault {
        Fault::new(Class::Protocol, format!("{}: {what}", self.stream.server()))
    }
}

async fn hand_on(to: &mpsc::Sender<Fetched>, fetched: Fetched) -> Result<(), Fault> {
    to.send(fetched).await.map_err(|_| Fault::new(Class::Local, "nobody takes the messages"))
}

/// By the response code (RFC 2449 section 8, RFC 3206), else as said.
fn class_of(words: &str, otherwise: Class) -> Class {
    let upper = words.to_ascii_uppercase();
    let has = |code: &str| upper.starts_with(code);
    if has("[IN-USE]") || has("[LOGIN-DELAY]") || has("[SYS/TEMP]") {
        Class::Busy
    } else if has("[AUTH]") {
        Class::Login
    } else if has("[SYS/PERM]") {
        Class::Permission
    } else if otherwise == Class::Login
        && (upper.contains("LOCK") || upper.contains("IN USE") || upper.contains("BUSY"))
    {
        // Servers without codes say so in words: the maildrop is another session's.
        Class::Busy
    } else {
        otherwise
    }
}
