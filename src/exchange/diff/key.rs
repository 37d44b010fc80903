//! Keys: what tells objects of a kind apart, as it is wished and as it is returned, and how one is found among many.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value as Json;

use crate::exchange::dialect::Object;
use crate::exchange::value::{self, Reference};

/// One word of a key.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// Whole, without case: `ACME\ann` and `ann` are two.
    Text(String),
    /// Host names may have a domain on one side only.
    Host(String),
    Reference(Reference),
}

impl Part {
    /// A word of a wish.
    fn wished(object: &Object, word: &str, text: &str) -> Self {
        let reference = || Reference::text(text);
        match () {
            () if object.hosts.contains(word) => Self::host(&reference()).unwrap_or(Self::Reference(reference())),
            () if object.references.contains(word) => Self::Reference(reference()),
            () => Self::Text(text.trim().to_lowercase()),
        }
    }

    /// A word as it was returned; `None` where it is nothing or no text.
    pub(super) fn returned(object: &Object, word: &str, json: &Json) -> Option<Self> {
        if !object.hosts.contains(word) && !object.references.contains(word) {
            return value::text(json).map(|t| Self::Text(t.trim().to_lowercase()));
        }
        let reference = Reference::read(json).flatten()?;
        match object.hosts.contains(word).then(|| Self::host(&reference)).flatten() {
            Some(host) => Some(host),
            None => Some(Self::Reference(reference)),
        }
    }

    fn host(reference: &Reference) -> Option<Self> {
        reference.name().map(|n| Self::Host(n.to_owned()))
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Host(a), Self::Host(b)) => same_host(a, b),
            (Self::Reference(a), Self::Reference(b)) => a.same(b),
            _ => false,
        }
    }

    /// The same for all that could be the same; `None` where only a comparison tells.
    fn handle(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Host(name) => Some(first_label(name)),
            Self::Reference(reference) => reference.name(),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Host(text) => text.clone(),
            Self::Reference(reference) => reference.to_string(),
        }
    }
}

fn first_label(name: &str) -> &str {
    if name.parse::<IpAddr>().is_ok() { name } else { name.split('.').next().unwrap_or(name) }
}

/// Two that both have a domain are told apart by it.
fn same_host(a: &str, b: &str) -> bool {
    let bare = |n: &str| !n.contains('.');
    if bare(a) || bare(b) { first_label(a) == first_label(b) } else { a == b }
}

/// The host in a word of a key, in the form in which hosts are gathered.
pub fn host_of(text: &str) -> String {
    let reference = Reference::text(text);
    first_label(reference.name().unwrap_or(text)).to_lowercase()
}

pub(super) fn wished(object: &Object, key: &[String]) -> Vec<Part> {
    object.key.iter().zip(key).map(|(word, text)| Part::wished(object, word, text)).collect()
}

/// Many keys, of which one is found without looking at all of them.
#[derive(Default)]
pub(super) struct Index {
    keys: Vec<Vec<Part>>,
    by: HashMap<Vec<String>, Vec<usize>>,
    /// Those without a handle.
    loose: Vec<usize>,
}

impl Index {
    pub(super) fn add(&mut self, key: Vec<Part>) {
        let at = self.keys.len();
        match handle(&key) {
            Some(handle) => self.by.entry(handle).or_default().push(at),
            None => self.loose.push(at),
        }
        self.keys.push(key);
    }

    pub(super) fn find(&self, key: &[Part]) -> Option<usize> {
        let is = |at: &usize| {
            let it = &self.keys[*at];
            it.len() == key.len() && it.iter().zip(key).all(|(a, b)| a.same(b))
        };
        let Some(handle) = handle(key) else { return (0..self.keys.len()).find(is) };
        let near = self.by.get(&handle).map_or(&[][..], Vec::as_slice);
        near.iter().chain(&self.loose).copied().find(is)
    }
}

fn handle(key: &[Part]) -> Option<Vec<String>> {
    key.iter().map(|p| p.handle().map(str::to_owned)).collect()
}
