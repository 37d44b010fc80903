//! One text for all spellings of the same card: what is compared, and what a digest is made of.

use super::value::{Shape, list, parts, shape, unescape};
use super::{Card, Property};

/// Written by every program anew; says nothing of the contact.
const IDLE: [&str; 4] = ["VERSION", "PRODID", "REV", "CREATED"];

impl Card {
    /// Properties in order, each with its parameters in order and its value without a choice of escapes. Groups are only names of ties,
    /// and servers write them anew: they count where something is tied.
    pub fn canonical(&self) -> String {
        self.lines().join("\n")
    }

    /// The lines of [`Card::canonical`].
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .properties
            .iter()
            .filter(|p| !IDLE.contains(&p.name.as_str()) && !p.is_empty())
            .flat_map(|p| p.canonical())
            .collect();
        lines.sort();
        lines
    }

    /// What of this card is not in another, in words of its lines.
    pub fn missing_in(&self, other: &Card) -> Vec<String> {
        let mut there = other.lines();
        let mut missing = Vec::new();
        for line in self.lines() {
            match there.iter().position(|l| *l == line) {
                Some(at) => drop(there.swap_remove(at)),
                None => missing.push(line),
            }
        }
        missing
    }
}

impl Property {
    fn canonical(&self) -> Vec<String> {
        let mut parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, values)| {
                let mut values: Vec<String> = match name.as_str() {
                    "TYPE" | "VALUE" => values.iter().map(|v| v.to_lowercase()).collect(),
                    _ => values.clone(),
                };
                values.sort();
                values.dedup();
                format!(";{name}={}", values.join(","))
            })
            .collect();
        parameters.sort();
        let group = self.group.as_ref().map(|g| g.to_lowercase() + ".").unwrap_or_default();
        let head = format!("{group}{}{}:", self.name, parameters.concat());
        let clean = |text: String| text.replace('\n', "\\n");
        let of = |value: String| format!("{head}{}", clean(value));
        match shape(&self.name, &self.parameters) {
            Shape::List => list(&self.value).into_iter().filter(|v| !v.is_empty()).map(of).collect(),
            Shape::Lists | Shape::Parts => {
                let mut all: Vec<String> = parts(&self.value).into_iter().map(|p| list(p).join("\u{1f}")).collect();
                while all.last().is_some_and(String::is_empty) {
                    all.pop();
                }
                vec![of(all.join("\u{1e}"))]
            }
            Shape::Uri | Shape::Text | Shape::Date | Shape::Unknown => vec![of(unescape(&self.value))],
        }
    }
}
