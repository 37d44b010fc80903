//! What is wished against what is there, as calls of cmdlets: as few as bring the one to the other, in an order that every object's
//! `after` allows, makings and changes first, removals last and the other way round.

mod back;
mod call;
mod fault;
mod found;
mod key;
mod make;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::dialect::{Dialect, Object, Property};
use super::value::{self, Seen, Value};
use super::version::Release;
pub use back::Lost;
pub(in crate::exchange) use back::back;
pub use call::{Call, Change};
pub use fault::{Fault, Trouble};
pub use found::ASKED;
use found::{Found, There};
pub(super) use key::host_of;
use key::{Index, Part};

/// One object as it shall be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub kind: String,
    /// The values of the kind's key, in its order.
    pub key: Vec<String>,
    /// Wishes by parameter. What is not named is left as it is.
    pub properties: BTreeMap<String, Json>,
    /// It shall not be there.
    pub absent: bool,
}

/// What comes of a wish.
#[derive(Debug, Default)]
pub struct Outcome {
    pub calls: Vec<Call>,
    /// Wishes that nothing returned by the product can confirm: kind, key, parameter.
    pub unseen: Vec<(String, Vec<String>, String)>,
    pub faults: Vec<Fault>,
}

/// What `get` returned, by kind. A kind that is missing was not asked for: no wish of it is compared with nothing.
pub type Returned = BTreeMap<String, Vec<Json>>;

/// All differences and all faults in one run. With a fault the calls are not to be made.
pub fn diff(dialect: &Dialect, release: Release, wishes: &[Wish], returned: &Returned) -> Outcome {
    let mut outcome = Outcome::default();
    let mut removals = Vec::new();
    let mut by_kind: BTreeMap<&str, Vec<&Wish>> = BTreeMap::new();
    for wish in wishes {
        if dialect.objects.contains_key(&wish.kind) {
            by_kind.entry(&wish.kind).or_default().push(wish);
        } else {
            let near = fault::nearest(&wish.kind, dialect.objects.keys());
            outcome.faults.push(Fault::of(wish, Trouble::UnknownKind(near)));
        }
    }
    for kind in dialect.order() {
        let Some(wishes) = by_kind.get(kind) else { continue };
        let object = &dialect.objects[kind];
        let mut sound: Vec<(&Wish, Vec<Part>)> = Vec::new();
        let mut named = Index::default();
        for wish in wishes {
            let key = key::wished(object, &wish.key);
            if named.find(&key).is_some() {
                outcome.faults.push(Fault::of(wish, Trouble::Twice));
            } else if (One { object, release, wish, outcome: &mut outcome }).sound() {
                named.add(key.clone());
                sound.push((wish, key));
            }
        }
        if sound.is_empty() {
            continue;
        }
        let there = match returned.get(kind).map(|r| There::read(object, r)) {
            Some(Ok(there)) => there,
            Some(Err(why)) => {
                let odd = |w: &Wish| Fault::of(w, Trouble::Answer("it".to_owned(), why.clone()));
                outcome.faults.extend(sound.iter().map(|(w, _)| odd(w)));
                continue;
            }
            None => {
                outcome.faults.extend(sound.iter().map(|(w, _)| Fault::of(w, Trouble::NotAsked)));
                continue;
            }
        };
        for (wish, key) in sound {
            let mut one = One { object, release, wish, outcome: &mut outcome };
            match there.find(&key) {
                Some(is) if wish.absent => removals.extend(one.remove(is)),
                None if wish.absent => {}
                Some(is) => one.change(is),
                None => one.make(),
            }
        }
    }
    removals.reverse();
    outcome.calls.extend(removals);
    outcome
}

/// Parameters and what they change, by the call that takes them: one for all, and one for each word of `apart`.
type Groups<'a> = BTreeMap<Option<&'a str>, (Map<String, Json>, Vec<Change>)>;

/// One wish on its way through.
struct One<'a> {
    object: &'a Object,
    release: Release,
    wish: &'a Wish,
    outcome: &'a mut Outcome,
}

impl<'a> One<'a> {
    fn fault(&mut self, trouble: Trouble) {
        self.outcome.faults.push(Fault::of(self.wish, trouble));
    }

