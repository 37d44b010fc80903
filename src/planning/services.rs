//! Which services are reloaded or restarted: once each, however many changes asked for it.

use std::collections::BTreeMap;

use crate::model::address::Kind;
use crate::model::attr::Attr;
use crate::model::resource::{Notify, NotifyHow, Resource};
use crate::model::step::Action;

use super::constraints::Constraints;
use super::findings::Findings;
use super::graph::Node;
use super::index::{HostId, Index};
use super::scope::Scope;

/// Who asked: a resource of the site, or the one of `Findings::left` at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Resource(Node),
    Left(usize),
}

/// One reload or restart.
pub struct Signal<'a> {
    pub host: HostId,
    pub service: &'a str,
    pub how: NotifyHow,
    pub askers: Vec<Asker>,
    /// Asked for by an earlier apply, and not done yet.
    pub pending: bool,
    /// The service's own resource.
    pub node: Option<Node>,
}

#[derive(Default)]
struct Asked {
    how: Option<NotifyHow>,
    askers: Vec<Asker>,
    pending: bool,
}

/// All signals, by host and service.
pub fn signals<'a>(
    index: &Index<'a>,
    constraints: &Constraints,
    scope: &Scope,
    findings: &Findings<'a>,
) -> Vec<Signal<'a>> {
    let mut asked: BTreeMap<(HostId, &'a str), Asked> = BTreeMap::new();
    let mut ask = |host: HostId, notify: &'a Notify, by: Asker| {
        let entry = asked.entry((host, notify.service.as_str())).or_default();
        // Restart wins over reload.
        entry.how = entry.how.max(Some(notify.how));
        entry.askers.push(by);
    };
    for node in findings.changed.keys() {
        let r: &'a Resource = index.resources[*node as usize];
        for notify in &r.notifies {
            // A service does not tell itself: its own step does what it needs.
            if !(r.address.kind == Kind::Service && r.address.key == notify.service) {
                ask(index.host_of[*node as usize], notify, Asker::Resource(*node));
            }
        }
    }
    for (i, left) in findings.left.iter().enumerate().filter(|(_, l)| l.record.present) {
        left.owned.notifies.iter().for_each(|notify| ask(left.host, notify, Asker::Left(i)));
    }
    for (host, answer) in findings.answers.iter().enumerate() {
        for (service, how) in answer.iter().flat_map(|a| &a.pending) {
            let host = host as HostId;
            let node = index.named(host, Kind::Service, service);
            if node.map_or(scope.whole(), |n| scope.holds(n)) {
                let entry = asked.entry((host, service.as_str())).or_default();
                entry.how = entry.how.max(Some(*how));
                entry.pending = true;
            }
        }
    }
    asked
        .into_iter()
        .filter_map(|((host, service), asked)| {
            let node = index.named(host, Kind::Service, service);
            let signal = Signal { host, service, how: asked.how?, askers: asked.askers, pending: asked.pending, node };
            needed(index, constraints, findings, &signal).then_some(signal)
        })
        .collect()
}

fn needed(index: &Index, constraints: &Constraints, findings: &Findings, signal: &Signal) -> bool {
    if findings.loses_service(signal.host, signal.service) {
        return false;
    }
    let own = signal.node.and_then(|n| Some((n, findings.changed.get(&n)?)));
    if let Some((node, own)) = own {
        if own.change.action == Action::Delete || own.change.stops() {
            return false;
        }
        if own.change.starts() {
            // Started after all that asked for it: it has read everything already.
            let group = constraints.group_of[node as usize];
            let stage = index.resources[node as usize].stage;
            return !signal.askers.iter().all(|asker| match asker {
                Asker::Resource(n) => {
                    constraints.group_of[*n as usize] == group && index.resources[*n as usize].stage < stage
                }
                // The order puts it before the start.
                Asker::Left(_) => true,
            });
        }
    }
    let answer = findings.answers.get(signal.host as usize).copied().flatten();
    let record = answer.and_then(|a| a.records.get(&format!("{}:{}", Kind::Service, signal.service)));
    match record {
        Some(record) => record.present && record.attrs.get("running").and_then(Attr::as_bool) == Some(true),
        // Not one of ours, so nobody looked: the host reloads it when it runs.
        None => true,
    }
}

/// `asked for by file:/etc/postfix/main.cf and 3 more`.
pub fn reason(index: &Index, findings: &Findings, signal: &Signal) -> String {
    let mut names: Vec<String> = signal
        .askers
        .iter()
        .map(|asker| match asker {
            Asker::Resource(n) => index.resources[*n as usize].address.local(),
            Asker::Left(i) => findings.left[*i].address.local(),
        })
        .take(1)
        .collect();
    if names.is_empty() {
        return "asked for by an earlier apply and not done yet".to_owned();
    }
    let more = signal.askers.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let by = format!("asked for by {}", names.join(" and "));
    if signal.pending { format!("{by}, and by an earlier apply") } else { by }
}
