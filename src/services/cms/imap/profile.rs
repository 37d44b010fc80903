//! What products do otherwise than their capabilities say, as data.
//!
//! Sources: the vendors' pages and the FAQs of imapsync (Exchange, Domino, Courier) as gathered in the failure modes; what is not
//! known of a product is left to its capabilities. NetWin, OpenWave, MailSite and Domino are untested against the product.

use crate::services::cms::config::Profile;
use crate::services::cms::mailbox::Class;
use crate::services::cms::target::Abilities;

#[derive(Debug)]
pub(super) struct Dialect {
    /// Words of its refusals, in small letters, before those that all share.
    pub texts: &'static [(&'static str, Class)],
    /// Whether content comes back octet for octet.
    pub exact: bool,
    /// Capabilities that it offers and cannot do.
    pub distrusted: &'static [&'static str],
    /// UID FETCH commands under way at once, and messages in each.
    pub depth: usize,
    pub each: usize,
    /// Messages of a batch of appends.
    pub batch: usize,
    /// Whether single appends may be sent one behind another without waiting for each answer (where MULTIAPPEND is missing).
    pub pipelines: bool,
    /// Names that it keeps for itself, in small letters: no mail folder can have them at the top.
    pub reserved: &'static [&'static str],
}

const GENERIC: Dialect = Dialect {
    texts: &[],
    exact: true,
    distrusted: &[],
    depth: 3,
    each: 64,
    batch: 128,
    pipelines: true,
    reserved: &[],
};

const EXCHANGE: Dialect = Dialect {
    texts: &[
        // imapsync FAQ.Exchange: the mailbox is full.
        ("server unavailable. 15", Class::Quota),
        ("server unavailable", Class::Busy),
        ("mailbox size limit", Class::Quota),
        ("maximum size for message", Class::TooLarge),
        ("errormessagesizeexceeded", Class::TooLarge),
        ("message too long", Class::TooLarge),
        ("the specified message set is invalid", Class::Vanished),
        ("command argument error", Class::Malformed),
    ],
    // It takes messages apart and builds them anew.
    exact: false,
    distrusted: &[],
    depth: 2,
    each: 32,
    batch: 32,
    pipelines: true,
    // Of FAQ.Office365: creating them fails or lands elsewhere.
    reserved: &["files", "calendar", "contacts", "tasks", "notes", "journal", "sync issues", "conversation history"],
};

const EXCHANGE_2003: Dialect = Dialect { depth: 1, each: 16, batch: 1, pipelines: false, ..EXCHANGE };
const EXCHANGE_2007: Dialect = Dialect { depth: 1, ..EXCHANGE };

const DOMINO: Dialect = Dialect {
    texts: &[("insufficient memory", Class::Busy), ("database is full", Class::Quota)],
    exact: false,
    depth: 1,
    each: 16,
    batch: 1,
    pipelines: false,
    ..GENERIC
};

const COURIER: Dialect = Dialect {
    texts: &[
        ("unable to open this mailbox", Class::Vanished),
        ("maximum number of connections", Class::Busy),
        ("you exceeded your mail quota", Class::Quota),
    ],
    ..GENERIC
};

const CYRUS: Dialect = Dialect {
    texts: &[
        ("message contains nul", Class::Malformed),
        ("message contains bare newlines", Class::Malformed),
        ("message contains non-ascii", Class::Malformed),
        ("message contains invalid header", Class::Malformed),
        ("mailbox has an invalid format", Class::Busy),
        ("mailbox is locked", Class::Busy),
    ],
    ..GENERIC
};

/// Old servers that are read: one command at a time, few messages each.
const LEGACY: Dialect = Dialect { depth: 1, each: 16, batch: 1, pipelines: false, ..GENERIC };

pub(super) fn of(profile: Profile) -> &'static Dialect {
    match profile {
        Profile::Generic | Profile::Dovecot => &GENERIC,
        Profile::Cyrus => &CYRUS,
        Profile::Courier => &COURIER,
        Profile::Netwin | Profile::Openwave | Profile::Mailsite => &LEGACY,
        Profile::Exchange2003 => &EXCHANGE_2003,
        Profile::Exchange2007 => &EXCHANGE_2007,
        Profile::Exchange => &EXCHANGE,
        Profile::Domino => &DOMINO,
    }
}

impl Dialect {
    /// Before the server has said what it can do.
    pub(super) fn abilities(&self) -> Abilities {
        Abilities { batch_octets: 2 << 20, exact: self.exact, removes: false, ..Abilities::default() }
    }
}
