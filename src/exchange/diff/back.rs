//! The way back: wishes that lead from what some wishes made to what was there before them.

use super::found::There;
use super::key;
use super::{Returned, Wish, make};
use crate::exchange::dialect::{Dialect, Object, Property};
use crate::exchange::value::{self, Seen, Value};
use crate::exchange::version::Release;

/// Something that the way back does not bring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {}: {why}", key.join("\\"))]
pub struct Lost {
    pub kind: String,
    pub key: Vec<String>,
    pub why: String,
}

/// Wishes that take these back, from what was returned before they were carried out. Held against what is there then, they become the
/// calls of an undo like any other wishes.
pub(in crate::exchange) fn back(
    dialect: &Dialect,
    release: Release,
    wishes: &[Wish],
    returned: &Returned,
) -> (Vec<Wish>, Vec<Lost>) {
    let mut out = Vec::new();
    let mut lost = Vec::new();
    for wish in wishes {
        let Some(object) = dialect.objects.get(&wish.kind) else { continue };
        let Some(Ok(there)) = returned.get(&wish.kind).map(|r| There::read(object, r)) else {
            lost.push(Lost::of(wish, "what was there is not known"));
            continue;
        };
        let mut former = Wish { kind: wish.kind.clone(), key: wish.key.clone(), ..Wish::default() };
        match there.find(&key::wished(object, &wish.key)) {
            None if wish.absent => continue,
            None => {
                if object.remove.as_ref().is_none_or(|r| !r.on.has(release)) {
                    lost.push(Lost::of(wish, "the product does not let it be removed again"));
                    continue;
                }
                former.absent = true;
            }
            Some(is) => {
                let named = |p: &&Property| wish.absent || wish.properties.contains_key(&p.name.value);
                for property in object.properties.iter().filter(|p| p.on(release)).filter(named) {
                    match is.seen(property) {
                        Ok(Seen::Value(had)) => put(object, property, wish, had, &mut former, &mut lost),
                        // Nobody knows what a password was.
                        Ok(Seen::Unseen) if wish.absent && !property.required => {}
                        Ok(Seen::Unseen) if property.set.is_none() && !wish.absent => {}
                        _ => lost.push(Lost::of(wish, &format!("what {} was cannot be read", property.name.value))),
                    }
                }
            }
        }
        out.push(former);
    }
    (out, lost)
}

fn put(object: &Object, property: &Property, wish: &Wish, had: Value, former: &mut Wish, lost: &mut Vec<Lost>) {
    let name = &property.name.value;
    if wish.absent {
        // What an object is made with is wished for only where there was something.
        if had != Value::Nothing && !object.key.contains(name) {
            former.properties.insert(name.clone(), value::passed(property, &had));
        }
        return;
    }
    let wanted = wish.properties.get(name).and_then(|json| value::read(property, json).ok());
    if wanted.as_ref().is_some_and(|w| value::same(property, w, &had)) {
        return;
    }
    if property.additive {
        let grows = wanted.is_some_and(|w| !value::same(property, &make::joined(w, &had), &had));
        if grows {
            lost.push(Lost::of(wish, &format!("what is added to {name} stays")));
        }
        return;
    }
    former.properties.insert(name.clone(), value::passed(property, &had));
}

impl Lost {
    pub(in crate::exchange) fn of(wish: &Wish, why: &str) -> Self {
        Self { kind: wish.kind.clone(), key: wish.key.clone(), why: why.to_owned() }
    }
}
