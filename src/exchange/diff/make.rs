//! An object that is not there yet: one call that makes it, and one for what can be set only afterwards.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::{Call, Change, Groups, One, Trouble};
use crate::exchange::dialect::{Property, Shape};
use crate::exchange::value::{self, Unreadable, Value};

/// A wish as a parameter takes it, and as people read it. Secrets stay references.
pub(super) fn wished(property: &Property, json: &Json) -> Result<(Json, String), Unreadable> {
    let bad = || Unreadable { shape: property.shape.word(), text: "(not shown)".to_owned() };
    let secret = |j: &Json| j.as_str().filter(|t| t.contains(':')).map(str::to_owned);
    match property.shape {
        Shape::Secret => {
            let of = secret(json).ok_or_else(bad)?;
            Ok((json!({ "$secret": of }), "a secret".to_owned()))
        }
        Shape::Credential => {
            let user = json["user"].as_str().ok_or_else(bad)?;
            let of = secret(&json["password"]).ok_or_else(bad)?;
            Ok((json!({ "$user": user, "$password": of }), format!("the credential of {user}")))
        }
        Shape::Binary => Ok((json!({ "$octets": secret(json).ok_or_else(bad)? }), "octets".to_owned())),
        _ => value::read(property, json).map(|v| (value::passed(property, &v), v.to_string())),
    }
}

/// What is wished and what is there, together.
pub(super) fn joined(want: Value, has: &Value) -> Value {
    match (want, has) {
        (Value::List(want), Value::List(has)) => {
            let more: Vec<Value> = value::lacks(&want, has).into_iter().cloned().collect();
            Value::List(has.iter().cloned().chain(more).collect())
        }
        (Value::Nothing, has) => has.clone(),
        (want, _) => want,
    }
}

impl One<'_> {
    pub(super) fn make(&mut self) {
        let Some(new) = self.object.new.as_ref().filter(|n| n.on.has(self.release)) else {
            return self.fault(Trouble::NotMakeable);
        };
        let at_new = |p: &Property| p.new.is_some_and(|on| on.has(self.release));
        let at_set = |p: &Property| p.set.is_some_and(|on| on.has(self.release));
        let all: Vec<(&Property, &Json)> = self.wishes().collect();
        // A switch that is not wanted is not named.
        let wanted = |(p, j): &(&Property, &Json)| !(p.shape == Shape::Switch && **j == Json::Bool(false));
        let all: Vec<(&Property, &Json)> = all.into_iter().filter(wanted).collect();
        let mut ways: BTreeSet<&str> = self
            .object
            .properties
            .iter()
            .filter(|p| at_new(p))
            .flat_map(|p| p.sets.iter().map(String::as_str))
            .collect();
        if ways.is_empty() {
            ways.insert("");
        }
        let takes = |p: &Property, way: &str| at_new(p) && (p.sets.is_empty() || p.sets.contains(way));
        let mut best: Option<(usize, Vec<&Property>)> = None;
        let mut lacking: Option<Vec<String>> = None;
        for way in ways {
            let later: Vec<&Property> = all.iter().map(|(p, _)| *p).filter(|p| !takes(p, way)).collect();
            if later.iter().any(|p| !at_set(p)) {
                continue;
            }
            let needed = self.object.properties.iter().filter(|p| p.required && takes(p, way));
            let missing: Vec<String> =
                needed.map(|p| p.name.value.clone()).filter(|n| !all.iter().any(|(p, _)| p.name.value == *n)).collect();
            if !missing.is_empty() {
                if lacking.as_ref().is_none_or(|l| missing.len() < l.len()) {
                    lacking = Some(missing);
                }
                continue;
            }
            if best.as_ref().is_none_or(|(n, _)| later.len() < *n) {
                best = Some((later.len(), later));
            }
        }
        let Some((_, later)) = best else {
            let names = all.iter().map(|(p, _)| p.name.value.clone()).collect();
            return self.fault(lacking.map_or(Trouble::NoWay(names), Trouble::Lacks));
        };
        let later: BTreeSet<&str> = later.iter().map(|p| p.name.value.as_str()).collect();
        let mut parameters = Map::new();
        for (name, text) in
            self.object.key.iter().zip(&self.wish.key).filter(|(n, _)| !self.object.assigned.contains(n))
        {
            parameters.insert(name.clone(), text.as_str().into());
        }
        let mut changes = Vec::new();
        let mut groups = Groups::new();
        for (property, json) in &all {
            let name = &property.name.value;
            let Ok((passed, to)) = wished(property, json) else { continue };
            // Nothing is what a new object has anyway.
            if passed.is_null() {
                continue;
            }
            let change = Change { parameter: name.clone(), from: None, to };
            if later.contains(name.as_str()) {
                let (parameters, changes) = groups.entry(property.apart.as_deref()).or_default();
                parameters.insert(name.clone(), passed);
                changes.push(change);
            } else {
                parameters.insert(name.clone(), passed);
                changes.push(change);
            }
        }
        self.outcome.calls.push(Call::of(self.wish, &new.name, parameters, changes));
        for (_, (parameters, changes)) in groups {
            self.set(parameters, changes, None);
        }
    }
}
