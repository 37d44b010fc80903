//! The back of IMAP. The login goes under the client's own tag, so that the backend's answer is the client's.

use zeroize::Zeroizing;

use super::back::{BOUND, BackSettings, BackStep, give_up, heard, mechanism, say};
use super::{Login, Refusal};
use crate::protocol::imap::response::capabilities;
use crate::protocol::imap::{Answers, Response, Status};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{self, Mechanism, Proof};

/// Tags of the proxy's own commands. A client's tag that begins so too does no harm: these are answered before it is sent.
const STARTTLS: &[u8] = b"cutover1";
const CAPABILITY: &[u8] = b"cutover2";
const ID: &[u8] = b"cutover3";

pub struct ImapBack {
    pub(super) lines: Lines,
    answers: Answers,
    settings: BackSettings,
    login: Login,
    capabilities: Vec<String>,
    state: State,
    /// Untagged answers since the login was sent: the client's.
    untagged: Vec<u8>,
}

enum State {
    Greeting,
    StartTls,
    Capability,
    /// Sent; with what follows when the backend asks for more.
    Login {
        mechanism: Option<Mechanism>,
        next: Vec<Zeroizing<Vec<u8>>>,
    },
    Over,
}

impl ImapBack {
    pub fn new(settings: BackSettings, login: Login) -> Self {
        Self {
            lines: Lines::new(BOUND),
            answers: Answers::default(),
            settings,
            login,
            capabilities: Vec::new(),
            state: State::Greeting,
            untagged: Vec::new(),
        }
    }

    pub fn step(&mut self) -> BackStep {
        loop {
            let response = match self.answers.next(&mut self.lines, BOUND) {
                Ok(None) => return BackStep::Wait,
                Ok(Some(response)) => response,
                Err(why) => return BackStep::Broken(why),
            };
            if let Some(step) = self.answered(response) {
                return step;
            }
        }
    }

    fn answered(&mut self, response: Response) -> Option<BackStep> {
        if let Response::Untagged { line, .. } | Response::Tagged { line, .. } = &response
            && let Some(told) = capabilities(line)
        {
            self.capabilities = told;
        }
        match (&mut self.state, response) {
            (State::Greeting, Response::Untagged { status: Some(Status::Ok), .. }) => Some(self.greeted()),
            (_, Response::Untagged { status: Some(Status::Bye), line }) => {
                Some(BackStep::Broken(format!("it says: {}", heard(&line))))
            }
            (State::Greeting, other) => Some(broken("it greets so", &other)),
            (State::StartTls, Response::Tagged { tag, status: Status::Ok, .. }) if tag == STARTTLS => {
                self.state = State::Over;
                Some(BackStep::Tls)
            }
            (State::StartTls, other @ Response::Tagged { .. }) => Some(broken("it refuses STARTTLS", &other)),
            (State::Capability, Response::Tagged { tag, status: Status::Ok, .. }) if tag == CAPABILITY => {
                Some(self.log_in())
            }
            (State::Capability, other @ Response::Tagged { .. }) => Some(broken("it answers CAPABILITY so", &other)),
            (State::Login { .. }, Response::Tagged { tag, .. }) if tag == ID => None,
            (State::Login { .. }, Response::Tagged { tag, status, line }) if tag == self.login.tag.as_bytes() => {
                Some(self.ended(status, line))
            }
            (State::Login { mechanism, next }, Response::Continue { .. }) => {
                let more = if next.is_empty() { mechanism.take().and_then(give_up) } else { Some(next.remove(0)) };
                Some(more.map_or_else(|| BackStep::Broken("it asks for more than a login has".into()), BackStep::Say))
            }
            (State::Login { .. }, Response::Untagged { line, .. }) => {
                if !line.get(..5).is_some_and(|w| w.eq_ignore_ascii_case(b"* ID ")) && self.untagged.len() < BOUND {
                    self.untagged.extend_from_slice(&line);
                    self.untagged.extend_from_slice(b"\r\n");
                }
                None
            }
            (State::StartTls | State::Capability, Response::Untagged { .. }) => None,
            (_, other) => Some(broken("it says out of turn", &other)),
        }
    }

    fn greeted(&mut self) -> BackStep {
        if self.settings.starttls {
            self.state = State::StartTls;
            return say(&[STARTTLS, b" STARTTLS"]);
        }
        self.log_in()
    }

