//! Why a window cannot be kept as it is written.

use std::fmt;

use crate::model::dns::SetKey;
use crate::model::unit::format_duration;

/// A reason not to begin. Each is told; the plan that has one is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Over {
        window: String,
        end: String,
    },
    /// The old TTLs would not have run out at the start.
    Short {
        window: String,
        start: String,
        latest: String,
        old_ttl: i64,
        lag: i64,
        swap: String,
    },
    /// What is begun at the start would not end in the window.
    Long {
        window: String,
        end: String,
        ready: String,
    },
    NoFlip {
        window: String,
        set: SetKey,
    },
    Empty {
        set: SetKey,
    },
    NoAddress {
        set: SetKey,
        target: String,
    },
}

impl Refusal {
    /// An explicit word makes it acceptable: the swap comes later than the start, and is no less safe.
    pub fn can_be_waived(&self) -> bool {
        matches!(self, Refusal::Short { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Over { window, end } => {
                write!(f, "window {window} ended at {end}: give it a new start")
            }
            Refusal::Short { window, start, latest, old_ttl, lag, swap } => {
                write!(
                    f,
                    "window {window} begins at {start}, too early: caches may hold the old answers for {} after the TTL is lowered{}, \
                     so lower-ttl had to begin by {latest}. Begun now, the swap can come at {swap}. Move the start, or say --short-lead to \
                     swap that much later in the window",
                    spoken(*old_ttl),
                    if *lag > 0 {
                        format!(", and a secondary may take {} to follow", spoken(*lag))
                    } else {
                        String::new()
                    },
                )
            }
            Refusal::Long { window, end, ready } => {
                write!(
                    f,
                    "window {window} ends at {end}, and the old answers run out at {ready}: make `for` longer, the start later, or \
                     cutover-ttl of the zone shorter"
                )
            }
            Refusal::NoFlip { window, set } => {
                write!(f, "{set} waits for window {window}, whose steps have no flip-mx: nothing would ever change it")
            }
            Refusal::Empty { set } => {
                write!(f, "{set} would be left without records: senders would fall back to the address of the name")
            }
            Refusal::NoAddress { set, target } => {
                write!(
                    f,
                    "{set} is to lead to {target}, which has no A and no AAAA in the zone and gets none: add its record"
                )
            }
        }
    }
}

/// `2h`, `90s`: seconds as the language writes them.
pub fn spoken(seconds: i64) -> String {
    format_duration(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
