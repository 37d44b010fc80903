//! `--phase`: the part of the topology that a phase deploys.

use super::failure::Failure;
use crate::language::slice;
use crate::model::topology::Topology;
use crate::planning::PhaseSlice;

/// The owners that a phase deploys, with what they refer to, and the cohorts that it moves. Those of earlier phases move with them only.
pub fn slice(topology: &Topology, name: &str) -> Result<PhaseSlice, Failure> {
    match slice::deployed(topology, name) {
        Some(nodes) => {
            let phase = topology.get("phase", name);
            let migrates =
                phase.into_iter().flat_map(|p| p.refs("migrates")).map(|(id, _)| id.name.to_string()).collect();
            let owners = nodes.iter().map(ToString::to_string).collect();
            Ok(PhaseSlice { name: name.to_owned(), owners, migrates, passed: slice::before(topology, name) })
        }
        None => {
            let names: Vec<&str> = topology.all("phase").map(|p| p.id.name.as_str()).collect();
            let help = match names.as_slice() {
                [] => "the topology has no phase yet; leave --phase away".to_owned(),
                names => format!("it has: {}", names.join(", ")),
            };
            Err(Failure::new(format!("the topology has no phase `{name}`")).help(help))
        }
    }
}
