//! LDIF (RFC 2849): entries of an exported address book. Content records only: what changes a directory is said and not done, and no file
//! that a value points at is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets of one entry.
const MOST: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1.
    pub line: usize,
    pub dn: String,
    /// In order; names in small letters, without options (`;lang-de`).
    pub values: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// All values of an attribute, as texts.
    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = String> + 'e {
        let ours = self.values.iter().filter(move |(n, _)| n == name);
        ours.map(|(_, v)| String::from_utf8_lossy(v).trim().to_owned()).filter(|v| !v.is_empty())
    }
}

/// What could not be read: its line, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub line: usize,
    pub what: String,
}

pub fn parse(octets: &[u8]) -> (Vec<Entry>, Vec<Bad>) {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut lines: Vec<(usize, Vec<u8>)> = Vec::new();
    let all = octets.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    for (n, line) in all.chain([&b""[..]]).enumerate() {
        if line.is_empty() {
            close(&mut lines, &mut entries, &mut bad);
        } else if let (Some(rest), Some((_, last))) = (line.strip_prefix(b" "), lines.last_mut()) {
            last.extend_from_slice(rest);
        } else {
            lines.push((n + 1, line.to_vec()));
        }
    }
    (entries, bad)
}

fn close(lines: &mut Vec<(usize, Vec<u8>)>, entries: &mut Vec<Entry>, bad: &mut Vec<Bad>) {
    let mut lines = std::mem::take(lines);
    // A comment may be folded, too.
    lines.retain(|(_, l)| !l.starts_with(b"#") && (l.len() >= 12 || !l.starts_with(b"version:")));
    let Some(first) = lines.first().map(|(n, _)| *n) else { return };
    if lines.iter().map(|(_, l)| l.len()).sum::<usize>() > MOST {
        bad.push(Bad { line: first, what: format!("an entry of more than {MOST} octets") });
        return;
    }
    let mut entry = Entry { line: first, dn: String::new(), values: Vec::new() };
    for (n, line) in lines {
        match value(&line) {
            Ok((name, value)) if name == "dn" => entry.dn = String::from_utf8_lossy(&value).trim().to_owned(),
            Ok((name, _)) if name == "changetype" => {
                bad.push(Bad { line: n, what: "a change of a directory is not an entry of an address book".into() });
                return;
            }
            Ok(pair) => entry.values.push(pair),
            Err(what) => bad.push(Bad { line: n, what: what.into() }),
        }
    }
    if entry.values.is_empty() {
        bad.push(Bad { line: first, what: format!("an entry without attributes: {}", entry.dn) });
        return;
    }
    entries.push(entry);
}

fn value(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let colon = line.iter().position(|b| *b == b':').ok_or("no colon behind the name of an attribute")?;
    let name = line[..colon].split(|b| *b == b';').next().unwrap_or_default();
    let fine = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
    if name.is_empty() || !name.iter().all(fine) {
        return Err("no name of an attribute");
    }
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    match &line[colon + 1..] {
        [b':', packed @ ..] => {
            let packed: Vec<u8> = packed.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            STANDARD.decode(packed).map(|value| (name, value)).map_err(|_| "what is said to be base64 is none")
        }
        [b'<', ..] => Err("a value that lies in a file: it is not fetched"),
        plain => Ok((name, plain.trim_ascii_start().to_vec())),
    }
}

/// Columns of a line before it is folded.
const WIDTH: usize = 76;

/// Entries as a file. What is not plain ASCII stands in base64, as the format wants it.
pub fn write(entries: &[Entry]) -> String {
    let mut out = String::from("version: 1\n");
    for entry in entries {
        out.push('\n');
        line(&mut out, "dn", entry.dn.as_bytes());
        for (name, value) in &entry.values {
            line(&mut out, name, value);
        }
    }
    out
}

fn line(out: &mut String, name: &str, value: &[u8]) {
    let whole = match std::str::from_utf8(value) {
        Ok(text) if safe(text) => format!("{name}: {text}"),
        _ => format!("{name}:: {}", STANDARD.encode(value)),
    };
    // It is ASCII, but for names that no directory has.
    let mut column = 0;
    for c in whole.chars() {
        if column == WIDTH {
            out.push_str("\n ");
            column = 1;
        }
        out.push(c);
        column += 1;
    }
    out.push('\n');
}

/// SAFE-STRING without control characters; a blank at its end is lost on many ways (notes 8 and 9 of the RFC).
fn safe(text: &str) -> bool {
    text.bytes().all(|b| (b' '..0x7f).contains(&b)) && !text.starts_with([' ', ':', '<']) && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 2849, its examples 1, 3 and 4, shortened.
    #[test]
    fn entries_are_read_with_folds_base64_and_comments() {
        let (entries, bad) = parse(
            b"version: 1\r\n# a comment\r\n  that is folded\r\ndn: cn=Barbara Jensen, dc=airius\r\ncn: Barbara Jensen\r\ndescription:Babs is a big sailing fan, and travels exten\r\n sively\r\ncn;lang-de:: w5Y=\r\n\r\n\
              dn:: b3U9w7Y=\nou: x\n\n\ndn: cn=c\nchangetype: delete\n\ndn: cn=d\njpegPhoto:< file:///etc/passwd\nsn: D\n",
        );
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].dn, "cn=Barbara Jensen, dc=airius");
        assert_eq!(entries[0].all("cn").collect::<Vec<_>>(), ["Barbara Jensen", "\u{d6}"]);
        assert!(entries[0].all("description").next().is_some_and(|d| d.ends_with("extensively")));
        assert_eq!((entries[1].dn.as_str(), entries[2].all("jpegphoto").count()), ("ou=\u{f6}", 0));
        assert_eq!(bad.len(), 2, "{bad:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            dn in "[a-zA-Z\u{600}-\u{6ff}\u{e4}\u{df}=, ]{1,90}",
            values in proptest::collection::vec(
                (prop_oneof![Just("cn"), Just("mail"), Just("jpegphoto")], proptest::collection::vec(any::<u8>(), 0..200)),
                1..6,
            ),
        ) {
            let values: Vec<(String, Vec<u8>)> = values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
            let text = write(&[Entry { line: 0, dn: dn.clone(), values: values.clone() }]);
            prop_assert!(text.lines().all(|l| l.len() <= WIDTH) && text.is_ascii());
            let (entries, bad) = parse(text.as_bytes());
            prop_assert!(bad.is_empty() && entries.len() == 1, "{text}\n{bad:?}");
            prop_assert_eq!(&entries[0].values, &values);
            prop_assert_eq!(entries[0].dn.as_str(), dn.trim());
        }

        #[test]
        fn whatever_comes_is_read(octets in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b':'), Just(b' ')], 0..300)) {
            let (entries, _) = parse(&octets);
            prop_assert!(entries.iter().all(|e| !e.values.is_empty()));
        }
    }
}
