//! `--phase`: the part of the topology that a phase deploys.

use super::failure::Failure;
use crate::language::slice;
use crate::model::topology::Topology;
use crate::planning::PhaseSlice;

/// The owners that a phase deploys, with what they refer to.
pub fn slice(topology: &Topology, name: &str) -> Result<PhaseSlice, Failure> {
    match slice::deployed(topology, name) {
        Some(nodes) => {
            Ok(PhaseSlice { name: name.to_owned(), owners: nodes.iter().map(ToString::to_string).collect() })
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
