//! What changed between a saved plan and now, so that a refusal can say it.

use std::collections::BTreeMap;

use crate::model::Address;
use crate::model::HostName;
use crate::model::observed::{Observation, Observed};
use crate::model::plan::Plan;

/// A resource that is not as the plan saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub address: Address,
    /// Fingerprint that the plan was made from.
    pub planned: String,
    /// Fingerprint now; `None` when the host no longer speaks of it.
    pub found: Option<String>,
}

/// Compares a saved plan with the world. `before` is what was observed when the plan was made, where the journal still remembers
/// it; without it, only resources with steps can be named. An empty answer does not prove that nothing moved: the observation
/// digest of a fresh plan does.
pub fn moved(plan: &Plan, before: &BTreeMap<HostName, Observation>, now: &Observed) -> Vec<Moved> {
    let mut out = BTreeMap::new();
    let mut compare = |address: Address, planned: &str| {
        let Some(host) = now.hosts.get(&address.host) else { return };
        let found = host.records.get(&address.local()).map(|r| r.fingerprint.clone());
        if found.as_deref() != Some(planned) {
            out.insert(address.clone(), Moved { address, planned: planned.to_owned(), found });
        }
    };
    for step in &plan.steps {
        if let Some(expect) = &step.expect {
            compare(step.address.clone(), expect);
        }
    }
    for (host, observation) in before {
        for (local, record) in &observation.records {
            let Some((kind, key)) = local.split_once(':') else { continue };
            if let Ok(kind) = kind.parse() {
                compare(Address::new(host, kind, key), &record.fingerprint);
            }
        }
    }
    out.into_values().collect()
}
