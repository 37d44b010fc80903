//! LDIF content records (RFC 2849): folded lines, comments, base64. Change records are refused: they say what to do, not what is.

use base64::Engine as _;

use super::foreign::Foreign;
use crate::model::{SourceId, Span};

const CODE: &str = "E1305";

/// One entry: its distinguished name and what it says.
pub struct Entry {
    pub place: Span,
    pub attributes: Vec<(String, String)>,
}

impl Entry {
    /// Values of an attribute, its options left aside.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let base = |k: &'a str| k.split(';').next().unwrap_or_default();
        self.attributes.iter().filter(move |(k, _)| base(k).eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

pub fn entries(f: &mut Foreign, id: SourceId) -> Vec<Entry> {
    let text = f.text(id);
    let mut out: Vec<Entry> = Vec::new();
    let mut open = false;
    for (line, place) in unfolded(&text, id) {
        if line.is_empty() {
            open = false;
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let Some((key, rest)) = line.split_once(':') else {
            f.wrong(
                CODE,
                place,
                "this is no `attribute: value`",
                "a long value goes on behind a space on the next line",
            );
            continue;
        };
        let key = key.trim();
        if out.is_empty() && !open && key.eq_ignore_ascii_case("version") {
            if rest.trim() != "1" {
                f.wrong(CODE, place, format!("LDIF version {} is not known here", rest.trim()), "this reads version 1");
            }
            continue;
        }
        // Passwords are nobody's business here.
        if key.to_ascii_lowercase().contains("password") || key.to_ascii_lowercase().contains("pwd") {
            continue;
        }
        let value = if let Some(encoded) = rest.strip_prefix(':') {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim());
            match bytes.map(String::from_utf8) {
                Ok(Ok(text)) => text,
                // A photo or a certificate.
                Ok(Err(_)) => continue,
                Err(_) => {
                    f.wrong(CODE, place, format!("the base64 of `{key}` is broken"), "export the file again");
                    continue;
                }
            }
        } else if rest.starts_with('<') {
            continue;
        } else {
            rest.trim_start_matches(' ').to_owned()
        };
        match key.to_ascii_lowercase().as_str() {
            "dn" if !open => {
                out.push(Entry { place, attributes: Vec::new() });
                open = true;
            }
            "dn" => f.wrong(CODE, place, "a second `dn` in one entry", "an empty line stands between entries"),
            "changetype" | "control" => {
                let help = "this is a file of changes; export what is there: ldapsearch -LLL .. > users.ldif";
                f.wrong(CODE, place, format!("`{key}` has no place in a list of users"), help);
            }
            _ => match out.last_mut().filter(|_| open) {
                Some(entry) => entry.attributes.push((key.to_owned(), value)),
                None => {
                    f.wrong(CODE, place, format!("`{key}` before the `dn` of its entry"), "an entry begins with dn:")
                }
            },
        }
    }
    out
}

/// Lines with their continuations, comments folded too; the place is that of the first line.
fn unfolded(text: &str, id: SourceId) -> Vec<(String, Span)> {
    let mut out: Vec<(String, Span)> = Vec::new();
    let mut offset = 0;
    for raw in text.split_inclusive('\n') {
        let line = raw.trim_end_matches(['\n', '\r']);
        match (line.strip_prefix(' '), out.last_mut()) {
            (Some(more), Some((last, _))) if !last.is_empty() => last.push_str(more),
            _ => out.push((line.to_owned(), Span { source: id, offset, len: line.len() })),
        }
        offset += raw.len();
    }
    out
}
