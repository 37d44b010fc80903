//! Steps of the plan from what was found and ordered.

use std::collections::BTreeMap;

use crate::catalog::{self, UndoSpec};
use crate::model::address::{Address, Kind};
use crate::model::attr::{Attr, Attrs, Body, Digest};
use crate::model::resource::{Notify, NotifyHow};
use crate::model::site::Site;
use crate::model::source::Origin;
use crate::model::step::{Action, Step, StepId, Undo};

use super::diff;
use super::findings::Findings;
use super::graph::Node;
use super::index::{HostId, Index};
use super::order::Item;
use super::risk::risky;
use super::services::{Asker, Signal, reason};

pub fn steps(
    site: &Site,
    index: &Index,
    findings: &Findings,
    signals: &[Signal],
    ordered: Vec<(Item, Vec<StepId>)>,
) -> Vec<Step> {
    ordered
        .into_iter()
        .enumerate()
        .filter_map(|(id, (item, after))| {
            let mut step = match item {
                Item::Resource(node) => of_resource(index, findings, node)?,
                Item::Left(i) => of_left(findings, i)?,
                Item::Signal(i) => of_signal(index, findings, &signals[i]),
            };
            step.id = id as StepId;
            step.after = after;
            step.risky = risky(&step.address, step.action, &step.attrs, site.hosts.get(&step.address.host));
            Some(step)
        })
        .collect()
}

fn of_resource(index: &Index, findings: &Findings, node: Node) -> Option<Step> {
    let r = index.resources[node as usize];
    let found = findings.changed.get(&node)?;
    let shows = !diff::hides_content(&r.attrs);
    Some(Step {
        id: 0,
        address: r.address.clone(),
        action: found.change.action,
        attrs: r.attrs.clone(),
        expect: Some(found.record.fingerprint.clone()),
        after: Vec::new(),
        notifies: heard(findings, index.host_of[node as usize], &r.address, &r.notifies),
        protect: r.protect,
        undo: undo(r.address.kind, &r.attrs),
        risky: false,
        owner: r.owner.clone(),
        origin: r.origin.clone(),
        changes: found.change.fields.clone(),
        before_text: found.record.text.clone().filter(|_| shows),
        reason: found.change.reason.clone(),
        restores: None,
    })
}

/// Without services that the plan takes away, and the service itself: a reload that nobody will do would be owed for ever.
fn heard(findings: &Findings, host: HostId, by: &Address, notifies: &[Notify]) -> Vec<Notify> {
    let itself = |n: &Notify| by.kind == Kind::Service && by.key == n.service;
    notifies.iter().filter(|n| !itself(n) && !findings.loses_service(host, &n.service)).cloned().collect()
}

fn of_left(findings: &Findings, at: usize) -> Option<Step> {
    let left = findings.left.get(at)?;
    let gone = !left.record.present;
    Some(Step {
        id: 0,
        address: left.address.clone(),
        action: Action::Delete,
        attrs: left.owned.attrs.clone(),
        expect: Some(left.record.fingerprint.clone()),
        after: Vec::new(),
        notifies: if gone { Vec::new() } else { heard(findings, left.host, &left.address, &left.owned.notifies) },
        protect: false,
        undo: undo(left.address.kind, &left.owned.attrs),
        risky: false,
        owner: left.owned.owner.clone(),
        // Nothing in the topology asks for it any more.
        origin: Origin::default(),
        changes: diff::vanishing(&left.address, left.record),
        // Content that was sensitive when it was written is not told apart any more: the host sends no text of it.
        before_text: None,
        reason: if gone { "already gone; cutover forgets it" } else { "the topology no longer names it" }.to_owned(),
        restores: None,
    })
}

fn of_signal(index: &Index, findings: &Findings, signal: &Signal) -> Step {
    let resource = signal.node.map(|n| index.resources[n as usize]);
    let (owner, origin) = match (resource, signal.askers.first()) {
        (Some(r), _) => (r.owner.clone(), r.origin.clone()),
        (None, Some(Asker::Resource(n))) => {
            let r = index.resources[*n as usize];
            (r.owner.clone(), r.origin.clone())
        }
        (None, Some(Asker::Left(i))) => (findings.left[*i].owned.owner.clone(), Origin::default()),
        (None, None) => (format!("server:{}", index.hosts[signal.host as usize]), Origin::default()),
    };
    let action = match signal.how {
        NotifyHow::Reload => Action::Reload,
        NotifyHow::Restart => Action::Restart,
    };
    Step {
        attrs: resource.map(|r| r.attrs.clone()).unwrap_or_default(),
        owner,
        origin,
        reason: reason(index, findings, signal),
        ..leaving(Address::new(index.hosts[signal.host as usize], Kind::Service, signal.service), action)
    }
}

/// A step that leaves nothing to put back: a reload, a wait. Its place, its cause and its owner are the caller's.
pub fn leaving(address: Address, action: Action) -> Step {
    Step {
        id: 0,
        address,
        action,
        attrs: Attrs::new(),
        expect: None,
        after: Vec::new(),
        notifies: Vec::new(),
        protect: false,
        undo: Undo::Nothing,
        risky: false,
        owner: String::new(),
        origin: Origin::default(),
        changes: Vec::new(),
        before_text: None,
        reason: String::new(),
        restores: None,
    }
}

/// How a step of this kind is undone.
pub fn undo(kind: Kind, attrs: &Attrs) -> Undo {
    if kind == Kind::Command {
        return match attrs.get("undo").and_then(Attr::as_text) {
            Some(line) => Undo::Restores(format!("runs `{line}`")),
            None => Undo::Irreversible("the command names no undo".to_owned()),
        };
    }
    match catalog::spec(kind).undo {
        UndoSpec::Restores(what) => Undo::Restores(what.to_owned()),
        UndoSpec::Irreversible(why) => Undo::Irreversible(why.to_owned()),
    }
}

/// The contents that the steps put on hosts.
pub fn bodies(site: &Site, steps: &[Step]) -> BTreeMap<Digest, Body> {
    steps
        .iter()
        .filter(|s| s.action != Action::Delete)
        .flat_map(|s| s.attrs.values())
        .filter_map(|a| match a {
            Attr::Content(c) => Some((c.id.clone(), site.bodies.get(&c.id)?.clone())),
            _ => None,
        })
        .collect()
}
