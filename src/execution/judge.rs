//! What became of a step that was begun and never answered: decided from the host's own marks and from what it shows now.
//!
//! | mark on the host | the host shows | verdict |
//! |---|---|---|
//! | done, failed, stale | anything | that |
//! | none | anything | not begun: it may run, the pinned fingerprint decides as ever |
//! | begun, no end, of a wave | anything | it goes on: whoever is there is left alone, and the others are asked about one by one |
//! | begun, no end | the former state | not done: it may run |
//! | begun, no end | the wanted state, or each attribute as before or as wanted | our own work, perhaps half: it may go on from exactly this |
//! | begun, no end | anything else | unknown: somebody else may have worked there, a person plans anew |
//!
//! A command that was begun is never begun again unless its own condition (`creates`, `unless`) says that it has not run.

use std::collections::BTreeMap;

use crate::catalog::{self, Compare};
use crate::model::Kind;
use crate::model::attr::Attr;
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
    if step.address.kind == Kind::Wave {
        // It begins with a look at where each person stands.
        return Verdict::Again { expect: None };
    }
    match step.action {
        Action::Reload | Action::Restart => {
            // What asks for it stays written on the host until it is done.
            if evidence.seen.pending.contains_key(&step.address.key) {
                return Verdict::Again { expect: None };
            }
            return Verdict::Ended(Outcome::Done { fingerprint: None });
        }
        Action::Run => return command(step, record),
        // It changed nothing: it asks again.
        Action::Wait | Action::Move => return Verdict::Again { expect: None },
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
    let conditional = ["creates", "unless"].iter().any(|f| step.attrs.contains_key(f));
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
                && compared(step)
                    .all(|(name, compare, desired)| catalog::same(compare, desired, record.attrs.get(name)))
        }
        Action::Restore | Action::Run | Action::Reload | Action::Restart | Action::Wait | Action::Move => false,
    }
}

/// Attributes of the step that can be seen on a host.
fn compared(step: &Step) -> impl Iterator<Item = (&str, Compare, &Attr)> {
    let spec = catalog::spec(step.address.kind);
    step.attrs.iter().filter_map(move |(name, desired)| {
        let field = spec.field(name).filter(|f| f.compare != Compare::Input)?;
        Some((name, field.compare, desired))
    })
}

