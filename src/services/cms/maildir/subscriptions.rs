//! Subscriptions: Dovecot's `subscriptions` (its first form, a name a line, and its second, `V\t2`, with a tab between the names of a path) and
//! Courier's `courierimapsubscribed` (names from `INBOX.` on).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::files::local;
use super::layout::{Layout, Shape};
use crate::services::cms::mailbox::{Fault, FolderPath};

pub(super) const DOVECOT: &str = "subscriptions";
pub(super) const COURIER: &str = "courierimapsubscribed";

/// Of whichever file is there.
pub(super) fn read(root: &Path, layout: &Layout) -> Result<BTreeSet<FolderPath>, Fault> {
    let mut found = BTreeSet::new();
    for (name, parse) in [(DOVECOT, dovecot as fn(&[u8], &Layout) -> BTreeSet<FolderPath>), (COURIER, courier)] {
        let path = root.join(name);
        match fs::read(&path) {
            Ok(octets) => found.extend(parse(&octets, layout)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(local(&path, &e)),
        }
    }
    Ok(found)
}

fn dovecot(octets: &[u8], layout: &Layout) -> BTreeSet<FolderPath> {
    let mut lines = octets.split(|b| *b == b'\n').peekable();
    let second = lines.peek().is_some_and(|l| l.starts_with(b"V\t2"));
    let delimiter = if layout.shape == Shape::Fs { b'/' } else { b'.' };
    let delimiter = if second { b'\t' } else { delimiter };
    let lines = lines.skip(if second { 2 } else { 0 }).filter(|l| !l.is_empty());
    lines
        .filter_map(|line| {
            let names: Vec<Vec<u8>> = line.split(|b| *b == delimiter).map(unescaped).collect();
            layout.subscribed(&names.iter().map(Vec::as_slice).collect::<Vec<_>>())
        })
        .collect()
}

fn courier(octets: &[u8], layout: &Layout) -> BTreeSet<FolderPath> {
    let lines = octets.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).filter(|l| !l.is_empty());
    lines
        .filter_map(|line| {
            let names: Vec<&[u8]> = line.split(|b| *b == b'.').collect();
            match names.split_first() {
                // Courier writes the folders beside the inbox below it.
                Some((first, rest)) if first.eq_ignore_ascii_case(b"INBOX") && !rest.is_empty() => {
                    layout.subscribed(rest)
                }
                _ => layout.subscribed(&names),
            }
        })
        .collect()
}

/// Dovecot's `str_tabescape`: `\1` and a letter.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut octets = name.iter();
    while let Some(octet) = octets.next() {
        if *octet == 1 {
            match octets.next() {
                Some(b'0') => out.push(0),
                Some(b'1') => out.push(1),
                Some(b't') => out.push(b'\t'),
                Some(b'r') => out.push(b'\r'),
                Some(b'n') => out.push(b'\n'),
                Some(other) => out.push(*other),
                None => {}
            }
        } else {
            out.push(*octet);
        }
    }
    out
}

/// Dovecot's second form.
pub(super) fn written(paths: &BTreeSet<FolderPath>, layout: &Layout) -> Result<Vec<u8>, Fault> {
    let mut out = b"V\t2\n\n".to_vec();
    for path in paths {
        out.extend_from_slice(layout.subscription(path)?.join("\t").as_bytes());
        out.push(b'\n');
    }
    Ok(out)
}

/// Courier's form.
pub(super) fn written_for_courier(paths: &BTreeSet<FolderPath>, layout: &Layout) -> Result<Vec<u8>, Fault> {
    let mut out = String::new();
    for path in paths {
        let name = layout.subscription(path)?.join(".");
        out.push_str(&if path.is_inbox() { name } else { format!("INBOX.{name}") });
        out.push('\n');
    }
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_both_servers_are_read_and_written() {
        let layout = Layout { shape: Shape::Plus, escapes: false, utf8: false };
        let paths: BTreeSet<FolderPath> = [vec!["INBOX"], vec!["Archive", "2023"], vec!["Entwürfe"]]
            .into_iter()
            .filter_map(FolderPath::new)
            .collect();
        assert_eq!(dovecot(&written(&paths, &layout).expect("written"), &layout), paths);
        assert_eq!(courier(&written_for_courier(&paths, &layout).expect("written"), &layout), paths);
        assert_eq!(dovecot(b"INBOX\nArchive.2023\nEntw&APw-rfe\n", &layout), paths);
    }
}
