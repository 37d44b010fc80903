//! The move of mailboxes: cohorts, windows, sources, what carries the mail, and the way back.

pub(super) mod cohort;
pub(super) mod content;
pub(super) mod course;
pub(super) mod forecast;
pub(super) mod legacy;
pub(super) mod proxy;
pub(super) mod rollback;
pub(super) mod steps;
pub(super) mod strategy;
pub(super) mod window;

use jiff::civil::DateTime;

use crate::model::topology::{Node, NodeId, Topology};

/// The cohorts of a migration, by name.
fn cohorts<'t>(t: &'t Topology, migration: &'t NodeId) -> impl Iterator<Item = &'t Node> {
    t.all("cohort").filter(move |c| c.reference("migration") == Some(migration))
}

/// Users of a cohort, where it names each of them or a limit; lists and groups are not counted.
fn size(cohort: &Node) -> Option<u64> {
    let mut all = 0;
    for s in cohort.children("select") {
        let named = s.values("users").count() as u64;
        let listed = ["csv", "ldif", "ldap", "tenant", "group"].iter().any(|f| s.value(f).is_some());
        all += match (s.int("limit"), listed) {
            (Some(limit), _) => u64::try_from(limit).unwrap_or(0),
            (None, false) => named,
            (None, true) => return None,
        };
    }
    (all > 0).then_some(all)
}

/// Start and end of a window, in the time of the organization.
fn times(window: &Node) -> Option<(DateTime, DateTime)> {
    let start: DateTime = window.text("start")?.parse().ok()?;
    Some((start, start.checked_add(window.duration("for")?).ok()?))
}

/// `2026-04-17 21:00`.
fn clock(at: DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// True when the migration promised this.
fn must(migration: &Node, what: &str) -> bool {
    migration.texts("must").contains(&what)
}
