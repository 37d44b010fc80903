//! What preflight finds, by the words of the language.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// As in `preflight { find .. }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Mail for many addresses lands in one mailbox.
    CatchAll,
    /// A mailbox that cannot be opened, a folder that cannot be listed.
    Invalid,
    /// A message that cannot be read, or is not what the server says of it.
    Corrupt,
    /// A message above a limit.
    Oversize,
    /// The same octets twice in one folder.
    Duplicate,
    /// A mailbox that has nobody on the new side.
    Orphan,
    /// Octets that a strict server refuses: NUL, lines that are too long, 8-bit headers, bare line ends.
    Encoding,
    /// More than the new side has room for.
    Quota,
    /// Folders of a legal hold.
    Hold,
    /// A second mailbox or archive folders that moving may miss.
    Archive,
}

impl Problem {
    pub const ALL: [Problem; 10] = [
        Problem::CatchAll,
        Problem::Invalid,
        Problem::Corrupt,
        Problem::Oversize,
        Problem::Duplicate,
        Problem::Orphan,
        Problem::Encoding,
        Problem::Quota,
        Problem::Hold,
        Problem::Archive,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Problem::CatchAll => "catch-all",
            Problem::Invalid => "invalid",
            Problem::Corrupt => "corrupt",
            Problem::Oversize => "oversize",
            Problem::Duplicate => "duplicate",
            Problem::Orphan => "orphan",
            Problem::Encoding => "encoding",
            Problem::Quota => "quota",
            Problem::Hold => "hold",
            Problem::Archive => "archive",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == word)
    }

    /// Whether the mailbox cannot move well before a person has decided. The others move as they are.
    pub fn blocks(self) -> bool {
        matches!(self, Problem::Invalid | Problem::Orphan | Problem::Quota | Problem::Hold)
    }

    pub fn repair(self) -> Repair {
        match self {
            Problem::Duplicate | Problem::Encoding => Repair::OnTheWay,
            other => Repair::Person(other.remedy()),
        }
    }

    /// What is done about it, and by whom.
    pub fn remedy(self) -> &'static str {
        match self {
            Problem::CatchAll => {
                "decide who gets this mail on the new side: catch-all= at accepted-domain, or addresses of their own"
            }
            Problem::Invalid => "repair the mailbox at the source, or take the user out of the cohort",
            Problem::Corrupt => {
                "repair or delete the message at the source; the service tries it once more in each pass and names it in the report"
            }
            Problem::Oversize => {
                "raise `largest` and the new side's limit, or leave it: the message stays at the source and is named in the report"
            }
            Problem::Duplicate => "nothing: all copies move, as they are",
            Problem::Orphan => "make the account on the new side, or take the user out of the cohort",
            Problem::Encoding => {
                "nothing: the octets move as they are; a server that refuses them makes an exception of the message in the report"
            }
            Problem::Quota => "raise the user's quota on the new side",
            Problem::Hold => "ask who ordered the hold; the user waits until it is decided",
            Problem::Archive => {
                "see that the folders are part of the move; an archive that is a mailbox of its own moves as one more user"
            }
        }
    }
}

/// Who repairs it, and how. A source is never written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Repair {
    /// The move takes it as it is.
    OnTheWay,
    /// What a person would have to write stands in this file.
    Written(PathBuf),
    Person(&'static str),
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Repair::OnTheWay => f.write_str("on the way"),
            Repair::Written(file) => write!(f, "written to {}", file.display()),
            Repair::Person(what) => write!(f, "a person: {what}"),
        }
    }
}

impl From<Repair> for String {
    fn from(repair: Repair) -> Self {
        repair.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub problem: Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Id of the message at the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub what: String,
    pub repair: Repair,
    /// Where a folder whose name is refused could go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
}

/// Of one mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    pub user: String,
    pub folders: u64,
    pub messages: u64,
    /// As the source's listing says.
    pub octets: u64,
    /// Octets that the user's quota on the new side would have to be, where it is too small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u64>,
    /// Whether each message was read.
    pub deep: bool,
    pub findings: Vec<Finding>,
}

impl Examined {
    pub fn blocked(&self) -> bool {
        self.findings.iter().any(|f| f.problem.blocks())
    }
}
