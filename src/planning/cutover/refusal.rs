//! Why a window cannot be kept as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::Address;
use crate::model::cutover::Window;
use crate::model::dns::{RecordSet, SetKey};
use crate::model::unit::format_duration;

use super::facts::{Held, targets};
use super::union::{LONGEST, LOOKUPS, lookups, policy};

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
    /// The policies of both sides do not fit into one.
    Wide {
        set: SetKey,
        why: String,
    },
    /// A host that takes mail before or after the swap is not in the MTA-STS policy.
    Unlisted {
        domain: String,
        host: String,
    },
    /// The MTA-STS policy that lists both sides is not published yet.
    Unpublished {
        domain: String,
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
            Refusal::Wide { set, why } => {
                write!(
                    f,
                    "the SPF policy of {set} has to allow both sides while mail moves, and both do not fit into it: {why}. Write the                      addresses of the old side into the topology as `legacy`, so that its policy is split, or take includes away"
                )
            }
            Refusal::Unlisted { domain, host } => {
                write!(
                    f,
                    "the MTA-STS policy of {domain} does not list {host}, which takes its mail before or after the swap; senders that                      hold the policy would refuse it (RFC 8461, section 5). Write the old side as `legacy` until the window is over"
                )
            }
            Refusal::Unpublished { domain } => {
                write!(
                    f,
                    "the MTA-STS policy of {domain} that lists both sides is not published yet: `cutover apply` first, then plan the window"
                )
            }
        }
    }
}

/// What both sides need and cannot have.
pub fn sides(
    window: &Window,
    held: &[Held],
    wide: &BTreeMap<Address, RecordSet>,
    unpublished: &BTreeSet<String>,
) -> Vec<Refusal> {
    let mut out = Vec::new();
    for set in wide.values() {
        let Some((_, text)) = policy(&set.data).filter(|_| set.key.kind == "TXT") else { continue };
        let why = match (text.len(), lookups(&text)) {
            (long, _) if long > LONGEST => format!("{long} octets, and {LONGEST} are safe"),
            (_, asked) if asked > LOOKUPS => format!("{asked} DNS lookups, and {LOOKUPS} are allowed"),
            _ => continue,
        };
        out.push(Refusal::Wide { set: set.key.clone(), why });
    }
    for h in held.iter().filter(|h| h.differs()) {
        let Some(sts) = window.policies.iter().find(|p| p.domain == h.wanted.key.name) else { continue };
        let all = targets(&h.wanted).into_iter().chain(h.observed.iter().flat_map(targets));
        let unlisted: BTreeSet<String> =
            all.map(|host| host.trim_end_matches('.').to_owned()).filter(|host| !sts.hosts.contains(host)).collect();
        let domain = h.wanted.key.name.trim_end_matches('.').to_owned();
        out.extend(unlisted.into_iter().map(|host| Refusal::Unlisted { domain: domain.clone(), host }));
        if unpublished.contains(&h.wanted.key.name) {
            out.push(Refusal::Unpublished { domain });
        }
    }
    out
}

/// `2h`, `90s`: seconds as the language writes them.
pub fn spoken(seconds: i64) -> String {
    format_duration(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
