//! Lines of a ManageSieve server.

use super::Scripts;
use crate::services::cms::mailbox::{Class, Fault};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Atom(String),
    Text(String),
    /// A string that is not UTF-8.
    Octets(Vec<u8>),
    /// `( .. )`, as it stands.
    Code(String),
}

impl Word {
    pub fn of(octets: Vec<u8>) -> Self {
        String::from_utf8(octets).map_or_else(|e| Word::Octets(e.into_bytes()), Word::Text)
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_atom(&self, name: &str) -> bool {
        matches!(self, Word::Atom(atom) if atom.eq_ignore_ascii_case(name))
    }
}

/// Adds the words of a line; gives the size of a literal that follows it.
pub fn words(line: &[u8], words: &mut Vec<Word>) -> Result<Option<u64>, String> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None => return Ok(None),
            Some(b'"') => {
                let (mut found, mut n) = (Vec::new(), 1);
                loop {
                    match rest.get(n) {
                        None => return Err("a string has no end".into()),
                        Some(b'"') => break,
                        Some(b'\\') => n += 1,
                        Some(_) => {}
                    }
                    found.extend(rest.get(n));
                    n += 1;
                }
                words.push(Word::of(found));
                rest = &rest[n + 1..];
            }
            Some(b'{') if rest.ends_with(b"}") => {
                let inner = String::from_utf8_lossy(&rest[1..rest.len() - 1]).into_owned();
                let size = inner.trim_end_matches('+').parse();
                return size.map(Some).map_err(|_| format!("`{{{inner}}}` is no size of a literal"));
            }
            Some(b'(') => {
                let mut quoted = false;
                let end = rest.iter().position(|b| {
                    quoted ^= *b == b'"';
                    *b == b')' && !quoted
                });
                let end = end.ok_or("a response code has no end")?;
                words.push(Word::Code(String::from_utf8_lossy(&rest[1..end]).into_owned()));
                rest = &rest[end + 1..];
            }
            Some(_) => {
                let n = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                words.push(Word::Atom(String::from_utf8_lossy(&rest[..n]).into_owned()));
                rest = &rest[n..];
            }
        }
    }
}

/// The line that ends an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    state: State,
    /// In capital letters, without arguments.
    code: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    No,
    Bye,
}

impl Answer {
    /// `None` for a line of content.
    pub fn of(words: &[Word]) -> Option<Self> {
        let state = match words.first()? {
            Word::Atom(a) if a.eq_ignore_ascii_case("OK") => State::Ok,
            Word::Atom(a) if a.eq_ignore_ascii_case("NO") => State::No,
            Word::Atom(a) if a.eq_ignore_ascii_case("BYE") => State::Bye,
            _ => return None,
        };
        let code = words.iter().find_map(|w| match w {
            Word::Code(code) => code.split_whitespace().next(),
            _ => None,
        });
        let text = words.iter().skip(1).find_map(Word::text).unwrap_or_default();
        Some(Self { state, code: code.unwrap_or_default().to_ascii_uppercase(), text: text.to_owned() })
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    /// Anything but OK as a fault of this class, unless its code says better.
    pub fn or_fault(&self, session: &Scripts, what: &str, class: Class) -> Result<(), Fault> {
        if self.state == State::Ok {
            return Ok(());
        }
        let class = match self.code.split('/').next().unwrap_or_default() {
            "QUOTA" => Class::Quota,
            "TRYLATER" => Class::Busy,
            "AUTH-TOO-WEAK" | "ENCRYPT-NEEDED" | "TRANSITION-NEEDED" => Class::Login,
            _ if self.state == State::Bye => Class::Unreachable,
            _ => class,
        };
        let code = if self.code.is_empty() { String::new() } else { format!(" ({})", self.code) };
        Err(session.fault(class, &format!("{what}: refused{code}: {}", self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let of = |line: &str| {
            let mut found = Vec::new();
            let literal = words(line.as_bytes(), &mut found).expect("line");
            (found, literal)
        };
        let (found, literal) = of("\"a \\\"b\\\\\" ACTIVE");
        assert_eq!((found[0].text(), found[1].is_atom("active"), literal), (Some("a \"b\\"), true, None));
        assert_eq!(of("{12}"), (vec![], Some(12)));
        let (found, _) = of("NO (QUOTA/MAXSIZE) \"too large\"");
        let answer = Answer::of(&found).expect("answer");
        assert_eq!((answer.code(), answer.text.as_str(), answer.state), ("QUOTA/MAXSIZE", "too large", State::No));
        let (found, literal) = of("OK (SASL \"a)b\") {3+}");
        assert!(Answer::of(&found).is_some() && literal == Some(3));
        for bad in ["\"a", "{x}", "(a"] {
            assert!(words(bad.as_bytes(), &mut Vec::new()).is_err(), "{bad}");
        }
        assert_eq!(Answer::of(&of("\"IMPLEMENTATION\" \"x\"").0), None);
    }
}
