//! What goes wrong at an end, by classes: each says whether trying again helps, and what a person can do.

use std::fmt;
use std::time::Duration;

/// The class decides what the mover does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// No connection, or it broke. Nothing is known of what was under way.
    Unreachable,
    /// The server asks for patience: NO [LIMIT], [INUSE], [UNAVAILABLE], BYE on overload, HTTP 429, 503, ErrorServerBusy.
    Busy,
    /// Name or password are refused, or the login succeeded and the mailbox cannot be opened.
    Login,
    /// The account may not do this (ACL).
    Permission,
    /// The mailbox on the target is full.
    Quota,
    /// The target refuses a message of this size.
    TooLarge,
    /// The target refuses this message as it is: a NUL, a line too long, 8-bit headers, an empty message.
    Malformed,
    /// It was there and is no longer: expunged, a folder deleted or renamed. Said by the server, never concluded from silence.
    Vanished,
    /// UIDVALIDITY changed, so that the ids which were known mean nothing.
    Renumbered,
    /// The server says what its protocol does not allow.
    Protocol,
    /// A mover with another ledger fills the mailbox.
    Claimed,
    /// This machine: disk, memory, a file that cannot be read.
    Local,
    /// The end cannot do this at all.
    Unsupported,
}

impl Class {
    /// Whether the same thing may succeed a while later without a person.
    pub fn passes(self) -> bool {
        matches!(self, Class::Unreachable | Class::Busy | Class::Renumbered | Class::Local)
    }

    /// Whether it concerns one message only, so that the others go on.
    pub fn of_message(self) -> bool {
        matches!(self, Class::TooLarge | Class::Malformed | Class::Vanished)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Unreachable => "unreachable",
            Class::Busy => "busy",
            Class::Login => "login",
            Class::Permission => "permission",
            Class::Quota => "quota",
            Class::TooLarge => "too-large",
            Class::Malformed => "malformed",
            Class::Vanished => "vanished",
            Class::Renumbered => "renumbered",
            Class::Protocol => "protocol",
            Class::Claimed => "claimed",
            Class::Local => "local",
            Class::Unsupported => "unsupported",
        }
    }

    /// What a person can do about it.
    pub fn help(self) -> &'static str {
        match self {
            Class::Unreachable => {
                "look whether the server runs, can be reached from here and shows the right certificate; the service tries again by itself"
            }
            Class::Busy => "nothing: the service waits and goes on; lower `sessions` or set `limits` if it comes often",
            Class::Login => "check the login form, the name and the password; `cutover-cms retry USER` after that",
            Class::Permission => "give the account the rights that it lacks, then `cutover-cms retry USER`",
            Class::Quota => "raise the user's quota on the target, then `cutover-cms retry USER`",
            Class::TooLarge => {
                "raise the target's size limit, or accept the exception: the message stays on the source"
            }
            Class::Malformed => "look at the message named in the report; it stays on the source",
            Class::Vanished => "nothing: the source no longer has it",
            Class::Renumbered => "nothing: the service compares by content and goes on",
            Class::Protocol => "keep the log: the server's answer breaks its protocol; try the profile of its product",
            Class::Claimed => {
                "stop the other one; when it is gone for good, `cutover-cms retry --take-over USER`, or give this one its state folder"
            }
            Class::Local => "look at disk space and permissions of the service's state folder",
            Class::Unsupported => "choose another extractor or importer, or leave this item out",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure. `what` holds the server's own words and never a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {what}")]
pub struct Fault {
    pub class: Class,
    pub what: String,
    /// How long the server asks to wait, where it says so.
    pub after: Option<Duration>,
}

impl Fault {
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), after: None }
    }

    pub fn after(mut self, wait: Duration) -> Self {
        self.after = Some(wait);
        self
    }
}
