//! Names that look like others (UTS 39): letters of scripts that are not written together, and two names of one kind that a reader
//! takes for one. Warnings: such names are right in the language, and sometimes meant.

use std::collections::BTreeMap;

use unicode_security::RestrictionLevelDetection as _;
use unicode_security::confusable_detection::skeleton;
use unicode_security::restriction_level::RestrictionLevel;

use super::sink::Sink;
use crate::model::topology::{Node, Topology};
use crate::model::{Diagnostic, Span};

pub(super) fn check(topology: &Topology, sink: &mut Sink) {
    let mut strange: BTreeMap<&str, ()> = BTreeMap::new();
    for node in topology.nodes.values().filter(|n| !n.id.name.is_ascii()) {
        strange.insert(&node.id.kind, ());
        // Signs and joiners belong to every script.
        let letters: String = node.id.name.chars().filter(|c| c.is_alphanumeric()).collect();
        if letters.as_str().detect_restriction_level() == RestrictionLevel::MinimallyRestrictive {
            sink.push(
                Diagnostic::warning("W0301", format!("the name `{}` mixes scripts that look alike", node.id.name))
                    .label(node.span, "letters of two alphabets")
                    .help("write it in one; Latin goes with any script but Greek and Cyrillic"),
            );
        }
    }
    // Names in ASCII alone are compared with nobody: there are too many of them that differ in a 1 and an l.
    for kind in strange.keys() {
        let mut first: BTreeMap<String, &Node> = BTreeMap::new();
        for node in topology.all(kind) {
            let look: String = skeleton(&node.id.name).collect();
            match first.get(&look) {
                Some(other) if !(node.id.name.is_ascii() && other.id.name.is_ascii()) => {
                    sink.push(alike(kind, node.span, other.span));
                }
                Some(_) => {}
                None => {
                    first.insert(look, node);
                }
            }
        }
    }
}

fn alike(kind: &str, again: Span, first: Span) -> Diagnostic {
    Diagnostic::warning("W0302", format!("two names of {kind} look the same and are not"))
        .label(again, "one of them")
        .label(first, "the other")
        .help("a letter is of another alphabet; write both in the same one")
}
