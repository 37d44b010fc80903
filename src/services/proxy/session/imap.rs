//! The front of IMAP (RFC 9051, RFC 3501; SASL-IR RFC 4959, ID RFC 2971).

use super::exchange::{Exchange, Turn};
use super::{Ask, FOREIGN, FrontSettings, INJECTED, Login, Refusal, foreign, printable};
use crate::protocol::imap::command::BOUND;
use crate::protocol::imap::{Assembler, Command, Fault, Progress, Word};
use crate::protocol::line::Lines;
use crate::protocol::sasl::{CredentialFault, Credentials};

pub struct Imap {
    pub(super) lines: Lines,
    settings: FrontSettings,
    assembler: Assembler,
    /// An exchange of AUTHENTICATE and its tag: what the client sends is a response and no command.
    exchange: Option<(String, Exchange)>,
    /// Tag of the login that is being carried out.
    tag: String,
    id: Option<String>,
    faults: u32,
}

impl Imap {
    pub fn new(settings: FrontSettings) -> Self {
        Self {
            lines: Lines::new(BOUND),
            settings,
            assembler: Assembler::default(),
            exchange: None,
            tag: String::new(),
            id: None,
            faults: 0,
        }
    }

    pub fn greeting(&self) -> Vec<u8> {
        format!("* OK [CAPABILITY {}] {} ready\r\n", self.capabilities(), self.settings.host).into_bytes()
    }

    fn capabilities(&self) -> String {
        let mut out = "IMAP4rev1 LITERAL+ ID SASL-IR".to_owned();
        if self.settings.starttls && !self.settings.tls {
            out += " STARTTLS";
        }
        if self.settings.may_log_in() {
            for mechanism in self.settings.mechanisms() {
                out += " AUTH=";
                out += mechanism.as_str();
            }
        } else {
            out += " LOGINDISABLED";
        }
        out
    }

    pub fn ask(&mut self) -> Ask {
        if let Some((tag, exchange)) = self.exchange.take() {
            return match self.lines.line() {
                Ok(None) => {
                    self.exchange = Some((tag, exchange));
                    Ask::Wait
                }
                Ok(Some(line)) => self.turn(tag, exchange.answered(&line)),
                Err(fault) => Ask::Close { say: format!("* BYE {fault}\r\n").into_bytes(), why: fault.to_string() },
            };
        }
        match self.assembler.next(&mut self.lines) {
            Ok(Progress::More) => Ask::Wait,
            Ok(Progress::Continue) => Ask::Say(b"+ \r\n".to_vec()),
            Ok(Progress::Whole(command)) => self.command(command),
            Err(Fault::Bad { tag, text }) => self.bad(tag.as_deref().unwrap_or("*"), text),
            Err(Fault::Fatal(why)) => Ask::Close { say: format!("* BYE {why}\r\n").into_bytes(), why },
        }
    }

    fn command(&mut self, command: Command) -> Ask {
        let Command { tag, verb, words } = command;
        match (verb.as_str(), words.as_slice()) {
            ("CAPABILITY", []) => {
                Ask::Say(format!("* CAPABILITY {}\r\n{tag} OK done\r\n", self.capabilities()).into_bytes())
            }
            ("NOOP", []) => Ask::Say(format!("{tag} OK done\r\n").into_bytes()),
            ("LOGOUT", []) => Ask::Close {
                say: format!("* BYE until later\r\n{tag} OK done\r\n").into_bytes(),
                why: "the client logged out".into(),
            },
            ("ID", [list]) => {
                self.id = said(list);
                Ask::Say(format!("* ID (\"name\" \"cutover-proxy\")\r\n{tag} OK done\r\n").into_bytes())
            }
            ("STARTTLS", []) if self.settings.tls => self.bad(&tag, "the line is encrypted already"),
            ("STARTTLS", []) if !self.settings.starttls => self.bad(&tag, "there is no STARTTLS here"),
            ("STARTTLS", []) if !self.lines.is_empty() => {
                Ask::Close { say: format!("* BYE {INJECTED}\r\n").into_bytes(), why: INJECTED.into() }
            }
            ("STARTTLS", []) => Ask::StartTls(format!("{tag} OK begin TLS now\r\n").into_bytes()),
            ("LOGIN" | "AUTHENTICATE", _) if !self.settings.may_log_in() => {
                self.no(&tag, "PRIVACYREQUIRED", "a password needs an encrypted line: STARTTLS first")
            }
            ("LOGIN", [user, password]) => match (user.octets(), password.octets()) {
                (Some(user), Some(password)) => self.login(tag, Credentials::password(user, b"", password)),
                _ => self.bad(&tag, "LOGIN takes a name and a password"),
            },
            ("AUTHENTICATE", [Word::Atom(name), rest @ ..]) if rest.len() < 2 => {
                let Some(mechanism) = self.settings.mechanism(name) else {
                    return self.no(&tag, "CANNOT", "no such mechanism here");
                };
                let exchange = Exchange::begin(mechanism);
                match rest {
                    [Word::Atom(initial)] => self.turn(tag, exchange.initial(initial)),
                    [_] => self.turn(tag, Turn::GivenUp),
                    _ => self.turn(tag, Turn::More(exchange)),
                }
            }
            ("LOGIN" | "AUTHENTICATE" | "CAPABILITY" | "NOOP" | "LOGOUT" | "ID" | "STARTTLS", _) => {
                self.bad(&tag, "this command takes other words")
            }
            _ => self.bad(&tag, "log in first"),
        }
    }

