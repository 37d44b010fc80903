//! Objects as `get` returned them, with the key of each.

use serde_json::{Map, Value as Json};

use super::key::{Index, Part};
use crate::exchange::dialect::{Object, Property};
use crate::exchange::value::{self, Reference, Seen, Unreadable};

/// What was named when these objects were asked for (`ask=`) stands in each of them under this name.
pub const ASKED: &str = "$asked";

/// An object that is there.
#[derive(Debug, Clone)]
pub struct Found {
    key: Vec<Part>,
    object: Map<String, Json>,
    /// It is one element of what was returned, so that the identity is not its own.
    part: bool,
}

/// All objects of a kind that are there.
pub(super) struct There {
    all: Vec<Found>,
    index: Index,
}

impl There {
    pub(super) fn read(object: &Object, returned: &[Json]) -> Result<Self, Unreadable> {
        let all = found(object, returned)?;
        let mut index = Index::default();
        all.iter().for_each(|f| index.add(f.key.clone()));
        Ok(Self { all, index })
    }

    pub(super) fn find(&self, key: &[Part]) -> Option<&Found> {
        self.index.find(key).map(|at| &self.all[at])
    }
}

/// The objects in an answer.
fn found(object: &Object, returned: &[Json]) -> Result<Vec<Found>, Unreadable> {
    let mut all = Vec::new();
    for json in returned {
        let strange = || Unreadable { shape: "object", text: json.to_string().chars().take(200).collect() };
        let map = json.as_object().ok_or_else(strange)?;
        if let (Some(each), [of, member]) = (&object.each, object.key.as_slice()) {
            let whole = own(map).map(Part::Reference).ok_or_else(strange)?;
            for element in map.get(each).map(value::elements).unwrap_or_default() {
                if element.is_null() || element.as_str() == Some("") {
                    continue;
                }
                let server = value::pair_of(element).map(|(server, _)| Json::String(server.to_string()));
                let element = Part::returned(object, member, server.as_ref().unwrap_or(element)).ok_or_else(strange)?;
                let whole = if object.references.contains(of) {
                    whole.clone()
                } else {
                    Part::Text(whole.text().to_lowercase())
                };
                all.push(Found { key: vec![whole, element], object: map.clone(), part: true });
            }
            continue;
        }
        let key: Option<Vec<Part>> = object.key.iter().map(|word| part(object, map, word)).collect();
        all.push(Found { key: key.ok_or_else(strange)?, object: map.clone(), part: false });
    }
    Ok(all)
}

/// One word of an object's key.
fn part(object: &Object, map: &Map<String, Json>, word: &str) -> Option<Part> {
    let read = |json: &Json| Part::returned(object, word, json);
    // Not every object tells of whom it was asked.
    if object.ask.as_ref().is_some_and(|(ask, _)| ask == word)
        && let Some(asked) = map.get(ASKED)
    {
        return read(asked);
    }
    // Who is a member is the whole object that was returned, by its GUID and distinguished name too.
    if object.references.contains(word) && word != "Name" && object.returned(word) == "Name" {
        return own(map).map(Part::Reference);
    }
    let own = map.get(object.returned(word)).and_then(read);
    let Some(name) = map.get("Name").filter(|_| own.is_none()) else { return own };
    match word {
        // What is asked of one server or mailbox bears its name as the identity.
        "Identity" => read(name),
        // `owa (Default Web Site)`: not every virtual directory tells its site otherwise.
        "WebSiteName" => {
            let text = value::text(name)?;
            read(&text.split_once(" (")?.1.strip_suffix(')')?.into())
        }
        _ => None,
    }
}

/// What an object as a whole is called.
fn own(map: &Map<String, Json>) -> Option<Reference> {
    let mut named = map.clone();
    if let Some(Json::String(name)) = map.get("Name").or_else(|| map.get("Identity")) {
        named.insert("$text".to_owned(), name.clone().into());
    }
    if let Some(identity) = map.get("Identity").filter(|i| !i.is_string())
        && !map.contains_key("Name")
    {
        return Reference::read(identity).flatten();
    }
    Reference::read(&Json::Object(named)).flatten()
}

impl Found {
    /// What is known of a property.
    pub(super) fn seen(&self, property: &Property) -> Result<Seen, Unreadable> {
        let json = self.object.get(&property.read);
        match self.key.last() {
            Some(server) if property.pair => value::seen_for(property, json, &server.text()),
            _ => value::seen(property, json),
        }
    }

    /// A property as text; `True` and `False` for what is either.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        value::text(self.object.get(name)?)
    }

    /// The GUID or distinguished name: these bind in every session, an object of the session before does not.
    pub(super) fn identity(&self) -> Option<String> {
        let whole = Json::Object(self.object.clone());
        let own = Reference::read(&whole).flatten().filter(|_| !self.part)?;
        own.identity().map(str::to_owned)
    }
}
