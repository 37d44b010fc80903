//! The types of fields, as the schema, a `variable` or a `param` names them. How a word is read as one: [`word`].

mod word;

use smol_str::SmolStr;

use super::suggest::either;
use crate::model::topology::Value;
use crate::model::tree::Scalar;

/// A type as the schema, a `variable` or a `param` names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Int,
    Number,
    Bool,
    String,
    /// Prose; never expanded as a range.
    Text,
    Name,
    Ident,
    Hostname,
    Fqdn,
    /// A domain name, a single label of the local network, or an address.
    Host,
    Ip,
    Cidr,
    Email,
    Url,
    Path,
    Duration,
    Size,
    Rate,
    Percent,
    Offset,
    Date,
    DateTime,
    Time,
    Secret,
    /// What a monitor watches, see [`crate::model::counter`].
    Counter,
    Any,
    /// The name of a type.
    Type,
    Enum(Vec<String>),
    /// As an enum, but role packs may define more.
    Open(Vec<String>),
    /// Name of a node of one of these kinds.
    Ref(Vec<String>),
    /// Name, range, glob, `role:`, `label:`, `kind:name` or `*`.
    Select(Vec<String>),
}

/// A value before references are resolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Draft {
    Value(Value),
    /// A reference as written, after interpolation.
    Name(SmolStr),
}

/// Why a word is not of its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wrong {
    pub code: &'static str,
    pub help: Option<String>,
}

const SIMPLE: [(&str, Type, &str); 27] = [
    ("int", Type::Int, "a whole number"),
    ("number", Type::Number, "a number"),
    ("bool", Type::Bool, "#true or #false"),
    ("string", Type::String, "a text"),
    ("text", Type::Text, "a text"),
    ("name", Type::Name, "a name"),
    ("ident", Type::Ident, "a name of a variable"),
    ("hostname", Type::Hostname, "a host name"),
    ("fqdn", Type::Fqdn, "a domain name"),
    ("host", Type::Host, "a host name or an address"),
    ("ip", Type::Ip, "an IP address"),
    ("cidr", Type::Cidr, "an IP network"),
    ("email", Type::Email, "an email address"),
    ("url", Type::Url, "a URL"),
    ("path", Type::Path, "a path"),
    ("duration", Type::Duration, "a duration"),
    ("size", Type::Size, "a size"),
    ("rate", Type::Rate, "a rate"),
    ("percent", Type::Percent, "a percent"),
    ("offset", Type::Offset, "an offset"),
    ("date", Type::Date, "a date"),
    ("datetime", Type::DateTime, "a date and time"),
    ("time", Type::Time, "a time of day"),
    ("secret", Type::Secret, "a secret"),
    ("counter", Type::Counter, "a counter"),
    ("any", Type::Any, "a value"),
    ("type", Type::Type, "a type"),
];

impl Type {
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((_, t, _)) = SIMPLE.iter().find(|(n, _, _)| *n == text) {
            return Some(t.clone());
        }
        let (word, rest) = text.split_once('(')?;
        let list: Vec<String> = rest.strip_suffix(')')?.split('|').map(|s| s.trim().to_owned()).collect();
        if list.iter().any(String::is_empty) {
            return None;
        }
        match word {
            "enum" => Some(Type::Enum(list)),
            "open" => Some(Type::Open(list)),
            "ref" => Some(Type::Ref(list)),
            "select" => Some(Type::Select(list)),
            _ => None,
        }
    }

    /// Names of the simple types, for messages.
    pub fn names() -> Vec<&'static str> {
        SIMPLE.iter().map(|(n, _, _)| *n).collect()
    }

    /// As in "takes a percent".
    pub fn noun(&self) -> String {
        match self {
            Type::Enum(list) => either(list),
            Type::Open(_) => "a role".into(),
            Type::Ref(kinds) | Type::Select(kinds) => article(&either(kinds)),
            _ => SIMPLE.iter().find(|(_, t, _)| t == self).map_or(String::new(), |(_, _, n)| (*n).to_owned()),
        }
    }

    /// The kinds that a reference may name.
    pub fn kinds(&self) -> Option<&[String]> {
        match self {
            Type::Ref(k) | Type::Select(k) => Some(k),
            _ => None,
        }
    }

    /// Prose, paths, URLs, secrets and free values may hold brackets of their own.
    pub fn expands(&self) -> bool {
        !matches!(self, Type::Text | Type::Path | Type::Url | Type::Secret | Type::Any)
    }

    /// Some value of the type, where a check runs without the values that a run would be given.
    pub(super) fn sample(&self) -> Scalar {
        let text = match self {
            Type::Int | Type::Number => return Scalar::Int(1),
            Type::Bool => return Scalar::Bool(false),
            Type::Ip => "192.0.2.1",
            Type::Cidr => "192.0.2.0/24",
            Type::Fqdn | Type::Host => "unset.example",
            Type::Counter => "heartbeat",
            Type::Email => "unset@unset.example",
            Type::Url => "https://unset.example",
            Type::Duration => "1h",
            Type::Size => "1GiB",
            Type::Rate => "1Mbit/s",
            Type::Percent => "1%",
            Type::Offset => "+1h",
            Type::Date => "2000-01-01",
            Type::DateTime => "2000-01-01T00:00",
            Type::Time => "00:00",
            Type::Enum(list) | Type::Open(list) => list.first().map_or("", String::as_str),
            _ => "unset",
        };
        Scalar::Text(text.to_owned())
    }
}

/// `a dag`, `an environment`.
pub(super) fn article(word: &str) -> String {
    let an = word.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {word}", if an { "an" } else { "a" })
}

pub(super) fn is_ident(t: &str) -> bool {
    t.starts_with(|c: char| c.is_ascii_lowercase())
        && t.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
