//! Where the folders of a mailbox lie on disk, and how their names are written.
//!
//! Maildir++ (Courier, Dovecot's default): `.A.B` beside `cur`. `fs` (Dovecot's `LAYOUT=fs`): a directory in a directory. Names are modified
//! UTF-7. With `LISTESCAPE` (Dovecot's plugin of that name) what cannot stand in a name is written as `\` and two hexadecimal digits.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::files::local;
use crate::protocol::imap::name;
use crate::services::cms::mailbox::{Class, Fault, FolderPath};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plus,
    Fs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shape: Shape,
    pub(super) escapes: bool,
    /// Names that are written are UTF-8, as Courier has them since 1.0 (IMAP 5.0); read are both.
    pub(super) utf8: bool,
}

/// The words behind a path, as in Dovecot's `mail_location`: `:LAYOUT=fs`, `:LAYOUT=maildir++`, `:LISTESCAPE`.
pub(super) fn split_words(path: PathBuf) -> (PathBuf, Option<Shape>, bool) {
    let (mut octets, mut shape, mut escapes) = (path.into_os_string().into_vec(), None, false);
    while let Some(at) = octets.iter().rposition(|b| *b == b':') {
        match octets[at + 1..].to_ascii_lowercase().as_slice() {
            b"layout=fs" => shape = Some(Shape::Fs),
            b"layout=maildir++" => shape = Some(Shape::Plus),
            b"listescape" => escapes = true,
            _ => break,
        }
        octets.truncate(at);
    }
    (std::ffi::OsString::from_vec(octets).into(), shape, escapes)
}

impl Layout {
    /// As it is on disk: a directory with `cur` in it whose name has no dot in front tells `fs`.
    pub(super) fn found(root: &Path, shape: Option<Shape>, escapes: bool, utf8: bool) -> Self {
        let fs = || {
            std::fs::read_dir(root).is_ok_and(|entries| {
                entries.flatten().any(|e| {
                    let name = e.file_name();
                    !name.as_bytes().starts_with(b".") && !is_part(name.as_bytes()) && e.path().join("cur").is_dir()
                })
            })
        };
        Self { shape: shape.unwrap_or_else(|| if fs() { Shape::Fs } else { Shape::Plus }), escapes, utf8 }
    }

    /// The directory of a folder, below the root.
    pub(super) fn directory(&self, path: &FolderPath) -> Result<PathBuf, Fault> {
        if path.is_inbox() {
            return Ok(PathBuf::new());
        }
        let mut names = Vec::new();
        for (n, given) in path.names().iter().enumerate() {
            names.push(self.written(given, n == 0).map_err(|why| {
                let help = "folders.rename gives it another name on the target";
                Fault::new(Class::Unsupported, format!("{path}: {why}; {help}"))
            })?);
        }
        Ok(match self.shape {
            Shape::Plus => {
                let joined = format!(".{}", names.join("."));
                if joined.len() > 255 {
                    let what =
                        format!("{path}: its directory's name would have {} octets, 255 is the most", joined.len());
                    return Err(Fault::new(Class::Unsupported, what));
                }
                joined.into()
            }
            Shape::Fs => names.iter().collect(),
        })
    }

    fn coded(&self, given: &str) -> String {
        if self.utf8 { given.to_owned() } else { name::encode(given) }
    }

    fn written(&self, given: &str, first: bool) -> Result<String, String> {
        let coded = self.coded(given);
        let bad = |n: usize, c: char| match c {
            '/' => true,
            '.' => self.shape == Shape::Plus || n == 0,
            '~' => first && n == 0,
            '\\' => self.escapes,
            _ => false,
        };
        let reserved = self.shape == Shape::Fs && is_part(coded.as_bytes());
        if self.escapes {
            let mut out = String::new();
            for (n, c) in coded.chars().enumerate() {
                if bad(n, c) || reserved && n == 0 { out.push_str(&format!("\\{:02x}", c as u32)) } else { out.push(c) }
            }
            return if out.len() > 255 { Err("the name is too long for a directory".into()) } else { Ok(out) };
        }
        if let Some((_, c)) = coded.chars().enumerate().find(|(n, c)| bad(*n, *c)) {
            return Err(format!("`{c}` cannot stand there in the name of a Maildir folder (LISTESCAPE writes it)"));
        }
        if reserved {
            return Err(format!("`{coded}` is a part of every Maildir"));
        }
        if coded.len() > 255 { Err("the name is too long for a directory".into()) } else { Ok(coded) }
    }

