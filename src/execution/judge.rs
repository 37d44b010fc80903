//! What became of a step that was begun and never answered: decided from the host's own marks and from what it shows now.
//!
//! | mark on the host | the host shows | verdict |
//! |---|---|---|
//! | done, failed, stale | anything | that |
//! | none | anything | not begun: it may run, the pinned fingerprint decides as ever |
//! | begun, no end | the former state | not done: it may run |
//! | begun, no end | the wanted state, or each attribute as before or as wanted | our own work, perhaps half: it may go on from exactly this |
//! | begun, no end | anything else | unknown: somebody else may have worked there, a person plans anew |
//!
//! A command that was begun is never begun again unless its own condition (`creates`, `unless`) says that it has not run.

use std::collections::BTreeMap;

use crate::catalog::{self, Compare};
use crate::model::attr::{Attr, Digest};
use crate::model::observed::{Observation, Record};
use crate::model::step::{Action, Outcome, Step};

/// What to do about a step in question.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Settled.
    Ended(Outcome),
    /// Not done. `expect` replaces the pinned fingerprint: the state that was looked at, and no other.
    Again { expect: Option<String> },
    /// Not to be decided without a person; the text says why.
    Unknown(String),
}

/// What is known of a step in question.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The host's completion mark; `Unknown` when begun without an end.
    pub mark: Option<&'a Outcome>,
    pub seen: &'a Observation,
    /// Fingerprint that the step last ran with.
    pub pinned: Option<&'a str>,
    /// For a restore: the fingerprint that it brings back.
    pub restores: Option<&'a str>,
    /// The dead man's switch has gone off.
    pub reverted: bool,
    /// A resume asks: what went back did so because the apply died, not because the change cut us off, so it is tried again.
    pub resuming: bool,
}

pub fn judge(step: &Step, evidence: Evidence<'_>) -> Verdict {
    let record = evidence.seen.records.get(&step.address.local());
    if step.risky && evidence.mark.is_some() && went_back(step, record, evidence) {
        return match evidence.resuming {
            true => Verdict::Again { expect: None },
            false => Verdict::Ended(Outcome::Reverted),
        };
    }
    match evidence.mark {
        Some(o @ (Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Stale { .. } | Outcome::Reverted)) => {
            Verdict::Ended(o.clone())
        }
        // Its mark comes before its effect: without one nothing was touched.
        None | Some(Outcome::Skipped { .. } | Outcome::Fenced { .. }) => Verdict::Again { expect: None },
        Some(Outcome::Unknown { .. }) => begun(step, record, evidence),
    }
}

/// The switch put the former state back, whatever the mark says.
fn went_back(step: &Step, record: Option<&Record>, evidence: Evidence<'_>) -> bool {
    let done = matches!(evidence.mark, Some(Outcome::Done { .. }));
    match record {
        _ if matches!(evidence.mark, Some(Outcome::Reverted)) => true,
        Some(r) if step.expect.is_some() => {
            !wanted(step, r) && (evidence.reverted || (done && Some(r.fingerprint.as_str()) == evidence.pinned))
        }
        _ => evidence.reverted,
    }
}

fn begun(step: &Step, record: Option<&Record>, evidence: Evidence<'_>) -> Verdict {
    match step.action {
        Action::Reload | Action::Restart => {
            // What asks for it stays written on the host until it is done.
            if evidence.seen.pending.contains_key(&step.address.key) {
                return Verdict::Again { expect: None };
            }
            return Verdict::Ended(Outcome::Done { fingerprint: None });
        }
        Action::Run => return command(step, record),
        Action::Create | Action::Update | Action::Replace | Action::Delete | Action::Restore => {}
    }
    let Some(record) = record else {
        return Verdict::Unknown("the host did not say how it stands".into());
    };
    let found = record.fingerprint.as_str();
    let owned = evidence.seen.owned.iter().any(|o| o.kind == step.address.kind && o.key == step.address.key);
    if step.action == Action::Delete && !record.present && !owned {
        // Gone and struck out of the ledger; only the mark is missing.
        return Verdict::Ended(Outcome::Done { fingerprint: Some(record.fingerprint.clone()) });
    }
    // Ledger, asked-for reloads and mark belong to the step too, so even a wanted state runs again: it changes nothing more and
    // completes the rest.
    if Some(found) == evidence.pinned
        || Some(found) == evidence.restores
        || wanted(step, record)
        || half_done(step, record)
    {
        return Verdict::Again { expect: Some(record.fingerprint.clone()) };
    }
    Verdict::Unknown(format!("begun, and the host shows neither the former state nor the wanted one: {found}"))
}

