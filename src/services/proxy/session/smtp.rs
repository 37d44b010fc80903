//! The front of submission (RFC 6409; SMTP RFC 5321, AUTH RFC 4954, STARTTLS RFC 3207).

use super::exchange::{Exchange, Turn};
use super::{Ask, FOREIGN, FrontSettings, INJECTED, Login, Refusal, foreign, printable};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{CredentialFault, Credentials, Mechanism};

/// Octets of a line: RFC 4954 section 4 wants 12,288 for responses.
const BOUND: usize = 12 * 1024 + 2;

pub struct Smtp {
    pub(super) lines: Lines,
    settings: FrontSettings,
    /// What the client said by EHLO; without it there is no AUTH.
    ehlo: Option<String>,
    exchange: Option<Exchange>,
    faults: u32,
}

impl Smtp {
    pub fn new(settings: FrontSettings) -> Self {
        Self { lines: Lines::new(BOUND), settings, ehlo: None, exchange: None, faults: 0 }
    }

    pub fn greeting(&self) -> Vec<u8> {
        format!("220 {} ESMTP ready\r\n", self.settings.host).into_bytes()
    }

    fn told(&self) -> String {
        let mut lines = vec![self.settings.host.clone()];
        lines.extend(self.settings.ehlo.iter().cloned());
        if self.settings.starttls && !self.settings.tls {
            lines.push("STARTTLS".into());
        }
        if self.settings.may_log_in() {
            let names: Vec<&str> = self.settings.mechanisms().map(Mechanism::as_str).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        let last = lines.len() - 1;
        let line = |(i, l): (usize, &String)| format!("250{}{l}\r\n", if i == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect()
    }

    pub fn ask(&mut self) -> Ask {
        let line = match self.lines.line() {
            Ok(None) => return Ask::Wait,
            Ok(Some(line)) => line,
            Err(fault) => return close(&format!("500 5.5.2 {fault}"), &fault.to_string()),
        };
        if let Some(exchange) = self.exchange.take() {
            return self.turn(exchange.answered(&line));
        }
        let (verb, rest) = match line.iter().position(|b| *b == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line.as_slice(), &b""[..]),
        };
        match verb.to_ascii_uppercase().as_slice() {
            b"EHLO" => match greeted(rest) {
                Some(name) => {
                    self.ehlo = Some(name);
                    Ask::Say(self.told().into_bytes())
                }
                None => self.fault("501 5.5.4 EHLO takes a host name or an address in brackets"),
            },
            b"HELO" => self.fault("502 5.5.1 EHLO is needed to log in"),
            b"NOOP" | b"RSET" => Ask::Say(b"250 2.0.0 done\r\n".to_vec()),
            b"QUIT" => Ask::Close { say: b"221 2.0.0 until later\r\n".to_vec(), why: "the client quit".into() },
            b"STARTTLS" if !rest.is_empty() => self.fault("501 5.5.4 STARTTLS takes no word"),
            b"STARTTLS" if self.settings.tls => self.fault("503 5.5.1 the line is encrypted already"),
            b"STARTTLS" if !self.settings.starttls => self.fault("502 5.5.1 there is no STARTTLS here"),
            b"STARTTLS" if !self.lines.is_empty() => close(&format!("554 5.5.0 {INJECTED}"), INJECTED),
            b"STARTTLS" => Ask::StartTls(b"220 2.0.0 begin TLS now\r\n".to_vec()),
            b"AUTH" if self.ehlo.is_none() => self.fault("503 5.5.1 EHLO comes first"),
            b"AUTH" if !self.settings.may_log_in() => {
                self.fault("538 5.7.11 a password needs an encrypted line: STARTTLS first")
            }
            b"AUTH" => self.auth(rest),
            _ if foreign(&line) => close(&format!("554 5.5.0 {FOREIGN}"), FOREIGN),
            _ => self.fault("530 5.7.0 log in first"),
        }
    }

    fn auth(&mut self, words: &[u8]) -> Ask {
        match Exchange::asked(&self.settings, words) {
            Some(turn) => self.turn(turn),
            None => self.fault("504 5.5.4 no such mechanism here"),
        }
    }

    fn turn(&mut self, turn: Turn) -> Ask {
        match turn {
            Turn::More(exchange) => {
                let say = format!("334 {}\r\n", exchange.prompt());
                self.exchange = Some(exchange);
                Ask::Say(say.into_bytes())
            }
            Turn::GivenUp => self.fault("501 5.7.0 the exchange was given up"),
            Turn::Over(credentials) => self.login(credentials),
        }
    }

    fn login(&mut self, credentials: Result<Credentials, CredentialFault>) -> Ask {
        match credentials {
            Ok(credentials) => {
                let client_said = self.ehlo.clone();
                Ask::Login(Box::new(Login { credentials, tag: String::new(), client_said }))
            }
            Err(fault @ (CredentialFault::NotBase64 | CredentialFault::NotAMessage)) => {
                self.fault(&format!("501 5.5.2 {fault}"))
            }
            Err(fault) => self.fault(&format!("535 5.7.8 {fault}")),
        }
    }

    fn fault(&mut self, line: &str) -> Ask {
        self.faults += 1;
        if self.faults < self.settings.patience {
            return Ask::Say(format!("{line}\r\n").into_bytes());
        }
        close("421 4.7.0 too many errors", "too many errors")
    }

    pub fn secured(&mut self) {
        self.settings.tls = true;
        self.ehlo = None;
    }

    pub fn refused(&mut self, refusal: Refusal, said: Option<&[u8]>) -> Vec<u8> {
        self.faults += 1;
        match (said, refusal) {
            (Some(line), _) => format!("{}\r\n", printable(line)),
            (None, Refusal::Wrong) => "535 5.7.8 wrong name or password\r\n".to_owned(),
            (None, Refusal::Later) => "454 4.7.0 try again in a moment\r\n".to_owned(),
            (None, Refusal::Blocked) => "535 5.7.1 this mailbox is closed\r\n".to_owned(),
            (None, Refusal::Limit) => "454 4.7.0 too many connections\r\n".to_owned(),
        }
        .into_bytes()
    }
}

/// The name of EHLO when it is one: it goes to the backend and to the log.
fn greeted(name: &[u8]) -> Option<String> {
    let name = name.trim_ascii();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    let fine = !name.is_empty() && name.len() <= 255 && name.iter().all(allowed);
    fine.then(|| String::from_utf8_lossy(name).into_owned())
}

fn close(say: &str, why: &str) -> Ask {
    Ask::Close { say: format!("{say}\r\n").into_bytes(), why: why.to_owned() }
}
