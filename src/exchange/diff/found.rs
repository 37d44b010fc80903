//! Objects as `get` returned them, with the key of each.

use serde_json::{Map, Value as Json};

use crate::exchange::dialect::{Object, Property};
use crate::exchange::value::{self, Reference, Seen, Unreadable};

/// An object that is there.
#[derive(Debug, Clone)]
pub struct Found {
    pub key: Vec<String>,
    object: Map<String, Json>,
    /// It is one element of what was returned, so that the identity is not its own.
    part: bool,
}

/// Host names may have a domain on one side only; all else is compared without case.
pub(super) fn same_key(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_lowercase() == b.to_lowercase())
}

/// The objects in an answer.
pub fn found(object: &Object, returned: &[Json]) -> Result<Vec<Found>, Unreadable> {
    let mut all = Vec::new();
    for json in returned {
        let strange = || Unreadable { shape: "object", text: json.to_string().chars().take(200).collect() };
        let map = json.as_object().ok_or_else(strange)?;
        if let Some(each) = &object.each {
            let name = word(map, "Name").or_else(|| word(map, "Identity")).ok_or_else(strange)?;
            for element in map.get(each).map(value::elements).unwrap_or_default() {
                let member = value::pair_of(element).map(|(server, _)| server).ok();
                let member = member.or_else(|| Reference::read(element).flatten()).ok_or_else(strange)?;
                let key = vec![name.clone(), member.name().to_owned()];
                all.push(Found { key, object: map.clone(), part: true });
            }
            continue;
        }
        let mut key = Vec::new();
        for part in &object.key {
            // What is asked of one server or mailbox bears its name as the identity.
            let text = word(map, part).or_else(|| if part == "Identity" { word(map, "Name") } else { None });
            key.push(text.ok_or_else(strange)?);
        }
        all.push(Found { key, object: map.clone(), part: false });
    }
    Ok(all)
}

fn word(map: &Map<String, Json>, name: &str) -> Option<String> {
    let reference = Reference::read(map.get(name)?)??;
    Some(reference.name().to_owned())
}

impl Found {
    /// What is known of a property.
    pub(super) fn seen(&self, property: &Property) -> Result<Seen, Unreadable> {
        let json = self.object.get(&property.read);
        match self.key.last() {
            Some(server) if property.pair => value::seen_for(property, json, server),
            _ => value::seen(property, json),
        }
    }

    /// A property as text; `True` and `False` for what is either.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.object.get(name)? {
            Json::Bool(b) => Some(b.to_string()),
            _ => word(&self.object, name),
        }
    }

    /// The GUID or distinguished name: these bind in every session, an object of the session before does not.
    pub(super) fn identity(&self) -> Option<String> {
        let whole = Json::Object(self.object.clone());
        let own = Reference::read(&whole).flatten().filter(|_| !self.part)?;
        own.identity().map(str::to_owned)
    }
}