fn command(step: &Step, record: Option<&Record>) -> Verdict {
    let satisfied = record.and_then(|r| r.attrs.get("satisfied")).and_then(Attr::as_bool);
    let conditional = ["creates", "unless"].iter().any(|f| step.attrs.contains_key(*f));
    match satisfied {
        Some(true) => Verdict::Ended(Outcome::Done { fingerprint: None }),
        Some(false) if conditional => Verdict::Again { expect: record.map(|r| r.fingerprint.clone()) },
        _ => Verdict::Unknown(
            "the command was begun and its end was not seen; it is not run a second time. Look at the host and plan anew".into(),
        ),
    }
}

/// The host shows what the step wants.
pub fn wanted(step: &Step, record: &Record) -> bool {
    match step.action {
        Action::Delete => !record.present,
        Action::Create | Action::Update | Action::Replace => {
            record.present
                && compared(step).all(|(name, compare, desired)| same(compare, desired, record.attrs.get(name)))
        }
        Action::Restore | Action::Run | Action::Reload | Action::Restart => false,
    }
}

/// Attributes of the step that can be seen on a host.
fn compared(step: &Step) -> impl Iterator<Item = (&str, Compare, &Attr)> {
    let spec = catalog::spec(step.address.kind);
    step.attrs.iter().filter_map(move |(name, desired)| {
        let field = spec.field(name).filter(|f| f.compare != Compare::Input)?;
        Some((name.as_str(), field.compare, desired))
    })
}

/// Each attribute is as it was or as it is wanted: nobody else's value would be overwritten by going on.
fn half_done(step: &Step, record: &Record) -> bool {
    let before: BTreeMap<&str, Option<&str>> =
        step.changes.iter().map(|c| (c.field.as_str(), c.before.as_deref())).collect();
    match step.action {
        Action::Create => {
            record.present
                && compared(step).all(|(name, compare, desired)| {
                    let found = record.attrs.get(name);
                    found.is_none() || same(compare, desired, found)
                })
        }
        // Between the two halves of a replacement there is nothing.
        Action::Replace if !record.present => true,
        Action::Update | Action::Replace => {
            record.present
                && compared(step).all(|(name, compare, desired)| {
                    let found = record.attrs.get(name);
                    same(compare, desired, found)
                        || before.get(name).is_some_and(|b| *b == found.map(Attr::to_string).as_deref())
                })
        }
        Action::Delete | Action::Restore | Action::Run | Action::Reload | Action::Restart => false,
    }
}

/// Whether the host shows what is wanted of one attribute.
fn same(compare: Compare, desired: &Attr, found: Option<&Attr>) -> bool {
    let Some(found) = found else {
        return matches!(desired, Attr::Text(t) if t.is_empty()) || matches!(desired, Attr::List(l) if l.is_empty());
    };
    match (desired, found) {
        (Attr::Content(c), Attr::Digest(d)) => c.digest.as_ref() == Some(d),
        (Attr::Content(_), _) => false,
        (Attr::Text(t), Attr::Digest(d)) if compare == Compare::Content => Digest::of(t.as_bytes()) == *d,
        (a, b) if compare == Compare::Set => words(a) == words(b),
        (a, b) => a == b || a.to_string() == b.to_string(),
    }
}

fn words(a: &Attr) -> std::collections::BTreeSet<String> {
    a.to_string().split_whitespace().map(str::to_owned).collect()
}
