//! The content of one part: decoded, and text as what is read of it.

use encoding_rs::{Decoder, Encoding, UTF_8, WINDOWS_1252};
use sha2::Digest as _;

use super::canonical::{Kind, LINE};
use super::header::Content;
use super::html::Html;

/// Takes the lines of a part in.
pub(super) struct Body {
    kind: Kind,
    encoding: Encoding64,
    decoder: Option<Decoder>,
    html: Html,
    hash: sha2::Sha256,
    any: bool,
    /// Ends of lines that count only when something follows.
    ends: Vec<u8>,
    /// Base64 that makes no whole group yet, or an escape that is cut.
    rest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding64 {
    Identity,
    Quoted,
    Base64,
}

impl Body {
    pub fn of(content: &Content) -> Self {
        let kind = match content.kind.as_str() {
            "text/html" => Kind::Html,
            kind if kind.starts_with("text/") => Kind::Plain,
            _ => Kind::Octets,
        };
        let encoding = match content.encoding.as_str() {
            "base64" => Encoding64::Base64,
            "quoted-printable" => Encoding64::Quoted,
            _ => Encoding64::Identity,
        };
        let charset = match content.charset.as_str() {
            "" | "us-ascii" => UTF_8,
            other => Encoding::for_label(other.as_bytes()).unwrap_or(WINDOWS_1252),
        };
        Self {
            kind,
            encoding,
            decoder: (kind != Kind::Octets).then(|| charset.new_decoder_without_bom_handling()),
            html: Html::default(),
            hash: sha2::Sha256::new(),
            any: false,
            ends: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// A line without its end, or a piece of one.
    pub fn take(&mut self, text: &[u8], ends: bool) {
        match self.encoding {
            Encoding64::Identity => {
                self.octets(text);
                if ends {
                    self.octets(b"\r\n");
                }
            }
            Encoding64::Quoted => self.quoted(text, ends),
            Encoding64::Base64 => {
                self.rest.extend(text.iter().filter(|b| b.is_ascii_alphanumeric() || b"+/".contains(b)));
                let whole = self.rest.len() / 4 * 4;
                let groups: Vec<u8> = self.rest.drain(..whole).collect();
                self.groups(&groups);
            }
        }
    }

    fn groups(&mut self, groups: &[u8]) {
        use base64::Engine as _;
        if let Ok(octets) = LENIENT.decode(groups) {
            self.octets(&octets);
        }
    }

    /// RFC 2045 section 6.7.
    fn quoted(&mut self, text: &[u8], ends: bool) {
        let mut line = std::mem::take(&mut self.rest);
        line.extend_from_slice(text);
        if ends {
            line.truncate(line.trim_ascii_end().len());
        }
        let mut out = Vec::with_capacity(line.len());
        let (mut n, mut soft) = (0, false);
        while n < line.len() {
            if line[n] != b'=' {
                out.push(line[n]);
                n += 1;
                continue;
            }
            if n + 1 == line.len() && ends {
                soft = true;
                break;
            }
            let digits = line.get(n + 1..n + 3).and_then(|d| std::str::from_utf8(d).ok());
            match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
                Some(octet) => {
                    out.push(octet);
                    n += 3;
                }
                None if n + 3 > line.len() && !ends => {
                    self.rest = line[n..].to_vec();
                    break;
                }
                None => {
                    out.push(b'=');
                    n += 1;
                }
            }
        }
        self.octets(&out);
        if ends && !soft {
            self.octets(b"\r\n");
        }
    }

    /// Decoded octets.
    fn octets(&mut self, octets: &[u8]) {
        let Some(mut decoder) = self.decoder.take() else {
            let body = octets.len() - octets.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if body > 0 {
                self.hash.update(std::mem::take(&mut self.ends));
                self.hash.update(&octets[..body]);
                self.any = true;
            }
            self.ends.extend_from_slice(&octets[body..]);
            if self.ends.len() > LINE {
                self.hash.update(std::mem::take(&mut self.ends));
            }
            return;
        };
        self.decode(&mut decoder, octets, false);
        self.decoder = Some(decoder);
    }

    fn decode(&mut self, decoder: &mut Decoder, octets: &[u8], last: bool) {
        let mut text =
            String::with_capacity(decoder.max_utf8_buffer_length(octets.len()).unwrap_or(octets.len() * 3 + 16));
        let _ = decoder.decode_to_string(octets, &mut text, last);
        self.text(&text);
    }

    fn text(&mut self, text: &str) {
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            if self.kind == Kind::Html { self.html.take(c, &mut shown) } else { shown.push(c) }
        }
        self.show(&shown);
    }

    fn show(&mut self, shown: &str) {
        let visible: String = shown
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '\u{200B}' | '\u{FEFF}'))
            .collect();
        self.any |= !visible.is_empty();
        self.hash.update(visible.as_bytes());
    }

    /// `None` for a part that says nothing.
    pub fn end(mut self) -> Option<(Kind, [u8; 32])> {
        match self.encoding {
            Encoding64::Base64 => {
                let groups = std::mem::take(&mut self.rest);
                self.groups(&groups);
            }
            Encoding64::Quoted => self.quoted(b"", true),
            Encoding64::Identity => {}
        }
        if let Some(mut decoder) = self.decoder.take() {
            self.decode(&mut decoder, b"", true);
            let mut shown = String::new();
            self.html.end(&mut shown);
            self.show(&shown);
        }
        self.any.then(|| (self.kind, self.hash.finalize().into()))
    }
}

/// Base64 as mail has it: with padding or without.
const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
