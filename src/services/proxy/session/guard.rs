//! What stands between a client and a submission server once the login is through.
//!
//! Two programs that read one stream differently are how messages are smuggled (CVE-2023-51764 and its kin), so the lines of commands
//! and of messages end with CR LF and nothing else. And the proxy is one whom the server lets tell the client's address (XCLIENT); who
//! comes through it must not say that too. Chunks of BDAT (RFC 3030) are octets and pass as they are.
//!
//! For that the guard must know where commands end and messages begin, as the server does: behind DATA nothing passes before the
//! server has said whether it takes a message.

/// Octets of a client, judged in the order in which they came.
#[derive(Debug, Default)]
pub struct Guard {
    state: State,
    /// The verb of the command that is being read, in capitals.
    verb: Vec<u8>,
    /// The digits of a BDAT.
    size: Option<u64>,
    /// Where in the command line: its verb, the word behind it, the rest.
    part: Part,
    /// The last octet was a CR.
    cr: bool,
    /// Replies that the server owes.
    owed: u32,
    /// The line of the server that is being read: its first four octets.
    reply: Vec<u8>,
    /// The server told CHUNKING.
    chunking: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Command,
    /// Behind DATA: which it is, the server says.
    Asked,
    Data(Seen),
    /// Octets of a chunk that are still to come.
    Chunk(u64),
}

/// How much of CR LF `.` CR LF was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// At the begin of a line.
    Begin,
    /// A dot alone so far.
    Dot,
    /// Its CR.
    Cr,
    Inside,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Verb,
    Word,
    Rest,
}

/// Why a submission ends. The text is for the client and for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardFault {
    #[error("a line ends with LF alone; lines end with CR LF")]
    BareLf,
    #[error("a CR stands alone; lines end with CR LF")]
    BareCr,
    #[error("a command is not of SMTP")]
    NoCommand,
    #[error("a command that only the proxy itself may give")]
    Forbidden,
    #[error("BDAT without a size, or where the server has no CHUNKING")]
    Chunk,
}

impl GuardFault {
    /// What the client is told before the connection ends.
    pub fn said(self) -> String {
        format!("550 5.5.2 {self}\r\n")
    }
}

impl Guard {
    /// `chunking`: whether the server takes BDAT.
    pub fn new(chunking: bool) -> Self {
        Self { chunking, ..Self::default() }
    }

    /// Judges octets of the client: how many of them may go to the server. Those behind wait until [`Guard::server`] has
    /// seen more, and are handed in again.
    pub fn client(&mut self, octets: &[u8]) -> Result<usize, GuardFault> {
        let mut at = 0;
        while at < octets.len() {
            match self.state {
                State::Asked => return Ok(at),
                State::Chunk(left) => {
                    let n = left.min((octets.len() - at) as u64);
                    at += n as usize;
                    self.state = if left == n { State::Command } else { State::Chunk(left - n) };
                    continue;
                }
                State::Command | State::Data(_) => {}
            }
            let octet = octets[at];
            let ended = match (self.cr, octet) {
                (true, b'\n') => true,
                (true, _) => return Err(GuardFault::BareCr),
                (false, b'\n') => return Err(GuardFault::BareLf),
                (false, _) => false,
            };
            self.cr = octet == b'\r';
            match self.state {
                State::Data(dot) => self.message(dot, octet, ended),
                _ if ended => self.command()?,
                _ if !self.cr => self.octet(octet)?,
                _ => {}
            }
            at += 1;
        }
        Ok(at)
    }

    fn message(&mut self, dot: Seen, octet: u8, ended: bool) {
        self.state = match (dot, octet) {
            (Seen::Cr, _) if ended => {
                self.owed += 1;
                State::Command
            }
            (_, _) if ended => State::Data(Seen::Begin),
            (Seen::Begin, b'.') => State::Data(Seen::Dot),
            (Seen::Dot, b'\r') => State::Data(Seen::Cr),
            _ => State::Data(Seen::Inside),
        };
    }

    /// One octet of a command line.
    fn octet(&mut self, octet: u8) -> Result<(), GuardFault> {
        match (self.part, octet) {
            (Part::Verb, b' ') if !self.verb.is_empty() => self.part = Part::Word,
            // Servers differ in what else they take for the end of a word.
            (Part::Verb, b'a'..=b'z' | b'A'..=b'Z') if self.verb.len() < 16 => {
                self.verb.push(octet.to_ascii_uppercase());
            }
            (Part::Verb, _) | (_, 0) => return Err(GuardFault::NoCommand),
            (Part::Word, b'0'..=b'9') if self.verb == b"BDAT" => {
                let digit = u64::from(octet - b'0');
                let size = self.size.unwrap_or(0).checked_mul(10).and_then(|s| s.checked_add(digit));
                self.size = Some(size.ok_or(GuardFault::Chunk)?);
            }
            (Part::Word, b' ') if self.size.is_some() => self.part = Part::Rest,
            (Part::Word, _) if self.verb == b"BDAT" => return Err(GuardFault::Chunk),
            _ => {}
        }
        Ok(())
    }

    /// A command line is whole.
    fn command(&mut self) -> Result<(), GuardFault> {
        self.state = match self.verb.as_slice() {
            b"XCLIENT" | b"XFORWARD" | b"STARTTLS" => return Err(GuardFault::Forbidden),
            b"DATA" => State::Asked,
            b"BDAT" => match self.size {
                Some(0) if self.chunking => State::Command,
                Some(size) if self.chunking => State::Chunk(size),
                _ => return Err(GuardFault::Chunk),
            },
            _ => State::Command,
        };
        self.owed += 1;
        self.verb.clear();
        (self.size, self.part) = (None, Part::Verb);
        Ok(())
    }

