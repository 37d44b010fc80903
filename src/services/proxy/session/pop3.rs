//! The front of POP3 (RFC 1939; CAPA RFC 2449, STLS RFC 2595, AUTH RFC 5034).

use zeroize::Zeroizing;

use super::exchange::{Exchange, Turn};
use super::{Ask, FOREIGN, FrontSettings, INJECTED, Login, Refusal, foreign, printable};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{CredentialFault, Credentials, Mechanism};

/// Octets of a line. RFC 2449 allows 255; OAuth tokens need more.
const BOUND: usize = 12 * 1024;

pub struct Pop3 {
    pub(super) lines: Lines,
    settings: FrontSettings,
    user: Option<Zeroizing<Vec<u8>>>,
    exchange: Option<Exchange>,
    faults: u32,
}

impl Pop3 {
    pub fn new(settings: FrontSettings) -> Self {
        Self { lines: Lines::new(BOUND), settings, user: None, exchange: None, faults: 0 }
    }

    pub fn greeting(&self) -> Vec<u8> {
        // Without a timestamp in angle brackets: APOP is not offered (RFC 1939, section 7).
        format!("+OK {} ready\r\n", self.settings.host).into_bytes()
    }

    fn capabilities(&self) -> String {
        let mut out = "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n".to_owned();
        if self.settings.starttls && !self.settings.tls {
            out += "STLS\r\n";
        }
        if self.settings.may_log_in() {
            let names: Vec<&str> = self.settings.mechanisms().map(Mechanism::as_str).collect();
            out += &format!("USER\r\nSASL {}\r\n", names.join(" "));
        }
        out + ".\r\n"
    }

    pub fn ask(&mut self) -> Ask {
        let line = match self.lines.line() {
            Ok(None) => return Ask::Wait,
            Ok(Some(line)) => line,
            Err(fault) => return close(&fault.to_string()),
        };
        if let Some(exchange) = self.exchange.take() {
            return self.turn(exchange.answered(&line));
        }
        let (verb, rest) = match line.iter().position(|b| *b == b' ') {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line.as_slice(), None),
        };
        match (verb.to_ascii_uppercase().as_slice(), rest) {
            (b"CAPA", None) => Ask::Say(self.capabilities().into_bytes()),
            (b"NOOP", None) => Ask::Say(b"+OK\r\n".to_vec()),
            (b"QUIT", None) => Ask::Close { say: b"+OK until later\r\n".to_vec(), why: "the client quit".into() },
            (b"STLS", None) if self.settings.tls => self.err("the line is encrypted already"),
            (b"STLS", None) if !self.settings.starttls => self.err("there is no STLS here"),
            (b"STLS", None) if !self.lines.is_empty() => close(INJECTED),
            (b"STLS", None) => Ask::StartTls(b"+OK begin TLS now\r\n".to_vec()),
            (b"APOP", _) => self.err("APOP needs passwords that the server can read; use USER and PASS, or AUTH"),
            (b"USER" | b"PASS" | b"AUTH", Some(_)) if !self.settings.may_log_in() => {
                self.err("[AUTH] a password needs an encrypted line: STLS first")
            }
            (b"USER", Some(name)) if !name.is_empty() => {
                self.user = Some(Zeroizing::new(name.to_vec()));
                Ask::Say(b"+OK\r\n".to_vec())
            }
            // A password may hold spaces: all that follows is of it.
            (b"PASS", Some(password)) => match self.user.take() {
                Some(user) => self.login(Credentials::password(&user, b"", password)),
                None => self.err("USER comes first"),
            },
            (b"AUTH", None) => {
                let names: String = self.settings.mechanisms().map(|m| format!("{}\r\n", m.as_str())).collect();
                Ask::Say(format!("+OK\r\n{names}.\r\n").into_bytes())
            }
            (b"AUTH", Some(words)) => self.auth(words),
            _ if foreign(&line) => close(FOREIGN),
            _ => self.err("log in first"),
        }
    }

    fn auth(&mut self, words: &[u8]) -> Ask {
        let Some(turn) = Exchange::asked(&self.settings, words) else { return self.err("no such mechanism here") };
        self.user = None;
        self.turn(turn)
    }

    fn turn(&mut self, turn: Turn) -> Ask {
        match turn {
            Turn::More(exchange) => {
                let say = format!("+ {}\r\n", exchange.prompt());
                self.exchange = Some(exchange);
                Ask::Say(say.into_bytes())
            }
            Turn::GivenUp => self.err("the exchange was given up"),
            Turn::Over(credentials) => self.login(credentials),
        }
    }

    fn login(&mut self, credentials: Result<Credentials, CredentialFault>) -> Ask {
        match credentials {
            Ok(credentials) => Ask::Login(Box::new(Login { credentials, tag: String::new(), client_said: None })),
            Err(fault) => self.err(&format!("[AUTH] {fault}")),
        }
    }

    fn err(&mut self, text: &str) -> Ask {
        self.faults += 1;
        if self.faults < self.settings.patience {
            return Ask::Say(format!("-ERR {text}\r\n").into_bytes());
        }
        close(&format!("{text}; too many errors"))
    }

    pub fn secured(&mut self) {
        self.settings.tls = true;
        self.user = None;
    }

    pub fn refused(&mut self, refusal: Refusal, said: Option<&[u8]>) -> Vec<u8> {
        self.faults += 1;
        match (said, refusal) {
            (Some(line), _) => format!("{}\r\n", printable(line)),
            // RFC 3206: [AUTH] is about the password, [SYS/TEMP] passes by itself.
            (None, Refusal::Wrong) => "-ERR [AUTH] wrong name or password\r\n".to_owned(),
            (None, Refusal::Later) => "-ERR [SYS/TEMP] try again in a moment\r\n".to_owned(),
            (None, Refusal::Blocked) => "-ERR [SYS/PERM] this mailbox is closed\r\n".to_owned(),
            (None, Refusal::Limit) => "-ERR [IN-USE] too many connections\r\n".to_owned(),
        }
        .into_bytes()
    }
}

fn close(why: &str) -> Ask {
    Ask::Close { say: format!("-ERR {why}\r\n").into_bytes(), why: why.to_owned() }
}
