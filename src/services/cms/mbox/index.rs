//! Where the messages of a file begin and end, their flags and dates. One pass over the file, nothing of it held but what is found.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use sha2::Digest as _;

use super::local;
use crate::services::cms::mailbox::{Class, Date, Fault, Flags, Id, Sha256};

/// Of a line that are looked at.
const PIECE: u64 = 64 << 10;
/// Header lines of servers that keep flags in the file; they are no part of the message.
const OWN: [&str; 7] = ["status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase", "content-length"];

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) flags: Flags,
    pub(super) date: Option<Date>,
    /// Of the header, after the `From ` line. Octets from the beginning.
    pub(super) at: u64,
    pub(super) octets: u64,
    /// As handed on: lines with CR LF, without the store's own header lines.
    pub(super) length: u64,
    pub(super) quotes: bool,
    digest: [u8; 32],
}

impl Entry {
    pub(super) fn is(&self, digest: &Sha256) -> bool {
        self.digest == digest.0
    }
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) entries: Vec<Entry>,
    /// Of the file, for a mark.
    pub(super) stamp: Option<u64>,
    file: (u64, i64, i64, u64),
}

fn stamp_of(m: &std::fs::Metadata) -> (u64, i64, i64, u64) {
    (m.len(), m.mtime(), m.mtime_nsec(), m.ino())
}

impl Index {
    pub(super) fn is_fresh(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|m| stamp_of(&m) == self.file)
    }

    pub(super) fn read(file: &File, path: &Path) -> Result<Self, Fault> {
        let held = file.metadata().map_err(|e| local(path, &e))?;
        let spans = spans(file, held.len()).map_err(|e| local(path, &e))?;
        let mut entries: Vec<Entry> = Vec::with_capacity(spans.len());
        let mut times: HashMap<[u8; 32], usize> = HashMap::new();
        for span in spans {
            let mut reader = file;
            reader.seek(SeekFrom::Start(span.at)).map_err(|e| local(path, &e))?;
            let (mut digest, mut length) = (sha2::Sha256::new(), 0);
            let found = content(&mut reader.take(span.octets), span.quotes, |piece| {
                digest.update(piece);
                length += piece.len() as u64;
                Ok(())
            })?;
            if found.is_note && entries.is_empty() {
                continue;
            }
            let digest: [u8; 32] = digest.finalize().into();
            let time = times.entry(digest).and_modify(|t| *t += 1).or_insert(1);
            let id = Id(format!("{}-{time}", &Sha256(digest).to_string()[..32]).into());
            let Span { at, octets, quotes, date } = span;
            entries.push(Entry { id, flags: found.flags, date, at, octets, length, quotes, digest });
        }
        let age = held.mtime() as u64 * 1_000_000_000 + held.mtime_nsec() as u64;
        Ok(Self { entries, stamp: Some(age ^ held.len().rotate_left(40)), file: stamp_of(&held) })
    }
}

struct Span {
    at: u64,
    octets: u64,
    quotes: bool,
    date: Option<Date>,
}

/// Finds the messages.
fn spans(file: &File, size: u64) -> io::Result<Vec<Span>> {
    let mut reader = BufReader::with_capacity(128 << 10, file);
    reader.seek(SeekFrom::Start(0))?;
    let mut found: Vec<Span> = Vec::new();
    let (mut at, mut line, mut starts, mut after_blank) = (0u64, Vec::new(), true, true);
    // Of the message at hand: whether its header goes on, and what Content-Length says.
    let (mut in_head, mut content_length) = (false, None::<u64>);
    // The empty line in front of a `From ` line is no part of the message.
    let mut blank = 0u64;
    loop {
        line.clear();
        let n = reader.by_ref().take(PIECE).read_until(b'\n', &mut line)? as u64;
        if n == 0 {
            break;
        }
        let is_line = starts;
        starts = line.last() == Some(&b'\n');
        let bare = line.strip_suffix(b"\n").map_or(line.as_slice(), |l| l.strip_suffix(b"\r").unwrap_or(l));
        if is_line
            && after_blank
            && let Some(date) = from_line(bare)
        {
            if let Some(last) = found.last_mut() {
                last.octets = at - last.at - blank;
            }
            found.push(Span { at: at + n, octets: 0, quotes: true, date });
            (in_head, content_length, blank, after_blank) = (true, None, 0, false);
            at += n;
            continue;
        }
        at += n;
        if in_head && is_line {
            if let Some(value) = value_of(bare, "content-length") {
                content_length = value.trim().parse().ok();
            }
            if bare.is_empty() {
                in_head = false;
                if let (Some(length), Some(last)) = (content_length, found.last_mut())
                    && let Some(next) = at.checked_add(length).filter(|next| *next <= size)
                    && ends_there(file, next, size)?
                {
                    // mboxcl2: the body is passed over as it is.
                    last.quotes = false;
                    reader.seek(SeekFrom::Start(next))?;
                    at = next;
                    (starts, after_blank, blank) = (true, true, 0);
                    last.octets = at - last.at;
                    content_length = None;
                    // An empty line may stand between.
                    let mut peeked = reader.fill_buf()?.iter().take(2).copied().collect::<Vec<u8>>();
                    if peeked.first() == Some(&b'\n') {
                        peeked.truncate(1);
                    }
                    if peeked.last() == Some(&b'\n') {
                        reader.consume(peeked.len());
                        at += peeked.len() as u64;
                        blank = peeked.len() as u64;
                    }
                    continue;
                }
            }
        }
        after_blank = is_line && bare.is_empty();
        blank = if after_blank && !in_head { n } else { 0 };
        if let Some(last) = found.last_mut() {
            last.octets = at - last.at;
        }
    }
    // At the end of the file too an empty line closes the last message.
    if let Some(last) = found.last_mut() {
        last.octets = at - last.at - blank;
    }
    Ok(found)
}

