//! What an ordinary plan leaves alone because a window will move it, and what it leaves standing until the window is long over.

use crate::catalog::record_set;
use crate::model::Kind;
use crate::model::address::Address;
use crate::model::attr::Attrs;
use crate::model::cutover::{Window, clock};
use crate::model::resource::Resource;
use crate::model::site::Site;

/// Why a wanted record set is not changed now: it waits for its window. `found` is what is served.
pub fn holds(site: &Site, r: &Resource, found: &Attrs, now: i64) -> Option<String> {
    let window = site.windows.iter().find(|w| w.holds.contains(&r.address))?;
    let wanted = record_set::of_attrs(&r.address.key, &r.attrs)?;
    let served = record_set::of_attrs(&r.address.key, found);
    let moved = served.as_ref().is_some_and(|s| s.data == wanted.data);
    let name = &window.name;
    let at = |time| clock(time, &window.timezone);
    if moved {
        // Between the swap and the end of the window its TTL is the window's too.
        return (now < window.end).then(|| format!("has its TTL from window {name} until {}", at(window.end)));
    }
    Some(match now < window.end {
        true => format!(
            "waits for window {name} and stays as it is served until its flip-mx at {}: cutover plan --window {name}",
            at(window.start)
        ),
        false => format!(
            "waits for window {name}, which ended at {} without its flip-mx: give it a new start",
            at(window.end)
        ),
    })
}

/// Until when an address or TLSA set that the topology no longer names stays: answers that lead there may be held.
pub fn keeps(site: &Site, address: &Address, now: i64) -> Option<String> {
    let kind = record_set::set_key(&address.key)?.kind;
    if address.kind != Kind::RecordSet || !matches!(kind.as_str(), "A" | "AAAA" | "TLSA") {
        return None;
    }
    let until = |w: &Window| w.end.saturating_add(i64::try_from(w.keep).unwrap_or(i64::MAX));
    let here = |w: &&Window| w.holds.iter().any(|h| h.host == address.host) && now < until(w);
    let window = site.windows.iter().filter(here).max_by_key(|w| until(w))?;
    Some(format!(
        "stays until {}: answers from before window {} may lead there",
        clock(until(window), &window.timezone),
        window.name
    ))
}
