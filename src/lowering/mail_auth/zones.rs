//! The zones of a topology by name, and what is written out in each by the name of its owner: looked through once, then asked for
//! every record that is composed.

use std::collections::BTreeMap;

use crate::model::topology::{Node, NodeId, Topology};

use super::super::context::dns::{name_of, owner};

pub struct Zones<'t> {
    by_name: BTreeMap<String, Vec<&'t Node>>,
    written: BTreeMap<&'t NodeId, BTreeMap<String, Vec<&'t Node>>>,
}

impl<'t> Zones<'t> {
    pub fn new(topology: &'t Topology) -> Self {
        let mut by_name: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
        let mut written: BTreeMap<&NodeId, BTreeMap<String, Vec<&Node>>> = BTreeMap::new();
        for zone in topology.all("zone") {
            by_name.entry(name_of(zone).to_ascii_lowercase()).or_default().push(zone);
            let records = written.entry(&zone.id).or_default();
            for record in zone.children("record") {
                records.entry(absolute(name_of(zone), owner(zone, record))).or_default().push(record);
            }
        }
        Self { by_name, written }
    }

    /// The zones of the deepest name that a name (lower case, without its last dot) lies in: one, or one for each view.
    pub fn holding(&self, name: &str) -> &[&'t Node] {
        let mut rest = name;
        loop {
            if let Some(zones) = self.by_name.get(rest) {
                return zones;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return &[],
            }
        }
    }

    /// The records that a zone writes out for a name.
    pub fn written(&self, zone: &Node, name: &str) -> &[&'t Node] {
        self.written.get(&zone.id).and_then(|records| records.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Every record that is written out, with the absolute name of its owner, zone by zone.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'t Node)> {
        let named = self.written.values().flatten();
        named.flat_map(|(name, records)| records.iter().map(move |r| (name.as_str(), *r)))
    }
}

/// The name of an owner in lower case, without its last dot.
fn absolute(zone: &str, owner: &str) -> String {
    let name = match owner {
        "@" => zone.to_owned(),
        n if n.ends_with('.') => n.trim_end_matches('.').to_owned(),
        n => format!("{n}.{zone}"),
    };
    name.to_ascii_lowercase()
}