/// Whether a message may end here: at the end of the file, or before a `From ` line, with or without an empty line.
fn ends_there(file: &File, at: u64, size: u64) -> io::Result<bool> {
    let mut octets = [0u8; 7];
    let n = std::os::unix::fs::FileExt::read_at(file, &mut octets, at)?;
    let rest = &octets[..n];
    let rest = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")).unwrap_or(rest);
    Ok(at >= size || rest.is_empty() || rest.starts_with(b"From "))
}

/// `From SENDER Www Mmm DD HH:MM[:SS] [ZONE] YYYY [ZONE]`. A line of a text is not taken for one unless it holds a time and a year as well.
fn from_line(line: &[u8]) -> Option<Option<Date>> {
    let rest = line.strip_prefix(b"From ")?;
    let text = String::from_utf8_lossy(rest);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let clock = words.iter().position(|w| {
        w.split(':').count() >= 2
            && w.split(':').all(|p| matches!(p.len(), 1 | 2) && p.bytes().all(|b| b.is_ascii_digit()))
    })?;
    let year = words[clock + 1..]
        .iter()
        .find_map(|w| w.parse::<i16>().ok().filter(|y| (1970..2200).contains(y) && w.len() == 4))?;
    let date = || {
        let (month, day) = (words.get(clock.checked_sub(2)?)?, words.get(clock - 1)?);
        let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let month = months.iter().position(|m| month.to_ascii_lowercase().starts_with(m))? as i8 + 1;
        let mut parts = words[clock].split(':').map(|p| p.parse::<i8>().unwrap_or(0));
        let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or(0));
        let zone = words[clock + 1..].iter().find_map(|w| {
            let digits = w.strip_prefix(['+', '-'])?;
            let value: i32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
            let seconds = (value / 100 * 60 + value % 100) * 60;
            Offset::from_seconds(if w.starts_with('-') { -seconds } else { seconds }).ok()
        });
        let zone = zone.unwrap_or(Offset::UTC);
        let civil = civil::DateTime::new(year, month, day.parse().ok()?, hour, minute, second.min(59), 0).ok()?;
        let at = civil.to_zoned(TimeZone::fixed(zone)).ok()?.timestamp();
        Some(Date { at, zone })
    };
    Some(date())
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let (key, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
    key.eq_ignore_ascii_case(name.as_bytes()).then(|| String::from_utf8_lossy(&value[1..]))
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) flags: Flags,
    /// The server's own note.
    is_note: bool,
}

