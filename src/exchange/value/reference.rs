//! Names of other objects: by GUID, by distinguished name, by path, by name.

use std::fmt;

use serde_json::Value as Json;

use super::word::guid;

/// What is known of an object that is referred to. Two are the same by the best name that both have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    guid: Option<String>,
    dn: Option<String>,
    /// `acme.example/Users/Ann`, `SERVER\Connector`.
    path: Option<String>,
    name: Option<String>,
    shown: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Reference {
    pub fn text(text: &str) -> Self {
        let text = text.trim();
        let mut made = Self { shown: text.to_owned(), ..Self::default() };
        if let Some(guid) = guid(text) {
            made.guid = Some(guid);
        } else if is_dn(text) {
            made.dn = Some(text.to_lowercase());
            made.name = common_name(text).map(|n| n.to_lowercase());
        } else {
            let (name, path) = last(text);
            made.name = Some(name.to_lowercase());
            made.path = path.then(|| text.to_lowercase());
        }
        made
    }

    /// `Some(None)` is a reference to nothing; `None` is something else than a reference.
    pub fn read(json: &Json) -> Option<Option<Self>> {
        let object = match json {
            Json::Null => return Some(None),
            Json::String(t) if t.trim().is_empty() => return Some(None),
            Json::String(t) => return Some(Some(Self::text(t))),
            // Some are plain numbers: an X.400 content type, a code page.
            Json::Number(n) => return Some(Some(Self::text(&n.to_string()))),
            Json::Object(o) if o.is_empty() => return Some(None),
            Json::Object(o) => o,
            _ => return None,
        };
        let field = |names: &[&str]| {
            names.iter().find_map(|n| object.get(*n)?.as_str()).filter(|t| !t.is_empty()).map(str::to_owned)
        };
        let text = field(&["$text"]).filter(|t| object.get("$type").and_then(Json::as_str) != Some(t));
        let mut made = text.as_deref().map(Self::text).unwrap_or_default();
        // An empty GUID is what an object has whose GUID was not carried over.
        let id = field(&["ObjectGuid", "Guid"]).and_then(|g| guid(&g));
        made.guid = id.filter(|g| g.bytes().any(|b| b != b'0' && b != b'-')).or(made.guid);
        made.dn = field(&["DistinguishedName"]).map(|d| d.to_lowercase()).or(made.dn);
        made.name = field(&["Name"]).map(|n| n.to_lowercase()).or(made.name);
        if made.name.is_none() {
            made.name = field(&["DistinguishedName"]).and_then(|d| common_name(&d)).map(|n| n.to_lowercase());
        }
        if made.shown.is_empty() {
            made.shown = field(&["Name", "DistinguishedName", "ObjectGuid", "Guid"])?;
        }
        Some(Some(made))
    }

    /// The name alone, in lower case; `None` where only a GUID is known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub fn same(&self, other: &Self) -> bool {
        let by =
            [(&self.guid, &other.guid), (&self.dn, &other.dn), (&self.path, &other.path), (&self.name, &other.name)];
        by.into_iter().find_map(|(a, b)| Some(a.as_ref()? == b.as_ref()?)).unwrap_or(false)
    }

    /// What a cmdlet takes as `-Identity` in every session: the GUID, else the distinguished name.
    pub fn identity(&self) -> Option<&str> {
        self.guid.as_deref().or(self.dn.as_deref())
    }
}

/// The name in a path, and whether it is one: `acme.example/Users/Ann` begins with a domain, `SERVER\Connector` has its place before it.
/// Any other slash belongs to the name, and so does one that is escaped.
fn last(text: &str) -> (String, bool) {
    let canonical = text.split_once('/').is_some_and(|(d, _)| d.contains('.') && !d.contains([' ', '\\']));
    if !canonical {
        return match text.rsplit_once('\\') {
            Some((_, name)) if !name.is_empty() => (name.to_owned(), true),
            _ => (text.to_owned(), false),
        };
    }
    let mut name = String::new();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => name.extend(letters.next()),
            '/' => name.clear(),
            c => name.push(c),
        }
    }
    (name, true)
}

fn is_dn(text: &str) -> bool {
    let first = text.split_once('=').map(|(k, _)| k.trim().to_ascii_lowercase());
    first.is_some_and(|k| ["cn", "ou", "dc"].contains(&k.as_str())) && text.contains(',')
}

/// The value of the first part of a distinguished name.
fn common_name(dn: &str) -> Option<String> {
    let value = dn.split_once('=')?.1;
    let mut name = String::new();
    let mut letters = value.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => name.extend(letters.next()),
            ',' => break,
            c => name.push(c),
        }
    }
    Some(name)
}
