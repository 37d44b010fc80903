//! How the work is decided and looked after: gates, changes, calendars, phases, people, operations.

pub(super) mod calendar;
pub(super) mod change;
pub(super) mod gate;
pub(super) mod operations;
pub(super) mod people;
pub(super) mod phase;
pub(super) mod signer;

use super::Facts;
use crate::model::course::{self, Gate, Signers, before};
use crate::model::topology::Node;

/// Every gate, those inside phases and those at top level.
fn gates<'t>(t: &Facts<'t>) -> Vec<Gate<'t>> {
    course::gates(t.topology())
}

/// Evidence that a gate asks for: its own, and what it requires by name.
fn evidence<'t>(t: &Facts<'t>, gate: &'t Node) -> Vec<&'t Node> {
    course::evidence(t.topology(), gate)
}

/// All evidence, with the top-level node that it stands in.
fn all_evidence<'t>(t: &Facts<'t>) -> Vec<(&'t Node, &'t Node)> {
    let own = t.topology().all("evidence").map(|e| (e, e));
    own.chain(gates(t).into_iter().flat_map(|g| g.gate.children("evidence").map(move |e| (g.top, e)))).collect()
}
