//! LMTP (RFC 2033) as a target: for stores that take mail no other way. What was delivered is read back by the same server's IMAP.
//!
//! A delivery is not a copy: the server puts `Return-Path`, `Delivered-To` and `Received` in front, gives the date of the day, files by the user's own
//! rules, and knows the inbox alone. So there are no other folders and no dates, contents do not come back octet for octet, and flags are set by IMAP
//! afterwards. Of a batch each message stands alone; which number it got is known when exactly so many came to the inbox as were accepted.
//!
//! Choose IMAP wherever the target has it.

use std::collections::BTreeSet;
use std::io::Read as _;

use tokio::sync::mpsc;

use super::config::End;
use super::imap::Session;
use super::mailbox::{
    Access, Changes, Class, Content, Fault, Fetched, Flags, Folder, FolderPath, Id, Mark, Message, SpecialUse,
};
use super::source::Means;
use super::target::{Abilities, Appended};
use super::wire::{Stream, shown};
use crate::services::cms::config::Tls;

/// Octets of a line of an answer (RFC 5321 section 4.5.3.1.5 says 512).
const LINE: usize = 8 << 10;
const PIECE: usize = 64 << 10;

/// One session: a connection to deliver by and one to read by.
#[derive(Debug)]
pub struct Lmtp {
    stream: Stream,
    read: Session,
    /// Recipient, as the server knows it.
    recipient: String,
    words: BTreeSet<String>,
    abilities: Abilities,
}

struct Reply {
    code: u16,
    text: String,
}

