//! The files of one folder: their names, flags and times.
//!
//! A name is `UNIQUE[,S=octets][,W=octets with CR LF]:2,FLAGS` (cr.yp.to/proto/maildir.html; the sizes are Courier's and Dovecot's).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::Offset};

use super::uidlist::base;
use crate::services::cms::mailbox::{Class, Date, Fault, Flags};

/// Letters of system flags; `P` and others mean nothing to IMAP servers and are left alone.
pub(super) const LETTERS: [(char, &str); 5] =
    [('D', "\\Draft"), ('F', "\\Flagged"), ('R', "\\Answered"), ('S', "\\Seen"), ('T', "\\Deleted")];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) is_new: bool,
    pub(super) name: OsString,
}

impl File {
    /// Letters behind `:2,`.
    pub(super) fn letters(&self) -> String {
        let name = self.name.to_string_lossy();
        name.split_once(":2,").map_or(String::new(), |(_, letters)| letters.split(',').next().unwrap_or("").to_owned())
    }

    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(if self.is_new { "new" } else { "cur" }).join(&self.name)
    }

    /// `,S=` or `,W=`.
    pub(super) fn size(&self, letter: char) -> Option<u64> {
        let name = self.name.to_string_lossy();
        let key = [letter, '='];
        base(&name)
            .split(',')
            .skip(1)
            .find_map(|part| part.strip_prefix(key.iter().collect::<String>().as_str())?.parse().ok())
    }

    pub(super) fn flags(&self, keywords: &BTreeMap<usize, String>) -> Flags {
        let mut flags = Flags::default();
        for letter in self.letters().chars() {
            if let Some((_, word)) = LETTERS.iter().find(|(l, _)| *l == letter) {
                flags.add(word);
            } else if letter.is_ascii_lowercase()
                && let Some(word) = keywords.get(&(letter as usize - 'a' as usize))
            {
                flags.add(word);
            }
        }
        flags
    }
}

/// Files of a folder by the part of their name that stays.
pub(super) type Files = BTreeMap<String, File>;

/// Reads `cur` and `new` until nothing changed meanwhile: a file that is renamed during one reading may be met twice or not at all.
pub(super) fn scan(directory: &Path) -> Result<Files, Fault> {
    let mut last = Files::new();
    for _ in 0..8 {
        let before = stamp(directory);
        let mut files = Files::new();
        // `new` first: what moves meanwhile moves from there to `cur`.
        for (sub, is_new) in [("new", true), ("cur", false)] {
            let at = directory.join(sub);
            let entries = match fs::read_dir(&at) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound && directory.is_dir() => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(Fault::new(Class::Vanished, format!("{}: the folder is gone", directory.display())));
                }
                Err(e) => return Err(local(&at, &e)),
            };
            for entry in entries {
                let name = entry.map_err(|e| local(&at, &e))?.file_name();
                if !name.as_bytes().starts_with(b".") {
                    files.insert(base(&name.to_string_lossy()).to_owned(), File { is_new, name });
                }
            }
        }
        if before.is_some() && stamp(directory) == before {
            return Ok(files);
        }
        // Whatever was seen once and is really gone is found gone when it is fetched.
        last.extend(files);
    }
    Ok(last)
}

/// When something last came, went or changed its flags. Nanoseconds.
pub(super) fn stamp(directory: &Path) -> Option<u64> {
    let of = |name: &str| {
        fs::metadata(directory.join(name)).ok().map(|m| m.mtime() as u64 * 1_000_000_000 + m.mtime_nsec() as u64)
    };
    let words = of("dovecot-keywords").unwrap_or(0).max(of("courierimapkeywords").unwrap_or(0));
    Some(of("cur")?.max(of("new")?).max(words))
}

/// A stamp that is good for a mark: old enough that another change would show.
pub(super) fn settled_stamp(directory: &Path) -> Option<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    stamp(directory).filter(|at| Duration::from_nanos(*at) + Duration::from_secs(2) < now)
}

/// In the order in which servers number what they meet: by the time in front, then its fraction, then the name.
pub(super) fn order(name: &str) -> (u64, u64, &str) {
    let digits = |t: &str| t.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let fraction = name.split_once(".M").map_or(0, |(_, rest)| digits(rest));
    (digits(name), fraction, name)
}

pub(super) fn date(file: &fs::Metadata) -> Option<Date> {
    let at = Timestamp::from_second(file.mtime()).ok()?;
    Some(Date { at, zone: Offset::UTC })
}

pub(super) fn local(path: &Path, e: &io::Error) -> Fault {
    let class = match e.kind() {
        io::ErrorKind::QuotaExceeded => Class::Quota,
        io::ErrorKind::PermissionDenied => Class::Permission,
        _ => Class::Local,
    };
    Fault::new(class, format!("{}: {e}", path.display()))
}

/// The words of `dovecot-keywords`: `NUMBER WORD` a line.
pub(super) fn dovecot_keywords(directory: &Path) -> BTreeMap<usize, String> {
    let text = fs::read_to_string(directory.join("dovecot-keywords")).unwrap_or_default();
    let word = |line: &str| line.split_once(' ').and_then(|(n, word)| Some((n.parse().ok()?, word.to_owned())));
    text.lines().filter_map(word).collect()
}

/// Courier's keywords, by the part of a file's name that stays. `courierimapkeywords/:list` has a word a line, an empty line, then
/// `NAME:NUMBER NUMBER ..`; a file beside it named like the message (`.N.NAME` while it is being changed) has its words since, a line each.
pub(super) fn courier_keywords(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let at = directory.join("courierimapkeywords");
    let mut found = BTreeMap::new();
    let list = fs::read(at.join(":list")).unwrap_or_default();
    let list = String::from_utf8_lossy(&list);
    let (words, files) = list.split_once("\n\n").unwrap_or((list.trim_end(), ""));
    let words: Vec<&str> = words.lines().collect();
    for line in files.lines() {
        if let Some((name, numbers)) = line.rsplit_once(':') {
            let of = numbers
                .split(' ')
                .filter_map(|n| words.get(n.parse::<usize>().ok()?))
                .map(|w| (*w).to_owned())
                .collect();
            found.insert(name.to_owned(), of);
        }
    }
    let mut newer: Vec<(u64, String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name == OsStr::new(":list") {
            continue;
        }
        let name = name.to_string_lossy();
        let (generation, name) = match name.strip_prefix('.').and_then(|n| n.split_once('.')) {
            Some((n, name)) => (n.parse::<u64>().map_or(1, |n| n + 1), name.to_owned()),
            None => (0, name.into_owned()),
        };
        newer.push((generation, name, entry.path()));
    }
    newer.sort();
    for (_, name, path) in newer {
        if let Ok(octets) = fs::read(path) {
            let words = String::from_utf8_lossy(&octets).lines().filter(|w| !w.is_empty()).map(str::to_owned).collect();
            found.insert(name, words);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_tell_flags_sizes_and_order() {
        let file = File { is_new: false, name: "1700000000.M12P3.host,S=10,W=12:2,FSac".into() };
        let words = BTreeMap::from([(0, "work".to_owned()), (2, "$Forwarded".to_owned())]);
        assert_eq!(file.flags(&words).to_string(), "\\Flagged \\Seen $Forwarded work");
        assert_eq!((file.size('S'), file.size('W')), (Some(10), Some(12)));
        let mut names = vec!["1700000001.a", "1700000000.M9P1.h", "1700000000.M10P1.h", "900.x"];
        names.sort_by_key(|n| order(n));
        assert_eq!(names, ["900.x", "1700000000.M9P1.h", "1700000000.M10P1.h", "1700000001.a"]);
    }
}
