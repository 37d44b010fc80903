//! Contacts as vCard: 2.1 (versit, 1996), 3.0 (RFC 2426) and 4.0 (RFC 6350) in; any of them out.
//!
//! The neutral form is a list of properties with the names, parameters and escapes of vCard 4. What is not known is kept as it came.
//! Reading is tolerant, because address books are old: every charset that is named, bare parameters, folded lines of all three
//! dialects. What cannot be read is given back with its words; nothing is left out in silence.

mod canonical;
mod neutral;
mod parse;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use parse::{Bad, MOST, parse};
pub use value::{escape, list, parts, unescape};
pub use write::{Form, Written, write};

/// The version that a card is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V2,
    V3,
    V4,
}

/// One contact, or one group of contacts (`KIND:group`). Without `BEGIN`, `VERSION` and `END`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    pub properties: Vec<Property>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Property {
    /// What ties properties together, as `item1` in `item1.X-ABLabel`.
    pub group: Option<String>,
    /// In capitals.
    pub name: String,
    /// Names in capitals; each once.
    pub parameters: Vec<(String, Vec<String>)>,
    /// As vCard 4 writes it, escapes included.
    pub value: String,
}

impl Property {
    /// A text of one value.
    pub fn text(name: &str, text: &str) -> Self {
        Self { name: name.into(), value: escape(text), ..Self::default() }
    }

    /// A value that is not escaped: an address of the web, a date, an inline picture.
    pub fn raw(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into(), ..Self::default() }
    }

    /// Parts behind each other (`N`, `ADR`, `ORG`); empty parts at the end are kept.
    pub fn parts<S: AsRef<str>>(name: &str, parts: &[S]) -> Self {
        let value = parts.iter().map(|p| escape(p.as_ref())).collect::<Vec<_>>().join(";");
        Self { name: name.into(), value, ..Self::default() }
    }

    /// With a value of `TYPE`.
    pub fn of_type(mut self, kind: &str) -> Self {
        self.add("TYPE", kind);
        self
    }

    pub fn add(&mut self, name: &str, value: &str) {
        match self.parameters.iter_mut().find(|(n, _)| n == name) {
            Some((_, values)) => values.push(value.into()),
            None => self.parameters.push((name.into(), vec![value.into()])),
        }
    }

    /// All values of a parameter.
    pub fn parameter(&self, name: &str) -> &[String] {
        self.parameters.iter().find(|(n, _)| n == name).map_or(&[], |(_, values)| values)
    }

    fn take(&mut self, name: &str) -> Vec<String> {
        match self.parameters.iter().position(|(n, _)| n == name) {
            Some(at) => self.parameters.remove(at).1,
            None => Vec::new(),
        }
    }

    /// Without anything in it, as `N:;;;;`.
    pub fn is_empty(&self) -> bool {
        self.value.chars().all(|c| c == ';' || c == ',' || c.is_whitespace())
    }
}

impl Card {
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name && !p.is_empty())
    }

    /// The first property of this name as people read it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|p| unescape(&p.value))
    }

    pub fn all<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c Property> {
        self.properties.iter().filter(move |p| p.name == name && !p.is_empty())
    }

    /// The UID, as it is written. A card that has none gets one of its content, so that it is the same at each reading.
    pub fn uid(&self) -> String {
        self.text("UID").map(|uid| uid.trim().to_owned()).filter(|uid| !uid.is_empty()).unwrap_or_else(|| {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(self.canonical().as_bytes());
            digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
        })
    }

    pub fn is_group(&self) -> bool {
        self.text("KIND").is_some_and(|k| k.eq_ignore_ascii_case("group"))
    }

    /// What a person calls it: FN, else of N, ORG, EMAIL, else the UID.
    pub fn shown(&self) -> String {
        let named = || {
            let parts = self.get("N").map(|n| value::parts(&n.value)).unwrap_or_default();
            let part = |n: usize| parts.get(n).map(|p| unescape(p)).unwrap_or_default();
            let name = format!("{} {}", part(1), part(0)).trim().to_owned();
            (!name.is_empty()).then_some(name)
        };
        let organisation = || self.get("ORG").map(|o| unescape(&o.value.replace(';', " ")).trim().to_owned());
        let found = self.text("FN").or_else(named).or_else(organisation).or_else(|| self.text("EMAIL"));
        found.filter(|f| !f.trim().is_empty()).unwrap_or_else(|| self.uid())
    }

    pub fn push(&mut self, property: Property) {
        if !property.is_empty() {
            self.properties.push(property);
        }
    }
}