impl Lmtp {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        let missing = || Fault::new(Class::Local, "LMTP cannot be read back: name the server's IMAP as `read`");
        let read = end.read.as_deref().ok_or_else(missing)?;
        if access.login.contains(['<', '>', '\r', '\n', '\0']) {
            return Err(Fault::new(Class::Login, "the recipient's name cannot be one"));
        }
        // The name at IMAP may be formed in another way than the recipient's.
        let login = read.login_of(&access.user);
        let reader =
            Access { user: access.user.clone(), login, master: read.master.clone(), password: access.password.clone() };
        let read = Session::connect(read, &reader, true).await?;
        let stream = Stream::connect(end).await?;
        let of_reading = read.abilities().clone();
        let abilities = Abilities {
            batch: 20,
            batch_octets: 4 << 20,
            whole_batches: false,
            largest: None,
            dates: false,
            folders: false,
            uidl: false,
            exact: false,
            ..of_reading
        };
        let mut session = Self { stream, read, recipient: access.login.clone(), words: BTreeSet::new(), abilities };
        session.greet(end).await?;
        Ok(session)
    }

    async fn greet(&mut self, end: &End) -> Result<(), Fault> {
        let greeting = self.reply().await?;
        if greeting.code != 220 {
            return Err(self.fault("greeting", &greeting, Class::Busy));
        }
        self.hello().await?;
        if end.tls == Tls::Starttls {
            let answer = self.ask("STARTTLS").await?;
            if answer.code != 220 {
                return Err(self.fault("STARTTLS", &answer, Class::Protocol));
            }
            self.stream.secure(end).await?;
            self.hello().await?;
        }
        let size = self.words.iter().find_map(|w| w.strip_prefix("SIZE ")?.parse().ok());
        self.abilities.largest = size.filter(|n| *n > 0);
        Ok(())
    }

    async fn hello(&mut self) -> Result<(), Fault> {
        let answer = self.ask("LHLO cutover").await?;
        if answer.code != 250 {
            return Err(self.fault("LHLO", &answer, Class::Protocol));
        }
        self.words = answer.text.lines().skip(1).map(|l| l.trim().to_ascii_uppercase()).take(100).collect();
        Ok(())
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        let mut folders = self.read.folders().await?;
        folders.retain(|f| f.path.is_inbox());
        Ok(folders)
    }

    pub async fn create(&mut self, path: &FolderPath, _special: Option<SpecialUse>) -> Result<Folder, Fault> {
        if !path.is_inbox() {
            return Err(Fault::new(Class::Unsupported, format!("{path}: LMTP delivers to the inbox alone")));
        }
        let gone = || Fault::new(Class::Protocol, "IMAP shows no inbox");
        self.folders().await?.into_iter().next().ok_or_else(gone)
    }

    pub async fn rename(&mut self, _folder: &Folder, _to: &FolderPath) -> Result<Folder, Fault> {
        Err(Fault::new(Class::Unsupported, "LMTP delivers to the inbox alone"))
    }

    pub async fn delete(&mut self, _folder: &Folder) -> Result<(), Fault> {
        Err(Fault::new(Class::Unsupported, "LMTP delivers to the inbox alone"))
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        self.read.subscribe(folder, on).await
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        self.read.open(folder).await
    }

    pub async fn changes(&mut self, since: Option<&Mark>) -> Result<Changes, Fault> {
        self.read.changes(since).await
    }

    pub async fn arrived(&mut self, from: Option<u64>) -> Result<Changes, Fault> {
        self.read.arrived(from).await
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        self.read.fetch(ids, means, to).await
    }

    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        self.read.set_flags(flags).await
    }

    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        self.read.remove(ids).await
    }

    pub async fn quota(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        self.read.quota().await
    }

    pub async fn close(mut self) {
        let _ = self.ask("QUIT").await;
        self.stream.close().await;
        self.read.close().await;
    }

    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        let before = match self.ids(None).await {
            Ok(ids) => ids,
            Err(fault) => return Appended::Refused { stored: Vec::new(), culprit: None, fault },
        };
        let mut each = Vec::with_capacity(messages.len());
        for message in messages {
            match self.deliver(message).await {
                Ok(done) => each.push(done.map(|()| None)),
                Err(fault) => return Appended::Unknown(fault),
            }
        }
        let accepted: Vec<usize> = each.iter().enumerate().filter(|(_, done)| done.is_ok()).map(|(n, _)| n).collect();
        let from = before.iter().filter_map(Id::number).max().map(|n| u64::from(n) + 1);
        if let Ok(mut after) = self.ids(from).await {
            after.retain(|id| !before.contains(id));
            after.sort_by_key(Id::number);
            // Others deliver too, and rules file elsewhere: only a plain case is one.
            if after.len() == accepted.len() {
                let pairs: Vec<(usize, Id)> = accepted.into_iter().zip(after).collect();
                let flags: Vec<(Id, Flags)> = pairs
                    .iter()
                    .map(|(n, id)| (id.clone(), messages[*n].flags.clone()))
                    .filter(|(_, flags)| !flags.is_empty())
                    .collect();
                // Flags that could not be set are found missing by the next pass.
                let _ = self.read.set_flags(&flags).await;
                pairs.into_iter().for_each(|(n, id)| each[n] = Ok(Some(id)));
            }
        }
        Appended::Each(each)
    }

    async fn ids(&mut self, from: Option<u64>) -> Result<Vec<Id>, Fault> {
        Ok(match self.read.arrived(from).await? {
            Changes::Whole(seen) => seen.into_iter().map(|s| s.id).collect(),
            Changes::Since { changed, .. } => changed.into_iter().map(|s| s.id).collect(),
        })
    }

    /// The outer fault means that nothing is known.
    async fn deliver(&mut self, message: &Message) -> Result<Result<(), Fault>, Fault> {
        let mut from = "MAIL FROM:<>".to_owned();
        if self.words.iter().any(|w| w.starts_with("SIZE")) {
            from.push_str(&format!(" SIZE={}", message.content.length()));
        }
        if self.words.contains("8BITMIME") {
            from.push_str(" BODY=8BITMIME");
        }
        // Every LMTP server takes commands ahead (RFC 2033 section 4.1).
        let commands = format!("{from}\r\nRCPT TO:<{}>\r\nDATA\r\n", self.recipient);
        self.stream.write(commands.as_bytes()).await?;
        self.stream.flush().await?;
        let (mail, rcpt, data) = (self.reply().await?, self.reply().await?, self.reply().await?);
        if data.code == 354 {
            self.send(&message.content).await?;
        }
        if mail.code != 250 || rcpt.code / 10 != 25 || data.code != 354 {
            // No recipient, and DATA was taken all the same: one answer to nobody (RFC 2033 section 4.2 forbids it).
            if data.code == 354 {
                self.reply().await?;
            }
            self.ask("RSET").await?;
            let refused = if mail.code != 250 {
                ("MAIL", &mail)
            } else if rcpt.code / 10 != 25 {
                ("RCPT", &rcpt)
            } else {
                ("DATA", &data)
            };
            let class = if refused.0 == "RCPT" { Class::Login } else { Class::Malformed };
            return Ok(Err(self.fault(refused.0, refused.1, class)));
        }
        // An answer for each recipient; there is one.
        let done = self.reply().await?;
        Ok(if done.code / 100 == 2 { Ok(()) } else { Err(self.fault("delivery", &done, Class::Malformed)) })
    }

    async fn send(&mut self, content: &Content) -> Result<(), Fault> {
        let failed = |e: std::io::Error| Fault::new(Class::Local, format!("the spool cannot be read: {e}"));
        let (mut held, mut out, mut last) = (vec![0; PIECE], Vec::with_capacity(PIECE + PIECE / 8), b'\n');
        {
            let mut reader = content.reader().map_err(failed)?;
            loop {
                let n = reader.read(&mut held).map_err(failed)?;
                if n == 0 {
                    break;
                }
                out.clear();
                for octet in &held[..n] {
                    if *octet == b'.' && last == b'\n' {
                        out.push(b'.');
                    }
                    // LF alone would be an end that others see (SMTP smuggling).
                    if *octet == b'\n' && last != b'\r' {
                        out.push(b'\r');
                    }
                    out.push(*octet);
                    last = *octet;
                }
                self.stream.write(&out).await?;
            }
        }
        self.stream.write(if last == b'\n' { b".\r\n" } else { b"\r\n.\r\n" }).await?;
        self.stream.flush().await
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, Fault> {
        self.stream.write(format!("{command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, Fault> {
        let mut text = String::new();
        for _ in 0..200 {
            let line = self.stream.line(LINE).await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let code = line.get(..3).and_then(|c| c.parse::<u16>().ok()).filter(|c| (200..600).contains(c));
            let (Some(code), more) = (code, line.as_bytes().get(3) == Some(&b'-')) else {
                return Err(Fault::new(Class::Protocol, format!("an answer that is not of LMTP: {}", shown(&line))));
            };
            text.push_str(line.get(4..).unwrap_or(""));
            text.push('\n');
            if !more {
                return Ok(Reply { code, text });
            }
        }
        Err(Fault::new(Class::Protocol, "an answer without end"))
    }

    /// By the enhanced code (RFC 3463) where there is one.
    fn fault(&self, what: &str, reply: &Reply, otherwise: Class) -> Fault {
        let words = reply.text.trim();
        let class = if words.contains(".2.2 ") || reply.code == 452 && words.to_ascii_lowercase().contains("quota") {
            Class::Quota
        } else if words.contains(".2.3 ") || words.contains(".3.4 ") || reply.code == 552 {
            Class::TooLarge
        } else if reply.code / 100 == 4 {
            Class::Busy
        } else {
            otherwise
        };
        Fault::new(class, format!("{}: {what}: {} {}", self.stream.server(), reply.code, shown(words)))
    }
}
