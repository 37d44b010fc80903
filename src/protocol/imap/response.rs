//! Answers of a server up to the end of a login.

use zeroize::Zeroizing;

use crate::protocol::line::{LineFault, Lines};

/// How a server ends a command, or greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
    PreAuth,
    Bye,
}

impl Status {
    pub(super) fn named(word: &[u8]) -> Option<Status> {
        let all = [
            (&b"OK"[..], Status::Ok),
            (b"NO", Status::No),
            (b"BAD", Status::Bad),
            (b"PREAUTH", Status::PreAuth),
            (b"BYE", Status::Bye),
        ];
        all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, status)| status)
    }
}

/// One answer. `line` is as it came, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `* ..`; with a status when it has one.
    Untagged {
        status: Option<Status>,
        line: Vec<u8>,
    },
    /// `+ ..`: the server waits; the text behind it.
    Continue {
        text: Vec<u8>,
    },
    Tagged {
        tag: Vec<u8>,
        status: Status,
        line: Vec<u8>,
    },
}

/// Reads answers one by one. Literals in them are part of their line, with the CR LF that stands before them.
#[derive(Default)]
pub struct Answers {
    begun: Zeroizing<Vec<u8>>,
    literal: Option<usize>,
}

impl Answers {
    /// The next whole answer. `bound` is in octets, of one answer.
    pub fn next(&mut self, lines: &mut Lines, bound: usize) -> Result<Option<Response>, String> {
        loop {
            if let Some(n) = self.literal {
                let Some(octets) = lines.octets(n) else { return Ok(None) };
                self.begun.extend_from_slice(&octets);
                self.literal = None;
            }
            let Some(line) = lines.line().map_err(|e: LineFault| e.to_string())? else { return Ok(None) };
            self.begun.extend_from_slice(&line);
            if self.begun.len() > bound {
                return Err(format!("an answer is longer than {bound} octets"));
            }
            match literal(&line) {
                Some(n) if n > bound => return Err(format!("an answer is longer than {bound} octets")),
                Some(n) => {
                    self.begun.extend_from_slice(b"\r\n");
                    self.literal = Some(n);
                }
                None => return response(std::mem::take(&mut *self.begun)).map(Some),
            }
        }
    }
}

fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let begins = inner.iter().rposition(|b| *b == b'{')?;
    let number = &inner[begins + 1..];
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(number).ok()?.parse().ok().or(Some(usize::MAX)))?
}

fn response(line: Vec<u8>) -> Result<Response, String> {
    let none = || "an answer is not of IMAP".to_owned();
    let mut words = line.splitn(3, |b| *b == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match first {
        b"*" => Ok(Response::Untagged { status: Status::named(second), line }),
        b"+" => Ok(Response::Continue { text: line.get(2..).unwrap_or_default().to_vec() }),
        tag if !tag.is_empty() => {
            let status = Status::named(second).ok_or_else(none)?;
            Ok(Response::Tagged { tag: tag.to_vec(), status, line })
        }
        _ => Err(none()),
    }
}

/// The capabilities that a line tells: of `* CAPABILITY ..` or of a code `[CAPABILITY ..]`. In capitals.
pub fn capabilities(line: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let list = match text.split_once("[CAPABILITY ") {
        Some((_, rest)) => rest.split(']').next()?.to_owned(),
        None => text.strip_prefix("* CAPABILITY ")?.to_owned(),
    };
    Some(list.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8], cut: usize) -> Result<Vec<Response>, String> {
        let (mut lines, mut answers, mut found) = (Lines::new(1024), Answers::default(), Vec::new());
        for part in octets.chunks(cut) {
            lines.push(part);
            while let Some(r) = answers.next(&mut lines, 1024)? {
                found.push(r);
            }
        }
        Ok(found)
    }

    #[test]
    fn answers_with_literals_and_codes() {
        let text = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n* ID (\"name\" {5}\r\nDo\r\nv)\r\n+ \r\na1 NO [AUTHENTICATIONFAILED] no\r\n";
        for cut in 1..text.len() {
            let found = all(text, cut).unwrap();
            assert_eq!(found.len(), 4, "{cut}: {found:?}");
            assert!(
                matches!(&found[1], Response::Untagged { status: None, line } if line.ends_with(b"{5}\r\nDo\r\nv)"))
            );
            assert!(matches!(&found[3], Response::Tagged { tag, status: Status::No, .. } if tag == b"a1"));
        }
        assert_eq!(capabilities(b"* OK [CAPABILITY IMAP4rev1 auth=plain] ready").unwrap(), ["IMAP4REV1", "AUTH=PLAIN"]);
        assert_eq!(capabilities(b"* CAPABILITY IMAP4rev1 ID").unwrap(), ["IMAP4REV1", "ID"]);
        assert_eq!(capabilities(b"* OK hello"), None);
    }

    #[test]
    fn garbage_and_floods_are_errors() {
        for bad in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b" \r\n", b"a1 MAYBE\r\n", b"* X {2000000000}\r\n", b"* OK\n"]
        {
            assert!(all(bad, 100).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(all(&[b'x'; 5000], 100).is_err());
    }
}
