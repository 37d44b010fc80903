//! What a message's octets look like, read once from front to end in constant memory.

use std::io::Read;

/// Octets of a line without its end that every server takes (RFC 5322 section 2.1.1).
pub const LONGEST_LINE: u64 = 998;

/// Of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    pub octets: u64,
    pub nul: bool,
    /// A CR without LF or an LF without CR.
    pub bare_ends: bool,
    /// Octets above 127 in the header.
    pub raw_header: bool,
    /// Octets of the longest line, without its end.
    pub longest: u64,
    /// No header field at all.
    pub headless: bool,
    /// Addresses to which it was delivered, small: of Delivered-To, X-Original-To, Envelope-To.
    pub delivered_to: Vec<String>,
}

/// Octets of the header that are looked through for addresses.
const HEADER: usize = 64 << 10;

impl Shape {
    pub fn of(mut content: impl Read) -> std::io::Result<Self> {
        let mut shape = Self::default();
        let mut eye = Eye { in_header: true, ..Eye::default() };
        let mut piece = [0; 16 << 10];
        loop {
            match content.read(&mut piece)? {
                0 => break,
                n => piece[..n].iter().for_each(|b| eye.see(*b, &mut shape)),
            }
        }
        shape.bare_ends |= eye.before == b'\r';
        shape.longest = shape.longest.max(eye.line);
        shape.headless = !eye.field;
        shape.delivered_to = addresses(&eye.header);
        Ok(shape)
    }
}

#[derive(Default)]
struct Eye {
    in_header: bool,
    /// A field name with its colon was seen.
    field: bool,
    before: u8,
    line: u64,
    header: Vec<u8>,
}

impl Eye {
    fn see(&mut self, b: u8, shape: &mut Shape) {
        shape.octets += 1;
        shape.nul |= b == 0;
        shape.bare_ends |= (b == b'\n') != (self.before == b'\r');
        if self.in_header {
            shape.raw_header |= b > 127;
            self.field |= b == b':' && self.line > 0;
            if self.header.len() < HEADER {
                self.header.push(b);
            }
        }
        match b {
            b'\n' => {
                // An empty line ends the header, however lines end here.
                self.in_header &= self.line > 0;
                shape.longest = shape.longest.max(self.line);
                self.line = 0;
            }
            b'\r' => {}
            _ => self.line += 1,
        }
        self.before = b;
    }
}

fn addresses(header: &[u8]) -> Vec<String> {
    const FIELDS: [&str; 3] = ["delivered-to", "x-original-to", "envelope-to"];
    let text = String::from_utf8_lossy(header);
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim().trim_matches(['<', '>']).to_lowercase();
        if FIELDS.contains(&name.trim().to_lowercase().as_str()) && value.contains('@') && !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Shape {
        Shape::of(text).expect("memory")
    }

    #[test]
    fn an_ordinary_message_is_nothing_special() {
        let shape = of(b"From: a@b\r\nDelivered-To: <Ann@acme.example>\r\n\r\nbody \xc3\xa4\r\n");
        let expected =
            Shape { octets: 56, longest: 32, delivered_to: vec!["ann@acme.example".into()], ..Shape::default() };
        assert_eq!(shape, expected);
    }

    #[test]
    fn each_oddity_is_seen_where_it_stands() {
        assert!(of(b"A: b\r\n\r\nx\0y\r\n").nul);
        assert!(of(b"A: b\n\nbody\n").bare_ends);
        assert!(of(b"A: b\r\n\r\nx\ry\r\n").bare_ends);
        assert!(of(b"A: b\r\n\r\nx\r").bare_ends);
        assert!(!of(b"A: b\r\n\r\nx").bare_ends);
        assert!(of(b"Subject: \xe4\r\n\r\nx\r\n").raw_header);
        assert!(!of(b"Subject: a\r\n\r\n\xe4\r\n").raw_header);
        assert!(of(b"").headless && of(b"\r\nA: b\r\n").headless && of(b"no field here\r\n\r\n").headless);
        let long = [&b"A: b\r\n\r\n"[..], &[b'x'; 1500], b"\r\nshort\r\n"].concat();
        assert_eq!(of(&long).longest, 1500);
    }
}
