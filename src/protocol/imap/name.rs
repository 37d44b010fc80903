//! Names of folders: modified UTF-7 (RFC 3501 section 5.1.3) and how strings are written in commands.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with `,` for `/` and without padding.
fn engine() -> Option<GeneralPurpose> {
    let alphabet = Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").ok()?;
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    Some(GeneralPurpose::new(&alphabet, config))
}

pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut held: Vec<u8> = Vec::new();
    let flush = |held: &mut Vec<u8>, out: &mut String| {
        if !held.is_empty()
            && let Some(engine) = engine()
        {
            out.push('&');
            out.push_str(&engine.encode(&*held));
            out.push('-');
            held.clear();
        }
    };
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut held, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| held.extend_from_slice(&unit.to_be_bytes()));
        }
    }
    flush(&mut held, &mut out);
    out
}

/// `None` for what is not modified UTF-7.
pub fn decode(name: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'&' => {
                let end = after.iter().position(|b| *b == b'-')?;
                match &after[..end] {
                    [] => out.push('&'),
                    coded => {
                        let octets = engine()?.decode(coded).ok()?;
                        let units: Vec<u16> =
                            octets.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
                        if octets.len() % 2 == 1 || units.is_empty() {
                            return None;
                        }
                        out.push_str(&String::from_utf16(&units).ok()?);
                    }
                }
                rest = &after[end + 1..];
            }
            b' '..=b'~' => {
                out.push(char::from(*first));
                rest = after;
            }
            _ => return None,
        }
    }
    Some(out)
}

/// As people read it, whatever the server wrote: modified UTF-7, else UTF-8, else Latin-1.
pub fn shown(name: &[u8]) -> String {
    decode(name)
        .or_else(|| std::str::from_utf8(name).ok().map(str::to_owned))
        .unwrap_or_else(|| name.iter().map(|b| char::from(*b)).collect())
}

/// In quotes, for a command; `None` for what only a literal can carry (octets above 127, CR, LF, NUL).
pub fn quoted(octets: &[u8]) -> Option<Vec<u8>> {
    if octets.iter().any(|b| matches!(b, 0 | b'\r' | b'\n' | 128..)) {
        return None;
    }
    let mut out = Vec::with_capacity(octets.len() + 2);
    out.push(b'"');
    for octet in octets {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*octet);
    }
    out.push(b'"');
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_document_and_of_people() {
        // RFC 3501, section 5.1.3.
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(), Some("~peter/mail/台北/日本語"));
        for name in ["Entwürfe", "a&b", "&", "per%cent", "😀 smile", "", "x ", "\u{7f}", "Überblick & Co"] {
            assert_eq!(decode(encode(name).as_bytes()).as_deref(), Some(name), "{name:?} {}", encode(name));
        }
        assert_eq!(encode("Entwürfe"), "Entw&APw-rfe");
        for bad in [&b"&"[..], b"&AP", b"&A-", b"\xc3\xbc", b"&2D0-", b"&!!-"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(shown("Entwürfe".as_bytes()), "Entwürfe");
        assert_eq!(shown(b"Entw\xfcrfe"), "Entwürfe");
        assert_eq!(quoted(b"a\"b\\c").as_deref(), Some(&b"\"a\\\"b\\\\c\""[..]));
        assert_eq!(quoted(b"a\r\nb LOGOUT"), None);
    }

    proptest! {
        #[test]
        fn every_name_reads_back(name in "\\PC{0,40}") {
            let coded = encode(&name);
            prop_assert!(coded.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(decode(coded.as_bytes()), Some(name));
        }

        #[test]
        fn nothing_from_outside_panics(name in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = shown(&name);
        }
    }
}
