//! Whether a saved plan still fits, and if not, what is different.

use std::collections::BTreeMap;

use crate::model::address::Address;
use crate::model::plan::Plan;
use crate::model::step::{Action, Step};

/// One way in which a saved plan and a fresh one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `None`: about the plan as a whole.
    pub address: Option<Address>,
    pub text: String,
}

/// Compares a saved plan with one made now from the same options. Empty: the saved plan may be applied as it is. A change on a
/// host that leads to the same steps is none.
pub fn differences(saved: &Plan, fresh: &Plan) -> Vec<Difference> {
    let mut out = Vec::new();
    let whole = |text: &str| Difference { address: None, text: text.to_owned() };
    if saved.organization != fresh.organization || saved.environment != fresh.environment {
        return vec![whole("it was made for another organization or environment")];
    }
    if saved.intent != fresh.intent {
        out.push(whole("the topology, its variables or a local file have changed since the plan was made"));
    }
    for failed in &fresh.failed {
        out.push(whole(&format!("could not ask {}: {}", failed.host, failed.message)));
    }
    // A record set may have several steps of one kind: they are told apart by their order.
    type Key<'a> = (&'a Address, Action, usize);
    fn by_key(plan: &Plan) -> BTreeMap<Key<'_>, &Step> {
        let mut seen: BTreeMap<(&Address, Action), usize> = BTreeMap::new();
        plan.steps
            .iter()
            .map(|s| {
                let nth = seen.entry((&s.address, s.action)).or_default();
                *nth += 1;
                ((&s.address, s.action, *nth), s)
            })
            .collect()
    }
    let (old, new) = (by_key(saved), by_key(fresh));
    for ((address, action, nth), step) in &old {
        let note = |text: String| Difference { address: Some((*address).clone()), text };
        match new.get(&(address, *action, *nth)) {
            None if fresh.failed.iter().any(|f| f.host == address.host) => {}
            None => out.push(note(format!("{} is not needed any more", action.as_str()))),
            Some(now) if now.expect != step.expect => {
                out.push(note("was changed on the host since the plan was made".to_owned()));
            }
            Some(now) if now.attrs != step.attrs => out.push(note("is wanted otherwise now".to_owned())),
            Some(_) => {}
        }
    }
    for (address, action, _) in new.keys().filter(|k| !old.contains_key(*k)) {
        let text = format!("{} has become necessary", action.as_str());
        out.push(Difference { address: Some((*address).clone()), text });
    }
    out.sort_by(|a, b| a.address.cmp(&b.address));
    out
}
