//! How fast mail can be copied: what a content service may use, and what the links that it crosses have free.

use super::topology::{Node, NodeId, Topology};
use super::unit::Percent;

/// Free bandwidth of a link in bits per second.
pub fn free(link: &Node) -> Option<u64> {
    let used = link.percent("utilization").map_or(0, |Percent(p)| p.min(100_000_000));
    u64::try_from(u128::from(link.rate("bandwidth")?) * u128::from(100_000_000 - used) / 100_000_000).ok()
}

/// Where the servers of a node stand.
fn sites<'t>(t: &'t Topology, id: &NodeId) -> Vec<&'t NodeId> {
    let Some(node) = t.find(id) else { return Vec::new() };
    let mut all: Vec<&NodeId> = match id.kind.as_str() {
        "server" => node.reference("site").into_iter().collect(),
        "dag" | "pair" => t.targets(node, "members").filter_map(|s| s.reference("site")).collect(),
        "cms" => t.targets(node, "on").filter_map(|s| s.reference("site")).collect(),
        _ => Vec::new(),
    };
    all.sort();
    all.dedup();
    all
}

/// The narrowest link that the mail of a content service crosses: one end has the service, the other has only the target.
pub fn narrowest<'t>(t: &'t Topology, cms: &Node) -> Option<(&'t Node, u64)> {
    let from = sites(t, &cms.id);
    let to = cms.reference("to").map(|id| sites(t, id)).unwrap_or_default();
    let crossed = t.all("link").filter(|l| {
        let ends: Vec<&NodeId> = l.refs("between").map(|(id, _)| id).collect();
        let [a, b] = ends.as_slice() else { return false };
        let crosses =
            |here: &NodeId, there: &NodeId| from.contains(&here) && to.contains(&there) && !from.contains(&there);
        crosses(a, b) || crosses(b, a)
    });
    crossed.filter_map(|l| Some((l, free(l)?))).min_by_key(|(_, free)| *free)
}

/// Bits per second that a content service can reach, and the node and field that say so.
pub fn speed<'t>(t: &'t Topology, cms: &'t Node) -> Option<(u64, &'t Node, &'static str)> {
    let throttle = cms.rate("throttle").map(|r| (r, cms, "throttle"));
    // Where a part of the target stands beside the service, a part of the mail crosses no link.
    let from = sites(t, &cms.id);
    let apart = !cms.reference("to").map(|id| sites(t, id)).unwrap_or_default().iter().any(|s| from.contains(s));
    let link = narrowest(t, cms).filter(|_| apart).map(|(l, free)| (free, l, "bandwidth"));
    [throttle, link].into_iter().flatten().filter(|(r, ..)| *r > 0).min_by_key(|(r, ..)| *r)
}

/// Seconds for so many bytes at so many bits per second.
pub fn seconds(data: u64, rate: u64) -> u64 {
    u64::try_from((u128::from(data) * 8).div_ceil(u128::from(rate.max(1)))).unwrap_or(u64::MAX)
}

/// What so many of all mailboxes hold of the data of their source, when they are of average size.
pub fn share(data: u64, mailboxes: u64, all: u64) -> u64 {
    u64::try_from(u128::from(data) * u128::from(mailboxes.min(all)) / u128::from(all.max(1))).unwrap_or(data)
}

/// `512 kbit/s`, `200 Mbit/s`.
pub fn mbit(rate: u64) -> String {
    if rate >= 1_000_000 { format!("{} Mbit/s", rate / 1_000_000) } else { format!("{} kbit/s", rate / 1000) }
}
