//! The back of POP3.

use zeroize::Zeroizing;

use super::back::{BOUND, BackSettings, BackStep, give_up, heard, mechanism, say};
use super::{Login, Refusal};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{self, Mechanism, Proof};

pub struct Pop3Back {
    pub(super) lines: Lines,
    settings: BackSettings,
    login: Login,
    state: State,
    /// Mechanisms that CAPA told.
    mechanisms: Vec<String>,
}

enum State {
    Greeting,
    Stls,
    /// Asked; `true` inside of the list.
    Capa(bool),
    User,
    Pass,
    /// AUTH is sent; with the message when it goes by itself.
    Auth {
        mechanism: Mechanism,
        message: Option<Zeroizing<String>>,
    },
    Over,
}

impl Pop3Back {
    pub fn new(settings: BackSettings, login: Login) -> Self {
        Self { lines: Lines::new(BOUND), settings, login, state: State::Greeting, mechanisms: Vec::new() }
    }

    pub fn step(&mut self) -> BackStep {
        loop {
            let line = match self.lines.line() {
                Ok(None) => return BackStep::Wait,
                Ok(Some(line)) => line,
                Err(fault) => return BackStep::Broken(fault.to_string()),
            };
            if let Some(step) = self.answered(&line) {
                return step;
            }
        }
    }

    fn answered(&mut self, line: &[u8]) -> Option<BackStep> {
        let ok = is(line, b"+OK");
        let err = is(line, b"-ERR");
        let more = line.first() == Some(&b'+') && !ok;
        if let State::Capa(true) = self.state {
            if line == b"." {
                return Some(self.authenticate());
            }
            let text = String::from_utf8_lossy(line).to_ascii_uppercase();
            if let Some(names) = text.strip_prefix("SASL") {
                self.mechanisms = names.split_ascii_whitespace().take(64).map(str::to_owned).collect();
            }
            return None;
        }
        if !ok && !err && !more {
            return Some(BackStep::Broken(format!("an answer is not of POP3: {}", heard(line))));
        }
        Some(match &mut self.state {
            State::Greeting if ok && self.settings.starttls => {
                self.state = State::Stls;
                say(&[b"STLS"])
            }
            State::Greeting if ok => self.begin(),
            State::Stls if ok => {
                self.state = State::Over;
                BackStep::Tls
            }
            State::Capa(inside) if ok => {
                *inside = true;
                return None;
            }
            // Without CAPA nothing is known of its mechanisms, and nothing else is asked of it.
            State::Capa(_) if err => self.authenticate(),
            State::User if ok => {
                self.state = State::Pass;
                match &self.login.credentials.proof {
                    Proof::Password(password) => say(&[b"PASS ", password]),
                    Proof::Token(_) => BackStep::Broken("a token is no password".into()),
                }
            }
            State::Pass | State::Auth { .. } if ok => {
                self.state = State::Over;
                BackStep::In([line, b"\r\n"].concat())
            }
            State::Auth { mechanism, message } if more => {
                let next = message.take().map(|m| Zeroizing::new([m.as_bytes(), b"\r\n"].concat()));
                match next.or_else(|| give_up(*mechanism)) {
                    Some(octets) => BackStep::Say(octets),
                    None => BackStep::Broken("it asks for more than a login has".into()),
                }
            }
            State::User | State::Pass | State::Auth { .. } if err => refused(line),
            _ => BackStep::Broken(format!("it says: {}", heard(line))),
        })
    }

    /// USER and PASS where they can say it: any server knows them. Else AUTH, and CAPA says which.
    fn begin(&mut self) -> BackStep {
        let credentials = &self.login.credentials;
        let simple = credentials.acts_as.is_none()
            && matches!(credentials.proof, Proof::Password(_))
            && !credentials.user.contains(' ');
        if simple {
            self.state = State::User;
            return say(&[b"USER ", credentials.user.as_bytes()]);
        }
        self.state = State::Capa(false);
        say(&[b"CAPA"])
    }

    pub fn secured(&mut self) -> BackStep {
        self.begin()
    }

    fn authenticate(&mut self) -> BackStep {
        let Some(chosen) = mechanism(&self.login, |m| self.mechanisms.iter().any(|o| o == m)) else {
            return BackStep::Broken("it has no mechanism that this login needs".into());
        };
        let Some(message) = self.login.credentials.message(chosen) else {
            return BackStep::Broken(format!("the login does not fit into {}", chosen.as_str()));
        };
        // By itself and not on the line of the command, which may be as short as 255 octets (RFC 5034, section 4).
        self.state = State::Auth { mechanism: chosen, message: Some(sasl::encode(&message)) };
        say(&[b"AUTH ", chosen.as_str().as_bytes()])
    }
}

fn is(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word))
        && line.get(word.len()).is_none_or(|b| *b == b' ')
}

fn refused(line: &[u8]) -> BackStep {
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let says = |codes: &[&str]| codes.iter().any(|c| text.contains(&format!("[{c}]")));
    // RFC 2449 and RFC 3206: codes that are not about the password.
    let refusal = match () {
        () if says(&["SYS/TEMP", "IN-USE", "LOGIN-DELAY"]) => Refusal::Later,
        () if says(&["SYS/PERM"]) => Refusal::Blocked,
        () => Refusal::Wrong,
    };
    BackStep::Refused { refusal, said: Some(line.to_vec()) }
}
