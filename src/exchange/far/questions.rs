//! From wishes to what has to be asked: as few cmdlets as tell it, each with the properties that are needed, the organisation's in one
//! request and each host's own in another.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::exchange::dialect::{Dialect, Object};
use crate::exchange::diff::{Wish, host_of};
use crate::exchange::version::Release;

/// One call of a `Get-` cmdlet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ask {
    pub cmdlet: String,
    pub parameters: Map<String, Json>,
    /// The kinds of objects that its answer tells of.
    pub kinds: BTreeSet<String>,
    pub properties: BTreeSet<String>,
}

impl Ask {
    /// The object that it is asked of, where it is asked of one.
    pub fn of(&self) -> Option<&str> {
        self.parameters.values().next().and_then(Json::as_str)
    }
}

/// What goes to one server in one script call.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Request {
    pub asks: Vec<Ask>,
}

impl Request {
    /// As the script reads it; an ask is known by its number.
    pub fn told(&self) -> Json {
        let ask = |(n, a): (usize, &Ask)| json!({"kind": n.to_string(), "cmdlet": a.cmdlet, "parameters": a.parameters, "properties": a.properties});
        json!({"asks": self.asks.iter().enumerate().map(ask).collect::<Vec<_>>()})
    }
}

/// All that has to be asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Questions {
    /// Of any server of the organisation.
    pub organization: Request,
    /// Of this very host: its services, certificates, virtual directories. Names without a domain, in lower case.
    pub hosts: BTreeMap<String, Request>,
}

impl Questions {
    /// Script calls that it takes.
    pub fn round_trips(&self) -> usize {
        self.hosts.len() + usize::from(!self.organization.asks.is_empty())
    }
}

/// What properties of a kind its wishes need.
fn needed(object: &Object, wishes: &[&Wish]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> =
        ["Identity", "Name", "Guid", "DistinguishedName"].into_iter().map(str::to_owned).collect();
    all.extend(object.key.iter().map(|k| object.returned(k).to_owned()));
    all.extend(object.each.clone());
    all.extend(object.kept.iter().map(|k| k.property.clone()));
    // What is removed is to be made again as it was.
    let whole = wishes.iter().any(|w| w.absent);
    let asked = |name: &str| whole || wishes.iter().any(|w| w.properties.contains_key(name));
    let properties = object.properties.iter().filter(|p| !p.unread && (p.always || asked(&p.name.value)));
    all.extend(properties.map(|p| p.read.clone()));
    all
}

/// What these wishes need to be held against what is there. Wishes that make no sense are left out here and told by `diff`.
pub fn questions(dialect: &Dialect, release: Release, wishes: &[Wish]) -> Questions {
    let mut by_kind: BTreeMap<&str, Vec<&Wish>> = BTreeMap::new();
    for wish in wishes {
        by_kind.entry(&wish.kind).or_default().push(wish);
    }
    let mut out = Questions::default();
    for kind in dialect.order() {
        let (object, Some(wishes)) = (&dialect.objects[kind], by_kind.get(kind)) else { continue };
        if !object.get.on.has(release) {
            continue;
        }
        let Some((parameter, of)) = &object.ask else {
            ask(&mut out.organization, object, Map::new(), needed(object, wishes));
            continue;
        };
        let on_host = of.value == "server";
        let at = object.key.iter().position(|k| k == parameter);
        let mut parents: BTreeMap<String, (String, Vec<&Wish>)> = BTreeMap::new();
        for wish in wishes {
            let Some(parent) = at.and_then(|at| wish.key.get(at)).filter(|p| !p.is_empty()) else { continue };
            let folded = if on_host { host_of(parent) } else { parent.to_lowercase() };
            parents.entry(folded).or_insert_with(|| (parent.clone(), Vec::new())).1.push(wish);
        }
        for (folded, (parent, wishes)) in parents {
            let named = Map::from_iter([(parameter.clone(), parent.into())]);
            let request = if on_host { out.hosts.entry(folded).or_default() } else { &mut out.organization };
            ask(request, object, named, needed(object, &wishes));
        }
    }
    out
}

/// Adds to what is asked; kinds that one cmdlet tells of are asked for once.
fn ask(request: &mut Request, object: &Object, parameters: Map<String, Json>, properties: BTreeSet<String>) {
    let kind = object.name.value.clone();
    let same = |a: &&mut Ask| a.cmdlet == object.get.name && a.parameters == parameters;
    match request.asks.iter_mut().find(same) {
        Some(ask) => {
            ask.kinds.insert(kind);
            ask.properties.extend(properties);
        }
        None => {
            let cmdlet = object.get.name.clone();
            request.asks.push(Ask { cmdlet, parameters, kinds: BTreeSet::from([kind]), properties });
        }
    }
}