    /// Takes note of octets that the server sends to the client.
    pub fn server(&mut self, octets: &[u8]) {
        for octet in octets {
            match octet {
                b'\n' => {
                    let last = self.reply.get(3) != Some(&b'-');
                    if last {
                        self.owed = self.owed.saturating_sub(1);
                    }
                    if last && self.owed == 0 && self.state == State::Asked {
                        let taken = self.reply.starts_with(b"354");
                        self.state = if taken { State::Data(Seen::Begin) } else { State::Command };
                    }
                    self.reply.clear();
                }
                octet if self.reply.len() < 4 => self.reply.push(*octet),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reaches the server when it answers each command, and DATA with `data`; cut into pieces of `cut`.
    fn through(octets: &[u8], cut: usize, data: &[u8]) -> (Vec<u8>, Option<GuardFault>) {
        let mut guard = Guard::new(true);
        let mut out = Vec::new();
        for piece in octets.chunks(cut) {
            let mut piece = piece;
            while !piece.is_empty() {
                match guard.client(piece) {
                    Ok(n) => {
                        out.extend_from_slice(&piece[..n]);
                        piece = &piece[n..];
                        if !piece.is_empty() {
                            for _ in 1..guard.owed {
                                guard.server(b"250-more\r\n250 fine\r\n");
                            }
                            guard.server(data);
                        }
                    }
                    Err(fault) => return (out, Some(fault)),
                }
            }
        }
        (out, None)
    }

    #[test]
    fn a_dialogue_passes_as_it_is_however_it_is_cut() {
        let said = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n..\r\nXCLIENT ADDR=1\r\n.x\r\n.\r\nMAIL FROM:<a@b>\r\nBDAT 7 LAST\r\na\nb\rc\n.QUIT\r\n";
        for cut in 1..said.len() {
            assert_eq!(through(said, cut, b"354 go\r\n"), (said.to_vec(), None), "{cut}");
        }
    }

    #[test]
    fn behind_data_nothing_passes_before_the_server_has_spoken() {
        let mut guard = Guard::new(false);
        let said = b"MAIL FROM:<a@b>\r\nDATA\r\nXCLIENT ADDR=192.0.2.1\r\n";
        assert_eq!(guard.client(said), Ok(23));
        guard.server(b"250 fine\r\n");
        assert_eq!(guard.client(&said[23..]), Ok(0), "the reply to MAIL is none to DATA");
        guard.server(b"5");
        guard.server(b"03-no\r\n503 no recipient\r\n");
        // Refused: these are commands, and this one is not theirs to give.
        assert_eq!(guard.client(&said[23..]), Err(GuardFault::Forbidden));
    }

    #[test]
    fn every_other_end_of_a_line_ends_the_connection() {
        let head = "MAIL FROM:<a@b>\r\nDATA\r\nhello";
        for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r.", "\r.\r\n", "\n.\r"] {
            let smuggled = format!("{head}{end}MAIL FROM:<x@y>\r\nDATA\r\nsmuggled\r\n.\r\n");
            for cut in 1..smuggled.len() {
                let (passed, fault) = through(smuggled.as_bytes(), cut, b"354 go\r\n");
                assert!(matches!(fault, Some(GuardFault::BareLf | GuardFault::BareCr)), "{end:?} {cut}");
                assert!(!passed.windows(8).any(|w| w == b"smuggled"));
            }
        }
        for said in ["MAIL FROM:<a@b>\nXCLIENT\r\n", "NOOP\rQUIT\r\n"] {
            assert!(through(said.as_bytes(), 1, b"").1.is_some());
        }
    }

    #[test]
    fn what_only_the_proxy_may_say_is_not_said_for_others() {
        for said in ["XCLIENT ADDR=1\r\n", "xclient addr=1\r\n", "XFORWARD NAME=x\r\n", "STARTTLS\r\n"] {
            assert_eq!(through(said.as_bytes(), 3, b"").1, Some(GuardFault::Forbidden), "{said}");
        }
        for said in [" XCLIENT A=1\r\n", "\tDATA\r\n", "\"XCLIENT\" A=1\r\n", "XCLIENT\tA=1\r\n", "NO\0OP\r\n"] {
            assert_eq!(through(said.as_bytes(), 3, b"").1, Some(GuardFault::NoCommand), "{said}");
        }
        for said in ["BDAT\r\n", "BDAT x\r\n", "BDAT 99999999999999999999999\r\n", "BDAT -1\r\n"] {
            assert_eq!(through(said.as_bytes(), 3, b"").1, Some(GuardFault::Chunk), "{said}");
        }
        assert_eq!(Guard::new(false).client(b"BDAT 3\r\nabc"), Err(GuardFault::Chunk));
    }

    proptest::proptest! {
        /// Against any octets: what passes as commands and messages holds no bare CR or LF, and cuts change nothing.
        #[test]
        fn lines_that_pass_end_with_cr_lf(parts in proptest::collection::vec("(MAIL X|DATA|RSET|BDAT 3|a|\\.|\r\n|\r\n|\n|\r)", 0..40), cut in 1usize..9) {
            let said = parts.concat();
            let (whole, fault) = through(said.as_bytes(), said.len().max(1), b"354 go\r\n");
            let (pieces, other) = through(said.as_bytes(), cut, b"354 go\r\n");
            proptest::prop_assert_eq!(fault, other);
            if fault.is_none() {
                proptest::prop_assert_eq!(whole, pieces);
            }
        }
    }
}
