//! What a message says, apart from how MIME writes it: Exchange takes messages apart and builds them anew, so that octets cannot be compared.
//!
//! The digest is over
//! - the fields of identity: From, To and Cc as their addresses, in small letters and sorted; Subject, decoded, without white space, its first 200 characters;
//!   Date as an instant; Message-ID. Only those that the original had and that can be read ([`Fields`]): a server may add others;
//! - each body and attachment, decoded, in any order: text (`text/*`) as what is read of it, in Unicode, without white space, without the tags of HTML; all else octet
//!   for octet, but for ends of lines at its very end. Of alternatives HTML stands for its plain text, which Exchange makes of it. Messages within messages likewise.
//!
//! Not in it: all other fields, names of files, the order and nesting of parts, white space, markup. Read once from front to end in constant memory.

use std::io::Read;

use sha2::Digest as _;

use super::body::Body;
use super::header::{Fields, Header};
use crate::services::cms::mailbox::Sha256;

/// Octets of a line that are looked at together; what is longer is taken in pieces.
pub(super) const LINE: usize = 16 << 10;
/// Parts inside each other.
const DEPTH: usize = 32;
/// Parts of one message.
const PARTS: usize = 10_000;

/// Takes a message in, piece by piece.
pub(super) struct Canonical {
    line: Vec<u8>,
    /// The line has begun in an earlier piece.
    within: bool,
    multiparts: Vec<Multipart>,
    alternatives: usize,
    state: State,
    leaves: Vec<Leaf>,
    /// Of the message itself, once it is over.
    header: Option<Box<Header>>,
}

#[derive(Debug)]
struct Multipart {
    boundary: Vec<u8>,
    /// Number of the innermost alternatives that it is, or is in.
    alternative: Option<usize>,
}

enum State {
    Header(Box<Header>),
    Body(Box<Body>),
    /// Before the first part of a multipart, or after its last.
    Between,
}

#[derive(Debug)]
struct Leaf {
    alternative: Option<usize>,
    kind: Kind,
    digest: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Html,
    Octets,
    /// The fields of a message within the message.
    Fields,
}

impl Canonical {
    pub fn new() -> Self {
        Self {
            line: Vec::new(),
            within: false,
            multiparts: Vec::new(),
            alternatives: 0,
            state: State::Header(Box::default()),
            leaves: Vec::new(),
            header: None,
        }
    }

    /// Of a whole message, with the fields that it has.
    pub fn of(mut content: impl Read) -> std::io::Result<(Fields, Sha256)> {
        let mut canonical = Self::new();
        let mut piece = [0; 32 << 10];
        loop {
            match content.read(&mut piece)? {
                0 => return Ok(canonical.end(Fields::ALL)),
                n => canonical.push(&piece[..n]),
            }
        }
    }

