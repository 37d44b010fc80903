//! Folders of a mailbox, apart from how an end writes their names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names from the root down, in Unicode as people read them: no delimiter, no namespace prefix, no modified UTF-7. `INBOX` is
/// `["INBOX"]`, in capitals. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderPath(Vec<String>);

impl FolderPath {
    /// `None` for no name at all, or one that is empty.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Option<Self> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.is_empty() || names.iter().any(String::is_empty) {
            return None;
        }
        if names[0].eq_ignore_ascii_case("INBOX") {
            names[0] = "INBOX".into();
        }
        Some(Self(names))
    }

    pub fn inbox() -> Self {
        Self(vec!["INBOX".into()])
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    pub fn is_inbox(&self) -> bool {
        self.0.len() == 1 && self.0[0] == "INBOX"
    }

    pub fn parent(&self) -> Option<Self> {
        (self.0.len() > 1).then(|| Self(self.0[..self.0.len() - 1].to_vec()))
    }

    /// One text that tells any two paths apart: `/` between names, `%` and `/` in names as `%25` and `%2F`. For the ledger and for
    /// people; [`FolderPath::of_key`] reads it back.
    pub fn key(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|n| n.replace('%', "%25").replace('/', "%2F")).collect();
        names.join("/")
    }

    pub fn of_key(key: &str) -> Option<Self> {
        Self::new(key.split('/').map(|n| n.replace("%2F", "/").replace("%25", "%")))
    }
}

impl fmt::Display for FolderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// RFC 6154 section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
    Important,
}

impl SpecialUse {
    pub const ALL: [(&str, SpecialUse); 8] = [
        ("\\All", SpecialUse::All),
        ("\\Archive", SpecialUse::Archive),
        ("\\Drafts", SpecialUse::Drafts),
        ("\\Flagged", SpecialUse::Flagged),
        ("\\Junk", SpecialUse::Junk),
        ("\\Sent", SpecialUse::Sent),
        ("\\Trash", SpecialUse::Trash),
        ("\\Important", SpecialUse::Important),
    ];

    pub fn of_attribute(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, special)| *special)
    }

    pub fn attribute(self) -> &'static str {
        Self::ALL.iter().find(|(_, special)| *special == self).map_or("", |(name, _)| name)
    }
}

/// A folder as an end shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub path: FolderPath,
    /// As the end itself writes it: what commands name. Octets, because old servers send what is no UTF-8.
    pub raw: Vec<u8>,
    pub special: Option<SpecialUse>,
    pub subscribed: bool,
    /// `false` for a name that only holds others (`\Noselect`).
    pub selectable: bool,
    /// Whether it belongs to somebody else, or to all: it stands in a namespace of other users or a shared one (RFC 2342).
    pub foreign: bool,
    /// RFC 8474 MAILBOXID, where the end has one: stays through a rename.
    pub identity: Option<String>,
    /// How it stands, where the end said so in the listing (LIST-STATUS), which saves a round trip a folder.
    pub mark: Option<Mark>,
}

impl Folder {
    /// One of the user's own that holds messages, of an end that knows no more of it.
    pub fn plain(path: FolderPath, raw: Vec<u8>) -> Self {
        Self {
            path,
            raw,
            special: None,
            subscribed: true,
            selectable: true,
            foreign: false,
            identity: None,
            mark: None,
        }
    }
}

/// How far a folder has come. Two equal marks with a `modseq` mean that nothing has changed at all; without it, flags may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// UIDVALIDITY; for an end without it a number that stays as long as its ids mean the same.
    pub validity: u64,
    /// UIDNEXT.
    pub next: Option<u64>,
    /// HIGHESTMODSEQ.
    pub modseq: Option<u64>,
    /// Messages.
    pub count: u64,
    /// How far an end of its own words has come (a sync state of EWS); known only once changes were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Mark {
    /// Whether ids of a former mark mean the same messages still. A new UIDVALIDITY says that they do not, and so does a UIDNEXT that went
    /// back (RFC 9051, section 2.3.1.1, forbids it): a server that was restored, or lost its index within the second in which it was made.
    pub fn continues(&self, was: &Mark) -> bool {
        self.validity == was.validity && was.next.zip(self.next).is_none_or(|(was, is)| is >= was)
    }
}

/// A folder of a mailbox that holds something else than mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub folder: String,
    pub is_contacts: bool,
    /// What is in it, and what becomes of it.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_paths_apart_and_read_back() {
        for names in [vec!["a/b", "c%d"], vec!["a", "b", "c%2Fd"], vec!["inbox", "x "], vec!["%25", "%"]] {
            let path = FolderPath::new(names).expect("path");
            assert_eq!(FolderPath::of_key(&path.key()), Some(path.clone()), "{path}");
        }
        assert_eq!(FolderPath::new(["inBox"]), Some(FolderPath::inbox()));
        assert_eq!(FolderPath::new(["a", ""]), None);
    }
}
