//! What an ordinary plan leaves alone because a window will move it, and what it leaves standing until the window is long over.

use std::collections::BTreeSet;

use crate::catalog::record_set;
use crate::model::Kind;
use crate::model::address::Address;
use crate::model::attr::Attrs;
use crate::model::cutover::{Window, clock};
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::planning::PlanInput;

use super::union::{both, of_old_side, shared};

/// Why a wanted record set is not changed now: it waits for its window. `found` is what is served.
pub fn holds(site: &Site, r: &Resource, found: &Attrs, now: i64) -> Option<String> {
    if let Some(text) = wide(site, r, found, now) {
        return Some(text);
    }
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

/// Why a set that both sides need is not narrowed now.
fn wide(site: &Site, r: &Resource, found: &Attrs, now: i64) -> Option<String> {
    let key = record_set::set_key(&r.address.key)?;
    let moves = |w: &&Window| {
        let here = w.holds.iter().filter(|h| h.host == r.address.host).filter_map(|h| record_set::set_key(&h.key));
        now < w.over() && shared(&key, &here.collect::<Vec<_>>())
    };
    let window = site.windows.iter().filter(moves).max_by_key(|w| w.over())?;
    both(&record_set::of_attrs(&r.address.key, found)?, &record_set::of_attrs(&r.address.key, &r.attrs)?)?;
    Some(format!(
        "stays as it is served until {}: the old side of window {} needs what would be taken away. Its plan publishes both, and narrows it          afterwards",
        clock(window.over(), &window.timezone),
        window.name
    ))
}

/// Why an MTA-STS policy and its record are not narrowed now: senders hold it for its max_age, and a way back leads to hosts that it
/// would not list any more (RFC 8461, section 5).
pub fn narrows(input: &PlanInput, r: &Resource) -> Option<String> {
    let (site, now) = (input.site, input.options.now);
    for window in &site.windows {
        for policy in &window.policies {
            let record = record_set::set_key(&r.address.key)
                .is_some_and(|k| r.address.kind == Kind::RecordSet && k.name == format!("_mta-sts.{}", policy.domain));
            let mine = record || policy.files.contains(&r.address);
            let moves =
                |h: &Address| record_set::set_key(&h.key).is_some_and(|k| k.kind == "MX" && k.name == policy.domain);
            let until = window.end.saturating_add(i64::try_from(window.keep.max(policy.max_age)).unwrap_or(i64::MAX));
            if !mine || now >= until || !window.holds.iter().any(moves) {
                continue;
            }
            let lost: BTreeSet<String> = policy.files.iter().flat_map(|f| lost(input, f, &policy.hosts)).collect();
            if !lost.is_empty() {
                return Some(format!(
                    "stays until {}: the MTA-STS policy would not list {} any more, and the mail of {} comes from window {}",
                    clock(until, &window.timezone),
                    lost.into_iter().collect::<Vec<_>>().join(", "),
                    policy.domain.trim_end_matches('.'),
                    window.name
                ));
            }
        }
    }
    None
}

/// Hosts that the policy file on a web server lists and the new one would not.
fn lost(input: &PlanInput, file: &Address, wanted: &BTreeSet<String>) -> Vec<String> {
    let seen = input.observed.hosts.get(&file.host).and_then(|o| o.records.get(&file.local()));
    let text = seen.and_then(|record| record.text.as_deref()).unwrap_or_default();
    let listed = text.lines().filter_map(|l| l.strip_prefix("mx:")).map(|mx| mx.trim().to_ascii_lowercase());
    listed.filter(|mx| !wanted.contains(mx)).collect()
}

/// Until when an address or TLSA set that the topology no longer names stays: answers that lead there may be held.
pub fn keeps(site: &Site, address: &Address, now: i64) -> Option<String> {
    if address.kind != Kind::RecordSet || !of_old_side(&record_set::set_key(&address.key)?) {
        return None;
    }
    let here = |w: &&Window| w.holds.iter().any(|h| h.host == address.host) && now < w.over();
    let window = site.windows.iter().filter(here).max_by_key(|w| w.over())?;
    Some(format!(
        "stays until {}: the old side of window {} may need it",
        clock(window.over(), &window.timezone),
        window.name
    ))
}
