//! Attributes by name. Resources have two or three of them and there are tens of thousands of resources, so they lie side by side in
//! one piece of memory and their short names in place: a tree of maps takes five times as much.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::attr::Attr;

/// Attributes sorted by name; the names of each kind stand in `catalog`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Attrs {
    list: Vec<(SmolStr, Attr)>,
}

impl Attrs {
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.list.get(self.place(name).ok()?).map(|(_, a)| a)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Attr> {
        let at = self.place(name).ok()?;
        self.list.get_mut(at).map(|(_, a)| a)
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Sets an attribute and gives back the one that had this name.
    pub fn insert(&mut self, name: String, attr: Attr) -> Option<Attr> {
        self.put(name.into(), attr)
    }

    fn put(&mut self, name: SmolStr, attr: Attr) -> Option<Attr> {
        match self.place(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.list[at].1, attr)),
            Err(at) => {
                self.list.insert(at, (name, attr));
                None
            }
        }
    }

    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Sets an attribute that has no value yet.
    pub fn set_default(&mut self, name: &str, attr: Attr) {
        if let Err(at) = self.place(name) {
            self.list.insert(at, (name.into(), attr));
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Attr> {
        self.place(name).ok().map(|at| self.list.remove(at).1)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attr)> {
        self.list.iter().map(|(n, a)| (n.as_str(), a))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(n, _)| n.as_str())
    }

    pub fn values(&self) -> impl Iterator<Item = &Attr> {
        self.list.iter().map(|(_, a)| a)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Attr> {
        self.list.iter_mut().map(|(_, a)| a)
    }
}

/// As of any map: only for a name that is there.
impl std::ops::Index<&str> for Attrs {
    type Output = Attr;

    fn index(&self, name: &str) -> &Attr {
        match self.get(name) {
            Some(attr) => attr,
            None => panic!("no attribute {name}"),
        }
    }
}

impl<N: Into<SmolStr>> Extend<(N, Attr)> for Attrs {
    fn extend<I: IntoIterator<Item = (N, Attr)>>(&mut self, more: I) {
        more.into_iter().for_each(|(name, attr)| drop(self.put(name.into(), attr)));
    }
}

impl<N: Into<SmolStr>> FromIterator<(N, Attr)> for Attrs {
    fn from_iter<I: IntoIterator<Item = (N, Attr)>>(list: I) -> Self {
        let list = list.into_iter();
        let mut out = Self { list: Vec::with_capacity(list.size_hint().0) };
        out.extend(list);
        out
    }
}

impl<N: Into<SmolStr>, const COUNT: usize> From<[(N, Attr); COUNT]> for Attrs {
    fn from(list: [(N, Attr); COUNT]) -> Self {
        list.into_iter().collect()
    }
}

impl IntoIterator for Attrs {
    type Item = (SmolStr, Attr);
    type IntoIter = std::vec::IntoIter<(SmolStr, Attr)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Attrs {
    type Item = (&'a str, &'a Attr);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'a, (SmolStr, Attr)>, fn(&'a (SmolStr, Attr)) -> (&'a str, &'a Attr)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter().map(|(n, a)| (n.as_str(), a))
    }
}

impl std::fmt::Debug for Attrs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Attrs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Attrs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("attributes by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attrs, A::Error> {
                // A handful at most, and exactly: what is read is kept for long.
                let mut out = Attrs { list: Vec::with_capacity(2) };
                while let Some((name, attr)) = map.next_entry::<SmolStr, Attr>()? {
                    out.put(name, attr);
                }
                out.list.shrink_to_fit();
                Ok(out)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl JsonSchema for Attrs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Attrs".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, Attr>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_by_name_and_each_name_once() {
        let mut attrs = Attrs::from([("ttl", Attr::Int(300)), ("data", Attr::text("a")), ("ttl", Attr::Int(60))]);
        assert_eq!(attrs.iter().collect::<Vec<_>>(), [("data", &Attr::text("a")), ("ttl", &Attr::Int(60))]);
        attrs.set_default("ttl", Attr::Int(5));
        attrs.set_default("adopt", Attr::Bool(true));
        assert_eq!(attrs.keys().collect::<Vec<_>>(), ["adopt", "data", "ttl"]);
        assert_eq!((attrs.remove("ttl"), attrs.get("ttl"), attrs.len()), (Some(Attr::Int(60)), None, 2));
    }

    #[test]
    fn written_as_a_map_of_any_order_and_read_back() {
        let json = r#"{"ttl":{"int":300},"data":{"list":["192.0.2.1"]}}"#;
        let attrs: Attrs = serde_json::from_str(json).expect("attributes");
        assert_eq!(
            serde_json::to_string(&attrs).expect("JSON"),
            r#"{"data":{"list":["192.0.2.1"]},"ttl":{"int":300}}"#
        );
    }
}