    fn turn(&mut self, tag: String, turn: Turn) -> Ask {
        match turn {
            Turn::More(exchange) => {
                let say = format!("+ {}\r\n", exchange.prompt());
                self.exchange = Some((tag, exchange));
                Ask::Say(say.into_bytes())
            }
            Turn::GivenUp => self.bad(&tag, "the exchange was given up"),
            Turn::Over(credentials) => self.login(tag, credentials),
        }
    }

    fn login(&mut self, tag: String, credentials: Result<Credentials, CredentialFault>) -> Ask {
        match credentials {
            Ok(credentials) => {
                self.tag.clone_from(&tag);
                Ask::Login(Box::new(Login { credentials, tag, client_said: self.id.clone() }))
            }
            Err(CredentialFault::NotBase64 | CredentialFault::NotAMessage) => {
                self.bad(&tag, "the response is not one of this mechanism")
            }
            Err(fault) => self.no(&tag, "AUTHENTICATIONFAILED", &fault.to_string()),
        }
    }

    fn bad(&mut self, tag: &str, text: &str) -> Ask {
        if foreign(format!("{tag} ").as_bytes()) {
            return Ask::Close { say: format!("* BYE {FOREIGN}\r\n").into_bytes(), why: FOREIGN.into() };
        }
        self.count(format!("{tag} BAD {text}\r\n"))
    }

    fn no(&mut self, tag: &str, code: &str, text: &str) -> Ask {
        self.count(format!("{tag} NO [{code}] {text}\r\n"))
    }

    fn count(&mut self, line: String) -> Ask {
        self.faults += 1;
        if self.faults < self.settings.patience {
            return Ask::Say(line.into_bytes());
        }
        Ask::Close { say: format!("{line}* BYE too many errors\r\n").into_bytes(), why: "too many errors".into() }
    }

    pub fn secured(&mut self) {
        self.settings.tls = true;
        self.id = None;
    }

    pub fn refused(&mut self, refusal: Refusal, said: Option<&[u8]>) -> Vec<u8> {
        self.faults += 1;
        let tag = std::mem::take(&mut self.tag);
        match (said, refusal) {
            // The backend answered under the client's own tag.
            (Some(line), _) => format!("{}\r\n", printable(line)),
            (None, Refusal::Wrong) => format!("{tag} NO [AUTHENTICATIONFAILED] wrong name or password\r\n"),
            (None, Refusal::Later) => format!("{tag} NO [UNAVAILABLE] try again in a moment\r\n"),
            (None, Refusal::Blocked) => format!("{tag} NO [AUTHORIZATIONFAILED] this mailbox is closed\r\n"),
            (None, Refusal::Limit) => format!("{tag} NO [LIMIT] too many connections\r\n"),
        }
        .into_bytes()
    }
}

/// What a client says by ID, one line that may be handed on; nothing for NIL and what is no list of strings. Fields that begin with
/// `x-` are left out: by them the proxy tells the server who the client is, and the server believes it.
fn said(list: &Word) -> Option<String> {
    let Word::List(words) = list else { return None };
    let mut out = String::new();
    for pair in words.chunks(2).take(30) {
        let [field, value] = pair else { break };
        let (field, value) = (printable(field.octets()?), printable(value.octets()?));
        let field = field.replace(['"', '\\'], "");
        if field.trim_start().get(..2).is_some_and(|x| x.eq_ignore_ascii_case("x-")) {
            continue;
        }
        for text in [field, value] {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push('"');
            out += &text.replace(['"', '\\'], "");
            out.push('"');
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Word {
        Word::List(words.iter().map(|w| Word::String(w.as_bytes().to_vec().into())).collect())
    }

    #[test]
    fn a_client_does_not_tell_its_own_address() {
        let told = list(&["name", "Mutt", "X-Originating-IP", "192.0.2.1", "x-proxy-ttl", "1", "version", "2\r\n\"x"]);
        assert_eq!(said(&told).as_deref(), Some(r#""name" "Mutt" "version" "2x""#));
        // Quotes are taken out after the look: none may stand before it.
        assert_eq!(said(&list(&["\"x-originating-ip", "192.0.2.1"])), None);
        assert_eq!(said(&list(&["x-originating-ip", "192.0.2.1"])), None);
        assert_eq!(said(&list(&["name"])), None);
    }
}