/// Each attribute is as it was or as it is wanted: nobody else's value would be overwritten by going on.
fn half_done(step: &Step, record: &Record) -> bool {
    let before: BTreeMap<&str, Option<&str>> =
        step.changes.iter().map(|c| (c.field.as_str(), c.before.as_deref())).collect();
    match step.action {
        // The server takes an update whole or not at all: what is in between is somebody else's.
        _ if step.address.kind == Kind::RecordSet => false,
        Action::Create => {
            record.present
                && compared(step).all(|(name, compare, desired)| {
                    let found = record.attrs.get(name);
                    found.is_none() || catalog::same(compare, desired, found)
                })
        }
        // Between the two halves of a replacement there is nothing.
        Action::Replace if !record.present => true,
        Action::Update | Action::Replace => {
            record.present
                && compared(step).all(|(name, compare, desired)| {
                    let found = record.attrs.get(name);
                    catalog::same(compare, desired, found)
                        || before.get(name).is_some_and(|b| *b == found.map(Attr::to_string).as_deref())
                })
        }
        Action::Delete
        | Action::Restore
        | Action::Run
        | Action::Reload
        | Action::Restart
        | Action::Wait
        | Action::Move => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::{Address, HostName, Kind};
    use crate::model::attr::Attrs;
    use crate::model::observed::Owned;
    use crate::model::resource::NotifyHow;
    use crate::model::step::{FieldChange, Undo};

    fn attrs(pairs: &[(&str, Attr)]) -> Attrs {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
    }

    /// `user:vmail` from home /a and shell /sh to home /b and shell /false.
    fn step() -> Step {
        let change = |field: &str, before: &str, after: &str| FieldChange {
            field: field.into(),
            before: Some(before.into()),
            after: Some(after.into()),
            forces_replacement: false,
        };
        Step {
            id: 0,
            address: Address::new(&HostName::from("a"), Kind::User, "vmail"),
            action: Action::Update,
            attrs: attrs(&[("home", Attr::text("/b")), ("shell", Attr::text("/false"))]),
            expect: Some("former".into()),
            after: vec![],
            notifies: vec![],
            protect: false,
            undo: Undo::Nothing,
            risky: false,
            owner: "server:a".into(),
            origin: Default::default(),
            changes: vec![change("home", "/a", "/b"), change("shell", "/sh", "/false")],
            before_text: None,
            reason: String::new(),
            restores: None,
        }
    }

    fn shows(step: &Step, fingerprint: &str, present: bool, found: Attrs) -> Observation {
        let record = Record { present, attrs: found, fingerprint: fingerprint.into(), text: None };
        Observation {
            host: step.address.host.clone(),
            facts: Default::default(),
            records: BTreeMap::from([(step.address.local(), record)]),
            owned: vec![],
            pending: BTreeMap::new(),
            lease: None,
            armed: None,
            zone: None,
        }
    }

    fn begun() -> Outcome {
        Outcome::Unknown { why: String::new() }
    }

    fn asked(step: &Step, mark: Option<&Outcome>, seen: &Observation) -> Verdict {
        let pinned = step.expect.as_deref();
        judge(step, Evidence { mark, seen, pinned, restores: None, reverted: false, resuming: false })
    }

    fn user(home: &str, shell: &str) -> Attrs {
        attrs(&[("home", Attr::text(home)), ("shell", Attr::text(shell))])
    }

    #[test]
    fn a_mark_is_believed() {
        let s = step();
        let done = Outcome::Done { fingerprint: Some("new".into()) };
        let seen = shows(&s, "whatever", true, user("/x", "/y"));
        assert_eq!(asked(&s, Some(&done), &seen), Verdict::Ended(done.clone()));
        assert_eq!(asked(&s, None, &seen), Verdict::Again { expect: None });
    }

    #[test]
    fn what_was_begun_goes_on_from_exactly_what_is_seen() {
        let s = step();
        for found in [user("/a", "/sh"), user("/b", "/sh"), user("/a", "/false"), user("/b", "/false")] {
            let seen = shows(&s, "seen", true, found.clone());
            assert_eq!(asked(&s, Some(&begun()), &seen), Verdict::Again { expect: Some("seen".into()) }, "{found:?}");
        }
    }

    #[test]
    fn a_third_value_is_somebody_elses() {
        let s = step();
        let seen = shows(&s, "seen", true, user("/theirs", "/false"));
        assert!(matches!(asked(&s, Some(&begun()), &seen), Verdict::Unknown(_)));
        let gone = shows(&s, "absent", false, Attrs::new());
        assert!(matches!(asked(&s, Some(&begun()), &gone), Verdict::Unknown(_)));
    }

    #[test]
    fn a_host_that_does_not_say_is_not_guessed() {
        let s = step();
        let mut seen = shows(&s, "seen", true, Attrs::new());
        seen.records.clear();
        assert!(matches!(asked(&s, Some(&begun()), &seen), Verdict::Unknown(_)));
    }

    #[test]
    fn a_command_runs_again_only_when_its_own_condition_says_so() {
        let mut s = step();
        s.address.kind = Kind::Command;
        s.action = Action::Run;
        let satisfied = |is| attrs(&[("satisfied", Attr::Bool(is))]);
        s.attrs = attrs(&[("run", Attr::text("x")), ("once", Attr::Bool(true))]);
        let seen = shows(&s, "satisfied=false", true, satisfied(false));
        assert!(matches!(asked(&s, Some(&begun()), &seen), Verdict::Unknown(_)));
        assert_eq!(asked(&s, None, &seen), Verdict::Again { expect: None }, "never begun");
        s.attrs = attrs(&[("run", Attr::text("x")), ("creates", Attr::text("/x"))]);
        assert!(matches!(asked(&s, Some(&begun()), &seen), Verdict::Again { .. }));
        let seen = shows(&s, "satisfied=true", true, satisfied(true));
        assert_eq!(asked(&s, Some(&begun()), &seen), Verdict::Ended(Outcome::Done { fingerprint: None }));
    }

    #[test]
    fn a_reload_is_done_when_nobody_asks_for_it_any_more() {
        let mut s = step();
        s.address = Address::new(&s.address.host, Kind::Service, "dovecot");
        (s.action, s.expect) = (Action::Reload, None);
        let mut seen = shows(&s, "", true, Attrs::new());
        assert_eq!(asked(&s, Some(&begun()), &seen), Verdict::Ended(Outcome::Done { fingerprint: None }));
        seen.pending.insert("dovecot".into(), NotifyHow::Reload);
        assert_eq!(asked(&s, Some(&begun()), &seen), Verdict::Again { expect: None });
    }

    #[test]
    fn a_removal_is_over_when_the_ledger_says_so_too() {
        let mut s = step();
        s.action = Action::Delete;
        let mut seen = shows(&s, "absent", false, Attrs::new());
        assert!(matches!(asked(&s, Some(&begun()), &seen), Verdict::Ended(Outcome::Done { .. })));
        let owned = Owned {
            kind: Kind::User,
            key: "vmail".into(),
            owner: "server:a".into(),
            attrs: Attrs::new(),
            notifies: vec![],
            protect: false,
        };
        seen.owned.push(owned);
        assert_eq!(asked(&s, Some(&begun()), &seen), Verdict::Again { expect: Some("absent".into()) });
    }

    #[test]
    fn what_the_switch_put_back_is_not_done() {
        let mut s = step();
        s.risky = true;
        let done = Outcome::Done { fingerprint: Some("new".into()) };
        let seen = shows(&s, "former", true, user("/a", "/sh"));
        let evidence = Evidence {
            mark: Some(&done),
            seen: &seen,
            pinned: Some("former"),
            restores: None,
            reverted: true,
            resuming: false,
        };
        assert_eq!(judge(&s, evidence), Verdict::Ended(Outcome::Reverted));
        assert_eq!(judge(&s, Evidence { resuming: true, ..evidence }), Verdict::Again { expect: None });
        let kept = shows(&s, "new", true, user("/b", "/false"));
        assert_eq!(judge(&s, Evidence { seen: &kept, reverted: false, ..evidence }), Verdict::Ended(done.clone()));
    }
}
