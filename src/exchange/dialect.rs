//! The dialect as checked data: what an object of Exchange is, which cmdlets make, change and remove it, and what of it can be wished.

use std::collections::{BTreeMap, BTreeSet};

use super::version::{Release, Releases};
use crate::model::Spanned;

/// All kinds of objects.
#[derive(Debug, Clone, Default)]
pub struct Dialect {
    pub objects: BTreeMap<String, Object>,
}

/// A cmdlet, and the releases in which it does this for this object.
#[derive(Debug, Clone, PartialEq)]
pub struct Cmdlet {
    pub name: String,
    pub on: Releases,
}

/// One kind of object.
#[derive(Debug, Clone)]
pub struct Object {
    pub name: Spanned<String>,
    /// Lists the objects that are there.
    pub get: Cmdlet,
    pub new: Option<Cmdlet>,
    pub set: Option<Cmdlet>,
    /// `None`: the product does not allow it.
    pub remove: Option<Cmdlet>,
    /// Parameters whose values tell the objects apart. Empty: there is one.
    pub key: Vec<String>,
    /// Words of the key that name a host: with its domain or without, by itself or as the object that stands for it.
    pub hosts: BTreeSet<String>,
    /// Words of the key that name another object, in any way that the product has. All others are texts, whole as they are.
    pub references: BTreeSet<String>,
    /// Names in what `get` returns of those words of the key that bear another one there.
    pub key_read: BTreeMap<String, String>,
    /// Words of the key that the product gives: `new` does not take them.
    pub assigned: Vec<String>,
    /// Parameters that say to `set` and `remove` which object is meant.
    pub by: Vec<String>,
    /// Kinds that must stand before, and fall after.
    pub after: Vec<Spanned<String>>,
    /// `get` has to be asked once for each object of the kind `of`, named by the parameter `ask`.
    pub ask: Option<(String, Spanned<String>)>,
    /// Each element of this property of what `get` returns is an object.
    pub each: Option<String>,
    pub kept: Vec<Kept>,
    pub properties: Vec<Property>,
    /// Parameters of `set` that are no wishes, each with the reason.
    pub left: BTreeMap<String, String>,
}

/// Objects that the product does not let go.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub property: String,
    pub value: String,
    pub because: String,
}

/// What a value is; how it is read, compared and passed hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Compared to the letter.
    Text,
    /// Names of hosts, domains, folders: case does not count.
    Name,
    /// One word of a set that the product has.
    Enum,
    /// Several such words: `Tls, BasicAuth`.
    Flags,
    Bool,
    /// A switch that exists only while something is made; it cannot be read back.
    Switch,
    Int,
    IntOrUnlimited,
    Bytes,
    BytesOrUnlimited,
    Timespan,
    TimespanOrUnlimited,
    Time,
    Guid,
    Url,
    /// An IP address.
    Address,
    /// Another object, by name, distinguished name or GUID.
    Reference,
    /// `SMTP:ann@acme.example`; the prefix in capitals is the primary one.
    ProxyAddress,
    /// `SMTP:*.acme.example;10`.
    AddressSpace,
    /// Octets in base64; cannot be read back.
    Binary,
    /// A reference to a secret; cannot be read back.
    Secret,
    /// A user name and a reference to its password; cannot be read back.
    Credential,
}

impl Shape {
    pub const ALL: [(&str, Shape); 22] = [
        ("text", Shape::Text),
        ("name", Shape::Name),
        ("enum", Shape::Enum),
        ("flags", Shape::Flags),
        ("bool", Shape::Bool),
        ("switch", Shape::Switch),
        ("int", Shape::Int),
        ("int-or-unlimited", Shape::IntOrUnlimited),
        ("bytes", Shape::Bytes),
        ("bytes-or-unlimited", Shape::BytesOrUnlimited),
        ("timespan", Shape::Timespan),
        ("timespan-or-unlimited", Shape::TimespanOrUnlimited),
        ("time", Shape::Time),
        ("guid", Shape::Guid),
        ("url", Shape::Url),
        ("address", Shape::Address),
        ("reference", Shape::Reference),
        ("proxy-address", Shape::ProxyAddress),
        ("address-space", Shape::AddressSpace),
        ("binary", Shape::Binary),
        ("secret", Shape::Secret),
        ("credential", Shape::Credential),
    ];

