//! Lines to and from a server of SMTP, IMAP or POP3.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use zeroize::Zeroizing;

use super::Came;

/// Longest line that a server may answer with: a search names all that it found in one.
const LINE: usize = 1 << 20;

/// Most lines before the answer to a command.
const MOST: usize = 10_000;

/// Lines to and from a server.
pub struct Lines<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    pub fn of(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The stream itself, for TLS on it. What stands in the buffer was said before TLS and counts for nothing.
    pub fn into_inner(self) -> S {
        self.0.into_inner()
    }

    pub async fn line(&mut self) -> Result<String, Came> {
        let mut line = Vec::new();
        loop {
            let piece = self.0.fill_buf().await.map_err(|e| Came::Bad(e.to_string()))?;
            if piece.is_empty() {
                return Err(Came::Bad("it hung up".to_owned()));
            }
            let end = piece.iter().position(|b| *b == b'\n');
            let taken = end.map_or(piece.len(), |at| at + 1);
            line.extend_from_slice(&piece[..taken]);
            self.0.consume(taken);
            if line.len() > LINE {
                return Err(Came::Bad("it says too much in one line".to_owned()));
            }
            if end.is_some() {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }

    pub async fn say(&mut self, text: &str) -> Result<(), Came> {
        let failed = |e: io::Error| Came::Bad(e.to_string());
        self.0.get_mut().write_all(text.as_bytes()).await.map_err(failed)?;
        self.0.get_mut().flush().await.map_err(failed)
    }

    /// The last line of an answer of SMTP.
    pub async fn reply(&mut self) -> Result<String, Came> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// SASL PLAIN (RFC 4616) after a continuation line; what IMAP says untagged before the answer is passed over.
    pub async fn logs_in(&mut self, command: &str, login: (&str, &[u8]), good: &str) -> Result<(), Came> {
        self.say(&format!("{command}\r\n")).await?;
        let said = self.line().await?;
        if !said.starts_with('+') && !said.starts_with("334") {
            return Err(refused("login", &said));
        }
        self.say(&plain(login)).await?;
        let said = loop {
            let line = self.line().await?;
            if !line.starts_with("* ") {
                break line;
            }
        };
        if said.starts_with(good) { Ok(()) } else { Err(refused("login", &said)) }
    }

    /// A command of IMAP: what stands untagged before its answer, which has to be OK.
    pub async fn command(&mut self, text: &str) -> Result<Vec<String>, Came> {
        self.say(&format!("c {text}\r\n")).await?;
        let mut untagged = Vec::new();
        loop {
            let line = self.line().await?;
            match line.strip_prefix("c ") {
                Some(said) if said.starts_with("OK") => return Ok(untagged),
                Some(said) => return Err(refused(text.split(' ').next().unwrap_or_default(), said)),
                None if untagged.len() == MOST => return Err(Came::Bad("it says too much".to_owned())),
                None => untagged.push(line),
            }
        }
    }

    pub async fn wants(&mut self, good: &str, what: &str) -> Result<(), Came> {
        let said = self.reply().await?;
        if said.starts_with(good) { Ok(()) } else { Err(refused(what, &said)) }
    }
}

pub fn refused(what: &str, said: &str) -> Came {
    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    Came::Bad(format!("{what}: {said}"))
}

/// SASL PLAIN (RFC 4616) as a line.
fn plain((user, password): (&str, &[u8])) -> Zeroizing<String> {
    let words = Zeroizing::new([b"\0".as_slice(), user.as_bytes(), b"\0", password].concat());
    let mut line = Zeroizing::new(STANDARD.encode(words.as_slice()));
    line.push_str("\r\n");
    line
}
