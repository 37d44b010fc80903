//! Probes as the hosts that watch make them: what name servers have to say, and which of them nobody can make.

use std::collections::{BTreeMap, BTreeSet};

use super::zone::set_key;
use crate::model::dns::{RecordSet, SetKey, Zone, is_spf};
use crate::model::topology::Topology;
use crate::model::trigger::{Probe, Transaction};
use crate::model::{Diagnostic, Diagnostics};
use crate::monitoring;
use crate::protocol::dns::data::wanted;

/// Probes of zones with what their name servers have to say of mail: where it goes (MX), and who may send it (SPF). Not what waits for a
/// window, since it is said only after it; nor of a zone with several views, of which a host is shown one.
pub fn with_records(
    mut probes: BTreeMap<String, Result<Probe, String>>,
    topology: &Topology,
    zones: &[Zone],
) -> BTreeMap<String, Result<Probe, String>> {
    let made = probes.values_mut().filter_map(|p| p.as_mut().ok()).filter(|p| p.what == Transaction::Dns);
    for target in made.flat_map(|p| &mut p.targets) {
        let mut of_name = zones.iter().filter(|z| z.name == target.name);
        let (Some(zone), None) = (of_name.next(), of_name.next()) else { continue };
        let Some(node) = topology.find(&zone.node) else { continue };
        let held: BTreeSet<SetKey> = node
            .children("record")
            .filter(|r| r.text("held-until").is_some())
            .filter_map(|r| set_key(node, r))
            .collect();
        // One that cannot be written is an error of the zone.
        let sets = wanted(&zone.records).unwrap_or_default();
        let of_mail = |s: &RecordSet| s.key.kind == "MX" || s.key.kind == "TXT" && s.data.iter().any(|d| is_spf(d));
        target.sets = sets.into_values().filter(|s| of_mail(s) && !held.contains(&s.key)).collect();
    }
    probes
}

/// Probes that nobody will make, though a host is there for it.
pub fn tell(probes: &BTreeMap<String, Result<Probe, String>>, topology: &Topology, told: &mut Diagnostics) {
    for (name, why) in probes.iter().filter_map(|(n, p)| Some((n, p.as_ref().err()?))) {
        let Some(node) = topology.get("probe", name).filter(|p| monitoring::makes(p)) else { continue };
        let (span, what) = (node.at("to"), format!("probe {name} is not made: {why}"));
        told.push(Diagnostic::warning("W1010", what).label(span, "it is asked of these").help(
            "name what has servers with an address, and roles that the type asks; until then nobody hears when it fails",
        ));
    }
}