    /// The word of the dialect.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, s)| *s == self).map_or("", |(w, _)| w)
    }

    /// Nothing that `get` returns tells whether it is so.
    pub fn unreadable(self) -> bool {
        matches!(self, Shape::Switch | Shape::Binary | Shape::Secret | Shape::Credential)
    }
}

/// One thing that can be wished of an object.
#[derive(Debug, Clone)]
pub struct Property {
    /// The parameter.
    pub name: Spanned<String>,
    pub shape: Shape,
    pub list: bool,
    /// The order of the list counts.
    pub ordered: bool,
    /// Releases in which `set` takes it; `None`: it can be given at the making only.
    pub set: Option<Releases>,
    /// Releases in which `new` takes it; `None`: it is set after the making.
    pub new: Option<Releases>,
    /// `new` does not work without.
    pub required: bool,
    /// Ways of calling `new` that take it. Empty: all.
    pub sets: BTreeSet<String>,
    /// `set` takes it in a call of its own, with others of the same word.
    pub apart: Option<String>,
    /// Every call of `set` names it.
    pub always: bool,
    /// What is there stays, whatever is wished.
    pub additive: bool,
    /// Read back as nothing although something is there: nothing is then no answer.
    pub blind: bool,
    /// Not in what `get` returns.
    pub unread: bool,
    /// Read as pairs of a server and a value.
    pub pair: bool,
    /// Its name in what `get` returns.
    pub read: String,
    /// Words that the product adds of itself, and does not take.
    pub ignore: Vec<String>,
}

impl Property {
    /// The releases in which it can be wished at all.
    pub fn on(&self, release: Release) -> bool {
        [self.set, self.new].into_iter().flatten().any(|r| r.has(release))
    }
}

impl Object {
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name.value == name)
    }

    /// The word of the key under which it stands in what `get` returns.
    pub fn returned<'a>(&'a self, key: &'a str) -> &'a str {
        self.key_read.get(key).map_or(key, String::as_str)
    }

    /// There is always one of it: it is neither made nor removed.
    pub fn single(&self) -> bool {
        self.key.is_empty()
    }
}

impl Dialect {
    /// Kinds in the order in which their objects are made; what does not wait for another stands by name.
    pub fn order(&self) -> Vec<&str> {
        let mut done: Vec<&str> = Vec::with_capacity(self.objects.len());
        let mut seen = BTreeSet::new();
        for name in self.objects.keys() {
            self.visit(name, &mut seen, &mut done);
        }
        done
    }

    fn visit<'a>(&'a self, name: &'a str, seen: &mut BTreeSet<&'a str>, done: &mut Vec<&'a str>) {
        let Some(object) = self.objects.get(name) else { return };
        if seen.insert(name) {
            for before in &object.after {
                self.visit(&before.value, seen, done);
            }
            done.push(name);
        }
    }

    /// Kinds that wait for each other, as a walk that ends where it began; `None` where no kind does.
    pub fn circle(&self) -> Option<Vec<&str>> {
        // Every kind stands behind what it waits for, or there is a circle through it.
        let order = self.order();
        let place = |name: &str| order.iter().position(|o| *o == name);
        let (from, to) = order.iter().find_map(|name| {
            let late = self.objects[*name].after.iter().find(|a| place(&a.value) >= place(name))?;
            Some((*name, late.value.as_str()))
        })?;
        let mut walk = vec![from];
        self.walk(to, from, &mut walk, &mut BTreeSet::new()).then_some(walk)
    }

    fn walk<'a>(&'a self, at: &'a str, end: &str, walk: &mut Vec<&'a str>, seen: &mut BTreeSet<&'a str>) -> bool {
        walk.push(at);
        if at == end {
            return true;
        }
        let next = self.objects.get(at).map(|o| o.after.as_slice()).unwrap_or_default();
        let found = seen.insert(at) && next.iter().any(|a| self.walk(&a.value, end, walk, seen));
        if !found {
            walk.pop();
        }
        found
    }
}