    pub fn push(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let end = octets.iter().position(|b| *b == b'\n');
            let take = end.map_or(octets.len(), |n| n + 1).min(LINE - self.line.len());
            self.line.extend_from_slice(&octets[..take]);
            octets = &octets[take..];
            let is_whole = self.line.ends_with(b"\n");
            if is_whole || self.line.len() >= LINE {
                let line = std::mem::take(&mut self.line);
                self.take(&line, is_whole);
                self.within = !is_whole;
                self.line = line;
                self.line.clear();
            }
        }
    }

    fn take(&mut self, line: &[u8], is_whole: bool) {
        let text = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
        if !self.within && text.starts_with(b"--") && self.boundary(&text[2..]) {
            return;
        }
        match &mut self.state {
            State::Header(header) => {
                if text.is_empty() && !self.within {
                    self.body();
                } else {
                    header.take(text, self.within);
                }
            }
            State::Body(body) => body.take(text, is_whole),
            State::Between => {}
        }
    }

    /// Whether the line parts one of the multiparts that are open.
    fn boundary(&mut self, text: &[u8]) -> bool {
        let text = text.trim_ascii_end();
        for depth in (0..self.multiparts.len()).rev() {
            let boundary = &self.multiparts[depth].boundary;
            let Some(after) = text.strip_prefix(boundary.as_slice()) else { continue };
            if !after.is_empty() && after != b"--" {
                continue;
            }
            let is_last = !after.is_empty();
            self.finish();
            self.multiparts.truncate(if is_last { depth } else { depth + 1 });
            self.state = if is_last { State::Between } else { State::Header(Box::default()) };
            return true;
        }
        false
    }

    /// A header is over.
    fn body(&mut self) {
        let State::Header(header) = std::mem::replace(&mut self.state, State::Between) else { return };
        let content = header.content();
        self.named(header);
        let alternative = self.multiparts.last().and_then(|m| m.alternative);
        let is_alternative = content.kind == "multipart/alternative";
        if let Some(boundary) = content.boundary.clone().filter(|_| content.kind.starts_with("multipart/"))
            && self.multiparts.len() < DEPTH
        {
            self.alternatives += usize::from(is_alternative);
            let alternative = if is_alternative { Some(self.alternatives) } else { alternative };
            self.multiparts.push(Multipart { boundary: boundary.into_bytes(), alternative });
            return;
        }
        if content.kind == "message/rfc822" && !content.is_encoded() && self.leaves.len() < PARTS {
            self.state = State::Header(Box::new(Header::within()));
            return;
        }
        self.state = State::Body(Box::new(Body::of(&content)));
    }

    /// Fields of the message, or of one within it.
    fn named(&mut self, header: Box<Header>) {
        if self.header.is_none() {
            self.header = Some(header);
        } else if header.is_within {
            // Which of its fields survive is not known here: the addresses and the subject.
            let (_, digest) = header.identity(Fields::INNER);
            self.leaves.push(Leaf { alternative: None, kind: Kind::Fields, digest: digest.0 });
        }
    }

    /// A part is over.
    fn finish(&mut self) {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Header(header) => self.named(header),
            State::Body(body) => {
                if let Some((kind, digest)) = body.end().filter(|_| self.leaves.len() < PARTS) {
                    let alternative = self.multiparts.last().and_then(|m| m.alternative);
                    self.leaves.push(Leaf { alternative, kind, digest });
                }
            }
            State::Between => {}
        }
    }

    /// `wanted` are the fields that count; which of them are there, and the digest.
    pub fn end(mut self, wanted: Fields) -> (Fields, Sha256) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take(&line, false);
        }
        self.finish();
        let rich: Vec<usize> =
            self.leaves.iter().filter(|l| l.kind == Kind::Html).filter_map(|l| l.alternative).collect();
        let mut leaves: Vec<(bool, [u8; 32])> = self
            .leaves
            .iter()
            .filter(|l| l.kind != Kind::Plain || l.alternative.is_none_or(|of| !rich.contains(&of)))
            .map(|l| (matches!(l.kind, Kind::Octets), l.digest))
            .collect();
        leaves.sort_unstable();
        let (fields, named) = self.header.unwrap_or_default().identity(wanted);
        let mut hash = sha2::Sha256::new();
        hash.update(named.0);
        for (octets, digest) in leaves {
            hash.update([u8::from(octets)]);
            hash.update(digest);
        }
        (fields, Sha256(hash.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Sha256 {
        Canonical::of(text.replace('\n', "\r\n").as_bytes()).expect("digest").1
    }

    const HEAD: &str = "From: Ann <ann@acme.example>\nTo: bob@acme.example\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle\nDate: Mon, 1 Jan 2024 10:00:00 +0100\nMIME-Version: 1.0\n";

    #[test]
    fn a_message_built_anew_says_the_same() {
        let one = format!(
            "{HEAD}Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\nContent-Type: text/plain; charset=iso-8859-1\n\
             Content-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe =\nund mehr\n--a b\nContent-Type: application/pdf; name=x.pdf\n\
             Content-Transfer-Encoding: base64\n\nAAEC\nAwQ=\n--a b--\nepilogue\n"
        );
        let other = "Received: x\nX-New: 1\nSubject: =?iso-8859-1?B?R3L832U=?=\n  an alle\nMIME-Version: 1.0\nDATE: Mon, 1 Jan 2024 09:00:00 +0000 (UTC)\nTo: \"Bob\" <BOB@acme.example>\n\
             From: ann@acme.example\nContent-Type: multipart/mixed;\n boundary=zz\n\n--zz\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\
             Content-Type: application/octet-stream\n\nAAECAwQ=\n--zz\nContent-Type: multipart/alternative; boundary=yy\n\n--yy\nContent-Type: text/plain\n\nother words\n--yy\n\
             Content-Type: text/html; charset=utf-8\n\n<html><head><title>t</title><style>p {}</style></head><body><p>Gr&uuml;&#223;e</p> und<br>mehr</body></html>\n--yy--\n--zz--\n"
            .replace("&uuml;", "&#xfc;");
        assert_eq!(of(&one), of(&other));
        for (from, to) in [
            ("AwQ=", "AwU="),
            ("und mehr", "und mehr!"),
            ("ann@acme", "eve@acme"),
            ("an alle", "an keinen"),
            ("10:00:00", "10:00:01"),
        ] {
            assert_ne!(of(&one.replace(from, to)), of(&one), "{from}");
        }
        let gone = one.find("--a b\nContent-Type: application").map(|n| format!("{}--a b--\n", &one[..n]));
        assert_ne!(gone.map(|g| of(&g)), Some(of(&one)));
    }

    #[test]
    fn pieces_of_any_size_give_the_same_digest() {
        let text = format!(
            "{HEAD}Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nFrom: x@y\nSubject: in\n\ninner {}\n--b\n\
             Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<!-- > --><p>a=3D=C3=A4=\nb</p>\n--b--\n",
            "word ".repeat(9000)
        );
        let whole = of(&text);
        for step in [1, 7, 1000, 16384, 20000] {
            let mut canonical = Canonical::new();
            text.replace('\n', "\r\n").as_bytes().chunks(step).for_each(|piece| canonical.push(piece));
            assert_eq!(canonical.end(Fields::ALL).1, whole, "{step}");
        }
        assert_ne!(of(&text.replace("Subject: in", "Subject: out")), whole);
    }

    /// A server adds a Message-ID where there is none: the fields that the original had are what counts.
    #[test]
    fn failure_17_a_field_that_the_server_adds_makes_no_difference() {
        let text = format!("{HEAD}\nbody\n");
        let (fields, digest) = Canonical::of(text.as_bytes()).expect("digest");
        let mut canonical = Canonical::new();
        canonical.push(format!("Message-ID: <new@server>\nCc: c@d\n{text}").as_bytes());
        assert_eq!(canonical.end(fields).1, digest);
        assert_ne!(of(&format!("Message-ID: <1@x>\n{text}")), of(&format!("Message-ID: <2@x>\n{text}")));
    }

    #[test]
    fn anything_has_a_digest() {
        for text in [
            "",
            "\n",
            "no header",
            "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n",
            "Content-Type: multipart/x; boundary=a\n\n--a\n--a\n--a--",
            "=?",
        ] {
            of(text);
        }
        let deep: String =
            (0..200).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        of(&deep);
    }
}