    /// Whether the wish makes sense whatever is there; all that does not is told.
    fn sound(&mut self) -> bool {
        let before = self.outcome.faults.len();
        if !self.object.get.on.has(self.release) {
            self.fault(Trouble::NotInRelease(self.object.get.on));
            return false;
        }
        if self.wish.key.len() != self.object.key.len() || self.wish.key.iter().any(String::is_empty) {
            self.fault(Trouble::Key(self.object.key.clone()));
        }
        for (name, json) in &self.wish.properties {
            let Some(property) = self.object.property(name) else {
                let left = self.object.left.get(name).cloned();
                let near = fault::nearest(name, self.object.properties.iter().map(|p| &p.name.value));
                self.fault(Trouble::UnknownProperty { name: name.clone(), why: left, near });
                continue;
            };
            if !property.on(self.release) {
                self.fault(Trouble::PropertyNotInRelease(name.clone(), self.release));
            } else if let Err(why) = make::wished(property, json) {
                self.fault(Trouble::Wish(name.clone(), why));
            }
        }
        self.outcome.faults.len() == before
    }

    /// The property of each wish, with the wish.
    fn wishes(&self) -> impl Iterator<Item = (&'a Property, &'a Json)> + use<'a> {
        let object = self.object;
        self.wish.properties.iter().filter_map(move |(name, json)| Some((object.property(name)?, json)))
    }

    fn change(&mut self, is: &Found) {
        let mut groups = Groups::new();
        for (property, json) in self.wishes() {
            let name = property.name.value.clone();
            let Ok(want) =
                value::read(property, json).or_else(|e| if property.unread { Ok(Value::Nothing) } else { Err(e) })
            else {
                continue;
            };
            let has = match is.seen(property) {
                Ok(Seen::Value(has)) => has,
                // What was said at the making only cannot be asked for again.
                Ok(Seen::Unseen) if property.set.is_none() => continue,
                Ok(Seen::Unseen) => {
                    self.outcome.unseen.push((self.wish.kind.clone(), self.wish.key.clone(), name));
                    continue;
                }
                Err(why) => {
                    self.fault(Trouble::Answer(name, why));
                    continue;
                }
            };
            let want = if property.additive { make::joined(want, &has) } else { want };
            if value::same(property, &want, &has) {
                continue;
            }
            if !property.set.is_some_and(|on| on.has(self.release)) {
                self.fault(Trouble::OnlyAtMaking(name, has.to_string(), want.to_string()));
                continue;
            }
            let (parameters, changes) = groups.entry(property.apart.as_deref()).or_default();
            parameters.insert(name.clone(), value::passed(property, &want));
            changes.push(Change { parameter: name, from: Some(has.to_string()), to: want.to_string() });
        }
        for (_, (parameters, changes)) in groups {
            self.set(parameters, changes, Some(is));
        }
    }

    /// One call of `set`, with what every call of it names.
    fn set(&mut self, mut parameters: Map<String, Json>, changes: Vec<Change>, is: Option<&Found>) {
        let Some(set) = self.object.set.as_ref().filter(|s| s.on.has(self.release)) else { return };
        for (property, json) in self.wishes().filter(|(p, _)| p.always) {
            if let Ok(want) = value::read(property, json) {
                parameters.entry(property.name.value.clone()).or_insert_with(|| value::passed(property, &want));
            }
        }
        self.address(&mut parameters, is);
        self.outcome.calls.push(Call::of(self.wish, &set.name, parameters, changes));
    }

    fn remove(&mut self, is: &Found) -> Option<Call> {
        let Some(remove) = self.object.remove.as_ref().filter(|r| r.on.has(self.release)) else {
            self.fault(Trouble::NotRemovable);
            return None;
        };
        for kept in &self.object.kept {
            if is.text(&kept.property).is_some_and(|t| t.eq_ignore_ascii_case(&kept.value)) {
                self.fault(Trouble::Kept(kept.because.clone()));
                return None;
            }
        }
        let mut parameters = Map::new();
        self.address(&mut parameters, Some(is));
        Some(Call::of(self.wish, &remove.name, parameters, Vec::new()))
    }

    /// Says which object is meant.
    fn address(&self, parameters: &mut Map<String, Json>, is: Option<&Found>) {
        let key = |name: &str| {
            let at = self.object.key.iter().position(|k| k == name)?;
            self.wish.key.get(at).map(String::as_str)
        };
        let whole = self.object.by.len() == self.object.key.len();
        for by in &self.object.by {
            let text = match key(by) {
                // A key of one part is the identity, and the object's own is better.
                Some(text) if by != "Identity" || (whole && self.object.key.len() > 1) => text.to_owned(),
                _ => is.and_then(Found::identity).unwrap_or_else(|| self.wish.key.join("\\")),
            };
            parameters.insert(by.clone(), text.into());
        }
    }
}