/// Hands on a message as its server would: lines with CR LF, quotes taken off, without the store's own header lines.
pub(super) fn content(
    reader: &mut impl Read,
    quotes: bool,
    mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<Found, Fault> {
    let failed = |e: io::Error| Fault::new(Class::Local, format!("a message cannot be read: {e}"));
    let mut reader = BufReader::with_capacity(PIECE as usize, reader);
    let (mut found, mut line, mut out) = (Found::default(), Vec::new(), Vec::new());
    let (mut in_head, mut starts, mut dropped, mut held_cr) = (true, true, false, false);
    let (mut has_imap, mut is_note) = (false, false);
    loop {
        line.clear();
        if reader.by_ref().take(PIECE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let is_line = starts;
        starts = line.last() == Some(&b'\n');
        let mut text = line.as_slice();
        out.clear();
        if in_head && is_line {
            let bare = text.strip_suffix(b"\n").map_or(text, |l| l.strip_suffix(b"\r").unwrap_or(l));
            if bare.is_empty() {
                (in_head, dropped) = (false, false);
            } else if !matches!(bare.first(), Some(b' ' | b'\t')) {
                dropped = OWN.iter().any(|name| value_of(bare, name).is_some());
                heed(bare, &mut found.flags);
                has_imap |= value_of(bare, "x-imap").is_some() || value_of(bare, "x-imapbase").is_some();
                is_note |= value_of(bare, "subject").is_some_and(|s| s.contains("DON'T DELETE THIS MESSAGE"));
            }
        }
        if dropped {
            continue;
        }
        if quotes && is_line && !in_head {
            let marks = text.iter().take_while(|b| **b == b'>').count();
            if marks > 0 && text[marks..].starts_with(b"From ") {
                text = &text[1..];
            }
        }
        match text.strip_suffix(b"\n") {
            Some(bare) => {
                out.extend_from_slice(bare);
                let has_cr = bare.last().map_or(held_cr, |b| *b == b'\r');
                out.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
            }
            None => out.extend_from_slice(text),
        }
        held_cr = text.last() == Some(&b'\r');
        take(&out)?;
    }
    found.is_note = has_imap && is_note;
    Ok(found)
}

/// Flags of a header line.
fn heed(line: &[u8], flags: &mut Flags) {
    let letters = |name: &str| value_of(line, name).map(|v| v.trim().to_owned());
    if letters("status").is_some_and(|l| l.contains('R')) {
        flags.add("\\Seen");
    }
    for letter in letters("x-status").unwrap_or_default().chars() {
        match letter {
            'A' => flags.add("\\Answered"),
            'F' => flags.add("\\Flagged"),
            'D' => flags.add("\\Deleted"),
            'T' => flags.add("\\Draft"),
            _ => {}
        }
    }
    for word in letters("x-keywords").unwrap_or_default().split_ascii_whitespace() {
        flags.add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Entry)> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("mbox");
        std::fs::write(&path, text).expect("written");
        let file = File::open(&path).expect("file");
        let index = Index::read(&file, &path).expect("index");
        let of = |entry: Entry| {
            let (mut reader, mut out) = (&file, Vec::new());
            reader.seek(SeekFrom::Start(entry.at)).expect("seek");
            let kept = content(&mut reader.take(entry.octets), entry.quotes, |p| {
                out.extend_from_slice(p);
                Ok(())
            });
            kept.expect("content");
            assert_eq!(out.len() as u64, entry.length);
            (String::from_utf8_lossy(&out).into_owned(), entry)
        };
        index.entries.into_iter().map(of).collect()
    }

    #[test]
    fn quoted_lines_flags_and_dates_are_read() {
        let found = read(
            "From a@b Tue Nov 14 22:13:20 2023\nSubject: x\nStatus: RO\nX-Status: AF\nX-Keywords: work $Forwarded  \n\n\
             >From me\n>>From you\nFrom here on\n\n\n\
             From c@d Wed Jan  3 01:02:03 2024 +0100\n\nsecond\n\n\
             From e Thu Jan  4 01:02 2024\nSubject: head only\n\n",
        );
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].0, "Subject: x\r\n\r\nFrom me\r\n>From you\r\nFrom here on\r\n\r\n");
        assert_eq!(found[0].1.flags.to_string(), "\\Answered \\Flagged \\Seen $Forwarded work");
        assert_eq!(found[0].1.date.map(|d| d.at.as_second()), Some(1_700_000_000));
        assert_eq!(found[1].0, "\r\nsecond\r\n");
        assert_eq!(found[1].1.date.map(|d| (d.at.as_second(), d.zone.seconds())), Some((1_704_240_123, 3600)));
        assert!(found[2].0.starts_with("Subject: head only\r\n"));
    }

    #[test]
    fn a_true_content_length_counts_and_a_false_one_does_not() {
        let body = "line\n\nFrom a@b Tue Nov 14 22:13:20 2023\n>From kept\n";
        let text = format!(
            "From a@b Tue Nov 14 22:13:20 2023\nContent-Length: {}\n\n{body}\nFrom c@d Tue Nov 14 22:13:20 2023\nContent-Length: 3\n\nlonger than three\n",
            body.len()
        );
        let found = read(&text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, format!("\r\n{}", body.replace('\n', "\r\n")));
        assert_eq!(found[1].0, "\r\nlonger than three\r\n");
    }

    #[test]
    fn the_servers_note_is_no_message_and_twins_have_names_of_their_own() {
        let note = "From MAILER-DAEMON Tue Nov 14 22:13:20 2023\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nnote\n\n";
        let one = "From a Tue Nov 14 22:13:20 2023\n\nsame\n\n";
        let found = read(&format!("{note}{one}{one}"));
        assert_eq!(found.len(), 2);
        assert_ne!(found[0].1.id, found[1].1.id);
        assert!(read("").is_empty() && read("no mbox\n").is_empty());
    }
}
