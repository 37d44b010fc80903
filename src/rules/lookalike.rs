//! Names that look like others (UTS 39): letters of scripts that are not written together, and two names of one kind that a reader
//! takes for one.

use std::collections::{BTreeMap, BTreeSet};

use unicode_security::RestrictionLevelDetection as _;
use unicode_security::confusable_detection::skeleton;
use unicode_security::restriction_level::RestrictionLevel;

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "name-of-two-alphabets",
        code: "L1801",
        severity: Severity::Warning,
        about: "A name does not mix alphabets whose letters look alike: who reads it cannot type it again.",
        source: "UTS 39, section 5.2 (restriction levels)",
        check: two_alphabets,
    },
    Rule {
        name: "names-look-alike",
        code: "L1802",
        severity: Severity::Warning,
        about: "Two names of one kind do not look the same: a reference to one is read as one to the other.",
        source: "UTS 39, section 4 (confusables)",
        check: look_alike,
    },
];

fn two_alphabets(t: &Facts, out: &mut Findings) {
    for node in t.nodes.values().filter(|n| !n.id.name.is_ascii()) {
        // Signs and joiners belong to every script.
        let letters: String = node.id.name.chars().filter(|c| c.is_alphanumeric()).collect();
        if letters.as_str().detect_restriction_level() == RestrictionLevel::MinimallyRestrictive {
            out.push(&node.id, format!("the name `{}` mixes scripts that look alike", node.id.name), |d| {
                d.label(node.span, "letters of two alphabets")
                    .help("write it in one; Latin goes with any script but Greek and Cyrillic")
            });
        }
    }
}

fn look_alike(t: &Facts, out: &mut Findings) {
    let strange: BTreeSet<&str> = t.nodes.keys().filter(|id| !id.name.is_ascii()).map(|id| id.kind.as_str()).collect();
    // Names in ASCII alone are compared with nobody: there are too many of them that differ in a 1 and an l.
    for kind in strange {
        let mut first: BTreeMap<String, &Node> = BTreeMap::new();
        for node in t.topology().all(kind) {
            let look: String = skeleton(&node.id.name).collect();
            match first.get(&look) {
                Some(other) if !(node.id.name.is_ascii() && other.id.name.is_ascii()) => {
                    out.push(&node.id, format!("two names of {kind} look the same and are not"), |d| {
                        d.label(node.span, "one of them")
                            .label(other.span, "the other")
                            .help("a letter is of another alphabet; write both in the same one")
                    });
                }
                Some(_) => {}
                None => drop(first.insert(look, node)),
            }
        }
    }
}
