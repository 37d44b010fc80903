//! Messages into the open folder: many in one command where the server can (MULTIAPPEND, RFC 3502), literals without waiting where it
//! allows that (RFC 7888), octets of a large message straight from its file.

use std::io::Read as _;

use super::{Part, Session};
use crate::protocol::imap::answer::{Answer, Done};
use crate::protocol::imap::{date, name};
use crate::services::cms::mailbox::{Class, Content, Fault, Id, Message};
use crate::services::cms::target::Appended;

/// Octets that are read from a spooled message at once.
const PIECE: usize = 64 << 10;

/// How sending a message went.
enum Sent {
    All,
    /// The server ended the command at this message instead of taking its octets.
    Ended(Done),
}

impl Session {
    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        if let Err(fault) = self.opened() {
            return Appended::Refused { stored: Vec::new(), culprit: None, fault };
        }
        let multi = self.can("MULTIAPPEND");
        // A literal of no octets calls a MULTIAPPEND off (RFC 3502, section 6.3.11).
        if multi && let Some(empty) = messages.iter().position(|m| m.content.length() == 0) {
            let fault = self.says("an empty message cannot be stored by IMAP", Class::Malformed);
            return Appended::Refused { stored: Vec::new(), culprit: Some(empty), fault };
        }
        let appended = match messages {
            [] => return Appended::Stored(Vec::new()),
            _ if multi || messages.len() == 1 => self.append_whole(messages).await,
            _ => self.append_each(messages).await,
        };
        // After an error nothing is known of what the server took.
        appended.unwrap_or_else(|fault| {
            self.broken = true;
            Appended::Unknown(fault)
        })
    }

    async fn append_whole(&mut self, messages: &[Message]) -> Result<Appended, Fault> {
        self.strays.clear();
        let tag = self.begin_append().await?;
        for (n, message) in messages.iter().enumerate() {
            if let Sent::Ended(done) = self.put(&tag, message).await? {
                return Ok(self.refused(&done, messages, Some(n)));
            }
        }
        self.stream.write(b"\r\n").await?;
        self.stream.flush().await?;
        let done = self.finish(&tag, |_| {}).await?;
        Ok(match done.is_ok() {
            true => Appended::Stored(self.ids(&done, messages.len())),
            false => self.refused(&done, messages, None),
        })
    }

    /// One command a message, sent without waiting for answers: each stands alone.
    async fn append_each(&mut self, messages: &[Message]) -> Result<Appended, Fault> {
        self.strays.clear();
        let mut tags = Vec::with_capacity(messages.len());
        let mut outcomes: Vec<Option<Done>> = messages.iter().map(|_| None).collect();
        for message in messages {
            let tag = self.begin_append().await?;
            let sent = self.put(&tag, message).await?;
            tags.push(tag);
            match sent {
                Sent::All => self.stream.write(b"\r\n").await?,
                Sent::Ended(done) => outcomes[tags.len() - 1] = Some(done),
            }
        }
        self.stream.flush().await?;
        for (of, done) in std::mem::take(&mut self.strays) {
            if let Some(n) = tags.iter().position(|t| *t == of) {
                outcomes[n] = Some(done);
            }
        }
        while outcomes.iter().any(Option::is_none) {
            if let Answer::Tagged(of, done) = self.receive(None).await?
                && let Some(n) = tags.iter().position(|t| *t == of)
            {
                outcomes[n] = Some(done);
            }
        }
        let each = outcomes.into_iter().flatten().map(|done| match done.is_ok() {
            true => Ok(self.ids(&done, 1).pop().flatten()),
            false => Err(self.fault(&done, "APPEND", Class::Malformed)),
        });
        Ok(Appended::Each(each.collect()))
    }

    async fn begin_append(&mut self) -> Result<String, Fault> {
        let raw = self.opened()?.raw.clone();
        self.begin_line(&[Part::Text("APPEND "), Part::String(&raw)]).await
    }

    async fn put(&mut self, tag: &str, message: &Message) -> Result<Sent, Fault> {
        let length = message.content.length();
        let mut head = String::from(" (");
        for (n, word) in message.flags.words().filter(|w| self.takes(w)).enumerate() {
            if n > 0 {
                head.push(' ');
            }
            head.push_str(word);
        }
        head.push(')');
        if let Some(text) = message.date.and_then(|d| date::format(d.at, d.zone)) {
            head.push_str(&format!(" \"{text}\""));
        }
        let waits = self.waits(length);
        let binary = if self.can("BINARY") && holds_nul(&message.content)? { "~" } else { "" };
        let plus = if waits { "" } else { "+" };
        self.stream.write(format!("{head} {binary}{{{length}{plus}}}\r\n").as_bytes()).await?;
        if waits {
            self.stream.flush().await?;
            if let Some(done) = self.wait_for_go(tag).await? {
                return Ok(Sent::Ended(done));
            }
        }
        match &message.content {
            Content::Memory { octets, .. } => self.stream.write(octets).await?,
            Content::Spooled { .. } => {
                let mut reader = message.content.reader().map_err(spool)?;
                let mut piece = vec![0; PIECE];
                let mut left = length;
                while left > 0 {
                    let n = reader.read(&mut piece).map_err(spool)?;
                    if n == 0 {
                        return Err(Fault::new(Class::Local, "the spool file is shorter than it was"));
                    }
                    self.stream.write(&piece[..n]).await?;
                    left = left.saturating_sub(n as u64);
                }
            }
        }
        Ok(Sent::All)
    }

    /// Whether a flag may be set here: an unknown keyword can make a server refuse the whole message.
    fn takes(&self, word: &str) -> bool {
        let permanent = self.open.as_ref().and_then(|open| open.permanent.as_ref());
        let listed = |flags: &Vec<String>| flags.iter().any(|f| f == "\\*" || f.eq_ignore_ascii_case(word));
        let atom = word.bytes().all(|b| b.is_ascii_graphic() && !b"(){%*\"]".contains(&b));
        atom && permanent.is_none_or(|flags| flags.is_empty() || listed(flags))
    }

    /// The ids of an APPENDUID, when they can be true: of this folder, and as many as messages (davmail#315 swaps the fields).
    fn ids(&self, done: &Done, messages: usize) -> Vec<Option<Id>> {
        let validity = self.open.as_ref().and_then(|open| open.figures.validity);
        let told = done.code.as_ref().and_then(|c| c.append_uid());
        match told {
            Some((of, uids)) if Some(u64::from(of)) == validity && uids.len() == messages as u64 => {
                uids.iter().map(|uid| Some(Id::uid(uid))).collect()
            }
            _ => vec![None; messages],
        }
    }

    /// `at` is the message at which the server ended the command.
    fn refused(&self, done: &Done, messages: &[Message], at: Option<usize>) -> Appended {
        let fault = self.fault(done, "APPEND", Class::Malformed);
        let culprit = match messages.len() {
            1 => Some(0),
            _ if fault.class.of_message() => at.or_else(|| self.too_large(messages)),
            _ => None,
        };
        Appended::Refused { stored: Vec::new(), culprit, fault }
    }

    fn too_large(&self, messages: &[Message]) -> Option<usize> {
        let largest = self.abilities.largest?;
        messages.iter().position(|m| m.content.length() > largest)
    }

    /// For people: the folder that is open.
    pub(super) fn where_open(&self) -> String {
        self.open.as_ref().map(|open| name::shown(&open.raw)).unwrap_or_default()
    }
}

fn spool(e: std::io::Error) -> Fault {
    Fault::new(Class::Local, format!("the spool cannot be read: {e}"))
}

/// A NUL is no CHAR: only BINARY (RFC 3516) carries it.
fn holds_nul(content: &Content) -> Result<bool, Fault> {
    match content {
        Content::Memory { octets, .. } => Ok(octets.contains(&0)),
        Content::Spooled { .. } => {
            let mut reader = content.reader().map_err(spool)?;
            let mut piece = vec![0; PIECE];
            loop {
                match reader.read(&mut piece).map_err(spool)? {
                    0 => return Ok(false),
                    n if piece[..n].contains(&0) => return Ok(true),
                    _ => {}
                }
            }
        }
    }
}