    fn read(&self, written: &[u8]) -> String {
        let mut plain = Vec::with_capacity(written.len());
        let mut rest = written;
        while let Some((first, after)) = rest.split_first() {
            let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
            match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
                Some(octet) if self.escapes && *first == b'\\' => {
                    plain.push(octet);
                    rest = &after[2..];
                }
                _ => {
                    plain.push(*first);
                    rest = after;
                }
            }
        }
        name::shown(&plain)
    }

    /// The folder of a directory below the root; `None` for a directory that cannot be one.
    pub(super) fn path_of(&self, directory: &Path) -> Option<FolderPath> {
        let octets = directory.as_os_str().as_bytes();
        match self.shape {
            _ if octets.is_empty() => Some(FolderPath::inbox()),
            Shape::Plus => FolderPath::new(octets.strip_prefix(b".")?.split(|b| *b == b'.').map(|n| self.read(n))),
            Shape::Fs => FolderPath::new(octets.split(|b| *b == b'/').map(|n| self.read(n))),
        }
    }

    /// The directories of all folders, the inbox's (an empty path) first.
    pub(super) fn directories(&self, root: &Path) -> Result<Vec<PathBuf>, Fault> {
        let mut found = vec![PathBuf::new()];
        self.collect(root, Path::new(""), &mut found)?;
        found[1..].sort();
        Ok(found)
    }

    fn collect(&self, root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), Fault> {
        let at = root.join(below);
        for entry in std::fs::read_dir(&at).map_err(|e| local(&at, &e))? {
            let entry = entry.map_err(|e| local(&at, &e))?;
            let name = entry.file_name();
            let dotted = name.as_bytes().starts_with(b".");
            if is_part(name.as_bytes()) || dotted != (self.shape == Shape::Plus) || !entry.path().is_dir() {
                continue;
            }
            let path = below.join(&name);
            if ["cur", "new"].iter().any(|sub| root.join(&path).join(sub).is_dir()) {
                found.push(path.clone());
            }
            // Links are folders where they lead to one, but are not walked: they may lead round.
            if self.shape == Shape::Fs && entry.file_type().is_ok_and(|t| t.is_dir()) {
                self.collect(root, &path, found)?;
            }
        }
        Ok(())
    }

    /// A name as subscription files write it, to a path. Dovecot's second form parts names by tabs, its first and Courier's by the delimiter.
    pub(super) fn subscribed(&self, written: &[&[u8]]) -> Option<FolderPath> {
        FolderPath::new(written.iter().map(|n| self.read(n)))
    }

    pub(super) fn subscription(&self, path: &FolderPath) -> Result<Vec<String>, Fault> {
        let plain = Layout { shape: Shape::Fs, escapes: true, utf8: self.utf8 };
        let written = |(n, given): (usize, &String)| {
            let layout = if self.escapes { self } else { &plain };
            if self.escapes { layout.written(given, n == 0) } else { Ok(self.coded(given)) }
        };
        let names: Result<Vec<String>, String> = path.names().iter().enumerate().map(written).collect();
        names.map_err(|e| Fault::new(Class::Unsupported, format!("{path}: {e}")))
    }
}

pub(super) fn is_part(name: &[u8]) -> bool {
    matches!(name, b"cur" | b"new" | b"tmp")
}

/// Of a folder's `raw`.
pub(super) fn of_raw(raw: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_to_disk_and_come_back() {
        for (shape, escapes) in [(Shape::Plus, false), (Shape::Fs, false), (Shape::Plus, true), (Shape::Fs, true)] {
            let layout = Layout { shape, escapes, utf8: false };
            for names in
                [vec!["per%cent"], vec!["Entwürfe", "日本語"], vec!["x ", "R&D"], vec!["INBOX", "below"], vec!["2024"]]
            {
                let path = FolderPath::new(names).expect("path");
                let directory = layout.directory(&path).expect("directory");
                assert_eq!(layout.path_of(&directory), Some(path), "{directory:?}");
            }
            for names in [vec!["a/b"], vec!["~x"], vec![".x"], vec!["cur"], vec!["v1.2", "c\\d", "\\2e"]] {
                let path = FolderPath::new(names.clone()).expect("path");
                match layout.directory(&path) {
                    Ok(directory) => assert_eq!(layout.path_of(&directory), Some(path), "{layout:?} {directory:?}"),
                    Err(fault) => assert!(!escapes && fault.class == Class::Unsupported, "{fault}"),
                }
            }
        }
        let plus = Layout { shape: Shape::Plus, escapes: true, utf8: false };
        assert_eq!(plus.directory(&FolderPath::new(["v1.2"]).expect("path")), Ok(PathBuf::from(".v1\\2e2")));
    }

    #[test]
    fn words_behind_a_path_are_dovecots() {
        let split = |p: &str| split_words(PathBuf::from(p));
        assert_eq!(split("/v/a/Maildir:LAYOUT=fs:LISTESCAPE"), ("/v/a/Maildir".into(), Some(Shape::Fs), true));
        assert_eq!(split("/v/a:b"), ("/v/a:b".into(), None, false));
    }
}