    pub fn secured(&mut self) -> BackStep {
        // What it said before was not protected.
        self.capabilities.clear();
        self.log_in()
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    fn log_in(&mut self) -> BackStep {
        if self.capabilities.is_empty() {
            if matches!(self.state, State::Capability) {
                return BackStep::Broken("it tells no capabilities".into());
            }
            self.state = State::Capability;
            return say(&[CAPABILITY, b" CAPABILITY"]);
        }
        let mut out = Zeroizing::new(Vec::with_capacity(512));
        if let Some(client) = self.settings.client
            && self.has("ID")
        {
            out.extend_from_slice(ID);
            out.extend_from_slice(b" ID (\"x-originating-ip\" \"");
            out.extend_from_slice(client.ip().to_string().as_bytes());
            out.extend_from_slice(format!("\" \"x-originating-port\" \"{}\"", client.port()).as_bytes());
            if let Some(said) = &self.login.client_said {
                out.push(b' ');
                out.extend_from_slice(said.as_bytes());
            }
            out.extend_from_slice(b")\r\n");
        }
        let chosen = mechanism(&self.login, |m| self.has(&format!("AUTH={m}")));
        let mut pieces = match (chosen, &self.login.credentials.proof) {
            (Some(m), _) => {
                let Some(message) = self.login.credentials.message(m) else {
                    return BackStep::Broken(format!("the login does not fit into {}", m.as_str()));
                };
                let message = sasl::encode(&message);
                let begin = format!("{} AUTHENTICATE {}", self.login.tag, m.as_str());
                match self.has("SASL-IR") {
                    true => vec![piece(&[begin.as_bytes(), b" ", message.as_bytes(), b"\r\n"])],
                    false => vec![piece(&[begin.as_bytes(), b"\r\n"]), piece(&[message.as_bytes(), b"\r\n"])],
                }
            }
            (None, Proof::Password(_)) if self.has("LOGINDISABLED") => {
                return BackStep::Broken("it allows no LOGIN on this line".into());
            }
            (None, Proof::Password(_)) if self.login.credentials.acts_as.is_some() => {
                return BackStep::Broken("it has no AUTH=PLAIN, which a login for somebody else needs".into());
            }
            (None, Proof::Password(password)) => self.plain_login(password),
            (None, Proof::Token(_)) => return BackStep::Broken("it takes no OAuth 2.0 tokens".into()),
        };
        out.extend_from_slice(&pieces.remove(0));
        self.state = State::Login { mechanism: chosen, next: pieces };
        BackStep::Say(out)
    }

    /// LOGIN: in quotes what may stand there, else as literals; each piece but the first waits for `+`.
    fn plain_login(&self, password: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
        let plus: &[u8] = if self.has("LITERAL+") || self.has("LITERAL-") { b"+" } else { b"" };
        let mut pieces = vec![piece(&[self.login.tag.as_bytes(), b" LOGIN"])];
        for word in [self.login.credentials.user.as_bytes(), password] {
            let last = pieces.len() - 1;
            if word.iter().all(|b| (b' '..=b'~').contains(b)) {
                let escaped: Zeroizing<Vec<u8>> = Zeroizing::new(
                    word.iter().flat_map(|b| if b"\"\\".contains(b) { vec![b'\\', *b] } else { vec![*b] }).collect(),
                );
                pieces[last] = piece(&[&pieces[last], b" \"", &escaped, b"\""]);
            } else {
                let number = word.len().to_string();
                pieces[last] = piece(&[&pieces[last], b" {", number.as_bytes(), plus, b"}\r\n"]);
                if plus.is_empty() {
                    pieces.push(piece(&[word]));
                } else {
                    pieces[last] = piece(&[&pieces[last], word]);
                }
            }
        }
        let last = pieces.len() - 1;
        pieces[last] = piece(&[&pieces[last], b"\r\n"]);
        pieces
    }

    fn ended(&mut self, status: Status, line: Vec<u8>) -> BackStep {
        self.state = State::Over;
        if status == Status::Ok {
            let mut out = std::mem::take(&mut self.untagged);
            out.extend_from_slice(&line);
            out.extend_from_slice(b"\r\n");
            return BackStep::In(out);
        }
        // RFC 5530: codes that are not about the password.
        let text = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let says = |codes: &[&str]| codes.iter().any(|c| text.contains(&format!("[{c}")));
        let refusal = match status {
            Status::No if says(&["UNAVAILABLE", "SERVERBUG", "INUSE", "CONTACTADMIN"]) => Refusal::Later,
            Status::No if says(&["LIMIT"]) => Refusal::Limit,
            Status::No => Refusal::Wrong,
            _ => return BackStep::Broken(format!("it does not understand the login: {}", heard(&line))),
        };
        BackStep::Refused { refusal, said: Some(line) }
    }
}

fn piece(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(parts.concat())
}

fn broken(what: &str, response: &Response) -> BackStep {
    let line = match response {
        Response::Untagged { line, .. } | Response::Tagged { line, .. } | Response::Continue { text: line } => line,
    };
    BackStep::Broken(format!("{what}: {}", heard(line)))
}
