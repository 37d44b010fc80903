//! One message: the lines of an answer, their dots taken off, piece by piece.

use std::io::Read as _;

use super::{Pop3, class_of};
use crate::services::cms::mailbox::{Class, Fault, Fetched, Flags, IN_MEMORY, Id, Message, Spool};
use crate::services::cms::source::Means;

/// What has been read of the end of a line, and whether a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Dot,
    DotCr,
    Text,
}

/// Takes the dots off (RFC 1939 section 3) and finds the end.
#[derive(Debug)]
pub(super) struct Dots {
    state: State,
    after_cr: bool,
}

impl Dots {
    pub(super) fn new() -> Self {
        Self { state: State::Start, after_cr: false }
    }

    /// Appends what the octets hold to `out`. Gives how many were used up to the end of the message, when it is among them. A line may end in LF
    /// alone, as old servers write it, also the last.
    pub(super) fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        for (n, octet) in octets.iter().enumerate() {
            match (self.state, octet) {
                (State::Start, b'.') => self.state = State::Dot,
                (State::Dot, b'\r') => self.state = State::DotCr,
                (State::Dot | State::DotCr, b'\n') => return Some(n + 1),
                (State::Dot, b'.') => self.text(b'.', out),
                (State::Dot, other) => {
                    // A server that did not double the dot.
                    self.text(b'.', out);
                    self.text(*other, out);
                }
                (State::DotCr, other) => {
                    out.extend_from_slice(b".\r");
                    self.after_cr = true;
                    self.text(*other, out);
                }
                (State::Start | State::Text, other) => self.text(*other, out),
            }
        }
        None
    }

    fn text(&mut self, octet: u8, out: &mut Vec<u8>) {
        if octet == b'\n' && !self.after_cr {
            out.push(b'\r');
        }
        out.push(octet);
        self.after_cr = octet == b'\r';
        self.state = if octet == b'\n' { State::Start } else { State::Text };
    }
}

impl Pop3 {
    /// Reads the answer to a RETR.
    pub(super) async fn retrieved(&mut self, id: Id, number: usize, means: &Means) -> Result<Fetched, Fault> {
        if let Err(words) = self.answer().await? {
            // It was listed in this session, so it is there: whatever this is, it passes or a person must look.
            return Ok(Fetched::Failed(id, self.refused("RETR", &words, class_of(&words, Class::Busy))));
        }
        let held = self.held.get(number - 1).cloned();
        let (size, uidl) = held.map_or((0, None), |h| (h.size, Some(h.uidl)));
        // Sizes are often wrong: what is announced as nearly as large as memory may be goes to a file at once.
        let announced = if size > IN_MEMORY / 2 { IN_MEMORY + 1 } else { size };
        let mut share = if announced > IN_MEMORY { None } else { Some(means.budget.wait(announced.max(1)).await?) };
        let mut spool = Spool::begin(announced, share.take(), &means.spool)?;
        let (mut dots, mut out, mut length, mut spooled, mut too_large) =
            (Dots::new(), Vec::new(), 0u64, announced > IN_MEMORY, false);
        loop {
            out.clear();
            let octets = self.stream.peek().await?;
            let end = dots.take(octets, &mut out);
            let used = end.unwrap_or(octets.len());
            self.stream.skip(used);
            length += out.len() as u64;
            too_large |= length > means.largest;
            if !too_large {
                if !spooled && length > announced.max(IN_MEMORY / 2) {
                    spool = to_file(spool, means)?;
                    spooled = true;
                }
                spool.push(&out)?;
            }
            if end.is_some() {
                break;
            }
        }
        if too_large {
            let what = format!("{length} octets, {} is the most", means.largest);
            return Ok(Fetched::Failed(id, Fault::new(Class::TooLarge, what)));
        }
        let (content, digest) = spool.end();
        Ok(Fetched::Message(Box::new(Message { id, flags: Flags::default(), date: None, content, digest, uidl })))
    }
}

/// A message that is larger than its server said goes on in a file.
fn to_file(spool: Spool, means: &Means) -> Result<Spool, Fault> {
    let (content, _) = spool.end();
    let mut file = Spool::begin(IN_MEMORY + 1, None, &means.spool)?;
    let failed = |e: std::io::Error| Fault::new(Class::Local, format!("the spool cannot be read: {e}"));
    let (mut reader, mut held) = (content.reader().map_err(failed)?, vec![0; 64 << 10]);
    loop {
        match reader.read(&mut held).map_err(failed)? {
            0 => break,
            n => file.push(&held[..n])?,
        }
    }
    drop(reader);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_go_and_the_end_is_found_however_octets_are_cut() {
        let said = b"a\r\n..\r\n..b\r\n.c\r\n\r\n...\r\nx.\r\n.\r\n+OK next\r\n";
        for cut in 1..said.len() {
            let (mut dots, mut out, mut used) = (Dots::new(), Vec::new(), 0);
            for piece in said.chunks(cut) {
                match dots.take(piece, &mut out) {
                    Some(n) => {
                        used += n;
                        break;
                    }
                    None => used += piece.len(),
                }
            }
            assert_eq!(out, b"a\r\n.\r\n.b\r\n.c\r\n\r\n..\r\nx.\r\n", "{cut}");
            assert_eq!(&said[used..], b"+OK next\r\n");
        }
        let (mut dots, mut out) = (Dots::new(), Vec::new());
        assert_eq!(dots.take(b"a\n..b\n.\nrest", &mut out), Some(8));
        assert_eq!(out, b"a\r\n.b\r\n");
    }
}
