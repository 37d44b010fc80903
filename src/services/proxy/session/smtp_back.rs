//! The back of submission. XCLIENT (Postfix, XCLIENT_README) tells the client's address where the backend takes it.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::back::{BOUND, BackSettings, BackStep, give_up, heard, mechanism, say};
use super::{Login, Refusal};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{self, Mechanism};

/// Lines of one reply; a server that tells more is none.
const LINES: usize = 100;

pub struct SmtpBack {
    pub(super) lines: Lines,
    settings: BackSettings,
    login: Login,
    state: State,
    reply: Vec<String>,
    /// What EHLO told, in capitals.
    told: Vec<String>,
    introduced: bool,
}

enum State {
    Greeting,
    Ehlo,
    StartTls,
    XClient,
    Auth { mechanism: Mechanism },
    Over,
}

impl SmtpBack {
    pub fn new(settings: BackSettings, login: Login) -> Self {
        Self {
            lines: Lines::new(BOUND),
            settings,
            login,
            state: State::Greeting,
            reply: Vec::new(),
            told: Vec::new(),
            introduced: false,
        }
    }

    pub fn step(&mut self) -> BackStep {
        loop {
            let line = match self.lines.line() {
                Ok(None) => return BackStep::Wait,
                Ok(Some(line)) => line,
                Err(fault) => return BackStep::Broken(fault.to_string()),
            };
            let code = line.get(..3).and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| c.parse::<u16>().ok());
            let (Some(code @ 200..=599), None | Some(b' ' | b'-')) = (code, line.get(3)) else {
                return BackStep::Broken(format!("an answer is not of SMTP: {}", heard(&line)));
            };
            self.reply.push(String::from_utf8_lossy(line.get(4..).unwrap_or_default()).into_owned());
            if self.reply.len() > LINES {
                return BackStep::Broken(format!("a reply is longer than {LINES} lines"));
            }
            if line.get(3) == Some(&b'-') {
                continue;
            }
            let reply = std::mem::take(&mut self.reply);
            return self.replied(code, &line, reply);
        }
    }

    fn replied(&mut self, code: u16, line: &[u8], reply: Vec<String>) -> BackStep {
        match (&mut self.state, code) {
            (State::Greeting, 220) => self.ehlo(),
            (State::Ehlo, 250) => {
                self.told = reply.iter().skip(1).map(|l| l.to_ascii_uppercase()).collect();
                self.greeted()
            }
            (State::StartTls, 220) => {
                self.state = State::Over;
                BackStep::Tls
            }
            (State::XClient, 220) => self.ehlo(),
            (State::Auth { .. }, 235) => {
                self.state = State::Over;
                BackStep::In([line, b"\r\n"].concat())
            }
            (State::Auth { mechanism }, 334) => match give_up(*mechanism) {
                Some(octets) => BackStep::Say(octets),
                None => BackStep::Broken("it asks for more than a login has".into()),
            },
            (State::Auth { .. }, 535 | 530 | 534) => {
                BackStep::Refused { refusal: Refusal::Wrong, said: Some(line.to_vec()) }
            }
            (State::Auth { .. }, 400..=499) => {
                BackStep::Refused { refusal: Refusal::Later, said: (code != 421).then(|| line.to_vec()) }
            }
            _ => BackStep::Broken(format!("it says: {}", heard(line))),
        }
    }

    fn ehlo(&mut self) -> BackStep {
        self.state = State::Ehlo;
        let name = self.login.client_said.as_deref().unwrap_or(&self.settings.host);
        say(&[b"EHLO ", name.as_bytes()])
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.told.iter().any(|l| l.split(' ').next() == Some(word))
    }

    fn greeted(&mut self) -> BackStep {
        if self.settings.starttls {
            if !self.has("STARTTLS") {
                return BackStep::Broken("it offers no STARTTLS".into());
            }
            self.state = State::StartTls;
            return say(&[b"STARTTLS"]);
        }
        if let (Some(client), true, false) = (self.settings.client, self.has("XCLIENT"), self.introduced) {
            self.introduced = true;
            self.state = State::XClient;
            let address = match client.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("IPV6:{ip}"),
            };
            let mut text = format!("XCLIENT ADDR={address} PORT={} PROTO=ESMTP", client.port());
            if let Some(name) = &self.login.client_said {
                text += &format!(" HELO={name}");
            }
            return say(&[text.as_bytes()]);
        }
        self.authenticate()
    }

    pub fn secured(&mut self) -> BackStep {
        // What it said before was not protected; STARTTLS is not asked for again.
        self.told.clear();
        self.settings.starttls = false;
        self.ehlo()
    }

    fn authenticate(&mut self) -> BackStep {
        let offered = |name: &str| {
            let auth = self.told.iter().filter_map(|l| l.strip_prefix("AUTH ").or_else(|| l.strip_prefix("AUTH=")));
            auth.flat_map(|l| l.split(' ')).any(|m| m == name)
        };
        let Some(chosen) = mechanism(&self.login, offered) else {
            return BackStep::Broken("it has no mechanism that this login needs".into());
        };
        let Some(message) = self.login.credentials.message(chosen) else {
            return BackStep::Broken(format!("the login does not fit into {}", chosen.as_str()));
        };
        self.state = State::Auth { mechanism: chosen };
        let message: Zeroizing<String> = sasl::encode(&message);
        say(&[b"AUTH ", chosen.as_str().as_bytes(), b" ", message.as_bytes()])
    }
}
