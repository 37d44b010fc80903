//! What the overlays of one layer touch. Two that touch the same are a mistake wherever their order would matter, so it never does.

use std::collections::HashMap;

use smol_str::SmolStr;

use crate::model::{Diagnostic, Span};

/// What one layer has touched, and where.
#[derive(Default)]
pub(super) struct Touched {
    /// Node in the store and path of the field.
    pub fields: HashMap<(usize, String), Span>,
    /// Nodes as wholes, by kind and identity.
    pub nodes: HashMap<(&'static str, SmolStr), Claim>,
    /// Children, by the node in the store and their path in it.
    pub children: HashMap<(usize, String), Claim>,
}

/// What a verb has done to a node.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub verb: &'static str,
    pub span: Span,
    /// By its name or a range, not by a glob, role or label.
    pub named: bool,
}

impl Claim {
    /// Whether the outcome would hang on which of two verbs comes first, or one of them would be for nothing.
    pub fn clashes(&self, later: &Claim) -> bool {
        match (self.verb, later.verb) {
            // Field by field.
            ("patch", "patch") => false,
            // What is patched by a pattern or counted off may be among what goes.
            ("patch", "remove") => self.named && later.named,
            ("patch", "take") => false,
            ("add", "patch") => later.named,
            _ => true,
        }
    }
}

pub(super) fn two_verbs(kind: &str, id: &str, first: Claim, again: Claim) -> Diagnostic {
    Diagnostic::error("E0405", format!("({}) and ({}) of one layer touch {kind} `{id}`", first.verb, again.verb))
        .label(again.span, format!("({}) here", again.verb))
        .label(first.span, format!("({}) here", first.verb))
        .help("say it with one verb: the order of overlays has no meaning")
}
